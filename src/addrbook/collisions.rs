//! Good addresses that want the place of another good one.

use std::time::SystemTime;

use crate::identity::NodeId;

/// Places that are disputed at a time. Each costs a dial.
const MAX: usize = 10;

/// The disputes, in the order in which they arose.
#[derive(Clone, Debug, Default)]
pub(super) struct Collisions(pub(super) Vec<Collision>);

/// A verified address in a full old bucket is not displaced before it was dialed once more: else
/// who has many nodes in one group could drive the others of that group out of the book.
#[derive(Clone, Copy, Debug)]
pub(super) struct Collision {
    /// Whose place it is.
    pub(super) holder: NodeId,
    /// Who wants it.
    pub(super) rival: NodeId,
    pub(super) since: SystemTime,
    pub(super) asked: Option<SystemTime>,
}

impl Collisions {
    /// Remembers the dispute unless there are too many, or one of the two has one already.
    pub(super) fn add(&mut self, holder: NodeId, rival: NodeId, since: SystemTime) {
        let is_disputed = |other: &Collision| other.holder == holder || other.rival == rival;
        if self.0.len() < MAX && !self.0.iter().any(is_disputed) {
            self.0.push(Collision { holder, rival, since, asked: None });
        }
    }

    /// Ends the dispute about this holder's place; gives who wanted it.
    pub(super) fn settle(&mut self, holder: &NodeId) -> Option<NodeId> {
        let at = self.0.iter().position(|collision| collision.holder == *holder)?;
        Some(self.0.remove(at).rival)
    }
}
