//! One large message for a crowd of peers.

use std::{
    io::stdin,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use tmp2p::{ChannelDescriptor, SwitchHandle};

use crate::{
    child::{self, Child},
    common::{
        Args, Goal, Line, Outcome, Reporter, Summary, cpu_seconds, forget_peak, peak_kib,
        resident_kib,
    },
    crowd::{self, Crowd},
    node::{CHANNEL, Node, Packet},
    yardstick::{Throughput, Yardstick},
};

const PEERS: usize = 1000;
/// Of a quick run.
const FEW_PEERS: usize = 50;
const SIZE: usize = 65_536;

/// Messages, each delivered to every peer before the next: what grows is one message's.
const ROUNDS_ALONE: usize = 4;

/// Messages, each queued for every peer before the next.
const ROUNDS: usize = 16;
const FEW_ROUNDS: usize = 2;

/// Most KiB that the sender may grow by for one message. A copy for each peer would be four times as much.
const GOAL_KIB: f64 = 16.0 * 1024.0;

/// The questions after which the sender broadcasts, and after which its peak is what it holds.
const BROADCAST: &str = "broadcast";
const FORGET_PEAK: &str = "forget";

/// How long one message may wait for a place in every queue, and how long until all have come.
const PATIENCE: Duration = Duration::from_secs(60);

struct Run {
    throughput: Throughput,
    grown_kib: f64,
    all_grown_kib: f64,
}

pub(crate) fn name() -> String {
    format!("broadcast/peers={PEERS}/size={SIZE}")
}

pub(crate) fn report(args: &Args, yardstick: &mut Yardstick, reporter: &mut Reporter) {
    let peers = args.pick(PEERS, FEW_PEERS);
    match crowd::why_not(peers) {
        Some(why) => reporter.skip(&name(), &why),
        None => reporter.outcome(&name(), line(peers, args, yardstick)),
    }
}

fn line(peers: usize, args: &Args, yardstick: &mut Yardstick) -> Outcome<Line> {
    let rounds = args.pick(ROUNDS, FEW_ROUNDS);
    let (mut grown, mut all_grown) = (Vec::new(), Vec::new());
    let mut runs = Vec::new();
    for _ in 0..args.runs() {
        runs.push(yardstick.around(|| {
            let run = run(peers, rounds)?;
            grown.push(run.grown_kib);
            all_grown.push(run.all_grown_kib);
            Ok(run.throughput)
        })?);
    }
    let grown = Summary::of(grown);
    // The pipe's processor time is that of both ends: no ratio of it.
    Ok(Line::new(name(), Summary::of(runs.iter().map(|run| run.ours.mb_per_s)), "MB/s")
        .ratio(Summary::of(runs.iter().map(|run| run.ratio)), "pipe")
        .cpu(Summary::of_all(runs.iter().map(|run| run.ours.cpu_s_per_gb)))
        .goal(Goal::at_most("peak_grown_kib", GOAL_KIB, grown.median))
        .also("peak_grown_kib", grown.median)
        .also("peak_grown_kib_of_all", Summary::of(all_grown).median))
}

/// First one message after the other is delivered, which shows what one costs in memory, then all
/// without waiting for that.
fn run(peers: usize, rounds: usize) -> Outcome<Run> {
    let mut stage = Stage::new(peers)?;
    let mut grown_kib = 0.0_f64;
    for _ in 0..ROUNDS_ALONE {
        grown_kib = grown_kib.max(stage.deliver(1)?);
    }
    let (started, before) = (Instant::now(), stage.cpu_seconds()?);
    let all_grown_kib = stage.deliver(rounds)?;
    let took = started.elapsed().as_secs_f64();
    let used = stage.cpu_seconds()? - before;
    stage.finish()?;
    let bytes = (rounds * peers * SIZE) as f64;
    let throughput =
        Throughput { mb_per_s: bytes / 1e6 / took, cpu_s_per_gb: Some(used / (bytes / 1e9)) };
    Ok(Run { throughput, grown_kib, all_grown_kib })
}

/// A switch in a process of its own, which alone is measured, and peers without one in another.
struct Stage {
    sender: Child,
    crowd: Crowd,
    peers: usize,
    /// Messages for each peer so far.
    delivered: usize,
}

impl Stage {
    fn new(peers: usize) -> Outcome<Self> {
        let mut sender = Child::start_apart(0, &[child::FANOUT])?;
        let listening = sender.read_json()?;
        let crowd = Crowd::start(child::text(&listening, "addr")?, peers, 0)?;
        child::wait_for_peers(&mut sender, "", peers)?;
        Ok(Self { sender, crowd, peers, delivered: 0 })
    }

    /// Broadcasts so many messages and waits until all peers have them; KiB that the sender grew by.
    fn deliver(&mut self, messages: usize) -> Outcome<f64> {
        let before = child::number(&self.sender.ask(FORGET_PEAK)?, "rss_kib")?;
        for _ in 0..messages {
            self.sender.ask(BROADCAST)?;
        }
        self.delivered += messages;
        let expected = (self.delivered * self.peers) as f64;
        let started = Instant::now();
        while self.crowd.figures()?.received < expected {
            if started.elapsed() > PATIENCE {
                return Err(format!("not all of {expected} messages came").into());
            }
            thread::sleep(Duration::from_micros(500));
        }
        if self.crowd.figures()?.received_bytes != expected * SIZE as f64 {
            return Err("messages have another size".into());
        }
        Ok(child::number(&self.sender.ask("")?, "peak_kib")? - before)
    }

    /// Of the sender.
    fn cpu_seconds(&mut self) -> Outcome<f64> {
        child::number(&self.sender.ask("")?, "cpu_s")
    }

    fn finish(self) -> Outcome<()> {
        self.crowd.finish()?;
        self.sender.finish()
    }
}

/// The child process: says where it listens, does what each line says and answers with its figures.
pub(crate) fn run_child() -> Outcome<()> {
    let node = Node::start(Packet::Default.config(), ChannelDescriptor::new(CHANNEL))?;
    let Node { switch, reactor } = node;
    let handle = switch.handle().clone();
    let addr = handle.peer_address().ok_or("it does not listen")?;
    thread::scope(|scope| {
        // Nothing comes but that peers are there.
        scope.spawn(|| reactor.events().iter().for_each(drop));
        println!("{}", json!({ "addr": addr.to_string() }));
        let told = (|| {
            for line in stdin().lines() {
                match line?.as_str() {
                    BROADCAST => broadcast(&handle)?,
                    FORGET_PEAK => forget_peak(),
                    _ => {}
                }
                let figures = json!({
                    "peers": handle.num_peers().inbound,
                    "cpu_s": cpu_seconds(),
                    "rss_kib": resident_kib(),
                    "peak_kib": peak_kib(),
                });
                println!("{figures}");
            }
            Ok(())
        })();
        // Ends the reactor's events.
        drop(switch);
        told
    })
}

/// A message made anew, as an application would. Waits until it is queued for all.
fn broadcast(handle: &SwitchHandle) -> Outcome<()> {
    let outcomes = handle.broadcast(CHANNEL, vec![0x5a; SIZE])?.wait_timeout(PATIENCE);
    for (_, outcome) in outcomes {
        outcome?;
    }
    Ok(())
}
