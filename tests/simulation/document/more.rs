//! A reactor that gets nowhere with the peers it has gets others (the document's note on state sync
//! that halts with two peers).

use tmp2p::{
    Config, DisconnectReason, internals::pex::PexRequest, internals::protocol::secret::Null,
};

use super::HOUR;
use crate::{
    internet::{SECOND, internet, quiet},
    world::World,
};

/// A node with as many outbound peers as it may have, oldest first, and others that it knows.
fn full(others: usize) -> (World<Null>, usize, Vec<usize>) {
    let mut world = internet(800);
    let node = world.join(Config { max_num_outbound_peers: 2, ..Config::default() });
    let peers = vec![world.join(quiet()), world.join(quiet())];
    for peer in &peers {
        world.dial(node, *peer);
        world.run_for(SECOND);
    }
    let known: Vec<_> = (0..others).map(|_| world.join(quiet())).collect();
    let known: Vec<_> = known.into_iter().map(|other| world.net_addr(other)).collect();
    world.tell(node, known);
    world.run_for(60 * SECOND);
    assert_eq!(world.peers(node).collect::<Vec<_>>().len(), 2);
    (world, node, peers)
}

fn replaced(world: &World<Null>, node: usize) -> Vec<usize> {
    let all = 0..world.nodes.len();
    let is_replaced = |other: &usize| {
        let endings = world.endings(node, world.nodes[*other].id);
        endings.contains(&DisconnectReason::Replaced)
    };
    all.filter(is_replaced).collect()
}

#[test]
fn at_the_limit_one_more_is_found_and_the_oldest_leaves() {
    let (mut world, node, peers) = full(5);
    world.request(node, PexRequest::MorePeers);
    // Over the limit by one, until it has proved itself.
    assert!(world.run_until(5 * SECOND, |w| w.num_peers(node) == 3));
    let mut most = 3;
    for _ in 0..100 {
        world.run_for(SECOND / 4);
        most = most.max(world.num_peers(node));
    }
    assert_eq!((most, world.num_peers(node)), (3, 2));
    assert_eq!(replaced(&world, node), [peers[0]]);
    assert!(world.session(node, peers[1]).is_some());
}

#[test]
fn who_is_needed_stays() {
    let (mut world, node, peers) = full(5);
    world.peer(node, peers[0]).unwrap().mark_good();
    world.request(node, PexRequest::MorePeers);
    world.run_for(20 * SECOND);
    assert_eq!(replaced(&world, node), [peers[1]], "a reactor has called the other one good");
    // Reserved peers count in no limit and never go.
    let id = world.nodes[peers[0]].id;
    world.control(node, tmp2p::internals::switch::Control::AddUnconditional(id));
    world.run_for(60 * SECOND);
    for _ in 0..5 {
        world.request(node, PexRequest::MorePeers);
        world.run_for(60 * SECOND);
    }
    assert!(world.session(node, peers[0]).is_some());
}

#[test]
fn however_often_it_is_wanted_one_peer_a_period_is_exchanged() {
    let (mut world, node, _) = full(12);
    let before = world.nodes[node].ups_and_downs().0;
    for _ in 0..300 {
        world.request(node, PexRequest::MorePeers);
        world.run_for(SECOND);
        assert!(world.num_peers(node) <= 3);
    }
    let ups = world.nodes[node].ups_and_downs().0 - before;
    // Half a minute, and ten seconds until a newcomer has proved itself.
    assert!((5..=11).contains(&ups), "{ups} peers in five minutes");
}

#[test]
fn whoever_is_not_there_costs_nobody_its_place() {
    let (mut world, node, peers) = full(0);
    world.tell(node, (1000..1005).map(crate::internet::addr));
    world.request(node, PexRequest::MorePeers);
    world.run_for(HOUR);
    assert_eq!(replaced(&world, node), Vec::<usize>::new());
    assert!(peers.iter().all(|peer| world.session(node, *peer).is_some()));
}

/// Also what was bad is looked at then, if its time is over.
#[test]
fn who_wants_another_peer_needs_more() {
    let (mut world, node, _) = full(1);
    let known = world.nodes.len() - 1;
    let (id, reason) = (world.nodes[known].id, "slow".to_owned());
    let duration = 10 * SECOND;
    world.request(node, PexRequest::MarkBad { id, addr: None, duration, reason });
    world.run_for(60 * SECOND);
    assert!(world.nodes[node].pex.core.book().is_bad(&id), "nobody has needed it");
    world.request(node, PexRequest::MorePeers);
    assert!(world.run_until(2 * SECOND, |w| w.session(node, known).is_some()));
}

#[test]
fn below_the_limit_it_looks_for_peers_at_once() {
    let mut world = internet(801);
    let node = world.join(Config::default());
    world.run_for(SECOND);
    let peer = world.join(quiet());
    let at = world.net_addr(peer);
    world.tell(node, [at]);
    assert_eq!(world.num_peers(node), 0);
    world.request(node, PexRequest::MorePeers);
    assert!(world.run_until(2 * SECOND, |w| w.num_peers(node) == 1), "not with the next round");
}
