//! One message for every peer.

use std::{
    thread,
    time::{Duration, Instant},
};

use tmp2p::{ChannelDescriptor, Payload};

use crate::{
    common::{Args, Goal, Line, Outcome},
    node::{CHANNEL, Node, Packet, connect, wait_for_peer},
    yardstick::{self, Meter, Throughput, Yardstick},
};

const PEERS: usize = 7;

/// The least part of the bare pipe's throughput that all peers together get of large messages.
const GOAL: f64 = 0.85;

/// How long one message may wait for a place in every queue.
const PATIENCE: Duration = Duration::from_secs(20);

/// Messages of one size from one node to seven others, each queued everywhere before the next.
pub(crate) struct Broadcast {
    pub(crate) size: usize,
}

impl Broadcast {
    pub(crate) fn name(&self) -> String {
        format!("broadcast/peers={PEERS}/size={}", self.size)
    }

    pub(crate) fn line(&self, args: &Args, yardstick: &mut Yardstick) -> Outcome<Line> {
        let bytes = args.pick(32 << 20, 1 << 20);
        let runs = (0..args.runs())
            .map(|_| yardstick.around(|| self.run(bytes)))
            .collect::<Outcome<Vec<_>>>()?;
        let line = yardstick::line(self.name(), &runs);
        let ratio = line.ratio_median();
        let is_large = self.size == 65_536;
        Ok(if is_large { line.goal(Goal::at_least("ratio", GOAL, ratio)) } else { line })
    }

    /// `bytes` to each receiver.
    fn run(&self, bytes: usize) -> Outcome<Throughput> {
        let node = || Node::start(Packet::Default.config(), ChannelDescriptor::new(CHANNEL));
        let source = node()?;
        let receivers = (0..PEERS).map(|_| node()).collect::<Outcome<Vec<_>>>()?;
        for receiver in &receivers {
            connect(&source.switch, &source.reactor, &receiver.switch)?;
            wait_for_peer(&receiver.reactor)?;
        }
        let handle = source.switch.handle();
        let payload = Payload::from(vec![0x5a; self.size]);
        let messages = bytes / self.size;
        thread::scope(|scope| {
            let receiving: Vec<_> = receivers
                .iter()
                .map(|receiver| {
                    scope.spawn(move || -> Outcome<Instant> {
                        for _ in 0..messages {
                            receiver.next_message()?;
                        }
                        Ok(Instant::now())
                    })
                })
                .collect();
            let meter = Meter::start();
            for _ in 0..messages {
                let broadcast = handle.broadcast(CHANNEL, payload.clone())?;
                let outcomes = broadcast.wait_timeout(PATIENCE);
                if outcomes.len() != PEERS {
                    return Err(format!("broadcast to {} peers", outcomes.len()).into());
                }
                for (_, outcome) in outcomes {
                    outcome?;
                }
            }
            let mut last = Instant::now();
            for thread in receiving {
                let done = thread.join().map_err(|_| "a receiving thread panicked")??;
                last = last.max(done);
            }
            Ok(meter.stop(last, messages * self.size * PEERS))
        })
    }
}
