//! What a seed does.

use std::time::Duration;

use tmp2p::{Config, NetAddress, PeerAddress, pex::PexMessage};

use crate::world::{Number, SECOND, World, addr, quiet};

fn seed() -> Config {
    Config { seed_mode: true, ..Config::default() }
}

/// Adds addresses to the node's book, as if one of their own had told of each.
fn tell(world: &mut World, node: Number, addrs: impl IntoIterator<Item = NetAddress>) {
    world.tell(node, addrs.into_iter().map(|addr| (addr, addr)));
}

/// What the seed answers a newcomer.
fn answer(world: &mut World, seed: Number) -> Vec<NetAddress> {
    let newcomer = world.add(quiet());
    world.dial(newcomer, world.nodes[seed].addr);
    world.run(SECOND);
    assert_eq!(world.session(seed, world.nodes[newcomer].addr.id()), None, "it is sent away");
    let id = world.nodes[newcomer].addr.id();
    let sent = world.nodes[seed].sent.iter().rev();
    let mut answers = sent.filter_map(|(_, to, message)| match message {
        PexMessage::Addrs(addrs) if *to == id => Some(addrs.clone()),
        _ => None,
    });
    let answer = answers.next().expect("an answer");
    assert!(answers.next().is_none(), "one only");
    answer
}

#[test]
fn seeds_never_vet_addresses() {
    let mut world = World::new(20);
    let alive: Vec<_> = (0..30).map(|_| world.add(quiet())).collect();
    let seed = world.add(seed());
    let real: Vec<_> = alive.iter().map(|node| world.nodes[*node].addr).collect();
    tell(&mut world, seed, real.iter().copied().chain((5000..5300).map(addr)));
    world.run(120 * SECOND);
    let served = answer(&mut world, seed);
    assert!(served.len() >= 25, "{}", served.len());
    assert!(served.iter().all(|addr| real.contains(addr)));
    let newcomer = world.nodes.last().unwrap().addr;
    // The dead are not served any more.
    for node in &alive[..20] {
        world.kill(*node);
    }
    world.run(300 * SECOND);
    let served = answer(&mut world, seed);
    let is_alive = |addr: &NetAddress| real[20..].contains(addr) || *addr == newcomer;
    assert!(served.iter().all(is_alive), "{served:?}");
    assert!(!served.is_empty());
}

#[test]
fn serial_crawl() {
    const ADDRESSES: u64 = 2_000;
    let mut world = World::new(21);
    let config = seed();
    let (concurrency, timeout) = (config.crawl_concurrency as u32, config.dial_timeout);
    let alive: Vec<_> = (0..600).map(|_| world.add(quiet())).collect();
    let seed = world.add(config);
    let begin = world.now;
    let real: Vec<_> = alive.iter().map(|node| world.nodes[*node].addr).collect();
    tell(&mut world, seed, real.into_iter().chain((9000..9000 + ADDRESSES - 600).map(addr)));
    let held = world.nodes[seed].core.book().len();
    let is_done = |world: &World| {
        world.nodes[seed].core.book().iter().all(|known| known.last_attempt.is_some())
    };
    assert!(world.run_until(3600 * SECOND, is_done));
    let took = world.now.since(begin);
    let bound = (timeout + SECOND) * held as u32 / concurrency + timeout;
    assert!(took <= bound, "{held} addresses took {took:?}, more than {bound:?}");
}

#[test]
fn an_empty_seed_crawls_the_configured_ones() {
    let mut world = World::new(22);
    let first = world.add(seed());
    let alive: Vec<_> = (0..10).map(|_| world.add(quiet())).collect();
    let real: Vec<_> = alive.iter().map(|node| world.nodes[*node].addr).collect();
    tell(&mut world, first, real);
    world.run(60 * SECOND);
    let seeds: Vec<PeerAddress> = vec![world.nodes[first].addr.into()];
    let second = world.add(Config { seeds, ..seed() });
    world.run(120 * SECOND);
    assert!(answer(&mut world, second).len() >= 8);
}

#[test]
fn a_crawled_session_closes_on_its_answer_or_in_time() {
    let mut world = World::new(23);
    let (talks, mute) = (world.add(quiet()), world.add(quiet()));
    world.nodes[mute].is_mute = true;
    let seed = world.add(seed());
    let addrs = [world.nodes[talks].addr, world.nodes[mute].addr];
    tell(&mut world, seed, addrs);
    world.run(SECOND);
    assert_eq!(world.session(seed, addrs[0].id()), None);
    assert!(world.session(seed, addrs[1].id()).is_some());
    world.run(15 * SECOND);
    assert_eq!(world.num_peers(seed), 0);
}

#[test]
fn each_address_is_crawled_at_most_every_two_minutes() {
    let mut world = World::new(24);
    let node = world.add(quiet());
    let seed = world.add(seed());
    let addr = world.nodes[node].addr;
    tell(&mut world, seed, [addr]);
    world.run(3600 * SECOND);
    let dials: Vec<Duration> = world.nodes[seed].dials.iter().map(|(at, _)| *at).collect();
    assert!((28..=31).contains(&dials.len()), "{}", dials.len());
    assert!(dials.windows(2).all(|pair| pair[1] - pair[0] >= 120 * SECOND));
}

#[test]
fn thousand_bootstraps_thousand_answers() {
    let mut world = World::new(25);
    let alive: Vec<_> = (0..50).map(|_| world.add(quiet())).collect();
    let config = Config { max_num_inbound_peers: 2000, ..seed() };
    let seed = world.add(config);
    let real: Vec<_> = alive.iter().map(|node| world.nodes[*node].addr).collect();
    tell(&mut world, seed, real);
    world.run(60 * SECOND);
    let newcomers: Vec<_> = (0..1000)
        .map(|_| {
            let seeds = vec![world.nodes[seed].addr.into()];
            world.add(Config { seeds, max_num_outbound_peers: 1, ..Config::default() })
        })
        .collect();
    world.run(20 * SECOND);
    for node in newcomers {
        assert!(world.nodes[node].core.book().len() >= 20, "node {node}");
    }
}

#[test]
fn a_restarted_seed_serves_what_it_had_verified() {
    let mut world = World::new(26);
    let alive: Vec<_> = (0..20).map(|_| world.add(quiet())).collect();
    let seed = world.add(seed());
    let real: Vec<_> = alive.iter().map(|node| world.nodes[*node].addr).collect();
    tell(&mut world, seed, real);
    world.run(60 * SECOND);
    world.kill(seed);
    world.run(SECOND);
    world.revive(seed);
    assert!(answer(&mut world, seed).len() >= 15);
}

#[test]
fn a_node_that_connects_while_it_is_to_be_crawled_is_crawled_once_it_is_gone() {
    let mut world = World::new(27);
    let node = world.add(quiet());
    let seed = world.add(seed());
    let addr = world.nodes[node].addr;
    world.dial(node, world.nodes[seed].addr);
    // The seed's attempt comes second.
    tell(&mut world, seed, [addr]);
    world.run(SECOND / 2);
    assert_eq!((world.num_peers(seed), world.nodes[seed].dials.len()), (0, 1));
    let is_verified =
        |world: &World| world.nodes[seed].core.book().get(&addr.id()).unwrap().verified.is_some();
    assert!(!is_verified(&world));
    assert!(world.run_until(5 * SECOND, is_verified));
}
