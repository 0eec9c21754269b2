//! Rows to entries of the book, and back.

use std::{
    collections::BTreeMap,
    error::Error,
    fmt,
    str::FromStr,
    time::{Duration, SystemTime},
};

use rusqlite::{
    Connection, OptionalExtension, Row, Statement, Transaction, params, types::ValueRef,
};

use crate::{
    addrbook::{
        BadAddress, BadCause, BookKey, History, KnownAddress, Placement, StoreBatch, StoredBook,
    },
    address::{Cidr, NetAddress},
    ban::{Ban, BanOrigin, BanTarget},
    identity::NodeId,
    text::shown,
    time::Wall,
};

/// What was in the tables.
pub(super) struct Loaded {
    pub(super) book: StoredBook,
    /// What was there besides.
    pub(super) unreadable: Vec<UnreadableRow>,
}

/// A row that is no entry, whatever wrote it.
#[derive(Debug)]
pub(super) struct UnreadableRow {
    table: &'static str,
    removal: &'static str,
    /// The bytes of the primary key, whether they are text or not.
    key: Vec<u8>,
    reason: String,
}

impl fmt::Display for UnreadableRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = shown(&String::from_utf8_lossy(&self.key));
        write!(f, "the table {}, \"{key}\": {}", self.table, shown(&self.reason))
    }
}

/// Why a row is none.
type NoEntry = Box<dyn Error + Send + Sync>;

/// What has a table with a row per key, which is the first column.
trait Entry: Sized {
    type Key: fmt::Display;
    const TABLE: &'static str;
    const SELECT: &'static str;
    const PUT: &'static str;
    const REMOVE: &'static str;
    /// Removes a row whose key is anything.
    const REMOVE_BYTES: &'static str;
    fn read(row: &Row<'_>) -> Result<Self, NoEntry>;
    fn put(&self, key: &str, statement: &mut Statement<'_>) -> rusqlite::Result<usize>;
}

const SELECT_ANCHORS: &str = "SELECT addr FROM anchor ORDER BY position";
const REMOVE_ANCHORS: &str = "DELETE FROM anchor";
const PUT_ANCHOR: &str = "INSERT INTO anchor (position, addr) VALUES (?1, ?2)";
const REMOVE_ANCHOR_BYTES: &str = "DELETE FROM anchor WHERE CAST(addr AS BLOB) = ?1";
const SELECT_KEY: &str = "SELECT text, hash FROM book_key";
const PUT_KEY: &str = "INSERT OR REPLACE INTO book_key (one, text, hash) VALUES (1, ?1, ?2)";
const SELECT_IMPORTED: &str = "SELECT sha256 FROM imported_file";
const PUT_IMPORTED: &str = "INSERT OR REPLACE INTO imported_file (one, sha256) VALUES (1, ?1)";

/// Whether the tables are such that every statement means something.
pub(super) fn check_statements(connection: &Connection) -> rusqlite::Result<()> {
    let statements = [
        [Ban::SELECT, Ban::PUT, Ban::REMOVE],
        [BadAddress::SELECT, BadAddress::PUT, BadAddress::REMOVE],
        [KnownAddress::SELECT, KnownAddress::PUT, KnownAddress::REMOVE],
        [SELECT_ANCHORS, REMOVE_ANCHORS, PUT_ANCHOR],
    ];
    let single = [SELECT_KEY, PUT_KEY, SELECT_IMPORTED, PUT_IMPORTED];
    for statement in statements.as_flattened().iter().chain(&single) {
        connection.prepare(statement)?;
    }
    // The key is in the book or never was: unreadable, it is no row to leave out, because every
    // bucket would be wrong.
    read_key(connection).map(|_| ())
}

/// Everything that is in the tables.
pub(super) fn load(connection: &Connection) -> rusqlite::Result<Loaded> {
    let mut unreadable = Vec::new();
    let book = StoredBook {
        bans: load_table(connection, &mut unreadable)?,
        bad: load_table(connection, &mut unreadable)?,
        addresses: load_table(connection, &mut unreadable)?,
        anchors: load_anchors(connection, &mut unreadable)?,
        key: read_key(connection)?,
        imported: read_imported(connection)?,
    };
    Ok(Loaded { book, unreadable })
}

/// Writes what has changed.
pub(super) fn write(transaction: &Transaction<'_>, batch: &StoreBatch) -> rusqlite::Result<()> {
    write_table(transaction, &batch.bans)?;
    write_table(transaction, &batch.bad)?;
    write_table(transaction, &batch.addresses)?;
    if let Some(anchors) = &batch.anchors {
        transaction.execute(REMOVE_ANCHORS, [])?;
        let mut statement = transaction.prepare(PUT_ANCHOR)?;
        for (position, addr) in (0_i64..).zip(anchors) {
            statement.execute(params![position, addr.to_string()])?;
        }
    }
    if let Some(key) = &batch.key {
        transaction.execute(PUT_KEY, params![key.text, key.hash.as_slice()])?;
    }
    if let Some(digest) = &batch.imported {
        transaction.execute(PUT_IMPORTED, [digest.as_slice()])?;
    }
    Ok(())
}

/// Takes out what [`load`] left out.
pub(super) fn remove_unreadable(
    transaction: &Transaction<'_>,
    rows: &[UnreadableRow],
) -> rusqlite::Result<()> {
    for row in rows {
        transaction.execute(row.removal, [&row.key])?;
    }
    Ok(())
}

fn load_table<E: Entry>(
    connection: &Connection,
    unreadable: &mut Vec<UnreadableRow>,
) -> rusqlite::Result<Vec<E>> {
    load_rows(connection, E::SELECT, E::read, unreadable, (E::TABLE, E::REMOVE_BYTES))
}

fn load_anchors(
    connection: &Connection,
    unreadable: &mut Vec<UnreadableRow>,
) -> rusqlite::Result<Vec<NetAddress>> {
    let read = |row: &Row<'_>| Ok(text(row, 0)?.parse()?);
    load_rows(connection, SELECT_ANCHORS, read, unreadable, ("anchor", REMOVE_ANCHOR_BYTES))
}

fn load_rows<T>(
    connection: &Connection,
    select: &str,
    read: impl Fn(&Row<'_>) -> Result<T, NoEntry>,
    unreadable: &mut Vec<UnreadableRow>,
    (table, removal): (&'static str, &'static str),
) -> rusqlite::Result<Vec<T>> {
    let mut statement = connection.prepare(select)?;
    let mut rows = statement.query([])?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        match read(row) {
            Ok(entry) => entries.push(entry),
            Err(reason) => {
                let key = row.get_ref(0)?.as_bytes().unwrap_or_default().to_vec();
                unreadable.push(UnreadableRow { table, removal, key, reason: reason.to_string() });
            }
        }
    }
    Ok(entries)
}

fn write_table<E: Entry>(
    transaction: &Transaction<'_>,
    changes: &BTreeMap<E::Key, Option<E>>,
) -> rusqlite::Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let mut put = transaction.prepare(E::PUT)?;
    let mut remove = transaction.prepare(E::REMOVE)?;
    for (key, entry) in changes {
        let key = key.to_string();
        match entry {
            Some(entry) => entry.put(&key, &mut put)?,
            None => remove.execute([key])?,
        };
    }
    Ok(())
}

fn read_key(connection: &Connection) -> rusqlite::Result<Option<BookKey>> {
    let read = |row: &Row<'_>| Ok(BookKey { text: row.get(0)?, hash: row.get(1)? });
    connection.query_row(SELECT_KEY, [], read).optional()
}

/// What is no digest is none: the file is then taken in once more.
fn read_imported(connection: &Connection) -> rusqlite::Result<Option<[u8; 32]>> {
    let read = |row: &Row<'_>| Ok(row.get_ref(0)?.as_bytes().unwrap_or_default().try_into().ok());
    connection.query_row(SELECT_IMPORTED, [], read).optional().map(Option::flatten)
}

impl Entry for Ban {
    type Key = BanTarget;
    const TABLE: &'static str = "ban";
    const SELECT: &'static str = "SELECT target, until, reason, origin FROM ban";
    const PUT: &'static str =
        "INSERT OR REPLACE INTO ban (target, until, reason, origin) VALUES (?1, ?2, ?3, ?4)";
    const REMOVE: &'static str = "DELETE FROM ban WHERE target = ?1";
    const REMOVE_BYTES: &'static str = "DELETE FROM ban WHERE CAST(target AS BLOB) = ?1";

    fn read(row: &Row<'_>) -> Result<Self, NoEntry> {
        let target = text(row, 0)?;
        let target = if target.contains('/') {
            BanTarget::Cidr(key::<Cidr>(target)?)
        } else if target.contains(['.', ':']) {
            BanTarget::Ip(key(target)?)
        } else {
            BanTarget::Id(key(target)?)
        };
        let origin = match text(row, 3)? {
            "operator" => BanOrigin::Operator,
            "automatic" => BanOrigin::Automatic,
            other => return Err(format!("the origin {other:?}").into()),
        };
        Ok(Self { target, until: time(row, 1)?, reason: text(row, 2)?.to_owned(), origin })
    }

    fn put(&self, key: &str, statement: &mut Statement<'_>) -> rusqlite::Result<usize> {
        let origin = match self.origin {
            BanOrigin::Operator => "operator",
            BanOrigin::Automatic => "automatic",
        };
        statement.execute(params![key, self.until.map(nanos), self.reason, origin])
    }
}

impl Entry for BadAddress {
    type Key = NodeId;
    const TABLE: &'static str = "bad_address";
    const SELECT: &'static str = "SELECT id, addr, until, cause, reason FROM bad_address";
    const PUT: &'static str = "INSERT OR REPLACE INTO bad_address (id, addr, until, cause, reason) \
        VALUES (?1, ?2, ?3, ?4, ?5)";
    const REMOVE: &'static str = "DELETE FROM bad_address WHERE id = ?1";
    const REMOVE_BYTES: &'static str = "DELETE FROM bad_address WHERE CAST(id AS BLOB) = ?1";

    fn read(row: &Row<'_>) -> Result<Self, NoEntry> {
        let cause = match text(row, 3)? {
            "incompatible" => BadCause::Incompatible,
            "unreachable" => BadCause::Unreachable,
            "application" => BadCause::Application,
            other => return Err(format!("the cause {other:?}").into()),
        };
        Ok(Self {
            id: key(text(row, 0)?)?,
            addr: optional(row, 1)?,
            until: time(row, 2)?.ok_or("no end")?,
            cause,
            reason: text(row, 4)?.to_owned(),
        })
    }

    fn put(&self, key: &str, statement: &mut Statement<'_>) -> rusqlite::Result<usize> {
        let addr = self.addr.map(|addr| addr.to_string());
        let cause = match self.cause {
            BadCause::Incompatible => "incompatible",
            BadCause::Unreachable => "unreachable",
            BadCause::Application => "application",
        };
        statement.execute(params![key, addr, nanos(self.until), cause, self.reason])
    }
}

impl Entry for KnownAddress {
    type Key = NodeId;
    const TABLE: &'static str = "address";
    const SELECT: &'static str = "SELECT id, socket, src, new_buckets, old_bucket, attempts, \
        last_attempt, last_success, last_bad, dial_failures, verified, last_seen, probation, \
        moniker, version, network FROM address";
    const PUT: &'static str = "INSERT OR REPLACE INTO address (id, socket, src, new_buckets, \
        old_bucket, attempts, last_attempt, last_success, last_bad, dial_failures, verified, \
        last_seen, probation, moniker, version, network) \
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)";
    const REMOVE: &'static str = "DELETE FROM address WHERE id = ?1";
    const REMOVE_BYTES: &'static str = "DELETE FROM address WHERE CAST(id AS BLOB) = ?1";

    fn read(row: &Row<'_>) -> Result<Self, NoEntry> {
        let socket: std::net::SocketAddr = text(row, 1)?.parse()?;
        let placement = match (row.get_ref(3)?.as_blob_or_null()?, row.get::<_, Option<u8>>(4)?) {
            (Some(buckets), None) => Placement::New(buckets.iter().copied().collect()),
            (None, Some(bucket)) => Placement::Old(bucket),
            (None, None) => Placement::Bad,
            (Some(_), Some(_)) => return Err("new and old".into()),
        };
        let addr = NetAddress::new(key(text(row, 0)?)?, socket.ip(), socket.port());
        let history = History {
            attempts: row.get(5)?,
            last_attempt: time(row, 6)?,
            last_success: time(row, 7)?,
            last_bad: time(row, 8)?,
            dial_failures: row.get(9)?,
            verified: time(row, 10)?,
            last_seen: time(row, 11)?,
            probation: optional(row, 12)?,
            moniker: text(row, 13)?.to_owned(),
            version: text(row, 14)?.to_owned(),
            network: text(row, 15)?.to_owned(),
        };
        Ok(Self::new(addr, text(row, 2)?.parse()?, placement, history))
    }

    fn put(&self, key: &str, statement: &mut Statement<'_>) -> rusqlite::Result<usize> {
        let (new_buckets, old_bucket) = match &self.placement {
            Placement::New(buckets) => (Some(&buckets[..]), None),
            Placement::Old(bucket) => (None, Some(*bucket)),
            Placement::Bad => (None, None),
        };
        let history = self.history();
        statement.execute(params![
            key,
            self.addr.socket_addr().to_string(),
            self.src.to_string(),
            new_buckets,
            old_bucket,
            history.attempts,
            history.last_attempt.map(nanos),
            history.last_success.map(nanos),
            history.last_bad.map(nanos),
            history.dial_failures,
            history.verified.map(nanos),
            history.last_seen.map(nanos),
            history.probation.map(|addr| addr.to_string()),
            history.moniker,
            history.version,
            history.network,
        ])
    }
}

/// Nanoseconds since the Unix epoch, the year 2262 for whatever is later.
fn nanos(time: SystemTime) -> i64 {
    i64::try_from(time.since(SystemTime::UNIX_EPOCH).as_nanos()).unwrap_or(i64::MAX)
}

fn time(row: &Row<'_>, column: usize) -> Result<Option<SystemTime>, NoEntry> {
    let nanos: Option<i64> = row.get(column)?;
    let since = nanos.map(u64::try_from).transpose()?.map(Duration::from_nanos);
    Ok(since.map(|since| SystemTime::UNIX_EPOCH + since))
}

fn text<'r>(row: &'r Row<'_>, column: usize) -> Result<&'r str, NoEntry> {
    Ok(row.get_ref(column)?.as_str()?)
}

fn optional(row: &Row<'_>, column: usize) -> Result<Option<NetAddress>, NoEntry> {
    match row.get_ref(column)? {
        ValueRef::Null => Ok(None),
        value => Ok(Some(value.as_str()?.parse()?)),
    }
}

/// The key's value, if it is written as we write it: else one key could have two rows.
fn key<T>(text: &str) -> Result<T, NoEntry>
where
    T: FromStr<Err: Error + Send + Sync + 'static> + fmt::Display,
{
    let value: T = text.parse()?;
    if value.to_string() == text { Ok(value) } else { Err(format!("it should be {value}").into()) }
}
