//! A wall clock that is years off, at the start or later.

use std::time::{Duration, SystemTime};

use tmp2p::{
    BanTarget, NetAddress,
    internals::pex::{PexMessage, PexRequest},
    internals::protocol::secret::Null,
    internals::time::Wall,
};

use super::HOUR;
use crate::{
    internet::{SECOND, addr, internet, quiet},
    node::start,
    world::{World, unheard},
};

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// What the seed answers a newcomer.
fn served(world: &mut World<Null>, seed: usize) -> Vec<NetAddress> {
    let newcomer = world.join(quiet());
    world.dial(newcomer, seed);
    world.run_for(SECOND);
    let id = world.nodes[newcomer].id;
    let mut answers =
        world.nodes[seed].pex.sent.iter().filter_map(|(_, to, message)| match message {
            PexMessage::Addrs(addrs) if *to == id => Some(addrs.clone()),
            _ => None,
        });
    answers.next().expect("an answer")
}

/// Addresses in the order in which they were last attempted.
fn ranks(world: &World<Null>, seed: usize) -> Vec<NetAddress> {
    let book = world.nodes[seed].pex.core.book();
    let mut ranks: Vec<_> =
        book.iter().map(|known| (known.history().last_attempt, known.addr)).collect();
    ranks.sort();
    ranks.into_iter().map(|(_, addr)| addr).collect()
}

#[test]
fn a_clock_that_jumps_by_years_loses_nobody_no_ban_and_no_rank() {
    let to_1970 = (start().since(SystemTime::UNIX_EPOCH) - HOUR, false);
    for (by, is_forward) in [(20 * YEAR, true), to_1970, (20 * YEAR, false)] {
        for is_at_start in [true, false] {
            let mut world = internet(1500);
            let (seed, others) = world.living_seed(20);
            let banned = addr(800).id();
            let ban = |target: BanTarget, hours| PexRequest::Ban {
                target,
                duration: Some(hours * HOUR),
                reason: String::new(),
                reply: unheard(),
            };
            world.request(seed, ban(banned.into(), 2));
            // The crawl stops where it is, and all are gone: only what is known counts.
            world.run_for(5 * SECOND);
            let before = ranks(&world, seed);
            let what = format!("{by:?}, forward: {is_forward}, at the start: {is_at_start}");
            if is_at_start {
                world.kill(seed);
                world.jump(seed, by, is_forward);
                world.run_for(SECOND);
                world.revive(seed);
            } else {
                world.jump(seed, by, is_forward);
            }
            let answer = served(&mut world, seed);
            assert!(answer.len() >= others.len(), "{what}: {} served", answer.len());
            let mut after = ranks(&world, seed);
            after.retain(|addr| before.contains(addr));
            assert_eq!(after, before, "{what}");
            let is_banned = |w: &World<Null>| {
                let wall = w.at(seed).wall;
                w.nodes[seed].pex.core.book().bans().find_id(&banned, wall).is_some()
            };
            world.run_for(HOUR);
            assert!(is_banned(&world), "{what}");
            // And it ends when it should have ended, whatever the clock shows then.
            world.jump(seed, by, !is_forward);
            assert!(is_banned(&world), "{what}");
            // The book knows to a minute when it was last used.
            world.run_for(HOUR + 60 * SECOND);
            assert!(!is_banned(&world), "{what}");
            assert!(served(&mut world, seed).len() >= others.len(), "{what}");
        }
    }
}
