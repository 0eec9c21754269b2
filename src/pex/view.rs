//! The book as people look at it.

use std::time::SystemTime;

use crate::{
    addrbook::{Book, KnownAddress, Placement},
    identity::NodeId,
};

/// What is in the address book. From [`SwitchHandle::book`](crate::SwitchHandle::book).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BookView {
    /// Addresses that are unproven.
    pub num_new: usize,
    /// Addresses that were good.
    pub num_old: usize,
    /// Addresses that are not used for a while.
    pub num_bad: usize,
    /// Each address, by ID.
    pub addresses: Vec<BookEntry>,
}

/// One address of the book.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BookEntry {
    /// What is known of it.
    pub known: KnownAddress,
    /// What it is at the moment.
    pub state: BookState,
}

/// What an address of the book is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BookState {
    /// Unproven.
    New,
    /// It was good.
    Old,
    /// Not used for a while.
    Bad,
    /// Its node or its IP address is banned.
    Banned,
}

/// A page of what may be dialed. From [`SwitchHandle::candidates`](crate::SwitchHandle::candidates).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Candidates {
    /// Addresses, by ID: of nodes that are neither connected nor being dialed, persistent, bad or
    /// banned.
    pub page: Vec<KnownAddress>,
    /// How many there are in all.
    pub total: usize,
    /// Where the next page begins: `after` of the next call. `None`: this was the last.
    pub next: Option<NodeId>,
}

/// Looks at a book.
pub(super) fn of(book: &Book, wall: SystemTime) -> BookView {
    let entry = |known: &KnownAddress| {
        let (id, ip) = (known.addr.id(), known.addr.ip());
        let bans = book.bans();
        let is_banned = bans.find_id(&id, wall).or_else(|| bans.find_ip(ip, wall)).is_some();
        let state = match known.placement {
            _ if is_banned => BookState::Banned,
            Placement::New(_) => BookState::New,
            Placement::Old(_) => BookState::Old,
            Placement::Bad => BookState::Bad,
        };
        BookEntry { known: known.clone(), state }
    };
    BookView {
        num_new: book.num_new(),
        num_old: book.num_old(),
        num_bad: book.num_bad(),
        addresses: book.iter().map(entry).collect(),
    }
}
