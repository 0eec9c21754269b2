//! How connections end: what is delivered, what is flushed, what is told.

use std::time::Duration;

use tmp2p::{DisconnectReason, internals::drive::Core, internals::protocol::secret::Null};

use crate::{
    dice::Dice,
    options::Options,
    raw::{RawPeer, body},
    reactor::Mode,
    weather::Weather,
    world::{Actor, World, seeds},
};

const MS: Duration = Duration::from_millis(1);

/// What keeps the receiver from taking everything at once when the peer closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Obstacle {
    /// The reactor does not read for some seconds.
    Paused,
    /// `recv_rate`.
    RateLimited,
    /// The switch takes its time.
    AwaitingAdmission,
}

/// The fault: what a peer sent before it closed was thrown away. Seeds answer and close.
#[test]
fn eof_discards_what_the_peer_sent_before_closing() {
    for seed in seeds(6) {
        for obstacle in [Obstacle::Paused, Obstacle::RateLimited, Obstacle::AwaitingAdmission] {
            for write_error in [false, true] {
                everything_is_delivered(seed, obstacle, write_error);
            }
        }
    }
}

fn everything_is_delivered(seed: u64, obstacle: Obstacle, write_error: bool) {
    let mut dice = Dice::new(seed);
    // Whatever happens, our kernel has received everything.
    let weather =
        Weather { recv_buffer: 4 << 20, send_buffer: 4 << 20, ..Weather::random(&mut dice) };
    let mut world = World::<Null>::with(seed, weather);
    let b = world.add(Options::with(|c| {
        c.reactor_budget = 20_000;
        c.parking_per_peer = 30_000;
        if obstacle == Obstacle::RateLimited {
            c.recv_rate = 64_000;
        }
    }));
    world.nodes[b].reactors[1].is_foreign = true;
    let (messages, len) = (200, dice.range(1..=7000));
    let mut raw = RawPeer::connect(&mut world, b, 1);
    raw.authenticate(&mut world);
    if obstacle == Obstacle::AwaitingAdmission {
        world.hold(Actor::Commands(b), Duration::from_secs(9));
    }
    if obstacle == Obstacle::Paused {
        world.set_mode(b, 1, Mode::Stuck);
    }
    let node_info = raw.node_info(&Options::default());
    raw.put(&node_info);
    raw.put_messages(0x30, messages, len);
    raw.flush(&mut world);
    // Not a byte of ours is left unread by the peer: it closes, it does not reset.
    world.run_for(40 * MS);
    raw.pull();
    raw.close();
    world.run_for(60 * MS);
    if write_error {
        let id = raw.id();
        let peer = world.nodes[b].peer(0, id).expect("it is a session already");
        let _ = peer.try_send(0x20, vec![1; 5000]);
        world.run_for(500 * MS);
        let _ = peer.try_send(0x20, vec![1; 5000]);
    }
    world.run_for(Duration::from_secs(8));
    world.set_mode(b, 1, Mode::Reads);
    world.run_for(Duration::from_secs(60));

    let reactor = &world.nodes[b].reactors[1];
    let why = format!("{obstacle:?}, write error {write_error}, {len} bytes each");
    assert_eq!(reactor.messages.len(), messages, "{why}");
    for (number, (_, payload)) in reactor.messages.iter().enumerate() {
        assert_eq!(payload[..], body(number, len), "{why}");
    }
    let seen = reactor.sessions.values().next().expect("one session");
    let kind = seen.down.as_ref().expect("down").kind();
    // While we do not read for the rate's sake an unsolicited pong may meet the closed socket.
    let may_reset = write_error || obstacle == Obstacle::RateLimited;
    assert!(kind == "eof" || (may_reset && kind == "reset"), "{kind}: {why}");
    world.stop_all();
}

#[test]
fn a_reactor_that_takes_nothing_after_the_end_is_given_up() {
    let mut world = World::<Null>::new(1);
    let b = world.add(Options::with(|c| (c.reactor_budget, c.parking_per_peer) = (5000, 5000)));
    world.nodes[b].reactors[1].is_foreign = true;
    let mut raw = RawPeer::session(&mut world, b, 1);
    world.set_mode(b, 1, Mode::Stuck);
    raw.put_messages(0x30, 100, 1000);
    raw.flush(&mut world);
    world.run_for(10 * MS);
    raw.pull();
    raw.close();
    world.run_for(Duration::from_secs(9));
    assert_eq!(world.nodes[b].core.num_connections(), 1);
    world.run_for(Duration::from_secs(2));
    assert_eq!(world.nodes[b].core.num_connections(), 0);
    world.stop_all();
}

#[test]
fn a_peer_that_has_ended_the_stream_owes_no_pong() {
    let mut world = World::<Null>::new(1);
    let b = world.add(Options::with(|c| {
        c.reactor_budget = 5000;
        c.drain_timeout = Duration::from_secs(100);
    }));
    world.nodes[b].reactors[1].is_foreign = true;
    let mut raw = RawPeer::session(&mut world, b, 1);
    world.set_mode(b, 1, Mode::Stuck);
    raw.put_messages(0x30, 100, 1000);
    raw.flush(&mut world);
    // It is asked after 60 s, does not answer, and leaves shortly before its time is over.
    world.run_for(Duration::from_secs(100));
    raw.count(world.now);
    assert_eq!(raw.pings, 1);
    raw.close();
    world.run_for(Duration::from_secs(20));
    world.set_mode(b, 1, Mode::Reads);
    world.run_for(Duration::from_secs(1));
    let reactor = &world.nodes[b].reactors[1];
    assert_eq!(reactor.messages.len(), 100);
    let seen = reactor.sessions.values().next().expect("one session");
    assert_eq!(seen.down.as_deref(), Some(&DisconnectReason::Eof));
    world.stop_all();
}

#[test]
fn a_flush_loses_nothing_with_tiny_kernel_buffers() {
    for seed in seeds(20) {
        let mut dice = Dice::new(seed);
        let least = dice.range(1..=5000) as u64;
        let (send_buffer, recv_buffer) = (dice.range(1..=3000), dice.range(1..=3000));
        // Who has authenticated itself has 3 s for its NodeInfo. Until that is there the other end may
        // have two frames to read, each time at least a fourth of the buffer on average, and back and
        // forth is four times the least latency at most: 1.7 s.
        let least = Duration::from_micros(least.min(50 * recv_buffer as u64));
        let latency = (least, 2 * least);
        let weather = Weather { latency, send_buffer, recv_buffer, chops: true, rearms: false };
        let mut world = World::<Null>::with(seed, weather);
        let options = Options::with(|c| c.close_timeout = Duration::from_secs(3600));
        let (a, b) = (world.add(options.clone()), world.add(options));
        let (at_a, at_b) = world.connect(a, b);
        for i in 0..30 {
            let _ = world.send(a, &at_a, [0x20, 0x81, 0x30][i % 3], dice.range(0..=5000));
            let _ = world.send(b, &at_b, 0x20, dice.range(0..=5000));
        }
        at_a.flush_stop();
        at_a.flush_stop();
        let is_down = |w: &World<Null>| w.down(a, 0, at_a.conn()).is_some();
        assert!(world.run_until(Duration::from_secs(3600), is_down));
        assert!(at_a.try_send(0x20, b"late").is_err());
        world.run_for(Duration::from_secs(60));
        let (accepted, delivered) = world.counts(a, at_a.conn());
        assert_eq!(accepted, delivered);
        assert_eq!(world.down(b, 0, at_b.conn()), Some(DisconnectReason::Eof));
        world.stop_all();
    }
}

/// Nothing waits for anything but the line: each byte goes as soon as there is room for it.
#[test]
fn a_handshake_byte_by_byte_takes_as_long_as_its_bytes() {
    for seed in seeds(10) {
        for (send_buffer, recv_buffer) in [(1, 1), (1, 3000), (3000, 1)] {
            for chops in [false, true] {
                let latency = (MS / 10, MS / 5);
                let weather = Weather { latency, send_buffer, recv_buffer, chops, rearms: false };
                let mut world = World::<Null>::with(seed, weather);
                // Key, proof and NodeInfo, a frame each, and for each byte of them there and back.
                let longest = (35 + 2 * 1044) * 2 * latency.1;
                let options = Options::with(|c| c.handshake_timeout = longest);
                let (a, b) = (world.add(options.clone()), world.add(options));
                world.connect(a, b);
            }
        }
    }
}

#[test]
fn a_flush_at_the_send_rate_to_a_peer_that_does_not_read_sleeps() {
    let mut world = World::<Null>::new(1);
    world.net.borrow_mut().weather.recv_buffer = 2000;
    world.net.borrow_mut().weather.send_buffer = 2000;
    let options =
        Options::with(|c| (c.send_rate, c.send_timeout) = (64_000, Duration::from_secs(60)));
    let a = world.add(options);
    let raw = RawPeer::session(&mut world, a, 1);
    let peer = world.nodes[a].peer(0, raw.id()).unwrap();
    for _ in 0..10 {
        let _ = peer.try_send(0x20, vec![0; 10_000]);
    }
    // Close to the ping, which is due while the connection is being closed.
    world.run_for(Duration::from_secs(58));
    peer.flush_stop();
    world.run_for(MS);
    let turns = world.nodes[a].turns;
    world.run_for(Duration::from_secs(4));
    assert_eq!(world.nodes[a].core.num_connections(), 1);
    assert!(world.nodes[a].turns - turns < 10, "{} turns", world.nodes[a].turns - turns);
    world.run_for(Duration::from_secs(2));
    assert_eq!(world.nodes[a].core.num_connections(), 0, "the close has a deadline");
    world.stop_all();
}

#[test]
fn a_switch_stops_in_order_and_at_its_deadline() {
    for seed in seeds(10) {
        let mut world = World::<Null>::new(seed);
        world.pauses = 10;
        let (a, b, c) = (
            world.add(Options::default()),
            world.add(Options::default()),
            world.add(Options::default()),
        );
        let (to_b, _) = world.connect(a, b);
        let (to_c, at_c) = world.connect(c, a);
        let mut raw = RawPeer::session(&mut world, a, 1);
        let to_raw = world.nodes[a].peer(0, raw.id()).unwrap();
        for _ in 0..20 {
            let _ = world.send(a, &to_b, 0x20, 3000);
            let _ = world.send(a, &at_c, 0x30, 3000);
            // It takes nothing: its flush will not end.
            let _ = to_raw.try_send(0x20, vec![0; 100_000]);
        }
        world.run_for(MS);
        // One that is on its way finds out, too.
        let ticket = world.dial_at(a, world.nodes[b].id, "nowhere.example:1");
        let dead = "10.66.66.66:1".parse().unwrap();
        world.net.borrow_mut().black_holes.insert(dead);
        let lost = world.dial_at(a, raw.id(), "10.66.66.66:1");
        let began = world.now;
        world.stop(a, Duration::from_secs(2));
        let is_over = |w: &World<Null>| w.nodes[a].switch.is_stopped();
        assert!(world.run_until(Duration::from_secs(3), is_over));
        let took = world.now.since(began);
        assert!(
            took >= Duration::from_secs(2),
            "the peer that takes nothing had its time: {took:?}"
        );
        world.run_for(Duration::from_secs(1));
        for conn in [to_b.conn(), at_c.conn()] {
            let (accepted, delivered) = world.counts(a, conn);
            assert_eq!((accepted > 0, delivered), (true, accepted));
            for reactor in 0..2 {
                assert_eq!(world.down(a, reactor, conn), Some(DisconnectReason::Stopped));
            }
        }
        assert_eq!(world.down(c, 0, to_c.conn()), Some(DisconnectReason::Eof));
        assert!(world.nodes[a].answer(ticket).unwrap().is_err());
        assert!(world.nodes[a].answer(lost).unwrap().is_err());
        raw.pull();
        world.stop_all();
    }
}

/// The fault: a stop that comes late ended the next session of the same node.
#[test]
fn a_late_stop_kills_the_next_session_of_the_same_id() {
    for seed in seeds(10) {
        let mut world = World::<Null>::new(seed);
        let (a, b) = (world.add(Options::default()), world.add(Options::default()));
        let (first, at_b) = world.connect(a, b);
        at_b.stop_gracefully();
        world.run_for(Duration::from_secs(10));
        let (second, _) = world.connect(a, b);
        assert_eq!(first.id(), second.id());
        assert_ne!(first.conn(), second.conn());
        first.stop("late");
        first.stop_gracefully();
        at_b.flush_stop();
        world.run_for(Duration::from_secs(1));
        assert_eq!(world.down(a, 0, second.conn()), None);
        world.send(a, &second, 0x20, 100).unwrap();
        world.run_for(Duration::from_secs(1));
        assert_eq!(world.counts(a, second.conn()), (1, 1));
        world.stop_all();
    }
}
