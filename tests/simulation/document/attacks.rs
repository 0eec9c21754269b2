//! What attacks and odd days have shown: each of these was a fault once.

use std::time::Duration;

use tmp2p::{
    Config, DisconnectReason, MemoryStore, NetAddress, PeerAddress,
    internals::pex::{CHANNEL, PexMessage, PexRequest},
    internals::protocol::secret::Null,
    internals::switch::Control,
};

use super::HOUR;
use crate::{
    internet::{SECOND, addr, internet, quiet, seed},
    options::Options,
    world::World,
};

/// The node starts again with what it has booked and another configuration.
fn restart_as(world: &mut World<Null>, node: usize, config: Config) {
    let options = Options { config, ..world.nodes[node].options.clone() };
    world.restart(node, options, true);
    world.bring_back(node);
}

#[test]
fn a_verdict_outlives_the_session_and_a_restart() {
    let mut world = internet(1200);
    let (node, peer) = (world.join(quiet()), world.join(quiet()));
    let id = world.nodes[peer].id;
    world.dial(node, peer);
    // Long enough to be one of those to return to.
    world.run_for(60 * SECOND);
    world.peer(node, peer).unwrap().mark_bad(24 * HOUR, "sent a wrong block");
    world.run_for(SECOND);
    world.cut(node, peer);
    world.run_for(SECOND);
    world.dial(node, peer);
    world.run_for(400 * SECOND);
    assert!(world.session(node, peer).is_some(), "the application may dial it");
    let is_bad = |w: &World<Null>| w.nodes[node].pex.core.book().is_bad(&id);
    assert!(is_bad(&world));
    restart_as(&mut world, node, Config::default());
    world.run_for(400 * SECOND);
    assert!(world.asked_to_dial(node, id).is_empty() && is_bad(&world));
}

/// An hour without a network leaves every address with a long pause.
#[test]
fn what_a_seed_tells_after_an_outage_of_our_own_is_dialed_all_the_same() {
    let mut world = internet(1201);
    let (living, others) = world.living_seed(15);
    let (seed_id, at) = (world.nodes[living].id, world.net_addr(living));
    let node = world.join(Config { seeds: vec![at.into()], ..Config::default() });
    world.run_for(120 * SECOND);
    assert!(world.num_peers(node) >= 9);
    let all: Vec<_> = others.iter().chain([&living]).map(|n| world.nodes[*n].addr).collect();
    world.net.borrow_mut().black_holes.extend(all);
    for peer in world.peers(node).collect::<Vec<_>>() {
        world.cut(node, peer);
    }
    world.run_for(HOUR);
    world.net.borrow_mut().black_holes.clear();
    // Only the node was away: the seed knows what it knew.
    world.nodes[living].pex.store = MemoryStore::new();
    restart_as(&mut world, living, seed());
    let addrs: Vec<_> = others.iter().map(|other| world.net_addr(*other)).collect();
    world.tell(living, addrs);
    let has_peers = |w: &World<Null>| {
        w.nodes[node].sessions.values().filter(|peer| peer.id() != seed_id).count() >= 5
    };
    assert!(world.run_until(300 * SECOND, has_peers), "{} peers", world.num_peers(node));
}

#[test]
fn wishes_for_more_peers_keep_nobody_from_its_seeds() {
    for pause in [50, 300] {
        let mut world = internet(1202);
        let node = world.join(quiet());
        world.tell(node, (2000..3500).map(addr));
        let seeds = vec![addr(700).into()];
        let dial_timeout = Duration::from_millis(3700);
        restart_as(&mut world, node, Config { seeds, dial_timeout, ..Config::default() });
        for _ in 0..300_000 / pause {
            world.request(node, PexRequest::MorePeers);
            world.run_for(Duration::from_millis(pause));
        }
        let dials = world.asked_to_dial(node, addr(700).id()).len();
        assert!((9..=11).contains(&dials), "{dials} in ten rounds");
    }
}

/// A peer can tell any number of addresses at its own; nobody is to blame that they are refused.
#[test]
fn what_is_refused_at_once_is_not_dialed_all_the_time() {
    let mut world = internet(1203);
    // It lets nobody share an address.
    let node = world.join(Config { allow_duplicate_ip: false, ..Config::default() });
    let peer = world.join(quiet());
    let at = world.net_addr(peer);
    let same = |n: u64| NetAddress::new(addr(5000 + n).id(), at.ip(), 1000 + n as u16);
    world.tell(node, (0..40).map(same));
    world.dial(node, peer);
    world.run_for(10 * SECOND);
    let before = world.nodes[node].pex.dials.len();
    world.run_for(HOUR);
    let dials = world.nodes[node].pex.dials.len() - before;
    // 40 addresses, each once in a round at most.
    assert!(dials <= 40 * 120, "{dials}");
    // And nobody has dialed them, which is no reason to be the first to leave the book.
    let book = world.nodes[node].pex.core.book();
    let theirs = book.iter().filter(|known| known.addr.ip() == at.ip() && known.addr != at);
    assert!(theirs.into_iter().all(|known| known.history().attempts == 0));
}

#[test]
fn who_says_something_and_hangs_up_is_not_dialed_in_a_loop() {
    let mut world = internet(1204);
    let (node, peer) = (world.join(Config::default()), world.join(quiet()));
    let (id, at) = (world.nodes[node].id, world.net_addr(peer));
    world.mute(peer);
    world.tell(node, [at]);
    for _ in 0..3000 {
        let session = world.nodes[peer].sessions.values().find(|p| p.id() == id).cloned();
        if let Some(session) = session {
            let _ = session.try_send(CHANNEL, PexMessage::Request.encode());
            world.run_for(SECOND / 10);
            session.flush_stop();
        }
        world.run_for(SECOND / 10);
    }
    let dials = world.asked_to_dial(node, at.id()).len();
    // Once a period, and the first few sooner.
    assert!(dials <= 22 + 5, "{dials} in ten minutes");
}

#[test]
fn a_full_node_that_loses_a_peer_dials_no_seed_while_the_book_has_somebody() {
    let mut world = internet(1205);
    let (living, others) = world.living_seed(40);
    let seeds = vec![PeerAddress::from(world.net_addr(living))];
    let node = world.join(Config { seeds: seeds.clone(), ..Config::default() });
    world.run_for(600 * SECOND);
    assert_eq!(world.nodes[node].pex.core.num_outbound(), 10);
    let before = world.asked_to_dial(node, seeds[0].id()).len();
    for _ in 0..10 {
        let peer = world.peers(node).find(|peer| others.contains(peer)).unwrap();
        world.cut(node, peer);
        world.run_for(60 * SECOND);
    }
    let dials = world.asked_to_dial(node, seeds[0].id()).len() - before;
    assert!(dials <= 1, "{dials}");
}

/// The application may have dialed more than peer exchange would; a wish does not last for ever.
#[test]
fn above_the_limit_a_peer_is_exchanged_too_but_not_hours_later() {
    let mut world = internet(1206);
    let node = world.join(Config { max_num_outbound_peers: 2, ..Config::default() });
    let peers: Vec<_> = (0..3).map(|_| world.join(quiet())).collect();
    for peer in &peers {
        world.dial(node, *peer);
        world.run_for(SECOND);
    }
    world.request(node, PexRequest::MorePeers);
    world.run_for(60 * SECOND);
    assert_eq!(world.num_peers(node), 3, "it knows nobody else");
    let known: Vec<_> = (0..5).map(|_| world.join(quiet())).collect();
    let known: Vec<_> = known.into_iter().map(|other| world.net_addr(other)).collect();
    world.tell(node, known);
    world.run_for(HOUR);
    let is_replaced = |w: &World<Null>| {
        let ended = peers.iter().flat_map(|peer| w.endings(node, w.nodes[*peer].id));
        ended.filter(|reason| *reason == DisconnectReason::Replaced).count()
    };
    assert_eq!((is_replaced(&world), world.num_peers(node)), (0, 3));
    world.request(node, PexRequest::MorePeers);
    world.run_for(60 * SECOND);
    assert_eq!((is_replaced(&world), world.num_peers(node)), (1, 3));
}

#[test]
fn an_unconditional_peer_is_found_bad_by_no_machine() {
    let mut world = internet(1207);
    let gone = addr(700);
    let node = world.join(Config { unconditional_peer_ids: vec![gone.id()], ..Config::default() });
    world.tell(node, [gone]);
    world.run_for(60 * HOUR);
    assert!(world.failures(node, gone.id()).len() > 17);
    assert!(!world.was_ever_bad(node, gone.id()));
}

#[test]
fn dead_persistent_peers_do_not_keep_a_node_from_its_seeds() {
    for count in [10, 100] {
        let mut world = internet(1208);
        let (living, _) = world.living_seed(15);
        let seeds = vec![world.net_addr(living).into()];
        let persistent_peers = (3000..3000 + count).map(|n| addr(n).into()).collect();
        let node = world.join(Config { seeds, persistent_peers, ..Config::default() });
        let has_peers = |w: &World<Null>| w.num_peers(node) > 0;
        assert!(world.run_until(20 * SECOND, has_peers), "{count}");
    }
}

#[test]
fn seeds_that_never_answer_hold_no_place() {
    let mut world = internet(1209);
    let (living, _) = world.living_seed(15);
    let mute = [(); 2].map(|()| world.join(quiet()));
    mute.iter().for_each(|seed| world.mute(*seed));
    let seeds: Vec<PeerAddress> =
        mute.iter().chain([&living]).map(|seed| world.net_addr(*seed).into()).collect();
    let ids: Vec<_> = seeds.iter().map(|seed| seed.id()).collect();
    for most in [1, 2, 1, 2, 1, 2] {
        let config =
            Config { seeds: seeds.clone(), max_num_outbound_peers: most, ..Config::default() };
        let node = world.join(config);
        let has_peer =
            |w: &World<Null>| w.nodes[node].sessions.values().any(|p| !ids.contains(&p.id()));
        assert!(world.run_until(180 * SECOND, has_peer), "with {most} places");
    }
}

#[test]
fn a_guest_that_is_reserved_no_more_is_one_like_others() {
    let mut world = internet(1210);
    let seed = world.join(Config { seed_disconnect_wait_period: 60 * SECOND, ..seed() });
    let guest = world.join(Config { pex: false, ..quiet() });
    world.dial(guest, seed);
    world.run_for(SECOND);
    let id = world.nodes[guest].id;
    world.control(seed, Control::AddUnconditional(id));
    world.run_for(100 * SECOND);
    assert!(world.session(seed, guest).is_some());
    world.control(seed, Control::RemoveUnconditional(id));
    world.run_for(SECOND);
    assert!(world.session(seed, guest).is_none());
}

#[test]
fn a_seed_that_is_listed_often_is_one_seed() {
    let mut world = internet(1211);
    world.net.borrow_mut().is_silent = false;
    let node = world.join(Config { seeds: vec![addr(700).into(); 5], ..Config::default() });
    world.run_for(301 * SECOND);
    let dials = world.asked_to_dial(node, addr(700).id()).len();
    assert!((10..=11).contains(&dials), "{dials}");
}

/// However large the book is.
#[test]
fn what_has_been_bad_long_enough_is_looked_at_while_peers_are_needed() {
    let mut world = internet(1212);
    let peer = world.join(quiet());
    let at = world.net_addr(peer);
    let node = world.join(Config::default());
    world.tell(node, [at].into_iter().chain((2000..3500).map(addr)));
    let (duration, reason) = (HOUR, "x".to_owned());
    world.request(node, PexRequest::MarkBad { id: at.id(), addr: None, duration, reason });
    world.run_for(2 * HOUR);
    assert!(!world.nodes[node].pex.core.book().is_bad(&at.id()));
}
