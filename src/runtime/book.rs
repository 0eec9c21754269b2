//! The address book: its file, and what handles do with it.

use std::{
    error::Error,
    fs::{self, File},
    io::{ErrorKind, Read},
    path::Path,
};

use log::Level;

#[cfg(feature = "sqlite")]
use crate::addrbook::{SqliteStore, UnwritableStore};
use crate::{
    addrbook::{
        BookStore, ImportReport, StoreError,
        json::{self, ImportError, MAX_FILE},
    },
    config::{Config, database_of, is_references},
    guard::tell,
    pex::{BookView, FoundBook},
    switch::ControlError,
};

use super::SwitchHandle;

/// Why no addresses were added to the book.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum ImportBookError {
    /// The file is broken.
    #[error(transparent)]
    File(#[from] ImportError),
    /// The switch did not take it.
    #[error(transparent)]
    Control(#[from] ControlError),
}

crate::text::readable_debug!(ImportBookError);

/// Opens the configured store.
#[cfg(feature = "sqlite")]
pub(super) fn open(config: &Config) -> Result<Option<Box<dyn BookStore>>, StoreError> {
    let Some(database) = config.addr_book_database() else { return Ok(None) };
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
        tell!(
            Level::Warn,
            "addr_book_file is set, but this build has no SQLite: the book lives in memory"
        );
    }
    Ok(None)
}

/// The book that a node of the reference has left in the configured file, or somebody has put there,
/// unless it is the one that was taken in last (`taken`, its SHA-256): what counts is what is in it, not
/// when it was written, because copies keep their times and clocks are wrong. A broken one is reported
/// and left alone.
pub(super) fn find_json(file: Option<&Path>, taken: Option<[u8; 32]>) -> Option<FoundBook> {
    let file = file.filter(|file| is_references(file))?;
    let bytes = match read(file) {
        Ok(bytes) => bytes,
        Err(ReadError::Io(error)) if error.kind() == ErrorKind::NotFound => {
            if taken.is_some() {
                tell!(
                    Level::Info,
                    "{} is gone, and the addresses that were taken from it are still in the address \
                     book; to forget them, stop the node and delete {} too",
                    file.display(),
                    database_of(file).display()
                );
            }
            return None;
        }
        Err(error) => return complain(file, &error),
    };
    let digest = sha256(&bytes);
    if taken == Some(digest) {
        tell!(Level::Debug, "{} was taken in before", file.display());
        return None;
    }
    match json::parse(&bytes) {
        Ok(book) => Some(FoundBook { digest, book }),
        Err(error) => complain(file, &error),
    }
}

fn complain(file: &Path, error: &dyn Error) -> Option<FoundBook> {
    tell!(Level::Error, "{}: {error}; the address book does without it", file.display());
    None
}

#[expect(clippy::expect_used, reason = "what is hashed has no say in how long the hash is")]
fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// Tells what has become of the addresses of this file, and what an operator would not expect of it.
/// `is_database`: the book is in ours.
pub(super) fn tell_of_import(file: &Path, report: &ImportReport, is_database: bool) {
    let is_vain = report.added + report.known == 0 && report.num_refused() > 0;
    let level = if is_vain { Level::Warn } else { Level::Info };
    let place = match is_database {
        true => format!(": the address book is {}", database_of(file).display()),
        false => String::new(),
    };
    tell!(
        level,
        "took in {}: {report}. It is read again when it has changed, and never written{place}; \
         deleting the .json forgets nothing",
        file.display()
    );
}

#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("cannot be read: {0}")]
    Io(#[from] std::io::Error),
    #[error("is no file with bytes in it")]
    NoFile,
    #[error(transparent)]
    TooLarge(ImportError),
}

fn read(file: &Path) -> Result<Vec<u8>, ReadError> {
    // A device may never end, and a pipe without a writer is waited for, at open already.
    if !fs::metadata(file)?.is_file() {
        return Err(ReadError::NoFile);
    }
    let file = File::open(file)?;
    let metadata = file.metadata()?;
    // By what the system says, before any of it is in memory; and whatever it says, no more than one
    // byte more is read.
    if metadata.len() > MAX_FILE as u64 {
        let found = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
        return Err(ReadError::TooLarge(ImportError::TooLarge { found }));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl SwitchHandle {
    /// What is in the address book.
    ///
    /// # Errors
    /// The switch has stopped, or called on a thread of the library.
    pub fn book(&self) -> Result<BookView, ControlError> {
        self.started()?.pex.book()
    }

    /// The address book as the reference's `addrbook.json`, without what is bad, banned or
    /// private.
    ///
    /// # Errors
    /// The switch has stopped, or called on a thread of the library.
    pub fn export_addrbook(&self) -> Result<Vec<u8>, ControlError> {
        self.started()?.pex.export()
    }

    /// Adds the addresses of an `addrbook.json` that the book does not know, and tells what became of
    /// each. Their history counts only where the book is empty: else they were told, by one source.
    ///
    /// # Errors
    /// See [`ImportBookError`]; nothing has changed.
    pub fn import_addrbook(&self, file: &[u8]) -> Result<ImportReport, ImportBookError> {
        let imported = json::parse(file)?;
        let started = self.started().map_err(ControlError::from)?;
        Ok(started.pex.import(imported)?)
    }

    /// Looks for peers now, instead of within [`Config::ensure_peers_period`]. If there are as many
    /// as there may be, one more is looked for; once it has proved itself, the one leaves that is
    /// needed least (the longest connected of those that are neither persistent nor unconditional
    /// nor called good by a reactor), at most once a period. For a reactor that gets nowhere with
    /// the peers it has. May be called as often as one likes, on any thread: nobody is asked or
    /// dialed more often for it. Does not wait.
    pub fn request_more_peers(&self) {
        if let Ok(running) = self.running() {
            running.pex.request_more_peers();
        }
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
        let addresses =
            |path: Option<&Path>| find_json(path, None).map(|found| found.book.addresses.len());
        assert_eq!(addresses(Some(&path)), None, "there is none");
        fs::write(&path, BOOK).unwrap();
        assert_eq!(addresses(Some(&path)), Some(1));
        assert_eq!(addresses(None), None);
        assert_eq!(addresses(Some(&folder.path().join("addrbook.db"))), None);
        // More than there is memory, and no byte of it on the disk.
        let size = 1 << 40;
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(size).unwrap();
        match read(&path) {
            Err(ReadError::TooLarge(error)) => {
                assert_eq!(error, ImportError::TooLarge { found: size as usize });
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(addresses(Some(&path)), None);
        // Nor what never ends.
        #[cfg(target_os = "linux")]
        assert!(matches!(read(Path::new("/dev/zero")), Err(ReadError::NoFile)));
    }

    /// Whatever its time says: it may have been copied with an old one, or touched.
    #[test]
    fn a_file_is_taken_in_once_and_again_when_something_else_is_in_it() {
        let folder = tempfile::TempDir::with_prefix("book").unwrap();
        let path = folder.path().join("addrbook.json");
        let digest = |taken| find_json(Some(&path), taken).map(|found| found.digest);
        fs::write(&path, "<html>404 Not Found</html>").unwrap();
        assert_eq!(digest(None), None, "broken");
        fs::write(&path, BOOK).unwrap();
        let first = digest(None).unwrap();
        assert_eq!(digest(Some(first)), None);
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_modified(std::time::SystemTime::now()).unwrap();
        assert_eq!(digest(Some(first)), None, "touched");
        fs::write(&path, BOOK.replace("1.2.3.4", "1.2.3.5")).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        let second = digest(Some(first)).unwrap();
        assert_ne!(first, second);
        fs::remove_file(&path).unwrap();
        assert_eq!(digest(Some(second)), None, "gone");
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
