//! What a subscriber hears.

use std::{net::SocketAddr, time::SystemTime};

use crate::{
    address::{NetAddress, PeerAddress},
    ban::Ban,
    identity::NodeId,
    ids::Direction,
    reactor::DisconnectReason,
};

/// What happened to the switch's connections, in order. From
/// [`SwitchHandle::subscribe`](crate::SwitchHandle::subscribe).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SwitchEvent {
    /// A session began. Reactors are told with [`Event::PeerUp`](crate::Event::PeerUp).
    Connected {
        /// The peer.
        id: NodeId,
        /// The socket's remote address.
        addr: SocketAddr,
        /// Who dialed.
        direction: Direction,
        /// What the peer calls itself: printable ASCII, cut to 96 characters. All of it is in
        /// [`Peer::node_info`](crate::Peer::node_info).
        moniker: String,
    },
    /// A session ended. Reactors are told with [`Event::PeerDown`](crate::Event::PeerDown).
    Disconnected {
        /// The peer.
        id: NodeId,
        /// The socket's remote address.
        addr: SocketAddr,
        /// Who had dialed.
        direction: Direction,
        /// Why.
        reason: DisconnectReason,
    },
    /// An attempt to connect begins.
    Dialing {
        /// What is dialed.
        addr: PeerAddress,
    },
    /// An outbound attempt ended before it was a session. Without [`Dialing`](Self::Dialing) before it
    /// if there was no point in beginning: the node is connected, being dialed, banned, …
    DialFailed {
        /// What was dialed.
        addr: PeerAddress,
        /// Why.
        reason: DisconnectReason,
        /// How many attempts in a row have failed: 1 for what the application dialed.
        failures: u32,
    },
    /// An inbound connection did not become a session.
    Rejected {
        /// Where it came from.
        addr: SocketAddr,
        /// Who it is, if it was authenticated.
        id: Option<NodeId>,
        /// Why.
        reason: DisconnectReason,
        /// How many more were closed at the door since the last such event; a flood is not told
        /// one by one.
        others: u64,
    },
    /// Somebody is banned.
    Banned(Ban),
    /// A ban was lifted, or is over.
    Unbanned(Ban),
    /// A node's address is not dialed and not told to others for a while.
    Bad {
        /// The node.
        id: NodeId,
        /// Where it was thought to be, if that is known.
        addr: Option<NetAddress>,
        /// From when on it may be tried again.
        until: SystemTime,
        /// Why.
        reason: String,
    },
    /// A node's address that was bad may be dialed again.
    Reinstated {
        /// The node.
        id: NodeId,
    },
    /// A persistent peer is not dialed any more, after `Config::reconnect_give_up` failures.
    GaveUp {
        /// The peer's configured address.
        addr: PeerAddress,
    },
    /// This reactor has left so many sessions unread that nobody is admitted until it reads on.
    ReactorStalled(String),
    /// It reads again.
    ReactorRecovered(String),
    /// The system refused to accept connections, for this reason: most likely
    /// [`LocalFault::Descriptors`](crate::LocalFault). It is tried again, ten times a second.
    AcceptFailed(DisconnectReason),
    /// This reactor was dropped, maybe by its thread's panic. The switch stops, unless the reactor may
    /// end, of which only a panic is told.
    ReactorGone {
        /// Its name.
        name: String,
        /// Whether it was dropped by a panic.
        has_panicked: bool,
    },
    /// This subscriber has left so many events unread that as many as these, which came now, were not
    /// kept for it. What it has of the switch's state is to be looked up anew, such as with
    /// [`SwitchHandle::peer_states`](crate::SwitchHandle::peer_states).
    Lost(u64),
    /// The switch has stopped. The last event.
    Stopped(StopReason),
}

/// Why a switch stopped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StopReason {
    /// Somebody asked for it.
    #[error("it was asked for")]
    Requested,
    /// This reactor was dropped, by its thread's panic or otherwise: what peers sent would have been
    /// taken for delivered and never seen.
    #[error("reactor {0:?} is gone")]
    ReactorGone(String),
    /// A thread of the switch ended by itself: the system took the poll away, or a bug.
    #[error("one of its threads failed")]
    Failed,
    /// It was never started: its builder was dropped, or the start failed.
    #[error("it was never started")]
    NotStarted,
    /// It has not stopped: it was waited for on one of its own threads (an init hook, a filter, a
    /// resolver), which would wait for itself.
    #[error("it was waited for on one of its own threads")]
    WrongThread,
}
