//! Books to write, and places to write them to.

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    sync::{Mutex, Once},
    time::{Duration, SystemTime},
};

use tempfile::TempDir;
use tmp2p::{
    BadAddress, BadCause, Ban, BanOrigin, BanTarget, BookKey, BookStore, Cidr, History,
    KnownAddress, MemoryStore, NetAddress, NodeId, Placement, SqliteStore, StoreBatch, StoredBook,
};

/// A folder and the path of a book in it.
pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { folder: TempDir::with_prefix("store").unwrap() }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn book(&self) -> PathBuf {
        self.folder.path().join("book.db")
    }

    pub(crate) fn file(&self, suffix: &str) -> PathBuf {
        self.folder.path().join(format!("book.db{suffix}"))
    }

    /// Another place with a copy of everything in this one, as if the process had been killed.
    pub(crate) fn copy(&self) -> Self {
        let copy = Self::new();
        for (name, bytes) in self.files() {
            fs::write(copy.folder().join(name), bytes).unwrap();
        }
        copy
    }

    /// Every file but the lock.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(self.folder()).unwrap();
        let files = entries.map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
        });
        files.filter(|(name, _)| !name.ends_with(".lock")).collect()
    }

    /// What was set aside.
    pub(crate) fn quarantine(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = self.files();
        files.retain(|name, _| name.contains(".corrupt-"));
        files
    }

    /// The databases that were set aside.
    pub(crate) fn corrupt(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = self.quarantine();
        files.retain(|name, _| !["-wal", "-shm", "-journal"].iter().any(|end| name.ends_with(end)));
        files
    }
}

/// What is in the book, in a comparable order.
pub(crate) fn load(store: &mut impl BookStore) -> StoredBook {
    let mut book = store.load().unwrap();
    book.bans.sort_by_key(|ban| ban.target);
    book
}

/// What is in the file.
pub(crate) fn load_file(path: &Path) -> StoredBook {
    load(&mut SqliteStore::open(path).unwrap())
}

/// The `n`th batch of a long story, in which things come, change and go. It carries its number, in
/// the key.
pub(crate) fn batch(n: u64) -> StoreBatch {
    let mut batch = StoreBatch::default();
    let ip = |n: u64| IpAddr::from(Ipv4Addr::from_bits(0x0c00_0000 + n as u32));
    let target = match n % 3 {
        0 => BanTarget::from(id(n % 7)),
        1 => ip(n % 11).into(),
        _ => Cidr::new(ip(n % 5 * 256), 24).unwrap().into(),
    };
    let is_automatic = n.is_multiple_of(2);
    let ban = Ban {
        target,
        until: is_automatic.then(|| nanos(1_700_000_000_123_456_789 + n)),
        reason: format!("batch {n}"),
        origin: if is_automatic { BanOrigin::Automatic } else { BanOrigin::Operator },
    };
    batch.bans.insert(target, (n % 4 != 3).then_some(ban));
    let bad = BadAddress {
        id: id(n % 5),
        addr: (n % 2 == 1).then(|| NetAddress::new(id(n % 5), ip(n), 26656)),
        until: nanos(n * 1_000_000_000),
        // As what a version before it was known is taken for.
        cause: BadCause::Application,
        reason: format!("batch {n}"),
    };
    batch.bad.insert(bad.id, (n % 3 != 2).then_some(bad));
    for n in [n, n * 3 + 1, n * 5 + 2] {
        let known = known(id(n % 40), n);
        batch.addresses.insert(known.addr.id(), (n % 6 != 5).then_some(known));
    }
    batch.anchors = Some((0..n % 4).map(|k| NetAddress::new(id(k), ip(n + k), 26656)).collect());
    batch.key = Some(BookKey { text: format!("{n:024x}"), hash: [n as u8; 32] });
    batch.imported = n.is_multiple_of(3).then_some([n as u8; 32]);
    batch
}

/// The number of the last batch that was written.
pub(crate) fn number(book: &StoredBook) -> u64 {
    book.key.as_ref().map_or(0, |key| u64::from_str_radix(&key.text, 16).unwrap())
}

/// What the book holds after each of the first batches, from none to all of them.
pub(crate) fn states(count: u64) -> Vec<StoredBook> {
    let mut memory = MemoryStore::new();
    let mut states = vec![memory.stored()];
    for n in 1..=count {
        memory.write(&batch(n)).unwrap();
        states.push(memory.stored());
    }
    states
}

pub(crate) fn id(n: u64) -> NodeId {
    let mut bytes = [0xab; 20];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    NodeId::from_bytes(bytes)
}

/// So many nanoseconds after 1970.
fn nanos(n: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(n)
}

pub(crate) fn known(id: NodeId, n: u64) -> KnownAddress {
    let addr =
        |n: u64| NetAddress::new(id, Ipv4Addr::from_bits(n as u32).into(), 1 + n as u16 % 99);
    let time = |k: u64| (!n.is_multiple_of(k)).then(|| nanos(n * 1_000_003 + k));
    let placement = match n % 3 {
        0 => Placement::New((0..=n as u8 % 4).collect()),
        1 => Placement::Old(n as u8 % 64),
        _ => Placement::Bad,
    };
    let history = History {
        attempts: n as u32,
        last_attempt: time(2),
        last_success: time(3),
        last_bad: time(5),
        dial_failures: n as u32 % 17,
        verified: time(7),
        last_seen: time(11),
        probation: (n % 2 == 1).then(|| addr(0x0e00_0000 + n)),
        moniker: format!("node {n}"),
        version: "0.34.24".to_owned(),
        network: "test-chain".to_owned(),
    };
    KnownAddress::new(addr(0x0c00_0000 + n), addr(0x0d00_0000 + n), placement, history)
}

/// The lines of this level that were logged about this path.
pub(crate) fn logged(level: log::Level, path: &Path) -> Vec<String> {
    let path = path.to_str().unwrap();
    let lines = LINES.lock().unwrap();
    let lines = lines.iter().filter(|(at, line)| *at == level && line.contains(path));
    lines.map(|(_, line)| line.clone()).collect()
}

/// Call before what is to be logged.
pub(crate) fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Listener).unwrap();
        log::set_max_level(log::LevelFilter::Warn);
    });
}

static LINES: Mutex<Vec<(log::Level, String)>> = Mutex::new(Vec::new());

struct Listener;

impl log::Log for Listener {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        LINES.lock().unwrap().push((record.level(), record.args().to_string()));
    }

    fn flush(&self) {}
}
