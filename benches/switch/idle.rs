//! What peers cost that do nothing.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    child::{self, Child},
    common::{Args, Goal, Line, Outcome, Reporter, Summary, descriptor_limit},
};

/// Most KiB of memory per idle peer, of 1000.
const GOAL_KIB: f64 = 5.0;

/// Most CPU seconds per 20 s, with any number of peers: 3 % of a core.
const GOAL_CPU: f64 = 0.6;

/// Descriptors that a process needs beside one per peer.
const SPARE: u64 = 64;

/// How long the listener may take to have as many peers as it should.
const PATIENCE: Duration = Duration::from_secs(20);

/// Inbound peers of a listening switch in a process of its own; the dialers are in another.
pub(crate) struct Idle {
    pub(crate) peers: usize,
}

struct Run {
    kib_per_peer: f64,
    cpu_s_per_20s: f64,
    rss_kib: f64,
    rss_kib_without: f64,
}

impl Idle {
    pub(crate) fn name(&self) -> String {
        format!("idle/peers={}", self.peers)
    }

    pub(crate) fn report(&self, args: &Args, reporter: &mut Reporter) {
        let needed = self.peers as u64 + SPARE;
        match descriptor_limit() {
            None => reporter.skip(&self.name(), "needs /proc"),
            Some(limit) if limit < needed => {
                let why = format!(
                    "needs {needed} descriptors a process, the limit is {limit}: ulimit -n {needed}"
                );
                reporter.skip(&self.name(), &why);
            }
            Some(_) => reporter.outcome(&self.name(), self.line(args)),
        }
    }

    fn line(&self, args: &Args) -> Outcome<Line> {
        let window = args.pick(Duration::from_secs(20), Duration::from_secs(1));
        let runs = (0..args.runs()).map(|_| self.run(window)).collect::<Outcome<Vec<_>>>()?;
        let of = |figure: fn(&Run) -> f64| Summary::of(runs.iter().map(figure));
        let value = of(|run| run.kib_per_peer);
        Ok(Line::new(self.name(), value, "KiB/peer")
            // With few peers it is the node's own memory that is shared out.
            .goal(Goal::at_most(
                "KiB",
                if self.peers < 1000 { 12.0 } else { GOAL_KIB },
                value.median,
            ))
            .goal(Goal::at_most("CPU s", GOAL_CPU, of(|run| run.cpu_s_per_20s).median))
            .also("cpu_s_per_20s", of(|run| run.cpu_s_per_20s).median)
            .also("rss_kib", of(|run| run.rss_kib).median)
            .also("rss_kib_without_peers", of(|run| run.rss_kib_without).median))
    }

    fn run(&self, window: Duration) -> Outcome<Run> {
        let mut listener = Child::start(&[child::LISTEN])?;
        let listening = listener.read_json()?;
        let addr = child::text(&listening, "addr")?;
        // One peer came and went: what is then held is not the peers'.
        hold(addr, 1)?.finish()?;
        wait_for(&mut listener, 0)?;
        let without = child::number(&listener.ask("figures")?, "rss_kib")?;

        let holding = hold(addr, self.peers)?;
        wait_for(&mut listener, self.peers)?;
        let before = child::number(&listener.ask("figures")?, "cpu_s")?;
        thread::sleep(window);
        let figures = listener.ask("figures")?;
        let cpu = child::number(&figures, "cpu_s")? - before;
        let rss_kib = child::number(&figures, "rss_kib")?;
        if child::number(&figures, "peers")? != self.peers as f64 {
            return Err(format!("peers got lost: {figures}").into());
        }
        holding.finish()?;
        listener.last_words()?;
        listener.finish()?;
        Ok(Run {
            kib_per_peer: (rss_kib - without) / self.peers as f64,
            cpu_s_per_20s: cpu * 20.0 / window.as_secs_f64(),
            rss_kib,
            rss_kib_without: without,
        })
    }
}

/// Dialers that are connected and have exchanged a message each way.
fn hold(addr: &str, peers: usize) -> Outcome<Child> {
    let mut holding = Child::start(&[child::HOLD, addr, &peers.to_string()])?;
    let held = child::number(&holding.read_json()?, "held")?;
    if held != peers as f64 {
        return Err(format!("{held} of {peers} connections were made").into());
    }
    Ok(holding)
}

fn wait_for(listener: &mut Child, peers: usize) -> Outcome<()> {
    let deadline = Instant::now() + PATIENCE;
    while child::number(&listener.ask("figures")?, "peers")? != peers as f64 {
        if Instant::now() > deadline {
            return Err(format!("the listener never had {peers} peers").into());
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
