//! Command line manners: one clear line on stderr when something is wrong, and exit codes.

use std::{ffi::OsString, fmt, fs, io::Write, path::Path, process::ExitCode};

use clap::{Parser, error::ErrorKind};
use tmp2p::NodeKey;

/// Why a program ends early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Bad usage or configuration: code 2.
    Usage(String),
    /// It did not work out: code 1.
    Failed(String),
}

impl Failure {
    pub(crate) fn usage(error: impl fmt::Display) -> Self {
        Self::Usage(error.to_string())
    }

    pub(crate) fn failed(error: impl fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Usage(why) | Self::Failed(why)) = self;
        f.write_str(why)
    }
}

/// Parses the command line, the name of the program first, and runs; the exit code.
pub(crate) fn run<A: Parser>(
    args: impl IntoIterator<Item = OsString>,
    main: impl FnOnce(A) -> Result<(), Failure>,
) -> ExitCode {
    let result = match A::try_parse_from(args) {
        Ok(args) => main(args),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                // A reader that has gone away wants no help.
                let _ = error.print();
                return ExitCode::SUCCESS;
            }
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                Err(Failure::usage("a command is missing; see --help"))
            }
            _ => Err(Failure::Usage(one_line(&error.to_string()))),
        },
    };
    let (code, why) = match result {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Usage(why)) => (2, why),
        Err(Failure::Failed(why)) => (1, why),
    };
    let _ = writeln!(std::io::stderr(), "error: {}", why.replace('\n', " "));
    ExitCode::from(code)
}

/// clap explains at length; what matters comes before the usage.
fn one_line(text: &str) -> String {
    let text = text.strip_prefix("error: ").unwrap_or(text);
    let lines = text.lines().take_while(|line| !line.starts_with("Usage:"));
    let words: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
    let line = words.join(" ");
    match line.strip_suffix("For more information, try '--help'.") {
        Some(line) => format!("{}; see --help", line.trim_end()),
        None => format!("{line}; see --help"),
    }
}

/// Logs to stderr. `level` is one word, or a list like Tendermint's (`p2p:debug,*:error`).
pub(crate) fn init_log(level: &str) -> Result<(), Failure> {
    let mut builder = env_logger::Builder::new();
    builder.target(env_logger::Target::Stderr);
    for part in level.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (module, level) = part.split_once(':').unwrap_or(("*", part));
        let filter = match level {
            "none" | "off" => log::LevelFilter::Off,
            level => level.parse().map_err(|_| {
                Failure::Usage(format!(
                    "log_level {part:?}: write none, error, warn, info, debug or trace, or a list \
                     like p2p:debug,*:error"
                ))
            })?,
        };
        match module {
            "*" => builder.filter_level(filter),
            "p2p" => builder.filter_module("tmp2p", filter),
            module => builder.filter_module(module, filter),
        };
    }
    builder.try_init().map_err(Failure::failed)
}

/// The node's key, in this file; a new one the first time.
pub(crate) fn node_key(file: &Path) -> Result<NodeKey, Failure> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).map_err(|error| {
            Failure::Usage(format!("cannot make {}: {error}", folder.display()))
        })?;
    }
    NodeKey::load_or_generate(file).map_err(Failure::usage)
}
