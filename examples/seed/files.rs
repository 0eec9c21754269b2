//! The commands that write the book to a file and take one in, and that change the book of a seed
//! which is not running.

use std::{
    fs::{self, OpenOptions},
    io::{self, ErrorKind, Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use tmp2p::{AddError, BanTarget, BookStore, Config, MAX_ADDRBOOK_SIZE, Switch};

use crate::{
    Args, book,
    cli::{self, Failure, counted},
    home::{cannot_write, input, usual_permissions},
    peers,
    settings::Settings,
};

/// How long the book gets to be written.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the book is written to.
#[derive(Clone, clap::Args)]
pub(crate) struct Export {
    /// Where to; - is standard output
    file: PathBuf,
    /// Replace the file if it exists, at one blow
    #[arg(long)]
    force: bool,
}

/// The configuration with the place of the book, for a command: whoever runs it should know what is
/// not in the book yet.
pub(crate) fn config(settings: &Settings) -> Result<Config, Failure> {
    let mut config = settings.p2p()?.config;
    book::place(&mut config, &settings.home)?;
    if let Some(what) = book::waiting(&config) {
        cli::note(&what);
    }
    Ok(config)
}

/// Writes the book as `addrbook.json`, also while the seed is running.
pub(crate) fn export(args: &Args, settings: &Settings, to: &Export) -> Result<(), Failure> {
    let config = config(settings)?;
    if let Some(what) = own_file(&to.file, settings, &config) {
        let file = to.file.display();
        return Err(Failure::Usage(format!("{file} is {what}; name another file")));
    }
    let store = book::Snapshot::open(&config)?;
    // Whatever the book has: a strict one has no private addresses.
    let config = Config { addr_book_strict: false, ..config };
    let switch = start(args, settings, config, store)?;
    let text = switch.handle().export_addrbook().map_err(Failure::failed)?;
    stop(switch)?;

    let file = &*to.file;
    if file == Path::new("-") || file == Path::new("/dev/stdout") {
        return cli::print(&text);
    }
    write(file, &text, to.force).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => Failure::Usage(format!(
            "cannot write {}: it exists and is kept; name another file, or replace it with --force",
            file.display()
        )),
        ErrorKind::NotFound => {
            Failure::Usage(format!("{}; make the folder first", cannot_write(file, &error)))
        }
        _ => cannot_write(file, &error),
    })?;
    cli::print(format!("wrote {}\n", file.display()))
}

/// What this file is to the node, if it must not be replaced by an export: not even with `--force`, under
/// any of its names.
fn own_file(file: &Path, settings: &Settings, config: &Config) -> Option<&'static str> {
    let one_name = |file: &Path| {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new(".")).canonicalize();
        file.canonicalize().ok().or_else(|| Some(folder.ok()?.join(file.file_name()?)))
    };
    let file = one_name(file)?;
    let is_it = |own: &Path| one_name(own).is_some_and(|own| own == file);
    // Its other files are beside what the name of the book leads to.
    let book = config.addr_book_database().and_then(|book| one_name(&book));
    if book.is_some_and(|book| book::files(&book).iter().any(|own| is_it(own))) {
        return Some("the address book itself");
    }
    if is_it(&settings.home.file(&settings.node_key_file)) {
        return Some("the node's key");
    }
    is_it(&settings.config_file).then_some("the configuration")
}

/// Adds addresses to the book of a seed that is not running.
pub(crate) fn import(args: &Args, settings: &Settings, file: &Path) -> Result<(), Failure> {
    let bad = |why: &dyn std::fmt::Display| {
        Failure::Usage(format!("cannot take {}: {why}", file.display()))
    };
    let text = read(file).map_err(|error| bad(&error))?;
    let config = config(settings)?;
    let store = book::open(&config)?;
    let switch = start(args, settings, config, store)?;
    let report = switch.handle().import_addrbook(&text);
    let stored = stop(switch);
    let report = report.map_err(|why| bad(&why))?;
    stored?;

    let mut said = format!("added {}\n", counted(report.added, "address"));
    if report.known > 0 {
        said += &format!("known {}\n", report.known);
    }
    for (reason, count) in &report.refused {
        let remedy = match reason {
            AddError::NotRoutable => "; --p2p.addr_book_strict=false takes such",
            _ => "",
        };
        said += &format!("refused {count}: {reason}{remedy}\n");
    }
    if report.crowded_out > 0 {
        said += &format!("dropped {}: their buckets are full\n", report.crowded_out);
    }
    cli::print(&said)?;
    match report.added + report.known {
        0 if report.num_refused() > 0 => {
            Err(Failure::Failed(format!("nothing of {} was taken", file.display())))
        }
        _ => Ok(()),
    }
}

/// The nodes of which this is the beginning of the ID are bad no more. The seed must not be running.
pub(crate) fn unmark_bad(args: &Args, settings: &Settings, id: &str) -> Result<(), Failure> {
    let config = config(settings)?;
    // Nothing can be lifted in a book that there is not, and none is to be made.
    let (rows, _) = book::stored(&config)?.unwrap_or_default();
    let bad = rows.iter().filter(|row| row.bad.is_some());
    let id = id.to_lowercase();
    let begins = |own: &&String| !id.is_empty() && own.starts_with(&id);
    let found = bad.filter_map(|row| Some((row, row.id.as_ref().filter(begins)?)));
    let found: Vec<_> = found.collect();
    let [(row, id)] = found[..] else {
        let why = match found.len() {
            0 => "no bad address has an ID that begins so".to_owned(),
            count => format!("{count} bad addresses have IDs that begin so; write more of it"),
        };
        return Err(Failure::Usage(format!("{id:?}: {why}; see peers --state bad --wide")));
    };
    let store = book::open(&config)?;
    // Whatever the book has stays there: a strict one has no private addresses.
    let config = Config { addr_book_strict: false, ..config };
    let switch = start(args, settings, config, store)?;
    let id = id.parse().map_err(Failure::failed)?;
    let lifted = switch.handle().reinstate(id);
    stop(switch)?;
    if !lifted.map_err(Failure::failed)? {
        return Err(Failure::Failed(format!("{id} is not bad")));
    }
    let mut said = format!("{id} is bad no more\n");
    for ban in &row.bans {
        let target = ban.target.as_deref().unwrap_or_default();
        said += &format!("but banned, {}; lift it with unban {target}\n", peers::reason(ban));
    }
    cli::print(said)
}

/// The ban of exactly this node, IP address or range is no more. The seed must not be running.
pub(crate) fn unban(args: &Args, settings: &Settings, target: &str) -> Result<(), Failure> {
    let config = config(settings)?;
    let target: BanTarget = target.parse().map_err(Failure::usage)?;
    // As above.
    let (_, bans) = book::stored(&config)?.unwrap_or_default();
    if !bans.contains_key(&target) {
        let why = "no ban is of exactly this; see peers --state banned --wide";
        return Err(Failure::Usage(format!("{target}: {why}")));
    }
    let store = book::open(&config)?;
    let config = Config { addr_book_strict: false, ..config };
    let switch = start(args, settings, config, store)?;
    let lifted = switch.handle().unban(target);
    stop(switch)?;
    lifted.map_err(Failure::failed)?;
    cli::print(format!("{target} is banned no more\n"))
}

/// A switch that has this book and talks to nobody. An `addrbook.json` beside it is the running
/// seed's to take in.
fn start(
    args: &Args,
    settings: &Settings,
    config: Config,
    store: impl BookStore + 'static,
) -> Result<Switch, Failure> {
    let config = Config {
        laddr: None,
        pex: false,
        seed_mode: false,
        seeds: Vec::new(),
        persistent_peers: Vec::new(),
        addr_book_file: None,
        ..config
    };
    let info = settings.node_info(args, "no-chain")?;
    let key = settings.home.key(&settings.node_key_file)?;
    let mut builder = Switch::builder(config, key, info);
    builder.book_store(store);
    builder.start().map_err(Failure::usage)
}

/// Ends it. An error if what it has changed in the book is not stored.
fn stop(switch: Switch) -> Result<(), Failure> {
    let report = switch.stop(STOP_TIMEOUT).map_err(Failure::failed)?;
    match report.unstored {
        None => Ok(()),
        Some(why) => Err(Failure::Failed(format!("what was to be changed is not stored: {why}"))),
    }
}

/// What is in the file, or comes in at standard input; no more than a book can have, and one byte.
fn read(file: &Path) -> io::Result<Vec<u8>> {
    if file != Path::new("-") {
        return input::read(file, MAX_ADDRBOOK_SIZE as u64, input::PATIENCE);
    }
    let mut text = Vec::new();
    io::stdin().take(MAX_ADDRBOOK_SIZE as u64 + 1).read_to_end(&mut text)?;
    Ok(text)
}

/// Writes the whole file or none, unless it is a pipe or a device: then there is nothing to keep.
fn write(file: &Path, text: &[u8], replaces: bool) -> io::Result<()> {
    // Where it is in truth, so that a link stays one.
    let (file, permissions) = match fs::metadata(file) {
        Ok(found) if found.is_dir() => return Err(ErrorKind::IsADirectory.into()),
        Ok(found) if !found.is_file() => {
            return OpenOptions::new().write(true).open(file)?.write_all(text);
        }
        Ok(found) => (file.canonicalize()?, found.permissions()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            (file.to_owned(), usual_permissions()?)
        }
        Err(error) => return Err(error),
    };
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut new = tempfile::Builder::new()
        .prefix(".addrbook-")
        .permissions(permissions)
        .tempfile_in(folder.unwrap_or(Path::new(".")))?;
    new.write_all(text)?;
    new.as_file().sync_all()?;
    match replaces {
        true => new.persist(file)?,
        // An error if there is one, also if somebody has made it a moment ago.
        false => new.persist_noclobber(file)?,
    };
    Ok(())
}
