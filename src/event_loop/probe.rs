//! Whether a session's peer is still there, and that it is not.

use super::{
    Inbox, LoopCore, Report, Sockets,
    conn::{Conn, Opened, Stage},
};
use crate::{ids::ConnId, protocol::secret::Cipher, reactor::Event, time::Now};

impl<S: Sockets, I: Inbox, C: Cipher> LoopCore<S, I, C> {
    /// Asks the peer for a sign of life.
    pub(super) fn handle_probe(&mut self, id: ConnId, now: Now) {
        let Some(mut conn) = self.table.take(id) else { return };
        let is_open = matches!(conn.stage, Stage::Open);
        match (&mut conn.opened, &mut conn.link) {
            (Some(opened), Some(link)) if is_open && !opened.is_ending => {
                opened.is_probed = true;
                link.probe(now.mono);
            }
            _ if conn.is_established && !matches!(conn.stage, Stage::AwaitingAdmission(_)) => {
                self.report_ending(&mut conn);
            }
            _ => {}
        }
        self.put_back(conn);
        self.enqueue(id.slot());
    }

    /// Answers a probe, if there is one: the peer has sent something, or it is we who do not read.
    pub(super) fn answer_probe(&mut self, id: ConnId, opened: &mut Opened, has_read: bool) {
        let is_deaf =
            opened.inflow.is_stalled() || (opened.is_suspended && opened.recv_after.is_some());
        if opened.is_probed && (has_read || is_deaf) {
            opened.is_probed = false;
            self.report(Report::Alive(id));
        }
    }

    /// The session is about to be over: told once.
    pub(super) fn report_ending(&mut self, conn: &mut Conn<C>) {
        if conn.is_established && !std::mem::replace(&mut conn.is_ending_told, true) {
            self.report(Report::Ending(conn.id));
        }
    }

    /// Tells of reactors whose receivers turned out to be gone.
    pub(super) fn report_gone(&mut self) {
        while let Some(reactor) = self.inbox.news.pop() {
            self.report(Report::ReactorGone(reactor));
        }
    }
}

/// The reactors' inboxes, and whose receiver is gone.
#[derive(Debug)]
pub(super) struct Watched<I> {
    pub(super) inner: I,
    gone: Box<[bool]>,
    /// Found since they were last told.
    news: Vec<usize>,
}

impl<I: Inbox> Watched<I> {
    pub(super) fn new(inner: I, reactors: usize) -> Self {
        Self { inner, gone: vec![false; reactors].into(), news: Vec::new() }
    }

    /// Delivers; an event for a reactor that is gone is dropped, which returns its budget.
    pub(super) fn deliver(&mut self, reactor: usize, event: Event) {
        if !self.inner.deliver(reactor, event) && !std::mem::replace(&mut self.gone[reactor], true)
        {
            self.news.push(reactor);
        }
    }
}
