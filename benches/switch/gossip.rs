//! A crowd of busy peers: many small messages in, some of them passed to everybody.

use std::{
    io::stdin,
    net::Ipv4Addr,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use tmp2p::{Event, NodeKey, PeerAddress, Reactor, SwitchHandle};

use crate::{
    child::{self, Child},
    common::{Args, Goal, Line, Outcome, Reporter, Summary, cpu_seconds, percentile},
    crowd::{self, Crowd},
    dialer::Connection,
    latency::Latency,
    mixed::{BULK as VOTES, IMPORTANT as ECHO, Node},
    node::Packet,
};

const PEERS: usize = 1000;
/// Of a quick run.
const FEW_PEERS: usize = 50;

/// Messages a second of each peer.
const RATE: usize = 20;

/// Of so many messages that come one is passed to all peers.
const EVERY: u64 = 400;

/// Bytes of what is sent back.
const ECHO_SIZE: usize = 100;

/// Most turns of the event loop a second that last longer than 2 ms. There should be none, but that the
/// switch has one processor, and what its other threads take of it counts.
const GOAL_LONG: f64 = 1.0;

/// Between two round trips.
const PAUSE: Duration = Duration::from_millis(1);

/// The loaded switch in a process of its own, the crowd in another; who measures is a peer too.
struct Run {
    latency: Latency,
    p99_before_ms: f64,
    in_per_s: f64,
    out_per_s: f64,
    refused_per_s: f64,
    turns_per_s: f64,
    long_turns_per_s: f64,
    long_turns_percent: f64,
    longest_turn_ms: f64,
    cpu: f64,
}

pub(crate) fn name() -> String {
    format!("gossip/peers={PEERS}")
}

pub(crate) fn report(args: &Args, reporter: &mut Reporter) {
    let peers = args.pick(PEERS, FEW_PEERS);
    if let Some(why) = crowd::why_not(peers) {
        return reporter.skip(&name(), &why);
    }
    let window = args.pick(Duration::from_secs(5), Duration::from_millis(500));
    let runs = (0..args.runs()).map(|_| run(peers, window)).collect::<Outcome<Vec<_>>>();
    reporter.outcome(&name(), runs.map(|runs| line(&runs)));
}

fn line(runs: &[Run]) -> Line {
    let of = |figure: fn(&Run) -> f64| Summary::of(runs.iter().map(figure));
    let long = of(|run| run.long_turns_per_s).median;
    Latency::line(name(), runs.iter().map(|run| run.latency))
        .also("p99_before_ms", of(|run| run.p99_before_ms).median)
        .also("in_per_s", of(|run| run.in_per_s).median)
        .also("out_per_s", of(|run| run.out_per_s).median)
        .also("refused_per_s", of(|run| run.refused_per_s).median)
        .also("turns_per_s", of(|run| run.turns_per_s).median)
        .also("long_turns_per_s", long)
        .also("long_turns_percent", of(|run| run.long_turns_percent).median)
        .also("longest_turn_ms", of(|run| run.longest_turn_ms).max)
        .also("cpu_of_a_core", of(|run| run.cpu).median)
        .goal(Goal::at_most("long_turns_per_s", GOAL_LONG, long))
}

fn run(peers: usize, window: Duration) -> Outcome<Run> {
    let mut switch = Child::start_apart(0, &[child::GOSSIP])?;
    let listening = switch.read_json()?;
    let text = child::text(&listening, "addr")?;
    let addr: PeerAddress = text.parse()?;
    let mut pair = Connection::dial_on(ECHO, Ipv4Addr::LOCALHOST, &addr, NodeKey::generate())?;
    let mut crowd = Crowd::start(text, peers, peers * RATE)?;
    child::wait_for_peers(&mut switch, "", peers + 1)?;
    let mut before = round_trips(&mut pair, window / 5)?;

    crowd.begin()?;
    // Until the load is what it will be.
    round_trips(&mut pair, window / 5)?;
    let (started, first, first_crowd) = (Instant::now(), switch.ask("")?, crowd.figures()?);
    let mut times = round_trips(&mut pair, window)?;
    let (last, last_crowd) = (switch.ask("")?, crowd.figures()?);
    let seconds = started.elapsed().as_secs_f64();
    crowd.finish()?;
    switch.finish()?;
    let grown = |key: &str| -> Outcome<f64> {
        Ok(child::number(&last, key)? - child::number(&first, key)?)
    };
    let per_second = |key: &str| grown(key).map(|grown| grown / seconds);
    Ok(Run {
        latency: Latency::of(&mut times),
        p99_before_ms: percentile(&mut before, 99),
        in_per_s: per_second("came")?,
        out_per_s: (last_crowd.received - first_crowd.received) / seconds,
        refused_per_s: per_second("refused")?,
        turns_per_s: per_second("turns")?,
        long_turns_per_s: per_second("long_turns")?,
        long_turns_percent: grown("long_turns")? / grown("turns")? * 100.0,
        longest_turn_ms: child::number(&last, "longest_turn_ms")?,
        cpu: per_second("cpu_s")?,
    })
}

/// Milliseconds of each.
fn round_trips(pair: &mut Connection, time: Duration) -> Outcome<Vec<f64>> {
    let mut times = Vec::new();
    let started = Instant::now();
    while started.elapsed() < time {
        let start = Instant::now();
        pair.echo(ECHO_SIZE)?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
        thread::sleep(PAUSE);
    }
    Ok(times)
}

/// What the votes' reactor has done.
#[derive(Default)]
struct Tally {
    came: AtomicU64,
    /// Copies that found a full queue.
    refused: AtomicU64,
}

/// The child process: says where it listens, and answers each line with its figures.
pub(crate) fn run_child() -> Outcome<()> {
    let Node { switch, bulk: votes, important: echoed } = Node::start(Packet::Default.config())?;
    let handle = switch.handle().clone();
    let addr = handle.peer_address().ok_or("it does not listen")?;
    let tally = Tally::default();
    thread::scope(|scope| {
        scope.spawn(|| pass_on(&votes, &handle, &tally));
        scope.spawn(|| send_back(&echoed));
        println!("{}", json!({ "addr": addr.to_string() }));
        let told = (|| {
            for line in stdin().lines() {
                line?;
                let turns = handle.metrics().event_loop;
                let figures = json!({
                    "peers": handle.num_peers().inbound,
                    "came": tally.came.load(SeqCst),
                    "refused": tally.refused.load(SeqCst),
                    "turns": turns.turns,
                    "long_turns": turns.long_turns,
                    "longest_turn_ms": turns.longest_turn.as_secs_f64() * 1e3,
                    "cpu_s": cpu_seconds(),
                });
                println!("{figures}");
            }
            Ok(())
        })();
        // Ends the reactors' events.
        drop(switch);
        told
    })
}

fn pass_on(votes: &Reactor, handle: &SwitchHandle, tally: &Tally) {
    for event in votes.events() {
        let Event::Message(envelope) = event else { continue };
        let came = tally.came.fetch_add(1, SeqCst) + 1;
        if came.is_multiple_of(EVERY) {
            // Nobody stops before this thread has ended, and the channel is its own.
            let outcomes = handle.try_broadcast(VOTES, envelope.into_payload());
            let refused = outcomes.into_iter().flatten().filter(|(_, outcome)| outcome.is_err());
            tally.refused.fetch_add(refused.count() as u64, SeqCst);
        }
    }
}

fn send_back(echoed: &Reactor) {
    for event in echoed.events() {
        if let Event::Message(envelope) = event {
            let peer = envelope.peer().clone();
            // It may be gone by now; then it does not wait for an answer.
            let _ = peer.send(ECHO, envelope.into_payload());
        }
    }
}
