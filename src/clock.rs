//! Where [`Now`] comes from outside of simulations.

use std::time::{Duration, Instant, SystemTime};

use crate::time::{Mono, Now, Wall};

/// The clocks of the machine, with the switch's start as the origin of monotonic time. Copies agree
/// with each other: a leap of the wall clock is believed by all of a switch's threads or by none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
    /// What the wall clock showed at the origin.
    wall: SystemTime,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { origin: Instant::now(), wall: shown() }
    }

    /// The same clock where it is this time now, whatever the machine's clock shows.
    pub(crate) fn set_to(self, wall: SystemTime) -> Self {
        Self { wall: wall.before(self.origin.elapsed()), ..self }
    }

    pub(crate) fn now(&self) -> Now {
        let elapsed = self.origin.elapsed();
        Now::believed(Mono::ZERO + elapsed, shown(), self.wall.after(elapsed))
    }

    pub(crate) fn mono(&self) -> Mono {
        Mono::ZERO + self.origin.elapsed()
    }

    /// How long until `deadline`.
    pub(crate) fn until(&self, deadline: Mono) -> Duration {
        deadline.since(self.mono())
    }
}

/// What the machine's wall clock shows; 1970 if that is before it.
fn shown() -> SystemTime {
    SystemTime::now().max(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As if it had been 1970, or twenty years from now, when the switch started.
    #[test]
    fn a_clock_that_was_set_to_another_time_goes_on_from_there() {
        let years = Duration::from_secs(20 * 365 * 24 * 3600);
        for wall in [SystemTime::UNIX_EPOCH + Duration::from_secs(5), shown() + years] {
            let now = Clock::start().set_to(wall).now().wall;
            assert!(wall <= now && now < wall + Duration::from_secs(3600), "{now:?}");
        }
        // It is believed again as soon as it may well be right.
        let now = Clock::start().set_to(shown() - Duration::from_secs(7 * 24 * 3600)).now().wall;
        assert!(shown().since(now) < Duration::from_secs(3600));
    }
}
