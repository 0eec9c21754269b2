//! The child processes: the line, and a switch at each end of it.

use std::{
    fs,
    io::{self, stdin},
    mem,
    net::{IpAddr, SocketAddr},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use tmp2p::{Config, Payload, Peer, PeerAddress};
use tmp2p_line::{Net, Shape};

use crate::{
    common::Outcome,
    mixed::{BULK, BULK_SIZE, Node, count, tick, time},
    node::{Packet, wait_for_peer},
};

/// Tells a source to send as much as it can from now on.
pub(super) const POUR: &str = "pour";

/// Nothing is lost or late by chance: no dice are rolled that would matter.
const SEED: u64 = 0;

/// Holds a line until the input ends.
pub(super) fn line(rate: &str, round_trip_ms: &str) -> Outcome<()> {
    let round_trip = Duration::from_millis(round_trip_ms.parse()?);
    let line = Net::open(2, Shape::new(rate.parse()?, round_trip), SEED)?;
    let [source, sink] = line.ends() else { return Err("a line has two ends".into()) };
    let (source, sink, ip) = (source.namespace(), sink.namespace(), sink.addr());
    println!("{}", json!({ "source": source, "sink": sink, "ip": ip }));
    io::copy(&mut stdin(), &mut io::sink())?;
    line.close();
    Ok(())
}

/// Receives; answers each line with what has come.
pub(super) fn sink(ip: &str) -> Outcome<()> {
    let laddr = SocketAddr::new(ip.parse::<IpAddr>()?, 0).into();
    let node = Node::start(Config { laddr: Some(laddr), ..Packet::Default.config() })?;
    let Node { switch, bulk, important } = node;
    let addr = switch.handle().peer_address().ok_or("it does not listen")?;
    let (delivered, times) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let times = || times.lock().unwrap_or_else(PoisonError::into_inner);
    thread::scope(|scope| {
        scope.spawn(|| count(&bulk, &delivered));
        scope.spawn(|| time(&important, clock, |took| times().push(took)));
        println!("{}", json!({ "addr": addr.to_string(), "tcp": congestion_control()? }));
        for line in stdin().lines() {
            line?;
            let times: Vec<f64> = mem::take(&mut *times());
            let bytes = delivered.load(SeqCst);
            println!("{}", json!({ "at_ns": clock(), "bulk_bytes": bytes, "times_ms": times }));
        }
        // Ends the events of both reactors.
        drop(switch);
        Ok(())
    })
}

/// Dials; sends as many important messages as each line says.
pub(super) fn source(addr: &str) -> Outcome<()> {
    let node = Node::start(Config { laddr: None, ..Packet::Default.config() })?;
    let Node { switch, bulk, important: _important } = node;
    switch.handle().dial(addr.parse::<PeerAddress>()?).wait()?;
    let peer = wait_for_peer(&bulk)?;
    println!("{}", json!({ "connected": addr }));
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let mut pouring = None;
        let mut serve = || -> Outcome<()> {
            for line in stdin().lines() {
                let line = line?;
                if line == POUR {
                    pouring = Some(scope.spawn(|| pour(&peer, &is_over)));
                } else {
                    tick(&peer, line.parse()?, clock)?;
                }
                println!("{}", json!({ "done": line }));
            }
            Ok(())
        };
        let served = serve();
        is_over.store(true, SeqCst);
        // Ends the session, and so the wait of who pours.
        drop(switch);
        let poured = pouring.map_or(Ok(Ok(())), |pouring| pouring.join());
        served.and(poured.map_err(|_| "the pouring thread panicked")?)
    })
}

fn pour(peer: &Peer, is_over: &AtomicBool) -> Outcome<()> {
    let payload = Payload::from(vec![0x5a; BULK_SIZE]);
    while !is_over.load(SeqCst) {
        match peer.send(BULK, payload.clone()) {
            Err(error) if !is_over.load(SeqCst) => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

/// Nanoseconds on a clock that all processes of a machine share, and that nobody sets.
fn clock() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// How TCP finds out what the line carries: the machine's choice, which only the machine can change.
fn congestion_control() -> io::Result<String> {
    let name = fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control")?;
    Ok(name.trim().to_owned())
}
