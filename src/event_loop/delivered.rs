//! What the reactors hold of what was delivered to them, over all connections.
//!
//! Each reactor has an even share of the whole, so that one that is stuck takes nothing from
//! another. The loop counts what it delivers and not what is let go: that would be a counter that
//! all reactors' threads write with every message. When the count reaches the share, the loop looks
//! at what the sessions' budgets say is held in truth. Only if that is much, the reactor gets nothing
//! before it has let go of a good part; until then the loop looks again from time to time, since
//! nobody tells it.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use crate::{reactor::Session, time::Mono};

/// Pause between two looks at a reactor that holds its share. Short enough that half a share in such a
/// time is more than any reactor works off, long enough to cost nothing.
const LOOK_AFTER: Duration = Duration::from_millis(10);
/// Sessions that are over and whose messages somebody held at the end: when there are so many more of
/// them than at the last look, it is looked again.
const GONE: usize = 64;

/// What each reactor holds, and may.
#[derive(Debug)]
pub(super) struct Delivered {
    share: usize,
    reactors: Box<[Held]>,
    /// A reactor's count has reached the share.
    is_due: bool,
    /// When to look again at those that hold too much.
    look_at: Option<Mono>,
    /// Connections are served in turn: the slot of the first one next time.
    first: u32,
    /// They were not all served: somebody may wait for a reactor that has room.
    is_cut: bool,
    /// Sessions that are over, while there may be messages of them.
    gone: Vec<Weak<Session>>,
    /// How many of these there may be.
    max_gone: usize,
}

#[derive(Clone, Debug, Default)]
struct Held {
    /// No less than what it holds: what it held at the last look, and what it got since.
    bytes: usize,
    /// It gets nothing: the count has reached the share, or it holds too much.
    is_full: bool,
    /// It was found to hold too much, and must come down to half of the share; until it is found so
    /// seven eighths are allowed. With one mark it would be looked at for every message.
    is_waited_for: bool,
}

impl Delivered {
    pub(super) fn new(total: usize, reactors: usize) -> Self {
        Self {
            share: total / reactors.max(1),
            reactors: vec![Held::default(); reactors].into(),
            is_due: false,
            look_at: None,
            first: 0,
            is_cut: false,
            gone: Vec::new(),
            max_gone: GONE,
        }
    }

    /// Whether the reactor may get a message.
    #[expect(clippy::indexing_slicing, reason = "reactors are numbered as they are configured")]
    pub(super) fn may_take(&self, reactor: usize) -> bool {
        !self.reactors[reactor].is_full
    }

    /// The reactor gets a message of this cost.
    #[expect(clippy::indexing_slicing, reason = "reactors are numbered as they are configured")]
    pub(super) fn charge(&mut self, reactor: usize, cost: usize) {
        let held = &mut self.reactors[reactor];
        held.bytes = held.bytes.saturating_add(cost);
        if held.bytes >= self.share {
            held.is_full = true;
            self.is_due = true;
        }
    }

    /// Whether a reactor's count has reached its share since the last look.
    pub(super) fn has_reached(&self) -> bool {
        self.is_due
    }

    /// Whether it is to be looked what reactors hold.
    pub(super) fn is_due(&self, now: Mono) -> bool {
        self.is_due || self.look_at.is_some_and(|at| at <= now)
    }

    pub(super) fn next_deadline(&self) -> Option<Mono> {
        self.look_at
    }

    /// The slot that is served first.
    pub(super) fn first(&self) -> u32 {
        self.first
    }

    /// It is this slot's turn to be served. True: somebody before it has used up what there was, and it
    /// will be the first next time.
    pub(super) fn is_cut_at(&mut self, slot: u32) -> bool {
        self.first = slot;
        self.is_cut |= self.is_due;
        self.is_due
    }

    /// A session is over, and what reactors hold of it is held on.
    pub(super) fn remember(&mut self, session: &Arc<Session>) {
        if (0..self.reactors.len()).all(|reactor| session.budget(reactor).used() == 0) {
            return;
        }
        if self.gone.len() >= self.max_gone {
            self.forget();
        }
        self.gone.push(Arc::downgrade(session));
    }

    /// Sessions of which nobody holds anything any more.
    fn forget(&mut self) {
        let reactors = self.reactors.len();
        self.gone.retain(|session| {
            let session = session.upgrade();
            session.is_some_and(|s| (0..reactors).any(|reactor| s.budget(reactor).used() > 0))
        });
        self.max_gone = 2 * self.gone.len() + GONE;
    }

    /// What each holds in truth. True: one that got nothing may get something now.
    pub(super) fn count<'a>(
        &mut self,
        sessions: impl Iterator<Item = &'a Session>,
        now: Mono,
    ) -> bool {
        self.is_due = false;
        self.reactors.iter_mut().for_each(|held| held.bytes = 0);
        let mut add = |session: &Session| {
            for (reactor, held) in self.reactors.iter_mut().enumerate() {
                held.bytes += session.budget(reactor).used();
            }
        };
        sessions.for_each(&mut add);
        self.gone.iter().filter_map(Weak::upgrade).for_each(|session| add(&session));
        let (mut is_open, mut is_any_full) = (std::mem::take(&mut self.is_cut), false);
        for held in self.reactors.iter_mut().filter(|held| held.is_full) {
            let mark =
                if held.is_waited_for { self.share / 2 } else { self.share - self.share / 8 };
            held.is_full = held.bytes > mark;
            held.is_waited_for = held.is_full;
            is_open |= !held.is_full;
            is_any_full |= held.is_full;
        }
        self.look_at = is_any_full.then(|| now + LOOK_AFTER);
        is_open
    }
}

#[cfg(test)]
mod tests {
    use std::iter::empty;

    use super::*;
    use crate::reactor::session_without_connection;

    #[test]
    fn who_was_not_served_is_served_at_the_next_look_though_nobody_has_let_go_of_more() {
        let mut delivered = Delivered::new(1000, 2);
        assert!(!delivered.count(empty(), Mono::ZERO));
        delivered.is_cut = true;
        assert!(delivered.count(empty(), Mono::ZERO));
        assert!(!delivered.count(empty(), Mono::ZERO), "once");
    }

    #[test]
    fn of_sessions_that_are_over_those_stay_of_which_something_is_held() {
        let mut delivered = Delivered::new(1000, 1);
        let sessions: Vec<_> = (0..GONE as u8).map(session_without_connection).collect();
        for session in &sessions {
            delivered.remember(session);
            assert!(delivered.gone.is_empty(), "nothing of it is held");
            _ = session.budget(0).charge(1);
        }
        sessions.iter().for_each(|session| delivered.remember(session));
        assert_eq!(delivered.gone.len(), GONE);
        // A fourth is still held when there is one more than there were to be.
        for (number, session) in sessions.iter().enumerate() {
            if number % 4 > 0 {
                _ = session.budget(0).release(1);
            }
        }
        let last = session_without_connection(GONE as u8);
        _ = last.budget(0).charge(1);
        delivered.remember(&last);
        assert_eq!((delivered.gone.len(), delivered.max_gone), (GONE / 4 + 1, GONE / 2 + GONE));
        let mut used = delivered.gone.iter().map(|gone| gone.upgrade().unwrap().budget(0).used());
        assert!(used.all(|used| used == 1));
    }
}
