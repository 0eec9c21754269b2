//! Writing a file that the reference can read.

use std::{fmt::Display, net::IpAddr, time::SystemTime};

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::{
    addrbook::{Book, KnownAddress, Placement},
    address::NetAddress,
    identity::NodeId,
};

/// The reference's zero time.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// The book as `addrbook.json`: everything that may be passed on. Bad and banned addresses are left
/// out, as the reference does, and those of private nodes, also where such a node told of another:
/// then that one stands for its own source.
#[expect(clippy::expect_used, reason = "memory takes everything, and all keys are texts")]
pub fn write(book: &Book, wall: SystemTime) -> Vec<u8> {
    let entries = book.iter().filter(|known| book.may_be_handed_out(&known.addr, wall));
    let entries = entries.filter_map(|known| {
        let is_private = book.is_private(&known.src.id());
        Entry::of(known, if is_private { &known.addr } else { &known.src })
    });
    let file = File { key: &book.key().text, addrs: entries.collect() };
    let mut bytes = Vec::new();
    let tabs = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, tabs);
    file.serialize(&mut serializer).expect("texts and numbers can be written to memory");
    bytes
}

#[derive(Serialize)]
struct File<'a> {
    key: &'a str,
    addrs: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    addr: Address,
    src: Address,
    buckets: &'a [u8],
    attempts: u32,
    bucket_type: u8,
    last_attempt: Time,
    last_success: Time,
    last_ban_time: Time,
}

#[derive(Serialize)]
struct Address {
    #[serde(serialize_with = "as_text")]
    id: NodeId,
    #[serde(serialize_with = "as_text")]
    ip: IpAddr,
    port: u16,
}

struct Time(Option<SystemTime>);

impl<'a> Entry<'a> {
    /// With this source. `None`: it is in no bucket.
    fn of(known: &'a KnownAddress, src: &NetAddress) -> Option<Self> {
        let (bucket_type, buckets) = match &known.placement {
            Placement::New(buckets) => (1, &buckets[..]),
            Placement::Old(bucket) => (2, std::slice::from_ref(bucket)),
            Placement::Bad => return None,
        };
        // A seed calls nobody good: it reaches them, hundreds of times. For the reference those would be
        // attempts without any success, and the address the first to go.
        let failures = match known.history().verified {
            Some(_) => known.history().dial_failures,
            None => known.history().attempts,
        };
        Some(Self {
            addr: Address::of(&known.addr),
            src: Address::of(src),
            buckets,
            // The reference reads 32 bits with a sign.
            attempts: failures.min(i32::MAX.unsigned_abs()),
            bucket_type,
            last_attempt: Time(known.history().last_attempt),
            last_success: Time(known.met()),
            last_ban_time: Time(known.history().last_bad),
        })
    }
}

impl Address {
    fn of(addr: &NetAddress) -> Self {
        Self { id: addr.id(), ip: addr.ip(), port: addr.port() }
    }
}

fn as_text<S: Serializer>(what: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(what)
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // What is beyond the year 9999 is nobody's time, and the reference cannot read it.
        match self.0.and_then(|time| Timestamp::try_from(time).ok()) {
            Some(time) => serializer.collect_str(&time),
            None => serializer.serialize_str(NEVER),
        }
    }
}
