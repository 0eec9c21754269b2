//! Why a connection ended or never became a session.

use std::{net::IpAddr, time::Duration};

use crate::{
    ban::BanTarget,
    identity::NodeId,
    node_info::Incompatible,
    protocol::{LinkError, mconn::MConnError},
};

/// Why a connection ended, or why an attempt never became a session. [`kind`](Self::kind) is its word,
/// [`blame`](Self::blame) says whose doing it was.
///
/// Given to every reactor with [`Event::PeerDown`](crate::Event::PeerDown) and to subscribers of switch
/// events.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[doc(alias = "ErrRejected")]
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
    #[doc(alias = "ErrSwitchAuthenticationFailure")]
    WrongId {
        /// The ID that was dialed.
        expected: NodeId,
        /// The ID that the node proved to be its own.
        actual: NodeId,
    },
    /// The node at the other end is this one.
    #[error("connected to ourselves")]
    #[doc(alias = "ErrSwitchConnectToSelf")]
    SelfConnection,
    /// The node cannot be a peer of ours.
    #[error("incompatible: {0}")]
    Incompatible(Incompatible),
    /// The dialed node closed the connection within a second of its handshake, before a message of
    /// ours or of its own: what a node does that has no room for us. Requests of peer exchange are no
    /// messages here: one is under way before the refusal can arrive.
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
    #[doc(alias = "ErrSwitchDuplicatePeerIP")]
    DuplicateIp(IpAddr),
    /// A filter did not want it, or an init hook panicked.
    #[error("refused by a filter: {0}")]
    #[doc(alias = "ErrFilterTimeout")]
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
    #[doc(alias = "ErrSwitchDuplicatePeerID")]
    DuplicateId(NodeId),
    /// An attempt to reach the same ID is under way.
    #[error("already dialing {0}")]
    #[doc(alias = "ErrCurrentlyDialingOrExistingAddress")]
    AlreadyDialing(NodeId),
    /// A connection with the same ID waits for the verdict of the peer filters.
    #[error("the filters have not decided about an earlier connection with {0}")]
    Undecided(NodeId),
    /// A reactor found fault with the peer and stopped the session.
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

/// Whose doing the end of a connection was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The other node's: it broke the protocol, is not who it should be, cannot be a peer of ours, or
    /// a reactor found fault with it.
    Peer,
    /// The network's, or that of the machine at its other end: nobody was reached, or somebody left, did
    /// not answer in time or had no room for us. Another attempt may succeed.
    Network,
    /// Our own machine's, see [`LocalFault`]. It says nothing of the other side.
    Machine,
    /// Nobody's: this node, its operator or its application did not want the connection, or wanted it
    /// no longer. It says nothing of the other side.
    Nobody,
}

impl DisconnectReason {
    /// One stable snake_case word for each reason, for programs that watch events and for
    /// [`Metrics`](crate::Metrics). Two reasons have the same one where it makes no difference to
    /// whoever counts them:
    ///
    /// | kind | reasons |
    /// |---|---|
    /// | `auth_failure`, `protocol`, `pong_timeout` | [`Protocol`](Self::Protocol): a bad signature, frame or key; a ping that was not answered; everything else |
    /// | `pong_timeout` | also [`NotReading`](Self::NotReading): either way the peer is there no more, though the connection is |
    /// | `duplicate_id` | [`DuplicateId`](Self::DuplicateId), [`Undecided`](Self::Undecided): there is another connection with the node, whether or not it is a session yet |
    /// | `evicted` | [`Evicted`](Self::Evicted), [`Replaced`](Self::Replaced): somebody else needed the place more, whether or not it was a session yet |
    /// | `reactor_stalled` | [`ReactorStalled`](Self::ReactorStalled), [`SwitchBusy`](Self::SwitchBusy): code of the application holds up the node |
    /// | `self` | [`SelfConnection`](Self::SelfConnection) |
    /// | … | every other reason has its own name |
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Eof => "eof",
            Self::Reset => "reset",
            Self::Protocol(error) => error.kind(),
            Self::ReassemblyPool { .. } => "reassembly_pool",
            Self::WrongId { .. } => "wrong_id",
            Self::SelfConnection => "self",
            Self::Incompatible(_) => "incompatible",
            Self::HandshakeTimeout(_) => "handshake_timeout",
            Self::DialTimeout(_) => "dial_timeout",
            Self::Refused => "refused",
            Self::Unreachable(_) => "unreachable",
            Self::Lookup { .. } => "lookup",
            Self::RefusedAfterHandshake => "refused_after_handshake",
            Self::NotReading(_) => "pong_timeout",
            Self::Superseded => "superseded",
            Self::Local(_) => "local",
            Self::Full(_) => "full",
            Self::DuplicateIp(_) => "duplicate_ip",
            Self::Filtered(_) => "filtered",
            Self::Banned(_) => "banned",
            Self::Evicted | Self::Replaced => "evicted",
            Self::DuplicateId(_) | Self::Undecided(_) => "duplicate_id",
            Self::AlreadyDialing(_) => "already_dialing",
            Self::Reactor(_) => "reactor",
            Self::Finished => "finished",
            Self::ReactorStalled(_) | Self::SwitchBusy(_) => "reactor_stalled",
            Self::Operator(_) => "operator",
            Self::Stopped => "stopped",
        }
    }

    /// Whose doing it was: what decides whether an attempt counts against an address.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Protocol(LinkError::MConn(MConnError::PongTimeout)) => Blame::Network,
            Self::Protocol(LinkError::Nonce(_)) => Blame::Nobody,
            Self::Protocol(_)
            | Self::ReassemblyPool { .. }
            | Self::WrongId { .. }
            | Self::SelfConnection
            | Self::Incompatible(_)
            | Self::Reactor(_) => Blame::Peer,
            Self::Eof
            | Self::Reset
            | Self::RefusedAfterHandshake
            | Self::NotReading(_)
            | Self::Superseded
            | Self::HandshakeTimeout(_)
            | Self::DialTimeout(_)
            | Self::Refused
            | Self::Unreachable(_)
            | Self::Lookup { .. } => Blame::Network,
            Self::Local(_) => Blame::Machine,
            Self::Full(_)
            | Self::DuplicateIp(_)
            | Self::Filtered(_)
            | Self::Banned(_)
            | Self::Replaced
            | Self::Evicted
            | Self::SwitchBusy(_)
            | Self::ReactorStalled(_)
            | Self::DuplicateId(_)
            | Self::AlreadyDialing(_)
            | Self::Undecided(_)
            | Self::Finished
            | Self::Operator(_)
            | Self::Stopped => Blame::Nobody,
        }
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
    use std::{collections::BTreeSet, io::Error};

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
            assert_eq!(at_connect.kind() == "local", at_connect.blame() == Blame::Machine);
        }
    }

    /// Every reason, with its word and whose doing it is.
    fn reasons() -> Vec<(DisconnectReason, &'static str, Blame)> {
        use crate::protocol::secret::FrameError;
        use Blame::{Machine, Network, Nobody, Peer};
        use DisconnectReason::*;
        let (id, second) = (NodeId::from_bytes([1; 20]), Duration::from_secs(1));
        let text = || "text".to_owned();
        let chain = crate::node_info::Incompatible::Network { ours: text(), theirs: text() };
        vec![
            (Eof, "eof", Network),
            (Reset, "reset", Network),
            (Protocol(LinkError::NodeInfoFrames), "protocol", Peer),
            (Protocol(LinkError::Frame(FrameError::TooLong(2000))), "auth_failure", Peer),
            (Protocol(LinkError::MConn(MConnError::PongTimeout)), "pong_timeout", Network),
            (ReassemblyPool { bytes: 1 }, "reassembly_pool", Peer),
            (WrongId { expected: id, actual: id }, "wrong_id", Peer),
            (SelfConnection, "self", Peer),
            (Incompatible(chain), "incompatible", Peer),
            (RefusedAfterHandshake, "refused_after_handshake", Network),
            (NotReading(second), "pong_timeout", Network),
            (Superseded, "superseded", Network),
            (HandshakeTimeout(second), "handshake_timeout", Network),
            (DialTimeout(second), "dial_timeout", Network),
            (Refused, "refused", Network),
            (Unreachable(std::io::ErrorKind::HostUnreachable), "unreachable", Network),
            (Lookup { host: text(), error: text() }, "lookup", Network),
            (Local(LocalFault::NoRoute), "local", Machine),
            (Full(Room::Inbound), "full", Nobody),
            (DuplicateIp([1, 2, 3, 4].into()), "duplicate_ip", Nobody),
            (Filtered(text()), "filtered", Nobody),
            (Banned(id.into()), "banned", Nobody),
            (Replaced, "evicted", Nobody),
            (Evicted, "evicted", Nobody),
            (SwitchBusy(second), "reactor_stalled", Nobody),
            (ReactorStalled(text()), "reactor_stalled", Nobody),
            (DuplicateId(id), "duplicate_id", Nobody),
            (AlreadyDialing(id), "already_dialing", Nobody),
            (Undecided(id), "duplicate_id", Nobody),
            (Reactor(text()), "reactor", Peer),
            (Finished, "finished", Nobody),
            (Operator(text()), "operator", Nobody),
            (Stopped, "stopped", Nobody),
        ]
    }

    /// What watches events and metrics knows these words, and no others.
    #[test]
    fn every_reason_has_a_word_of_the_list_and_is_somebodys_doing() {
        const KINDS: [&str; 29] = [
            "eof",
            "reset",
            "pong_timeout",
            "protocol",
            "auth_failure",
            "wrong_id",
            "self",
            "incompatible",
            "duplicate_id",
            "duplicate_ip",
            "full",
            "filtered",
            "banned",
            "handshake_timeout",
            "dial_timeout",
            "refused",
            "refused_after_handshake",
            "unreachable",
            "lookup",
            "evicted",
            "reassembly_pool",
            "superseded",
            "already_dialing",
            "reactor",
            "finished",
            "reactor_stalled",
            "local",
            "operator",
            "stopped",
        ];
        for (reason, kind, blame) in reasons() {
            assert_eq!((reason.kind(), reason.blame()), (kind, blame), "{reason:?}");
        }
        let used: BTreeSet<_> = reasons().into_iter().map(|(_, kind, _)| kind).collect();
        assert_eq!(used, KINDS.into());
    }
}
