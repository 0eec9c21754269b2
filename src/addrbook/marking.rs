//! Which addresses are bad, and when they are so no more.

use std::time::{Duration, SystemTime};

use rand::Rng;

use super::{BadAddress, BadCause, Book, buckets::start};
use crate::{address::NetAddress, identity::NodeId, text::shown, time::Wall};

impl Book {
    /// The application says that the address is not to be dialed for this long. See
    /// [`found_bad`](Self::found_bad).
    pub fn mark_bad(
        &mut self,
        id: NodeId,
        addr: Option<NetAddress>,
        duration: Duration,
        reason: &str,
        wall: SystemTime,
    ) -> bool {
        let (until, reason) = (wall.after(duration), reason.to_owned());
        self.found_bad(BadAddress { id, addr, until, cause: BadCause::Application, reason }, wall)
    }

    /// The address is not to be dialed until then, and in no bucket. If it is bad already for a cause of
    /// the same kind, the later end counts. The application's word counts for more than what a machine
    /// has found, whichever ends later: it stands from when it is said until its own end, and neither
    /// has the end of the other. False: nothing has changed.
    pub fn found_bad(&mut self, mut bad: BadAddress, wall: SystemTime) -> bool {
        let id = bad.id;
        if id == self.own() || bad.until <= wall {
            return false;
        }
        bad.reason = shown(&bad.reason);
        if let Some(earlier) = self.bad.get(&id) {
            let is_word = bad.cause == BadCause::Application;
            let was_word = earlier.cause == BadCause::Application;
            let is_over = earlier.until <= wall;
            if !is_over
                && ((was_word && !is_word) || (was_word == is_word && earlier.until > bad.until))
            {
                return false;
            }
            bad.addr = bad.addr.or(earlier.addr);
        }
        let entry = self.table.find(&id);
        bad.addr = bad.addr.or(entry.map(|n| self.table.get(n).addr));
        self.dirty_bad.insert(id);
        if let Some(n) = entry {
            self.table.update(n, |known| known.history_mut().last_bad = Some(wall));
            self.table.set_bad(n);
        }
        let displaced = self.put_bad(bad);
        if let Some(displaced) = &displaced {
            self.dirty_bad.insert(displaced.id);
            self.reinstate(&displaced.id, wall, 0);
        }
        displaced.is_none_or(|displaced| displaced.id != id)
    }

    /// Whether the node's address is not to be dialed or passed on: until it is reinstated.
    pub fn is_bad(&self, id: &NodeId) -> bool {
        self.bad.contains_key(id)
    }

    /// What is known of the node's badness.
    pub fn bad_address(&self, id: &NodeId) -> Option<&BadAddress> {
        self.bad.get(id)
    }

    /// The address is bad no more, and new with a clean record, although its time is not over.
    /// False: it was not bad.
    pub fn lift_bad(&mut self, id: &NodeId, wall: SystemTime, rng: &mut impl Rng) -> bool {
        let Some(bad) = self.take_bad(id) else { return false };
        self.dirty_bad.insert(*id);
        self.restore(&bad, wall, rng);
        true
    }

    /// The node has authenticated itself as one of ours, at the address that we dialed or by dialing
    /// us: what a machine has found before may be disproved, see [`BadCause`]. False: it was not bad,
    /// or still is.
    pub fn disprove_bad(
        &mut self,
        id: &NodeId,
        was_dialed: bool,
        wall: SystemTime,
        rng: &mut impl Rng,
    ) -> bool {
        let is_disproved = match self.bad.get(id).map(|bad| bad.cause) {
            None | Some(BadCause::Application) => false,
            Some(BadCause::Incompatible) => true,
            Some(BadCause::Unreachable) => was_dialed || self.was_found(id),
        };
        is_disproved && self.lift_bad(id, wall, rng)
    }

    /// Who was found to be of another network is to be tried again: it may be we who were of another
    /// one, or of another version, before this start.
    pub fn forget_incompatible(&mut self, wall: SystemTime, rng: &mut impl Rng) {
        let is_over = |bad: &&BadAddress| bad.cause == BadCause::Incompatible;
        let over: Vec<_> = self.bad.values().filter(is_over).map(|bad| bad.id).collect();
        for id in over {
            self.lift_bad(&id, wall, rng);
        }
    }

    /// Whether the node was ever found at the address that is known of it.
    pub(super) fn was_found(&self, id: &NodeId) -> bool {
        self.get(id).is_some_and(|known| known.history().verified.is_some())
    }

    /// What was bad is new. One that was marked before anybody had told of it is booked now.
    pub(super) fn restore(&mut self, bad: &BadAddress, wall: SystemTime, rng: &mut impl Rng) {
        self.reinstate(&bad.id, wall, start(rng));
        if let Some(addr) = bad.addr.filter(|_| self.table.find(&bad.id).is_none()) {
            // Why not is of no interest, as with everything that is told.
            let _ = self.add(addr, self.own_addr(), wall, rng);
        }
    }

    /// Every bad address, by ID.
    pub fn bad_addresses(&self) -> impl Iterator<Item = &BadAddress> {
        self.bad.values()
    }

    /// Adds the bad address in place of one of the same ID; gives the one that had to give way.
    pub(super) fn put_bad(&mut self, bad: BadAddress) -> Option<BadAddress> {
        self.take_bad(&bad.id);
        self.bad_ends.insert((bad.until, bad.id));
        self.bad.insert(bad.id, bad);
        let is_over = self.bad.len() > self.settings.limits.bad;
        let first = self.bad_ends.first().filter(|_| is_over).map(|(_, id)| *id)?;
        self.take_bad(&first)
    }

    pub(super) fn take_bad(&mut self, id: &NodeId) -> Option<BadAddress> {
        let bad = self.bad.remove(id)?;
        self.bad_ends.remove(&(bad.until, *id));
        Some(bad)
    }
}
