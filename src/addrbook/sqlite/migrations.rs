//! How the tables of any version become those of this one.

use rusqlite::{Connection, TransactionBehavior};

/// What makes of the tables of one version (the place in the list; nothing is version 0) those of
/// the next. What was released once is never changed again: a change is a new entry.
const MIGRATIONS: [&str; 3] = [
    include_str!("../../../sql/0001_address_book.sql"),
    include_str!("../../../sql/0002_imported_file.sql"),
    include_str!("../../../sql/0003_bad_cause.sql"),
];

/// The version that this code reads and writes, in SQLite's `user_version`.
pub(super) const VERSION: u32 = MIGRATIONS.len() as u32;

/// The tables of version 1 and whatever came since. A file with other tables and none of these
/// is not ours.
pub(super) const TABLES: [&str; 6] =
    ["ban", "bad_address", "address", "anchor", "book_key", "imported_file"];

/// Brings the tables to this version, in one step or not at all.
pub(super) fn migrate(connection: &mut Connection, from: u32) -> rusqlite::Result<()> {
    migrate_to(connection, from, VERSION)
}

/// A database in memory with what is in this one of an earlier version, in the tables of ours. `uri`:
/// how the file is opened, which nothing is written to.
pub(super) fn migrated_copy(uri: &str, version: u32) -> rusqlite::Result<Connection> {
    let mut copy = Connection::open_in_memory()?;
    migrate_to(&mut copy, 0, version)?;
    copy.execute("ATTACH ?1 AS file", [uri])?;
    let transaction = copy.transaction()?;
    let names = "SELECT name FROM main.sqlite_schema WHERE type = 'table'";
    let names: Vec<String> =
        transaction.prepare(names)?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for name in names {
        // A name of ours. The columns of a version are always the same.
        transaction.execute(&format!("INSERT INTO main.{name} SELECT * FROM file.{name}"), [])?;
    }
    transaction.commit()?;
    copy.execute("DETACH file", [])?;
    migrate(&mut copy, version)?;
    Ok(copy)
}

fn migrate_to(connection: &mut Connection, from: u32, to: u32) -> rusqlite::Result<()> {
    let missing = MIGRATIONS.get(from as usize..to as usize).unwrap_or_default();
    if missing.is_empty() {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for migration in missing {
        transaction.execute_batch(migration)?;
    }
    transaction.commit()
}
