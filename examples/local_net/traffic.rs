//! Everybody sends to everybody, and everybody checks what comes.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use tmp2p::{Config, Payload, SwitchHandle};

use crate::{
    cli,
    network::Network,
    node::CHANNEL,
    progress::{self, Progress},
    show::{Show, elapsed},
    tally::Header,
};

/// Without a single delivery for so long, something is lost.
const SILENCE: Duration = Duration::from_secs(15);
/// How long one message may wait for its slowest receiver's queue.
const SEND_TIMEOUT: Duration = Duration::from_secs(20);

/// How much each node sends.
#[derive(Clone, Copy)]
pub(crate) enum Amount {
    Messages(u64),
    For(Duration),
}

/// One round; a line that says how it went.
pub(crate) fn run(
    network: &mut Network<'_>,
    amount: Amount,
    size: usize,
    show: &Show,
) -> Result<String, String> {
    network.rounds += 1;
    let (round, started) = (network.rounds, Instant::now());
    network.living().for_each(|(_, node)| node.tally().begin(round));
    let nodes = network.living().count();
    let per_message = nodes as u64 - 1;
    let bar = show.bar();
    let tell = |delivered: u64| {
        let elapsed = started.elapsed();
        let share = match amount {
            Amount::Messages(messages) => {
                delivered as f64 / (messages * per_message * nodes as u64).max(1) as f64
            }
            Amount::For(time) => (elapsed.as_secs_f64() / time.as_secs_f64().max(1e-9)).min(1.0),
        };
        bar.show(Progress { share, elapsed, bytes: delivered as f64 * size as f64 });
    };
    let is_over = AtomicBool::new(false);
    let (handles, clock): (Vec<_>, _) =
        (network.living().map(|(i, node)| (i, node.handle().clone())).collect(), network.clock);
    let result: Result<u64, String> = thread::scope(|scope| {
        let senders: io::Result<Vec<_>> = handles
            .iter()
            .map(|(i, handle)| {
                let (number, peers, is_over) = (*i, nodes - 1, &is_over);
                let sender = Sender { number, round, handle, peers, size, clock, is_over };
                let thread = thread::Builder::new().name("sender".to_owned());
                thread.spawn_scoped(scope, move || sender.send(amount))
            })
            .collect();
        let deliver = || -> Result<u64, String> {
            let senders = senders.map_err(|error| format!("cannot start a thread: {error}"))?;
            let mut watch = Watch::new();
            while !senders.iter().all(|sender| sender.is_finished()) {
                tell(watch.look(network)?);
            }
            let mut expected = 0;
            for ((i, _), sender) in handles.iter().zip(senders) {
                let sent = sender.join().map_err(|_| "a sender has panicked".to_owned())??;
                network.sent[*i] = sent;
                expected += sent * per_message;
            }
            loop {
                let delivered = watch.look(network)?;
                tell(delivered);
                if delivered >= expected {
                    return Ok(delivered);
                }
            }
        };
        let result = deliver();
        if result.is_err() {
            // The senders are waited for: whoever waits for a peer must not go on waiting.
            is_over.store(true, Relaxed);
            handles.iter().for_each(|(_, handle)| handle.request_stop());
        }
        result
    });
    drop(bar);
    let (delivered, took) = (result?, started.elapsed());
    for (i, node) in network.living() {
        let others: u64 =
            network.living().filter(|(j, _)| *j != i).map(|(j, _)| network.sent[j]).sum();
        let received = node.tally().received;
        if received != others {
            return Err(format!("node {i} got {received} of {}", cli::counted(others, "message")));
        }
    }
    let bytes = delivered as f64 * size as f64;
    let mut said = format!(
        "{delivered} deliveries, every byte compared,\n{:.2} MB, {}, {:.2}/s, {}",
        bytes / 1e6,
        progress::rate(bytes, took),
        delivered as f64 / took.as_secs_f64(),
        elapsed(started),
    );
    let limit = Config::default().send_rate;
    let connections = (per_message * nodes as u64) as f64;
    if progress::is_at_limit(bytes / connections, took, limit) {
        said += &format!(
            "\neach connection is at the default rate, {:.2} MB/s:\nsend_rate is the limit, not the machine",
            limit as f64 / 1e6
        );
    }
    Ok(said)
}

/// One node's sending thread.
struct Sender<'a> {
    number: usize,
    round: u32,
    handle: &'a SwitchHandle,
    peers: usize,
    size: usize,
    clock: Instant,
    is_over: &'a AtomicBool,
}

impl Sender<'_> {
    /// How many messages were sent, each to all peers.
    fn send(&self, amount: Amount) -> Result<u64, String> {
        let started = Instant::now();
        let mut number = 0;
        while match amount {
            _ if self.is_over.load(Relaxed) => false,
            Amount::Messages(messages) => number < messages,
            Amount::For(time) => started.elapsed() < time,
        } {
            let (sender, round) = (self.number as u32, self.round);
            let header = Header { sender, round, number, sent_at: self.clock.elapsed() };
            let payload = Payload::from(header.message(self.size));
            let broadcast = self.handle.broadcast(CHANNEL, payload);
            let outcomes = broadcast.map_err(|why| why.to_string())?.wait_timeout(SEND_TIMEOUT);
            if outcomes.len() != self.peers {
                return Err(format!(
                    "node {sender} has {} only",
                    cli::counted(outcomes.len(), "peer")
                ));
            }
            for (peer, outcome) in outcomes {
                outcome.map_err(|why| format!("node {sender} to {peer}: {why}"))?;
            }
            number += 1;
        }
        Ok(number)
    }
}

/// Looks at the nodes while they work.
struct Watch {
    delivered: u64,
    since: Instant,
}

impl Watch {
    fn new() -> Self {
        Self { delivered: 0, since: Instant::now() }
    }

    /// How many messages were delivered so far, after a short pause.
    fn look(&mut self, network: &Network<'_>) -> Result<u64, String> {
        thread::sleep(Duration::from_millis(20));
        network.check()?;
        let mut delivered = 0;
        for (i, node) in network.living() {
            let tally = node.tally();
            if let Some(wrong) = &tally.wrong {
                return Err(format!("node {i}: {wrong}"));
            }
            delivered += tally.received;
        }
        if delivered > self.delivered {
            *self = Self { delivered, since: Instant::now() };
        } else if self.since.elapsed() > SILENCE {
            return Err(format!(
                "nothing arrived for {SILENCE:?}, after {}",
                cli::counted(delivered, "message")
            ));
        }
        Ok(delivered)
    }
}
