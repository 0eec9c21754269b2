//! How a switch ends: in order, at once, and when something is already broken.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use tmp2p::{
    ChannelDescriptor, Config, ControlError, DialError, DisconnectReason, Event, NodeKey,
    PeerAddress, Resolver, SendErrorKind, Stopped,
};

use crate::support::*;

/// A receiver whose reactor takes little before reading stops.
fn narrow() -> Config {
    Config { reactor_budget: 1000, parking_per_peer: 1000, parking_total: 400_000, ..unlimited() }
}

fn channel() -> ChannelDescriptor {
    ChannelDescriptor::new(CHANNEL).recv_message_capacity(200_000)
}

#[test]
fn stop_flushes_everything_that_was_accepted() {
    // Slow enough that a good part is still in the queue when the stop begins.
    let alice =
        node_with(Config { send_rate: 400_000, ..unlimited() }, channel().send_queue_capacity(40));
    let peers: Vec<_> = (0..3).map(|_| node_with(unlimited(), channel())).collect();
    for peer in &peers {
        pair(&alice, peer);
    }
    for number in 0..40u8 {
        let outcomes = alice.0.handle().try_broadcast(CHANNEL, vec![number; 20_000]).unwrap();
        assert!(outcomes.iter().all(|(_, outcome)| outcome.is_ok()), "{outcomes:?}");
    }
    let queued = alice.0.handle().peers()[0].status().channels[0].queued;
    assert!(queued > 0, "something is left to flush");
    let reader = thread::spawn(move || {
        for peer in &peers {
            for number in 0..40u8 {
                assert_eq!(message(&peer.1).payload()[..], vec![number; 20_000]);
            }
            assert_eq!(*down(&peer.1).1, DisconnectReason::Eof);
        }
    });
    let report = alice.0.stop(DEADLINE).unwrap();
    assert_eq!(report.sessions, 3);
    assert!(report.elapsed < DEADLINE, "it ends when everything is flushed: {report:?}");
    reader.join().unwrap();
    let ends: Vec<_> = alice.1.events().iter().collect();
    assert_eq!(ends.len(), 3, "one PeerDown each, then the end: {ends:?}");
    for end in ends {
        let Event::PeerDown(_, reason) = end else { panic!("{end:?}") };
        assert_eq!(*reason, DisconnectReason::Stopped);
    }
}

#[test]
fn stop_waits_no_longer_than_it_was_told_for_a_peer_that_does_not_read() {
    // Bob is let go after three times as long: the stop comes before that.
    let alice =
        node_with(Config { send_timeout: Duration::from_secs(1), ..unlimited() }, channel());
    let bob = node_with(narrow(), channel());
    let (to_bob, _) = pair(&alice, &bob);
    while to_bob.send(CHANNEL, vec![1; 100_000]).is_ok() {}
    let timeout = Duration::from_millis(300);
    let started = Instant::now();
    let report = alice.0.stop(timeout).unwrap();
    assert!(started.elapsed() >= timeout, "it tried: {report:?}");
    assert!(started.elapsed() < DEADLINE);
    assert!(alice.1.events().iter().any(|event| matches!(event, Event::PeerDown(..))));
    // Bob still gets what had reached his kernel, then the end.
    down(&bob.1);
}

#[test]
fn drop_is_a_hard_stop() {
    let alice =
        node_with(Config { send_timeout: Duration::from_millis(400), ..unlimited() }, channel());
    let bob = node_with(narrow(), channel());
    let (to_bob, _) = pair(&alice, &bob);
    while to_bob.send(CHANNEL, vec![1; 100_000]).is_ok() {}
    let switch = alice.0;
    // A flush would take for ever: bob does not read.
    in_time(move || drop(switch));
    assert_eq!(to_bob.send(CHANNEL, b"x".to_vec()).unwrap_err().kind, SendErrorKind::Closed);
    assert!(alice.1.events().iter().any(|event| matches!(event, Event::PeerDown(..))));
    down(&bob.1);
}

#[test]
fn stop_does_not_wait_for_a_reactor_that_stopped_reading() {
    let alice = node_with(narrow(), channel());
    let bob =
        node_with(Config { send_timeout: Duration::from_millis(400), ..unlimited() }, channel());
    connect(&alice.0, &bob.0);
    let to_alice = up(&bob.1);
    let mut sent = 0u32;
    while to_alice.send(CHANNEL, vec![1; 100_000]).is_ok() {
        sent += 1;
    }
    let (switch, reactor) = alice;
    in_time(move || switch.stop(DEADLINE)).unwrap();
    // The inbox still holds what was delivered, and then ends.
    let events: Vec<_> = reactor.events().iter().collect();
    assert!(matches!(events.first(), Some(Event::PeerUp(_))), "{events:?}");
    assert!(matches!(events.last(), Some(Event::PeerDown(..))), "{events:?}");
    assert!(events.len() as u32 - 2 < sent, "not everything fitted");
    down(&bob.1);
}

#[test]
fn stop_works_after_a_reactor_thread_has_panicked() {
    let (switch, reactor) = built(unlimited(), NodeKey::generate(), |_, spec| may_end(spec));
    let bob = node();
    let thread = thread::spawn(move || {
        up(&reactor);
        panic!("a panic on purpose");
    });
    connect(&switch, &bob.0);
    let to_switch = up(&bob.1);
    assert!(thread.join().is_err());
    // Nobody reads there any more: the messages go nowhere, and hold up nobody.
    for _ in 0..100 {
        to_switch.send(CHANNEL, vec![1; 50_000]).unwrap();
    }
    in_time(move || switch.stop(DEADLINE)).unwrap();
    assert_eq!(*down(&bob.1).1, DisconnectReason::Eof);
}

#[test]
fn anybody_may_request_the_stop() {
    let alice = node();
    let bob = node();
    pair(&alice, &bob);
    let handle = alice.0.handle().clone();
    let waiter = thread::spawn(move || {
        alice.0.wait();
        alice
    });
    let asker = thread::spawn(move || {
        handle.request_stop();
        handle.request_stop();
    });
    asker.join().unwrap();
    let (switch, reactor) = in_time(move || waiter.join().unwrap());
    assert!(matches!(reactor.events().recv().unwrap(), Event::PeerDown(..)));
    assert!(reactor.events().recv().is_err(), "the receiver has ended");
    assert_eq!(switch.wait(), tmp2p::StopReason::Requested);
    let report = switch.stop(Duration::ZERO).unwrap();
    assert_eq!(report.sessions, 0, "it was over already");
    assert_eq!(*down(&bob.1).1, DisconnectReason::Eof);
}

#[test]
fn a_handle_outlives_its_switch_and_says_so() {
    let (alice, bob) = (node(), node());
    let (to_bob, _) = pair(&alice, &bob);
    let (handle, addr) = (alice.0.handle().clone(), alice.0.handle().peer_address().unwrap());
    // A dial that is under way when the switch stops.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let id = tmp2p::NodeKey::generate().id();
    let silent_addr = format!("{id}@{}", silent.local_addr().unwrap());
    let ticket = handle.dial(silent_addr.parse().unwrap());
    alice.0.stop(DEADLINE).unwrap();

    let ended = ticket.wait_timeout(DEADLINE).expect("answered by the stop").unwrap_err();
    assert!(
        matches!(ended, DialError::Stopped(Stopped) | DialError::Failed(DisconnectReason::Stopped)),
        "{ended}"
    );
    assert!(handle.dial(bob.0.handle().peer_address().unwrap()).wait().is_err());
    assert!(handle.peers().is_empty());
    assert_eq!(handle.peer(to_bob.id()), None);
    assert_eq!(handle.num_peers(), tmp2p::NumPeers::default());
    assert_eq!(handle.disconnect(to_bob.id(), "gone"), Err(ControlError::Stopped(Stopped)));
    assert_eq!(handle.broadcast(CHANNEL, b"x".to_vec()).unwrap().num_peers(), 0);
    assert!(handle.try_broadcast(CHANNEL, b"x".to_vec()).unwrap().is_empty());
    assert!(handle.subscribe().recv().is_err());
    assert_eq!(handle.peer_address().unwrap(), addr, "what it was can still be asked");
    handle.request_stop();
    to_bob.stop("nobody hears it");
    assert_eq!(to_bob.send(CHANNEL, b"x".to_vec()).unwrap_err().kind, SendErrorKind::Closed);
    assert!(to_bob.closed().recv().is_err());
}

#[test]
fn blocked_senders_and_open_broadcasts_end_with_the_switch() {
    // So slow that the first message is being cut for the whole test.
    let slow =
        Config { send_rate: 100, send_queue_bytes: 0, send_timeout: DEADLINE, ..unlimited() };
    let alice = node_with(slow, channel());
    let bob = node();
    let (to_bob, _) = pair(&alice, &bob);
    let queued = || to_bob.status().channels[0].queued;
    to_bob.try_send(CHANNEL, vec![1; 100_000]).unwrap();
    until("the first message is being cut", || queued() == 0);
    to_bob.try_send(CHANNEL, vec![1; 10]).unwrap();
    let sender = {
        let peer = to_bob.clone();
        thread::spawn(move || peer.send(CHANNEL, vec![1; 10]).unwrap_err().kind)
    };
    until("the sender waits", || queued() == 2);
    let broadcast = alice.0.handle().broadcast(CHANNEL, vec![1; 10]).unwrap();
    assert!(!broadcast.is_settled());
    drop(alice.0);
    assert_eq!(in_time(move || sender.join().unwrap()), SendErrorKind::Closed);
    let outcomes = broadcast.wait_timeout(DEADLINE);
    assert_eq!(outcomes[0].1, Err(SendErrorKind::Closed));
}

/// Sits in the name server until it is let go.
struct Stuck(tmp2p::crossbeam_channel::Receiver<()>);

impl Resolver for Stuck {
    fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        let _ = self.0.recv();
        Err(io::Error::other("let go"))
    }
}

#[test]
fn stop_does_not_wait_for_dials_of_any_kind() {
    let (_release, stuck) = tmp2p::crossbeam_channel::bounded(0);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let hanging = stranger(silent.local_addr().unwrap());
    let named: PeerAddress =
        format!("{}@slow.example:1", NodeKey::generate().id()).parse().unwrap();
    let config = Config {
        persistent_peers: vec![stranger(closed_port())],
        dial_timeout: Duration::from_secs(3600),
        handshake_timeout: Duration::from_secs(3600),
        dial_spread: Duration::from_secs(3600),
        ..unlimited()
    };
    let alice = built(config, NodeKey::generate(), |builder, _| {
        builder.resolver(Stuck(stuck));
    });
    let (handle, told) = (alice.0.handle().clone(), alice.0.handle().subscribe());
    let tickets = [hanging, named].map(|addr| handle.dial(addr));
    handle.dial_peers([stranger(closed_port())]).unwrap();
    assert_eq!(handle.num_peers().dialing, 4, "connecting, looking up, two scheduled");
    in_time(move || alice.0.stop(DEADLINE)).unwrap();
    for ticket in tickets {
        let failed = ticket.wait_timeout(Duration::ZERO).expect("answered by the stop");
        assert_eq!(failed, Err(DialError::Stopped(Stopped)));
    }
    let failed = told.iter().filter(|event| matches!(event, tmp2p::SwitchEvent::DialFailed { .. }));
    assert_eq!(failed.count(), 4, "each is told, once");
    assert_eq!(handle.num_peers().dialing, 0);
}

#[test]
fn stop_does_not_wait_for_filters() {
    let config = Config {
        connection_filter_timeout: Duration::from_secs(3600),
        peer_filter_timeout: Duration::from_secs(3600),
        ..unlimited()
    };
    for is_peer_filter in [false, true] {
        let unanswered = Arc::new(Mutex::new(Vec::new()));
        let asked = unanswered.clone();
        let filter = move |_: &tmp2p::Candidate| {
            let (decision, verdict) = tmp2p::Verdict::later();
            asked.lock().unwrap().push(decision);
            verdict
        };
        let alice = built(config.clone(), NodeKey::generate(), |builder, _| {
            if is_peer_filter {
                builder.peer_filter(filter);
            } else {
                builder.connection_filter(filter);
            }
        });
        let (here, there) = (node(), node());
        let dialing = alice.0.handle().dial(there.0.handle().peer_address().unwrap());
        let _dialed = here.0.handle().dial(alice.0.handle().peer_address().unwrap());
        until("both are being asked about", || unanswered.lock().unwrap().len() == 2);
        in_time(move || alice.0.stop(DEADLINE)).unwrap();
        let failed = dialing.wait_timeout(Duration::ZERO).expect("answered by the stop");
        assert_eq!(failed, Err(DialError::Stopped(Stopped)));
        assert!(alice.1.events().iter().next().is_none(), "nobody was a peer");
        // Answers that come after the end find nobody.
        for decision in unanswered.lock().unwrap().drain(..) {
            decision.accept();
        }
    }
}

#[test]
fn stop_does_not_wait_for_a_parked_duplicate() {
    let (alice, key) = (node(), NodeKey::generate());
    let addr = alice.0.handle().local_addr().unwrap();
    let way = Way::new(Ipv4Addr::LOCALHOST, addr);
    let old = built(unlimited(), key.clone(), |_, _| {});
    assert_eq!(dial(&old.0, at(alice.0.handle().id(), way.addr)), Ok(alice.0.handle().id()));
    up(&alice.1);
    // Nothing comes through any more, and the same node connects anew: it waits for a sign of life.
    way.shut();
    let new = built(unlimited(), key, |_, _| {});
    let told = alice.0.handle().subscribe();
    connect(&new.0, &alice.0);
    let timeout = Duration::from_millis(300);
    let started = Instant::now();
    in_time(move || alice.0.stop(timeout)).unwrap();
    assert!(started.elapsed() < DEADLINE);
    let told: Vec<_> = told.iter().collect();
    assert!(
        !told.iter().any(|event| matches!(event, tmp2p::SwitchEvent::Connected { .. })),
        "{told:?}"
    );
    assert!(matches!(down(&alice.1).1.kind(), "stopped"));
    assert!(alice.1.events().recv().is_err());
}
