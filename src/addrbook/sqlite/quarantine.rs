//! What cannot be read is set aside, for a person to look at.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use super::StoreError;
use crate::folder::sync_name;

/// What SQLite keeps beside a database: the write-ahead log, its index, and the rollback journal. One
/// that is left beside another database would be replayed into it.
pub(super) const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Renames the database and everything that belongs to it; where to.
pub(super) fn set_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let failed = |error| {
        let text = format!("cannot set the corrupt address book {} aside", path.display());
        StoreError::with_source(text, error)
    };
    let aside = free_name(path).map_err(failed)?;
    // The database first: without it the others are leftovers for the next start, but it alone may
    // look sound and have lost what is in the log.
    for suffix in [""].into_iter().chain(COMPANIONS) {
        match fs::rename(beside(path, suffix), beside(&aside, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
    }
    sync_name(path).map_err(failed)?;
    Ok(aside)
}

/// Sets aside the log that lies beside a database that is not there, or is as good as new. A
/// rollback journal alone is what remains of a process that was killed while it made the database:
/// there is nothing in it, and SQLite removes it.
pub(super) fn set_leftovers_aside(path: &Path) -> Result<(), StoreError> {
    let failed = |error| {
        StoreError::with_source(format!("cannot open the address book {}", path.display()), error)
    };
    let is_there = match fs::metadata(path) {
        Ok(metadata) => metadata.len() > 0,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(failed(error)),
    };
    let is_left = |suffix: &str| fs::symlink_metadata(beside(path, suffix)).is_ok();
    if is_there || !["-wal", "-shm"].into_iter().any(is_left) {
        return Ok(());
    }
    let aside = set_aside(path)?;
    crate::guard::tell!(
        log::Level::Error,
        "the address book {} is gone but its log is not: what is left is now {}-*, and an empty book \
         takes its place",
        path.display(),
        aside.display()
    );
    Ok(())
}

/// The path with this at its end.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// A name that says when, and that neither the database nor what belongs to it has yet. Whoever
/// holds the lock of the book is the only one to take such names.
fn free_name(path: &Path) -> io::Result<PathBuf> {
    let time = Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let is_free = |name: &Path| -> io::Result<bool> {
        for suffix in [""].into_iter().chain(COMPANIONS) {
            match fs::symlink_metadata(beside(name, suffix)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
                Ok(_) => return Ok(false),
            }
        }
        Ok(true)
    };
    let mut name = beside(path, &format!(".corrupt-{time}"));
    for n in 2_u32.. {
        if is_free(&name)? {
            break;
        }
        name = beside(path, &format!(".corrupt-{time}-{n}"));
    }
    Ok(name)
}
