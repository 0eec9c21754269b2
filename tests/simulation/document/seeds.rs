//! After a seed's answer more is asked for.

use tmp2p::{
    Config, NetAddress, PeerAddress, internals::protocol::secret::Null, internals::time::Wall,
};

use crate::{
    internet::{SECOND, addr, internet, quiet},
    world::World,
};

/// A seed that has reached so many living nodes.
fn seed_of(world: &mut World<Null>, count: usize) -> NetAddress {
    let (seed, _) = world.living_seed(count);
    world.net_addr(seed)
}

fn with_seeds(seeds: &[NetAddress]) -> Config {
    let seeds = seeds.iter().map(|addr| PeerAddress::from(*addr)).collect();
    Config { seeds, ..Config::default() }
}

/// Not with the next round, half a minute later.
#[test]
fn what_a_seed_tells_is_dialed_at_once_and_asked_as_it_comes_up() {
    let mut world = internet(700);
    let seed = seed_of(&mut world, 20);
    let node = world.join(with_seeds(&[seed]));
    // Before the seed has hung up and its place is filled.
    world.run_for(SECOND);
    assert_eq!(world.num_peers(node), 9);
    world.run_for(4 * SECOND);
    let peers: Vec<_> = world.peers(node).collect();
    assert_eq!(peers.len(), 10, "as many as may be, the place of the seed included");
    for peer in peers {
        let id = world.nodes[peer].id;
        assert_eq!(world.requests_to(node, id).len(), 1, "asked as it came up");
    }
}

/// What the book held before waits for its turn.
#[test]
fn what_a_seed_tells_is_dialed_before_what_the_book_held() {
    let mut world = internet(701);
    // Each in a group of its own: else others of the book come first.
    let seed = world.join(crate::internet::seed());
    let others: Vec<_> = (1..=20).map(|n| world.join_as(n, addr(5 * n as u64), quiet())).collect();
    let others: Vec<_> = others.into_iter().map(|other| world.net_addr(other)).collect();
    world.tell(seed, others);
    world.run_for(30 * SECOND);
    let seed = world.net_addr(seed);
    let node = world.join(quiet());
    world.tell(node, (2000..2900).map(addr));
    let options = crate::options::Options {
        config: with_seeds(&[seed]),
        ..world.nodes[node].options.clone()
    };
    world.restart(node, options, false);
    world.run_for(15 * SECOND);
    assert!(world.num_peers(node) >= 9, "{}", world.num_peers(node));
}

#[test]
fn another_seed_is_asked_if_there_are_still_too_few() {
    for number in 0..6 {
        let mut world = internet(710 + number);
        let seeds = [seed_of(&mut world, 1), seed_of(&mut world, 20)];
        let node = world.join(with_seeds(&seeds));
        world.run_for(10 * SECOND);
        assert!(world.num_peers(node) >= 9, "{}", world.num_peers(node));
    }
}

/// There are not as many nodes as everybody wants: that is no reason to ask all seeds all the time.
#[test]
fn in_a_small_network_one_seed_a_round_is_enough() {
    let mut world = internet(703);
    let seeds: Vec<_> = (0..4).map(|_| seed_of(&mut world, 0)).collect();
    let node = world.join(with_seeds(&seeds));
    for _ in 0..3 {
        let other = world.join(quiet());
        world.dial(node, other);
    }
    world.run_for(600 * SECOND);
    let asked: usize = seeds.iter().map(|seed| world.asked_to_dial(node, seed.id()).len()).sum();
    // Twenty rounds, two of them with three more.
    assert!((20..=28).contains(&asked), "{asked}");
}

/// One that does not hang up, as a full node that somebody has configured as a seed.
#[test]
fn a_seed_that_is_still_there_is_asked_again_as_soon_as_the_pace_allows() {
    let mut world = internet(702);
    let stays = world.join(quiet());
    let at = world.net_addr(stays);
    let node = world.join(with_seeds(&[at]));
    // Others, one of which a round would ask at random.
    for _ in 0..20 {
        let other = world.join(quiet());
        world.dial(other, node);
    }
    // Those that the seed tells of (it has nobody) are not enough.
    world.run_for(301 * SECOND);
    if world.nodes[node].pex.core.num_outbound() < 10 {
        let requests = world.requests_to(node, at.id());
        assert!(requests.len() >= 9, "{requests:?}");
        for pair in requests.windows(2) {
            let pause = pair[1].since(pair[0]);
            assert!(pause >= 30 * SECOND && pause < 32 * SECOND, "{requests:?}");
        }
    } else {
        panic!("it has all the peers that it wants, and need not ask");
    }
}

#[test]
fn seeds_are_tried_in_random_order() {
    let mut first = [0; 3];
    for number in 0..60 {
        let mut world = internet(720 + number);
        let seeds = [addr(700), addr(701), addr(702)];
        let node = world.join(with_seeds(&seeds));
        world.run_for(SECOND);
        let dialed = world.nodes[node].pex.dials[0].1.id();
        first[seeds.iter().position(|seed| seed.id() == dialed).unwrap()] += 1;
    }
    assert!(first.iter().all(|count| (8..=34).contains(count)), "{first:?}");
}
