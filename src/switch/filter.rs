//! Candidates that filters are asked about, and whose answers are missing.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use crate::{
    identity::NodeId,
    ids::{ConnId, Direction},
    node_info::NodeInfo,
    time::Mono,
};

/// Somebody who may become a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Candidate {
    /// The socket's remote address, or the address that is about to be dialed.
    pub addr: SocketAddr,
    /// Who dials.
    pub direction: Direction,
    /// Who it is: authenticated, for a peer filter; who is dialed, for a connection filter of an
    /// outbound connection; nobody knows, for one of an inbound connection.
    pub id: Option<NodeId>,
    /// What it says of itself; for peer filters only.
    pub node_info: Option<Arc<NodeInfo>>,
}

/// What a decision is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// An accepted connection.
    Accepted(ConnId, SocketAddr),
    /// An attempt that is about to connect to this address.
    Attempt(u64, SocketAddr),
    /// An authenticated peer.
    Peer(ConnId),
}

/// Decisions that are being waited for.
#[derive(Debug, Default)]
pub(super) struct Filters {
    waiting: BTreeMap<u64, Waiting>,
    next_ticket: u64,
}

#[derive(Debug)]
struct Waiting {
    subject: Subject,
    /// Filters that have not answered.
    missing: usize,
    deadline: Mono,
}

impl Filters {
    /// Begins to wait for so many answers, at least one.
    pub(super) fn ask(&mut self, subject: Subject, filters: usize, deadline: Mono) -> u64 {
        self.next_ticket += 1;
        let waiting = Waiting { subject, missing: filters, deadline };
        self.waiting.insert(self.next_ticket, waiting);
        self.next_ticket
    }

    /// One filter has answered. The verdict, once there is one: the first refusal, or the last
    /// consent.
    pub(super) fn decide(
        &mut self,
        ticket: u64,
        result: Result<(), String>,
    ) -> Option<(Subject, Result<(), String>)> {
        let waiting = self.waiting.get_mut(&ticket)?;
        waiting.missing -= 1;
        if result.is_ok() && waiting.missing > 0 {
            return None;
        }
        let waiting = self.waiting.remove(&ticket)?;
        Some((waiting.subject, result))
    }

    /// The time is over, if it is: the subject is refused.
    pub(super) fn expire(&mut self, ticket: u64, now: Mono) -> Option<Subject> {
        let is_over = self.waiting.get(&ticket)?.deadline <= now;
        is_over.then(|| self.waiting.remove(&ticket).map(|waiting| waiting.subject))?
    }
}
