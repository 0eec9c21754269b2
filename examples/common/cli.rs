//! Command line manners: one clear line on stderr when something is wrong, exit codes, and output that
//! may find nobody who reads it.

mod failure;
mod lines;
mod logging;

use std::{
    ffi::OsString,
    fmt::Display,
    fs,
    io::{self, Write},
    path::Path,
    process::ExitCode,
    thread::{Builder, JoinHandle},
    time::Duration,
};

use clap::Parser;
use tmp2p::NodeKey;

pub(crate) use self::{
    failure::Failure,
    lines::{Lines, stdout},
    logging::{init_log, levels},
};

/// How long a program that ends waits for whoever reads what it has said.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Parses the command line, the name of the program first, and runs; the exit code.
pub(crate) fn run<A: Parser>(
    args: impl IntoIterator<Item = OsString>,
    main: impl FnOnce(A) -> Result<(), Failure>,
) -> ExitCode {
    let result = match A::try_parse_from(args) {
        Ok(args) => main(args),
        Err(error) => not_parsed(&error),
    };
    lines::finish_stdout(LAST_WORDS);
    let (code, why) = match result.and_then(|()| check_stdout()) {
        Ok(()) => (0, None),
        Err(Failure::Usage(why)) => (2, Some(why)),
        Err(Failure::Failed(why)) => (1, Some(why)),
    };
    if let Some(why) = why {
        logging::last_words(&why);
    }
    lines::finish_stderr(LAST_WORDS);
    ExitCode::from(code)
}

/// What was asked for is no run of the program, or nobody knows what it is.
fn not_parsed(error: &clap::Error) -> Result<(), Failure> {
    use clap::error::ErrorKind;
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => error.print().map_err(unwritten),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            Err(Failure::usage("a command is missing; see --help"))
        }
        _ => Err(Failure::Usage(one_line(&error.to_string()))),
    }
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

/// What a command was asked for, on stdout. Waits for who reads it, as a command does.
pub(crate) fn print(text: impl AsRef<[u8]>) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_ref()).and_then(|()| stdout.flush()).map_err(unwritten)
}

fn unwritten(error: impl Display) -> Failure {
    Failure::Failed(format!("cannot write to standard output: {error}"))
}

/// An error once a line could not be written to standard output: whoever was to read it has gone away,
/// or there is no room. A program that says there what happens has nothing to do without it. Who is
/// there and does not read is no error.
pub(crate) fn check_stdout() -> Result<(), Failure> {
    lines::stdout_failure().map_or(Ok(()), |why| Err(unwritten(why)))
}

/// Starts a thread that has a name, for whoever looks at the process.
pub(crate) fn spawn<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, Failure> {
    let started = Builder::new().name(name.to_owned()).spawn(run);
    started.map_err(|error| Failure::Failed(format!("cannot start the thread {name}: {error}")))
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
