//! Many times in little memory.

use std::time::Duration;

/// Steps between a power of two and the next: a time is known to 6 %.
const STEPS: u32 = 16;

/// A histogram of times, in logarithmic steps.
#[derive(Clone, Debug)]
pub(crate) struct Latency {
    buckets: Vec<u64>,
    count: u64,
}

impl Latency {
    pub(crate) fn new() -> Self {
        Self { buckets: vec![0; (u64::BITS * STEPS) as usize], count: 0 }
    }

    pub(crate) fn add(&mut self, time: Duration) {
        self.buckets[bucket(time.as_nanos() as u64)] += 1;
        self.count += 1;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (own, others) in self.buckets.iter_mut().zip(&other.buckets) {
            *own += others;
        }
        self.count += other.count;
    }

    /// The time that this share of all does not exceed, rounded up to a step.
    pub(crate) fn percentile(&self, share: f64) -> Duration {
        let rank = ((self.count as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(end_of(bucket));
            }
        }
        Duration::ZERO
    }
}

fn bucket(nanos: u64) -> usize {
    let nanos = nanos.max(u64::from(STEPS));
    let exponent = nanos.ilog2();
    // The four bits below the highest one.
    let step = (nanos >> (exponent - STEPS.ilog2())) as u32 - STEPS;
    (exponent * STEPS + step) as usize
}

fn end_of(bucket: usize) -> u64 {
    let (exponent, step) = (bucket as u32 / STEPS, bucket as u32 % STEPS);
    u64::from(STEPS + step + 1) << exponent.saturating_sub(STEPS.ilog2())
}
