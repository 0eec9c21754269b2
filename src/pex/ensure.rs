//! Enough peers: whom to dial, and whom to ask for more (`p2p/pex/pex_reactor.go`, `ensurePeers`).

use std::{collections::BTreeSet, time::Duration};

use rand::RngExt;

use super::{
    PexCore, PexOutput,
    neighbour::{Neighbour, Purpose},
};
use crate::{
    address::{NetAddress, PeerAddress},
    identity::NodeId,
    switch::Origin,
    time::{Mono, Now},
};

/// Dials in a row that may fail before an address is bad (`maxAttemptsToDial`).
pub(super) const MAX_ATTEMPTS: u32 = 16;

/// How long an address is bad then (`defaultBanTime`).
pub(super) const BAD_FOR: Duration = Duration::from_secs(24 * 3600);

/// Outbound peers beyond which the share of new addresses among the picks grows no more.
const BIAS_PEERS: usize = 8;

/// Most anchors. Enough that one of them is still there, and fewer than the outbound peers: who
/// has captured all of a node's peers must not keep them over its restart.
const MAX_ANCHORS: usize = 4;

/// An attempt that peer exchange has asked for.
#[derive(Debug)]
pub(super) struct Dial {
    pub(super) addr: PeerAddress,
    pub(super) purpose: Purpose,
    since: Mono,
}

impl PexCore {
    /// The first time: at once without peers, else after a random part of the period, so that
    /// nodes that were started together do not ask together.
    pub(super) fn start_ensuring(&mut self, now: Now) {
        let first = if self.neighbours.is_empty() && self.dialing.is_empty() {
            Duration::ZERO
        } else {
            self.settings.ensure_peers_period.mul_f64(self.rng.random_range(0.0..1.0))
        };
        self.ensure_at = Some(now.mono + first);
        if self.is_crawling() {
            return self.start_crawl(now);
        }
        for addr in self.book.anchors().to_vec() {
            if self.num_wanted() > 0 && !self.is_met(&addr.id()) {
                self.dial(addr.into(), Purpose::Peers, now);
            }
        }
    }

    /// One round.
    pub(super) fn ensure(&mut self, now: Now) {
        self.ensure_at = Some(now.mono + self.settings.ensure_peers_period);
        self.forget_lost_dials(now);
        if self.is_crawling() {
            if self.book.is_empty() {
                self.dial_seeds(now);
            }
            return;
        }
        self.keep_anchors();
        let connected = &self.by_id;
        self.book.keep_places(|id| connected.contains_key(id));
        if let Some(addr) = self.book.next_test(now.wall)
            && !self.is_met(&addr.id())
        {
            self.dial(addr.into(), Purpose::Test, now);
        }
        let wanted = self.num_wanted();
        let mut dialed = 0;
        if wanted > 0 {
            for addr in self.pick(wanted, now) {
                self.dial(addr.into(), Purpose::Peers, now);
                dialed += 1;
            }
        }
        if !self.book.needs_more() {
            return;
        }
        let may_ask = |n: &&Neighbour| n.facts.speaks_pex && !n.is_over;
        let peers: Vec<_> =
            self.neighbours.values().filter(may_ask).map(|n| n.facts.conn).collect();
        if !peers.is_empty() {
            let peer = peers[self.rng.random_range(0..peers.len())];
            self.ask(peer, now);
        }
        if wanted > 0 && dialed == 0 {
            self.dial_seeds(now);
        }
    }

    /// Addresses to dial now, up to as many as wanted.
    fn pick(&mut self, wanted: usize, now: Now) -> Vec<NetAddress> {
        let outbound = self.neighbours.values().filter(|n| n.is_outbound()).count();
        let bias = (outbound.min(BIAS_PEERS) * 10 + 10) as u8;
        let (mut picked, mut seen) = (Vec::new(), BTreeSet::new());
        for _ in 0..3 * wanted {
            if picked.len() == wanted {
                break;
            }
            let Some(known) = self.book.pick(bias, now.wall, &mut self.rng) else { break };
            let (id, failures) = (known.addr.id(), known.dial_failures);
            let ago = known.attempted_ago(now.wall);
            if !seen.insert(id) || self.is_met(&id) {
                continue;
            }
            let unit = self.settings.backoff_unit();
            let jitter = unit.mul_f64(self.rng.random_range(0.0..1.0));
            let pause = self.pause_after(failures) + jitter;
            if failures == 0 || ago.is_none_or(|ago| ago >= pause) {
                picked.extend(self.where_to_dial(&id));
            }
        }
        picked
    }

    /// How many peers are to be dialed.
    fn num_wanted(&self) -> usize {
        let outbound = self.neighbours.values();
        let outbound = outbound.filter(|n| n.is_outbound() && !n.facts.is_reserved).count();
        self.settings.max_num_outbound_peers.saturating_sub(outbound + self.dialing.len())
    }

    /// Dials the configured seeds in random order, one after the other, until one is reached. Once
    /// a period: a seed's answer brings the next look at the number of peers, and an empty one
    /// must not bring the next dial of that seed.
    fn dial_seeds(&mut self, now: Now) {
        let is_under_way = |dial: &Dial| dial.purpose == Purpose::Seed;
        if now.mono < self.seeds_at || self.dialing.values().any(is_under_way) {
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
        while let Some(seed) = self.untried_seeds.pop() {
            if !self.is_met(&seed.id()) && seed.id() != self.book.own() {
                return self.dial(seed, Purpose::Seed, now);
            }
        }
    }

    /// Asks the switch to dial.
    pub(super) fn dial(&mut self, addr: PeerAddress, purpose: Purpose, now: Now) {
        let failures = self.book.get(&addr.id()).map_or(0, |known| known.dial_failures);
        if let Some(addr) = addr.net_address() {
            self.book.attempted(&addr, now.wall);
        }
        // The switch counts for itself, and does not count what is closed again at once.
        let is_limited = matches!(purpose, Purpose::Peers | Purpose::Seed) && !self.is_crawling();
        let dial = Dial { addr: addr.clone(), purpose, since: now.mono };
        self.dialing.insert(addr.id(), dial);
        let origin = Origin::Discovery { failures, is_limited };
        self.outputs.push_back(PexOutput::Dial { addr, origin });
    }

    /// Where to dial a node: at the other address that was told, in turn, if this one fails.
    pub(super) fn where_to_dial(&self, id: &NodeId) -> Option<NetAddress> {
        let known = self.book.get(id)?;
        let is_other = known.dial_failures % 2 == 1;
        Some(known.probation.filter(|_| is_other).unwrap_or(known.addr))
    }

    /// Connected or being dialed.
    pub(super) fn is_met(&self, id: &NodeId) -> bool {
        self.by_id.contains_key(id) || self.dialing.contains_key(id)
    }

    /// How long to wait after so many failures.
    pub(super) fn pause_after(&self, failures: u32) -> Duration {
        match failures {
            0 => Duration::ZERO,
            _ => self.settings.backoff_unit() * (1 << failures.min(MAX_ATTEMPTS)),
        }
    }

    /// An attempt of which the switch never told (its session began for another reason).
    fn forget_lost_dials(&mut self, now: Now) {
        let deadline = self.settings.dial_deadline;
        self.dialing.retain(|_, dial| now.mono.since(dial.since) < deadline);
    }

    /// The outbound peers that have been there longest.
    pub(super) fn keep_anchors(&mut self) {
        let good =
            self.neighbours.values().filter(|n| n.is_outbound() && n.is_proven && !n.is_over);
        let anchors: Vec<_> = good.filter_map(|n| n.facts.dialed).take(MAX_ANCHORS).collect();
        // Without peers the last ones are still the best guess.
        if !anchors.is_empty() && anchors != self.book.anchors() {
            self.book.set_anchors(anchors);
        }
    }
}
