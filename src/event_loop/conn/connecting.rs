//! A dial, until the connection stands.

use std::{ops::ControlFlow, time::Duration};

use super::{Context, Facts, Handshaking, Next, Socket, origin::Dial};
use crate::{
    event_loop::Sockets,
    protocol::secret::Cipher,
    reactor::{DisconnectReason, Inbox},
    time::Mono,
};

/// Waits for the connection.
#[derive(Debug)]
pub(super) struct Connecting {
    pub(super) dial: Dial,
    pub(super) deadline: Mono,
}

impl Connecting {
    pub(super) fn new(dial: Dial, timeout: Duration, now: Mono) -> Self {
        let deadline = dial.deadline(timeout, now);
        Self { dial, deadline }
    }

    /// What it becomes once the connection stands.
    pub(super) fn run<S: Sockets, I: Inbox, C: Cipher>(
        self,
        facts: &Facts,
        socket: &mut Socket,
        cx: &mut Context<S, I>,
    ) -> ControlFlow<(Self, Next), Handshaking<C>> {
        if !socket.writable {
            return ControlFlow::Break((self, Next::Wait));
        }
        match cx.sockets.connect_result(facts.id.slot()) {
            Ok(true) => ControlFlow::Continue(Handshaking::dialed(self.dial, cx)),
            Ok(false) => {
                socket.writable = false;
                ControlFlow::Break((self, Next::Wait))
            }
            Err(error) => ControlFlow::Break((self, Next::Over(DisconnectReason::from_io(&error)))),
        }
    }

    /// Why it is over once its deadline has come.
    pub(super) fn timeout(&self, dial_timeout: Duration) -> DisconnectReason {
        DisconnectReason::DialTimeout(self.dial.time_given(self.deadline, dial_timeout))
    }
}
