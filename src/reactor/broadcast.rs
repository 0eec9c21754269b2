//! The outcome of one message to many peers.

use std::{sync::Arc, time::Instant};

use parking_lot::{Condvar, Mutex};

use super::{Peer, Pushed, SendErrorKind, Waiter};
use crate::{ids::ChannelId, payload::Payload, time::Mono};

/// What is known of a broadcast; shared by its handle and the waiting entries.
#[derive(Debug)]
pub struct Broadcast {
    state: Mutex<State>,
    settled: Condvar,
}

#[derive(Debug)]
struct State {
    outcomes: Vec<Option<Result<(), SendErrorKind>>>,
    open: usize,
}

impl Broadcast {
    /// Queues the message with every peer, in order, without waiting. The payload is shared.
    pub fn start(
        peers: Vec<Peer>,
        channel: ChannelId,
        payload: &Payload,
        deadline: Mono,
    ) -> BroadcastHandle {
        let broadcast = Arc::new(Self {
            state: Mutex::new(State { outcomes: vec![None; peers.len()], open: peers.len() }),
            settled: Condvar::new(),
        });
        for (i, peer) in peers.iter().enumerate() {
            let waiter = Waiter::Broadcast(broadcast.clone(), i);
            match peer.push_broadcast(channel, payload, deadline, waiter) {
                Ok(Pushed::Accepted) => broadcast.settle(i, Ok(())),
                Ok(Pushed::Waiting(_)) => {}
                Err(kind) => broadcast.settle(i, Err(kind)),
            }
        }
        BroadcastHandle { peers, broadcast }
    }

    pub(super) fn settle(&self, peer: usize, outcome: Result<(), SendErrorKind>) {
        let mut state = self.state.lock();
        if state.outcomes[peer].replace(outcome).is_none() {
            state.open -= 1;
            if state.open == 0 {
                self.settled.notify_all();
            }
        }
    }
}

/// A broadcast under way. Dropping it does not stop it.
#[derive(Debug)]
pub struct BroadcastHandle {
    peers: Vec<Peer>,
    broadcast: Arc<Broadcast>,
}

impl BroadcastHandle {
    /// How many peers the message goes to.
    pub fn num_peers(&self) -> usize {
        self.peers.len()
    }

    /// Whether the outcome is known for every peer.
    pub fn is_settled(&self) -> bool {
        self.broadcast.state.lock().open == 0
    }

    /// Waits until the message was queued for, or refused by, every peer, but not beyond
    /// `deadline`; a peer whose outcome is open by then counts as timed out here, though its entry
    /// may still be accepted. Blocks: not for the library's threads, which get `WrongThread`.
    pub fn wait_until(self, deadline: Instant) -> Vec<(Peer, Result<(), SendErrorKind>)> {
        let open = if crate::thread::is_ours() {
            SendErrorKind::WrongThread
        } else {
            let mut state = self.broadcast.state.lock();
            self.broadcast.settled.wait_while_until(&mut state, |s| s.open > 0, deadline);
            SendErrorKind::TimedOut
        };
        let state = self.broadcast.state.lock();
        let outcomes = state.outcomes.iter().map(|o| o.unwrap_or(Err(open)));
        self.peers.into_iter().zip(outcomes).collect()
    }
}
