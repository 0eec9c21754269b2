//! Nodes find each other, and keep finding each other.

use std::collections::BTreeSet;

use rand::{SeedableRng, rngs::StdRng};
use tmp2p::{Config, NetAddress, PeerAddress, StoredBook, pex::PexRequest};

use crate::world::{Number, SECOND, World, addr, id, quiet};

fn node_with(seeds: Vec<PeerAddress>) -> Config {
    Config { seeds, ..Config::default() }
}

fn seed() -> Config {
    Config { seed_mode: true, ..Config::default() }
}

fn start_all(world: &mut World, count: usize, seeds: &[NetAddress]) -> Vec<Number> {
    let seeds: Vec<PeerAddress> = seeds.iter().map(|addr| (*addr).into()).collect();
    (0..count).map(|_| world.add(node_with(seeds.clone()))).collect()
}

/// Whether every node reaches every other one.
fn is_connected(world: &World, nodes: &[Number]) -> bool {
    let (mut reached, mut next) = (BTreeSet::from([nodes[0]]), vec![nodes[0]]);
    while let Some(node) = next.pop() {
        next.extend(world.peers(node).filter(|peer| nodes.contains(peer) && reached.insert(*peer)));
    }
    reached.len() == nodes.len()
}

#[test]
fn nodes_that_know_one_seed_become_a_network() {
    let mut world = World::new(10);
    let seed = world.add(seed());
    let seeds = [world.nodes[seed].addr];
    let nodes = start_all(&mut world, 40, &seeds);
    let all = nodes.clone();
    let is_so = world.run_until(600 * SECOND, |world| {
        is_connected(world, &all) && all.iter().all(|node| world.num_peers(*node) >= 10)
    });
    let counts: Vec<_> = nodes.iter().map(|node| world.num_peers(*node)).collect();
    assert!(is_so, "{counts:?} after {:?}", world.now);
    for node in &world.nodes {
        assert!(node.stopped.is_empty(), "{:?}", node.stopped);
    }
    // It goes on without the seed, also after restarts.
    world.kill(seed);
    world.run(60 * SECOND);
    for node in &nodes {
        world.kill(*node);
    }
    world.run(60 * SECOND);
    for node in &nodes {
        world.revive(*node);
    }
    let all = nodes.clone();
    assert!(world.run_until(600 * SECOND, |world| is_connected(world, &all)));
}

#[test]
fn seeds_are_dialed_in_turn_until_one_is_reached() {
    let mut world = World::new(11);
    let seed = world.add(seed());
    let real = world.nodes[seed].addr;
    world.names.insert("seed.example.com".into(), real.socket_addr());
    let named: PeerAddress = format!("{}@seed.example.com:26656", real.id()).parse().unwrap();
    let dead = (500..504).map(|n| PeerAddress::from(addr(n)));
    // It tells as many addresses as are wanted, or another one would be asked.
    let known = world.add(quiet());
    let told = world.nodes[known].addr;
    world.tell(seed, [(told, told)]);
    world.run(SECOND);
    let seeds = dead.chain([named]).collect();
    let node = world.add(Config { max_num_outbound_peers: 1, ..node_with(seeds) });
    world.run(25 * SECOND);
    assert_eq!(world.peers(node).collect::<Vec<_>>(), [known]);
    assert_eq!(world.nodes[node].dials.pop().unwrap().1, told.into());
    let dials = &world.nodes[node].dials;
    assert!((1..=5).contains(&dials.len()), "{dials:?}");
    assert!(dials.last().unwrap().1.net_address().is_none(), "no further than the one that works");
    for pair in dials.windows(2) {
        assert!(pair[1].0 - pair[0].0 >= 3 * SECOND, "one after the other: {dials:?}");
    }
}

#[test]
fn anchors_are_dialed_first() {
    let mut world = World::new(12);
    let others: Vec<_> = (0..12).map(|_| world.add(quiet())).collect();
    let node = world.add(Config::default());
    for other in &others {
        world.dial(node, world.nodes[*other].addr);
    }
    world.run(120 * SECOND);
    let anchors = world.nodes[node].core.book().anchors().to_vec();
    assert_eq!(anchors.len(), 4);
    world.kill(node);
    world.run(SECOND);
    let before = world.nodes[node].dials.len();
    world.revive(node);
    let dialed: Vec<_> =
        world.nodes[node].dials[before..].iter().map(|(_, addr)| addr.clone()).collect();
    let expected: Vec<PeerAddress> = anchors.into_iter().map(PeerAddress::from).collect();
    assert_eq!(dialed[..4], expected);
    assert!(world.run_until(1200 * SECOND, |world| world.num_peers(node) == 10));
}

/// A full node refuses after the handshake: no hot loop of dials.
#[test]
fn a_node_that_refuses_after_the_handshake_meets_growing_pauses() {
    let mut world = World::new(13);
    let full = world.add(Config::default());
    world.nodes[full].is_full = true;
    let node = world.add(Config::default());
    let to = world.nodes[full].addr;
    world.tell(node, [(to, to)]);
    for _ in 0..3600 {
        world.request(node, PexRequest::MorePeers);
        world.run(SECOND);
    }
    let dials: Vec<_> = world.nodes[node].dials.iter().map(|(at, _)| *at).collect();
    assert!((8..=12).contains(&dials.len()), "{dials:?}");
    for pauses in dials.windows(3) {
        assert!(pauses[2] - pauses[1] >= pauses[1] - pauses[0], "{dials:?}");
    }
}

#[test]
fn an_address_that_never_answers_becomes_bad_and_comes_back() {
    let mut world = World::new(14);
    let node = world.add(Config::default());
    world.tell(node, [(addr(700), addr(700))]);
    let is_bad = |world: &World| world.nodes[node].core.book().is_bad(&id(700));
    assert!(world.run_until(7 * 24 * 3600 * SECOND, is_bad));
    assert_eq!(world.nodes[node].dials.len(), 17);
    let since = world.at().wall;
    assert!(world.run_until(48 * 3600 * SECOND, |world| world.nodes[node].dials.len() == 18));
    assert!(world.at().wall - since >= 24 * 3600 * SECOND);
    // It starts from zero.
    assert!(world.run_until(600 * SECOND, |world| world.nodes[node].dials.len() == 20));
}

/// Somebody tells another address for a node that we know.
#[test]
fn ip_overwrite_of_good_peers() {
    let mut world = World::new(15);
    let good = world.add(quiet());
    let node = world.add(Config::default());
    world.dial(node, world.nodes[good].addr);
    world.run(400 * SECOND);
    let real = world.nodes[good].addr;
    let lie = NetAddress::new(real.id(), [66, 6, 6, 6].into(), 26656);
    world.gossip(node, lie);
    let (now, mut rng) = (world.at(), StdRng::seed_from_u64(1));
    let book = world.nodes[node].core.book();
    assert_eq!(book.get(&real.id()).unwrap().addr, real);
    for _ in 0..100 {
        assert!(!book.selection(now.wall, &mut rng).contains(&lie));
    }
    // The node is found again where it was.
    world.kill(good);
    world.run(5 * SECOND);
    world.revive(good);
    assert!(world.run_until(3600 * SECOND, |world| world.num_peers(node) == 1));
    assert_eq!(world.nodes[node].core.book().get(&real.id()).unwrap().addr, real);
}

#[test]
fn a_node_that_has_moved_is_found_once_somebody_tells_where() {
    let mut world = World::new(16);
    let before = world.add(quiet());
    let node = world.add(Config::default());
    let old = world.nodes[before].addr;
    world.dial(node, old);
    world.run(400 * SECOND);
    world.kill(before);
    let new = NetAddress::new(old.id(), [99, 9, 9, 9].into(), 26656);
    let moved = world.add_at(new, quiet(), StoredBook::default());
    world.gossip(node, new);
    assert!(world.run_until(3600 * SECOND, |world| world.num_peers(moved) == 1));
    assert_eq!(world.nodes[node].core.book().get(&old.id()).unwrap().addr, new);
}

#[test]
fn the_number_of_peers_can_be_changed() {
    let mut world = World::new(17);
    let others: Vec<_> = (0..12).map(|_| world.add(quiet())).collect();
    let node = world.add(Config { max_num_outbound_peers: 2, ..Config::default() });
    let addrs: Vec<_> = others.iter().map(|other| world.nodes[*other].addr).collect();
    world.tell(node, addrs.into_iter().map(|addr| (addr, addr)));
    assert!(world.run_until(300 * SECOND, |world| world.num_peers(node) == 2));
    world.run(300 * SECOND);
    assert_eq!(world.num_peers(node), 2);
    world.request(node, PexRequest::SetMaxOutbound(5));
    assert!(world.run_until(300 * SECOND, |world| world.num_peers(node) == 5));
}
