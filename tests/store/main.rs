//! The address book in SQLite: what it keeps, and what may happen to its file.
#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod access;
mod corrupt;
mod killed;
mod process;
mod round_trip;
mod schema;
mod support;
mod torn_log;
