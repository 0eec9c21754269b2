//! What goes into the switch's core and what comes out of it: plain data.

use std::net::SocketAddr;

use crate::{
    address::PeerAddress,
    event_loop::{Command, Report},
    identity::NodeId,
    ids::{ConnId, Direction},
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
}

/// What a user asks for.
#[derive(Debug)]
pub enum Request {
    /// Dial a node; answered with the ticket.
    Dial {
        /// Given back in the answer.
        ticket: u64,
        /// Whom, and where.
        addr: PeerAddress,
    },
    /// Stop everything; what is not flushed by the deadline is cut.
    Stop {
        /// When to stop waiting for peers.
        deadline: Mono,
    },
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
    /// The answer to a dial.
    Answer {
        /// Of the request.
        ticket: u64,
        /// The authenticated ID, or why there is no session.
        result: Result<NodeId, DisconnectReason>,
    },
    /// For a resolver thread.
    Resolve(ResolveRequest),
    /// For subscribers and the log.
    Event(SwitchEvent),
}

/// What a subscriber hears.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SwitchEvent {
    /// A session began.
    PeerUp {
        /// The peer.
        id: NodeId,
        /// The socket's remote address.
        addr: SocketAddr,
        /// Who dialed.
        direction: Direction,
        /// What the peer calls itself: printable ASCII.
        moniker: String,
    },
    /// A session ended.
    PeerDown {
        /// The peer.
        id: NodeId,
        /// The socket's remote address.
        addr: SocketAddr,
        /// Why.
        reason: DisconnectReason,
    },
    /// An outbound attempt ended before it was a session.
    DialFailed {
        /// What was dialed.
        addr: PeerAddress,
        /// Why.
        reason: DisconnectReason,
    },
    /// An inbound connection did not become a session.
    Rejected {
        /// Where it came from.
        addr: SocketAddr,
        /// Who it is, if it was authenticated.
        id: Option<NodeId>,
        /// Why.
        reason: DisconnectReason,
    },
    /// The system refused to accept connections; it is tried again.
    AcceptFailed(std::io::ErrorKind),
    /// The switch has stopped. The last event.
    Stopped,
}
