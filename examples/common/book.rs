//! The address book, as the programs show and move it.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::ValueEnum;
use serde_json::{Value, json};
use tmp2p::{BanTable, Config, ConnectionState, KnownAddress, NodeId, Placement, SwitchHandle};
#[cfg(feature = "sqlite")]
use tmp2p::{BookStore, SqliteStore, StoreBatch, StoreError, StoredBook};

use crate::{cli::Failure, home::Home, states};

/// How many addresses the book has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) addresses: usize,
    pub(crate) new: usize,
    pub(crate) old: usize,
    pub(crate) bad: usize,
}

impl Counts {
    pub(crate) fn to_json(self) -> Value {
        let Self { addresses, new, old, bad } = self;
        json!({ "addresses": addresses, "new": new, "old": old, "bad": bad })
    }
}

/// What an address is worth. A seed hands out the first kind only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Standing {
    /// Dialed and found there, and it has answered since
    Verified,
    /// Told by somebody
    Unverified,
    /// The last attempts to reach it have failed
    Failing,
    /// Neither dialed nor handed out for a while
    Bad,
    /// No connection with it, in either direction
    Banned,
}

impl Standing {
    pub(crate) const ALL: [Self; 5] =
        [Self::Verified, Self::Unverified, Self::Failing, Self::Bad, Self::Banned];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Unverified => "unverified",
            Self::Failing => "failing",
            Self::Bad => "bad",
            Self::Banned => "banned",
        }
    }
}

/// Why an address is bad or banned.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    /// Milliseconds since the Unix epoch; `None`: not by itself.
    pub(crate) until_ms: Option<u64>,
    pub(crate) reason: String,
}

/// One address of the book.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) id: String,
    /// `None`: the node is bad, and nobody knows where it is.
    pub(crate) addr: Option<SocketAddr>,
    pub(crate) standing: Standing,
    /// What goes on with the node at the moment, if something does and its node is running.
    pub(crate) session: Option<&'static str>,
    pub(crate) verdict: Option<Verdict>,
    /// In which buckets it is, if in any: "new" or "old".
    pub(crate) bucket: Option<&'static str>,
    /// Attempts in a row that have failed.
    pub(crate) failures: u32,
    pub(crate) moniker: String,
    pub(crate) version: String,
    pub(crate) last_seen_ms: Option<u64>,
}

impl Row {
    /// A session says more than what the address is worth.
    pub(crate) fn state(&self) -> &'static str {
        self.session.unwrap_or(self.standing.word())
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut value = json!({
            "id": self.id, "addr": self.addr, "state": self.state(), "bucket": self.bucket,
            "moniker": self.moniker, "version": self.version, "last_seen_ms": self.last_seen_ms,
            "failures": self.failures,
        });
        if let Some(Verdict { until_ms, reason }) = &self.verdict {
            value["until_ms"] = json!(until_ms);
            value["reason"] = json!(reason);
        }
        value
    }

    fn new(known: &KnownAddress, bans: &BanTable, bad: Option<&Verdict>, now: Duration) -> Self {
        let id = known.addr.id();
        let ban = bans.find_id(&id, now).or_else(|| bans.find_ip(known.addr.ip(), now));
        let ban =
            ban.map(|ban| Verdict { until_ms: ban.until.map(millis), reason: ban.reason.clone() });
        let standing = match known.placement {
            _ if ban.is_some() => Standing::Banned,
            Placement::Bad => Standing::Bad,
            _ if known.dial_failures > 0 => Standing::Failing,
            _ if known.verified.is_some() => Standing::Verified,
            Placement::New(_) | Placement::Old(_) => Standing::Unverified,
        };
        Self {
            id: id.to_string(),
            addr: Some(known.addr.socket_addr()),
            standing,
            session: None,
            verdict: ban.or_else(|| bad.cloned()),
            bucket: match known.placement {
                Placement::New(_) => Some("new"),
                Placement::Old(_) => Some("old"),
                Placement::Bad => None,
            },
            failures: known.dial_failures,
            moniker: known.moniker.clone(),
            version: known.version.clone(),
            last_seen_ms: known.last_seen.map(millis),
        }
    }

    /// A node that somebody has called bad before anybody told of it.
    fn unknown(id: NodeId, addr: Option<SocketAddr>, verdict: Verdict) -> Self {
        Self {
            id: id.to_string(),
            addr,
            standing: Standing::Bad,
            session: None,
            verdict: Some(verdict),
            bucket: None,
            failures: 0,
            moniker: String::new(),
            version: String::new(),
            last_seen_ms: None,
        }
    }
}

/// All rows, by ID; `bad` are the nodes that are bad, with the address each was thought to have.
fn rows_of<'a>(
    known: impl Iterator<Item = &'a KnownAddress>,
    bans: &BanTable,
    mut bad: BTreeMap<NodeId, (Option<SocketAddr>, Verdict)>,
    now: Duration,
) -> Vec<Row> {
    let row = |known: &KnownAddress| {
        let verdict = bad.remove(&known.addr.id()).map(|(_, verdict)| verdict);
        Row::new(known, bans, verdict.as_ref(), now)
    };
    let mut rows: Vec<Row> = known.map(row).collect();
    rows.extend(bad.into_iter().map(|(id, (addr, verdict))| Row::unknown(id, addr, verdict)));
    rows.sort_by(|one, other| one.id.cmp(&other.id));
    rows
}

/// Puts the book of this configuration into the home folder.
pub(crate) fn place(config: &mut Config, home: &Home) -> Result<(), Failure> {
    let Some(file) = &mut config.addr_book_file else { return Ok(()) };
    *file = home.file(&*file);
    let folder = file.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).map_err(|error| {
        Failure::Usage(format!("addr_book_file: cannot make {}: {error}", folder.display()))
    })
}

/// Where the database of this configuration is.
#[cfg(feature = "sqlite")]
fn database(config: &Config) -> Result<std::path::PathBuf, Failure> {
    let file = config.addr_book_database();
    file.ok_or_else(|| Failure::Usage("addr_book_file is empty; name a file".into()))
}

/// How many addresses there are; `None` if the node is stopping.
pub(crate) fn counts(handle: &SwitchHandle) -> Option<Counts> {
    let book = handle.book().ok()?;
    let (new, old, bad) = (book.num_new, book.num_old, book.num_bad);
    Some(Counts { addresses: book.addresses.len(), new, old, bad })
}

/// The book of a running node, by ID.
pub(crate) fn rows(handle: &SwitchHandle) -> Result<Vec<Row>, Failure> {
    let book = handle.book().map_err(Failure::failed)?;
    // What goes on at the moment, which the book does not know.
    let states = handle.peer_states().map_err(Failure::failed)?;
    let bans = BanTable::from_iter(handle.bans());
    let now = now();
    let bad = states.iter().filter(|state| state.state == ConnectionState::Bad);
    let bad = bad.filter_map(|state| {
        let addr = state.dial_addr.as_ref().and_then(|addr| addr.net_address());
        let until_ms = state.remaining.map(|remaining| millis(now + remaining));
        let reason = state.reason.clone().unwrap_or_default();
        let verdict = Verdict { until_ms, reason };
        Some((state.id?, (addr.map(|addr| addr.socket_addr()), verdict)))
    });
    let known = book.addresses.iter().map(|entry| &entry.known);
    let mut rows = rows_of(known, &bans, bad.collect(), now);
    let sessions = states.iter().filter_map(|state| {
        use ConnectionState::{Connected, Dialing, Reconnecting};
        let is_session = matches!(state.state, Connected | Dialing | Reconnecting);
        Some((state.id.filter(|_| is_session)?.to_string(), states::name(state.state)))
    });
    let sessions: BTreeMap<String, &str> = sessions.collect();
    rows.iter_mut().for_each(|row| row.session = sessions.get(&row.id).copied());
    Ok(rows)
}

/// The book of this configuration, by ID; its node may be running.
#[cfg(feature = "sqlite")]
pub(crate) fn stored_rows(config: &Config) -> Result<Vec<Row>, Failure> {
    let stored = open_read_only(config)?.load().map_err(Failure::usage)?;
    let bad = stored.bad.into_iter().map(|bad| {
        let verdict = Verdict { until_ms: Some(millis(bad.until)), reason: bad.reason };
        (bad.id, (bad.addr.map(|addr| addr.socket_addr()), verdict))
    });
    let bans = BanTable::from_iter(stored.bans);
    Ok(rows_of(stored.addresses.iter(), &bans, bad.collect(), now()))
}

/// A book to look at, which nothing is written to; its node may be running.
#[cfg(feature = "sqlite")]
pub(crate) struct Snapshot(SqliteStore);

#[cfg(feature = "sqlite")]
impl Snapshot {
    pub(crate) fn open(config: &Config) -> Result<Self, Failure> {
        open_read_only(config).map(Self)
    }
}

#[cfg(feature = "sqlite")]
impl BookStore for Snapshot {
    fn load(&mut self) -> Result<StoredBook, StoreError> {
        self.0.load()
    }

    fn write(&mut self, _batch: &StoreBatch) -> Result<(), StoreError> {
        Ok(())
    }
}

#[cfg(feature = "sqlite")]
fn open_read_only(config: &Config) -> Result<SqliteStore, Failure> {
    let file = database(config)?;
    if !file.exists() {
        let why = format!("nobody yet: there is no book {}; start the node first", file.display());
        return Err(Failure::Usage(why));
    }
    SqliteStore::open_read_only(file).map_err(Failure::usage)
}

/// The book of a node that is not running, to change it.
#[cfg(feature = "sqlite")]
pub(crate) fn open(config: &Config) -> Result<SqliteStore, Failure> {
    SqliteStore::open(database(config)?).map_err(Failure::usage)
}

#[cfg(not(feature = "sqlite"))]
const NO_SQLITE: &str = "addr_book_file: this program was built without SQLite; build it with it";

#[cfg(not(feature = "sqlite"))]
pub(crate) fn stored_rows(_config: &Config) -> Result<Vec<Row>, Failure> {
    Err(Failure::Usage(NO_SQLITE.to_owned()))
}

/// Without SQLite there is none.
#[cfg(not(feature = "sqlite"))]
pub(crate) struct Snapshot;

#[cfg(not(feature = "sqlite"))]
impl Snapshot {
    pub(crate) fn open(_config: &Config) -> Result<tmp2p::MemoryStore, Failure> {
        Err(Failure::Usage(NO_SQLITE.to_owned()))
    }
}

#[cfg(not(feature = "sqlite"))]
pub(crate) fn open(_config: &Config) -> Result<tmp2p::MemoryStore, Failure> {
    Err(Failure::Usage(NO_SQLITE.to_owned()))
}

/// Since the Unix epoch.
pub(crate) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
