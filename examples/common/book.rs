//! The address book, as the programs show and move it.

#[cfg(feature = "sqlite")]
use std::time::{SystemTime, UNIX_EPOCH};
use std::{collections::BTreeMap, fs, net::SocketAddr, path::Path};

use serde_json::{Value, json};
#[cfg(feature = "sqlite")]
use tmp2p::{BanTable, BookStore, SqliteStore, StoreBatch, StoreError, StoredBook};
use tmp2p::{BookState, Config, ConnectionState, KnownAddress, NodeId, Placement, SwitchHandle};

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

/// One address of the book.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) addr: String,
    /// Where its node stands.
    pub(crate) state: &'static str,
    /// In which buckets it is, if in any: "new" or "old".
    pub(crate) bucket: Option<&'static str>,
    pub(crate) moniker: String,
    pub(crate) version: String,
    pub(crate) last_seen_ms: Option<u64>,
}

impl Row {
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "id": self.id, "addr": self.addr, "state": self.state, "bucket": self.bucket,
            "moniker": self.moniker, "version": self.version, "last_seen_ms": self.last_seen_ms,
        })
    }
}

impl Row {
    fn new(known: &KnownAddress, state: ConnectionState) -> Self {
        Self {
            id: known.addr.id().to_string(),
            addr: SocketAddr::new(known.addr.ip(), known.addr.port()).to_string(),
            state: states::name(state),
            bucket: match known.placement {
                Placement::New(_) => Some("new"),
                Placement::Old(_) => Some("old"),
                Placement::Bad => None,
            },
            moniker: known.moniker.clone(),
            version: known.version.clone(),
            last_seen_ms: known.last_seen.map(|at| at.as_millis() as u64),
        }
    }
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
    let states = handle.peer_states().map_err(Failure::failed)?.into_iter();
    let states: BTreeMap<NodeId, ConnectionState> =
        states.filter_map(|state| Some((state.id?, state.state))).collect();
    let rows = book.addresses.iter().map(|entry| {
        let of_book = match entry.state {
            BookState::New | BookState::Old => ConnectionState::Candidate,
            BookState::Bad => ConnectionState::Bad,
            // Also one whose IP address is, which nobody says of the node.
            BookState::Banned => ConnectionState::Banned,
        };
        let live = states.get(&entry.known.addr.id()).copied();
        let live = live.filter(|state| *state != ConnectionState::Candidate);
        Row::new(&entry.known, live.unwrap_or(of_book))
    });
    Ok(rows.collect())
}

/// The book of this configuration, by ID; its node may be running.
#[cfg(feature = "sqlite")]
pub(crate) fn stored_rows(config: &Config) -> Result<Vec<Row>, Failure> {
    let mut stored = open_read_only(config)?.load().map_err(Failure::usage)?;
    stored.addresses.sort_by_key(|known| known.addr.id());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let bans = BanTable::from_iter(stored.bans);
    let state = |known: &KnownAddress| match known.placement {
        _ if bans.find_id(&known.addr.id(), now).is_some() => ConnectionState::Banned,
        _ if bans.find_ip(known.addr.ip(), now).is_some() => ConnectionState::Banned,
        Placement::New(_) | Placement::Old(_) => ConnectionState::Candidate,
        Placement::Bad => ConnectionState::Bad,
    };
    Ok(stored.addresses.iter().map(|known| Row::new(known, state(known))).collect())
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
    let file = config.addr_book_file.as_deref();
    let file = file.ok_or_else(|| Failure::Usage("addr_book_file is empty; name a file".into()))?;
    // As the switch does it: what Tendermint keeps in such a file is not ours to overwrite.
    let is_json = file.extension().is_some_and(|extension| extension == "json");
    let file = if is_json { file.with_extension("sqlite") } else { file.to_owned() };
    if !file.exists() {
        let why = format!("there is no book {} yet; start the node first", file.display());
        return Err(Failure::Usage(why));
    }
    SqliteStore::open_read_only(file).map_err(Failure::usage)
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
