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

use super::{Failure, counted, lines};

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
    let levels = levels(level_at, level)?;
    let unknown = unknown_modules(&levels);
    for (module, level) in levels {
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
    builder.format(move |out, record: &Record<'_>| {
        let style = out.default_level_style(record.level());
        let style = (style.render().to_string(), style.render_reset().to_string());
        let (module, message) = (module_of(record.target()), record.args().to_string());
        let line =
            format.styled_line((&style.0, &style.1), record.level().as_str(), &module, &message);
        writeln!(out, "{line}")
    });
    // The format of the first counts, as its log does.
    builder.try_init().map_err(Failure::failed)?;
    let format = *FORMAT.get_or_init(|| format);
    lines::stderr().set_notice(move |lost| {
        let lost = format!("{} of the log lost: nobody has read in time", counted(lost, "line"));
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
    if !unknown.is_empty() {
        let names = modules().map(|(name, _)| name).join(", ");
        log::warn!("{level_at}: lines of the log are of {names}; ignored: {}", unknown.join(", "));
    }
    Ok(())
}

/// Why the program ends, as the last line on standard error.
pub(crate) fn last_words(why: &str) {
    tell("error", "fatal", why);
}

/// What whoever has run a command should know beside what it prints.
pub(crate) fn note(what: &str) {
    tell("note", "info", what);
}

/// A line on standard error, whatever the level of the log.
fn tell(kind: &str, level: &str, what: &str) {
    lines::stderr().push(&match FORMAT.get() {
        Some(Format::Json) => Format::Json.line(level, what),
        Some(Format::Plain) | None => format!("{kind}: {}", one_line(what)),
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

/// Names of Tendermint's modules, and the targets of lines here.
fn modules() -> [(&'static str, &'static str); 3] {
    let program = module_path!().split("::").next().unwrap_or_default();
    [("pex", "pex"), ("p2p", "p2p"), ("main", program)]
}

/// Where lines of this module come from.
fn source_of(module: &str) -> String {
    let known = modules().into_iter().find(|(name, _)| *name == module);
    known.map_or(module, |(_, source)| source).to_owned()
}

/// The module that lines come from which are said there.
fn module_of(source: &str) -> String {
    let known = modules().into_iter().find(|(_, of)| is_of(source, of));
    known.map_or(source, |(name, _)| name).to_owned()
}

/// The modules of a list that no line can come from.
pub(crate) fn unknown_modules(levels: &[(Option<String>, LevelFilter)]) -> Vec<String> {
    let is_known = |source: &str| modules().iter().any(|(_, of)| is_of(source, of));
    let named = levels.iter().filter_map(|(module, _)| module.clone());
    named.filter(|source| !is_known(source)).collect()
}

/// Whether this source of lines is that one, or in it.
fn is_of(source: &str, of: &str) -> bool {
    source.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

impl Format {
    /// A line of the program itself.
    fn line(self, level: &str, message: &str) -> String {
        self.styled_line(("", ""), level, "main", message)
    }

    /// A record, on one line whatever is in it. `style` begins and ends what is coloured.
    fn styled_line(self, style: (&str, &str), level: &str, module: &str, message: &str) -> String {
        match self {
            Self::Plain => format!(
                "[{:.0} {}{:<5}{} {module}] {}",
                Timestamp::now(),
                style.0,
                level.to_uppercase(),
                style.1,
                one_line(message)
            ),
            Self::Json => format_json(&level.to_lowercase(), module, message),
        }
    }
}

/// What has several lines has one in a log, where each is a record.
fn one_line(text: &str) -> String {
    text.lines().collect::<Vec<_>>().join(" ")
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
