//! How long to wait before the next attempt.

use std::time::Duration;

use rand::{RngExt, rngs::StdRng};

/// The first pause. Short, because a peer that is being restarted is back in seconds.
const FIRST: Duration = Duration::from_secs(1);
/// The longest pause where `persistent_peers_max_dial_period` is 0: a peer is back within a minute
/// of its return, and 50 dead ones cost less than one attempt a second.
pub(super) const DEFAULT_CAP: Duration = Duration::from_secs(60);

/// The pause after our own machine could not dial: such an attempt costs nothing, and whoever is
/// wanted is back within seconds of the link.
pub(super) const LOCAL: Duration = Duration::from_secs(4);
/// The longest pause after a name that could not be looked up, which without a link none can: with
/// the quarter, the 30 s after which peer exchange dials again.
pub(super) const LOOKUP_CAP: Duration = Duration::from_secs(24);

/// The pause after so many failed attempts in a row, at least one: twice as long each time up to
/// the cap, and up to a quarter more at random, so that nodes that lost the same peer do not come
/// back at the same moment.
pub(super) fn pause(failures: u32, cap: Duration, rng: &mut StdRng) -> Duration {
    let doublings = failures.saturating_sub(1).min(31);
    let pause = FIRST.saturating_mul(1 << doublings).min(cap);
    pause + pause.mul_f64(rng.random_range(0.0..0.25))
}

/// The pause before the first attempt to get back whom we have just lost: that random quarter alone.
pub(super) fn at_once(rng: &mut StdRng) -> Duration {
    part_of(FIRST / 4, rng)
}

/// A random part of a time.
pub(super) fn part_of(time: Duration, rng: &mut StdRng) -> Duration {
    time.mul_f64(rng.random_range(0.0..1.0))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng;

    use super::*;

    #[test]
    fn pauses_double_up_to_the_cap_and_a_quarter() {
        let mut rng = StdRng::seed_from_u64(1);
        for (failures, least) in [(0, 1), (1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (u32::MAX, 60)]
        {
            let least = Duration::from_secs(least);
            for _ in 0..100 {
                let pause = pause(failures, DEFAULT_CAP, &mut rng);
                assert!(least <= pause && pause < least.mul_f64(1.25), "{failures} {pause:?}");
            }
        }
        // All nodes that lost the same peer would come back at once.
        let pauses: BTreeSet<_> = (0..100).map(|_| pause(7, DEFAULT_CAP, &mut rng)).collect();
        assert!(pauses.len() > 90, "{pauses:?}");
        let (least, most) = (*pauses.first().unwrap(), *pauses.last().unwrap());
        assert!(most - least > DEFAULT_CAP / 5, "{least:?} to {most:?}");
        let millis = Duration::from_millis(10);
        assert!(pause(9, millis, &mut rng) < millis.mul_f64(1.25));
        assert_eq!(part_of(Duration::ZERO, &mut rng), Duration::ZERO);
    }
}
