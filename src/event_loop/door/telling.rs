//! What the switch is told of strangers, so that no crowd of them makes a heap of reports while a
//! hook, a filter or a logger holds it up.

use super::rates::Bucket;
use crate::time::Mono;

/// Connections that the switch was asked about and has not looked at. More wait in the pool, and
/// whoever goes meanwhile is never asked about; no handshake begins while some wait. 64 are 15 ms
/// of handshakes, longer than a switch that runs is away.
const MAX_QUESTIONS: usize = 64;

/// Failures and refusals that the switch was told and has not read, about 200 bytes each. Further
/// ones are counted and told as a number.
const MAX_STATEMENTS: usize = 1024;

/// Refusals told to the switch: a second, and how many at once. What an operator can read; a flood
/// of connections must not become a flood of reports and log lines.
const REFUSALS_TOLD: (u32, u32) = (20, 50);

/// What the switch was told and has not taken.
#[derive(Debug)]
pub(in crate::event_loop) struct Telling {
    questions: usize,
    statements: usize,
    refusals: Bucket,
    /// Failures and refusals since the last one that was told.
    untold: u64,
}

impl Default for Telling {
    fn default() -> Self {
        Self { questions: 0, statements: 0, refusals: Bucket::new(REFUSALS_TOLD), untold: 0 }
    }
}

impl Telling {
    /// Whether the switch may be asked about one more.
    pub(in crate::event_loop) fn may_ask(&self) -> bool {
        self.questions < MAX_QUESTIONS
    }

    /// The switch is asked about one.
    pub(in crate::event_loop) fn ask(&mut self) {
        self.questions += 1;
    }

    /// The switch has looked at one that it was asked about.
    pub(in crate::event_loop) fn considered(&mut self) {
        self.questions = self.questions.saturating_sub(1);
    }

    /// The switch has read of a failure or refusal.
    pub(in crate::event_loop) fn heard(&mut self) {
        self.statements = self.statements.saturating_sub(1);
    }

    /// A handshake has failed. `Some` if this one is to be told, with the number of those that
    /// were not.
    pub(in crate::event_loop) fn failed(&mut self) -> Option<u64> {
        if self.statements >= MAX_STATEMENTS {
            self.untold += 1;
            return None;
        }
        self.statements += 1;
        Some(std::mem::take(&mut self.untold))
    }

    /// A connection was refused as soon as it came; the same.
    pub(in crate::event_loop) fn refused(&mut self, now: Mono) -> Option<u64> {
        if self.statements < MAX_STATEMENTS && self.refusals.take(now) {
            return self.failed();
        }
        self.untold += 1;
        None
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_flood_of_refusals_is_told_in_few_words() {
        let mut telling = Telling::default();
        let at = |ms| Mono::ZERO + Duration::from_millis(ms);
        let told = (0..1050).filter_map(|_| telling.refused(at(0))).collect::<Vec<_>>();
        assert_eq!(told, [0; 50]);
        assert_eq!(telling.refused(at(50)), Some(1000));
        assert_eq!(telling.refused(at(50)), None);
        assert_eq!(telling.refused(at(100)), Some(1));
    }

    #[test]
    fn who_does_not_listen_is_told_no_more() {
        let mut telling = Telling::default();
        let told = (0..5000).filter(|_| telling.failed().is_some()).count();
        assert_eq!(told, MAX_STATEMENTS);
        assert_eq!(telling.refused(Mono::ZERO), None);
        telling.heard();
        assert_eq!(telling.failed(), Some(5001 - 1024), "every one is counted");
        assert_eq!(telling.failed(), None);
        for asked in 0..MAX_QUESTIONS {
            assert!(telling.may_ask(), "{asked}");
            telling.ask();
        }
        assert!(!telling.may_ask());
        telling.considered();
        assert!(telling.may_ask());
    }
}
