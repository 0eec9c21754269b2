//! The server.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tmp2p::{
    ChannelDescriptor, ConnId, Envelope, Event, ListenAddress, ReactorSpec, SendErrorKind,
    crossbeam_channel::{Receiver, bounded, select, tick},
};

use crate::{
    cli::{self, Failure},
    console::Console,
    node::{self, Common},
    signals,
    sink::Sink,
};

/// How long peers get at the end to take what was accepted for them.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// How often it is looked whether standard output takes what it is told.
const PERIOD: Duration = Duration::from_secs(1);

/// Send every message back to who sent it
#[derive(clap::Args)]
#[command(after_help = node::RATES)]
pub(crate) struct Args {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "tcp://127.0.0.1:0")]
    laddr: ListenAddress,
    /// Channel whose messages are sent back
    #[arg(long, value_parser = node::channel, default_value = "0x99")]
    channel: u8,
    /// Channel whose messages are counted, hashed and dropped
    #[arg(long, value_parser = node::channel, default_value = "0x9a")]
    sink: u8,
}

pub(crate) fn run(common: &Common, args: Args) -> Result<(), Failure> {
    let mut builder = common.prepare("info", node::config(Some(args.laddr)))?;
    let spec = |name, id| ReactorSpec::new(name).channel(ChannelDescriptor::new(id));
    let echo = builder.reactor(spec("echo", args.channel)).map_err(Failure::usage)?;
    let sink = builder.reactor(spec("sink", args.sink)).map_err(Failure::usage)?;
    let signals = signals::watch()?;
    let happenings = builder.subscribe();
    let switch = builder.start().map_err(Failure::usage)?;
    let console = Arc::new(Console::new(common.events, 2));
    if let Some(addr) = switch.handle().peer_address() {
        console.listening("p2p", addr);
    }

    let told = console.clone();
    let echo = cli::spawn("echo", move || Echo::new(&told).run(echo.events()))?;
    let told = console.clone();
    let sink = cli::spawn("sink", move || Sink::new(&told).run(sink.events()))?;
    let (ended, end) = bounded::<()>(0);
    let told = console.clone();
    let watcher = cli::spawn("watch", move || {
        happenings.iter().for_each(|event| told.switch_event(&event));
        drop(ended);
    })?;

    let ticks = tick(PERIOD);
    let (reason, result) = loop {
        select! {
            recv(signals) -> signal => break (signal.unwrap_or("signal"), Ok(())),
            // Only if one of its threads or of ours has failed: nobody else stops it.
            recv(end) -> _ => {
                break ("failure", Err(Failure::Failed("the switch has stopped".to_owned())));
            }
            recv(ticks) -> _ => if let Err(why) = cli::check_stdout() {
                break ("failure", Err(why));
            },
        }
    };
    let stopped = switch.stop(STOP_TIMEOUT).map_err(Failure::failed);
    for thread in [echo, sink, watcher] {
        thread.join().map_err(|_| Failure::Failed("a thread has panicked".to_owned()))?;
    }
    console.event("stopped", serde_json::json!({ "reason": reason }));
    stopped?;
    result
}

/// Sends back without ever waiting for a peer.
///
/// A message that finds its sender's queue full is kept *with its envelope*, so it still counts
/// against what that peer may have delivered here: a peer that sends and does not read is soon not
/// read itself, and what it can make us hold is bounded. All others go on as if it were not there.
struct Echo<'a> {
    console: &'a Console,
    /// What could not be sent back yet, in order, of the peers that were told to wait.
    backlog: BTreeMap<ConnId, VecDeque<Envelope>>,
}

impl<'a> Echo<'a> {
    fn new(console: &'a Console) -> Self {
        Self { console, backlog: BTreeMap::new() }
    }

    fn run(mut self, events: &Receiver<Event>) {
        for event in events {
            self.console.reactor_event(&event);
            match event {
                Event::Message(envelope) => self.send_back(envelope),
                Event::Writable(peer, _) => self.catch_up(peer.conn()),
                Event::PeerDown(peer, _) => drop(self.backlog.remove(&peer.conn())),
                _ => {}
            }
        }
    }

    fn send_back(&mut self, envelope: Envelope) {
        let conn = envelope.peer().conn();
        if let Some(waiting) = self.backlog.get_mut(&conn) {
            waiting.push_back(envelope);
        } else if !try_send_back(&envelope) {
            self.backlog.insert(conn, VecDeque::from([envelope]));
        }
    }

    fn catch_up(&mut self, conn: ConnId) {
        let Some(waiting) = self.backlog.get_mut(&conn) else { return };
        while let Some(envelope) = waiting.front() {
            if !try_send_back(envelope) {
                return;
            }
            waiting.pop_front();
        }
        self.backlog.remove(&conn);
    }
}

/// False: not now, `Writable` will tell when.
fn try_send_back(envelope: &Envelope) -> bool {
    let result = envelope.peer().try_send(envelope.channel(), envelope.payload().clone());
    !matches!(result, Err(error) if error.kind == SendErrorKind::Full)
}
