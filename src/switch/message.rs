//! What goes into the switch's core and what comes out of it.

use std::{net::SocketAddr, sync::Arc};

use super::{Candidate, Limits, PeerState, SwitchEvent};
use crate::{
    address::{NetAddress, PeerAddress},
    ban::{Ban, BanTable},
    event_loop::{Command, Report},
    identity::NodeId,
    ids::{ConnId, Direction},
    origin::Origin,
    reactor::{Admission, DisconnectReason, Vitals},
    refused::{Stopped, WrongThread},
    reply::{Answer, Reply},
    time::Mono,
};

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// It begins: persistent peers are dialed from now on.
    Start,
    /// Nothing but that time has passed.
    Timeout,
    /// The reactor that has left most sessions unread, and how many. Told beside what happened, before
    /// it.
    Unread {
        /// Its number.
        reactor: usize,
        /// How many.
        sessions: usize,
    },
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
        /// Those that are new.
        added: Vec<Ban>,
    },
    /// Something that subscribers are to hear, of the book.
    Event(SwitchEvent),
    /// Nobody reads this reactor's events any more.
    ReactorGone {
        /// Which.
        reactor: usize,
        /// Its thread panicked with it.
        has_panicked: bool,
    },
    /// To [`Output::Introduce`]: the reactors were told of a connection, or `Err`: an init hook failed
    /// and none will be.
    Introduced {
        /// Which.
        conn: ConnId,
        /// Why not.
        result: Result<(), String>,
    },
    /// To [`Output::Weigh`]: what is known of the sessions that it has named.
    Weighed {
        /// Who is to be let in.
        newcomer: ConnId,
        /// Who may have to leave.
        sessions: Vec<(ConnId, Vitals)>,
    },
}

/// How a dial ended: the authenticated ID, or why there is no session.
pub type Dialed = Result<NodeId, DisconnectReason>;

/// What a user or peer exchange asks for.
#[derive(Debug)]
pub enum Request {
    /// Dial a node now.
    Dial {
        /// Whom, and where.
        addr: PeerAddress,
        /// Who wants it.
        origin: Origin,
        /// For whom waits for it.
        reply: Option<Reply<Dialed>>,
    },
    /// Let a peer go that is not needed, see [`evicting`](super::evicting).
    Evict {
        /// Which session.
        conn: ConnId,
        /// Why.
        reason: DisconnectReason,
    },
    /// Something that is done at once, or was not possible and has changed nothing.
    Control {
        /// What.
        control: Control,
        /// For whom waits for it.
        reply: Reply<Result<(), ControlError>>,
    },
    /// Tell the state of every node.
    States(Reply<Vec<PeerState>>),
    /// Stop everything; what is not flushed by the deadline is cut.
    Stop {
        /// When to stop waiting for peers.
        deadline: Mono,
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
    /// Limits apply to this node as to others. Its session stays.
    RemoveUnconditional(NodeId),
    /// Other limits. Nobody is disconnected for them.
    SetLimits(Limits),
}

/// Why a request at run time was refused. Nothing has changed.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
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
    /// More peers than there can be connections.
    #[error("{key} is {value}; it must be at most {most}")]
    OutOfRange {
        /// The limit.
        key: &'static str,
        /// What was asked for.
        value: usize,
        /// What there can be.
        most: usize,
    },
    /// There is no switch to ask.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// Called on one of the library's own threads.
    #[error(transparent)]
    WrongThread(#[from] WrongThread),
}

crate::text::readable_debug!(ControlError);

/// Why there is no session with the dialed node.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// The attempt failed.
    #[error("{0}")]
    Failed(DisconnectReason),
    /// There is no switch to dial, or it stopped before the attempt was over.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// Waited on one of the library's own threads.
    #[error(transparent)]
    WrongThread(#[from] WrongThread),
}

crate::text::readable_debug!(DialError);

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

/// What peer exchange and the book are to know, in this order.
#[derive(Clone, Debug)]
pub enum Notice {
    /// An attempt that peer exchange has not asked for is scheduled or under way. It ends with a
    /// session of this origin, or with `DialFailed`.
    DialBegun {
        /// Who is dialed.
        id: NodeId,
        /// Who wants it.
        origin: Origin,
    },
    /// An attempt, whoever wanted it, has brought no session.
    DialFailed {
        /// Who was dialed, and where.
        addr: PeerAddress,
        /// Who wanted it.
        origin: Origin,
        /// Why.
        reason: DisconnectReason,
    },
    /// A node has authenticated itself and is one of ours: whether or not it becomes a peer.
    Authenticated {
        /// Which.
        id: NodeId,
        /// Who dialed.
        direction: Direction,
    },
    /// The operator says that a node is there.
    Listed(NetAddress),
    /// How a node stands from now on.
    Standing {
        /// Which.
        id: NodeId,
        /// It is the switch's to dial, and never bad.
        is_persistent: bool,
        /// It is admitted whatever the limits.
        is_unconditional: bool,
    },
}

/// What the switch wants done, in this order.
#[derive(Debug)]
pub enum Output {
    /// For the event loop.
    Command(Command),
    /// Run the init hooks, tell every reactor, then say how it went with [`Input::Introduced`].
    Introduce(Admission),
    /// There is no room for this connection unless one of these sessions leaves: tell what is known
    /// of them with [`Input::Weighed`].
    Weigh {
        /// Who is to be let in.
        newcomer: ConnId,
        /// Who may have to leave.
        sessions: Vec<ConnId>,
    },
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
    /// Answer a request.
    Answer(Answer),
    /// For a resolver thread.
    Resolve(ResolveRequest),
    /// For peer exchange.
    Notice(Notice),
    /// For subscribers and the log.
    Event(SwitchEvent),
}
