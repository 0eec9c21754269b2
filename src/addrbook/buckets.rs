//! Buckets of entries.

use rand::Rng;

use super::sampler::draw;

/// Buckets of addresses that are only told.
pub(super) const NEW_BUCKETS: u16 = 256;

/// Buckets of addresses that proved good.
pub(super) const OLD_BUCKETS: u16 = 64;

/// Entries of a bucket. The reference means 64 too, but its check lets one more in.
pub(super) const BUCKET_SIZE: usize = 64;

/// New buckets that one address can be in, each by another group of sources.
pub(super) const MAX_NEW_BUCKETS: usize = 4;

/// Some buckets, each with the numbers of at most [`BUCKET_SIZE`] entries.
#[derive(Clone, Debug)]
pub(super) struct Buckets {
    buckets: Vec<Vec<u32>>,
    /// **Invariant:** the buckets that are not empty, each once, so that one can be drawn.
    occupied: Vec<u16>,
}

impl Buckets {
    pub(super) fn new(count: u16) -> Self {
        Self { buckets: vec![Vec::new(); usize::from(count)], occupied: Vec::new() }
    }

    /// The entries in this bucket.
    #[expect(
        clippy::indexing_slicing,
        reason = "a bucket is what `hash.rs` says it is, below `count`"
    )]
    pub(super) fn get(&self, bucket: u8) -> &[u32] {
        &self.buckets[usize::from(bucket)]
    }

    pub(super) fn is_full(&self, bucket: u8) -> bool {
        self.get(bucket).len() >= BUCKET_SIZE
    }

    /// The buckets that are not empty.
    pub(super) fn occupied(&self) -> &[u16] {
        &self.occupied
    }

    /// The entries of one of them.
    #[expect(clippy::indexing_slicing, reason = "`n` was drawn among them, and they are buckets")]
    pub(super) fn nth_occupied(&self, n: usize) -> &[u32] {
        &self.buckets[usize::from(self.occupied[n])]
    }

    #[expect(clippy::indexing_slicing, reason = "as in `get`")]
    pub(super) fn insert(&mut self, bucket: u8, entry: u32) {
        debug_assert!(!self.is_full(bucket) && !self.get(bucket).contains(&entry));
        let entries = &mut self.buckets[usize::from(bucket)];
        if entries.is_empty() {
            self.occupied.push(bucket.into());
        }
        entries.push(entry);
    }

    /// The entry has no place there any more. It must have had one.
    #[expect(
        clippy::indexing_slicing,
        clippy::expect_used,
        reason = "kept by `insert`, which alone puts in; the table knows where an entry is"
    )]
    pub(super) fn remove(&mut self, bucket: u8, entry: u32) {
        let entries = &mut self.buckets[usize::from(bucket)];
        let at = entries.iter().position(|other| *other == entry);
        entries.swap_remove(at.expect("an entry is in the buckets of its placement"));
        if entries.is_empty() {
            let at = self.occupied.iter().position(|other| *other == u16::from(bucket));
            self.occupied.swap_remove(at.expect("a bucket with an entry is occupied"));
        }
    }
}

/// Where to begin looking for who has to leave a full bucket: by chance, so that nobody can
/// arrange whom it hits.
pub(super) fn start(rng: &mut impl Rng) -> usize {
    draw(BUCKET_SIZE, rng)
}
