//! Who waits for a place in a send queue, and hears of it.

use std::{convert::Infallible, sync::Arc, time::Duration};

use crossbeam_channel::{Receiver, Sender};
use parking_lot::{Condvar, Mutex};

use super::{SendErrorKind, message_types::TypeCounters};

/// Who waits for a place in a send queue.
#[derive(Clone, Debug)]
pub(crate) enum Waiter {
    /// A blocked thread.
    Thread(Arc<WaitCell>),
    /// One peer of a broadcast.
    Broadcast(Arc<Outcomes>, usize),
}

impl Waiter {
    pub(crate) fn settle(self, outcome: Result<(), SendErrorKind>) {
        match self {
            Self::Thread(cell) => cell.settle(outcome),
            Self::Broadcast(outcomes, peer) => outcomes.settle(peer, outcome),
        }
    }
}

/// Where a blocked thread waits: its own, so that exactly it is woken.
#[derive(Debug, Default)]
pub(crate) struct WaitCell {
    outcome: Mutex<Option<Result<(), SendErrorKind>>>,
    settled: Condvar,
}

impl WaitCell {
    fn settle(&self, outcome: Result<(), SendErrorKind>) {
        *self.outcome.lock() = Some(outcome);
        self.settled.notify_one();
    }

    /// Waits for the outcome, `None` after the timeout.
    pub(super) fn wait_for(&self, timeout: Duration) -> Option<Result<(), SendErrorKind>> {
        let mut outcome = self.outcome.lock();
        self.settled.wait_while_for(&mut outcome, |o| o.is_none(), timeout);
        outcome.take()
    }
}

/// What is known of a broadcast; shared by its handle and the waiting entries.
#[derive(Debug)]
pub(crate) struct Outcomes {
    /// Where the message is counted by its type, and its bytes.
    counters: Option<(Arc<TypeCounters>, usize)>,
    state: Mutex<State>,
    settled: Receiver<Infallible>,
}

#[derive(Debug)]
struct State {
    outcomes: Vec<Option<Result<(), SendErrorKind>>>,
    open: usize,
    /// **Invariant:** there while an outcome is open.
    settled: Option<Sender<Infallible>>,
}

impl Outcomes {
    /// None is known yet, of so many.
    pub(super) fn open(peers: usize, counters: Option<(Arc<TypeCounters>, usize)>) -> Self {
        let (sender, settled) = crossbeam_channel::bounded(0);
        let sender = Some(sender).filter(|_| peers > 0);
        let state = State { outcomes: vec![None; peers], open: peers, settled: sender };
        Self { counters, state: Mutex::new(state), settled }
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "each waiter has the position that it was opened with"
    )]
    pub(super) fn settle(&self, peer: usize, outcome: Result<(), SendErrorKind>) {
        let mut state = self.state.lock();
        if state.outcomes[peer].replace(outcome).is_none() {
            if let (Ok(()), Some((counters, bytes))) = (outcome, &self.counters) {
                counters.on_sent(*bytes);
            }
            state.open -= 1;
            if state.open == 0 {
                state.settled = None;
            }
        }
    }

    pub(super) fn are_settled(&self) -> bool {
        self.state.lock().open == 0
    }

    /// Carries nothing, and closes when each is known.
    pub(super) fn settled(&self) -> &Receiver<Infallible> {
        &self.settled
    }

    /// Each, in the order of the peers; `open` for those that are not known.
    pub(super) fn get(&self, open: SendErrorKind) -> Vec<Result<(), SendErrorKind>> {
        self.state.lock().outcomes.iter().map(|outcome| outcome.unwrap_or(Err(open))).collect()
    }
}
