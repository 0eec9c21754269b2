//! Attempts to connect that are under way, whoever asked for them.

use std::collections::{BTreeMap, btree_map::Entry};
use std::time::SystemTime;

use super::Purpose;
use crate::identity::NodeId;

/// The attempts. Those of peer exchange itself are known from the moment of asking; those of others
/// are told by the switch.
#[derive(Debug, Default)]
pub(super) struct Dials {
    /// What peer exchange has asked for, until the outcome is told.
    own: BTreeMap<NodeId, Own>,
    /// By node, how many more attempts of others were told to begin than to end. Below 0 while a
    /// session is heard of before its attempt is: the two come on different ways.
    others: BTreeMap<NodeId, i32>,
}

/// What peer exchange has asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Own {
    purpose: Purpose,
    /// What the book had for the last attempt before this one, by the wall clock.
    pub(super) attempted_before: Option<SystemTime>,
}

/// What has come of the attempts of a round so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Round {
    /// Nodes that were dialed.
    pub(super) dialed: usize,
    /// One of them is more than a node that refuses after the handshake.
    pub(super) has_reached: bool,
}

impl Dials {
    /// Peer exchange asks the switch to dial.
    pub(super) fn ask(
        &mut self,
        id: NodeId,
        purpose: Purpose,
        attempted_before: Option<SystemTime>,
    ) {
        let before = self.own.insert(id, Own { purpose, attempted_before });
        debug_assert_eq!(before, None, "{id} is dialed twice");
    }

    /// What it has asked for has brought a session, or failed.
    pub(super) fn settle(&mut self, id: &NodeId) -> Option<Own> {
        self.own.remove(id)
    }

    /// An attempt of others begins.
    pub(super) fn begun(&mut self, id: NodeId) {
        self.count(id, 1);
    }

    /// An attempt of others has brought a session, or failed.
    pub(super) fn ended(&mut self, id: NodeId) {
        self.count(id, -1);
    }

    fn count(&mut self, id: NodeId, by: i32) {
        match self.others.entry(id) {
            Entry::Occupied(entry) if entry.get().checked_add(by) == Some(0) => _ = entry.remove(),
            entry => {
                let count = entry.or_default();
                *count = count.saturating_add(by);
            }
        }
    }

    /// Whether somebody dials the node.
    pub(super) fn contains(&self, id: &NodeId) -> bool {
        self.own.contains_key(id) || self.others.get(id).is_some_and(|count| *count > 0)
    }

    /// How many nodes are dialed.
    pub(super) fn len(&self) -> usize {
        let is_counted = |(id, count): &(&NodeId, &i32)| **count > 0 && !self.own.contains_key(*id);
        self.own.len().saturating_add(self.others.iter().filter(is_counted).count())
    }

    /// How many peer exchange has asked for, for this purpose.
    pub(super) fn num_for(&self, purpose: Purpose) -> usize {
        self.own.values().filter(|own| own.purpose == purpose).count()
    }

    /// Who is dialed. Some twice.
    pub(super) fn iter(&self) -> impl Iterator<Item = &NodeId> {
        let others = self.others.iter().filter(|(_, count)| **count > 0);
        self.own.keys().chain(others.map(|(id, _)| id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_counts_once_whoever_dials_it_and_only_while_somebody_does() {
        let id = |n| NodeId::from_bytes([n; 20]);
        let mut dials = Dials::default();
        dials.ask(id(1), Purpose::Peers, None);
        dials.begun(id(1));
        dials.begun(id(2));
        assert_eq!((dials.len(), dials.num_for(Purpose::Peers)), (2, 1));
        // The operator's end is not that of peer exchange.
        dials.ended(id(1));
        assert!(dials.contains(&id(1)));
        dials.settle(&id(1));
        assert!(!dials.contains(&id(1)));
        // The session is heard of before the attempt: in the end there is nothing.
        dials.ended(id(3));
        assert!(!dials.contains(&id(3)));
        dials.begun(id(3));
        dials.begun(id(3));
        assert_eq!(dials.len(), 2);
        dials.ended(id(3));
        dials.ended(id(2));
        assert_eq!((dials.len(), dials.others.len()), (0, 0));
    }
}
