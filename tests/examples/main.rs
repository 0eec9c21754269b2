//! The programs `full_node` and `seed`, run as processes: what they take, what they print, what
//! they do beside peers.
#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod command_line;
mod full_node;
mod heights;
mod homes;
mod http;
mod http_hostile;
mod http_session;
mod program;
mod relay;
mod seed;
mod stale;
mod states;
