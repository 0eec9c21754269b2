//! The event loop's decisions, without a socket, a clock or a thread.

use std::{io, net::SocketAddr, sync::Arc};

use super::{
    Command, Counters, LoopSettings, Mailbox, Posts, Readiness, Report, Sockets,
    conn::{Conn, Context, Next},
    listener::Listener,
    ports::LISTENER,
    spares::Returned,
    table::Table,
};
use crate::{
    ids::ConnId,
    protocol::secret::{Cipher, KeyAgreement},
    reactor::{DisconnectReason, Inbox},
    time::{Mono, Now, earliest},
};

/// The event loop's decisions. A driver feeds it with what happened, calls
/// [`run_turn`](Self::run_turn), takes the reports with [`poll_report`](Self::poll_report), and
/// sleeps until [`next_deadline`](Self::next_deadline) unless [`has_work`](Self::has_work).
pub struct LoopCore<S, I, C: Cipher> {
    table: Table<Conn<C>>,
    cx: Context<S, I>,
    listener: Listener,
    is_stopped: bool,
    posts: Posts,
    /// Scratch.
    came_back: Returned,
}

impl<S: Sockets, I: Inbox, C: Cipher> LoopCore<S, I, C> {
    /// A loop without connections. `key_agreement` makes a fresh ephemeral key for each handshake.
    pub fn new(
        settings: LoopSettings,
        sockets: S,
        inbox: I,
        key_agreement: Box<dyn FnMut() -> Option<KeyAgreement> + Send>,
    ) -> Self {
        Self {
            table: Table::new(settings.event_loop),
            cx: Context::new(settings, sockets, inbox, key_agreement),
            listener: Listener::default(),
            is_stopped: false,
            posts: Posts::default(),
            came_back: Returned::default(),
        }
    }

    /// Opens the listener.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub fn listen(&mut self, addr: SocketAddr) -> io::Result<SocketAddr> {
        self.listener.note();
        self.cx.sockets.listen(addr)
    }

    /// What is counted, for those that are to read it.
    pub fn counters(&self) -> Arc<Counters> {
        self.cx.counters.clone()
    }

    /// The turn and what it has led to are over; the driver tells, for it has the clock.
    pub fn end_turn(&self, now: Mono) {
        self.cx.counters.on_turn(now - self.cx.now.mono);
    }

    /// The sockets, for the driver that waits on them.
    pub fn sockets_mut(&mut self) -> &mut S {
        &mut self.cx.sockets
    }

    /// The inboxes, for a simulation that carries what they hold.
    pub fn inbox_mut(&mut self) -> &mut I {
        &mut self.cx.inbox.inner
    }

    /// Takes what other threads have posted: commands, then resumes, then dirty sessions.
    pub fn take_posts(&mut self, mailbox: &Mailbox, now: Now) {
        let mut posts = std::mem::take(&mut self.posts);
        mailbox.take(&mut posts);
        mailbox.take_spares(&mut self.came_back);
        self.came_back.drain().for_each(|spare| self.cx.spares.put(spare));
        self.cx.now = now;
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
        use crate::reactor::CloseMode::Graceful;
        self.cx.now = now;
        let door = &mut self.cx.door;
        match command {
            Command::Dial { ticket, addr, expected, within } => {
                if self.cx.shutdown.is_some() {
                    let reason = DisconnectReason::Stopped;
                    return self.cx.report(Report::DialFailed { ticket, reason });
                }
                let id = self.table.reserve();
                let conn = Conn::dialed(id, addr, ticket, expected, within, &self.cx);
                self.table.put(id.slot(), Box::new(conn));
                let next = match self.cx.sockets.connect(id.slot(), addr) {
                    Ok(()) => Next::Wait,
                    Err(error) => Next::Over(DisconnectReason::from_connect(&error)),
                };
                self.settle(id.slot(), next);
            }
            Command::Admit { conn, session } => self.with(conn, |conn, cx| conn.admit(session, cx)),
            Command::Reject { conn, reason } => {
                self.with(conn, |conn, cx| conn.end(Graceful(reason), cx));
            }
            Command::Filtered { conn, verdict } => {
                self.with(conn, |conn, cx| conn.filtered(verdict, cx));
            }
            Command::Probe(conn) => self.with(conn, |conn, cx| conn.probe(cx)),
            Command::Bans(bans) => door.gate.bans = bans,
            Command::Considered => door.telling.considered(),
            Command::Heard => door.telling.heard(),
            Command::Known(known) => door.gate.known = known,
            Command::InboundFull(is_full) => door.gate.is_full = is_full,
            Command::Close { conn, mode } => self.with(conn, |conn, cx| conn.end(mode, cx)),
            Command::Shutdown { deadline } => self.shut_down(deadline),
        }
    }

    /// A reactor has let go what it held of this connection's messages.
    pub fn handle_resume(&mut self, id: ConnId) {
        self.with(id, |conn, cx| conn.resume(cx));
    }

    /// The session has queued messages.
    pub fn handle_dirty(&mut self, id: ConnId) {
        if let Some(conn) = self.table.get_mut(id) {
            conn.set_dirty();
            self.table.set_ready(id.slot());
        }
    }

    /// The poll told of a socket.
    pub fn handle_readiness(&mut self, slot: u32, readiness: Readiness) {
        if slot == LISTENER {
            self.listener.note();
        } else if let Some(conn) = self.table.at_mut(slot) {
            conn.note(readiness);
            self.table.set_ready(slot);
        }
    }

    /// What is due, then what is ready, each once: accepts, then connections, of which so many are left for
    /// the next turn that this one stays short.
    pub fn run_turn(&mut self, now: Now) {
        self.cx.begin_turn(now);
        while self.cx.overdue > 0
            && let Some(slot) = self.table.pop_due(now.mono)
        {
            match self.table.at(slot).map(|conn| conn.handle_deadline(&self.cx)) {
                Some(Next::Over(reason)) => {
                    self.cx.overdue -= 1;
                    self.finish(slot, reason);
                }
                // Its run arms the next deadline.
                Some(_) => self.table.set_ready(slot),
                None => {}
            }
        }
        self.look_at_delivered();
        let first_accepted = self.cx.door.pool.next();
        self.accept();
        let ready = self.table.begin_runs();
        self.cx.share_bytes(ready);
        // Those that were short of steps, before the steps go to others.
        for _ in 0..self.table.num_handshakes() {
            if self.cx.handshake_steps == 0 || self.cx.stranger_runs == 0 {
                break;
            }
            let Some(slot) = self.table.pop_handshake() else { break };
            self.run(slot, Conn::run);
        }
        self.cx.is_crowded = false;
        for _ in 0..ready {
            if self.cx.session_runs == 0 {
                self.cx.is_crowded = self.table.leave_over(Conn::runs_as_session);
                break;
            }
            let Some(slot) = self.table.pop_ready() else { break };
            if self.cx.stranger_runs == 0 && !self.runs_as_session(slot) {
                self.table.set_handshake(slot);
                continue;
            }
            self.run(slot, Conn::run);
        }
        self.ask_switch();
        self.begin_silent(first_accepted);
        while let Some(reactor) = self.cx.inbox.pop_gone() {
            self.cx.report(Report::ReactorGone(reactor));
        }
        self.stop_if_done();
    }

    /// The next report for the switch.
    pub fn poll_report(&mut self) -> Option<Report> {
        self.cx.reports.pop_front()
    }

    /// Whether the next turn has something to do without anything happening before.
    pub fn has_work(&self) -> bool {
        let door = &self.cx.door;
        self.table.num_ready() > 0
            || self.cx.parking.delivered.has_reached()
            || (door.pool.has_silent() && door.may_begin())
            || self.listener.is_ready()
    }

    /// When the next turn has something to do.
    pub fn next_deadline(&self) -> Option<Mono> {
        let next = earliest(self.table.next_deadline(), self.listener.next_deadline());
        let next = earliest(next, self.cx.parking.delivered.next_deadline());
        earliest(next, self.cx.shutdown)
    }

    /// Whether `Stopped` was reported.
    pub fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// Connections in any stage.
    pub fn num_connections(&self) -> usize {
        self.table.len()
    }

    /// Accepted connections that are no sessions.
    pub fn num_pending(&self) -> usize {
        self.cx.door.pool.len()
    }

    /// Bytes that are parked now, over all connections.
    pub fn parked_bytes(&self) -> usize {
        self.cx.parking.parked
    }

    /// Bytes of unfinished messages now, over all connections.
    pub fn unfinished_bytes(&self) -> usize {
        self.cx.pooled
    }

    // ---- connections ----

    /// Something has happened to the connection with this ID.
    fn with(&mut self, id: ConnId, what: impl FnOnce(&mut Conn<C>, &mut Context<S, I>) -> Next) {
        let Some(conn) = self.table.get_mut(id) else { return };
        match what(conn, &mut self.cx) {
            // It was no run.
            Next::Again => {
                self.table.set_ready(id.slot());
                self.settle(id.slot(), Next::Wait);
            }
            next => self.settle(id.slot(), next),
        }
    }

    /// It is this one's turn.
    fn run(&mut self, slot: u32, what: impl FnOnce(&mut Conn<C>, &mut Context<S, I>) -> Next) {
        let Some(conn) = self.table.at_mut(slot) else { return };
        let next = what(conn, &mut self.cx);
        self.settle(slot, next);
        if self.cx.pooled > self.cx.settings.reassembly_pool {
            self.evict_from_pool();
        }
        self.look_at_delivered();
    }

    /// What comes next for the connection in the slot, whatever has happened to it.
    fn settle(&mut self, slot: u32, next: Next) {
        match next {
            Next::Over(reason) => self.finish(slot, reason),
            Next::Again if self.runs_as_session(slot) => self.table.set_again(slot),
            Next::Again => self.table.set_handshake(slot),
            Next::Wait => {}
        }
        let deadline = self.table.at(slot).and_then(Conn::next_deadline);
        self.table.arm(slot, deadline, self.cx.now.mono);
        while let Some(slot) = self.cx.door.one_too_many(self.table.len()) {
            let reason = self.table.at(slot).map(Conn::why_evicted);
            self.finish(slot, reason.unwrap_or(DisconnectReason::Evicted));
        }
    }

    fn runs_as_session(&self, slot: u32) -> bool {
        self.table.at(slot).is_some_and(Conn::runs_as_session)
    }

    /// Closes the socket, frees the slot, reports.
    fn finish(&mut self, slot: u32, reason: DisconnectReason) {
        self.cx.sockets.close(slot);
        if let Some(conn) = self.table.release(slot) {
            conn.over(reason, &mut self.cx);
        }
    }

    /// The pool of unfinished messages is full: the largest holder goes whose place is not
    /// reserved, or else the largest.
    fn evict_from_pool(&mut self) {
        let holders = self.table.iter().filter_map(|conn| Some((conn.id(), conn.pooled()?)));
        let largest = holders.max_by_key(|(_, (bytes, is_reserved))| (!is_reserved, *bytes));
        if let Some((id, (bytes, _))) = largest {
            self.finish(id.slot(), DisconnectReason::ReassemblyPool { bytes });
        }
    }

    /// Takes what waits at the listener.
    fn accept(&mut self) {
        self.listener.begin(self.cx.now.mono, self.cx.is_crowded);
        while self.listener.may_accept() {
            let id = self.table.reserve();
            let accepted = self.listener.accept(id.slot(), &mut self.cx);
            let entered = accepted.and_then(|remote| {
                match self.cx.door.enter(remote.ip(), id.slot(), self.cx.now) {
                    Ok(place) => Some((remote, place)),
                    Err(reason) => {
                        self.cx.sockets.close(id.slot());
                        if let Some(others) = self.cx.door.telling.refused(self.cx.now.mono) {
                            self.cx.report(Report::Refused { remote, reason, others });
                        }
                        None
                    }
                }
            });
            match entered {
                Some((remote, place)) => {
                    let conn = Conn::accepted(id, remote, place, &mut self.cx);
                    self.table.put(id.slot(), Box::new(conn));
                    let next = match self.cx.sockets.let_in(id.slot(), remote) {
                        Ok(()) => Next::Wait,
                        Err(error) => {
                            self.listener.failed(&error, &mut self.cx);
                            Next::Over(DisconnectReason::from_io(&error))
                        }
                    };
                    self.settle(id.slot(), next);
                }
                None => drop(self.table.release(id.slot())),
            }
        }
    }

    /// Asks the switch about those that wait for that, the oldest first, as far as it keeps up.
    fn ask_switch(&mut self) {
        while self.cx.door.telling.may_ask() {
            let Some(slot) = self.cx.door.pool.pop_unasked() else { return };
            if let Some(conn) = self.table.at_mut(slot) {
                conn.ask(&mut self.cx);
            }
        }
    }

    /// Begins the handshakes of those that have sent nothing, with the steps that those who have
    /// sent something left over. `before` is the number of the first one accepted in this turn:
    /// what it has sent already is told by the next poll, and then our key and our
    /// authentication go out in one write.
    fn begin_silent(&mut self, before: u64) {
        while self.cx.handshake_steps > 0 && self.cx.door.may_begin() {
            let Some(slot) = self.cx.door.pool.oldest_silent(before) else { return };
            self.run(slot, Conn::begin_silent);
        }
    }

    /// Looks what reactors hold, if it is time, and delivers to those that may have more.
    fn look_at_delivered(&mut self) {
        let delivered = &mut self.cx.parking.delivered;
        if !delivered.is_due(self.cx.now.mono) {
            return;
        }
        let sessions = self.table.iter().filter_map(Conn::session);
        if !delivered.count(sessions, self.cx.now.mono) {
            return;
        }
        let first = delivered.first().min(self.table.end());
        let slots = (first..self.table.end()).chain(0..first);
        let waiting = slots.filter_map(|slot| self.table.at(slot)).filter(|c| c.has_undelivered());
        let waiting: Vec<ConnId> = waiting.map(Conn::id).collect();
        for id in waiting {
            // The first that gets nothing any more is the first next time.
            if self.cx.parking.delivered.is_cut_at(id.slot()) {
                break;
            }
            self.handle_resume(id);
        }
    }

    // ---- the end ----

    fn shut_down(&mut self, deadline: Mono) {
        self.cx.sockets.stop_listening();
        self.listener = Listener::default();
        self.cx.shutdown = Some(self.cx.shutdown.map_or(deadline, |d| d.min(deadline)));
        for slot in 0..self.table.end() {
            if let Some(conn) = self.table.at_mut(slot) {
                let next = conn.shut_down(&mut self.cx);
                self.settle(slot, next);
            }
        }
    }

    fn stop_if_done(&mut self) {
        let Some(deadline) = self.cx.shutdown.filter(|_| !self.is_stopped) else { return };
        if deadline <= self.cx.now.mono {
            for slot in 0..self.table.end() {
                if self.table.at(slot).is_some() {
                    self.finish(slot, DisconnectReason::Stopped);
                }
            }
        }
        if self.table.len() == 0 {
            self.is_stopped = true;
            self.cx.shutdown = None;
            self.cx.report(Report::Stopped);
        }
    }
}
