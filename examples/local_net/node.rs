//! One node: a switch, a thread that reads what it receives, and one that relays transactions; and the
//! seed, which has no such threads.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tmp2p::{
    ChannelDescriptor, Config, Event, NodeId, NodeInfo, NodeKey, Peer, PeerAddress, ReactorSpec,
    Switch, SwitchHandle, crossbeam_channel::Receiver,
};

use crate::{
    cli,
    gossip::Mempool,
    relay::MEMPOOL_CHANNEL,
    tally::{Left, Tally},
};

/// The channel that everything but transactions is sent on.
pub(crate) const CHANNEL: u8 = 0x70;

/// How long a node gets to hand over what it has accepted.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) struct Node {
    switch: Switch,
    reader: JoinHandle<()>,
    pub(crate) mempool: Mempool,
    tally: Arc<Mutex<Tally>>,
}

impl Node {
    /// Starts the node whose key and address book are kept in this folder, at this address or at
    /// any; `ids` are all nodes of the network, of which it is told nothing: it knows the seed.
    pub(crate) fn start(
        number: usize,
        home: &Path,
        laddr: Option<SocketAddr>,
        seed: &PeerAddress,
        ids: Arc<[NodeId]>,
        clock: Instant,
    ) -> Result<Self, String> {
        let text = |error: &dyn std::error::Error| error.to_string();
        let info = NodeInfo::new("local-net", format!("node{number}")).map_err(|e| text(&e))?;
        let mut config = Config {
            seeds: vec![seed.clone()],
            addr_book_file: Some(home.join("addrbook.sqlite")),
            // So that everybody is connected to everybody in the end.
            max_num_outbound_peers: ids.len(),
            ..config(ids.len())
        };
        if let Some(laddr) = laddr {
            config.laddr = Some(laddr.into());
        }
        let mut builder = Switch::builder(config, key(home)?, info);
        let mut reactor = |name, id| {
            let spec = ReactorSpec::new(name).channel(ChannelDescriptor::new(id));
            builder.reactor(spec).map_err(|e| text(&e))
        };
        let (all, mempool) = (reactor("all", CHANNEL)?, reactor("mempool", MEMPOOL_CHANNEL)?);
        let switch = builder.start().map_err(|e| text(&e))?;
        let tally = Arc::new(Mutex::new(Tally::new(ids.len(), clock)));
        let shared = tally.clone();
        let reader = cli::spawn("reader", move || read(all.events(), &ids, &shared));
        let mempool = Mempool::start(mempool);
        let why = |why: cli::Failure| why.to_string();
        Ok(Self { switch, reader: reader.map_err(why)?, mempool: mempool.map_err(why)?, tally })
    }

    pub(crate) fn handle(&self) -> &SwitchHandle {
        self.switch.handle()
    }

    /// The nodes that it is connected to; the seed comes and goes.
    pub(crate) fn num_peers(&self) -> usize {
        self.switch.handle().peers().iter().filter(|peer| peer.has_channel(CHANNEL)).count()
    }

    pub(crate) fn tally(&self) -> MutexGuard<'_, Tally> {
        lock(&self.tally)
    }

    /// The node is gone in an instant, as if its process had been killed.
    pub(crate) fn kill(self) {
        drop(self.switch);
        // A panic in there was told on stderr, and this node is to die anyway.
        let _ = (self.reader.join(), self.mempool.join());
    }

    /// Stops in order.
    pub(crate) fn stop(self) -> Result<(), String> {
        self.switch.stop(STOP_TIMEOUT).map_err(|error| error.to_string())?;
        self.reader.join().map_err(|_| "the reader has panicked".to_owned())?;
        self.mempool.join().map_err(|_| "the relay has panicked".to_owned())
    }
}

/// A seed, which crawls the nodes and tells them of each other.
pub(crate) fn start_seed(nodes: usize) -> Result<Switch, String> {
    let info = NodeInfo::new("local-net", "seed").map_err(|error| error.to_string())?;
    let config = Config { seed_mode: true, ..config(nodes) };
    Switch::builder(config, NodeKey::generate(), info).start().map_err(|error| error.to_string())
}

/// What nodes on one machine need, and a thirtieth of all times of peer exchange: nobody wants to
/// watch them being polite.
fn config(nodes: usize) -> Config {
    let usual = Config::default();
    Config {
        allow_duplicate_ip: true,
        exempt_cidrs: vec![IpAddr::from([127, 0, 0, 1]).into()],
        max_num_inbound_peers: 2 * nodes,
        // These addresses mean something on this machine only.
        addr_book_strict: false,
        ensure_peers_period: usual.ensure_peers_period / 30,
        pex_request_interval: usual.pex_request_interval / 30,
        good_after: usual.good_after / 30,
        crawl_period: usual.crawl_period / 30,
        crawl_timeout: usual.crawl_timeout / 30,
        ..usual
    }
}

/// The key in this folder, a new one the first time: a node that comes back is the same one.
pub(crate) fn key(home: &Path) -> Result<NodeKey, String> {
    cli::node_key(&home.join("config/node_key.json")).map_err(|why| why.to_string())
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
                let (kind, why) = (reason.kind(), reason.to_string());
                lock(tally).left.push(Left { id: peer.id(), kind, why });
            }
            _ => {}
        }
    }
}

/// Also after a panic of another thread, which is told when that thread is joined.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
