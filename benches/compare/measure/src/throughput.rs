//! One way, as fast as it goes: to one node, or to several.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::{
    BULK, Bytes, Flags, Outcome, Peer, Setup, Sink, Stack, Then, process::cpu, star, unless, within,
};

struct Options {
    size: usize,
    seconds: f64,
}

fn options<S: Stack>(stack: &S, flags: &mut Flags) -> Outcome<Options> {
    let size = flags.take("size", 65_536)?;
    let seconds = flags.take("seconds", 1.5)?;
    unless(flags.take("packet", 1024)? != 1024, stack.lacks().packets)?;
    unless(flags.take("queue", 1)? != 1, stack.lacks().queues)?;
    if size < 2 || seconds <= 0.0 {
        return Err("want a -size above 1 and a positive -seconds".into());
    }
    Ok(Options { size, seconds })
}

/// Messages from some tasks to one other node.
pub(crate) async fn drain<S: Stack>(stack: Arc<S>, mut flags: Flags) -> Outcome<Value> {
    let senders = flags.take("senders", 1)?;
    let Options { size, seconds } = options(&*stack, &mut flags)?;
    flags.finish()?;
    let flow = Arc::new(Flow::default());
    let setup = Setup { channels: 1, max_peers: 8, max_message: size };
    let (peers, _nodes) = star(&stack, setup, 1, flow.sink(), Arc::new(|_, _| Then::Next)).await?;
    let payload = Bytes::from(vec![0x5a; size]);
    // Each task has a peer of its own.
    let sends = (0..senders).map(|_| {
        let (peer, payload) = (Arc::new(peers[0].clone()), payload.clone());
        move || {
            let (peer, payload) = (peer.clone(), payload.clone());
            async move { peer.send(BULK, payload).await }
        }
    });
    let mut line = flow.measure(size, seconds, sends.collect(), 1).await?;
    line["senders"] = senders.into();
    Ok(line)
}

/// Each message to some nodes; the next when all have taken it.
pub(crate) async fn broadcast<S: Stack>(stack: Arc<S>, mut flags: Flags) -> Outcome<Value> {
    let receivers = flags.take("peers", 7)?;
    let Options { size, seconds } = options(&*stack, &mut flags)?;
    flags.finish()?;
    let flow = Arc::new(Flow::default());
    let setup = Setup { channels: 1, max_peers: receivers + 1, max_message: size };
    let (peers, _nodes) =
        star(&stack, setup, receivers, flow.sink(), Arc::new(|_, _| Then::Next)).await?;
    let payload = Bytes::from(vec![0x5a; size]);
    let peers = Arc::new(peers);
    let send = move || {
        let (peers, payload) = (peers.clone(), payload.clone());
        async move {
            // One after another: a queue that is full holds up the next message anyway.
            for peer in peers.iter() {
                peer.send(BULK, payload.clone()).await?;
            }
            Ok(())
        }
    };
    let mut line = flow.measure(size, seconds, vec![send], receivers as u64).await?;
    line["peers"] = receivers.into();
    Ok(line)
}

/// Counts what arrives.
#[derive(Default)]
struct Flow {
    count: AtomicU64,
    /// What must arrive, once that is known.
    target: AtomicU64,
    done: Notify,
}

impl Flow {
    fn sink(self: &Arc<Self>) -> Sink {
        let flow = self.clone();
        Arc::new(move |_, _| {
            if flow.count.fetch_add(1, SeqCst) + 1 == flow.target.load(SeqCst) {
                flow.done.notify_one();
            }
            Then::Next
        })
    }

    /// From the first send until the last message has arrived; each send is to so many peers, and
    /// each sender sends in a task of its own.
    async fn measure<F, W>(
        &self,
        size: usize,
        seconds: f64,
        senders: Vec<F>,
        peers: u64,
    ) -> Outcome<Value>
    where
        F: Fn() -> W + Send + 'static,
        W: Future<Output = Outcome<()>> + Send,
    {
        let stop = Arc::new(AtomicBool::new(false));
        let (begin, before) = (Instant::now(), cpu());
        let tasks: Vec<_> = senders
            .into_iter()
            .map(|send| {
                let stop = stop.clone();
                tokio::spawn(async move {
                    let mut sent = 0_u64;
                    while !stop.load(SeqCst) {
                        send().await?;
                        sent += peers;
                    }
                    Outcome::Ok(sent)
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
        stop.store(true, SeqCst);
        let mut sent = 0;
        for task in tasks {
            sent += within(async { task.await? }).await?;
        }
        self.target.store(sent, SeqCst);
        // What came before the target was known has not told.
        if self.count.load(SeqCst) < sent {
            let arrived = within(async {
                self.done.notified().await;
                Ok(())
            });
            arrived
                .await
                .map_err(|_| format!("{} of {sent} messages arrived", self.count.load(SeqCst)))?;
        }
        let (seconds, cpu) = (begin.elapsed().as_secs_f64(), cpu() - before);
        let bytes = sent as f64 * size as f64;
        Ok(json!({
            "size": size, "messages": sent, "bytes": bytes, "seconds": seconds,
            "mb_per_s": bytes / 1e6 / seconds, "cpu_s_per_gb": cpu / (bytes / 1e9), "cpu_s": cpu,
        }))
    }
}
