//! The crawl of a seed: every address of the book is dialed, again and again, many at a time.
//!
//! The reference dials one after the other, so that black holes make a round of a large book take
//! days; and it hands out what it has never reached.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{PexCore, neighbour::Purpose};
use crate::{
    addrbook::{KnownAddress, Placement},
    address::PeerAddress,
    identity::NodeId,
    time::{Mono, Now},
};

/// How long an address that was reached is handed out without being reached again. A crawl of a full
/// book of 20,480 addresses, all of them black holes but one, takes two hours with 64 at a time
/// and 20 s each.
pub(super) const SERVED_FOR: Duration = Duration::from_secs(6 * 3600);

/// Least and longest time until the queue is looked at again: due times are wall times, and the
/// wall clock may stand still or be set.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(60));

/// Entries from which on those are looked for whose address the book has lost. All buckets and all
/// bad addresses are 40,960: more is left behind by whoever tells of ever new addresses, and would
/// grow for as long as black holes hold the crawl up.
const TIDY_AT: usize = 1 << 16;

/// When each address of the book is to be dialed next.
#[derive(Debug, Default)]
pub(super) struct Queue {
    due: BTreeSet<(Duration, NodeId)>,
    /// **Invariant:** the time and the ID of each entry of `due`.
    by_id: BTreeMap<NodeId, Duration>,
}

impl Queue {
    /// Dials the node at this wall time, instead of when it was to be.
    pub(super) fn schedule(&mut self, id: NodeId, at: Duration) {
        if let Some(earlier) = self.by_id.insert(id, at) {
            self.due.remove(&(earlier, id));
        }
        self.due.insert((at, id));
    }

    fn pop(&mut self, wall: Duration) -> Option<NodeId> {
        let (at, id) = self.due.first().copied().filter(|(at, _)| *at <= wall)?;
        self.due.remove(&(at, id));
        self.by_id.remove(&id);
        Some(id)
    }

    fn len(&self) -> usize {
        self.by_id.len()
    }

    fn retain(&mut self, is_kept: impl Fn(&NodeId) -> bool) {
        self.by_id.retain(|id, _| is_kept(id));
        self.due.retain(|(_, id)| is_kept(id));
    }

    fn first(&self) -> Option<Duration> {
        self.due.first().map(|(at, _)| *at)
    }
}

impl PexCore {
    /// Puts every address of the book into the queue, each when its time comes.
    pub(super) fn start_crawl(&mut self) {
        let all: Vec<(NodeId, Duration)> =
            self.book.iter().map(|known| (known.addr.id(), self.next_crawl(known))).collect();
        for (id, at) in all {
            self.crawl.schedule(id, at);
        }
    }

    /// Dials what is due, up to the configured number at a time.
    pub(super) fn crawl_on(&mut self, now: Now) {
        if !self.is_crawling() {
            return;
        }
        let mut room = self.settings.crawl_concurrency.saturating_sub(self.num_crawled());
        while room > 0
            && let Some(id) = self.crawl.pop(now.wall)
        {
            // The book may have lost it since.
            let Some(known) = self.book.get(&id) else { continue };
            let again = self.next_crawl(known);
            if again > now.wall || self.is_met(&id) || known.placement == Placement::Bad {
                // Attempted meanwhile for another reason, connected, or not to be dialed.
                let later = now.wall.saturating_add(self.settings.crawl_period);
                self.crawl.schedule(id, again.max(later));
                continue;
            }
            let addr = self.where_to_dial(&id).expect("the book has just shown it");
            self.dial(PeerAddress::from(addr), Purpose::Crawl, now);
            room -= 1;
            if let Some(known) = self.book.get(&id) {
                let again = self.next_crawl(known);
                self.crawl.schedule(id, again);
            }
        }
    }

    /// The book has a new address, which is to be dialed.
    pub(super) fn crawl_new(&mut self, id: NodeId, now: Now) {
        self.crawl.schedule(id, now.wall);
        if self.crawl.len() > TIDY_AT {
            let book = &self.book;
            self.crawl.retain(|id| book.get(id).is_some());
        }
    }

    /// A node was connected, and so not crawled.
    pub(super) fn crawl_soon(&mut self, id: &NodeId) {
        if self.is_crawling()
            && let Some(known) = self.book.get(id)
        {
            let at = self.next_crawl(known);
            self.crawl.schedule(*id, at);
        }
    }

    /// When the crawl has something to dial, if it may.
    pub(super) fn next_crawl_deadline(&self, now: Now) -> Option<Mono> {
        if !self.is_crawling() || self.num_crawled() >= self.settings.crawl_concurrency {
            return None;
        }
        let first = self.crawl.first()?;
        Some(now.mono + first.saturating_sub(now.wall).clamp(PAUSES.0, PAUSES.1))
    }

    pub(super) fn is_crawling(&self) -> bool {
        self.settings.is_enabled && self.settings.is_seed
    }

    /// Attempts and sessions of the crawl.
    fn num_crawled(&self) -> usize {
        let sessions = self.neighbours.values().filter(|n| n.purpose == Some(Purpose::Crawl));
        let dialing = self.dialing.values().filter(|dial| dial.purpose == Purpose::Crawl);
        sessions.count() + dialing.count()
    }

    /// When an address may be crawled: the pause since the last attempt, more if it failed.
    fn next_crawl(&self, known: &KnownAddress) -> Duration {
        let Some(last) = known.last_attempt else { return Duration::ZERO };
        // Set back, the wall clock would keep it from being dialed until it is past that time.
        let last = last.min(self.now.wall);
        let pause = if known.verified.is_none() && known.dial_failures == 0 {
            // It connected to us just when it was to be dialed: nothing was learned.
            self.settings.backoff_unit()
        } else {
            self.settings.crawl_period.max(self.pause_after(known.dial_failures))
        };
        last.saturating_add(pause)
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    use super::*;
    use crate::{
        addrbook::{Book, BookKey, BookLimits, BookSettings},
        address::NetAddress,
        config::Config,
        pex::PexSettings,
    };

    #[test]
    fn who_tells_of_ever_new_addresses_does_not_fill_the_queue() {
        let mut rng = StdRng::seed_from_u64(1);
        let limits = BookLimits::default();
        let own = NodeId::from_bytes([0; 20]);
        let settings = BookSettings { own, is_strict: true, limits };
        let book = Book::new(settings, BookKey::random(&mut rng));
        // Nothing is dialed, as if black holes held the crawl up.
        let config = Config { seed_mode: true, crawl_concurrency: 0, ..Config::default() };
        let now = Now { mono: Mono::ZERO, wall: Duration::from_secs(1_700_000_000) };
        let mut core = PexCore::new(PexSettings::new(&config), book, [1; 32], now);
        let mut most = 0;
        for _ in 0..TIDY_AT + TIDY_AT / 2 {
            let ip: [u8; 4] = [rng.random_range(11..100), rng.random(), rng.random(), 1];
            let addr = NetAddress::new(NodeId::from_bytes(rng.random()), ip.into(), 26656);
            core.add_to_book(addr, addr, now);
            most = most.max(core.crawl.len());
        }
        assert_eq!(most, TIDY_AT, "the book loses more than it holds");
        let is_queued = |known: &KnownAddress| core.crawl.by_id.contains_key(&known.addr.id());
        assert!(core.book.iter().all(is_queued));
        assert_eq!(core.crawl.due.len(), core.crawl.len());
    }
}
