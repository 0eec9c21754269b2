//! The book as a store kept it.

use std::{collections::BTreeSet, time::SystemTime};

use rand::Rng;

use super::{
    AddError, Book, BookKey, BookSettings, KnownAddress, Placement, StoredBook, buckets::start,
};

impl Book {
    /// The book as it was stored, without what has ended since. What no book may hold (a store is
    /// anybody's code, and anybody may edit a file) is left out, and taken out of the store with
    /// the next batch. What only a strict book does not take is left out as well, and stays in the
    /// store for the day on which it is not strict: see [`left_out`](Self::left_out). `fresh` is the
    /// key of a book that has none yet.
    ///
    /// Where the clock was set by years since, in either direction, everything in it is as long ago,
    /// and lasts as long, as it was and did: see [`StoredBook::now`] for the time to give here.
    pub fn load(
        settings: BookSettings,
        fresh: BookKey,
        mut stored: StoredBook,
        wall: SystemTime,
        rng: &mut impl Rng,
    ) -> Self {
        let leap = stored.leap(wall);
        if let Some(leap) = leap {
            stored.move_by(leap);
        }
        let mut book = Self::take_up(settings, fresh, stored, wall, rng);
        if leap.is_some() {
            book.set_all_dirty();
        }
        book
    }

    fn take_up(
        settings: BookSettings,
        fresh: BookKey,
        stored: StoredBook,
        wall: SystemTime,
        rng: &mut impl Rng,
    ) -> Self {
        let kept = stored.key.filter(|key| key.is_fit());
        let is_key_kept = kept.is_some();
        let mut book = Self::new(settings, kept.unwrap_or(fresh));
        book.is_key_dirty = !is_key_kept;
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
        let known: BTreeSet<_> = stored.addresses.iter().map(|known| known.addr.id()).collect();
        for mut bad in stored.bad {
            bad.until = bad.until.max(SystemTime::UNIX_EPOCH);
            // Bad until it is reinstated, also if its time is over; of use only with an address.
            if bad.id == settings.own || (bad.until <= wall && !known.contains(&bad.id)) {
                book.dirty_bad.insert(bad.id);
            } else {
                let displaced = book.put_bad(bad);
                book.dirty_bad.extend(displaced.map(|bad| bad.id));
            }
        }
        book.load_addresses(stored.addresses, wall, rng);
        book.anchors = stored.anchors;
        book
    }

    /// How many addresses of the store are not in the book, because it is strict and they are not
    /// routable. An operator who has started it so by mistake is to be told.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// Has everything stored again.
    pub(super) fn set_all_dirty(&mut self) {
        self.dirty_bans.extend(self.bans.iter().map(|ban| ban.target));
        self.dirty_bad.extend(self.bad.keys());
        let ids: Vec<_> = self.table.iter().map(|known| known.addr.id()).collect();
        for n in ids.iter().filter_map(|id| self.table.find(id)).collect::<Vec<_>>() {
            self.table.set_changed(n);
        }
    }

    fn load_addresses(
        &mut self,
        mut stored: Vec<KnownAddress>,
        wall: SystemTime,
        rng: &mut impl Rng,
    ) {
        // The good ones find their places first; then as they were tried, which the order of
        // dialing follows.
        stored.sort_by_key(|known| {
            let is_old = matches!(known.placement, Placement::Old(_));
            (!is_old, known.history().last_attempt, known.addr.id())
        });
        for known in &stored {
            let id = known.addr.id();
            if self.table.find(&id).is_some() {
                continue;
            }
            match self.check_address(&known.addr) {
                Ok(()) => {}
                Err(AddError::NotRoutable) => {
                    self.left_out += 1;
                    continue;
                }
                Err(_) => continue,
            }
            let n = self.table.insert(without_future(known.clone(), wall));
            if self.bad.contains_key(&id) {
                self.table.set_bad(n);
                continue;
            }
            match &known.placement {
                Placement::Old(_) => {
                    let bucket = self.hash.old_bucket(&known.addr);
                    if !self.table.old.is_full(bucket) {
                        self.table.join_old(n, bucket);
                    } else {
                        self.place_anew(n, wall, start(rng));
                    }
                }
                Placement::New(buckets) => {
                    if buckets.is_empty() {
                        self.place_anew(n, wall, start(rng));
                    }
                    for bucket in buckets.iter() {
                        self.place_new(n, *bucket, wall, start(rng));
                    }
                }
                Placement::Bad => self.place_anew(n, wall, start(rng)),
            }
        }
        // What is as it was need not be stored again.
        self.table.take_changed();
        for known in &stored {
            let id = known.addr.id();
            match self.table.find(&id) {
                Some(n) if self.table.get(n) == known => {}
                Some(n) => self.table.set_changed(n),
                None if self.check_address(&known.addr) == Err(AddError::NotRoutable) => {}
                None => self.table.set_gone(id),
            }
        }
    }
}

/// The record without times that are yet to come, or before 1970: the wall clock was set back since, or
/// somebody edited the file. "Tried a moment ago" would hold until then.
pub(super) fn without_future(mut known: KnownAddress, wall: SystemTime) -> KnownAddress {
    if known.has_history() {
        for time in known.history_mut().times_mut() {
            *time = time.map(|time| time.min(wall).max(SystemTime::UNIX_EPOCH));
        }
    }
    known
}
