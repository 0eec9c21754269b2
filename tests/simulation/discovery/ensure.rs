//! Nodes find each other, and keep finding each other.

use std::collections::BTreeSet;

use rand::{SeedableRng, rngs::StdRng};
use tmp2p::{
    Config, NetAddress, PeerAddress,
    internals::pex::PexRequest,
    internals::protocol::secret::Null,
    internals::switch::{Control, Limits},
    internals::time::Wall,
};

use crate::{
    internet::{SECOND, addr, id, internet, quiet, seed},
    world::World,
};

fn node_with(seeds: Vec<PeerAddress>) -> Config {
    Config { seeds, ..Config::default() }
}

fn start_all(world: &mut World<Null>, count: usize, seeds: &[NetAddress]) -> Vec<usize> {
    let seeds: Vec<PeerAddress> = seeds.iter().map(|addr| (*addr).into()).collect();
    (0..count).map(|_| world.join(node_with(seeds.clone()))).collect()
}

/// Whether every node reaches every other one.
fn is_connected(world: &World<Null>, nodes: &[usize]) -> bool {
    let (mut reached, mut next) = (BTreeSet::from([nodes[0]]), vec![nodes[0]]);
    while let Some(node) = next.pop() {
        next.extend(world.peers(node).filter(|peer| nodes.contains(peer) && reached.insert(*peer)));
    }
    reached.len() == nodes.len()
}

#[test]
fn nodes_that_know_one_seed_become_a_network() {
    let mut world = internet(10);
    let seed = world.join(seed());
    let seeds = [world.net_addr(seed)];
    let nodes = start_all(&mut world, 40, &seeds);
    let all = nodes.clone();
    let is_so = world.wait(600 * SECOND, |world| {
        is_connected(world, &all) && all.iter().all(|node| world.num_peers(*node) >= 10)
    });
    let counts: Vec<_> = nodes.iter().map(|node| world.num_peers(*node)).collect();
    assert!(is_so, "{counts:?} after {:?}", world.now);
    for node in &world.nodes {
        assert!(node.pex.stopped.is_empty(), "{:?}", node.pex.stopped);
    }
    // It goes on without the seed, also after restarts.
    world.kill(seed);
    world.run_for(60 * SECOND);
    for node in &nodes {
        world.kill(*node);
    }
    world.run_for(60 * SECOND);
    for node in &nodes {
        world.revive(*node);
    }
    let all = nodes.clone();
    assert!(world.wait(600 * SECOND, |world| is_connected(world, &all)));
}

#[test]
fn seeds_are_dialed_in_turn_until_one_is_reached() {
    let mut world = internet(11);
    let seed = world.join(seed());
    let real = world.net_addr(seed);
    world.names.insert("seed.example.com".into(), Some(vec![real.socket_addr()]));
    let named: PeerAddress = format!("{}@seed.example.com:26656", real.id()).parse().unwrap();
    let dead = (500..504).map(|n| PeerAddress::from(addr(n)));
    // It tells as many addresses as are wanted, or another one would be asked.
    let known = world.join(quiet());
    let told = world.net_addr(known);
    world.tell(seed, [told]);
    world.run_for(SECOND);
    let seeds = dead.chain([named]).collect();
    let node = world.join(Config { max_num_outbound_peers: 1, ..node_with(seeds) });
    world.run_for(25 * SECOND);
    assert_eq!(world.peers(node).collect::<Vec<_>>(), [known]);
    let dials = &mut world.nodes[node].pex.dials;
    assert_eq!(dials.pop().unwrap().1, told.into());
    assert!((1..=5).contains(&dials.len()), "{dials:?}");
    assert!(dials.last().unwrap().1.net_address().is_none(), "no further than the one that works");
    for pair in dials.windows(2) {
        assert!(pair[1].0.since(pair[0].0) >= 3 * SECOND, "one after the other: {dials:?}");
    }
}

#[test]
fn anchors_are_dialed_first() {
    let mut world = internet(12);
    let others: Vec<_> = (0..12).map(|_| world.join(quiet())).collect();
    let node = world.join(Config::default());
    for other in &others {
        world.dial(node, *other);
    }
    world.run_for(120 * SECOND);
    let anchors = world.nodes[node].pex.core.book().anchors().to_vec();
    assert_eq!(anchors.len(), 4);
    world.kill(node);
    world.run_for(SECOND);
    world.revive(node);
    world.run_for(SECOND / 100);
    let dialed: Vec<_> = world.nodes[node].pex.dials.iter().map(|(_, addr)| addr.clone()).collect();
    let expected: Vec<PeerAddress> = anchors.into_iter().map(PeerAddress::from).collect();
    assert_eq!(dialed[..4], expected);
    assert!(world.run_until(1200 * SECOND, |world| world.num_peers(node) == 10));
}

/// A full node refuses after the handshake: no hot loop of dials.
#[test]
fn a_node_that_refuses_after_the_handshake_meets_growing_pauses() {
    let mut world = internet(13);
    let full = world.join(Config { max_num_inbound_peers: 0, ..Config::default() });
    let node = world.join(Config::default());
    let to = world.net_addr(full);
    world.tell(node, [to]);
    for _ in 0..3600 {
        world.request(node, PexRequest::MorePeers);
        world.run_for(SECOND);
    }
    let dials: Vec<_> = world.nodes[node].pex.dials.iter().map(|(at, _)| *at).collect();
    assert!((8..=12).contains(&dials.len()), "{dials:?}");
    for pauses in dials.windows(3) {
        assert!(pauses[2].since(pauses[1]) >= pauses[1].since(pauses[0]), "{dials:?}");
    }
}

#[test]
fn an_address_that_never_answers_becomes_bad_and_comes_back() {
    let mut world = internet(14);
    let node = world.join(Config::default());
    world.tell(node, [addr(700)]);
    let is_bad = |world: &World<Null>| world.nodes[node].pex.core.book().is_bad(&id(700));
    assert!(world.run_until(7 * 24 * 3600 * SECOND, is_bad));
    assert_eq!(world.nodes[node].pex.dials.len(), 17);
    let since = world.at(node).wall;
    assert!(world.run_until(48 * 3600 * SECOND, |world| world.nodes[node].pex.dials.len() == 18));
    assert!(world.at(node).wall.since(since) >= 24 * 3600 * SECOND);
    // It starts from zero.
    assert!(world.run_until(600 * SECOND, |world| world.nodes[node].pex.dials.len() == 20));
}

/// Somebody tells another address for a node that we know.
#[test]
fn ip_overwrite_of_good_peers() {
    let mut world = internet(15);
    let good = world.join(quiet());
    let node = world.join(Config::default());
    world.dial(node, good);
    world.run_for(400 * SECOND);
    let real = world.net_addr(good);
    let lie = NetAddress::new(real.id(), [66, 6, 6, 6].into(), 26656);
    world.gossip(node, lie);
    let (now, mut rng) = (world.at(node), StdRng::seed_from_u64(1));
    let book = world.nodes[node].pex.core.book();
    assert_eq!(book.get(&real.id()).unwrap().addr, real);
    for _ in 0..100 {
        assert!(!book.selection(now.wall, &mut rng).contains(&lie));
    }
    // The node is found again where it was.
    world.kill(good);
    world.run_for(5 * SECOND);
    world.revive(good);
    assert!(world.run_until(3600 * SECOND, |world| world.num_peers(node) == 1));
    assert_eq!(world.nodes[node].pex.core.book().get(&real.id()).unwrap().addr, real);
}

#[test]
fn a_node_that_has_moved_is_found_once_somebody_tells_where() {
    let mut world = internet(16);
    let before = world.join(quiet());
    let node = world.join(Config::default());
    let old = world.net_addr(before);
    world.dial(node, before);
    world.run_for(400 * SECOND);
    world.kill(before);
    let new = NetAddress::new(old.id(), [99, 9, 9, 9].into(), 26656);
    let moved = world.join_as(before, new, quiet());
    world.gossip(node, new);
    assert!(world.run_until(3600 * SECOND, |world| world.num_peers(moved) == 1));
    assert_eq!(world.nodes[node].pex.core.book().get(&old.id()).unwrap().addr, new);
}

#[test]
fn the_number_of_peers_can_be_changed() {
    let mut world = internet(17);
    let others: Vec<_> = (0..12).map(|_| world.join(quiet())).collect();
    let node = world.join(Config { max_num_outbound_peers: 2, ..Config::default() });
    let addrs: Vec<_> = others.iter().map(|other| world.net_addr(*other)).collect();
    world.tell(node, addrs);
    assert!(world.run_until(300 * SECOND, |world| world.num_peers(node) == 2));
    world.run_for(300 * SECOND);
    assert_eq!(world.num_peers(node), 2);
    let limits = Limits { max_num_inbound_peers: 40, max_num_outbound_peers: 5 };
    world.control(node, Control::SetLimits(limits));
    world.request(node, PexRequest::SetMaxOutbound(5));
    assert!(world.run_until(300 * SECOND, |world| world.num_peers(node) == 5));
}

/// Slots of connections are used again: who has come last may have the first.
#[test]
fn anchors_are_the_oldest_peers_of_distinct_groups_that_nobody_reserved() {
    let mut world = internet(18);
    // 0 to 4 are one group, 5 to 9 the next, and so on.
    let others: Vec<_> = (0..30).map(|_| world.join(quiet())).collect();
    let addrs: Vec<PeerAddress> = others.iter().map(|o| world.net_addr(*o).into()).collect();
    let node = world.join(Config {
        persistent_peers: vec![addrs[25].clone()],
        unconditional_peer_ids: vec![addrs[26].id()],
        dial_spread: SECOND,
        max_num_outbound_peers: 0,
        ..Config::default()
    });
    world.run_for(2 * SECOND);
    for other in [26, 27, 0, 1, 5, 10, 11, 15, 20] {
        world.dial(node, others[other]);
        world.run_for(SECOND);
    }
    world.run_for(60 * SECOND);
    let anchors = |w: &World<Null>| {
        let anchors = w.nodes[node].pex.core.book().anchors().to_vec();
        let number = |addr: &NetAddress| addrs.iter().position(|other| other.id() == addr.id());
        anchors.iter().filter_map(number).collect::<Vec<_>>()
    };
    assert_eq!(anchors(&world), [27, 0, 5, 10]);
    // The oldest one is gone, and its slot is somebody else's.
    world.cut(node, others[27]);
    world.run_for(SECOND);
    world.dial(node, others[21]);
    world.run_for(60 * SECOND);
    assert_eq!(anchors(&world), [0, 5, 10, 15]);
    // Fewer groups than anchors: others of them.
    for other in [5, 10, 11, 15, 20, 21] {
        world.cut(node, others[other]);
    }
    world.run_for(60 * SECOND);
    assert_eq!(anchors(&world), [0, 1]);
}
