//! Runs the seed.

use std::time::Duration;

use serde_json::json;
use tmp2p::{
    Switch, SwitchEvent, SwitchHandle,
    crossbeam_channel::{Receiver, select, tick},
};

use crate::{
    Args, book, cli::Failure, console::Console, http, settings::Settings, signals, web::Pages,
};

/// How long peers get at the end to take what was accepted for them.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// How often the book is looked at.
const BOOK_PERIOD: Duration = Duration::from_secs(1);

/// Runs until a signal comes.
pub(crate) fn run(args: &Args, settings: &Settings) -> Result<(), Failure> {
    let chain_id = settings.chain_id(args)?;
    let mut config = settings.p2p()?;
    // Before anything begins: a port may be in use.
    let http = http::Listening::bind("http", &settings.http(args)?)?;
    let info = settings.node_info(args, &chain_id)?;
    let key = settings.home.key(&settings.node_key_file)?;
    book::place(&mut config, &settings.home)?;

    let signals = signals::watch()?;
    let mut builder = Switch::builder(config, key, info);
    // It owns no channel: it only hears who comes and goes.
    let reactor = builder.reactor("seed", []).map_err(Failure::usage)?;
    let switch = builder.start().map_err(Failure::usage)?;
    let handle = switch.handle();
    let happenings = handle.subscribe();
    let console = Console::new(args.events, 1);
    console.listening("p2p", handle.peer_address());
    http.serve(&console, Pages::new(handle.clone(), chain_id))?;

    let (reason, result) = watch(&handle, &console, &signals, &happenings, &reactor.events);
    let stopped = switch.stop(STOP_TIMEOUT).map_err(Failure::failed);
    reactor.events.iter().for_each(|event| console.reactor_event(&event));
    happenings.try_iter().for_each(|event| console.switch_event(&event));
    console.event("stopped", json!({ "reason": reason }));
    stopped?;
    result
}

/// Tells what happens, until the seed is to end; why.
fn watch(
    handle: &SwitchHandle,
    console: &Console,
    signals: &Receiver<&'static str>,
    happenings: &Receiver<SwitchEvent>,
    events: &Receiver<tmp2p::Event>,
) -> (&'static str, Result<(), Failure>) {
    let ticks = tick(BOOK_PERIOD);
    let mut known = None;
    loop {
        select! {
            recv(signals) -> signal => return (signal.unwrap_or("signal"), Ok(())),
            recv(events) -> event => if let Ok(event) = event {
                console.reactor_event(&event);
            },
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
                    let counts = counts.unwrap_or_default();
                    console.event("book", counts.to_json());
                    log::info!(
                        "the book has {} addresses: {} new, {} old, {} bad",
                        counts.addresses, counts.new, counts.old, counts.bad
                    );
                }
            }
        }
    }
}
