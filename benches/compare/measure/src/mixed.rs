//! Small important messages beside bulk that never ends, whose receiver may be slow.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    BULK, Bytes, Flags, IMPORTANT, Outcome, Peer, Setup, Stack, Then,
    flags::duration,
    process::{percentile, resident_kib},
    star, unless,
};

const BULK_SIZE: usize = 64 * 1024;
const IMPORTANT_SIZE: usize = 200;
const PAUSE: Duration = Duration::from_millis(5);

/// Of the important messages.
#[derive(Default)]
struct Log {
    sent: HashMap<u64, Instant>,
    /// Milliseconds.
    took: Vec<f64>,
}

/// What has not arrived at the end counts with its age.
pub(crate) async fn mixed<S: Stack>(stack: Arc<S>, mut flags: Flags) -> Outcome<Value> {
    let seconds = flags.take("seconds", 3.0)?;
    let delay = duration(&flags.take("delay", "0s".to_owned())?)?;
    let lacks = stack.lacks();
    unless(flags.take("rate", "unlimited".to_owned())? != "unlimited", lacks.rates)?;
    flags.finish()?;
    let log = Arc::new(Mutex::new(Log::default()));
    let (handled, taken) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let received = {
        let (log, handled) = (log.clone(), handled.clone());
        Arc::new(move |channel: usize, payload: &[u8]| {
            if channel == BULK {
                handled.fetch_add(1, SeqCst);
                return if delay.is_zero() { Then::Next } else { Then::Wait(delay) };
            }
            let now = Instant::now();
            let number = payload.first_chunk().copied().map_or(0, u64::from_le_bytes);
            let mut log = log.lock().expect("nothing panics while it holds this");
            if let Some(sent) = log.sent.remove(&number) {
                log.took.push((now - sent).as_secs_f64() * 1e3);
            }
            Then::Next
        })
    };
    let setup = Setup { channels: 2, max_peers: 8, max_message: BULK_SIZE };
    let (peers, _nodes) = star(&stack, setup, 1, received, Arc::new(|_, _| Then::Next)).await?;

    let stop = Arc::new(AtomicBool::new(false));
    let (before, begin) = (resident_kib(), Instant::now());
    let pouring = {
        let (peer, stop, taken) = (peers[0].clone(), stop.clone(), taken.clone());
        tokio::spawn(async move {
            let payload = Bytes::from(vec![0x5a; BULK_SIZE]);
            while !stop.load(SeqCst) {
                peer.send(BULK, payload.clone()).await?;
                taken.fetch_add(1, SeqCst);
            }
            Outcome::Ok(())
        })
    };
    let ticking = {
        let (peer, stop, log) = (peers[0].clone(), stop.clone(), log.clone());
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(PAUSE);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            for number in 0_u64.. {
                ticks.tick().await;
                if stop.load(SeqCst) {
                    break;
                }
                let mut message = vec![0; IMPORTANT_SIZE];
                message[..8].copy_from_slice(&number.to_le_bytes());
                let sent = Instant::now();
                log.lock().expect("nothing panics while it holds this").sent.insert(number, sent);
                peer.send(IMPORTANT, message.into()).await?;
            }
            Outcome::Ok(())
        })
    };
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    let elapsed = begin.elapsed().as_secs_f64();
    let grown = resident_kib() - before;
    let (done, taken) = (handled.load(SeqCst) as f64, taken.load(SeqCst) as f64);
    stop.store(true, SeqCst);
    let (mut times, received) = {
        let log = log.lock().expect("nothing panics while it holds this");
        let mut times = log.took.clone();
        times.extend(log.sent.values().map(|sent| sent.elapsed().as_secs_f64() * 1e3));
        (times, log.took.len())
    };
    for task in [pouring, ticking] {
        // One that still waits is stopped with the program.
        if task.is_finished() {
            task.await??;
        }
    }
    times.sort_by(f64::total_cmp);
    let [p50, p99, max] = [50, 99, 100].map(|percent| percentile(&times, percent));
    let mut line = json!({
        "rate": "unlimited", "delay_ms": delay.as_secs_f64() * 1e3, "seconds": elapsed,
        "sent": times.len(), "received": received, "p50_ms": p50, "p99_ms": p99, "max_ms": max,
        "bulk_mb_per_s": done * BULK_SIZE as f64 / 1e6 / elapsed,
        "held_kib": (taken - done).max(0.0) * BULK_SIZE as f64 / 1024.0, "rss_grown_kib": grown,
    });
    if !lacks.note.is_empty() {
        line["note"] = lacks.note.into();
    }
    Ok(line)
}
