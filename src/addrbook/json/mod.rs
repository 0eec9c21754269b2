//! `addrbook.json`, the file in which the reference keeps its book: to take a book over from a Go
//! node, and to give it one.
//!
//! Where an address is kept follows from a secret of each book, and the reference forgets half of
//! its own. So the file's buckets are read, checked and not used by
//! [`Book::import`](super::Book::import).

mod reading;
mod writing;

pub use reading::{ImportError, ImportedBook, MAX_ENTRIES, MAX_FILE, parse};
pub use writing::write;
