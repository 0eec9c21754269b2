//! An address that is not dialed for a while.

use std::time::Duration;

use rand::Rng;

use super::{Book, adding::start};
use crate::{address::NetAddress, identity::NodeId, text::shown};

/// A node that is not dialed, and whose address is not passed on, until a time. It may dial us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadAddress {
    /// The node.
    pub id: NodeId,
    /// Where it was thought to be, if that is known.
    pub addr: Option<NetAddress>,
    /// When it may be tried again, since the Unix epoch.
    pub until: Duration,
    /// Why, for people.
    pub reason: String,
}

impl Book {
    /// The address is not to be dialed for this long, and in no bucket. If it is bad already the
    /// later end counts. False: nothing has changed.
    pub fn mark_bad(
        &mut self,
        id: NodeId,
        addr: Option<NetAddress>,
        duration: Duration,
        reason: &str,
        wall: Duration,
    ) -> bool {
        let until = wall.saturating_add(duration);
        if id == self.own() || until <= wall {
            return false;
        }
        let mut bad = BadAddress { id, addr, until, reason: shown(reason) };
        if let Some(earlier) = self.bad.get(&id) {
            if earlier.until > until {
                return false;
            }
            bad.addr = bad.addr.or(earlier.addr);
        }
        let entry = self.table.find(&id);
        bad.addr = bad.addr.or(entry.map(|n| self.table.get(n).addr));
        self.dirty_bad.insert(id);
        if let Some(n) = entry {
            self.table.update(n, |known| known.last_bad = Some(wall));
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
    pub fn lift_bad(&mut self, id: &NodeId, wall: Duration, rng: &mut impl Rng) -> bool {
        let Some(bad) = self.take_bad(id) else { return false };
        self.dirty_bad.insert(*id);
        self.restore(&bad, wall, rng);
        true
    }

    /// What was bad is new. One that was marked before anybody had told of it is booked now.
    pub(super) fn restore(&mut self, bad: &BadAddress, wall: Duration, rng: &mut impl Rng) {
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
