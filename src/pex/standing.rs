//! Who has a standing of its own: what the operator says of nodes.

use super::{PexCore, PexOutput};
use crate::{identity::NodeId, switch::SwitchEvent, time::Now};

impl PexCore {
    /// The operator has changed what a node is to us.
    pub(super) fn stands(&mut self, id: NodeId, persistent: bool, unconditional: bool, now: Now) {
        let was_persistent = self.standings.is_persistent(&id);
        for (ids, is_member) in [
            (&mut self.standings.persistent, persistent),
            (&mut self.standings.unconditional, unconditional),
        ] {
            if is_member {
                ids.insert(id);
            } else {
                ids.remove(&id);
            }
        }
        if persistent || unconditional {
            self.clear_name(&id, now);
            // What was to end its session was not done, or has ended it already.
            let conn = self.by_id.get(&id);
            if let Some(neighbour) = conn.and_then(|conn| self.neighbours.get_mut(conn)) {
                neighbour.is_over = false;
            }
        } else if self.is_crawling()
            && let Some(conn) = self.by_id.get(&id).copied()
            && let Some(neighbour) = self.neighbours.get(&conn)
        {
            // What was due while it had one is due now.
            let since = neighbour.since;
            let timers = self.timers_of(conn).into_iter();
            for (_, timer) in timers.filter(|(after, _)| since + *after <= now.mono) {
                self.timers.add(now.mono, timer);
            }
        }
        if was_persistent && !persistent {
            // The switch's attempts are no reason for peer exchange to wait.
            self.book.forgive(&id);
            self.crawl_soon(&id, now);
        }
    }

    /// What machines have decided about nodes that have a standing from the start.
    pub(super) fn clear_names(&mut self, now: Now) {
        let standings = &self.standings;
        let ids: Vec<_> = standings.persistent.union(&standings.unconditional).copied().collect();
        for id in ids {
            self.clear_name(&id, now);
        }
    }

    /// A node that gets a standing is neither banned by a machine nor bad: the operator wants it,
    /// whatever it did before.
    fn clear_name(&mut self, id: &NodeId, now: Now) {
        if let Some(ban) = self.book.pardon(id) {
            self.lifted(ban);
            self.publish_in_time();
        }
        if self.book.lift_bad(id, now.wall, &mut self.rng) {
            self.outputs.push_back(PexOutput::Event(SwitchEvent::Reinstated { id: *id }));
        }
    }
}
