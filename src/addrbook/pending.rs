//! What the store has not written yet.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{StoreBatch, StoredBook};
use crate::{ban::BanTarget, identity::NodeId, time::Mono};

/// Pause between two writes that nobody waits for. A crash loses no more than this.
const WRITE_PAUSE: Duration = Duration::from_secs(1);
/// Pause after a write that failed, unless something urgent comes.
const RETRY_PAUSE: Duration = Duration::from_secs(5);
/// Shortest and longest pause between two reports of failing writes, which doubles from the one to the
/// other: a full disk must not fill the log, too.
const REPORT_PAUSES: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3600));

/// What has changed and is not written, merged by key.
///
/// A removal is kept only for what the store may hold. So there are never more entries than the
/// book and the store have together, however long the store fails or hangs and however much comes
/// and goes meanwhile.
#[derive(Debug)]
pub(super) struct Pending {
    waiting: StoreBatch,
    is_urgent: bool,
    /// What is being written.
    writing: Option<Arc<StoreBatch>>,
    stored_bans: BTreeSet<BanTarget>,
    stored_bad: BTreeSet<NodeId>,
    stored_addresses: BTreeSet<NodeId>,
    next_write: Mono,
    next_report: Mono,
    report_pause: Duration,
    /// Since when no write has failed, if one did before.
    well_since: Option<Mono>,
}

impl Pending {
    /// Nothing, for a store that holds this.
    pub(super) fn new(stored: &StoredBook) -> Self {
        Self {
            waiting: StoreBatch::default(),
            is_urgent: false,
            writing: None,
            stored_bans: stored.bans.iter().map(|ban| ban.target).collect(),
            stored_bad: stored.bad.iter().map(|bad| bad.id).collect(),
            stored_addresses: stored.addresses.iter().map(|known| known.addr.id()).collect(),
            next_write: Mono::ZERO,
            next_report: Mono::ZERO,
            report_pause: REPORT_PAUSES.0,
            well_since: None,
        }
    }

    /// Something has changed.
    pub(super) fn add(&mut self, batch: StoreBatch, is_urgent: bool) {
        self.is_urgent |= is_urgent;
        let writing = self.writing.as_deref();
        let may_hold = |target: &BanTarget| {
            self.stored_bans.contains(target)
                || writing.is_some_and(|batch| batch.bans.contains_key(target))
        };
        merge(&mut self.waiting.bans, batch.bans, may_hold);
        let may_hold = |id: &NodeId| {
            self.stored_bad.contains(id) || writing.is_some_and(|batch| batch.bad.contains_key(id))
        };
        merge(&mut self.waiting.bad, batch.bad, may_hold);
        let may_hold = |id: &NodeId| {
            self.stored_addresses.contains(id)
                || writing.is_some_and(|batch| batch.addresses.contains_key(id))
        };
        merge(&mut self.waiting.addresses, batch.addresses, may_hold);
        let waiting = &mut self.waiting;
        waiting.anchors = batch.anchors.or(waiting.anchors.take());
        waiting.key = batch.key.or(waiting.key.take());
        waiting.imported = batch.imported.or(waiting.imported);
    }

    /// What is to be written now. [`written`](Self::written) or [`failed`](Self::failed) follows.
    pub(super) fn take(&mut self, now: Mono) -> Option<Arc<StoreBatch>> {
        let is_due = self.is_urgent || self.next_write <= now;
        if self.waiting.is_empty() || !is_due || self.writing.is_some() {
            return None;
        }
        self.is_urgent = false;
        self.next_write = now + WRITE_PAUSE;
        let batch = Arc::new(std::mem::take(&mut self.waiting));
        self.writing = Some(batch.clone());
        Some(batch)
    }

    /// The store holds what was taken.
    pub(super) fn written(&mut self, now: Mono) {
        self.well_since.get_or_insert(now);
        let Some(batch) = self.writing.take() else { return };
        note(&mut self.stored_bans, &batch.bans);
        note(&mut self.stored_bad, &batch.bad);
        note(&mut self.stored_addresses, &batch.addresses);
    }

    /// The store holds nothing of what was taken. Whether that is to be reported.
    pub(super) fn failed(&mut self, now: Mono) -> bool {
        if let Some(batch) = self.writing.take() {
            let later = std::mem::take(&mut self.waiting);
            let is_urgent = self.is_urgent;
            self.add(Arc::unwrap_or_clone(batch), false);
            self.add(later, is_urgent);
        }
        self.next_write = now + RETRY_PAUSE;
        // After a spell of successes it is another trouble, which is told at once. One that comes and
        // goes every few seconds is the same one all the time.
        let spell = self.well_since.take().map(|since| now.since(since));
        if spell.is_some_and(|spell| spell >= REPORT_PAUSES.0) {
            (self.next_report, self.report_pause) = (now, REPORT_PAUSES.0);
        }
        let is_due = self.next_report <= now;
        if is_due {
            self.next_report = now + self.report_pause;
            self.report_pause = (2 * self.report_pause).min(REPORT_PAUSES.1);
        }
        is_due
    }

    /// Everything that waits is to be written at once.
    pub(super) fn hurry(&mut self) {
        self.is_urgent = true;
    }

    /// Whether there is something to be written at once, and its write has not begun.
    pub(super) fn is_pressing(&self) -> bool {
        self.is_urgent && !self.waiting.is_empty()
    }

    /// Whether everything is written.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.writing.is_none()
    }

    /// When to call [`take`](Self::take).
    pub(super) fn next_deadline(&self) -> Option<Mono> {
        (!self.waiting.is_empty()).then_some(self.next_write)
    }
}

fn merge<K: Ord, V>(
    into: &mut BTreeMap<K, Option<V>>,
    later: BTreeMap<K, Option<V>>,
    may_hold: impl Fn(&K) -> bool,
) {
    for (key, value) in later {
        if value.is_none() && !may_hold(&key) {
            into.remove(&key);
        } else {
            into.insert(key, value);
        }
    }
}

fn note<K: Ord + Copy, V>(stored: &mut BTreeSet<K>, batch: &BTreeMap<K, Option<V>>) {
    for (key, value) in batch {
        match value {
            Some(_) => stored.insert(*key),
            None => stored.remove(key),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        addrbook::KnownAddress,
        ban::{Ban, BanOrigin},
    };

    fn target(n: u32) -> BanTarget {
        std::net::IpAddr::from(n.to_be_bytes()).into()
    }

    fn change(n: u32, is_there: bool) -> StoreBatch {
        let target = target(n);
        let (origin, reason) = (BanOrigin::Operator, String::new());
        let ban = is_there.then_some(Ban { target, until: None, reason, origin });
        let mut batch = StoreBatch::default();
        batch.bans.insert(target, ban);
        batch
    }

    fn at(millis: u64) -> Mono {
        Mono::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn writes_come_once_a_second_and_urgent_ones_at_once() {
        let mut pending = Pending::new(&StoredBook::default());
        assert_eq!((pending.take(at(0)), pending.next_deadline()), (None, None));
        assert!(pending.is_empty());
        pending.add(change(1, true), false);
        assert!(!pending.is_empty(), "it waits");
        assert!(pending.take(at(0)).is_some());
        assert!(!pending.is_empty(), "it is being written");
        pending.written(at(0));
        assert!(pending.is_empty());
        pending.add(change(2, true), false);
        assert_eq!((pending.take(at(999)), pending.next_deadline()), (None, Some(at(1000))));
        pending.add(change(3, true), true);
        assert_eq!(pending.take(at(999)).unwrap().len(), 2);
        pending.written(at(999));
        assert!(pending.is_empty());
    }

    #[test]
    fn what_failed_comes_again_under_what_came_later() {
        let mut pending = Pending::new(&StoredBook::default());
        pending.add(change(1, true), true);
        pending.add(change(2, true), true);
        assert!(pending.take(at(0)).is_some());
        pending.add(change(1, false), false);
        assert!(pending.failed(at(0)), "the first failure is reported");
        assert_eq!(pending.take(at(4999)), None);
        // The first was never stored, so there is nothing to remove.
        assert_eq!(*pending.take(at(5000)).unwrap(), change(2, true));
        assert!(!pending.failed(at(59_999)), "reported a minute ago");
        pending.take(at(65_000)).unwrap();
        assert!(pending.failed(at(65_000)));
        pending.hurry();
        pending.take(at(65_001)).unwrap();
        pending.add(change(2, false), false);
        pending.written(at(65_001));
        assert_eq!(*pending.take(at(70_000)).unwrap(), change(2, false), "it was stored");
    }

    /// The fault: a disk that was full for a day was 1440 warnings.
    #[test]
    fn failures_are_reported_ever_more_rarely() {
        let mut pending = Pending::new(&StoredBook::default());
        let mut reported = Vec::new();
        for second in (0..24 * 3600).step_by(5) {
            pending.add(change(1, true), true);
            pending.take(at(second * 1000)).unwrap();
            if pending.failed(at(second * 1000)) {
                reported.push(second);
            }
        }
        assert_eq!(reported[..5], [0, 60, 180, 420, 900]);
        assert!(reported.len() <= 30, "{}", reported.len());
    }

    /// The fault: it was told up to an hour later, as long as the last trouble had been.
    #[test]
    fn a_failure_after_a_spell_of_successes_is_told_at_once() {
        let mut pending = Pending::new(&StoredBook::default());
        let mut write = |second: u64, is_well: bool| {
            pending.add(change(1, true), true);
            pending.take(at(second * 1000)).unwrap();
            if is_well {
                pending.written(at(second * 1000));
            }
            !is_well && pending.failed(at(second * 1000))
        };
        let bad = (0..12 * 3600).step_by(5).filter(|second| write(*second, false)).last().unwrap();
        assert!(bad < 12 * 3600 - 60, "{bad}: it is told once an hour by now");
        let again = 12 * 3600;
        (again..=again + 60).step_by(10).for_each(|second| _ = write(second, true));
        assert!(write(again + 61, false), "it was well for a minute");
        assert!(!write(again + 120, false));
        assert!(write(again + 121, false), "a minute later, as at first");
        // A disk that works every other time is one trouble, told ever more rarely.
        let flickers = (2 * again..3 * again).step_by(5);
        let told = flickers.filter(|second| write(*second, second % 10 == 0)).count();
        assert!((5..=20).contains(&told), "{told}");
    }

    #[test]
    fn a_store_that_hangs_costs_no_more_than_the_book() {
        let stored = StoredBook {
            bans: change(0, true).bans[&target(0)].clone().into_iter().collect(),
            ..Default::default()
        };
        let mut pending = Pending::new(&stored);
        pending.add(change(1, true), true);
        assert!(pending.take(at(0)).is_some());
        for n in 0..10_000 {
            pending.add(change(n, true), true);
            pending.add(change(n, false), true);
        }
        assert_eq!(pending.waiting.len(), 2, "only what the store may hold");
        pending.failed(at(1));
        assert_eq!(pending.waiting.len(), 1);
    }

    /// Who waits for what is urgent would wait for ever for a write that does not come.
    #[test]
    fn only_what_is_urgent_and_not_begun_is_pressing() {
        let mut pending = Pending::new(&StoredBook::default());
        pending.hurry();
        assert!(!pending.is_pressing(), "there is nothing to write");
        let mut pending = Pending::new(&StoredBook::default());
        pending.add(change(1, true), false);
        assert!(!pending.is_pressing(), "there is time");
        pending.hurry();
        assert!(pending.is_pressing());
        assert!(pending.take(at(0)).is_some());
        assert!(!pending.is_pressing(), "its write has begun");
    }

    /// Who was told and forgotten within a second, as in a flood, is never written.
    #[test]
    fn an_address_that_no_store_has_is_not_removed_there() {
        let id = NodeId::from_bytes([1; 20]);
        let addr = crate::address::NetAddress::new(id, [50, 1, 1, 1].into(), 1);
        let known = KnownAddress::told(addr, addr);
        let mut removal = StoreBatch::default();
        removal.addresses.insert(id, None);
        for is_stored in [false, true] {
            let addresses = if is_stored { vec![known.clone()] } else { Vec::new() };
            let mut pending = Pending::new(&StoredBook { addresses, ..Default::default() });
            let mut added = StoreBatch::default();
            added.addresses.insert(id, Some(known.clone()));
            pending.add(added, false);
            pending.add(removal.clone(), false);
            assert_eq!(pending.take(at(0)).as_deref(), is_stored.then_some(&removal));
        }
    }
}
