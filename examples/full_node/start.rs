//! Runs the node.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::json;
use tmp2p::{
    ReactorSpec, Switch,
    crossbeam_channel::{bounded, never},
};

use crate::{
    Args, book, channels,
    cli::{self, Failure},
    consensus::{self, Consensus},
    console::Console,
    heights::Heights,
    http, mempool, opening,
    relay::{self, Relay, Seen},
    rpc::Rpc,
    settings::Settings,
    signals, table,
    watch::Watch,
};

/// How long peers get at the end to take what was accepted for them.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the node may be without a peer before somebody should know.
const PATIENCE: Duration = Duration::from_secs(60);

/// Transactions of this machine on their way to the relay.
const SUBMITTED: usize = 1000;

/// Runs until a signal comes.
pub(crate) fn run(args: &Args, settings: &Settings) -> Result<(), Failure> {
    let chain_id = settings.chain_id(args)?;
    let max_tx_bytes = settings.max_tx_bytes(args)?;
    let p2p = settings.p2p()?;
    let rpc_laddr = settings.rpc_laddr(args)?;
    let mut info = settings.node_info(args, &chain_id)?;
    if !rpc_laddr.is_empty() {
        let text: Vec<String> = rpc_laddr.iter().map(ToString::to_string).collect();
        info = info.with_rpc_address(text.join(","));
    }
    // Before anything begins, since a port may be in use, and after what is written wrong is told.
    let rpc = http::Listening::bind("rpc", "--rpc.laddr", &rpc_laddr)?;
    let key = settings.home.key(&settings.node_key_file)?;
    let mut config = opening::of_node(p2p, &key);
    let public_key = key.public_key();
    book::place(&mut config, &settings.home)?;

    // Announced in this order, as Tendermint does.
    let mut builder = Switch::builder(config.clone(), key, info);
    let mut reactor = |name, channels: &[_]| {
        let spec = channels.iter().copied().fold(ReactorSpec::new(name), ReactorSpec::channel);
        builder.reactor(spec).map_err(Failure::usage)
    };
    let consensus = reactor("consensus", &channels::consensus())?;
    let mempool = reactor("mempool", &channels::mempool(max_tx_bytes))?;

    let signals = signals::watch()?;
    let happenings = builder.subscribe();
    let switch = builder.start().map_err(Failure::usage)?;
    let handle = &switch.handle().clone();
    let console = Arc::new(Console::new(args.events, 2));
    if let Some(addr) = handle.peer_address() {
        console.listening("p2p", addr);
    }

    let heights = Arc::new(Mutex::new(Heights::default()));
    let (submit, submitted) = bounded(SUBMITTED);
    let calls = Rpc::new(handle.clone(), public_key, heights.clone(), submit.clone(), max_tx_bytes);
    let served = rpc.shown();
    rpc.serve(&console, calls)?;
    if args.tx_stdin {
        relay::read_stdin(submit, max_tx_bytes)?;
    }

    let mut threads = Vec::new();
    let follower = Consensus::new(console.clone(), heights.clone());
    threads.push(cli::spawn("consensus", move || follower.run(consensus.events()))?);
    let told = console.clone();
    let relay = Relay::new(max_tx_bytes, move |seen: Seen<'_>| match seen {
        Seen::Event(event) => told.reactor_event(event),
        Seen::Tx { hash, bytes, from } => {
            let hash = mempool::shown(&hash);
            told.event("tx", json!({ "hash": hash, "bytes": bytes, "from": from }));
        }
    });
    threads.push(cli::spawn("mempool", move || relay.run(mempool.events(), submitted))?);

    let what = format!("full node, home {}{served}", settings.home.path().display());
    let mut watch = Watch::start(&what, &config, PATIENCE, handle, &console, &signals, &happenings);
    let height = || Some(consensus::lock(&heights).height());
    let (reason, result) = watch.run(&never(), height, || table::peers(handle, &heights));
    let stopped = switch.stop(STOP_TIMEOUT).map_err(Failure::failed);
    for thread in threads {
        thread.join().map_err(|_| Failure::Failed("a thread has panicked".to_owned()))?;
    }
    watch.end(reason, stopped.as_ref().map_or(0, |report| report.sessions));
    result.and(stopped.map(drop))
}
