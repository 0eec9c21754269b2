//! Whether a peer takes anything of what is written to it.

use std::time::Duration;

use crate::{protocol::secret::FRAME_SEALED, time::Mono};

/// Of the send time-out: what was accepted has waited for a place that long, and twice again.
const SEND_TIMEOUTS: u32 = 3;

/// What a peer must take in that time: a frame. With less than that no message gets on, and a peer
/// that takes a byte a minute would hold its queues for ever.
const LEAST: usize = FRAME_SEALED;

/// How long a peer has not taken a frame's worth of what is sealed for it.
#[derive(Debug, Default)]
pub(super) struct Stall {
    since: Option<Mono>,
    taken: usize,
}

impl Stall {
    /// The socket took so many bytes, and whether it does not take what is left.
    pub(super) fn note(&mut self, taken: usize, is_blocked: bool, now: Mono) {
        self.taken = self.taken.saturating_add(taken);
        if !is_blocked || self.taken >= LEAST {
            *self = Self::default();
        }
        if is_blocked {
            self.since.get_or_insert(now);
        }
    }

    /// When the peer is to be ended, with this send time-out.
    pub(super) fn deadline(&self, send_timeout: Duration) -> Option<Mono> {
        self.since.map(|since| since + limit(send_timeout))
    }
}

/// How long a peer may take nothing.
pub(super) fn limit(send_timeout: Duration) -> Duration {
    send_timeout.saturating_mul(SEND_TIMEOUTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_in_time_is_progress_and_a_byte_is_none() {
        let second = Duration::from_secs(1);
        let at = |seconds| Mono::ZERO + second * seconds;
        let mut stall = Stall::default();
        stall.note(100_000, false, at(0));
        assert_eq!(stall.deadline(10 * second), None);
        stall.note(100_000, true, at(1));
        assert_eq!(stall.deadline(10 * second), Some(at(31)));
        for seconds in 2..30 {
            stall.note(1, true, at(seconds));
        }
        assert_eq!(stall.deadline(10 * second), Some(at(31)));
        // Together it is a frame.
        stall.note(LEAST - 28, true, at(30));
        assert_eq!(stall.deadline(10 * second), Some(at(60)));
        stall.note(1, false, at(40));
        assert_eq!(stall.deadline(10 * second), None);
    }
}
