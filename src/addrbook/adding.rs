//! How addresses get into the book.

use std::time::SystemTime;

use rand::{Rng, RngExt};

use super::{
    Book, KnownAddress, Placement,
    buckets::{MAX_NEW_BUCKETS, start},
};
use crate::{address::NetAddress, identity::NodeId};

/// What became of an address that was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Added {
    /// The node was not known.
    New,
    /// It was, from another source.
    AnotherBucket,
    /// Nothing has changed.
    Known,
    /// The node is known with another address. This one waits until it is found there.
    Probation,
}

/// Why an address is not booked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum AddError {
    /// It is this node.
    #[error("the address is this node's own")]
    Own,
    /// It can be nobody's.
    #[error("nobody can have this address")]
    Invalid,
    /// It has port 0.
    #[error("nobody can be reached at port 0")]
    NoPort,
    /// The book is strict.
    #[error("the address cannot be reached from everywhere, and addr_book_strict is on")]
    NotRoutable,
    /// The node's address is told to nobody.
    #[error("the node is private")]
    Private,
    /// Nobody is told whom it knows.
    #[error("a private node told the address")]
    PrivateSource,
    /// The node or its IP address is banned.
    #[error("the node or its ip address is banned")]
    Banned,
    /// Its address is bad.
    #[error("the address is bad")]
    Bad,
}

impl Book {
    /// Somebody told an address; `src` is where they are, not where they say they are.
    ///
    /// A node that is known from few sources may become known from one more, by chance: the more
    /// there are, the less likely. An address that differs from the known one changes nothing
    /// until [`authenticated`](Self::authenticated) proves it: else anybody could send us
    /// elsewhere in the name of a good node.
    ///
    /// # Errors
    /// The book does not take it, and is as before.
    pub fn add(
        &mut self,
        addr: NetAddress,
        src: NetAddress,
        wall: SystemTime,
        rng: &mut impl Rng,
    ) -> Result<Added, AddError> {
        self.check_told(&addr, wall)?;
        if self.is_private(&src.id()) {
            return Err(AddError::PrivateSource);
        }
        let Some(n) = self.table.find(&addr.id()) else {
            self.make_room_of(&src, wall, start(rng));
            let n = self.table.insert(KnownAddress::told(addr, src));
            self.place_anew(n, wall, start(rng));
            return Ok(Added::New);
        };
        let known = self.table.get(n);
        if known.addr != addr {
            // The first one stays until it fails, or who tells more of them would choose.
            if known.history().probation.is_some() {
                return Ok(Added::Known);
            }
            self.table.update(n, |known| known.history_mut().probation = Some(addr));
            return Ok(Added::Probation);
        }
        let Placement::New(buckets) = &known.placement else { return Ok(Added::Known) };
        if buckets.len() >= MAX_NEW_BUCKETS || rng.random_range(0..2 * buckets.len() as u32) != 0 {
            return Ok(Added::Known);
        }
        let bucket = self.hash.new_bucket(&addr, &src);
        if buckets.contains(&bucket) {
            return Ok(Added::Known);
        }
        self.place_new(n, bucket, wall, start(rng));
        Ok(Added::AnotherBucket)
    }

    /// Whether the book takes an address that somebody has told, whoever that was.
    pub(super) fn check_told(&self, addr: &NetAddress, wall: SystemTime) -> Result<(), AddError> {
        self.check_address(addr)?;
        if self.is_private(&addr.id()) {
            return Err(AddError::Private);
        }
        if self.is_banned(addr, wall) {
            return Err(AddError::Banned);
        }
        if self.bad.contains_key(&addr.id()) {
            return Err(AddError::Bad);
        }
        Ok(())
    }

    /// Whether a book may hold the address at all.
    pub(super) fn check_address(&self, addr: &NetAddress) -> Result<(), AddError> {
        if addr.id() == self.own() || self.is_own(&addr.socket_addr()) {
            return Err(AddError::Own);
        }
        if !addr.is_valid() {
            return Err(AddError::Invalid);
        }
        if self.settings.is_strict && !addr.is_routable() {
            return Err(AddError::NotRoutable);
        }
        if addr.port() == 0 {
            return Err(AddError::NoPort);
        }
        Ok(())
    }

    /// Whether the node or its IP address is banned at this time.
    pub fn is_banned(&self, addr: &NetAddress, wall: SystemTime) -> bool {
        !self.bans.is_empty()
            && (self.bans.find_id(&addr.id(), wall).is_some()
                || self.bans.find_ip(addr.ip(), wall).is_some())
    }

    /// Puts it in the new bucket that it has by its source, and in no other.
    pub(super) fn place_anew(&mut self, n: u32, wall: SystemTime, start: usize) {
        self.table.leave_all(n);
        let known = self.table.get(n);
        let bucket = self.hash.new_bucket(&known.addr, &known.src);
        self.place_new(n, bucket, wall, start);
    }

    /// Puts it in this new bucket too; makes room if there is none.
    pub(super) fn place_new(&mut self, n: u32, bucket: u8, wall: SystemTime, start: usize) {
        if self.table.new.is_full(bucket) {
            let victim = self.victim(bucket, wall, start);
            #[cfg(test)]
            self.evicted.push((bucket, self.table.addr(victim).id()));
            self.table.leave_new(victim, bucket);
        }
        self.table.join_new(n, bucket);
    }

    /// If this source's group has as many addresses in the book as it may for those of them that were
    /// ever reached, one of the others gives way: of those that nobody else has told, in the same
    /// order as in a full bucket. What the operator has listed has no such limit.
    fn make_room_of(&mut self, src: &NetAddress, wall: SystemTime, start: usize) {
        if src.id() == self.own() {
            return;
        }
        let Some(crowd) = self.table.crowd(&self.group_of(src)) else { return };
        let rank = |n: &u32| {
            let known = self.table.get(*n);
            (self.table.is_told_again(*n), !known.is_hopeless(wall), known.history().last_attempt)
        };
        let (first, later) = (crowd.iter().skip(start), crowd.iter().take(start));
        if let Some(victim) = first.chain(later).copied().min_by_key(rank) {
            self.table.remove(victim);
        }
    }

    /// What was bad or banned, if its address is known, is new with a clean record.
    pub(super) fn reinstate(&mut self, id: &NodeId, wall: SystemTime, start: usize) {
        self.forgive(id);
        if let Some(n) = self.table.find(id) {
            self.place_anew(n, wall, start);
        }
    }

    /// What has been tried before counts no more: the next dial need not wait, and its failure
    /// is the first one.
    pub fn forgive(&mut self, id: &NodeId) {
        if let Some(n) = self.table.find(id) {
            self.table.update(n, |known| {
                let history = known.history_mut();
                (history.attempts, history.dial_failures) = (0, 0);
            });
        }
    }

    /// Who has to leave a full new bucket: a hopeless one, else one never tried, else the one tried
    /// longest ago; whoever is worth his place after the others: second and third places would else fill
    /// the buckets in a network of ten thousand nodes, each told by many, and the book forget a tenth of
    /// them again and again. Of several the first one from `start` on.
    #[expect(clippy::expect_used, reason = "it is asked of full buckets alone")]
    fn victim(&self, bucket: u8, wall: SystemTime, start: usize) -> u32 {
        let entries = self.table.new.get(bucket);
        let (later, first) = entries.split_at(start.min(entries.len()));
        let rank = |n: &&u32| {
            let known = self.table.get(**n);
            let last = known.history().last_attempt;
            (!known.is_hopeless(wall), last.is_some(), self.is_worth_its_place(**n), last)
        };
        *first.iter().chain(later).min_by_key(rank).expect("a full bucket is not empty")
    }

    /// Whether it is the only place of somebody of whom several groups of sources have told: the last to
    /// be given away. What somebody makes up is told by him alone, and who has two places loses little.
    fn is_worth_its_place(&self, n: u32) -> bool {
        self.table.is_told_again(n) && !self.table.get(n).is_in_several()
    }
}
