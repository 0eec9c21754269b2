//! Command line manners: one clear line on stderr when something is wrong, exit codes, and output that
//! may find nobody who reads it.

mod failure;
mod folder;
mod lines;
mod logging;
mod text;

use std::{
    error::Error,
    ffi::OsString,
    fmt::Display,
    io::{self, Write},
    num::{IntErrorKind, ParseIntError},
    path::Path,
    process::ExitCode,
    thread::{Builder, JoinHandle},
    time::Duration,
};

use clap::{
    Command, FromArgMatches,
    error::{ContextKind, ContextValue, ErrorKind},
};
use tmp2p::NodeKey;

pub(crate) use self::{
    failure::Failure,
    folder::{cannot_make, dangling, make as make_folder},
    lines::{Lines, stdout},
    logging::{init_log, levels, note},
    text::{columns, counted, cut, filled, printable},
};

/// Columns of a terminal that nobody has made wider.
pub(crate) const WIDTH: usize = 80;

/// How long a program that ends waits for whoever reads what it has said.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Parses the command line, the name of the program first, and runs; the exit code. `instead`: what to
/// write in place of an argument that clap does not know, if somebody else does.
pub(crate) fn run<A: FromArgMatches>(
    command: Command,
    args: impl IntoIterator<Item = OsString>,
    instead: impl Fn(&str) -> Option<String>,
    main: impl FnOnce(A) -> Result<(), Failure>,
) -> ExitCode {
    // A number below 0 is a wrong value, not a flag that nobody knows.
    let command = command.max_term_width(WIDTH).allow_negative_numbers(true);
    let parsed = command.try_get_matches_from(args);
    let result = match parsed.and_then(|matches| A::from_arg_matches(&matches)) {
        Ok(args) => main(args),
        Err(error) => not_parsed(&error, instead),
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
fn not_parsed(
    error: &clap::Error,
    instead: impl Fn(&str) -> Option<String>,
) -> Result<(), Failure> {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    };
    let why = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            return error.print().map_err(unwritten);
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "a command is missing".to_owned(),
        ErrorKind::UnknownArgument => {
            let (arg, similar) =
                (context(ContextKind::InvalidArg), context(ContextKind::SuggestedArg));
            let instead = instead(&arg).or_else(|| is_meant(&arg, &similar).then_some(similar));
            let instead = instead.map_or(String::new(), |arg| format!("write {arg} or "));
            return Err(Failure::Usage(format!(
                "unexpected argument {arg:?}; {instead}see --help"
            )));
        }
        ErrorKind::ValueValidation => match error.source().and_then(|e| e.downcast_ref()) {
            Some(why) => {
                let (arg, value) =
                    (context(ContextKind::InvalidArg), context(ContextKind::InvalidValue));
                format!("{arg}: {value:?} is {}", unfit(why))
            }
            None => one_line(&error.to_string()),
        },
        _ => one_line(&error.to_string()),
    };
    Err(Failure::Usage(format!("{why}; see --help")))
}

/// clap suggests what has some letters in common, in any order.
fn is_meant(written: &str, similar: &str) -> bool {
    let first = |arg: &str| arg.trim_start_matches('-').chars().next();
    !similar.is_empty() && first(written) == first(similar)
}

fn unfit(why: &ParseIntError) -> &'static str {
    match why.kind() {
        IntErrorKind::PosOverflow => "too large a number",
        _ => "no whole number, 0 or more",
    }
}

/// clap explains at length; what matters comes before the usage.
fn one_line(text: &str) -> String {
    let text = text.strip_prefix("error: ").unwrap_or(text);
    let lines = text.lines().take_while(|line| !line.starts_with("Usage:"));
    let words: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
    let line = words.join(" ");
    let line = line.strip_suffix("For more information, try '--help'.").unwrap_or(&line);
    line.trim_end().to_owned()
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
    let folder = file.parent().map_or(Ok(()), make_folder);
    folder.and(dangling(file).map_or(Ok(()), Err)).map_err(Failure::Usage)?;
    NodeKey::load_or_generate(file).map_err(Failure::usage)
}
