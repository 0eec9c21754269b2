//! What became of addresses.

use std::time::SystemTime;

use rand::Rng;

use super::{Book, KnownAddress, Placement};
use crate::{address::NetAddress, identity::NodeId};

/// What a node says of itself. The texts are printable ASCII.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// What it calls itself.
    pub moniker: String,
    /// The version of its software.
    pub version: String,
    /// The network that it belongs to.
    pub network: String,
}

/// Seconds. The longest pause after failures is 18 hours, so that no record decays that is still
/// being added to.
const DAY: u64 = 24 * 3600;

/// Which of a node's addresses.
enum Which {
    Known,
    Probation,
}

impl Book {
    /// The address is about to be dialed. Earlier failures count half as much for each day that it
    /// was left alone.
    pub fn attempted(&mut self, addr: &NetAddress, wall: SystemTime) {
        let Some((n, which)) = self.which(addr) else { return };
        self.table.update(n, |known| {
            let days = known.attempted_ago(wall).unwrap_or_default().as_secs() / DAY;
            let history = known.history_mut();
            history.dial_failures >>= days.min(31);
            history.last_attempt = Some(wall);
            if let Which::Known = which {
                history.attempts = history.attempts.saturating_add(1);
            }
        });
    }

    /// The address was not dialed after all, for no fault of its own: the attempt does not count, and
    /// this was the last one.
    pub fn take_back(&mut self, addr: &NetAddress, last_attempt: Option<SystemTime>) {
        let Some((n, which)) = self.which(addr) else { return };
        self.table.update(n, |known| {
            let history = known.history_mut();
            history.last_attempt = last_attempt;
            if let Which::Known = which {
                history.attempts = history.attempts.saturating_sub(1);
            }
        });
    }

    /// The dial brought no session. How often in a row that was so; 0 if the address is not the
    /// known one. An address on probation leaves the book.
    pub fn dial_failed(&mut self, addr: &NetAddress, wall: SystemTime) -> u32 {
        let Some((n, which)) = self.which(addr) else { return 0 };
        match which {
            Which::Known => {
                let failures = self.table.update(n, |known| {
                    let failures = &mut known.history_mut().dial_failures;
                    *failures = failures.saturating_add(1);
                    *failures
                });
                if let Some(rival) = self.collisions.settle(&addr.id()) {
                    self.replace(&addr.id(), &rival, wall);
                }
                failures
            }
            Which::Probation => {
                self.table.update(n, |known| known.history_mut().probation = None);
                0
            }
        }
    }

    /// Somebody else is at this address. It leaves the book; the node is not to blame, for anybody
    /// can tell a wrong address of it. If there is another one on probation, that is told anew.
    pub fn wrong_id(&mut self, addr: &NetAddress, wall: SystemTime) {
        let Some((n, which)) = self.which(addr) else { return };
        let known = self.table.get(n);
        let probation = known.history().probation;
        // Nor does it come back when the node is bad no more.
        if let (Which::Known, Some(bad)) = (&which, self.bad.get_mut(&addr.id())) {
            bad.addr = probation;
            self.dirty_bad.insert(addr.id());
        }
        match (which, probation) {
            (Which::Probation, _) => {
                self.table.update(n, |known| known.history_mut().probation = None)
            }
            (Which::Known, None) => self.table.remove(n),
            (Which::Known, Some(other)) => {
                let is_bad = known.placement == Placement::Bad;
                let mut told = KnownAddress::told(other, known.src);
                told.history_mut().last_bad = known.history().last_bad;
                self.table.remove(n);
                let n = self.table.insert(told);
                if is_bad {
                    self.table.set_bad(n);
                } else {
                    self.place_anew(n, wall, 0);
                }
            }
        }
    }

    /// We dialed exactly this address and found the node there. It is verified, and if it was on
    /// probation it is the known one from now on. Its failures are forgotten once it is
    /// [`reached`](Self::reached). Nothing if it is not known.
    pub fn authenticated(&mut self, addr: &NetAddress, facts: &NodeFacts, wall: SystemTime) {
        let Some((n, which)) = self.which(addr) else { return };
        let is_moved = matches!(which, Which::Probation);
        self.table.update(n, |known| {
            if is_moved {
                // The failures were the other address's.
                known.addr = *addr;
                let history = known.history_mut();
                (history.probation, history.dial_failures) = (None, 0);
            }
            known.history_mut().verified = Some(wall);
        });
        if is_moved {
            self.settle_in(n, wall);
        }
        self.seen(&addr.id(), facts, wall);
    }

    /// The node has stayed our peer: earlier failures do not count any more. A node without room
    /// authenticates itself, too, and then hangs up. One that has dialed us proves something about
    /// its address only if we have found it there before.
    pub fn reached(&mut self, id: &NodeId, was_dialed: bool) {
        if let Some(n) = self.table.find(id)
            && self.table.get(n).history().dial_failures > 0
            && (was_dialed || self.table.get(n).history().verified.is_some())
        {
            self.table.update(n, |known| known.history_mut().dial_failures = 0);
        }
    }

    /// A session with the node began or ended, whoever dialed.
    pub fn seen(&mut self, id: &NodeId, facts: &NodeFacts, wall: SystemTime) {
        self.collisions.settle(id);
        let Some(n) = self.table.find(id) else { return };
        self.table.update(n, |known| {
            let history = known.history_mut();
            history.last_seen = Some(wall);
            history.moniker.clone_from(&facts.moniker);
            history.version.clone_from(&facts.version);
            history.network.clone_from(&facts.network);
        });
    }

    /// The node behaved well: it is bad no more, and its address has a place in an old bucket, or
    /// gets one as soon as it is clear that who holds it is gone. False: nothing has changed.
    pub fn mark_good(&mut self, id: &NodeId, wall: SystemTime, rng: &mut impl Rng) -> bool {
        let was_bad = self.lift_bad(id, wall, rng);
        let Some(n) = self.table.find(id) else { return was_bad };
        let is_old = |known: &KnownAddress| matches!(known.placement, Placement::Old(_));
        let known = self.table.get(n);
        if !was_bad
            && is_old(known)
            && known.history().attempts == 0
            && known.history().last_success == Some(wall)
        {
            return false;
        }
        self.table.update(n, |known| {
            let history = known.history_mut();
            (history.attempts, history.last_success) = (0, Some(wall));
        });
        if !is_old(self.table.get(n)) {
            self.promote(n, wall);
        }
        true
    }

    /// Gives it a place in its old bucket if there is one for it.
    fn promote(&mut self, n: u32, wall: SystemTime) {
        let known = self.table.get(n);
        let (id, is_verified) = (known.addr.id(), known.history().verified.is_some());
        let bucket = self.hash.old_bucket(&known.addr);
        if !self.table.old.is_full(bucket) {
            return self.table.join_old(n, bucket);
        }
        // Who behaves well may still have told us a wrong address: no reason to doubt another's.
        if !is_verified {
            return;
        }
        let rank = |n: &&u32| {
            let known = self.table.get(**n);
            (known.is_checked(), known.history().last_success, known.addr.id())
        };
        let weakest = self.table.old.get(bucket).iter().min_by_key(rank);
        let Some(weakest) = weakest.map(|n| self.table.get(*n)) else { return };
        let holder = weakest.addr.id();
        if weakest.is_checked() {
            self.collisions.add(holder, id, wall);
        } else {
            self.replace(&holder, &id, wall);
        }
    }

    /// Its address is another one now, so its buckets are others.
    fn settle_in(&mut self, n: u32, wall: SystemTime) {
        let known = self.table.get(n);
        let bucket = self.hash.old_bucket(&known.addr);
        match known.placement {
            Placement::Bad => {}
            Placement::Old(at) if at == bucket => {}
            Placement::Old(_) if !self.table.old.is_full(bucket) => {
                self.table.join_old(n, bucket);
            }
            Placement::Old(_) | Placement::New(_) => self.place_anew(n, wall, 0),
        }
    }

    /// The node's entry, if this is its address or the one on probation.
    fn which(&self, addr: &NetAddress) -> Option<(u32, Which)> {
        let n = self.table.find(&addr.id())?;
        let known = self.table.get(n);
        if known.addr == *addr {
            Some((n, Which::Known))
        } else {
            (known.history().probation == Some(*addr)).then_some((n, Which::Probation))
        }
    }
}
