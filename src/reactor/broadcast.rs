//! The outcome of one message to many peers.

use std::{convert::Infallible, sync::Arc, time::Duration};

use crossbeam_channel::Receiver;

use super::{Peer, Pushed, SendErrorKind, Waiter, waiter::Outcomes};
use crate::{ids::ChannelId, payload::Payload, time::Mono};

/// Queues the message with every peer, in order, without waiting. The payload is shared.
pub fn start_broadcast(
    peers: Vec<Peer>,
    channel: ChannelId,
    payload: &Payload,
    deadline: Mono,
) -> BroadcastHandle {
    let types = peers.first().and_then(|peer| peer.session().channel(channel)?.types.as_ref());
    let counters = types.map(|types| (types.counters(payload), payload.len()));
    let outcomes = Arc::new(Outcomes::open(peers.len(), counters));
    for (i, peer) in peers.iter().enumerate() {
        let waiter = Waiter::Broadcast(outcomes.clone(), i);
        match peer.push_broadcast(channel, payload, deadline, waiter) {
            Ok(Pushed::Accepted) => outcomes.settle(i, Ok(())),
            Ok(Pushed::Waiting(_)) => {}
            Err(kind) => outcomes.settle(i, Err(kind)),
        }
    }
    BroadcastHandle { peers, outcomes }
}

/// What became of a message with each peer that it went to, by ID.
pub type SendOutcomes = Vec<(Peer, Result<(), SendErrorKind>)>;

/// A broadcast under way: what becomes of the message with each peer. Dropping it does not stop it, and
/// nobody hears of those that did not get it.
#[derive(Debug)]
#[must_use = "it has the outcome for each peer"]
pub struct BroadcastHandle {
    peers: Vec<Peer>,
    outcomes: Arc<Outcomes>,
}

impl BroadcastHandle {
    /// How many peers the message goes to.
    pub fn num_peers(&self) -> usize {
        self.peers.len()
    }

    /// Whether the outcome is known for every peer.
    pub fn is_settled(&self) -> bool {
        self.outcomes.are_settled()
    }

    /// A channel that carries nothing and closes when the outcome is known for every peer, for
    /// `select!`; [`wait_timeout`](Self::wait_timeout) then has the outcomes at once.
    pub fn settled(&self) -> &Receiver<Infallible> {
        self.outcomes.settled()
    }

    /// Waits until the message was queued for, or refused by, every peer, but no longer than this: a
    /// peer whose outcome is open by then counts as timed out here, though its entry may still be
    /// accepted. Blocks: not for the library's threads, which get `WrongThread`.
    pub fn wait_timeout(self, timeout: Duration) -> SendOutcomes {
        let open = if crate::thread::is_ours() {
            SendErrorKind::WrongThread
        } else {
            // How it has ended is seen from the outcomes.
            let _ = self.settled().recv_timeout(timeout);
            SendErrorKind::TimedOut
        };
        self.peers.into_iter().zip(self.outcomes.get(open)).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::{
        channel::ChannelDescriptor,
        identity::NodeKey,
        ids::{ConnId, Direction},
        node_info::NodeInfo,
        reactor::{Admission, CloseMode, Notify, Session, SessionSettings},
    };

    /// The loop, which does nothing.
    pub(crate) struct Asleep;

    impl Notify for Asleep {
        fn dirty(&self, _: ConnId) {}
        fn resume(&self, _: ConnId) {}
        fn close(&self, _: ConnId, _: CloseMode) {}
        fn now(&self) -> Mono {
            Mono::ZERO
        }
    }

    pub(in crate::reactor) const CHANNEL: ChannelId = ChannelId::new(0x20);

    pub(crate) fn peer(number: u8) -> Peer {
        Peer::new(session(number))
    }

    /// A session without a connection.
    pub(crate) fn session(number: u8) -> Arc<Session> {
        let settings = SessionSettings::for_test(&[ChannelDescriptor::new(CHANNEL)]);
        let id = NodeKey::from_seed([number; 32]).id();
        let node_info =
            NodeInfo::new("chain", "peer").unwrap().with_id(id).with_channels([CHANNEL]);
        let admission = Admission {
            conn: ConnId::new(0, number.into(), 0),
            id,
            node_info: Arc::new(node_info),
            direction: Direction::Inbound,
            remote_addr: ([10, 0, 0, number], 1).into(),
            dialed_addr: None,
            origin: None,
            is_persistent: false,
            is_reserved: false,
        };
        Arc::new(Session::new(admission, &settings, Arc::new(Asleep)))
    }

    /// A block part for a hundred peers is one block part, whether it waits or is taken already.
    #[test]
    fn the_bytes_are_held_once_however_many_peers_they_go_to() {
        let peers: Vec<Peer> = (1..=5).map(peer).collect();
        // Two have no place, so that the message waits for one.
        for full in &peers[3..] {
            full.try_send(CHANNEL, vec![0; 10]).unwrap();
        }
        let payload = Payload::from(vec![7; 100_000]);
        let at = payload.as_ptr();
        let handle = start_broadcast(peers.clone(), CHANNEL, &payload, Mono::from_nanos(1));
        assert!(!handle.is_settled(), "two of them wait");
        assert!(handle.settled().try_recv().unwrap_err().is_empty());
        for peer in &peers {
            let mut taken = VecDeque::new();
            for _ in 0..2 {
                peer.session().take_queued(0, &mut taken, &mut Vec::new());
            }
            let last = taken.pop_back().expect("it was queued");
            assert_eq!((last.len(), last.as_ptr()), (100_000, at), "a copy for {peer}");
        }
        assert!(handle.is_settled());
        assert!(handle.settled().try_recv().unwrap_err().is_disconnected());
        // The same without waiting.
        for peer in &peers {
            peer.try_send_payload(CHANNEL, &payload).unwrap();
            let mut taken = VecDeque::new();
            peer.session().take_queued(0, &mut taken, &mut Vec::new());
            assert_eq!(taken[0].as_ptr(), at, "a copy for {peer}");
        }
    }
}
