//! What peers cost that do nothing.

use std::{thread, time::Duration};

use tmp2p::Config;

use crate::{
    allocations,
    child::{self, Child},
    common::{Args, Goal, Line, Outcome, Reporter, Summary},
    crowd::{self, Crowd},
    dialer::CONCURRENT,
    listener,
    node::Packet,
};

/// Most KiB of memory per idle peer.
const GOAL_KIB: f64 = 5.0;

/// Most KiB of resident memory per peer where it is the node's own that few peers share.
const GOAL_KIB_OF_FEW: f64 = 12.0;

/// Until a listener has given back what its last messages took.
const SETTLE: Duration = Duration::from_millis(500);

/// With fewer peers the pages that come and go by themselves are more than theirs: only the heap is judged.
const FEWEST: usize = 100;

/// Peers of a quick run at most.
const MOST_QUICK: usize = 500;

/// How long nothing is done.
const WINDOW: Duration = Duration::from_secs(20);

/// So that every peer is asked once in that time, three times as often as by default.
const PING_INTERVAL: Duration = WINDOW;

/// Most CPU seconds per 20 s, with any number of peers: 3 % of a core.
const GOAL_CPU: f64 = 0.6;

/// Inbound peers of a listening switch in a process of its own; they are in another.
pub(crate) struct Idle {
    pub(crate) peers: usize,
}

struct Run {
    kib_per_peer: f64,
    heap_kib_per_peer: f64,
    cpu_s_per_20s: f64,
    rss_kib: f64,
    rss_kib_without: f64,
}

impl Idle {
    pub(crate) fn name(&self) -> String {
        format!("idle/peers={}", self.peers)
    }

    pub(crate) fn report(&self, args: &Args, reporter: &mut Reporter) {
        let peers = args.pick(self.peers, self.peers.min(MOST_QUICK));
        match crowd::why_not(peers + CONCURRENT) {
            Some(why) => reporter.skip(&self.name(), &why),
            None => reporter.outcome(&self.name(), self.line(peers, args)),
        }
    }

    fn line(&self, peers: usize, args: &Args) -> Outcome<Line> {
        let window = args.pick(WINDOW, Duration::from_secs(1));
        let runs = (0..args.runs()).map(|_| run(peers, window)).collect::<Outcome<Vec<_>>>()?;
        let of = |figure: fn(&Run) -> f64| Summary::of(runs.iter().map(figure));
        let (value, heap) = (of(|run| run.kib_per_peer), of(|run| run.heap_kib_per_peer));
        let mut line = Line::new(self.name(), value, "KiB/peer");
        if peers >= FEWEST {
            let most = if peers < 1000 { GOAL_KIB_OF_FEW } else { GOAL_KIB };
            line = line.goal(Goal::at_most("KiB", most, value.median));
        }
        Ok(line
            .goal(Goal::at_most("heap KiB", GOAL_KIB, heap.median))
            .goal(Goal::at_most("CPU s", GOAL_CPU, of(|run| run.cpu_s_per_20s).median))
            .also("heap_kib_per_peer", heap.median)
            .also("rss_grown_kib", of(|run| run.rss_kib - run.rss_kib_without).median)
            .also("cpu_s_per_20s", of(|run| run.cpu_s_per_20s).median)
            .also("rss_kib", of(|run| run.rss_kib).median)
            .also("rss_kib_without_peers", of(|run| run.rss_kib_without).median))
    }
}

fn run(peers: usize, window: Duration) -> Outcome<Run> {
    let mut listener = Child::start(&[child::IDLE])?;
    let listening = listener.read_json()?;
    let addr = child::text(&listening, "addr")?;
    // One peer came and went: what is then held is not the peers'.
    Crowd::hold(addr, 1)?.finish()?;
    child::wait_for_peers(&mut listener, "", 0)?;
    let without = child::number(&listener.ask("")?, "rss_kib")?;

    let holding = Crowd::hold(addr, peers)?;
    child::wait_for_peers(&mut listener, "", peers)?;
    let before = child::number(&listener.ask("")?, "cpu_s")?;
    thread::sleep(window);
    let figures = listener.ask("")?;
    let cpu = child::number(&figures, "cpu_s")? - before;
    let rss_kib = child::number(&figures, "rss_kib")?;
    if child::number(&figures, "peers")? != peers as f64 {
        return Err(format!("peers got lost: {figures}").into());
    }
    holding.finish()?;
    listener.last_words()?;
    listener.finish()?;
    Ok(Run {
        kib_per_peer: (rss_kib - without) / peers as f64,
        heap_kib_per_peer: heap_kib(peers)? / peers as f64,
        cpu_s_per_20s: cpu * 20.0 / window.as_secs_f64(),
        rss_kib,
        rss_kib_without: without,
    })
}

/// KiB that another listener holds more, as it asked the allocator for them, with so many peers than
/// without them. As many as come at a time are there before them and stay: what all share, such as
/// buffers that are used again, is made by then, and few peers have their own alone to show.
fn heap_kib(peers: usize) -> Outcome<f64> {
    let mut listener = Child::start(&[child::HEAP])?;
    let listening = listener.read_json()?;
    let addr = child::text(&listening, "addr")?;
    let first = Crowd::hold(addr, CONCURRENT)?;
    child::wait_for_peers(&mut listener, "", CONCURRENT)?;
    thread::sleep(SETTLE);
    let before = child::number(&listener.ask("")?, "heap_kib")?;
    let holding = Crowd::hold(addr, peers)?;
    child::wait_for_peers(&mut listener, "", peers + CONCURRENT)?;
    thread::sleep(SETTLE);
    let after = child::number(&listener.ask("")?, "heap_kib")?;
    first.finish()?;
    holding.finish()?;
    listener.last_words()?;
    listener.finish()?;
    Ok(after - before)
}

/// The child process that has the peers.
pub(crate) fn listen() -> Outcome<()> {
    listener::serve(Config {
        ping_interval: PING_INTERVAL,
        pong_timeout: PING_INTERVAL / 2,
        ..Packet::Default.config()
    })
}

/// The one whose memory is counted.
pub(crate) fn listen_counted() -> Outcome<()> {
    allocations::watch();
    listen()
}
