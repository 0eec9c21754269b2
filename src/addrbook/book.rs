//! What the book holds, and what of it has changed.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rand::Rng;

use super::{
    BadAddress, BookKey, BucketHash, KnownAddress, Placement, StoreBatch,
    buckets::start,
    collisions::Collisions,
    table::{Half, Table},
};
use crate::{
    address::{GroupKey, NetAddress},
    ban::{Ban, BanTable, BanTarget},
    config::Config,
    identity::NodeId,
    time::{Mono, Now, Wall},
};

/// With fewer addresses the book needs more (`p2p/pex/addrbook.go`, `needAddressThreshold`). Of those
/// that count: the reference counts what anybody has told.
const ENOUGH: usize = 1000;

/// Whom nobody has met for so long does not count. A month: as long as nodes are away and come back.
const RECENT: Duration = Duration::from_secs(30 * 24 * 3600);

/// Addresses at which we met ourselves, the last ones. More are told by somebody who sends our own
/// connections back to us.
const MAX_MET_OWN: usize = 16;

/// How long the book may overlook that the wall clock was set forward. Who looks into a
/// [`BanTable`] compares with the wall clock itself, so this only delays removal.
pub(super) const MAX_SLEEP: Duration = Duration::from_secs(60);

/// Least time to the next look at what ends: a wall clock that stands still or is set back just
/// before an end must not make a busy loop.
pub(super) const MIN_SLEEP: Duration = Duration::from_millis(10);

/// Whose book it is and what it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BookSettings {
    /// The node itself, which is never booked.
    pub own: NodeId,
    /// `Config::addr_book_strict`: only addresses that can be reached from anywhere.
    pub is_strict: bool,
    /// How much it holds.
    pub limits: BookLimits,
}

/// How much the book holds of what others can cause, beside the 256 + 64 buckets of 64. What an
/// operator adds is not limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BookLimits {
    /// Automatic bans, which are of nodes: others would have to pay for one of an address. Each costs the banned a new key and a handshake, and us a table entry
    /// with its reason: 50,000 are 34 a minute for as long as such a ban lasts, a day.
    pub automatic_ids: usize,
    /// The longest automatic ban of a node: the longer one of `Config::pex_ban_time` and
    /// `Config::pex_abuse_ban_time`. One that lasts longer was imposed by a clock that was wrong.
    pub automatic_ban: Duration,
    /// Bad addresses. As many as 256 + 64 buckets of 64 can hold: the whole book may be bad.
    pub bad: usize,
}

/// What the book knows, and what of it has changed since it was last stored.
#[derive(Clone, Debug)]
pub struct Book {
    pub(super) settings: BookSettings,
    pub(super) key: BookKey,
    pub(super) hash: BucketHash,
    /// **Invariant:** an address is in no bucket exactly while it is in `bad`; none is our own.
    pub(super) table: Table,
    pub(super) collisions: Collisions,
    /// Where we listen ourselves.
    pub(super) own_addrs: BTreeSet<SocketAddr>,
    /// Where we met ourselves, besides: our address as others see it.
    pub(super) met_own: VecDeque<SocketAddr>,
    pub(super) anchors: Vec<NetAddress>,
    /// Shared with whoever reads it; copied by the first change after it was given away.
    pub(super) bans: Arc<BanTable>,
    /// **Invariant:** the end and the target of every ban that has an end.
    pub(super) ban_ends: BTreeSet<(SystemTime, BanTarget)>,
    /// **Invariant:** the automatic ones of `ban_ends`.
    pub(super) automatic_ids: BTreeSet<(SystemTime, BanTarget)>,
    pub(super) bad: BTreeMap<NodeId, BadAddress>,
    /// **Invariant:** the end and the ID of every bad address.
    pub(super) bad_ends: BTreeSet<(SystemTime, NodeId)>,
    pub(super) private: BTreeSet<NodeId>,
    pub(super) dirty_bans: BTreeSet<BanTarget>,
    pub(super) dirty_bad: BTreeSet<NodeId>,
    pub(super) are_anchors_dirty: bool,
    pub(super) is_key_dirty: bool,
    /// The `addrbook.json` that was taken in since the last batch.
    pub(super) imported: Option<[u8; 32]>,
    /// Addresses of the store that are not in the book.
    pub(super) left_out: usize,
    /// Who had to leave which new bucket, in order: who of several equals is up to chance.
    #[cfg(test)]
    pub(super) evicted: Vec<(u8, NodeId)>,
}

impl Default for BookLimits {
    fn default() -> Self {
        Self::of(&Config::default())
    }
}

impl BookLimits {
    /// What of the configuration concerns them; the others are as they are.
    pub fn of(config: &Config) -> Self {
        Self {
            automatic_ids: 50_000,
            automatic_ban: config.pex_ban_time.max(config.pex_abuse_ban_time),
            bad: (256 + 64) * 64,
        }
    }
}

impl Book {
    /// An empty book with this key, which goes into the first batch.
    pub fn new(settings: BookSettings, key: BookKey) -> Self {
        Self {
            settings,
            hash: BucketHash::new(&key, settings.is_strict),
            key,
            table: Table::new(settings.is_strict),
            collisions: Collisions::default(),
            own_addrs: BTreeSet::new(),
            met_own: VecDeque::new(),
            anchors: Vec::new(),
            bans: Arc::default(),
            ban_ends: BTreeSet::new(),
            automatic_ids: BTreeSet::new(),
            bad: BTreeMap::new(),
            bad_ends: BTreeSet::new(),
            private: BTreeSet::new(),
            dirty_bans: BTreeSet::new(),
            dirty_bad: BTreeSet::new(),
            are_anchors_dirty: false,
            is_key_dirty: true,
            imported: None,
            left_out: 0,
            #[cfg(test)]
            evicted: Vec::new(),
        }
    }

    /// The node whose book it is.
    pub fn own(&self) -> NodeId {
        self.settings.own
    }

    /// What decides where addresses are kept.
    pub fn key(&self) -> &BookKey {
        &self.key
    }

    /// We listen there ourselves: nobody else is booked with this address, whatever ID is told with
    /// it. Not stored.
    pub fn add_own(&mut self, addr: SocketAddr) {
        let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
        if self.own_addrs.insert(addr) {
            self.forget_at(addr);
        }
    }

    /// We dialed there and met ourselves: the address is not booked again, whoever tells it. Not
    /// stored, and only the last 16.
    pub fn meet_own(&mut self, addr: SocketAddr) {
        if self.is_own(&addr) {
            return;
        }
        if self.met_own.len() == MAX_MET_OWN {
            self.met_own.pop_front();
        }
        self.met_own.push_back(addr);
        self.forget_at(addr);
    }

    /// Whether it is an address of ours.
    pub(super) fn is_own(&self, addr: &SocketAddr) -> bool {
        self.own_addrs.contains(addr) || self.met_own.contains(addr)
    }

    /// Whoever is booked at this address is so no more.
    pub(super) fn forget_at(&mut self, addr: SocketAddr) {
        let ids: Vec<_> = self.table.iter().filter(|k| k.addr.socket_addr() == addr).collect();
        let ids: Vec<_> = ids.into_iter().map(|known| known.addr.id()).collect();
        for n in ids.iter().filter_map(|id| self.table.find(id)).collect::<Vec<_>>() {
            self.table.remove(n);
        }
    }

    /// The addresses of these nodes are told to nobody. Not stored: the configuration says so at
    /// each start.
    pub fn add_private(&mut self, ids: impl IntoIterator<Item = NodeId>) {
        self.private.extend(ids);
    }

    /// The addresses of these nodes may be told again, once somebody has told them.
    pub fn remove_private(&mut self, ids: &[NodeId]) {
        ids.iter().for_each(|id| _ = self.private.remove(id));
    }

    /// An address to stand for this node where it tells its own book of others.
    pub fn own_addr(&self) -> NetAddress {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let addr = self.own_addrs.first().copied().unwrap_or(nowhere);
        NetAddress::new(self.own(), addr.ip(), addr.port())
    }

    /// Whether the node's address is told to nobody.
    pub fn is_private(&self, id: &NodeId) -> bool {
        self.private.contains(id)
    }

    /// How many addresses are in buckets: all but the bad ones.
    pub fn len(&self) -> usize {
        self.num_new() + self.num_old()
    }

    /// Whether there is no address but bad ones.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many addresses are only told.
    pub fn num_new(&self) -> usize {
        self.table.half(Half::New).len()
    }

    /// How many addresses proved good.
    pub fn num_old(&self) -> usize {
        self.table.half(Half::Old).len()
    }

    /// How many addresses are in buckets where we have found the node, and where it has not failed since.
    pub(crate) fn num_checked(&self) -> usize {
        self.table.checked(Half::New).len() + self.table.checked(Half::Old).len()
    }

    /// How many nodes are bad, with or without a known address.
    pub fn num_bad(&self) -> usize {
        self.bad.len()
    }

    /// Whether the node should ask others for addresses: it knows fewer than a thousand nodes that it
    /// has met within a month and that have not failed since. What was only told does not count, or
    /// whoever tells a thousand black holes has the last word.
    pub fn needs_more(&self, wall: SystemTime) -> bool {
        let met = self.table.met();
        let since = wall.before(RECENT);
        let is_recent = |n: &&u32| self.table.get(**n).met() >= Some(since);
        met.len() < ENOUGH || met.iter().filter(is_recent).take(ENOUGH).count() < ENOUGH
    }

    /// The part of the internet that the address is in, as this book counts.
    pub fn group_of(&self, addr: &NetAddress) -> GroupKey {
        addr.group_key(self.settings.is_strict)
    }

    /// Whether the node proved good and is not bad now.
    pub fn is_good(&self, id: &NodeId) -> bool {
        self.get(id).is_some_and(|known| matches!(known.placement, Placement::Old(_)))
    }

    /// What is known of the node.
    pub fn get(&self, id: &NodeId) -> Option<&KnownAddress> {
        self.table.find(id).map(|n| self.table.get(n))
    }

    /// Everything that is known, by ID, bad and banned nodes included.
    pub fn iter(&self) -> impl Iterator<Item = &KnownAddress> {
        self.table.iter()
    }

    /// The peers to return to first after a restart.
    pub fn anchors(&self) -> &[NetAddress] {
        &self.anchors
    }

    /// Keeps these peers as the ones to return to.
    pub fn set_anchors(&mut self, anchors: Vec<NetAddress>) {
        if self.anchors != anchors {
            self.anchors = anchors;
            self.are_anchors_dirty = true;
        }
    }

    /// Takes out the bans that are over. The addresses of their nodes are new again with a clean
    /// record.
    pub fn expire(&mut self, wall: SystemTime, rng: &mut impl Rng) -> Vec<Ban> {
        let mut expired = Vec::new();
        while let Some(&(until, target)) = self.ban_ends.first()
            && until <= wall
        {
            self.dirty_bans.insert(target);
            expired.extend(self.take_ban(&target));
            if let BanTarget::Id(id) = target
                && !self.bad.contains_key(&id)
            {
                self.reinstate(&id, wall, start(rng));
            }
        }
        expired
    }

    /// Makes the addresses new again, with a clean record, that have been bad long enough. Until
    /// this is called they stay bad: nobody needs them while there are enough peers
    /// (`p2p/pex/addrbook.go`, `ReinstateBadPeers`).
    pub fn reinstate_due(&mut self, wall: SystemTime, rng: &mut impl Rng) -> Vec<BadAddress> {
        let mut reinstated = Vec::new();
        while let Some(&(until, id)) = self.bad_ends.first()
            && until <= wall
        {
            self.dirty_bad.insert(id);
            let Some(bad) = self.take_bad(&id) else { continue };
            self.restore(&bad, wall, rng);
            reinstated.push(bad);
        }
        reinstated
    }

    /// When to call [`expire`](Self::expire) next. Ends are wall times: this is an estimate by what
    /// the two clocks say now, and made anew after every call.
    pub fn next_deadline(&self, now: Now) -> Option<Mono> {
        let end = self.ban_ends.first().map(|(until, _)| *until)?;
        Some(now.mono + end.since(now.wall).clamp(MIN_SLEEP, MAX_SLEEP))
    }

    /// There is no store: from now on no batch has an address, and none is kept for the next.
    pub(crate) fn forget_changes(&mut self) {
        self.table.forget_changes();
    }

    /// What has changed since the last call, for the store. `None`: nothing.
    pub fn take_batch(&mut self) -> Option<StoreBatch> {
        let mut batch = StoreBatch::default();
        for target in std::mem::take(&mut self.dirty_bans) {
            batch.bans.insert(target, self.bans.get(&target).cloned());
        }
        for id in std::mem::take(&mut self.dirty_bad) {
            batch.bad.insert(id, self.bad.get(&id).cloned());
        }
        batch.addresses.extend(self.table.take_changed());
        if std::mem::take(&mut self.are_anchors_dirty) {
            batch.anchors = Some(self.anchors.clone());
        }
        if std::mem::take(&mut self.is_key_dirty) {
            batch.key = Some(self.key.clone());
        }
        batch.imported = self.imported.take();
        (!batch.is_empty()).then_some(batch)
    }
}
