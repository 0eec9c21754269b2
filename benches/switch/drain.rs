//! One way, as fast as it goes.

use std::{
    sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Instant,
};

use tmp2p::{ChannelDescriptor, Payload};

use crate::{
    common::{Args, Goal, Line, Outcome},
    node::{CHANNEL, Packet, Pair},
    yardstick::{self, Meter, Throughput, Yardstick},
};

/// Messages of one size from some threads of one node to another node's reactor.
pub(crate) struct Drain {
    pub(crate) size: usize,
    pub(crate) senders: usize,
    pub(crate) packet: Packet,
    /// Capacity of the send queue in messages; the descriptor's default otherwise.
    pub(crate) queue: Option<usize>,
}

impl Drain {
    pub(crate) fn name(&self) -> String {
        let Self { size, senders, packet, queue } = self;
        let queue = queue.map_or_else(String::new, |queue| format!("/queue={queue}"));
        format!("drain/size={size}/senders={senders}/packet={}{queue}", packet.word())
    }

    pub(crate) fn line(&self, args: &Args, yardstick: &mut Yardstick) -> Outcome<Line> {
        let bytes = args.pick(256 << 20, 8 << 20);
        let runs = (0..args.runs())
            .map(|_| yardstick.around(|| self.run(bytes)))
            .collect::<Outcome<Vec<_>>>()?;
        let mut line = yardstick::line(self.name(), &runs);
        let (ratio, cpu_ratio) = (line.ratio_median(), line.cpu_ratio_median());
        let (least, most_cpu) = self.goals();
        if let Some(least) = least {
            line = line.goal(Goal::at_least("ratio", least, ratio));
        }
        if let (Some(most), Some(cpu_ratio)) = (most_cpu, cpu_ratio) {
            line = line.goal(Goal::at_most("cpu_ratio", most, cpu_ratio));
        }
        Ok(line)
    }

    /// The least part of the bare pipe's throughput, and the most of its processor time.
    fn goals(&self) -> (Option<f64>, Option<f64>) {
        match (self.size, self.senders, self.packet, self.queue) {
            (65_536 | 524_288, _, Packet::Default, None) => (Some(0.85), Some(1.2)),
            (65_536 | 524_288, _, Packet::Max, None) => (Some(0.9), None),
            (1024, 1 | 8, Packet::Default, None) => (Some(0.55), None),
            (1024, _, Packet::Default, None) => (Some(0.5), None),
            (1024, _, _, Some(_)) => (Some(0.65), Some(1.5)),
            _ => (None, None),
        }
    }

    fn run(&self, bytes: usize) -> Outcome<Throughput> {
        let mut channel = ChannelDescriptor::new(CHANNEL);
        if let Some(queue) = self.queue {
            channel = channel.send_queue_capacity(queue);
        }
        let pair = Pair::start(&self.packet.config(), channel)?;
        let payload = Payload::from(vec![0x5a; self.size]);
        let messages = bytes / self.size;
        let next = AtomicUsize::new(0);
        let ready = Barrier::new(self.senders + 1);
        thread::scope(|scope| {
            let send = || -> Outcome<()> {
                ready.wait();
                while next.fetch_add(1, Relaxed) < messages {
                    pair.peer.send(CHANNEL, payload.clone())?;
                }
                Ok(())
            };
            let senders: Vec<_> = (0..self.senders).map(|_| scope.spawn(send)).collect();
            let meter = Meter::start();
            ready.wait();
            for _ in 0..messages {
                let envelope = pair.far.next_message()?;
                if envelope.payload().len() != self.size {
                    return Err("a message has another size".into());
                }
            }
            let throughput = meter.stop(Instant::now(), messages * self.size);
            for sender in senders {
                sender.join().map_err(|_| "a sending thread panicked")??;
            }
            Ok(throughput)
        })
    }
}
