//! What time it is when a book is taken up again.
//!
//! Nearly everything in a book is worth what it is because of when it was: who was found a minute ago
//! is served, who was tried longest ago gives way, a ban ends. A machine without a battery starts in
//! 1970, and some clocks are years ahead: then the book's own times say more than the clock.

use std::time::{Duration, SystemTime};

use super::{History, KnownAddress, StoredBook};
use crate::{
    ban::BanOrigin,
    time::{Leap, Wall},
};

/// From 1970 to 2020: no clock that shows less has ever been right when this was run.
const NEVER: Duration = Duration::from_secs(1_577_836_800);

impl StoredBook {
    /// What time to go on with where the clock shows this: what it shows, unless that is before 2020
    /// and the book has seen later times. Then the last of those. `longest` is the longest automatic
    /// ban.
    pub fn now(&self, clock: SystemTime, longest: Duration) -> SystemTime {
        // Without addresses the bans tell: each was imposed at some time before its end.
        let automatic = self.bans.iter().filter(|ban| ban.origin == BanOrigin::Automatic);
        let imposed = automatic.filter_map(|ban| ban.until?.checked_sub(longest));
        let imposed = imposed.filter(|time| *time >= SystemTime::UNIX_EPOCH);
        match self.last_used().or_else(|| last_of_most(imposed.collect())) {
            Some(last) if clock.since(SystemTime::UNIX_EPOCH) < NEVER => clock.max(last),
            _ => clock,
        }
    }

    /// How far everything in the book is to be moved so that it is as long ago as it was, if the book
    /// is taken up at this time: not at all, unless the clock was set by more than is plausible
    /// meanwhile.
    pub(super) fn leap(&self, wall: SystemTime) -> Option<Leap> {
        Leap::between(self.last_used()?, wall)
    }

    /// Moves every time in the book.
    pub(super) fn move_by(&mut self, leap: Leap) {
        // Whoever has no history has no times: none is made.
        let known = self.addresses.iter_mut().filter(|known| known.has_history());
        let past = known.flat_map(|known| known.history_mut().times_mut()).flatten();
        let ends = self.bans.iter_mut().filter_map(|ban| ban.until.as_mut());
        let bad = self.bad.iter_mut().map(|bad| &mut bad.until);
        past.chain(ends).chain(bad).for_each(|time| *time = leap.of(*time));
    }

    /// When the book was last in use, as far as its addresses tell.
    fn last_used(&self) -> Option<SystemTime> {
        // Who has only said where it is, too: that it was here is certain, only not where it lives.
        let last = |known: &KnownAddress| {
            let History { last_seen, last_attempt, last_bad, .. } = known.history();
            known.met().max(*last_seen).max(*last_attempt).max(*last_bad)
        };
        last_of_most(self.addresses.iter().filter_map(last).collect())
    }
}

/// The last time among those that lie near most of them. One that is damaged must not move all others.
fn last_of_most(mut all: Vec<SystemTime>) -> Option<SystemTime> {
    all.sort_unstable();
    let middle = *all.get(all.len() / 2)?;
    all.into_iter().rfind(|time| Leap::between(middle, *time).is_none())
}
