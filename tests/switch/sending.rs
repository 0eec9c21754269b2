//! Nothing is lost, nothing is reordered, and who must wait is told.

use std::{
    thread,
    time::{Duration, Instant},
};

use tmp2p::{
    ChannelDescriptor, Config, Envelope, Event, SendErrorKind,
    crossbeam_channel::{after, select},
};

use crate::support::*;

#[test]
fn many_threads_to_one_peer_lose_and_reorder_nothing() {
    const THREADS: u16 = 12;
    const MESSAGES: u32 = 300;
    // Everything tiny: budgets are spent, messages parked, reading suspended, all the time.
    let channel = || ChannelDescriptor::new(CHANNEL).recv_message_capacity(2000);
    let small = Config {
        reactor_budget: 6000,
        parking_per_peer: 5000,
        parking_total: 10_000,
        send_queue_bytes: 3000,
        send_timeout: DEADLINE,
        ..unlimited()
    };
    let alice = node_with(small.clone(), channel());
    let bob = node_with(small, channel());
    let (to_bob, _) = pair(&alice, &bob);
    let senders: Vec<_> = (0..THREADS)
        .map(|thread| {
            let peer = to_bob.clone();
            thread::spawn(move || {
                for number in 0..MESSAGES {
                    peer.send(CHANNEL, body(thread, number)).unwrap();
                }
            })
        })
        .collect();
    let mut expected = [0u32; THREADS as usize];
    // Holds what it got until nothing more comes, so that every budget is spent before it is
    // returned at once.
    let mut held: Vec<Envelope> = Vec::new();
    let mut last = Instant::now();
    while expected.iter().any(|&number| number < MESSAGES) {
        match bob.1.events().recv_timeout(Duration::from_millis(1)) {
            Ok(Event::Message(envelope)) => {
                let bytes = envelope.payload();
                let thread = u16::from_le_bytes(bytes[..2].try_into().unwrap());
                let number = &mut expected[usize::from(thread)];
                assert_eq!(bytes[..], body(thread, *number), "thread {thread}");
                *number += 1;
                held.push(envelope);
                last = Instant::now();
            }
            Ok(other) => panic!("{other:?}"),
            Err(_) => {
                held.clear();
                assert!(last.elapsed() < DEADLINE, "stuck at {expected:?}");
            }
        }
    }
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    let total = u64::from(THREADS) * u64::from(MESSAGES);
    let (sent, dropped) =
        (to_bob.status().channels[0].sent_messages, to_bob.status().channels[0].dropped);
    assert_eq!((sent, dropped), (total, 0));
}

fn body(thread: u16, number: u32) -> Vec<u8> {
    let mut bytes = vec![thread as u8 ^ number as u8; 6 + (number as usize * 37) % 1400];
    bytes[..2].copy_from_slice(&thread.to_le_bytes());
    bytes[2..6].copy_from_slice(&number.to_le_bytes());
    bytes
}

#[test]
fn a_broadcast_goes_to_everybody_with_the_channel_in_order() {
    let hub = node();
    let others: Vec<_> = (0..4).map(|_| node()).collect();
    let mut deaf = builder(unlimited());
    let channels = [ChannelDescriptor::new(CHANNEL), ChannelDescriptor::new(0x71)];
    let _deaf_reactor = deaf.reactor(spec("test", [channels[1]])).unwrap();
    let deaf = deaf.start().unwrap();
    for other in &others {
        connect(&other.0, &hub.0);
        up(&hub.1);
        up(&other.1);
    }
    assert_eq!(
        dial(&deaf, hub.0.handle().peer_address().unwrap()).unwrap_err().kind(),
        "incompatible"
    );

    let handle = hub.0.handle();
    for number in 0..200u32 {
        let broadcast = handle.broadcast(CHANNEL, number.to_le_bytes()).unwrap();
        assert_eq!(broadcast.num_peers(), 4);
        let outcomes = broadcast.wait_timeout(DEADLINE);
        assert!(outcomes.iter().all(|(_, outcome)| outcome.is_ok()), "{outcomes:?}");
    }
    let mut ids: Vec<_> = handle
        .try_broadcast(CHANNEL, b"end".to_vec())
        .unwrap()
        .into_iter()
        .map(|(peer, outcome)| outcome.map(|()| peer.id()).unwrap())
        .collect();
    ids.sort();
    let mut expected: Vec<_> = others.iter().map(|other| other.0.handle().id()).collect();
    expected.sort();
    assert_eq!(ids, expected);
    for other in &others {
        for number in 0..200u32 {
            assert_eq!(message(&other.1).payload()[..], number.to_le_bytes());
        }
        assert_eq!(&message(&other.1).payload()[..], b"end");
    }
}

/// The fault: nobody got it, and nobody was told.
#[test]
fn a_broadcast_on_a_channel_that_no_reactor_owns_says_so() {
    let (alice, bob) = (node(), node());
    let handle = alice.0.handle();
    let is_told = || {
        let refused = [handle.broadcast(0x33, "x").err(), handle.try_broadcast(0x33, "x").err()];
        for error in refused.map(Option::unwrap) {
            assert_eq!((error.kind, error.payload), (SendErrorKind::NoSuchChannel, "x".into()));
        }
    };
    is_told();
    pair(&alice, &bob);
    is_told();
}

#[test]
fn the_outcome_of_a_broadcast_can_be_selected_on() {
    // So slow that the first message is being cut for the whole test.
    let slow = Config { send_rate: 100, send_queue_bytes: 0, ..unlimited() };
    let alice = node_with(slow, ChannelDescriptor::new(CHANNEL));
    let bob = node();
    let (to_bob, _) = pair(&alice, &bob);
    let done = alice.0.handle().broadcast(CHANNEL, vec![1; 100_000]).unwrap();
    assert!(done.settled().recv_timeout(DEADLINE).unwrap_err().is_disconnected());
    until("the first message is being cut", || to_bob.status().channels[0].queued == 0);
    to_bob.try_send(CHANNEL, "in the queue").unwrap();
    let open = alice.0.handle().broadcast(CHANNEL, "no place").unwrap();
    assert!(open.settled().try_recv().unwrap_err().is_empty());
    to_bob.stop("enough");
    select! {
        recv(open.settled()) -> nothing => assert!(nothing.is_err(), "it carries nothing"),
        recv(after(DEADLINE)) -> _ => panic!("the broadcast was not settled"),
    }
    let outcomes = open.wait_timeout(Duration::ZERO);
    assert_eq!(outcomes, [(to_bob, Err(SendErrorKind::Closed))]);
}

/// A receiver that takes very little: `Config` for it, and its channel.
fn stuck() -> (Config, ChannelDescriptor) {
    let config = Config {
        reactor_budget: 1000,
        parking_per_peer: 1000,
        parking_total: 400_000,
        ..unlimited()
    };
    (config, ChannelDescriptor::new(CHANNEL).recv_message_capacity(200_000))
}

#[test]
fn a_broadcast_is_not_held_up_by_a_peer_that_does_not_read() {
    // After three of them the sleeper is let go.
    let timeout = Duration::from_secs(1);
    let channel = stuck().1;
    let hub = node_with(Config { send_timeout: timeout, ..unlimited() }, channel);
    let (reader, sleeper) = (node_with(stuck().0, channel), node_with(stuck().0, channel));
    let (to_reader, _) = pair(&hub, &reader);
    let (to_sleeper, _) = pair(&hub, &sleeper);
    let handle = hub.0.handle();
    let mut refusals = Vec::new();
    let mut sent = 0;
    while refusals.len() < 2 {
        let broadcast = handle.broadcast(CHANNEL, vec![3; 100_000]).unwrap();
        sent += 1;
        assert_eq!(message(&reader.1).payload().len(), 100_000, "the reader gets each at once");
        let started = Instant::now();
        let outcomes = broadcast.wait_timeout(DEADLINE);
        assert!(started.elapsed() < DEADLINE / 2, "the entry itself ends, not the wait for it");
        for (peer, outcome) in outcomes {
            match outcome {
                Ok(()) => {}
                Err(kind) => {
                    assert_eq!(peer, to_sleeper);
                    refusals.push(kind);
                }
            }
        }
        assert!(sent < 2000, "the sleeper's kernel cannot hold that much");
    }
    assert_eq!(refusals, [SendErrorKind::TimedOut; 2]);
    assert_eq!(to_sleeper.status().channels[0].dropped, 2);
    assert_eq!(to_reader.status().channels[0].dropped, 0);
}

#[test]
fn a_full_queue_is_told_and_writable_follows_exactly_once() {
    let channel = stuck().1;
    let alice = node_with(unlimited(), channel);
    let bob = node_with(stuck().0, channel);
    let (to_bob, _) = pair(&alice, &bob);
    let mut accepted = 0u64;
    let refused = loop {
        match to_bob.try_send(CHANNEL, vec![9; 50_000]) {
            Ok(()) => accepted += 1,
            // Once more than enough to fill both kernels: nothing moves until bob reads.
            Err(error) if accepted * 50_000 > 20_000_000 => break error,
            Err(_) if next_writable(&alice, Duration::from_secs(1)).is_some() => {}
            // Nothing has moved for so long.
            Err(error) => break error,
        }
    };
    assert_eq!((refused.kind, refused.payload.len()), (SendErrorKind::Full, 50_000));
    assert!(!to_bob.can_send(CHANNEL));
    for _ in 0..5 {
        assert_eq!(to_bob.try_send(CHANNEL, b"x".to_vec()).unwrap_err().kind, SendErrorKind::Full);
    }
    assert!(alice.1.events().is_empty(), "not writable before something is read");
    for _ in 0..accepted {
        assert_eq!(message(&bob.1).payload().len(), 50_000);
    }
    match next(alice.1.events()) {
        Event::Writable(peer, channel) => {
            assert_eq!((peer, channel.as_u8()), (to_bob.clone(), CHANNEL))
        }
        other => panic!("{other:?}"),
    }
    to_bob.try_send(CHANNEL, b"last".to_vec()).unwrap();
    assert_eq!(&message(&bob.1).payload()[..], b"last");
    assert!(alice.1.events().is_empty(), "once");
}

fn next_writable(node: &(tmp2p::Switch, tmp2p::Reactor), timeout: Duration) -> Option<()> {
    match node.1.events().recv_timeout(timeout) {
        Ok(Event::Writable(..)) => Some(()),
        Ok(other) => panic!("{other:?}"),
        Err(_) => None,
    }
}

#[test]
fn a_blocking_send_gives_up_after_its_time_and_the_others_go_on() {
    // Who takes nothing for three times as long is let go: bob is to read before that.
    let timeout = Duration::from_secs(1);
    let channel = stuck().1;
    let alice = node_with(Config { send_timeout: timeout, ..unlimited() }, channel);
    let bob = node_with(stuck().0, channel);
    let (to_bob, _) = pair(&alice, &bob);
    let mut accepted = 0;
    let error = loop {
        match to_bob.send(CHANNEL, vec![accepted as u8; 100_000]) {
            Ok(()) => accepted += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((error.kind, error.payload.len()), (SendErrorKind::TimedOut, 100_000));
    // What was given up is not sent; what was accepted is.
    for number in 0..accepted {
        assert_eq!(message(&bob.1).payload()[0], number as u8);
    }
    to_bob.send(CHANNEL, vec![77; 1]).unwrap();
    assert_eq!(message(&bob.1).payload()[..], [77]);
}
