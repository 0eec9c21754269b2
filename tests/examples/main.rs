//! The programs `full_node` and `seed`, run as processes: what they take, what they print, what
//! they do beside peers.
#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

#[path = "../../examples/common/args.rs"]
#[allow(dead_code, reason = "the programs use the rest")]
mod args;
mod command_line;
mod full_node;
mod heights;
mod homes;
#[path = "../../examples/common/layers/mod.rs"]
#[allow(dead_code, reason = "the programs use the rest")]
mod layers;
mod program;
mod relay;
mod seed;
mod settings;
mod stale;
mod states;
