//! An echo server, and two clients that measure it: round trips and one-way throughput.
//!
//! ```text
//! cargo run --release --example echo -- serve
//! cargo run --release --example echo -- ping ID@HOST:PORT
//! cargo run --release --example echo -- pour ID@HOST:PORT --bytes 1000000000
//! ```
#![forbid(unsafe_code)]

#[path = "../common/cli.rs"]
#[allow(dead_code, unused_imports, reason = "the other programs use the rest")]
mod cli;
mod client;
#[path = "../common/console.rs"]
mod console;
mod node;
#[path = "../common/pattern.rs"]
mod pattern;
mod ping;
mod pour;
mod serve;
#[path = "../common/signals.rs"]
mod signals;
mod sink;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// Sends messages back to who sent them, and measures how fast
#[derive(Parser)]
#[command(name = "echo", after_help = node::RATES)]
struct Args {
    #[command(flatten)]
    common: node::Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Serve(serve::Args),
    Ping(ping::Args),
    Pour(pour::Args),
}

fn main() -> ExitCode {
    cli::run(
        Args::command(),
        std::env::args_os(),
        |_| None,
        |args: Args| {
            let Args { common, command } = args;
            match command {
                Command::Serve(args) => serve::run(&common, args),
                Command::Ping(args) => ping::run(&common, args),
                Command::Pour(args) => pour::run(&common, args),
            }
        },
    )
}
