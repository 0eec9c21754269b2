//! The tables, and those of other versions.

use std::{fmt::Write, fs, path::PathBuf};

use rusqlite::Connection;
use tmp2p::{BookStore, SqliteStore, StoredBook};

use crate::support::{Place, batch, load, load_file, states};

/// How many batches of the story are in the stored files of every version.
const STORED: u64 = 20;

/// `sql/schema.sql` shows what all migrations together make.
#[test]
fn the_schema_is_the_golden_one() {
    let place = Place::new();
    drop(SqliteStore::open(place.book()).unwrap());
    let found = schema(&Connection::open(place.book()).unwrap());
    let golden = fs::read_to_string(repository("sql/schema.sql")).unwrap_or_default();
    assert!(found == golden, "sql/schema.sql should be:\n{found}");
}

#[test]
fn every_column_has_a_comment() {
    let golden = fs::read_to_string(repository("sql/schema.sql")).unwrap();
    let columns: Vec<_> = golden.lines().filter(|line| line.starts_with("    ")).collect();
    assert!(columns.len() > 25, "these are not all: {columns:?}");
    for column in columns {
        let comment = column.split_once("-- ").map_or("", |(_, comment)| comment);
        assert!(comment.trim().len() > 5, "no comment: {column}");
    }
}

/// What earlier versions wrote is read, whole. A version that changes the tables adds its file,
/// `tests/store/vN.db`, made with [`make_the_file_of_this_version`].
#[test]
fn files_of_all_versions_are_read() {
    let newest = version_of(&repository("tests/store"));
    for version in 1..=newest {
        let file = repository(&format!("tests/store/v{version}.db"));
        let place = Place::new();
        fs::copy(&file, place.book()).unwrap();
        let mut store = SqliteStore::open(place.book()).unwrap();
        let mut expected = states(STORED)[STORED as usize].clone();
        if version < 2 {
            expected.imported = None;
        }
        assert_eq!(load(&mut store), expected, "{}", file.display());
        store.write(&batch(STORED + 1)).unwrap();
        drop(store);
        assert_eq!(load_file(&place.book()), states(STORED + 1)[STORED as usize + 1]);
        let upgraded = schema(&Connection::open(place.book()).unwrap());
        assert_eq!(upgraded, fs::read_to_string(repository("sql/schema.sql")).unwrap());
    }
}

/// Who may only look at the book of an earlier version sees all of it, too: it may be on a file system
/// that cannot be written, or its node runs on.
#[test]
fn files_of_all_versions_are_read_without_being_changed() {
    let newest = version_of(&repository("tests/store"));
    for version in 1..=newest {
        let place = Place::new();
        fs::copy(repository(&format!("tests/store/v{version}.db")), place.book()).unwrap();
        let before = place.files();
        let mut store = SqliteStore::open_read_only(place.book()).unwrap();
        let mut expected = states(STORED)[STORED as usize].clone();
        if version < 2 {
            expected.imported = None;
        }
        assert_eq!(load(&mut store), expected, "version {version}");
        store.write(&batch(STORED + 1)).unwrap_err();
        drop(store);
        assert!(place.files() == before, "version {version} was touched");
    }
}

/// Writes the file of the version that there is now.
#[test]
#[ignore = "makes a file for tests, once per version"]
fn make_the_file_of_this_version() {
    let place = Place::new();
    let mut store = SqliteStore::open(place.book()).unwrap();
    (1..=STORED).for_each(|n| store.write(&batch(n)).unwrap());
    drop(store);
    let version = user_version(&Connection::open(place.book()).unwrap());
    let file = repository(&format!("tests/store/v{version}.db"));
    assert!(!file.exists(), "{} is there; what was written once stays", file.display());
    fs::copy(place.book(), &file).unwrap();
}

/// Somebody went back to an older version: not the file's fault.
#[test]
fn a_newer_version_is_refused_and_left_alone() {
    let place = Place::new();
    SqliteStore::open(place.book()).unwrap().write(&batch(1)).unwrap();
    let connection = Connection::open(place.book()).unwrap();
    connection.execute_batch("PRAGMA user_version = 999").unwrap();
    drop(connection);
    let before = place.files();
    for error in [
        SqliteStore::open(place.book()).unwrap_err().to_string(),
        SqliteStore::open_read_only(place.book()).unwrap_err().to_string(),
    ] {
        assert!(error.contains("newer version") && error.contains("999"), "{error}");
        assert!(error.contains("book.db"), "{error}");
    }
    assert!(place.files() == before, "it was touched");
}

/// The same while the number is still in the log only.
#[test]
fn a_newer_version_in_the_log_is_refused_and_left_alone() {
    let place = Place::new();
    SqliteStore::open(place.book()).unwrap().write(&batch(1)).unwrap();
    let connection = Connection::open(place.book()).unwrap();
    connection.execute_batch("PRAGMA user_version = 999").unwrap();
    let killed = place.copy();
    let before = killed.files();
    let error = SqliteStore::open(killed.book()).unwrap_err().to_string();
    assert!(error.contains("newer version"), "{error}");
    let mut after = killed.files();
    // Only an index of the log, made anew by everybody who comes first.
    after.insert("book.db-shm".to_owned(), before["book.db-shm"].clone());
    assert!(after == before, "it was touched: {:?}", after.keys());
}

#[test]
fn a_database_of_another_program_is_refused_and_left_alone() {
    let place = Place::new();
    let connection = Connection::open(place.book()).unwrap();
    connection.execute_batch("CREATE TABLE cookies (name TEXT); PRAGMA user_version = 1").unwrap();
    drop(connection);
    let before = place.files();
    let error = SqliteStore::open(place.book()).unwrap_err().to_string();
    assert!(error.contains("another program"), "{error}");
    assert!(place.files() == before, "it was touched");
}

/// A configuration taken over from the reference names its book.
#[test]
fn a_json_book_is_refused_and_left_alone() {
    let place = Place::new();
    fs::write(place.book(), "{\n\t\"key\": \"00112233445566778899aabb\",\n\t\"addrs\": []\n}")
        .unwrap();
    let before = place.files();
    let error = SqliteStore::open(place.book()).unwrap_err().to_string();
    assert!(error.contains("addrbook.json") && error.contains("import"), "{error}");
    assert!(place.files() == before, "it was touched");
}

/// Killed after the file was made and before it had tables.
#[test]
fn a_database_without_tables_is_a_new_book() {
    for setup in ["", "PRAGMA journal_mode = WAL", "CREATE TABLE x (y); DROP TABLE x"] {
        let place = Place::new();
        Connection::open(place.book()).unwrap().execute_batch(setup).unwrap();
        let mut store = SqliteStore::open(place.book()).unwrap();
        assert_eq!(store.load().unwrap(), StoredBook::default());
        store.write(&batch(1)).unwrap();
        drop(store);
        assert_eq!(load_file(&place.book()), states(1)[1]);
        assert!(place.quarantine().is_empty());
    }
}

fn schema(connection: &Connection) -> String {
    let mut text = String::from("-- What the migrations make. Checked by a test, never run.\n");
    let select = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type, name";
    let mut statement = connection.prepare(select).unwrap();
    for sql in statement.query_map([], |row| row.get::<_, String>(0)).unwrap() {
        write!(text, "\n{};\n", sql.unwrap()).unwrap();
    }
    write!(text, "\nPRAGMA user_version = {};\n", user_version(connection)).unwrap();
    text
}

fn user_version(connection: &Connection) -> u32 {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
}

/// The version that a new book has; a stored file for each up to it must exist.
fn version_of(stored: &std::path::Path) -> u32 {
    let place = Place::new();
    drop(SqliteStore::open(place.book()).unwrap());
    let version = user_version(&Connection::open(place.book()).unwrap());
    let newest = stored.join(format!("v{version}.db"));
    assert!(newest.exists(), "make {} and commit it", newest.display());
    version
}

fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}
