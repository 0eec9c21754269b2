//! Being without a peer: somebody is looked for at once, then less and less often.

use std::time::Duration;

use crate::time::Mono;

/// The rounds of looking for peers since there was one that stayed.
///
/// A peer that comes and goes is no end of that: it would be dialed in a loop.
#[derive(Debug, Default)]
pub(super) struct Alone {
    rounds: u32,
    /// When the last one was, if there ever was one.
    last: Option<Mono>,
}

impl Alone {
    /// Nobody was there when a round began.
    pub(super) fn looked(&mut self, now: Mono) {
        self.rounds = self.rounds.saturating_add(1);
        self.last = Some(now);
    }

    /// A peer has stayed for as long as the longest pause.
    pub(super) fn is_over(&mut self) {
        self.rounds = 0;
    }

    /// Whether a peer that had stayed was lost, and nobody was looked for since.
    pub(super) fn is_first(&self) -> bool {
        self.rounds == 0 && self.last.is_some()
    }

    /// How often somebody was looked for.
    pub(super) fn rounds(&self) -> u32 {
        self.rounds
    }

    /// When the next round is to be: the first one now. Each later one waits as long as an address
    /// that has failed as often, and a unit more, within which that one's own pause is over: so it
    /// finds due whom the rounds before have tried in vain.
    pub(super) fn next(&self, (unit, longest): (Duration, Duration), now: Mono) -> Mono {
        let Some(last) = self.last.filter(|_| self.rounds > 0) else { return now };
        let pause = unit.saturating_mul((1 << self.rounds.min(16)) + 1);
        (last + pause.min(longest)).max(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_round_is_at_once_and_the_later_ones_at_growing_pauses() {
        let at = |secs: u32| Mono::ZERO + Duration::from_secs(1) * secs;
        let pauses = (Duration::from_secs(1), Duration::from_secs(30));
        let mut alone = Alone::default();
        let mut now = at(100);
        // Nobody was lost yet.
        assert!(alone.next(pauses, now) == now && !alone.is_first());
        for expected in [3, 5, 9, 17, 30, 30] {
            alone.looked(now);
            let next = now + Duration::from_secs(expected);
            assert_eq!(alone.next(pauses, now), next);
            // What happens meanwhile does not hurry it, and what is late is now.
            assert_eq!(alone.next(pauses, now + Duration::from_secs(1)), next);
            let late = next + Duration::from_secs(1);
            assert!(alone.next(pauses, late) == late && !alone.is_first());
            now = next;
        }
        alone.is_over();
        assert!(alone.next(pauses, now) == now && alone.is_first());
    }
}
