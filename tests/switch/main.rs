//! Whole switches over loopback: real threads, real sockets, real time. Nothing here sleeps to
//! let something happen; it waits for what happens, with a deadline.
#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod bans;
mod bootstrap;
#[cfg(target_os = "linux")]
mod cycles;
#[cfg(target_os = "linux")]
mod dead_peers;
mod dialing;
mod faults;
mod filters;
mod handles;
mod lifecycle;
mod limits;
mod mesh;
mod persistent;
#[cfg(target_os = "linux")]
mod process;
mod reactors;
mod registration;
#[cfg(target_os = "linux")]
mod resources;
mod sending;
mod sessions;
mod simultaneous;
#[cfg(target_os = "linux")]
mod slow_loris;
mod states;
mod stopping;
#[cfg(target_os = "linux")]
mod stuck;
mod support;
