//! Each key of the configuration that peer exchange has changes what it does.

use std::time::Duration;

use tmp2p::{
    Config,
    internals::pex::{PexMessage, PexRequest},
    internals::protocol::secret::Null,
    internals::time::Wall,
};

use crate::{
    internet::{SECOND, addr, internet, quiet},
    world::World,
};

/// A node with this configuration that has dialed another.
fn two(config: Config) -> (World<Null>, usize, usize) {
    let mut world = internet(50);
    let node = world.join(config);
    let other = world.join(quiet());
    world.dial(node, other);
    world.run_for(SECOND);
    assert_eq!(world.num_peers(node), 1);
    (world, node, other)
}

/// How long the node has banned the other for.
fn ban_of(world: &World<Null>, node: usize, other: usize) -> Duration {
    let wall = world.at(node).wall;
    let id = world.nodes[other].id;
    let bans = world.nodes[node].pex.core.book().bans();
    let until = bans.find_id(&id, wall).expect("a ban").until.expect("an end");
    // It was imposed less than a second ago.
    Duration::from_secs(until.since(wall).as_secs() + 1)
}

#[test]
fn ensure_peers_period() {
    for period in [10, 60] {
        let config = Config { ensure_peers_period: period * SECOND, ..Config::default() };
        let mut world = internet(51);
        let seeds = vec![addr(900).into()];
        let node = world.join(Config { seeds, ..config });
        world.run_for(600 * SECOND);
        // A seed that is never there is dialed once a period.
        let dials = world.nodes[node].pex.dials.len();
        assert!(dials.abs_diff(600 / period as usize) <= 2, "{dials} dials every {period} s");
    }
}

#[test]
fn pex_request_interval() {
    for interval in [30, 90] {
        let config = Config { pex_request_interval: interval * SECOND, ..Config::default() };
        let (mut world, node, other) = two(config);
        for _ in 0..900 {
            world.request(node, PexRequest::MorePeers);
            world.run_for(SECOND);
        }
        let to = world.nodes[other].id;
        let sent = world.nodes[node].pex.sent.iter();
        let asked = sent.filter(|(_, id, m)| *id == to && *m == PexMessage::Request).count();
        assert!(asked.abs_diff(900 / interval as usize) <= 2, "{asked} every {interval} s");
    }
}

#[test]
fn pex_ban_time() {
    for time in [60 * SECOND, 7200 * SECOND] {
        let (mut world, node, other) = two(Config { pex_ban_time: time, ..Config::default() });
        // Nobody has asked a second time.
        world.receive(node, other, PexMessage::Addrs(vec![addr(900)]).encode());
        assert_eq!(ban_of(&world, node, other), time);
    }
}

#[test]
fn pex_abuse_ban_time() {
    for time in [60 * SECOND, 7200 * SECOND] {
        let config = Config { pex_abuse_ban_time: time, ..Config::default() };
        let (mut world, node, other) = two(config);
        // It would take the answers for abuse.
        world.mute(other);
        while world.session(node, other).is_some() {
            world.receive(node, other, PexMessage::Request.encode());
        }
        assert_eq!(ban_of(&world, node, other), time);
    }
}

#[test]
fn good_after() {
    for time in [60, 600] {
        let config = Config { good_after: time * SECOND, ..Config::default() };
        let (mut world, node, other) = two(config);
        let id = world.nodes[other].id;
        let is_good = |world: &World<Null>| world.nodes[node].pex.core.book().is_good(&id);
        world.run_for((time - 2) * SECOND);
        assert!(!is_good(&world));
        world.run_for(3 * SECOND);
        assert!(is_good(&world));
    }
}

#[test]
fn crawl_concurrency() {
    for at_once in [3, 20] {
        let mut world = internet(52);
        let config = Config { seed_mode: true, crawl_concurrency: at_once, ..Config::default() };
        let seed = world.join(config);
        world.tell(seed, (5000..5100).map(addr));
        // Less than a black hole takes.
        world.run_for(SECOND);
        assert_eq!(world.nodes[seed].pex.dials.len(), at_once);
    }
}

#[test]
fn crawl_period() {
    for period in [60, 240] {
        let mut world = internet(53);
        let node = world.join(quiet());
        let config = Config { seed_mode: true, crawl_period: period * SECOND, ..Config::default() };
        let seed = world.join(config);
        let addr = world.net_addr(node);
        world.tell(seed, [addr]);
        world.run_for(2400 * SECOND);
        let dials = world.nodes[seed].pex.dials.len();
        assert!(dials.abs_diff(2400 / period as usize) <= 1, "{dials} every {period} s");
    }
}

#[test]
fn crawl_timeout() {
    for time in [5, 40] {
        let mut world = internet(54);
        let mute = world.join(quiet());
        world.mute(mute);
        let config = Config { seed_mode: true, crawl_timeout: time * SECOND, ..Config::default() };
        let seed = world.join(config);
        let addr = world.net_addr(mute);
        world.tell(seed, [addr]);
        world.run_for((time - 1) * SECOND);
        assert_eq!(world.num_peers(seed), 1);
        world.run_for(2 * SECOND);
        assert_eq!(world.num_peers(seed), 0);
    }
}

#[test]
fn seed_disconnect_wait_period() {
    for time in [60, 600] {
        let mut world = internet(55);
        let config = Config {
            seed_mode: true,
            seed_disconnect_wait_period: time * SECOND,
            ..Config::default()
        };
        let seed = world.join(config);
        // It connects, and never asks for anything.
        let guest = world.join(Config { pex: false, ..quiet() });
        world.dial(guest, seed);
        world.run_for((time - 1) * SECOND);
        assert_eq!(world.num_peers(seed), 1);
        world.run_for(2 * SECOND);
        assert_eq!(world.num_peers(seed), 0);
    }
}

#[test]
fn pex() {
    // Without peer exchange nobody is asked and nobody is dialed.
    let (mut world, node, _) = two(Config { pex: false, ..Config::default() });
    world.tell(node, [addr(900)]);
    world.request(node, PexRequest::MorePeers);
    world.run_for(600 * SECOND);
    let sent = &world.nodes[node].pex.sent;
    assert!(sent.iter().all(|(.., message)| *message != PexMessage::Request), "{sent:?}");
    assert!(world.nodes[node].pex.dials.is_empty());
}
