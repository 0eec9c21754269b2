//! Reading a file that the reference wrote, or that anybody else did.

use std::{
    collections::BTreeMap,
    fmt,
    net::IpAddr,
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor},
};

use crate::{
    addrbook::{
        History, KnownAddress, NewBuckets, Placement,
        buckets::{NEW_BUCKETS, OLD_BUCKETS},
    },
    address::NetAddress,
    identity::NodeId,
    text::shown,
};

/// Largest file. A full book of the reference has 10 MB; whoever can write the file must not be
/// able to make us hold any amount of it.
pub const MAX_FILE: usize = 64 << 20;

/// Most entries, four times as many as a full book has.
pub const MAX_ENTRIES: usize = 4 * (256 + 64) * 64;

/// Most buckets that one entry may name, of which four count.
const MAX_BUCKETS: usize = 64;

/// What an `addrbook.json` holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportedBook {
    /// The file's key, if it has one. Whatever it is, it is not needed.
    pub key: String,
    /// The entries by ID; of several with one ID the last. The buckets are the file's, without
    /// repetitions and none beyond the fourth; there may be none at all.
    pub addresses: Vec<KnownAddress>,
}

/// Why a file is no address book.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// Larger than [`MAX_FILE`].
    #[error("the file has {found} bytes; an address book has {MAX_FILE} at most")]
    TooLarge {
        /// Its bytes.
        found: usize,
    },
    /// Not JSON, or not what an address book has.
    #[error("line {line}, column {column}: {reason}")]
    Malformed {
        /// Where reading stopped, counted from 1: that of what is wrong or the one behind it.
        line: usize,
        /// Counted from 1, in bytes; 0 is before the first.
        column: usize,
        /// What is wrong there, printable.
        reason: String,
    },
}

crate::text::readable_debug!(ImportError);

/// Reads an `addrbook.json`.
///
/// What the reference would stumble over later (an entry without an address, a bucket that does
/// not exist) is an error. These are put right: an entry without a source was told by the node
/// itself, a negative number of attempts is none, a time before 1970 is none, and an entry in no
/// bucket is new.
///
/// # Errors
/// See [`ImportError`]. The file is taken as a whole or not at all.
pub fn parse(bytes: &[u8]) -> Result<ImportedBook, ImportError> {
    if bytes.len() > MAX_FILE {
        return Err(ImportError::TooLarge { found: bytes.len() });
    }
    let file: File = serde_json::from_slice(bytes).map_err(|error| malformed(&error))?;
    let known: BTreeMap<NodeId, KnownAddress> =
        file.addrs.0.into_iter().map(|Entry(known)| (known.addr.id(), known)).collect();
    Ok(ImportedBook { key: file.key.unwrap_or_default(), addresses: known.into_values().collect() })
}

fn malformed(error: &serde_json::Error) -> ImportError {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let place = format!(" at line {line} column {column}");
    let reason = text.strip_suffix(&place).unwrap_or(&text);
    // The library names the types of this program.
    let plain = [
        ("expected u8", "expected 1 or 2"),
        ("expected u16", "expected a port, 0 to 65535"),
        ("expected i32", "expected a whole number"),
        ("expected i64", "expected the number of a bucket"),
    ];
    let named = plain
        .into_iter()
        .find_map(|(kind, name)| Some(format!("{}{name}", reason.strip_suffix(kind)?)));
    let reason = shown(named.as_deref().unwrap_or(reason));
    ImportError::Malformed { line, column, reason }
}

#[derive(Deserialize)]
#[serde(expecting = "an object with \"key\" and \"addrs\"")]
struct File {
    key: Option<String>,
    // Said so, it must be there.
    #[serde(deserialize_with = "Entries::deserialize")]
    addrs: Entries,
}

/// The entries, as many as may be.
#[derive(Default)]
struct Entries(Vec<Entry>);

/// An entry that is fit to be looked at.
#[derive(Deserialize)]
#[serde(try_from = "RawEntry")]
struct Entry(KnownAddress);

#[derive(Deserialize)]
#[serde(expecting = "an entry with \"addr\", \"src\" and the rest")]
struct RawEntry {
    addr: Address,
    src: Option<Address>,
    buckets: Option<BucketNumbers>,
    attempts: Option<i32>,
    bucket_type: u8,
    last_attempt: Option<Time>,
    last_success: Option<Time>,
    last_ban_time: Option<Time>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "RawAddress")]
struct Address(NetAddress);

#[derive(Deserialize)]
#[serde(expecting = "an address with \"id\", \"ip\" and \"port\"")]
struct RawAddress {
    id: String,
    ip: String,
    port: u16,
}

#[derive(Default)]
struct BucketNumbers(Vec<i64>);

/// `None`: not after 1970, which is the reference's way to say never.
struct Time(Option<SystemTime>);

impl TryFrom<RawEntry> for Entry {
    type Error = String;

    fn try_from(raw: RawEntry) -> Result<Self, String> {
        let Address(addr) = raw.addr;
        let src = raw.src.map_or(addr, |Address(src)| src);
        let time = |time: Option<Time>| time.and_then(|Time(time)| time);
        let placement = placement(raw.bucket_type, raw.buckets.unwrap_or_default())?;
        let history = History {
            attempts: u32::try_from(raw.attempts.unwrap_or_default()).unwrap_or_default(),
            last_attempt: time(raw.last_attempt),
            last_success: time(raw.last_success),
            last_bad: time(raw.last_ban_time),
            ..History::default()
        };
        Ok(Self(KnownAddress::new(addr, src, placement, history)))
    }
}

fn placement(kind: u8, buckets: BucketNumbers) -> Result<Placement, String> {
    let count = match kind {
        1 => NEW_BUCKETS,
        2 => OLD_BUCKETS,
        _ => return Err(format!("the bucket_type is 1 or 2, not {kind}")),
    };
    let mut fit = NewBuckets::default();
    for bucket in buckets.0 {
        let number = u8::try_from(bucket).ok().filter(|number| u16::from(*number) < count);
        let number = number.ok_or_else(|| {
            format!(
                "there is no bucket {bucket} of bucket_type {kind}, they are 0 to {}",
                count - 1
            )
        })?;
        fit.add(number);
    }
    Ok(match fit.first() {
        Some(bucket) if kind == 2 => Placement::Old(*bucket),
        _ => Placement::New(fit),
    })
}

impl TryFrom<RawAddress> for Address {
    type Error = String;

    fn try_from(raw: RawAddress) -> Result<Self, String> {
        let id =
            raw.id.parse().map_err(|error| format!("the id \"{}\": {error}", shown(&raw.id)))?;
        let ip = raw.ip.parse::<IpAddr>();
        let ip = ip.map_err(|_| format!("\"{}\" is no ip address", shown(&raw.ip)))?;
        Ok(Self(NetAddress::new(id, ip, raw.port)))
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = match text.parse::<Timestamp>() {
            Ok(time) => time,
            // The last day or two of the calendar that Go knows are beyond that of the library.
            Err(_) if text.starts_with("9999-12-3") => Timestamp::MAX,
            Err(_) => {
                let text = shown(&text);
                return Err(de::Error::custom(format!(
                    "\"{text}\" is no time as in \"2026-01-31T12:00:00Z\""
                )));
            }
        };
        let since = Duration::try_from(time.as_duration()).ok().filter(|since| !since.is_zero());
        Ok(Self(since.map(|since| SystemTime::UNIX_EPOCH + since)))
    }
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Go writes a list without entries so too.
        let list = Option::<Bounded<Entry>>::deserialize(deserializer)?;
        Ok(Self(list.map_or_else(Vec::new, |Bounded(list)| list)))
    }
}

impl<'de> Deserialize<'de> for BucketNumbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Bounded::<i64, MAX_BUCKETS>::deserialize(deserializer).map(|Bounded(list)| Self(list))
    }
}

/// A list that is given up when it becomes too long.
struct Bounded<T, const MAX: usize = MAX_ENTRIES>(Vec<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for Bounded<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<T, const MAX: usize>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for List<T, MAX> {
            type Value = Bounded<T, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {MAX}")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    if items.len() == MAX {
                        return Err(de::Error::custom(format!("more than {MAX} in one list")));
                    }
                    items.push(item);
                }
                Ok(Bounded(items))
            }
        }

        deserializer.deserialize_seq(List(std::marker::PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789012345678901234567890123456789";

    fn entry(ip: &str, buckets: &str) -> String {
        let addr = format!(r#"{{"id": "{ID}", "ip": "{ip}", "port": 1}}"#);
        format!(r#"{{"addr": {addr}, "buckets": [{buckets}], "bucket_type": 1}}"#)
    }

    fn reason(text: &str) -> (usize, String) {
        match parse(text.as_bytes()) {
            Err(ImportError::Malformed { line, reason, .. }) => (line, reason),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_error_names_the_line_and_the_reason() {
        let file = |entry: &str| format!("{{\n\"addrs\": [\n{entry}\n]}}");
        let (line, text) = reason(&file(&entry("1.2.3", "1")));
        assert_eq!(text, "\"1.2.3\" is no ip address");
        assert!(line == 3 || line == 4, "{line}");
        let (line, text) = reason(&file(&entry("1.2.3.4", "1, -1")));
        assert!(line == 3 || line == 4, "{line}");
        assert_eq!(text, "there is no bucket -1 of bucket_type 1, they are 0 to 255");
        assert_eq!(reason("{}"), (1, "missing field `addrs`".to_owned()));
        // No type of this program.
        let whole = entry("1.2.3.4", "1");
        for (text, expected) in [
            ("5".to_owned(), "an object with"),
            ("null".to_owned(), "an object with"),
            (file("null"), "an entry with"),
            (file(&whole.replace("\"port\": 1", "\"port\": 65536")), "a port, 0 to 65535"),
            (file(&whole.replace("\"port\": 1", "\"port\": \"1\"")), "a port, 0 to 65535"),
            (file(&whole.replace("\"bucket_type\": 1", "\"bucket_type\": 1.5")), "1 or 2"),
            (file(&whole.replace("[1]", "[1.5]")), "the number of a bucket"),
            (file(&whole.replace("[1]", "[1], \"attempts\": 1.5")), "a whole number"),
            (file(&whole.replace("[1]", "[1], \"last_attempt\": \"now\"")), "is no time as in"),
        ] {
            let (_, text) = reason(&text);
            assert!(text.contains(expected), "{text}");
            for kind in ["struct", "Raw", "File", "i32", "u16", "civil"] {
                assert!(!text.contains(kind), "{text}");
            }
        }
        // What somebody wrote cannot steer a terminal.
        let (_, text) = reason(&file(&entry("\\u001b[2J", "1")));
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }

    #[test]
    fn the_last_day_that_go_can_write_is_far_in_the_future() {
        let last = |time: &str| {
            let entry = entry("1.2.3.4", "1");
            let entry = entry.replace("[1]", &format!("[1], \"last_success\": \"{time}\""));
            let book = parse(format!("{{\"addrs\": [{entry}]}}").as_bytes()).unwrap();
            book.addresses[0].history().last_success.unwrap()
        };
        let last_day = last("9999-12-31T23:59:59.999999999Z");
        assert!(last_day > last("9999-12-01T00:00:00Z"));
    }

    #[test]
    fn no_file_makes_us_hold_any_amount_of_it() {
        let file = |entries: usize| {
            let entry = entry("1.2.3.4", "1");
            format!("{{\"addrs\": [{}]}}", vec![entry; entries].join(","))
        };
        assert_eq!(parse(file(MAX_ENTRIES).as_bytes()).unwrap().addresses.len(), 1);
        assert_eq!(reason(&file(MAX_ENTRIES + 1)).1, "more than 81920 in one list");
        let many = format!("{{\"addrs\": [{}]}}", entry("1.2.3.4", &["1"; 65].join(",")));
        assert_eq!(reason(&many).1, "more than 64 in one list");
        reason(&format!("{{\"x\": {}", "[".repeat(100_000)));
        let found = MAX_FILE + 1;
        assert_eq!(parse(&vec![b' '; found]), Err(ImportError::TooLarge { found }));
    }
}
