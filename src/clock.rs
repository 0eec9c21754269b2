//! Where [`Now`] comes from outside of simulations.

use std::time::{Duration, Instant, SystemTime};

use crate::time::{Mono, Now};

/// The clocks of the machine, with the switch's start as the origin of monotonic time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { origin: Instant::now() }
    }

    pub(crate) fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Now { mono: self.mono(), wall }
    }

    pub(crate) fn mono(&self) -> Mono {
        Mono::ZERO + self.origin.elapsed()
    }

    /// How long until `deadline`.
    pub(crate) fn until(&self, deadline: Mono) -> Duration {
        deadline.since(self.mono())
    }
}
