//! The address book: taking in what peers tell, choosing whom to dial and what to pass on, and
//! getting a full book from its store and into a file. Beside the books of the Go releases, if
//! their programs are at hand.

#[path = "../common/mod.rs"]
mod common;
mod go;

use std::{
    fs,
    hint::black_box,
    io::Write,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant, SystemTime},
};

use common::{Args, Goal, Line, Outcome, Reporter, Summary};
use go::Go;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tmp2p::{
    BookKey, NetAddress, NodeId,
    internals::addrbook::{Book, BookLimits, BookSettings, NodeFacts, json},
};

/// As many addresses as 256 + 64 buckets of 64 hold.
const OFFERED: usize = (256 + 64) * 64;

/// Nodes that tell of them.
const SOURCES: usize = 500;

/// Some day in 2023.
fn wall() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

/// What is measured, and how.
struct Case {
    name: &'static str,
    /// How often at a time, in a full run.
    count: usize,
    /// So many times as often as Go.
    ratio: Option<f64>,
    run: fn(&Bench, usize) -> Outcome<f64>,
    goal: fn(f64) -> Goal,
}

/// What all cases work on.
struct Bench {
    offered: Vec<(NetAddress, NetAddress)>,
    full: Book,
    folder: tempfile::TempDir,
}

const CASES: &[Case] = &[
    Case {
        name: "add",
        count: 10,
        ratio: Some(3.0),
        run: Bench::add,
        goal: |value| Goal::at_least("value", 1e6, value),
    },
    Case {
        name: "pick",
        count: 2_000_000,
        ratio: Some(2.0),
        run: Bench::pick,
        goal: |value| Goal::at_least("value", 5e6, value),
    },
    Case {
        name: "selection",
        count: 2000,
        ratio: Some(3.0),
        run: Bench::selection,
        goal: |value| Goal::at_least("value", 5e4, value),
    },
    #[cfg(feature = "sqlite")]
    Case {
        name: "load",
        count: 1,
        ratio: None,
        run: Bench::load,
        goal: |value| Goal::at_least("value", 10.0, value),
    },
    Case {
        name: "export",
        count: 5,
        ratio: Some(3.0),
        run: Bench::export,
        goal: |value| Goal::at_least("value", 5.0, value),
    },
];

fn main() -> ExitCode {
    let args = Args::parse("addrbook");
    let names: Vec<_> = CASES.iter().map(|case| case.name).collect();
    let wanted = args.select(&names);
    if wanted.is_empty() {
        args.nothing_matches("addrbook", &names);
    }
    let mut reporter = Reporter::new(&args);
    let bench = match Bench::new() {
        Ok(bench) => bench,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let go = Go::all();
    for case in CASES.iter().filter(|case| wanted.contains(&case.name)) {
        reporter.outcome(case.name, bench.line(case, &go, &args));
    }
    reporter.finish()
}

impl Bench {
    fn new() -> Outcome<Self> {
        let offered = offered();
        let full = filled(&offered);
        Ok(Self { offered, full, folder: tempfile::tempdir()? })
    }

    /// Ours and the releases take turns.
    fn line(&self, case: &Case, go: &[Go], args: &Args) -> Outcome<Line> {
        let count = args.pick(case.count, 1);
        // Before the first run memory is new and the processor's caches are cold.
        (case.run)(self, count)?;
        let mut ours = Vec::new();
        let mut theirs: Vec<Vec<(f64, String)>> = go.iter().map(|_| Vec::new()).collect();
        for _ in 0..args.runs() {
            ours.push((case.run)(self, count)?);
            for (go, runs) in go.iter().zip(&mut theirs) {
                runs.push(go.run(case.name, count)?);
            }
        }
        let value = Summary::of(ours.iter().copied());
        let mut line = Line::new(case.name, value, "1/s").goal((case.goal)(value.median));
        line = line.also("addresses", self.full.len() as f64);
        for (go, runs) in go.iter().zip(&theirs) {
            let ratio = Summary::of(ours.iter().zip(runs).map(|(ours, (go, _))| ours / go));
            let median = Summary::of(runs.iter().map(|(go, _)| *go)).median;
            line = line.also(go.names.per_second, median).also(go.names.ratio, ratio.median);
            // The first one's is the ratio of the line.
            if std::ptr::eq(runs, &theirs[0]) {
                line = line.ratio(ratio, runs[0].1.clone());
            }
            if let Some(least) = case.ratio {
                line = line.goal(Goal::at_least(go.names.ratio, least, ratio.median));
            }
        }
        Ok(line)
    }

    /// Addresses a second into empty books.
    fn add(&self, count: usize) -> Outcome<f64> {
        let mut time = Duration::ZERO;
        for _ in 0..count {
            let (mut book, mut rng) = (empty(), rng());
            let start = Instant::now();
            for (addr, src) in &self.offered {
                let _ = black_box(book.add(*addr, *src, wall(), &mut rng));
            }
            time += start.elapsed();
        }
        Ok((count * OFFERED) as f64 / time.as_secs_f64())
    }

    fn pick(&self, count: usize) -> Outcome<f64> {
        let mut rng = rng();
        let start = Instant::now();
        for n in 0..count {
            let picked = self.full.pick((n % 101) as u8, wall(), &mut rng, true, |_| true);
            assert!(black_box(picked).is_some() || n % 101 == 0 || n % 101 == 100);
        }
        Ok(count as f64 / start.elapsed().as_secs_f64())
    }

    /// Selections of 250.
    fn selection(&self, count: usize) -> Outcome<f64> {
        let mut rng = rng();
        let start = Instant::now();
        for _ in 0..count {
            assert_eq!(black_box(self.full.selection(wall(), &mut rng)).len(), 250);
        }
        Ok(count as f64 / start.elapsed().as_secs_f64())
    }

    /// From a file of SQLite to a book that can be asked, as at a start.
    #[cfg(feature = "sqlite")]
    fn load(&self, count: usize) -> Outcome<f64> {
        use tmp2p::{BookStore, SqliteStore};

        let file = self.folder.path().join("addrbook.sqlite");
        if !file.exists() {
            // A copy of a book has the same changes to store as the book.
            let batch = self.full.clone().take_batch().expect("a book just filled has changes");
            SqliteStore::open(&file)?.write(&batch)?;
        }
        let mut time = Duration::ZERO;
        for _ in 0..count {
            let mut rng = rng();
            let start = Instant::now();
            let mut store = SqliteStore::open(&file)?;
            let book = Book::load(settings(), key(), store.load()?, wall(), &mut rng);
            time += start.elapsed();
            assert_eq!(book.len(), self.full.len());
        }
        Ok(count as f64 / time.as_secs_f64())
    }

    /// To an `addrbook.json` that replaces the one before, safe from a power cut: what Go does.
    fn export(&self, count: usize) -> Outcome<f64> {
        let start = Instant::now();
        for _ in 0..count {
            let file = json::write(&self.full, wall());
            replace(&self.folder.path().join("addrbook.json"), &file)?;
        }
        Ok(count as f64 / start.elapsed().as_secs_f64())
    }
}

fn replace(path: &Path, bytes: &[u8]) -> Outcome<()> {
    let new = path.with_extension("new");
    let mut file = fs::File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(fs::rename(&new, path)?)
}

/// A fifth of them good.
fn filled(offered: &[(NetAddress, NetAddress)]) -> Book {
    let (mut book, mut rng) = (empty(), rng());
    let facts = NodeFacts::default();
    for (n, (addr, src)) in offered.iter().enumerate() {
        book.add(*addr, *src, wall(), &mut rng).expect("every address is fit");
        if n % 5 == 0 {
            book.authenticated(addr, &facts, wall());
            book.mark_good(&addr.id(), wall(), &mut rng);
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
