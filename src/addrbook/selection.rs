//! Which addresses to dial and which to pass on.

use std::time::SystemTime;

use rand::{Rng, RngExt};

use super::{
    Book, KnownAddress,
    sampler::{Sampler, draw},
    table::Half,
};
use crate::address::NetAddress;

/// A selection has at least so many addresses if there are as many, and else so many of a hundred,
/// but never more than [`MAX_SELECTION`] (`p2p/pex/params.go`).
const MIN_SELECTION: usize = 32;
const PERCENT: usize = 23;

/// What fits in one message.
const MAX_SELECTION: usize = 250;

/// Random draws until it is assumed that nearly nothing may be handed out.
const DRAWS: usize = 16;

impl Book {
    /// An address to dial that may be dialed, from the new buckets rather than the old ones the larger
    /// `bias` is: 0 is never, 100 always. First the half is drawn, then a bucket, then an entry of it,
    /// so that an address is not likelier because its group has told many.
    ///
    /// `None`: some draws found nobody and, if `may_walk`, there is nobody.
    pub fn pick(
        &self,
        bias: u8,
        wall: SystemTime,
        rng: &mut impl Rng,
        may_walk: bool,
        may_be: impl Fn(&KnownAddress) -> bool,
    ) -> Option<&KnownAddress> {
        let bias = f64::from(bias.min(100));
        let old = (self.num_old() as f64).sqrt() * (100.0 - bias);
        let new = (self.num_new() as f64).sqrt() * bias;
        if old + new <= 0.0 {
            return None;
        }
        let is_fit =
            |n: u32| may_be(self.table.get(n)) && self.may_be_handed_out(self.table.addr(n), wall);
        let is_old = rng.random_range(0.0..old + new) < old;
        let buckets = if is_old { &self.table.old } else { &self.table.new };
        for _ in 0..DRAWS {
            let bucket = buckets.nth_occupied(draw(buckets.occupied().len(), rng));
            let n = bucket.get(draw(bucket.len(), rng)).copied()?;
            if is_fit(n) {
                return Some(self.table.get(n));
            }
        }
        if !may_walk {
            return None;
        }
        let mut halves = [(Half::Old, old), (Half::New, new)];
        if !is_old {
            halves.reverse();
        }
        let items = halves.into_iter().filter(|(_, weight)| *weight > 0.0).flat_map(|(half, _)| {
            let items = self.table.half(half);
            let (later, first) = items.split_at(draw(items.len(), rng));
            first.iter().chain(later)
        });
        let n = items.copied().find(|n| is_fit(*n))?;
        Some(self.table.get(n))
    }

    /// Addresses to pass on: 23 of a hundred, at least 32 and at most 250.
    pub fn selection(&self, wall: SystemTime, rng: &mut impl Rng) -> Vec<NetAddress> {
        let (new, old) = (self.table.half(Half::New), self.table.half(Half::Old));
        let mut selection = Selection::new(self, new.len() + old.len(), wall);
        selection.fill(&mut Sampler::of_two(new, old), usize::MAX, rng);
        selection.addresses
    }

    /// The same with so many new ones of a hundred, and more if there are too few old ones.
    pub fn selection_with_bias(
        &self,
        bias: u8,
        wall: SystemTime,
        rng: &mut impl Rng,
    ) -> Vec<NetAddress> {
        let (new, old) = (self.table.half(Half::New), self.table.half(Half::Old));
        self.biased(new, old, bias, false, wall, rng)
    }

    /// Addresses that we dialed ourselves and found right of late, and that have not failed since: what a
    /// seed passes on, see [`KnownAddress::is_served`]. As many as [`selection`](Self::selection) would
    /// give of those that were ever found right, with so many new ones of a hundred.
    pub fn verified_selection(
        &self,
        bias: u8,
        wall: SystemTime,
        rng: &mut impl Rng,
    ) -> Vec<NetAddress> {
        let (new, old) = (self.table.checked(Half::New), self.table.checked(Half::Old));
        self.biased(new, old, bias, true, wall, rng)
    }

    fn biased(
        &self,
        new: &[u32],
        old: &[u32],
        bias: u8,
        is_of_seed: bool,
        wall: SystemTime,
        rng: &mut impl Rng,
    ) -> Vec<NetAddress> {
        let mut selection = Selection::new(self, new.len() + old.len(), wall);
        selection.is_of_seed = is_of_seed;
        let wanted = (usize::from(bias.min(100)) * selection.size + 50) / 100;
        let wanted = wanted.max(selection.size.saturating_sub(old.len())).min(new.len());
        let (mut new, mut old) = (Sampler::new(new), Sampler::new(old));
        selection.fill(&mut old, selection.size - wanted, rng);
        selection.fill(&mut new, usize::MAX, rng);
        selection.fill(&mut old, usize::MAX, rng);
        selection.addresses
    }

    /// Own and bad addresses are in no bucket.
    pub(super) fn may_be_handed_out(&self, addr: &NetAddress, wall: SystemTime) -> bool {
        let is_private = !self.private.is_empty() && self.is_private(&addr.id());
        !is_private && !self.is_banned(addr, wall)
    }
}

/// Addresses to pass on, as far as they are drawn.
struct Selection<'a> {
    book: &'a Book,
    size: usize,
    is_of_seed: bool,
    wall: SystemTime,
    addresses: Vec<NetAddress>,
}

impl<'a> Selection<'a> {
    /// Of so many.
    fn new(book: &'a Book, len: usize, wall: SystemTime) -> Self {
        let size = (len * PERCENT / 100).max(len.min(MIN_SELECTION)).min(MAX_SELECTION);
        Self { book, size, is_of_seed: false, wall, addresses: Vec::with_capacity(size) }
    }

    /// Draws until there are so many, or as many as there should be.
    fn fill(&mut self, sampler: &mut Sampler<'_>, count: usize, rng: &mut impl Rng) {
        while self.addresses.len() < count.min(self.size)
            && let Some(n) = sampler.next(rng)
        {
            let table = &self.book.table;
            let is_fit = !self.is_of_seed || table.get(n).is_served(self.wall);
            let addr = table.addr(n);
            if is_fit && self.book.may_be_handed_out(addr, self.wall) {
                self.addresses.push(*addr);
            }
        }
    }
}
