//! A small important message now and then, beside bulk that fills a slow line.

mod children;

use std::{
    env,
    os::unix::process::CommandExt,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tmp2p_line::{command_in, missing};

use crate::{
    child::{self, Child},
    common::{Args, Line, Outcome, Reporter, Summary},
    latency::Latency,
};

pub(crate) const NAME: &str = "shaped/rate=100mbit/rtt=50ms";

/// Role: holds the line. `--line BITS_PER_SECOND ROUND_TRIP_MS`.
const LINE: &str = "--line";
/// Role: a switch at one end of it that receives. `--sink IP`.
const SINK: &str = "--sink";
/// Role: a switch at the other end that sends. `--source ADDR`.
const SOURCE: &str = "--source";

/// Bits a second.
const RATE: u64 = 100_000_000;
/// There and back: half of it each way.
const ROUND_TRIP_MS: u64 = 50;

/// How long what was sent may take to arrive.
const PATIENCE: Duration = Duration::from_secs(20);

struct Run {
    alone: Latency,
    mixed: Latency,
    bulk_mb_per_s: f64,
    /// How TCP finds out what the line carries.
    tcp: String,
}

pub(crate) fn child_role(args: &[&str]) -> Option<Outcome<()>> {
    match *args {
        [LINE, rate, round_trip_ms] => Some(children::line(rate, round_trip_ms)),
        [SINK, ip] => Some(children::sink(ip)),
        [SOURCE, addr] => Some(children::source(addr)),
        _ => None,
    }
}

/// Three lines: how long the important messages took, how long without bulk, and the bulk's rate.
pub(crate) fn report(args: &Args, reporter: &mut Reporter) {
    if let Some(why) = missing() {
        return reporter.skip(NAME, &why);
    }
    let runs = (0..args.runs()).map(|_| run(args)).collect::<Outcome<Vec<_>>>();
    let runs = match runs {
        Ok(runs) => runs,
        Err(error) => return reporter.outcome(NAME, Err(error)),
    };
    let of = |figure: fn(&Run) -> f64| Summary::of(runs.iter().map(figure));
    let added = of(|run| run.mixed.p99 - run.alone.p99);
    let mixed = Latency::line(NAME, runs.iter().map(|run| run.mixed));
    let alone = Latency::line(format!("{NAME}/alone"), runs.iter().map(|run| run.alone));
    reporter.line(&alone);
    reporter.line(&mixed.also("p99_over_alone_ms", added.median));
    let bulk = of(|run| run.bulk_mb_per_s);
    let share = of(|run| run.bulk_mb_per_s / (RATE as f64 / 8e6));
    let tcp = &runs[0].tcp;
    let bulk = Line::new(format!("{NAME}/bulk"), bulk, "MB/s");
    reporter.line(&bulk.ratio(share, format!("the line with {tcp}")));
}

fn run(args: &Args) -> Outcome<Run> {
    // First, so that it goes last.
    let mut line = HeldLine::open()?;
    let ends = line.child()?.read_json()?;
    let ip = child::text(&ends, "ip")?;
    let mut sink = start_in(child::text(&ends, "sink")?, &[SINK, ip])?;
    let listening = sink.read_json()?;
    let [addr, tcp] = ["addr", "tcp"].map(|key| child::text(&listening, key));
    let (addr, tcp) = (addr?, tcp?.to_owned());
    let mut source = start_in(child::text(&ends, "source")?, &[SOURCE, addr])?;
    source.read_json()?;

    send(&mut source, args.pick(400, 20))?;
    let alone = arrived(&mut sink, args.pick(400, 20), Vec::new())?;
    source.ask(children::POUR)?;
    // Until TCP knows the line and the queue before it is in use.
    thread::sleep(args.pick(Duration::from_secs(3), Duration::from_millis(500)));
    let before = sink.ask("")?;
    send(&mut source, args.pick(3000, 100))?;
    let after = sink.ask("")?;
    let mixed = arrived(&mut sink, args.pick(3000, 100), times(&after)?)?;
    let bulk_mb_per_s = rate(&before, &after)?;

    source.finish()?;
    sink.finish()?;
    line.finish()?;
    Ok(Run { alone, mixed, bulk_mb_per_s, tcp })
}

fn send(source: &mut Child, messages: usize) -> Outcome<()> {
    source.ask(&messages.to_string()).map(|_| ())
}

/// What so many messages took, once all have arrived; those that have are given.
fn arrived(sink: &mut Child, messages: usize, mut taken: Vec<f64>) -> Outcome<Latency> {
    let deadline = Instant::now() + PATIENCE;
    while taken.len() < messages {
        if Instant::now() > deadline {
            return Err(format!("{} of {messages} messages came", taken.len()).into());
        }
        thread::sleep(Duration::from_millis(10));
        taken.extend(times(&sink.ask("")?)?);
    }
    Ok(Latency::of(&mut taken))
}

/// Of those messages that came since the sink was asked before.
fn times(answer: &Value) -> Outcome<Vec<f64>> {
    let times = answer["times_ms"].as_array().ok_or("the sink told no times")?;
    Ok(times.iter().filter_map(Value::as_f64).collect())
}

/// 10^6 bytes of payload a second that were delivered between two answers.
fn rate(before: &Value, after: &Value) -> Outcome<f64> {
    let between = |key| Ok(child::number(after, key)? - child::number(before, key)?);
    let (bytes, ns): (Outcome<f64>, Outcome<f64>) = (between("bulk_bytes"), between("at_ns"));
    Ok(bytes? * 1e3 / ns?)
}

fn start_in(namespace: &str, args: &[&str]) -> Outcome<Child> {
    let mut command = command_in(namespace, env::current_exe()?);
    command.args(args);
    Child::spawn(command)
}

/// The child that holds the line. It is never killed, for it has namespaces to remove, which it does
/// when its input ends: at the latest when this process does.
struct HeldLine(Option<Child>);

impl HeldLine {
    fn open() -> Outcome<Self> {
        let mut command = Command::new(env::current_exe()?);
        command.args([LINE, &RATE.to_string(), &ROUND_TRIP_MS.to_string()]);
        // Who interrupts the bench at a terminal does not mean this one.
        command.process_group(0);
        Ok(Self(Some(Child::spawn(command)?)))
    }

    fn child(&mut self) -> Outcome<&mut Child> {
        self.0.as_mut().ok_or_else(|| "the line has ended".into())
    }

    fn finish(mut self) -> Outcome<()> {
        self.0.take().map_or(Ok(()), Child::finish)
    }
}

impl Drop for HeldLine {
    fn drop(&mut self) {
        if let Some(child) = self.0.take() {
            // Something else has failed already.
            let _ = child.finish();
        }
    }
}
