//! Peer exchange, and the book that it fills.
//!
//! [`PexCore`] decides and owns the [`Book`](crate::addrbook::Book); the thread `p2p-pex` drives it
//! and publishes the bans. It never waits for a disk: it leaves what has changed to the book's thread
//! `p2p-store`, if there is a store.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

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
mod picking;
mod queue;
mod requests;
mod settings;
mod standing;
#[cfg(test)]
mod tests;
mod thread;
mod timer;
mod unroutable;
mod view;
mod wire;

pub use crate::origin::Purpose;
pub use core::PexCore;
pub(crate) use handle::{PexHandle, ToPex};
pub use message::{PexInput, PexNotice, PexOutput, PexRequest};
pub use neighbour::PeerFacts;
pub use settings::{PexSettings, Standings};
#[cfg(feature = "testing")]
pub(crate) use thread::PexThread;
pub(crate) use thread::{FoundBook, Pex, Prepared, Start};
pub use view::{BookEntry, BookState, BookView, Candidates};
pub use wire::{CHANNEL, MAX_ADDRS, MAX_MESSAGE_SIZE, PexMessage, PexMessageError, channel};
