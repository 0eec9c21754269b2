//! A node whose book somebody has filled with addresses at which nobody is.

use std::time::Duration;

use crate::world::{MINUTE, Rules, SECOND, World};

/// Addresses of the book: with fewer the reference would ask its seed.
const ADDRESSES: usize = 1000;

/// How long a node needs for eight outbound peers, with a book of which so many of a thousand addresses are
/// dead, and one seed; `None`: longer than the limit.
pub(crate) fn run(rules: Rules, dead: usize, limit: Duration, seed: u64) -> Option<Duration> {
    let mut world = World::new(rules, seed);
    world.add_seeds(1);
    let alive: Vec<_> = (0..ADDRESSES / 5).map(|_| world.member()).collect();
    for &node in &alive {
        world.start(node, |_| {});
        world.run(SECOND / 2);
    }
    world.run(10 * MINUTE);
    let good = alive.iter().take(ADDRESSES - dead).map(|node| world.members[*node].addr);
    let mut book: Vec<_> = good.collect();
    while book.len() < ADDRESSES {
        let nobody = world.member();
        book.push(world.members[nobody].addr);
    }
    let node = world.member();
    world.start(node, |_| {});
    world.tell(node, &book);
    world.time_until(limit, |world| world.outbound(node).len() >= 8)
}
