//! A whole network in one process: nodes that know nothing but a seed find each other, everybody
//! sends to everybody, transactions are gossiped, a node dies without a word, comes back and gets
//! what it has missed, the seed dies, and all start again from their address books.
//!
//! ```text
//! cargo run --release --example local_net
//! ```
#![forbid(unsafe_code)]

#[path = "../common/cli.rs"]
#[allow(dead_code, unused_imports, reason = "the other programs use the rest")]
mod cli;
mod gossip;
mod interrupt;
mod latency;
#[path = "../full_node/mempool.rs"]
#[allow(dead_code, reason = "full_node uses the rest")]
mod mempool;
mod network;
mod node;
#[path = "../common/pattern.rs"]
mod pattern;
mod progress;
#[path = "../full_node/relay.rs"]
#[allow(dead_code, reason = "full_node uses the rest")]
mod relay;
mod show;
#[path = "../common/signals.rs"]
#[allow(dead_code, reason = "the other programs have nothing to clean")]
mod signals;
mod tally;
mod traffic;
#[path = "../full_node/verdict.rs"]
mod verdict;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::{CommandFactory, Parser};
use tmp2p::DEFAULT_RECV_MESSAGE_CAPACITY;

use crate::{
    cli::Failure, interrupt::Interrupt, network::Network, show::Show, tally::HEADER_BYTES,
    traffic::Amount,
};

/// Runs a seed and a network of full switches in this process, checks every byte of what they send
/// each other, kills a node and brings it back, kills the seed, and starts all from their books.
#[derive(Parser)]
#[command(name = "local_net")]
struct Args {
    /// How many nodes, beside the seed
    #[arg(long, default_value_t = 8)]
    nodes: usize,
    /// How many messages each node sends to all others
    #[arg(long, default_value_t = 1000)]
    messages: u64,
    /// Bytes of each message
    #[arg(long, default_value_t = 1024)]
    size: usize,
    /// Send for this long instead of a number of messages
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// Logs on stderr: none, error, warn, info, debug or trace
    #[arg(long = "log_level", value_name = "LEVEL", default_value = "none")]
    log_level: String,
}

fn main() -> ExitCode {
    let mut signal = None;
    let code = cli::run(
        Args::command(),
        std::env::args_os(),
        |_| None,
        |args: Args| {
            check(&args)?;
            cli::init_log(("--log_level", &args.log_level), ("", "plain"))?;
            let (show, interrupt) = (Show::new(), Interrupt::new()?);
            show.title(&format!(
                "{} nodes in one process, {} bytes a message",
                args.nodes, args.size
            ));
            let started = Instant::now();
            let result = run(&args, &show, &interrupt);
            signal = interrupt.signal();
            match result {
                Ok(()) => show.end(&format!("All well after {}.", show::elapsed(started))),
                // Its code says the rest.
                Err(why) if signal.is_some() => show.done("end", &why),
                Err(why) => {
                    show.failed(&why);
                    return Err(Failure::Failed(why));
                }
            }
            show.result().map_err(|error| {
                Failure::Failed(format!("cannot write to standard output: {error}"))
            })
        },
    );
    match signal {
        // As shells tell it: ended by this signal.
        Some("SIGINT") => ExitCode::from(130),
        Some("SIGHUP") => ExitCode::from(129),
        Some(_) => ExitCode::from(143),
        None => code,
    }
}

fn check(args: &Args) -> Result<(), Failure> {
    let most = DEFAULT_RECV_MESSAGE_CAPACITY;
    if !(2..=256).contains(&args.nodes) {
        return Err(Failure::Usage(format!(
            "--nodes {}: write a number from 2 to 256",
            args.nodes
        )));
    }
    if !(HEADER_BYTES..=most).contains(&args.size) {
        return Err(Failure::Usage(format!(
            "--size {}: write a number of bytes from {HEADER_BYTES} to {most}",
            args.size
        )));
    }
    Ok(())
}

/// All of it; whatever comes of it, nothing is left.
fn run(args: &Args, show: &Show, interrupt: &Interrupt) -> Result<(), String> {
    let mut network = Network::new(args.nodes, interrupt)?;
    let result = steps(args, show, &mut network);
    let closed = network.close();
    result.and(closed)
}

fn steps(args: &Args, show: &Show, network: &mut Network<'_>) -> Result<(), String> {
    show.step("start", || network.start_all())?;
    show.step("find", || network.find_all())?;

    let amount = match args.seconds {
        Some(seconds) => Amount::For(Duration::from_secs(seconds)),
        None => Amount::Messages(args.messages),
    };
    let sent = traffic::run(network, amount, args.size, show)?;
    show.done("send", &sent);
    let before = network.summary();
    show.step("gossip", || network.gossip())?;

    let victim = args.nodes - 1;
    show.step("kill", || network.kill(victim))?;
    show.step("gossip", || network.gossip())?;
    show.step("restart", || network.restart(victim))?;
    show.step("gossip", || network.gossip())?;
    // Enough to show that the node is whole again.
    let again = Amount::Messages((args.messages / 10).max(1));
    let sent = traffic::run(network, again, args.size, show)?;
    show.done("send", &sent);
    show.step("no seed", || network.kill_seed())?;
    show.step("books", || network.restart_all())?;
    show.step("gossip", || network.gossip())?;
    show.step("stop", || network.stop())?;
    show.table(&before);
    Ok(())
}
