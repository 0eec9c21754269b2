//! Whole nodes under attack: how long honest ones need to get in, and what an honest pair notices.

use std::{
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

use tmp2p::{NodeKey, PeerAddress};

use crate::{
    attacker::Attack,
    child::{self, Child},
    common::{Args, Goal, Line, Outcome, Reporter, Summary, descriptor_limit, percentile},
    dialer::Connection,
};

/// An honest node should be in after so long.
const GOAL_IN_MS: f64 = 1000.0;
/// And so should one with a reserved place whose address nobody knows, at a full node.
const GOAL_UNKNOWN_MS: f64 = 60_000.0;
/// Most milliseconds that the slowest hundredth of an honest pair's round trips should take.
const GOAL_P99_MS: f64 = 10.0;

/// After so long a node counts as kept out.
const PATIENCE: Duration = Duration::from_secs(90);
const PATIENCE_QUICK: Duration = Duration::from_secs(10);
/// Each honest node tries so often to get in, and the worst time counts.
const ROUNDS: usize = 3;
/// Between two attempts of an honest node: shorter than any back-off, kind to the machine.
const PAUSE: Duration = Duration::from_millis(200);

/// Descriptors that each process needs.
const DESCRIPTORS: u64 = 4096;

/// Inbound places of the node that is attacked, but for [`Attack::Full`].
const PLACES: usize = 40;
/// Of that one: all are taken.
const FULL_PLACES: usize = 4;

/// Where honest nodes come from: networks without attackers.
const PAIR: Ipv4Addr = Ipv4Addr::new(127, 1, 1, 1);
const KNOWN: Ipv4Addr = Ipv4Addr::new(127, 2, 1, 1);
const UNKNOWN: Ipv4Addr = Ipv4Addr::new(127, 3, 1, 1);

struct Run {
    /// Until a node is in that the attacked one has a place for, by ID and configured address.
    known_ms: f64,
    /// The same of one that has its place by ID alone, or, where there is room, of any.
    other_ms: f64,
    p99_ms: f64,
    p99_before_ms: f64,
    p99_beside_ms: f64,
    grown_kib: f64,
    descriptors: f64,
    per_second: f64,
}

pub(crate) fn name(attack: Attack) -> String {
    format!("attack/{}", attack.name())
}

pub(crate) fn report(attack: Attack, args: &Args, reporter: &mut Reporter) {
    let name = name(attack);
    if let Some(limit) = descriptor_limit().filter(|limit| *limit < DESCRIPTORS) {
        let why = format!("needs {DESCRIPTORS} descriptors, the limit is {limit} (ulimit -n)");
        return reporter.skip(&name, &why);
    }
    let runs = (0..args.runs()).map(|_| run(attack, args)).collect::<Outcome<Vec<_>>>();
    reporter.outcome(&name, runs.map(|runs| line(attack, &runs)));
}

fn line(attack: Attack, runs: &[Run]) -> Line {
    let of = |figure: fn(&Run) -> f64| Summary::of(runs.iter().map(figure));
    let (known, other, p99) =
        (of(|run| run.known_ms), of(|run| run.other_ms), of(|run| run.p99_ms));
    let most = if attack == Attack::Full { GOAL_UNKNOWN_MS } else { GOAL_IN_MS };
    Line::new(name(attack), known, "ms")
        .also("other_ms", other.median)
        .also("other_max_ms", other.max)
        .also("p99_ms", p99.median)
        .also("p99_before_ms", of(|run| run.p99_before_ms).median)
        .also("p99_beside_ms", of(|run| run.p99_beside_ms).median)
        .also("grown_kib", of(|run| run.grown_kib).max)
        .also("descriptors", of(|run| run.descriptors).max)
        .also("attempts_per_s", of(|run| run.per_second).median)
        .goal(Goal::at_most("known_ms", GOAL_IN_MS, known.median))
        .goal(Goal::at_most("other_ms", most, other.median))
        .goal(Goal::at_most("p99_ms", GOAL_P99_MS, p99.median))
}

fn run(attack: Attack, args: &Args) -> Outcome<Run> {
    let (known, unknown) = (NodeKey::generate(), NodeKey::generate());
    let places = if attack == Attack::Full { FULL_PLACES } else { PLACES };
    // Nobody listens there; it is where the node comes from.
    let persistent = format!("{}@{KNOWN}:9", known.id());
    let args_of_victim =
        [child::STAND, &places.to_string(), &unknown.id().to_string(), &persistent];
    let mut victim = Child::start_apart(0, &args_of_victim)?;
    let addr = victim.read_json()?;
    let text = child::text(&addr, "addr")?.to_owned();
    let addr: PeerAddress = text.parse()?;

    let mut pair = Connection::dial_from(PAIR, &addr, NodeKey::generate())?;
    let mut guests = Vec::new();
    if attack == Attack::Full {
        for host in 2..=FULL_PLACES as u8 {
            let source = Ipv4Addr::new(127, 4, host, 1);
            let mut guest = Connection::dial_from(source, &addr, NodeKey::generate())?;
            guest.echo(1)?;
            guests.push(guest);
        }
    }
    let time = args.pick(Duration::from_secs(3), Duration::from_millis(300));
    let p99_before_ms = round_trips(&mut pair, time)?;
    // The same attack on another node of this machine: what it costs in processor time alone.
    let mut decoy = Child::start_apart(0, &args_of_victim)?;
    let decoy_addr = decoy.read_json()?;
    let mut attackers =
        Child::start_apart(1, &[child::ATTACK, attack.name(), child::text(&decoy_addr, "addr")?])?;
    attackers.read_json()?;
    let p99_beside_ms = round_trips(&mut pair, time)?;
    attackers.ask("")?;
    attackers.finish()?;
    decoy.finish()?;
    let before = victim.ask("")?;

    let mut attackers = Child::start_apart(1, &[child::ATTACK, attack.name(), &text])?;
    attackers.read_json()?;
    let p99_ms = round_trips(&mut pair, time)?;
    let patience = args.pick(PATIENCE, PATIENCE_QUICK);
    let other = if attack == Attack::Full { unknown } else { NodeKey::generate() };
    let (mut known_ms, mut other_ms) = (0.0_f64, 0.0_f64);
    for _ in 0..args.pick(ROUNDS, 1) {
        known_ms = known_ms.max(get_in(KNOWN, &addr, &known, patience)?);
        other_ms = other_ms.max(get_in(UNKNOWN, &addr, &other, patience)?);
    }
    let during = victim.ask("")?;
    let attacked = attackers.ask("")?;
    attackers.finish()?;
    drop((pair, guests));
    victim.finish()?;
    let grown = child::number(&during, "rss_kib")? - child::number(&before, "rss_kib")?;
    Ok(Run {
        known_ms,
        other_ms,
        p99_ms,
        p99_before_ms,
        p99_beside_ms,
        grown_kib: grown,
        descriptors: child::number(&during, "descriptors")?,
        per_second: child::number(&attacked, "per_second")?,
    })
}

/// Milliseconds of the slowest hundredth.
fn round_trips(pair: &mut Connection, time: Duration) -> Outcome<f64> {
    let mut times = Vec::new();
    let started = Instant::now();
    while started.elapsed() < time {
        let start = Instant::now();
        pair.echo(100)?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
        thread::sleep(Duration::from_millis(1));
    }
    Ok(percentile(&mut times, 99))
}

/// Tries until a message comes back; how long that took.
fn get_in(source: Ipv4Addr, addr: &PeerAddress, key: &NodeKey, patience: Duration) -> Outcome<f64> {
    let started = Instant::now();
    loop {
        let tried = Connection::dial_from(source, addr, key.clone())
            .and_then(|mut connection| connection.echo(1));
        if tried.is_ok() || started.elapsed() > patience {
            return Ok(started.elapsed().as_secs_f64() * 1e3);
        }
        thread::sleep(PAUSE);
    }
}
