//! The log, on standard error: for people, or one JSON object a line.

use std::{
    io::{self, IsTerminal, Write},
    panic,
    sync::OnceLock,
    thread,
    time::Duration,
};

use jiff::Timestamp;
use log::{LevelFilter, Record};
use serde_json::json;

use super::{Failure, lines};

/// How long a thread that panics waits for whoever reads what it has said.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// How lines of the log look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Plain,
    Json,
}

/// That of the log that was started, which what is said beside it has, too.
static FORMAT: OnceLock<Format> = OnceLock::new();

/// Starts the log. `level` is a level, or a list of them per module like Tendermint's
/// (`p2p:debug,*:error`); `format` is `plain` or `json`. Before each is where it is set.
pub(crate) fn init_log(
    (level_at, level): (&str, &str),
    (format_at, format): (&str, &str),
) -> Result<(), Failure> {
    let format = match format {
        "" | "plain" | "text" => Format::Plain,
        "json" => Format::Json,
        other => return Err(Failure::Usage(format!("{format_at} {other:?}: write plain or json"))),
    };
    let mut builder = env_logger::Builder::new();
    for (module, level) in levels(level_at, level)? {
        match module {
            Some(module) => builder.filter_module(&module, level),
            None => builder.filter_level(level),
        };
    }
    // Each record comes in one piece.
    builder.target(env_logger::Target::Pipe(Box::new(Pipe)));
    let has_colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let style = if has_colours { "always" } else { "never" };
    builder.parse_write_style(style);
    if format == Format::Json {
        builder.format(|out, record: &Record<'_>| {
            let level = record.level().as_str().to_lowercase();
            let message = record.args().to_string();
            writeln!(out, "{}", format_json(&level, &module_of(record.target()), &message))
        });
    }
    // The format of the first counts, as its log does.
    builder.try_init().map_err(Failure::failed)?;
    let format = *FORMAT.get_or_init(|| format);
    lines::stderr().set_notice(move |lost| {
        let lost = format!("{lost} lines of the log are lost: nobody has read them in time");
        format.line("warn", &lost)
    });
    // As any other line: whoever does not read must not hold up a thread that panics, either.
    panic::set_hook(Box::new(move |panic| {
        let thread = thread::current();
        let name = thread.name().unwrap_or("without a name");
        lines::stderr().push(&format.line("panic", &format!("thread {name:?} {panic}")));
        // It may be the end.
        lines::stderr().finish(LAST_WORDS);
    }));
    Ok(())
}

/// Why the program ends, as the last line on standard error.
pub(crate) fn last_words(why: &str) {
    let why = why.replace('\n', " ");
    lines::stderr().push(&match FORMAT.get() {
        Some(Format::Json) => Format::Json.line("fatal", &why),
        Some(Format::Plain) | None => format!("error: {why}"),
    });
}

/// The levels of a list: of a module, or of all that are not named.
pub(crate) fn levels(
    place: &str,
    list: &str,
) -> Result<Vec<(Option<String>, LevelFilter)>, Failure> {
    // Tendermint's for what a list does not name.
    let mut levels = vec![(None, LevelFilter::Info)];
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (module, name) = part.rsplit_once(':').unwrap_or(("*", part));
        let level = level(name).ok_or_else(|| {
            Failure::Usage(format!(
                "{place} {part:?}: write none, error, warn, info, debug or trace, or a list like \
                 p2p:debug,*:error"
            ))
        })?;
        match module {
            "*" => levels[0].1 = level,
            module => levels.push((Some(source_of(module)), level)),
        }
    }
    Ok(levels)
}

/// The level of this name: ours, Tendermint's or zerolog's.
fn level(name: &str) -> Option<LevelFilter> {
    match name.trim().to_ascii_lowercase().as_str() {
        // What ends a program is said when it ends, whatever the level.
        "none" | "disabled" | "panic" | "fatal" => Some(LevelFilter::Off),
        "warning" => Some(LevelFilter::Warn),
        name => name.parse().ok(),
    }
}

/// Names of Tendermint's modules, and what they are here. The longest first.
fn modules() -> [(&'static str, &'static str); 3] {
    let program = module_path!().split("::").next().unwrap_or_default();
    [("pex", "tmp2p::pex"), ("p2p", "tmp2p"), ("main", program)]
}

/// Where lines of this module come from.
fn source_of(module: &str) -> String {
    let known = modules().into_iter().find(|(name, _)| *name == module);
    known.map_or(module, |(_, source)| source).to_owned()
}

/// The module that lines come from which are said there.
fn module_of(source: &str) -> String {
    let is_of = |of: &str| {
        source.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    let known = modules().into_iter().find(|(_, of)| is_of(of));
    known.map_or(source, |(name, _)| name).to_owned()
}

impl Format {
    /// A line of the program itself.
    fn line(self, level: &str, message: &str) -> String {
        match self {
            Self::Plain => {
                let program = modules()[2].1;
                format!("[{:.0} {:<5} {program}] {message}", Timestamp::now(), level.to_uppercase())
            }
            Self::Json => format_json(level, "main", message),
        }
    }
}

/// With the names that zerolog gives them, which CometBFT's tools read.
fn format_json(level: &str, module: &str, message: &str) -> String {
    let time = format!("{:.3}", Timestamp::now());
    json!({ "level": level, "time": time, "module": module, "message": message }).to_string()
}

/// Where the logger writes.
struct Pipe;

impl Write for Pipe {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(record);
        lines::stderr().push(text.strip_suffix('\n').unwrap_or(&text));
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
