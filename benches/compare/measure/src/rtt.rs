//! Round trips.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::{
    BULK, Bytes, Flags, Outcome, Peer, Setup, Stack, Then,
    process::{cpu, percentile},
    star, unless, within,
};

/// One message, its echo, the next.
pub(crate) async fn rtt<S: Stack>(stack: Arc<S>, mut flags: Flags) -> Outcome<Value> {
    let size = flags.take("size", 100)?;
    let seconds = flags.take("seconds", 1.5)?;
    unless(flags.take("throttle", "default".to_owned())? != "default", stack.lacks().throttle)?;
    flags.finish()?;
    let (answer, mut answers) = mpsc::unbounded_channel();
    let setup = Setup { channels: 1, max_peers: 8, max_message: size };
    let answered = Arc::new(move |_: usize, _: &[u8]| {
        let _ = answer.send(());
        Then::Next
    });
    let (peers, _nodes) = star(&stack, setup, 1, Arc::new(|_, _| Then::Echo), answered).await?;
    let payload = Bytes::from(vec![0x5a; size]);
    let peer = peers[0].clone();
    // As any other task: not on the thread that blocks for the program's result.
    let asking = tokio::spawn(async move {
        let (before, end) = (cpu(), Instant::now() + Duration::from_secs_f64(seconds));
        let mut took = Vec::new();
        while took.len() < 3 || Instant::now() < end {
            let begin = Instant::now();
            peer.send(BULK, payload.clone()).await?;
            within(async { answers.recv().await.ok_or_else(|| "the peer is gone".into()) }).await?;
            took.push(begin.elapsed().as_nanos() as f64 / 1000.0);
        }
        Outcome::Ok((took, cpu() - before))
    });
    let (mut took, used) = asking.await??;
    took.sort_by(f64::total_cmp);
    let [p50, p90, p99, max] = [50, 90, 99, 100].map(|percent| percentile(&took, percent));
    Ok(json!({
        "size": size, "throttle": "default", "samples": took.len(),
        "p50_us": p50, "p90_us": p90, "p99_us": p99, "max_us": max,
        "cpu_us_each": used * 1e6 / took.len() as f64,
    }))
}
