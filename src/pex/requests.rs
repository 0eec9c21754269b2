//! What handles and reactors ask of the book.

use std::collections::BTreeSet;

use super::{Candidates, PexCore, PexOutput, PexRequest, neighbour::Opinion, view};
use crate::{
    addrbook::{BadAddress, BadCause, KnownAddress, Placement, json},
    ban::Ban,
    identity::NodeId,
    reply::Reply,
    switch::SwitchEvent,
    time::Now,
};

impl PexCore {
    pub(super) fn request(&mut self, request: PexRequest) {
        let wall = self.now.wall;
        match request {
            PexRequest::Ban { target, duration, reason, reply } => {
                let result = self.book.ban(target, duration, reason, wall);
                if let Ok(ban) = &result {
                    self.unpublished.push(ban.clone());
                    self.publish();
                    self.store(true);
                }
                self.answer(reply, result);
            }
            PexRequest::BanMany { targets, duration, reason, reply } => {
                let result = self.book.ban_many(targets, duration, &reason, wall);
                if let Ok(bans) = &result
                    && !bans.is_empty()
                {
                    self.unpublished.extend_from_slice(bans);
                    self.publish();
                    self.store(true);
                }
                self.answer(reply, result);
            }
            PexRequest::Unban { target, reply } => {
                let result = self.book.unban(target);
                if let Ok(lifted) = &result {
                    self.lifted(lifted.clone());
                    self.publish();
                    self.store(true);
                }
                self.answer(reply, result);
            }
            PexRequest::MarkBad { id, addr, duration, reason } => {
                if !self.standings.is_persistent(&id) {
                    self.judge(&id, Opinion::Bad);
                }
                let (until, cause) = (wall.saturating_add(duration), BadCause::Application);
                self.mark_bad(BadAddress { id, addr, until, cause, reason }, self.now);
                self.store(false);
            }
            PexRequest::MarkGood { id } => {
                self.judge(&id, Opinion::Good);
                let was_bad = self.book.is_bad(&id);
                self.book.mark_good(&id, wall, &mut self.rng);
                if was_bad {
                    self.outputs.push_back(PexOutput::Event(SwitchEvent::Reinstated { id }));
                }
                self.store(false);
            }
            PexRequest::Reinstate { id, reply } => {
                let was_bad = self.book.lift_bad(&id, wall, &mut self.rng);
                if was_bad {
                    self.outputs.push_back(PexOutput::Event(SwitchEvent::Reinstated { id }));
                    self.store(true);
                }
                self.answer(reply, was_bad);
            }
            PexRequest::AddPrivate { ids } => self.book.add_private(ids),
            PexRequest::RemovePrivate { ids } => self.book.remove_private(&ids),
            PexRequest::Candidates { after, limit, besides, reply } => {
                let candidates = self.candidates(after, limit, &besides);
                self.answer(reply, candidates);
            }
            PexRequest::BadAddresses(reply) => {
                let bad = self.book.bad_addresses().cloned().collect();
                self.answer(reply, bad);
            }
            PexRequest::SetMaxOutbound(peers) => self.settings.max_num_outbound_peers = peers,
            PexRequest::MorePeers => self.want_more(self.now),
            PexRequest::Book(reply) => {
                let view = view::of(&self.book, wall);
                self.answer(reply, view);
            }
            PexRequest::Export(reply) => {
                let file = json::write(&self.book, wall);
                self.answer(reply, file);
            }
            PexRequest::Import { imported, reply } => {
                let report = self.book.import(imported, wall, &mut self.rng);
                if self.is_crawling() {
                    self.start_crawl(self.now);
                }
                self.store(true);
                self.answer(reply, report);
            }
        }
    }

    /// Somebody has lifted a ban, which is in no table any more that is published from now on.
    pub(super) fn lifted(&mut self, lifted: Ban) {
        // Imposed a moment ago: nobody is to be disconnected for it any more.
        self.unpublished.retain(|ban| ban.target != lifted.target);
        self.outputs.push_back(PexOutput::Event(SwitchEvent::Unbanned(lifted)));
    }

    /// A reactor has said what it thinks of a peer; kept as long as the session.
    fn judge(&mut self, id: &NodeId, opinion: Opinion) {
        let conn = self.by_id.get(id);
        if let Some(neighbour) = conn.and_then(|conn| self.neighbours.get_mut(conn)) {
            neighbour.opinion = Some(opinion);
        }
    }

    /// The address is not dialed for a while, unless its node is persistent.
    pub(super) fn mark_bad(&mut self, bad: BadAddress, now: Now) {
        let id = bad.id;
        if self.standings.is_persistent(&id) || !self.book.found_bad(bad, now.wall) {
            return;
        }
        let Some(bad) = self.book.bad_address(&id) else { return };
        let BadAddress { id, addr, until, reason, .. } = bad.clone();
        self.outputs.push_back(PexOutput::Event(SwitchEvent::Bad { id, addr, until, reason }));
    }

    fn answer<T: Send + 'static>(&mut self, reply: Reply<T>, answer: T) {
        self.outputs.push_back(PexOutput::Answer(reply.with(answer)));
    }

    /// Who is known and not connected, from after this node on, and no more than so many.
    pub(super) fn candidates(
        &self,
        after: Option<NodeId>,
        limit: usize,
        besides: &BTreeSet<NodeId>,
    ) -> Candidates {
        let wall = self.now.wall;
        let is_candidate = |known: &&KnownAddress| {
            let id = known.addr.id();
            known.placement != Placement::Bad
                && !self.is_met(&id)
                && !besides.contains(&id)
                && !self.standings.is_persistent(&id)
                && !self.book.is_banned(&known.addr, wall)
        };
        let mut candidates = Candidates::default();
        for known in self.book.iter().filter(is_candidate) {
            candidates.total += 1;
            if after.is_some_and(|after| known.addr.id() <= after) {
                continue;
            }
            if candidates.page.len() < limit {
                candidates.page.push(known.clone());
            } else if candidates.next.is_none() {
                candidates.next = candidates.page.last().map(|last| last.addr.id());
            }
        }
        candidates
    }
}
