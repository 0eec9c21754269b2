//! A turn of the event loop is short, however many connections are ready.

use std::time::Duration;

use tmp2p::{
    Peer,
    internals::{event_loop::Sockets, protocol::secret::Null},
};

use crate::{
    options::Options,
    pending::{lone, silent},
    world::{Actor, World},
};

const SECOND: Duration = Duration::from_secs(1);
const PEERS: usize = 100;

fn unlimited() -> Options {
    Options::with(|c| (c.send_rate, c.recv_rate) = (0, 0))
}

/// Peers of the hub: a turn has 32 runs, so all of them take ten.
fn crowd(world: &mut World<Null>, hub: usize) -> Vec<Peer> {
    let mut join = |_| {
        let node = world.add(unlimited());
        world.connect(node, hub).1
    };
    (0..320).map(&mut join).collect()
}

/// The hub's loop has one turn, and is held again.
fn turn(world: &mut World<Null>, hub: usize) {
    let turns = world.nodes[hub].turns;
    world.release(Actor::Loop(hub));
    assert!(world.run_until(SECOND, |w| w.nodes[hub].turns > turns), "it does not run");
    world.hold(Actor::Loop(hub), SECOND);
}

/// The fault: all that were ready had a whole batch in one turn, so that a broadcast to 1000 peers kept
/// timers, commands and everybody else waiting for 10 ms and more.
#[test]
fn a_turn_is_short_when_everybody_is_ready() {
    let mut world = World::<Null>::new(1);
    let hub = world.add(Options::with(|c| c.send_rate = 0));
    let peers: Vec<_> = (0..PEERS)
        .map(|_| {
            let node = world.add(Options::with(|c| c.send_rate = 0));
            (node, world.connect(node, hub))
        })
        .collect();
    world.hold(Actor::Loop(hub), SECOND);
    for (node, (at_node, at_hub)) in &peers {
        for _ in 0..3 {
            world.send(hub, at_hub, 0x20, 60_000).unwrap();
            world.send(*node, at_node, 0x20, 60_000).unwrap();
        }
    }
    world.run_for(SECOND / 2);
    let bytes = |w: &World<Null>| {
        let status = w.nodes[hub].core.counters().status();
        (status.read_bytes, status.written_bytes)
    };
    let (mut before, mut turns, mut busy) = (bytes(&world), world.nodes[hub].turns, 0);
    world.release(Actor::Loop(hub));
    let is_done = |w: &World<Null>| {
        let mut sessions = peers.iter().flat_map(|(n, (a, b))| [(*n, a.conn()), (hub, b.conn())]);
        sessions.all(|(at, conn)| w.counts(at, conn) == (3, 3))
    };
    while !is_done(&world) {
        let so_far = turns;
        let moves = |w: &World<Null>| w.nodes[hub].turns > so_far || is_done(w);
        assert!(world.run_until(SECOND, moves), "it has come to rest");
        let (now, taken) = (bytes(&world), world.nodes[hub].turns - turns);
        assert!(taken <= 1);
        let (read, written) = (now.0 - before.0, now.1 - before.1);
        // 32 connections, each with 8 KiB of input and 16 frames of output.
        assert!(read <= 32 * (8 << 10), "{read} bytes read in a turn");
        assert!(written <= 32 * 16 * 1044, "{written} bytes written in a turn");
        busy += u32::from(written > 16 * 16 * 1044);
        (before, turns) = (now, world.nodes[hub].turns);
    }
    assert!(busy > 10, "the turns were never full: {busy}");
    world.stop_all();
}

/// The fault: whoever had something to say waited until all of a crowd had had its run.
#[test]
fn who_sends_something_waits_for_no_crowd() {
    let mut world = World::<Null>::new(1);
    let hub = world.add(unlimited());
    let crowd = crowd(&mut world, hub);
    let other = world.add(unlimited());
    let (at_other, _) = world.connect(other, hub);
    world.hold(Actor::Loop(hub), SECOND);
    for at_hub in &crowd {
        world.send(hub, at_hub, 0x20, 200_000).unwrap();
    }
    world.run_for(SECOND / 2);
    turn(&mut world, hub);
    world.send(other, &at_other, 0x20, 100).unwrap();
    let arrived = |w: &World<Null>| {
        let sock = w.sock(hub, other);
        w.net.borrow().socks[sock].num_arrived() > 0
    };
    assert!(world.run_until(SECOND, arrived), "it does not arrive");
    let written = |w: &World<Null>| w.nodes[hub].core.counters().status().written_bytes;
    let (turns, before) = (world.nodes[hub].turns, written(&world));
    world.release(Actor::Loop(hub));
    assert!(world.run_until(SECOND, |w| w.counts(other, at_other.conn()) == (1, 1)), "it is lost");
    let waited = world.nodes[hub].turns - turns;
    // All of the crowd takes ten; and the reactor has its time, too.
    assert!(waited <= 4, "{waited} turns");
    assert!(written(&world) > before, "there was no crowd");
    world.stop_all();
}

/// The fault: beside a crowd of sessions a handshake went to its end after each step, so that it took as
/// many passes through the crowd, and the steps of all other turns were lost.
#[test]
fn handshakes_go_on_beside_a_crowd() {
    let mut world = World::<Null>::new(1);
    let hub = world.add(unlimited());
    let crowd = crowd(&mut world, hub);
    let guests: Vec<_> = (0..40).map(|_| world.add(unlimited())).collect();
    for guest in &guests {
        world.dial(*guest, hub);
    }
    let are_in = |w: &World<Null>| guests.iter().all(|guest| w.peer(hub, *guest).is_some());
    let first = world.nodes[hub].turns;
    while !are_in(&world) {
        // There is something for each of them in each turn.
        for at_hub in &crowd {
            _ = world.send(hub, at_hub, 0x20, 100);
        }
        turn(&mut world, hub);
        world.run_for(Duration::from_micros(500));
        // Three steps each, one a turn, and what the crowd had at first.
        let turns = world.nodes[hub].turns - first;
        assert!(turns <= 3 * 40 + 10, "{turns} turns");
    }
    assert!(world.nodes[hub].turns - first > 100, "there was no crowd");
    world.stop_all();
}

/// The fault: a turn accepted as many beside a crowd as without one, each with a handshake's first steps.
#[test]
fn few_are_accepted_in_a_turn_beside_a_crowd() {
    let mut world = World::<Null>::new(1);
    let hub = world.add(unlimited());
    let crowd = crowd(&mut world, hub);
    let guests: Vec<_> = (0..30).map(|_| world.add(unlimited())).collect();
    world.hold(Actor::Loop(hub), SECOND);
    for at_hub in &crowd {
        world.send(hub, at_hub, 0x20, 200_000).unwrap();
    }
    world.run_for(SECOND / 2);
    turn(&mut world, hub);
    for guest in &guests {
        world.dial(*guest, hub);
    }
    world.run_for(SECOND / 2);
    let accepted = |w: &World<Null>| w.nodes[hub].core.counters().status().accepted;
    let all = accepted(&world) + guests.len() as u64;
    let mut most = 0;
    while accepted(&world) < all {
        let before = accepted(&world);
        turn(&mut world, hub);
        most = most.max(accepted(&world) - before);
        assert!(accepted(&world) > before, "they wait for the crowd");
    }
    assert_eq!(most, 8);
    world.release(Actor::Loop(hub));
    world.stop_all();
}

/// The fault: an expensive step for each of a crowd of strangers in one turn, with everybody waiting.
#[test]
fn a_turn_has_four_steps_of_handshakes() {
    let mut world = World::<Null>::new(1);
    let hub = world.add(unlimited());
    let guests: Vec<_> = (0..30).map(|_| world.add(unlimited())).collect();
    world.hold(Actor::Loop(hub), SECOND);
    for guest in &guests {
        world.dial(*guest, hub);
    }
    world.run_for(SECOND / 2);
    let written = |w: &World<Null>| w.nodes[hub].core.counters().status().written_bytes;
    let are_in = |w: &World<Null>| guests.iter().all(|guest| w.peer(hub, *guest).is_some());
    let mut most = 0;
    while !are_in(&world) {
        let (turns, before) = (world.nodes[hub].turns, written(&world));
        world.release(Actor::Loop(hub));
        let moves = |w: &World<Null>| w.nodes[hub].turns > turns || are_in(w);
        assert!(world.run_until(SECOND, moves), "it does not run");
        world.hold(Actor::Loop(hub), SECOND);
        most = most.max(written(&world) - before);
        world.run_for(Duration::from_micros(500));
    }
    // A step writes a frame at most, and the ephemeral key before it.
    assert!(most <= 4 * (1044 + 35), "{most} bytes in a turn");
    assert!(most >= 3 * 1044, "the turns were never full: {most}");
    world.release(Actor::Loop(hub));
    world.stop_all();
}

/// The fault: strangers who went all at once, or whose time was over, were ended in one turn. It was 30 ms long
/// with 1024 of them, as many as may be pending.
#[test]
fn strangers_who_go_all_at_once_are_ended_a_few_in_a_turn() {
    const STRANGERS: usize = 300;
    for are_gone in [true, false] {
        let mut world = World::<Null>::new(1);
        let hub = world.add(unlimited());
        let mut strangers: Vec<_> =
            (0..STRANGERS).map(|number| silent(&mut world, hub, lone(number))).collect();
        let pending = |w: &World<Null>| w.nodes[hub].core.num_pending();
        assert!(world.run_until(SECOND, |w| pending(w) == STRANGERS), "they are not let in");
        world.run_for(SECOND);
        world.hold(Actor::Loop(hub), 30 * SECOND);
        if are_gone {
            strangers.iter_mut().for_each(|stranger| stranger.close(0));
        }
        world.run_for(if are_gone { SECOND } else { 21 * SECOND });
        let mut most = 0;
        while pending(&world) > 0 {
            let before = pending(&world);
            turn(&mut world, hub);
            most = most.max(before - pending(&world));
            assert!(pending(&world) < before, "nobody goes");
        }
        assert_eq!(most, 64, "in a turn");
        world.release(Actor::Loop(hub));
        world.stop_all();
    }
}
