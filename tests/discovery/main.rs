//! How nodes find each other: the core of peer exchange, many of them in virtual time.
#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod crawl;
mod ensure;
mod exchange;
mod settings;
mod world;
