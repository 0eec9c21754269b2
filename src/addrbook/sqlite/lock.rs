//! One store per file.

use std::{
    fs::{File, OpenOptions, TryLockError},
    path::Path,
};

use super::{StoreError, quarantine::beside};

/// Held by the store that has the book. The operating system lets go of it when the process ends,
/// however it ends.
///
/// On a file of its own: SQLite loses its locks when any descriptor of the database is closed, and
/// a database that is set aside would take its lock with it. That file is never removed, or two
/// stores could each hold the lock of "the" file.
#[derive(Debug)]
pub(super) struct BookLock {
    file: File,
}

impl BookLock {
    /// Takes the lock of the book at this path, or says who is in the way.
    pub(super) fn acquire(path: &Path) -> Result<Self, StoreError> {
        let lock = beside(path, ".lock");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let failed = |error| {
            let text = format!(
                "cannot lock the address book {} with the file {}",
                path.display(),
                lock.display()
            );
            StoreError::with_source(text, error)
        };
        let file = options.open(&lock).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file }),
            Err(TryLockError::WouldBlock) => Err(StoreError::new(format!(
                "the address book {} is in use by another node; stop that, or give this one a \
                 book of its own",
                path.display()
            ))),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}

impl Drop for BookLock {
    /// Closing the file is not enough: a process that is being started on another thread has it
    /// open, too, up to its `exec`, and whoever opens the book again in that moment would find it
    /// in use.
    fn drop(&mut self) {
        // It cannot fail; and if it did, closing would do.
        let _ = self.file.unlock();
    }
}
