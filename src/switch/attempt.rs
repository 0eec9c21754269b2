//! Attempts that have not brought a connection.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
};

use super::{Dialed, Origin};
use crate::{
    address::PeerAddress, identity::NodeId, reactor::DisconnectReason, reply::Reply, time::Mono,
};

/// An attempt to connect to a node.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) addr: PeerAddress,
    pub(super) origin: Origin,
    /// For whom waits for its end.
    pub(super) reply: Option<Reply<Dialed>>,
    /// Addresses of the name that were not tried.
    pub(super) untried: VecDeque<SocketAddr>,
    /// Why the first one failed that did not for a fault of our own: a machine without IPv6 fails at
    /// half of the addresses of a name, and the node is gone all the same.
    pub(super) failed: Option<DisconnectReason>,
    /// When all of it must be over.
    pub(super) until: Option<Mono>,
    /// The operator has put the node on a list: what its name stands for goes into the book.
    pub(super) is_listed: bool,
    pub(super) stage: AttemptStage,
    /// Since when it is in this stage, or will be.
    pub(super) since: Mono,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AttemptStage {
    /// Begins at this time.
    Scheduled(Mono),
    /// The name is being resolved, until this time.
    LookingUp(Mono),
    /// The connection filters were asked.
    Filtering,
    /// The loop has it.
    Connecting,
}

/// Attempts that have not brought a connection.
#[derive(Debug, Default)]
pub(super) struct Dialing {
    attempts: BTreeMap<u64, Attempt>,
    /// **Invariant:** the ticket of each attempt, by node.
    by_id: BTreeMap<NodeId, u64>,
    last_ticket: u64,
}

impl Dialing {
    pub(super) fn len(&self) -> usize {
        self.attempts.len()
    }

    pub(super) fn contains(&self, id: &NodeId) -> bool {
        self.by_id.contains_key(id)
    }

    pub(super) fn ticket_of(&self, id: &NodeId) -> Option<u64> {
        self.by_id.get(id).copied()
    }

    pub(super) fn get(&self, ticket: u64) -> Option<&Attempt> {
        self.attempts.get(&ticket)
    }

    pub(super) fn get_mut(&mut self, ticket: u64) -> Option<&mut Attempt> {
        self.attempts.get_mut(&ticket)
    }

    /// Takes an attempt out: it has brought a connection, or failed.
    pub(super) fn remove(&mut self, ticket: u64) -> Option<Attempt> {
        let attempt = self.attempts.remove(&ticket)?;
        self.by_id.remove(&attempt.addr.id());
        Some(attempt)
    }

    /// Each with the time since when, or until when it waits if it is only scheduled.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Attempt> {
        self.attempts.values()
    }

    /// The attempt's ticket.
    pub(super) fn add(&mut self, attempt: Attempt) -> u64 {
        self.last_ticket += 1;
        self.by_id.insert(attempt.addr.id(), self.last_ticket);
        self.attempts.insert(self.last_ticket, attempt);
        self.last_ticket
    }

    pub(super) fn tickets(&self) -> Vec<u64> {
        self.attempts.keys().copied().collect()
    }
}

impl Attempt {
    /// When it begins, while it is only scheduled.
    pub(super) fn scheduled(&self) -> Option<Mono> {
        match self.stage {
            AttemptStage::Scheduled(at) => Some(at),
            _ => None,
        }
    }

    /// Since when it is in its stage.
    pub(super) fn since(&self) -> Mono {
        self.since
    }
}
