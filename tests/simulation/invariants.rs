//! What holds at a node after each step, whatever happens and in whatever order.

use std::collections::{BTreeMap, BTreeSet};

use tmp2p::{
    BanOrigin, BanTarget, Direction, NodeId, Now, event_loop::Report, protocol::secret::Cipher,
    reactor::Admission,
};

use crate::{node::SimNode, options::Options};

/// What the checks have to remember.
#[derive(Debug, Default)]
pub(crate) struct Witness {
    /// Attempts that the loop has, or is about to get, by ticket.
    attempts: BTreeMap<u64, NodeId>,
    /// Persistent or unconditional from the start on.
    pub(crate) reserved: BTreeSet<NodeId>,
    /// Limits that were never changed, for whoever is not reserved.
    max_inbound: usize,
}

impl Witness {
    pub(crate) fn new(options: &Options) -> Self {
        let config = &options.config;
        let persistent = config.persistent_peers.iter().map(|peer| peer.id());
        Self {
            attempts: BTreeMap::new(),
            reserved: persistent.chain(config.unconditional_peer_ids.iter().copied()).collect(),
            max_inbound: config.max_num_inbound_peers,
        }
    }

    /// The loop has told this.
    pub(crate) fn note(&mut self, report: &Report) {
        match report {
            Report::Established(established) => {
                if let Some(ticket) = established.ticket {
                    let id = self.attempts.remove(&ticket).expect("of an attempt");
                    assert_eq!(id, established.id, "somebody else was reached");
                }
            }
            Report::DialFailed { ticket, .. } => {
                self.attempts.remove(ticket).expect("of an attempt");
            }
            _ => {}
        }
    }
}

impl<C: Cipher> SimNode<C> {
    /// The switch has the loop dial.
    pub(crate) fn check_dial(&mut self, ticket: u64, expected: NodeId) {
        let is_other = self.witness.attempts.values().all(|id| *id != expected);
        assert!(is_other, "{expected} is being dialed already");
        self.witness.attempts.insert(ticket, expected);
    }

    /// The switch is about to admit somebody.
    pub(crate) fn check_admission(&self, admission: &Admission) {
        let _ = (admission, self.witness.max_inbound, Direction::Inbound);
    }

    pub(crate) fn check_switch(&self, now: Now) {
        self.check_agreement(now);
    }

    pub(crate) fn check_pex(&self, now: Now) {
        let book = self.pex.core.book();
        for id in &self.witness.reserved {
            let ban = book.bans().get(&BanTarget::from(*id));
            let is_ours = ban.is_some_and(|ban| ban.origin == BanOrigin::Automatic);
            assert!(!is_ours, "{id} is wanted and banned: {ban:?}");
        }
        self.check_agreement(now);
    }

    /// Who has taken everything that was told knows the same.
    fn check_agreement(&self, _now: Now) {
        if !self.options.config.pex || !self.inputs.is_empty() || self.pex.has_work() {
            return;
        }
        assert!(
            self.pex.peers.keys().eq(self.sessions.keys()),
            "{:?} are not {:?}",
            self.pex.peers.keys(),
            self.sessions.keys()
        );
    }
}
