//! What is registered before a switch starts.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};

use super::Switch;
use crate::{
    addrbook::BookStore,
    channel::ChannelDescriptor,
    config::Config,
    identity::NodeKey,
    ids::ChannelId,
    node_info::NodeInfo,
    pex,
    reactor::{Event, Peer},
    switch::{Candidate, Decision, Filter, Hook, Resolver, SystemResolver},
};

/// Prepares a switch: reactors and hooks first, then [`start`](Self::start).
pub struct SwitchBuilder {
    pub(super) config: Config,
    pub(super) key: NodeKey,
    pub(super) node_info: NodeInfo,
    pub(super) reactors: Vec<Registered>,
    pub(super) hooks: Vec<(usize, Hook)>,
    pub(super) resolver: Arc<dyn Resolver>,
    pub(super) connection_filters: Vec<Filter>,
    pub(super) peer_filters: Vec<Filter>,
    pub(super) store: Option<Box<dyn BookStore>>,
    pub(super) raises_descriptor_limit: bool,
}

pub(super) struct Registered {
    pub(super) name: String,
    pub(super) may_end: bool,
    pub(super) channels: Vec<ChannelDescriptor>,
    pub(super) inbox: Sender<Event>,
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

    pub(super) fn register(&mut self, name: &str, channels: Vec<ChannelDescriptor>) -> Reactor {
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
pub(super) const PEX: &str = "PEX";
