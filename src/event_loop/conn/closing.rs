//! The end of a connection that we end: nothing that was written may be lost.
//!
//! Closing a socket with unread input makes the kernel reset the connection, and the peer loses
//! what it has not read. So: write, close our half, read and discard until the peer closes, close.

use std::sync::Arc;

use super::{
    Context, Facts, Next, Socket,
    origin::Dial,
    outflow::{Outflow, Supply},
};
use crate::{
    event_loop::{
        Report, Sockets,
        door::{Class, Place, Telling},
    },
    identity::NodeId,
    protocol::{link, secret::Cipher},
    reactor::{DisconnectReason, Inbox, Session},
    time::Mono,
};

/// What the switch is told at the end of a connection: exactly one thing, since telling it uses this up.
#[derive(Debug)]
pub(super) enum Owed {
    /// That a dial has failed.
    Dial(Dial),
    /// That somebody, known or not, has come and is gone; unless too many are.
    Stranger(Option<NodeId>),
    /// That what it was told is established is closed, and whether a message was written to it.
    Session { has_sent: bool },
}

impl Owed {
    pub(super) fn report(
        self,
        facts: &Facts,
        reason: DisconnectReason,
        telling: &mut Telling,
    ) -> Option<Report> {
        match self {
            Self::Dial(dial) => Some(dial.fail(reason)),
            Self::Session { has_sent } => Some(Report::Closed { conn: facts.id, reason, has_sent }),
            Self::Stranger(id) => {
                let remote = facts.remote;
                let others = telling.failed()?;
                Some(Report::HandshakeFailed { remote, id, reason, others })
            }
        }
    }
}

/// A connection that we end.
pub(in crate::event_loop) struct Closing<C: Cipher> {
    pub(super) reason: DisconnectReason,
    pub(super) deadline: Mono,
    owed: Owed,
    /// Of one that we have refused: it is held no longer than there is room.
    place: Option<Place>,
    session: Option<Leaving<C>>,
    /// Our half is closed.
    is_shut: bool,
}

/// What a session leaves.
pub(super) struct Leaving<C: Cipher> {
    pub(super) session: Arc<Session>,
    pub(super) link: link::Open<C>,
    pub(super) outflow: Outflow,
    /// Everything accepted is cut and written first.
    pub(super) is_flushing: bool,
    /// The send rate allows nothing before.
    pub(super) send_after: Option<Mono>,
}

impl<C: Cipher> Closing<C> {
    /// It was never a session. A place that it has is now that of one that goes first: nobody holds us
    /// by not closing.
    pub(super) fn refused<S: Sockets, I: Inbox>(
        reason: DisconnectReason,
        owed: Owed,
        mut place: Option<Place>,
        socket: &mut Socket,
        cx: &mut Context<S, I>,
    ) -> Self {
        if let Some(place) = &mut place {
            cx.door.pool.set_class(place, Class::Refused);
        }
        socket.inbuf = Vec::new();
        let deadline = cx.close_deadline();
        Self { reason, deadline, owed, place, session: None, is_shut: false }
    }

    /// Of a session nothing more is delivered.
    pub(super) fn session<S: Sockets, I: Inbox>(
        reason: DisconnectReason,
        leaving: Leaving<C>,
        socket: &mut Socket,
        cx: &mut Context<S, I>,
    ) -> Self {
        socket.inbuf = Vec::new();
        let deadline = cx.close_deadline();
        // It is not the peer who has ended it, and nobody asks.
        let owed = Owed::Session { has_sent: true };
        Self { reason, deadline, owed, place: None, session: Some(leaving), is_shut: false }
    }

    pub(super) fn leaving(&self) -> Option<&Session> {
        self.session.as_ref().map(|leaving| &*leaving.session)
    }

    /// When there is something to do though nothing happens.
    pub(super) fn next_deadline(&self) -> Mono {
        let send_after = self.session.as_ref().and_then(|leaving| leaving.send_after);
        send_after.map_or(self.deadline, |after| after.min(self.deadline))
    }

    pub(super) fn run<S: Sockets, I: Inbox>(
        &mut self,
        facts: &Facts,
        socket: &mut Socket,
        cx: &mut Context<S, I>,
    ) -> Next {
        let unread = discard(socket, cx);
        socket.write(cx);
        let (mut is_flushing, mut again) = (false, false);
        if let Some(leaving) = &mut self.session {
            if leaving.is_flushing && socket.has_room() {
                if leaving.write(socket, cx).is_err() {
                    return Next::Over(self.reason.clone());
                }
                again = leaving.is_flushing && socket.writable;
            }
            is_flushing = leaving.is_flushing;
            // Past, or of no use before the socket takes more: then there is nothing to wait for.
            let is_due = |after| after <= cx.now.mono;
            leaving.send_after = leaving.send_after.filter(|&at| is_flushing && !is_due(at));
            again &= leaving.send_after.is_none();
        }
        let is_written = socket.write_failed || (!is_flushing && !socket.has_output());
        if is_written && !self.is_shut {
            cx.sockets.shutdown_write(facts.id.slot());
        }
        self.is_shut = is_written;
        match (is_written && socket.end.is_some(), again || unread) {
            (true, _) => Next::Over(self.reason.clone()),
            (false, true) => Next::Again,
            (false, false) => Next::Wait,
        }
    }

    /// It is over.
    pub(super) fn over<S: Sockets, I: Inbox>(self, cx: &mut Context<S, I>) -> Owed {
        if let Some(place) = self.place {
            cx.door.pool.leave(place);
        }
        if let Some(Leaving { session, mut outflow, .. }) = self.session {
            outflow.clear(&session);
            session.end();
            cx.parking.delivered.remember(&session);
        }
        self.owed
    }
}

impl<C: Cipher> Leaving<C> {
    /// Cuts and writes one batch. An error: it cannot be sealed.
    fn write<S: Sockets, I: Inbox>(
        &mut self,
        socket: &mut Socket,
        cx: &mut Context<S, I>,
    ) -> Result<(), ()> {
        self.send_after = self.send_after.filter(|&after| after > cx.now.mono);
        if self.send_after.is_some() {
            return Ok(());
        }
        let mut out = cx.spare_buffer();
        let mut supply = Supply { outflow: &mut self.outflow, session: &self.session };
        let filled = self.link.fill(&mut out, cx.batch_frames(), &mut supply, cx.now.mono);
        let filled = filled.map_err(drop)?;
        self.send_after = filled.throttled_until;
        self.is_flushing = filled.more;
        socket.out = out;
        socket.write(cx);
        Ok(())
    }
}

/// Reads once and forgets it. True: there may be more.
#[expect(
    clippy::indexing_slicing,
    reason = "the shared buffer is as long as the largest read, or longer"
)]
fn discard<S: Sockets, I: Inbox>(socket: &mut Socket, cx: &mut Context<S, I>) -> bool {
    if !socket.may_read() {
        return false;
    }
    let quantum = cx.quantum;
    socket.read(&mut cx.sockets, &cx.counters, &mut cx.scratch[..quantum]);
    socket.may_read()
}
