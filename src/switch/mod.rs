//! The switch: which connections become sessions, what reactors are told of them, what is dialed.
//!
//! [`SwitchCore`] decides; the thread `p2p-switch` performs what it decides and logs it. It never
//! touches a socket, and never waits for anything but its own inputs.

mod core;
mod lineup;
mod message;
mod resolver;
mod thread;

pub use core::{StopReason, SwitchCore, SwitchSettings};
pub use lineup::{Hook, Lineup};
pub use message::{Input, Output, Request, ResolveRequest, Resolved, SwitchEvent};
pub(crate) use resolver::ResolverPool;
pub use resolver::{Resolver, SystemResolver};
pub(crate) use thread::{Shared, SwitchThread};
