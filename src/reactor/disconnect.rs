//! Why a connection ended or never became a session.

use std::time::Duration;

use crate::{identity::NodeId, node_info::Incompatible, protocol::LinkError};

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
    /// A session with the same ID exists.
    #[error("already connected to {0}")]
    DuplicateId(NodeId),
    /// An attempt to reach the same ID is under way.
    #[error("already dialing {0}")]
    AlreadyDialing(NodeId),
    /// A reactor stopped the session, or its init hook panicked.
    #[error("stopped by a reactor: {0}")]
    Reactor(String),
    /// The operator stopped the session.
    #[error("stopped by the operator: {0}")]
    Operator(String),
    /// The switch was stopped.
    #[error("the switch was stopped")]
    Stopped,
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
            Self::DuplicateId(_) | Self::AlreadyDialing(_) => "duplicate_id",
            Self::Reactor(_) => "reactor",
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
