//! Whole networks in virtual time: thousands of nodes that come and go, are parted and attacked. What comes of
//! it is drawn, by the rules of this crate and by those of Tendermint v0.34 beside them.
//!
//! ```text
//! cargo run --release --example simulate -- all --out docs/simulation
//! ```
#![forbid(unsafe_code)]

mod attacker;
#[path = "../common/cli.rs"]
#[allow(dead_code, unused_imports, reason = "the other programs use the rest")]
mod cli;
mod eclipse;
mod growth;
mod internet;
mod line;
mod partition;
mod plot;
mod poison;
mod reference;
mod siege;
mod silent;
mod soak;
mod studies;
mod workers;
mod world;

use std::{path::PathBuf, process::ExitCode};

use clap::{CommandFactory, Parser, ValueEnum};

use crate::{cli::Failure, studies::Study};

/// Simulates networks of whole nodes and draws what comes of it.
#[derive(Parser)]
#[command(name = "simulate")]
struct Args {
    /// What is simulated
    #[arg(value_enum)]
    what: What,
    /// Where the pictures go; nowhere without it
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// What is left to chance follows from it
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many worlds are simulated side by side
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Nodes of a network, in per cent of what they are otherwise, but ten at least: how an attacker fares
    /// says something from 20 on. Connections of an attacker and addresses of a book stay as many
    #[arg(long, value_name = "PER_CENT", default_value_t = 100)]
    scale: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Everything but the soak: hours, and 12 GiB
    All,
    /// 10,000 nodes that know only seeds, for an hour: some minutes and 7 GiB by our rules, more by the others
    Growth,
    /// Two halves of a network that do not see each other for half an hour
    Partition,
    /// Somebody who owns 1, 5 and 20 % of all addresses
    Eclipse,
    /// A full node whose guests are all an attacker's
    Siege,
    /// Connections that authenticate and say nothing, at a node with free places
    Silent,
    /// A book full of addresses at which nobody is
    Poison,
    /// A seed for 24 hours, with 5000 nodes that come and go
    Soak,
}

fn main() -> ExitCode {
    cli::run(
        Args::command(),
        std::env::args_os(),
        |_| None,
        |args: Args| {
            if args.scale == 0 || args.scale > 100 {
                let scale = args.scale;
                return Err(Failure::Usage(format!(
                    "--scale {scale}: write a number from 1 to 100"
                )));
            }
            if args.threads == 0 {
                return Err(Failure::Usage("--threads 0: write a number from 1".to_owned()));
            }
            if let Some(out) = &args.out {
                let failed = |error| Failure::Failed(format!("--out {}: {error}", out.display()));
                std::fs::create_dir_all(out).map_err(failed)?;
            }
            let study =
                Study { out: args.out, seed: args.seed, threads: args.threads, scale: args.scale };
            let wants = |what| args.what == what || args.what == What::All && what != What::Soak;
            let run = || -> Result<(), Box<dyn std::error::Error>> {
                if wants(What::Growth) {
                    study.growth()?;
                }
                if wants(What::Partition) {
                    study.partition()?;
                }
                if wants(What::Eclipse) {
                    study.eclipse()?;
                }
                if wants(What::Siege) {
                    study.siege()?;
                }
                if wants(What::Silent) {
                    study.silent()?;
                }
                if wants(What::Poison) {
                    study.poison()?;
                }
                if wants(What::Soak) {
                    study.soak()?;
                }
                Ok(())
            };
            run().map_err(|error| Failure::Failed(error.to_string()))
        },
    )
}
