//! A session's connection: reading, delivering, cutting, writing.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use super::{
    Closing, Context, Facts, Next, Socket,
    closing::Leaving,
    inflow::{Delivery, Inflow},
    outflow::{Outflow, Supply},
    stall::{self, Stall},
};
use crate::{
    event_loop::{Report, Sockets},
    protocol::{
        LinkError, link,
        secret::{Cipher, FRAME_SEALED},
    },
    reactor::{DisconnectReason, Event, Inbox, Peer, Session},
    time::{Mono, earliest},
};

/// Messages flow.
pub(in crate::event_loop) struct Open<C: Cipher> {
    pub(super) session: Arc<Session>,
    link: link::Open<C>,
    inflow: Inflow,
    outflow: Outflow,
    /// The session's queues are to be looked at.
    is_dirty: bool,
    /// Something is cut halfway or taken and not cut.
    is_pending: bool,
    /// The send rate allows nothing before.
    send_after: Option<Mono>,
    /// The receive rate allows nothing before.
    recv_after: Option<Mono>,
    /// When the first waiting entry of a broadcast expires.
    expires: Option<Mono>,
    /// Whether the peer takes what is written.
    stall: Stall,
    /// Bytes counted in the pool of unfinished messages.
    pooled: usize,
    /// The link was told that we do not read to the end.
    is_suspended: bool,
    /// The first message was reported.
    has_reported_first: bool,
    /// The peer has ended or broken the connection: sending is over, and what has arrived is to be
    /// delivered until then.
    ends_at: Option<Mono>,
    /// `Ending` was reported.
    is_ending_told: bool,
    /// A sign of life is to be reported.
    is_probed: bool,
}

impl<C: Cipher> Open<C> {
    pub(super) fn new(
        session: Arc<Session>,
        link: link::Open<C>,
        reactors: usize,
        is_ending_told: bool,
    ) -> Self {
        Self {
            inflow: Inflow::new(reactors),
            outflow: Outflow::new(session.channels.len()),
            session,
            link,
            is_dirty: true,
            is_pending: false,
            send_after: None,
            recv_after: None,
            expires: None,
            stall: Stall::default(),
            pooled: 0,
            is_suspended: false,
            has_reported_first: false,
            ends_at: None,
            is_ending_told,
            is_probed: false,
        }
    }

    /// What is undelivered of it.
    pub(super) fn has_undelivered(&self) -> bool {
        !self.inflow.is_empty()
    }

    /// Bytes of its unfinished messages; whether its place is reserved.
    pub(super) fn pooled(&self) -> (usize, bool) {
        (self.pooled, self.session.is_reserved())
    }

    /// When there is something to do though nothing happens.
    pub(super) fn next_deadline(&self) -> Option<Mono> {
        let mut next = self.ends_at;
        next = earliest(next, self.send_after);
        next = earliest(next, self.recv_after);
        next = earliest(next, self.expires);
        if self.ends_at.is_none() {
            // Once the peer has ended the connection, nobody acts on these: a deadline that is never
            // met would keep the loop running in circles.
            next = earliest(next, self.stall.deadline(self.session.send_timeout));
            next = earliest(next, self.link.next_deadline());
        }
        next
    }

    /// Its peer has ended the stream, and a reactor did not take the rest in time.
    pub(super) fn is_due(&self, now: Mono) -> bool {
        self.ends_at.is_some_and(|at| at <= now)
    }

    /// The session has queued messages.
    pub(super) fn set_dirty(&mut self) {
        self.is_dirty = true;
    }

    /// A reactor has let go what it held of this connection's messages.
    pub(super) fn resume<S: Sockets, I: Inbox>(&mut self, cx: &mut Context<S, I>) {
        self.inflow.resume(&self.session, &mut cx.parking, &mut cx.inbox);
        cx.inbox.flush();
    }

    /// Asks the peer for a sign of life. One that has ended has told so.
    pub(super) fn probe(&mut self, now: Mono) {
        if self.ends_at.is_none() {
            self.is_probed = true;
            self.link.probe(now);
        }
    }

    pub(super) fn run<S: Sockets, I: Inbox>(
        &mut self,
        facts: &Facts,
        socket: &mut Socket,
        cx: &mut Context<S, I>,
    ) -> Next {
        self.try_run(facts, socket, cx).unwrap_or_else(|error| Next::Over(error.into()))
    }

    fn try_run<S: Sockets, I: Inbox>(
        &mut self,
        facts: &Facts,
        socket: &mut Socket,
        cx: &mut Context<S, I>,
    ) -> Result<Next, LinkError> {
        let unread = self.read(facts, socket, cx)?;
        if socket.hung_up {
            self.tell_ending(facts, cx);
        }
        let is_deaf = socket.hung_up && self.inflow.is_stalled();
        if socket.end.is_some() || socket.write_failed || is_deaf {
            self.begin_ending(facts, socket, cx);
        }
        if let Some(reason) = &socket.end
            && !unread
            && self.inflow.is_empty()
        {
            return Ok(Next::Over(reason.clone()));
        }
        // Keep-alive after reading: when this thread was held up, the answer may be there already.
        // Not when the peer has ended the stream: what it sent still waits for its reactor.
        if self.ends_at.is_none() {
            self.link.handle_timeout(cx.now.mono)?;
        }
        let unsent = self.write(socket, cx)?;
        self.account(cx);
        if socket.write_failed {
            self.begin_ending(facts, socket, cx);
        }
        let send_timeout = self.session.send_timeout;
        let is_due = |at: Mono| at <= cx.now.mono;
        if self.ends_at.is_none() && self.stall.deadline(send_timeout).is_some_and(is_due) {
            return Ok(Next::Over(DisconnectReason::NotReading(stall::limit(send_timeout))));
        }
        let may_read = unread && !self.inflow.is_stalled() && self.recv_after.is_none();
        Ok(if may_read || unsent { Next::Again } else { Next::Wait })
    }

    /// One read, then everything that the budgets take. True: there is more to read or to open.
    fn read<S: Sockets, I: Inbox>(
        &mut self,
        facts: &Facts,
        socket: &mut Socket,
        cx: &mut Context<S, I>,
    ) -> Result<bool, LinkError> {
        let now = cx.now.mono;
        // After the end there is only what the kernel holds, and little time to deliver it: the rate
        // must not cost messages then.
        let is_ending = self.ends_at.is_some();
        let allowance = if is_ending { usize::MAX } else { self.link.recv_allowance(now) };
        self.recv_after = if allowance == 0 { self.link.recv_deadline() } else { None };
        let mut has_read = false;
        if allowance > 0 && !self.inflow.is_stalled() {
            // Whole frames are left from before only if delivery was suspended: first these.
            let have = socket.inbuf.len();
            let wanted = cx.quantum.min(allowance.max(FRAME_SEALED));
            let sealed = socket.gather(&mut cx.sockets, &cx.counters, &mut cx.scratch, wanted);
            has_read = sealed.len() > have;
            let mut delivery = Delivery {
                inflow: &mut self.inflow,
                session: &self.session,
                parking: &mut cx.parking,
                inbox: &mut cx.inbox,
                spares: &mut cx.spares,
                now,
            };
            let received = self.link.receive(sealed, now, &mut delivery);
            cx.inbox.flush();
            if let Ok(received) = &received {
                socket.inbuf.clear();
                let rest = sealed.get(received.consumed..).unwrap_or_default();
                socket.inbuf.extend_from_slice(rest);
                if socket.inbuf.is_empty() || socket.inbuf.capacity() > 2 * FRAME_SEALED {
                    socket.inbuf.shrink_to_fit();
                }
            }
            if self.inflow.take_first(&mut self.has_reported_first) {
                cx.report(Report::FirstMessage(facts.id));
            }
            received?;
        }
        let has_frames = socket.inbuf.len() >= FRAME_SEALED || self.link.has_rest();
        let unread = has_frames || socket.may_read();
        // The peer's pings and pongs may be among what we do not read.
        if unread != self.is_suspended {
            self.is_suspended = unread;
            if unread {
                self.link.suspend_reading(now);
            } else {
                self.link.resume_reading(now);
            }
        }
        // The peer has sent something, or it is we who do not read.
        let is_deaf = self.inflow.is_stalled() || (self.is_suspended && self.recv_after.is_some());
        if self.is_probed && (has_read || is_deaf) {
            self.is_probed = false;
            cx.report(Report::Alive(facts.id));
        }
        Ok(unread || self.inflow.is_stalled())
    }

    /// One batch: what is left of the last one, or a new one. True: there is more, and room.
    fn write<S: Sockets, I: Inbox>(
        &mut self,
        socket: &mut Socket,
        cx: &mut Context<S, I>,
    ) -> Result<bool, LinkError> {
        if self.ends_at.is_some() {
            return Ok(false);
        }
        let now = cx.now.mono;
        let mut taken = socket.write(cx);
        self.send_after = self.send_after.filter(|&after| after > now);
        if (self.link.wants_control() || self.may_cut()) && socket.has_room() {
            if std::mem::take(&mut self.is_dirty) {
                self.session.clear_dirty();
            }
            let mut out = cx.spare_buffer();
            let mut supply = Supply { outflow: &mut self.outflow, session: &self.session };
            let filled = self.link.fill(&mut out, cx.batch_frames(), &mut supply, now)?;
            self.is_pending = filled.more;
            self.send_after = filled.throttled_until;
            socket.out = out;
            taken = socket.write(cx).saturating_add(taken);
            for channel in self.outflow.take_writable() {
                #[expect(clippy::indexing_slicing, reason = "lanes are the session's channels")]
                let channel = &self.session.channels[channel];
                let peer = Peer::new(self.session.clone());
                cx.inbox.deliver(channel.reactor, Event::Writable(peer, channel.id));
            }
        }
        // What is queued while nothing can be sent is looked at afterwards.
        if socket.has_output() || self.send_after.is_some() {
            self.session.keep_dirty();
            self.is_dirty = true;
        }
        self.stall.note(taken, socket.has_output(), now);
        let is_blocked = self.is_dirty || self.is_pending;
        self.expires = if is_blocked { self.session.expire_waiting(now) } else { None };
        Ok(self.may_cut() && socket.writable && !socket.write_failed)
    }

    /// What is new waits for the rate like the rest, or each small message had a frame of its own.
    fn may_cut(&self) -> bool {
        (self.is_dirty || self.is_pending) && self.send_after.is_none()
    }

    /// The session is about to be over: told once.
    fn tell_ending<S: Sockets, I: Inbox>(&mut self, facts: &Facts, cx: &mut Context<S, I>) {
        if !std::mem::replace(&mut self.is_ending_told, true) {
            cx.report(Report::Ending(facts.id));
        }
    }

    /// The peer has ended or broken the connection: nothing more is sent, and what has arrived has
    /// a limited time to be delivered.
    fn begin_ending<S: Sockets, I: Inbox>(
        &mut self,
        facts: &Facts,
        socket: &mut Socket,
        cx: &mut Context<S, I>,
    ) {
        if self.ends_at.is_some() {
            return;
        }
        self.ends_at = Some(cx.now.mono + cx.settings.drain_timeout);
        self.tell_ending(facts, cx);
        self.session.end_sending(false);
        self.outflow.clear(&self.session);
        self.send_after = None;
        self.expires = None;
        socket.drop_output(cx);
    }

    /// Keeps the pool of unfinished messages and the session's figures up to date.
    fn account<S: Sockets, I: Inbox>(&mut self, cx: &mut Context<S, I>) {
        let unfinished = self.link.reassembly_bytes();
        self.pool(unfinished.saturating_add(self.inflow.stalled_bytes()), cx);
        if let Some(rtt) = self.link.rtt() {
            self.session.rtt.store(rtt.as_nanos() as u64, Relaxed);
        }
        *self.session.meters.lock() = self.link.meters();
    }

    /// So many bytes count in the pool of unfinished messages.
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "the pool is a sum, of which this one's part is taken out first"
    )]
    fn pool<S: Sockets, I: Inbox>(&mut self, bytes: usize, cx: &mut Context<S, I>) {
        cx.pooled = cx.pooled - self.pooled + bytes;
        self.pooled = bytes;
    }

    /// From here on nothing is delivered and nothing new is accepted. With `flush`, everything
    /// accepted so far is written first.
    pub(super) fn close<S: Sockets, I: Inbox>(
        mut self,
        reason: DisconnectReason,
        flush: bool,
        facts: &Facts,
        socket: &mut Socket,
        cx: &mut Context<S, I>,
    ) -> Closing<C> {
        let flush = flush && !socket.write_failed && self.ends_at.is_none();
        self.session.end_sending(flush);
        self.inflow.clear(&mut cx.parking);
        self.pool(0, cx);
        if !flush {
            self.outflow.clear(&self.session);
        }
        self.tell_ending(facts, cx);
        let Self { session, link, outflow, send_after, .. } = self;
        let leaving = Leaving { session, link, outflow, is_flushing: flush, send_after };
        Closing::session(reason, leaving, socket, cx)
    }

    /// It is over: what was not delivered and not sent is dropped.
    pub(super) fn over<S: Sockets, I: Inbox>(mut self, cx: &mut Context<S, I>) {
        self.pool(0, cx);
        self.inflow.clear(&mut cx.parking);
        self.outflow.clear(&self.session);
        self.session.end();
        cx.parking.delivered.remember(&self.session);
    }
}
