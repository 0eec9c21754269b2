//! A seed: it crawls the network of a chain and hands out addresses of nodes that answer. Takes the
//! configuration of tenderseed, or of Tendermint.
//!
//! ```text
//! cargo run --release --example seed -- --chain-id my-chain --home /tmp/seed --seeds ID@HOST:PORT
//! cargo run --release --example seed -- --home /tmp/seed peers
//! ```
#![forbid(unsafe_code)]

#[path = "../common/args.rs"]
mod args;
#[path = "../common/book.rs"]
mod book;
#[path = "../common/cli.rs"]
#[allow(dead_code, unused_imports, reason = "the other programs use the rest")]
mod cli;
#[path = "../common/console.rs"]
mod console;
#[path = "../common/home.rs"]
#[allow(dead_code, reason = "only full_node needs the initial height")]
mod home;
#[path = "../common/http.rs"]
#[allow(dead_code, reason = "full_node uses the rest")]
mod http;
#[path = "../common/layers.rs"]
#[allow(dead_code, reason = "the full node uses the rest")]
mod layers;
mod metrics;
#[path = "../common/news.rs"]
mod news;
mod peers;
mod settings;
#[path = "../common/signals.rs"]
mod signals;
mod start;
#[path = "../common/states.rs"]
#[allow(dead_code, reason = "full_node uses the rest")]
mod states;
#[path = "../common/watch.rs"]
mod watch;
mod web;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::args::CommandLine;

/// Crawls the network of a chain and hands out addresses of nodes that answer
#[derive(Parser)]
#[command(name = "seed", after_help = HELP)]
pub(crate) struct Args {
    /// Home folder [default: $TMHOME, else ~/.tenderseed]
    #[arg(long, global = true, value_name = "DIR")]
    home: Option<PathBuf>,
    /// Configuration file, in the home folder unless the path is absolute
    #[arg(long, global = true, value_name = "FILE", default_value = "config/config.toml")]
    config: PathBuf,
    /// Which chain [default: the file's chain_id, else that of config/genesis.json]
    #[arg(long, alias = "chain_id", global = true, value_name = "ID")]
    chain_id: Option<String>,
    /// Nodes to begin with, ID@HOST:PORT, separated by commas
    #[arg(long, alias = "seed", global = true, value_name = "NODES")]
    seeds: Option<String>,
    /// The node's name for people [default: CHAIN-seed]
    #[arg(long, global = true, value_name = "NAME")]
    moniker: Option<String>,
    /// Where to listen; the same as --p2p.laddr
    #[arg(long, global = true, value_name = "ADDR")]
    laddr: Option<String>,
    /// Serve /metrics, /peers, /addrbook.json and a page with them here, like tcp://127.0.0.1:0
    #[arg(long, global = true, value_name = "ADDR")]
    http: Option<String>,
    /// Version of the block protocol, which peers must have as well
    #[arg(long, global = true, value_name = "N", default_value_t = 11)]
    block_protocol: u64,
    /// One JSON object a line on stdout for everything that happens
    #[arg(long, global = true)]
    events: bool,
    /// Logs on stderr: none, error, warn, info, debug or trace, or a list like p2p:debug,*:error;
    /// log_format = "json" in the file, or TM_LOG_FORMAT, makes each line a JSON object
    #[arg(long = "log_level", alias = "log-level", global = true, value_name = "LEVEL")]
    log_level: Option<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

const HELP: &str = "\
Every key of [p2p] in config.toml is a flag as well, --p2p.KEY VALUE; and a variable of the \
environment, TM_P2P_KEY. A flag comes before the environment, and that before the file. Long flags \
may have one dash, as tenderseed's have.";

#[derive(Clone, Subcommand)]
enum Command {
    /// Run the seed; the default
    Start,
    /// Make the files of a new seed in the home folder
    Init,
    /// Print the node's ID
    ShowNodeId,
    /// Make a node key and print its ID
    GenNodeKey,
    /// Show the addresses in the book, also while the seed is running
    Peers {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Write the book as Tendermint's addrbook.json, also while the seed is running
    ExportAddrbook {
        /// Where to; it must not exist
        file: PathBuf,
    },
    /// Take the addresses of an addrbook.json; the seed must not be running
    ImportAddrbook {
        /// Where from
        file: PathBuf,
    },
}

fn main() -> ExitCode {
    let CommandLine { rest, p2p } = CommandLine::of_process();
    cli::run(rest, |args: Args| {
        let settings = settings::Settings::read(&args, p2p)?;
        match &args.command {
            None | Some(Command::Start) => start::run(&args, &settings),
            Some(Command::Init) => settings.init(&args),
            Some(Command::ShowNodeId) => settings.home.show_node_id(&settings.node_key_file),
            Some(Command::GenNodeKey) => settings.home.gen_node_key(&settings.node_key_file),
            Some(Command::Peers { json }) => peers::show(&settings, *json),
            Some(Command::ExportAddrbook { file }) => peers::export(&args, &settings, file),
            Some(Command::ImportAddrbook { file }) => peers::import(&args, &settings, file),
        }
    })
}
