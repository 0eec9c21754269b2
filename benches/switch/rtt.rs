//! Round trips of 100 bytes through two reactors, in turns with the bare ping-pong.

use std::{thread, time::Instant};

use tmp2p::{ChannelDescriptor, Event, Reactor};

use crate::{
    child::{self, Child},
    common::{Args, Goal, Line, Outcome, Reporter, Summary, allowed_cpu, percentile},
    hop::{self, Hop},
    node::{CHANNEL, Packet, Pair},
};

/// On all processors.
pub(crate) const NAME: &str = "rtt/size=100";

/// On one.
pub(crate) const NAME_ONE_CORE: &str = "rtt/size=100/cores=1";

const SIZE: usize = 100;

/// Into so many parts a run is cut, so that both see the same machine.
const TURNS: usize = 10;

/// On one processor a round trip should take no longer than so many hops. (On several the figure
/// depends on which of two modes the idle processors are in.)
const GOAL_ONE_CORE: f64 = 2.0;

/// One run, microseconds.
#[derive(Clone, Copy)]
struct Run {
    hop: f64,
    p50: f64,
    p90: f64,
    p99: f64,
}

/// Measures and prints the case on all processors.
pub(crate) fn report(args: &Args, reporter: &mut Reporter) {
    let samples = hop::samples(args);
    let runs = (0..args.runs()).map(|_| run(samples)).collect::<Outcome<Vec<_>>>();
    reporter.outcome(NAME, runs.map(|runs| line(NAME, &runs)));
}

/// Measures and prints the case on one processor, in a child process.
pub(crate) fn report_one_core(args: &Args, reporter: &mut Reporter) {
    let Some(cpu) = allowed_cpu() else {
        return reporter.skip(NAME_ONE_CORE, "needs /proc/self/status to choose a processor");
    };
    if !child::has_taskset() {
        return reporter.skip(NAME_ONE_CORE, "needs taskset (util-linux) to stay on one processor");
    }
    let samples = hop::samples(args);
    let runs = (0..args.runs()).map(|_| run_on(cpu, samples)).collect::<Outcome<Vec<_>>>();
    if let Ok(runs) = &runs {
        let hop = Summary::of(runs.iter().map(|run| run.hop));
        reporter.line(&Line::new("hop/cores=1", hop, "us"));
    }
    let line = runs.map(|runs| {
        let line = line(NAME_ONE_CORE, &runs);
        let ratio = line.ratio_median();
        line.goal(Goal::at_most("ratio", GOAL_ONE_CORE, ratio))
    });
    reporter.outcome(NAME_ONE_CORE, line);
}

/// The child process: one run, one line.
pub(crate) fn run_child(samples: &str) -> Outcome<()> {
    let Run { hop, p50, p90, p99 } = run(samples.parse()?)?;
    println!("{}", serde_json::json!({ "hop": hop, "p50": p50, "p90": p90, "p99": p99 }));
    Ok(())
}

fn run_on(cpu: u32, samples: usize) -> Outcome<Run> {
    let mut child = Child::start_on(cpu, &[child::RTT, &samples.to_string()])?;
    let line = child.read_json()?;
    child.finish()?;
    let [hop, p50, p90, p99] = ["hop", "p50", "p90", "p99"].map(|key| child::number(&line, key));
    Ok(Run { hop: hop?, p50: p50?, p90: p90?, p99: p99? })
}

fn line(name: &str, runs: &[Run]) -> Line {
    let median = |figure: fn(&Run) -> f64| Summary::of(runs.iter().map(figure)).median;
    Line::new(name, Summary::of(runs.iter().map(|run| run.p50)), "us")
        .ratio(Summary::of(runs.iter().map(|run| run.p50 / run.hop)), "hop")
        .also("hop_us", median(|run| run.hop))
        .also("p90_us", median(|run| run.p90))
        .also("p99_us", median(|run| run.p99))
}

fn run(samples: usize) -> Outcome<Run> {
    let pair = Pair::start(&Packet::Default.config(), ChannelDescriptor::new(CHANNEL))?;
    let Pair { near, far, peer } = pair;
    let mut hop = Hop::start()?;
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    thread::scope(|scope| {
        let echoing = scope.spawn(move || {
            let echoed = echo(&far.reactor);
            drop(far.switch);
            echoed
        });
        let measured = (|| {
            for _ in 0..TURNS {
                hop.measure(samples / TURNS, &mut bare)?;
                for _ in 0..samples / TURNS {
                    let start = Instant::now();
                    peer.send(CHANNEL, vec![0x5a; SIZE])?;
                    let answer = near.next_message()?;
                    ours.push(start.elapsed().as_nanos() as f64 / 1000.0);
                    if answer.payload().len() != SIZE {
                        return Err("the answer has another size".into());
                    }
                }
            }
            Ok(())
        })();
        // Ends the session, which ends the far side.
        drop(near);
        let echoed: Outcome<()> = echoing.join().map_err(|_| "the echoing thread panicked")?;
        measured.and(echoed)
    })?;
    Ok(Run {
        hop: percentile(&mut bare, 50),
        p50: percentile(&mut ours, 50),
        p90: percentile(&mut ours, 90),
        p99: percentile(&mut ours, 99),
    })
}

/// Sends back what comes, until the first session ends.
fn echo(reactor: &Reactor) -> Outcome<()> {
    for event in reactor.events() {
        match event {
            Event::Message(envelope) => {
                let peer = envelope.peer().clone();
                peer.send(CHANNEL, envelope.into_payload())?;
            }
            Event::PeerDown(..) => break,
            _ => {}
        }
    }
    Ok(())
}
