//! What goes into the switch's core and what comes out of it: plain data.

use std::{net::SocketAddr, sync::Arc};

use super::{Candidate, Limits, PeerState, SwitchEvent};
use crate::{
    address::PeerAddress,
    ban::{Ban, BanTable},
    event_loop::{Command, Report},
    identity::NodeId,
    ids::ConnId,
    reactor::{Admission, DisconnectReason},
    time::Mono,
};

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// The event loop tells.
    Report(Report),
    /// A user asks.
    Request(Request),
    /// A name was resolved, or not.
    Resolved(Resolved),
    /// One filter has decided, or never will.
    Decided {
        /// Of the [`Output::Filter`].
        ticket: u64,
        /// Yes, or why not.
        result: Result<(), String>,
    },
    /// Who is banned from now on.
    Bans {
        /// All of them.
        table: Arc<BanTable>,
        /// The one that is new.
        added: Option<Ban>,
    },
    /// The receiver of this reactor's events is gone.
    ReactorGone(usize),
}

/// What a user asks for. Those with a ticket are answered.
#[derive(Debug)]
pub enum Request {
    /// Dial a node now.
    Dial {
        /// Given back in the answer.
        ticket: u64,
        /// Whom, and where.
        addr: PeerAddress,
        /// Who wants it.
        origin: Origin,
    },
    /// The same, and nobody waits for the answer.
    DialUnasked {
        /// Whom, and where.
        addr: PeerAddress,
        /// Who wants it.
        origin: Origin,
    },
    /// Something that is done at once.
    Control {
        /// Given back in the answer.
        ticket: u64,
        /// What.
        control: Control,
    },
    /// Stop everything; what is not flushed by the deadline is cut.
    Stop {
        /// When to stop waiting for peers.
        deadline: Mono,
    },
}

/// Who wants a node dialed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The operator or the application: no limit applies.
    Operator,
    /// It is a persistent peer: no limit applies.
    Persistent,
    /// Peer exchange.
    Discovery {
        /// How often it has tried in vain before.
        failures: u32,
        /// Up to `max_num_outbound_peers` only; else the session is a short one.
        is_limited: bool,
    },
}

/// Changes at run time.
#[derive(Debug)]
pub enum Control {
    /// Dial these, each after a random part of `Config::dial_spread`.
    DialPeers(Vec<PeerAddress>),
    /// Keep a connection with this node from now on, at this address.
    AddPersistent(PeerAddress),
    /// Do not dial this node again by itself. Its session stays.
    RemovePersistent(NodeId),
    /// Admit this node whatever the limits.
    AddUnconditional(NodeId),
    /// Other limits. Nobody is disconnected for them.
    SetLimits(Limits),
    /// Tell the state of every node.
    States,
}

/// The answer to a request.
#[derive(Debug)]
pub enum Answer {
    /// To a dial: the authenticated ID, or why there is no session.
    Dialed(Result<NodeId, DisconnectReason>),
    /// It is done, or it was not possible and nothing has changed.
    Done(Result<(), ControlError>),
    /// The state of every node.
    States(Vec<PeerState>),
}

/// Why a request at run time was refused. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// No such peer: not connected, or not persistent, as the call needs it.
    #[error("{0} is no such peer")]
    UnknownPeer(NodeId),
    /// The node is this one.
    #[error("{0} is this node's own ID")]
    OwnId(NodeId),
    /// Nobody can be at the address.
    #[error("{0} cannot be dialed; give an IP address or a host, and a port above 0")]
    Undialable(PeerAddress),
    /// The switch has stopped.
    #[error("the switch has stopped")]
    Stopped,
    /// Called on one of the library's own threads (from a filter or an init hook), which would
    /// wait for itself.
    #[error("a call that waits, made on a thread of the switch")]
    WrongThread,
}

/// A name to resolve, for a resolver thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolveRequest {
    /// Given back in the answer.
    pub ticket: u64,
    /// The name.
    pub host: String,
    /// The port to put into the addresses.
    pub port: u16,
}

/// The answer of a resolver thread.
#[derive(Debug)]
pub struct Resolved {
    /// Of the request.
    pub ticket: u64,
    /// Every address of the name, or what went wrong.
    pub result: Result<Vec<SocketAddr>, String>,
}

/// What the switch wants done, in this order.
#[derive(Debug)]
pub enum Output {
    /// For the event loop.
    Command(Command),
    /// Run the init hooks, tell every reactor, then say how it went with
    /// [`handle_introduced`](super::SwitchCore::handle_introduced).
    Introduce(Admission),
    /// Tell every reactor that the session is over.
    Down {
        /// Which.
        conn: ConnId,
        /// Why.
        reason: DisconnectReason,
    },
    /// The session's peer is persistent or reserved from now on, or no longer.
    Mark {
        /// Which.
        conn: ConnId,
        /// Dialed again when it is lost.
        is_persistent: bool,
        /// Not counted in limits.
        is_reserved: bool,
    },
    /// Ask the filters; each answers with [`Input::Decided`].
    Filter {
        /// Given back in the answers.
        ticket: u64,
        /// Who is to be let in.
        candidate: Candidate,
    },
    /// The answer to a request.
    Answer {
        /// Of the request.
        ticket: u64,
        /// What.
        answer: Answer,
    },
    /// For a resolver thread.
    Resolve(ResolveRequest),
    /// For subscribers and the log.
    Event(SwitchEvent),
}
