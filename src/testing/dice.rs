//! Randomness of a simulation: our own, so that a printed seed means the same with every version
//! of every crate.

use std::ops::RangeInclusive;

/// SplitMix64.
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    /// What follows from this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x51b0_71a7_0d1c_e5ed)
    }

    /// Any number.
    pub fn u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `n`, which is not 0.
    pub fn below(&mut self, n: usize) -> usize {
        (self.u64() % n as u64) as usize
    }

    /// One of these.
    pub fn range(&mut self, range: RangeInclusive<usize>) -> usize {
        range.start() + self.below(range.end() - range.start() + 1)
    }

    /// Once in `n`.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of these, of which there are some.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// Others, that follow from these.
    pub fn fork(&mut self) -> Self {
        Self::new(self.u64())
    }

    /// Any bytes.
    pub fn bytes(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for word in bytes.chunks_exact_mut(8) {
            word.copy_from_slice(&self.u64().to_le_bytes());
        }
        bytes
    }
}
