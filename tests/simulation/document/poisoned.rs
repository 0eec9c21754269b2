//! Who tells a node many addresses does not choose its peers.

use std::collections::BTreeSet;

use tmp2p::{
    Config, Direction, NetAddress, internals::pex::PexMessage, internals::protocol::secret::Null,
};

use super::HOUR;
use crate::{
    internet::{SECOND, addr, id, internet, quiet, seed},
    world::{World, seeds},
};

/// The n-th address that nobody has, in one of 200 groups that no node is in.
fn hole(n: u64) -> NetAddress {
    let ip = [60 + (n % 200 / 100) as u8, (n % 100) as u8, (n / 200) as u8, 1 + (n % 250) as u8];
    NetAddress::new(id(50_000 + n), ip.into(), 26656)
}

/// So many nodes, each in a group of its own, and their addresses.
fn honest(world: &mut World<Null>, count: usize) -> Vec<NetAddress> {
    let join = |n: usize| {
        let node = world.join_as(1000 + n, addr(5 * n as u64), quiet());
        world.net_addr(node)
    };
    (0..count).map(join).collect()
}

/// The outbound peers' addresses, but for what the first octets say.
fn outbound(world: &World<Null>, node: usize) -> Vec<NetAddress> {
    let sessions = world.nodes[node].sessions.values();
    let outbound = sessions.filter(|peer| peer.direction() == Direction::Outbound);
    let addr = |peer: &tmp2p::Peer| {
        NetAddress::new(peer.id(), peer.remote_addr().ip(), peer.remote_addr().port())
    };
    outbound.map(addr).collect()
}

fn num_groups(addrs: &[NetAddress]) -> usize {
    addrs.iter().map(|addr| addr.group_key(true)).collect::<BTreeSet<_>>().len()
}

/// Half of the black holes take the connection and say nothing.
#[test]
fn with_nine_tenths_black_holes_a_node_has_all_its_peers_in_distinct_groups_in_ten_minutes() {
    for number in seeds(3) {
        let mut world = internet(number);
        let good = honest(&mut world, 60);
        let host = world.net.borrow_mut().add_host();
        for n in (0..540).step_by(2) {
            world.net.borrow_mut().listen(host, hole(n).socket_addr());
        }
        // Not where one of them is.
        let node = world.join_as(60, addr(4001), Config::default());
        // From 20 sources in as many groups; the others were told by three.
        let bad = (0..540).map(|n| (hole(n), hole(n % 20)));
        let told: Vec<_> =
            good.iter().enumerate().map(|(n, addr)| (*addr, good[n % 3])).chain(bad).collect();
        world.tell_of(node, told);
        let book = world.nodes[node].pex.core.book();
        let holes = book.iter().filter(|known| !good.contains(&known.addr)).count();
        assert!(holes * 100 >= book.len() * 88, "{holes} of {}", book.len());
        let begin = world.now;
        let has_all = |w: &World<Null>| w.nodes[node].pex.core.num_outbound() == 10;
        assert!(world.run_until(600 * SECOND, has_all), "{}", world.num_peers(node));
        let peers = outbound(&world, node);
        assert_eq!((peers.len(), num_groups(&peers)), (10, 10), "{peers:?}");
        eprintln!("all peers after {:?}", world.now.since(begin));
    }
}

/// Whoever rents a network has as many nodes in it as he likes.
#[test]
fn one_group_is_one_outbound_peer_while_there_are_others() {
    for number in seeds(3) {
        let mut world = internet(number);
        let good = honest(&mut world, 12);
        let theirs = |n: usize| NetAddress::new(id(0), [99, 9, 1, n as u8 + 1].into(), 26656);
        let bad: Vec<_> = (0..60)
            .map(|n| {
                let node = world.join_as(2000 + n, theirs(n), quiet());
                world.net_addr(node)
            })
            .collect();
        let group = bad[0].group_key(true);
        let is_theirs = |addr: &&NetAddress| addr.group_key(true) == group;
        let node = world.join(Config::default());
        world.tell(node, bad.iter().chain(&good).copied());
        assert!(world.run_until(300 * SECOND, |w| w.num_peers(node) == 10));
        let peers = outbound(&world, node);
        assert!(peers.iter().filter(is_theirs).count() <= 1, "{peers:?}");
        // Somebody else's dial into the group counts, too.
        let node = world.join(Config::default());
        world.dial_at(node, bad[0].id(), &bad[0].socket_addr().to_string());
        world.run_for(SECOND);
        world.tell(node, bad.iter().chain(&good).copied());
        assert!(world.run_until(300 * SECOND, |w| w.num_peers(node) == 10));
        let peers = outbound(&world, node);
        assert_eq!(peers.iter().filter(is_theirs).count(), 1, "{peers:?}");
    }
}

/// A network of one company in one cloud.
#[test]
fn where_all_are_of_one_group_they_are_dialed_all_the_same() {
    for number in seeds(4) {
        let mut world = internet(number);
        let at = |n: usize| NetAddress::new(id(0), [99, 9, 1, n as u8 + 1].into(), 26656);
        let nodes: Vec<_> = (0..12).map(|n| world.join_as(n, at(n), quiet())).collect();
        let addrs: Vec<_> = nodes.into_iter().map(|node| world.net_addr(node)).collect();
        let node = world.join(Config::default());
        world.tell(node, addrs.clone());
        assert!(world.run_until(60 * SECOND, |w| w.num_peers(node) == 10));
        // Also where somebody has told of black holes in other groups: each is tried once before,
        // and comes again less and less often.
        let node = world.join(Config::default());
        world.tell(node, addrs.into_iter().chain((0..30).map(hole)));
        assert!(world.run_until(600 * SECOND, |w| w.num_peers(node) == 10));
    }
}

/// Whom it dialed for its addresses asks for some in return.
#[test]
fn a_seed_hands_unverified_addresses_to_nobody_it_has_dialed() {
    let mut world = internet(1401);
    let (living, others) = world.living_seed(10);
    world.tell(living, (5000..5100).map(addr));
    let dialed = world.join(quiet());
    world.mute(dialed);
    let at = world.net_addr(dialed);
    world.tell(living, [at]);
    let has_session = |w: &World<Null>| w.session(living, dialed).is_some();
    assert!(world.run_until(200 * SECOND, has_session));
    world.receive(living, dialed, PexMessage::Request.encode());
    let answers =
        world.nodes[living].pex.sent.iter().filter_map(|(_, to, message)| match message {
            PexMessage::Addrs(addrs) if *to == at.id() => Some(addrs),
            _ => None,
        });
    let answers: Vec<_> = answers.collect();
    assert_eq!(answers.len(), 1);
    let reached: Vec<_> = others.iter().chain([&dialed]).map(|n| world.net_addr(*n)).collect();
    assert!(answers[0].len() >= 10);
    assert!(answers[0].iter().all(|addr| reached.contains(addr)), "{answers:?}");
}

/// Behind a translator a node does not know its own address, and others tell it.
#[test]
fn an_address_at_which_we_met_ourselves_is_not_booked_again() {
    for config in [Config::default(), seed()] {
        let mut world = internet(1402);
        let node = world.join(config);
        let (host, outside) = (world.nodes[node].host, addr(4000));
        // Its router leads back to it.
        world.net.borrow_mut().stop_listening(host);
        world.net.borrow_mut().listen(host, outside.socket_addr());
        world.tell(node, [outside]);
        let is_gone = |w: &World<Null>| w.nodes[node].pex.core.book().get(&outside.id()).is_none();
        assert!(world.run_until(60 * SECOND, is_gone));
        assert_eq!(world.asked_to_dial(node, outside.id()).len(), 1);
        let dials = world.nodes[node].pex.dials.len();
        // Whatever ID is told with it.
        let same = |n: u64| NetAddress::new(addr(6000 + n).id(), outside.ip(), outside.port());
        world.tell(node, (0..20).map(same));
        world.run_for(HOUR);
        assert!(world.nodes[node].pex.core.book().is_empty());
        assert_eq!(world.nodes[node].pex.dials.len(), dials);
    }
}
