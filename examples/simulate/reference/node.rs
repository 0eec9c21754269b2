//! The reference's peer exchange (`p2p/pex/pex_reactor.go` of Tendermint v0.34), as a reactor of a switch that
//! has none of its own.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use rand::{RngExt, rngs::StdRng};
use tmp2p::{
    ConnId, DialTicket, Direction, Event, NetAddress, NodeId, Peer, PeerAddress, SwitchHandle,
    internals::pex::{CHANNEL, PexMessage},
};

use super::book::Book;

/// `defaultEnsurePeersPeriod`.
const PERIOD: Duration = Duration::from_secs(30);
/// `maxAttemptsToDial`.
const MAX_ATTEMPTS: u32 = 16;
/// What makes a peer good is the consensus' business there: a time, as short as ours.
const GOOD_AFTER: Duration = Duration::from_secs(10);

/// A peer, and what is known of it.
struct Neighbour {
    peer: Peer,
    since: Duration,
    is_good: bool,
    is_asked: bool,
    /// When it asked us.
    asked_us: Option<Duration>,
}

/// How often somebody was dialed in vain.
#[derive(Default)]
struct Attempts {
    number: u32,
    last: Duration,
}

/// What the reactor holds.
pub(crate) struct Pex {
    pub(crate) book: Book,
    rng: StdRng,
    seeds: Vec<NetAddress>,
    max_outbound: usize,
    is_seed: bool,
    peers: BTreeMap<ConnId, Neighbour>,
    dials: Vec<(NetAddress, DialTicket)>,
    attempts: HashMap<NodeId, Attempts>,
    next: Duration,
}

impl Pex {
    pub(crate) fn new(
        book: Book,
        mut rng: StdRng,
        seeds: Vec<NetAddress>,
        max_outbound: usize,
        is_seed: bool,
        now: Duration,
    ) -> Self {
        let next = now + PERIOD.mul_f64(rng.random_range(0.0..0.1));
        let (peers, attempts) = (BTreeMap::new(), HashMap::new());
        let dials = Vec::new();
        Self { book, rng, seeds, max_outbound, is_seed, peers, dials, attempts, next }
    }

    fn num(&self, direction: Direction) -> usize {
        self.peers.values().filter(|n| n.peer.direction() == direction).count()
    }

    /// Every second or so.
    pub(crate) fn tick(&mut self, switch: &SwitchHandle, now: Duration) {
        let mut dials = std::mem::take(&mut self.dials);
        dials.retain(|(addr, ticket)| match ticket.outcome().try_recv() {
            Ok(outcome) => {
                if outcome.is_ok() {
                    self.attempts.remove(&addr.id());
                } else {
                    let attempts = self.attempts.entry(addr.id()).or_default();
                    (attempts.number, attempts.last) = (attempts.number + 1, now);
                    self.book.mark_attempt(&addr.id(), now);
                }
                false
            }
            Err(_) => true,
        });
        self.dials = dials;
        for neighbour in self.peers.values_mut() {
            let is_due = neighbour.peer.direction() == Direction::Outbound
                && !neighbour.is_good
                && now.saturating_sub(neighbour.since) >= GOOD_AFTER;
            if is_due {
                neighbour.is_good = true;
                self.book.mark_good(&neighbour.peer.id(), now);
            }
        }
        if self.next <= now {
            self.next = now + PERIOD;
            if self.is_seed { self.crawl(switch, now) } else { self.ensure(switch, now) }
        }
    }

    /// `ensurePeers`.
    fn ensure(&mut self, switch: &SwitchHandle, now: Duration) {
        let out = self.num(Direction::Outbound);
        let Some(wanted) = self.max_outbound.checked_sub(out + self.dials.len()) else { return };
        if wanted == 0 {
            return;
        }
        let bias = out.min(8) as u32 * 10 + 10;
        let mut picked: Vec<NetAddress> = Vec::new();
        for _ in 0..wanted * 3 {
            let Some(addr) = self.book.pick(bias, &mut self.rng) else { continue };
            if picked.len() < wanted && !picked.contains(&addr) && !self.is_known(addr.id()) {
                picked.push(addr);
            }
        }
        for addr in &picked {
            self.dial(switch, *addr, now);
        }
        if self.book.needs_more() {
            self.book.reinstate(now, &mut self.rng);
        }
        if self.book.needs_more() {
            let peers: Vec<_> = self.peers.keys().copied().collect();
            if !peers.is_empty() {
                let one = peers[self.rng.random_range(0..peers.len())];
                self.ask(one);
            }
            if picked.is_empty() && !self.seeds.is_empty() {
                let seed = self.seeds[self.rng.random_range(0..self.seeds.len())];
                self.dial(switch, seed, now);
            }
        }
    }

    /// `crawlPeers`: a selection is dialed and asked.
    fn crawl(&mut self, switch: &SwitchHandle, now: Duration) {
        for addr in self.book.selection(&mut self.rng) {
            self.dial(switch, addr, now);
        }
        let peers: Vec<_> = self.peers.keys().copied().collect();
        peers.into_iter().for_each(|conn| self.ask(conn));
    }

    fn is_known(&self, id: NodeId) -> bool {
        let is_dialed = self.dials.iter().any(|(addr, _)| addr.id() == id);
        is_dialed || self.peers.values().any(|neighbour| neighbour.peer.id() == id)
    }

    /// `dialPeer`, with its back-off.
    fn dial(&mut self, switch: &SwitchHandle, addr: NetAddress, now: Duration) {
        if self.is_known(addr.id()) || addr.id() == switch.id() {
            return;
        }
        if let Some(attempts) = self.attempts.get(&addr.id()) {
            if attempts.number > MAX_ATTEMPTS {
                self.attempts.remove(&addr.id());
                return self.book.mark_bad(&addr.id(), now);
            }
            let pause = Duration::from_secs(1 << attempts.number.min(16));
            if now.saturating_sub(attempts.last) < pause {
                return;
            }
        }
        self.dials.push((addr, switch.dial(PeerAddress::from(addr))));
    }

    /// `RequestAddrs`.
    fn ask(&mut self, conn: ConnId) {
        if let Some(neighbour) = self.peers.get_mut(&conn).filter(|n| !n.is_asked) {
            let sent = neighbour.peer.try_send(CHANNEL, PexMessage::Request.encode());
            neighbour.is_asked = sent.is_ok();
        }
    }

    /// What the switch tells its reactor.
    pub(crate) fn handle(&mut self, event: Event, switch: &SwitchHandle, now: Duration) {
        match event {
            Event::PeerUp(peer) => self.add_peer(peer, now),
            Event::PeerDown(peer, _) => _ = self.peers.remove(&peer.conn()),
            Event::Message(message) => {
                let peer = message.peer().clone();
                match PexMessage::decode(message.payload()) {
                    Ok(PexMessage::Request) => self.answer(&peer, now),
                    Ok(PexMessage::Addrs(addrs)) => self.learn(&peer, addrs, switch, now),
                    Err(_) => peer.stop("undecodable"),
                }
            }
            _ => {}
        }
    }

    fn add_peer(&mut self, peer: Peer, now: Duration) {
        let (conn, direction) = (peer.conn(), peer.direction());
        let announced = peer.node_info().listen_net_address();
        let neighbour =
            Neighbour { peer, since: now, is_good: false, is_asked: false, asked_us: None };
        self.peers.insert(conn, neighbour);
        match (direction, announced) {
            (Direction::Outbound, _) if self.book.needs_more() || self.is_seed => self.ask(conn),
            (Direction::Inbound, Some(addr)) => self.book.add(addr, addr, now, &mut self.rng),
            _ => {}
        }
    }

    fn answer(&mut self, peer: &Peer, now: Duration) {
        let Some(neighbour) = self.peers.get_mut(&peer.conn()) else { return };
        if self.is_seed && peer.direction() == Direction::Inbound {
            let addrs = self.book.selection(&mut self.rng);
            let _ = peer.try_send(CHANNEL, PexMessage::Addrs(addrs).encode());
            return peer.flush_stop();
        }
        // `receiveRequest`: the third within ten seconds ends it.
        let is_early = neighbour.asked_us.is_some_and(|at| now.saturating_sub(at) < PERIOD / 3);
        neighbour.asked_us = Some(now);
        if is_early {
            return peer.stop("asks too often");
        }
        let addrs = self.book.selection(&mut self.rng);
        let _ = peer.try_send(CHANNEL, PexMessage::Addrs(addrs).encode());
    }

    /// `ReceiveAddrs`.
    fn learn(&mut self, peer: &Peer, addrs: Vec<NetAddress>, switch: &SwitchHandle, now: Duration) {
        let Some(neighbour) = self.peers.get_mut(&peer.conn()) else { return };
        if !std::mem::take(&mut neighbour.is_asked) {
            return peer.stop("unsolicited addresses");
        }
        let Some(src) = peer.node_info().listen_net_address() else { return };
        for addr in addrs {
            self.book.add(addr, src, now, &mut self.rng);
        }
        if self.seeds.iter().any(|seed| seed.id() == peer.id()) {
            self.ensure(switch, now);
        }
        // A seed that was dialed to crawl has told what it knows.
        if self.is_seed && peer.direction() == Direction::Outbound {
            peer.stop_gracefully();
        }
    }
}
