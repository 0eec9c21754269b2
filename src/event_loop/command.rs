//! What crosses between the switch and the event loop: plain data.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use crate::{
    ban::BanTable,
    identity::NodeId,
    ids::{ConnId, Direction},
    node_info::NodeInfo,
    reactor::{CloseMode, DisconnectReason, Session},
    time::Mono,
};

/// Switch → loop. Unbounded by type, bounded by construction: at most one `Dial` per ticket, one
/// `Admit` or `Reject` per `Established`, one `Considered` or `Heard` per report that wants it; a
/// `Close` for a connection that is over is ignored.
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
        /// How long all of it may take, from `connect` to the peer's NodeInfo, where that is less
        /// than the time-outs of dial and handshake; `None`: those alone.
        within: Option<Duration>,
    },
    /// The connection filters have decided about an `Accepted`.
    Filtered {
        /// An accepted connection that waits.
        conn: ConnId,
        /// Go on with the handshake, or close.
        verdict: Result<(), DisconnectReason>,
    },
    /// Find out whether a session's peer is still there: answered with one `Alive`, or `Ending` if
    /// the session is about to be over; with nothing while the peer is silent.
    Probe(ConnId),
    /// Who is banned from now on.
    Bans(Arc<BanTable>),
    /// The switch has looked at an `Accepted` or `Established`, whatever becomes of it: it may be
    /// asked about another one.
    Considered,
    /// The switch has read a `HandshakeFailed` or `Refused`: it may be told of another one.
    Heard,
    /// Where persistent peers are: the addresses that are configured, and those that configured
    /// names stand for. A few handshakes a second are not for them, nor is what others of their
    /// networks do.
    Known(Arc<BTreeSet<IpAddr>>),
    /// Whether there is no room for inbound peers but reserved ones: then only a few handshakes a
    /// second are run.
    InboundFull(bool),
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

/// Loop → switch. Per connection at most `Accepted`, `Established`, `FirstMessage`, `Ending` and
/// `Closed`, or one failure; beside these one `Alive` per `Probe`, and `Refused` at a bounded rate.
///
/// Bounded also while the switch takes none: it is asked (`Accepted`, `Established` of an accepted
/// connection) about 64 at most that it has not `Considered`, and told of 1024 failures and refusals
/// at most that it has not `Heard`. Who goes before the switch was asked about it is a failed
/// handshake, and no verdict is wanted.
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
        /// How many others failed or were refused since the last such report.
        others: u64,
    },
    /// Accepted, and it waits for `Filtered`. Only with connection filters.
    Accepted {
        /// Its name.
        conn: ConnId,
        /// Where it came from.
        remote: SocketAddr,
    },
    /// A connection was closed as soon as it was accepted. Told for some of them only, so that a
    /// flood of connections makes no flood of reports.
    Refused {
        /// Where it came from.
        remote: SocketAddr,
        /// Why.
        reason: DisconnectReason,
        /// How many others failed or were refused since the last such report.
        others: u64,
    },
    /// A sign of life after a `Probe`: once per `Probe` at most.
    Alive(ConnId),
    /// The session's connection was ended by the peer, or is being closed, and `Closed` follows; or
    /// the peer has ended one that waits for its verdict. Once per connection at most.
    Ending(ConnId),
    /// The receiver of this reactor's events is gone. Once per reactor.
    ReactorGone(usize),
    /// The session has delivered its first message.
    FirstMessage(ConnId),
    /// The connection is over and its slot is free.
    Closed {
        /// Which.
        conn: ConnId,
        /// Why.
        reason: DisconnectReason,
        /// A message was written to it, other than of peer exchange.
        has_sent: bool,
    },
    /// Accepting failed; it goes on after a pause.
    AcceptFailed(DisconnectReason),
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
    pub node_info: Arc<NodeInfo>,
    /// Who dialed.
    pub direction: Direction,
    /// The socket's remote address.
    pub remote: SocketAddr,
}
