//! What becomes of messages that are to be sent.

use std::time::Duration;

use tmp2p::{
    ChannelDescriptor, ChannelId, Peer, SendErrorKind, internals::protocol::secret::Null,
    internals::reactor::start_broadcast,
};

use crate::{
    dice::Dice,
    options::Options,
    raw::RawPeer,
    reactor::Mode,
    world::{World, seeds},
};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Strict queues, as the reference has them.
fn strict(capacity: usize) -> Options {
    let mut options = Options::with(|c| c.send_queue_bytes = 0);
    for channel in options.reactors.iter_mut().flatten() {
        *channel = channel.send_queue_capacity(capacity);
    }
    options
}

/// The fault: nobody could tell that messages were not sent.
#[test]
fn send_failures_silent() {
    for seed in seeds(60) {
        let mut dice = Dice::new(seed);
        let mut world = World::<Null>::new(seed);
        world.net.borrow_mut().weather.recv_buffer = 3000;
        world.net.borrow_mut().weather.send_buffer = 3000;
        let mut options = strict(dice.range(1..=4));
        options.config.send_rate = *dice.pick(&[0, 64_000]);
        let (a, b) = (world.add(options), world.add(Options::default()));
        let (at_a, at_b) = world.connect(a, b);
        let (mut accepted, mut refused, mut attempts) = (0, 0, 0);
        for _ in 0..40 {
            attempts += 1;
            let len = if dice.one_in(20) { 2 << 20 } else { dice.range(0..=4000) };
            match world.send(a, &at_a, 0x20, len) {
                Ok(()) => accepted += 1,
                Err(SendErrorKind::Full | SendErrorKind::TooLarge) => refused += 1,
                Err(kind) => panic!("{kind}"),
            }
            if dice.one_in(5) {
                world.run_for(MS);
            }
        }
        let status = at_a.status().channels[0];
        assert_eq!(status.dropped, refused);
        assert!(status.sent_messages + status.queued as u64 <= accepted);
        match dice.below(6) {
            0 => at_a.stop("enough"),
            1 => at_a.stop_gracefully(),
            2 => at_a.flush_stop(),
            3 => at_b.stop("enough"),
            4 => world.stop(a, SECOND),
            _ => assert!(world.cut(a, b)),
        }
        world.run_for(20 * SECOND);
        assert!(world.down(a, 0, at_a.conn()).is_some());
        // Each of the two reactors has tried in vain, too.
        attempts += 1 + 2;
        assert!(world.send(a, &at_a, 0x20, 100).is_err());
        let status = at_a.status().channels[0];
        assert_eq!(status.queued, 0);
        assert_eq!(
            status.sent_messages + status.dropped,
            attempts,
            "every message was sent or is counted as dropped: {status:?}"
        );
        world.stop_all();
    }
}

#[test]
fn writable_comes_once_after_full() {
    for seed in seeds(10) {
        let mut world = World::<Null>::new(seed);
        let (a, b) = (world.add(strict(2)), world.add(Options::default()));
        let (at_a, _) = world.connect(a, b);
        let writable = |w: &World<Null>, reactor: usize, channel: u8| {
            let seen = &w.nodes[a].reactors[reactor].sessions[&at_a.conn()];
            seen.writable.get(&ChannelId::new(channel)).copied().unwrap_or(0)
        };
        for round in 1..=5 {
            while world.send(a, &at_a, 0x20, 50_000).is_ok() {}
            for _ in 0..3 {
                assert_eq!(world.send(a, &at_a, 0x20, 1), Err(SendErrorKind::Full));
            }
            assert!(!at_a.can_send(0x20) && at_a.can_send(0x30));
            world.run_for(SECOND);
            assert!(at_a.can_send(0x20));
            assert_eq!(writable(&world, 0, 0x20), round, "once for each time");
            // Not without a refusal.
            world.send(a, &at_a, 0x20, 100).unwrap();
            world.send(a, &at_a, 0x30, 100).unwrap();
            world.run_for(SECOND);
            assert_eq!(writable(&world, 0, 0x20), round);
        }
        assert_eq!((writable(&world, 0, 0x81), writable(&world, 1, 0x30)), (0, 0));
        let (accepted, delivered) = world.counts(a, at_a.conn());
        assert_eq!(accepted, delivered);
        world.stop_all();
    }
}

#[test]
fn a_broadcast_tells_the_outcome_of_each_peer() {
    for seed in seeds(10) {
        let mut world = World::<Null>::new(seed);
        world.net.borrow_mut().weather.send_buffer = 4000;
        world.net.borrow_mut().weather.recv_buffer = 4000;
        let a = world.add(strict(1));
        let quick = world.add(Options::default());
        let silent = world.add(Options {
            reactors: vec![vec![ChannelDescriptor::new(0x20)]],
            ..Options::default()
        });
        let leaving = world.add(Options::default());
        for node in [quick, silent, leaving] {
            world.connect(a, node);
            for reactor in &mut world.nodes[node].reactors {
                reactor.is_foreign = true;
            }
        }
        // It stays connected and takes nothing.
        let stuck = RawPeer::session(&mut world, a, 1);
        let stuck = world.nodes[a].peer(0, stuck.id()).unwrap();
        let [quick_peer, silent_peer, leaving_peer] =
            [quick, silent, leaving].map(|node| world.peer(a, node).unwrap());
        for peer in [&stuck, &leaving_peer] {
            while peer.try_send(0x30, vec![0; 20_000]).is_ok() {
                world.run_for(MS);
            }
        }
        while stuck.try_send(0x30, vec![0; 20_000]).is_ok() {}
        let peers = vec![quick_peer, silent_peer, leaving_peer.clone(), stuck.clone()];
        let deadline = world.now + 10 * SECOND;
        let channel = ChannelId::new(0x30);
        // The one that is about to leave is full, or not, as it happens; then it is gone.
        let handle = start_broadcast(peers, channel, &vec![7; 100].into(), deadline);
        assert_eq!(handle.num_peers(), 4);
        let dropped = stuck.status().channels[2].dropped;
        leaving_peer.stop("leaving");
        world.run_for(9 * SECOND);
        assert!(!handle.is_settled(), "one of them waits");
        world.run_for(2 * SECOND);
        assert!(handle.is_settled(), "its time is over");
        let outcomes: Vec<_> =
            handle.wait_timeout(Duration::ZERO).into_iter().map(|(_, outcome)| outcome).collect();
        assert_eq!(outcomes[..2], [Ok(()), Err(SendErrorKind::NoSuchChannel)]);
        assert!(outcomes[2].is_ok() || outcomes[2] == Err(SendErrorKind::Closed));
        assert_eq!(outcomes[3], Err(SendErrorKind::TimedOut));
        assert_eq!(stuck.status().channels[2].dropped, dropped + 1);
        assert_eq!(world.nodes[quick].reactors[1].messages.len(), 1);
        world.stop_all();
    }
}

#[test]
fn broadcasts_keep_their_order_and_settle_as_places_come_free() {
    for seed in seeds(10) {
        let mut world = World::<Null>::new(seed);
        let (a, b) = (world.add(strict(1)), world.add(Options::default()));
        let (at_a, _) = world.connect(a, b);
        world.nodes[b].reactors[1].is_foreign = true;
        let mut handles = Vec::new();
        let mut all = Vec::new();
        for number in 0..20u8 {
            let payload = vec![number; 30];
            let deadline = world.now + 10 * SECOND;
            let peers: Vec<Peer> = vec![at_a.clone()];
            let handle =
                start_broadcast(peers, ChannelId::new(0x30), &payload.clone().into(), deadline);
            // A strict queue holds one that waits, beyond it is Full.
            let is_refused = handle.is_settled() && number > 0;
            all.push((number, is_refused));
            handles.push(handle);
            if number % 5 == 4 {
                world.run_for(10 * MS);
            }
        }
        world.run_for(SECOND);
        let mut expected = Vec::new();
        for (handle, (number, _)) in handles.into_iter().zip(all) {
            let outcome = handle.wait_timeout(Duration::ZERO).remove(0).1;
            match outcome {
                Ok(()) => expected.push(number),
                Err(kind) => assert_eq!(kind, SendErrorKind::Full),
            }
        }
        let received: Vec<u8> =
            world.nodes[b].reactors[1].messages.iter().map(|(_, payload)| payload[0]).collect();
        assert!(expected.len() >= 8, "{expected:?}");
        assert_eq!(received, expected);
        world.stop_all();
    }
}

#[test]
fn every_channel_gets_its_share_and_none_starves() {
    let mut world = World::<Null>::new(1);
    let options = Options::with(|c| c.send_rate = 500_000);
    let (a, b) = (world.add(options), world.add(Options::default()));
    let (at_a, at_b) = world.connect(a, b);
    world.set_mode(b, 0, Mode::Reads);
    for _ in 0..2000 {
        for channel in [0x20, 0x81, 0x30] {
            while world.send(a, &at_a, channel, 3000).is_ok() {}
        }
        world.run_for(10 * MS);
    }
    let received: Vec<u64> = at_b.status().channels.iter().map(|c| c.received_bytes).collect();
    let total: u64 = received.iter().sum();
    for (bytes, priority) in received.iter().zip([5.0, 1.0, 2.0]) {
        let share = *bytes as f64 / total as f64;
        assert!((share - priority / 8.0).abs() < 0.02, "{share} of a priority of {priority}");
    }
    world.stop_all();
}
