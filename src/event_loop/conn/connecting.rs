//! A dial, until the connection stands.

use std::time::Duration;

use super::{Facts, Handshaking, Next, Socket, Stage, context::Context};
use crate::{
    event_loop::{Inbox, Report, Sockets},
    identity::NodeId,
    protocol::secret::Cipher,
    reactor::DisconnectReason,
    time::Mono,
};

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

/// Waits for the connection.
#[derive(Debug)]
pub(super) struct Connecting {
    pub(super) dial: Dial,
    pub(super) deadline: Mono,
}

impl Connecting {
    pub(super) fn new(dial: Dial, timeout: Duration, now: Mono) -> Self {
        let deadline = dial.deadline(timeout, now);
        Self { dial, deadline }
    }

    pub(super) fn run<S: Sockets, I: Inbox, C: Cipher>(
        self,
        facts: &Facts,
        socket: &mut Socket,
        cx: &mut Context<S, I>,
    ) -> (Stage<C>, Next) {
        if !socket.writable {
            return (Stage::Connecting(self), Next::Wait);
        }
        match cx.sockets.connect_result(facts.id.slot()) {
            Ok(true) => {
                let handshaking = Handshaking::dialed(self.dial, cx);
                Box::new(handshaking).run(facts, socket, cx)
            }
            Ok(false) => {
                socket.writable = false;
                (Stage::Connecting(self), Next::Wait)
            }
            Err(error) => (Stage::Connecting(self), Next::Over(DisconnectReason::from_io(&error))),
        }
    }

    /// Why it is over once its deadline has come.
    pub(super) fn timeout(&self, dial_timeout: Duration) -> DisconnectReason {
        DisconnectReason::DialTimeout(self.dial.time_given(self.deadline, dial_timeout))
    }
}
