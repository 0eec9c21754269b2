//! Token buckets that hold a connection to its send and receive rates.
//!
//! Two nodes with the same rate configured must not slow each other down: the sender stays 0–2 %
//! below the rate and the receiver 0–2 % above it, measured from a fresh or idle start over a
//! second or more, from 64 KB/s upwards, with packets of the default size. All arithmetic is in
//! integers, so a connection that lives for years does not drift.

use std::time::Duration;

use crate::time::Mono;

/// Tokens of one direction of a connection.
#[derive(Debug)]
pub(super) struct Bucket {
    /// Thousandths of bytes per second that flow in.
    rate: u64,
    /// Most that it holds, and how much of it is there: in [`BYTE`]ths. What is there may be
    /// negative, since a receiver learns only afterwards what it has read.
    capacity: i128,
    tokens: i128,
    /// When tokens last flowed in.
    at: Mono,
}

/// One byte: thousandths of a byte per second, times nanoseconds.
const BYTE: i128 = 1_000_000_000_000;

/// Most bytes of a sealed frame: what is taken from the socket in one piece, whatever it is that the
/// rate allows.
pub(super) const FRAME: usize = 1024;

/// How much flows in one direction of a connection, as far as the last second or two tell.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Meter {
    /// When the second that is being counted is over, and what has flowed in it so far.
    until: Mono,
    bytes: u64,
    /// What flowed in the second before it.
    before: u64,
}

const SECOND: Duration = Duration::from_secs(1);

impl Meter {
    /// So many bytes have flowed.
    pub(super) fn add(&mut self, bytes: usize, now: Mono) {
        if now >= self.until {
            let is_next = now < self.until + SECOND;
            self.before = if is_next { self.bytes } else { 0 };
            self.until = if is_next { self.until } else { now } + SECOND;
            self.bytes = 0;
        }
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// Bytes in the second before this point, as if those of the whole second before had come evenly.
    /// It may be read somewhat before what was added last.
    pub(crate) fn rate(mut self, now: Mono) -> u64 {
        self.add(0, now);
        let rest = self.until.since(now).min(SECOND).as_nanos();
        let before = u128::from(self.before).saturating_mul(rest) / 1_000_000_000;
        self.bytes.saturating_add(before as u64)
    }
}

/// What a frame is charged with on average, however little is in it. Each is 1044 bytes on the
/// line and about 1 µs of work: one-byte frames at the default rate would else be 5 GB a second
/// and never reach the rate. A quarter of a frame: who sends small messages at once, each in a
/// frame of its own, pays no more than for a vote.
const LEAST_PER_FRAME: usize = 256;

/// What full frames may pay for emptier ones later: a batch ends with what is left over.
const MOST_CREDIT: usize = 16 << 10;

/// Counts frames: what they are charged with beyond the bytes in them. Both sides of a connection
/// count the same frames, so that equal rates stay equal.
#[derive(Debug, Default)]
pub(super) struct Frames {
    credit: usize,
}

impl Frames {
    /// What to charge for the rest of a frame with so many bytes.
    pub(super) fn surcharge(&mut self, bytes: usize) -> usize {
        if let Some(more) = bytes.checked_sub(LEAST_PER_FRAME) {
            self.credit = self.credit.saturating_add(more).min(MOST_CREDIT);
            return 0;
        }
        let lack = LEAST_PER_FRAME.saturating_sub(bytes);
        let unpaid = lack.saturating_sub(self.credit);
        self.credit = self.credit.saturating_sub(lack);
        unpaid
    }

    /// The same for the frames of a batch: full ones, but for the last.
    pub(super) fn surcharge_batch(&mut self, bytes: usize) -> usize {
        let earned = (bytes / FRAME).saturating_mul(FRAME - LEAST_PER_FRAME);
        self.credit = self.credit.saturating_add(earned).min(MOST_CREDIT);
        match bytes % FRAME {
            0 => 0,
            last => self.surcharge(last),
        }
    }
}

impl Bucket {
    /// For sending, where a packet of up to `largest_packet` bytes must be paid in full before it
    /// starts. `None` if the rate is 0, which is no limit.
    ///
    /// Holds 5 ms of the rate, but one packet at least, with another 2 ms so that a late timer
    /// does not cost throughput. A full bucket is spent on top of the inflow, so the inflow is
    /// lowered by what that adds in a second.
    pub(super) fn sending(rate: u64, largest_packet: usize, now: Mono) -> Option<Self> {
        let capacity = (rate / 200).max((rate / 500).saturating_add(largest_packet as u64));
        let share = per_mille(capacity, rate)?;
        Some(Self::new(rate, 999u64.saturating_sub(share).clamp(981, 990), capacity, now))
    }

    /// For receiving, where anything is allowed as long as there are tokens, and a frame may be
    /// opened that holds more.
    pub(super) fn receiving(rate: u64, now: Mono) -> Option<Self> {
        // At the lowest rates a frame takes most of the 2 % alone.
        let most = (rate / 1000).saturating_mul(18).saturating_sub(FRAME as u64);
        let capacity = (rate / 200).min(most).max(rate / 500);
        let share = per_mille(capacity.saturating_add(FRAME as u64), rate)?;
        Some(Self::new(rate, 1019u64.saturating_sub(share).clamp(1001, 1010), capacity.max(1), now))
    }

    fn new(rate: u64, per_mille: u64, capacity: u64, now: Mono) -> Self {
        let capacity = tokens(capacity.into());
        Self { rate: rate.saturating_mul(per_mille), capacity, tokens: capacity, at: now }
    }

    pub(super) fn refill(&mut self, now: Mono) {
        let elapsed = i128::try_from(now.since(self.at).as_nanos()).unwrap_or(i128::MAX);
        let inflow = elapsed.saturating_mul(i128::from(self.rate));
        self.tokens = self.tokens.saturating_add(inflow).min(self.capacity);
        self.at = self.at.max(now);
    }

    /// Whole bytes that there are.
    pub(super) fn bytes(&self) -> usize {
        usize::try_from(self.tokens.max(0) / BYTE).unwrap_or(usize::MAX)
    }

    /// Whether this many bytes are there. A full bucket is enough for anything.
    pub(super) fn has(&self, bytes: usize) -> bool {
        self.tokens >= tokens(bytes as i128).min(self.capacity)
    }

    /// Takes bytes out; negative, puts them back.
    pub(super) fn take(&mut self, bytes: isize) {
        self.tokens = self.tokens.saturating_sub(tokens(bytes as i128)).min(self.capacity);
    }

    /// When to go on with so many bytes after there were too few: not before the bucket is half
    /// full, since a timer and a write for each packet cost more than what they carry.
    pub(super) fn ready_at(&self, bytes: usize) -> Mono {
        let target = tokens(bytes as i128).max(self.capacity / 2).min(self.capacity);
        let missing = target.saturating_sub(self.tokens).max(0) as u128;
        let nanos = missing.div_ceil(u128::from(self.rate));
        Mono::from_nanos(
            self.at.as_nanos().saturating_add(u64::try_from(nanos).unwrap_or(u64::MAX)),
        )
    }
}

/// Bytes, at most as many as a number of 64 bits tells, in [`BYTE`]ths.
#[expect(
    clippy::arithmetic_side_effects,
    reason = "64 bits and the 40 of `BYTE` are less than 127"
)]
fn tokens(bytes: i128) -> i128 {
    bytes * BYTE
}

/// `bytes` in thousandths of a second's worth.
fn per_mille(bytes: u64, rate: u64) -> Option<u64> {
    bytes.saturating_mul(1000).checked_div(rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refill_is_exact_however_often() {
        for rate in [1, 999, 64_001, 5_120_000, 1_250_000_007] {
            let mut often = Bucket::sending(rate, 1036, Mono::ZERO).unwrap();
            // Far in debt, so that nothing runs over in a month.
            let debt = isize::try_from(rate * 90 * 24 * 3600).unwrap();
            often.take(debt);
            let mut once = Bucket::sending(rate, 1036, Mono::ZERO).unwrap();
            once.take(debt);
            let mut now = Mono::ZERO;
            for step in 0..100_000u64 {
                now = now + Duration::from_nanos(1 + step * 7_919_993 % 51_840_000_007);
                often.refill(now);
            }
            assert!(now.as_nanos() > 29 * 24 * 3600 * 1_000_000_000);
            once.refill(now);
            assert_eq!(often.tokens, once.tokens);
        }
    }

    #[test]
    fn a_frame_costs_a_quarter_of_a_full_one_on_average() {
        let mut frames = Frames::default();
        assert_eq!(
            [frames.surcharge(0), frames.surcharge(1), frames.surcharge(256)],
            [256, 255, 0]
        );
        // What a packet leaves over for a second frame is paid by the first one.
        for _ in 0..1000 {
            assert_eq!([frames.surcharge(1024), frames.surcharge(12)], [0, 0]);
            assert_eq!(frames.surcharge_batch(1036), 0);
        }
        // Not for ever.
        let free = (0..1000).take_while(|_| frames.surcharge(1) == 0).count();
        assert!(free <= MOST_CREDIT / 255, "{free}");
        assert_eq!(frames.surcharge_batch(100), 156);
    }

    #[test]
    fn any_rate_and_any_time_are_possible() {
        for rate in [1, 2, 499, u64::MAX / 2, u64::MAX] {
            for mut bucket in [
                Bucket::sending(rate, 1 << 20, Mono::ZERO).unwrap(),
                Bucket::receiving(rate, Mono::ZERO).unwrap(),
            ] {
                assert!(bucket.has(usize::MAX) && bucket.bytes() > 0);
                while bucket.bytes() > 0 {
                    bucket.take(isize::try_from(bucket.bytes()).unwrap_or(isize::MAX));
                }
                let ready = bucket.ready_at(1);
                assert!(ready > Mono::ZERO);
                bucket.refill(ready);
                assert!(bucket.has(1));
                bucket.refill(Mono::from_nanos(u64::MAX));
                assert!(bucket.has(usize::MAX));
                bucket.refill(Mono::ZERO);
            }
        }
        assert!(Bucket::sending(0, 1036, Mono::ZERO).is_none());
        assert!(Bucket::receiving(0, Mono::ZERO).is_none());
    }

    #[test]
    fn a_meter_shows_what_flows_now_and_forgets_it_in_two_seconds() {
        let mut meter = Meter::default();
        let at = |ms| Mono::ZERO + 10 * SECOND + Duration::from_millis(ms);
        assert_eq!(meter.rate(at(0)), 0);
        // Evenly, 7 bytes a millisecond.
        for ms in 500..5500 {
            meter.add(7, at(ms));
            let rate = meter.rate(at(ms));
            let shown = if ms < 1500 { 7 * (ms - 499) } else { 7000 };
            assert!(rate.abs_diff(shown) <= 7, "{rate} after {ms} ms");
        }
        let last = meter.rate(at(5499));
        let mut before = last;
        for ms in (5500..7500).step_by(100) {
            let rate = meter.rate(at(ms));
            assert!(rate <= before, "{rate} after {ms} ms");
            before = rate;
        }
        assert_eq!((meter.rate(at(7500)), meter.rate(at(100_000))), (0, 0));
        // Who asks has looked at the clock a little before, and the time of long silence is no second.
        assert_eq!((last, meter.rate(at(5499 - 100))), (7007, 7707));
        assert_eq!(meter.rate(at(0)), 14_000, "no more than all there is");
        meter.add(50, at(100_000));
        assert_eq!((meter.rate(at(100_000)), meter.rate(at(100_999))), (50, 50));
    }

    #[test]
    fn holds_five_milliseconds_or_a_packet() {
        let held = |rate| Bucket::sending(rate, 1036, Mono::ZERO).unwrap().bytes();
        assert_eq!(held(1000), 1036 + 2);
        assert_eq!(held(5_120_000), 25_600);
        assert_eq!(held(1_250_000_000), 6_250_000);
        for rate in [64_000, 1_000_000, 1_250_000_000] {
            assert!(Bucket::receiving(rate, Mono::ZERO).unwrap().bytes() as u64 <= rate / 200);
        }
    }

    #[test]
    fn a_batch_earns_and_pays_what_its_frames_would_one_by_one() {
        for bytes in [1, 255, FRAME, FRAME + 1, 3 * FRAME, 5 * FRAME + 300, 9 * FRAME + 1] {
            let (mut batch, mut single) = (Frames::default(), Frames::default());
            let paid = (0..bytes / FRAME).map(|_| single.surcharge(FRAME)).sum::<usize>();
            let last = bytes % FRAME;
            let paid = paid + if last > 0 { single.surcharge(last) } else { 0 };
            assert_eq!(batch.surcharge_batch(bytes), paid, "{bytes}");
            assert_eq!(batch.credit, single.credit, "{bytes}");
        }
    }
}
