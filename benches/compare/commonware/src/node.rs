//! A network, and what its channels carry.

use std::{
    collections::{HashMap, HashSet},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    num::NonZero,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use commonware_cryptography::{
    ChaCha20Poly1305, Signer as _,
    ed25519::{PrivateKey, PublicKey},
};
use commonware_p2p::{
    Address, AddressableManager as _, AddressableTrackedPeers, CheckedSender as _,
    LimitedSender as _, Receiver as _, Recipients, Sender as _,
    authenticated::lookup::{self, Config, Network},
};
use commonware_runtime::{Handle, Quota, Supervisor as _, tokio::Context};
use commonware_stream::{
    cups::{self, Cups},
    sake::{self, Sake},
};
use commonware_utils::ordered::Map;
use measure::{BULK, Bytes, IMPORTANT, Lacks, Node, Outcome, Peer, Setup, Sink, Stack, Then};
use tokio::{sync::Semaphore, time::sleep};

type Upgrader = Cups<Sake<PrivateKey>, ChaCha20Poly1305>;
type Sender = lookup::Sender<PublicKey, Context>;

/// Messages of a peer that one burst may have; more than any window.
const BURST: u32 = 1024;

/// The internal mailboxes, as in the library's own examples.
const MAILBOX: usize = 1000;

/// How many bytes a sender may have under way, within some messages.
const WINDOW: usize = 1 << 20;

/// More nodes than any measurement has: their keys are those of the numbers below.
const NODES: u64 = 2048;

/// commonware-p2p.
pub(crate) struct Commonware {
    context: Mutex<Context>,
    /// What may still be sent to a node's channel. The library drops what does not fit, at both
    /// ends; so here a sender knows how much was handled, which costs it nothing.
    windows: Mutex<HashMap<(u64, usize), Arc<Semaphore>>>,
}

impl Commonware {
    pub(crate) fn new(context: Context) -> Self {
        Self { context: Mutex::new(context), windows: Mutex::default() }
    }

    /// That of a new node of this process.
    fn window(&self, number: u64, channel: usize, setup: Setup) -> Arc<Semaphore> {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let window = window(setup);
        windows.insert((number, channel), window.clone());
        window
    }

    /// That towards a node; of one in another process nothing is known, and each has its own.
    fn window_to(&self, number: u64, channel: usize, setup: Setup) -> Arc<Semaphore> {
        let windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        windows.get(&(number, channel)).cloned().unwrap_or_else(|| window(setup))
    }
}

fn window(setup: Setup) -> Arc<Semaphore> {
    let messages = (WINDOW / setup.max_message.max(1)).clamp(8, 512);
    Arc::new(Semaphore::new(messages))
}

fn key(number: u64) -> PrivateKey {
    PrivateKey::from_seed(number)
}

fn count(number: usize) -> NonZero<usize> {
    NonZero::new(number).unwrap_or(NonZero::<usize>::MIN)
}

impl Stack for Commonware {
    type Node = CommonwareNode;

    fn version(&self) -> String {
        "2026.10.0".to_owned()
    }

    fn lacks(&self) -> Lacks {
        Lacks {
            packets: "each message is one frame: there are no packets whose size could be set",
            queues: "what does not fit its queue is dropped: the queue is as long as the mailbox",
            rates: "its rates are in messages, not in bytes",
            throttle: "it has no flush throttle",
            note: "no back-pressure: what does not fit is dropped. Here the sender is told for free what was \
                   handled, and has at most 16 messages of 64 KiB under way",
        }
    }

    async fn node(
        self: &Arc<Self>,
        number: u64,
        setup: Setup,
        sink: Sink,
    ) -> Outcome<CommonwareNode> {
        // The network does not tell which port it got. Each node has an address of its own, where no
        // connection and no other node can have taken the port meanwhile.
        let [.., high, low] = number.to_be_bytes();
        let listen = TcpListener::bind((Ipv4Addr::new(127, 1, high, low), 0))?.local_addr()?;
        let context = {
            let context = self.context.lock().unwrap_or_else(PoisonError::into_inner);
            context.child("node").with_attribute("number", number)
        };
        let is_listener = setup.max_peers as u64 >= NODES;
        // Only the one that listens for another process has so many.
        let others = if is_listener { NODES } else { 16 };
        let handshake = Upgrader::new(
            Sake {
                signer: key(number),
                synchrony_bound: Duration::from_secs(5),
                max_handshake_age: Duration::from_secs(10),
                version: sake::Version::V1,
            },
            cups::Version::V1,
        );
        let max_message = u32::try_from(setup.max_message)?;
        let per_set = count(2 * others as usize + 2);
        let mut config =
            Config::local(handshake, b"compare", listen, per_set, max_message, count(MAILBOX));
        // All nodes have one address.
        config.bypass_ip_check = true;
        let always = Quota::with_period(Duration::from_micros(1)).ok_or("no such rate")?;
        config.allowed_handshake_rate_per_ip = always.allow_burst(NonZero::<u32>::MAX);
        config.allowed_handshake_rate_per_subnet = always.allow_burst(NonZero::<u32>::MAX);
        config.peer_connection_cooldown = Duration::from_millis(10);
        config.tracked_peer_sets = count(1);
        if !is_listener {
            // Not how long a connection takes, but how long one waits before.
            config.dial_frequency = Duration::from_millis(10);
        }
        let (mut network, mut oracle) = Network::new(context.child("network"), config);
        // Accepted, and not dialed.
        let nowhere = Address::from(SocketAddr::from(([127, 0, 0, 1], 1)));
        let inbound: Vec<_> = (0..=others)
            .filter(|other| *other != number)
            .map(|other| (key(other).public_key(), nowhere.clone()))
            .collect();
        let inbound = Map::from_iter_dedup(inbound);
        oracle.track(0, AddressableTrackedPeers::new(Map::default(), inbound.clone()));

        let burst = if is_listener { 16 } else { BURST };
        let rate = Quota::with_period(Duration::from_nanos(200)).ok_or("no such rate")?;
        let rate = rate.allow_burst(NonZero::new(burst).ok_or("no burst")?);
        let added = Arc::new(Mutex::new(HashSet::new()));
        let mut senders = Vec::new();
        for channel in 0..setup.channels {
            let (sender, mut receiver) = network.register(channel as u64, rate);
            let (sink, added, mut answers) = (sink.clone(), added.clone(), sender.clone());
            let window = self.window(number, channel, setup);
            senders.push(sender);
            tokio::spawn(async move {
                let mut last = None;
                while let Ok((from, message)) = receiver.recv().await {
                    if last.as_ref() != Some(&from) {
                        added.lock().unwrap_or_else(PoisonError::into_inner).insert(from.clone());
                        last = Some(from.clone());
                    }
                    match sink(channel, message.as_ref()) {
                        Then::Next => {}
                        Then::Wait(delay) => sleep(delay).await,
                        Then::Echo => {
                            answers.send(Recipients::One(from), message, channel == IMPORTANT);
                        }
                    }
                    window.add_permits(1);
                }
            });
        }
        let network = network.start();
        let stack = self.clone();
        Ok(CommonwareNode {
            stack,
            number,
            setup,
            listen,
            oracle,
            inbound,
            dialed: Vec::new(),
            senders,
            added,
            network,
        })
    }
}

/// A running network.
pub(crate) struct CommonwareNode {
    stack: Arc<Commonware>,
    number: u64,
    setup: Setup,
    listen: SocketAddr,
    oracle: lookup::Oracle<PublicKey>,
    inbound: Map<PublicKey, Address>,
    dialed: Vec<(PublicKey, Address)>,
    senders: Vec<Sender>,
    added: Arc<Mutex<HashSet<PublicKey>>>,
    network: Handle<()>,
}

impl CommonwareNode {
    fn connected(&self) -> Vec<PublicKey> {
        let mut sender = self.senders[BULK].clone();
        sender.check(Recipients::All).map_or_else(|_| Vec::new(), |checked| checked.recipients())
    }
}

impl Node for CommonwareNode {
    type Peer = CommonwarePeer;

    fn address(&self) -> String {
        format!("{}@{}", self.number, self.listen)
    }

    fn peers(&self) -> usize {
        self.connected().len()
    }

    fn added(&self) -> u64 {
        self.added.lock().unwrap_or_else(PoisonError::into_inner).len() as u64
    }

    async fn dial(&mut self, address: &str) -> Outcome<CommonwarePeer> {
        let (number, socket) = address.split_once('@').ok_or("want number@host:port")?;
        let (number, socket): (u64, SocketAddr) = (number.parse()?, socket.parse()?);
        let peer = key(number).public_key();
        self.dialed.push((peer.clone(), socket.into()));
        let primary = Map::from_iter_dedup(self.dialed.clone());
        let set = self.dialed.len() as u64;
        self.oracle.track(set, AddressableTrackedPeers::new(primary, self.inbound.clone()));
        while !self.connected().contains(&peer) {
            sleep(Duration::from_millis(1)).await;
        }
        let windows = (0..self.setup.channels)
            .map(|channel| self.stack.window_to(number, channel, self.setup));
        Ok(CommonwarePeer {
            peer,
            senders: Mutex::new(self.senders.clone()),
            windows: windows.collect(),
        })
    }
}

impl Drop for CommonwareNode {
    fn drop(&mut self) {
        self.network.abort();
    }
}

/// One peer, and the senders of one task.
pub(crate) struct CommonwarePeer {
    peer: PublicKey,
    senders: Mutex<Vec<Sender>>,
    windows: Vec<Arc<Semaphore>>,
}

impl Clone for CommonwarePeer {
    fn clone(&self) -> Self {
        let senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Self {
            peer: self.peer.clone(),
            senders: Mutex::new(senders),
            windows: self.windows.clone(),
        }
    }
}

impl Peer for CommonwarePeer {
    async fn send(&self, channel: usize, payload: Bytes) -> Outcome<()> {
        self.windows[channel].acquire().await?.forget();
        loop {
            {
                let mut senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
                let to = Recipients::One(self.peer.clone());
                if !senders[channel].send(to, payload.clone(), channel == IMPORTANT).is_empty() {
                    return Ok(());
                }
            }
            // The rate, which is a formality here, or the mailbox.
            sleep(Duration::from_millis(1)).await;
        }
    }
}
