//! Connections that do not become sessions, and what each side is told.

use std::{io, time::Duration};

use tmp2p::{
    ChannelDescriptor, DisconnectReason, NodeKey, Peer, SwitchEvent,
    internals::protocol::secret::Null,
};

use crate::{
    options::Options,
    world::{Actor, World, seeds},
};

const SECOND: Duration = Duration::from_secs(1);

fn answer(world: &World<Null>, node: usize, ticket: u64) -> &'static str {
    match world.nodes[node].answer(ticket).unwrap() {
        Ok(_) => "up",
        Err(reason) => reason.kind(),
    }
}

/// The kinds of reasons for which inbound connections were rejected.
fn rejections(world: &World<Null>, node: usize) -> Vec<&'static str> {
    let kind = |event: &SwitchEvent| match event {
        SwitchEvent::Rejected { reason, .. } => Some(reason.kind()),
        _ => None,
    };
    world.nodes[node].events.iter().filter_map(kind).collect()
}

#[test]
fn incompatible_nodes_both_find_the_reason() {
    for seed in seeds(5) {
        let mut world = World::<Null>::new(seed);
        let a = world.add(Options::default());
        let b = world.add(Options { network: "another", ..Options::default() });
        let c = world.add(Options {
            reactors: vec![vec![ChannelDescriptor::new(0x77)]],
            ..Options::default()
        });
        for other in [b, c] {
            let ticket = world.dial(a, other);
            world.run_for(10 * SECOND);
            assert_eq!(answer(&world, a, ticket), "incompatible");
            assert_eq!(rejections(&world, other), ["incompatible"]);
            assert!(world.nodes[other].is_alone());
        }
        assert!(world.nodes[a].is_alone());
        world.stop_all();
    }
}

#[test]
fn a_node_that_is_somebody_else_is_refused_before_it_knows_us() {
    for seed in seeds(5) {
        let mut world = World::<Null>::new(seed);
        let (a, b) = (world.add(Options::default()), world.add(Options::default()));
        let foreign = NodeKey::from_seed([77; 32]).id();
        let at = world.nodes[b].addr.to_string();
        let ticket = world.dial_at(a, foreign, &at);
        world.run_for(10 * SECOND);
        let expected = DisconnectReason::WrongId { expected: foreign, actual: world.nodes[b].id };
        assert_eq!(world.nodes[a].answer(ticket), Some(&Err(expected)));
        assert_eq!(rejections(&world, b), ["eof"], "it has our key and none of our NodeInfo");
        assert!(world.nodes[a].is_alone() && world.nodes[b].is_alone());
        world.stop_all();
    }
}

#[test]
fn a_node_that_is_ourselves_is_refused_on_both_ends() {
    for seed in seeds(5) {
        let mut world = World::<Null>::new(seed);
        let a = world.add(Options::default());
        let at = world.nodes[a].addr.to_string();
        let ticket = world.dial(a, a);
        world.run_for(SECOND);
        assert_eq!(answer(&world, a, ticket), "self");
        // Under another name only the handshake can tell.
        let other = NodeKey::from_seed([77; 32]).id();
        let ticket = world.dial_at(a, other, &at);
        world.run_for(10 * SECOND);
        assert_eq!(answer(&world, a, ticket), "wrong_id");
        assert_eq!(world.nodes[a].core.num_connections(), 0);
        // Somebody else with our key dials us.
        let key = Some(NodeKey::from_seed([a as u8 + 1; 32]));
        let twin = world.add(Options { key, ..Options::default() });
        let ticket = {
            let id = NodeKey::from_seed([77; 32]).id();
            world.dial_at(twin, id, &at)
        };
        world.run_for(10 * SECOND);
        assert_eq!(answer(&world, twin, ticket), "wrong_id");
        assert!(world.nodes[a].is_alone() && world.nodes[twin].is_alone());
        world.stop_all();
    }
}

/// The fault: every short session that we had dialed was called a refusal.
#[test]
fn only_a_session_that_ends_at_once_and_without_a_message_was_refused() {
    type Live = fn(&mut World<Null>, &Peer, &Peer);
    let lives: [(Live, [&str; 2]); 5] = [
        (|_, _, to_a| to_a.stop_gracefully(), ["refused_after_handshake", "finished"]),
        (|_, to_b, _| to_b.stop_gracefully(), ["finished", "eof"]),
        (
            |world, _, to_a| {
                world.run_for(2 * SECOND);
                to_a.stop_gracefully();
            },
            ["eof", "finished"],
        ),
        (
            |world, to_b, to_a| {
                world.send(0, to_b, 0x20, 100).unwrap();
                world.run_for(SECOND / 4);
                to_a.stop("a bad message");
            },
            ["eof", "reactor"],
        ),
        (
            |world, _, to_a| {
                world.send(1, to_a, 0x20, 100).unwrap();
                world.run_for(SECOND / 4);
                to_a.stop_gracefully();
            },
            ["eof", "finished"],
        ),
    ];
    for seed in seeds(5) {
        for (live, kinds) in &lives {
            let mut world = World::<Null>::new(seed);
            let (a, b) = (world.add(Options::default()), world.add(Options::default()));
            let (to_b, to_a) = world.connect(a, b);
            live(&mut world, &to_b, &to_a);
            world.run_for(10 * SECOND);
            let down = |node, peer: &Peer| world.down(node, 0, peer.conn()).expect("it is over");
            assert_eq!([down(a, &to_b).kind(), down(b, &to_a).kind()], *kinds);
            world.stop_all();
        }
    }
}

#[test]
fn a_second_connection_of_the_same_node_is_refused() {
    for seed in seeds(20) {
        let mut world = World::<Null>::new(seed);
        let (a, b) = (world.add(Options::default()), world.add(Options::default()));
        let (at_a, at_b) = world.connect(a, b);
        // The switch knows of the session and does not even dial.
        let ticket = world.dial(a, b);
        world.run_for(SECOND);
        assert_eq!(answer(&world, a, ticket), "duplicate_id");
        // A twin of a has the same ID, and nobody can know before the handshake.
        let key = Some(NodeKey::from_seed([a as u8 + 1; 32]));
        let twin = world.add(Options { key, ..Options::default() });
        world.dial(twin, b);
        world.run_for(10 * SECOND);
        assert_eq!(rejections(&world, b), ["duplicate_id"]);
        let seen = world.nodes[twin].reactors[0].sessions.values().next().expect("for a moment");
        assert_eq!(seen.down.as_deref(), Some(&DisconnectReason::RefusedAfterHandshake));
        assert_eq!((world.down(a, 0, at_a.conn()), world.down(b, 0, at_b.conn())), (None, None));
        world.stop_all();
    }
}

#[test]
fn two_dials_of_one_id_at_a_time_are_one() {
    let mut world = World::<Null>::new(1);
    let (a, b) = (world.add(Options::default()), world.add(Options::default()));
    let (first, second) = (world.dial(a, b), world.dial(a, b));
    world.run_for(SECOND);
    let answers = [answer(&world, a, first), answer(&world, a, second)];
    assert_eq!(answers, ["up", "already_dialing"]);
    assert!(
        matches!(world.nodes[a].answer(second), Some(Err(DisconnectReason::AlreadyDialing(id))) if *id == world.nodes[b].id)
    );
    world.stop_all();
}

#[test]
fn simultaneous_dials_end_in_at_most_one_session() {
    for seed in seeds(60) {
        let mut world = World::<Null>::new(seed);
        world.pauses = 5;
        let (a, b) = (world.add(Options::default()), world.add(Options::default()));
        world.dial(a, b);
        world.dial(b, a);
        world.run_for(20 * SECOND);
        let (at_a, at_b) = (world.peer(a, b), world.peer(b, a));
        assert_eq!(at_a.is_some(), at_b.is_some(), "a session that only one of them has");
        if let Some(at_a) = at_a {
            world.send(a, &at_a, 0x20, 100).unwrap();
            world.run_for(SECOND);
            assert_eq!(world.counts(a, at_a.conn()), (1, 1));
        }
        world.stop_all();
    }
}

#[test]
fn dials_that_reach_nobody_say_why() {
    let mut world = World::<Null>::new(1);
    let (a, b) = (world.add(Options::default()), world.add(Options::default()));
    let id = world.nodes[b].id;
    let began = world.now;
    let refused = world.dial_at(a, id, "10.0.0.99:1");
    world.run_for(SECOND);
    assert_eq!(answer(&world, a, refused), "refused");
    world.net.borrow_mut().black_holes.insert("10.0.0.98:1".parse().unwrap());
    let silent = world.dial_at(a, id, "10.0.0.98:1");
    world.run_for(Duration::from_millis(2900));
    assert!(world.nodes[a].answer(silent).is_none());
    world.run_for(Duration::from_millis(200));
    assert_eq!(answer(&world, a, silent), "dial_timeout");
    let unknown = world.dial_at(a, id, "nowhere.example:1");
    world.run_for(SECOND);
    assert_eq!(answer(&world, a, unknown), "lookup");
    world.hold(Actor::Resolver(a), 100 * SECOND);
    let late = world.dial_at(a, id, "node1.example:26656");
    world.run_for(16 * SECOND);
    assert_eq!(answer(&world, a, late), "lookup");
    world.release(Actor::Resolver(a));
    world.run_for(SECOND);
    assert!(world.nodes[a].is_alone(), "a late answer is none");
    // The first address of the name is dead, the second is not.
    let found = world.dial_at(a, id, "node1.example:26656");
    world.run_for(SECOND);
    assert_eq!(answer(&world, a, found), "up");
    assert!(world.now.since(began) < 30 * SECOND);
    world.stop_all();
}

#[test]
fn without_descriptors_a_node_goes_on_and_recovers() {
    for seed in seeds(5) {
        let mut world = World::<Null>::new(seed);
        let nodes: Vec<usize> = (0..3).map(|_| world.add(Options::default())).collect();
        let (a, b, c) = (nodes[0], nodes[1], nodes[2]);
        let (at_a, _) = world.connect(a, b);
        world.net.borrow_mut().faults.out_of_files.insert(b);
        let turns = world.nodes[b].turns;
        let ticket = world.dial(c, b);
        world.run_for(10 * SECOND);
        assert_ne!(answer(&world, c, ticket), "up");
        assert!(world.nodes[b].turns - turns < 500, "it does not spin");
        let failed = |e: &SwitchEvent| matches!(e, SwitchEvent::AcceptFailed(_));
        assert!(world.nodes[b].events.iter().any(failed));
        let ticket = world.dial(b, c);
        world.run_for(SECOND);
        assert_ne!(answer(&world, b, ticket), "up");
        world.send(a, &at_a, 0x20, 100).unwrap();
        world.net.borrow_mut().faults.out_of_files.clear();
        world.connect(c, b);
        assert_eq!(world.counts(a, at_a.conn()), (1, 1));
        world.stop_all();
    }
}

/// Somebody hung up before it was accepted, or a signal came: that says nothing of who comes next.
#[test]
fn an_accept_that_fails_for_one_connection_holds_up_no_other() {
    for kind in [io::ErrorKind::ConnectionAborted, io::ErrorKind::Interrupted] {
        // The last are more than the accepts of one turn.
        for failures in [1, 5, 200] {
            let mut world = World::<Null>::new(1);
            let (a, b) = (world.add(Options::default()), world.add(Options::default()));
            world.net.borrow_mut().failing_accepts = vec![(b, kind); failures].into();
            let ticket = world.dial(a, b);
            let is_answered = |w: &World<Null>| w.nodes[a].answer(ticket).is_some();
            // A pause, as there is without descriptors, would take 100 ms.
            assert!(world.run_until(Duration::from_millis(50), is_answered), "{kind}");
            assert_eq!(answer(&world, a, ticket), "up");
            assert!(world.net.borrow().failing_accepts.is_empty());
            let failed = |e: &SwitchEvent| matches!(e, SwitchEvent::AcceptFailed(_));
            assert!(!world.nodes[b].events.iter().any(failed), "{kind}: nothing to worry about");
            world.stop_all();
        }
    }
}
