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
mod files;
#[path = "../common/home.rs"]
#[allow(dead_code, reason = "only full_node needs the initial height")]
mod home;
#[path = "../common/http/mod.rs"]
#[allow(dead_code, unused_imports, reason = "full_node uses the rest")]
mod http;
#[path = "../common/layers/mod.rs"]
#[allow(dead_code, reason = "the full node uses the rest")]
mod layers;
mod metrics;
#[path = "../common/news.rs"]
mod news;
#[path = "../common/opening.rs"]
mod opening;
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

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use clap::{ArgAction, CommandFactory, Parser, Subcommand};

use crate::args::CommandLine;

/// Crawls the network of a chain and hands out addresses of nodes that answer
#[derive(Parser)]
#[command(name = "seed", version, args_override_self = true)]
#[command(after_help = HELP, after_long_help = args::with_keys(HELP))]
pub(crate) struct Args {
    /// Home folder [default: $CMTHOME, else $TMHOME, else ~/.tenderseed]
    #[arg(long, global = true, value_name = "DIR")]
    home: Option<OsString>,
    /// Configuration file, in the home folder unless the path is absolute; one that is named here must
    /// be there [default: config/config.toml, if there is one]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<OsString>,
    /// Which chain [default: the file's chain_id, else that of config/genesis.json]
    #[arg(long, global = true, value_name = "ID")]
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
    /// The node's key [default: config/node_key.json]
    #[arg(long = "node_key_file", global = true, value_name = "FILE")]
    node_key_file: Option<String>,
    /// The chain's genesis, which has its ID [default: config/genesis.json]
    #[arg(long = "genesis_file", global = true, value_name = "FILE")]
    genesis_file: Option<String>,
    /// Version of the block protocol, which peers must have as well
    #[arg(long, global = true, value_name = "N", default_value_t = 11)]
    block_protocol: u64,
    /// One JSON object a line on stdout for everything that happens
    #[arg(long, global = true, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_value = "false", default_missing_value = "true", hide_default_value = true)]
    #[arg(action = ArgAction::Set, value_parser = args::is_on)]
    events: bool,
    /// Logs on stderr: none, error, warn, info, debug or trace, or a list like p2p:debug,*:error
    #[arg(long = "log_level", global = true, value_name = "LEVEL")]
    log_level: Option<String>,
    /// How lines of the log look: plain, or json for an object each
    #[arg(long = "log_format", global = true, value_name = "FORMAT")]
    log_format: Option<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

const HELP: &str = "\
Every key of [p2p] in config.toml is a flag as well, --p2p.KEY VALUE; --help lists them. Long flags \
may have one dash, as tenderseed's have.

A setting is what the first of these says:
  the flag, of several the last one
  the variable TENDERSEED_KEY
  the variable CMT_KEY, or CMT_P2P_KEY
  the variable TM_KEY, or TM_P2P_KEY
  the file
  the default
Variables of no key are ignored with a warning; those that Kubernetes sets for a service are passed \
over.
An empty variable says nothing. --http '' switches the server off; --p2p.KEY '' of an address or a \
list is none, whatever the file says; other empty flags say nothing.

The book is a database, addrbook.sqlite. An addrbook.json beside it is taken in at the start, once \
for each content of it, and is never written; deleting it forgets nothing. export-addrbook writes \
one.";

#[derive(Clone, Subcommand)]
enum Command {
    /// Run the seed; the default
    Start,
    /// Make the files of a new seed in the home folder
    Init,
    /// Print the node's ID, that of a new key the first time
    ShowNodeId,
    /// Make a node key and print its ID
    GenNodeKey,
    /// Show the addresses in the book, also while the seed is running
    Peers(peers::Options),
    /// Write the book as Tendermint's addrbook.json, also while the seed is running
    ///
    /// The seed itself keeps its book in a database, addrbook.sqlite. It reads an addrbook.json
    /// beside that when it starts, once for each content of it, and never writes one: deleting it
    /// forgets nothing. A script that wants the file gets it here, or from a running seed at
    /// /addrbook.json (--http).
    ExportAddrbook(files::Export),
    /// Take the addresses of an addrbook.json; the seed must not be running
    ImportAddrbook {
        /// Where from; - is standard input
        file: PathBuf,
    },
    /// Have an address that is bad be dialed and handed out again; the seed must not be running
    UnmarkBad {
        /// Its ID, or the beginning of it
        id: String,
    },
    /// Lift a ban; the seed must not be running
    Unban {
        /// What is banned: an ID, an IP address or a range, as peers --wide shows it
        target: String,
    },
}

/// What help shows of each command but `start`, beside its own.
const OPTIONS: [args::Shown<'_>; 4] = [
    (
        &["init"],
        &[
            "home",
            "config",
            "chain_id",
            "seeds",
            "node_key_file",
            "genesis_file",
            "log_level",
            "log_format",
        ],
    ),
    (
        &["show-node-id", "gen-node-key"],
        &["home", "config", "node_key_file", "log_level", "log_format"],
    ),
    (&["peers"], &["home", "config", "log_level", "log_format"]),
    (
        &["export-addrbook", "import-addrbook", "unmark-bad", "unban"],
        &["home", "config", "node_key_file", "log_level", "log_format"],
    ),
];

fn main() -> ExitCode {
    let command = args::only_useful(Args::command(), &OPTIONS);
    let CommandLine { rest, flags } = CommandLine::of_process(&command);
    cli::run(command, rest, args::instead, |args: Args| {
        let settings = settings::Settings::read(&args, flags)?;
        match &args.command {
            None | Some(Command::Start) => start::run(&args, &settings),
            Some(Command::Init) => settings.init(&args),
            Some(Command::ShowNodeId) => settings.home.show_node_id(&settings.node_key_file),
            Some(Command::GenNodeKey) => settings.home.gen_node_key(&settings.node_key_file),
            Some(Command::Peers(options)) => peers::show(&settings, options),
            Some(Command::ExportAddrbook(export)) => files::export(&args, &settings, export),
            Some(Command::ImportAddrbook { file }) => files::import(&args, &settings, file),
            Some(Command::UnmarkBad { id }) => files::unmark_bad(&args, &settings, id),
            Some(Command::Unban { target }) => files::unban(&args, &settings, target),
        }
    })
}
