//! Who has begun a connection.

use std::time::Duration;

use crate::{
    event_loop::{Report, door::Place},
    identity::NodeId,
    reactor::DisconnectReason,
    time::Mono,
};

/// Who has begun the connection.
#[derive(Debug)]
pub(super) enum Origin {
    Dialed(Dial),
    Accepted(Place),
}

/// What the switch wants of a dial. Whatever becomes of it, the switch is told once: see
/// [`fail`](Self::fail), or the report that it is established.
#[derive(Debug)]
pub(super) struct Dial {
    pub(super) ticket: u64,
    /// Who must be there.
    pub(super) expected: NodeId,
    /// When it must be established, whatever the time-outs of its stages, and how long that is.
    pub(super) until: Option<(Mono, Duration)>,
}

impl Dial {
    /// When a stage must be over that has this time, and all of the dial.
    pub(super) fn deadline(&self, time: Duration, now: Mono) -> Mono {
        let deadline = now + time;
        self.until.map_or(deadline, |(until, _)| until.min(deadline))
    }

    /// The time that a stage with this deadline was given: if not this one, then that for all of
    /// the dial.
    pub(super) fn time_given(&self, deadline: Mono, configured: Duration) -> Duration {
        let within = self.until.filter(|(until, _)| *until == deadline);
        within.map_or(configured, |(_, within)| within)
    }

    pub(super) fn fail(self, reason: DisconnectReason) -> Report {
        Report::DialFailed { ticket: self.ticket, reason }
    }
}
