//! The address book: its file, and what handles do with it.

use std::{fs, io::ErrorKind, path::Path};

use crate::{
    addrbook::{
        BookStore, StoreError,
        json::{self, ImportError, ImportedBook},
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
    Ok(Some(Box::new(crate::addrbook::SqliteStore::open(database)?)))
}

/// Nothing here can keep it.
#[cfg(not(feature = "sqlite"))]
pub(super) fn open(config: &Config) -> Result<Option<Box<dyn BookStore>>, StoreError> {
    if config.addr_book_file.is_some() {
        log::warn!("addr_book_file is set, but this build has no SQLite: the book lives in memory");
    }
    Ok(None)
}

/// The book that a node of the reference has left, for one that has none yet. A broken one is
/// reported and left alone.
pub(super) fn of_the_reference(config: &Config) -> Option<ImportedBook> {
    let file = config.addr_book_file.as_deref()?;
    if file.extension().is_none_or(|extension| extension != "json") {
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
    #[error(transparent)]
    Import(#[from] ImportError),
}

fn read(file: &Path) -> Result<ImportedBook, ReadError> {
    Ok(json::parse(&fs::read(file)?)?)
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
