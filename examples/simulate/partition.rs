//! How two halves of a network that did not see each other find together again.

use std::{collections::BTreeSet, time::Duration};

use crate::world::{MINUTE, Rules, SECOND, World};

/// What a network went through.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) nodes: usize,
    /// How long the halves do not see each other, and how long it is watched afterwards.
    pub(crate) parted: Duration,
    pub(crate) healed: Duration,
    /// How long a node runs on average before it is started anew with its book.
    pub(crate) life: Duration,
}

/// How it went.
pub(crate) struct Healing {
    /// Minutes since the halves were parted, and the share of all outbound sessions that lead from one into
    /// the other: half of them in a network that is one.
    pub(crate) across: Vec<(f64, f64)>,
    /// Until each node reaches each other one over sessions, once the halves see each other.
    pub(crate) whole_after: Option<Duration>,
}

pub(crate) fn run(rules: Rules, shape: Shape, seed: u64) -> Healing {
    let mut world = World::new(rules, seed);
    world.add_seeds(2);
    let nodes: Vec<_> = (0..shape.nodes).map(|_| world.member()).collect();
    for &node in &nodes {
        world.keep_book(node);
        world.start(node, |_| {});
        world.run(SECOND);
    }
    world.run(10 * MINUTE);
    let begin = world.network.now();
    let mut healing = Healing { across: vec![(0.0, across(&world, &nodes))], whole_after: None };
    let risk = 10.0 * SECOND.as_secs_f64() / shape.life.as_secs_f64();
    part(&mut world);
    let mut is_healed = false;
    while world.network.now() < begin + shape.parted + shape.healed {
        let is_parted = world.network.now() < begin + shape.parted;
        if !is_parted && !std::mem::replace(&mut is_healed, true) {
            world.network.heal();
        }
        for &node in &nodes {
            if world.chance() < risk {
                world.kill(node);
                world.start(node, |_| {});
            }
        }
        world.run(10 * SECOND);
        let since = world.network.now() - begin;
        healing.across.push((since.as_secs_f64() / 60.0, across(&world, &nodes)));
        if !is_parted && healing.whole_after.is_none() && is_whole(&world, &nodes) {
            healing.whole_after = Some(since.saturating_sub(shape.parted));
        }
    }
    healing
}

/// Members with even numbers are one half.
fn part(world: &mut World) {
    let running = world.members.iter().step_by(2).filter_map(|member| member.running.as_ref());
    let half: Vec<_> = running.map(|running| running.index).collect();
    world.network.partition(&[&half]);
}

fn across(world: &World, nodes: &[usize]) -> f64 {
    let (mut all, mut across) = (0, 0);
    for &node in nodes {
        let outbound = world.outbound(node);
        all += outbound.len();
        let is_across = |id| world.by_id.get(id).is_some_and(|other| other % 2 != node % 2);
        across += outbound.iter().filter(|id| is_across(id)).count();
    }
    across as f64 / all.max(1) as f64
}

/// Whether everybody reaches everybody over sessions.
fn is_whole(world: &World, nodes: &[usize]) -> bool {
    let mut next = vec![nodes[0]];
    let mut reached = BTreeSet::from([nodes[0]]);
    while let Some(node) = next.pop() {
        let peers = world.peers(node);
        let peers = peers.iter().filter_map(|id| world.by_id.get(id)).copied();
        next.extend(peers.filter(|peer| nodes.contains(peer) && reached.insert(*peer)));
    }
    reached.len() == nodes.len()
}
