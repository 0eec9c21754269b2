//! Why a connection ended or never became a session.

use std::{net::IpAddr, time::Duration};

use crate::{ban::BanTarget, identity::NodeId, node_info::Incompatible, protocol::LinkError};

/// Why a connection ended, or why an attempt never became a session. Sorted by blame: the peer,
/// the environment, our own side.
///
/// Given to every reactor with `Event::PeerDown` and to subscribers of switch events.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DisconnectReason {
    // The peer.
    /// The peer closed the connection. Everything it had sent was delivered before.
    #[error("closed by the peer")]
    Eof,
    /// The peer, or something between, reset the connection.
    #[error("connection reset by the peer")]
    Reset,
    /// The peer broke the protocol.
    #[error("{0}")]
    Protocol(LinkError),
    /// The peer held more half-received messages than anybody else when the pool of all
    /// connections was full.
    #[error("too many bytes of unfinished messages ({bytes}) while the pool for them was full")]
    ReassemblyPool {
        /// Bytes that this connection held.
        bytes: usize,
    },
    /// The dialed node is somebody else.
    #[error("wrong node: dialed {expected}, authenticated as {actual}")]
    WrongId {
        /// The ID that was dialed.
        expected: NodeId,
        /// The ID that the node proved to be its own.
        actual: NodeId,
    },
    /// The node at the other end is this one.
    #[error("connected to ourselves")]
    SelfConnection,
    /// The node cannot be a peer of ours.
    #[error("incompatible: {0}")]
    Incompatible(Incompatible),
    /// The dialed node closed the connection soon after the handshake, without a message: what a
    /// node does that has no room for us.
    #[error("the node closed the connection right after the handshake; it may have no room for us")]
    RefusedAfterHandshake,
    /// Something was sent to the peer, and it took less than a frame of it in three times
    /// `Config::send_timeout`.
    #[error("read nothing of what was sent for {0:?}")]
    NotReading(Duration),
    /// The session had given no sign of life when the same node connected anew.
    #[error("silent while the same node connected anew")]
    Superseded,

    // The environment.
    /// The handshake was not over in time.
    #[error("handshake not finished within {0:?}")]
    HandshakeTimeout(Duration),
    /// The connection was not established in time.
    #[error("no connection within {0:?}")]
    DialTimeout(Duration),
    /// Nobody listens at the address.
    #[error("connection refused")]
    Refused,
    /// The address cannot be reached.
    #[error("unreachable: {0}")]
    Unreachable(std::io::ErrorKind),
    /// The host name has no address.
    #[error("cannot resolve {host:?}: {error}")]
    Lookup {
        /// The name.
        host: String,
        /// What the resolver said.
        error: String,
    },

    // Our own side.
    /// There is no room for another peer.
    #[error("no room for another peer: {0}")]
    Full(Room),
    /// Another peer has the same IP address, and that is not allowed.
    #[error("another peer has the address {0}")]
    DuplicateIp(IpAddr),
    /// A filter did not want it.
    #[error("refused by a filter: {0}")]
    Filtered(String),
    /// Banned.
    #[error("{0} is banned")]
    Banned(BanTarget),
    /// Another peer was wanted, and this one was needed least.
    #[error("another peer took its place")]
    Replaced,
    /// It had not authenticated itself when the place was needed for a newer connection.
    #[error("not authenticated while newer connections were waiting")]
    Evicted,
    /// A reactor does not take its events, and nobody is admitted until it does.
    #[error("reactor {0:?} does not take its events")]
    ReactorStalled(String),
    /// A session with the same ID exists.
    #[error("already connected to {0}")]
    DuplicateId(NodeId),
    /// An attempt to reach the same ID is under way.
    #[error("already dialing {0}")]
    AlreadyDialing(NodeId),
    /// A reactor stopped the session, or its init hook panicked.
    #[error("stopped by a reactor: {0}")]
    Reactor(String),
    /// A reactor ended the session without an error.
    #[error("no longer needed by a reactor")]
    Finished,
    /// The operator stopped the session.
    #[error("stopped by the operator: {0}")]
    Operator(String),
    /// The switch was stopped.
    #[error("the switch was stopped")]
    Stopped,
}

/// What there is no room in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Room {
    /// `max_num_inbound_peers`.
    #[error("as many peers dialed us as may (max_num_inbound_peers)")]
    Inbound,
    /// `max_num_outbound_peers`.
    #[error("as many peers were dialed as may be (max_num_outbound_peers)")]
    Outbound,
    /// `max_peers_per_ip`.
    #[error("as many peers have this address as may (max_peers_per_ip)")]
    Ip,
    /// `max_inbound_per_subnet`.
    #[error("as many peers dialed us from this network as may (max_inbound_per_subnet)")]
    Subnet,
    /// `accept_rate_per_ip`.
    #[error("this address connects too often (accept_rate_per_ip)")]
    IpRate,
    /// `accept_rate_per_subnet`.
    #[error("the network of this address connects too often (accept_rate_per_subnet)")]
    SubnetRate,
    /// `max_pending_per_ip`.
    #[error("too many handshakes of this address are under way (max_pending_per_ip)")]
    IpPending,
    /// `max_pending_per_subnet`.
    #[error("too many handshakes of this address's network are under way (max_pending_per_subnet)")]
    SubnetPending,
}

impl DisconnectReason {
    /// A stable snake_case word for programs that watch events.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Eof => "eof",
            Self::Reset => "reset",
            Self::Protocol(error) => error.kind(),
            Self::ReassemblyPool { .. } => "evicted",
            Self::WrongId { .. } => "wrong_id",
            Self::SelfConnection => "self",
            Self::Incompatible(_) => "incompatible",
            Self::HandshakeTimeout(_) => "handshake_timeout",
            Self::DialTimeout(_) => "dial_timeout",
            Self::Refused => "refused",
            Self::Unreachable(_) => "unreachable",
            Self::Lookup { .. } => "lookup",
            Self::RefusedAfterHandshake => "refused_after_handshake",
            // To programs the same: the peer is not there.
            Self::NotReading(_) | Self::Superseded => "pong_timeout",
            Self::Full(_) => "full",
            Self::DuplicateIp(_) => "duplicate_ip",
            Self::Filtered(_) => "filtered",
            Self::Banned(_) => "banned",
            Self::Evicted | Self::Replaced => "evicted",
            Self::DuplicateId(_) | Self::AlreadyDialing(_) => "duplicate_id",
            Self::Finished | Self::Reactor(_) | Self::ReactorStalled(_) => "reactor",
            Self::Operator(_) => "operator",
            Self::Stopped => "stopped",
        }
    }

    /// Whether an operator should hear of it above debug level: the peer misbehaved, or something
    /// here is not as configured. A peer that simply left is neither.
    pub fn is_notable(&self) -> bool {
        matches!(
            self,
            Self::Protocol(_)
                | Self::ReassemblyPool { .. }
                | Self::WrongId { .. }
                | Self::Incompatible(_)
                | Self::Lookup { .. }
                | Self::Reactor(_)
                | Self::ReactorStalled(_)
        )
    }

    /// The end of a connection that an I/O error stands for.
    pub(crate) fn from_io(error: &std::io::Error) -> Self {
        use std::io::ErrorKind;
        match error.kind() {
            ErrorKind::ConnectionRefused => Self::Refused,
            ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
                Self::Reset
            }
            kind => Self::Unreachable(kind),
        }
    }
}

impl From<LinkError> for DisconnectReason {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::WrongId { expected, actual } => Self::WrongId { expected, actual },
            LinkError::SelfConnection => Self::SelfConnection,
            LinkError::Incompatible(why) => Self::Incompatible(why),
            error => Self::Protocol(error),
        }
    }
}
