//! A node that takes part in the network of a chain without its application: it connects, follows
//! the height and relays transactions, beside nodes of Tendermint v0.34 and CometBFT.
//!
//! ```text
//! cargo run --release --example full_node -- init --chain-id my-chain --home /tmp/node
//! cargo run --release --example full_node -- --home /tmp/node --p2p.persistent_peers ID@HOST:PORT
//! curl 'http://127.0.0.1:26657/broadcast_tx_async?tx="hello"'
//! ```
#![forbid(unsafe_code)]

#[path = "../common/args.rs"]
mod args;
#[path = "../common/book.rs"]
#[allow(dead_code, reason = "the seed uses the rest")]
mod book;
mod channels;
#[path = "../common/cli.rs"]
#[allow(dead_code, unused_imports, reason = "the other programs use the rest")]
mod cli;
mod consensus;
#[path = "../common/console.rs"]
mod console;
mod heights;
#[path = "../common/home.rs"]
mod home;
#[path = "../common/http/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the seed uses the rest")]
mod http;
mod jsonrpc;
#[path = "../common/layers/mod.rs"]
#[allow(dead_code, reason = "the seed uses the rest")]
mod layers;
mod mempool;
#[path = "../common/news.rs"]
mod news;
#[path = "../common/opening.rs"]
mod opening;
mod relay;
mod rpc;
mod settings;
#[path = "../common/signals.rs"]
mod signals;
mod start;
#[path = "../common/states.rs"]
mod states;
mod table;
mod unserved;
mod verdict;
#[path = "../common/watch.rs"]
mod watch;

use std::{ffi::OsString, process::ExitCode};

use clap::{ArgAction, CommandFactory, Parser, Subcommand};

use crate::args::CommandLine;

/// Takes part in the network of a chain: follows its height and relays transactions
#[derive(Parser)]
#[command(name = "full_node", version, args_override_self = true)]
#[command(after_help = HELP, after_long_help = args::with_keys(HELP))]
pub(crate) struct Args {
    /// Home folder [default: $CMTHOME, else $TMHOME, else ~/.full_node]
    #[arg(long, global = true, value_name = "DIR")]
    home: Option<OsString>,
    /// Which chain [default: that of config/genesis.json]
    #[arg(long, global = true, value_name = "ID")]
    chain_id: Option<String>,
    /// The node's name for people
    #[arg(long, global = true, value_name = "NAME")]
    moniker: Option<String>,
    /// Where the RPC server listens, a list; empty: nowhere [default: tcp://127.0.0.1:26657]
    #[arg(long = "rpc.laddr", global = true, value_name = "ADDR")]
    rpc_laddr: Option<String>,
    /// Largest transaction that is taken and relayed, bytes [default: 1048576]
    #[arg(long = "mempool.max_tx_bytes", global = true, value_name = "N")]
    max_tx_bytes: Option<String>,
    /// The node's key [default: config/node_key.json]
    #[arg(long = "node_key_file", global = true, value_name = "FILE")]
    node_key_file: Option<String>,
    /// The chain's genesis, which has its ID [default: config/genesis.json]
    #[arg(long = "genesis_file", global = true, value_name = "FILE")]
    genesis_file: Option<String>,
    /// Version of the block protocol, which peers must have as well
    #[arg(long, global = true, value_name = "N", default_value_t = 11)]
    block_protocol: u64,
    /// Version of the application's protocol, for peers to see
    #[arg(long, global = true, value_name = "N", default_value_t = 0)]
    app_protocol: u64,
    /// Relay each line of standard input as a transaction
    #[arg(long, global = true, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_value = "false", default_missing_value = "true", hide_default_value = true)]
    #[arg(action = ArgAction::Set, value_parser = args::is_on)]
    tx_stdin: bool,
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
Every key of [p2p] in config/config.toml is a flag as well, --p2p.KEY VALUE; --help lists them.

A setting is what the first of these says:
  the flag, of several the last one
  the variable CMT_KEY, or CMT_P2P_KEY
  the variable TM_KEY, or TM_P2P_KEY
  the file
  the default
Variables of no key are ignored with a warning; those that Kubernetes sets for a service are passed \
over.
An empty variable says nothing. --rpc.laddr '' switches the server off; --p2p.KEY '' of an address or \
a list is none, whatever the file says; other empty flags say nothing.";

#[derive(Clone, Copy, Subcommand)]
enum Command {
    /// Run the node; the default
    #[command(visible_aliases = ["node", "run"])]
    Start,
    /// Make the files of a new node in the home folder
    Init,
    /// Print the node's ID, that of a new key the first time
    #[command(alias = "show_node_id")]
    ShowNodeId,
    /// Make a node key and print its ID
    #[command(alias = "gen_node_key")]
    GenNodeKey,
}

/// What help shows of each command but `start`, beside its own.
const OPTIONS: [args::Shown<'_>; 2] = [
    (
        &["init"],
        &[
            "home",
            "chain_id",
            "moniker",
            "node_key_file",
            "genesis_file",
            "log_level",
            "log_format",
        ],
    ),
    (&["show-node-id", "gen-node-key"], &["home", "node_key_file", "log_level", "log_format"]),
];

fn main() -> ExitCode {
    let command = args::only_useful(Args::command(), &OPTIONS);
    let CommandLine { rest, flags } = CommandLine::of_process(&command);
    cli::run(command, rest, args::instead, |args: Args| {
        let settings = settings::Settings::read(&args, flags)?;
        match args.command.unwrap_or(Command::Start) {
            Command::Start => start::run(&args, &settings),
            Command::Init => settings.init(&args),
            Command::ShowNodeId => settings.home.show_node_id(&settings.node_key_file),
            Command::GenNodeKey => settings.home.gen_node_key(&settings.node_key_file),
        }
    })
}
