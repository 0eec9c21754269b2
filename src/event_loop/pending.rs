//! Accepted connections until they are established: who is let in, who waits, who goes.

use std::net::SocketAddr;

use super::{
    Inbox, LoopCore, Report, Sockets,
    conn::{Conn, Stage},
    pool::Class,
};
use crate::{
    ids::{ConnId, Direction},
    protocol::secret::Cipher,
    reactor::DisconnectReason,
    time::Now,
};

impl<S: Sockets, I: Inbox, C: Cipher> LoopCore<S, I, C> {
    /// Accepted connections that are no sessions.
    pub fn num_pending(&self) -> usize {
        self.pool.len()
    }

    /// A connection was accepted into the slot.
    pub(super) fn take_in(&mut self, id: ConnId, remote: SocketAddr, now: Now) {
        let ip = remote.ip();
        let standing = match self.gate.admit(ip, &self.pool, now) {
            Ok(standing) => standing,
            Err(reason) => {
                self.sockets.close(id.slot());
                self.table.release(id.slot());
                if let Some(others) = self.telling.refused(now.mono) {
                    self.report(Report::Refused { remote, reason, others });
                }
                return;
            }
        };
        let stage = if self.settings.filter_connections {
            Stage::AwaitingFilter
        } else {
            Stage::Handshaking
        };
        let mut conn = Conn::new(id, Direction::Inbound, remote, stage);
        conn.deadline = Some(now.mono + self.settings.handshake_timeout);
        let place = self.pool.join(id.slot(), Some((ip, standing)));
        if self.settings.filter_connections {
            self.pool.set_unasked(&place, id.slot());
        } else {
            self.pool.set_silent(&place, id.slot());
        }
        conn.place = Some(place);
        self.put_back(Box::new(conn));
        self.rearm(id.slot());
        self.evict_pending();
    }

    /// The verdict of the connection filters.
    pub(super) fn handle_filtered(&mut self, id: ConnId, verdict: Result<(), DisconnectReason>) {
        let Some(mut conn) = self.table.take(id) else { return };
        match verdict {
            _ if !matches!(conn.stage, Stage::AwaitingFilter) => self.put_back(conn),
            Err(reason) => self.finish(conn, reason),
            Ok(()) => {
                conn.stage = Stage::Handshaking;
                if let Some(place) = &conn.place {
                    self.pool.set_silent(place, id.slot());
                }
                self.put_back(conn);
                // What it has sent in the meantime makes no other edge.
                self.enqueue(id.slot());
            }
        }
    }

    /// Asks the switch about those that wait for that, the oldest first, as far as it keeps up.
    pub(super) fn ask_switch(&mut self) {
        while self.telling.may_ask() {
            let Some(slot) = self.pool.pop_unasked() else { return };
            let mut conn = self.table.take_at(slot).expect("one that waits is in its slot");
            if matches!(conn.stage, Stage::AwaitingFilter) {
                self.telling.ask();
                self.report(Report::Accepted { conn: conn.id, remote: conn.remote });
            } else {
                self.ask_about(&mut conn);
            }
            self.put_back(conn);
        }
    }

    /// Whether handshakes may begin: not while the switch has more to look at than it keeps up
    /// with, since whoever gets through would wait for it as well.
    pub(super) fn may_begin(&self) -> bool {
        self.telling.may_ask() && !self.pool.has_unasked()
    }

    /// Begins the handshakes of those that have sent nothing, with the steps that those who have
    /// sent something left over. `before` is the number of the first one accepted in this turn:
    /// what it has sent already is told by the next poll, and then our key and our
    /// authentication go out in one write.
    pub(super) fn begin_silent(&mut self, before: u64, now: Now) {
        while self.handshake_steps > 0 && self.may_begin() {
            let Some(slot) = self.pool.oldest_silent(before) else { return };
            let conn = self.table.at_mut(slot).expect("a silent connection is in its slot");
            conn.may_begin = true;
            let place = conn.place.as_ref().expect("a silent connection is pending");
            self.pool.set_begun(place.number());
            self.run(slot, now);
        }
    }

    /// Makes room for the newest: the pool holds no more than its limit, and all connections together
    /// no more than theirs as long as there is a pending one.
    pub(super) fn evict_pending(&mut self) {
        let (most, in_all) = (self.settings.gate.max_pending, self.settings.gate.max_connections);
        while self.pool.len() > most || self.num_connections() > in_all {
            let Some(slot) = self.pool.first_to_go(most) else { return };
            let conn = self.table.take_at(slot).expect("a pending connection is in its slot");
            let reason = match &conn.stage {
                // It was refused already, and only its farewell is cut short.
                Stage::Closing { reason, .. } => reason.clone(),
                _ => DisconnectReason::Evicted,
            };
            self.finish(conn, reason);
        }
    }

    /// A connection that we have refused keeps or takes a place, ahead of its time to go, until it
    /// is closed: nobody holds us by not closing.
    pub(super) fn park_refused(&mut self, conn: &mut Conn<C>) {
        if conn.direction != Direction::Inbound {
            return;
        }
        let join = || self.pool.join(conn.id.slot(), None);
        let mut place = conn.place.take().unwrap_or_else(join);
        self.pool.set_class(&mut place, Class::Refused);
        conn.place = Some(place);
    }

    pub(super) fn leave_pool(&mut self, conn: &mut Conn<C>) {
        if let Some(place) = conn.place.take() {
            self.pool.leave(place);
        }
    }
}
