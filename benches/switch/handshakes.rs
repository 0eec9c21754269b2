//! What an inbound connection costs who listens: secret connection, NodeInfo, running peer, gone.
//! How many a second there are depends on the dialers too, which share the machine.

use std::{env, ffi::OsString};

use serde_json::Value;

use crate::{
    child::{self, Child},
    common::{Args, Goal, Line, Outcome, Reporter, Summary, cpu_seconds, descriptor_limit},
    node::NETWORK,
};

/// Where the comparison program on Go's v0.34 is.
const GO: &str = "TMP2P_COMPARE_V034";

/// The most of the processor time of Go's listener that ours may take for each connection.
const GOAL: f64 = 0.45;

/// Descriptors that the listener needs beside one per connection that is not closed yet.
const SPARE: u64 = 200;

/// A listening switch in one process, dialers in another.
pub(crate) struct Handshakes {
    pub(crate) concurrent: usize,
}

struct Run {
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// For each connection, of the listener's process alone.
    listener_cpu_us: f64,
}

impl Run {
    fn of(dialed: &Value, listener_cpu_us: f64) -> Outcome<Self> {
        let [per_second, p50_ms, p99_ms] =
            ["per_second", "p50_ms", "p99_ms"].map(|key| child::number(dialed, key));
        Ok(Self { per_second: per_second?, p50_ms: p50_ms?, p99_ms: p99_ms?, listener_cpu_us })
    }
}

impl Handshakes {
    pub(crate) fn name(&self) -> String {
        format!("handshakes/concurrent={}", self.concurrent)
    }

    /// With Go's programs at hand, theirs and ours take turns.
    pub(crate) fn report(&self, args: &Args, reporter: &mut Reporter) {
        let name = self.name();
        if cpu_seconds().is_none() {
            return reporter.skip(&name, "needs Unix, which tells processor time");
        }
        if let Some(limit) = descriptor_limit().filter(|limit| *limit < SPARE) {
            let why = format!("needs {SPARE} descriptors, the limit is {limit} (ulimit -n)");
            return reporter.skip(&name, &why);
        }
        reporter.outcome(&name, self.line(args));
    }

    fn line(&self, args: &Args) -> Outcome<Line> {
        let n = args.pick(1000, 64);
        let go = env::var_os(GO);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..args.runs() {
            ours.push(self.run_ours(n)?);
            if let Some(go) = &go {
                theirs.push(self.run_go(go, n)?);
            }
        }
        let of = |figure: fn(&Run) -> f64| Summary::of(ours.iter().map(figure));
        let cpu = of(|run| run.listener_cpu_us);
        let mut line = Line::new(self.name(), cpu, "us of the listener")
            .also("listener_cpu_us_each", cpu.median)
            .also("per_second", of(|run| run.per_second).median)
            .also("p50_ms", of(|run| run.p50_ms).median)
            .also("p99_ms", of(|run| run.p99_ms).median);
        if let Some((_, version)) = theirs.first() {
            let turns = ours.iter().zip(&theirs);
            let ratio =
                Summary::of(turns.map(|(ours, (go, _))| ours.listener_cpu_us / go.listener_cpu_us));
            let go = |figure: fn(&Run) -> f64| {
                Summary::of(theirs.iter().map(|(run, _)| figure(run))).median
            };
            line = line
                .ratio(ratio, format!("go-v{version}"))
                .goal(Goal::at_most("ratio", GOAL, ratio.median))
                .also("go_listener_cpu_us_each", go(|run| run.listener_cpu_us))
                .also("go_per_s", go(|run| run.per_second))
                .also("go_p50_ms", go(|run| run.p50_ms));
        }
        Ok(line)
    }

    fn run_ours(&self, n: usize) -> Outcome<Run> {
        let mut listener = Child::start(&[child::LISTEN])?;
        let listening = listener.read_json()?;
        let addr = child::text(&listening, "addr")?;
        let (n_arg, concurrent) = (n.to_string(), self.concurrent.to_string());
        let dialers = Child::start(&[child::DIALERS, addr, &n_arg, &concurrent])?;
        let dialed = finish(dialers, n)?;
        let stopped = listener.last_words()?;
        listener.finish()?;
        let added = child::number(&stopped, "peers_added")?;
        if added != n as f64 {
            return Err(format!("{added} of {n} peers reached the reactor").into());
        }
        Run::of(&dialed, child::number(&stopped, "cpu_s")? * 1e6 / n as f64)
    }

    /// The run and the version.
    fn run_go(&self, program: &OsString, n: usize) -> Outcome<(Run, String)> {
        let mut listener = Child::program(program, &["listen", "-network", NETWORK])?;
        let listening = listener.read_json()?;
        let addr = child::text(&listening, "addr")?;
        let version = child::text(&listening, "version")?.to_owned();
        let (n_arg, concurrent) = (n.to_string(), self.concurrent.to_string());
        let dial = ["dial", "-addr", addr, "-network", NETWORK, "-n", &n_arg];
        let dial = [&dial[..], &["-concurrent", &concurrent]].concat();
        let dialed = finish(Child::program(program, &dial)?, n)?;
        let stopped = listener.last_words()?;
        listener.finish()?;
        Ok((Run::of(&dialed, child::number(&stopped, "cpu_us_each")?)?, version))
    }
}

/// What the dialers say; ours and Go's say the same.
fn finish(mut dialers: Child, n: usize) -> Outcome<Value> {
    let dialed = dialers.read_json()?;
    dialers.finish()?;
    if child::number(&dialed, "ok")? != n as f64 {
        return Err(format!("dialers: {dialed}").into());
    }
    Ok(dialed)
}
