//! Processes that are killed while they write.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdout, Stdio},
    time::{Duration, Instant, UNIX_EPOCH},
};

use log::Level;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tmp2p::{BookStore, MemoryStore, SqliteStore, StoredBook};

use crate::{
    process::{command, given_folder},
    support::{Place, batch, listen, load, load_file, logged, number},
};

#[test]
fn a_killed_writer_loses_nothing_it_was_told_is_written() {
    kill(20);
}

#[test]
#[ignore = "takes a minute"]
fn a_killed_writer_loses_nothing_it_was_told_is_written_200_times() {
    kill(200);
}

/// What a process leaves behind that is killed while it makes the database: a file without a page,
/// and a journal that says so.
#[test]
fn a_journal_beside_an_empty_book_is_no_loss() {
    listen();
    let mut begun = vec![0; 512];
    begun[20..28].copy_from_slice(&[0, 0, 2, 0, 0, 0, 16, 0]);
    // The header of one that would be rolled back: into a database of no pages.
    let mut hot = begun.clone();
    hot[..8].copy_from_slice(&[0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7]);
    for journal in [begun, hot, Vec::new()] {
        let place = Place::new();
        fs::write(place.book(), "").unwrap();
        fs::write(place.file("-journal"), journal).unwrap();
        let mut store = SqliteStore::open(place.book()).unwrap();
        assert_eq!(load(&mut store), StoredBook::default());
        store.write(&batch(1)).unwrap();
        drop(store);
        assert_eq!(number(&load_file(&place.book())), 1);
        assert!(place.quarantine().is_empty() && !place.file("-journal").exists());
        assert!(logged(Level::Error, &place.book()).is_empty());
    }
}

/// Killed at any moment of the first milliseconds, in which the database is made.
#[test]
fn a_killed_maker_leaves_a_book_or_nothing() {
    let mut random = seeded();
    for round in 0..60 {
        let place = Place::new();
        let (mut child, mut output) = writer(&place);
        // A busy machine may not have come to it by then: every other time there is a file.
        let deadline = Instant::now() + Duration::from_secs(30);
        while round % 2 == 0 && !place.book().exists() {
            assert!(Instant::now() < deadline, "it makes none");
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_micros(random.random_range(0..8000)));
        child.kill().unwrap();
        child.wait().unwrap();
        let told = std::iter::from_fn(|| next(&mut output)).last().unwrap_or(0);
        let found = number(&load_file(&place.book()));
        assert!(found == told || found == told + 1, "round {round}: told of {told}, found {found}");
        assert!(place.quarantine().is_empty(), "round {round}: {:?}", place.files().keys());
    }
}

/// One book, and a process after the other that writes to it and is killed.
fn kill(rounds: u32) {
    let mut random = seeded();
    let (place, mut memory, mut last) = (Place::new(), MemoryStore::new(), 0);
    for round in 0..rounds {
        let (mut child, mut output) = writer(&place);
        let mut told = last;
        // Some come to a checkpoint, which is after a thousand pages.
        let patience = if random.random_ratio(1, 4) { 150 } else { 20 };
        for _ in 0..random.random_range(0..patience) {
            told = next(&mut output).unwrap();
        }
        // No matter when exactly.
        std::thread::sleep(Duration::from_micros(random.random_range(0..5000)));
        child.kill().unwrap();
        child.wait().unwrap();
        while let Some(n) = next(&mut output) {
            told = n;
        }

        let mut store = SqliteStore::open(place.book()).unwrap();
        let book = load(&mut store);
        let found = number(&book);
        assert!(found == told || found == told + 1, "round {round}: told of {told}, found {found}");
        for n in last + 1..=found {
            memory.write(&batch(n)).unwrap();
        }
        assert_eq!(book, memory.stored(), "round {round}: not the book after batch {found}");
        assert!(place.quarantine().is_empty(), "round {round}");
        last = found;
    }
    println!("{last} batches");
    assert!(last > 0);
}

/// By the environment's `SEED`, or by the time.
fn seeded() -> StdRng {
    let seed = std::env::var("SEED").map_or_else(
        |_| UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64,
        |seed| seed.parse().unwrap(),
    );
    println!("SEED={seed}");
    StdRng::seed_from_u64(seed)
}

#[test]
fn two_processes_cannot_have_the_same_book() {
    let place = Place::new();
    let (mut child, mut output) = writer(&place);
    next(&mut output).unwrap();
    let before = place.folder().join("book.db");
    let error = SqliteStore::open(&before).unwrap_err().to_string();
    assert!(error.contains("another node") && error.contains("book.db"), "{error}");
    // By another name, too.
    #[cfg(unix)]
    {
        let link = place.folder().join("link.db");
        std::os::unix::fs::symlink(&before, &link).unwrap();
        let error = SqliteStore::open(&link).unwrap_err().to_string();
        assert!(error.contains("another node"), "{error}");
    }
    assert!(next(&mut output).is_some(), "it was not disturbed");
    child.kill().unwrap();
    child.wait().unwrap();
    SqliteStore::open(&before).unwrap();
}

#[test]
fn two_stores_of_one_process_cannot_have_the_same_book() {
    let place = Place::new();
    let store = SqliteStore::open(place.book()).unwrap();
    assert!(SqliteStore::open(place.book()).unwrap_err().to_string().contains("another node"));
    drop(store);
    SqliteStore::open(place.book()).unwrap();
}

/// Not a test, but the process that is killed: writes on and on, and tells.
#[test]
#[ignore = "run by the tests in this file"]
fn write_on_and_on() {
    let Some(folder) = given_folder() else { return };
    let mut store = SqliteStore::open(folder.join("book.db")).unwrap();
    let first = number(&load(&mut store)) + 1;
    for n in first.. {
        store.write(&batch(n)).unwrap();
        // The reader is gone with a test that failed.
        if writeln!(std::io::stdout(), "wrote {n}").is_err() {
            return;
        }
    }
}

fn writer(place: &Place) -> (Child, BufReader<ChildStdout>) {
    let mut command = command("killed::write_on_and_on", place.folder());
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, output)
}

/// The next number that the process tells; `None`: it has ended.
fn next(output: &mut BufReader<ChildStdout>) -> Option<u64> {
    loop {
        let mut line = String::new();
        if output.read_line(&mut line).unwrap() == 0 {
            return None;
        }
        if let Some((_, number)) = line.trim_end().rsplit_once("wrote ") {
            return Some(number.parse().unwrap());
        }
    }
}
