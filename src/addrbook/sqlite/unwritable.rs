//! A book whose folder cannot be written: it lives in memory, and the node runs.

use std::{
    fs::{self, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use super::{SqliteStore, quarantine::beside};
use crate::addrbook::{BookStore, StoreBatch, StoreError, StoredBook};

/// Stands for the file. Every write is an error that says why, which is reported once a minute, and
/// tries the file again: whoever mends the folder need not restart the node.
#[derive(Debug)]
pub(crate) struct UnwritableStore {
    path: PathBuf,
    why: io::ErrorKind,
    /// Once it can be written.
    store: Option<SqliteStore>,
}

impl UnwritableStore {
    /// In place of a store that cannot be opened; `None`: its folder can be written, or is not there,
    /// so that something else is wrong that a person should see at the start.
    pub(crate) fn in_place_of(path: &Path) -> Option<Self> {
        let why = why_unwritable(path)?;
        Some(Self { path: path.into(), why, store: None })
    }
}

impl BookStore for UnwritableStore {
    /// What can be read of it; an empty book if nothing can.
    fn load(&mut self) -> Result<StoredBook, StoreError> {
        let path = self.path.display();
        let book = SqliteStore::open_read_only(&self.path).and_then(|mut store| store.load());
        match &book {
            // The first write, a second later, is the warning.
            Ok(_) => crate::guard::tell!(
                log::Level::Info,
                "the address book {path} can only be read ({})",
                self.why
            ),
            Err(error) if fs::symlink_metadata(&self.path).is_ok() => crate::guard::tell!(
                log::Level::Warn,
                "the address book {path} can be neither written nor read, so it begins empty and lives in \
                 memory: {error}"
            ),
            Err(_) => crate::guard::tell!(
                log::Level::Info,
                "the folder of the address book {path} cannot be written ({}): the book begins \
                 empty and lives in memory",
                self.why
            ),
        }
        Ok(book.unwrap_or_default())
    }

    fn write(&mut self, batch: &StoreBatch) -> Result<(), StoreError> {
        if let Some(store) = &mut self.store {
            return store.write(batch);
        }
        let mut store = SqliteStore::open(&self.path).map_err(|error| {
            let path = self.path.display();
            let text = format!(
                "the folder of the address book {path} cannot be written, so the book lives in \
                 memory and is lost with the process; make the folder writable for this user"
            );
            StoreError::with_source(text, error)
        })?;
        store.write(batch)?;
        crate::guard::tell!(
            log::Level::Info,
            "the address book {} can be written again",
            self.path.display()
        );
        self.store = Some(store);
        Ok(())
    }
}

/// Why nothing can be made beside this file, if that is so.
fn why_unwritable(path: &Path) -> Option<io::ErrorKind> {
    let probe = beside(path, &format!(".{}.tmp", std::process::id()));
    match OpenOptions::new().write(true).create_new(true).open(&probe) {
        Ok(_) => {
            // Left behind it does no harm.
            let _ = fs::remove_file(probe);
            None
        }
        Err(error) => {
            let kind = error.kind();
            let is_forbidden =
                matches!(kind, io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem);
            is_forbidden.then_some(kind)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        addrbook::{BookKey, KnownAddress},
        address::NetAddress,
        identity::NodeId,
    };

    fn batch(n: u8) -> StoreBatch {
        let id = NodeId::from_bytes([n; 20]);
        let addr = NetAddress::new(id, [1, 2, 3, n].into(), 1);
        let mut batch = StoreBatch::default();
        batch.addresses.insert(id, Some(KnownAddress::told(addr, addr)));
        batch.key = Some(BookKey { text: "0123456789abcdef01234567".to_owned(), hash: [n; 32] });
        batch
    }

    #[test]
    fn what_can_be_read_is_and_what_can_be_written_again_is_too() {
        let folder = tempfile::TempDir::with_prefix("unwritable").unwrap();
        let path = folder.path().join("book.db");
        assert!(UnwritableStore::in_place_of(&path).is_none(), "its folder can be written");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left of looking");
        SqliteStore::open(&path).unwrap().write(&batch(1)).unwrap();
        let why = io::ErrorKind::ReadOnlyFilesystem;
        let mut store = UnwritableStore { path: path.clone(), why, store: None };
        assert_eq!(store.load().unwrap().addresses.len(), 1);
        // Somebody has mended it.
        store.write(&batch(2)).unwrap();
        store.write(&batch(3)).unwrap();
        drop(store);
        assert_eq!(SqliteStore::open(&path).unwrap().load().unwrap().addresses.len(), 3);
    }
}
