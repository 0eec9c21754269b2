//! Drawing without putting back.

use rand::{Rng, RngExt};

/// From here on a set is drawn from without a copy of it.
const LARGE: usize = 1024;

/// Draws every entry of a set once, in a random order, and does little more work than what is
/// drawn: from a large set by chance until a quarter is gone, then from a shuffled copy of
/// what is left.
#[derive(Debug)]
pub(super) struct Sampler<'a> {
    first: &'a [u32],
    second: &'a [u32],
    /// One bit per item that was drawn by chance.
    drawn: Vec<u64>,
    tries: usize,
    rest: Option<Vec<u32>>,
}

impl<'a> Sampler<'a> {
    pub(super) fn new(items: &'a [u32]) -> Self {
        Self::of_two(items, &[])
    }

    /// From two sets that have nothing in common.
    pub(super) fn of_two(first: &'a [u32], second: &'a [u32]) -> Self {
        let len = first.len() + second.len();
        let is_large = len >= LARGE;
        let drawn = if is_large { vec![0; len.div_ceil(64)] } else { Vec::new() };
        Self { first, second, drawn, tries: if is_large { len / 4 } else { 0 }, rest: None }
    }

    #[expect(clippy::indexing_slicing, reason = "there is a bit for each item, or no try")]
    pub(super) fn next(&mut self, rng: &mut impl Rng) -> Option<u32> {
        let len = self.first.len() + self.second.len();
        while self.tries > 0 {
            self.tries -= 1;
            let at = draw(len, rng);
            let (word, bit) = (&mut self.drawn[at / 64], 1 << (at % 64));
            if *word & bit == 0 {
                *word |= bit;
                return Some(self.item(at));
            }
        }
        if self.rest.is_none() {
            let is_drawn =
                |at: usize| self.drawn.get(at / 64).is_some_and(|w| w >> (at % 64) & 1 == 1);
            self.rest =
                Some((0..len).filter(|at| !is_drawn(*at)).map(|at| self.item(at)).collect());
        }
        let rest = self.rest.as_mut().filter(|rest| !rest.is_empty())?;
        Some(rest.swap_remove(draw(rest.len(), rng)))
    }

    #[expect(clippy::indexing_slicing, reason = "`at` was drawn below the sum of both")]
    fn item(&self, at: usize) -> u32 {
        self.first.get(at).copied().unwrap_or_else(|| self.second[at - self.first.len()])
    }
}

/// A number below this one, which is not zero.
#[expect(
    clippy::expect_used,
    reason = "what is drawn from are entries, whose numbers have 32 bits"
)]
pub(super) fn draw(below: usize, rng: &mut impl Rng) -> usize {
    let below = u32::try_from(below).expect("entries have numbers of 32 bits");
    rng.random_range(0..below) as usize
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn everything_is_drawn_once_and_everything_as_often() {
        let mut rng = StdRng::seed_from_u64(1);
        for len in [0, 1, 2, 7, LARGE - 1, LARGE, 5000] {
            let items: Vec<u32> = (0..len as u32).map(|n| n * 3).collect();
            let (first, second) = items.split_at(len / 3);
            let mut sampler = Sampler::of_two(first, second);
            let mut drawn: Vec<_> = std::iter::from_fn(|| sampler.next(&mut rng)).collect();
            assert!(len < 7 || drawn != items);
            drawn.sort_unstable();
            assert_eq!(drawn, items);
        }
        for len in [50_u32, 2000] {
            let items: Vec<u32> = (0..len).collect();
            let (mut low, rounds) = (0, 400);
            for _ in 0..rounds {
                let mut sampler = Sampler::new(&items);
                let drawn = (0..30).filter_map(|_| sampler.next(&mut rng));
                low += drawn.filter(|n| *n < len / 2).count();
            }
            let share = low as f64 / f64::from(rounds * 30);
            assert!((0.47..0.53).contains(&share), "{share} of {len}");
        }
    }
}
