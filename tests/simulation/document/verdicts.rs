//! What reactors say of peers stands.

use std::time::Duration;

use tmp2p::{Config, internals::protocol::secret::Null};

use super::HOUR;
use crate::{
    internet::{SECOND, addr, internet, quiet},
    world::World,
};

/// Longer than `good_after`.
const LATER: Duration = Duration::from_secs(6 * 60);

/// A node that has dialed one peer and was dialed by another.
fn three(config: Config) -> (World<Null>, usize, usize, usize) {
    let mut world = internet(400);
    let node = world.join(config);
    let (outbound, inbound) = (world.join(quiet()), world.join(quiet()));
    world.dial(node, outbound);
    world.dial(inbound, node);
    world.run_for(SECOND);
    assert_eq!(world.num_peers(node), 2);
    (world, node, outbound, inbound)
}

fn is_good(world: &World<Null>, node: usize, of: usize) -> bool {
    world.nodes[node].pex.core.book().is_good(&world.nodes[of].id)
}

/// Only who was dialed proves anything about an address by staying.
#[test]
fn good_after_is_for_outbound_peers() {
    let (mut world, node, outbound, inbound) = three(quiet());
    world.run_for(LATER);
    assert!(is_good(&world, node, outbound) && !is_good(&world, node, inbound));
    assert!(world.nodes[node].pex.core.book().get(&world.nodes[inbound].id).is_some());
}

#[test]
fn mark_bad_of_a_connected_peer_is_not_turned_to_good_by_good_after() {
    let (mut world, node, outbound, _) = three(quiet());
    let id = world.nodes[outbound].id;
    world.peer(node, outbound).unwrap().mark_bad(24 * HOUR, "sent a wrong block");
    world.run_for(LATER);
    assert!(world.session(node, outbound).is_some(), "a verdict ends no session");
    assert!(world.nodes[node].pex.core.book().is_bad(&id));
    let bad = world.nodes[node].pex.core.book().bad_address(&id).cloned().unwrap();
    assert_eq!((bad.addr, &*bad.reason), (Some(world.net_addr(outbound)), "sent a wrong block"));
    // A reactor may change its mind.
    world.peer(node, outbound).unwrap().mark_good();
    world.run_for(SECOND);
    assert!(is_good(&world, node, outbound));
}

/// It may be dialed again some day, but staying has not made it better.
#[test]
fn a_verdict_outlives_the_time_for_which_the_address_is_bad() {
    // It wants peers, and so looks at what was bad.
    let (mut world, node, outbound, _) = three(Config::default());
    let id = world.nodes[outbound].id;
    world.peer(node, outbound).unwrap().mark_bad(60 * SECOND, "slow");
    world.run_for(LATER);
    let book = world.nodes[node].pex.core.book();
    assert!(!book.is_bad(&id) && !is_good(&world, node, outbound));
}

#[test]
fn mark_good_moves_the_address_to_an_old_bucket_at_once() {
    let (mut world, node, outbound, inbound) = three(quiet());
    for peer in [outbound, inbound] {
        world.peer(node, peer).unwrap().mark_good();
        world.run_for(SECOND);
        assert!(is_good(&world, node, peer));
    }
}

/// The verdict and the session are told on different ways.
#[test]
fn a_verdict_at_the_very_beginning_of_a_session_counts() {
    for seed in 0..40 {
        for is_good in [true, false] {
            let mut world = internet(410 + seed);
            let (node, other) = (world.join(quiet()), world.join(quiet()));
            world.dial(node, other);
            assert!(world.run_until(SECOND, |w| w.peer(node, other).is_some()));
            let peer = world.peer(node, other).unwrap();
            if is_good {
                peer.mark_good();
            } else {
                peer.mark_bad(HOUR, "x");
            }
            world.run_for(LATER);
            assert_eq!(self::is_good(&world, node, other), is_good);
            assert_eq!(world.nodes[node].pex.core.book().is_bad(&peer.id()), !is_good);
            peer.mark_good();
            world.run_for(SECOND);
            assert!(self::is_good(&world, node, other));
        }
    }
}

#[test]
fn mark_bad_of_a_persistent_peer_changes_nothing() {
    let peer = addr(1);
    let mut world = internet(401);
    let node = world.join(Config { persistent_peers: vec![], ..quiet() });
    let other = world.join(quiet());
    assert_eq!(world.net_addr(other).socket_addr(), peer.socket_addr());
    let at = world.net_addr(other);
    world.control(node, tmp2p::internals::switch::Control::AddPersistent(at.into()));
    assert!(world.run_until(10 * SECOND, |w| w.session(node, other).is_some()));
    world.run_for(SECOND);
    world.peer(node, other).unwrap().mark_bad(HOUR, "x");
    world.run_for(SECOND);
    assert!(!world.was_ever_bad(node, at.id()));
}

#[test]
fn a_verdict_after_the_end_of_the_session_still_counts_for_the_address() {
    let (mut world, node, outbound, _) = three(quiet());
    let peer = world.peer(node, outbound).unwrap();
    world.kill(outbound);
    world.run_for(SECOND);
    peer.mark_bad(HOUR, "late");
    world.run_for(SECOND);
    assert!(world.nodes[node].pex.core.book().is_bad(&peer.id()));
}
