//! The crawl of a seed: every address of the book is dialed, again and again, many at a time.
//!
//! The reference dials one after the other, so that black holes make a round of a large book take
//! days; and it hands out what it has never reached.

use std::time::Duration;

use super::{PexCore, Purpose, neighbour::Neighbour, picking::target};
use crate::{
    addrbook::{KnownAddress, Placement, SERVED_FOR},
    address::PeerAddress,
    identity::NodeId,
    time::{Mono, Now},
};

/// So many addresses that answer are crawled in a period; where there are more, each waits for as many
/// periods. A seed of a large network would else spend all its time on handshakes with nodes that are
/// where they were, and knock at each of them every 2 minutes. With the usual period it is 5 a second:
/// a full book of 20,480 takes 68 minutes, well within the six hours for which an address is served.
const CRAWLED_IN_A_PERIOD: u32 = 600;

/// Half of the time for which an address is served.
const LONGEST_ROUND: Duration = match SERVED_FOR.checked_div(2) {
    Some(half) => half,
    None => SERVED_FOR,
};

/// Entries from which on those are looked for whose address the book has lost. All buckets and all
/// bad addresses are 40,960: more is left behind by whoever tells of ever new addresses, and would
/// grow for as long as black holes hold the crawl up.
const TIDY_AT: usize = 1 << 16;

impl PexCore {
    /// Puts every address of the book into the queue, each when its time comes.
    pub(super) fn start_crawl(&mut self, now: Now) {
        let due = |known: &KnownAddress| (known.addr.id(), now.mono + self.crawl_pause(known, now));
        let all: Vec<_> = self.book.iter().map(due).collect();
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
            && let Some(id) = self.crawl.pop(now.mono)
        {
            // The book may have lost it since.
            let Some(known) = self.book.get(&id) else { continue };
            let (pause, addr) = (self.crawl_pause(known, now), target(known));
            let is_left_alone = self.is_met(&id) || self.standings.is_persistent(&id);
            if is_left_alone || known.placement == Placement::Bad {
                self.crawl.schedule(id, now.mono + pause.max(self.settings.crawl_period));
                continue;
            }
            if !pause.is_zero() {
                // Attempted meanwhile for another reason. Or the wall clock is a little slow: then
                // it must not be asked in a loop.
                self.crawl.schedule(id, now.mono + pause.max(self.settings.backoff_unit()));
                continue;
            }
            if let Some(until) = self.outage.until(addr.ip(), now.mono) {
                self.crawl.schedule(id, until);
                continue;
            }
            self.dial(PeerAddress::from(addr), Purpose::Crawl, now);
            room = room.saturating_sub(1);
            self.crawl_soon(&id, now);
        }
    }

    /// The book has a new address, which is to be dialed.
    pub(super) fn crawl_new(&mut self, id: NodeId, now: Now) {
        self.crawl.schedule(id, now.mono);
        if self.crawl.len() > TIDY_AT {
            let book = &self.book;
            self.crawl.retain(|id| book.get(id).is_some());
        }
    }

    /// The node is to be dialed again, in its time.
    pub(super) fn crawl_soon(&mut self, id: &NodeId, now: Now) {
        if self.is_crawling()
            && let Some(known) = self.book.get(id)
        {
            let pause = self.crawl_pause(known, now);
            self.crawl.schedule(*id, now.mono + pause);
        }
    }

    /// When the crawl has something to dial, if it may.
    pub(super) fn next_crawl_deadline(&self) -> Option<Mono> {
        if !self.is_crawling() || self.num_crawled() >= self.settings.crawl_concurrency {
            return None;
        }
        self.crawl.first()
    }

    pub(super) fn is_crawling(&self) -> bool {
        self.settings.is_enabled && self.settings.is_seed
    }

    /// Attempts and sessions of the crawl; not of those who stay, and would hold it up for as long.
    fn num_crawled(&self) -> usize {
        let is_crawled = |n: &&Neighbour| {
            n.purpose() == Some(Purpose::Crawl) && !self.standings.is_reserved(&n.facts.id)
        };
        self.dialed().filter(is_crawled).count().saturating_add(self.dials.num_for(Purpose::Crawl))
    }

    /// How long an address is not to be crawled: a while since the last attempt, more if it failed, or
    /// if it answered as many others do.
    fn crawl_pause(&self, known: &KnownAddress, now: Now) -> Duration {
        let Some(ago) = known.attempted_ago(now.wall) else { return Duration::ZERO };
        let pause = if known.history().verified.is_none() && known.history().dial_failures == 0 {
            // It connected to us just when it was to be dialed: nothing was learned.
            self.settings.backoff_unit()
        } else {
            let period = self.settings.crawl_period;
            let pause = period.max(self.pause_after(known.history().dial_failures));
            if known.is_checked() { pause.max(self.crawl_round()) } else { pause }
        };
        pause.saturating_sub(ago)
    }

    /// In what time all addresses that answer are crawled once: also where the period is long, none of
    /// them is forgotten.
    fn crawl_round(&self) -> Duration {
        let num = u32::try_from(self.book.num_checked()).unwrap_or(u32::MAX);
        let round = self.settings.crawl_period.saturating_mul(num).checked_div(CRAWLED_IN_A_PERIOD);
        round.unwrap_or_default().min(LONGEST_ROUND)
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    use super::*;
    use crate::{
        addrbook::{Book, BookKey, BookLimits, BookSettings, NodeFacts},
        address::NetAddress,
        config::Config,
        drive::Core,
        pex::{
            PexInput, PexOutput, PexSettings,
            core::tests::{at, started},
        },
        reactor::DisconnectReason,
        switch::{Notice, Origin},
    };

    /// A seed with an empty book.
    fn seed(config: Config) -> PexCore {
        let own = NodeId::from_bytes([0; 20]);
        let settings = BookSettings { own, is_strict: true, limits: BookLimits::default() };
        let book = Book::new(settings, BookKey::random(&mut StdRng::seed_from_u64(1)));
        let config = Config { seed_mode: true, ..config };
        PexCore::new(PexSettings::of(&config), book, [1; 32], at(0))
    }

    #[test]
    fn who_tells_of_ever_new_addresses_does_not_fill_the_queue() {
        let mut rng = StdRng::seed_from_u64(1);
        // Nothing is dialed, as if black holes held the crawl up.
        let mut core = seed(Config { crawl_concurrency: 0, ..Config::default() });
        let mut most = 0;
        for _ in 0..TIDY_AT + TIDY_AT / 2 {
            let ip: [u8; 4] = [rng.random_range(11..100), rng.random(), rng.random(), 1];
            let addr = NetAddress::new(NodeId::from_bytes(rng.random()), ip.into(), 26656);
            core.add_to_book(addr, addr, at(0)).unwrap();
            most = most.max(core.crawl.len());
        }
        assert_eq!(most, TIDY_AT, "the book loses more than it holds");
        let is_queued = |known: &KnownAddress| core.crawl.by_id.contains_key(&known.addr.id());
        assert!(core.book.iter().all(is_queued));
        assert_eq!(core.crawl.due.len(), core.crawl.len());
    }

    /// What was attempted "tomorrow" is dialed now, and after that at its usual pace.
    #[test]
    fn a_wall_clock_that_is_set_back_does_not_hold_the_crawl_up() {
        let (mut core, mut now) = (seed(Config::default()), at(0));
        core.handle_input(PexInput::Start, now);
        let addr = NetAddress::new(NodeId::from_bytes([1; 20]), [1, 2, 3, 4].into(), 26656);
        core.add_to_book(addr, addr, now).unwrap();
        core.handle_input(PexInput::Timeout, now);
        let dials = |core: &mut PexCore| {
            let outputs = std::iter::from_fn(|| core.poll_output());
            outputs.filter(|output| matches!(output, PexOutput::Dial { .. })).count()
        };
        let fail = |core: &mut PexCore, now| {
            let (reason, purpose) = (DisconnectReason::Reset, Purpose::Crawl);
            let origin = Origin::Discovery { purpose, failures: 0, is_limited: false };
            let notice = Notice::DialFailed { addr: addr.into(), origin, reason };
            core.handle_input(PexInput::Notice(notice), now);
        };
        assert_eq!(dials(&mut core), 1);
        now.wall -= Duration::from_secs(24 * 3600);
        fail(&mut core, now);
        assert_eq!(core.book.get(&addr.id()).unwrap().history().dial_failures, 1);
        let mut waits = Vec::new();
        while waits.len() < 3 {
            let next = core.next_deadline().unwrap();
            assert!(next > now.mono);
            let step = next.since(now.mono);
            now = Now { mono: next, wall: now.wall + step };
            core.handle_input(PexInput::Timeout, now);
            if dials(&mut core) == 1 {
                waits.push(now.mono.since(Mono::ZERO));
                fail(&mut core, now);
            }
        }
        let (unit, period) = (core.settings.backoff_unit(), core.settings.crawl_period);
        assert_eq!(waits, [unit, unit + period, unit + 2 * period]);
    }

    /// The more there are the less often; who has failed or was never there is none of them.
    #[test]
    fn a_large_network_is_crawled_in_a_longer_time() {
        let mut core = seed(Config::default());
        let facts = NodeFacts::default();
        let addr = |n: u16| {
            let [high, low] = n.to_be_bytes();
            let mut id = [1; 20];
            (id[0], id[1]) = (high, low);
            NetAddress::new(NodeId::from_bytes(id), [11 + low % 100, high, low, 1].into(), 26656)
        };
        let reach = |core: &mut PexCore, numbers: std::ops::Range<u16>| {
            for n in numbers {
                core.add_to_book(addr(n), addr(n), at(0)).unwrap();
                core.book.attempted(&addr(n), at(0).wall);
                core.book.authenticated(&addr(n), &facts, at(0).wall);
            }
        };
        let pause =
            |core: &PexCore, n| core.crawl_pause(core.book.get(&addr(n).id()).unwrap(), at(0));
        let period = core.settings.crawl_period;
        reach(&mut core, 0..600);
        assert_eq!((core.book.num_checked(), pause(&core, 7)), (600, period));
        reach(&mut core, 600..1500);
        assert_eq!((core.book.num_checked(), pause(&core, 7)), (1500, period * 5 / 2));
        core.book.dial_failed(&addr(7), at(0).wall);
        assert_eq!(pause(&core, 7), period);
        // However long the operator's period is.
        core.settings.crawl_period = SERVED_FOR / 3;
        assert_eq!(pause(&core, 8), SERVED_FOR / 2);
        core.settings.crawl_period = SERVED_FOR;
        assert_eq!(pause(&core, 8), SERVED_FOR);
    }

    #[test]
    fn who_does_not_crawl_keeps_no_queue() {
        for seed_mode in [false, true] {
            let config = Config { seed_mode, ..Config::default() };
            let mut core = started(&config);
            let addr = NetAddress::new(NodeId::from_bytes([1; 20]), [1, 2, 3, 4].into(), 26656);
            core.add_to_book(addr, addr, at(0)).unwrap();
            assert_eq!(core.crawl.len(), usize::from(seed_mode));
        }
    }
}
