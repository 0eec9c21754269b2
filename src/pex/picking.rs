//! Which addresses of the book are dialed.

use std::{collections::BTreeSet, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{PexCore, PexNotice, PexOutput};
use crate::{
    addrbook::{KnownAddress, Placement},
    address::{GroupKey, NetAddress},
    config::{PexBias, UnfitBias},
    identity::NodeId,
    time::Now,
};

/// A book that is looked through to its end however often somebody wants that; of a larger one it
/// is done once a second.
const SMALL: usize = 1024;

/// Who is not to be picked, and when.
struct Picking<'a> {
    core: &'a PexCore,
    now: Now,
    jitter: Duration,
    /// How long an address that has not failed is left alone.
    spacing: Duration,
    picked: BTreeSet<NodeId>,
    /// Groups in which we have an outbound peer or an attempt.
    groups: BTreeSet<GroupKey>,
}

impl PexCore {
    /// Addresses to dial now, up to as many as wanted: those that a seed has just told, then by
    /// chance.
    ///
    /// One of each group, while there are others that have not failed: who owns a network, and has as
    /// many nodes in it as he likes, is to be one of our peers and not all of them.
    pub(super) fn pick(&mut self, wanted: usize, now: Now) -> Vec<NetAddress> {
        let bias = self.bias();
        let mut rng = StdRng::from_rng(&mut self.rng);
        let jitter = self.settings.backoff_unit().mul_f64(rng.random_range(0.0..1.0));
        let mut newcomers = std::mem::take(&mut self.newcomers);
        let may_walk = self.book.len() <= SMALL || self.walk_at <= now.mono;
        let (groups, mut picked) = (self.dialed_groups(), Vec::new());
        let spacing = self.spacing();
        let mut picking =
            Picking { core: self, now, jitter, spacing, picked: BTreeSet::new(), groups };
        // It may have failed because it was we who were not there.
        let cap = self.settings.ensure_peers_period;
        let mut is_exhausted = false;
        for is_strict in [true, false] {
            newcomers.retain(|id| {
                if picked.len() == wanted {
                    return true;
                }
                let known = self.book.get(id).filter(|known| picking.is_due(known, cap));
                if is_strict && known.is_some_and(|known| picking.is_one_more(known)) {
                    return true;
                }
                picked.extend(known.map(|known| picking.take(known)));
                false
            });
            while picked.len() < wanted {
                let may_be = |known: &KnownAddress| {
                    !(is_strict && picking.is_one_more(known))
                        && picking.is_due(known, Duration::MAX)
                };
                match self.book.pick(bias, now.wall, &mut rng, may_walk, may_be) {
                    Some(known) => picked.push(picking.take(known)),
                    None => {
                        is_exhausted = true;
                        break;
                    }
                }
            }
            // Nobody has looked whether there are others.
            if picked.len() == wanted || !may_walk {
                break;
            }
        }
        self.newcomers = newcomers;
        if is_exhausted && may_walk {
            self.walk_at = now.mono + self.settings.backoff_unit();
        } else if is_exhausted {
            self.refill_at.get_or_insert(self.walk_at);
        }
        picked
    }

    /// How much new addresses are preferred, in per cent.
    fn bias(&mut self) -> u8 {
        let outbound = self.neighbours.values().filter(|n| n.is_outbound()).count();
        let (bias, unfit) = self.settings.bias.percent(outbound);
        if let Some(unfit) = unfit {
            let has_panicked = unfit == UnfitBias::Panicked;
            if !std::mem::replace(&mut self.is_bias_reported, true) || has_panicked {
                let notice = PexNotice::UnfitBias(unfit.to_string());
                self.outputs.push_back(PexOutput::Notice(notice));
            }
            if has_panicked {
                // Nobody wants to read its panic in every round.
                self.settings.bias = PexBias::default();
            }
        }
        bias
    }

    /// How long an address that has not failed is left alone after an attempt: a period. While there
    /// is nobody as if it had failed in each round: so who was lost is dialed again at once.
    fn spacing(&self) -> Duration {
        let period = self.settings.ensure_peers_period;
        if self.has_nobody() { self.pause_after(self.alone.rounds()).min(period) } else { period }
    }

    /// The groups of our outbound peers and of those who are dialed, whoever wanted them.
    fn dialed_groups(&self) -> BTreeSet<GroupKey> {
        let outbound = self.neighbours.values().filter(|n| n.is_outbound() && !n.is_over);
        let peers = outbound.filter_map(|n| n.facts.dialed);
        let dialed = self.dials.iter().filter_map(|id| self.where_to_dial(id));
        peers.chain(dialed).map(|addr| self.book.group_of(&addr)).collect()
    }

    /// Where to dial a node: at the other address that was told, in turn, if this one fails.
    pub(super) fn where_to_dial(&self, id: &NodeId) -> Option<NetAddress> {
        self.book.get(id).map(target)
    }
}

impl Picking<'_> {
    /// Whether the address may be dialed now: after a failure there is a pause, no longer than the
    /// cap. Without a failure there is one, too: or what is refused for no fault of its own, or hangs
    /// up at once, would be dialed all the time. A seed is dialed for what it knows, when
    /// that is wanted: it is no peer that stays.
    fn is_due(&self, known: &KnownAddress, cap: Duration) -> bool {
        let (core, id) = (self.core, known.addr.id());
        let pause = match known.history().dial_failures {
            0 => self.spacing,
            failures => core.pause_after(failures).saturating_add(self.jitter),
        };
        known.placement != Placement::Bad
            && known.attempted_ago(self.now.wall).is_none_or(|ago| ago >= pause.min(cap))
            && !core.outage.concerns(target(known).ip(), self.now.mono)
            && !self.picked.contains(&id)
            && core.may_dial(&id)
            && !core.is_seed(&id)
            && !core.book.is_private(&id)
            && !core.book.is_banned(&known.addr, self.now.wall)
    }

    /// Whether we have a peer in its group, or dial one; or it has failed, so that it is no reason to
    /// pass over a group of which we have a peer: whoever tells black holes would keep us from every
    /// second node of a network that is in few groups.
    fn is_one_more(&self, known: &KnownAddress) -> bool {
        known.history().dial_failures > 0
            || self.groups.contains(&self.core.book.group_of(&target(known)))
    }

    fn take(&mut self, known: &KnownAddress) -> NetAddress {
        let addr = target(known);
        self.picked.insert(addr.id());
        self.groups.insert(self.core.book.group_of(&addr));
        addr
    }
}

pub(super) fn target(known: &KnownAddress) -> NetAddress {
    let is_other = known.history().dial_failures % 2 == 1;
    known.history().probation.filter(|_| is_other).unwrap_or(known.addr)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::Config,
        pex::core::tests::{at, outputs, started},
    };

    #[test]
    fn a_bias_that_is_no_percentage_is_told_once() {
        let mut core = started(&Config { pex_bias: PexBias::new(|_| 200), ..Config::default() });
        let mut told = 0;
        for _ in 0..3 {
            assert_eq!(core.bias(), 100);
            let is_notice = |output: &PexOutput| matches!(output, PexOutput::Notice(_));
            told += outputs(&mut core).iter().filter(|output| is_notice(output)).count();
            assert_eq!(told, 1);
        }
    }

    #[test]
    fn with_each_failure_it_is_the_other_address_that_is_dialed() {
        let mut core = started(&Config::default());
        let node = |ip: u8| NetAddress::new(NodeId::from_bytes([1; 20]), [50, ip, 1, 1].into(), 1);
        core.add_to_book(node(1), node(1), at(0)).unwrap();
        let mut known = core.book.get(&node(1).id()).unwrap().clone();
        for failures in 0..6 {
            known.history_mut().dial_failures = failures;
            known.history_mut().probation = None;
            assert_eq!(target(&known), node(1));
            known.history_mut().probation = Some(node(2));
            let turn = if failures.is_multiple_of(2) { 1 } else { 2 };
            assert_eq!(target(&known), node(turn), "after {failures} failures");
        }
    }
}
