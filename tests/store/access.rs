//! Disks that are full, files that must not be written, and readers beside a writer.
#![cfg(unix)]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    time::{Duration, UNIX_EPOCH},
};

use tmp2p::{BookStore, SqliteStore, StoreError, StoredBook};

use crate::{
    process::{assert_passed, command, given_folder, run_mounted},
    support::{Place, batch, load, load_file, states},
};

/// Nothing of a batch that did not fit is there, and once there is room again it can come again.
#[test]
fn a_full_disk_costs_nothing_but_time() {
    let Some(folder) = given_folder() else {
        let place = Place::new();
        let script = "mount -t tmpfs -o size=1m tmpfs .";
        let test = "access::a_full_disk_costs_nothing_but_time";
        if let Some(output) = run_mounted(test, place.folder(), script) {
            assert_passed(&output);
        }
        return;
    };
    let (book, filler) = (folder.join("book.db"), folder.join("filler"));
    fs::write(&filler, vec![1; 512 << 10]).unwrap();
    let mut store = SqliteStore::open(&book).unwrap();
    let (mut written, mut error) = (0, None);
    while error.is_none() {
        assert!(written < 10_000, "the disk is never full");
        match store.write(&batch(written + 1)) {
            Ok(()) => written += 1,
            Err(full) => error = Some(full),
        }
    }
    assert_names_the_book(&error.unwrap());
    for _ in 0..3 {
        assert_names_the_book(&store.write(&batch(written + 1)).unwrap_err());
        assert_eq!(load(&mut store), states(written)[written as usize]);
    }
    fs::remove_file(&filler).unwrap();
    for n in written + 1..=written + 5 {
        store.write(&batch(n)).unwrap();
    }
    drop(store);
    assert_eq!(load_file(&book), states(written + 5)[written as usize + 5]);
}

/// A new book where there is no room: an error, and no quarantine of what did not come to be.
#[test]
fn a_disk_that_is_full_from_the_start_is_an_error() {
    let Some(folder) = given_folder() else {
        let place = Place::new();
        let script = "mount -t tmpfs -o size=64k tmpfs .";
        let test = "access::a_disk_that_is_full_from_the_start_is_an_error";
        if let Some(output) = run_mounted(test, place.folder(), script) {
            assert_passed(&output);
        }
        return;
    };
    let filler = folder.join("filler");
    fs::write(&filler, vec![1; 60 << 10]).unwrap();
    assert_names_the_book(&SqliteStore::open(folder.join("book.db")).unwrap_err());
    fs::remove_file(&filler).unwrap();
    let names = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
    let names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    assert!(!names.iter().any(|name| name.contains("corrupt")), "{names:?}");
}

#[test]
fn a_file_that_is_read_only_is_read() {
    let Some(folder) = given_folder() else {
        let place = Place::new();
        SqliteStore::open(place.book()).unwrap().write(&batch(1)).unwrap();
        let script = "mount --bind book.db book.db; mount -o remount,ro,bind book.db";
        let test = "access::a_file_that_is_read_only_is_read";
        if let Some(output) = run_mounted(test, place.folder(), script) {
            assert_passed(&output);
        }
        return;
    };
    let mut store = SqliteStore::open(folder.join("book.db")).unwrap();
    for _ in 0..3 {
        assert_eq!(load(&mut store), states(1)[1]);
        assert_names_the_book(&store.write(&batch(2)).unwrap_err());
    }
}

/// Not ours to read: that is no corruption.
#[test]
fn a_file_of_somebody_else_is_an_error() {
    let Some(folder) = given_folder() else {
        let place = Place::new();
        SqliteStore::open(place.book()).unwrap().write(&batch(1)).unwrap();
        let set = |path: std::path::PathBuf, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        let before = place.files();
        set(place.folder().into(), 0o777);
        set(place.file(".lock"), 0o666);
        set(place.book(), 0o000);
        let test = "access::a_file_of_somebody_else_is_an_error";
        let mut command = command(test, place.folder());
        // The superuser may read everything: be nobody.
        if std::os::unix::fs::MetadataExt::uid(&fs::metadata("/proc/self").unwrap()) == 0 {
            std::os::unix::process::CommandExt::uid(&mut command, 65534);
        }
        match command.output() {
            Ok(output) => assert_passed(&output),
            Err(error) => println!("SKIPPED: nobody cannot run this program: {error}"),
        }
        set(place.book(), 0o600);
        assert!(place.files() == before, "it was touched: {:?}", place.files().keys());
        return;
    };
    assert_names_the_book(&SqliteStore::open(folder.join("book.db")).unwrap_err());
    assert_names_the_book(&SqliteStore::open_read_only(folder.join("book.db")).unwrap_err());
}

/// For tools: beside a running node, after it, and after it was killed.
#[test]
fn a_reader_sees_what_is_written_and_leaves_no_trace() {
    let place = Place::new();
    let mut store = SqliteStore::open(place.book()).unwrap();
    for n in 1..=3 {
        store.write(&batch(n)).unwrap();
        let before = place.files().into_keys().collect::<Vec<_>>();
        let mut reader = SqliteStore::open_read_only(place.book()).unwrap();
        assert_eq!(load(&mut reader), states(n)[n as usize]);
        assert_names_the_book(&reader.write(&batch(9)).unwrap_err());
        // The writer goes on beside it.
        store.write(&batch(n)).unwrap();
        drop(reader);
        assert_eq!(place.files().into_keys().collect::<Vec<_>>(), before);
    }
    let killed = place.copy();
    drop(store);
    for place in [killed, place] {
        let mut reader = SqliteStore::open_read_only(place.book()).unwrap();
        assert_eq!(load(&mut reader), states(3)[3]);
        // Nobody has to wait for it.
        let mut store = SqliteStore::open(place.book()).unwrap();
        drop(reader);
        assert_eq!(load(&mut store), states(3)[3]);
        assert!(place.quarantine().is_empty());
    }
}

#[test]
fn a_reader_creates_and_changes_nothing() {
    let place = Place::new();
    assert_names_the_book(&SqliteStore::open_read_only(place.book()).unwrap_err());
    assert_eq!(fs::read_dir(place.folder()).unwrap().count(), 0);

    let mut store = SqliteStore::open(place.book()).unwrap();
    (1..=3).for_each(|n| store.write(&batch(n)).unwrap());
    let killed = place.copy();
    drop(store);
    fs::remove_file(place.file(".lock")).unwrap();
    for place in [killed, place] {
        let before = place.files();
        for _ in 0..2 {
            let mut reader = SqliteStore::open_read_only(place.book()).unwrap();
            assert_eq!(load(&mut reader), states(3)[3]);
        }
        assert!(place.files() == before, "{:?}", place.files().keys());
        assert!(!place.file(".lock").exists());
        fs::write(place.book(), "rubbish").unwrap();
        let before = place.files();
        let error = SqliteStore::open_read_only(place.book()).unwrap_err();
        assert!(error.to_string().contains("corrupt"), "{error}");
        assert!(place.files() == before, "{:?}", place.files().keys());
    }
}

#[test]
fn a_reader_finds_an_empty_book_empty() {
    let place = Place::new();
    let _store = SqliteStore::open(place.book()).unwrap();
    let mut reader = SqliteStore::open_read_only(place.book()).unwrap();
    assert_eq!(load(&mut reader), StoredBook::default());
}

/// Somebody has begun to read and never ends it, a tool that hangs.
#[test]
fn a_reader_that_never_ends_does_not_grow_the_log_without_bound() {
    let place = Place::new();
    let mut store = SqliteStore::open(place.book()).unwrap();
    store.write(&batch(1)).unwrap();
    let log = || fs::metadata(place.file("-wal")).map_or(0, |metadata| metadata.len());
    // A row of 4 MB each, so that it does not take long.
    let large = |n: u64| {
        let mut batch = batch(n);
        let ban = batch.bans.values_mut().next().unwrap();
        let until = Some(UNIX_EPOCH + Duration::from_secs(n));
        *ban = Some(tmp2p::Ban {
            target: tmp2p::BanTarget::from(crate::support::id(1)),
            until,
            reason: "x".repeat(4 << 20),
            origin: tmp2p::BanOrigin::Operator,
        });
        batch
    };
    for n in 2..10 {
        store.write(&large(n)).unwrap();
    }
    assert!(log() <= 16 << 20, "without a reader: {}", log());
    let reader = rusqlite::Connection::open(place.book()).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM ban;").unwrap();
    let _: i64 = reader.query_row("SELECT count(*) FROM ban", [], |row| row.get(0)).unwrap();
    let mut n = 10;
    let error = loop {
        match store.write(&large(n)) {
            Ok(()) => n += 1,
            Err(error) => break error,
        }
        assert!(n < 100, "the log has {} bytes", log());
    };
    assert_names_the_book(&error);
    assert!(error.to_string().contains("another program"), "{error}");
    assert!(log() <= 48 << 20, "{}", log());
    // Not for good: nothing was lost, and it goes on as soon as the other one has ended.
    reader.execute_batch("COMMIT").unwrap();
    store.write(&large(n)).unwrap();
    assert!(log() <= 16 << 20, "{}", log());
    for n in n..n + 3 {
        store.write(&batch(n)).unwrap();
    }
    assert!(log() <= 5 << 20, "cut to its limit: {}", log());
    drop((reader, store));
    assert_eq!(crate::support::number(&load_file(&place.book())), n + 2);
}

/// A copy of the files while they are in use may lack the index of the log, and what is in the log is
/// part of the book.
#[test]
fn a_log_without_its_index_is_not_read_but_told_with_what_to_do() {
    let place = Place::new();
    let mut store = SqliteStore::open(place.book()).unwrap();
    (1..=3).for_each(|n| store.write(&batch(n)).unwrap());
    let copy = place.copy();
    drop(store);
    fs::remove_file(copy.file("-shm")).unwrap();
    let before = copy.files();
    let error = SqliteStore::open_read_only(copy.book()).unwrap_err();
    assert_names_the_book(&error);
    assert!(error.to_string().ends_with("start its node once"), "{error}");
    assert!(copy.files() == before, "{:?}", copy.files().keys());
    // Which is true.
    drop(SqliteStore::open(copy.book()).unwrap());
    let mut reader = SqliteStore::open_read_only(copy.book()).unwrap();
    assert_eq!(load(&mut reader), states(3)[3]);
}

#[test]
fn a_path_that_leads_nowhere_is_an_error_and_nothing_is_made() {
    let place = Place::new();
    std::os::unix::fs::symlink("/no/such/folder", place.book()).unwrap();
    let file = place.folder().join("file");
    fs::write(&file, "").unwrap();
    for (path, why) in
        [(place.book(), "is a link to nothing"), (file.join("book.db"), "cannot open")]
    {
        for error in
            [SqliteStore::open(&path).unwrap_err(), SqliteStore::open_read_only(&path).unwrap_err()]
        {
            assert_names_the_book(&error);
            assert!(error.to_string().contains(why), "{error}");
        }
    }
    let mut names: Vec<_> =
        fs::read_dir(place.folder()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["book.db", "file"]);
}

/// Whoever writes files of his own beside it asks for their names.
#[test]
fn all_that_a_book_leaves_behind_is_among_its_files() {
    let place = Place::new();
    let mut store = SqliteStore::open(place.book()).unwrap();
    store.write(&batch(1)).unwrap();
    let files = SqliteStore::files(&place.book());
    let found: Vec<_> =
        fs::read_dir(place.folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(found.len() >= 4, "{found:?}");
    assert!(found.iter().all(|path| files.contains(path)), "{found:?} {files:?}");
    assert!(files.contains(&place.file("-journal")), "of a network drive");
}

#[track_caller]
fn assert_names_the_book(error: &StoreError) {
    let text = error.to_string();
    assert!(text.contains("book.db"), "{text}");
}
