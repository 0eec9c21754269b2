//! The addresses against a model that does everything the slow way. Chance decides which of
//! several entries leaves a full bucket and whether a source is taken in; there the model looks at
//! what the book did, and checks that it may.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// Nodes of one group, so that buckets are full with few of them.
fn crowd(n: u16) -> NetAddress {
    let mut bytes = [0x55; 20];
    bytes[..2].copy_from_slice(&n.to_be_bytes());
    let ip = [44, 0, 1 + (n / 250) as u8, (n % 250) as u8];
    NetAddress::new(NodeId::from_bytes(bytes), ip.into(), 1000)
}

fn source(n: u8) -> NetAddress {
    NetAddress::new(NodeId::from_bytes([0x99; 20]), [99, n, 1, 1].into(), 1)
}

#[derive(Clone, Debug)]
enum Op {
    /// Many at once: of this many nodes from this one on.
    Fill {
        from: u16,
        count: u16,
        src: u8,
        are_good: bool,
    },
    Add {
        n: u16,
        src: u8,
    },
    /// At another address.
    Move {
        n: u16,
        to: u16,
    },
    Attempted {
        n: u16,
    },
    DialFailed {
        n: u16,
    },
    Authenticated {
        n: u16,
    },
    FoundAtProbation {
        n: u16,
    },
    FailedAtProbation {
        n: u16,
    },
    WrongId {
        n: u16,
    },
    MarkGood {
        n: u16,
    },
    MarkBad {
        n: u16,
    },
    Ban {
        n: u16,
    },
    NextTest,
    /// What has been bad long enough is new again.
    Reinstate,
    Pass {
        minutes: u64,
    },
}

const NODES: u16 = 400;

fn op() -> impl Strategy<Value = Op> {
    let n = || 0..NODES;
    prop_oneof![
        4 => (n(), 1..150_u16, 0..3_u8, any::<bool>())
            .prop_map(|(from, count, src, are_good)| Op::Fill { from, count, src, are_good }),
        3 => (n(), 0..8_u8).prop_map(|(n, src)| Op::Add { n, src }),
        2 => (n(), n()).prop_map(|(n, to)| Op::Move { n, to }),
        2 => n().prop_map(|n| Op::Attempted { n }),
        2 => n().prop_map(|n| Op::DialFailed { n }),
        2 => n().prop_map(|n| Op::Authenticated { n }),
        2 => n().prop_map(|n| Op::FoundAtProbation { n }),
        1 => n().prop_map(|n| Op::FailedAtProbation { n }),
        1 => n().prop_map(|n| Op::WrongId { n }),
        3 => n().prop_map(|n| Op::MarkGood { n }),
        1 => n().prop_map(|n| Op::MarkBad { n }),
        1 => n().prop_map(|n| Op::Ban { n }),
        2 => Just(Op::NextTest),
        2 => (1..30_u64).prop_map(|minutes| Op::Pass { minutes }),
        1 => Just(Op::Reinstate),
    ]
}

struct Model {
    known: BTreeMap<NodeId, KnownAddress>,
    bad: BTreeMap<NodeId, SystemTime>,
    banned: BTreeMap<NodeId, SystemTime>,
    disputes: Vec<Dispute>,
    /// Of whom several groups had told before this step; who that is, is up to chance.
    told_again: BTreeSet<NodeId>,
    /// How many of those that the book has evicted are gone here, too.
    num_evicted: usize,
}

#[derive(Clone)]
struct Dispute {
    holder: NodeId,
    rival: NodeId,
    since: SystemTime,
    asked: Option<SystemTime>,
}

impl Model {
    fn in_new(&self, bucket: u8) -> Vec<NodeId> {
        let is_in = |known: &KnownAddress| matches!(&known.placement, Placement::New(all) if all.contains(&bucket));
        self.known.iter().filter(|(_, known)| is_in(known)).map(|(id, _)| *id).collect()
    }

    fn in_old(&self, bucket: u8) -> Vec<NodeId> {
        let is_in = |known: &KnownAddress| known.placement == Placement::Old(bucket);
        self.known.iter().filter(|(_, known)| is_in(known)).map(|(id, _)| *id).collect()
    }

    /// Whoever leaves the bucket must be one of the least useful in it.
    fn join_new(&mut self, id: NodeId, bucket: u8, book: &Book, wall: SystemTime) {
        let held = self.in_new(bucket);
        if held.len() == 64 {
            let rank = |id: &NodeId| {
                let known = &self.known[id];
                let last = known.history().last_attempt;
                let is_worth = self.told_again.contains(id) && !known.is_in_several();
                (!known.is_hopeless(wall), last.is_some(), is_worth, last)
            };
            let least = held.iter().map(rank).min().unwrap();
            let (from, victim) = book.evicted[self.num_evicted];
            self.num_evicted += 1;
            assert!(from == bucket && held.contains(&victim) && rank(&victim) == least);
            let Placement::New(buckets) = &mut self.known.get_mut(&victim).unwrap().placement
            else {
                unreachable!()
            };
            *buckets = buckets.without(bucket);
            if buckets.is_empty() {
                self.known.remove(&victim);
            }
        }
        match &mut self.known.get_mut(&id).unwrap().placement {
            Placement::New(buckets) => buckets.add(bucket),
            placement => *placement = new([bucket]),
        }
    }

    fn place_anew(&mut self, id: NodeId, book: &Book, wall: SystemTime) {
        let known = self.known.get_mut(&id).unwrap();
        known.placement = Placement::NOWHERE;
        let bucket = book.hash.new_bucket(&known.addr, &known.src);
        self.join_new(id, bucket, book, wall);
    }

    fn reinstate(&mut self, id: NodeId, book: &Book, wall: SystemTime) {
        if let Some(known) = self.known.get_mut(&id) {
            let history = known.history_mut();
            (history.attempts, history.dial_failures) = (0, 0);
            self.place_anew(id, book, wall);
        }
    }

    fn replace(&mut self, holder: NodeId, rival: NodeId, book: &Book, wall: SystemTime) {
        let (Some(_), Some(new)) = (self.known.get(&holder), self.known.get(&rival)) else {
            return;
        };
        let bucket = book.hash.old_bucket(&new.addr);
        let wants = matches!(new.placement, Placement::New(_));
        if wants && self.in_old(bucket).contains(&holder) {
            self.known.get_mut(&rival).unwrap().placement = Placement::Old(bucket);
            self.place_anew(holder, book, wall);
        }
    }

    fn mark_good(&mut self, id: NodeId, book: &Book, wall: SystemTime) {
        if self.bad.remove(&id).is_some() {
            self.reinstate(id, book, wall);
        }
        let Some(known) = self.known.get_mut(&id) else { return };
        let history = known.history_mut();
        (history.attempts, history.last_success) = (0, Some(wall));
        if matches!(known.placement, Placement::Old(_)) {
            return;
        }
        let bucket = book.hash.old_bucket(&known.addr);
        let is_verified = known.history().verified.is_some();
        let holders = self.in_old(bucket);
        if holders.len() < 64 {
            self.known.get_mut(&id).unwrap().placement = Placement::Old(bucket);
        } else if is_verified {
            let rank = |id: &NodeId| {
                let known = &self.known[id];
                let is_sound =
                    known.history().verified.is_some() && known.history().dial_failures == 0;
                (is_sound, known.history().last_success, *id)
            };
            let (is_sound, _, holder) = holders.iter().map(rank).min().unwrap();
            if !is_sound {
                self.replace(holder, id, book, wall);
            } else if self.disputes.len() < 10
                && !self.disputes.iter().any(|d| d.holder == holder || d.rival == id)
            {
                self.disputes.push(Dispute { holder, rival: id, since: wall, asked: None });
            }
        }
    }

    fn seen(&mut self, id: NodeId, wall: SystemTime) {
        self.disputes.retain(|dispute| dispute.holder != id);
        if let Some(known) = self.known.get_mut(&id) {
            known.history_mut().last_seen = Some(wall);
            let NodeFacts { moniker, version, network } = facts();
            let history = known.history_mut();
            (history.moniker, history.version, history.network) = (moniker, version, network);
        }
    }

    fn add(
        &mut self,
        addr: NetAddress,
        src: NetAddress,
        book: &Book,
        wall: SystemTime,
    ) -> Result<Added, AddError> {
        let id = addr.id();
        if self.banned.contains_key(&id) {
            return Err(AddError::Banned);
        }
        if self.bad.contains_key(&id) {
            return Err(AddError::Bad);
        }
        let Some(known) = self.known.get_mut(&id) else {
            self.known.insert(id, KnownAddress::told(addr, src));
            self.place_anew(id, book, wall);
            return Ok(Added::New);
        };
        if known.addr != addr {
            if known.history().probation.is_some() {
                return Ok(Added::Known);
            }
            known.history_mut().probation = Some(addr);
            return Ok(Added::Probation);
        }
        let bucket = book.hash.new_bucket(&addr, &src);
        match &known.placement {
            Placement::New(buckets) if buckets.len() < 4 && !buckets.contains(&bucket) => {
                // By chance.
                let now = &book.get(&id).unwrap().placement;
                if now == &known.placement {
                    return Ok(Added::Known);
                }
                self.join_new(id, bucket, book, wall);
                Ok(Added::AnotherBucket)
            }
            _ => Ok(Added::Known),
        }
    }

    fn next_test(&mut self, book: &Book, wall: SystemTime) -> Option<NetAddress> {
        let over = Duration::from_secs(2400);
        while let Some(at) = self.disputes.iter().position(|d| wall.since(d.since) >= over) {
            let Dispute { holder, rival, .. } = self.disputes.remove(at);
            self.replace(holder, rival, book, wall);
        }
        let known = &self.known;
        self.disputes.retain(|d| known.contains_key(&d.holder) && known.contains_key(&d.rival));
        let again = Duration::from_secs(600);
        let is_due = |d: &&mut Dispute| d.asked.is_none_or(|asked| wall.since(asked) >= again);
        let due = self.disputes.iter_mut().find(is_due)?;
        due.asked = Some(wall);
        Some(self.known[&due.holder].addr)
    }

    fn expire(&mut self, book: &Book, wall: SystemTime) {
        let mut ends: Vec<_> = self.banned.iter().map(|(id, until)| (*until, *id)).collect();
        ends.sort();
        for (until, id) in ends.into_iter().filter(|(until, _)| *until <= wall) {
            assert_eq!(self.banned.remove(&id), Some(until));
            if !self.bad.contains_key(&id) {
                self.reinstate(id, book, wall);
            }
        }
    }

    fn reinstate_due(&mut self, book: &Book, wall: SystemTime) {
        let mut ends: Vec<_> = self.bad.iter().map(|(id, until)| (*until, *id)).collect();
        ends.sort();
        for (_, id) in ends.into_iter().filter(|(until, _)| *until <= wall) {
            self.bad.remove(&id);
            self.reinstate(id, book, wall);
        }
    }
}

/// One step of both.
fn step(op: &Op, book: &mut Book, model: &mut Model, wall: &mut SystemTime, rng: &mut StdRng) {
    let at = *wall;
    let addr_of = |model: &Model, n: u16| model.known.get(&crowd(n).id()).map(|known| known.addr);
    match *op {
        Op::Fill { from, count, src, are_good } => {
            for n in (from..from + count).map(|n| n % NODES) {
                step(&Op::Add { n, src }, book, model, wall, rng);
                if are_good {
                    step(&Op::Authenticated { n }, book, model, wall, rng);
                    step(&Op::MarkGood { n }, book, model, wall, rng);
                }
            }
        }
        Op::Add { n, src } => {
            let added = book.add(crowd(n), source(src), at, rng);
            assert_eq!(added, model.add(crowd(n), source(src), book, at));
        }
        Op::Move { n, to } => {
            let addr = NetAddress::new(crowd(n).id(), crowd(to).ip(), 9);
            let added = book.add(addr, source(0), at, rng);
            assert_eq!(added, model.add(addr, source(0), book, at));
        }
        Op::Attempted { n } => {
            let Some(addr) = addr_of(model, n) else { return };
            book.attempted(&addr, at);
            let known = model.known.get_mut(&addr.id()).unwrap();
            let history = known.history_mut();
            let days =
                history.last_attempt.map_or(0, |last| at.since(last).as_secs() / (24 * 3600));
            history.dial_failures /= 1 << days;
            (history.attempts, history.last_attempt) = (history.attempts + 1, Some(at));
        }
        Op::DialFailed { n } => {
            let Some(addr) = addr_of(model, n) else { return };
            let failures = book.dial_failed(&addr, at);
            let known = model.known.get_mut(&addr.id()).unwrap();
            known.history_mut().dial_failures += 1;
            assert_eq!(failures, known.history().dial_failures);
            if let Some(place) = model.disputes.iter().position(|d| d.holder == addr.id()) {
                let dispute = model.disputes.remove(place);
                model.replace(dispute.holder, dispute.rival, book, at);
            }
        }
        Op::Authenticated { n } => {
            let Some(addr) = addr_of(model, n) else { return };
            book.authenticated(&addr, &facts(), at);
            let known = model.known.get_mut(&addr.id()).unwrap();
            known.history_mut().verified = Some(at);
            assert_eq!(
                book.get(&addr.id()).unwrap().history().dial_failures,
                known.history().dial_failures
            );
            book.reached(&addr.id(), true);
            known.history_mut().dial_failures = 0;
            model.seen(addr.id(), at);
        }
        Op::FoundAtProbation { n } => {
            let id = crowd(n).id();
            let Some(known) = model.known.get_mut(&id) else { return };
            let Some(addr) = known.history_mut().probation.take() else { return };
            book.authenticated(&addr, &facts(), at);
            known.addr = addr;
            let history = known.history_mut();
            (history.verified, history.dial_failures) = (Some(at), 0);
            let bucket = book.hash.old_bucket(&addr);
            let placement = known.placement;
            match placement {
                Placement::Bad => {}
                Placement::Old(place) if place == bucket => {}
                Placement::Old(_) if model.in_old(bucket).len() < 64 => {
                    model.known.get_mut(&id).unwrap().placement = Placement::Old(bucket);
                }
                _ => model.place_anew(id, book, at),
            }
            model.seen(id, at);
        }
        Op::FailedAtProbation { n } => {
            let Some(known) = model.known.get_mut(&crowd(n).id()) else { return };
            let Some(addr) = known.history_mut().probation.take() else { return };
            assert_eq!(book.dial_failed(&addr, at), 0);
        }
        Op::WrongId { n } => {
            let Some(addr) = addr_of(model, n) else { return };
            book.wrong_id(&addr, at);
            let known = model.known.remove(&addr.id()).unwrap();
            let Some(other) = known.history().probation else { return };
            let mut told = KnownAddress::told(other, known.src);
            told.history_mut().last_bad = known.history().last_bad;
            model.known.insert(addr.id(), told);
            if known.placement == Placement::Bad {
                model.known.get_mut(&addr.id()).unwrap().placement = Placement::Bad;
            } else {
                model.place_anew(addr.id(), book, at);
            }
        }
        Op::MarkGood { n } => {
            book.mark_good(&crowd(n).id(), at, rng);
            model.mark_good(crowd(n).id(), book, at);
        }
        Op::MarkBad { n } => {
            let id = crowd(n).id();
            book.mark_bad(id, None, HOUR, "x", at);
            model.bad.insert(id, at + HOUR);
            if let Some(known) = model.known.get_mut(&id) {
                known.placement = Placement::Bad;
                known.history_mut().last_bad = Some(at);
            }
        }
        Op::Ban { n } => {
            let id = crowd(n).id();
            book.ban(id.into(), Some(HOUR / 2), String::new(), at).unwrap();
            model.banned.insert(id, at + HOUR / 2);
        }
        Op::NextTest => {
            let test = book.next_test(at);
            assert_eq!(test, model.next_test(book, at));
        }
        Op::Pass { minutes } => {
            *wall += Duration::from_secs(60 * minutes);
            book.expire(*wall, rng);
            model.expire(book, *wall);
        }
        Op::Reinstate => {
            book.reinstate_due(at, rng);
            model.reinstate_due(book, at);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..Default::default() })]

    #[test]
    fn addresses_do_what_the_model_does(
        seed: u64,
        ops in proptest::collection::vec(op(), 1..150),
    ) {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut book = Book::new(large_book().settings, BookKey::random(&mut rng));
        let mut model = Model {
            known: BTreeMap::new(),
            bad: BTreeMap::new(),
            banned: BTreeMap::new(),
            disputes: Vec::new(),
            told_again: BTreeSet::new(),
            num_evicted: 0,
        };
        let mut store = MemoryStore::new();
        let mut wall = start();
        for op in &ops {
            step(op, &mut book, &mut model, &mut wall, &mut rng);
            prop_assert!(book.iter().eq(model.known.values()), "after {:?}", op);
            prop_assert_eq!(book.evicted.len(), model.num_evicted);
            book.table.check();
            let is_told_again =
                |id: &NodeId| book.table.find(id).is_some_and(|n| book.table.is_told_again(n));
            model.told_again = model.known.keys().copied().filter(is_told_again).collect();
            if let Some(batch) = book.take_batch() {
                store.write(&batch).unwrap();
            }
            let stored = store.stored().addresses;
            prop_assert!(stored.iter().eq(model.known.values()), "stored after {:?}", op);
            // Nothing that may not be handed out is.
            let may = |addr: &NetAddress| {
                let known = &model.known[&addr.id()];
                known.addr == *addr
                    && known.placement != Placement::Bad
                    && !model.banned.contains_key(&addr.id())
            };
            let mut handed_out = book.selection(wall, &mut rng);
            handed_out.extend(book.selection_with_bias(30, wall, &mut rng));
            handed_out.extend(book.verified_selection(30, wall, &mut rng));
            handed_out.extend(book.pick(50, wall, &mut rng, true, |_| true).map(|known| known.addr));
            prop_assert!(handed_out.iter().all(may), "after {:?}", op);
        }
    }
}
