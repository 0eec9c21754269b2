//! What is due when.

use std::collections::BTreeSet;

use crate::{identity::NodeId, ids::ConnId, time::Mono};

/// What to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The peer has stayed for some time.
    Proven(ConnId),
    /// The peer has stayed for long.
    Good(ConnId),
    /// The peer had time to answer the crawl.
    Crawled(ConnId),
    /// The peer has used the seed for long enough.
    Overstayed(ConnId),
    /// The node may be asked again.
    Asked(NodeId),
}

/// Timers by time.
#[derive(Debug, Default)]
pub(super) struct Timers(BTreeSet<(Mono, Timer)>);

impl Timers {
    pub(super) fn add(&mut self, at: Mono, timer: Timer) {
        self.0.insert((at, timer));
    }

    pub(super) fn remove(&mut self, at: Mono, timer: Timer) {
        self.0.remove(&(at, timer));
    }

    pub(super) fn pop_due(&mut self, now: Mono) -> Option<Timer> {
        let (at, timer) = self.0.first().copied().filter(|(at, _)| *at <= now)?;
        self.0.remove(&(at, timer));
        Some(timer)
    }

    pub(super) fn next(&self) -> Option<Mono> {
        self.0.first().map(|(at, _)| *at)
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
