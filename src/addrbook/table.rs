//! The addresses and where they are kept.

use std::collections::{BTreeSet, HashMap};

use super::{
    KnownAddress, Placement,
    buckets::{Buckets, NEW_BUCKETS, OLD_BUCKETS},
    dense::{Dense, make_room},
    sources::{Sources, Told},
};
use crate::{
    address::{GroupKey, NetAddress},
    identity::NodeId,
};

/// Changes between two batches that are not worth a look for repetitions.
const TIDY_AT: usize = 1 << 16;

/// Every known address by number and by ID, the buckets that they are in, and what they are looked
/// for by. It knows no rules; [`Book`](super::Book) does.
#[derive(Clone, Debug)]
pub(super) struct Table {
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    /// Never iterated: its order is by chance. Others choose the IDs, so its hash has a secret.
    numbers: HashMap<NodeId, u32>,
    pub(super) new: Buckets,
    pub(super) old: Buckets,
    /// Of the groups.
    is_strict: bool,
    /// **Invariant:** these six hold what [`sync`](Self::sync) says.
    new_ones: Dense,
    old_ones: Dense,
    checked_new_ones: Dense,
    checked_old_ones: Dense,
    met_ones: Dense,
    sources: Sources,
    /// Whose record has changed, or is gone, since the last batch. `None`: nobody asks for batches.
    changed: Option<Vec<NodeId>>,
    /// So long `changed` is looked through for repetitions.
    tidy_at: usize,
}

#[derive(Clone, Debug)]
struct Slot {
    known: KnownAddress,
    /// **Invariant:** then the ID is in `changed`, if there is one.
    is_changed: bool,
    /// More than one group of sources has told of it, though it may have one place only by now. Not
    /// stored: it will be told again.
    is_told_again: bool,
}

/// One half of the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    New,
    Old,
}

impl Table {
    pub(super) fn new(is_strict: bool) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            numbers: HashMap::new(),
            new: Buckets::new(NEW_BUCKETS),
            old: Buckets::new(OLD_BUCKETS),
            is_strict,
            new_ones: Dense::default(),
            old_ones: Dense::default(),
            checked_new_ones: Dense::default(),
            checked_old_ones: Dense::default(),
            met_ones: Dense::default(),
            sources: Sources::default(),
            changed: Some(Vec::new()),
            tidy_at: TIDY_AT,
        }
    }

    pub(super) fn find(&self, id: &NodeId) -> Option<u32> {
        self.numbers.get(id).copied()
    }

    #[expect(
        clippy::indexing_slicing,
        clippy::expect_used,
        reason = "whoever has a number has it from here, and forgets it with the entry"
    )]
    pub(super) fn get(&self, n: u32) -> &KnownAddress {
        &self.slots[n as usize].as_ref().expect("a number is of an entry").known
    }

    /// The address of an entry.
    pub(super) fn addr(&self, n: u32) -> &NetAddress {
        &self.get(n).addr
    }

    /// By ID.
    pub(super) fn iter(&self) -> impl Iterator<Item = &KnownAddress> {
        let mut all: Vec<_> = self.slots.iter().flatten().map(|slot| &slot.known).collect();
        all.sort_unstable_by_key(|known| known.addr.id());
        all.into_iter()
    }

    /// How many there are, in buckets or not.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Those in the buckets of one half.
    pub(super) fn half(&self, half: Half) -> &[u32] {
        match half {
            Half::New => self.new_ones.items(),
            Half::Old => self.old_ones.items(),
        }
    }

    /// Those of them that we found where they are, and that have answered since.
    pub(super) fn checked(&self, half: Half) -> &[u32] {
        match half {
            Half::New => self.checked_new_ones.items(),
            Half::Old => self.checked_old_ones.items(),
        }
    }

    /// Those in the buckets with whom there ever was a session, or an attempt that was good, and that
    /// have not failed since.
    pub(super) fn met(&self) -> &[u32] {
        self.met_ones.items()
    }

    /// If this group has told as much as it may, what of it nobody has reached.
    pub(super) fn crowd(&self, group: &GroupKey) -> Option<&BTreeSet<u32>> {
        self.sources.crowd(group)
    }

    /// Takes the record in, in no bucket whatever it says. There must be none with this ID.
    #[expect(
        clippy::indexing_slicing,
        clippy::expect_used,
        reason = "what is free was an entry, with both; the book has room for few"
    )]
    pub(super) fn insert(&mut self, mut known: KnownAddress) -> u32 {
        known.placement = Placement::NOWHERE;
        let id = known.addr.id();
        let slot = Some(Slot { known, is_changed: false, is_told_again: false });
        let n = match self.free.pop() {
            Some(n) => {
                self.slots[n as usize] = slot;
                n
            }
            None => {
                make_room(&mut self.slots, 1);
                self.slots.push(slot);
                u32::try_from(self.slots.len() - 1).expect("the book is bounded")
            }
        };
        let earlier = self.numbers.insert(id, n);
        debug_assert_eq!(earlier, None);
        self.set_changed(n);
        n
    }

    #[expect(clippy::indexing_slicing, clippy::expect_used, reason = "as in `get`")]
    pub(super) fn remove(&mut self, n: u32) {
        self.leave_all(n);
        self.set_changed(n);
        let slot = self.slots[n as usize].take().expect("a number is of an entry");
        self.sources.set(n, slot.known.src.group_key(self.is_strict), None);
        self.numbers.remove(&slot.known.addr.id());
        self.free.push(n);
    }

    /// Changes the record; not its ID and not its placement.
    pub(super) fn update<R>(&mut self, n: u32, change: impl FnOnce(&mut KnownAddress) -> R) -> R {
        let result = change(self.known_mut(n));
        self.set_changed(n);
        self.sync(n);
        result
    }

    /// Puts it in this new bucket too, which must have room. It must be in no old one.
    pub(super) fn join_new(&mut self, n: u32, bucket: u8) {
        self.new.insert(bucket, n);
        let slot = self.slot_mut(n);
        match &mut slot.known.placement {
            Placement::New(buckets) => buckets.add(bucket),
            placement => *placement = Placement::New([bucket].into_iter().collect()),
        }
        slot.is_told_again |= slot.known.is_in_several();
        self.set_changed(n);
        self.sync(n);
    }

    /// Puts it in this old bucket and in no other. There must be room.
    pub(super) fn join_old(&mut self, n: u32, bucket: u8) {
        self.leave_all(n);
        self.old.insert(bucket, n);
        self.known_mut(n).placement = Placement::Old(bucket);
        self.set_changed(n);
        self.sync(n);
    }

    /// Takes it out of this new bucket, and out of the book if that was the last one.
    #[expect(
        clippy::unreachable,
        reason = "`join_new` puts it there and says so, and all others take it out first"
    )]
    pub(super) fn leave_new(&mut self, n: u32, bucket: u8) {
        self.new.remove(bucket, n);
        let Placement::New(buckets) = &mut self.known_mut(n).placement else {
            unreachable!("what is in a new bucket has a placement that says so");
        };
        *buckets = buckets.without(bucket);
        if buckets.is_empty() {
            self.remove(n);
        } else {
            self.set_changed(n);
        }
    }

    /// Takes it out of all buckets because it is bad.
    pub(super) fn set_bad(&mut self, n: u32) {
        self.leave_all(n);
        self.known_mut(n).placement = Placement::Bad;
        self.set_changed(n);
        self.sync(n);
    }

    /// Takes it out of all buckets: it is to be put in others.
    pub(super) fn leave_all(&mut self, n: u32) {
        match std::mem::replace(&mut self.known_mut(n).placement, Placement::NOWHERE) {
            Placement::New(buckets) => {
                buckets.iter().for_each(|bucket| self.new.remove(*bucket, n));
            }
            Placement::Old(bucket) => self.old.remove(bucket, n),
            Placement::Bad => {}
        }
        self.sync(n);
    }

    /// Whether more than one group of sources has told of it.
    #[expect(clippy::indexing_slicing, reason = "as in `get`")]
    pub(super) fn is_told_again(&self, n: u32) -> bool {
        self.slots[n as usize].as_ref().is_some_and(|slot| slot.is_told_again)
    }

    /// Has the record stored again.
    pub(super) fn set_changed(&mut self, n: u32) {
        let slot = self.slot_mut(n);
        if !std::mem::replace(&mut slot.is_changed, true) {
            let id = slot.known.addr.id();
            self.set_gone(id);
        }
    }

    /// Has the store told that there is no record of this node, unless there is one then.
    pub(super) fn set_gone(&mut self, id: NodeId) {
        // Who comes and goes without a batch in between is in the list several times.
        let Some(changed) = &mut self.changed else { return };
        if changed.len() >= self.tidy_at {
            changed.sort_unstable();
            changed.dedup();
            self.tidy_at = 2 * changed.len();
        }
        changed.push(id);
    }

    /// From now on nobody asks what has changed.
    pub(super) fn forget_changes(&mut self) {
        self.changed = None;
    }

    /// Whose record has changed since the last call, with what it is now.
    pub(super) fn take_changed(&mut self) -> Vec<(NodeId, Option<KnownAddress>)> {
        let Some(changed) = &mut self.changed else { return Vec::new() };
        let mut changed = std::mem::take(changed);
        self.tidy_at = TIDY_AT;
        changed.sort_unstable();
        changed.dedup();
        let record = |id: NodeId| {
            let known = self.numbers.get(&id).and_then(|n| {
                let slot = self.slots.get_mut(*n as usize)?.as_mut()?;
                slot.is_changed = false;
                Some(slot.known.clone())
            });
            (id, known)
        };
        changed.into_iter().map(record).collect()
    }

    fn known_mut(&mut self, n: u32) -> &mut KnownAddress {
        &mut self.slot_mut(n).known
    }

    #[expect(clippy::indexing_slicing, clippy::expect_used, reason = "as in `get`")]
    fn slot_mut(&mut self, n: u32) -> &mut Slot {
        self.slots[n as usize].as_mut().expect("a number is of an entry")
    }

    /// Puts the entry in the sets that it belongs to by what its record says.
    fn sync(&mut self, n: u32) {
        let known = self.get(n);
        let is_checked = known.is_checked();
        let (is_new, is_old) = match known.placement {
            Placement::New(buckets) => (!buckets.is_empty(), false),
            Placement::Old(_) => (false, true),
            Placement::Bad => (false, false),
        };
        let is_met = known.history().dial_failures == 0 && known.met().is_some();
        let told = match (known.history().verified, is_new) {
            (Some(_), _) => Some(Told::Reached),
            (None, true) => Some(Told::Unreached),
            (None, false) => None,
        };
        let group = known.src.group_key(self.is_strict);
        self.sources.set(n, group, told);
        self.new_ones.set(n, is_new);
        self.old_ones.set(n, is_old);
        self.checked_new_ones.set(n, is_new && is_checked);
        self.checked_old_ones.set(n, is_old && is_checked);
        self.met_ones.set(n, (is_new || is_old) && is_met);
    }
}

#[cfg(test)]
impl Table {
    /// Checks every invariant the slow way.
    pub(super) fn check(&self) {
        let changed: BTreeSet<_> = self.changed.iter().flatten().collect();
        let mut groups = std::collections::BTreeMap::new();
        let mut places = 0;
        let mut old = 0;
        for (n, slot) in self.slots.iter().enumerate() {
            let n = n as u32;
            let Some(slot) = slot else {
                assert!(self.free.contains(&n) && self.sources.get(n).is_none());
                continue;
            };
            assert_eq!(self.find(&slot.known.addr.id()), Some(n));
            let group = slot.known.src.group_key(self.is_strict);
            let expected = match &slot.known.placement {
                _ if slot.known.history().verified.is_some() => Some(Told::Reached),
                Placement::New(_) => Some(Told::Unreached),
                Placement::Old(_) | Placement::Bad => None,
            };
            assert_eq!(self.sources.get(n), expected);
            groups.entry(group).or_insert([0, 0])[usize::from(expected == Some(Told::Reached))] +=
                usize::from(expected.is_some());
            assert!(
                !slot.is_changed
                    || self.changed.is_none()
                    || changed.contains(&slot.known.addr.id())
            );
            match &slot.known.placement {
                Placement::New(buckets) => {
                    assert!((1..=4).contains(&buckets.len()), "{:?}", slot.known);
                    assert!(buckets.iter().all(|bucket| self.new.get(*bucket).contains(&n)));
                    places += buckets.len();
                    assert!(self.new_ones.contains(n) && !self.old_ones.contains(n));
                }
                Placement::Old(bucket) => {
                    assert!(self.old.get(*bucket).contains(&n));
                    old += 1;
                    assert!(self.old_ones.contains(n) && !self.new_ones.contains(n));
                }
                Placement::Bad => assert!(!self.new_ones.contains(n) && !self.old_ones.contains(n)),
            }
            let is_met = slot.known.history().dial_failures == 0 && slot.known.met().is_some();
            let is_placed = slot.known.placement != Placement::Bad;
            assert_eq!(self.met_ones.contains(n), is_placed && is_met, "{:?}", slot.known);
        }
        let count = |buckets: &Buckets, all: u16| -> usize {
            let sizes = (0..all).map(|bucket| buckets.get(bucket as u8).len());
            sizes.inspect(|size| assert!(*size <= crate::addrbook::buckets::BUCKET_SIZE)).sum()
        };
        assert_eq!(count(&self.new, NEW_BUCKETS), places);
        assert_eq!(count(&self.old, OLD_BUCKETS), old);
        assert_eq!(self.old_ones.len(), old);
        assert_eq!(self.numbers.len(), self.len());
        groups.retain(|_, counts| *counts != [0, 0]);
        assert_eq!(self.sources.counts(), groups);
    }
}
