//! From configuration and reactors to running threads.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crossbeam_channel::{Receiver, Sender};

use super::{Switch, SwitchHandle, book, handle::Inner};
use crate::{
    addrbook::{BookLimits, BookSettings, BookStore, StoreError},
    address::ListenAddress,
    channel::ChannelDescriptor,
    clock::Clock,
    config::{Config, ConfigError},
    event_loop::{self, Command, Inbox, ListenError, LoopSettings, Progress, SocketOptions},
    identity::NodeKey,
    ids::ChannelId,
    node_info::{NodeInfo, NodeInfoError},
    pex::{self, PexSettings, Prepared, Start},
    protocol::{LinkSettings, mconn::MConnSettings},
    reactor::{Event, Peer, SessionSettings},
    switch::{
        Candidate, Decision, Filter, Hook, Input, Lineup, ReactorSettings, Resolver, ResolverPool,
        Shared, SwitchCore, SwitchSettings, SwitchThread, SystemResolver, verdict_timeout,
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
}

struct Registered {
    name: String,
    may_end: bool,
    channels: Vec<ChannelDescriptor>,
    inbox: Sender<Event>,
}

/// What a reactor holds on to: the events of its channels' peers, in order. The user's own thread
/// reads them; the receiver ends when the switch has stopped.
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
    #[error("cannot read the address book: {0}")]
    Book(#[from] StoreError),
    /// The system has no random numbers.
    #[error("the system gives no random numbers")]
    Randomness,
    /// A thread of the switch could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}

impl SwitchBuilder {
    pub(super) fn new(config: Config, key: NodeKey, node_info: NodeInfo) -> Self {
        let resolver = Arc::new(SystemResolver);
        Self {
            config,
            key,
            node_info,
            reactors: Vec::new(),
            hooks: Vec::new(),
            resolver,
            connection_filters: Vec::new(),
            peer_filters: Vec::new(),
            store: None,
        }
    }

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
    /// before it can send a byte. On the switch's thread: it must not block. A panic in it rejects
    /// the peer.
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

    /// Keeps the address book here, with bans and bad addresses, so that it survives a restart.
    /// Without it, and without [`Config::addr_book_file`], it lives in memory.
    pub fn book_store(&mut self, store: impl BookStore + 'static) {
        self.store = Some(Box::new(store));
    }

    /// Resolves host names with this instead of the system's resolver.
    pub fn resolver(&mut self, resolver: Arc<dyn Resolver>) {
        self.resolver = resolver;
    }

    /// Checks everything once, opens the listener and starts the threads.
    ///
    /// # Errors
    /// See [`StartError`]; nothing was started.
    pub fn start(mut self) -> Result<Switch, StartError> {
        self.config.check()?;
        let pex_inbox = self.config.pex.then(|| self.register(PEX, vec![pex::channel()]));
        let config = &self.config;
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
            log::warn!("persistent_peers has this node's own ID, {own}: it is left out");
        }
        let seed = random_seed()?;
        let clock = Clock::start();
        let store = self.store.map_or_else(|| book::open(config), |store| Ok(Some(store)))?;
        let begin = Start {
            settings: PexSettings::new(config),
            book: BookSettings {
                own,
                is_strict: config.addr_book_strict,
                limits: BookLimits::of(config),
            },
            private: config.private_peer_ids.clone(),
            import: {
                let file = config.addr_book_file.clone();
                Box::new(move |is_fresh| book::of_the_reference(file.as_deref(), is_fresh))
            },
            seed: random_seed()?,
            book_seed: random_seed()?,
        };
        let mut pex = Prepared::load(begin, store, clock)?;
        let clock = pex.clock();
        let pex_events = pex_inbox.map(|inbox| inbox.events);
        let (inputs, input_receiver) = crossbeam_channel::unbounded();
        let inboxes = Inboxes::new(self.reactors.iter().map(|r| r.inbox.clone()).collect());
        let names: Vec<String> = self.reactors.iter().map(|r| r.name.clone()).collect();
        let reactors = self.reactors.iter();
        let reactors =
            reactors.map(|r| ReactorSettings { name: r.name.clone(), may_end: r.may_end });
        let mut settings = SwitchSettings::new(own, config, reactors.collect());
        settings.connection_filters = self.connection_filters.len();
        settings.peer_filters = self.peer_filters.len();
        drop(self.reactors);

        let mut announced = None;
        let prepare = |bound: Option<SocketAddr>| {
            let node_info = announced.insert(node_info.with_listen_addr(&announce(config, bound)));
            LoopSettings {
                event_loop: 0,
                link: LinkSettings {
                    key: self.key.clone(),
                    node_info: node_info.clone(),
                    channels: channels.iter().map(|(c, _)| *c).collect(),
                    mconn: mconn_settings(config),
                },
                reactors: names.len(),
                dial_timeout: config.dial_timeout,
                handshake_timeout: config.handshake_timeout,
                verdict_timeout: verdict_timeout(config),
                close_timeout: config.close_timeout,
                drain_timeout: config.drain_timeout,
                parking_per_peer: config.parking_per_peer,
                parking_total: config.parking_total,
                reassembly_pool: config.reassembly_pool,
                gate: config.into(),
                filter_connections: settings.connection_filters > 0,
            }
        };
        let reports = inputs.clone();
        let event_loop = event_loop::start(
            listen_addr(config)?,
            prepare,
            SocketOptions::for_send_rate(config.send_rate),
            inboxes.clone(),
            pex.bans(),
            clock,
            move |report| {
                // The switch outlives the loop; if it is gone, nobody is left to tell.
                let _ = reports.send(Input::Report(report));
            },
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
        let switch = SwitchThread {
            core: SwitchCore::new(settings, pex.bans(), seed),
            inputs: input_receiver,
            own_inputs: inputs.clone(),
            lineup: Lineup::new(session_settings, names, inboxes, mailbox.clone())
                .with_hooks(self.hooks),
            mailbox: mailbox.clone(),
            resolver: ResolverPool::new(self.resolver),
            shared: shared.clone(),
            clock,
            sessions: Default::default(),
            connection_filters: self.connection_filters,
            peer_filters: self.peer_filters,
            log: Default::default(),
            notices: Box::new(pex.notices()),
        };
        let switch_thread = thread::spawn("p2p-switch", move || switch.run());
        let pex_handle = pex.handle();
        let to_switch = {
            let (mailbox, inputs) = (mailbox.clone(), inputs.clone());
            move |input: Input| {
                if let Input::Bans { table, .. } = &input {
                    mailbox.command(Command::Bans(table.clone()));
                }
                // The switch stops first.
                let _ = inputs.send(input);
            }
        };
        let pex = pex.start(pex_events, Box::new(to_switch));
        let (switch_thread, pex) = match (switch_thread, pex) {
            (Ok(switch_thread), Ok(pex)) => (switch_thread, pex),
            (switch_thread, pex) => {
                // What has started ends with the loop.
                mailbox.command(Command::Shutdown { deadline: clock.mono() });
                let _ = event_loop.thread.join();
                let (switch_error, pex_error) = (switch_thread.err(), pex.err());
                let error = switch_error.or(pex_error).expect("one of them has failed");
                return Err(StartError::Thread(error));
            }
        };
        let node_info = announced.expect("the event loop has started");
        let handle = SwitchHandle::new(Inner {
            clock,
            inputs,
            shared,
            mailbox,
            pex: pex_handle,
            id: own,
            node_info,
            local_addr: event_loop.local_addr,
            send_timeout: config.send_timeout,
            close_timeout: config.close_timeout,
            next_ticket: AtomicU64::new(0),
        });
        Ok(Switch::new(handle, vec![event_loop.thread, switch_thread], pex))
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

fn mconn_settings(config: &Config) -> MConnSettings {
    MConnSettings {
        max_packet_msg_payload_size: config.max_packet_msg_payload_size,
        max_recv_packet_size: config.max_recv_packet_size,
        send_rate: config.send_rate,
        recv_rate: config.recv_rate,
        ping_interval: config.ping_interval,
        pong_timeout: config.pong_timeout,
        unsolicited_pong_interval: config.unsolicited_pong_interval,
    }
}

/// The reactors' inboxes; the loop and the switch each hold them, and the receivers end when both
/// are gone.
#[derive(Clone)]
struct Inboxes {
    senders: Vec<Sender<Event>>,
    /// Events put into each, by everybody who holds it.
    delivered: Arc<[AtomicU64]>,
}

impl Inboxes {
    fn new(senders: Vec<Sender<Event>>) -> Self {
        let delivered = senders.iter().map(|_| AtomicU64::new(0)).collect();
        Self { senders, delivered }
    }
}

impl Inbox for Inboxes {
    fn deliver(&mut self, reactor: usize, event: Event) -> bool {
        self.delivered[reactor].fetch_add(1, Relaxed);
        // A reactor that is gone gets nothing; dropping the event returns its budget.
        self.senders[reactor].send(event).is_ok()
    }

    fn progress(&self, reactor: usize) -> Progress {
        Progress {
            delivered: self.delivered[reactor].load(Relaxed),
            waiting: self.senders[reactor].len(),
        }
    }
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
