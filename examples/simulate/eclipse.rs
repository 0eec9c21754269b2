//! What share of its outbound peers an honest node has with somebody who owns a part of all addresses.

use crate::{
    attacker::Attacker,
    world::{MINUTE, Rules, World},
};

/// One attack.
#[derive(Clone, Copy)]
pub(crate) struct Attack {
    pub(crate) honest: usize,
    /// Of a hundred addresses.
    pub(crate) share: usize,
    pub(crate) is_in_one_network: bool,
    /// How long it goes on, in minutes.
    pub(crate) minutes: u32,
}

/// Outbound peers of all honest nodes that are the attacker's: their share, and the most that one node has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    pub(crate) share: f64,
    pub(crate) most: usize,
}

/// Before and after a restart of all honest nodes.
pub(crate) fn run(rules: Rules, attack: Attack, seed: u64) -> (Taken, Taken) {
    let mut world = World::new(rules, seed);
    world.add_seeds(3);
    let honest: Vec<_> = (0..attack.honest).map(|_| world.member()).collect();
    for &node in &honest {
        world.keep_book(node);
        world.start(node, |_| {});
        world.run(MINUTE / 60);
    }
    let nodes = (attack.honest * attack.share / (100 - attack.share)).max(1);
    let attacker = Attacker::new(&mut world, nodes, attack.is_in_one_network);
    let mut victims = world.seeds.clone();
    attacker.dial(&mut world, &victims);
    victims.extend(honest.iter().map(|node| world.members[*node].addr));
    let go_on = |world: &mut World, minutes: u32| {
        for _ in 0..minutes {
            attacker.dial(world, &victims);
            world.run(MINUTE);
        }
    };
    go_on(&mut world, attack.minutes);
    let before = taken(&world, &attacker, &honest);
    for &node in &honest {
        world.kill(node);
        world.run(MINUTE / 60);
        world.start(node, |_| {});
    }
    go_on(&mut world, attack.minutes / 3);
    (before, taken(&world, &attacker, &honest))
}

fn taken(world: &World, attacker: &Attacker, honest: &[usize]) -> Taken {
    let (mut all, mut its, mut most) = (0, 0, 0);
    for &node in honest {
        let outbound = world.outbound(node);
        let count = attacker.count(&outbound);
        (all, its, most) = (all + outbound.len(), its + count, most.max(count));
    }
    Taken { share: its as f64 / all.max(1) as f64, most }
}
