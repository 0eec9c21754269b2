//! Good addresses take the places of other good ones that are not to be found any more.

use std::time::{Duration, SystemTime};

use super::{
    Book,
    Placement::{New, Old},
    collisions::Collision,
};
use crate::{address::NetAddress, identity::NodeId, time::Wall};

/// Who has not been found within this time loses its place.
const PATIENCE: Duration = Duration::from_secs(40 * 60);

/// A test of which nothing was heard is asked for again.
const AGAIN: Duration = Duration::from_secs(10 * 60);

impl Book {
    /// A good address that is to be dialed although nothing is wanted from it, because another
    /// good one wants its place. Tell [`attempted`](Self::attempted) and what came of it. `None`:
    /// no test is due.
    pub fn next_test(&mut self, wall: SystemTime) -> Option<NetAddress> {
        let is_over = |collision: &&Collision| wall.since(collision.since) >= PATIENCE;
        while let Some(over) = self.collisions.0.iter().find(is_over).copied() {
            self.collisions.settle(&over.holder);
            self.replace(&over.holder, &over.rival, wall);
        }
        let table = &self.table;
        self.collisions.0.retain(|collision| {
            table.find(&collision.holder).is_some() && table.find(&collision.rival).is_some()
        });
        let is_due = |collision: &&mut Collision| {
            collision.asked.is_none_or(|asked| wall.since(asked) >= AGAIN)
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
    pub(super) fn replace(&mut self, holder: &NodeId, rival: &NodeId, wall: SystemTime) {
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
