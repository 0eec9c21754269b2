//! A listener in one process, many dialers in another.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader, stdin},
    sync::mpsc,
};

use crate::{
    BULK, Bytes, Flags, Node, Outcome, Peer, Setup, Sink, Stack, Then,
    process::{cpu, percentile, resident_kib},
};

/// More than any measurement makes connections.
const MOST: usize = 2048;

/// How much each held connection has carried both ways.
const EXCHANGED: usize = 64 * 1024;

const SETUP: Setup = Setup { channels: 1, max_peers: MOST, max_message: EXCHANGED };

/// How long one connection may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Sends back what comes; answers each line of its input with its figures, until that ends.
pub(crate) async fn listen<S: Stack>(stack: Arc<S>, flags: Flags) -> Outcome<Value> {
    flags.finish()?;
    let node = stack.node(0, SETUP, Arc::new(|_, _| Then::Echo)).await?;
    let before = cpu();
    println!(
        "{}",
        json!({ "event": "listening", "version": stack.version(), "addr": node.address() })
    );
    let mut lines = BufReader::new(stdin()).lines();
    while lines.next_line().await?.is_some() {
        let cpu = cpu() - before;
        println!("{}", json!({ "peers": node.peers(), "rss_kib": resident_kib(), "cpu_s": cpu }));
    }
    let (cpu, added) = (cpu() - before, node.added());
    let each = cpu * 1e6 / added.max(1) as f64;
    Ok(json!({ "event": "stopped", "peers_added": added, "cpu_s": cpu, "cpu_us_each": each }))
}

/// A connection that has carried a message both ways; it ends with the node.
async fn connect<S: Stack>(
    stack: &Arc<S>,
    number: u64,
    addr: &str,
    size: usize,
) -> Outcome<S::Node> {
    let (answer, mut answers) = mpsc::unbounded_channel();
    let sink: Sink = Arc::new(move |_, payload| {
        let _ = answer.send(payload.len());
        Then::Next
    });
    let setup = Setup { max_peers: 1, ..SETUP };
    let work = async {
        let mut node = stack.node(number, setup, sink).await?;
        let peer = node.dial(addr).await?;
        peer.send(BULK, Bytes::from(vec![0; size])).await?;
        match answers.recv().await {
            Some(back) if back == size => Ok(node),
            back => Err(format!("{back:?} bytes came back, not {size}").into()),
        }
    };
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(node) => node,
        Err(_) => Err("no answer came".into()),
    }
}

/// So many connections, some at a time: the milliseconds that each took, and the nodes.
async fn connect_all<S: Stack>(
    stack: Arc<S>,
    mut flags: Flags,
    size: usize,
    keep: bool,
) -> Outcome<(usize, Vec<f64>, Vec<S::Node>, String)> {
    let addr: String = flags.take("addr", String::new())?;
    let n = flags.take("n", 1000_usize)?;
    let concurrent = flags.take("concurrent", 16_usize)?;
    flags.finish()?;
    if addr.is_empty() || n > MOST {
        return Err(format!("want -addr, and -n up to {MOST}").into());
    }
    let next = Arc::new(AtomicU64::new(1));
    let made = Arc::new(Mutex::new((Vec::new(), Vec::new(), String::new())));
    let tasks: Vec<_> = (0..concurrent)
        .map(|_| {
            let (stack, addr, next, made) =
                (stack.clone(), addr.clone(), next.clone(), made.clone());
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, SeqCst);
                    if number > n as u64 {
                        return;
                    }
                    let begin = Instant::now();
                    let outcome = connect(&stack, number, &addr, size).await;
                    let took = begin.elapsed().as_secs_f64() * 1e3;
                    let mut made = made.lock().expect("nothing panics while it holds this");
                    match outcome {
                        Ok(node) => {
                            made.0.push(took);
                            if keep {
                                made.1.push(node);
                            }
                        }
                        Err(error) => made.2 = error.to_string(),
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await?;
    }
    let mut made = made.lock().expect("nothing panics while it holds this");
    let (mut took, nodes, error) = std::mem::take(&mut *made);
    took.sort_by(f64::total_cmp);
    Ok((n, took, nodes, error))
}

/// Connect, one byte both ways, close.
pub(crate) async fn dial<S: Stack>(stack: Arc<S>, flags: Flags) -> Outcome<Value> {
    let (begin, before) = (Instant::now(), cpu());
    let (n, took, _, error) = connect_all(stack, flags, 1, false).await?;
    let (seconds, used) = (begin.elapsed().as_secs_f64(), cpu() - before);
    let [p50, p90, p99, max] = [50, 90, 99, 100].map(|percent| percentile(&took, percent));
    let mut line = json!({
        "n": n, "ok": took.len(), "failed": n - took.len(), "seconds": seconds,
        "per_second": took.len() as f64 / seconds, "p50_ms": p50, "p90_ms": p90, "p99_ms": p99,
        "max_ms": max, "cpu_us_each": used * 1e6 / n as f64,
    });
    if !error.is_empty() {
        line["first_error"] = error.into();
    }
    Ok(line)
}

/// Holds connections until its input ends.
pub(crate) async fn hold<S: Stack>(stack: Arc<S>, flags: Flags) -> Outcome<Value> {
    let version = stack.version();
    let (n, took, _nodes, error) = connect_all(stack, flags, EXCHANGED, true).await?;
    if took.len() < n {
        return Err(format!("{} of {n} connections were made: {error}", took.len()).into());
    }
    println!("{}", json!({ "program": "hold", "version": version, "held": n }));
    let mut lines = BufReader::new(stdin()).lines();
    while lines.next_line().await?.is_some() {}
    Ok(json!({ "event": "released" }))
}
