//! One connection, from `connect` or `accept` to close. What exists only in a part of its life is a
//! field of that part's type; each has a `run`, which gets the socket and what of the loop a connection
//! may touch, and says what comes next.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod awaiting;
mod closing;
mod connecting;
mod context;
mod facts;
mod handshaking;
mod inflow;
mod open;
mod origin;
mod outflow;
mod socket;
mod stall;
#[cfg(test)]
mod tests;

use std::{mem, net::SocketAddr, ops::ControlFlow, sync::Arc, time::Duration};

use self::{
    awaiting::{AwaitingAdmission, AwaitingFilter},
    closing::{Closing, Owed},
    connecting::Connecting,
    facts::Facts,
    handshaking::{After, Handshaking},
    open::Open,
    origin::{Dial, Origin},
    socket::Socket,
};
pub(super) use self::{context::Context, facts::Next};
use super::{Readiness, Report, Sockets, door::Place};
use crate::{
    identity::NodeId,
    ids::{ConnId, Direction},
    protocol::secret::Cipher,
    reactor::{CloseMode, DisconnectReason, Inbox, Session},
    time::Mono,
};

/// A connection.
pub(super) struct Conn<C: Cipher> {
    facts: Facts,
    socket: Socket,
    stage: Stage<C>,
}

/// Where it stands.
enum Stage<C: Cipher> {
    Connecting(Connecting),
    AwaitingFilter(AwaitingFilter),
    Handshaking(Box<Handshaking<C>>),
    AwaitingAdmission(Box<AwaitingAdmission<C>>),
    Open(Box<Open<C>>),
    Closing(Box<Closing<C>>),
    /// Nothing is left to be said or done. Also what is there while a stage becomes another one.
    Over,
}

impl<C: Cipher> Conn<C> {
    /// One that begins to connect.
    pub(super) fn dialed<S: Sockets, I: Inbox>(
        id: ConnId,
        remote: SocketAddr,
        ticket: u64,
        expected: NodeId,
        within: Option<Duration>,
        cx: &Context<S, I>,
    ) -> Self {
        let now = cx.now.mono;
        let until = within.map(|within| (now + within, within));
        let dial = Dial { ticket, expected, until };
        let stage = Stage::Connecting(Connecting::new(dial, cx.settings.dial_timeout, now));
        Self::new(id, Direction::Outbound, remote, stage)
    }

    /// One that was accepted and has a place in the pool.
    pub(super) fn accepted<S: Sockets, I: Inbox>(
        id: ConnId,
        remote: SocketAddr,
        place: Place,
        cx: &mut Context<S, I>,
    ) -> Self {
        let deadline = cx.now.mono + cx.settings.handshake_timeout;
        let stage = if cx.settings.filter_connections {
            cx.door.pool.set_unasked(&place, id.slot());
            Stage::AwaitingFilter(AwaitingFilter { place, deadline })
        } else {
            cx.door.pool.set_silent(&place, id.slot());
            Stage::Handshaking(Box::new(Handshaking::accepted(place, deadline)))
        };
        Self::new(id, Direction::Inbound, remote, stage)
    }

    fn new(id: ConnId, direction: Direction, remote: SocketAddr, stage: Stage<C>) -> Self {
        let socket = Socket::new(id.slot(), direction == Direction::Inbound);
        Self { facts: Facts { id, direction, remote }, socket, stage }
    }

    pub(super) fn id(&self) -> ConnId {
        self.facts.id
    }

    /// Its session, until it is over.
    pub(super) fn session(&self) -> Option<&Session> {
        match &self.stage {
            Stage::Open(open) => Some(&open.session),
            Stage::Closing(closing) => closing.leaving(),
            _ => None,
        }
    }

    /// Whether messages wait for a reactor.
    pub(super) fn has_undelivered(&self) -> bool {
        matches!(&self.stage, Stage::Open(open) if open.has_undelivered())
    }

    /// Bytes of its unfinished messages, if there are some; whether its place is reserved.
    pub(super) fn pooled(&self) -> Option<(usize, bool)> {
        match &self.stage {
            Stage::Open(open) => Some(open.pooled()).filter(|(bytes, _)| *bytes > 0),
            _ => None,
        }
    }

    /// When there is something to do though nothing happens.
    pub(super) fn next_deadline(&self) -> Option<Mono> {
        match &self.stage {
            Stage::Connecting(connecting) => Some(connecting.deadline),
            Stage::AwaitingFilter(waiting) => Some(waiting.deadline),
            Stage::Handshaking(handshaking) => Some(handshaking.deadline),
            Stage::AwaitingAdmission(waiting) => Some(waiting.deadline),
            Stage::Open(open) => open.next_deadline(),
            Stage::Closing(closing) => Some(closing.next_deadline()),
            Stage::Over => None,
        }
    }

    /// Its runs are those of a session, of which a turn has so many.
    pub(super) fn runs_as_session(&self) -> bool {
        matches!(self.stage, Stage::Open(_) | Stage::Closing(_))
    }

    /// The poll told of its socket.
    pub(super) fn note(&mut self, readiness: Readiness) {
        self.socket.note(readiness);
    }

    pub(super) fn run<S: Sockets, I: Inbox>(&mut self, cx: &mut Context<S, I>) -> Next {
        let runs = match self.runs_as_session() {
            true => &mut cx.session_runs,
            false => &mut cx.stranger_runs,
        };
        *runs = runs.saturating_sub(1);
        let (facts, socket) = (&self.facts, &mut self.socket);
        match &mut self.stage {
            Stage::Open(open) => return open.run(facts, socket, cx),
            Stage::Closing(closing) => return closing.run(facts, socket, cx),
            Stage::AwaitingAdmission(waiting) => return waiting.run(facts, socket, cx),
            _ => {}
        }
        let handshaking = match mem::replace(&mut self.stage, Stage::Over) {
            Stage::Connecting(connecting) => match connecting.run(facts, socket, cx) {
                ControlFlow::Continue(handshaking) => Box::new(handshaking),
                ControlFlow::Break((connecting, next)) => {
                    self.stage = Stage::Connecting(connecting);
                    return next;
                }
            },
            Stage::Handshaking(handshaking) => handshaking,
            stage => {
                self.stage = stage;
                return Next::Wait;
            }
        };
        let (after, next) = handshaking.run(facts, socket, cx);
        self.stage = match after {
            After::Handshaking(handshaking) => Stage::Handshaking(handshaking),
            After::AwaitingAdmission(waiting) => Stage::AwaitingAdmission(waiting),
            After::Closing(closing) => Stage::Closing(closing),
        };
        next
    }

    /// Its deadline has come, or one that was armed before and means nothing any more.
    pub(super) fn handle_deadline<S: Sockets, I: Inbox>(&self, cx: &Context<S, I>) -> Next {
        let (now, settings) = (cx.now.mono, &cx.settings);
        let reason = match &self.stage {
            Stage::Connecting(connecting) if connecting.deadline <= now => {
                connecting.timeout(settings.dial_timeout)
            }
            Stage::AwaitingFilter(waiting) if waiting.deadline <= now => {
                DisconnectReason::HandshakeTimeout(settings.handshake_timeout)
            }
            Stage::Handshaking(handshaking) if handshaking.deadline <= now => {
                handshaking.timeout(settings.handshake_timeout)
            }
            Stage::AwaitingAdmission(waiting) if waiting.deadline <= now => {
                DisconnectReason::SwitchBusy(settings.verdict_timeout)
            }
            Stage::Open(open) if open.is_due(now) => {
                self.socket.end.clone().unwrap_or(DisconnectReason::Reset)
            }
            Stage::Closing(closing) if closing.deadline <= now => closing.reason.clone(),
            _ => return Next::Again,
        };
        Next::Over(reason)
    }

    /// The switch has time for one more question: about one that waits for that.
    pub(super) fn ask<S: Sockets, I: Inbox>(&mut self, cx: &mut Context<S, I>) {
        match &mut self.stage {
            Stage::AwaitingFilter(_) => {
                cx.door.telling.ask();
                cx.report(Report::Accepted { conn: self.facts.id, remote: self.facts.remote });
            }
            Stage::AwaitingAdmission(waiting) => waiting.ask(&self.facts, &self.socket, cx),
            _ => {}
        }
    }

    /// The handshake begins though the peer has sent nothing.
    pub(super) fn begin_silent<S: Sockets, I: Inbox>(&mut self, cx: &mut Context<S, I>) -> Next {
        if let Stage::Handshaking(handshaking) = &mut self.stage {
            handshaking.may_begin = true;
            if let Origin::Accepted(place) = &handshaking.origin {
                cx.door.pool.set_begun(place.number());
            }
        }
        self.run(cx)
    }

    /// The verdict of the connection filters.
    pub(super) fn filtered<S: Sockets, I: Inbox>(
        &mut self,
        verdict: Result<(), DisconnectReason>,
        cx: &mut Context<S, I>,
    ) -> Next {
        match (mem::replace(&mut self.stage, Stage::Over), verdict) {
            (Stage::AwaitingFilter(AwaitingFilter { place, deadline }), Ok(())) => {
                cx.door.pool.set_silent(&place, self.facts.id.slot());
                self.stage = Stage::Handshaking(Box::new(Handshaking::accepted(place, deadline)));
                // What it has sent in the meantime makes no other edge.
                Next::Again
            }
            (stage @ Stage::AwaitingFilter(_), Err(reason)) => {
                self.stage = stage;
                Next::Over(reason)
            }
            (stage, _) => {
                self.stage = stage;
                Next::Wait
            }
        }
    }

    /// The switch lets it in.
    pub(super) fn admit<S: Sockets, I: Inbox>(
        &mut self,
        session: Arc<Session>,
        cx: &mut Context<S, I>,
    ) -> Next {
        let waiting = match mem::replace(&mut self.stage, Stage::Over) {
            Stage::AwaitingAdmission(waiting) => waiting,
            stage => {
                self.stage = stage;
                return Next::Wait;
            }
        };
        match waiting.admit(session, cx) {
            Ok((open, flush)) => {
                self.stage = Stage::Open(Box::new(open));
                // The handshake may have read ahead, and no edge will come for what it read.
                self.socket.readable = true;
                flush.map_or(Next::Again, |mode| self.end(mode, cx))
            }
            Err(waiting) => {
                self.stage = Stage::AwaitingAdmission(waiting);
                Next::Wait
            }
        }
    }

    /// The session has queued messages.
    pub(super) fn set_dirty(&mut self) {
        if let Stage::Open(open) = &mut self.stage {
            open.set_dirty();
        }
    }

    /// A reactor has let go what it held of this connection's messages.
    pub(super) fn resume<S: Sockets, I: Inbox>(&mut self, cx: &mut Context<S, I>) -> Next {
        if let Stage::Open(open) = &mut self.stage {
            open.resume(cx);
        }
        // Unconditionally: whole frames may sit in the buffer, and no edge will come for them.
        Next::Again
    }

    /// Asks the peer of a session for a sign of life.
    pub(super) fn probe<S: Sockets, I: Inbox>(&mut self, cx: &Context<S, I>) -> Next {
        if let Stage::Open(open) = &mut self.stage {
            open.probe(cx.now.mono);
        }
        Next::Again
    }

    /// Somebody on our side ends it.
    pub(super) fn end<S: Sockets, I: Inbox>(
        &mut self,
        mode: CloseMode,
        cx: &mut Context<S, I>,
    ) -> Next {
        let flush = match mode {
            CloseMode::Now(reason) => return Next::Over(reason),
            CloseMode::Graceful(_) => false,
            CloseMode::Flush(_) => true,
        };
        let (facts, socket) = (&self.facts, &mut self.socket);
        let closing = match mem::replace(&mut self.stage, Stage::Over) {
            Stage::Open(open) => open.close(mode.reason(), flush, facts, socket, cx),
            Stage::AwaitingAdmission(waiting) => match waiting.end(mode, facts, socket, cx) {
                Ok(closing) => closing,
                Err(waiting) => {
                    self.stage = Stage::AwaitingAdmission(waiting);
                    return Next::Wait;
                }
            },
            stage @ (Stage::Closing(_) | Stage::Over) => {
                self.stage = stage;
                return Next::Wait;
            }
            // Nothing was said yet that would have to arrive.
            stage => {
                self.stage = stage;
                return Next::Over(mode.reason());
            }
        };
        self.stage = Stage::Closing(Box::new(closing));
        Next::Again
    }

    /// The loop is to stop.
    pub(super) fn shut_down<S: Sockets, I: Inbox>(&mut self, cx: &mut Context<S, I>) -> Next {
        match &self.stage {
            Stage::Open(_) => self.end(CloseMode::Flush(DisconnectReason::Stopped), cx),
            Stage::Closing(_) | Stage::Over => Next::Wait,
            _ => Next::Over(DisconnectReason::Stopped),
        }
    }

    /// Why it goes when there is no room for it: one that was refused already has only its farewell cut
    /// short.
    pub(super) fn why_evicted(&self) -> DisconnectReason {
        match &self.stage {
            Stage::Closing(closing) => closing.reason.clone(),
            _ => DisconnectReason::Evicted,
        }
    }

    /// It is over: says so, once, and gives back what it had of what all share. Its socket is the
    /// caller's to close.
    pub(super) fn over<S: Sockets, I: Inbox>(
        mut self,
        reason: DisconnectReason,
        cx: &mut Context<S, I>,
    ) {
        let owed = match self.stage {
            Stage::Connecting(connecting) => Owed::Dial(connecting.dial),
            Stage::AwaitingFilter(waiting) => {
                cx.door.pool.leave(waiting.place);
                Owed::Stranger(None)
            }
            Stage::Handshaking(handshaking) => match handshaking.origin {
                Origin::Dialed(dial) => Owed::Dial(dial),
                Origin::Accepted(place) => {
                    cx.door.pool.leave(place);
                    Owed::Stranger(handshaking.peer_id)
                }
            },
            Stage::AwaitingAdmission(waiting) => waiting.over(cx),
            Stage::Open(open) => {
                let has_sent = open.session.has_sent();
                open.over(cx);
                Owed::Session { has_sent }
            }
            Stage::Closing(closing) => closing.over(cx),
            Stage::Over => return,
        };
        self.socket.drop_output(cx);
        let report = owed.report(&self.facts, reason, &mut cx.door.telling);
        cx.reports.extend(report);
    }
}
