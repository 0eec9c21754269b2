//! Accepting connections.

use std::{io, net::SocketAddr, time::Duration};

use super::{Report, Sockets, conn::Context};
use crate::{
    reactor::{DisconnectReason, Inbox},
    time::Mono,
};

/// Accepts of one turn: a burst of connections must not hold up the peers that we have. Measured: with 64 at
/// a time 65,536 come as fast, and of the messages of honest peers one in a hundred takes half as long again.
const ACCEPTS_PER_TURN: usize = 16;
/// The same while peers wait for their runs: turns are short then.
const ACCEPTS_IN_A_CROWD: usize = 8;
/// Connections that are closed unseen when there is no descriptor for them: all that a full queue of the usual
/// length holds, in some pauses.
const SHED_AT_ONCE: usize = 64;
/// Pause after a failed accept: without descriptors no new edge will come, so time must retry.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What is known of the listener, if there is one.
#[derive(Debug, Default)]
pub(super) struct Listener {
    /// There may be somebody.
    is_readable: bool,
    /// Accepting has failed, and is not tried before.
    after: Option<Mono>,
    /// Accepts that are left in this turn.
    left: usize,
}

impl Listener {
    /// The poll told of it.
    pub(super) fn note(&mut self) {
        self.is_readable = true;
    }

    /// Whether somebody may be there, and it is no time to pause.
    pub(super) fn is_ready(&self) -> bool {
        self.is_readable && self.after.is_none()
    }

    /// When it is tried again.
    pub(super) fn next_deadline(&self) -> Option<Mono> {
        self.after
    }

    /// A turn begins.
    pub(super) fn begin(&mut self, now: Mono, is_crowded: bool) {
        self.left = if is_crowded { ACCEPTS_IN_A_CROWD } else { ACCEPTS_PER_TURN };
        if self.after.is_some_and(|after| after <= now) {
            self.after = None;
            self.is_readable = true;
        }
    }

    /// Whether to accept one more in this turn.
    pub(super) fn may_accept(&self) -> bool {
        self.left > 0 && self.is_ready()
    }

    /// Accepts one into the slot; where from. An error never ends accepting.
    pub(super) fn accept<S: Sockets, I: Inbox>(
        &mut self,
        slot: u32,
        cx: &mut Context<S, I>,
    ) -> Option<SocketAddr> {
        self.left -= 1;
        let error = match cx.sockets.accept(slot) {
            Ok(remote) => {
                cx.counters.on_accepted();
                return Some(canonical(remote));
            }
            Err(error) => error,
        };
        match error.kind() {
            io::ErrorKind::WouldBlock => self.is_readable = false,
            // The one that was to be accepted is gone; the others are not.
            io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted => {}
            _ => {
                // What the kernel has queued would be served by nobody.
                let shed = |_: &usize| cx.sockets.shed_one();
                (0..SHED_AT_ONCE).take_while(shed).for_each(drop);
                self.failed(&error, cx);
            }
        }
        None
    }

    /// The machine has no more to accept with: it is tried again after a pause.
    pub(super) fn failed<S: Sockets, I: Inbox>(
        &mut self,
        error: &io::Error,
        cx: &mut Context<S, I>,
    ) {
        self.after = Some(cx.now.mono + ACCEPT_PAUSE);
        cx.report(Report::AcceptFailed(DisconnectReason::from_io(error)));
    }
}

/// IPv4-mapped IPv6 addresses become IPv4 at the socket's boundary: else a dual-stack listener
/// would let a peer pass every rule about addresses twice.
fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}
