//! What the switch has to look at again, and when.

use std::collections::BTreeSet;

use crate::{identity::NodeId, ids::ConnId, time::Mono};

/// What a deadline is about. Whoever is told looks whether it still means anything: deadlines are
/// not taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// An attempt is to begin, or its name was not resolved in time.
    Attempt(u64),
    /// A persistent peer is to be dialed.
    Persistent(NodeId),
    /// A duplicate has waited long enough.
    Parked(ConnId),
    /// A session has lasted long enough to count as a success.
    Proven(ConnId),
    /// Filters have not answered in time.
    Filter(u64),
}

/// Deadlines, earliest first.
#[derive(Debug, Default)]
pub(super) struct Timers(BTreeSet<(Mono, Timer)>);

impl Timers {
    pub(super) fn add(&mut self, at: Mono, timer: Timer) {
        self.0.insert((at, timer));
    }

    pub(super) fn pop_due(&mut self, now: Mono) -> Option<Timer> {
        self.0.first().filter(|(at, _)| *at <= now)?;
        self.0.pop_first().map(|(_, timer)| timer)
    }

    pub(super) fn next(&self) -> Option<Mono> {
        self.0.first().map(|(at, _)| *at)
    }

    /// Nothing is to be looked at any more.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
