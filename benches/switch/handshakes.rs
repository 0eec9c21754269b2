//! Inbound connections per second: secret connection, NodeInfo, running peer, gone.

use std::{env, ffi::OsString};

use crate::{
    child::{self, Child},
    common::{Args, Goal, Line, Outcome, Reporter, Summary, descriptor_limit},
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
    listener_cpu_us: Option<f64>,
}

impl Handshakes {
    pub(crate) fn name(&self) -> String {
        format!("handshakes/concurrent={}", self.concurrent)
    }

    /// With Go's programs at hand, theirs and ours take turns.
    pub(crate) fn report(&self, args: &Args, reporter: &mut Reporter) {
        let name = self.name();
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
        let mut line = Line::new(self.name(), of(|run| run.per_second), "1/s")
            .also("p50_ms", of(|run| run.p50_ms).median)
            .also("p99_ms", of(|run| run.p99_ms).median);
        if let Some(cpu) = Summary::of_all(ours.iter().map(|run| run.listener_cpu_us)) {
            line = line.also("listener_cpu_us_each", cpu.median);
        }
        if let Some((_, version)) = theirs.first() {
            let turns = ours.iter().zip(&theirs);
            let ratio = Summary::of(turns.map(|(ours, (go, _))| ours.per_second / go.per_second));
            let go = |figure: fn(&Run) -> f64| {
                Summary::of(theirs.iter().map(|(run, _)| figure(run))).median
            };
            line = line
                .ratio(ratio, format!("go-v{version}"))
                .also("go_per_s", go(|run| run.per_second))
                .also("go_p50_ms", go(|run| run.p50_ms));
            let cpu = |runs: Vec<&Run>| Summary::of_all(runs.iter().map(|run| run.listener_cpu_us));
            let go = cpu(theirs.iter().map(|(run, _)| run).collect());
            if let (Some(ours), Some(go)) = (cpu(ours.iter().collect()), go) {
                line = line.also("go_listener_cpu_us_each", go.median).goal(Goal::at_most(
                    "listener's CPU of Go's",
                    GOAL,
                    ours.median / go.median,
                ));
            }
        }
        Ok(line)
    }

    fn run_ours(&self, n: usize) -> Outcome<Run> {
        let mut listener = Child::start(&[child::LISTEN])?;
        let listening = listener.read_json()?;
        let addr = child::text(&listening, "addr")?;
        let (n_arg, concurrent) = (n.to_string(), self.concurrent.to_string());
        let dialers = Child::start(&[child::DIALERS, addr, &n_arg, &concurrent])?;
        let run = finish(dialers, n)?;
        let stopped = listener.last_words()?;
        listener.finish()?;
        let added = child::number(&stopped, "peers_added")?;
        if added != n as f64 {
            return Err(format!("{added} of {n} peers reached the reactor").into());
        }
        let cpu = stopped["cpu_s"].as_f64().map(|cpu| cpu * 1e6 / n as f64);
        Ok(Run { listener_cpu_us: cpu, ..run })
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
        let run = finish(Child::program(program, &dial)?, n)?;
        let stopped = listener.last_words()?;
        listener.finish()?;
        Ok((Run { listener_cpu_us: stopped["cpu_us_each"].as_f64(), ..run }, version))
    }
}

/// What the dialers say; ours and Go's say the same.
fn finish(mut dialers: Child, n: usize) -> Outcome<Run> {
    let dialed = dialers.read_json()?;
    dialers.finish()?;
    if child::number(&dialed, "ok")? != n as f64 {
        return Err(format!("dialers: {dialed}").into());
    }
    let [per_second, p50_ms, p99_ms] =
        ["per_second", "p50_ms", "p99_ms"].map(|key| child::number(&dialed, key));
    Ok(Run { per_second: per_second?, p50_ms: p50_ms?, p99_ms: p99_ms?, listener_cpu_us: None })
}
