//! Connections that wait for a word of the switch.

use std::sync::Arc;

use super::{Closing, Context, Facts, Next, Open, Socket, closing::Owed, origin::Origin};
use crate::{
    event_loop::{
        Established, Report, Sockets,
        door::{Class, Place},
    },
    node_info::NodeInfo,
    protocol::{link, secret::Cipher},
    reactor::{CloseMode, DisconnectReason, Inbox, Session},
    time::Mono,
};

/// The verdict of the connection filters is the switch's; nothing is sent or read.
#[derive(Debug)]
pub(in crate::event_loop) struct AwaitingFilter {
    pub(super) place: Place,
    /// Of the handshake, too.
    pub(super) deadline: Mono,
}

/// Who is there is known; whether it may stay is the switch's verdict.
pub(in crate::event_loop) struct AwaitingAdmission<C: Cipher> {
    link: link::Established<C>,
    pub(super) deadline: Mono,
    /// Of an accepted one.
    place: Option<Place>,
    question: Question,
}

enum Question {
    /// The switch is asked when it has time.
    Unasked(Arc<NodeInfo>),
    /// `Established` was reported.
    Asked {
        /// A reactor was faster than the switch's `Admit`, which brings what is to be flushed.
        flush: Option<CloseMode>,
        /// `Ending` was reported.
        is_ending_told: bool,
    },
}

const ASKED: Question = Question::Asked { flush: None, is_ending_told: false };

impl<C: Cipher> AwaitingAdmission<C> {
    /// Who has dialed waits, and the switch is asked at once; others have their turn.
    pub(super) fn new<S: Sockets, I: Inbox>(
        link: link::Established<C>,
        node_info: Arc<NodeInfo>,
        origin: Origin,
        facts: &Facts,
        socket: &Socket,
        cx: &mut Context<S, I>,
    ) -> Self {
        let deadline = cx.now.mono + cx.settings.verdict_timeout;
        match origin {
            Origin::Accepted(mut place) => {
                cx.door.pool.set_class(&mut place, Class::Established);
                cx.door.pool.set_unasked(&place, facts.id.slot());
                let question = Question::Unasked(node_info);
                Self { link, deadline, place: Some(place), question }
            }
            Origin::Dialed(dial) => {
                let mut asked = Self { link, deadline, place: None, question: ASKED };
                asked.tell(Some(dial.ticket), node_info, facts, socket, cx);
                asked
            }
        }
    }

    /// The switch has time for one more.
    pub(super) fn ask<S: Sockets, I: Inbox>(
        &mut self,
        facts: &Facts,
        socket: &Socket,
        cx: &mut Context<S, I>,
    ) {
        if !self.is_asked()
            && let Question::Unasked(node_info) = std::mem::replace(&mut self.question, ASKED)
        {
            self.tell(None, node_info, facts, socket, cx);
        }
    }

    fn is_asked(&self) -> bool {
        matches!(self.question, Question::Asked { .. })
    }

    fn tell<S: Sockets, I: Inbox>(
        &mut self,
        ticket: Option<u64>,
        node_info: Arc<NodeInfo>,
        facts: &Facts,
        socket: &Socket,
        cx: &mut Context<S, I>,
    ) {
        cx.door.telling.ask();
        cx.report(Report::Established(Established {
            conn: facts.id,
            ticket,
            id: self.link.peer_id(),
            node_info,
            direction: facts.direction,
            remote: facts.remote,
        }));
        if socket.hung_up {
            self.tell_ending(facts, cx);
        }
    }

    /// That the session will be over as soon as it begins: told once.
    fn tell_ending<S: Sockets, I: Inbox>(&mut self, facts: &Facts, cx: &mut Context<S, I>) {
        if let Question::Asked { is_ending_told, .. } = &mut self.question
            && !std::mem::replace(is_ending_told, true)
        {
            cx.report(Report::Ending(facts.id));
        }
    }

    pub(super) fn run<S: Sockets, I: Inbox>(
        &mut self,
        facts: &Facts,
        socket: &mut Socket,
        cx: &mut Context<S, I>,
    ) -> Next {
        if socket.hung_up && !self.is_asked() {
            // Nothing is read here, and one that waits for its turn may wait for seconds.
            return Next::Over(DisconnectReason::Eof);
        }
        socket.write(cx);
        if socket.hung_up {
            self.tell_ending(facts, cx);
        }
        Next::Wait
    }

    /// The switch lets it in: messages flow, and perhaps it is to be ended as soon as what was sent
    /// meanwhile is written. Itself if the switch was not asked.
    pub(super) fn admit<S: Sockets, I: Inbox>(
        self: Box<Self>,
        session: Arc<Session>,
        cx: &mut Context<S, I>,
    ) -> Result<(Open<C>, Option<CloseMode>), Box<Self>> {
        let Question::Asked { flush, is_ending_told } = self.question else { return Err(self) };
        if let Some(place) = self.place {
            cx.door.pool.leave(place);
        }
        let link = self.link.admit(&cx.settings.link, cx.now.mono);
        Ok((Open::new(session, link, cx.settings.reactors, is_ending_told), flush))
    }

    /// It is to be ended. Itself if that has to wait for its admission.
    pub(super) fn end<S: Sockets, I: Inbox>(
        mut self: Box<Self>,
        mode: CloseMode,
        facts: &Facts,
        socket: &mut Socket,
        cx: &mut Context<S, I>,
    ) -> Result<Closing<C>, Box<Self>> {
        if let (Question::Asked { flush, .. }, CloseMode::Flush(_)) = (&mut self.question, &mode) {
            *flush = Some(mode);
            return Err(self);
        }
        self.tell_ending(facts, cx);
        let owed = self.owed();
        Ok(Closing::refused(mode.reason(), owed, self.place, socket, cx))
    }

    fn owed(&self) -> Owed {
        match &self.question {
            Question::Asked { .. } => Owed::Session { has_sent: false },
            Question::Unasked(_) => Owed::Stranger(Some(self.link.peer_id())),
        }
    }

    /// It is over.
    pub(super) fn over<S: Sockets, I: Inbox>(self, cx: &mut Context<S, I>) -> Owed {
        let owed = self.owed();
        if let Some(place) = self.place {
            cx.door.pool.leave(place);
        }
        owed
    }
}
