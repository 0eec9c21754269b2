//! The end of a connection that we end: nothing that was written may be lost.
//!
//! Closing a socket with unread input makes the kernel reset the connection, and the peer loses
//! what it has not read. So: write, close our half, read and discard until the peer closes, close.

use super::{
    Inbox, LoopCore, Sockets,
    conn::{Conn, Stage},
    core::Next,
    outflow::Supply,
};
use crate::{protocol::secret::Cipher, reactor::DisconnectReason, time::Now};

impl<S: Sockets, I: Inbox, C: Cipher> LoopCore<S, I, C> {
    /// From here on nothing is delivered and nothing new is accepted. With `flush`, everything
    /// accepted so far is written first.
    pub(super) fn begin_closing(
        &mut self,
        conn: &mut Conn<C>,
        reason: DisconnectReason,
        flush: bool,
        now: Now,
    ) {
        if matches!(conn.stage, Stage::Closing { .. }) {
            return;
        }
        let mut flush = flush && !conn.write_failed;
        if let Some(opened) = &mut conn.opened {
            flush &= !opened.is_ending;
            opened.session.end_sending(flush);
            opened.inflow.clear(&mut self.parking);
            self.pooled -= std::mem::take(&mut opened.pooled);
            opened.expires = None;
            opened.recv_after = None;
            if !flush {
                opened.outflow.clear(&opened.session);
            }
        }
        conn.inbuf = Vec::new();
        self.report_ending(conn);
        conn.stage = Stage::Closing { reason, flush, is_shut: false };
        conn.deadline = Some(self.close_deadline(now));
    }

    pub(super) fn run_closing(&mut self, conn: &mut Conn<C>, now: Now) -> Next {
        let unread = self.discard(conn);
        self.write_out(conn);
        let Stage::Closing { reason, flush, is_shut } = &mut conn.stage else {
            unreachable!("only a closing connection is run here")
        };
        let (reason, mut flushing) = (reason.clone(), *flush);
        let already_shut = *is_shut;
        let mut again = false;
        if flushing && !conn.has_output() && !conn.write_failed && conn.writable {
            match self.flush_batch(conn, now) {
                Some(more) => flushing = more,
                None => return Next::Over(reason),
            }
            again = flushing && conn.writable;
        }
        if let Some(opened) = &mut conn.opened {
            // Past, or of no use before the socket takes more: then there is nothing to wait for.
            let is_due = |after| after <= now.mono;
            opened.send_after = opened.send_after.filter(|&a| flushing && !is_due(a));
            again &= opened.send_after.is_none();
        }
        let is_written = conn.write_failed || (!flushing && !conn.has_output());
        if is_written && !already_shut {
            self.sockets.shutdown_write(conn.id.slot());
        }
        conn.stage =
            Stage::Closing { reason: reason.clone(), flush: flushing, is_shut: is_written };
        match (is_written && conn.end.is_some(), again || unread) {
            (true, _) => Next::Over(reason),
            (false, true) => Next::Again,
            (false, false) => Next::Wait,
        }
    }

    /// Cuts and writes one batch; whether there is more. `None`: it cannot be sealed.
    fn flush_batch(&mut self, conn: &mut Conn<C>, now: Now) -> Option<bool> {
        let (Some(link), Some(opened)) = (&mut conn.link, &mut conn.opened) else {
            return Some(false);
        };
        opened.send_after = opened.send_after.filter(|&after| after > now.mono);
        if opened.send_after.is_some() {
            return Some(true);
        }
        let mut out = self.spare_buffer();
        let mut supply = Supply { outflow: &mut opened.outflow, session: &opened.session };
        let filled = link.fill(&mut out, &mut supply, now.mono).ok()?;
        opened.send_after = filled.throttled_until;
        conn.out = out;
        self.write_out(conn);
        Some(filled.more)
    }

    /// Reads once and forgets it. True: there may be more.
    fn discard(&mut self, conn: &mut Conn<C>) -> bool {
        if !conn.readable || conn.end.is_some() {
            return false;
        }
        let wanted = self.quantum;
        let read = self.sockets.read(conn.id.slot(), &mut self.scratch[..wanted]);
        conn.note_read(read, wanted, self.sockets.short_is_blocked());
        conn.readable && conn.end.is_none()
    }
}
