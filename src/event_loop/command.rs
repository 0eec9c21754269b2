//! What crosses between the switch and the event loop: plain data.

use std::{net::SocketAddr, sync::Arc};

use crate::{
    identity::NodeId,
    ids::{ConnId, Direction},
    node_info::NodeInfo,
    reactor::{CloseMode, DisconnectReason, Session},
    time::Mono,
};

/// Switch → loop. Unbounded by type, bounded by construction: at most one `Dial` per ticket, one
/// `Admit` or `Reject` per `Established`; a `Close` for a connection that is over is ignored.
#[derive(Debug)]
pub enum Command {
    /// Connect and authenticate. Answered by `Established` or `DialFailed` with the same ticket.
    Dial {
        /// Given back in the answer.
        ticket: u64,
        /// Where to.
        addr: SocketAddr,
        /// Who must be there.
        expected: NodeId,
    },
    /// The connection is a session from now on.
    Admit {
        /// An established connection.
        conn: ConnId,
        /// Its queues, budgets and counters.
        session: Arc<Session>,
    },
    /// The established connection is not wanted.
    Reject {
        /// An established connection.
        conn: ConnId,
        /// Why.
        reason: DisconnectReason,
    },
    /// The session is to end.
    Close {
        /// The session's connection.
        conn: ConnId,
        /// How.
        mode: CloseMode,
    },
    /// End everything: stop listening, flush every session, close. `Stopped` follows.
    Shutdown {
        /// When what is not flushed by then is closed all the same.
        deadline: Mono,
    },
}

/// Loop → switch. Per connection at most `Established`, `FirstMessage` and `Closed`, or one
/// failure.
#[derive(Debug)]
pub enum Report {
    /// Authenticated, NodeInfo exchanged; waits for `Admit` or `Reject`. Exactly one `Closed`
    /// follows, whatever the verdict.
    Established(Established),
    /// A `Dial` ended before it was established.
    DialFailed {
        /// The ticket of the `Dial`.
        ticket: u64,
        /// Why.
        reason: DisconnectReason,
    },
    /// An accepted connection ended before it was established.
    HandshakeFailed {
        /// Where it came from.
        remote: SocketAddr,
        /// Who it is, if it got as far as proving it.
        id: Option<NodeId>,
        /// Why.
        reason: DisconnectReason,
    },
    /// The session has delivered its first message.
    FirstMessage(ConnId),
    /// The connection is over and its slot is free.
    Closed {
        /// Which.
        conn: ConnId,
        /// Why.
        reason: DisconnectReason,
    },
    /// Accepting failed; it goes on after a pause.
    AcceptFailed(std::io::ErrorKind),
    /// After `Shutdown`: every connection is closed. The last report.
    Stopped,
}

/// An authenticated connection.
#[derive(Debug)]
pub struct Established {
    /// Its name.
    pub conn: ConnId,
    /// The ticket of its `Dial`, for an outbound one.
    pub ticket: Option<u64>,
    /// The authenticated ID.
    pub id: NodeId,
    /// The peer's NodeInfo: valid, compatible, with the authenticated ID.
    pub node_info: Box<NodeInfo>,
    /// Who dialed.
    pub direction: Direction,
    /// The socket's remote address.
    pub remote: SocketAddr,
}
