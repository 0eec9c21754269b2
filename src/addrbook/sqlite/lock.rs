//! One store per file.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    path::Path,
};

use super::{StoreError, quarantine::beside};

/// What the lock's name has behind that of the book.
pub(super) const SUFFIX: &str = ".lock";

/// Held by the store that has the book. The operating system lets go of it when the process ends,
/// however it ends.
///
/// On a file of its own: SQLite loses its locks when any descriptor of the database is closed, and
/// a database that is set aside would take its lock with it. That file is never removed, or two
/// stores could each hold the lock of "the" file.
#[derive(Debug)]
pub(super) struct BookLock {
    file: File,
    /// False where the file system knows no locks: the file is open, and that is all.
    is_held: bool,
}

impl BookLock {
    /// Takes the lock of the book at this path, or says who is in the way.
    pub(super) fn acquire(path: &Path) -> Result<Self, StoreError> {
        let lock = beside(path, SUFFIX);
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
            Ok(()) => Ok(Self { file, is_held: true }),
            Err(TryLockError::Error(error)) if knows_no_locks(&error) => {
                crate::guard::tell!(
                    log::Level::Warn,
                    "the file system of the address book {} knows no locks ({error}): see to it that \
                     no second node uses the book",
                    path.display()
                );
                Ok(Self { file, is_held: false })
            }
            Err(TryLockError::WouldBlock) => Err(StoreError::new(format!(
                "the address book {} is in use by another node; stop that, or give this one a \
                 book of its own",
                path.display()
            ))),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}

impl BookLock {
    /// Whether nobody else can have the book.
    pub(super) fn is_held(&self) -> bool {
        self.is_held
    }
}

/// Whether the error says that there can be no lock, not that somebody has it.
fn knows_no_locks(error: &io::Error) -> bool {
    // ENOLCK: an NFS without a lock server. The standard library has no name for it.
    let enolck = if cfg!(any(target_os = "linux", target_os = "android")) { 37 } else { 77 };
    let is_no_lock = cfg!(unix) && error.raw_os_error() == Some(enolck);
    is_no_lock || matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput)
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_without_locks_is_told_from_one_where_something_is_wrong() {
        let [enolck, enosys, eopnotsupp, einval] = [37, 38, 95, 22];
        for (number, expected) in [
            (enolck, true),
            (enosys, true),
            (eopnotsupp, true),
            (einval, true),
            // EIO, ENOMEM, EBADF.
            (5, false),
            (12, false),
            (9, false),
        ] {
            let error = io::Error::from_raw_os_error(number);
            assert_eq!(knows_no_locks(&error), expected, "{error}");
        }
    }
}
