//! Peers that were lost are looked for at once, and not with the next round half a minute later.

use std::time::{Duration, SystemTime};

use tmp2p::{
    Config, PeerAddress, internals::pex::PexRequest, internals::protocol::secret::Null,
    internals::time::Wall,
};

use crate::{
    internet::{SECOND, addr, internet, quiet, seed},
    world::{World, seeds},
};

/// When the node's peer exchange has asked for a dial of the other one, from then on.
fn dials(world: &World<Null>, node: usize, of: usize, since: SystemTime) -> Vec<Duration> {
    let id = world.nodes[of].id;
    let dials = world.nodes[node].pex.dials.iter().filter(|(_, addr)| addr.id() == id);
    dials.map(|(at, _)| *at).filter(|at| *at >= since).map(|at| at.since(since)).collect()
}

/// The process of the only peer ends, and is there again after some time. Go looks every 30 s.
#[test]
fn a_node_whose_peers_are_all_gone_has_them_back_soon_after_they_are() {
    for (number, down) in [0, 2, 5, 10, 20].into_iter().enumerate() {
        // Whatever part of the period is over.
        for phase in [1, 11, 21] {
            for is_inbound in [false, true] {
                let mut world = internet(60 + number as u64);
                world.net.borrow_mut().is_silent = false;
                let (node, peer) = (world.join(Config::default()), world.join(quiet()));
                let (from, to) = if is_inbound { (peer, node) } else { (node, peer) };
                world.dial(from, to);
                world.run_for((100 + phase) * SECOND);
                assert!(world.session(node, peer).is_some());
                let lost = world.now;
                world.kill(peer);
                world.run_for(down * SECOND);
                world.revive(peer);
                let is_back = |w: &World<Null>| w.session(node, peer).is_some();
                assert!(world.run_until(60 * SECOND, is_back));
                let took = world.now.since(lost);
                let most = 9 * down * SECOND / 4 + 2 * SECOND;
                let what = format!("down for {down} s, inbound {is_inbound}, phase {phase}");
                assert!(took <= most, "{what}: it took {took:?}");
            }
        }
    }
}

/// At once, then with pauses as an address that fails has them; never much more rarely than before.
#[test]
fn while_there_is_nobody_the_lost_peer_is_dialed_at_growing_pauses() {
    let mut world = internet(65);
    world.net.borrow_mut().is_silent = false;
    let (node, peer) = (world.join(Config::default()), world.join(quiet()));
    world.dial(node, peer);
    world.run_for(107 * SECOND);
    let lost = world.at(node).wall;
    world.kill(peer);
    world.run_for(110 * SECOND);
    let dials = dials(&world, node, peer, lost);
    let pauses: Vec<_> = dials.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(dials[0] < SECOND, "{dials:?}");
    // In a round each, and nothing between; the last one waits for its own pause of 32 s, which ends
    // after the next round.
    for (pause, least) in pauses.iter().zip([3, 5, 9, 17, 60]) {
        let (least, most) = (least * SECOND, least * SECOND * 5 / 4);
        assert!((least..=most).contains(pause), "{dials:?}");
    }
    assert_eq!(pauses.len(), 5, "{dials:?}");
}

/// Who is there for a moment, says something, and hangs up.
#[test]
fn a_peer_that_comes_and_goes_is_not_dialed_in_a_loop() {
    for (stays, seed) in seeds(8).flat_map(|seed| [(1, seed), (12, seed)]) {
        let mut world = internet(seed);
        let (node, peer) = (world.join(Config::default()), world.join(quiet()));
        let at = world.net_addr(peer);
        world.tell(node, [at]);
        world.request(node, PexRequest::MorePeers);
        let begin = world.at(node).wall;
        while world.at(node).wall < begin + 900 * SECOND {
            let is_up = |w: &World<Null>| w.session(node, peer).is_some();
            if world.run_until(60 * SECOND, is_up) {
                world.run_for(stays * SECOND);
                world.cut(node, peer);
            }
        }
        let dials = dials(&world, node, peer, begin);
        // The first five come sooner, and what follows once a period.
        assert!((10..=5 + 30).contains(&dials.len()), "{stays} s: {dials:?}");
        let late: Vec<_> = dials.windows(2).skip(6).map(|pair| pair[1] - pair[0]).collect();
        // A session that ends before anything was said is a failure, and the first one in a row: its pause is
        // 2 s, and the round after it finds nobody due.
        let is_paced =
            |pair: &[Duration]| pair[0] >= 29 * SECOND || pair[0] + pair[1] >= 59 * SECOND;
        assert!(late.windows(2).all(is_paced), "{stays} s: {late:?}");
    }
}

/// Nobody of the book is there any more, and the seed knows others.
#[test]
fn a_seed_is_asked_as_soon_as_those_of_the_book_were_tried() {
    for phase in [1, 11, 21] {
        let mut world = internet(67);
        world.net.borrow_mut().is_silent = false;
        let (first, second) = (world.join(quiet()), world.join(quiet()));
        let seed = world.join(seed());
        let addrs = [first, second, seed].map(|node| world.net_addr(node));
        world.tell(seed, [addrs[0]]);
        world.run_for(10 * SECOND);
        let seeds = vec![addrs[2].into()];
        // With more it would have asked the seed again and again.
        let config = Config { seeds, max_num_outbound_peers: 1, ..Config::default() };
        let node = world.join(config);
        world.run_for(120 * SECOND);
        assert_eq!(world.peers(node).collect::<Vec<_>>(), [first]);
        world.tell(seed, [addrs[1]]);
        world.run_for((10 + phase) * SECOND);
        world.kill(first);
        let is_up = |w: &World<Null>| w.session(node, second).is_some();
        assert!(world.run_until(5 * SECOND, is_up), "phase {phase}");
    }
}

/// However often everybody is lost.
#[test]
fn seeds_are_dialed_no_more_often_than_once_a_period() {
    for stays in [5, 45] {
        let mut world = internet(68);
        let dead = addr(700);
        let seeds = vec![PeerAddress::from(dead)];
        let (node, peer) = (world.join(Config { seeds, ..Config::default() }), world.join(quiet()));
        let at = world.net_addr(peer);
        world.tell(node, [at]);
        for _ in 0..20 {
            let is_up = |w: &World<Null>| w.session(node, peer).is_some();
            world.run_until(60 * SECOND, is_up);
            world.run_for(stays * SECOND);
            world.cut(node, peer);
        }
        let dials = world.nodes[node].pex.dials.iter().filter(|(_, addr)| addr.id() == dead.id());
        let dials: Vec<_> = dials.map(|(at, _)| *at).collect();
        assert!(dials.len() > 5, "{dials:?}");
        assert!(dials.windows(2).all(|pair| pair[1].since(pair[0]) >= 30 * SECOND), "{dials:?}");
    }
}

/// The others need not wait for the round, and nobody is in a hurry.
#[test]
fn a_peer_that_is_lost_among_others_is_replaced_within_seconds() {
    let mut world = internet(69);
    let others: Vec<_> = (0..14).map(|_| world.join(quiet())).collect();
    let addrs: Vec<_> = others.iter().map(|other| world.net_addr(*other)).collect();
    let node = world.join(Config::default());
    world.tell(node, addrs);
    assert!(world.run_until(120 * SECOND, |w| w.num_peers(node) == 10));
    world.run_for(47 * SECOND);
    let gone = world.peers(node).next().unwrap();
    world.kill(gone);
    assert!(world.run_until(SECOND / 2, |w| w.num_peers(node) == 9));
    let before = world.nodes[node].pex.dials.len();
    assert!(world.run_until(2 * SECOND, |w| w.num_peers(node) == 10));
    assert_eq!(world.nodes[node].pex.dials.len(), before + 1);
}

#[test]
fn a_node_that_stops_looks_for_nobody() {
    let mut world = internet(70);
    let (node, peer) = (world.join(Config::default()), world.join(quiet()));
    world.dial(node, peer);
    world.run_for(107 * SECOND);
    let before = world.nodes[node].pex.dials.len();
    world.stop(node, 5 * SECOND);
    world.run_for(20 * SECOND);
    assert_eq!(world.nodes[node].pex.dials.len(), before);
}

/// It was dialed a moment ago, and has not failed.
#[test]
fn a_peer_that_is_lost_soon_after_it_came_is_dialed_again_at_once() {
    let mut world = internet(72);
    let (node, peer) = (world.join(Config::default()), world.join(quiet()));
    let at = world.net_addr(peer);
    world.tell(node, [at]);
    let is_up = |w: &World<Null>| w.session(node, peer).is_some();
    assert!(world.run_until(10 * SECOND, is_up));
    world.run_for(12 * SECOND);
    world.cut(node, peer);
    assert!(world.run_until(SECOND / 10, |w| !is_up(w)));
    assert!(world.run_until(SECOND, is_up));
}

/// A link that is cut for a moment cuts off a whole network at once.
#[test]
fn no_seed_is_asked_if_those_who_were_lost_are_still_there() {
    let mut world = internet(73);
    let peer = world.join(quiet());
    let seeds = vec![PeerAddress::from(addr(700))];
    let config = Config { seeds, max_num_outbound_peers: 2, ..Config::default() };
    let node = world.join(config);
    // An operator's, so that there is a place to spare.
    world.dial(node, peer);
    world.run_for(100 * SECOND);
    let other = world.join(quiet());
    world.dial(node, other);
    world.run_for(100 * SECOND);
    let since = world.at(node).wall;
    world.cut(node, peer);
    world.cut(node, other);
    world.run_for(2 * SECOND);
    assert_eq!(world.num_peers(node), 2);
    let dials = world.nodes[node].pex.dials.iter().filter(|(at, _)| *at >= since);
    let ids: Vec<_> = dials.map(|(_, addr)| addr.id()).collect();
    assert_eq!(ids.len(), 2, "{ids:?}");
    assert!(!ids.contains(&addr(700).id()));
}
