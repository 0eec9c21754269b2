//! Enough peers: whom to dial, and whom to ask for more (`p2p/pex/pex_reactor.go`, `ensurePeers`).

use std::{collections::BTreeSet, time::Duration};

use rand::RngExt;

use super::{
    PexCore, PexNotice, PexOutput, Purpose,
    neighbour::{Neighbour, Opinion},
};
use crate::{
    address::{NetAddress, PeerAddress},
    identity::NodeId,
    ids::ConnId,
    origin::Origin,
    reactor::DisconnectReason,
    switch::SwitchEvent,
    time::Now,
};

#[cfg(test)]
mod tests;

/// Dials in a row that may fail before an address is bad (`maxAttemptsToDial`).
pub(super) const MAX_ATTEMPTS: u32 = 16;

/// How long an address is bad then (`defaultBanTime`).
pub(super) const BAD_FOR: Duration = Duration::from_secs(24 * 3600);

/// Most anchors. Enough that one of them is still there, and fewer than the outbound peers: who
/// has captured all of a node's peers must not keep them over its restart.
const MAX_ANCHORS: usize = 4;

/// Rounds until all seeds are asked again one after the other: in a network smaller than what its
/// nodes want, each of them would otherwise ask all seeds in every round for ever.
const ALL_SEEDS_ROUNDS: u32 = 10;

impl PexCore {
    /// The first round comes at once: there are no peers yet.
    pub(super) fn start_ensuring(&mut self, now: Now) {
        self.ensure_at = Some(now.mono);
        if self.is_crawling() {
            return self.start_crawl(now);
        }
        for addr in self.book.anchors().to_vec() {
            let id = addr.id();
            let is_unwanted = self.book.is_bad(&id)
                || self.book.is_private(&id)
                || self.book.is_banned(&addr, now.wall);
            if self.num_wanted() > 0 && self.may_dial(&id) && !is_unwanted {
                self.dial(addr.into(), Purpose::Peers, now);
            }
        }
    }

    /// One round. The next comes after a period; sooner while there is nobody.
    pub(super) fn ensure(&mut self, now: Now) {
        self.ensure_at = Some(now.mono + self.settings.ensure_peers_period);
        if let Some(count) = self.unroutable.look(self.book.is_empty(), now.mono) {
            self.outputs.push_back(PexOutput::Notice(PexNotice::NoneRoutable(count)));
        }
        let round = std::mem::take(&mut self.round);
        if self.is_crawling() {
            // Every address is of use to a seed.
            self.reinstate(now);
            if self.book.is_empty() || self.is_lost(now) {
                self.dial_seeds(now);
            }
            return;
        }
        self.keep_anchors();
        let connected = &self.by_id;
        self.book.keep_places(|id| connected.contains_key(id));
        if let Some(addr) = self.book.next_test(now.wall)
            && self.may_dial(&addr.id())
        {
            self.dial(addr.into(), Purpose::Test, now);
        }
        let is_waiting = self.neighbours.values().any(|n| n.purpose().is_some() && !n.is_proven);
        let was_in_vain = round.dialed > 0 && !round.has_reached && !is_waiting;
        let has_nobody = self.has_nobody();
        // Those who were there a moment ago are tried before a seed is asked for others.
        let is_for_book = self.has_outbound() || (has_nobody && self.alone.is_first());
        // Who has all the peers he wants asks nobody, as in the reference: else each node would ask somebody
        // in every round for ever, since few ever meet the thousand others with which a book needs no more.
        let may_ask = self.num_wanted() > 0;
        self.look(was_in_vain || !is_for_book, may_ask, now);
        if has_nobody {
            let pauses = (self.settings.backoff_unit(), self.settings.ensure_peers_period);
            self.alone.looked(pauses, self.rng.random_range(0.0..1.0), now.mono);
            self.ensure_at = Some(self.alone.next(now.mono));
        }
    }

    /// Looks for peers: dials whom it may, and asks for addresses where it may.
    fn look(&mut self, are_seeds_first: bool, may_ask: bool, now: Now) {
        // However many addresses the book holds, they are worth nothing if nobody is there. Before
        // others take the places.
        if are_seeds_first {
            self.dial_seeds(now);
        }
        let dialed = self.fill(now);
        let needs_more = may_ask && self.book.needs_more(now.wall);
        if needs_more {
            let may_ask = |n: &&Neighbour| n.facts.speaks_pex && !n.is_over;
            let peers: Vec<_> =
                self.neighbours.values().filter(may_ask).map(|n| n.facts.conn).collect();
            if !peers.is_empty()
                && let Some(peer) = peers.get(self.rng.random_range(0..peers.len()))
            {
                self.ask(*peer, now);
            }
        }
        if dialed == 0 && self.num_wanted() > 0 && needs_more {
            self.dial_seeds(now);
        }
    }

    /// Whether there is a peer that we dialed.
    fn has_outbound(&self) -> bool {
        self.neighbours.values().any(|n| n.is_outbound() && !n.is_over)
    }

    /// Whether there is no peer at all, whoever dialed.
    pub(super) fn has_nobody(&self) -> bool {
        self.neighbours.values().all(|n| n.is_over)
    }

    /// A session is over that lasted so long. If it was the last one, the next round comes at once:
    /// later if those before it have brought nobody who stays.
    pub(super) fn look_if_alone(&mut self, lasted: Duration, now: Now) {
        if self.ensure_at.is_none() || self.is_crawling() {
            return;
        }
        if lasted >= self.settings.ensure_peers_period {
            self.alone.is_over();
        }
        if self.has_nobody() {
            let next = self.alone.next(now.mono);
            self.ensure_at = self.ensure_at.map(|at| at.min(next));
        }
    }

    /// Dials as many nodes as are wanted. How many it is.
    pub(super) fn fill(&mut self, now: Now) -> usize {
        self.refill_at = None;
        if self.is_full() {
            self.is_seed_due = false;
        }
        if self.num_wanted() == 0 {
            self.exchange(now);
            return 0;
        }
        if std::mem::take(&mut self.is_seed_due) {
            self.dial_next_seed(now);
        }
        self.reinstate(now);
        let picked = self.pick(self.num_wanted(), now);
        for addr in &picked {
            self.dial((*addr).into(), Purpose::Peers, now);
        }
        if picked.is_empty()
            && let Some(at) = self.outage.next(now.mono)
        {
            self.refill_at.get_or_insert(at);
        }
        picked.len()
    }

    /// Addresses that have been bad long enough are new again.
    fn reinstate(&mut self, now: Now) {
        for bad in self.book.reinstate_due(now.wall, &mut self.rng) {
            self.outputs.push_back(PexOutput::Event(SwitchEvent::Reinstated { id: bad.id }));
            self.crawl_soon(&bad.id, now);
        }
    }

    /// How many peers are to be dialed: whoever dials whom, it may become one.
    pub(super) fn num_wanted(&self) -> usize {
        let taken = self.num_outbound().saturating_add(self.dials.len());
        self.settings.max_num_outbound_peers.saturating_sub(taken)
    }

    /// Something that was dialed for this is not there: the next one.
    pub(super) fn go_on(&mut self, purpose: Option<Purpose>, now: Now) {
        match purpose {
            Some(Purpose::Seed) => self.dial_next_seed(now),
            Some(Purpose::Peers | Purpose::Exchange) => self.refill_soon(now),
            _ => {}
        }
    }

    /// There is one peer less than there was, or was to be: another one is dialed in the same round,
    /// but not in a loop where all are refused at once.
    pub(super) fn refill_soon(&mut self, now: Now) {
        if self.ensure_at.is_some() && !self.is_crawling() {
            let pause = self.settings.backoff_unit();
            self.refill_at.get_or_insert(now.mono + pause);
        }
    }

    // ---- seeds ----

    pub(super) fn is_seed(&self, id: &NodeId) -> bool {
        self.settings.seeds.iter().any(|seed| seed.id() == *id)
    }

    /// Whether a seed's crawl has reached nobody, or not for so long that each address that works
    /// would have been reached meanwhile.
    fn is_lost(&self, now: Now) -> bool {
        let round = self.settings.crawl_period.max(self.settings.ensure_peers_period);
        let long = round.saturating_mul(2);
        self.reached_at.is_none_or(|at| now.mono.since(at) >= long)
    }

    /// Dials the configured seeds in random order, one after the other, until one is reached; once a
    /// round.
    fn dial_seeds(&mut self, now: Now) {
        if now.mono < self.seeds_at || self.dials.num_for(Purpose::Seed) > 0 {
            return;
        }
        self.seeds_at = now.mono + self.settings.ensure_peers_period;
        let mut seeds = self.settings.seeds.clone();
        for at in (1..seeds.len()).rev() {
            seeds.swap(at, self.rng.random_range(0..=at));
        }
        self.untried_seeds = seeds;
        self.dial_next_seed(now);
    }

    pub(super) fn dial_next_seed(&mut self, now: Now) {
        if self.num_wanted() == 0 && !self.is_crawling() {
            // Attempts into nothing hold all places: the first one that becomes free is a seed's.
            self.is_seed_due = true;
            return;
        }
        while let Some(seed) = self.untried_seeds.pop() {
            let is_out = |addr: NetAddress| self.outage.concerns(addr.ip(), now.mono);
            if self.may_dial(&seed.id())
                && seed.id() != self.book.own()
                && !seed.net_address().is_some_and(is_out)
            {
                return self.dial(seed, Purpose::Seed, now);
            }
        }
    }

    /// A seed has told addresses: they are what was wanted, so they are dialed at once, and each is
    /// asked for more as it comes up. Another seed if there are too few of them.
    pub(super) fn seed_answered(&mut self, addrs: &[NetAddress], now: Now) {
        self.newcomers = addrs.iter().map(NetAddress::id).collect();
        self.fill(now);
        let is_enough = self.num_wanted() == 0 || self.dials.num_for(Purpose::Seed) > 0;
        if is_enough || now.mono < self.all_seeds_at {
            return;
        }
        self.dial_next_seed(now);
        if self.untried_seeds.is_empty() {
            let pause = self.settings.ensure_peers_period.saturating_mul(ALL_SEEDS_ROUNDS);
            self.all_seeds_at = now.mono + pause;
        }
    }

    /// A seed that has not answered by now: others want its place, and another seed may answer.
    pub(super) fn give_up_mute_seed(&mut self, conn: ConnId, now: Now) {
        let Some(neighbour) = self.neighbours.get(&conn) else { return };
        let is_mute = neighbour.purpose() == Some(Purpose::Seed) && neighbour.owes_answer;
        if is_mute && !neighbour.is_over && !self.standings.is_reserved(&neighbour.facts.id) {
            self.evict(conn, DisconnectReason::Finished);
            self.dial_next_seed(now);
        }
    }

    /// The pace allows to ask the node again: a seed that is still there is, while there are too few
    /// peers.
    pub(super) fn ask_seed_again(&mut self, id: &NodeId, now: Now) {
        if let Some(conn) = self.by_id.get(id).copied()
            && self.is_seed(id)
            && self.num_wanted() > 0
        {
            self.ask(conn, now);
        }
    }

    // ---- what reactors want ----

    /// A reactor gets nowhere with the peers that it has.
    pub(super) fn want_more(&mut self, now: Now) {
        if self.ensure_at.is_none() || self.is_crawling() {
            return;
        }
        if self.is_full() {
            self.exchange_until = Some(now.mono + self.settings.ensure_peers_period);
        }
        self.look(!self.has_outbound(), true, now);
    }

    /// Whether there are as many peers as peer exchange may find.
    fn is_full(&self) -> bool {
        let most = self.settings.max_num_outbound_peers;
        most > 0 && self.num_outbound() >= most
    }

    /// Looks for one peer more than there may be. At most one a period, however often it is wanted;
    /// who is looked for in vain is no peer.
    fn exchange(&mut self, now: Now) {
        let is_coming = self.dials.num_for(Purpose::Exchange) > 0
            || self
                .neighbours
                .values()
                .any(|n| n.purpose() == Some(Purpose::Exchange) && !n.is_proven);
        let is_wanted = self.exchange_until.is_some_and(|until| now.mono <= until);
        // One more than there may be, or than there are if the application has dialed others.
        let most = self.settings.max_num_outbound_peers.max(self.num_outbound());
        let is_over = self.num_outbound().saturating_add(self.dials.len()) > most;
        if !is_wanted || is_coming || is_over || !self.is_full() {
            return;
        }
        if now.mono < self.exchange_at {
            self.refill_at.get_or_insert(self.exchange_at);
            return;
        }
        self.reinstate(now);
        if let Some(addr) = self.pick(1, now).pop() {
            self.dial(addr.into(), Purpose::Exchange, now);
        }
    }

    /// The peer that was wanted more is there: the one that is needed least leaves.
    pub(super) fn exchanged(&mut self, newcomer: ConnId) {
        self.exchange_until = None;
        self.exchange_at = self.now.mono + self.settings.ensure_peers_period;
        if self.num_outbound() <= self.settings.max_num_outbound_peers {
            return;
        }
        let may_go = |n: &&Neighbour| {
            n.is_outbound()
                && !n.is_over
                && n.facts.conn != newcomer
                && !self.standings.is_reserved(&n.facts.id)
        };
        // The oldest of those that no reactor has called good; if all were, of those.
        let need = |n: &&Neighbour| (n.opinion == Some(Opinion::Good), n.since, n.facts.conn);
        let least = self.neighbours.values().filter(may_go).min_by_key(need);
        if let Some(conn) = least.map(|n| n.facts.conn) {
            self.evict(conn, DisconnectReason::Replaced);
        }
    }

    // ---- dialing ----

    /// Asks the switch to dial.
    pub(super) fn dial(&mut self, addr: PeerAddress, purpose: Purpose, now: Now) {
        let known = self.book.get(&addr.id());
        let failures = known.map_or(0, |known| known.history().dial_failures);
        let attempted_before = known.and_then(|known| known.history().last_attempt);
        if let Some(addr) = addr.net_address() {
            self.book.attempted(&addr, now.wall);
        }
        // The switch counts for itself, and does not count what is closed again at once.
        let is_limited = matches!(purpose, Purpose::Peers | Purpose::Seed) && !self.is_crawling();
        self.dials.ask(addr.id(), purpose, attempted_before);
        self.round.dialed = self.round.dialed.saturating_add(1);
        let origin = Origin::Discovery { purpose, failures, is_limited };
        self.outputs.push_back(PexOutput::Dial { addr, origin });
    }

    /// Connected or being dialed.
    pub(super) fn is_met(&self, id: &NodeId) -> bool {
        self.by_id.contains_key(id) || self.dials.contains(id)
    }

    /// Whether peer exchange may dial the node: persistent peers are the switch's to dial.
    pub(super) fn may_dial(&self, id: &NodeId) -> bool {
        !self.is_met(id) && !self.standings.is_persistent(id)
    }

    /// How long to wait after so many failures.
    pub(super) fn pause_after(&self, failures: u32) -> Duration {
        match failures {
            0 => Duration::ZERO,
            _ => self.settings.backoff_unit().saturating_mul(1 << failures.min(MAX_ATTEMPTS)),
        }
    }

    /// The outbound peers that have been there longest, of as many groups as there are. Reserved ones
    /// come back by themselves.
    pub(super) fn keep_anchors(&mut self) {
        let is_good = |n: &&Neighbour| {
            n.is_outbound()
                && n.is_proven
                && !n.is_over
                && !self.standings.is_reserved(&n.facts.id)
                && !self.book.is_bad(&n.facts.id)
        };
        let mut good: Vec<_> = self.neighbours.values().filter(is_good).collect();
        good.sort_by_key(|n| (n.since, n.facts.conn));
        let mut groups = BTreeSet::new();
        let addrs = good.into_iter().filter_map(|n| n.facts.dialed);
        let (firsts, others): (Vec<_>, Vec<_>) =
            addrs.partition(|addr| groups.insert(self.book.group_of(addr)));
        let anchors: Vec<_> = firsts.into_iter().chain(others).take(MAX_ANCHORS).collect();
        // Without peers the last ones are still the best guess.
        if !anchors.is_empty() && anchors != self.book.anchors() {
            self.book.set_anchors(anchors);
        }
    }
}
