//! The address book: who is banned, and which addresses are bad.
//!
//! Owned by the thread `p2p-pex`, alone; everybody else sees the [`BanTable`]s that it publishes.
//! Pure: it is told the time, and says what a store has to write instead of writing it. It never
//! touches a disk, a clock or a lock ([`MemoryStore`] apart, which is a store and no part of the
//! book).
//!
//! *Bad* and *banned* are two things. A bad address is not dialed and not passed on, but whoever
//! has it may dial us: a node behind a NAT is no enemy. A banned node, address or range gets
//! no connection in either direction.

mod bad_address;
mod error;
mod memory;
mod store;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

pub use bad_address::BadAddress;
pub use error::{BanError, UnbanError};
pub use memory::MemoryStore;
pub use store::{BookStore, StoreBatch, StoreError, StoredBook};

use crate::{
    address::{Cidr, NetAddress},
    ban::{Ban, BanOrigin, BanTable, BanTarget},
    identity::NodeId,
    text::shown,
    time::{Mono, Now},
};

/// Longest automatic ban of an IP address. Whoever shares an address with an abuser (a NAT, a
/// cloud that hands it to the next customer) is kept out no longer than this.
pub const AUTOMATIC_IP_BAN: Duration = Duration::from_secs(10 * 60);

/// How long the book may overlook that the wall clock was set forward. Who looks into a
/// [`BanTable`] compares with the wall clock itself, so this only delays removal.
const MAX_SLEEP: Duration = Duration::from_secs(60);

/// Least time to the next look at what ends: a wall clock that stands still or is set back just
/// before an end must not make a busy loop.
const MIN_SLEEP: Duration = Duration::from_millis(10);

/// How much the book holds of what others can cause. What an operator adds is not limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BookLimits {
    /// Automatic bans of nodes. Each costs the banned a new key and a handshake, and us a table entry
    /// with its reason: 50,000 are 34 a minute for as long as such a ban lasts, a day.
    pub automatic_ids: usize,
    /// Automatic bans of IP addresses, apart from those of nodes: these end sooner and would always
    /// give way to them, so that throw-away keys would buy impunity for addresses.
    pub automatic_ips: usize,
    /// Bad addresses. As many as 256 + 64 buckets of 64 can hold: the whole book may be bad.
    pub bad: usize,
}

/// Whom the library itself may ban: a node that it authenticated, or an address. Never a range:
/// others would have to pay for one in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutomaticTarget {
    /// A node that proved who it is.
    Id(NodeId),
    /// An address, for abuse before authentication; for [`AUTOMATIC_IP_BAN`] at most.
    Ip(IpAddr),
}

/// What the book knows, and what of it has changed since it was last stored.
#[derive(Clone, Debug)]
pub struct Book {
    own: NodeId,
    limits: BookLimits,
    /// Shared with whoever reads it; copied by the first change after it was given away.
    bans: Arc<BanTable>,
    /// **Invariant:** the end and the target of every ban that has an end.
    ban_ends: BTreeSet<(Duration, BanTarget)>,
    /// **Invariant:** the automatic ones of `ban_ends`, by kind.
    automatic_ids: BTreeSet<(Duration, BanTarget)>,
    automatic_ips: BTreeSet<(Duration, BanTarget)>,
    bad: BTreeMap<NodeId, BadAddress>,
    /// **Invariant:** the end and the ID of every bad address.
    bad_ends: BTreeSet<(Duration, NodeId)>,
    private: BTreeSet<NodeId>,
    dirty_bans: BTreeSet<BanTarget>,
    dirty_bad: BTreeSet<NodeId>,
}

/// What has come to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Bans that are over.
    pub bans: Vec<Ban>,
    /// Addresses that may be tried again.
    pub bad: Vec<BadAddress>,
}

impl Default for BookLimits {
    fn default() -> Self {
        Self { automatic_ids: 50_000, automatic_ips: 50_000, bad: (256 + 64) * 64 }
    }
}

impl Book {
    /// An empty book of the node with this ID.
    pub fn new(own: NodeId, limits: BookLimits) -> Self {
        Self {
            own,
            limits,
            bans: Arc::default(),
            ban_ends: BTreeSet::new(),
            automatic_ids: BTreeSet::new(),
            automatic_ips: BTreeSet::new(),
            bad: BTreeMap::new(),
            bad_ends: BTreeSet::new(),
            private: BTreeSet::new(),
            dirty_bans: BTreeSet::new(),
            dirty_bad: BTreeSet::new(),
        }
    }

    /// The book as it was stored, without what has ended since. What no book may hold (a store is
    /// anybody's code, and anybody may edit a file) is left out, and taken out of the store with
    /// the next batch.
    pub fn load(own: NodeId, limits: BookLimits, stored: StoredBook, wall: Duration) -> Self {
        let mut book = Self::new(own, limits);
        for ban in stored.bans {
            let target = ban.target;
            let Some(fit) = book.fit(ban.clone(), wall) else {
                book.dirty_bans.insert(target);
                continue;
            };
            if fit != ban {
                book.dirty_bans.extend([target, fit.target]);
            }
            let displaced = book.put_ban(fit);
            book.dirty_bans.extend(displaced.map(|ban| ban.target));
        }
        for bad in stored.bad {
            if bad.id == own || bad.until <= wall {
                book.dirty_bad.insert(bad.id);
            } else {
                let displaced = book.put_bad(bad);
                book.dirty_bad.extend(displaced.map(|bad| bad.id));
            }
        }
        book
    }

    /// An operator's ban, for ever without a duration. Takes the place of an earlier ban of exactly
    /// this target, also of a longer one: the operator's latest word counts.
    ///
    /// # Errors
    /// See [`BanError`]; the book is as before.
    pub fn ban(
        &mut self,
        target: BanTarget,
        duration: Option<Duration>,
        reason: String,
        wall: Duration,
    ) -> Result<Ban, BanError> {
        let target = canonical(target);
        match target {
            BanTarget::Id(id) if id == self.own => return Err(BanError::OwnId),
            BanTarget::Cidr(cidr) if covers_everything(&cidr) => {
                return Err(BanError::CoversEverything(cidr));
            }
            _ if duration == Some(Duration::ZERO) => return Err(BanError::ZeroDuration),
            _ => {}
        }
        let until = duration.map(|duration| wall.saturating_add(duration));
        let ban = Ban { target, until, reason, origin: BanOrigin::Operator };
        self.dirty_bans.insert(target);
        let displaced = self.put_ban(ban.clone());
        debug_assert_eq!(displaced, None, "an operator's ban displaces nothing");
        Ok(ban)
    }

    /// The library's own ban. `None` if it changes nothing: the target is banned by an operator, or
    /// for as long already, or there are too many that all end later, or it is ourselves.
    pub fn ban_automatically(
        &mut self,
        target: AutomaticTarget,
        duration: Duration,
        reason: &str,
        wall: Duration,
    ) -> Option<Ban> {
        let (target, duration) = match target {
            AutomaticTarget::Id(id) if id == self.own => return None,
            AutomaticTarget::Id(id) => (BanTarget::from(id), duration),
            AutomaticTarget::Ip(ip) => (BanTarget::from(ip), duration.min(AUTOMATIC_IP_BAN)),
        };
        let until = wall.saturating_add(duration);
        if until <= wall {
            return None;
        }
        if let Some(earlier) = self.bans.get(&target).filter(|ban| ban.is_in_force(wall)) {
            let is_weaker = earlier.until.is_some_and(|earlier| earlier < until);
            if earlier.origin == BanOrigin::Operator || !is_weaker {
                return None;
            }
        }
        // A peer may have chosen the words.
        let reason = shown(reason);
        let ban = Ban { target, until: Some(until), reason, origin: BanOrigin::Automatic };
        self.dirty_bans.insert(target);
        let displaced = self.put_ban(ban.clone());
        self.dirty_bans.extend(displaced.iter().map(|displaced| displaced.target));
        (displaced.as_ref() != Some(&ban)).then_some(ban)
    }

    /// Lifts the ban of exactly this target, whoever imposed it.
    ///
    /// # Errors
    /// There is none. An address may be banned all the same as part of a range.
    pub fn unban(&mut self, target: BanTarget) -> Result<Ban, UnbanError> {
        let target = canonical(target);
        let ban = self.take_ban(&target).ok_or(UnbanError::NotBanned(target))?;
        self.dirty_bans.insert(target);
        Ok(ban)
    }

    /// Every ban, to be given away. Cheap; the next change copies it.
    pub fn bans(&self) -> &Arc<BanTable> {
        &self.bans
    }

    /// The address is not to be dialed for this long. If it is bad already the later end counts.
    /// False: nothing has changed.
    pub fn mark_bad(
        &mut self,
        id: NodeId,
        addr: Option<NetAddress>,
        duration: Duration,
        reason: &str,
        wall: Duration,
    ) -> bool {
        let until = wall.saturating_add(duration);
        if id == self.own || until <= wall {
            return false;
        }
        let mut bad = BadAddress { id, addr, until, reason: shown(reason) };
        if let Some(earlier) = self.bad.get(&id) {
            if earlier.until > until {
                return false;
            }
            bad.addr = bad.addr.or(earlier.addr);
        }
        self.dirty_bad.insert(id);
        let displaced = self.put_bad(bad);
        self.dirty_bad.extend(displaced.iter().map(|bad| bad.id));
        displaced.is_none_or(|displaced| displaced.id != id)
    }

    /// The node behaved well: its address is bad no more. False: it was not bad.
    pub fn mark_good(&mut self, id: &NodeId) -> bool {
        let was_bad = self.take_bad(id).is_some();
        if was_bad {
            self.dirty_bad.insert(*id);
        }
        was_bad
    }

    /// Whether the node's address is not to be dialed or passed on at this time.
    pub fn is_bad(&self, id: &NodeId, wall: Duration) -> bool {
        self.bad.get(id).is_some_and(|bad| wall < bad.until)
    }

    /// Every bad address, by ID.
    pub fn bad_addresses(&self) -> impl Iterator<Item = &BadAddress> {
        self.bad.values()
    }

    /// The addresses of these nodes are told to nobody. Not stored: the configuration says so at
    /// each start.
    pub fn add_private(&mut self, ids: impl IntoIterator<Item = NodeId>) {
        self.private.extend(ids);
    }

    /// Whether the node's address is told to nobody.
    pub fn is_private(&self, id: &NodeId) -> bool {
        self.private.contains(id)
    }

    /// Takes out what has ended by now.
    pub fn expire(&mut self, wall: Duration) -> Expired {
        let mut expired = Expired::default();
        while let Some(&(until, target)) = self.ban_ends.first()
            && until <= wall
        {
            self.dirty_bans.insert(target);
            expired.bans.extend(self.take_ban(&target));
        }
        while let Some(&(until, id)) = self.bad_ends.first()
            && until <= wall
        {
            self.dirty_bad.insert(id);
            expired.bad.extend(self.take_bad(&id));
        }
        expired
    }

    /// When to call [`expire`](Self::expire) next. Ends are wall times: this is an estimate by what
    /// the two clocks say now, and made anew after every call.
    pub fn next_deadline(&self, now: Now) -> Option<Mono> {
        let ban = self.ban_ends.first().map(|(until, _)| *until);
        let bad = self.bad_ends.first().map(|(until, _)| *until);
        let end = match (ban, bad) {
            (Some(ban), Some(bad)) => ban.min(bad),
            (ban, bad) => ban.or(bad)?,
        };
        Some(now.mono + end.saturating_sub(now.wall).clamp(MIN_SLEEP, MAX_SLEEP))
    }

    /// What has changed since the last call, for the store. `None`: nothing.
    pub fn take_batch(&mut self) -> Option<StoreBatch> {
        let mut batch = StoreBatch::default();
        for target in std::mem::take(&mut self.dirty_bans) {
            batch.bans.insert(target, self.bans.get(&target).cloned());
        }
        for id in std::mem::take(&mut self.dirty_bad) {
            batch.bad.insert(id, self.bad.get(&id).cloned());
        }
        (!batch.is_empty()).then_some(batch)
    }

    /// The stored ban, if and as the book may hold it.
    fn fit(&self, mut ban: Ban, wall: Duration) -> Option<Ban> {
        ban.target = canonical(ban.target);
        if !ban.is_in_force(wall) {
            return None;
        }
        match (ban.target, ban.origin) {
            (BanTarget::Id(id), _) if id == self.own => None,
            (BanTarget::Cidr(cidr), _) if covers_everything(&cidr) => None,
            (_, BanOrigin::Operator) => Some(ban),
            (BanTarget::Cidr(_), BanOrigin::Automatic) => None,
            (BanTarget::Id(_), BanOrigin::Automatic) => ban.until.map(|_| ban),
            (BanTarget::Ip(_), BanOrigin::Automatic) => {
                // Longer if the wall clock was set back since.
                ban.until = Some(ban.until?.min(wall.saturating_add(AUTOMATIC_IP_BAN)));
                Some(ban)
            }
        }
    }

    /// Adds the ban in place of one of the same target; gives the one that had to give way.
    fn put_ban(&mut self, ban: Ban) -> Option<Ban> {
        self.take_ban(&ban.target);
        let (target, origin) = (ban.target, ban.origin);
        if let Some(until) = ban.until {
            self.ban_ends.insert((until, target));
            if let Some((ends, _)) = self.automatic(&target, origin) {
                ends.insert((until, target));
            }
        }
        Arc::make_mut(&mut self.bans).insert(ban);
        let (ends, limit) = self.automatic(&target, origin)?;
        let first = ends.first().filter(|_| ends.len() > limit).map(|(_, target)| *target)?;
        self.take_ban(&first)
    }

    fn take_ban(&mut self, target: &BanTarget) -> Option<Ban> {
        // Looked up first, or every miss would copy a table that somebody holds.
        self.bans.get(target)?;
        let ban = Arc::make_mut(&mut self.bans).remove(target)?;
        if let Some(until) = ban.until {
            self.ban_ends.remove(&(until, *target));
            if let Some((ends, _)) = self.automatic(target, ban.origin) {
                ends.remove(&(until, *target));
            }
        }
        Some(ban)
    }

    /// The index of the automatic bans of the target's kind, and its limit.
    fn automatic(
        &mut self,
        target: &BanTarget,
        origin: BanOrigin,
    ) -> Option<(&mut BTreeSet<(Duration, BanTarget)>, usize)> {
        match (origin, target) {
            (BanOrigin::Automatic, BanTarget::Id(_)) => {
                Some((&mut self.automatic_ids, self.limits.automatic_ids))
            }
            (BanOrigin::Automatic, BanTarget::Ip(_)) => {
                Some((&mut self.automatic_ips, self.limits.automatic_ips))
            }
            (BanOrigin::Automatic, BanTarget::Cidr(_)) | (BanOrigin::Operator, _) => None,
        }
    }

    /// The same for a bad address.
    fn put_bad(&mut self, bad: BadAddress) -> Option<BadAddress> {
        self.take_bad(&bad.id);
        self.bad_ends.insert((bad.until, bad.id));
        self.bad.insert(bad.id, bad);
        let is_over = self.bad.len() > self.limits.bad;
        let first = self.bad_ends.first().filter(|_| is_over).map(|(_, id)| *id)?;
        self.take_bad(&first)
    }

    fn take_bad(&mut self, id: &NodeId) -> Option<BadAddress> {
        let bad = self.bad.remove(id)?;
        self.bad_ends.remove(&(bad.until, *id));
        Some(bad)
    }
}

/// The target in the one form in which it is looked up.
fn canonical(target: BanTarget) -> BanTarget {
    match target {
        BanTarget::Id(id) => id.into(),
        BanTarget::Ip(ip) => ip.into(),
        BanTarget::Cidr(cidr) => cidr.into(),
    }
}

/// Whether every IPv4 or every IPv6 address lies in the range: a slip, nobody means it.
fn covers_everything(cidr: &Cidr) -> bool {
    let covers = |first: IpAddr, last: IpAddr| cidr.contains(first) && cidr.contains(last);
    covers(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::BROADCAST.into())
        || covers(Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::from_bits(u128::MAX).into())
}
