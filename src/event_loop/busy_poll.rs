//! Whether the loop looks again for a moment before it blocks.

use std::time::Duration;

use crate::time::Mono;

/// How long the loop looks before it blocks. To be woken takes a thread tens of microseconds, so who
/// answers within this time is better waited for awake.
const WINDOW: Duration = Duration::from_micros(20);

/// A wait in which the loop blocked and that was no longer than this, the waking included, may well have
/// been within the window.
const WORTHWHILE: Duration = Duration::from_micros(50);

/// Of all time so much may be looked away in vain, whatever peers send and when: an eighth.
const SHARE: u32 = 8;

/// So much may be looked away at once: two loops that answer each other are fast only while both look, and
/// take some looks until they do.
const MOST: Duration = Duration::from_millis(2);

/// A look that took so long was none: while the loop gave way, somebody else had the processor for a slice
/// of his time, and whatever came meanwhile had to wait for the end of it.
const OVERRUN: Duration = Duration::from_micros(200);

/// It costs so many times what it took, and with [`SHARE`] there is no look for a hundred times as long.
const OVERRUN_COST: u32 = 12;

/// Looks before it blocks while that pays, as kernels do before they halt a processor: when the last wait
/// was short, and not too much was looked away. An idle loop never looks. One that finds something each time
/// stays awake, which it would half the time anyway.
#[derive(Debug)]
pub(super) struct BusyPoll {
    was_short: bool,
    /// By then all that was looked away is forgotten.
    forgotten_at: Mono,
}

impl BusyPoll {
    pub(super) fn new() -> Self {
        Self { was_short: false, forgotten_at: Mono::ZERO }
    }

    /// For how long the loop looks before it blocks, zero if not at all.
    pub(super) fn window(&self, now: Mono) -> Duration {
        let is_paid = self.forgotten_at.since(now) <= MOST * SHARE;
        if self.was_short && is_paid { WINDOW } else { Duration::ZERO }
    }

    /// The loop has looked, from then till now.
    pub(super) fn looked(&mut self, begun: Mono, now: Mono, has_found: bool) {
        let took = now - begun;
        self.was_short = has_found;
        let cost = match has_found {
            _ if took > OVERRUN => took * OVERRUN_COST,
            true => Duration::ZERO,
            false => took,
        };
        self.forgotten_at = self.forgotten_at.max(begun) + cost * SHARE;
    }

    /// The loop has blocked, for so long.
    pub(super) fn blocked(&mut self, took: Duration) {
        self.was_short = took <= WORTHWHILE;
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    use super::*;

    const fn us(n: u64) -> Duration {
        Duration::from_micros(n)
    }

    /// A loop whose waits end after these times, by themselves or while it looks.
    struct Run {
        poll: BusyPoll,
        now: Mono,
        in_vain: Duration,
        found: u32,
    }

    impl Run {
        fn new() -> Self {
            Self { poll: BusyPoll::new(), now: Mono::ZERO + us(1), in_vain: us(0), found: 0 }
        }

        fn wait(&mut self, length: Duration) {
            let (begun, window) = (self.now, self.poll.window(self.now));
            let has_found = length <= window;
            if window > us(0) {
                let looked = begun + length.min(window);
                self.poll.looked(begun, looked, has_found);
                if has_found {
                    self.found += 1;
                } else {
                    self.in_vain += window;
                }
            }
            self.now = begun + length;
            if !has_found {
                self.poll.blocked(length.saturating_sub(window));
            }
        }
    }

    #[test]
    fn a_loop_looks_while_waits_are_short() {
        let mut run = Run::new();
        for length in [1000, 51, 50, 20, 1, 20] {
            run.wait(us(length));
        }
        assert_eq!((run.found, run.in_vain), (3, us(0)));
        run.wait(us(1000));
        assert_eq!(run.in_vain, WINDOW);
        run.wait(us(10));
        run.wait(us(10));
        assert_eq!((run.found, run.in_vain), (4, WINDOW), "it blocked once, and then looked");
    }

    #[test]
    fn whatever_the_waits_are_little_time_is_looked_away() {
        let mut dice = StdRng::seed_from_u64(1);
        let mut worst = 0.0_f64;
        let mut try_it = |lengths: &[u64]| {
            let mut run = Run::new();
            while run.now < Mono::ZERO + Duration::from_millis(200) {
                lengths.iter().for_each(|length| run.wait(us(*length)));
            }
            let bound = (run.now - Mono::ZERO) / SHARE + MOST + WINDOW;
            assert!(run.in_vain <= bound, "{:?} with {lengths:?}", run.in_vain);
            let share = run.in_vain.as_secs_f64() / (run.now - Mono::ZERO).as_secs_f64();
            worst = worst.max(share);
        };
        (1..200).for_each(|length| try_it(&[length]));
        // One that switches it on, and one that is just too long.
        try_it(&[1, 21]);
        try_it(&[1, 1, 1, 1, 1, 1, 1, 1, 21]);
        for _ in 0..1000 {
            let lengths: Vec<u64> = (0..5).map(|_| dice.random_range(1..60)).collect();
            try_it(&lengths);
        }
        assert!(worst > 0.08, "nothing was looked away: {worst}");
    }

    #[test]
    fn who_gave_way_to_somebody_busy_does_not_soon_do_it_again() {
        let mut poll = BusyPoll::new();
        let begun = Mono::ZERO + us(100);
        poll.blocked(us(10));
        assert_eq!(poll.window(begun), WINDOW);
        // A foreign slice of 3 ms, and then there was something.
        let now = begun + us(3000);
        poll.looked(begun, now, true);
        poll.blocked(us(10));
        assert_eq!(poll.window(begun + us(3000 * 96 - 16_001)), Duration::ZERO);
        assert_eq!(poll.window(begun + us(3000 * 96 - 16_000)), WINDOW);
    }
}
