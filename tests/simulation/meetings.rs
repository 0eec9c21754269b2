//! Two connections between the same two nodes: which one stays.

use std::time::Duration;

use tmp2p::{
    ConnId, DisconnectReason, NodeKey, internals::protocol::secret::Null, internals::switch::Input,
};

use crate::{
    dice::Dice,
    options::Options,
    reactor::Mode,
    weather::Weather,
    world::{Actor, World, seeds},
};

const SECOND: Duration = Duration::from_secs(1);

/// Another node with the key of this one, as it is after a restart.
fn twin(world: &mut World<Null>, of: usize) -> usize {
    let key = Some(NodeKey::from_seed([of as u8 + 1; 32]));
    world.add(Options { key, ..Options::default() })
}

/// Both nodes have one session with each other, and it is the same connection.
fn assert_one_session(world: &World<Null>, a: usize, b: usize) {
    let sessions = |at: usize, with: usize| -> Vec<ConnId> {
        let id = world.nodes[with].id;
        let peers = world.nodes[at].reactors[0].peers();
        peers.iter().filter(|p| p.id() == id).map(|p| p.conn()).collect()
    };
    let (at_a, at_b) = (sessions(a, b), sessions(b, a));
    assert_eq!((at_a.len(), at_b.len()), (1, 1), "{:?}", world.nodes[a].events);
    let (a, b) = (world.nodes[a].socks[&at_a[0]], world.nodes[b].socks[&at_b[0]]);
    assert_eq!(world.net.borrow().socks[a].peer, Some(b), "each has kept another one");
}

/// The fault: each node kept the connection that it had admitted first, and both were closed.
#[test]
fn simultaneous_dials() {
    let mut crossed = 0;
    for seed in seeds(1000) {
        let mut dice = Dice::new(seed);
        let mut weather = Weather::random(&mut dice);
        weather.send_buffer = weather.send_buffer.max(4 << 10);
        weather.recv_buffer = weather.recv_buffer.max(4 << 10);
        let mut world = World::with(seed, weather);
        world.pauses = *dice.pick(&[0, 5]);
        // Their address is one, and it is no reason to refuse either.
        let options = Options::with(|c| c.allow_duplicate_ip = seed % 2 == 0);
        let (a, b) = (world.add(options.clone()), world.add(options));
        world.dial(a, b);
        world.run_for(Duration::from_micros(dice.below(20_000) as u64));
        world.dial(b, a);
        // Not after the 3 seconds for which one of them waits.
        world.run_for(2 * SECOND);
        assert_one_session(&world, a, b);
        crossed += usize::from(world.nodes[a].established > 1 || world.nodes[b].established > 1);
        if seed % 50 == 0 {
            world.stop_all();
        }
    }
    assert!(crossed > 300 || std::env::var("TMP2P_SEED").is_ok(), "{crossed} have crossed");
}

/// While filters decide there is no session yet, and both connections are on their way to be one.
#[test]
fn simultaneous_dials_under_filters() {
    for seed in seeds(200) {
        let mut dice = Dice::new(seed);
        let mut world = World::<Null>::new(seed);
        let mut options = Options::with(|c| c.allow_duplicate_ip = seed % 2 == 0);
        options.filter_peers = true;
        let (a, b) = (world.add(options.clone()), world.add(options));
        world.dial(a, b);
        world.dial(b, a);
        for _ in 0..200 {
            world.run_for(Duration::from_millis(10));
            let node = *dice.pick(&[a, b]);
            let asked = &mut world.nodes[node].asked;
            if dice.one_in(5) && !asked.is_empty() {
                let (ticket, _) = asked.swap_remove(dice.below(asked.len()));
                let decided = Input::Decided { ticket, result: Ok(()) };
                world.nodes[node].inputs.push_back(decided);
            }
        }
        assert_one_session(&world, a, b);
    }
}

/// The fault: a node that was rebooted could not come back until its old connection had timed out.
#[test]
fn half_open_connection_blocks_reconnect() {
    for seed in seeds(20) {
        let mut world = World::<Null>::new(seed);
        let (a, b) = (world.add(Options::default()), world.add(Options::default()));
        let (_, at_b) = world.connect(a, b);
        let id = world.nodes[a].id;
        world.run_for(10 * SECOND);
        // Its old self says nothing any more, not even that it is gone.
        world.hold(Actor::Loop(a), 100_000 * SECOND);
        let again = twin(&mut world, a);
        world.dial(again, b);
        world.run_for(Duration::from_millis(4900));
        let old = world.nodes[b].peer(0, id).map(|peer| peer.conn());
        assert_eq!(old, Some(at_b.conn()), "it may be slow");
        world.run_for(SECOND);
        let new = world.nodes[b].peer(0, id).expect("it is back").conn();
        assert_ne!(new, at_b.conn());
        let reason = world.down(b, 0, at_b.conn());
        assert_eq!(reason, Some(DisconnectReason::Superseded));
        world.run_for(100 * SECOND);
        assert_one_session(&world, again, b);
        // The next one finds a living session, and is refused within a round trip or two.
        let third = twin(&mut world, a);
        world.dial(third, b);
        world.run_for(SECOND);
        assert_eq!(world.nodes[b].rejections(), ["duplicate_id"]);
        assert_one_session(&world, again, b);
    }
}

/// Whose bytes we do not take cannot show that it is alive.
#[test]
fn a_session_that_we_do_not_read_is_not_replaced() {
    let mut world = World::<Null>::new(1);
    let narrow = Options::with(|c| (c.reactor_budget, c.parking_per_peer) = (1000, 1000));
    let patient = Options::with(|c| c.send_timeout = 60 * SECOND);
    let (a, b) = (world.add(patient), world.add(narrow));
    let (at_a, at_b) = world.connect(a, b);
    world.set_mode(b, 0, Mode::Stuck);
    while world.send(a, &at_a, 0x20, 10_000).is_ok() {
        world.run_for(Duration::from_millis(1));
    }
    world.run_for(10 * SECOND);
    let again = twin(&mut world, a);
    world.dial(again, b);
    world.run_for(20 * SECOND);
    assert_eq!(world.nodes[b].rejections(), ["duplicate_id"]);
    assert_eq!(world.nodes[b].ups_and_downs(), (1, 0));
    world.set_mode(b, 0, Mode::Reads);
    world.run_for(10 * SECOND);
    let (accepted, delivered) = world.counts(a, at_a.conn());
    assert_eq!(accepted, delivered, "{}", at_b.conn());
    world.stop_all();
}

/// The old session has ended, and its last messages have not been taken: the new one waits for
/// that, and they are not lost for it.
#[test]
fn a_session_that_is_about_to_end_is_waited_for() {
    let mut world = World::<Null>::new(1);
    let slow = Options::with(|c| {
        (c.reactor_budget, c.parking_per_peer) = (1000, 100_000);
        c.drain_timeout = 60 * SECOND;
    });
    let (a, b) = (world.add(Options::default()), world.add(slow));
    let (at_a, at_b) = world.connect(a, b);
    world.set_mode(b, 0, Mode::Stuck);
    for _ in 0..20 {
        world.send(a, &at_a, 0x20, 1000).unwrap();
    }
    at_a.flush_stop();
    world.run_for(SECOND);
    assert!(world.nodes[b].ending.contains(&at_b.conn()));
    let again = twin(&mut world, a);
    world.dial(again, b);
    world.run_for(20 * SECOND);
    assert_eq!(world.nodes[b].ups_and_downs(), (1, 0), "{:?}", world.nodes[b].events);
    world.set_mode(b, 0, Mode::Reads);
    world.run_for(SECOND);
    assert_eq!(world.counts(a, at_a.conn()), (20, 20));
    assert_one_session(&world, again, b);
    world.stop_all();
}

/// A session that is over makes room as soon as that is known, and not a moment before its `down`.
#[test]
fn who_comes_back_at_once_is_let_in_at_once() {
    for seed in seeds(100) {
        let mut world = World::<Null>::new(seed);
        world.pauses = 3;
        let (a, b) = (world.add(Options::default()), world.add(Options::default()));
        for _ in 0..3 {
            let (_, at_b) = world.connect(a, b);
            let id = world.nodes[a].id;
            world.cut(a, b);
            let is_free = |w: &World<Null>| w.peer(a, b).is_none();
            assert!(world.run_until(SECOND, is_free));
            world.dial(a, b);
            let is_back = |w: &World<Null>| {
                w.nodes[b].peer(0, id).is_some_and(|peer| peer.conn() != at_b.conn())
            };
            assert!(world.run_until(SECOND, is_back), "{:?}", world.nodes[b].events);
            world.cut(a, b);
            world.run_for(SECOND);
        }
    }
}
