//! A session's connection: reading, delivering, cutting, writing.

use std::sync::atomic::Ordering::Relaxed;

use super::{
    Inbox, LoopCore, Report, Sockets,
    conn::{Conn, Opened},
    core::Next,
    inflow::Delivery,
    outflow::Supply,
    stall,
};
use crate::{
    protocol::{
        LinkError,
        secret::{Cipher, FRAME_SEALED},
    },
    reactor::{DisconnectReason, Event, Peer},
    time::Now,
};

impl<S: Sockets, I: Inbox, C: Cipher> LoopCore<S, I, C> {
    pub(super) fn run_open(&mut self, conn: &mut Conn<C>, now: Now) -> Next {
        let mut opened = conn.opened.take().expect("an open connection has a session");
        let next = self.run_opened(conn, &mut opened, now);
        conn.opened = Some(opened);
        next.unwrap_or_else(|error| Next::Over(error.into()))
    }

    fn run_opened(
        &mut self,
        conn: &mut Conn<C>,
        opened: &mut Opened,
        now: Now,
    ) -> Result<Next, LinkError> {
        let unread = self.read_open(conn, opened, now)?;
        self.account(conn, opened);
        if conn.hung_up {
            self.report_ending(conn);
        }
        if conn.end.is_some() || conn.write_failed || (conn.hung_up && opened.inflow.is_stalled()) {
            self.begin_ending(conn, opened, now);
        }
        if let Some(reason) = &conn.end
            && !unread
            && opened.inflow.is_empty()
        {
            return Ok(Next::Over(reason.clone()));
        }
        // Keep-alive after reading: when this thread was held up, the answer may be there already.
        // Not when the peer has ended the stream: what it sent still waits for its reactor.
        if !opened.is_ending {
            let link = conn.link.as_mut().expect("an open connection has a link");
            link.handle_timeout(now.mono)?;
        }
        let unsent = self.write_open(conn, opened, now)?;
        if conn.write_failed && !opened.is_ending {
            self.begin_ending(conn, opened, now);
        }
        let send_timeout = opened.session.send_timeout;
        if !opened.is_ending
            && opened.stall.deadline(send_timeout).is_some_and(|deadline| deadline <= now.mono)
        {
            return Ok(Next::Over(DisconnectReason::NotReading(stall::limit(send_timeout))));
        }
        let may_read = unread && !opened.inflow.is_stalled() && opened.recv_after.is_none();
        Ok(if may_read || unsent { Next::Again } else { Next::Wait })
    }

    /// One read, then everything that the budgets take. True: there is more to read or to open.
    fn read_open(
        &mut self,
        conn: &mut Conn<C>,
        opened: &mut Opened,
        now: Now,
    ) -> Result<bool, LinkError> {
        let link = conn.link.as_mut().expect("an open connection has a link");
        // After the end there is only what the kernel holds, and little time to deliver it: the rate
        // must not cost messages then.
        let allowance = if opened.is_ending { usize::MAX } else { link.recv_allowance(now.mono) };
        opened.recv_after = if allowance == 0 { link.recv_deadline() } else { None };
        let mut has_read = false;
        if allowance > 0 && !opened.inflow.is_stalled() {
            // Whole frames are left from before only if delivery was suspended: first these.
            let have = conn.inbuf.len();
            let mut scratch = std::mem::take(&mut self.scratch);
            if scratch.len() < have {
                scratch.resize(have, 0);
            }
            scratch[..have].copy_from_slice(&conn.inbuf);
            let mut filled = have;
            if have < FRAME_SEALED && conn.readable && conn.end.is_none() {
                let wanted = self.quantum.min(allowance.max(FRAME_SEALED));
                let read = self.sockets.read(conn.id.slot(), &mut scratch[have..have + wanted]);
                filled += conn.note_read(read, wanted, self.sockets.short_is_blocked());
            }
            let link = conn.link.as_mut().expect("checked above");
            let mut delivery = Delivery {
                inflow: &mut opened.inflow,
                session: &opened.session,
                parking: &mut self.parking,
                inbox: &mut self.inbox,
                now: now.mono,
            };
            has_read = filled > have;
            let received = link.receive(&mut scratch[..filled], now.mono, &mut delivery);
            if let Ok(received) = &received {
                conn.inbuf.clear();
                conn.inbuf.extend_from_slice(&scratch[received.consumed..filled]);
                if conn.inbuf.is_empty() || conn.inbuf.capacity() > 2 * FRAME_SEALED {
                    conn.inbuf.shrink_to_fit();
                }
            }
            self.scratch = scratch;
            if opened.inflow.take_first(&mut opened.has_reported_first) {
                self.report(Report::FirstMessage(conn.id));
            }
            received?;
        }
        let link = conn.link.as_mut().expect("checked above");
        let has_frames = conn.inbuf.len() >= FRAME_SEALED || link.has_rest();
        let unread = has_frames || (conn.readable && conn.end.is_none());
        // The peer's pings and pongs may be among what we do not read.
        if unread != opened.is_suspended {
            opened.is_suspended = unread;
            if unread {
                link.suspend_reading(now.mono);
            } else {
                link.resume_reading(now.mono);
            }
        }
        self.answer_probe(conn.id, opened, has_read);
        Ok(unread || opened.inflow.is_stalled())
    }

    /// One batch: what is left of the last one, or a new one. True: there is more, and room.
    fn write_open(
        &mut self,
        conn: &mut Conn<C>,
        opened: &mut Opened,
        now: Now,
    ) -> Result<bool, LinkError> {
        if opened.is_ending {
            return Ok(false);
        }
        let mut taken = self.write_out(conn);
        opened.send_after = opened.send_after.filter(|&after| after > now.mono);
        let has_output = conn.has_output();
        let link = conn.link.as_mut().expect("an open connection has a link");
        // What is new waits for the rate like the rest, or each small message had a frame of its own.
        let may_cut =
            |opened: &Opened| (opened.is_dirty || opened.is_pending) && opened.send_after.is_none();
        let is_wanted = link.wants_control() || may_cut(opened);
        if is_wanted && conn.writable && !has_output && !conn.write_failed {
            if std::mem::take(&mut opened.is_dirty) {
                opened.session.clear_dirty();
            }
            let mut out = self.spare_buffer();
            let mut supply = Supply { outflow: &mut opened.outflow, session: &opened.session };
            let filled = link.fill(&mut out, &mut supply, now.mono)?;
            opened.is_pending = filled.more;
            opened.send_after = filled.throttled_until;
            conn.out = out;
            taken += self.write_out(conn);
            for channel in opened.outflow.take_writable() {
                let channel = &opened.session.channels[channel];
                let peer = Peer::new(opened.session.clone());
                self.inbox.deliver(channel.reactor, Event::Writable(peer, channel.id));
            }
        }
        opened.stall.note(taken, conn.has_output(), now.mono);
        let is_blocked = opened.is_dirty || opened.is_pending;
        opened.expires = if is_blocked { opened.session.expire_waiting(now.mono) } else { None };
        Ok(may_cut(opened) && conn.writable && !conn.write_failed)
    }

    /// The peer has ended or broken the connection: nothing more is sent, and what has arrived has
    /// a limited time to be delivered.
    fn begin_ending(&mut self, conn: &mut Conn<C>, opened: &mut Opened, now: Now) {
        if std::mem::replace(&mut opened.is_ending, true) {
            return;
        }
        self.report_ending(conn);
        conn.deadline = Some(now.mono + self.settings.drain_timeout);
        opened.session.end_sending(false);
        opened.outflow.clear(&opened.session);
        opened.send_after = None;
        opened.expires = None;
        conn.out_at = 0;
        self.recycle(std::mem::take(&mut conn.out));
    }

    /// Keeps the pool of unfinished messages and the session's figures up to date.
    fn account(&mut self, conn: &Conn<C>, opened: &mut Opened) {
        let Some(link) = &conn.link else { return };
        let pooled = link.reassembly_bytes() + opened.inflow.stalled_bytes();
        self.pooled = self.pooled - opened.pooled + pooled;
        opened.pooled = pooled;
        if let Some(rtt) = link.rtt() {
            opened.session.rtt.store(rtt.as_nanos() as u64, Relaxed);
        }
    }
}
