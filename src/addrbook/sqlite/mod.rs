//! A book in a SQLite file.
//!
//! The only part of the address book that touches a disk. One file opened by one store, for as
//! long as that lives ([`lock`]); what cannot be read is set aside, never deleted ([`quarantine`]);
//! how the tables came about is in `sql/` ([`migrations`]).

mod database;
mod entries;
mod lock;
mod migrations;
mod mounts;
mod quarantine;
mod unwritable;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, TransactionBehavior};

pub(crate) use self::unwritable::UnwritableStore;
use self::{
    database::Trouble,
    entries::{Loaded, UnreadableRow},
    lock::BookLock,
};
use super::{BookStore, StoreBatch, StoreError, StoredBook};

/// A store in a SQLite file, with WAL and `synchronous=FULL`: neither `kill -9` nor a power cut
/// undoes a batch that was written, or leaves half of one. On a network drive, and where the file
/// system has no shared memory or no locks, it is a rollback journal instead of WAL, and the log warns
/// of it.
///
/// Beside it there are a log of 4 MB at most (32 MB while another program reads the book without an
/// end; then writes are errors that say so) and its index.
///
/// A file that is corrupt is renamed to `NAME.corrupt-TIME`, together with what belongs to it, an
/// error in the log says so, and the book starts empty.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    // Before the lock, so that it is closed before somebody else may open the file.
    connection: Option<Connection>,
    access: Access,
    /// Rows that the last [`load`](BookStore::load) left out; the next write removes them.
    unreadable: Vec<UnreadableRow>,
}

#[derive(Debug)]
enum Access {
    /// Nobody else has the file while this lives.
    Owner(BookLock),
    ReadOnly,
}

impl SqliteStore {
    /// Opens the book in this file, or makes a new one. Until it is dropped, nobody else can: not
    /// another process, and not another switch in this one. The lock is on a file beside it,
    /// `NAME.lock`, which stays.
    ///
    /// # Errors
    /// If another store has the file, its folder does not exist or must not be written to, the file
    /// was written by a newer version or by another program, or SQLite is older than 3.37. All of
    /// these leave the file as it is.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        database::check_library()?;
        let path = resolve(path.as_ref())?;
        let lock = BookLock::acquire(&path)?;
        let mut store =
            Self { path, connection: None, access: Access::Owner(lock), unreadable: Vec::new() };
        quarantine::set_leftovers_aside(&store.path)?;
        match store.open_database() {
            Ok(connection) => store.connection = Some(connection),
            Err(Trouble::Corrupt(reason)) => store.start_over(&reason)?,
            Err(Trouble::NoLog(error) | Trouble::Failed(error)) => return Err(error),
        }
        Ok(store)
    }

    /// Opens a book that a node may be using, to read it. Creates and changes nothing, and every
    /// write is an error.
    ///
    /// # Errors
    /// As [`open`](Self::open), and if the file does not exist or is corrupt.
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        database::check_library()?;
        let path = resolve(path.as_ref())?;
        let connection =
            database::open_read_only(&path).map_err(|trouble| trouble.into_error(&path))?;
        let access = Access::ReadOnly;
        Ok(Self { path, connection: Some(connection), access, unreadable: Vec::new() })
    }

    /// Sets aside what is there and begins an empty book.
    fn start_over(&mut self, reason: &str) -> Result<(), StoreError> {
        self.connection = None;
        self.unreadable.clear();
        let aside = quarantine::set_aside(&self.path)?;
        crate::guard::tell!(
            log::Level::Error,
            "the address book {} is corrupt ({reason}): it is now {}, and an empty one takes its place",
            self.path.display(),
            aside.display()
        );
        let connection = self.open_database().map_err(|trouble| trouble.into_error(&self.path))?;
        self.connection = Some(connection);
        Ok(())
    }

    /// The database at this path, which is no link, and all that may lie beside it and belong to it: none
    /// of them is to be written by anybody else. Looks at no disk.
    pub fn files(path: &Path) -> Vec<PathBuf> {
        let beside = |suffix: &str| quarantine::beside(path, suffix);
        quarantine::COMPANIONS.iter().copied().chain(["", lock::SUFFIX]).map(beside).collect()
    }

    fn open_database(&self) -> Result<Connection, Trouble> {
        let is_locked = match &self.access {
            Access::Owner(lock) => lock.is_held(),
            Access::ReadOnly => true,
        };
        database::open(&self.path, is_locked)
    }

    fn failed(&self, what: &str, error: rusqlite::Error) -> StoreError {
        StoreError::with_source(
            format!("cannot {what} the address book {}", self.path.display()),
            database::plain(error),
        )
    }
}

impl BookStore for SqliteStore {
    fn load(&mut self) -> Result<StoredBook, StoreError> {
        let connection = self.connection.as_mut().ok_or_else(|| closed(&self.path))?;
        let result = connection
            .transaction()
            .and_then(|transaction| entries::load(&transaction))
            .map_err(|error| Trouble::of(&self.path, "read", error));
        match (result, &self.access) {
            (Ok(Loaded { book, unreadable }), _) => {
                if let Some(first) = unreadable.first() {
                    crate::guard::tell!(
                        log::Level::Warn,
                        "left out what cannot be understood in the address book {}: {} rows, one of them in {}",
                        self.path.display(),
                        unreadable.len(),
                        first
                    );
                }
                self.unreadable = unreadable;
                Ok(book)
            }
            (Err(Trouble::Corrupt(reason)), Access::Owner(_)) => {
                self.start_over(&reason)?;
                Ok(StoredBook::default())
            }
            (Err(trouble), _) => Err(trouble.into_error(&self.path)),
        }
    }

    fn write(&mut self, batch: &StoreBatch) -> Result<(), StoreError> {
        if let Access::ReadOnly = self.access {
            let path = self.path.display();
            return Err(StoreError::new(format!(
                "the address book {path} was opened for reading only"
            )));
        }
        let connection = self.connection.as_mut().ok_or_else(|| closed(&self.path))?;
        database::bound_log(&self.path, connection)?;
        let unreadable = &self.unreadable;
        let result = connection.transaction_with_behavior(TransactionBehavior::Immediate).and_then(
            |transaction| {
                entries::remove_unreadable(&transaction, unreadable)?;
                entries::write(&transaction, batch)?;
                transaction.commit()
            },
        );
        result.map_err(|error| self.failed("write", error))?;
        self.unreadable.clear();
        Ok(())
    }
}

/// After a corrupt file could not be replaced.
fn closed(path: &Path) -> StoreError {
    StoreError::new(format!("the address book {} is not open; start again", path.display()))
}

/// The one name of the file that all its other names lead to, so that locks meet and SQLite's own
/// files lie beside it.
fn resolve(path: &Path) -> Result<PathBuf, StoreError> {
    let failed = |error| {
        StoreError::with_source(format!("cannot open the address book {}", path.display()), error)
    };
    match fs::canonicalize(path) {
        // Before anything is made beside it, and before anybody waits for the other end of a pipe.
        Ok(path) => match fs::metadata(&path).map_err(failed)? {
            found if found.is_file() => return Ok(path),
            found => {
                let what = if found.is_dir() { "a folder" } else { "no regular file" };
                let path = path.display();
                return Err(StoreError::new(format!(
                    "the address book {path} is {what}; name another file"
                )));
            }
        },
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        Err(error) if fs::symlink_metadata(path).is_ok() => {
            let text = format!("the address book {} is a link to nothing", path.display());
            return Err(StoreError::with_source(text, error));
        }
        Err(_) => {}
    }
    let Some(name) = path.file_name() else {
        return Err(StoreError::new(format!(
            "\"{}\" names no file for an address book",
            path.display()
        )));
    };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    match fs::canonicalize(folder) {
        Ok(folder) => Ok(folder.join(name)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(StoreError::with_source(
            format!(
                "cannot open the address book {}: create the folder {} first",
                path.display(),
                folder.display()
            ),
            error,
        )),
        Err(error) => Err(failed(error)),
    }
}
