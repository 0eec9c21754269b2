//! Opening the file: what is wrong with it, and whose it is.

use std::{
    error::Error,
    fs::{self, File, OpenOptions},
    io::{self, Read},
    path::Path,
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig};

use super::{
    StoreError, entries,
    migrations::{TABLES, VERSION, migrate, migrated_copy},
    mounts::shared_file_system,
    quarantine::beside,
};
use crate::text::shown;

/// The first SQLite that knows STRICT tables: 3.37.0.
const OLDEST_LIBRARY: i32 = 3_037_000;

/// How long to wait for a person who is looking at the file with other tools.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// What is left of the log once it was taken into the database, and nobody reads: as much as it has
/// when SQLite takes it in by itself, after 1000 pages.
const JOURNAL_LIMIT: u64 = 4 << 20;

/// The largest log. A full book has 12 MB: more is there only if somebody has been reading since long
/// before.
const MAX_LOG: u64 = 32 << 20;

/// How SQLite keeps what is being written.
#[derive(Clone, Copy, Debug)]
enum Journal {
    /// In a log beside the database (WAL): readers hold up nobody.
    Log,
    /// What was there before is put aside.
    Rollback { is_locked: bool },
}

/// Why a database cannot be used.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It will never be readable again: whatever else is there, the node starts without it.
    Corrupt(String),
    /// There can be no log where it is.
    NoLog(StoreError),
    /// Something that a person can put right, or that passes.
    Failed(StoreError),
}

impl Trouble {
    /// What SQLite's error means when nothing but the file can be its cause. Memory, permissions,
    /// locks and the disk are not the file's fault.
    pub(super) fn of(path: &Path, what: &str, error: rusqlite::Error) -> Self {
        let text = error.to_string();
        let is_corrupt = match &error {
            // `Unknown` is the plain SQLITE_ERROR: our statements do not fit these tables.
            rusqlite::Error::SqliteFailure(failure, _) => matches!(
                failure.code,
                ErrorCode::DatabaseCorrupt
                    | ErrorCode::NotADatabase
                    | ErrorCode::TooBig
                    | ErrorCode::Unknown
            ),
            // Of the library and the path.
            rusqlite::Error::SqliteSingleThreadedMode
            | rusqlite::Error::InvalidPath(_)
            | rusqlite::Error::NulError(_) => false,
            // Values of other types than ours. And statements that do not fit, once more: some
            // builds of rusqlite have a variant of their own for them.
            _ => true,
        };
        // The index of the log cannot be made, or not be shared.
        let is_no_log = match &error {
            rusqlite::Error::SqliteFailure(failure, _) => matches!(
                failure.code,
                ErrorCode::CannotOpen
                    | ErrorCode::SystemIoFailure
                    | ErrorCode::FileLockingProtocolFailed
            ),
            _ => false,
        };
        match failed(path, what, plain(error)) {
            Self::Failed(error) if is_no_log => Self::NoLog(error),
            _ if is_corrupt => Self::Corrupt(text),
            failed => failed,
        }
    }

    /// The error for somebody who cannot start over.
    pub(super) fn into_error(self, path: &Path) -> StoreError {
        match self {
            Self::Corrupt(reason) => {
                let path = path.display();
                StoreError::new(format!("the address book {path} is corrupt: {reason}"))
            }
            Self::Failed(error) | Self::NoLog(error) => error,
        }
    }
}

/// Whether the SQLite that we are linked with can do what we need.
pub(super) fn check_library() -> Result<(), StoreError> {
    check_library_version(rusqlite::version_number(), rusqlite::version())
}

/// Opens the database for writing, or makes a new one, and brings it to our version: with a log, or
/// where that cannot be with a rollback journal, which is warned of. `is_locked`: the file system
/// knows locks.
pub(super) fn open(path: &Path, is_locked: bool) -> Result<Connection, Trouble> {
    create_if_missing(path).map_err(|error| failed(path, "create", error))?;
    check_header(path)?;
    let why = match why_no_log(path, is_locked) {
        Some(why) => why,
        None => match open_with(path, Journal::Log) {
            Err(Trouble::NoLog(why)) => why.to_string(),
            opened => return opened,
        },
    };
    let connection = open_with(path, Journal::Rollback { is_locked })?;
    crate::guard::tell!(
        log::Level::Warn,
        "the address book {} is kept with a rollback journal, which is slower: {why}; better put it \
         on a local disk",
        path.display()
    );
    Ok(connection)
}

/// Why there is no point in trying to have a log.
fn why_no_log(path: &Path, is_locked: bool) -> Option<String> {
    if !is_locked {
        return Some("its file system knows no locks".to_owned());
    }
    // Elsewhere than on Linux there is no such file, and SQLite finds out.
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let kind = shared_file_system(&mounts, path)?;
    Some(format!("its file system, {kind}, is shared with other machines"))
}

fn open_with(path: &Path, journal: Journal) -> Result<Connection, Trouble> {
    let of = |error| Trouble::of(path, "open", error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = match journal {
        // SQLite's own locks would fail, too.
        #[cfg(unix)]
        Journal::Rollback { is_locked: false } => {
            Connection::open_with_flags_and_vfs(path, flags, "unix-none")
        }
        _ => Connection::open_with_flags(path, flags),
    };
    let mut connection = connection.map_err(of)?;
    // What turns out to be corrupt, or not ours, stays as it is, log included.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(of)?;
    let mode_of = |pragma: &str| -> Result<String, Trouble> {
        connection.query_row(pragma, [], |row| row.get(0)).map_err(of)
    };
    let is_log = matches!(journal, Journal::Log);
    if !is_log {
        // So SQLite reads a log that is there, and makes an end of it, without shared memory.
        mode_of("PRAGMA locking_mode = EXCLUSIVE")?;
    }
    settle(&connection).map_err(of)?;
    let version = check(path, &connection)?;
    let wanted = if is_log { "wal" } else { "delete" };
    let mode = mode_of(&format!("PRAGMA journal_mode = {wanted}"))?;
    if mode != wanted && is_log {
        let why = "its file system has no shared memory for SQLite's log (is it a network drive?)";
        return Err(Trouble::NoLog(StoreError::new(why)));
    }
    if !is_log {
        mode_of("PRAGMA locking_mode = NORMAL")?;
    }
    // Of a rollback journal, its end must last, too.
    let synchronous = if is_log { "FULL" } else { "EXTRA" };
    connection.pragma_update(None, "synchronous", synchronous).map_err(of)?;
    limit_journal(&connection).map_err(of)?;
    migrate(&mut connection, version).map_err(of)?;
    entries::check_statements(&connection).map_err(of)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map_err(of)?;
    Ok(connection)
}

/// What a log, or a journal that stays, is cut to once nobody needs it.
fn limit_journal(connection: &Connection) -> rusqlite::Result<i64> {
    let pragma = format!("PRAGMA journal_size_limit = {JOURNAL_LIMIT}");
    connection.query_row(&pragma, [], |row| row.get(0))
}

/// Makes sure that the log does not grow without bound: while somebody reads the database without an
/// end, nothing in it can be used again.
pub(super) fn bound_log(path: &Path, connection: &Connection) -> Result<(), StoreError> {
    let len = || fs::metadata(beside(path, "-wal")).map_or(0, |metadata| metadata.len());
    if len() <= MAX_LOG {
        return Ok(());
    }
    // Without waiting: it is tried again soon.
    let restart = || -> rusqlite::Result<bool> {
        connection.busy_timeout(Duration::ZERO)?;
        let is_busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
        connection.busy_timeout(BUSY_TIMEOUT)?;
        is_busy
    };
    match restart() {
        Ok(false) => Ok(()),
        Ok(true) => Err(StoreError::new(format!(
            "cannot write the address book {}: another program has been reading it for so long that \
             its log has {} MB; end that program",
            path.display(),
            len() >> 20
        ))),
        Err(error) => {
            let text = format!("cannot write the address book {}", path.display());
            Err(StoreError::with_source(text, error))
        }
    }
}

/// Opens the database of another process without leaving a trace. One of an earlier version is read into
/// memory.
pub(super) fn open_read_only(path: &Path) -> Result<Connection, Trouble> {
    check_header(path)?;
    let is_there =
        |suffix| fs::exists(beside(path, suffix)).map_err(|error| failed(path, "open", error));
    // With a log, SQLite must look into it but not make an index for it. Without, nobody has the
    // database open, and it would make one all the same if it did not take the file for unchanging.
    let how = match (is_there("-wal")?, is_there("-shm")?) {
        (true, true) => "readonly_shm=1",
        (false, _) => "immutable=1",
        (true, false) => {
            let text = format!(
                "cannot read the address book {}: it was not closed properly, or copied while in use; \
                 start its node once",
                path.display()
            );
            return Err(Trouble::Failed(StoreError::new(text)));
        }
    };
    let of = |error| Trouble::of(path, "open", error);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    let mut connection = Connection::open_with_flags(uri(path, how), flags).map_err(of)?;
    settle(&connection).map_err(of)?;
    let version = check(path, &connection)?;
    if version < VERSION {
        let uri = uri(path, &format!("mode=ro&{how}"));
        connection = migrated_copy(&uri, version).map_err(of)?;
        settle(&connection).map_err(of)?;
    }
    entries::check_statements(&connection).map_err(of)?;
    Ok(connection)
}

/// For every connection: nothing in the file is trusted.
fn settle(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // A mapped file that is cut short meanwhile would end the process.
    connection.execute_batch(
        "PRAGMA mmap_size = 0; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;",
    )
}

/// The version of the database, if it is sound and ours.
fn check(path: &Path, connection: &Connection) -> Result<u32, Trouble> {
    let of = |error| Trouble::of(path, "open", error);
    let version: i64 =
        connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(of)?;
    let version = check_version(path, version)?;
    let finding: String =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(of)?;
    if finding != "ok" {
        return Err(Trouble::Corrupt(shown(&finding)));
    }
    let mut statement =
        connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").map_err(of)?;
    let names = statement.query_map([], |row| row.get(0)).map_err(of)?;
    let names: Vec<String> = names.collect::<Result<_, _>>().map_err(of)?;
    let is_ours = |name: &String| TABLES.contains(&name.as_str());
    match (names.is_empty(), names.iter().any(is_ours)) {
        (false, false) => Err(Trouble::Failed(StoreError::new(format!(
            "{} is a database of another program; give the address book a file of its own",
            path.display()
        )))),
        (true, _) if version > 0 => Err(Trouble::Corrupt("the tables are gone".to_owned())),
        (false, _) if version == 0 => Err(Trouble::Corrupt("it has no version".to_owned())),
        _ => Ok(version),
    }
}

fn check_version(path: &Path, version: i64) -> Result<u32, Trouble> {
    match u32::try_from(version) {
        Ok(version) if version <= VERSION => Ok(version),
        Ok(version) => Err(Trouble::Failed(StoreError::new(format!(
            "the address book {} was written by a newer version (its format is {version}, ours \
             {VERSION}); run that version, or give this one another file",
            path.display()
        )))),
        Err(_) => Err(Trouble::Corrupt(format!("its version is {version}"))),
    }
}

/// Looks at the first bytes before SQLite does: it would make files beside what is not ours.
fn check_header(path: &Path) -> Result<(), Trouble> {
    const MAGIC: &[u8; 16] = b"SQLite format 3\0";
    let of = |error| failed(path, "read", error);
    let mut header = Vec::new();
    File::open(path).map_err(of)?.take(100).read_to_end(&mut header).map_err(of)?;
    // SQLite's idea of a database without tables.
    if header.is_empty() {
        return Ok(());
    }
    if is_json_book(&header) {
        return Err(Trouble::Failed(StoreError::new(format!(
            "{} is an addrbook.json; give the address book another file and import this one",
            path.display()
        ))));
    }
    let (Some(header), true) = (header.first_chunk::<100>(), header.starts_with(MAGIC)) else {
        return Err(Trouble::Corrupt("it does not begin like a database".to_owned()));
    };
    // Which versions of SQLite may write and read it: 1, or 2 with a log. Others would be opened for
    // reading only, or not at all.
    if header[18..20].iter().any(|version| !matches!(version, 1 | 2)) {
        return Err(Trouble::Corrupt("its header is not that of a database".to_owned()));
    }
    let version = i32::from_be_bytes([header[60], header[61], header[62], header[63]]);
    check_version(path, version.into()).map(|_| ())
}

/// Whether the file begins like a book of the reference, which a configuration taken from there
/// names in the same place.
fn is_json_book(start: &[u8]) -> bool {
    let mut start = start.iter().copied().filter(|byte| !byte.is_ascii_whitespace());
    br#"{"key":"#.iter().all(|byte| start.next() == Some(*byte))
}

/// The book holds a secret, so the file is the owner's only; SQLite makes the ones beside it alike.
fn create_if_missing(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// SQLite's way to say how a file is opened. Everything unusual in the path is escaped.
fn uri(path: &Path, how: &str) -> String {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                uri.push(char::from(*byte));
            }
            _ => uri.push_str(&format!("%{byte:02x}")),
        }
    }
    uri + "?" + how
}

fn check_library_version(number: i32, version: &str) -> Result<(), StoreError> {
    if number >= OLDEST_LIBRARY {
        return Ok(());
    }
    Err(StoreError::new(format!(
        "the address book needs SQLite 3.37 or newer, this is {version}; update the library, or build \
         with the feature \"bundled\""
    )))
}

/// SQLite's error once, with its number, and as the system's where it is one: who shows an error with
/// its causes would have the same words twice.
pub(super) fn plain(error: rusqlite::Error) -> io::Error {
    let rusqlite::Error::SqliteFailure(failure, _) = &error else {
        return io::Error::other(error.to_string());
    };
    let kind = match failure.code {
        ErrorCode::DiskFull => io::ErrorKind::StorageFull,
        ErrorCode::PermissionDenied => io::ErrorKind::PermissionDenied,
        ErrorCode::OutOfMemory => io::ErrorKind::OutOfMemory,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, format!("{error} (SQLite {})", failure.extended_code))
}

fn failed(path: &Path, what: &str, error: impl Error + Send + Sync + 'static) -> Trouble {
    let text = format!("cannot {what} the address book {}", path.display());
    Trouble::Failed(StoreError::with_source(text, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_library_is_named() {
        let error = check_library_version(3_036_000, "3.36.0").unwrap_err();
        assert!(error.to_string().contains("this is 3.36.0"), "{error}");
        check_library_version(3_037_000, "3.37.0").unwrap();
        check_library().unwrap();
    }

    /// With less than FULL the last transactions are in the kernel's memory alone, and a power cut
    /// takes back what was said to be written; without the log it may take the file.
    #[test]
    fn what_is_written_is_on_the_disk_and_in_a_log() {
        let folder = tempfile::TempDir::with_prefix("database").unwrap();
        let path = folder.path().join("book.db");
        // A new one, and one that is there.
        for _ in 0..2 {
            let connection = open(&path, true).unwrap();
            let synchronous: i64 =
                connection.query_row("PRAGMA synchronous", [], |row| row.get(0)).unwrap();
            assert_eq!(synchronous, 2, "FULL");
            let mode: String =
                connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
            assert_eq!(mode, "wal");
        }
    }

    #[test]
    fn paths_mean_themselves_in_a_uri() {
        let path = Path::new("/a b/100%?x#y");
        assert_eq!(uri(path, "z=1"), "file:/a%20b/100%25%3fx%23y?z=1");
    }

    /// Where the log cannot be: a file system without shared memory, as seen from here.
    #[cfg(unix)]
    #[test]
    fn without_shared_memory_or_locks_there_is_a_rollback_journal() {
        let folder = tempfile::TempDir::with_prefix("database").unwrap();
        let mode = |connection: &Connection| -> (String, i64) {
            let of = |pragma| connection.query_row(pragma, [], |row| row.get(0)).unwrap();
            let synchronous = connection.query_row("PRAGMA synchronous", [], |row| row.get(0));
            (of("PRAGMA journal_mode"), synchronous.unwrap())
        };
        for (name, is_locked) in [("shared.db", true), ("locks.db", false)] {
            let path = folder.path().join(name);
            // Made where there was a log.
            drop(open(&path, true).unwrap());
            if is_locked {
                std::os::unix::fs::symlink("/no/such/folder/x", beside(&path, "-shm")).unwrap();
            }
            for _ in 0..2 {
                let connection = open(&path, is_locked).unwrap();
                assert_eq!(mode(&connection), ("delete".to_owned(), 3), "{name}: EXTRA");
                connection.execute("DELETE FROM anchor", []).unwrap();
                // Others may look into it beside it.
                let other = Connection::open(&path).unwrap();
                let count: i64 =
                    other.query_row("SELECT count(*) FROM address", [], |row| row.get(0)).unwrap();
                assert_eq!(count, 0);
            }
            // Back on a local disk there is a log again.
            if is_locked {
                fs::remove_file(beside(&path, "-shm")).unwrap();
            }
            assert_eq!(mode(&open(&path, true).unwrap()), ("wal".to_owned(), 2), "{name}");
        }
    }
}
