//! A book that lives as long as the process.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;

use super::{BadAddress, BookKey, BookStore, KnownAddress, StoreBatch, StoreError, StoredBook};
use crate::{
    address::NetAddress,
    ban::{Ban, BanTarget},
    identity::NodeId,
};

/// A store in memory. Clones share one book, so that a switch that is started again in the same
/// process finds what the one before it knew.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    bans: BTreeMap<BanTarget, Ban>,
    bad: BTreeMap<NodeId, BadAddress>,
    addresses: BTreeMap<NodeId, KnownAddress>,
    anchors: Vec<NetAddress>,
    key: Option<BookKey>,
    imported: Option<[u8; 32]>,
}

impl MemoryStore {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// What it holds.
    pub fn stored(&self) -> StoredBook {
        let entries = self.0.lock();
        StoredBook {
            bans: entries.bans.values().cloned().collect(),
            bad: entries.bad.values().cloned().collect(),
            addresses: entries.addresses.values().cloned().collect(),
            anchors: entries.anchors.clone(),
            key: entries.key.clone(),
            imported: entries.imported,
        }
    }
}

impl BookStore for MemoryStore {
    fn load(&mut self) -> Result<StoredBook, StoreError> {
        Ok(self.stored())
    }

    fn write(&mut self, batch: &StoreBatch) -> Result<(), StoreError> {
        let mut entries = self.0.lock();
        apply(&mut entries.bans, &batch.bans);
        apply(&mut entries.bad, &batch.bad);
        apply(&mut entries.addresses, &batch.addresses);
        if let Some(anchors) = &batch.anchors {
            entries.anchors.clone_from(anchors);
        }
        entries.key = batch.key.clone().or(entries.key.take());
        entries.imported = batch.imported.or(entries.imported);
        Ok(())
    }
}

fn apply<K: Ord + Copy, V: Clone>(entries: &mut BTreeMap<K, V>, changes: &BTreeMap<K, Option<V>>) {
    for (key, value) in changes {
        match value {
            Some(value) => entries.insert(*key, value.clone()),
            None => entries.remove(key),
        };
    }
}
