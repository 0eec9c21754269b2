//! What travels on a connection, as machines that take bytes and time and give bytes and events.
//!
//! Run by the event loop's thread, by fuzzers and by simulations alike. Nothing here may know of a
//! socket, a thread, a clock or a random number generator: whatever of these a rule needs is an
//! argument. Not part of the stable interface of this crate.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

pub mod link;
pub mod mconn;
pub mod secret;
pub mod wire;

pub use link::{LinkError, LinkSettings};
