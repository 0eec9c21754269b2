//! Runs the node.

use std::{
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use tmp2p::{
    Switch, SwitchEvent, SwitchHandle,
    crossbeam_channel::{Receiver, bounded, select, tick},
};

use crate::{
    Args, book, channels,
    cli::Failure,
    consensus::Consensus,
    console::Console,
    heights::Heights,
    http, mempool,
    relay::{self, Relay, Seen},
    rpc::Rpc,
    settings::Settings,
    signals, table,
};

/// How long peers get at the end to take what was accepted for them.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// How often the book is looked at, and the peers are put into the log.
const BOOK_PERIOD: Duration = Duration::from_secs(1);
const PEERS_PERIOD: Duration = Duration::from_secs(30);

/// Transactions of this machine on their way to the relay.
const SUBMITTED: usize = 1000;

/// Runs until a signal comes.
pub(crate) fn run(args: &Args, settings: &Settings) -> Result<(), Failure> {
    let chain_id = settings.chain_id(args)?;
    let max_tx_bytes = settings.max_tx_bytes()?;
    let mut config = settings.p2p()?;
    let rpc_laddr = settings.rpc_laddr(args)?;
    // Before anything begins: a port may be in use.
    let rpc = http::Listening::bind("rpc", &rpc_laddr)?;
    let mut info = settings.node_info(args, &chain_id)?;
    if !rpc_laddr.is_empty() {
        let text: Vec<String> = rpc_laddr.iter().map(ToString::to_string).collect();
        info = info.with_rpc_address(text.join(","));
    }
    let key = settings.home.key(&settings.node_key_file)?;
    let public_key = key.public_key();
    book::place(&mut config, &settings.home)?;

    // Announced in this order, as Tendermint does.
    let mut builder = Switch::builder(config, key, info);
    let mut reactor = |name, channels: &[_]| {
        builder.reactor(name, channels.iter().copied()).map_err(Failure::usage)
    };
    let consensus = reactor("consensus", &channels::consensus())?.events;
    let mempool = reactor("mempool", &channels::mempool(max_tx_bytes))?.events;

    let signals = signals::watch()?;
    let switch = builder.start().map_err(Failure::usage)?;
    let handle = switch.handle();
    let happenings = handle.subscribe();
    let console = Arc::new(Console::new(args.events, 2));
    console.listening("p2p", handle.peer_address());

    let heights = Arc::new(Mutex::new(Heights::default()));
    let (submit, submitted) = bounded(SUBMITTED);
    let calls = Rpc::new(handle.clone(), public_key, heights.clone(), submit.clone(), max_tx_bytes);
    rpc.serve(&console, calls)?;
    if args.tx_stdin {
        relay::read_stdin(submit, max_tx_bytes);
    }

    let mut threads = Vec::new();
    let follower = Consensus::new(console.clone(), heights.clone());
    threads.push(thread::spawn(move || follower.run(&consensus)));
    let told = console.clone();
    let relay = Relay::new(max_tx_bytes, move |seen: Seen<'_>| match seen {
        Seen::Event(event) => told.reactor_event(event),
        Seen::Tx { hash, bytes, from } => {
            let hash = mempool::shown(&hash);
            told.event("tx", json!({ "hash": hash, "bytes": bytes, "from": from }));
        }
    });
    threads.push(thread::spawn(move || relay.run(&mempool, submitted)));

    let (reason, result) = watch(&handle, &console, &heights, &signals, &happenings);
    let stopped = switch.stop(STOP_TIMEOUT).map_err(Failure::failed);
    for thread in threads {
        thread.join().map_err(|_| Failure::Failed("a thread has panicked".to_owned()))?;
    }
    // What happened while it stopped.
    happenings.try_iter().for_each(|event| console.switch_event(&event));
    console.event("stopped", json!({ "reason": reason }));
    stopped?;
    result
}

/// Tells what happens, until the node is to end; why.
fn watch(
    handle: &SwitchHandle,
    console: &Console,
    heights: &Mutex<Heights>,
    signals: &Receiver<&'static str>,
    happenings: &Receiver<SwitchEvent>,
) -> (&'static str, Result<(), Failure>) {
    let ticks = tick(BOOK_PERIOD);
    let mut known = None;
    let mut shown = Instant::now();
    loop {
        select! {
            recv(signals) -> signal => return (signal.unwrap_or("signal"), Ok(())),
            recv(happenings) -> event => match event {
                Ok(event) => console.switch_event(&event),
                // Only if one of its threads has failed: nobody else stops it.
                Err(_) => {
                    let why = "the switch has stopped".to_owned();
                    return ("failure", Err(Failure::Failed(why)));
                }
            },
            recv(ticks) -> _ => {
                let counts = book::counts(handle);
                if counts.is_some() && counts != known {
                    known = counts;
                    console.event("book", counts.unwrap_or_default().to_json());
                }
                if shown.elapsed() >= PEERS_PERIOD {
                    shown = Instant::now();
                    log::info!("{}", table::peers(handle, heights));
                }
            }
        }
    }
}
