//! Being without a peer: somebody is looked for at once, then less and less often.

use std::time::Duration;

use crate::time::Mono;

/// The rounds of looking for peers since there was one that stayed.
///
/// A peer that comes and goes is no end of that: it would be dialed in a loop.
#[derive(Debug, Default)]
pub(super) struct Alone {
    rounds: u32,
    /// When the next one is to be, if there ever was one.
    next: Option<Mono>,
}

impl Alone {
    /// Nobody was there when a round began. The next one waits as long as an address that has failed
    /// as often, and a unit more, within which that one's own pause is over: so it finds due whom the
    /// rounds before have tried in vain. And a part of a quarter more: those who have lost the same
    /// peer do not come back at the same moment.
    pub(super) fn looked(&mut self, (unit, longest): (Duration, Duration), part: f64, now: Mono) {
        self.rounds = self.rounds.saturating_add(1);
        let pause = unit.saturating_mul((1 << self.rounds.min(16)) | 1).min(longest);
        self.next = Some(now + pause.saturating_add(pause.mul_f64(part / 4.0)).min(longest));
    }

    /// A peer has stayed for as long as the longest pause.
    pub(super) fn is_over(&mut self) {
        self.rounds = 0;
    }

    /// Whether a peer that had stayed was lost, and nobody was looked for since.
    pub(super) fn is_first(&self) -> bool {
        self.rounds == 0 && self.next.is_some()
    }

    /// How often somebody was looked for.
    pub(super) fn rounds(&self) -> u32 {
        self.rounds
    }

    /// When the next round is to be: the first one now.
    pub(super) fn next(&self, now: Mono) -> Mono {
        self.next.filter(|_| self.rounds > 0).map_or(now, |next| next.max(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_round_is_at_once_and_the_later_ones_at_growing_pauses() {
        let at = |millis: u64| Mono::ZERO + Duration::from_millis(millis);
        let pauses = (Duration::from_secs(1), Duration::from_secs(30));
        for (part, expected) in [
            (0.0, [3000, 5000, 9000, 17_000, 30_000, 30_000]),
            (0.8, [3600, 6000, 10_800, 20_400, 30_000, 30_000]),
        ] {
            let mut alone = Alone::default();
            let mut now = 100_000;
            // Nobody was lost yet.
            assert!(alone.next(at(now)) == at(now) && !alone.is_first());
            for pause in expected {
                alone.looked(pauses, part, at(now));
                let next = now + pause;
                assert_eq!(alone.next(at(now)), at(next));
                // What happens meanwhile does not hurry it, and what is late is now.
                assert_eq!(alone.next(at(now + 1000)), at(next));
                assert!(alone.next(at(next + 1)) == at(next + 1) && !alone.is_first());
                now = next;
            }
            alone.is_over();
            assert!(alone.next(at(now)) == at(now) && alone.is_first());
        }
    }
}
