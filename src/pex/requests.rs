//! What handles and reactors ask of the book.

use std::collections::BTreeSet;

use super::{Candidates, PexCore, PexOutput, PexRequest, neighbour::Opinion, view};
use crate::{
    addrbook::{BadAddress, BadCause, KnownAddress, Placement, json},
    ban::Ban,
    identity::NodeId,
    reply::Reply,
    switch::SwitchEvent,
    time::{Now, Wall},
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
                let (until, cause) = (wall.after(duration), BadCause::Application);
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
            candidates.total = candidates.total.saturating_add(1);
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        addrbook::{BanError, UnbanError},
        ban::BanTarget,
        pex::core::tests::{OWN, ask, at, ban, core, id},
    };

    #[test]
    fn a_ban_is_published_and_stored_before_it_is_answered() {
        let mut core = core();
        let (outputs, answer) = ban(&mut core, id(1).into(), None);
        let [PexOutput::Publish { table, added }, PexOutput::Store { batch, is_urgent: true }] =
            &outputs[..]
        else {
            panic!("{outputs:?}");
        };
        let answer = &answer.unwrap();
        assert_eq!(added, std::slice::from_ref(answer));
        assert_eq!(table.find_id(&id(1), at(0).wall), Some(answer));
        assert_eq!(batch.bans[&answer.target].as_ref(), Some(answer));
    }

    /// A list of 50,000 ranges would else be 50,000 tables, each a copy of the one before.
    #[test]
    fn a_list_of_bans_is_one_publication_or_none() {
        let mut core = core();
        let many = |core: &mut PexCore, targets| {
            let (duration, reason) = (None, "list".to_owned());
            ask(core, |reply| PexRequest::BanMany { targets, duration, reason, reply })
        };
        let cidr = |n: u8| format!("9.9.{n}.0/24").parse::<BanTarget>().unwrap();
        let (outputs, answer) = many(&mut core, (0..100).map(cidr).collect());
        let [PexOutput::Publish { table, added }, PexOutput::Store { batch, is_urgent: true }] =
            &outputs[..]
        else {
            panic!("{outputs:?}");
        };
        assert_eq!((table.len(), batch.bans.len()), (100, 100));
        assert_eq!(*added, answer.unwrap());
        // One that cannot be, and none is.
        let (outputs, answer) = many(&mut core, vec![cidr(200), OWN.into(), cidr(201)]);
        assert_eq!(answer, Err((1, BanError::OwnId)));
        assert!(outputs.is_empty() && many(&mut core, Vec::new()).0.is_empty());
        assert_eq!(core.book().bans().len(), 100);
    }

    #[test]
    fn what_is_wrong_with_a_ban_is_told_and_nothing_else_happens() {
        let mut core = core();
        for (target, duration, error) in [
            (OWN.into(), None, BanError::OwnId),
            (id(1).into(), Some(Duration::ZERO), BanError::ZeroDuration),
            (
                "0.0.0.0/0".parse().unwrap(),
                None,
                BanError::CoversEverything("0.0.0.0/0".parse().unwrap()),
            ),
            ("::/0".parse().unwrap(), None, BanError::CoversEverything("::/0".parse().unwrap())),
        ] {
            let (outputs, found) = ban(&mut core, target, duration);
            assert!(outputs.is_empty());
            assert_eq!(found, Err(error));
        }
        let target = BanTarget::from(id(9));
        let (outputs, found) = ask(&mut core, |reply| PexRequest::Unban { target, reply });
        assert!(outputs.is_empty());
        assert_eq!(found, Err(UnbanError::NotBanned(target)));
    }
}
