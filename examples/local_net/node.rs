//! One node: a switch, and a thread that reads what it receives.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tmp2p::{
    ChannelDescriptor, Config, Event, NodeId, NodeInfo, NodeKey, Peer, Switch, SwitchHandle,
    crossbeam_channel::Receiver,
};

use crate::{cli, tally::Tally};

/// The channel that everything is sent on.
pub(crate) const CHANNEL: u8 = 0x70;

/// How long a node gets to hand over what it has accepted.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) struct Node {
    switch: Switch,
    reader: JoinHandle<()>,
    tally: Arc<Mutex<Tally>>,
}

impl Node {
    /// Starts the node whose key is kept in this folder, at this address or at any; `ids` are all
    /// nodes of the network.
    pub(crate) fn start(
        number: usize,
        home: &Path,
        laddr: Option<SocketAddr>,
        ids: Arc<[NodeId]>,
        clock: Instant,
    ) -> Result<Self, String> {
        let text = |error: &dyn std::error::Error| error.to_string();
        let info = NodeInfo::new("local-net", format!("node{number}")).map_err(|e| text(&e))?;
        let mut config = Config {
            // They all share an address, and most dial at the same time.
            allow_duplicate_ip: true,
            exempt_cidrs: vec![IpAddr::from([127, 0, 0, 1]).into()],
            max_num_inbound_peers: ids.len(),
            // Nobody wants to watch them being polite.
            dial_spread: Duration::from_millis(100),
            ..Config::default()
        };
        if let Some(laddr) = laddr {
            config.laddr = Some(laddr.into());
        }
        let mut builder = Switch::builder(config, key(home)?, info);
        let reactor =
            builder.reactor("gossip", [ChannelDescriptor::new(CHANNEL)]).map_err(|e| text(&e))?;
        let switch = builder.start().map_err(|e| text(&e))?;
        let tally = Arc::new(Mutex::new(Tally::new(ids.len(), clock)));
        let shared = tally.clone();
        let reader = thread::spawn(move || read(&reactor.events, &ids, &shared));
        Ok(Self { switch, reader, tally })
    }

    pub(crate) fn handle(&self) -> SwitchHandle {
        self.switch.handle()
    }

    pub(crate) fn tally(&self) -> MutexGuard<'_, Tally> {
        lock(&self.tally)
    }

    /// The node is gone in an instant, as if its process had been killed.
    pub(crate) fn kill(self) {
        drop(self.switch);
        // A panic in there was told on stderr, and this node is to die anyway.
        let _ = self.reader.join();
    }

    /// Stops in order.
    pub(crate) fn stop(self) -> Result<(), String> {
        self.switch.stop(STOP_TIMEOUT).map_err(|error| error.to_string())?;
        self.reader.join().map_err(|_| "the reader has panicked".to_owned())
    }
}

/// The key in this folder, a new one the first time: a node that comes back is the same one.
pub(crate) fn key(home: &Path) -> Result<NodeKey, String> {
    cli::node_key(home).map_err(|why| why.to_string())
}

fn read(events: &Receiver<Event>, ids: &[NodeId], tally: &Mutex<Tally>) {
    let number = |peer: &Peer| ids.iter().position(|id| *id == peer.id());
    for event in events {
        match event {
            Event::Message(envelope) => match number(envelope.peer()) {
                Some(sender) => lock(tally).take(sender, envelope.payload(), Instant::now()),
                None => lock(tally).wrong = Some(format!("{} is a stranger", envelope.peer())),
            },
            Event::PeerDown(peer, reason) => {
                let why = format!("{reason} [{}]", reason.kind());
                lock(tally).left.push((peer.id(), why));
            }
            _ => {}
        }
    }
}

fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
