//! How long each of many messages took.

use crate::common::{Line, Summary, percentile};

/// Milliseconds.
#[derive(Clone, Copy)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

impl Latency {
    /// # Panics
    /// Without times.
    pub(crate) fn of(times: &mut [f64]) -> Self {
        let [p50, p99, max] = [50, 99, 100].map(|percent| percentile(times, percent));
        Self { p50, p99, max }
    }

    /// The line of some runs, whose value is the p99.
    pub(crate) fn line(name: impl Into<String>, runs: impl IntoIterator<Item = Self>) -> Line {
        let runs: Vec<Self> = runs.into_iter().collect();
        let of = |figure: fn(&Self) -> f64| Summary::of(runs.iter().map(figure));
        let p99 = of(|latency| latency.p99);
        Line::new(name, p99, "ms")
            .also("p50_ms", of(|latency| latency.p50).median)
            .also("p99_ms", p99.median)
            .also("max_ms", of(|latency| latency.max).max)
    }
}
