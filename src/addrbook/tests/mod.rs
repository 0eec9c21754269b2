//! The book, seen from inside.

mod addresses;
mod bans;
mod calendar;
mod chances;
mod files;
mod model;
mod poisoning;
mod seldom;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::{Duration, SystemTime},
};

use rand::{SeedableRng, rngs::StdRng};

use super::{
    book::{MAX_SLEEP, MIN_SLEEP},
    buckets::{BUCKET_SIZE, MAX_NEW_BUCKETS},
    *,
};
use crate::{
    address::NetAddress,
    ban::{Ban, BanTarget},
    identity::NodeId,
    time::{Mono, Now, Wall},
};

const OWN: NodeId = id(0);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const EPOCH: SystemTime = SystemTime::UNIX_EPOCH;
const LIMITS: BookLimits = BookLimits { automatic_ids: 4, automatic_ban: DAY, bad: 3 };

/// Some day in 2023.
fn start() -> SystemTime {
    EPOCH + Duration::from_secs(1_700_000_000)
}

const fn id(n: u8) -> NodeId {
    NodeId::from_bytes([n; 20])
}

fn ip(n: u8) -> IpAddr {
    [10, 0, 0, n].into()
}

const SETTINGS: BookSettings = BookSettings { own: OWN, is_strict: true, limits: LIMITS };

fn rng() -> StdRng {
    StdRng::seed_from_u64(1)
}

/// In these new buckets.
fn new<const N: usize>(buckets: [u8; N]) -> Placement {
    Placement::New(buckets.into_iter().collect())
}

fn key() -> BookKey {
    BookKey::random(&mut rng())
}

fn book() -> Book {
    let mut book = Book::new(SETTINGS, key());
    assert_eq!(book.take_batch().unwrap().key, Some(key()));
    book
}

/// The n-th of many nodes, each in a group of its own.
fn node(n: u32) -> NetAddress {
    let [a, b, c, d] = n.to_be_bytes();
    let mut bytes = [0x77; 20];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    let ip = [11 + c % 80, d, a ^ 7, b ^ 9];
    NetAddress::new(NodeId::from_bytes(bytes), ip.into(), 26656)
}

fn facts() -> NodeFacts {
    let [moniker, version, network] = ["m", "v", "n"].map(str::to_owned);
    NodeFacts { moniker, version, network }
}

/// A book with the limits that books have.
fn large_book() -> Book {
    let settings = BookSettings { limits: BookLimits::default(), ..SETTINGS };
    let mut book = Book::new(settings, key());
    book.take_batch();
    book
}

/// Dialed, found there and good.
fn make_good(book: &mut Book, addr: NetAddress, wall: SystemTime, rng: &mut StdRng) {
    book.attempted(&addr, wall);
    book.authenticated(&addr, &facts(), wall);
    book.mark_good(&addr.id(), wall, rng);
}

/// Nodes that all belong in the same old bucket; the book knows none of them.
fn of_one_old_bucket(book: &Book, count: usize) -> Vec<NetAddress> {
    let bucket = book.hash.old_bucket(&node(0));
    (0..).map(node).filter(|addr| book.hash.old_bucket(addr) == bucket).take(count).collect()
}
