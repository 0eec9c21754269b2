//! A book of the dead keeps nobody from its seeds.

use std::time::Duration;

use tmp2p::{Config, PeerAddress, internals::protocol::secret::Null, internals::time::Wall};

use crate::{
    internet::{SECOND, addr, internet, quiet, seed},
    world::World,
};

/// A node that starts with so many addresses where nobody is, and these seeds.
fn stale(world: &mut World<Null>, count: u64, config: Config) -> usize {
    let node = world.join(quiet());
    world.tell(node, (2000..2000 + count).map(addr));
    world.kill(node);
    world.run_for(SECOND);
    let options = crate::options::Options { config, ..world.nodes[node].options.clone() };
    world.restart(node, options, false);
    node
}

#[test]
fn a_node_with_a_book_of_the_dead_has_a_peer_within_two_minutes() {
    for count in [5, 900, 5000] {
        for is_silent in [true, false] {
            let mut world = internet(300);
            let seed = world.living_seed(15).0;
            let id = world.nodes[seed].id;
            world.net.borrow_mut().is_silent = is_silent;
            let seeds: Vec<PeerAddress> = vec![world.net_addr(seed).into()];
            let node = stale(&mut world, count, Config { seeds, ..Config::default() });
            assert!(world.nodes[node].pex.core.book().len() as u64 > count * 9 / 10);
            let begin = world.now;
            let has_peer = |w: &World<Null>| w.nodes[node].sessions.values().any(|p| p.id() != id);
            assert!(world.run_until(120 * SECOND, has_peer), "{count} {is_silent}");
            eprintln!("{count} dead, silent {is_silent}: {:?}", world.now.since(begin));
        }
    }
}

#[test]
fn a_seed_with_a_book_of_the_dead_has_a_peer_within_two_minutes() {
    for count in [5, 5000] {
        let mut world = internet(301);
        let first = world.living_seed(15).0;
        let seeds: Vec<PeerAddress> = vec![world.net_addr(first).into()];
        let second = stale(&mut world, count, Config { seeds, ..seed() });
        let begin = world.now;
        let has_met = |w: &World<Null>| w.nodes[second].ups_and_downs().0 > 0;
        assert!(world.run_until(120 * SECOND, has_met), "{count}");
        eprintln!("{count} dead: {:?}", world.now.since(begin));
        // And those it was told of are crawled, however long the queue is.
        let knows = |w: &World<Null>| {
            let is_verified = |known: &&tmp2p::KnownAddress| known.history().verified.is_some();
            w.nodes[second].pex.core.book().iter().filter(is_verified).count() > 10
        };
        assert!(world.wait(1200 * SECOND, knows), "{count}");
    }
}

/// Attempts into nothing hold all places nearly all the time.
#[test]
fn while_a_node_is_alone_a_seed_is_dialed_in_every_round() {
    for most in [1, 10] {
        let mut world = internet(302);
        let seeds = vec![PeerAddress::from(addr(700))];
        let config = Config { seeds, max_num_outbound_peers: most, ..Config::default() };
        let node = stale(&mut world, 1500, config);
        world.run_for(301 * SECOND);
        let dials = world.asked_to_dial(node, addr(700).id());
        assert!((10..=11).contains(&dials.len()), "{dials:?}");
    }
}

#[test]
fn a_seed_that_is_alone_dials_a_seed_in_every_round() {
    let mut world = internet(303);
    let seeds = vec![PeerAddress::from(addr(700))];
    let node = stale(&mut world, 1500, Config { seeds, ..seed() });
    world.run_for(301 * SECOND);
    let dials = world.asked_to_dial(node, addr(700).id());
    assert!((10..=11).contains(&dials.len()), "{dials:?}");
}

/// One peer is better than none, and worse than what is wanted.
#[test]
fn after_a_round_that_reached_nobody_a_seed_is_dialed() {
    let mut world = internet(304);
    let peer = world.join(quiet());
    let seeds = vec![PeerAddress::from(addr(700))];
    let node = stale(&mut world, 1500, Config { seeds, ..Config::default() });
    world.dial(node, peer);
    world.run_for(SECOND);
    assert!(world.session(node, peer).is_some());
    let before = world.asked_to_dial(node, addr(700).id()).len();
    world.run_for(300 * SECOND);
    let dials = world.asked_to_dial(node, addr(700).id()).len() - before;
    assert!((9..=10).contains(&dials), "{dials}");
}

/// Others are picked in the same round, but not in a loop.
#[test]
fn picks_that_fail_at_once_are_replaced_in_the_same_round_at_a_pace() {
    let mut world = internet(305);
    world.net.borrow_mut().is_silent = false;
    let node = stale(&mut world, 200, Config::default());
    let start = world.at(node).wall;
    world.run_for(29 * SECOND);
    let dials: Vec<Duration> =
        world.nodes[node].pex.dials.iter().map(|(at, _)| at.since(start)).collect();
    assert!(dials.len() > 100, "{}", dials.len());
    for at in 0..29 {
        let in_second = dials.iter().filter(|dial| dial.as_secs() == at).count();
        assert!(in_second <= 20, "{in_second} in second {at}");
    }
}
