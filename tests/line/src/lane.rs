//! What one direction of a line does with packets. It has no clock and no dice: time and chance are
//! arguments.

use std::{collections::BTreeMap, time::Duration};

use rand::{Rng, RngExt};

/// How a line is, the same in both directions. Its parts in the order in which a packet meets them.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Most bytes that wait for the bottleneck. What comes then is dropped.
    pub queue: u64,
    /// Bits a second that pass the bottleneck, IP headers included.
    pub rate: u64,
    /// Of 1000 packets so many are lost behind the bottleneck, having taken their time of it.
    pub lost_per_mille: u32,
    /// From the bottleneck to the other end, one way: half of the round trip.
    pub delay: Duration,
    /// Of 1000 packets so many take [`Self::late_by`] longer, and are overtaken.
    pub late_per_mille: u32,
    /// See [`Self::late_per_mille`].
    pub late_by: Duration,
}

impl Shape {
    /// A line that loses and reorders nothing, with a queue of what is on the way in one round trip:
    /// full, it doubles the time that a packet and its answer take.
    #[must_use]
    pub fn new(rate: u64, round_trip: Duration) -> Self {
        Self {
            queue: bytes_in(round_trip, rate),
            rate,
            lost_per_mille: 0,
            delay: round_trip / 2,
            late_per_mille: 0,
            late_by: Duration::ZERO,
        }
    }
}

/// One direction. Times are since any moment that stays the same.
#[derive(Clone, Debug)]
pub struct Lane {
    shape: Shape,
    /// When the bottleneck has let through all that it was given.
    free_at: Duration,
    /// By when they arrive, and among those that arrive together by when they came.
    under_way: BTreeMap<(Duration, u64), Vec<u8>>,
    taken: u64,
}

impl Lane {
    /// An empty one.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        Self { shape, free_at: Duration::ZERO, under_way: BTreeMap::new(), taken: 0 }
    }

    /// It is like this for what is sent from now on.
    pub fn set_shape(&mut self, shape: Shape) {
        self.shape = shape;
    }

    /// Somebody sends a packet. `false`: it will not arrive.
    pub fn take(&mut self, now: Duration, packet: Vec<u8>, dice: &mut impl Rng) -> bool {
        let Shape { queue, rate, lost_per_mille, delay, late_per_mille, late_by } = self.shape;
        // The queue needs no list: what waits is what the bottleneck has yet to let through.
        let free_at = self.free_at.max(now);
        let size = packet.len() as u64;
        if bytes_in(free_at - now, rate) + size > queue {
            return false;
        }
        self.free_at = free_at + time_of(size, rate);
        // Rolled in any case: what is lost does not change what is late.
        let [is_lost, is_late] =
            [lost_per_mille, late_per_mille].map(|share| dice.random_range(0..1000) < share);
        if is_lost {
            return false;
        }
        let due = self.free_at + delay + if is_late { late_by } else { Duration::ZERO };
        self.taken += 1;
        self.under_way.insert((due, self.taken), packet);
        true
    }

    /// When the next packet arrives.
    #[must_use]
    pub fn next_due(&self) -> Option<Duration> {
        self.under_way.first_key_value().map(|(&(due, _), _)| due)
    }

    /// A packet that has arrived by now, the earliest first.
    pub fn arrived(&mut self, now: Duration) -> Option<Vec<u8>> {
        let first = self.under_way.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }
}

/// How many bytes pass in this time.
fn bytes_in(time: Duration, rate: u64) -> u64 {
    (time.as_nanos() * u128::from(rate) / 8_000_000_000) as u64
}

/// How long these bytes take.
fn time_of(bytes: u64, rate: u64) -> Duration {
    Duration::from_nanos(bytes * 8_000_000_000 / rate)
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    /// A byte a microsecond, 20 ms one way: the queue has 40,000 bytes.
    const SHAPE: Shape = Shape {
        queue: 40_000,
        rate: 8_000_000,
        lost_per_mille: 0,
        delay: Duration::from_millis(20),
        late_per_mille: 0,
        late_by: Duration::ZERO,
    };

    fn us(us: u64) -> Duration {
        Duration::from_micros(us)
    }

    /// A packet that says which it is.
    fn packet(number: u16, size: usize) -> Vec<u8> {
        let mut packet = vec![0; size];
        packet[..2].copy_from_slice(&number.to_le_bytes());
        packet
    }

    /// All that will ever arrive, in this order: when, and which packet it is.
    fn arrivals(lane: &mut Lane) -> Vec<(Duration, u16)> {
        let mut arrivals = Vec::new();
        while let Some(due) = lane.next_due() {
            let packet = lane.arrived(due).expect("it is due");
            arrivals.push((due, u16::from_le_bytes([packet[0], packet[1]])));
        }
        arrivals
    }

    fn dice() -> StdRng {
        StdRng::seed_from_u64(29)
    }

    #[test]
    fn a_shape_has_half_of_the_round_trip_each_way_and_a_queue_of_the_whole() {
        let shape = Shape::new(100_000_000, Duration::from_millis(50));
        assert_eq!((shape.delay, shape.queue), (Duration::from_millis(25), 625_000));
    }

    #[test]
    fn a_packet_takes_its_time_of_the_bottleneck_and_the_delay_and_no_less() {
        let mut lane = Lane::new(SHAPE);
        assert!(lane.take(us(7), packet(1, 1500), &mut dice()));
        let due = us(7 + 1500 + 20_000);
        assert_eq!(lane.next_due(), Some(due));
        assert_eq!(lane.arrived(due - Duration::from_nanos(1)), None);
        assert_eq!(lane.arrived(due), Some(packet(1, 1500)));
        assert_eq!((lane.arrived(due), lane.next_due()), (None, None));
    }

    #[test]
    fn packets_that_come_together_leave_one_after_the_other() {
        let (mut lane, mut dice) = (Lane::new(SHAPE), dice());
        for number in 0..3 {
            assert!(lane.take(us(0), packet(number, 1000), &mut dice));
        }
        // The line was idle in between, which nobody makes up for.
        assert!(lane.take(us(10_000), packet(3, 500), &mut dice));
        let expected = [(21_000, 0), (22_000, 1), (23_000, 2), (30_500, 3)];
        assert_eq!(arrivals(&mut lane), expected.map(|(due, number)| (us(due), number)));
    }

    #[test]
    fn what_is_under_way_when_the_line_changes_arrives_as_before() {
        let (mut lane, mut dice) = (Lane::new(SHAPE), dice());
        assert!(lane.take(us(0), packet(0, 1000), &mut dice));
        lane.set_shape(Shape { rate: 16_000_000, delay: us(50), ..SHAPE });
        assert!(lane.take(us(0), packet(1, 1000), &mut dice));
        // The second has waited for the bottleneck, and overtaken the first behind it.
        assert_eq!(arrivals(&mut lane), [(us(1550), 1), (us(21_000), 0)]);
    }

    #[test]
    fn a_full_queue_drops_what_comes_and_only_that() {
        let (mut lane, mut dice) = (Lane::new(SHAPE), dice());
        for number in 0..40 {
            assert!(lane.take(us(0), packet(number, 1000), &mut dice));
        }
        assert!(!lane.take(us(0), packet(40, 2), &mut dice));
        assert!(!lane.take(us(999), packet(41, 1000), &mut dice));
        // One has left by now.
        assert!(lane.take(us(1000), packet(42, 1000), &mut dice));
        let arrivals = arrivals(&mut lane);
        assert_eq!(arrivals.len(), 41);
        assert_eq!(arrivals.last(), Some(&(us(61_000), 42)));
    }

    #[test]
    fn a_line_that_is_kept_full_carries_its_rate() {
        let (mut lane, mut dice) = (Lane::new(SHAPE), dice());
        let mut taken = 0;
        // Twice of what it can carry, for a second.
        for tick in 0..=2000 {
            taken += u64::from(lane.take(us(tick * 500), packet(0, 1000), &mut dice));
        }
        // What waits at the end is carried after it.
        assert_eq!(taken, 1000 + 40);
        let last = arrivals(&mut lane).last().expect("some arrive").0;
        assert_eq!(last, us(taken * 1000 + 20_000));
    }

    #[test]
    fn so_many_are_lost_as_was_asked_for_and_take_their_time_all_the_same() {
        let (mut lane, mut dice) = (Lane::new(Shape { lost_per_mille: 100, ..SHAPE }), dice());
        let mut lost = 0;
        for number in 0..10_000_u16 {
            let now = us(u64::from(number) * 1000);
            lost += u64::from(!lane.take(now, packet(number, 1000), &mut dice));
        }
        assert!((900..=1100).contains(&lost), "{lost} of 10,000");
        let arrivals = arrivals(&mut lane);
        assert_eq!(arrivals.len() as u64, 10_000 - lost);
        for (due, number) in arrivals {
            assert_eq!(due, us(u64::from(number) * 1000 + 21_000));
        }
    }

    #[test]
    fn so_many_are_late_as_was_asked_for_and_are_overtaken() {
        let shape = Shape { late_per_mille: 100, late_by: us(5500), ..SHAPE };
        let (mut lane, mut dice) = (Lane::new(shape), dice());
        for number in 0..10_000_u16 {
            let now = us(u64::from(number) * 1000);
            assert!(lane.take(now, packet(number, 1000), &mut dice));
        }
        let arrivals = arrivals(&mut lane);
        assert_eq!(arrivals.len(), 10_000);
        assert!(arrivals.is_sorted_by_key(|&(due, _)| due));
        let mut late = 0;
        for &(due, number) in &arrivals {
            let extra = due - us(u64::from(number) * 1000 + 21_000);
            assert!(extra.is_zero() || extra == us(5500));
            late += u64::from(!extra.is_zero());
        }
        assert!((900..=1100).contains(&late), "{late} of 10,000");
        assert!(!arrivals.is_sorted_by_key(|&(_, number)| number));
    }

    #[test]
    fn all_of_a_thousand_are_all_and_the_same_dice_give_the_same() {
        let mut lane = Lane::new(Shape { lost_per_mille: 1000, ..SHAPE });
        assert!(!lane.take(us(0), packet(0, 1000), &mut dice()));
        let run = || {
            let shape = Shape { lost_per_mille: 50, late_per_mille: 50, late_by: us(3), ..SHAPE };
            let (mut lane, mut dice) = (Lane::new(shape), dice());
            for number in 0..1000 {
                lane.take(us(u64::from(number) * 1000), packet(number, 1000), &mut dice);
            }
            arrivals(&mut lane)
        };
        assert_eq!(run(), run());
    }
}
