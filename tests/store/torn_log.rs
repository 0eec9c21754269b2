//! The write-ahead log of a process that was killed, cut and damaged anywhere: what was committed
//! up to there is the book.

use std::fs;

use tmp2p::{BookStore, SqliteStore};

use crate::support::{Place, batch, load_file, number, states};

/// Batches in the database itself.
const CLOSED: u64 = 5;
/// Batches altogether; the rest is in the log.
const WRITTEN: u64 = 16;

#[test]
fn a_log_that_was_cut_loses_only_its_end() {
    let (killed, length) = (killed(), log_length());
    let mut last = CLOSED;
    for at in (0..=length).step_by(499).chain([1, 31, 32, 33, length - 1, length]) {
        let n = check(&killed, |log| log.truncate(at));
        if at == length {
            assert_eq!(n, WRITTEN, "nothing was lost");
        }
        last = last.max(n);
    }
    assert_eq!(last, WRITTEN);
}

#[test]
fn a_log_that_was_damaged_loses_only_what_comes_after() {
    let (killed, length) = (killed(), log_length());
    let mut seen = std::collections::BTreeSet::new();
    for at in (0..32).chain((32..length).step_by(501)) {
        seen.insert(check(&killed, |log| log[at] ^= 0x10));
        if at % 5 == 0 {
            seen.insert(check(&killed, |log| log[at..].fill(0)));
        }
    }
    println!("batches that were left: {seen:?}");
    assert!(seen.len() > 5, "the damage was everywhere: {seen:?}");
}

/// The index of the log is rubbish, or gone: it is made anew.
#[test]
fn the_index_of_the_log_does_not_matter() {
    let origin = killed();
    let index = fs::read(origin.file("-shm")).unwrap();
    for bytes in [vec![], vec![0xff; index.len()], index[..100].to_vec(), vec![7; 5]] {
        let place = origin.copy();
        fs::write(place.file("-shm"), bytes).unwrap();
        assert_eq!(load_file(&place.book()), states(WRITTEN)[WRITTEN as usize]);
    }
    let place = origin.copy();
    fs::remove_file(place.file("-shm")).unwrap();
    assert_eq!(load_file(&place.book()), states(WRITTEN)[WRITTEN as usize]);
}

/// The book with this done to its log is the book after some batch, and whole. After which?
#[track_caller]
fn check(killed: &Place, damage: impl FnOnce(&mut Vec<u8>)) -> u64 {
    let place = killed.copy();
    let mut log = fs::read(place.file("-wal")).unwrap();
    damage(&mut log);
    fs::write(place.file("-wal"), log).unwrap();
    let book = load_file(&place.book());
    assert!(place.quarantine().is_empty(), "the database itself is sound");
    let n = number(&book);
    assert!(n >= CLOSED);
    assert_eq!(book, states(n)[n as usize], "half a batch");
    n
}

/// As a killed process leaves it.
fn killed() -> Place {
    let place = Place::new();
    let mut store = SqliteStore::open(place.book()).unwrap();
    (1..=CLOSED).for_each(|n| store.write(&batch(n)).unwrap());
    drop(store);
    let mut store = SqliteStore::open(place.book()).unwrap();
    (CLOSED + 1..=WRITTEN).for_each(|n| store.write(&batch(n)).unwrap());
    place.copy()
}

fn log_length() -> usize {
    fs::metadata(killed().file("-wal")).unwrap().len() as usize
}
