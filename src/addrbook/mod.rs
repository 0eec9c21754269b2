//! The address book: which nodes there are, who is banned, and which addresses are bad.
//!
//! Owned by the thread `p2p-pex`, alone; everybody else sees the [`BanTable`](crate::ban::BanTable)s that it publishes.
//! Pure: it is told the time, and says what a store has to write instead of writing it. It never
//! touches a disk, a clock or a lock. What does are the stores that come with the library, and the
//! thread `p2p-store`, which exists only if there is a store and writes what has changed.
//!
//! *Bad* and *banned* are two things. A bad address is not dialed and not passed on, but whoever
//! has it may dial us: a node behind a NAT is no enemy. A banned node, address or range gets
//! no connection in either direction.
//!
//! Addresses that somebody told are in *new* buckets, those of nodes that behaved well in *old*
//! ones. Which bucket an address may be in follows from who told it and where it is, so that who
//! owns a part of the internet owns a part of the book and no more.

mod adding;
mod bad_address;
mod bans;
mod book;
mod buckets;
mod calendar;
mod collisions;
mod dense;
mod error;
mod hash;
mod importing;
pub mod json;
mod known_address;
mod loading;
mod marking;
mod memory;
mod outcomes;
mod pending;
mod replacing;
mod sampler;
mod selection;
mod sources;
#[cfg(feature = "sqlite")]
mod sqlite;
mod store;
mod table;
#[cfg(test)]
mod tests;
mod writer;

pub use crate::address::GroupKey;
pub use adding::{AddError, Added};
pub use bad_address::{BadAddress, BadCause};
pub use book::{Book, BookLimits, BookSettings};
pub use error::{BanError, UnbanError, Unstored};
pub use hash::BucketHash;
pub use importing::ImportReport;
pub(crate) use known_address::SERVED_FOR;
pub use known_address::{BookKey, History, KnownAddress, NewBuckets, Placement};
pub use memory::MemoryStore;
pub use outcomes::NodeFacts;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteStore;
#[cfg(feature = "sqlite")]
pub(crate) use sqlite::UnwritableStore;
pub use store::{BookStore, StoreBatch, StoreError, StoredBook};
pub(crate) use writer::{StoreEnd, StoreWatch, StoreWriter};
