//! Whether the loop looks again for a moment before it blocks.

use std::time::Duration;

/// How long the loop looks before it blocks. To be woken takes a thread 15 to 30 µs on the machines of
/// `benches/README.md`, so who answers within that time is better waited for awake.
const WINDOW: Duration = Duration::from_micros(20);

/// A wait in which the loop blocked and that was no longer than this, the waking included, would have
/// been within the window if the loop had looked.
const WORTHWHILE: Duration = Duration::from_micros(50);

/// Looks before it blocks while that pays, as kernels do before they halt a processor: once a wait was
/// short, until one was not. An idle loop never looks, and one that looked in vain blocks at once the
/// next time, so less than half of the time it waits is spent so, whatever peers send.
#[derive(Debug, Default)]
pub(super) struct BusyPoll {
    looks: bool,
}

impl BusyPoll {
    /// For how long the loop looks before it blocks, zero if not at all.
    pub(super) fn window(&self) -> Duration {
        if self.looks { WINDOW } else { Duration::ZERO }
    }

    /// The loop has waited so long, from when it had nothing to do until it had something, first
    /// looking for [`window`](Self::window).
    pub(super) fn waited(&mut self, waited: Duration) {
        self.looks = waited <= if self.looks { WINDOW } else { WORTHWHILE };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn us(n: u64) -> Duration {
        Duration::from_micros(n)
    }

    #[test]
    fn a_loop_looks_after_a_short_wait_until_it_has_looked_in_vain() {
        let mut poll = BusyPoll::default();
        assert_eq!(poll.window(), Duration::ZERO, "nothing was short yet");
        poll.waited(us(51));
        assert_eq!(poll.window(), Duration::ZERO);
        poll.waited(us(50));
        assert_eq!(poll.window(), WINDOW);
        poll.waited(us(1));
        poll.waited(us(20));
        assert_eq!(poll.window(), WINDOW, "found what it looked for");
        poll.waited(us(21));
        assert_eq!(poll.window(), Duration::ZERO, "in vain");
    }

    #[test]
    fn whatever_the_waits_are_little_of_them_is_spent_with_looking_in_vain() {
        for length in 1..200 {
            let (mut poll, mut vain, mut waited) = (BusyPoll::default(), us(0), us(0));
            for _ in 0..1000 {
                let (length, window) = (us(length), poll.window());
                if window < length {
                    vain += window;
                }
                waited += length;
                poll.waited(length);
            }
            assert!(vain * 2 <= waited, "{length} µs: {vain:?} of {waited:?}");
            assert!(length <= 50 || vain == us(0), "{length} µs: {vain:?}");
        }
    }
}
