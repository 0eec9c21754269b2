//! A seed for a whole day: nodes come and go, and what it holds is to stay as it is.

use std::{fs, path::Path, time::Duration};

use tmp2p::Config;

use crate::world::{MINUTE, Rules, World};

/// What the seed holds, hour by hour.
pub(crate) struct Row {
    pub(crate) hour: f64,
    /// Addresses in its book.
    pub(crate) addresses: f64,
    /// Sockets that are open.
    pub(crate) sockets: f64,
    /// MiB of its database, and of the log beside it.
    pub(crate) database: f64,
    pub(crate) log: f64,
    /// MiB of this process, all nodes included.
    pub(crate) memory: f64,
    /// Sessions since the beginning.
    pub(crate) sessions: f64,
}

/// `nodes` different nodes take part; each runs for `life` on average and is away for three times as long.
pub(crate) fn run(
    nodes: usize,
    time: Duration,
    life: Duration,
    seed: u64,
    database: &Path,
    mut told: impl FnMut(&Row),
) -> Vec<Row> {
    let mut world = World::new(Rules::Ours, seed);
    let the_seed = world.seed_with_database(database);
    // As many as a light client wants: it is about the seed.
    let few = |config: &mut Config| config.max_num_outbound_peers = 2;
    let nodes: Vec<_> = (0..nodes).map(|_| world.member()).collect();
    let (mut rows, mut next_row) = (Vec::new(), Duration::ZERO);
    let step = MINUTE / 6;
    let (ends, begins) =
        (step.as_secs_f64() / life.as_secs_f64(), step.as_secs_f64() / life.as_secs_f64() / 3.0);
    loop {
        for &node in &nodes {
            let (is_running, chance) = (world.is_running(node), world.chance());
            if is_running && chance < ends {
                world.kill(node);
            } else if !is_running && chance < begins {
                world.start(node, few);
            }
        }
        world.run(step);
        let now = world.network.now();
        if next_row > now {
            continue;
        }
        next_row += 15 * MINUTE;
        let index = world.members[the_seed].running.as_ref().expect("it runs").index;
        let book = world.network.call(index, |switch| switch.book()).expect("it runs");
        let mib =
            |file: &Path| fs::metadata(file).map_or(0.0, |meta| meta.len() as f64) / 1048576.0;
        let row = Row {
            hour: now.as_secs_f64() / 3600.0,
            addresses: book.addresses.len() as f64,
            sockets: world.network.num_sockets(index) as f64,
            database: mib(database),
            log: mib(&database.with_extension("sqlite-wal")),
            memory: memory(),
            sessions: world.sessions(the_seed) as f64,
        };
        told(&row);
        rows.push(row);
        if now >= time {
            return rows;
        }
    }
}

/// MiB of this process that are in memory; 0 where that cannot be told.
pub(crate) fn memory() -> f64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<f64>().ok());
    pages.unwrap_or_default() * 4096.0 / 1048576.0
}
