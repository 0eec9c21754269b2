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
    /// Our own machine could not: it says nothing of the other side, and counts against nobody.
    #[error("our own machine's fault: {0}")]
    Local(LocalFault),
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
    /// It was not established when the place was needed for a newer connection.
    #[error("not established while newer connections were waiting")]
    Evicted,
    /// A hook, a filter or a logger of the application holds up the switch, which has not decided
    /// about the connection in this time.
    #[error("not decided about within {0:?}: a hook, filter or logger holds up the switch")]
    SwitchBusy(Duration),
    /// A reactor does not take its events, and nobody is admitted until it does.
    #[error("reactor {0:?} does not take its events")]
    ReactorStalled(String),
    /// A session with the same ID exists.
    #[error("already connected to {0}")]
    DuplicateId(NodeId),
    /// An attempt to reach the same ID is under way.
    #[error("already dialing {0}")]
    AlreadyDialing(NodeId),
    /// A connection with the same ID waits for the verdict of the peer filters.
    #[error("the filters have not decided about an earlier connection with {0}")]
    Undecided(NodeId),
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

/// What our own machine could not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LocalFault {
    /// The process, or the system, has no file descriptor left (`EMFILE`, `ENFILE`).
    #[error("too many open files; raise the limit (ulimit -n)")]
    Descriptors,
    /// No interface that is up leads there (`ENETDOWN`, and `ENETUNREACH` or `EHOSTUNREACH` of our
    /// own routing table).
    #[error("no route leads there; is the link up?")]
    NoRoute,
    /// No address or port of our own is free for it (`EADDRNOTAVAIL`).
    #[error("no address or port of our own is free")]
    NoAddress,
    /// The kernel has no memory for it (`ENOBUFS`, `ENOMEM`).
    #[error("the kernel has no memory for it")]
    Memory,
    /// The system gives no random numbers, without which there is no key.
    #[error("the system gives no random numbers")]
    Randomness,
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
    /// A stranger's address begins sessions faster than one in 5 s.
    #[error("this address begins sessions too often")]
    SessionRate,
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
            Self::Local(_) => "local",
            Self::Full(_) => "full",
            Self::DuplicateIp(_) => "duplicate_ip",
            Self::Filtered(_) => "filtered",
            Self::Banned(_) => "banned",
            Self::Evicted | Self::Replaced | Self::SwitchBusy(_) => "evicted",
            Self::DuplicateId(_) | Self::AlreadyDialing(_) | Self::Undecided(_) => "duplicate_id",
            Self::Finished | Self::Reactor(_) | Self::ReactorStalled(_) => "reactor",
            Self::Operator(_) => "operator",
            Self::Stopped => "stopped",
        }
    }

    /// Whether an operator should be warned if it happens to a peer that he has configured: the peer
    /// misbehaved, or something here is not as configured. A peer that simply left is neither.
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
                | Self::SwitchBusy(_)
        )
    }

    /// Whether it says nothing of the other side.
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Local(_))
    }

    /// What `connect` itself answered: nothing has left this machine yet, so that what cannot be
    /// reached is so by our own routing table.
    pub(crate) fn from_connect(error: &std::io::Error) -> Self {
        use std::io::ErrorKind;
        match error.kind() {
            ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable => {
                Self::Local(LocalFault::NoRoute)
            }
            // Without IPv6, say.
            _ if is_one_of(error, raw::EAFNOSUPPORT) => Self::Local(LocalFault::NoRoute),
            // The poll watches as many sockets as it may.
            ErrorKind::StorageFull => Self::Local(LocalFault::Memory),
            _ => Self::from_io(error),
        }
    }

    /// The end of a connection that an I/O error stands for. Once a packet has left, anybody on the
    /// way can say that a network or host cannot be reached.
    pub(crate) fn from_io(error: &std::io::Error) -> Self {
        use std::io::ErrorKind;
        match error.kind() {
            _ if is_one_of(error, raw::EMFILE) => Self::Local(LocalFault::Descriptors),
            _ if is_one_of(error, raw::ENOBUFS) => Self::Local(LocalFault::Memory),
            ErrorKind::OutOfMemory => Self::Local(LocalFault::Memory),
            ErrorKind::NetworkDown => Self::Local(LocalFault::NoRoute),
            ErrorKind::AddrNotAvailable => Self::Local(LocalFault::NoAddress),
            ErrorKind::ConnectionRefused => Self::Refused,
            ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
                Self::Reset
            }
            kind => Self::Unreachable(kind),
        }
    }
}

/// Errors that the standard library has no stable name for.
#[cfg(windows)]
mod raw {
    pub(super) const EMFILE: &[i32] = &[10024];
    pub(super) const ENOBUFS: &[i32] = &[10055];
    pub(super) const EAFNOSUPPORT: &[i32] = &[10047];
}

/// The same for Linux.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod raw {
    pub(super) const EMFILE: &[i32] = &[23, 24];
    pub(super) const ENOBUFS: &[i32] = &[105];
    pub(super) const EAFNOSUPPORT: &[i32] = &[97];
}

/// The same for the BSDs and macOS.
#[cfg(not(any(windows, target_os = "linux", target_os = "android")))]
mod raw {
    pub(super) const EMFILE: &[i32] = &[23, 24];
    pub(super) const ENOBUFS: &[i32] = &[55];
    pub(super) const EAFNOSUPPORT: &[i32] = &[47];
}

fn is_one_of(error: &std::io::Error, raw: &[i32]) -> bool {
    error.raw_os_error().is_some_and(|number| raw.contains(&number))
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

#[cfg(test)]
mod tests {
    use std::io::Error;

    use super::*;

    /// What leaves no packet is our own; what somebody on the way may have said is not.
    #[cfg(target_os = "linux")]
    #[test]
    fn faults_of_our_own_machine_are_told_from_those_of_others() {
        use LocalFault::{Descriptors, Memory, NoAddress, NoRoute};
        let local = DisconnectReason::Local;
        let unreachable =
            |number| DisconnectReason::Unreachable(Error::from_raw_os_error(number).kind());
        let [emfile, enfile, enobufs, enomem, eaddrnotavail] = [24, 23, 105, 12, 99];
        let [enetdown, enetunreach, ehostunreach, eafnosupport] = [100, 101, 113, 97];
        let [econnrefused, econnreset, etimedout] = [111, 104, 110];
        for (number, at_connect, later) in [
            (emfile, local(Descriptors), local(Descriptors)),
            (enfile, local(Descriptors), local(Descriptors)),
            (enobufs, local(Memory), local(Memory)),
            (enomem, local(Memory), local(Memory)),
            (eaddrnotavail, local(NoAddress), local(NoAddress)),
            (enetdown, local(NoRoute), local(NoRoute)),
            (enetunreach, local(NoRoute), unreachable(enetunreach)),
            (ehostunreach, local(NoRoute), unreachable(ehostunreach)),
            (eafnosupport, local(NoRoute), unreachable(eafnosupport)),
            (econnrefused, DisconnectReason::Refused, DisconnectReason::Refused),
            (econnreset, DisconnectReason::Reset, DisconnectReason::Reset),
            (etimedout, unreachable(etimedout), unreachable(etimedout)),
        ] {
            let error = Error::from_raw_os_error(number);
            assert_eq!(DisconnectReason::from_connect(&error), at_connect, "{error}");
            assert_eq!(DisconnectReason::from_io(&error), later, "{error}");
            assert_eq!(at_connect.kind() == "local", at_connect.is_local());
        }
    }
}
