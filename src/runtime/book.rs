//! The address book: its file, and what handles do with it.

use std::{
    fs::File,
    io::{ErrorKind, Read},
    path::Path,
};

#[cfg(feature = "sqlite")]
use crate::addrbook::{SqliteStore, UnwritableStore};
use crate::{
    addrbook::{
        BookStore, StoreError,
        json::{self, ImportError, ImportedBook, MAX_FILE},
    },
    config::Config,
    pex::BookView,
    switch::ControlError,
};

use super::SwitchHandle;

/// Why no addresses were added to the book.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportBookError {
    /// The file is broken.
    #[error(transparent)]
    File(#[from] ImportError),
    /// The switch did not take it.
    #[error(transparent)]
    Control(#[from] ControlError),
}

/// Opens the configured store.
#[cfg(feature = "sqlite")]
pub(super) fn open(config: &Config) -> Result<Option<Box<dyn BookStore>>, StoreError> {
    let Some(file) = &config.addr_book_file else { return Ok(None) };
    // What the reference keeps its book in is not ours to overwrite.
    let is_json = file.extension().is_some_and(|extension| extension == "json");
    let database = if is_json { file.with_extension("sqlite") } else { file.clone() };
    match SqliteStore::open(&database) {
        Ok(store) => Ok(Some(Box::new(store))),
        // A node without a place for its book is better than none.
        Err(error) => match UnwritableStore::in_place_of(&database) {
            Some(store) => Ok(Some(Box::new(store))),
            None => Err(error),
        },
    }
}

/// Nothing here can keep it.
#[cfg(not(feature = "sqlite"))]
pub(super) fn open(config: &Config) -> Result<Option<Box<dyn BookStore>>, StoreError> {
    if config.addr_book_file.is_some() {
        log::warn!("addr_book_file is set, but this build has no SQLite: the book lives in memory");
    }
    Ok(None)
}

/// The book that a node of the reference has left in the configured file, if it is wanted: for a book
/// that has no address yet. Otherwise it is not even read, which is said. A broken one is reported and
/// left alone.
pub(super) fn of_the_reference(file: Option<&Path>, is_wanted: bool) -> Option<ImportedBook> {
    let file = file.filter(|file| file.extension().is_some_and(|name| name == "json"))?;
    if !is_wanted {
        if file.exists() {
            log::info!(
                "{} is not read: the address book beside it has addresses already \
                 (import_addrbook adds those of the file)",
                file.display()
            );
        }
        return None;
    }
    match read(file) {
        Ok(imported) => Some(imported),
        Err(ReadError::Io(error)) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => {
            log::error!("{}: {error}; the address book begins without it", file.display());
            None
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("cannot be read: {0}")]
    Io(#[from] std::io::Error),
    #[error("is no file with bytes in it")]
    NoFile,
    #[error(transparent)]
    Import(#[from] ImportError),
}

fn read(file: &Path) -> Result<ImportedBook, ReadError> {
    let file = File::open(file)?;
    let metadata = file.metadata()?;
    // A pipe would be waited for, and a device may never end.
    if !metadata.is_file() {
        return Err(ReadError::NoFile);
    }
    // By what the system says, before any of it is in memory; and whatever it says, no more than one
    // byte more is read.
    if metadata.len() > MAX_FILE as u64 {
        let found = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
        return Err(ImportError::TooLarge { found }.into());
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes)?;
    Ok(json::parse(&bytes)?)
}

impl SwitchHandle {
    /// What is in the address book.
    ///
    /// # Errors
    /// The switch has stopped, or called on a thread of the library.
    pub fn book(&self) -> Result<BookView, ControlError> {
        self.inner().pex.book()
    }

    /// The address book as the reference's `addrbook.json`, without what is bad, banned or
    /// private.
    ///
    /// # Errors
    /// The switch has stopped, or called on a thread of the library.
    pub fn export_addrbook(&self) -> Result<Vec<u8>, ControlError> {
        self.inner().pex.export()
    }

    /// Adds the addresses of an `addrbook.json` that the book does not know, with their history,
    /// and tells how many those were.
    ///
    /// # Errors
    /// See [`ImportBookError`]; nothing has changed.
    pub fn import_addrbook(&self, file: &[u8]) -> Result<usize, ImportBookError> {
        let imported = json::parse(file)?;
        Ok(self.inner().pex.import(imported)?)
    }

    /// Looks for peers now, instead of within [`Config::ensure_peers_period`]. If there are as many
    /// as there may be, one more is looked for; once it has proved itself, the one leaves that is
    /// needed least (the longest connected of those that are neither persistent nor unconditional
    /// nor called good by a reactor), at most once a period. For a reactor that gets nowhere with
    /// the peers it has. May be called as often as one likes, on any thread: nobody is asked or
    /// dialed more often for it. Does not wait.
    pub fn request_more_peers(&self) {
        self.inner().pex.request_more_peers();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const BOOK: &str = r#"{"key": "0123456789abcdef01234567", "addrs": [{
        "addr": {"id": "2398e16fae20466d0a4020bf8ad93e4e8d460d5f", "ip": "1.2.3.4", "port": 1},
        "src": null, "buckets": [0], "attempts": 0, "bucket_type": 1}]}"#;

    #[test]
    fn a_file_that_is_no_book_by_its_size_or_kind_is_not_read() {
        let folder = tempfile::TempDir::with_prefix("book").unwrap();
        let path = folder.path().join("addrbook.json");
        assert_eq!(of_the_reference(Some(&path), true), None, "there is none");
        fs::write(&path, BOOK).unwrap();
        assert_eq!(of_the_reference(Some(&path), true).unwrap().addresses.len(), 1);
        assert_eq!(of_the_reference(None, true), None);
        assert_eq!(of_the_reference(Some(&folder.path().join("addrbook.db")), true), None);
        // More than there is memory, and no byte of it on the disk.
        let size = 1 << 40;
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(size).unwrap();
        match read(&path) {
            Err(ReadError::Import(error)) => {
                assert_eq!(error, ImportError::TooLarge { found: size as usize });
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(of_the_reference(Some(&path), true), None);
        // Nor what never ends.
        #[cfg(target_os = "linux")]
        assert!(matches!(read(Path::new("/dev/zero")), Err(ReadError::NoFile)));
    }

    #[test]
    fn a_file_that_is_not_to_be_taken_over_is_not_read() {
        let folder = tempfile::TempDir::with_prefix("book").unwrap();
        let path = folder.path().join("addrbook.json");
        fs::write(&path, BOOK).unwrap();
        assert_eq!(of_the_reference(Some(&path), false), None);
    }

    /// Nobody, not even the superuser, makes files there.
    #[cfg(all(target_os = "linux", feature = "sqlite"))]
    #[test]
    fn a_book_whose_folder_cannot_be_written_lives_in_memory() {
        use crate::addrbook::StoreBatch;

        let file = |name: &str| {
            let config = Config { addr_book_file: Some(name.into()), ..Config::default() };
            open(&config).map(|store| store.expect("a file is configured"))
        };
        let mut store = file("/sys/addrbook.json").unwrap();
        assert_eq!(store.load().unwrap(), crate::addrbook::StoredBook::default());
        let error = store.write(&StoreBatch::default()).unwrap_err().to_string();
        assert!(error.contains("/sys/addrbook.sqlite") && error.contains("memory"), "{error}");
        // What a person has mistyped is an error at the start.
        let error = file("/sys/no/such/folder/addrbook.db").err().unwrap().to_string();
        assert!(error.contains("create the folder"), "{error}");
    }
}
