//! Medians and percentiles.

/// Several measurements of the same thing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Summary {
    /// The middle one, or the mean of the two in the middle.
    pub(crate) median: f64,
    /// The smallest.
    pub(crate) min: f64,
    /// The largest.
    pub(crate) max: f64,
    /// How many.
    pub(crate) runs: usize,
}

impl Summary {
    /// # Panics
    /// Without values.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let runs = values.len();
        assert!(runs > 0, "at least one measurement");
        let median = (values[(runs - 1) / 2] + values[runs / 2]) / 2.0;
        Self { median, min: values[0], max: values[runs - 1], runs }
    }

    /// `None` if any value is missing or there is none.
    pub(crate) fn of_all(values: impl IntoIterator<Item = Option<f64>>) -> Option<Self> {
        let values: Option<Vec<f64>> = values.into_iter().collect();
        values.filter(|values| !values.is_empty()).map(Self::of)
    }
}

/// The value below which `percent` of 100 lie, nearest rank. Sorts.
///
/// # Panics
/// Without values.
pub(crate) fn percentile(values: &mut [f64], percent: usize) -> f64 {
    assert!(!values.is_empty(), "at least one measurement");
    values.sort_by(f64::total_cmp);
    let rank = (values.len() * percent).div_ceil(100);
    values[rank.max(1) - 1]
}
