//! Peer exchange, and the book that it fills. So far: bans and bad addresses.
//!
//! [`PexCore`] decides and owns the [`Book`](crate::addrbook::Book); the thread `p2p-pex` drives it
//! and publishes the bans. It never waits for a disk: the thread `p2p-store`, which exists only if
//! there is a store, writes what has changed.

mod core;
mod handle;
mod message;
mod pending;
mod store;
#[cfg(test)]
mod tests;
mod thread;

pub use core::PexCore;
pub(crate) use handle::PexHandle;
pub use message::{Misbehaviour, PexAnswer, PexInput, PexNotice, PexOutput, PexRequest};
pub(crate) use thread::{Pex, PexSettings, Prepared};
