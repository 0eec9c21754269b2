//! What the book knows of one node.

use std::{
    fmt,
    ops::Deref,
    time::{Duration, SystemTime},
};

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::buckets::MAX_NEW_BUCKETS;
use crate::{address::NetAddress, time::Wall};

/// A node's address and how it has served so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Flat", into = "Flat")]
pub struct KnownAddress {
    /// Where the node is reached.
    pub addr: NetAddress,
    /// Who told of it; the node itself if it did.
    pub src: NetAddress,
    /// Where it is kept.
    pub placement: Placement,
    past: Past,
}

/// What became of an address since it was told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Attempts to connect since it was last good.
    pub attempts: u32,
    /// The last attempt.
    pub last_attempt: Option<SystemTime>,
    /// When it was last good.
    pub last_success: Option<SystemTime>,
    /// When it was last marked bad. It is, or was reinstated since.
    pub last_bad: Option<SystemTime>,
    /// Dials in a row that brought no session: what the next dial waits for. Unlike
    /// [`attempts`](Self::attempts) it starts from zero when the node is reinstated.
    pub dial_failures: u32,
    /// When we last dialed this very address and found the node there.
    pub verified: Option<SystemTime>,
    /// When a session with the node last began or ended, whoever dialed.
    pub last_seen: Option<SystemTime>,
    /// Another address that somebody has told for this node: not passed on, and in the place of the
    /// known one once we found the node there.
    pub probation: Option<NetAddress>,
    /// What the node calls itself: printable ASCII, empty if it was never met.
    pub moniker: String,
    /// The version of its software, likewise.
    pub version: String,
    /// The network that it said it belongs to, likewise.
    pub network: String,
}

/// What most addresses do not have: of ten thousand that a node is told it tries some hundred. Then it
/// takes a pointer's room, not two hundred bytes.
#[derive(Clone, Debug, Default)]
struct Past(Option<Box<History>>);

/// Tried this recently an address is given time to answer.
const MOMENT: Duration = Duration::from_secs(60);

/// An address that has been left alone, or has not served, for this long is of little use.
const LONG: Duration = Duration::from_secs(7 * 24 * 3600);

/// How long an address that was reached is handed out by a seed without being reached again. A crawl of
/// a full book of 20,480 addresses, all of them black holes but one, takes two hours with 64 at a time
/// and 20 s each.
pub(crate) const SERVED_FOR: Duration = Duration::from_secs(6 * 3600);

/// So many attempts without any success are enough.
const MAX_ATTEMPTS: u32 = 3;

/// So many attempts since a success that is [`LONG`] ago.
const MAX_ATTEMPTS_SINCE_SUCCESS: u32 = 10;

impl KnownAddress {
    /// What is known of an address.
    pub fn new(addr: NetAddress, src: NetAddress, placement: Placement, history: History) -> Self {
        Self { addr, src, placement, past: history.into() }
    }

    /// What is known of an address that somebody just told; in no bucket yet.
    pub(super) fn told(addr: NetAddress, src: NetAddress) -> Self {
        Self { addr, src, placement: Placement::NOWHERE, past: Past::default() }
    }

    /// What became of it so far.
    pub fn history(&self) -> &History {
        self.past.get()
    }

    /// What became of it so far, to be changed.
    pub fn history_mut(&mut self) -> &mut History {
        self.past.0.get_or_insert_default()
    }

    /// Whether there is anything in it: who looks for something to change needs not make one.
    pub(super) fn has_history(&self) -> bool {
        self.past.0.is_some()
    }

    /// Whether it has a place in more than one new bucket: several have told of it.
    pub(super) fn is_in_several(&self) -> bool {
        matches!(&self.placement, Placement::New(buckets) if buckets.len() > 1)
    }

    /// When there last was a sign of the node at this address: we have found it there, and perhaps
    /// had a session with it since, or it is good. Who dialed us has said itself where it is: with
    /// sessions of a moment, each of another node, strangers could make us believe that we know enough.
    pub(super) fn met(&self) -> Option<SystemTime> {
        let History { last_seen, verified, last_success, .. } = self.history();
        let seen = last_seen.filter(|_| verified.is_some());
        (*verified).max(seen).max(*last_success)
    }

    /// Whether we have ever found the node there, and it has not failed since.
    pub(crate) fn is_checked(&self) -> bool {
        self.history().verified.is_some() && self.history().dial_failures == 0
    }

    /// Whether a seed hands it out: we have found the node there within the last six hours, and it has
    /// neither failed since nor become bad. Private and banned nodes are handed out by nobody, which is
    /// not known here.
    pub fn is_served(&self, wall: SystemTime) -> bool {
        let since = wall.before(SERVED_FOR);
        self.is_checked()
            && self.history().verified >= Some(since)
            && self.placement != Placement::Bad
    }

    /// How long ago it was last attempted; `None` if it never was, or later than it is now: the
    /// wall clock was set back since, and nobody knows.
    pub(crate) fn attempted_ago(&self, wall: SystemTime) -> Option<Duration> {
        wall.duration_since(self.history().last_attempt?).ok()
    }

    /// Whether the address is the first to go when room is needed (`p2p/pex/known_address.go`,
    /// `isBad`): it never proved good, and was tried in vain or long ago. One that was never tried
    /// is not hopeless: unlike the reference we do not count being told as an attempt. Nor is one where
    /// we have found the node within a week and ever since.
    pub fn is_hopeless(&self, wall: SystemTime) -> bool {
        let history = self.history();
        let Some(attempt) = history.last_attempt else { return false };
        let is_long_ago = |time: SystemTime| wall.since(time) > LONG;
        if !matches!(self.placement, Placement::New(_)) || wall.since(attempt) < MOMENT {
            return false;
        }
        // A seed calls nobody good, however often it finds him there.
        if self.is_checked() && history.verified.is_some_and(|at| !is_long_ago(at)) {
            return false;
        }
        is_long_ago(attempt)
            || match history.last_success {
                None => history.attempts >= MAX_ATTEMPTS,
                Some(success) => {
                    is_long_ago(success) && history.attempts >= MAX_ATTEMPTS_SINCE_SUCCESS
                }
            }
    }
}

impl Past {
    fn get(&self) -> &History {
        const NONE: &History = &History::NONE;
        self.0.as_deref().unwrap_or(NONE)
    }
}

impl From<History> for Past {
    fn from(history: History) -> Self {
        Self((history != History::NONE).then(|| Box::new(history)))
    }
}

impl PartialEq for Past {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Eq for Past {}

/// A [`KnownAddress`] as it is written down: all side by side, in any format, also one that must know
/// beforehand how much comes.
#[derive(Serialize, Deserialize)]
struct Flat {
    addr: NetAddress,
    src: NetAddress,
    placement: Placement,
    attempts: u32,
    last_attempt: Option<SystemTime>,
    last_success: Option<SystemTime>,
    last_bad: Option<SystemTime>,
    dial_failures: u32,
    verified: Option<SystemTime>,
    last_seen: Option<SystemTime>,
    probation: Option<NetAddress>,
    moniker: String,
    version: String,
    network: String,
}

impl From<KnownAddress> for Flat {
    fn from(known: KnownAddress) -> Self {
        let KnownAddress { addr, src, placement, past } = known;
        let history = past.0.map_or_else(History::default, |history| *history);
        Self {
            addr,
            src,
            placement,
            attempts: history.attempts,
            last_attempt: history.last_attempt,
            last_success: history.last_success,
            last_bad: history.last_bad,
            dial_failures: history.dial_failures,
            verified: history.verified,
            last_seen: history.last_seen,
            probation: history.probation,
            moniker: history.moniker,
            version: history.version,
            network: history.network,
        }
    }
}

impl From<Flat> for KnownAddress {
    fn from(flat: Flat) -> Self {
        let history = History {
            attempts: flat.attempts,
            last_attempt: flat.last_attempt,
            last_success: flat.last_success,
            last_bad: flat.last_bad,
            dial_failures: flat.dial_failures,
            verified: flat.verified,
            last_seen: flat.last_seen,
            probation: flat.probation,
            moniker: flat.moniker,
            version: flat.version,
            network: flat.network,
        };
        Self::new(flat.addr, flat.src, flat.placement, history)
    }
}

impl History {
    /// That of an address which nobody has tried.
    const NONE: Self = Self {
        attempts: 0,
        last_attempt: None,
        last_success: None,
        last_bad: None,
        dial_failures: 0,
        verified: None,
        last_seen: None,
        probation: None,
        moniker: String::new(),
        version: String::new(),
        network: String::new(),
    };

    /// Every time in it.
    pub(super) fn times_mut(&mut self) -> [&mut Option<SystemTime>; 5] {
        [
            &mut self.last_attempt,
            &mut self.last_success,
            &mut self.last_bad,
            &mut self.verified,
            &mut self.last_seen,
        ]
    }
}

/// Where the book keeps an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    /// Unproven: in one to four of the 256 new buckets, which are these.
    New(NewBuckets),
    /// Was good: in this of the 64 old buckets.
    Old(u8),
    /// In no bucket while it is bad; new again afterwards.
    Bad,
}

impl Placement {
    /// New, and in no bucket yet.
    pub(super) const NOWHERE: Self =
        Self::New(NewBuckets { len: 0, numbers: [0; MAX_NEW_BUCKETS] });
}

/// Up to four of the 256 new buckets, each once.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<u8>", into = "Vec<u8>")]
pub struct NewBuckets {
    len: u8,
    /// **Invariant:** zero from `len` on.
    numbers: [u8; MAX_NEW_BUCKETS],
}

impl NewBuckets {
    /// Adds one; nothing if it is there, or if there are four.
    pub(super) fn add(&mut self, bucket: u8) {
        if !self.contains(&bucket)
            && let Some(number) = self.numbers.get_mut(usize::from(self.len))
        {
            *number = bucket;
            self.len += 1;
        }
    }

    /// Without this one.
    pub(super) fn without(self, bucket: u8) -> Self {
        self.iter().copied().filter(|other| *other != bucket).collect()
    }
}

impl Deref for NewBuckets {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.numbers.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl FromIterator<u8> for NewBuckets {
    /// The first four.
    fn from_iter<I: IntoIterator<Item = u8>>(buckets: I) -> Self {
        let mut all = Self::default();
        buckets.into_iter().for_each(|bucket| all.add(bucket));
        all
    }
}

impl From<Vec<u8>> for NewBuckets {
    /// The first four.
    fn from(buckets: Vec<u8>) -> Self {
        buckets.into_iter().collect()
    }
}

impl From<NewBuckets> for Vec<u8> {
    fn from(buckets: NewBuckets) -> Self {
        buckets.to_vec()
    }
}

impl fmt::Debug for NewBuckets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// What decides in which buckets addresses are: secret, so that nobody can choose addresses that
/// meet in one bucket, and kept with the book, so that they stay where they are.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookKey {
    /// 24 hexadecimal digits, the `key` of `addrbook.json`; its characters enter the hashes.
    pub text: String,
    /// The key of the hash function itself, which the reference forgets at each restart.
    pub hash: [u8; 32],
}

impl BookKey {
    /// Digits of [`text`](Self::text).
    const DIGITS: usize = 24;

    /// A new key. The source of chance must be one that nobody can predict. For the crate itself: its
    /// public face names no trait of `rand`.
    #[doc(hidden)]
    pub fn random(rng: &mut impl Rng) -> Self {
        let mut text = [0; Self::DIGITS / 2];
        let mut hash = [0; 32];
        rng.fill_bytes(&mut text);
        rng.fill_bytes(&mut hash);
        let text = text.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { text, hash }
    }

    /// Whether a book can have this key.
    pub fn is_fit(&self) -> bool {
        self.text.len() == Self::DIGITS && self.text.bytes().all(|b| b.is_ascii_hexdigit())
    }
}

impl fmt::Debug for BookKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BookKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);
    const SECOND: Duration = Duration::from_secs(1);

    fn wall() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
    }

    /// Told, tried so often, the last time so long ago, and good so long ago.
    fn tried(attempts: u32, last: Duration, success: Option<Duration>) -> KnownAddress {
        let id = crate::identity::NodeId::from_bytes([1; 20]);
        let addr = NetAddress::new(id, [1, 2, 3, 4].into(), 1);
        let history = History {
            attempts,
            last_attempt: Some(wall() - last),
            last_success: success.map(|ago| wall() - ago),
            ..History::default()
        };
        KnownAddress::new(addr, addr, Placement::NOWHERE, history)
    }

    /// The reference's `isBad`, at each of its edges.
    #[test]
    fn who_is_hopeless_is_decided_by_the_figures_of_the_reference() {
        let (minute, week) = (60 * SECOND, 7 * DAY);
        for (attempts, last, success, expected) in [
            // Three attempts without any success; not while the last one may still be answered.
            (3, minute - SECOND, None, false),
            (3, minute, None, true),
            (2, minute, None, false),
            (u32::MAX, minute - SECOND, None, false),
            // Left alone for more than a week, whatever was before.
            (1, week, None, false),
            (1, week + SECOND, None, true),
            (1, week, Some(week), false),
            (0, week + SECOND, Some(week + SECOND), true),
            // More than a week without a success, and ten attempts since.
            (10, minute, Some(week - SECOND), false),
            (10, minute, Some(week), false),
            (10, minute, Some(week + SECOND), true),
            (9, minute, Some(week + SECOND), false),
            (10, minute - SECOND, Some(week + SECOND), false),
            // With a success three attempts are not enough.
            (3, minute, Some(minute), false),
            (u32::MAX, minute, Some(week), false),
        ] {
            let mut known = tried(attempts, last, success);
            let what = format!("{attempts} attempts, the last {last:?} ago, good {success:?} ago");
            assert_eq!(known.is_hopeless(wall()), expected, "{what}");
            // Only an unproven address ever is.
            known.placement = Placement::Old(0);
            assert!(!known.is_hopeless(wall()), "{what}, and old");
        }
    }

    /// For whoever stores it as JSON, the history is no object of its own, also where there is none.
    #[test]
    fn a_history_is_written_beside_the_address() {
        let told = tried(0, DAY, None);
        let told = KnownAddress::told(told.addr, told.src);
        let mut placed = tried(3, DAY, Some(DAY));
        placed.placement = Placement::New([7, 9].into_iter().collect());
        placed.history_mut().moniker = "m".to_owned();
        for known in [told, placed] {
            let value = serde_json::to_value(&known).unwrap();
            assert_eq!(value["attempts"], known.history().attempts);
            assert_eq!(value["moniker"], known.history().moniker);
            let Placement::New(buckets) = known.placement else { panic!() };
            assert_eq!(value["placement"]["new"], serde_json::json!(buckets.to_vec()));
            assert_eq!(serde_json::from_value::<KnownAddress>(value).unwrap(), known);
        }
    }

    #[test]
    fn an_address_that_was_never_tried_is_not_hopeless() {
        let mut known = tried(u32::MAX, 8 * DAY, None);
        assert!(known.is_hopeless(wall()));
        known.history_mut().last_attempt = None;
        assert!(!known.is_hopeless(wall()));
        // Nor one that was tried at a time that is still to come: the wall clock was set back.
        known.history_mut().last_attempt = Some(wall() + DAY);
        assert!(!known.is_hopeless(wall()));
    }
}
