//! Which buckets an address belongs to.

use std::fmt::{self, Write};

use highway::{HighwayHash, HighwayHasher, Key};

use super::{
    BookKey,
    buckets::{NEW_BUCKETS, OLD_BUCKETS},
};
use crate::address::NetAddress;

/// New buckets that the addresses told by one group of sources can be in. Who owns a subnet fills
/// an eighth of the book, whatever it tells.
const NEW_BUCKETS_PER_GROUP: u64 = 32;

/// Old buckets that the addresses of one group can be in: a sixteenth of them.
const OLD_BUCKETS_PER_GROUP: u64 = 4;

/// Longest text that is hashed behind the key: two groups and a number, or `id@[ip]:port`.
const MAX_TEXT: usize = 128;

/// The hash of the book's key and what is behind it (`p2p/pex/addrbook.go`, `calcNewBucket` and
/// `calcOldBucket`).
#[derive(Clone, Debug)]
pub struct BucketHash {
    /// Has taken in the key already.
    keyed: HighwayHasher,
    is_strict: bool,
}

impl BucketHash {
    /// With this key. `is_strict` is that of the groups.
    pub fn new(key: &BookKey, is_strict: bool) -> Self {
        let (words, _) = key.hash.as_chunks::<8>();
        let mut lanes = [0; 4];
        for (lane, word) in lanes.iter_mut().zip(words) {
            *lane = u64::from_le_bytes(*word);
        }
        let mut keyed = HighwayHasher::new(Key(lanes));
        keyed.append(key.text.as_bytes());
        Self { keyed, is_strict }
    }

    /// The new bucket of an address that this source told of.
    #[expect(
        clippy::indexing_slicing,
        clippy::expect_used,
        reason = "the text has both groups; a remainder is below what divides"
    )]
    pub fn new_bucket(&self, addr: &NetAddress, src: &NetAddress) -> u8 {
        let mut text = Text::default();
        text.put(addr.group_key(self.is_strict));
        let group_of_addr = text.len;
        text.put(src.group_key(self.is_strict));
        let inner = self.sum(&[text.bytes()]) % NEW_BUCKETS_PER_GROUP;
        let group_of_src = &text.bytes()[group_of_addr..];
        let bucket = self.sum(&[group_of_src, &inner.to_be_bytes()]) % u64::from(NEW_BUCKETS);
        u8::try_from(bucket).expect("there are 256 new buckets")
    }

    /// The old bucket of an address.
    #[expect(clippy::expect_used, reason = "a remainder is below what divides")]
    pub fn old_bucket(&self, addr: &NetAddress) -> u8 {
        let mut text = Text::default();
        text.put(addr);
        let inner = self.sum(&[text.bytes()]) % OLD_BUCKETS_PER_GROUP;
        let mut text = Text::default();
        text.put(addr.group_key(self.is_strict));
        let bucket = self.sum(&[text.bytes(), &inner.to_be_bytes()]) % u64::from(OLD_BUCKETS);
        u8::try_from(bucket).expect("there are 64 old buckets")
    }

    /// The hash of the key and these parts, one behind the other.
    pub fn sum(&self, parts: &[&[u8]]) -> u64 {
        let mut hasher = self.keyed.clone();
        parts.iter().for_each(|part| hasher.append(part));
        // The reference writes the sum in one byte order and reads it in the other.
        hasher.finalize64().swap_bytes()
    }
}

/// A text without an allocation: this is done for every address that anybody tells.
struct Text {
    bytes: [u8; MAX_TEXT],
    len: usize,
}

impl Default for Text {
    fn default() -> Self {
        Self { bytes: [0; MAX_TEXT], len: 0 }
    }
}

impl Text {
    #[expect(
        clippy::expect_used,
        reason = "an ID, an IPv6 address and a port have 88 characters, two groups fewer"
    )]
    fn put(&mut self, what: impl fmt::Display) {
        write!(self, "{what}").expect("groups and addresses are shorter than MAX_TEXT");
    }

    #[expect(clippy::indexing_slicing, reason = "`len` is where the last text that had room ends")]
    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        let place = self.bytes.get_mut(self.len..end).ok_or(fmt::Error)?;
        place.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}
