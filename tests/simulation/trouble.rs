//! What goes wrong inside a node: filters, init hooks and reactors; and times that run out.

use std::time::Duration;

use tmp2p::{
    DisconnectReason, StopReason, SwitchEvent, internals::protocol::secret::Null,
    internals::switch::Input,
};

use crate::{
    options::Options,
    raw::RawPeer,
    reactor::Mode,
    world::{Actor, World, seeds},
};

const SECOND: Duration = Duration::from_secs(1);

/// What goes wrong while a peer is being added.
#[derive(Clone, Copy, Debug)]
enum Wrong {
    Filter,
    NoAnswer,
    Hook(usize),
    GoneWhileFiltered,
    GoneBeforeTheVerdict,
    GoneAfterTheVerdict,
    StoppedAtOnce,
}

/// The fault: a peer with which something went wrong while it was added stayed in the peer set, and
/// it could never connect again.
#[test]
fn errored_peer_stayed_in_the_peer_set() {
    use Wrong::*;
    let wrongs = [
        Filter,
        NoAnswer,
        Hook(0),
        Hook(1),
        GoneWhileFiltered,
        GoneBeforeTheVerdict,
        GoneAfterTheVerdict,
        StoppedAtOnce,
    ];
    for seed in seeds(4) {
        for wrong in wrongs {
            // The filters of the other end do not matter, who dialed does.
            let mut world = World::<Null>::new(seed);
            let filtered = Options { filter_peers: true, ..Options::default() };
            let (a, b) = (world.add(Options::default()), world.add(filtered));
            let (from, to) = if seed % 2 == 0 { (a, b) } else { (b, a) };
            fail_to_add(&mut world, wrong, (a, b), (from, to));
            world.run_for(20 * SECOND);
            assert!(world.peer(b, a).is_none(), "{wrong:?}");
            let (ups, downs) = world.nodes[b].ups_and_downs();
            assert_eq!(ups, downs, "{wrong:?}");
            assert_eq!(world.nodes[b].core.num_connections(), 0, "{wrong:?}");
            // Nothing of it is left.
            world.nodes[b].asked.clear();
            world.nodes[b].init_log.lock().unwrap().unwelcome.clear();
            world.dial(from, to);
            world.run_for(SECOND);
            decide(&mut world, b, Ok(()));
            world.run_for(SECOND);
            assert!(world.peer(b, a).is_some() && world.peer(a, b).is_some(), "{wrong:?}");
            world.stop_all();
        }
    }
}

fn decide(world: &mut World<Null>, at: usize, result: Result<(), String>) {
    let (ticket, _) = world.nodes[at].asked.pop().expect("the filter was asked");
    world.nodes[at].inputs.push_back(Input::Decided { ticket, result });
}

fn fail_to_add(
    world: &mut World<Null>,
    wrong: Wrong,
    (a, b): (usize, usize),
    (from, to): (usize, usize),
) {
    let id = world.nodes[a].id;
    world.dial(from, to);
    let is_asked = |w: &World<Null>| !w.nodes[b].asked.is_empty();
    assert!(world.run_until(SECOND, is_asked));
    match wrong {
        Wrong::Filter => decide(world, b, Err("no".into())),
        Wrong::NoAnswer => {}
        Wrong::Hook(reactor) => {
            world.nodes[b].init_log.lock().unwrap().unwelcome.insert((reactor, id));
            decide(world, b, Ok(()));
        }
        Wrong::GoneWhileFiltered => {
            world.cut(a, b);
            world.run_for(SECOND);
            decide(world, b, Ok(()));
        }
        Wrong::GoneBeforeTheVerdict => {
            decide(world, b, Ok(()));
            world.hold(Actor::Switch(b), SECOND);
            world.cut(a, b);
        }
        Wrong::GoneAfterTheVerdict => {
            decide(world, b, Ok(()));
            world.hold(Actor::Commands(b), SECOND);
            world.run_for(SECOND / 2);
            world.cut(a, b);
        }
        Wrong::StoppedAtOnce => {
            decide(world, b, Ok(()));
            let is_up = |w: &World<Null>| w.peer(b, a).is_some();
            assert!(world.run_until(SECOND, is_up));
            world.peer(b, a).unwrap().stop("at once");
        }
    }
}

/// The fault: what peers sent to a reactor whose thread was dead was taken for delivered.
#[test]
fn a_dead_reactor_thread_keeps_swallowing_votes() {
    for seed in seeds(10) {
        for may_end in [false, true] {
            let mut world = World::<Null>::new(seed);
            let options = Options { may_end, ..Options::default() };
            let (a, b) = (world.add(Options::default()), world.add(options));
            let (at_a, at_b) = world.connect(a, b);
            world.nodes[b].reactors[0].leave();
            world.send(a, &at_a, 0x20, 100).unwrap();
            world.run_for(SECOND);
            let switch = &world.nodes[b].switch;
            if may_end {
                assert_eq!(switch.stop_reason(), None);
                world.send(a, &at_a, 0x30, 100).unwrap();
                world.run_for(SECOND);
                assert_eq!(world.nodes[b].reactors[1].num_messages(), 1, "the other one goes on");
                continue;
            }
            let gone = StopReason::ReactorGone("r0".into());
            assert_eq!(switch.stop_reason(), Some(gone.clone()));
            assert!(world.nodes[b].is_loop_over && world.nodes[b].is_alone());
            assert_eq!(world.nodes[b].events.last(), Some(&SwitchEvent::Stopped(gone)));
            assert_eq!(world.down(b, 1, at_b.conn()), Some(DisconnectReason::Stopped));
            assert!(world.down(a, 0, at_a.conn()).is_some());
            // The other end sees it, and nobody gets in any more.
            let ticket = world.dial(a, b);
            world.run_for(SECOND);
            assert_eq!(world.answer(a, ticket), "refused");
        }
    }
}

#[test]
fn nobody_is_let_in_while_a_reactor_does_not_read() {
    let mut world = World::<Null>::new(1);
    let b = world.add(Options::with(|c| {
        (c.max_num_inbound_peers, c.max_num_outbound_peers) = (2, 0);
    }));
    world.set_mode(b, 1, Mode::Stuck);
    let most = world.nodes[b].switch.max_unread_sessions();
    assert_eq!(most, 8);
    for number in 0..20 {
        let mut raw = RawPeer::connect(&mut world, b, number);
        raw.authenticate(&mut world);
        let info = raw.node_info(&Options::default());
        raw.put(&info);
        raw.flush(&mut world);
        world.run_for(SECOND / 2);
        raw.close();
        world.run_for(SECOND / 2);
    }
    assert_eq!(world.nodes[b].ups_and_downs(), (most + 1, most + 1));
    assert_eq!(world.nodes[b].rejections(), ["reactor_stalled"; 11]);
    let is_told = |w: &World<Null>, event: &SwitchEvent| w.nodes[b].events.contains(event);
    assert!(is_told(&world, &SwitchEvent::ReactorStalled("r1".into())));
    assert!(!is_told(&world, &SwitchEvent::ReactorRecovered("r1".into())));
    world.set_mode(b, 1, Mode::Reads);
    world.run_for(SECOND);
    let a = world.add(Options::default());
    world.connect(a, b);
    assert!(is_told(&world, &SwitchEvent::ReactorRecovered("r1".into())));
    world.stop_all();
}

/// The fault: both settings were read and never used.
#[test]
fn dial_timeout_and_handshake_timeout_do_nothing() {
    for (dial, handshake) in [(1, 20), (3, 20), (3, 2), (7, 40)] {
        let mut world = World::<Null>::new(1);
        let options = Options::with(|c| {
            (c.dial_timeout, c.handshake_timeout) = (dial * SECOND, handshake * SECOND);
        });
        let (a, b) = (world.add(options), world.add(Options::default()));
        let id = world.nodes[b].id;
        let ends_after = |world: &mut World<Null>, ticket, time: u32, kind| {
            let began = world.now;
            let is_answered = |w: &World<Null>| w.nodes[a].answer(ticket).is_some();
            assert!(world.run_until(100 * SECOND, is_answered));
            let took = world.now.since(began);
            assert_eq!(world.answer(a, ticket), kind);
            let expected = time * SECOND;
            assert!((expected..expected + SECOND / 10).contains(&took), "{kind}: {took:?}");
        };
        world.net.borrow_mut().black_holes.insert("10.0.0.98:1".parse().unwrap());
        let ticket = world.dial_at(a, id, "10.0.0.98:1");
        ends_after(&mut world, ticket, dial, "dial_timeout");
        world.hold(Actor::Resolver(a), 1000 * SECOND);
        let ticket = world.dial_at(a, id, "node1.example:26656");
        // A time of its own: name servers are slow for other reasons than nodes.
        ends_after(&mut world, ticket, 15, "lookup");
        // Its kernel accepts, and it says nothing.
        world.hold(Actor::Loop(b), 1000 * SECOND);
        let ticket = world.dial(a, b);
        ends_after(&mut world, ticket, handshake, "handshake_timeout");
        // The same for who comes in.
        let began = world.now;
        let raw = RawPeer::connect(&mut world, a, 1);
        let is_over = |w: &World<Null>| w.nodes[a].rejections() == ["handshake_timeout"];
        assert!(world.run_until(100 * SECOND, is_over));
        let took = world.now.since(began);
        let expected = handshake * SECOND;
        assert!((expected..expected + SECOND / 10).contains(&took), "{took:?}");
        drop(raw);
    }
}
