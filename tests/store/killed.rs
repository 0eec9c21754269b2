//! Processes that are killed while they write.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdout, Stdio},
    time::{Duration, UNIX_EPOCH},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tmp2p::{BookStore, MemoryStore, SqliteStore};

use crate::{
    process::{command, given_folder},
    support::{Place, batch, load, number},
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

/// One book, and a process after the other that writes to it and is killed.
fn kill(rounds: u32) {
    let seed = std::env::var("SEED").map_or_else(
        |_| UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64,
        |seed| seed.parse().unwrap(),
    );
    println!("SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
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
