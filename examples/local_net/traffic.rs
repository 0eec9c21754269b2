//! Everybody sends to everybody, and everybody checks what comes.

use std::{
    thread,
    time::{Duration, Instant},
};

use tmp2p::{Payload, SwitchHandle};

use crate::{
    network::Network,
    node::CHANNEL,
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
    network: &mut Network,
    amount: Amount,
    size: usize,
    show: &Show,
) -> Result<String, String> {
    network.rounds += 1;
    let (round, started) = (network.rounds, Instant::now());
    network.living().for_each(|(_, node)| node.tally().begin(round));
    let nodes = network.living().count();
    let per_message = nodes as u64 - 1;
    let bar = show.bar(match amount {
        Amount::Messages(messages) => Some(messages * per_message * nodes as u64),
        Amount::For(_) => None,
    });
    let (handles, clock): (Vec<_>, _) =
        (network.living().map(|(i, node)| (i, node.handle())).collect(), network.clock);
    let result: Result<u64, String> = thread::scope(|scope| {
        let senders: Vec<_> = handles
            .iter()
            .map(|(i, handle)| {
                let sender = Sender { number: *i, round, handle, peers: nodes - 1, size, clock };
                let thread = thread::Builder::new().name("sender".to_owned());
                thread.spawn_scoped(scope, move || sender.send(amount))
            })
            .collect::<Result<_, _>>()
            .map_err(|error| format!("cannot start a thread: {error}"))?;
        let mut watch = Watch::new();
        while !senders.iter().all(|sender| sender.is_finished()) {
            bar.set_position(watch.look(network)?);
        }
        let mut expected = 0;
        for ((i, _), sender) in handles.iter().zip(senders) {
            let sent = sender.join().map_err(|_| "a sender has panicked".to_owned())??;
            network.sent[*i] = sent;
            expected += sent * per_message;
        }
        loop {
            let delivered = watch.look(network)?;
            bar.set_position(delivered);
            if delivered >= expected {
                return Ok(delivered);
            }
        }
    });
    bar.finish_and_clear();
    let delivered = result?;
    for (i, node) in network.living() {
        let others: u64 =
            network.living().filter(|(j, _)| *j != i).map(|(j, _)| network.sent[j]).sum();
        let received = node.tally().received;
        if received != others {
            return Err(format!("node {i} got {received} messages of {others}"));
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    let megabytes = delivered as f64 * size as f64 / 1e6;
    Ok(format!(
        "{delivered} deliveries, {megabytes:.1} MB, every byte compared: {:.0} a second, {:.1} MB/s ({})",
        delivered as f64 / seconds,
        megabytes / seconds,
        elapsed(started),
    ))
}

/// One node's sending thread.
struct Sender<'a> {
    number: usize,
    round: u32,
    handle: &'a SwitchHandle,
    peers: usize,
    size: usize,
    clock: Instant,
}

impl Sender<'_> {
    /// How many messages were sent, each to all peers.
    fn send(&self, amount: Amount) -> Result<u64, String> {
        let started = Instant::now();
        let mut number = 0;
        while match amount {
            Amount::Messages(messages) => number < messages,
            Amount::For(time) => started.elapsed() < time,
        } {
            let (sender, round) = (self.number as u32, self.round);
            let header = Header { sender, round, number, sent_at: self.clock.elapsed() };
            let payload = Payload::from(header.message(self.size));
            let outcomes =
                self.handle.broadcast(CHANNEL, payload).wait_until(Instant::now() + SEND_TIMEOUT);
            if outcomes.len() != self.peers {
                return Err(format!("node {sender} has {} peers only", outcomes.len()));
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
    fn look(&mut self, network: &Network) -> Result<u64, String> {
        thread::sleep(Duration::from_millis(20));
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
            return Err(format!("nothing arrived for {SILENCE:?}, after {delivered} messages"));
        }
        Ok(delivered)
    }
}
