//! The reference's peer exchange (`p2p/pex/pex_reactor.go` of Tendermint v0.34), as a reactor of a switch that
//! has none of its own.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
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
/// `minTimeBetweenCrawls`.
const BETWEEN_CRAWLS: Duration = Duration::from_secs(120);
/// How many of a selection are crawled in a second: they are dialed one after the other, some in vain.
const CRAWLED_A_SECOND: usize = 5;
/// `biasToSelectNewPeers`, in per cent.
const SEED_BIAS: usize = 30;
/// What makes a peer good is the consensus' business there: a time, as short as ours.
const GOOD_AFTER: Duration = Duration::from_secs(10);

/// A peer, and what is known of it.
struct Neighbour {
    peer: Peer,
    since: Duration,
    is_good: bool,
    is_asked: bool,
    /// How often it asked us, up to two, and when it did last.
    asked_us: (u8, Duration),
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
    /// Of a seed: who is to be crawled, and when each was.
    to_crawl: VecDeque<NetAddress>,
    crawled: HashMap<NodeId, Duration>,
}

impl Pex {
    pub(crate) fn new(
        book: Book,
        rng: StdRng,
        seeds: Vec<NetAddress>,
        max_outbound: usize,
        is_seed: bool,
        now: Duration,
    ) -> Self {
        Self {
            book,
            rng,
            seeds,
            max_outbound,
            is_seed,
            peers: BTreeMap::new(),
            dials: Vec::new(),
            attempts: HashMap::new(),
            // There is nobody yet.
            next: now,
            to_crawl: VecDeque::new(),
            crawled: HashMap::new(),
        }
    }

    fn num(&self, direction: Direction) -> usize {
        self.peers.values().filter(|n| n.peer.direction() == direction).count()
    }

    /// Every second or so.
    pub(crate) fn tick(&mut self, switch: &SwitchHandle, now: Duration) {
        let mut dials = std::mem::take(&mut self.dials);
        dials.retain(|(addr, ticket)| match ticket.outcome().try_recv() {
            Ok(outcome) => {
                if let Ok(peer) = outcome {
                    self.attempts.remove(&addr.id());
                    if self.is_seed
                        && let Some(neighbour) = self.peers.get_mut(&peer.conn())
                    {
                        let sent = peer.try_send(CHANNEL, PexMessage::Request.encode());
                        neighbour.is_asked |= sent.is_ok();
                    }
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
            if self.is_seed { self.crawl(switch) } else { self.ensure(switch, now) }
        }
        // One after the other there; so many a second.
        for _ in 0..CRAWLED_A_SECOND {
            let Some(addr) = self.to_crawl.pop_front() else { break };
            let crawled = self.crawled.get(&addr.id());
            if crawled.is_none_or(|at| now.saturating_sub(*at) >= BETWEEN_CRAWLS) {
                self.crawled.insert(addr.id(), now);
                self.dial(switch, addr, now);
            }
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
                // `dialSeeds` knows no pause.
                let seed = self.seeds[self.rng.random_range(0..self.seeds.len())];
                self.attempts.remove(&seed.id());
                self.dial(switch, seed, now);
            }
        }
    }

    /// `crawlPeers`: a selection is dialed, and asked; if there is nobody, a seed.
    fn crawl(&mut self, switch: &SwitchHandle) {
        if self.to_crawl.is_empty() {
            self.to_crawl.extend(self.book.selection(&mut self.rng));
            let is_own = |seed: &NetAddress| seed.id() == switch.id();
            if self.to_crawl.is_empty() {
                self.to_crawl.extend(self.seeds.iter().copied().filter(|seed| !is_own(seed)));
            }
        }
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
            Neighbour { peer, since: now, is_good: false, is_asked: false, asked_us: (0, now) };
        self.peers.insert(conn, neighbour);
        match (direction, announced) {
            // A seed asks whom it has dialed as soon as it knows.
            (Direction::Outbound, _) if self.book.needs_more() && !self.is_seed => self.ask(conn),
            (Direction::Inbound, Some(addr)) => self.book.add(addr, addr, now, &mut self.rng),
            _ => {}
        }
    }

    fn answer(&mut self, peer: &Peer, now: Duration) {
        let Some(neighbour) = self.peers.get_mut(&peer.conn()) else { return };
        if self.is_seed && peer.direction() == Direction::Inbound {
            let addrs = self.book.selection_with_bias(SEED_BIAS, &mut self.rng);
            let _ = peer.try_send(CHANNEL, PexMessage::Addrs(addrs).encode());
            return peer.flush_stop();
        }
        // `receiveRequest`: two are free.
        let (times, last) = neighbour.asked_us;
        neighbour.asked_us = (times.saturating_add(1).min(2), now);
        if times == 2 && now.saturating_sub(last) < PERIOD / 3 {
            return self.punish(peer, "asks too often", now);
        }
        let addrs = self.book.selection(&mut self.rng);
        let _ = peer.try_send(CHANNEL, PexMessage::Addrs(addrs).encode());
    }

    /// It is stopped, and its address is bad for a day.
    fn punish(&mut self, peer: &Peer, why: &str, now: Duration) {
        self.book.mark_bad(&peer.id(), now);
        peer.stop(why);
    }

    /// `ReceiveAddrs`.
    fn learn(&mut self, peer: &Peer, addrs: Vec<NetAddress>, switch: &SwitchHandle, now: Duration) {
        let Some(neighbour) = self.peers.get_mut(&peer.conn()) else { return };
        if !std::mem::take(&mut neighbour.is_asked) {
            return self.punish(peer, "unsolicited addresses", now);
        }
        let Some(src) = peer.node_info().listen_net_address() else { return };
        let is_of_seed = self.seeds.iter().any(|seed| seed.id() == peer.id());
        for addr in addrs {
            self.book.add(addr, src, now, &mut self.rng);
            // At once, all of them, whatever the limit.
            if is_of_seed {
                self.dial(switch, addr, now);
            }
        }
    }
}
