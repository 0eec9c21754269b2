//! A seed's crawl, in virtual time: how long until every address was dialed, and what it costs.

#![allow(clippy::unwrap_used, dead_code, reason = "the simulated network is that of the tests")]

mod common;
#[path = "../tests/simulation/internet.rs"]
mod internet;
#[path = "../tests/simulation/invariants.rs"]
mod invariants;
#[path = "../tests/simulation/node.rs"]
mod node;
#[path = "../tests/simulation/options.rs"]
mod options;
#[path = "../tests/simulation/pex.rs"]
mod pex;
#[path = "../tests/simulation/reactor.rs"]
mod reactor;
#[path = "../tests/simulation/schedule.rs"]
mod schedule;
#[path = "../tests/simulation/world.rs"]
mod world;

use std::{process::ExitCode, time::Duration, time::Instant};

use common::{Args, Goal, Line, Reporter, Summary};
use internet::{SECOND, addr, internet, quiet};
use tmp2p::{
    Config, NetAddress,
    internals::{
        protocol::secret::Null,
        testing::{dice, net, sockets, weather},
    },
};
use world::World;

/// Of a hundred addresses, those where nobody answers.
const BLACK_HOLES: u64 = 70;

fn main() -> ExitCode {
    let args = Args::parse("crawl");
    let addresses = args.pick(10_000, 1_000);
    let name = format!("crawl/addresses={addresses}/black_holes={BLACK_HOLES}%");
    let wanted = args.select(&[&name]);
    if wanted.is_empty() {
        args.nothing_matches("crawl", &[&name]);
    }
    let mut reporter = Reporter::new(&args);
    let at_once = Config::default().crawl_concurrency;
    let mut quotients = Vec::new();
    let mut held = 0;
    let mut real = Vec::new();
    let sweeps: Vec<f64> = (0..args.runs() as u64)
        .map(|run| {
            let start = Instant::now();
            let (sweep, known) = crawl(run, addresses, at_once);
            real.push(start.elapsed().as_secs_f64());
            held = known;
            quotients.push(crawl(run, addresses, 1).0.as_secs_f64() / sweep.as_secs_f64());
            sweep.as_secs_f64()
        })
        .collect();
    let value = Summary::of(sweeps);
    let ratio = Summary::of(quotients);
    let dial_timeout = Config::default().dial_timeout.as_secs_f64();
    let bound = dial_timeout * held as f64 / at_once as f64;
    let goals =
        [Goal::at_most("value", bound, value.median), Goal::at_least("ratio", 30.0, ratio.median)];
    let mut line = Line::new(name, value, "virtual s").ratio(ratio, "one at a time");
    for goal in goals {
        line = line.goal(goal);
    }
    let real = Summary::of(real).median;
    reporter.line(&line.also("addresses", held as f64).also("real_s", real));
    reporter.finish()
}

/// Virtual time until a seed has dialed every address of its book once, and how many those are.
fn crawl(seed: u64, addresses: u64, at_once: usize) -> (Duration, usize) {
    let mut world = internet(seed);
    let alive = addresses * (100 - BLACK_HOLES) / 100;
    let nodes: Vec<_> = (0..alive).map(|_| world.join(quiet())).collect();
    let config = Config {
        seed_mode: true,
        crawl_concurrency: at_once,
        // Nobody is crawled twice before everybody was once.
        crawl_period: 30 * 24 * 3600 * SECOND,
        ..Config::default()
    };
    let seed = world.join(config);
    let real: Vec<NetAddress> = nodes.iter().map(|node| world.net_addr(*node)).collect();
    let holes = (0..addresses - alive).map(|n| addr(20_000 + n));
    world.tell(seed, real.into_iter().chain(holes));
    let begin = world.now;
    let held = world.nodes[seed].pex.core.book().len();
    // Each is dialed once; the last one has as long as a black hole takes.
    let is_done = |world: &World<Null>| world.nodes[seed].pex.dials.len() == held;
    assert!(world.run_until(30 * 24 * 3600 * SECOND, is_done), "the crawl does not end");
    (world.now.since(begin) + Config::default().dial_timeout, held)
}
