//! A connection before its admission.

use std::{io, time::Duration};

use super::{
    Established, Inbox, LoopCore, Report, Sockets,
    conn::{Conn, Stage},
    core::Next,
    pool::Class,
};
use crate::{
    protocol::{Link, LinkError, Step, secret::Cipher},
    reactor::{DisconnectReason, LocalFault},
    time::Now,
};

/// One read of a handshake, and there is one in a turn. A whole handshake is three frames and 35
/// bytes, so this is what a stranger can make us hold beyond an unfinished frame, and makes us open
/// (4 frames, 3 µs) before others have their turn.
const READ_BYTES: usize = 4 << 10;

/// How long who has authenticated itself may take to send its NodeInfo. Everybody sends it at once
/// (Go gives each phase of the handshake 3 s, `p2p/transport.go`); who does not, takes a place
/// from nobody who comes (`Pool::first_to_go`), and has one no longer than this.
pub(super) const NODE_INFO_TIMEOUT: Duration = Duration::from_secs(3);

impl<S: Sockets, I: Inbox, C: Cipher> LoopCore<S, I, C> {
    pub(super) fn run_handshake(&mut self, conn: &mut Conn<C>, now: Now) -> Next {
        if matches!(conn.stage, Stage::Connecting) {
            if !conn.writable {
                return Next::Wait;
            }
            match self.sockets.connect_result(conn.id.slot()) {
                Ok(true) => {
                    conn.stage = Stage::Handshaking;
                    conn.give(self.settings.handshake_timeout, now.mono);
                }
                Ok(false) => {
                    conn.writable = false;
                    return Next::Wait;
                }
                Err(error) => return Next::Over(DisconnectReason::from_io(&error)),
            }
        }
        let next = self.advance(conn, now);
        self.write_out(conn);
        next
    }

    fn advance(&mut self, conn: &mut Conn<C>, now: Now) -> Next {
        let mut has_read = false;
        if conn.link.is_none() && !conn.may_begin {
            // Who has sent something comes before who has not, and gets our key and our
            // authentication in one write.
            if conn.readable && conn.inbuf.is_empty() {
                self.read_handshake(conn);
                has_read = true;
            }
            match &conn.end {
                // With the silent ones, by age, until the switch has caught up.
                _ if !conn.inbuf.is_empty() && !self.may_begin() => return Next::Wait,
                _ if !conn.inbuf.is_empty() => conn.may_begin = true,
                Some(reason) => return Next::Over(reason.clone()),
                None => return Next::Wait,
            }
        }
        loop {
            if self.handshake_steps == 0 {
                return Next::Again;
            }
            let Some(link) = &mut conn.link else {
                // Without randomness there is no key, and nothing that waiting would mend.
                let Some(agreement) = (self.key_agreement)() else {
                    return Next::Over(DisconnectReason::Local(LocalFault::Randomness));
                };
                self.handshake_steps -= 1;
                let link =
                    Link::start(&self.settings.link, agreement, conn.expected, &mut conn.out);
                conn.link = Some(link);
                if let Some(place) = &conn.place {
                    self.pool.set_begun(place.number());
                }
                if conn.inbuf.is_empty() {
                    self.write_out(conn);
                }
                continue;
            };
            let (before, mut input) = (conn.inbuf.len(), conn.inbuf.as_slice());
            let step = link.advance(&self.settings.link, &mut input, &mut conn.out);
            let used = before - input.len();
            conn.inbuf.drain(..used);
            if conn.inbuf.is_empty() {
                conn.inbuf = Vec::new();
            }
            match step {
                Err(error) => return self.fail_handshake(conn, error, now),
                Ok(Step::Stepped) => {
                    self.handshake_steps -= 1;
                    if let (Some(_), Some(place)) = (link.peer_id(), &mut conn.place) {
                        self.pool.set_class(place, Class::Authenticated);
                        let due = now.mono + NODE_INFO_TIMEOUT;
                        conn.deadline = Some(conn.deadline.map_or(due, |at| at.min(due)));
                    }
                }
                Ok(Step::Established(_, node_info)) => {
                    conn.stage = Stage::AwaitingAdmission(Some(node_info));
                    conn.deadline = Some(now.mono + self.settings.verdict_timeout);
                    conn.inbuf.shrink_to_fit();
                    match &mut conn.place {
                        Some(place) => {
                            self.pool.set_class(place, Class::Established);
                            self.pool.set_unasked(place, conn.id.slot());
                        }
                        // The switch has dialed it, and waits.
                        None => self.ask_about(conn),
                    }
                    return Next::Wait;
                }
                Ok(Step::NeedMore) => {
                    if let Some(reason) = &conn.end {
                        return Next::Over(reason.clone());
                    }
                    if !conn.readable {
                        return Next::Wait;
                    }
                    if has_read {
                        return Next::Again;
                    }
                    self.read_handshake(conn);
                    has_read = true;
                }
            }
        }
    }

    /// Asks the switch about an established connection.
    pub(super) fn ask_about(&mut self, conn: &mut Conn<C>) {
        let Stage::AwaitingAdmission(node_info) = &mut conn.stage else { return };
        let id = conn.link.as_ref().and_then(Link::peer_id);
        let (Some(id), Some(node_info)) = (id, node_info.take()) else { return };
        conn.is_established = true;
        self.telling.ask();
        self.report(Report::Established(Established {
            conn: conn.id,
            ticket: conn.ticket,
            id,
            node_info,
            direction: conn.direction,
            remote: conn.remote,
        }));
        if conn.hung_up {
            self.report_ending(conn);
        }
    }

    fn read_handshake(&mut self, conn: &mut Conn<C>) {
        // Through the shared buffer: a stranger that is silent makes us hold nothing.
        let read = self.sockets.read(conn.id.slot(), &mut self.scratch[..READ_BYTES]);
        let read = conn.note_read(read, READ_BYTES, self.sockets.short_is_blocked());
        conn.inbuf.extend_from_slice(&self.scratch[..read]);
    }

    fn fail_handshake(&mut self, conn: &mut Conn<C>, error: LinkError, now: Now) -> Next {
        let is_polite = error.is_polite();
        let reason = DisconnectReason::from(error);
        if !is_polite {
            return Next::Over(reason);
        }
        // The peer is to get our NodeInfo, so that it finds the same reason.
        self.park_refused(conn);
        self.begin_closing(conn, reason, false, now);
        Next::Again
    }
}

impl<C: Cipher> Conn<C> {
    /// Remembers what a read of at most `wanted` bytes says of the socket; the bytes read. See
    /// [`Sockets::short_is_blocked`].
    pub(super) fn note_read(
        &mut self,
        read: io::Result<usize>,
        wanted: usize,
        short_is_blocked: bool,
    ) -> usize {
        match read {
            Ok(0) => {
                self.readable = false;
                self.end = Some(DisconnectReason::Eof);
                0
            }
            Ok(read) => {
                // A short read has emptied the socket, and new bytes make a new edge; but the
                // edge of a hang-up was told already.
                self.readable = read == wanted || self.hung_up || !short_is_blocked;
                read
            }
            Err(error) => {
                match error.kind() {
                    io::ErrorKind::WouldBlock => self.readable = false,
                    io::ErrorKind::Interrupted => {}
                    _ => {
                        self.readable = false;
                        self.end = Some(DisconnectReason::Reset);
                    }
                }
                0
            }
        }
    }
}
