//! What arrives in a reactor's inbox.

use std::{fmt, sync::Arc};

use super::{DisconnectReason, Peer};
use crate::{ids::ChannelId, payload::Payload};

/// Counted for each delivered message beside the memory of its bytes: what an envelope takes in an inbox, so
/// that a flood of empty messages is bounded like one of large messages.
const ENVELOPE_OVERHEAD: usize = 256;

/// One event of a peer. Each reactor sees, per session, exactly: `PeerUp`, then messages, then
/// `PeerDown`; and the `PeerDown` of an old session before the `PeerUp` of the next one with the
/// same ID.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A session began. Every reactor's init hook has run for it.
    #[doc(alias = "AddPeer")]
    PeerUp(Peer),
    /// A message on one of the reactor's channels.
    #[doc(alias = "Receive")]
    Message(Envelope),
    /// The channel would accept a message again after a `try_send` had said `Full`.
    Writable(Peer, ChannelId),
    /// The session is over. Every message that is to be delivered was delivered before.
    #[doc(alias = "RemovePeer")]
    PeerDown(Peer, Arc<DisconnectReason>),
}

/// A received message. Holding it holds its bytes against the peer's budget with this reactor
/// (`Config::reactor_budget`): when that is spent, later messages wait. Drop it or call
/// [`into_payload`](Self::into_payload) or [`into_parts`](Self::into_parts) as soon as the bytes are
/// taken over.
pub struct Envelope {
    peer: Peer,
    /// Which of the session's channels.
    channel: usize,
    payload: Payload,
}

impl Envelope {
    /// What this message costs: the memory that it takes.
    pub(crate) fn cost(payload: &Payload) -> usize {
        payload.capacity() + ENVELOPE_OVERHEAD
    }

    /// A message whose cost was charged.
    pub(crate) fn new(peer: Peer, channel: usize, payload: Payload) -> Self {
        Self { peer, channel, payload }
    }

    /// Who sent it.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The channel it came on.
    #[expect(
        clippy::indexing_slicing,
        reason = "who made it took the position from the same session"
    )]
    pub fn channel(&self) -> ChannelId {
        self.peer.session().channels[self.channel].id
    }

    /// Its bytes.
    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    /// Takes the bytes and returns the budget at once: from here on they are the caller's memory.
    pub fn into_payload(self) -> Payload {
        self.payload.clone()
    }

    /// All of it, to hand on; the budget is returned at once, as by
    /// [`into_payload`](Self::into_payload).
    pub fn into_parts(self) -> (Peer, ChannelId, Payload) {
        (self.peer.clone(), self.channel(), self.payload.clone())
    }
}

impl Drop for Envelope {
    #[expect(
        clippy::indexing_slicing,
        reason = "who made it took the position from the same session"
    )]
    fn drop(&mut self) {
        let payload = std::mem::take(&mut self.payload);
        let session = self.peer.session();
        session.release(session.channels[self.channel].reactor, Self::cost(&payload));
        // Here, not when it is complete: this thread is the application's.
        self.peer.count_received(self.channel, &payload);
        session.recycle(payload);
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Envelope({} {} {:?})", self.peer(), self.channel(), self.payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::broadcast::tests::{CHANNEL, peer};

    #[test]
    fn the_parts_of_an_envelope_hold_nothing_of_the_budget() {
        let peer = peer(1);
        let cost = Envelope::cost(&"bytes".into());
        let envelope = || {
            _ = peer.session().budget(0).charge(cost);
            Envelope::new(peer.clone(), 0, "bytes".into())
        };
        let used = || peer.session().budget(0).used();
        let held = envelope();
        assert_eq!(used(), cost);
        let parts = held.into_parts();
        assert_eq!((parts, used()), ((peer.clone(), CHANNEL, "bytes".into()), 0));
        let payload = envelope().into_payload();
        assert_eq!((payload, used()), ("bytes".into(), 0));
    }
}
