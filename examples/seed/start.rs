//! Runs the seed.

use std::time::Duration;

use tmp2p::{ReactorSpec, Switch};

use crate::{
    Args, book, cli::Failure, console::Console, http, opening, settings::Settings, signals, states,
    watch::Watch, web::Pages,
};

/// How long peers get at the end to take what was accepted for them.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a seed may be without a peer before somebody should know. They stay for moments.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Runs until a signal comes.
pub(crate) fn run(args: &Args, settings: &Settings) -> Result<(), Failure> {
    let chain_id = settings.chain_id(args)?;
    let p2p = settings.p2p()?;
    let http = settings.http(args)?;
    let info = settings.node_info(args, &chain_id)?;
    // Before anything begins, since a port may be in use, and after what is written wrong is told.
    let http = http::Listening::bind("http", "--http", &http)?;
    let key = settings.home.key(&settings.node_key_file)?;
    let mut config = opening::of_node(p2p, &key);
    book::place(&mut config, &settings.home)?;

    let signals = signals::watch()?;
    let mut builder = Switch::builder(config.clone(), key, info);
    // It owns no channel: it only hears who comes and goes.
    let reactor = builder.reactor(ReactorSpec::new("seed")).map_err(Failure::usage)?;
    let happenings = builder.subscribe();
    let switch = builder.start().map_err(Failure::usage)?;
    let handle = &switch.handle().clone();
    let console = Console::new(args.events, 1);
    if let Some(addr) = handle.peer_address() {
        console.listening("p2p", addr);
    }
    let served = http.shown();
    let private = config.private_peer_ids.clone();
    http.serve(&console, Pages::new(handle.clone(), chain_id, private))?;

    let what = format!("seed, home {}{served}", settings.home.path().display());
    let mut watch = Watch::start(&what, &config, PATIENCE, handle, &console, &signals, &happenings);
    let table = || states::table(handle).unwrap_or_default();
    let (reason, result) = watch.run(reactor.events(), || None, table);
    let stopped = switch.stop(STOP_TIMEOUT).map_err(Failure::failed);
    reactor.events().iter().for_each(|event| console.reactor_event(&event));
    watch.end(reason, stopped.as_ref().map_or(0, |report| report.sessions));
    result.and(stopped.map(drop))
}
