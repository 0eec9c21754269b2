//! One connection as the loop holds it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use super::{
    handshaking::NODE_INFO_TIMEOUT,
    inflow::{Inflow, Parking},
    outflow::Outflow,
    pool::Place,
    stall::Stall,
};
use crate::{
    identity::NodeId,
    ids::{ConnId, Direction},
    node_info::NodeInfo,
    protocol::{Link, secret::Cipher},
    reactor::{CloseMode, DisconnectReason, Session},
    time::{Mono, earliest},
};

/// A connection, from `connect` or `accept` to close.
pub(super) struct Conn<C: Cipher> {
    pub(super) id: ConnId,
    pub(super) direction: Direction,
    pub(super) remote: SocketAddr,
    /// Of the dial, for an outbound one.
    pub(super) ticket: Option<u64>,
    /// Who must be there, for an outbound one.
    pub(super) expected: Option<NodeId>,
    pub(super) stage: Stage,
    /// When the stage must be over.
    pub(super) deadline: Option<Mono>,
    /// When a dial must be established, whatever the time-outs of its stages, and how long that is.
    pub(super) until: Option<(Mono, Duration)>,
    pub(super) link: Option<Link<C>>,
    /// A reactor was faster than the switch's `Admit`, which brings what is to be flushed.
    pub(super) flush_once_admitted: Option<CloseMode>,
    /// From admission on.
    pub(super) opened: Option<Box<Opened>>,

    // The socket. Readiness is edge-triggered, so it is remembered here.
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// The kernel said that the peer has closed; a short read no longer means "nothing more".
    pub(super) hung_up: bool,
    /// The end of the input was read. What arrived before it is still to be delivered.
    pub(super) end: Option<DisconnectReason>,
    /// A write failed: nothing more is written, but what has arrived is read to its end.
    pub(super) write_failed: bool,
    /// Sealed bytes received and not opened: less than a frame, unless reading is suspended.
    pub(super) inbuf: Vec<u8>,
    /// Sealed bytes to write, and how many of them are written.
    pub(super) out: Vec<u8>,
    pub(super) out_at: usize,

    /// `Established` was reported, so that exactly one `Closed` must be.
    pub(super) is_established: bool,
    /// `Ending` was reported.
    pub(super) is_ending_told: bool,
    /// An accepted one, until it is a session; also once it is refused and not closed yet.
    pub(super) place: Option<Place>,
    /// The handshake may begin though the peer has sent nothing.
    pub(super) may_begin: bool,
}

/// Where a connection stands.
#[derive(Debug)]
pub(super) enum Stage {
    /// Waits for the connection.
    Connecting,
    /// The verdict of the connection filters is the switch's; nothing is sent or read.
    AwaitingFilter,
    /// Secret connection and NodeInfo.
    Handshaking,
    /// The verdict is the switch's. With the peer's NodeInfo the switch was not asked yet;
    /// else `Established` was reported.
    AwaitingAdmission(Option<Box<NodeInfo>>),
    /// Messages flow.
    Open,
    /// We end it: write what is to be written, close our half, discard what still arrives.
    Closing {
        /// Reported at the end.
        reason: DisconnectReason,
        /// Everything accepted is cut and written first.
        flush: bool,
        /// Our half is closed.
        is_shut: bool,
    },
}

/// What an admitted connection has beside.
pub(super) struct Opened {
    pub(super) session: Arc<Session>,
    pub(super) inflow: Inflow,
    pub(super) outflow: Outflow,
    /// The session's queues are to be looked at.
    pub(super) is_dirty: bool,
    /// Something is cut halfway or taken and not cut.
    pub(super) is_pending: bool,
    /// The send rate allows nothing before.
    pub(super) send_after: Option<Mono>,
    /// The receive rate allows nothing before.
    pub(super) recv_after: Option<Mono>,
    /// When the first waiting entry of a broadcast expires.
    pub(super) expires: Option<Mono>,
    /// Whether the peer takes what is written.
    pub(super) stall: Stall,
    /// Bytes counted in the pool of unfinished messages.
    pub(super) pooled: usize,
    /// The link was told that we do not read to the end.
    pub(super) is_suspended: bool,
    /// The first message was reported.
    pub(super) has_reported_first: bool,
    /// The peer has ended or broken the connection: sending is over.
    pub(super) is_ending: bool,
    /// A sign of life is to be reported.
    pub(super) is_probed: bool,
}

impl<C: Cipher> Conn<C> {
    pub(super) fn new(id: ConnId, direction: Direction, remote: SocketAddr, stage: Stage) -> Self {
        Self {
            id,
            direction,
            remote,
            ticket: None,
            expected: None,
            stage,
            deadline: None,
            until: None,
            link: None,
            flush_once_admitted: None,
            opened: None,
            readable: false,
            // An accepted socket takes bytes at once; one that connects tells when it stands.
            writable: direction == Direction::Inbound,
            hung_up: false,
            end: None,
            write_failed: false,
            inbuf: Vec::new(),
            out: Vec::new(),
            out_at: 0,
            is_established: false,
            is_ending_told: false,
            place: None,
            // Who dials speaks first.
            may_begin: direction == Direction::Outbound,
        }
    }

    /// The stage of a dial must be over after this time, or earlier if all of the dial must.
    pub(super) fn give(&mut self, time: Duration, now: Mono) {
        self.deadline = earliest(Some(now + time), self.until.map(|(until, _)| until));
    }

    /// The time that the stage of a dial was given by its deadline, if not this one then that for
    /// all of the dial.
    pub(super) fn time_given(&self, configured: Duration) -> Duration {
        let within = self.until.filter(|(until, _)| self.deadline == Some(*until));
        within.map_or(configured, |(_, within)| within)
    }

    /// The time that its handshake was given: who is authenticated has less for the rest.
    pub(super) fn handshake_time(&self, configured: Duration) -> Duration {
        let given = self.time_given(configured);
        let is_idle = self.place.is_some() && self.link.as_ref().and_then(Link::peer_id).is_some();
        if is_idle { given.min(NODE_INFO_TIMEOUT) } else { given }
    }

    /// Whether sealed bytes wait to be written.
    pub(super) fn has_output(&self) -> bool {
        self.out_at < self.out.len()
    }

    /// When something is due.
    pub(super) fn next_deadline(&self) -> Option<Mono> {
        let mut next = self.deadline;
        if let Some(opened) = &self.opened {
            next = earliest(next, opened.send_after);
            next = earliest(next, opened.recv_after);
            next = earliest(next, opened.expires);
            if !opened.is_ending && matches!(self.stage, Stage::Open) {
                next = earliest(next, opened.stall.deadline(opened.session.send_timeout));
            }
        }
        // Once either side has ended the connection, nobody acts on keep-alive: a deadline that is
        // never met would keep the loop running in circles.
        let is_ending = self.opened.as_ref().is_none_or(|opened| opened.is_ending);
        if matches!(self.stage, Stage::Open) && !is_ending {
            next = earliest(next, self.link.as_ref().and_then(Link::next_deadline));
        }
        next
    }
}

impl Opened {
    pub(super) fn new(session: Arc<Session>, reactors: usize) -> Self {
        Self {
            inflow: Inflow::new(reactors),
            outflow: Outflow::new(session.channels.len()),
            session,
            is_dirty: true,
            is_pending: false,
            send_after: None,
            recv_after: None,
            expires: None,
            stall: Stall::default(),
            pooled: 0,
            is_suspended: false,
            has_reported_first: false,
            is_ending: false,
            is_probed: false,
        }
    }

    /// The session is over: what was not delivered and not sent is dropped.
    pub(super) fn end(&mut self, parking: &mut Parking) {
        self.inflow.clear(parking);
        self.outflow.clear(&self.session);
        self.session.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::secret::{ChaCha, Handshake};

    /// What `Config` says of the memory that a silent stranger takes rests on these.
    #[test]
    fn a_silent_connection_is_small() {
        assert!(size_of::<Conn<ChaCha>>() <= 512, "{}", size_of::<Conn<ChaCha>>());
        assert!(size_of::<Handshake<ChaCha>>() <= 128, "{}", size_of::<Handshake<ChaCha>>());
        let conn = Conn::<ChaCha>::new(
            ConnId::new(0, 0, 0),
            Direction::Inbound,
            ([127, 0, 0, 1], 1).into(),
            Stage::Handshaking,
        );
        assert_eq!((conn.inbuf.capacity(), conn.out.capacity()), (0, 0));
    }
}
