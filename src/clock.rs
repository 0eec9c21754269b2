//! Where [`Now`] comes from.

#[cfg(feature = "testing")]
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::Receiver;

use crate::time::{Mono, Now, Wall};

/// The clocks of the machine, with the switch's start as the origin of monotonic time. Copies agree
/// with each other: a leap of the wall clock is believed by all of a switch's threads or by none.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    source: Source,
    /// What the wall clock showed at the origin.
    wall: SystemTime,
}

#[derive(Clone, Debug)]
enum Source {
    /// The machine's time since then.
    Machine(Instant),
    /// Nanoseconds that somebody else lets pass.
    #[cfg(feature = "testing")]
    Virtual(Arc<AtomicU64>),
}

/// When virtual time begins: in November 2023.
#[cfg(feature = "testing")]
const VIRTUAL: Duration = Duration::from_secs(1_700_000_000);

impl Clock {
    pub(crate) fn start() -> Self {
        Self { source: Source::Machine(Instant::now()), wall: shown() }
    }

    /// A clock that shows these nanoseconds. What its wall clock shows never leaps.
    #[cfg(feature = "testing")]
    pub(crate) fn of(nanos: Arc<AtomicU64>) -> Self {
        Self { source: Source::Virtual(nanos), wall: SystemTime::UNIX_EPOCH + VIRTUAL }
    }

    fn elapsed(&self) -> Duration {
        match &self.source {
            Source::Machine(origin) => origin.elapsed(),
            #[cfg(feature = "testing")]
            Source::Virtual(nanos) => Duration::from_nanos(nanos.load(Relaxed)),
        }
    }

    /// The same clock where it is this time now, whatever the machine's clock shows.
    pub(crate) fn set_to(self, wall: SystemTime) -> Self {
        Self { wall: wall.before(self.elapsed()), ..self }
    }

    pub(crate) fn now(&self) -> Now {
        let elapsed = self.elapsed();
        let expected = self.wall.after(elapsed);
        let shown = match &self.source {
            Source::Machine(_) => shown(),
            #[cfg(feature = "testing")]
            Source::Virtual(_) => expected,
        };
        Now::believed(Mono::ZERO + elapsed, shown, expected)
    }

    pub(crate) fn mono(&self) -> Mono {
        Mono::ZERO + self.elapsed()
    }

    /// Whether nobody waits for it.
    pub(crate) fn is_virtual(&self) -> bool {
        !matches!(self.source, Source::Machine(_))
    }

    /// What comes next, waited for until the deadline; in virtual time only what is there.
    pub(crate) fn receive<T>(&self, from: &Receiver<T>, deadline: Option<Mono>) -> Option<T> {
        match (&self.source, deadline) {
            (Source::Machine(_), Some(deadline)) => from.recv_timeout(self.until(deadline)).ok(),
            (Source::Machine(_), None) => from.recv().ok(),
            #[cfg(feature = "testing")]
            (Source::Virtual(_), _) => from.try_recv().ok(),
        }
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
