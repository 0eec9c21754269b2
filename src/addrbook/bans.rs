//! Bans: who gets no connection.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{BanError, Book, UnbanError};
use crate::{
    address::Cidr,
    ban::{Ban, BanOrigin, BanTable, BanTarget},
    identity::NodeId,
    text::shown,
    time::Wall,
};

impl Book {
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
        wall: SystemTime,
    ) -> Result<Ban, BanError> {
        let target = canonical(target);
        self.check_ban(&target, duration)?;
        let until = duration.map(|duration| wall.after(duration));
        let ban = Ban { target, until, reason, origin: BanOrigin::Operator };
        self.dirty_bans.insert(target);
        let displaced = self.put_ban(ban.clone());
        debug_assert_eq!(displaced, None, "an operator's ban displaces nothing");
        Ok(ban)
    }

    /// The same for a list: all of it, or nothing.
    ///
    /// # Errors
    /// The first target that cannot be banned, by its place from 0; the book is as before.
    pub fn ban_many(
        &mut self,
        targets: Vec<BanTarget>,
        duration: Option<Duration>,
        reason: &str,
        wall: SystemTime,
    ) -> Result<Vec<Ban>, (usize, BanError)> {
        for (at, target) in targets.iter().enumerate() {
            self.check_ban(&canonical(*target), duration).map_err(|error| (at, error))?;
        }
        let ban = |(at, target)| {
            self.ban(target, duration, reason.to_owned(), wall).map_err(|error| (at, error))
        };
        targets.into_iter().enumerate().map(ban).collect()
    }

    /// Why an operator may not ban this.
    fn check_ban(&self, target: &BanTarget, duration: Option<Duration>) -> Result<(), BanError> {
        match *target {
            BanTarget::Id(id) if id == self.own() => Err(BanError::OwnId),
            BanTarget::Cidr(cidr) if covers_everything(&cidr) => {
                Err(BanError::CoversEverything(cidr))
            }
            _ if duration == Some(Duration::ZERO) => Err(BanError::ZeroDuration),
            _ => Ok(()),
        }
    }

    /// The library's own ban. `None` if it changes nothing: the node is banned by an operator, or
    /// for as long already, or there are too many that all end later, or it is ourselves.
    pub fn ban_automatically(
        &mut self,
        id: NodeId,
        duration: Duration,
        reason: &str,
        wall: SystemTime,
    ) -> Option<Ban> {
        let target = BanTarget::from(id);
        let until = wall.after(duration.min(self.settings.limits.automatic_ban));
        if id == self.own() || until <= wall {
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
        if let BanTarget::Id(id) = target {
            self.forgive(&id);
        }
        Ok(ban)
    }

    /// Lifts the ban of a node that the library itself has imposed.
    pub fn pardon(&mut self, id: &NodeId) -> Option<Ban> {
        let target = BanTarget::from(*id);
        self.bans.get(&target).filter(|ban| ban.origin == BanOrigin::Automatic)?;
        self.unban(target).ok()
    }

    /// Every ban, to be given away. Cheap; the next change copies it.
    pub fn bans(&self) -> &Arc<BanTable> {
        &self.bans
    }

    /// The stored ban, if and as the book may hold it.
    pub(super) fn fit(&self, mut ban: Ban, wall: SystemTime) -> Option<Ban> {
        ban.target = canonical(ban.target);
        if !ban.is_in_force(wall) {
            return None;
        }
        match (ban.target, ban.origin) {
            (BanTarget::Id(id), _) if id == self.own() => None,
            (BanTarget::Cidr(cidr), _) if covers_everything(&cidr) => None,
            (_, BanOrigin::Operator) => Some(ban),
            (BanTarget::Ip(_) | BanTarget::Cidr(_), BanOrigin::Automatic) => None,
            // No longer than those last: more is left of it if the wall clock was set back since.
            (BanTarget::Id(_), BanOrigin::Automatic) => {
                let latest = wall.after(self.settings.limits.automatic_ban);
                ban.until = Some(ban.until?.min(latest));
                Some(ban)
            }
        }
    }

    /// Adds the ban in place of one of the same target; gives the one that had to give way.
    pub(super) fn put_ban(&mut self, ban: Ban) -> Option<Ban> {
        self.take_ban(&ban.target);
        let (target, origin) = (ban.target, ban.origin);
        if let Some(until) = ban.until {
            self.ban_ends.insert((until, target));
            if origin == BanOrigin::Automatic {
                self.automatic_ids.insert((until, target));
            }
        }
        Arc::make_mut(&mut self.bans).insert(ban);
        let is_over = self.automatic_ids.len() > self.settings.limits.automatic_ids;
        let (_, first) = self.automatic_ids.first().copied().filter(|_| is_over)?;
        self.take_ban(&first)
    }

    pub(super) fn take_ban(&mut self, target: &BanTarget) -> Option<Ban> {
        // Looked up first, or every miss would copy a table that somebody holds.
        self.bans.get(target)?;
        let ban = Arc::make_mut(&mut self.bans).remove(target)?;
        if let Some(until) = ban.until {
            self.ban_ends.remove(&(until, *target));
            self.automatic_ids.remove(&(until, *target));
        }
        Some(ban)
    }
}

/// The target in the one form in which it is looked up.
pub(super) fn canonical(target: BanTarget) -> BanTarget {
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
