//! The event loop's decisions, without a socket, a clock or a thread.

use std::{collections::VecDeque, io, net::SocketAddr, time::Duration};

use super::{
    Command, Inbox, LoopSettings, Mailbox, Posts, Readiness, Report, Sockets,
    conn::{Conn, Opened, Stage},
    delivered::Delivered,
    gate::Gate,
    inflow::Parking,
    pool::Pool,
    probe::Watched,
    sockets::LISTENER,
    table::Table,
    telling::Telling,
};
use crate::{
    identity::NodeId,
    ids::{ConnId, Direction},
    protocol::{
        Link,
        secret::{Cipher, FRAME_SEALED, KeyAgreement},
    },
    reactor::{CloseMode, DisconnectReason},
    time::{Mono, Now},
};

/// What one read takes at most, and the scratch buffer that all connections share. Measured:
/// throughput is flat above 16 KiB, CPU per byte falls until 64 KiB.
pub(super) const READ_BYTES: usize = 64 << 10;
/// Input of one turn over all ready connections: bounds the time between two looks at timers and
/// control (about 0.5 ms of opening frames), whatever the number of peers that flood us.
const TURN_BYTES: usize = 256 << 10;
/// The least that one read takes, so that many ready connections do not drown in system calls.
const LEAST_READ_BYTES: usize = 8 << 10;
/// Expensive handshake steps of one turn, about 110 µs each: with 4, peers wait at most 0.5 ms for
/// a crowd of handshakes; with 32 it was 3.5 ms.
const HANDSHAKE_STEPS_PER_TURN: usize = 4;
/// Write buffers kept for reuse. One per connection that is being written to at the same time is
/// enough; idle connections hold none.
const SPARE_BUFFERS: usize = 8;

/// What a connection's run ended with.
pub(super) enum Next {
    /// Nothing to do before something happens.
    Wait,
    /// There is more to do, in the next turn.
    Again,
    /// It is over.
    Over(DisconnectReason),
}

/// The event loop's decisions. A driver feeds it with what happened, calls
/// [`run_turn`](Self::run_turn), takes the reports with [`poll_report`](Self::poll_report), and
/// sleeps until [`next_deadline`](Self::next_deadline) unless [`has_work`](Self::has_work).
pub struct LoopCore<S, I, C: Cipher> {
    pub(super) settings: LoopSettings,
    pub(super) sockets: S,
    pub(super) inbox: Watched<I>,
    pub(super) key_agreement: Box<dyn FnMut() -> Option<KeyAgreement> + Send>,
    pub(super) table: Table<Conn<C>>,
    pub(super) gate: Gate,
    pub(super) pool: Pool,
    pub(super) telling: Telling,
    reports: VecDeque<Report>,
    pub(super) parking: Parking,
    /// Bytes of unfinished messages over all connections.
    pub(super) pooled: usize,
    pub(super) scratch: Vec<u8>,
    spare: Vec<Vec<u8>>,
    /// Left in this turn.
    pub(super) handshake_steps: usize,
    /// What one read takes in this turn.
    pub(super) quantum: usize,
    pub(super) acceptable: bool,
    pub(super) accept_after: Option<Mono>,
    shutdown: Option<Mono>,
    is_stopped: bool,
    posts: Posts,
}

impl<S: Sockets, I: Inbox, C: Cipher> LoopCore<S, I, C> {
    /// A loop without connections. `key_agreement` makes a fresh ephemeral key for each handshake.
    pub fn new(
        settings: LoopSettings,
        sockets: S,
        inbox: I,
        key_agreement: Box<dyn FnMut() -> Option<KeyAgreement> + Send>,
    ) -> Self {
        let parking = Parking {
            per_peer: settings.parking_per_peer,
            total: settings.parking_total,
            parked: 0,
            delivered: Delivered::new(settings.delivered_total, settings.reactors),
        };
        Self {
            gate: Gate::new(settings.gate.clone()),
            pool: Pool::default(),
            telling: Telling::default(),
            inbox: Watched::new(inbox, settings.reactors),
            table: Table::new(settings.event_loop),
            settings,
            sockets,
            key_agreement,
            reports: VecDeque::new(),
            parking,
            pooled: 0,
            scratch: vec![0; READ_BYTES + FRAME_SEALED],
            spare: Vec::new(),
            handshake_steps: 0,
            quantum: READ_BYTES,
            acceptable: false,
            accept_after: None,
            shutdown: None,
            is_stopped: false,
            posts: Posts::default(),
        }
    }

    /// Opens the listener.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub fn listen(&mut self, addr: SocketAddr) -> io::Result<SocketAddr> {
        self.acceptable = true;
        self.sockets.listen(addr)
    }

    /// The sockets, for the driver that waits on them.
    pub fn sockets_mut(&mut self) -> &mut S {
        &mut self.sockets
    }

    /// The inboxes, for a simulation that carries what they hold.
    pub fn inbox_mut(&mut self) -> &mut I {
        &mut self.inbox.inner
    }

    /// Takes what other threads have posted: commands, then resumes, then dirty sessions.
    pub fn take_posts(&mut self, mailbox: &Mailbox, now: Now) {
        let mut posts = std::mem::take(&mut self.posts);
        mailbox.take(&mut posts);
        for command in posts.commands.drain(..) {
            self.handle_command(command, now);
        }
        for conn in posts.resume.drain(..) {
            self.handle_resume(conn);
        }
        for conn in posts.dirty.drain(..) {
            self.handle_dirty(conn);
        }
        self.posts = posts;
    }

    /// One command of the switch, or a close that anybody asked for.
    pub fn handle_command(&mut self, command: Command, now: Now) {
        match command {
            Command::Dial { ticket, addr, expected, within } => {
                self.dial(ticket, addr, expected, within, now);
            }
            Command::Admit { conn: id, session } => {
                let reactors = self.settings.reactors;
                let Some(conn) = self.table.get_mut(id) else { return };
                if !matches!(conn.stage, Stage::AwaitingAdmission(None)) {
                    return;
                }
                conn.stage = Stage::Open;
                conn.deadline = None;
                conn.opened = Some(Box::new(Opened::new(session, reactors)));
                // The handshake may have read ahead, and no edge will come for what it read.
                conn.readable = true;
                let flush = conn.flush_once_admitted.take();
                if let Some(place) = conn.place.take() {
                    self.pool.leave(place);
                }
                self.admit_link(id.slot(), now);
                self.enqueue(id.slot());
                if let Some(mode) = flush {
                    self.end(id, mode, now);
                }
            }
            Command::Reject { conn, reason } => {
                self.end(conn, CloseMode::Graceful(reason), now);
            }
            Command::Filtered { conn, verdict } => self.handle_filtered(conn, verdict),
            Command::Probe(conn) => self.handle_probe(conn, now),
            Command::Bans(bans) => self.gate.bans = bans,
            Command::Considered => self.telling.considered(),
            Command::Heard => self.telling.heard(),
            Command::Known(known) => self.gate.known = known,
            Command::InboundFull(is_full) => self.gate.is_full = is_full,
            Command::Close { conn, mode } => self.end(conn, mode, now),
            Command::Shutdown { deadline } => self.shut_down(deadline, now),
        }
    }

    /// A reactor has let go what it held of this connection's messages.
    pub fn handle_resume(&mut self, id: ConnId) {
        let Some(mut conn) = self.table.take(id) else { return };
        if let (Stage::Open, Some(opened)) = (&conn.stage, &mut conn.opened) {
            opened.inflow.resume(&opened.session, &mut self.parking, &mut self.inbox);
        }
        self.put_back(conn);
        // Unconditionally: whole frames may sit in the buffer, and no edge will come for them.
        self.enqueue(id.slot());
    }

    /// The session has queued messages.
    pub fn handle_dirty(&mut self, id: ConnId) {
        let conn = self.table.get_mut(id);
        let Some(opened) = conn.and_then(|conn| conn.opened.as_mut()) else { return };
        opened.is_dirty = true;
        self.enqueue(id.slot());
    }

    /// The poll told of a socket.
    pub fn handle_readiness(&mut self, slot: u32, readiness: Readiness) {
        if slot == LISTENER {
            self.acceptable = true;
            return;
        }
        let Some(conn) = self.table.at_mut(slot) else { return };
        conn.readable |= readiness.readable || readiness.hung_up;
        conn.writable |= readiness.writable;
        conn.hung_up |= readiness.hung_up;
        self.enqueue(slot);
    }

    /// Everything that is due or ready, once: timers, accepts, then each ready connection.
    pub fn run_turn(&mut self, now: Now) {
        self.handshake_steps = HANDSHAKE_STEPS_PER_TURN;
        self.run_timers(now);
        self.look_at_delivered(now);
        let first_accepted = self.pool.next();
        self.accept(now);
        let ready = self.table.num_ready();
        self.quantum = (TURN_BYTES / ready.max(1)).clamp(LEAST_READ_BYTES, READ_BYTES);
        for _ in 0..ready {
            let Some(slot) = self.table.pop_ready() else { break };
            self.run(slot, now);
        }
        self.ask_switch();
        self.begin_silent(first_accepted, now);
        self.report_gone();
        self.stop_if_done(now);
    }

    /// The next report for the switch.
    pub fn poll_report(&mut self) -> Option<Report> {
        self.reports.pop_front()
    }

    /// Whether the next turn has something to do without anything happening before.
    pub fn has_work(&self) -> bool {
        self.table.num_ready() > 0
            || self.parking.delivered.has_reached()
            || (self.pool.has_silent() && self.may_begin())
            || (self.acceptable && self.accept_after.is_none())
    }

    /// When the next turn has something to do.
    pub fn next_deadline(&self) -> Option<Mono> {
        let next = crate::time::earliest(self.table.next_deadline(), self.accept_after);
        let next = crate::time::earliest(next, self.parking.delivered.next_deadline());
        crate::time::earliest(next, self.shutdown)
    }

    /// Whether `Stopped` was reported.
    pub fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// Connections in any stage.
    pub fn num_connections(&self) -> usize {
        self.table.len()
    }

    // ---- connections ----

    fn dial(
        &mut self,
        ticket: u64,
        addr: SocketAddr,
        expected: NodeId,
        within: Option<Duration>,
        now: Now,
    ) {
        if self.shutdown.is_some() {
            let reason = DisconnectReason::Stopped;
            self.reports.push_back(Report::DialFailed { ticket, reason });
            return;
        }
        let id = self.table.reserve();
        let mut conn = Conn::new(id, Direction::Outbound, addr, Stage::Connecting);
        conn.ticket = Some(ticket);
        conn.expected = Some(expected);
        conn.until = within.map(|within| (now.mono + within, within));
        conn.give(self.settings.dial_timeout, now.mono);
        if let Err(error) = self.sockets.connect(id.slot(), addr) {
            self.finish(Box::new(conn), DisconnectReason::from_connect(&error));
            return;
        }
        let slot = id.slot();
        self.put_back(Box::new(conn));
        self.rearm(slot);
        self.evict_pending();
    }

    fn run_timers(&mut self, now: Now) {
        while let Some(slot) = self.table.pop_due(now.mono) {
            let Some(conn) = self.table.at(slot) else { continue };
            let over = conn.deadline.is_some_and(|deadline| deadline <= now.mono);
            let reason = match &conn.stage {
                Stage::Connecting if over => {
                    Some(DisconnectReason::DialTimeout(conn.time_given(self.settings.dial_timeout)))
                }
                Stage::AwaitingFilter | Stage::Handshaking if over => {
                    let timeout = self.settings.handshake_timeout;
                    Some(DisconnectReason::HandshakeTimeout(conn.handshake_time(timeout)))
                }
                Stage::AwaitingAdmission(_) if over => {
                    Some(DisconnectReason::SwitchBusy(self.settings.verdict_timeout))
                }
                // Its peer has ended the stream, and a reactor did not take the rest in time.
                Stage::Open if over => Some(conn.end.clone().unwrap_or(DisconnectReason::Reset)),
                Stage::Closing { reason, .. } if over => Some(reason.clone()),
                _ => None,
            };
            match reason {
                Some(reason) => {
                    let conn = self.table.take_at(slot).expect("checked above");
                    self.finish(conn, reason);
                }
                // Its run, later in this turn, arms the next deadline.
                None => self.enqueue(slot),
            }
        }
    }

    pub(super) fn run(&mut self, slot: u32, now: Now) {
        let Some(mut conn) = self.table.take_at(slot) else { return };
        let next = match conn.stage {
            Stage::Connecting | Stage::Handshaking => self.run_handshake(&mut conn, now),
            Stage::AwaitingFilter => Next::Wait,
            // Nothing is read here, and a parked connection may wait for seconds.
            Stage::AwaitingAdmission(Some(_)) if conn.hung_up => Next::Over(DisconnectReason::Eof),
            Stage::AwaitingAdmission(_) => {
                self.write_out(&mut conn);
                if conn.hung_up {
                    self.report_ending(&mut conn);
                }
                Next::Wait
            }
            Stage::Open => self.run_open(&mut conn, now),
            Stage::Closing { .. } => self.run_closing(&mut conn, now),
        };
        match next {
            Next::Over(reason) => self.finish(conn, reason),
            Next::Again => {
                self.put_back(conn);
                self.enqueue(slot);
                self.rearm(slot);
            }
            Next::Wait => {
                self.put_back(conn);
                self.rearm(slot);
            }
        }
        if self.pooled > self.settings.reassembly_pool {
            self.evict_from_pool();
        }
        self.look_at_delivered(now);
    }

    /// The pool of unfinished messages is full: the largest holder goes whose place is not
    /// reserved, or else the largest.
    fn evict_from_pool(&mut self) {
        let largest = self.table.iter().max_by_key(|conn| {
            let opened = conn.opened.as_ref().filter(|opened| opened.pooled > 0);
            opened.map(|opened| (!opened.session.is_reserved(), opened.pooled))
        });
        let Some(id) = largest.map(|conn| conn.id) else { return };
        let Some(conn) = self.table.take(id) else { return };
        let bytes = conn.opened.as_ref().map_or(0, |o| o.pooled);
        self.finish(conn, DisconnectReason::ReassemblyPool { bytes });
    }

    /// Ends a connection from our side.
    fn end(&mut self, id: ConnId, mode: CloseMode, now: Now) {
        let Some(mut conn) = self.table.take(id) else { return };
        if matches!(mode, CloseMode::Now(_)) {
            self.finish(conn, mode.reason());
            return;
        }
        let flush = matches!(mode, CloseMode::Flush(_));
        if flush && matches!(conn.stage, Stage::AwaitingAdmission(_)) {
            conn.flush_once_admitted = Some(mode);
            return self.put_back(conn);
        }
        if matches!(conn.stage, Stage::AwaitingAdmission(_)) {
            self.park_refused(&mut conn);
        }
        self.begin_closing(&mut conn, mode.reason(), flush, now);
        self.put_back(conn);
        self.enqueue(id.slot());
        self.rearm(id.slot());
        self.evict_pending();
    }

    fn shut_down(&mut self, deadline: Mono, now: Now) {
        self.sockets.stop_listening();
        self.acceptable = false;
        self.accept_after = None;
        self.shutdown = Some(self.shutdown.map_or(deadline, |d| d.min(deadline)));
        for slot in 0..self.table.end() {
            let Some(conn) = self.table.at(slot) else { continue };
            let reason = DisconnectReason::Stopped;
            let mode = match conn.stage {
                Stage::Open => CloseMode::Flush(reason),
                Stage::Closing { .. } => continue,
                _ => CloseMode::Now(reason),
            };
            self.end(conn.id, mode, now);
        }
    }

    fn stop_if_done(&mut self, now: Now) {
        let Some(deadline) = self.shutdown.filter(|_| !self.is_stopped) else { return };
        if deadline <= now.mono {
            for slot in 0..self.table.end() {
                if let Some(conn) = self.table.take_at(slot) {
                    self.finish(conn, DisconnectReason::Stopped);
                }
            }
        }
        if self.table.len() == 0 {
            self.is_stopped = true;
            self.shutdown = None;
            self.reports.push_back(Report::Stopped);
        }
    }

    /// Closes the socket, frees the slot, reports.
    pub(super) fn finish(&mut self, mut conn: Box<Conn<C>>, reason: DisconnectReason) {
        let slot = conn.id.slot();
        self.sockets.close(slot);
        self.leave_pool(&mut conn);
        if let Some(opened) = &mut conn.opened {
            self.pooled -= opened.pooled;
            opened.end(&mut self.parking);
            self.parking.delivered.remember(&opened.session);
        }
        self.recycle(std::mem::take(&mut conn.out));
        let report = match (conn.is_established, conn.ticket) {
            (true, _) => Some(Report::Closed { conn: conn.id, reason }),
            (false, Some(ticket)) => Some(Report::DialFailed { ticket, reason }),
            (false, None) => {
                let id = conn.link.as_ref().and_then(Link::peer_id);
                let (remote, told) = (conn.remote, self.telling.failed());
                told.map(|others| Report::HandshakeFailed { remote, id, reason, others })
            }
        };
        self.reports.extend(report);
        self.table.release(slot);
    }

    // ---- slots ----

    pub(super) fn put_back(&mut self, conn: Box<Conn<C>>) {
        self.table.put(conn.id.slot(), conn);
    }

    pub(super) fn enqueue(&mut self, slot: u32) {
        if self.table.at(slot).is_some() {
            self.table.set_ready(slot);
        }
    }

    pub(super) fn rearm(&mut self, slot: u32) {
        let next = self.table.at(slot).and_then(Conn::next_deadline);
        self.table.arm(slot, next);
    }

    pub(super) fn report(&mut self, report: Report) {
        self.reports.push_back(report);
    }

    /// When a close that begins now must be over.
    pub(super) fn close_deadline(&self, now: Now) -> Mono {
        let deadline = now.mono + self.settings.close_timeout;
        self.shutdown.map_or(deadline, |shutdown| shutdown.min(deadline))
    }

    // ---- write buffers ----

    pub(super) fn spare_buffer(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    pub(super) fn recycle(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() > 0 && self.spare.len() < SPARE_BUFFERS {
            buffer.clear();
            self.spare.push(buffer);
        }
    }

    /// Writes what is sealed; how many bytes the socket took. An error ends writing, not reading.
    pub(super) fn write_out(&mut self, conn: &mut Conn<C>) -> usize {
        let mut taken = 0;
        while conn.has_output() && conn.writable && !conn.write_failed {
            let bytes = &conn.out[conn.out_at..];
            match self.sockets.write(conn.id.slot(), bytes) {
                Ok(written) => {
                    // A short write means that the kernel's buffer is full: an edge will come.
                    conn.writable = written == bytes.len() || !self.sockets.short_is_blocked();
                    conn.out_at += written;
                    taken += written;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => conn.writable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => conn.write_failed = true,
            }
        }
        if !conn.has_output() || conn.write_failed {
            conn.out_at = 0;
            self.recycle(std::mem::take(&mut conn.out));
        }
        taken
    }

    fn admit_link(&mut self, slot: u32, now: Now) {
        let conn = self.table.at_mut(slot);
        if let Some(link) = conn.and_then(|conn| conn.link.as_mut()) {
            link.admit(&self.settings.link, now.mono);
        }
    }
}
