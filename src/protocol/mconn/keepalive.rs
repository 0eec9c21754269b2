//! Pings, pongs and the question whether the peer is still there.

use crate::time::{Mono, earliest};
use std::time::Duration;

/// Pongs that a peer gets at once for as many pings, before [`PONG_PACE`] holds them back. A real
/// peer pings once a minute.
const PONG_BURST: u32 = 8;

/// Beyond the burst, one pong in this time: a flood of pings (3 bytes each) would otherwise be
/// answered byte for byte, each at the price of a 1044-byte frame. Far below any peer's time-out
/// (45 s), so that no honest peer ever misses an answer.
const PONG_PACE: Duration = Duration::from_millis(100);

/// How far the pace may be paid for ahead of the time.
const PONG_HEADROOM: Duration = PONG_PACE.saturating_mul(PONG_BURST - 1);

/// The least time between two pings, or two pongs that nobody asked for.
const LEAST_INTERVAL: Duration = Duration::from_millis(1);

/// So many unsolicited pongs go out after we have begun to read again. What the peer has written
/// before is not all here by then: it lies in its kernel, behind a window that was shut, and when
/// the packet that opens the window is lost, the kernel asks again after as long a pause as it has
/// been shut, 2 minutes at most. Its pings lie there, too.
const PONGS_AFTER: u32 = 6;

/// Keep-alive of one connection.
#[derive(Debug)]
pub(super) struct KeepAlive {
    ping_interval: Duration,
    pong_timeout: Duration,
    unsolicited_pong_interval: Duration,

    next_ping: Option<Mono>,
    wants_ping: bool,
    /// We asked and have not heard anything since.
    is_asking: bool,
    /// When silence means that the peer is gone; unset while we do not listen.
    pong_deadline: Option<Mono>,
    /// When the last ping was written, if its pong can still tell the round-trip time.
    ping_sent: Option<Mono>,
    rtt: Option<Duration>,

    wants_pong: bool,
    /// When a pong may go out that the pace held back.
    pong_at: Option<Mono>,
    /// Until when the pace of pongs is paid for.
    pongs_paid_until: Mono,
    is_suspended: bool,
    /// When the next unsolicited pong is due, if we have not read everything lately.
    unsolicited_at: Option<Mono>,
    /// How many follow if we read everything from now on.
    unsolicited_left: u32,
}

/// The peer was silent for too long.
pub(super) struct Silent;

impl KeepAlive {
    pub(super) fn new(
        ping_interval: Duration,
        pong_timeout: Duration,
        unsolicited_pong_interval: Duration,
        now: Mono,
    ) -> Self {
        Self {
            ping_interval,
            pong_timeout,
            unsolicited_pong_interval,
            next_ping: (!ping_interval.is_zero()).then(|| now + ping_interval),
            wants_ping: false,
            is_asking: false,
            pong_deadline: None,
            ping_sent: None,
            rtt: None,
            wants_pong: false,
            pong_at: None,
            pongs_paid_until: now,
            is_suspended: false,
            unsolicited_at: None,
            unsolicited_left: 0,
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Mono> {
        [self.pong_deadline, self.pong_at, self.unsolicited_at]
            .into_iter()
            .fold(self.next_ping, earliest)
    }

    pub(super) fn handle_timeout(&mut self, now: Mono) -> Result<(), Silent> {
        if is_due(self.pong_deadline, now) {
            return Err(Silent);
        }
        if let Some(due) = self.next_ping.filter(|&due| due <= now) {
            self.next_ping = Some(due.next_tick(self.ping_interval.max(LEAST_INTERVAL), now));
            self.ask(now);
        }
        if let Some(due) = self.unsolicited_at.filter(|&due| due <= now) {
            self.wants_pong = true;
            self.unsolicited_left = match self.is_suspended {
                true => PONGS_AFTER,
                false => self.unsolicited_left.saturating_sub(1),
            };
            let next = due.next_tick(self.unsolicited_interval(), now);
            self.unsolicited_at = (self.unsolicited_left > 0).then_some(next);
        }
        self.release_pong(now);
        Ok(())
    }

    /// Sends a ping now, unless one is unanswered.
    pub(super) fn probe(&mut self, now: Mono) {
        if !self.is_asking && !self.wants_ping {
            self.ask(now);
        }
    }

    fn ask(&mut self, now: Mono) {
        self.wants_ping = true;
        self.is_asking = true;
        // The clock runs from here, not from the writing: a peer that stopped reading and
        // sending must not live on because our ping is stuck behind data.
        if !self.is_suspended && self.pong_deadline.is_none() {
            self.pong_deadline = Some(now + self.pong_timeout);
        }
    }

    /// Any byte of the peer proves that it is there.
    pub(super) fn on_bytes(&mut self) {
        self.is_asking = false;
        self.pong_deadline = None;
    }

    /// Notes a ping; whether it is one within the pace.
    pub(super) fn on_ping(&mut self, now: Mono) -> bool {
        // One pong answers all pings before it: Go's timer stops at any.
        if self.wants_pong || self.pong_at.is_some() {
            return false;
        }
        if self.pongs_paid_until <= now + PONG_HEADROOM {
            self.pongs_paid_until = self.pongs_paid_until.max(now) + PONG_PACE;
            self.wants_pong = true;
            true
        } else {
            let early = self.pongs_paid_until.since(now + PONG_HEADROOM);
            self.pong_at = Some(now + early);
            false
        }
    }

    /// Notes a pong; whether it answers a ping.
    pub(super) fn on_pong(&mut self, now: Mono) -> bool {
        let sent = self.ping_sent.take();
        if let Some(sent) = sent {
            self.rtt = Some(now.since(sent));
        }
        sent.is_some()
    }

    pub(super) fn suspend_reading(&mut self, now: Mono) {
        if std::mem::replace(&mut self.is_suspended, true) {
            return;
        }
        self.unsolicited_left = PONGS_AFTER;
        // A reader that takes a little now and then must not put it off each time.
        if self.unsolicited_at.is_none() {
            self.unsolicited_at = Some(now + self.unsolicited_interval());
        }
        self.pong_deadline = None;
        // It would measure our own pause.
        self.ping_sent = None;
    }

    pub(super) fn resume_reading(&mut self, now: Mono) {
        if std::mem::take(&mut self.is_suspended) && self.is_asking {
            self.pong_deadline = Some(now + self.pong_timeout);
        }
    }

    /// Whether a ping or a pong is to be written.
    pub(super) fn wants_control(&self) -> bool {
        self.wants_ping || self.wants_pong
    }

    /// Takes the pong to write. Before the ping: the peer's timer is already running.
    pub(super) fn take_pong(&mut self) -> bool {
        std::mem::take(&mut self.wants_pong)
    }

    /// Takes the ping to write.
    pub(super) fn take_ping(&mut self, now: Mono) -> bool {
        if self.wants_ping && !self.is_suspended {
            self.ping_sent = Some(now);
        }
        std::mem::take(&mut self.wants_ping)
    }

    /// Lets a held back pong go whose time has come.
    pub(super) fn release_pong(&mut self, now: Mono) {
        if is_due(self.pong_at, now) {
            self.pong_at = None;
            if !self.wants_pong {
                self.pongs_paid_until = self.pongs_paid_until.max(now) + PONG_PACE;
                self.wants_pong = true;
            }
        }
    }

    fn unsolicited_interval(&self) -> Duration {
        self.unsolicited_pong_interval.max(LEAST_INTERVAL)
    }

    pub(super) fn rtt(&self) -> Option<Duration> {
        self.rtt
    }
}

fn is_due(deadline: Option<Mono>, now: Mono) -> bool {
    deadline.is_some_and(|deadline| deadline <= now)
}
