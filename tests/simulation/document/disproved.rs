//! What was found of an address is no longer held against it once its node proves the contrary.

use tmp2p::{
    Config, NodeId, SwitchEvent, internals::pex::PexRequest, internals::protocol::secret::Null,
};

use super::HOUR;
use crate::{
    internet::{SECOND, internet, quiet},
    options::Options,
    world::World,
};

fn is_bad(world: &World<Null>, node: usize, of: usize) -> bool {
    world.nodes[node].pex.core.book().is_bad(&world.nodes[of].id)
}

/// Events that say so.
fn reinstated(world: &World<Null>, node: usize, of: NodeId) -> usize {
    let is_it = |event: &&SwitchEvent| matches!(event, SwitchEvent::Reinstated { id } if *id == of);
    world.nodes[node].events.iter().filter(is_it).count()
}

/// The node's process ends, and a new one begins that belongs to this network.
fn upgrade(world: &mut World<Null>, node: usize, network: &'static str) {
    let options = Options { network, ..world.nodes[node].options.clone() };
    world.restart(node, options, true);
}

/// A node whose peer has changed to another chain under the same ID, and was found there.
fn with_a_stray(config: Config) -> (World<Null>, usize, usize) {
    let mut world = internet(1500);
    let (node, stray) = (world.join(config), world.join(quiet()));
    world.dial(node, stray);
    world.run_for(60 * SECOND);
    assert!(world.session(node, stray).is_some());
    upgrade(&mut world, stray, "another");
    world.run_for(60 * SECOND);
    assert!(is_bad(&world, node, stray), "{:?}", world.nodes[node].events);
    let id = world.nodes[stray].id;
    assert_eq!(world.failures(node, id), ["incompatible"]);
    (world, node, stray)
}

/// It was upgraded too early, say, and is set back.
#[test]
fn a_node_that_was_of_another_chain_is_a_candidate_again_as_soon_as_it_is_of_ours() {
    for is_dialed in [false, true] {
        let (mut world, node, stray) = with_a_stray(Config::default());
        let id = world.nodes[stray].id;
        world.run_for(HOUR);
        assert!(is_bad(&world, node, stray), "it is dialed no more until then");
        assert_eq!(world.failures(node, id).len(), 1);
        upgrade(&mut world, stray, "simulation");
        world.run_for(SECOND);
        let (from, to) = if is_dialed { (node, stray) } else { (stray, node) };
        world.dial(from, to);
        world.run_for(SECOND);
        assert!(world.session(node, stray).is_some());
        assert!(!is_bad(&world, node, stray), "dialed {is_dialed}");
        assert_eq!(reinstated(&world, node, id), 1);
        // It can be dialed again, and is.
        world.run_for(40 * SECOND);
        world.cut(node, stray);
        assert!(world.run_until(SECOND / 10, |w| w.session(node, stray).is_none()));
        assert!(world.run_until(SECOND, |w| w.session(node, stray).is_some()));
    }
}

/// We have no place for it, and yet it is one of ours.
#[test]
fn who_proves_to_be_of_our_chain_need_not_be_admitted_for_that() {
    let config = Config { max_num_inbound_peers: 0, ..Config::default() };
    let (mut world, node, stray) = with_a_stray(config);
    upgrade(&mut world, stray, "simulation");
    world.run_for(SECOND);
    world.dial(stray, node);
    world.run_for(SECOND / 2);
    assert_eq!(world.nodes[node].rejections().last(), Some(&"full"));
    assert!(!is_bad(&world, node, stray));
    let is_up = |w: &World<Null>| w.session(node, stray).is_some();
    assert!(world.run_until(31 * SECOND, is_up), "and it is dialed");
}

/// Who is still on the other chain proves nothing, however often it comes.
#[test]
fn a_node_of_another_chain_stays_bad_whatever_it_does() {
    let (mut world, node, stray) = with_a_stray(Config::default());
    for _ in 0..5 {
        world.dial(stray, node);
        world.run_for(10 * SECOND);
    }
    assert_eq!(world.nodes[node].rejections().last(), Some(&"incompatible"));
    assert!(is_bad(&world, node, stray));
}

/// Everybody changes to the new chain, we last.
#[test]
fn a_node_that_has_changed_its_own_chain_dials_those_who_had_changed_before() {
    let mut world = internet(1501);
    let others: Vec<_> = (0..5).map(|_| world.join(quiet())).collect();
    let node = world.join(Config::default());
    for other in &others {
        world.dial(node, *other);
    }
    world.run_for(60 * SECOND);
    for other in &others {
        upgrade(&mut world, *other, "next");
    }
    world.run_for(60 * SECOND);
    assert!(others.iter().all(|other| is_bad(&world, node, *other)));
    // Over a restart on the old one, too: each is tried once.
    upgrade(&mut world, node, "simulation");
    world.run_for(60 * SECOND);
    assert!(others.iter().all(|other| is_bad(&world, node, *other)));
    assert_eq!(world.nodes[node].pex.dials.len(), 5);
    upgrade(&mut world, node, "next");
    assert!(world.run_until(5 * SECOND, |w| w.num_peers(node) == 5));
}

/// Misbehaviour is no error of ours.
#[test]
fn what_a_reactor_has_said_of_a_node_stands_whoever_dials() {
    for is_dialed in [false, true] {
        let mut world = internet(1502);
        let (node, other) = (world.join(quiet()), world.join(quiet()));
        let (id, reason) = (world.nodes[other].id, "sent a wrong block".to_owned());
        let at = world.net_addr(other);
        world.tell(node, [at]);
        world.request(node, PexRequest::MarkBad { id, addr: None, duration: HOUR, reason });
        let (from, to) = if is_dialed { (node, other) } else { (other, node) };
        world.dial(from, to);
        world.run_for(60 * SECOND);
        assert!(world.session(node, other).is_some() && is_bad(&world, node, other));
    }
}

/// A node behind a NAT dials us as well, and nobody reaches it: each time it comes it would be dialed
/// and told again. One that we have met at its address was away, or had no room.
#[test]
fn who_could_not_be_reached_and_dials_us_is_good_if_it_was_ever_found_at_its_address() {
    for was_met in [true, false] {
        let mut world = internet(1503);
        let (node, other) = (world.join(Config::default()), world.join(quiet()));
        let at = world.net_addr(other);
        if was_met {
            world.dial(node, other);
            world.run_for(60 * SECOND);
        }
        world.tell(node, [at]);
        world.kill(other);
        assert!(world.run_until(7 * 24 * HOUR, |w| is_bad(w, node, other)), "{was_met}");
        // It dials out, and is not to be reached.
        world.revive(other);
        world.net.borrow_mut().black_holes.insert(at.socket_addr());
        world.dial(other, node);
        world.run_for(10 * SECOND);
        assert!(world.session(node, other).is_some());
        assert_eq!(is_bad(&world, node, other), !was_met);
    }
}

/// The other one had no room for a day and a half.
#[test]
fn who_had_no_room_is_good_again_when_it_dials_us() {
    let mut world = internet(1504);
    let other = world.join(Config { max_num_inbound_peers: 0, ..quiet() });
    let node = world.join(Config::default());
    let at = world.net_addr(other);
    world.tell(node, [at]);
    assert!(world.run_until(7 * 24 * HOUR, |w| is_bad(w, node, other)));
    let config = quiet();
    let options = Options { config, ..world.nodes[other].options.clone() };
    world.restart(other, options, true);
    world.dial(other, node);
    world.run_for(SECOND);
    assert!(!is_bad(&world, node, other));
}

/// It was away, and is not bad yet: once it has stayed as our peer, its failures are over, too.
#[test]
fn failures_are_over_once_the_node_has_been_our_peer_whoever_dialed() {
    let mut world = internet(1505);
    world.net.borrow_mut().is_silent = false;
    let (node, other) = (world.join(Config::default()), world.join(quiet()));
    world.dial(node, other);
    world.run_for(60 * SECOND);
    world.kill(other);
    world.run_for(4 * HOUR);
    world.revive(other);
    let id = world.nodes[other].id;
    let failures =
        |w: &World<Null>| w.nodes[node].pex.core.book().get(&id).unwrap().history().dial_failures;
    assert!(failures(&world) >= 10, "{}", failures(&world));
    world.dial(other, node);
    world.run_for(SECOND);
    assert!(world.session(node, other).is_some());
    world.run_for(40 * SECOND);
    assert_eq!(failures(&world), 0);
    world.cut(node, other);
    assert!(world.run_until(SECOND / 10, |w| w.session(node, other).is_none()));
    assert!(world.run_until(SECOND, |w| w.session(node, other).is_some()));
}
