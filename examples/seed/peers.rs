//! The command that shows the book.

use std::time::{Duration, SystemTime};

use clap::ValueEnum;

use crate::{
    book::{self, Row, Standing, Verdict},
    cli::{self, Failure, WIDTH, columns, counted, cut, printable},
    console::millis,
    files, news,
    settings::Settings,
};

/// Digits of an ID that tell it from any other one in practice.
const SHORT_ID: usize = 8;
/// Characters of an address before it is cut: those of IPv6 leave no room for anything else.
const SHORT_ADDR: usize = 27;

/// How the book is shown.
#[derive(Clone, clap::Args)]
pub(crate) struct Options {
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// Whole IDs and addresses, and all that is known
    #[arg(long)]
    wide: bool,
    /// In which order
    #[arg(long, value_name = "BY", value_enum, default_value_t = Order::State)]
    sort: Order,
    /// Only these, separated by commas
    #[arg(long, value_name = "STATES", value_enum, value_delimiter = ',')]
    state: Vec<Standing>,
}

/// What the addresses are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Order {
    /// What is handed out first; of those who was seen last
    State,
    /// Who was seen last first
    Seen,
    Id,
    Addr,
    Moniker,
    Version,
}

/// The book, as a table or one JSON object a line.
pub(crate) fn show(settings: &Settings, options: &Options) -> Result<(), Failure> {
    let config = files::config(settings)?;
    let stored = book::stored(&config)?;
    let nowhere = match (&stored, config.addr_book_database()) {
        (None, Some(file)) => {
            format!("there is no book {} yet; start the seed first", file.display())
        }
        _ => String::new(),
    };
    let (all, _) = stored.unwrap_or_default();
    let is_wanted = |row: &&Row| options.state.is_empty() || options.state.contains(&row.standing);
    let mut rows: Vec<Row> = all.iter().filter(is_wanted).cloned().collect();
    sort(&mut rows, options.sort);
    if options.json {
        // Whoever reads the objects finds none, as in an empty book; a person should see why.
        if !nowhere.is_empty() {
            cli::note(&format!("nobody yet: {nowhere}"));
        }
        let lines = rows.iter().map(|row| format!("{}\n", row.to_json()));
        return cli::print(lines.collect::<String>());
    }
    let mut text = String::new();
    if all.iter().all(Row::is_ban_alone) {
        if !nowhere.is_empty() {
            text += &format!("{nowhere}\n");
        }
        text += "nobody yet: give the seed nodes to begin with (--seeds ID@HOST:PORT), or a\n\
                 book (import-addrbook FILE)\n";
        if config.addr_book_strict {
            text += "in a private network it books nobody without --p2p.addr_book_strict=false\n";
        }
    }
    if all.is_empty() {
        return cli::print(&text);
    }
    if rows.is_empty() {
        text += &format!("nobody is in this state\n\n{}\n", summary(&all));
    } else {
        text += &if options.wide { wide(&rows) } else { narrow(&rows) };
        text += &format!("\n{}\n", summary(&all));
    }
    cli::print(&text)
}

/// The addresses as a table with all that is known, and how many are in which state.
pub(crate) fn table(rows: &[Row]) -> String {
    format!("{}\n{}\n", wide(rows), summary(rows))
}

fn sort(rows: &mut [Row], order: Order) {
    let seen = |row: &Row| std::cmp::Reverse(row.last_seen_ms);
    // They come by ID, and equals stay as they are.
    match order {
        Order::State => rows.sort_by_key(|row| (row.standing, seen(row))),
        Order::Seen => rows.sort_by_key(seen),
        Order::Id => rows.sort_by_key(|row| (row.id.is_none(), row.id.clone())),
        Order::Addr => rows.sort_by_key(|row| row.addr),
        Order::Moniker => rows.sort_by(|one, other| one.moniker.cmp(&other.moniker)),
        Order::Version => rows.sort_by(|one, other| one.version.cmp(&other.version)),
    }
}

fn summary(rows: &[Row]) -> String {
    let (bans, rows): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| row.is_ban_alone());
    let count = |standing| rows.iter().filter(|row| row.standing == standing).count();
    let counts = Standing::ALL.map(|standing| (count(standing), standing));
    // Bans are rare, and so are private nodes in a book.
    let is_rare = |of: Standing| matches!(of, Standing::Private | Standing::Banned);
    let counts = counts.iter().filter(|(count, of)| *count > 0 || !is_rare(*of));
    let counts: Vec<_> = counts.map(|(count, of)| format!("{count} {}", of.word())).collect();
    let bans = match bans.len() {
        0 => String::new(),
        count => format!("\nand {}", counted(count, "other ban")),
    };
    format!("{}: {}{bans}", counted(rows.len(), "address"), counts.join(", "))
}

fn wide(rows: &[Row]) -> String {
    let titles =
        ["ID", "ADDRESS", "STATE", "BUCKET", "FAILED", "SEEN", "MONIKER", "VERSION", "REASON"];
    let line = |row: &Row| {
        [
            id(row).to_owned(),
            addr(row),
            state(row),
            row.bucket.unwrap_or("-").to_owned(),
            row.failures.to_string(),
            seen(row),
            printable(&row.moniker),
            printable(&row.version),
            row.verdict().map_or(String::new(), reason),
        ]
    };
    aligned(titles, rows.iter().map(line))
}

/// The same within the width of a terminal: one line for each address, with what fits.
fn narrow(rows: &[Row]) -> String {
    let line = |row: &Row| {
        let who = match row.verdict() {
            Some(verdict) => reason(verdict),
            None => format!("{} {}", printable(&row.moniker), printable(&row.version)),
        };
        let id = cut(id(row), SHORT_ID, "");
        [id, cut(&addr(row), SHORT_ADDR, "~"), state(row), seen(row), who]
    };
    let titles = ["ID", "ADDRESS", "STATE", "SEEN", "MONIKER, VERSION"];
    let table = aligned(titles, rows.iter().map(line));
    table.lines().map(|line| format!("{}\n", cut(line, WIDTH, "~"))).collect()
}

/// A line for the titles and one for each row, each column as wide as it must be.
fn aligned<const N: usize>(titles: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let lines: Vec<_> = std::iter::once(titles.map(str::to_owned)).chain(rows).collect();
    let width = |column: usize| lines.iter().map(|line| columns(&line[column])).max();
    let widths: [usize; N] = std::array::from_fn(|column| width(column).unwrap_or(0));
    let pad = |line: &[String; N]| {
        let cells = line.iter().zip(widths);
        let cells = cells.map(|(cell, width)| cell.clone() + &" ".repeat(width - columns(cell)));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    lines.iter().map(pad).collect()
}

fn id(row: &Row) -> &str {
    row.id.as_deref().unwrap_or("-")
}

/// That of the node, or those that are banned.
fn addr(row: &Row) -> String {
    let banned = || row.verdict().filter(|_| row.id.is_none())?.target.clone();
    row.addr.map(|addr| addr.to_string()).or_else(banned).unwrap_or_else(|| "-".to_owned())
}

/// What the address is worth, as it is counted, and what goes on with its node.
fn state(row: &Row) -> String {
    let session = row.session.map_or(String::new(), |session| format!(", {session}"));
    row.standing.word().to_owned() + &session
}

fn seen(row: &Row) -> String {
    let now = millis(SystemTime::now());
    row.last_seen_ms.map_or("never".to_owned(), |at| span(now.saturating_sub(at)))
}

/// Until when, why, and what is banned, if it is a ban.
pub(crate) fn reason(verdict: &Verdict) -> String {
    let now = millis(SystemTime::now());
    let until = match verdict.until_ms {
        None => "until lifted".to_owned(),
        Some(until) if until <= now => "until needed".to_owned(),
        Some(until) => format!("{} more", span(until - now)),
    };
    let target = verdict.target.as_ref().map_or(String::new(), |target| format!(" ({target})"));
    format!("{until}: {}{target}", printable(&verdict.reason))
}

fn span(millis: u64) -> String {
    news::shown_in(Duration::from_millis(millis), "d")
}
