//! A small important message now and then, beside bulk that never ends.

use std::{
    sync::atomic::{
        AtomicBool, AtomicUsize,
        Ordering::{Relaxed, SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use tmp2p::{
    ChannelDescriptor, Config, Event, NodeKey, Payload, Peer, Reactor, ReactorSpec, Switch,
};

use crate::{
    common::{Args, Goal, Line, Outcome, Reporter, Summary},
    latency::Latency,
    node::{Packet, connect, node_info, wait_for_peer},
};

pub(crate) const BULK: u8 = 0x30;
pub(crate) const BULK_SIZE: usize = 64 * 1024;

pub(crate) const IMPORTANT: u8 = 0x31;
pub(crate) const IMPORTANT_SIZE: usize = 200;
pub(crate) const PAUSE: Duration = Duration::from_millis(5);

/// Most milliseconds that the slowest hundredth should take, without limits on the rate.
const GOAL_P99_MS: f64 = 4.0;

/// What should be left of the bulk's rate.
const GOAL_BULK: f64 = 0.5;

/// Limits on the connection's rate.
#[derive(Clone, Copy)]
pub(crate) enum Mixed {
    /// As configured by default: 5.12 MB/s.
    DefaultRate,
    /// None.
    Unlimited,
}

struct Run {
    latency: Latency,
    bulk: f64,
    bulk_alone: f64,
}

impl Mixed {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::DefaultRate => "mixed/rate=default",
            Self::Unlimited => "mixed/rate=unlimited",
        }
    }

    /// Two lines: how long the important messages took, and what was left for the bulk.
    pub(crate) fn report(self, args: &Args, reporter: &mut Reporter) {
        let runs = (0..args.runs()).map(|_| self.run(args)).collect::<Outcome<Vec<_>>>();
        let runs = match runs {
            Ok(runs) => runs,
            Err(error) => return reporter.outcome(self.name(), Err(error)),
        };
        let of = |figure: fn(&Run) -> f64| Summary::of(runs.iter().map(figure));
        let mut latency = Latency::line(self.name(), runs.iter().map(|run| run.latency));
        let part = of(|run| run.bulk / run.bulk_alone);
        let mut bulk = Line::new(format!("{}/bulk", self.name()), of(|run| run.bulk), "MB/s")
            .ratio(part, "bulk alone");
        if matches!(self, Self::Unlimited) {
            latency = latency.goal(Goal::at_most(
                "p99_ms",
                GOAL_P99_MS,
                of(|run| run.latency.p99).median,
            ));
            bulk = bulk.goal(Goal::at_least("ratio", GOAL_BULK, part.median));
        }
        reporter.line(&latency);
        reporter.line(&bulk);
    }

    fn run(self, args: &Args) -> Outcome<Run> {
        let mut config = Packet::Default.config();
        if matches!(self, Self::DefaultRate) {
            let Config { send_rate, recv_rate, .. } = Config::default();
            (config.send_rate, config.recv_rate) = (send_rate, recv_rate);
        }
        let (near, far) = (Node::start(config.clone())?, Node::start(config)?);
        let peer = connect(&near.switch, &near.bulk, &far.switch)?;
        wait_for_peer(&far.bulk)?;

        let messages = args.pick(1200, 100);
        let alone = args.pick(Duration::from_millis(1500), Duration::from_millis(150));
        let origin = Instant::now();
        let (delivered, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let clock = || origin.elapsed().as_nanos() as u64;
        let important = || tick(&peer, messages, clock);
        let sleep = || {
            thread::sleep(alone);
            Ok(())
        };
        thread::scope(|scope| {
            let counting = scope.spawn(|| count(&far.bulk, &delivered));
            let timing = scope.spawn(|| {
                let mut times = Vec::new();
                time(&far.important, clock, |took| times.push(took));
                times
            });
            let pouring = scope.spawn(|| -> Outcome<()> {
                let payload = Payload::from(vec![0x5a; BULK_SIZE]);
                while !stop.load(Relaxed) {
                    peer.send(BULK, payload.clone())?;
                }
                Ok(())
            });
            // The first moments fill queues.
            thread::sleep(alone / 5);
            let before = rate(&delivered, sleep);
            let mixed = rate(&delivered, important);
            let after = rate(&delivered, sleep);
            stop.store(true, Relaxed);
            let poured = pouring.join().map_err(|_| "the pouring thread panicked");
            // Ends the session, which ends both receiving threads.
            drop(near);
            counting.join().map_err(|_| "the counting thread panicked")?;
            let mut times = timing.join().map_err(|_| "the timing thread panicked")?;
            poured??;
            if times.len() != messages {
                return Err(format!("{} of {messages} messages came", times.len()).into());
            }
            Ok(Run {
                latency: Latency::of(&mut times),
                bulk: mixed?,
                bulk_alone: (before? + after?) / 2.0,
            })
        })
    }
}

/// A node with two reactors, as a real one has them: each has its own thread.
pub(crate) struct Node {
    pub(crate) switch: Switch,
    pub(crate) bulk: Reactor,
    pub(crate) important: Reactor,
}

impl Node {
    pub(crate) fn start(config: Config) -> Outcome<Self> {
        let mut builder = Switch::builder(config, NodeKey::generate(), node_info()?);
        let bulk = builder
            .reactor(ReactorSpec::new("bulk").channel(ChannelDescriptor::new(BULK).priority(1)))?;
        let important = builder.reactor(
            ReactorSpec::new("important").channel(ChannelDescriptor::new(IMPORTANT).priority(10)),
        )?;
        Ok(Self { switch: builder.start()?, bulk, important })
    }
}

/// 10^6 bytes a second delivered while `work` runs.
fn rate(delivered: &AtomicUsize, work: impl FnOnce() -> Outcome<()>) -> Outcome<f64> {
    let (start, before) = (Instant::now(), delivered.load(SeqCst));
    work()?;
    let bytes = delivered.load(SeqCst) - before;
    Ok(bytes as f64 / 1e6 / start.elapsed().as_secs_f64())
}

/// Adds up the bytes that come, until a session ends.
pub(crate) fn count(bulk: &Reactor, delivered: &AtomicUsize) {
    for event in bulk.events() {
        match event {
            Event::Message(envelope) => {
                delivered.fetch_add(envelope.payload().len(), SeqCst);
            }
            Event::PeerDown(..) => return,
            _ => {}
        }
    }
}

/// Sends so many important messages, each with the time at which it was sent, in nanoseconds.
pub(crate) fn tick(peer: &Peer, messages: usize, clock: impl Fn() -> u64) -> Outcome<()> {
    let mut due = Instant::now();
    for _ in 0..messages {
        let now = Instant::now();
        // What is late is not made up for: like a ticker.
        due = (due + PAUSE).max(now);
        thread::sleep(due - now);
        let mut message = vec![0; IMPORTANT_SIZE];
        message[..8].copy_from_slice(&clock().to_le_bytes());
        peer.send(IMPORTANT, message)?;
    }
    Ok(())
}

/// Tells of each important message how many milliseconds it took, until a session ends.
pub(crate) fn time(important: &Reactor, clock: impl Fn() -> u64, mut tell: impl FnMut(f64)) {
    for event in important.events() {
        match event {
            Event::Message(envelope) => {
                let now = clock();
                let sent = envelope.payload().first_chunk().copied().map_or(0, u64::from_le_bytes);
                tell((now - sent) as f64 / 1e6);
            }
            Event::PeerDown(..) => break,
            _ => {}
        }
    }
}
