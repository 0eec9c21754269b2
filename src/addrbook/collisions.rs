//! Good addresses that want the place of another good one.

use std::time::Duration;

use super::Book;
use crate::{address::NetAddress, identity::NodeId};

/// Places that are disputed at a time. Each costs a dial.
const MAX: usize = 10;

/// Who has not been found within this time loses its place.
const PATIENCE: Duration = Duration::from_secs(40 * 60);

/// A test of which nothing was heard is asked for again.
const AGAIN: Duration = Duration::from_secs(10 * 60);

/// The disputes, in the order in which they arose.
#[derive(Clone, Debug, Default)]
pub(super) struct Collisions(Vec<Collision>);

/// A verified address in a full old bucket is not displaced before it was dialed once more: else
/// who has many nodes in one group could drive the others of that group out of the book.
#[derive(Clone, Copy, Debug)]
struct Collision {
    /// Whose place it is.
    holder: NodeId,
    /// Who wants it.
    rival: NodeId,
    since: Duration,
    asked: Option<Duration>,
}

impl Collisions {
    /// Remembers the dispute unless there are too many, or one of the two has one already.
    pub(super) fn add(&mut self, holder: NodeId, rival: NodeId, since: Duration) {
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

impl Book {
    /// A good address that is to be dialed although nothing is wanted from it, because another
    /// good one wants its place. Tell [`attempted`](Self::attempted) and what came of it. `None`:
    /// no test is due.
    pub fn next_test(&mut self, wall: Duration) -> Option<NetAddress> {
        let is_over = |collision: &&Collision| wall.saturating_sub(collision.since) >= PATIENCE;
        while let Some(over) = self.collisions.0.iter().find(is_over).copied() {
            self.collisions.settle(&over.holder);
            self.replace(&over.holder, &over.rival, wall);
        }
        let table = &self.table;
        self.collisions.0.retain(|collision| {
            table.find(&collision.holder).is_some() && table.find(&collision.rival).is_some()
        });
        let is_due = |collision: &&mut Collision| {
            collision.asked.is_none_or(|asked| wall.saturating_sub(asked) >= AGAIN)
        };
        let due = self.collisions.0.iter_mut().find(is_due)?;
        due.asked = Some(wall);
        let n = table.find(&due.holder)?;
        Some(table.get(n).addr)
    }

    /// Nobody takes the place of a node that is connected: it need not be dialed to know that it is
    /// there.
    pub fn keep_places(&mut self, is_connected: impl Fn(&NodeId) -> bool) {
        self.collisions.0.retain(|collision| !is_connected(&collision.holder));
    }

    /// The rival is good and the holder of its place is not to be found.
    pub(super) fn replace(&mut self, holder: &NodeId, rival: &NodeId, wall: Duration) {
        use super::Placement::{New, Old};
        let (Some(holder), Some(rival)) = (self.table.find(holder), self.table.find(rival)) else {
            return;
        };
        let bucket = self.hash.old_bucket(&self.table.get(rival).addr);
        let holds = self.table.get(holder).placement == Old(bucket);
        let wants = matches!(self.table.get(rival).placement, New(_));
        if holds && wants {
            self.table.leave_all(holder);
            self.table.join_old(rival, bucket);
            // Good once: it stays in the book.
            self.place_anew(holder, wall, 0);
        }
    }
}
