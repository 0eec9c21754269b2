//! The address book: taking in what peers tell, choosing whom to dial and what to pass on, and
//! getting a full book from its store and into a file.

mod common;

use std::{hint::black_box, process::ExitCode, time::Duration, time::Instant};

use common::{Args, Goal, Line, Reporter, Summary};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tmp2p::{
    BookKey, BookStore, MemoryStore, NetAddress, NodeId,
    addrbook::{Book, BookLimits, BookSettings, NodeFacts, json},
};

/// As many addresses as 256 + 64 buckets of 64 hold.
const OFFERED: usize = (256 + 64) * 64;

/// Nodes that tell of them.
const SOURCES: usize = 500;

const WALL: Duration = Duration::from_secs(1_700_000_000);

fn main() -> ExitCode {
    let args = Args::parse("addrbook");
    let names = ["add", "pick", "selection", "load", "export"];
    let wanted = args.select(&names);
    if wanted.is_empty() {
        args.nothing_matches("addrbook", &names);
    }
    let mut reporter = Reporter::new(&args);
    let offered = offered();
    let book = filled(&offered);
    let (picks, selections) = (args.pick(2_000_000, 1000), args.pick(20_000, 10));
    for name in names.into_iter().filter(|name| wanted.contains(name)) {
        let runs = (0..args.runs()).map(|_| match name {
            "add" => add(&offered),
            "pick" => pick(&book, picks),
            "selection" => selection(&book, selections),
            "load" => load(&book),
            _ => export(&book),
        });
        let value = Summary::of(runs);
        let (unit, goal) = match name {
            "add" => ("addresses/s", Goal::at_least("value", 1e6, value.median)),
            "pick" => ("picks/s", Goal::at_least("value", 5e6, value.median)),
            "selection" => ("selections/s", Goal::at_least("value", 5e4, value.median)),
            "load" => ("ms", Goal::at_most("value", 100.0, value.median)),
            _ => ("ms", Goal::at_most("value", 200.0, value.median)),
        };
        let line = Line::new(name, value, unit).goal(goal);
        reporter.line(&line.also("addresses", book.len() as f64));
    }
    reporter.finish()
}

/// Addresses a second into an empty book.
fn add(offered: &[(NetAddress, NetAddress)]) -> f64 {
    let (mut book, mut rng) = (empty(), rng());
    let start = Instant::now();
    for (addr, src) in offered {
        let added = book.add(*addr, *src, WALL, &mut rng);
        let _ = black_box(added);
    }
    per_second(offered.len(), start)
}

fn pick(book: &Book, count: usize) -> f64 {
    let mut rng = rng();
    let start = Instant::now();
    for n in 0..count {
        let picked = book.pick((n % 101) as u8, WALL, &mut rng);
        assert!(black_box(picked).is_some() || n % 101 == 0 || n % 101 == 100);
    }
    per_second(count, start)
}

/// Selections of 250.
fn selection(book: &Book, count: usize) -> f64 {
    let mut rng = rng();
    let start = Instant::now();
    for _ in 0..count {
        assert_eq!(black_box(book.selection(WALL, &mut rng)).len(), 250);
    }
    per_second(count, start)
}

/// Milliseconds from a store in memory to a book that can be asked.
fn load(book: &Book) -> f64 {
    let mut store = MemoryStore::new();
    let mut rng = rng();
    let mut source = book.clone();
    // A copy of a book has the same changes to store as the book.
    let batch = source.take_batch().expect("a book that was just filled has changes");
    store.write(&batch).expect("memory can be written");
    let start = Instant::now();
    let stored = store.load().expect("memory can be read");
    let loaded = Book::load(settings(), key(), stored, WALL, &mut rng);
    let millis = start.elapsed().as_secs_f64() * 1e3;
    assert_eq!(loaded.len(), book.len());
    millis
}

/// Milliseconds to an `addrbook.json` in memory.
fn export(book: &Book) -> f64 {
    let start = Instant::now();
    let file = black_box(json::write(book, WALL));
    let millis = start.elapsed().as_secs_f64() * 1e3;
    assert!(file.len() > 100 * book.len());
    millis
}

/// A fifth of them good.
fn filled(offered: &[(NetAddress, NetAddress)]) -> Book {
    let (mut book, mut rng) = (empty(), rng());
    let facts = NodeFacts::default();
    for (n, (addr, src)) in offered.iter().enumerate() {
        book.add(*addr, *src, WALL, &mut rng).expect("every address is fit");
        if n % 5 == 0 {
            book.authenticated(addr, &facts, WALL);
            book.mark_good(&addr.id(), WALL, &mut rng);
        }
    }
    book
}

fn offered() -> Vec<(NetAddress, NetAddress)> {
    let mut rng = rng();
    let mut node = || {
        let ip: [u8; 4] = [rng.random_range(11..100), rng.random(), rng.random(), rng.random()];
        NetAddress::new(NodeId::from_bytes(rng.random()), ip.into(), 26656)
    };
    let sources: Vec<_> = (0..SOURCES).map(|_| node()).collect();
    (0..OFFERED).map(|n| (node(), sources[n % SOURCES])).collect()
}

fn empty() -> Book {
    Book::new(settings(), key())
}

fn settings() -> BookSettings {
    let own = NodeId::from_bytes([0; 20]);
    BookSettings { own, is_strict: true, limits: BookLimits::default() }
}

fn key() -> BookKey {
    BookKey::random(&mut rng())
}

fn rng() -> StdRng {
    StdRng::seed_from_u64(1)
}

fn per_second(count: usize, start: Instant) -> f64 {
    count as f64 / start.elapsed().as_secs_f64()
}
