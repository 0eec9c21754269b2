//! Secret connection and NodeInfo.

use std::time::Duration;

use super::{
    AwaitingAdmission, Closing, Context, Facts, Next, Socket,
    closing::Owed,
    origin::{Dial, Origin},
};
use crate::{
    event_loop::{
        Sockets,
        door::{Class, Place},
    },
    identity::NodeId,
    protocol::{
        link::{self, Failed, Step},
        secret::Cipher,
    },
    reactor::{DisconnectReason, Inbox, LocalFault},
    time::Mono,
};

/// One read of a handshake, and there is one in a turn. A whole handshake is three frames and 35
/// bytes, so this is what a stranger can make us hold beyond an unfinished frame, and makes us open
/// (4 frames, 3 µs) before others have their turn.
const HANDSHAKE_READ: usize = 4 << 10;

/// How long who has authenticated itself may take to send its NodeInfo. Everybody sends it at once
/// (Go gives each phase of the handshake 3 s, `p2p/transport.go`); who does not, takes a place
/// from nobody who comes (`Pool::first_to_go`), and has one no longer than this.
const NODE_INFO_TIMEOUT: Duration = Duration::from_secs(3);

/// A connection whose peer is not known yet.
pub(in crate::event_loop) struct Handshaking<C: Cipher> {
    pub(super) origin: Origin,
    pub(super) deadline: Mono,
    /// `None`: it has not begun.
    link: Option<link::Handshaking<C>>,
    /// It may begin though the peer has sent nothing.
    pub(super) may_begin: bool,
    /// Who has authenticated itself.
    pub(super) peer_id: Option<NodeId>,
}

/// What a handshake's run leaves.
pub(super) enum After<C: Cipher> {
    /// It goes on, or has failed and nothing more is to be said.
    Handshaking(Box<Handshaking<C>>),
    AwaitingAdmission(Box<AwaitingAdmission<C>>),
    Closing(Box<Closing<C>>),
}

impl<C: Cipher> Handshaking<C> {
    /// Who dials speaks first.
    pub(super) fn dialed<S: Sockets, I: Inbox>(dial: Dial, cx: &Context<S, I>) -> Self {
        let deadline = dial.deadline(cx.settings.handshake_timeout, cx.now.mono);
        let origin = Origin::Dialed(dial);
        Self { origin, deadline, link: None, may_begin: true, peer_id: None }
    }

    /// Who is dialed hears the other first, unless there is time to spare.
    pub(super) fn accepted(place: Place, deadline: Mono) -> Self {
        let origin = Origin::Accepted(place);
        Self { origin, deadline, link: None, may_begin: false, peer_id: None }
    }

    pub(super) fn run<S: Sockets, I: Inbox>(
        self: Box<Self>,
        facts: &Facts,
        socket: &mut Socket,
        cx: &mut Context<S, I>,
    ) -> (After<C>, Next) {
        let (stage, next) = self.advance(facts, socket, cx);
        socket.write(cx);
        (stage, next)
    }

    fn advance<S: Sockets, I: Inbox>(
        mut self: Box<Self>,
        facts: &Facts,
        socket: &mut Socket,
        cx: &mut Context<S, I>,
    ) -> (After<C>, Next) {
        let mut has_read = false;
        if self.link.is_none() && !self.may_begin {
            // Who has sent something comes before who has not, and gets our key and our
            // authentication in one write.
            if socket.readable && socket.inbuf.is_empty() {
                read(socket, cx);
                has_read = true;
            }
            if socket.inbuf.is_empty() {
                let next = socket.end.clone().map_or(Next::Wait, Next::Over);
                return (After::Handshaking(self), next);
            }
            if !cx.door.may_begin() {
                // With the silent ones, by age, until the switch has caught up.
                return (After::Handshaking(self), Next::Wait);
            }
            self.may_begin = true;
        }
        loop {
            if cx.handshake_steps == 0 {
                return (After::Handshaking(self), Next::Again);
            }
            let Some(link) = self.link.take() else {
                if let Err(reason) = self.begin(socket, cx) {
                    return (After::Handshaking(self), Next::Over(reason));
                }
                continue;
            };
            let (before, mut input) = (socket.inbuf.len(), socket.inbuf.as_slice());
            let step = link.advance(&cx.settings.link, &mut input, &mut socket.out);
            socket.use_up(before.saturating_sub(input.len()));
            match step {
                Err(failed) => return self.fail(failed, socket, cx),
                Ok(Step::Stepped(link)) => {
                    cx.handshake_steps = cx.handshake_steps.saturating_sub(1);
                    self.note(link.peer_id(), cx);
                    self.link = Some(link);
                }
                Ok(Step::Established(link, node_info)) => {
                    socket.inbuf.shrink_to_fit();
                    let origin = self.origin;
                    let stage = AwaitingAdmission::new(link, node_info, origin, facts, socket, cx);
                    return (After::AwaitingAdmission(Box::new(stage)), Next::Wait);
                }
                Ok(Step::NeedMore(link)) => {
                    self.link = Some(link);
                    let next = match &socket.end {
                        Some(reason) => Next::Over(reason.clone()),
                        None if !socket.readable => Next::Wait,
                        None if has_read => Next::Again,
                        None => {
                            read(socket, cx);
                            has_read = true;
                            continue;
                        }
                    };
                    return (After::Handshaking(self), next);
                }
            }
        }
    }

    /// The first expensive step: our ephemeral key goes out.
    fn begin<S: Sockets, I: Inbox>(
        &mut self,
        socket: &mut Socket,
        cx: &mut Context<S, I>,
    ) -> Result<(), DisconnectReason> {
        // Without randomness there is no key, and nothing that waiting would mend.
        let Some(agreement) = (cx.key_agreement)() else {
            return Err(DisconnectReason::Local(LocalFault::Randomness));
        };
        cx.handshake_steps = cx.handshake_steps.saturating_sub(1);
        let expected = match &self.origin {
            Origin::Dialed(dial) => Some(dial.expected),
            Origin::Accepted(place) => {
                cx.door.pool.set_begun(place.number());
                None
            }
        };
        let settings = &cx.settings.link;
        self.link = Some(link::Handshaking::start(settings, agreement, expected, &mut socket.out));
        if socket.inbuf.is_empty() {
            socket.write(cx);
        }
        Ok(())
    }

    /// An accepted one that has authenticated itself has less time for the rest.
    fn note<S: Sockets, I: Inbox>(&mut self, peer_id: Option<NodeId>, cx: &mut Context<S, I>) {
        let is_new = self.peer_id.is_none() && peer_id.is_some();
        self.peer_id = peer_id;
        if let (Origin::Accepted(place), true) = (&mut self.origin, is_new) {
            cx.door.pool.set_class(place, Class::Authenticated);
            self.deadline = self.deadline.min(cx.now.mono + NODE_INFO_TIMEOUT);
        }
    }

    fn fail<S: Sockets, I: Inbox>(
        mut self: Box<Self>,
        failed: Failed,
        socket: &mut Socket,
        cx: &mut Context<S, I>,
    ) -> (After<C>, Next) {
        self.peer_id = failed.peer_id;
        let is_polite = failed.error.is_polite();
        let reason = DisconnectReason::from(failed.error);
        if !is_polite {
            return (After::Handshaking(self), Next::Over(reason));
        }
        // The peer is to get our NodeInfo, so that it finds the same reason.
        let (owed, place) = match self.origin {
            Origin::Dialed(dial) => (Owed::Dial(dial), None),
            Origin::Accepted(place) => (Owed::Stranger(self.peer_id), Some(place)),
        };
        let closing = Closing::refused(reason, owed, place, socket, cx);
        (After::Closing(Box::new(closing)), Next::Again)
    }

    /// Why it is over once its deadline has come.
    pub(super) fn timeout(&self, configured: Duration) -> DisconnectReason {
        DisconnectReason::HandshakeTimeout(match &self.origin {
            Origin::Dialed(dial) => dial.time_given(self.deadline, configured),
            Origin::Accepted(_) if self.peer_id.is_some() => configured.min(NODE_INFO_TIMEOUT),
            Origin::Accepted(_) => configured,
        })
    }
}

#[expect(clippy::indexing_slicing, reason = "the shared buffer is longer, and no more is read")]
fn read<S: Sockets, I: Inbox>(socket: &mut Socket, cx: &mut Context<S, I>) {
    // Through the shared buffer: a stranger that is silent makes us hold nothing.
    let read = socket.read(&mut cx.sockets, &cx.counters, &mut cx.scratch[..HANDSHAKE_READ]);
    socket.inbuf.extend_from_slice(&cx.scratch[..read]);
}
