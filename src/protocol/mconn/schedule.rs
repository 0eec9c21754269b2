//! Whose turn it is: the channel that had least of the connection lately, for its priority.

use crate::{channel::ChannelDescriptor, time::Mono};
use std::time::Duration;

/// What was sent lately loses a fifth in this time (`p2p/conn/connection.go`, `updateStats`).
const DECAY_INTERVAL: Duration = Duration::from_secs(2);

/// Which channels have something to send, and what they had lately.
#[derive(Debug)]
pub(super) struct Schedule {
    shares: Vec<Share>,
    pending: usize,
    next_decay: Mono,
}

#[derive(Debug)]
struct Share {
    priority: u32,
    is_pending: bool,
    recently_sent: u64,
}

impl Schedule {
    pub(super) fn new(channels: &[ChannelDescriptor], now: Mono) -> Self {
        let share = |c: &ChannelDescriptor| Share {
            priority: c.priority,
            is_pending: false,
            recently_sent: 0,
        };
        Self {
            shares: channels.iter().map(share).collect(),
            pending: 0,
            next_decay: now + DECAY_INTERVAL,
        }
    }

    /// The pending channel with the least recently_sent / priority, the first of equals.
    pub(super) fn next(&self) -> Option<usize> {
        let mut best: Option<(usize, &Share)> = None;
        for (index, share) in self.shares.iter().enumerate() {
            if share.is_pending && best.is_none_or(|(_, best)| share.is_before(best)) {
                best = Some((index, share));
                if self.pending == 1 {
                    break;
                }
            }
        }
        best.map(|(index, _)| index)
    }

    #[expect(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "the sender has the same channels; `pending` counts those that are, of which this may be one"
    )]
    pub(super) fn set_pending(&mut self, channel: usize, is_pending: bool) {
        let share = &mut self.shares[channel];
        self.pending = self.pending + usize::from(is_pending) - usize::from(share.is_pending);
        share.is_pending = is_pending;
    }

    /// How many channels have something to send.
    pub(super) fn pending(&self) -> usize {
        self.pending
    }

    /// Counts a packet, in encoded bytes with the length prefix.
    #[expect(clippy::indexing_slicing, reason = "the sender has the same channels")]
    pub(super) fn on_sent(&mut self, channel: usize, bytes: usize) {
        let recently = &mut self.shares[channel].recently_sent;
        *recently = recently.saturating_add(bytes as u64);
    }

    /// Catches up with Go's timer, which ticks every two seconds from the start.
    pub(super) fn decay(&mut self, now: Mono) {
        if self.next_decay > now {
            return;
        }
        let next = self.next_decay.next_tick(DECAY_INTERVAL, now);
        while self.next_decay < next {
            let mut is_zero = true;
            for share in &mut self.shares {
                // Go computes in floating point and drops the fraction.
                share.recently_sent = (share.recently_sent as f64 * 0.8) as u64;
                is_zero &= share.recently_sent == 0;
            }
            // Once nothing is left to decay, it does not matter how long the connection was idle.
            self.next_decay = if is_zero { next } else { self.next_decay + DECAY_INTERVAL };
        }
    }
}

impl Share {
    fn is_before(&self, other: &Self) -> bool {
        let weigh =
            |sent: u64, priority: u32| u128::from(sent).saturating_mul(u128::from(priority));
        weigh(self.recently_sent, other.priority) < weigh(other.recently_sent, self.priority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Mono {
        Mono::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn decays_by_gos_arithmetic() {
        let mut schedule = Schedule::new(&[ChannelDescriptor::new(1)], Mono::ZERO);
        schedule.on_sent(0, 1036);
        schedule.decay(Mono::from_nanos(1_999_999_999));
        assert_eq!(schedule.shares[0].recently_sent, 1036);
        // int64(float64(x) * 0.8), every two seconds.
        let go = [828, 662, 529, 423, 338, 270, 216, 172, 137, 109, 87, 69, 55, 44, 35, 28];
        for (tick, expected) in (1..).zip(go) {
            schedule.decay(seconds(2 * tick));
            schedule.decay(seconds(2 * tick + 1));
            assert_eq!(schedule.shares[0].recently_sent, expected, "tick {tick}");
        }
    }

    #[test]
    fn late_is_the_same_as_in_time() {
        for idle in [1, 2, 3, 7, 40, 199, 200, 201, 1_000_000_000] {
            let mut in_time = Schedule::new(&[ChannelDescriptor::new(1)], Mono::ZERO);
            let mut late = Schedule::new(&[ChannelDescriptor::new(1)], Mono::ZERO);
            in_time.on_sent(0, 123_456_789);
            late.on_sent(0, 123_456_789);
            for second in 0..=idle.min(500) {
                in_time.decay(seconds(second));
            }
            in_time.decay(seconds(idle));
            late.decay(seconds(idle));
            assert_eq!(late.shares[0].recently_sent, in_time.shares[0].recently_sent);
            assert_eq!(late.next_decay, in_time.next_decay);
            assert_eq!(late.next_decay, seconds(idle / 2 * 2 + 2));
        }
    }

    #[test]
    fn the_first_of_equals() {
        let channels = [(5, 4), (6, 2), (7, 4)];
        let channels = channels.map(|(id, p)| ChannelDescriptor::new(id).priority(p));
        let mut schedule = Schedule::new(&channels, Mono::ZERO);
        assert_eq!(schedule.next(), None);
        for channel in [2, 1] {
            schedule.set_pending(channel, true);
        }
        assert_eq!((schedule.next(), schedule.pending()), (Some(1), 2));
        schedule.on_sent(1, 100);
        schedule.on_sent(2, 200);
        schedule.on_sent(0, 200);
        schedule.set_pending(0, true);
        assert_eq!(schedule.next(), Some(0), "200 / 4 = 100 / 2");
        schedule.on_sent(0, 1);
        assert_eq!(schedule.next(), Some(1));
    }
}
