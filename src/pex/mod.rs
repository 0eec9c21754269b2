//! Peer exchange, and the book that it fills.
//!
//! [`PexCore`] decides and owns the [`Book`](crate::addrbook::Book); the thread `p2p-pex` drives it
//! and publishes the bans. It never waits for a disk: the thread `p2p-store`, which exists only if
//! there is a store, writes what has changed.

mod alone;
mod core;
mod crawl;
mod dials;
mod ensure;
mod exchange;
mod handle;
mod message;
mod neighbour;
mod outage;
mod pending;
mod picking;
mod requests;
mod settings;
mod standing;
mod store;
#[cfg(test)]
mod tests;
mod thread;
mod timer;
mod unroutable;
mod view;
mod wire;

pub use crate::origin::Purpose;
pub use core::PexCore;
pub(crate) use handle::PexHandle;
pub use message::{Misbehaviour, PexAnswer, PexInput, PexNotice, PexOutput, PexRequest};
pub use neighbour::PeerFacts;
pub use settings::PexSettings;
pub use standing::Standings;
pub(crate) use store::StoreEnd;
pub(crate) use thread::{FoundBook, Pex, Prepared, Start};
pub use view::{BookEntry, BookState, BookView, Candidates};
pub use wire::{CHANNEL, MAX_ADDRS, MAX_MESSAGE_SIZE, PexMessage, PexMessageError, channel};
