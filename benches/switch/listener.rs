//! The child process that listens: a whole switch, whose reactor sends back what comes.

use std::{
    io::stdin,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
};

use serde_json::json;
use tmp2p::{ChannelDescriptor, Config, Event, Reactor};

use crate::{
    allocations,
    common::{Outcome, cpu_seconds, resident_kib},
    node::{CHANNEL, Node, Packet},
};

/// Prints where it listens; answers each line with its figures; the end of its input ends it.
pub(crate) fn run() -> Outcome<()> {
    serve(Packet::Default.config())
}

/// The same, configured like this.
pub(crate) fn serve(config: Config) -> Outcome<()> {
    let node = Node::start(config, ChannelDescriptor::new(CHANNEL))?;
    let Node { switch, reactor } = node;
    let handle = switch.handle().clone();
    let addr = handle.peer_address().ok_or("it does not listen")?;
    let added = AtomicU64::new(0);
    let before = cpu_seconds();
    thread::scope(|scope| {
        let echoing = scope.spawn(|| echo(&reactor, &added));
        println!("{}", json!({ "event": "listening", "addr": addr.to_string() }));
        let cpu = || cpu_seconds().zip(before).map(|(now, before)| now - before);
        for line in stdin().lines() {
            line?;
            let peers = handle.num_peers().inbound;
            let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
            let (rss, cpu) = (resident_kib(), cpu());
            let figures = json!({
                "peers": peers,
                "rss_kib": rss,
                "heap_kib": allocations::held_kib(),
                "cpu_s": cpu,
                "descriptors": open,
            });
            println!("{figures}");
        }
        let cpu = cpu();
        // Ends the reactor's events; only then has it counted all that came.
        drop(switch);
        echoing.join().map_err(|_| "the echoing thread panicked")?;
        println!("{}", json!({ "peers_added": added.load(Relaxed), "cpu_s": cpu }));
        Ok(())
    })
}

fn echo(reactor: &Reactor, added: &AtomicU64) {
    for event in reactor.events() {
        match event {
            Event::PeerUp(_) => {
                added.fetch_add(1, Relaxed);
            }
            Event::Message(envelope) => {
                let peer = envelope.peer().clone();
                // It may be gone by now; then it does not wait for an answer.
                let _ = peer.send(CHANNEL, envelope.into_payload());
            }
            _ => {}
        }
    }
}
