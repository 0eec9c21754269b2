//! The commands that look at the book and move it.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tmp2p::{Config, Switch, SwitchBuilder};

use crate::{
    Args,
    book::{self, Row},
    cli::{self, Failure},
    settings::Settings,
};

/// Largest book read, bytes: the 16,384 places of new addresses and 4096 of old ones take 10 MB.
const MAX_BOOK: u64 = 100_000_000;

/// How long the book gets to be written.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// The book, as a table or one JSON object a line.
pub(crate) fn show(settings: &Settings, json: bool) -> Result<(), Failure> {
    let rows = book::stored_rows(&config(settings)?)?;
    let text = if json {
        rows.iter().map(|row| format!("{}\n", row.to_json())).collect()
    } else {
        table(&rows)
    };
    cli::print(&text)
}

/// The addresses as a table.
pub(crate) fn table(rows: &[Row]) -> String {
    let titles = ["ID", "ADDRESS", "STATE", "BUCKET", "MONIKER", "VERSION", "LAST SEEN"];
    let titles = titles.map(str::to_owned);
    let lines = rows.iter().map(|row| {
        let seen = row.last_seen_ms.map_or("never".to_owned(), ago);
        let bucket = row.bucket.unwrap_or("-");
        [&row.id, &row.addr, row.state, bucket, &row.moniker, &row.version, &seen]
            .map(str::to_owned)
    });
    let lines: Vec<[String; 7]> = std::iter::once(titles).chain(lines).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or(0);
    let widths: [usize; 7] = std::array::from_fn(width);
    let pad = |line: &[String; 7]| {
        let cells = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    lines.iter().map(pad).collect()
}

/// Writes the book as `addrbook.json`, also while the seed is running.
pub(crate) fn export(args: &Args, settings: &Settings, file: &Path) -> Result<(), Failure> {
    let config = config(settings)?;
    let store = book::Snapshot::open(&config)?;
    // Whatever the book has: a strict one has no private addresses.
    let mut builder = prepare(args, settings, Config { addr_book_strict: false, ..config })?;
    builder.book_store(store);
    let switch = builder.start().map_err(Failure::usage)?;
    let text = switch.handle().export_addrbook().map_err(Failure::failed)?;
    switch.stop(STOP_TIMEOUT).map_err(Failure::failed)?;

    let failed = |error: std::io::Error| {
        let why = match error.kind() {
            ErrorKind::AlreadyExists => "it exists and is kept; name another file".to_owned(),
            _ => error.to_string(),
        };
        Failure::Usage(format!("cannot write {}: {why}", file.display()))
    };
    let mut out = File::create_new(file).map_err(failed)?;
    out.write_all(&text).map_err(failed)?;
    cli::print(&format!("wrote {}\n", file.display()))
}

/// Adds addresses to the book of a seed that is not running.
pub(crate) fn import(args: &Args, settings: &Settings, file: &Path) -> Result<(), Failure> {
    let bad = |why: &dyn std::fmt::Display| {
        Failure::Usage(format!("cannot take {}: {why}", file.display()))
    };
    let size = fs::metadata(file).map_err(|error| bad(&error))?.len();
    if size > MAX_BOOK {
        return Err(bad(&"it is larger than any address book"));
    }
    let text = fs::read(file).map_err(|error| bad(&error))?;
    let builder = prepare(args, settings, config(settings)?)?;
    let switch = builder.start().map_err(Failure::usage)?;
    let added = switch.handle().import_addrbook(&text).map_err(|why| bad(&why));
    switch.stop(STOP_TIMEOUT).map_err(Failure::failed)?;
    cli::print(&format!("added {} addresses\n", added?))
}

/// A switch that has the book and talks to nobody.
fn prepare(args: &Args, settings: &Settings, config: Config) -> Result<SwitchBuilder, Failure> {
    let config = Config {
        laddr: None,
        pex: false,
        seed_mode: false,
        seeds: Vec::new(),
        persistent_peers: Vec::new(),
        ..config
    };
    let info = settings.node_info(args, "no-chain")?;
    let key = settings.home.key(&settings.node_key_file)?;
    Ok(Switch::builder(config, key, info))
}

/// The configuration with the place of the book.
fn config(settings: &Settings) -> Result<Config, Failure> {
    let mut config = settings.p2p()?;
    book::place(&mut config, &settings.home)?;
    Ok(config)
}

fn ago(at_ms: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    match now.saturating_sub(at_ms) / 1000 {
        seconds @ 0..=119 => format!("{seconds} s ago"),
        seconds @ 120..=7199 => format!("{} min ago", seconds / 60),
        seconds @ 7200..=172_799 => format!("{} h ago", seconds / 3600),
        seconds => format!("{} days ago", seconds / 86_400),
    }
}
