//! A reactor as the application holds it.

use std::fmt;

use crossbeam_channel::Receiver;

use super::Event;
use crate::ids::ChannelId;

/// What a reactor holds on to: the events of its channels' peers, in order. The user's own thread
/// reads them; the receiver ends when the switch has stopped.
///
/// # When it is dropped
/// The switch hears of it at once, whether its thread has returned or panicked: what peers send on its
/// channels would be taken for delivered and never be seen. So the switch stops, with
/// [`StopReason::ReactorGone`](crate::StopReason::ReactorGone) and an error in the log, unless the
/// reactor [may end](crate::ReactorSpec::may_end). If it is dropped before the start, the switch
/// stops as soon as it has started. After a stop, and while the switch is stopping, it may be
/// dropped at any time.
///
/// Values of one scope are dropped in reverse: a reactor that is bound after its switch goes first, which
/// is the same as a mistake. Stop the switch before the scope ends, or bind the reactor first. `_` binds
/// nothing: `let (switch, _) = …` stops the switch in that line, `_reactor` keeps it.
///
/// A clone of the receiver, `events().clone()`, goes on after that: it has what was delivered, and,
/// if the reactor may end, what still comes, which counts against the peers' budgets until it is
/// read. Keep the `Reactor` itself where the events are read, such as on the thread that reads them.
///
/// # Sending from the thread that receives
/// That thread must not wait for a peer to read: the peer may be waiting for it. So it uses
/// [`Peer::try_send`](crate::Peer::try_send), keeps what finds the queue full, and goes on when told that there is room:
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
///     for event in reactor.events() {
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
/// Whoever prefers [`Peer::send`](crate::Peer::send), which waits, does so on another thread that reads no events, such
/// as one for each peer, begun with [`Event::PeerUp`], as Go's gossip routines are.
#[must_use = "dropping a reactor stops the switch"]
pub struct Reactor {
    name: String,
    events: Receiver<Event>,
    /// Tells the switch that it is gone, and whether by a panic.
    gone: Box<dyn Fn(bool) + Send + Sync>,
}

impl Reactor {
    /// `gone` is called on the thread that drops it, and must not block.
    pub(crate) fn new(
        name: String,
        events: Receiver<Event>,
        gone: impl Fn(bool) + Send + Sync + 'static,
    ) -> Self {
        Self { name, events, gone: Box::new(gone) }
    }

    /// Its events, also for `select!`. Unbounded by type; bounded per peer by
    /// [`Config::reactor_budget`](crate::Config::reactor_budget) plus a few lifecycle events. Read
    /// them on a thread of yours.
    #[doc(alias = "Receive")]
    #[doc(alias = "AddPeer")]
    #[doc(alias = "RemovePeer")]
    pub fn events(&self) -> &Receiver<Event> {
        &self.events
    }
}

impl Drop for Reactor {
    fn drop(&mut self) {
        (self.gone)(std::thread::panicking());
    }
}

impl fmt::Debug for Reactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reactor({:?}, {} events)", self.name, self.events.len())
    }
}

/// Why a reactor cannot be registered. The caller's mistake.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
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

crate::text::readable_debug!(RegisterError);

/// Channels that a NodeInfo may list (Go `p2p/node_info.go`, `maxNumChannels`).
pub(crate) const MAX_CHANNELS: usize = 16;
