//! The address book, as the programs show and move it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    path::Path,
    time::SystemTime,
};

use clap::ValueEnum;
use serde_json::{Value, json};
use tmp2p::{
    Ban, BanTarget, Cidr, Config, ConnectionState, KnownAddress, NodeId, Placement, SwitchHandle,
};
#[cfg(feature = "sqlite")]
use tmp2p::{BookStore, MAX_ADDRBOOK_SIZE, SqliteStore, StoreBatch, StoreError, StoredBook};

#[cfg(feature = "sqlite")]
use crate::home::input;
use crate::{
    cli::{self, Failure},
    console::millis,
    home::Home,
    states,
};

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
    /// Dialed and found there within the last six hours
    Verified,
    /// Told by somebody, or found there longer ago
    Unverified,
    /// The last attempts to reach it have failed
    Failing,
    /// Told to nobody, as private_peer_ids wants
    Private,
    /// Neither dialed nor handed out for a while
    Bad,
    /// No connection with it, in either direction
    Banned,
}

impl Standing {
    pub(crate) const ALL: [Self; 6] =
        [Self::Verified, Self::Unverified, Self::Failing, Self::Private, Self::Bad, Self::Banned];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Unverified => "unverified",
            Self::Failing => "failing",
            Self::Private => "private",
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
    /// What is banned, if it is a ban: the node, its IP address or a range.
    pub(crate) target: Option<String>,
}

impl From<&Ban> for Verdict {
    fn from(ban: &Ban) -> Self {
        let (until_ms, target) = (ban.until.map(millis), Some(ban.target.to_string()));
        Self { until_ms, reason: ban.reason.clone(), target }
    }
}

/// One address of the book.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// `None`: a ban of addresses, and nobody in the book is at any of them.
    pub(crate) id: Option<String>,
    /// `None`: the node is bad or banned, and nobody knows where it is.
    pub(crate) addr: Option<SocketAddr>,
    pub(crate) standing: Standing,
    /// What goes on with the node at the moment, if something does and its node is running.
    pub(crate) session: Option<&'static str>,
    /// Why it gets no connection; it may be bad as well.
    pub(crate) bans: Vec<Verdict>,
    /// Why it is bad.
    pub(crate) bad: Option<Verdict>,
    /// In which buckets it is, if in any: "new" or "old".
    pub(crate) bucket: Option<&'static str>,
    /// Attempts in a row that have failed.
    pub(crate) failures: u32,
    pub(crate) moniker: String,
    pub(crate) version: String,
    pub(crate) last_seen_ms: Option<u64>,
}

impl Row {
    /// A session says more to programs than what the address is worth.
    fn state(&self) -> &'static str {
        self.session.unwrap_or(self.standing.word())
    }

    /// Whether it is no address of the book, but a ban of a node or of addresses that it does not have.
    pub(crate) fn is_ban_alone(&self) -> bool {
        self.standing == Standing::Banned && self.addr.is_none() && self.bad.is_none()
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut value = json!({
            "id": self.id, "addr": self.addr, "state": self.state(),
            "standing": self.standing.word(), "bucket": self.bucket,
            "moniker": self.moniker, "version": self.version, "last_seen_ms": self.last_seen_ms,
            "failures": self.failures,
        });
        if let Some(Verdict { until_ms, reason, target }) = self.verdict() {
            value["until_ms"] = json!(until_ms);
            value["reason"] = json!(reason);
            if let Some(target) = target {
                value["target"] = json!(target);
            }
        }
        value
    }

    /// Why it is not handed out, if it is bad or banned.
    pub(crate) fn verdict(&self) -> Option<&Verdict> {
        self.bans.first().or(self.bad.as_ref())
    }

    fn new(known: &KnownAddress, look: &Look<'_>, bad: Option<Verdict>) -> Self {
        let id = known.addr.id();
        let bans = look.bans_of(&id, Some(known.addr.socket_addr()));
        let standing = match known.placement {
            _ if !bans.is_empty() => Standing::Banned,
            Placement::Bad => Standing::Bad,
            _ if look.private.contains(&id) => Standing::Private,
            _ if known.history().dial_failures > 0 => Standing::Failing,
            _ if known.is_served(look.now) => Standing::Verified,
            Placement::New(_) | Placement::Old(_) => Standing::Unverified,
        };
        Self {
            id: Some(id.to_string()),
            addr: Some(known.addr.socket_addr()),
            standing,
            session: None,
            bans,
            bad,
            bucket: match known.placement {
                Placement::New(_) => Some("new"),
                Placement::Old(_) => Some("old"),
                Placement::Bad => None,
            },
            failures: known.history().dial_failures,
            moniker: known.history().moniker.clone(),
            version: known.history().version.clone(),
            last_seen_ms: known.history().last_seen.map(millis),
        }
    }

    /// Of which nothing is known but a verdict.
    fn unknown(id: Option<NodeId>, addr: Option<SocketAddr>, bans: Vec<Verdict>) -> Self {
        Self {
            id: id.map(|id| id.to_string()),
            addr,
            standing: if bans.is_empty() { Standing::Bad } else { Standing::Banned },
            session: None,
            bans,
            bad: None,
            bucket: None,
            failures: 0,
            moniker: String::new(),
            version: String::new(),
            last_seen_ms: None,
        }
    }

    /// A node that somebody has called bad before anybody told of it.
    fn of_bad(id: NodeId, addr: Option<SocketAddr>, bad: Verdict, look: &Look<'_>) -> Self {
        Self { bad: Some(bad), ..Self::unknown(Some(id), addr, look.bans_of(&id, addr)) }
    }

    /// A ban of somebody else than those of the book.
    fn of_ban(ban: &Ban) -> Self {
        let id = match ban.target {
            BanTarget::Id(id) => Some(id),
            _ => None,
        };
        Self::unknown(id, None, vec![Verdict::from(ban)])
    }
}

/// All bans, by what they are of: nodes, then addresses, then ranges.
pub(crate) type Bans = BTreeMap<BanTarget, Ban>;

fn by_target(bans: Vec<Ban>) -> Bans {
    bans.into_iter().map(|ban| (ban.target, ban)).collect()
}

/// What decides where an address stands, beside what is known of it.
struct Look<'a> {
    bans: &'a Bans,
    private: &'a [NodeId],
    now: SystemTime,
}

impl Look<'_> {
    /// The bans that concern this node.
    fn bans_of(&self, id: &NodeId, addr: Option<SocketAddr>) -> Vec<Verdict> {
        let of_addr = addr.and_then(|addr| self.ban_around(addr.ip()));
        self.ban_of((*id).into()).into_iter().chain(of_addr).map(Verdict::from).collect()
    }

    fn ban_of(&self, target: BanTarget) -> Option<&Ban> {
        self.bans.get(&target).filter(|ban| ban.is_in_force(self.now))
    }

    /// The ban of this address, or of the narrowest range around it.
    fn ban_around(&self, ip: IpAddr) -> Option<&Ban> {
        let ranges = (0..=128).rev().filter_map(|prefix| Cidr::new(ip, prefix));
        ranges.map(BanTarget::from).find_map(|target| self.ban_of(target))
    }
}

/// All rows, by ID, and then the bans that are in none of them; `bad` are the nodes that are bad, with the address each was thought to have.
fn rows_of<'a>(
    known: impl Iterator<Item = &'a KnownAddress>,
    look: &Look<'_>,
    mut bad: BTreeMap<NodeId, (Option<SocketAddr>, Verdict)>,
) -> Vec<Row> {
    let row = |known: &KnownAddress| {
        let verdict = bad.remove(&known.addr.id()).map(|(_, verdict)| verdict);
        Row::new(known, look, verdict)
    };
    let mut rows: Vec<Row> = known.map(row).collect();
    rows.extend(bad.into_iter().map(|(id, (addr, bad))| Row::of_bad(id, addr, bad, look)));
    rows.sort_by(|one, other| one.id.cmp(&other.id));
    // Whatever is banned is to be found here, by who wants to lift it.
    let told = |row: &Row| row.verdict().and_then(|verdict| verdict.target.clone());
    let told: BTreeSet<String> = rows.iter().filter_map(told).collect();
    let others = look.bans.values().filter(|ban| ban.is_in_force(look.now));
    let others = others.filter(|ban| !told.contains(&ban.target.to_string()));
    rows.extend(others.map(Row::of_ban));
    rows
}

/// Puts the book of this configuration into the home folder.
pub(crate) fn place(config: &mut Config, home: &Home) -> Result<(), Failure> {
    let Some(file) = &mut config.addr_book_file else { return Ok(()) };
    *file = home.file(&*file);
    let folder = file.parent().unwrap_or(Path::new("/"));
    cli::make_folder(folder).map_err(|why| Failure::Usage(format!("addr_book_file: {why}")))
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

/// The book of a running node with these private ones, by ID.
pub(crate) fn rows(handle: &SwitchHandle, private: &[NodeId]) -> Result<Vec<Row>, Failure> {
    let book = handle.book().map_err(Failure::failed)?;
    // What goes on at the moment, which the book does not know.
    let states = handle.peer_states().map_err(Failure::failed)?;
    let bans = by_target(handle.bans());
    let now = SystemTime::now();
    let bad = states.iter().filter(|state| state.state == ConnectionState::Bad);
    let bad = bad.filter_map(|state| {
        let addr = state.dial_addr.as_ref().and_then(|addr| addr.net_address());
        let until_ms = state.remaining.and_then(|left| now.checked_add(left)).map(millis);
        let reason = state.reason.clone().unwrap_or_default();
        let verdict = Verdict { until_ms, reason, target: None };
        Some((state.id?, (addr.map(|addr| addr.socket_addr()), verdict)))
    });
    let known = book.addresses.iter().map(|entry| &entry.known);
    let look = Look { bans: &bans, private, now };
    let mut rows = rows_of(known, &look, bad.collect());
    let sessions = states.iter().filter_map(|state| {
        use ConnectionState::{Connected, Dialing, Reconnecting};
        let is_session = matches!(state.state, Connected | Dialing | Reconnecting);
        Some((Some(state.id.filter(|_| is_session)?.to_string()), states::name(state.state)))
    });
    let sessions: BTreeMap<Option<String>, &str> = sessions.collect();
    rows.iter_mut().for_each(|row| row.session = sessions.get(&row.id).copied());
    Ok(rows)
}

/// The book of this configuration, by ID, and its bans; its node may be running. `None`: there is no book
/// yet.
#[cfg(feature = "sqlite")]
pub(crate) fn stored(config: &Config) -> Result<Option<(Vec<Row>, Bans)>, Failure> {
    if !is_there(&database(config)?)? {
        return Ok(None);
    }
    let stored = open_read_only(config)?.load().map_err(Failure::usage)?;
    let bad = stored.bad.into_iter().map(|bad| {
        let (until_ms, reason) = (Some(millis(bad.until)), bad.reason);
        let verdict = Verdict { until_ms, reason, target: None };
        (bad.id, (bad.addr.map(|addr| addr.socket_addr()), verdict))
    });
    let bans = by_target(stored.bans);
    let look = Look { bans: &bans, private: &config.private_peer_ids, now: SystemTime::now() };
    let rows = rows_of(stored.addresses.iter(), &look, bad.collect());
    Ok(Some((rows, bans)))
}

/// What an operator should know who looks at the book of this configuration: that there is a file
/// beside it which its node has not taken in.
#[cfg(feature = "sqlite")]
pub(crate) fn waiting(config: &Config) -> Option<String> {
    let (file, database) = (config.addr_book_file.as_deref()?, config.addr_book_database()?);
    if file == database {
        return None;
    }
    let text = input::read(file, MAX_ADDRBOOK_SIZE as u64, input::PATIENCE).ok()?;
    let digest = ring::digest::digest(&ring::digest::SHA256, &text);
    let taken = match database.try_exists() {
        // What is wrong with it is told by who needs it.
        Ok(true) => SqliteStore::open_read_only(&database).ok()?.load().ok()?.imported,
        _ => None,
    };
    (taken.as_ref().map(|taken| &taken[..]) != Some(digest.as_ref())).then(|| {
        let file = file.display();
        format!("{file} is not in the book yet: the node takes it in when it starts")
    })
}

/// Without SQLite there is no book to look at.
#[cfg(not(feature = "sqlite"))]
pub(crate) fn waiting(_config: &Config) -> Option<String> {
    None
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
    if !is_there(&file)? {
        let why = format!("nobody yet: there is no book {}; start the node first", file.display());
        return Err(Failure::Usage(why));
    }
    SqliteStore::open_read_only(file).map_err(Failure::usage)
}

/// The database and what may lie beside it.
#[cfg(feature = "sqlite")]
pub(crate) fn files(database: &Path) -> Vec<std::path::PathBuf> {
    SqliteStore::files(database)
}

/// Whether there is this file: "no" only if that is so, and not where nobody may look.
#[cfg(feature = "sqlite")]
fn is_there(file: &Path) -> Result<bool, Failure> {
    let failed = |error| Failure::Usage(format!("cannot look at {}: {error}", file.display()));
    file.try_exists().map_err(failed)
}

/// The book of a node that is not running, to change it.
#[cfg(feature = "sqlite")]
pub(crate) fn open(config: &Config) -> Result<SqliteStore, Failure> {
    SqliteStore::open(database(config)?).map_err(Failure::usage)
}

/// Nothing lies beside it.
#[cfg(not(feature = "sqlite"))]
pub(crate) fn files(database: &Path) -> Vec<std::path::PathBuf> {
    vec![database.to_owned()]
}

#[cfg(not(feature = "sqlite"))]
const NO_SQLITE: &str = "addr_book_file: this program was built without SQLite; build it with it";

#[cfg(not(feature = "sqlite"))]
pub(crate) fn stored(_config: &Config) -> Result<Option<(Vec<Row>, Bans)>, Failure> {
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
