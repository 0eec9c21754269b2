//! From configuration and reactors to running threads.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    sync::Arc,
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender};
use log::Level;

use super::{Switch, SwitchHandle, book, descriptors, handle::Inner, switch::Threads};
use crate::{
    addrbook::{BookLimits, BookSettings, BookStore, StoreError},
    address::{ListenAddress, PeerAddress},
    channel::ChannelDescriptor,
    clock::Clock,
    config::{Config, ConfigError},
    event_loop::{self, Command, ListenError, LoopSettings, SocketOptions},
    guard::tell,
    identity::NodeKey,
    ids::ChannelId,
    node_info::{NodeInfo, NodeInfoError},
    pex::{self, PexSettings, Prepared, Start},
    protocol::{LinkSettings, mconn::MConnSettings},
    reactor::{Event, Inboxes, Peer, Revocable, SessionSettings},
    switch::{
        Candidate, Decision, Filter, Hook, Lineup, Log, ReactorSettings, Resolver, ResolverPool,
        Shared, SwitchCore, SwitchSettings, SwitchThread, SystemResolver, ToSwitch,
        verdict_timeout,
    },
    thread,
};

/// Prepares a switch: reactors and hooks first, then [`start`](Self::start).
pub struct SwitchBuilder {
    config: Config,
    key: NodeKey,
    node_info: NodeInfo,
    reactors: Vec<Registered>,
    hooks: Vec<(usize, Hook)>,
    resolver: Arc<dyn Resolver>,
    connection_filters: Vec<Filter>,
    peer_filters: Vec<Filter>,
    store: Option<Box<dyn BookStore>>,
    raises_descriptor_limit: bool,
}

struct Registered {
    name: String,
    may_end: bool,
    channels: Vec<ChannelDescriptor>,
    inbox: Sender<Event>,
}

/// What a reactor holds on to: the events of its channels' peers, in order. The user's own thread
/// reads them; the receiver ends when the switch has stopped.
///
/// # Sending from the thread that receives
/// That thread must not wait for a peer to read: the peer may be waiting for it. So it uses
/// [`Peer::try_send`], keeps what finds the queue full, and goes on when told that there is room:
///
/// ```
/// use std::collections::{BTreeMap, VecDeque};
/// use tmp2p::{ConnId, Event, Payload, Reactor, SendErrorKind};
///
/// const CHANNEL: u8 = 0x70;
/// /// Answers that may wait for a peer; who asks on without reading has no more.
/// const MOST: usize = 100;
///
/// fn run(reactor: &Reactor, answer: impl Fn(&Payload) -> Payload) {
///     let mut unsent: BTreeMap<ConnId, VecDeque<Payload>> = BTreeMap::new();
///     for event in &reactor.events {
///         let peer = match event {
///             Event::Message(message) => {
///                 let queue = unsent.entry(message.peer().conn()).or_default();
///                 if queue.len() < MOST {
///                     queue.push_back(answer(message.payload()));
///                 }
///                 message.peer().clone()
///             }
///             Event::Writable(peer, _) => peer,
///             Event::PeerDown(peer, _) => {
///                 unsent.remove(&peer.conn());
///                 continue;
///             }
///             _ => continue,
///         };
///         let Some(queue) = unsent.get_mut(&peer.conn()) else { continue };
///         while let Some(next) = queue.pop_front() {
///             match peer.try_send(CHANNEL, next) {
///                 Ok(()) => {}
///                 // `Writable` follows.
///                 Err(full) if full.kind == SendErrorKind::Full => {
///                     queue.push_front(full.payload);
///                     break;
///                 }
///                 Err(_) => queue.clear(),
///             }
///         }
///     }
/// }
/// ```
///
/// Whoever prefers [`Peer::send`], which waits, does so on another thread that reads no events, such
/// as one for each peer, begun with [`Event::PeerUp`], as Go's gossip routines are.
#[derive(Debug)]
pub struct Reactor {
    /// Unbounded by type; bounded per peer by `Config::reactor_budget` plus a few lifecycle events.
    pub events: Receiver<Event>,
    number: usize,
}

/// Why a reactor cannot be registered. The caller's mistake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// The channel belongs to another reactor, or was named twice.
    #[error("channel {channel} of reactor {name:?} already belongs to {owner:?}; choose another")]
    ChannelTaken {
        /// The channel.
        channel: ChannelId,
        /// The reactor that wants it.
        name: String,
        /// The reactor that has it.
        owner: String,
    },
    /// Two reactors have the same name, and logs could not tell them apart.
    #[error("there is a reactor {0:?} already; choose another name")]
    NameTaken(String),
    /// A value of the channel's descriptor must not be 0.
    #[error("{value} of channel {channel} is 0; it must be at least 1")]
    Zero {
        /// The channel.
        channel: ChannelId,
        /// Which value.
        value: &'static str,
    },
    /// More channels than a NodeInfo may list, so that every peer would refuse us.
    #[error("more than {MAX_CHANNELS} channels in all; peers refuse a node that lists more")]
    TooManyChannels,
    /// A message of this size would not fit the pools that bound memory over all peers.
    #[error(
        "recv_message_capacity {capacity} of channel {channel}: {key} is {limit} and must be at \
         least twice the largest capacity; lower the one or raise the other"
    )]
    CapacityOverPool {
        /// The channel.
        channel: ChannelId,
        /// Its capacity, bytes.
        capacity: usize,
        /// The configuration value that it exceeds.
        key: &'static str,
        /// That value, bytes.
        limit: usize,
    },
}

/// Channels that a NodeInfo may list (Go `p2p/node_info.go`, `maxNumChannels`).
const MAX_CHANNELS: usize = 16;

/// Why a switch did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A configuration value is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Peers would refuse what this node says of itself.
    #[error("node info: {0}")]
    NodeInfo(#[from] NodeInfoError),
    /// `laddr` names no address of this machine.
    #[error("laddr {laddr}: {error}; give an address of this machine")]
    Laddr {
        /// The configured address.
        laddr: String,
        /// What is wrong with it.
        error: std::io::Error,
    },
    /// The listener or the loop's thread could not be started.
    #[error(transparent)]
    EventLoop(#[from] ListenError),
    /// The store of bans and addresses could not be read.
    #[error("{}", of_book(.0))]
    Book(#[from] StoreError),
    /// The system has no random numbers.
    #[error("the system gives no random numbers")]
    Randomness,
    /// A thread of the switch could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}

/// Stores of ours name the book themselves, with its file.
fn of_book(error: &StoreError) -> String {
    let text = error.to_string();
    if text.contains("address book") {
        text
    } else {
        format!("cannot read the address book: {text}")
    }
}

impl Switch {
    /// Prepares a switch with this configuration and identity.
    pub fn builder(config: Config, key: NodeKey, node_info: NodeInfo) -> SwitchBuilder {
        let resolver = Arc::new(SystemResolver);
        SwitchBuilder {
            config,
            key,
            node_info,
            reactors: Vec::new(),
            hooks: Vec::new(),
            resolver,
            connection_filters: Vec::new(),
            peer_filters: Vec::new(),
            store: None,
            raises_descriptor_limit: true,
        }
    }
}

impl SwitchBuilder {
    /// Registers a reactor with its channels. Its events come in the returned receiver once the
    /// switch runs.
    ///
    /// # Errors
    /// See [`RegisterError`]; the builder is as before.
    pub fn reactor(
        &mut self,
        name: &str,
        channels: impl IntoIterator<Item = ChannelDescriptor>,
    ) -> Result<Reactor, RegisterError> {
        let channels: Vec<_> = channels.into_iter().collect();
        if (self.config.pex && name == PEX) || self.reactors.iter().any(|r| r.name == name) {
            return Err(RegisterError::NameTaken(name.to_owned()));
        }
        for (i, descriptor) in channels.iter().enumerate() {
            self.check(name, &channels[..i], descriptor)?;
        }
        let own = usize::from(self.config.pex);
        let total = own + self.reactors.iter().map(|r| r.channels.len()).sum::<usize>();
        if total + channels.len() > MAX_CHANNELS {
            return Err(RegisterError::TooManyChannels);
        }
        Ok(self.register(name, channels))
    }

    fn register(&mut self, name: &str, channels: Vec<ChannelDescriptor>) -> Reactor {
        let (inbox, events) = crossbeam_channel::unbounded();
        let name = name.to_owned();
        self.reactors.push(Registered { name, may_end: false, channels, inbox });
        Reactor { events, number: self.reactors.len() - 1 }
    }

    /// Runs `hook` for every peer that is about to be admitted, before any reactor hears of it and
    /// before it can send a byte. On the switch's thread: it must not block, or nobody is admitted and
    /// nobody's end is told meanwhile. A panic in it rejects the peer. Calls that would wait for the
    /// switch are refused in it; the [`Switch`] itself may be dropped there.
    pub fn on_init(&mut self, reactor: &Reactor, hook: impl FnMut(&Peer) + Send + 'static) {
        self.hooks.push((reactor.number, Box::new(hook)));
    }

    /// Lets the switch go on when this reactor's receiver is dropped. Without it that stops the
    /// switch with [`StopReason::ReactorGone`](crate::StopReason::ReactorGone): peers count what
    /// they sent as delivered, and nobody would ever see it.
    pub fn may_end(&mut self, reactor: &Reactor) {
        self.reactors[reactor.number].may_end = true;
    }

    /// Asks this filter about every address, before a byte is exchanged with it: an accepted
    /// connection's, and one that is about to be dialed. All filters must accept.
    pub fn connection_filter(
        &mut self,
        filter: impl Fn(&Candidate, Decision) + Send + Sync + 'static,
    ) {
        self.connection_filters.push(Arc::new(filter));
    }

    /// Asks this filter about every authenticated node that would be admitted otherwise. All
    /// filters must accept.
    pub fn peer_filter(&mut self, filter: impl Fn(&Candidate, Decision) + Send + Sync + 'static) {
        self.peer_filters.push(Arc::new(filter));
    }

    /// Keeps the address book here, with anchors, bans and bad addresses, so that it survives a restart:
    /// read once on the thread that starts the switch, written by the thread `p2p-store`. It takes the
    /// place of the database that [`Config::addr_book_file`] names; an `addrbook.json` there is taken in
    /// all the same. Without either the book lives in memory.
    pub fn book_store(&mut self, store: impl BookStore + 'static) {
        self.store = Some(Box::new(store));
    }

    /// Resolves host names with this instead of the system's resolver.
    pub fn resolver(&mut self, resolver: Arc<dyn Resolver>) {
        self.resolver = resolver;
    }

    /// Leaves the process's limit on open descriptors as it is. Without this, [`start`](Self::start)
    /// raises the soft limit (`RLIMIT_NOFILE`, often 1024) to the hard one, as each Go program does by
    /// itself: every connection is a descriptor, and those of strangers may be a thousand. For
    /// programs that use `select`, which cannot cope with more than 1024, also in what they start:
    /// children inherit the limit.
    ///
    /// Either way there are no more pending handshakes than leave half of the descriptors to the
    /// application, whatever [`Config::max_pending_handshakes`] says; that is logged.
    pub fn keep_descriptor_limit(&mut self) {
        self.raises_descriptor_limit = false;
    }

    /// Checks everything once, opens the listener and starts the threads.
    ///
    /// # Errors
    /// See [`StartError`]; nothing was started.
    pub fn start(mut self) -> Result<Switch, StartError> {
        self.config.check()?;
        let pex_inbox = self.config.pex.then(|| self.register(PEX, vec![pex::channel()]));
        let config = &self.config;
        config.check_reactors(self.reactors.len())?;
        let channels: Vec<(ChannelDescriptor, usize)> = self
            .reactors
            .iter()
            .enumerate()
            .flat_map(|(number, r)| r.channels.iter().map(move |c| (*c, number)))
            .collect();
        let ids = channels.iter().map(|(c, _)| c.id);
        let node_info = self.node_info.with_id(self.key.id()).with_channels(ids);
        // Checked with an address that every node may announce; the real one is known later.
        node_info.clone().with_listen_addr(&announce(config, None)).validate()?;

        let own = self.key.id();
        if config.persistent_peers.iter().any(|peer| peer.id() == own) {
            tell!(Level::Warn, "persistent_peers has this node's own ID, {own}: it is left out");
        }
        let seed = random_seed()?;
        let clock = Clock::start();
        let is_database = cfg!(feature = "sqlite") && self.store.is_none();
        let store = self.store.map_or_else(|| book::open(config), |store| Ok(Some(store)))?;
        let begin = Start {
            settings: PexSettings::of(config),
            book: BookSettings {
                own,
                is_strict: config.addr_book_strict,
                limits: BookLimits::of(config),
            },
            private: config.private_peer_ids.clone(),
            find: {
                let file = config.addr_book_file.clone();
                Box::new(move |taken| book::find_json(file.as_deref(), taken))
            },
            seed: random_seed()?,
            book_seed: random_seed()?,
        };
        let mut pex = Prepared::load(begin, store, clock)?;
        if let (Some(file), Some(report)) = (&config.addr_book_file, pex.imported()) {
            book::tell_of_import(file, report, is_database);
        }
        let clock = pex.clock();
        let pex_events = pex_inbox.map(|inbox| inbox.events);
        let (to_switch, inputs) = ToSwitch::new();
        let inboxes = Inboxes::new(self.reactors.iter().map(|r| r.inbox.clone()).collect());
        let names: Vec<String> = self.reactors.iter().map(|r| r.name.clone()).collect();
        let reactors = self.reactors.iter();
        let reactors =
            reactors.map(|r| ReactorSettings { name: r.name.clone(), may_end: r.may_end });
        let mut settings = SwitchSettings::of(own, config, reactors.collect());
        settings.connection_filters = self.connection_filters.len();
        settings.peer_filters = self.peer_filters.len();
        drop(self.reactors);

        let (gate, inbound) = descriptors::gate(config, self.raises_descriptor_limit);
        settings.most_inbound = inbound;
        let mut announced = None;
        let prepare = |bound: Option<SocketAddr>| {
            let node_info = announced.insert(node_info.with_listen_addr(&announce(config, bound)));
            let link = LinkSettings {
                key: self.key.clone(),
                node_info: node_info.clone(),
                channels: channels.iter().map(|(c, _)| *c).collect(),
                mconn: MConnSettings::of(config),
            };
            let verdict_timeout = verdict_timeout(config);
            LoopSettings {
                gate,
                filter_connections: settings.connection_filters > 0,
                ..LoopSettings::of(config, link, names.len(), verdict_timeout)
            }
        };
        let event_loop = event_loop::start(
            listen_addr(config)?,
            prepare,
            SocketOptions::for_send_rate(config.send_rate),
            inboxes.clone(),
            pex.bans(),
            clock,
            to_switch.clone(),
        )?;

        for own in
            [event_loop.local_addr, config.external_address.as_ref().and_then(|a| a.socket_addr())]
        {
            own.into_iter().for_each(|own| pex.add_own(own));
        }
        let shared = Arc::new(Shared::default());
        let session_settings = SessionSettings {
            channels: channels.into(),
            reactors: names.len(),
            reactor_budget: config.reactor_budget,
            send_queue_bytes: config.send_queue_bytes,
            send_timeout: config.send_timeout,
            verdicts: Arc::new(pex.handle()),
        };
        let mailbox = event_loop.mailbox.clone();
        let to_reactors = Revocable::new(inboxes);
        let resolver = ResolverPool::new(self.resolver);
        let (busy_resolver, revoker) = (resolver.busy(), to_reactors.revoker());
        let switch = SwitchThread {
            core: SwitchCore::new(settings, pex.bans(), seed),
            inputs,
            to_switch: to_switch.clone(),
            lineup: Lineup::new(session_settings, names, to_reactors, mailbox.clone())
                .with_hooks(self.hooks),
            mailbox: mailbox.clone(),
            resolver,
            shared: shared.clone(),
            clock,
            sessions: Default::default(),
            connection_filters: self.connection_filters,
            peer_filters: self.peer_filters,
            log: Log::new(config.seeds.iter().map(PeerAddress::id), descriptors::limit()),
            notices: pex.handle().notices(),
        };
        let switch_thread = thread::spawn("p2p-switch", move || switch.run_to_end());
        let pex_handle = pex.handle();
        let pex = pex.start(pex_events, to_switch.clone(), mailbox.clone());
        let (switch_thread, pex) = match (switch_thread, pex) {
            (Ok(switch_thread), Ok(pex)) => (switch_thread, pex),
            (switch_thread, pex) => {
                // What has started ends with the loop.
                mailbox.command(Command::Shutdown { deadline: clock.mono() });
                let _ = event_loop.thread.join_within(Duration::MAX);
                let (switch_error, pex_error) = (switch_thread.err(), pex.err());
                let error = switch_error.or(pex_error).expect("one of them has failed");
                return Err(StartError::Thread(error));
            }
        };
        let node_info = announced.expect("the event loop has started");
        let handle = SwitchHandle::new(Inner {
            clock,
            to_switch,
            shared,
            mailbox,
            pex: pex_handle,
            id: own,
            node_info,
            local_addr: event_loop.local_addr,
            send_timeout: config.send_timeout,
            close_timeout: config.close_timeout,
        });
        let threads = Threads {
            event_loop: event_loop.thread,
            switch: switch_thread,
            pex,
            resolver: busy_resolver,
            inboxes: revoker,
        };
        Ok(Switch::new(handle, threads))
    }

    fn check(
        &self,
        name: &str,
        before: &[ChannelDescriptor],
        descriptor: &ChannelDescriptor,
    ) -> Result<(), RegisterError> {
        let channel = descriptor.id;
        let owner = self
            .reactors
            .iter()
            .find(|r| r.channels.iter().any(|c| c.id == channel))
            .map(|r| r.name.as_str())
            .or_else(|| before.iter().any(|c| c.id == channel).then_some(name))
            .or_else(|| (self.config.pex && channel.as_u8() == pex::CHANNEL).then_some(PEX));
        if let Some(owner) = owner {
            let (name, owner) = (name.to_owned(), owner.to_owned());
            return Err(RegisterError::ChannelTaken { channel, name, owner });
        }
        for (value, is_zero) in [
            ("priority", descriptor.priority == 0),
            ("send_queue_capacity", descriptor.send_queue_capacity == 0),
            ("recv_message_capacity", descriptor.recv_message_capacity == 0),
        ] {
            if is_zero {
                return Err(RegisterError::Zero { channel, value });
            }
        }
        let capacity = descriptor.recv_message_capacity;
        for (key, limit) in [
            ("parking_total", self.config.parking_total),
            ("reassembly_pool", self.config.reassembly_pool),
        ] {
            if limit / 2 < capacity {
                return Err(RegisterError::CapacityOverPool { channel, capacity, key, limit });
            }
        }
        Ok(())
    }
}

/// The reactor of peer exchange, whose thread is `p2p-pex`.
const PEX: &str = "PEX";

fn random_seed() -> Result<[u8; 32], StartError> {
    let mut seed = [0; 32];
    let random = ring::rand::SystemRandom::new();
    ring::rand::SecureRandom::fill(&random, &mut seed).map_err(|_| StartError::Randomness)?;
    Ok(seed)
}

/// What the node announces as its address.
fn announce(config: &Config, bound: Option<SocketAddr>) -> ListenAddress {
    match (&config.external_address, bound) {
        (Some(external), _) => external.clone(),
        (None, Some(addr)) => addr.into(),
        // Go refuses an empty address; this one parses, and nobody books it.
        (None, None) => SocketAddr::from(([0, 0, 0, 0], 0)).into(),
    }
}

fn listen_addr(config: &Config) -> Result<Option<SocketAddr>, StartError> {
    let Some(laddr) = &config.laddr else { return Ok(None) };
    if let Some(addr) = laddr.socket_addr() {
        return Ok(Some(addr));
    }
    let error = |error| StartError::Laddr { laddr: laddr.to_string(), error };
    let mut addrs = (laddr.host().to_string(), laddr.port()).to_socket_addrs().map_err(error)?;
    let addr = addrs.next().ok_or_else(|| error(std::io::ErrorKind::NotFound.into()))?;
    Ok(Some(addr))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_announces_what_it_was_told_or_where_it_listens_or_else_what_nobody_dials() {
        let bound = Some(SocketAddr::from(([127, 0, 0, 1], 4711)));
        let mut config = Config::default();
        assert_eq!(announce(&config, bound).to_string(), "tcp://127.0.0.1:4711");
        // It only dials. The reference refuses a NodeInfo with an empty address, and takes this one.
        let nowhere = announce(&config, None);
        assert_eq!(nowhere.to_string(), "tcp://0.0.0.0:0");
        let info = NodeInfo::new("chain", "moniker").unwrap();
        let info = info.with_id(NodeKey::from_seed([1; 32]).id()).with_listen_addr(&nowhere);
        assert_eq!(info.validate(), Ok(()));
        config.external_address = Some("a.example:5".parse().unwrap());
        for bound in [bound, None] {
            assert_eq!(announce(&config, bound).to_string(), "tcp://a.example:5");
        }
    }
}
