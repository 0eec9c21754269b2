//! When a seed dials whom.

use std::collections::BTreeMap;

use crate::{deadlines::Deadlines, identity::NodeId, time::Mono};

/// When each address of the book is to be dialed next.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) due: Deadlines<NodeId>,
    /// **Invariant:** the time and the ID of each entry of `due`.
    pub(super) by_id: BTreeMap<NodeId, Mono>,
}

impl Queue {
    /// Dials the node at this time, instead of when it was to be.
    pub(super) fn schedule(&mut self, id: NodeId, at: Mono) {
        if let Some(earlier) = self.by_id.insert(id, at) {
            self.due.remove(earlier, id);
        }
        self.due.add(at, id);
    }

    pub(super) fn pop(&mut self, now: Mono) -> Option<NodeId> {
        let id = self.due.pop_due(now)?;
        self.by_id.remove(&id);
        Some(id)
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn retain(&mut self, is_kept: impl Fn(&NodeId) -> bool) {
        self.by_id.retain(|id, _| is_kept(id));
        self.due.retain(is_kept);
    }

    pub(super) fn first(&self) -> Option<Mono> {
        self.due.next()
    }
}
