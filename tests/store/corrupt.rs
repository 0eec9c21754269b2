//! Files that were damaged: the node starts, and what was there can be looked at.

use std::{collections::BTreeSet, fs, path::Path};

use log::Level;
use rusqlite::Connection;
use tmp2p::{BookStore, SqliteStore, StoreBatch, StoredBook};

use crate::support::{Place, batch, id, known, listen, load, load_file, logged, states};

const WRITTEN: u64 = 20;

/// Rubbish of every kind in the place of the book.
#[test]
fn corrupt_book_file_panics() {
    listen();
    let good = sound();
    let mut cases: Vec<Vec<u8>> = [0, 1, 15, 16, 17, 99, 100, 101, 4095, 4096, 4097, 8192]
        .map(|length| good[..length].to_vec())
        .into();
    cases.push(b"not a database, but a text that is longer than a header ".repeat(100));
    cases.push(vec![0; 100_000]);
    cases.push(vec![0xff; 4096]);
    cases.push(good.iter().rev().copied().collect());
    let mut middle = good.clone();
    middle[5000..9000].fill(0);
    cases.push(middle);
    for bytes in cases {
        let place = Place::new();
        fs::write(place.book(), &bytes).unwrap();
        let mut store = SqliteStore::open(place.book()).unwrap();
        let book = load(&mut store);
        drop(store);
        assert!(
            book == StoredBook::default(),
            "{} of {} bytes, {:?}: {} rows",
            bytes.len(),
            good.len(),
            String::from_utf8_lossy(&bytes[..bytes.len().min(16)]),
            difference(&book, &StoredBook::default())
        );
        let aside = place.corrupt();
        // Nothing is lost with an empty file.
        if bytes.is_empty() {
            assert!(aside.is_empty());
            continue;
        }
        assert!(aside.values().eq([&bytes]), "set aside as it was: {:?}", aside.keys());
        let (name, lines) = (aside.keys().next().unwrap(), logged(Level::Error, &place.book()));
        assert!(lines.len() == 1 && lines[0].contains(name), "{name}: {lines:?}");
        assert_usable(&place, 0);
    }
}

/// Bytes all over the file, one at a time. Most are found; the others lie in one row's text.
#[test]
fn a_flipped_byte_costs_one_row_or_sets_the_book_aside() {
    flip(&(0..108).chain((108..sound().len()).step_by(97)).collect::<Vec<_>>(), &[0xff]);
}

/// The same with every byte, in four ways.
#[test]
#[ignore = "takes minutes"]
fn a_flipped_byte_costs_one_row_or_sets_the_book_aside_all() {
    flip(&(0..sound().len()).collect::<Vec<_>>(), &[0xff, 1, 0x20, 0x80]);
}

fn flip(places: &[usize], masks: &[u8]) {
    let good = sound();
    let whole = &states(WRITTEN)[WRITTEN as usize];
    let (mut found, mut harmless) = (0, 0);
    for (at, mask) in places.iter().flat_map(|at| masks.iter().map(move |mask| (*at, mask))) {
        let place = Place::new();
        let mut bytes = good.clone();
        bytes[at] ^= mask;
        fs::write(place.book(), &bytes).unwrap();
        let mut store = match SqliteStore::open(place.book()) {
            Ok(store) => store,
            // The number of the version: it may just as well be a newer one.
            Err(error) if (60..64).contains(&at) => {
                assert!(error.to_string().contains("newer version"), "{error}");
                assert_eq!(place.files().into_values().collect::<Vec<_>>(), [bytes]);
                continue;
            }
            Err(error) => panic!("byte {at} ^ {mask:#x}: {error}"),
        };
        let book = load(&mut store);
        drop(store);
        let written = if place.quarantine().is_empty() {
            let changed = difference(&book, whole);
            assert!(changed <= 2, "byte {at} ^ {mask:#x}: {changed} rows");
            harmless += 1;
            WRITTEN
        } else {
            assert_eq!(book, StoredBook::default(), "byte {at}");
            assert!(place.corrupt().values().any(|aside| *aside == bytes), "byte {at}");
            found += 1;
            0
        };
        assert_usable(&place, written);
    }
    println!("{found} of {} were found, {harmless} were not", found + harmless);
    assert!(found > places.len() / 20, "only {found}");
}

/// Damage that no row shows yet, but a later write would meet: pages that are said to be free.
#[test]
fn damage_beside_the_rows_is_found() {
    let place = Place::new();
    let mut bytes = sound();
    bytes[36..40].copy_from_slice(&7_u32.to_be_bytes());
    fs::write(place.book(), &bytes).unwrap();
    assert_eq!(load_file(&place.book()), StoredBook::default());
    assert!(place.corrupt().values().eq([&bytes]));
    assert_usable(&place, 0);
}

/// How many entries are in one book only. A changed one is two.
fn difference(one: &StoredBook, other: &StoredBook) -> usize {
    let rows = |book: &StoredBook| {
        let mut rows = BTreeSet::new();
        rows.extend(book.bans.iter().map(|ban| format!("{ban:?}")));
        rows.extend(book.bad.iter().map(|bad| format!("{bad:?}")));
        rows.extend(book.addresses.iter().map(|known| format!("{known:?}")));
        rows.extend(book.anchors.iter().map(|anchor| format!("anchor {anchor:?}")));
        rows.extend(book.key.iter().map(|key| format!("{} {:?}", key.text, key.hash)));
        rows.extend(book.imported.iter().map(|digest| format!("imported {digest:?}")));
        rows
    };
    rows(one).symmetric_difference(&rows(other)).count()
}

/// A log beside a database that it does not belong to would be replayed into it.
#[test]
fn stale_wal_beside_a_new_database() {
    listen();
    // Of a process that was killed: a log with a book in it.
    let origin = Place::new();
    let mut store = SqliteStore::open(origin.book()).unwrap();
    (1..=WRITTEN).for_each(|n| store.write(&batch(n)).unwrap());

    // The database is corrupt: all three go together.
    let place = origin.copy();
    fs::write(place.book(), "rubbish").unwrap();
    let before = place.files();
    assert_eq!(load_file(&place.book()), StoredBook::default());
    let names: Vec<_> = place.quarantine().into_keys().collect();
    assert_eq!(names.len(), 3, "{names:?}");
    for (name, suffix) in names.iter().zip(["", "-shm", "-wal"]) {
        assert!(name.starts_with("book.db.corrupt-") && name.ends_with(suffix), "{name}");
        assert!(place.quarantine()[name] == before[&format!("book.db{suffix}")], "{name}");
    }
    assert_usable(&place, 0);

    // The database is gone, or new: what is left goes.
    for make_new in [false, true] {
        let place = origin.copy();
        fs::remove_file(place.book()).unwrap();
        if make_new {
            fs::write(place.book(), "").unwrap();
        }
        fs::write(place.file("-journal"), "rubbish").unwrap();
        assert_eq!(load_file(&place.book()), StoredBook::default());
        let suffixes = place.quarantine().into_keys();
        let suffixes = suffixes.filter_map(|name| Some(name.rsplit_once("Z-")?.1.to_owned()));
        assert_eq!(suffixes.collect::<Vec<_>>(), ["journal", "shm", "wal"]);
        let lines = logged(Level::Error, &place.book());
        assert!(lines.len() == 1 && lines[0].contains(".corrupt-"), "{lines:?}");
        assert_usable(&place, 0);
    }
}

/// Several in one second keep apart, and are told in the log.
#[test]
fn every_quarantine_has_a_name_of_its_own() {
    let place = Place::new();
    for n in 1..=5 {
        fs::write(place.book(), format!("rubbish {n}")).unwrap();
        drop(SqliteStore::open(place.book()).unwrap());
        assert_eq!(place.quarantine().len(), n);
    }
    let kept: BTreeSet<_> = place.quarantine().into_values().collect();
    assert_eq!(kept, (1..=5).map(|n| format!("rubbish {n}").into_bytes()).collect());
}

/// Tables that are not ours any more, in a file that is sound.
#[test]
fn other_tables_set_the_book_aside() {
    for change in [
        "DROP TABLE ban",
        "ALTER TABLE address RENAME COLUMN socket TO addr",
        "PRAGMA user_version = 0",
        "PRAGMA user_version = -1",
        "DROP TABLE ban; DROP TABLE bad_address; DROP TABLE address; DROP TABLE anchor; DROP TABLE book_key; DROP TABLE imported_file",
        "DROP TABLE imported_file",
        "UPDATE book_key SET text = CAST(x'ff' AS TEXT)",
        "PRAGMA ignore_check_constraints = ON; UPDATE book_key SET hash = x'00'",
    ] {
        let place = written();
        Connection::open(place.book()).unwrap().execute_batch(change).unwrap();
        assert_eq!(load_file(&place.book()), StoredBook::default(), "{change}");
        assert_eq!(place.corrupt().len(), 1, "{change}");
        assert_usable(&place, 0);
    }
}

/// What no version wrote is left out, told once, and gone with the next write.
#[test]
fn a_row_that_says_nothing_costs_only_itself() {
    listen();
    let place = written();
    let id = "'00000000000000000000000000000000000000ff'";
    let values = "'', NULL, NULL, 1, NULL, NULL, NULL, 0, NULL, NULL, NULL, 'm', 'v', 'n'";
    let changes = [
        "UPDATE address SET attempts = -1 WHERE id = (SELECT max(id) FROM address)".to_owned(),
        "UPDATE address SET new_buckets = x'01', old_bucket = 1 WHERE id = (SELECT min(id) FROM address)"
            .to_owned(),
        "INSERT INTO ban VALUES ('nobody', NULL, '', 'operator')".to_owned(),
        "INSERT INTO ban VALUES ('1.2.3.4', NULL, '', 'me')".to_owned(),
        "INSERT INTO ban VALUES ('01.2.3.0/24', NULL, '', 'operator')".to_owned(),
        "INSERT INTO ban VALUES ('1.2.3.4/24', NULL, '', 'operator')".to_owned(),
        "INSERT INTO ban VALUES (CAST(x'ff00' AS TEXT), NULL, '', 'operator')".to_owned(),
        format!("INSERT INTO ban VALUES ({id}, -1, '', 'operator')"),
        format!("INSERT INTO bad_address VALUES ({id}, 'somewhere', 1, 'application', '')"),
        "INSERT INTO bad_address VALUES (upper('abcdefabcdefabcdefabcdefabcdefabcdefabcd'), NULL, 1, \
         'application', '')"
            .to_owned(),
        format!("INSERT INTO bad_address VALUES (replace({id}, 'ff', 'fe'), NULL, 1, 'me', '')"),
        format!("INSERT INTO address VALUES ({id}, '1.2.3.4:5', {values})"),
        "INSERT INTO anchor VALUES (99, 'somewhere')".to_owned(),
    ];
    Connection::open(place.book()).unwrap().execute_batch(&changes.join(";")).unwrap();

    let mut whole = states(WRITTEN)[WRITTEN as usize].clone();
    whole.addresses.pop();
    whole.addresses.remove(0);
    let mut store = SqliteStore::open(place.book()).unwrap();
    assert_eq!(load(&mut store), whole);
    let lines = logged(Level::Warn, &place.book());
    assert!(lines.len() == 1 && lines[0].contains(&format!("{} rows", changes.len())), "{lines:?}");

    store.write(&Default::default()).unwrap();
    assert_eq!(load(&mut store), whole);
    assert_eq!(logged(Level::Warn, &place.book()).len(), 1, "they are gone");
    assert!(place.quarantine().is_empty());
}

/// A file is then taken in once more, and that is all.
#[test]
fn a_digest_that_is_none_costs_nothing() {
    let place = written();
    let change = "UPDATE imported_file SET sha256 = x'00ff'";
    Connection::open(place.book()).unwrap().execute_batch(change).unwrap();
    let whole = states(WRITTEN)[WRITTEN as usize].clone();
    assert!(whole.imported.is_some());
    let mut expected = whole.clone();
    expected.imported = None;
    let mut store = SqliteStore::open(place.book()).unwrap();
    assert_eq!(load(&mut store), expected);
    let mut batch = StoreBatch::default();
    batch.imported = whole.imported;
    store.write(&batch).unwrap();
    assert_eq!(load(&mut store), whole);
}

/// Damaged under a store that has it open, and more of it than SQLite keeps in memory.
#[test]
fn a_book_that_is_damaged_while_open_is_set_aside_when_read() {
    listen();
    let place = Place::new();
    let mut large = StoreBatch::default();
    for n in 0..20_000 {
        large.addresses.insert(id(n), Some(known(id(n), n)));
    }
    SqliteStore::open(place.book()).unwrap().write(&large).unwrap();
    let mut store = SqliteStore::open(place.book()).unwrap();
    let mut bytes = fs::read(place.book()).unwrap();
    bytes[4096..].fill(0xee);
    fs::write(place.book(), &bytes).unwrap();
    assert_eq!(load(&mut store), StoredBook::default());
    assert!(place.corrupt().values().any(|aside| *aside == bytes));
    assert_eq!(logged(Level::Error, &place.book()).len(), 1);
    store.write(&batch(1)).unwrap();
    drop(store);
    assert_usable(&place, 1);
}

/// What is no file's fault is an error, and nothing is moved.
#[test]
fn a_folder_is_an_error() {
    let place = Place::new();
    fs::create_dir(place.book()).unwrap();
    let error = SqliteStore::open(place.book()).unwrap_err().to_string();
    assert!(error.contains("book.db"), "{error}");
    assert!(place.book().is_dir());
    let missing = place.folder().join("missing").join("book.db");
    let error = SqliteStore::open(&missing).unwrap_err().to_string();
    assert!(error.contains("create the folder") && error.contains("missing/book.db"), "{error}");
    assert!(SqliteStore::open(Path::new("/")).is_err());
    assert!(SqliteStore::open(Path::new("")).is_err());
    assert!(SqliteStore::open(place.folder().join("..")).is_err());
}

/// A book with something in it, closed.
fn written() -> Place {
    let place = Place::new();
    let mut store = SqliteStore::open(place.book()).unwrap();
    (1..=WRITTEN).for_each(|n| store.write(&batch(n)).unwrap());
    drop(store);
    place
}

fn sound() -> Vec<u8> {
    fs::read(written().book()).unwrap()
}

/// Whatever has happened, it is a book now.
#[track_caller]
fn assert_usable(place: &Place, number: u64) {
    let aside = place.quarantine().len();
    let mut store = SqliteStore::open(place.book()).unwrap();
    store.write(&batch(number + 1)).unwrap();
    drop(store);
    assert_eq!(load_file(&place.book()).key, batch(number + 1).key);
    assert_eq!(place.quarantine().len(), aside, "set aside again");
}
