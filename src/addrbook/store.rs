//! Where a book outlives its process.

use std::{collections::BTreeMap, error::Error, fmt};

use serde::{Deserialize, Serialize};

use super::{BadAddress, BookKey, KnownAddress};
use crate::{
    address::NetAddress,
    ban::{Ban, BanTarget},
    identity::NodeId,
    text::with_causes,
};

/// Keeps an address book. The book in memory is the truth: a store is read once, when a switch
/// starts, and then told what has changed. Give one to the builder to keep the book in a place of
/// your own.
///
/// Writing happens on the thread `p2p-store`, which does nothing else: it may take its time. Bans
/// and calls of operators are written at once, everything else at most once a second.
pub trait BookStore: Send {
    /// The book as it was last written; an empty one if there was none. On the thread that starts
    /// the switch.
    ///
    /// # Errors
    /// The switch does not start. A store that can do without what it cannot read (a corrupt file,
    /// set aside) answers with an empty book instead.
    fn load(&mut self) -> Result<StoredBook, StoreError>;

    /// Writes what has changed: all of it or, with an error, nothing.
    ///
    /// # Errors
    /// The batch comes again, together with what has changed since.
    fn write(&mut self, batch: &StoreBatch) -> Result<(), StoreError>;
}

/// Everything that was stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default)]
pub struct StoredBook {
    /// The bans, one per target.
    pub bans: Vec<Ban>,
    /// The bad addresses, one per ID.
    pub bad: Vec<BadAddress>,
    /// The known addresses, one per ID.
    pub addresses: Vec<KnownAddress>,
    /// The peers that were good when the node last ran, the best first.
    pub anchors: Vec<NetAddress>,
    /// What decides in which buckets the addresses are; `None`: there never was a book.
    pub key: Option<BookKey>,
    /// SHA-256 of the `addrbook.json` that was taken in last; `None`: none was. A store that does not
    /// keep it has a file that lies beside it taken in at each start.
    pub imported: Option<[u8; 32]>,
}

/// What has changed since the last batch. No time in it is before 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default)]
pub struct StoreBatch {
    /// Per target the ban that there is now; `None`: no more.
    pub bans: BTreeMap<BanTarget, Option<Ban>>,
    /// Per ID the bad address that there is now; `None`: no more.
    pub bad: BTreeMap<NodeId, Option<BadAddress>>,
    /// Per ID the known address that there is now; `None`: no more.
    pub addresses: BTreeMap<NodeId, Option<KnownAddress>>,
    /// The anchors that there are now; `None`: as before.
    pub anchors: Option<Vec<NetAddress>>,
    /// The key that there is now; `None`: as before.
    pub key: Option<BookKey>,
    /// SHA-256 of the `addrbook.json` that was just taken in; `None`: as before.
    pub imported: Option<[u8; 32]>,
}

/// A store could not be read or written. What it says has all of its causes in it.
#[derive(thiserror::Error)]
pub struct StoreError {
    text: String,
    #[source]
    source: Option<Box<dyn Error + Send + Sync>>,
}

crate::text::readable_debug!(StoreError);

impl StoreBatch {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many entries have changed.
    pub fn len(&self) -> usize {
        let single = [self.anchors.is_some(), self.key.is_some(), self.imported.is_some()];
        let single = single.into_iter().filter(|is_there| *is_there).count();
        self.bans.len() + self.bad.len() + self.addresses.len() + single
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&with_causes(self.text.clone(), self.source()))
    }
}

impl StoreError {
    /// What could not be done and what can be done about it, as a person should read it.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), source: None }
    }

    /// The same, because of another error.
    pub fn with_source(
        text: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self { text: text.into(), source: Some(source.into()) }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        time::{Duration, SystemTime},
    };

    use super::*;

    /// The fault: what could not be done was said, and not why.
    #[test]
    fn an_error_tells_each_of_its_causes_once() {
        let full = || io::Error::other("the disk is full");
        let inner = StoreError::with_source("cannot write", full());
        assert_eq!(inner.to_string(), "cannot write: the disk is full");
        let outer = StoreError::with_source("no book", inner);
        assert_eq!(outer.to_string(), "no book: cannot write: the disk is full");
        let told = StoreError::with_source("cannot write (the disk is full)", full());
        assert_eq!(told.to_string(), "cannot write (the disk is full)");
        assert_eq!(StoreError::new("cannot write").to_string(), "cannot write");
    }

    /// What a store of an application writes can be read, by it and by people.
    #[test]
    fn a_batch_and_a_book_come_back_from_json() {
        let id = NodeId::from_bytes([0xab; 20]);
        let addr = NetAddress::new(id, [1, 2, 3, 4].into(), 26656);
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::new(seconds, 5);
        let ban = |target| Ban {
            target,
            until: Some(at(7)),
            reason: "spam".to_owned(),
            origin: crate::ban::BanOrigin::Operator,
        };
        let bad = BadAddress {
            id,
            addr: Some(addr),
            until: at(9),
            cause: crate::addrbook::BadCause::Unreachable,
            reason: "gone".to_owned(),
        };
        let mut known = KnownAddress::told(addr, addr);
        known.history_mut().last_seen = Some(at(8));
        let [ip, range] = ["1.2.3.4", "2001:db8::/32"].map(|text| text.parse().unwrap());
        let targets: [BanTarget; 3] = [id.into(), ip, range];
        let batch = StoreBatch {
            bans: targets.map(|target| (target, Some(ban(target)))).into(),
            bad: [(id, Some(bad.clone()))].into(),
            addresses: [(id, Some(known.clone())), (NodeId::from_bytes([1; 20]), None)].into(),
            anchors: Some(vec![addr]),
            key: Some(BookKey { text: "0".repeat(24), hash: [7; 32] }),
            imported: Some([9; 32]),
        };
        let text = serde_json::to_string(&batch).unwrap();
        for part in [
            format!("\"addr\":\"{id}@1.2.3.4:26656\""),
            format!("\"target\":\"{id}\""),
            "\"2001:db8::/32\":{".to_owned(),
            "\"cause\":\"unreachable\"".to_owned(),
            "\"until\":{\"secs_since_epoch\":7,\"nanos_since_epoch\":5}".to_owned(),
        ] {
            assert!(text.contains(&part), "no {part} in {text}");
        }
        assert_eq!(serde_json::from_str::<StoreBatch>(&text).unwrap(), batch);
        let book = StoredBook {
            bans: vec![ban(targets[1])],
            bad: vec![bad],
            addresses: vec![known],
            ..StoredBook::default()
        };
        let text = serde_json::to_string(&book).unwrap();
        assert_eq!(serde_json::from_str::<StoredBook>(&text).unwrap(), book);
        // An older one has less in it.
        assert_eq!(serde_json::from_str::<StoredBook>("{}").unwrap(), StoredBook::default());
    }
}
