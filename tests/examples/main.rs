//! The programs `full_node` and `seed`, run as processes: what they take, what they print, what
//! they do beside peers.
#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

#[path = "../../examples/common/args.rs"]
#[allow(dead_code, reason = "the programs use the rest")]
mod args;
#[cfg(feature = "sqlite")]
mod book_files;
#[path = "../../examples/common/cli.rs"]
#[allow(dead_code, unused_imports, reason = "the programs use the rest")]
mod cli;
mod command_line;
#[path = "../../examples/common/console.rs"]
#[allow(dead_code, reason = "the programs use the rest")]
mod console;
mod every_setting;
mod full_node;
mod guest;
mod heights;
mod help;
#[path = "../../examples/common/input.rs"]
#[allow(dead_code, reason = "the programs use the rest")]
mod home_input;
mod homes;
mod http;
mod http_hostile;
mod http_session;
mod init;
mod inputs;
#[path = "../../examples/common/layers/mod.rs"]
#[allow(dead_code, reason = "the programs use the rest")]
mod layers;
mod local_net;
mod news;
#[cfg(feature = "sqlite")]
mod peers;
mod program;
mod relay;
mod seed;
mod settings;
#[path = "../../examples/common/signals.rs"]
#[allow(dead_code, reason = "the programs use the rest")]
mod signals;
mod stale;
mod states;
mod stderr;
mod text;
mod told;
mod unread;
mod unserved;
