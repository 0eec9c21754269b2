//! Time as an argument: no decision reads a clock, every decision is given [`Now`].

use std::{
    ops::{Add, Sub},
    time::Duration,
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
    pub(crate) fn between(expected: Duration, shown: Duration) -> Option<Self> {
        let (back, forward) = (expected.saturating_sub(shown), shown.saturating_sub(expected));
        if back > BACK {
            Some(Self::Back(back))
        } else {
            (forward > FORWARD).then_some(Self::Forward(forward))
        }
    }

    /// The same moment by the clock after the leap; no earlier than 1970.
    pub(crate) fn of(self, time: Duration) -> Duration {
        match self {
            Self::Back(by) => time.saturating_sub(by),
            Self::Forward(by) => time.saturating_add(by),
        }
    }
}

/// The time of one step: for intervals the monotonic clock, for what is stored or shown the
/// wall clock, which may jump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Monotonic time.
    pub mono: Mono,
    /// Time since the Unix epoch.
    pub wall: Duration,
}

impl Now {
    /// A step at this time, where the wall clock shows `shown` and should show `expected`. It is
    /// believed if that may well be. A clock that leaps by years is wrong now or was before, and
    /// neither is a reason to take every ban for over and everybody who was found for lost.
    pub fn believed(mono: Mono, shown: Duration, expected: Duration) -> Self {
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

    #[test]
    fn a_clock_is_believed_unless_it_leaps() {
        let believed = |shown, expected| Now::believed(Mono::ZERO, shown, expected).wall;
        let (second, now) = (Duration::from_secs(1), Duration::from_secs(1_700_000_000));
        let year = 365 * 24 * 3600 * second;
        for shown in [now, now - BACK, now + second, now + FORWARD] {
            assert_eq!(believed(shown, now), shown);
        }
        for shown in [Duration::ZERO, now - BACK - second, now + FORWARD + second, now + 20 * year]
        {
            assert_eq!(believed(shown, now), now);
            let leap = Leap::between(now, shown).unwrap();
            assert_eq!(leap.of(now), shown);
        }
        assert_eq!(Leap::Back(now).of(second), Duration::ZERO);
    }
}
