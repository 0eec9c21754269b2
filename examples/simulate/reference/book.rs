//! The reference's address book (`p2p/pex/addrbook.go` of Tendermint v0.34): what it takes, where it puts it,
//! what it picks and hands out. Placement by our own hash, which is compared with the reference's elsewhere.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use rand::{RngExt, rngs::StdRng, seq::SliceRandom};
use tmp2p::{BookKey, NetAddress, NodeId, internals::addrbook::BucketHash};

const NEW_BUCKETS: usize = 256;
const OLD_BUCKETS: usize = 64;
const BUCKET_SIZE: usize = 64;
const MAX_NEW_PER_ADDRESS: usize = 4;
const NEED_ADDRESSES: usize = 1000;
const MINUTE: Duration = Duration::from_secs(60);
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long a bad address stays out.
const BAD_TIME: Duration = Duration::from_secs(24 * 3600);

struct Known {
    addr: NetAddress,
    /// In which it is: one, if it is old.
    buckets: Vec<usize>,
    is_old: bool,
    attempts: u32,
    last_attempt: Option<Duration>,
    last_success: Option<Duration>,
}

/// The book of one node.
pub(crate) struct Book {
    own: NodeId,
    hash: BucketHash,
    known: HashMap<NodeId, Known>,
    /// Everybody, in an order that does not depend on hashes.
    ids: BTreeSet<NodeId>,
    new: Vec<Vec<NodeId>>,
    old: Vec<Vec<NodeId>>,
    bad: BTreeMap<NodeId, (NetAddress, Duration)>,
    num_old: usize,
}

impl Known {
    /// `isBad`: of no use any more.
    fn is_hopeless(&self, now: Duration) -> bool {
        let Some(attempt) = self.last_attempt.filter(|_| !self.is_old) else { return false };
        if now.saturating_sub(attempt) < MINUTE {
            return false;
        }
        let is_stale = now.saturating_sub(attempt) > WEEK;
        let never = self.last_success.is_none() && self.attempts >= 3;
        let long_ago = self.last_success.is_some_and(|at| now.saturating_sub(at) > WEEK);
        is_stale || never || long_ago && self.attempts >= 10
    }
}

impl Book {
    pub(crate) fn new(own: NodeId, rng: &mut StdRng) -> Self {
        Self {
            own,
            hash: BucketHash::new(&BookKey::random(rng), true),
            known: HashMap::new(),
            ids: BTreeSet::new(),
            new: vec![Vec::new(); NEW_BUCKETS],
            old: vec![Vec::new(); OLD_BUCKETS],
            bad: BTreeMap::new(),
            num_old: 0,
        }
    }

    /// The same after a restart: the reference forgets most of its key, so that whoever is told from now on
    /// gets another place, and everybody who is bad.
    pub(crate) fn reload(&mut self, rng: &mut StdRng) {
        self.hash = BucketHash::new(&BookKey::random(rng), true);
        self.bad.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    pub(crate) fn needs_more(&self) -> bool {
        self.len() < NEED_ADDRESSES
    }

    /// `addAddress`.
    pub(crate) fn add(
        &mut self,
        addr: NetAddress,
        src: NetAddress,
        now: Duration,
        rng: &mut StdRng,
    ) {
        let is_out = self.bad.contains_key(&addr.id()) || addr.id() == self.own;
        if is_out || !addr.is_routable() || !addr.is_valid() {
            return;
        }
        if let Some(known) = self.known.get(&addr.id()) {
            let places = known.buckets.len();
            let is_lucky = rng.random_range(0..2 * places.max(1)) == 0;
            if known.is_old || places == MAX_NEW_PER_ADDRESS || !is_lucky {
                return;
            }
        } else {
            // As `newKnownAddress` has it: told is as good as tried.
            let (attempts, last_attempt, last_success) = (0, Some(now), None);
            let buckets = Vec::new();
            let known =
                Known { addr, buckets, is_old: false, attempts, last_attempt, last_success };
            self.known.insert(addr.id(), known);
            self.ids.insert(addr.id());
        }
        self.put_new(addr.id(), self.hash.new_bucket(&addr, &src).into(), now);
    }

    /// `addToNewBucket`, which lets one more in than there are places.
    fn put_new(&mut self, id: NodeId, bucket: usize, now: Duration) {
        if self.new[bucket].contains(&id) {
            return;
        }
        if self.new[bucket].len() > BUCKET_SIZE {
            self.expire_new(bucket, now);
        }
        self.new[bucket].push(id);
        self.known.get_mut(&id).expect("known").buckets.push(bucket);
    }

    /// `expireNew`: somebody hopeless goes, or who was tried longest ago.
    fn expire_new(&mut self, bucket: usize, now: Duration) {
        let hopeless = self.new[bucket].iter().find(|id| self.known[id].is_hopeless(now));
        let oldest = || self.new[bucket].iter().min_by_key(|id| self.known[id].last_attempt);
        if let Some(id) = hopeless.or_else(oldest).copied() {
            self.take_from_new(id, bucket);
        }
    }

    fn take_from_new(&mut self, id: NodeId, bucket: usize) {
        self.new[bucket].retain(|other| *other != id);
        let known = self.known.get_mut(&id).expect("known");
        known.buckets.retain(|other| *other != bucket);
        if known.buckets.is_empty() {
            self.forget(&id);
        }
    }

    fn forget(&mut self, id: &NodeId) -> Option<NetAddress> {
        let known = self.known.remove(id)?;
        self.ids.remove(id);
        for bucket in known.buckets {
            let half = if known.is_old { &mut self.old } else { &mut self.new };
            half[bucket].retain(|other| other != id);
        }
        self.num_old -= usize::from(known.is_old);
        Some(known.addr)
    }

    /// `addToOldBucket`. Who has no place is lost, as in the reference.
    fn put_old(&mut self, id: NodeId) {
        let bucket = usize::from(self.hash.old_bucket(&self.known[&id].addr));
        if self.old[bucket].len() > BUCKET_SIZE {
            let oldest = self.old[bucket].iter().min_by_key(|id| self.known[id].last_attempt);
            if let Some(oldest) = oldest.copied() {
                self.forget(&oldest);
            }
        }
        self.old[bucket].push(id);
        let known = self.known.get_mut(&id).expect("known");
        (known.buckets, known.is_old) = (vec![bucket], true);
        self.num_old += 1;
    }

    /// `MarkGood`.
    pub(crate) fn mark_good(&mut self, id: &NodeId, now: Duration) {
        let Some(known) = self.known.get_mut(id) else { return };
        (known.attempts, known.last_attempt, known.last_success) = (0, Some(now), Some(now));
        if known.is_old {
            return;
        }
        for bucket in std::mem::take(&mut known.buckets) {
            self.new[bucket].retain(|other| other != id);
        }
        self.put_old(*id);
    }

    /// `MarkAttempt`.
    pub(crate) fn mark_attempt(&mut self, id: &NodeId, now: Duration) {
        if let Some(known) = self.known.get_mut(id) {
            (known.attempts, known.last_attempt) = (known.attempts + 1, Some(now));
        }
    }

    /// `MarkBad`, for a day.
    pub(crate) fn mark_bad(&mut self, id: &NodeId, now: Duration) {
        if let Some(addr) = self.forget(id) {
            self.bad.insert(*id, (addr, now + BAD_TIME));
        }
    }

    /// `ReinstateBadPeers`.
    pub(crate) fn reinstate(&mut self, now: Duration, rng: &mut StdRng) {
        let due: Vec<_> = self.bad.iter().filter(|(_, (_, until))| *until <= now).collect();
        let due: Vec<_> = due.into_iter().map(|(id, (addr, _))| (*id, *addr)).collect();
        for (id, addr) in due {
            self.bad.remove(&id);
            self.add(addr, addr, now, rng);
        }
    }

    /// `PickAddress`.
    pub(crate) fn pick(&self, bias: u32, rng: &mut StdRng) -> Option<NetAddress> {
        let (num_old, num_new) = (self.num_old, self.len() - self.num_old);
        if self.len() == 0 {
            return None;
        }
        let old = (num_old as f64).sqrt() * f64::from(100 - bias.min(100));
        let new = (num_new as f64).sqrt() * f64::from(bias.min(100));
        let is_old = rng.random_range(0.0..1.0) * (old + new) < old;
        let half = if is_old { &self.old } else { &self.new };
        if half.iter().all(Vec::is_empty) {
            return None;
        }
        loop {
            let bucket = &half[rng.random_range(0..half.len())];
            if !bucket.is_empty() {
                return Some(self.known[&bucket[rng.random_range(0..bucket.len())]].addr);
            }
        }
    }

    /// `GetSelection`.
    pub(crate) fn selection(&self, rng: &mut StdRng) -> Vec<NetAddress> {
        let mut ids: Vec<_> = self.ids.iter().collect();
        let (some, _) = ids.partial_shuffle(rng, self.size_of_selection());
        some.iter().map(|id| self.known[*id].addr).collect()
    }

    /// `GetSelectionWithBias`: so many per cent of it are new, if there are enough of either kind.
    pub(crate) fn selection_with_bias(&self, bias: usize, rng: &mut StdRng) -> Vec<NetAddress> {
        let size = self.size_of_selection();
        let (mut old, mut new): (Vec<_>, Vec<_>) =
            self.ids.iter().partition(|id| self.known[id].is_old);
        let wanted = (size * bias).div_ceil(100).max(size.saturating_sub(old.len()));
        let wanted = wanted.min(new.len());
        let (some_new, _) = new.partial_shuffle(rng, wanted);
        let (some_old, _) = old.partial_shuffle(rng, size - wanted);
        some_new.iter().chain(some_old.iter()).map(|id| self.known[id].addr).collect()
    }

    fn size_of_selection(&self) -> usize {
        (self.len() * 23 / 100).max(self.len().min(32)).min(250)
    }
}
