//! Time as an argument: no decision reads a clock, every decision is given [`Now`].

use std::{
    ops::{Add, Sub},
    time::{Duration, SystemTime},
};

/// A point on a clock that never goes back, in nanoseconds since an origin that the driver
/// chose (the start of the switch, or of a simulation).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(u64);

impl Mono {
    /// The origin.
    pub const ZERO: Self = Self(0);

    /// The point this many nanoseconds after the origin.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time from `earlier` to this point; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The first point after `now` in steps of so long from this one: like Go's ticker, which drops the
    /// ticks that nobody took.
    pub(crate) fn next_tick(self, step: Duration, now: Self) -> Self {
        let step = u64::try_from(step.as_nanos()).unwrap_or(u64::MAX);
        let since_last = now.0.saturating_sub(self.0).checked_rem(step).unwrap_or_default();
        Self(now.0.max(self.0).saturating_sub(since_last).saturating_add(step))
    }
}

impl Add<Duration> for Mono {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub for Mono {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

/// A point on the wall clock, whatever a clock shows or a store gives: nothing here panics.
pub trait Wall: Copy {
    /// So long after it. No later than the last second of the year 2262 that 64 bits of nanoseconds since
    /// 1970 tell: every store and every calendar can hold it. Unless it is already later.
    fn after(self, duration: Duration) -> Self;
    /// So long before it, no earlier than 1970.
    fn before(self, duration: Duration) -> Self;
    /// Time from `earlier` to it; zero if `earlier` is later.
    fn since(self, earlier: Self) -> Duration;
}

impl Wall for SystemTime {
    fn after(self, duration: Duration) -> Self {
        let last = Self::UNIX_EPOCH + Duration::from_secs(i64::MAX.unsigned_abs() / 1_000_000_000);
        match self.checked_add(duration) {
            Some(time) if time <= last || self > last => time,
            _ => last.max(self),
        }
    }

    fn before(self, duration: Duration) -> Self {
        self.checked_sub(duration).map_or(Self::UNIX_EPOCH, |time| time.max(Self::UNIX_EPOCH))
    }

    fn since(self, earlier: Self) -> Duration {
        self.duration_since(earlier).unwrap_or_default()
    }
}

/// How far a clock may be set back, and set forward, to be believed: a machine that was suspended for
/// months wakes up to a clock that is right, and a person who mistakes a time zone is a day off at
/// most.
const BACK: Duration = Duration::from_secs(24 * 3600);
const FORWARD: Duration = Duration::from_secs(366 * 24 * 3600);

/// A wall clock was set by more than anybody can mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leap {
    Back(Duration),
    Forward(Duration),
}

impl Leap {
    /// From what a clock should show to what it shows; `None`: that may well be.
    pub(crate) fn between(expected: SystemTime, shown: SystemTime) -> Option<Self> {
        let (back, forward) = (expected.since(shown), shown.since(expected));
        if back > BACK {
            Some(Self::Back(back))
        } else {
            (forward > FORWARD).then_some(Self::Forward(forward))
        }
    }

    /// The same moment by the clock after the leap; no earlier than 1970.
    pub(crate) fn of(self, time: SystemTime) -> SystemTime {
        match self {
            Self::Back(by) => time.before(by),
            Self::Forward(by) => time.after(by),
        }
    }
}

/// The time of one step: for intervals the monotonic clock, for what is stored or shown the
/// wall clock, which may jump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic time.
    pub mono: Mono,
    /// What the wall clock shows, no earlier than 1970.
    pub wall: SystemTime,
}

impl Now {
    /// A step at this time, where the wall clock shows `shown` and should show `expected`. It is
    /// believed if that may well be. A clock that leaps by years is wrong now or was before, and
    /// neither is a reason to take every ban for over and everybody who was found for lost.
    pub fn believed(mono: Mono, shown: SystemTime, expected: SystemTime) -> Self {
        let is_leap = Leap::between(expected, shown).is_some();
        Self { mono, wall: if is_leap { expected } else { shown } }
    }
}

/// The earlier of two optional deadlines, where `None` is never.
pub(crate) fn earliest(a: Option<Mono>, b: Option<Mono>) -> Option<Mono> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const EPOCH: SystemTime = SystemTime::UNIX_EPOCH;

    #[test]
    fn a_clock_is_believed_unless_it_leaps() {
        let believed = |shown, expected| Now::believed(Mono::ZERO, shown, expected).wall;
        let (since, year) = (1_700_000_000 * SECOND, 365 * 24 * 3600 * SECOND);
        let now = EPOCH + since;
        for shown in [now, now - BACK, now + SECOND, now + FORWARD] {
            assert_eq!(believed(shown, now), shown);
        }
        for shown in [EPOCH, now - BACK - SECOND, now + FORWARD + SECOND, now + 20 * year] {
            assert_eq!(believed(shown, now), now);
            let leap = Leap::between(now, shown).unwrap();
            assert_eq!(leap.of(now), shown);
        }
        assert_eq!(Leap::Back(since).of(EPOCH + SECOND), EPOCH);
    }

    /// The edges of the calendar, of which none panics.
    #[test]
    fn no_time_is_too_absurd_to_reckon_with() {
        let last = EPOCH.after(Duration::MAX);
        assert_eq!(last.since(EPOCH), Duration::from_secs(9_223_372_036));
        assert_eq!((last - SECOND).after(SECOND), last);
        assert_eq!((last - SECOND).after(2 * SECOND), last);
        let (early, late) = (EPOCH - 9 * SECOND, last + 9 * SECOND);
        assert_eq!((late.after(SECOND), late.after(Duration::MAX)), (late + SECOND, late));
        assert_eq!((early.after(SECOND), early.after(Duration::MAX)), (early + SECOND, last));
        assert_eq!([early, EPOCH, last].map(|time| time.before(Duration::MAX)), [EPOCH; 3]);
        assert_eq!((early.before(SECOND), late.before(10 * SECOND)), (EPOCH, last - SECOND));
        assert_eq!((late.since(last), early.since(EPOCH)), (9 * SECOND, Duration::ZERO));
    }
}
