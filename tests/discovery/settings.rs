//! Each key of the configuration that peer exchange has changes what it does.

use std::time::Duration;

use tmp2p::{
    Config,
    pex::{PexMessage, PexRequest},
};

use crate::world::{Number, SECOND, World, addr, quiet};

/// A node with this configuration that has dialed another.
fn two(config: Config) -> (World, Number, Number) {
    let mut world = World::new(50);
    let node = world.add(config);
    let other = world.add(quiet());
    world.dial(node, world.nodes[other].addr);
    world.run(SECOND);
    assert_eq!(world.num_peers(node), 1);
    (world, node, other)
}

/// How long the node has banned the other for.
fn ban_of(world: &World, node: Number, other: Number) -> Duration {
    let wall = world.at().wall;
    let id = world.nodes[other].addr.id();
    let bans = world.nodes[node].core.book().bans();
    bans.find_id(&id, wall).expect("a ban").until.expect("an end") - wall
}

#[test]
fn ensure_peers_period() {
    for period in [10, 60] {
        let config = Config { ensure_peers_period: period * SECOND, ..Config::default() };
        let mut world = World::new(51);
        let seeds = vec![addr(900).into()];
        let node = world.add(Config { seeds, ..config });
        world.run(600 * SECOND);
        // A seed that is never there is dialed once a period.
        let dials = world.nodes[node].dials.len();
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
            world.run(SECOND);
        }
        let to = world.nodes[other].addr.id();
        let sent = world.nodes[node].sent.iter();
        let asked = sent.filter(|(_, id, m)| *id == to && *m == PexMessage::Request).count();
        assert!(asked.abs_diff(900 / interval as usize) <= 2, "{asked} every {interval} s");
    }
}

#[test]
fn pex_ban_time() {
    for time in [60 * SECOND, 7200 * SECOND] {
        let (mut world, node, other) = two(Config { pex_ban_time: time, ..Config::default() });
        let from = world.nodes[other].addr.id();
        // Nobody has asked a second time.
        world.receive(node, from, PexMessage::Addrs(vec![addr(900)]).encode());
        assert_eq!(ban_of(&world, node, other), time);
    }
}

#[test]
fn pex_abuse_ban_time() {
    for time in [60 * SECOND, 7200 * SECOND] {
        let config = Config { pex_abuse_ban_time: time, ..Config::default() };
        let (mut world, node, other) = two(config);
        let from = world.nodes[other].addr.id();
        while world.session(node, from).is_some() {
            world.receive(node, from, PexMessage::Request.encode());
        }
        assert_eq!(ban_of(&world, node, other), time);
    }
}

#[test]
fn good_after() {
    for time in [60, 600] {
        let config = Config { good_after: time * SECOND, ..Config::default() };
        let (mut world, node, other) = two(config);
        let id = world.nodes[other].addr.id();
        let is_good = |world: &World| world.nodes[node].core.book().is_good(&id);
        world.run((time - 2) * SECOND);
        assert!(!is_good(&world));
        world.run(3 * SECOND);
        assert!(is_good(&world));
    }
}

#[test]
fn crawl_concurrency() {
    for at_once in [3, 20] {
        let mut world = World::new(52);
        let config = Config { seed_mode: true, crawl_concurrency: at_once, ..Config::default() };
        let seed = world.add(config);
        world.tell(seed, (0..100).map(|n| (addr(5000 + n), addr(5000 + n))));
        // Less than a black hole takes.
        world.run(SECOND);
        assert_eq!(world.nodes[seed].dials.len(), at_once);
    }
}

#[test]
fn crawl_period() {
    for period in [60, 240] {
        let mut world = World::new(53);
        let node = world.add(quiet());
        let config = Config { seed_mode: true, crawl_period: period * SECOND, ..Config::default() };
        let seed = world.add(config);
        let addr = world.nodes[node].addr;
        world.tell(seed, [(addr, addr)]);
        world.run(2400 * SECOND);
        let dials = world.nodes[seed].dials.len();
        assert!(dials.abs_diff(2400 / period as usize) <= 1, "{dials} every {period} s");
    }
}

#[test]
fn crawl_timeout() {
    for time in [5, 40] {
        let mut world = World::new(54);
        let mute = world.add(quiet());
        world.nodes[mute].is_mute = true;
        let config = Config { seed_mode: true, crawl_timeout: time * SECOND, ..Config::default() };
        let seed = world.add(config);
        let addr = world.nodes[mute].addr;
        world.tell(seed, [(addr, addr)]);
        world.run((time - 1) * SECOND);
        assert_eq!(world.num_peers(seed), 1);
        world.run(2 * SECOND);
        assert_eq!(world.num_peers(seed), 0);
    }
}

#[test]
fn seed_disconnect_wait_period() {
    for time in [60, 600] {
        let mut world = World::new(55);
        let config = Config {
            seed_mode: true,
            seed_disconnect_wait_period: time * SECOND,
            ..Config::default()
        };
        let seed = world.add(config);
        // It connects, and never asks for anything.
        let guest = world.add(Config { pex: false, ..quiet() });
        world.dial(guest, world.nodes[seed].addr);
        world.run((time - 1) * SECOND);
        assert_eq!(world.num_peers(seed), 1);
        world.run(2 * SECOND);
        assert_eq!(world.num_peers(seed), 0);
    }
}

#[test]
fn pex() {
    // Without peer exchange nobody is asked and nobody is dialed.
    let (mut world, node, _) = two(Config { pex: false, ..Config::default() });
    world.tell(node, [(addr(900), addr(900))]);
    world.request(node, PexRequest::MorePeers);
    world.run(600 * SECOND);
    let sent = &world.nodes[node].sent;
    assert!(sent.iter().all(|(.., message)| *message != PexMessage::Request), "{sent:?}");
    assert!(world.nodes[node].dials.is_empty());
}
