//! Whole switches over loopback: real threads, real sockets, real time. Nothing here sleeps to
//! let something happen; it waits for what happens, with a deadline.
#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod dialing;
mod faults;
mod lifecycle;
mod registration;
#[cfg(target_os = "linux")]
mod resources;
mod sending;
mod sessions;
mod stopping;
mod support;
