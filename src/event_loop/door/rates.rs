//! Token buckets: how often somebody may do something.

use std::{collections::BTreeMap, time::Duration};

use crate::time::Mono;

/// Keys whose rate a table keeps in mind. An entry is about 50 bytes, so a table takes 3 MiB at
/// most. Who comes with more addresses than this gets those beyond it past the rates.
pub(super) const MAX_TRACKED: usize = 1 << 16;

/// How often those that may be forgotten are looked for, and how often at most while the table is
/// full: a look at 65,536 entries takes about 1 ms.
const PRUNE_EVERY: Duration = Duration::from_secs(10);
const PRUNE_AT_MOST_EVERY: Duration = Duration::from_secs(1);

/// How fast tokens flow into a bucket, and how many it holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Time of one token; zero: there are always enough.
    interval: Duration,
    /// Time of a whole bucket.
    whole: Duration,
}

impl Pace {
    /// So many tokens a second, 0 = without limit, and so many at once.
    pub(crate) fn new(rate: u32, burst: u32) -> Self {
        let nanos = 1_000_000_000_u64.checked_div(rate.into()).unwrap_or(0);
        Self::every(Duration::from_nanos(nanos), burst)
    }

    /// One token each `interval`, and so many at once.
    pub(crate) fn every(interval: Duration, burst: u32) -> Self {
        Self { interval, whole: interval.saturating_mul(burst) }
    }

    /// So many times the tokens a second, and at once.
    pub(super) fn times(self, factor: u32) -> Self {
        Self { interval: self.interval / factor.max(1), ..self }
    }

    /// When a bucket that would be full at `full_at` is full after one more token was taken;
    /// `None` if there is none to take.
    pub(crate) fn take(&self, full_at: Mono, now: Mono) -> Option<Mono> {
        let next = full_at.max(now) + self.interval;
        (next.since(now) <= self.whole).then_some(next)
    }
}

/// A token bucket, as the time when it is full again.
#[derive(Debug)]
pub(super) struct Bucket {
    pace: Pace,
    full_at: Mono,
}

impl Bucket {
    pub(super) fn new((rate, burst): (u32, u32)) -> Self {
        Self { pace: Pace::new(rate, burst), full_at: Mono::ZERO }
    }

    pub(super) fn take(&mut self, now: Mono) -> bool {
        let next = self.pace.take(self.full_at, now);
        self.full_at = next.unwrap_or(self.full_at);
        next.is_some()
    }
}

/// A token bucket for each key; one that is full again is as good as none and is forgotten.
#[derive(Debug)]
pub(crate) struct Buckets<K> {
    full_at: BTreeMap<K, Mono>,
    pruned: Mono,
}

impl<K> Default for Buckets<K> {
    fn default() -> Self {
        Self { full_at: BTreeMap::new(), pruned: Mono::ZERO }
    }
}

impl<K: Ord> Buckets<K> {
    /// Whether the key's bucket, which fills at this pace, has a token.
    pub(crate) fn may_take(&self, key: &K, pace: Pace, now: Mono) -> bool {
        pace.interval.is_zero()
            || self.full_at.get(key).is_none_or(|&full_at| pace.take(full_at, now).is_some())
    }

    /// Takes a token, if there is one.
    pub(crate) fn take(&mut self, key: K, pace: Pace, now: Mono) {
        if pace.interval.is_zero() {
            return;
        }
        if let Some(full_at) = self.full_at.get_mut(&key) {
            *full_at = pace.take(*full_at, now).unwrap_or(*full_at);
            return;
        }
        let is_at_cap = self.full_at.len() >= MAX_TRACKED;
        let pause = if is_at_cap { PRUNE_AT_MOST_EVERY } else { PRUNE_EVERY };
        if now.since(self.pruned) >= pause {
            self.pruned = now;
            self.full_at.retain(|_, full_at| *full_at > now);
        }
        if self.full_at.len() < MAX_TRACKED {
            self.full_at.insert(key, now + pace.interval);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.full_at.len()
    }
}
