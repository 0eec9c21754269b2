//! A connected peer, and what it may do on channel 0x00.

use std::{net::SocketAddr, time::Duration};

use super::wire::CHANNEL;
use crate::{
    addrbook::NodeFacts,
    address::NetAddress,
    identity::NodeId,
    ids::{ConnId, Direction},
    origin::{Origin, Purpose},
    reactor::Peer,
    text::shown,
    time::Mono,
};

/// Requests of a session that are answered however soon they come (`p2p/pex/pex_reactor.go`,
/// `receiveRequest`: the first two only start its clock).
const FREE_REQUESTS: u32 = 2;

/// Early requests in [`ABUSE_WINDOW`] that are answered with an empty list. Ours never come early;
/// Go's come at most twice a minute, one that restarts its routine some more.
const MAX_EARLY: u32 = 10;

/// See [`MAX_EARLY`].
const ABUSE_WINDOW: Duration = Duration::from_secs(60);

/// Who has connected, as the driver tells it.
#[derive(Clone, Debug)]
pub struct PeerFacts {
    /// The session.
    pub conn: ConnId,
    /// The authenticated node.
    pub id: NodeId,
    /// Who dialed.
    pub direction: Direction,
    /// The socket's remote address.
    pub remote: SocketAddr,
    /// Where we found it, if we dialed.
    pub dialed: Option<NetAddress>,
    /// Where it says that it listens.
    pub announced: Option<NetAddress>,
    /// Who wanted it dialed, if we dialed.
    pub origin: Option<Origin>,
    /// Whether it has channel 0x00.
    pub speaks_pex: bool,
    /// What it says of itself.
    pub facts: NodeFacts,
}

impl PeerFacts {
    /// What the session tells.
    pub fn of(peer: &Peer) -> Self {
        let (info, remote) = (peer.node_info(), peer.remote_addr());
        // Also where a name was dialed: this is what it stood for.
        let dialed = || NetAddress::new(peer.id(), remote.ip(), remote.port());
        Self {
            conn: peer.conn(),
            id: peer.id(),
            direction: peer.direction(),
            remote,
            dialed: (peer.direction() == Direction::Outbound).then(dialed),
            announced: info.listen_net_address(),
            origin: peer.session().origin,
            speaks_pex: peer.has_channel(CHANNEL),
            facts: NodeFacts {
                moniker: shown(info.moniker()),
                version: shown(info.version()),
                network: shown(info.network()),
            },
        }
    }

    /// The source of what it tells: where it is, not where it says it is. The book gives each
    /// network of sources its share, and who could choose the network would have all of it. The
    /// reference takes the peer's word.
    pub(super) fn source(&self) -> NetAddress {
        let said = self.dialed.or(self.announced);
        let port = said.map_or(self.remote.port(), |addr| addr.port());
        NetAddress::new(self.id, self.remote.ip(), port)
    }
}

/// What a reactor thinks of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opinion {
    /// It has proved useful: it is not the first to go.
    Good,
    /// Staying makes it no better.
    Bad,
}

/// A session.
#[derive(Debug)]
pub(super) struct Neighbour {
    pub(super) facts: PeerFacts,
    /// When it came.
    pub(super) since: Mono,
    /// What a reactor has said of it last.
    pub(super) opinion: Option<Opinion>,
    /// It has sent something, or stayed.
    pub(super) is_proven: bool,
    /// It was asked and has not answered.
    pub(super) owes_answer: bool,
    /// We have ended the session; what still comes is not looked at.
    pub(super) is_over: bool,
    requests: u32,
    last_request: Mono,
    early: u32,
    early_since: Mono,
}

/// What to do about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Answer it.
    Answer,
    /// Answer it with an empty list: silence would keep a node of Go from ever asking again.
    Early,
    /// It does nothing else.
    Abuse,
}

impl Neighbour {
    pub(super) fn new(facts: PeerFacts, now: Mono) -> Self {
        Self {
            facts,
            since: now,
            opinion: None,
            is_proven: false,
            owes_answer: false,
            is_over: false,
            requests: 0,
            last_request: Mono::ZERO,
            early: 0,
            early_since: Mono::ZERO,
        }
    }

    /// The peer asks for addresses.
    pub(super) fn request(&mut self, interval: Duration, now: Mono) -> Verdict {
        let is_free = self.requests < FREE_REQUESTS;
        self.requests = self.requests.saturating_add(1);
        if is_free || now.since(self.last_request) >= interval {
            self.last_request = now;
            return Verdict::Answer;
        }
        if self.early == 0 || now.since(self.early_since) >= ABUSE_WINDOW {
            (self.early, self.early_since) = (0, now);
        }
        self.early = self.early.saturating_add(1);
        if self.early > MAX_EARLY { Verdict::Abuse } else { Verdict::Early }
    }

    /// How often it has asked.
    pub(super) fn requests(&self) -> u32 {
        self.requests
    }

    /// What peer exchange has dialed it for, if it has.
    pub(super) fn purpose(&self) -> Option<Purpose> {
        self.facts.origin.and_then(|origin| origin.purpose())
    }

    pub(super) fn is_outbound(&self) -> bool {
        self.facts.direction == Direction::Outbound
    }
}

#[cfg(test)]
impl PeerFacts {
    /// Of a node at this address that peer exchange has dialed for this, or that has dialed us. Its
    /// connection has the number of its ID's first byte.
    pub(super) fn for_test(addr: NetAddress, purpose: Option<Purpose>) -> Self {
        let is_dialed = purpose.is_some();
        let origin = |purpose| Origin::Discovery { purpose, failures: 0, is_limited: true };
        Self {
            conn: ConnId::new(0, addr.id().as_bytes()[0].into(), 1),
            id: addr.id(),
            direction: if is_dialed { Direction::Outbound } else { Direction::Inbound },
            remote: addr.socket_addr(),
            dialed: is_dialed.then_some(addr),
            announced: Some(addr),
            origin: purpose.map(origin),
            speaks_pex: true,
            facts: NodeFacts::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_early_requests_are_borne_and_one_more_is_abuse() {
        let addr = NetAddress::new(NodeId::from_bytes([1; 20]), [50, 1, 1, 1].into(), 1);
        let facts = PeerFacts { announced: None, ..PeerFacts::for_test(addr, None) };
        let now = Mono::ZERO + 10 * ABUSE_WINDOW;
        let mut neighbour = Neighbour::new(facts, now);
        let interval = ABUSE_WINDOW;
        let mut told = |_| neighbour.request(interval, now);
        assert!((0..FREE_REQUESTS).map(&mut told).all(|told| matches!(told, Verdict::Answer)));
        assert!((0..MAX_EARLY).map(&mut told).all(|told| matches!(told, Verdict::Early)));
        assert!(matches!(told(0), Verdict::Abuse));
    }
}
