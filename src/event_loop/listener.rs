//! Accepting connections.

use std::{io, net::SocketAddr, time::Duration};

use super::{Inbox, LoopCore, Report, Sockets};
use crate::{protocol::secret::Cipher, reactor::DisconnectReason, time::Now};

/// Accepts of one turn: a burst of connections must not hold up the peers that we have.
const ACCEPTS_PER_TURN: usize = 64;
/// Pause after a failed accept: without descriptors no new edge will come, so time must retry.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl<S: Sockets, I: Inbox, C: Cipher> LoopCore<S, I, C> {
    /// Takes what waits at the listener, up to the limit of a turn. An error never ends accepting.
    pub(super) fn accept(&mut self, now: Now) {
        if self.accept_after.is_some_and(|after| after <= now.mono) {
            self.accept_after = None;
            self.acceptable = true;
        }
        for _ in 0..ACCEPTS_PER_TURN {
            if !self.acceptable || self.accept_after.is_some() {
                return;
            }
            let id = self.table.reserve();
            match self.sockets.accept(id.slot()) {
                Ok(remote) => {
                    self.take_in(id, canonical(remote), now);
                }
                Err(error) => {
                    self.table.release(id.slot());
                    match error.kind() {
                        io::ErrorKind::WouldBlock => self.acceptable = false,
                        // The one that was to be accepted is gone; the others are not.
                        io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted => {}
                        _ => {
                            // What the kernel has queued would be served by nobody.
                            let shed = |_: &usize| self.sockets.shed_one();
                            (0..ACCEPTS_PER_TURN).take_while(shed).for_each(drop);
                            self.accept_after = Some(now.mono + ACCEPT_PAUSE);
                            let why = DisconnectReason::from_io(&error);
                            self.report(Report::AcceptFailed(why));
                        }
                    }
                }
            }
        }
    }
}

/// IPv4-mapped IPv6 addresses become IPv4 at the socket's boundary: else a dual-stack listener
/// would let a peer pass every rule about addresses twice.
fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}
