//! Who has told what, by the part of the internet that they are in.

use std::collections::{BTreeMap, BTreeSet};

use super::dense::reach;
use crate::address::GroupKey;

/// Addresses that a group may have in the book without one of them ever having been reached: as many
/// as one answer holds. A peer alone could else tell 2048, the whole of its 32 buckets.
const UNREACHED: usize = 250;

/// How many more for each that was reached. A seed's network is told in a few answers, and who only
/// tells what nobody can reach gets no more.
const PER_REACHED: usize = 4;

/// What each group of sources has told.
#[derive(Clone, Debug, Default)]
pub(super) struct Sources {
    groups: BTreeMap<GroupKey, Source>,
    /// **Invariant:** by entry, how it counts in its group.
    entries: Vec<Option<Told>>,
}

#[derive(Clone, Debug, Default)]
struct Source {
    unreached: BTreeSet<u32>,
    num_reached: usize,
}

/// What has become of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Told, and in the new buckets.
    Unreached,
    /// Found where it was told to be.
    Reached,
}

impl Sources {
    /// What the entry counts as from now on in its group, which is always the same; `None`: it is gone.
    #[expect(clippy::indexing_slicing, reason = "its place was just made if there was none")]
    pub(super) fn set(&mut self, entry: u32, group: GroupKey, told: Option<Told>) {
        reach(&mut self.entries, entry, None);
        let before = std::mem::replace(&mut self.entries[entry as usize], told);
        if before == told {
            return;
        }
        let source = self.groups.entry(group).or_default();
        match told {
            Some(Told::Unreached) => _ = source.unreached.insert(entry),
            Some(Told::Reached) => source.num_reached += 1,
            None => {}
        }
        match before {
            Some(Told::Unreached) => _ = source.unreached.remove(&entry),
            Some(Told::Reached) => source.num_reached -= 1,
            None => {}
        }
        if source.num_reached == 0 && source.unreached.is_empty() {
            self.groups.remove(&group);
        }
    }

    /// If the group has told as much as it may, what of it nobody has reached: one of these gives way
    /// to what it tells next.
    pub(super) fn crowd(&self, group: &GroupKey) -> Option<&BTreeSet<u32>> {
        let source = self.groups.get(group)?;
        let most = UNREACHED.saturating_add(PER_REACHED.saturating_mul(source.num_reached));
        (source.unreached.len() >= most).then_some(&source.unreached)
    }

    /// What the entry counts as.
    #[cfg(test)]
    pub(super) fn get(&self, entry: u32) -> Option<Told> {
        self.entries.get(entry as usize).copied().flatten()
    }

    /// How many of each group count, unreached and reached.
    #[cfg(test)]
    pub(super) fn counts(&self) -> BTreeMap<GroupKey, [usize; 2]> {
        let count = |source: &Source| [source.unreached.len(), source.num_reached];
        self.groups.iter().map(|(group, source)| (*group, count(source))).collect()
    }
}
