//! How a network comes to be: nodes that know nothing but seeds.

use std::time::Duration;

use crate::{
    soak,
    world::{MINUTE, Rules, SECOND, World},
};

/// How it went, by the minute.
#[derive(Default)]
pub(crate) struct Growth {
    pub(crate) rows: Vec<Row>,
    /// Seconds from the first start of each node to its first peer, and to as many outbound peers as it wants;
    /// without those that never came so far.
    pub(crate) first: Vec<f64>,
    pub(crate) full: Vec<f64>,
    /// MiB of the process at the end.
    pub(crate) memory: f64,
}

pub(crate) struct Row {
    pub(crate) minute: f64,
    pub(crate) outbound: f64,
    pub(crate) groups: f64,
    /// Sessions of all seeds that began in this minute.
    pub(crate) seed_sessions: f64,
}

/// Which nodes there are.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) nodes: usize,
    pub(crate) seeds: usize,
    pub(crate) time: Duration,
    /// In which the nodes come.
    pub(crate) arrival: Duration,
    /// How long a node runs on average before it is killed; it is back after a minute.
    pub(crate) life: Duration,
    /// How many of a hundred nodes nobody can dial.
    pub(crate) hidden: usize,
}

pub(crate) fn run(rules: Rules, shape: Shape, seed: u64) -> Growth {
    let mut world = World::new(rules, seed);
    let seeds = world.add_seeds(shape.seeds);
    let nodes: Vec<_> = (0..shape.nodes).map(|_| world.member()).collect();
    let mut begin: Vec<(Duration, usize)> = Vec::new();
    for &node in &nodes {
        world.members[node].is_hidden = world.chance() * 100.0 < shape.hidden as f64;
        begin.push((shape.arrival.mul_f64(world.chance()), node));
    }
    begin.sort();
    let mut begin = begin.into_iter().peekable();
    let mut back: Vec<(Duration, usize)> = Vec::new();
    let (mut growth, mut sessions) = (Growth::default(), 0);
    let mut begun = vec![Duration::ZERO; world.members.len()];
    let mut first = vec![None; world.members.len()];
    let mut full = vec![None; world.members.len()];
    let mut next_row = MINUTE;
    while world.network.now() < shape.time {
        let now = world.network.now();
        // By the second only as long as nodes look for their first peers.
        let step = if now < shape.arrival + MINUTE { SECOND } else { 5 * SECOND };
        let risk = step.as_secs_f64() / shape.life.as_secs_f64();
        while let Some((_, node)) = begin.next_if(|(at, _)| *at <= now) {
            begun[node] = world.network.now();
            world.start(node, |_| {});
        }
        let due: Vec<_> = back.extract_if(.., |(at, _)| *at <= now).collect();
        due.into_iter().for_each(|(_, node)| world.start(node, |_| {}));
        if now > shape.arrival {
            for &node in &nodes {
                if world.chance() < risk && world.is_running(node) {
                    world.kill(node);
                    back.push((now + MINUTE, node));
                }
            }
        }
        world.run(step);
        let now = world.network.now();
        for &node in &nodes {
            if full[node].is_some() || !world.is_running(node) {
                continue;
            }
            let running = world.members[node].running.as_ref().expect("it runs");
            let (since, num) = (begun[node], world.network.switch(running.index).num_peers());
            if num.outbound + num.inbound > 0 {
                first[node].get_or_insert((now - since).as_secs_f64());
            }
            if num.outbound >= 10 {
                full[node] = Some((now - since).as_secs_f64());
            }
        }
        if next_row <= now {
            next_row += MINUTE;
            let running: Vec<_> = nodes.iter().filter(|n| world.is_running(**n)).collect();
            let outbound: Vec<_> = running.iter().map(|n| world.outbound(**n)).collect();
            let mean = |sum: usize| sum as f64 / running.len().max(1) as f64;
            let all: u64 = seeds.iter().map(|seed| world.sessions(*seed)).sum();
            growth.rows.push(Row {
                minute: now.as_secs_f64() / 60.0,
                outbound: mean(outbound.iter().map(Vec::len).sum()),
                groups: mean(outbound.iter().map(|ids| world.groups(ids)).sum()),
                seed_sessions: (all - sessions) as f64,
            });
            sessions = all;
        }
    }
    growth.memory = soak::memory();
    growth.first = first.into_iter().flatten().collect();
    growth.full = full.into_iter().flatten().collect();
    growth
}
