//! What the system says of this process, and percentiles.

use std::fs;

/// Processor seconds so far, user and system, in steps of 10 ms; 0 where there is no /proc.
pub(crate) fn cpu() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field is the program's name in brackets and may hold blanks.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let times = fields.split_whitespace().skip(11).take(2);
    times.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Resident memory in KiB; 0 where there is no /proc.
pub(crate) fn resident_kib() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0.0)
}

/// Of sorted values, nearest rank; 0 of none.
pub(crate) fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentile_is_the_nearest_rank() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!(
            [1, 50, 99, 100].map(|percent| percentile(&values, percent)),
            [2.0, 100.0, 198.0, 200.0]
        );
        assert_eq!(percentile(&[], 50), 0.0);
    }

    #[test]
    fn a_process_has_memory_and_uses_the_processor() {
        if fs::exists("/proc/self/stat").unwrap() {
            assert!(resident_kib() > 0.0);
            let before = cpu();
            let mut sum = 0_u64;
            while cpu() == before {
                sum = std::hint::black_box(sum + 1);
            }
        }
    }
}
