//! Opening the files, their tables and their versions.

use anyhow::Context;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use std::time::Duration;

/// Version of `journal.db` that this build writes.
pub const JOURNAL_VERSION: i64 = 1;
/// Version of `meta.db` that this build writes.
pub const META_VERSION: i64 = 1;

/// Prepared statements kept per connection: more than there are.
const STATEMENTS: usize = 64;

const JOURNAL: &str = "
CREATE TABLE store (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
CREATE TABLE lane (lane INTEGER PRIMARY KEY, fence INTEGER NOT NULL) STRICT;
CREATE TABLE journal (
    position INTEGER PRIMARY KEY,
    lane INTEGER NOT NULL,
    received_us INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    record BLOB NOT NULL
) STRICT;
CREATE TABLE series (
    series INTEGER PRIMARY KEY,
    device INTEGER NOT NULL,
    metric TEXT NOT NULL,
    unit TEXT NOT NULL,
    type INTEGER NOT NULL,
    UNIQUE (device, metric)
) STRICT;
CREATE TABLE stream (
    device INTEGER NOT NULL,
    stream INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    used_us INTEGER NOT NULL,
    PRIMARY KEY (device, stream)
) STRICT, WITHOUT ROWID;
CREATE TABLE accounting (
    device INTEGER PRIMARY KEY,
    reports INTEGER NOT NULL, duplicate INTEGER NOT NULL, skipped INTEGER NOT NULL,
    received INTEGER NOT NULL, stored INTEGER NOT NULL, rejected INTEGER NOT NULL, replaced INTEGER NOT NULL
) STRICT;
-- `value` has no affinity, so SQLite keeps what it is given: REAL, INTEGER, TEXT, and a BLOB of 8 bytes for NaN, which
-- SQLite would turn into NULL.
CREATE TABLE sample (
    series INTEGER NOT NULL,
    time_us INTEGER NOT NULL,
    value ANY NOT NULL,
    PRIMARY KEY (series, time_us)
) STRICT, WITHOUT ROWID;
";

const META: &str = "
CREATE TABLE store (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
CREATE TABLE device (
    device INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    tags TEXT NOT NULL,
    grp TEXT,
    enabled INTEGER NOT NULL,
    created_us INTEGER NOT NULL,
    last_seen_us INTEGER,
    firmware TEXT,
    stored_key BLOB NOT NULL,
    server_key BLOB NOT NULL,
    previous_stored_key BLOB,
    previous_server_key BLOB,
    previous_until_us INTEGER,
    token_hash BLOB
) STRICT;
CREATE TABLE user (
    name TEXT PRIMARY KEY,
    role TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    created_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE session (
    token_hash BLOB PRIMARY KEY,
    user TEXT NOT NULL REFERENCES user (name) ON DELETE CASCADE,
    expires_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX session_user ON session (user, expires_us);
";

/// Which of the two files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum File {
    /// `journal.db`.
    Journal,
    /// `meta.db`.
    Meta,
}

impl File {
    fn version(self) -> i64 {
        match self {
            Self::Journal => JOURNAL_VERSION,
            Self::Meta => META_VERSION,
        }
    }

    fn tables(self) -> &'static str {
        match self {
            Self::Journal => JOURNAL,
            Self::Meta => META,
        }
    }
}

/// Opens a file for its writer, making its tables if it is new. `vfs` names another file layer than the system's; tests
/// use it to lose writes that were not synced.
///
/// # Errors
/// If the file cannot be opened or written, is not ours, or was made by a newer version.
pub fn open_writer(path: &Path, file: File, vfs: Option<&str>, synchronous: &str) -> anyhow::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let context = || format!("opening {}", path.display());
    let mut connection = match vfs {
        Some(vfs) => Connection::open_with_flags_and_vfs(path, flags, vfs),
        None => Connection::open_with_flags(path, flags),
    }
    .with_context(context)?;
    connection.busy_timeout(Duration::from_secs(5)).with_context(context)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    check_version(&connection, path, file)?;
    // A growing WAL costs a metadata sync per commit; after the first checkpoint it is overwritten in place. 4,096 pages
    // (16 MiB) keep checkpoints rare without a long recovery.
    connection
        .execute_batch(&format!(
            "PRAGMA journal_mode = WAL;
             PRAGMA synchronous = {synchronous};
             PRAGMA wal_autocheckpoint = 4096;
             PRAGMA foreign_keys = ON;
             PRAGMA temp_store = MEMORY;
             PRAGMA cache_size = -8192;"
        ))
        .with_context(context)?;
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).with_context(context)?;
    if version(&transaction)? == 0 {
        transaction.execute_batch(file.tables()).with_context(context)?;
        transaction.pragma_update(None, "user_version", file.version()).with_context(context)?;
    }
    transaction.commit().with_context(context)?;
    Ok(connection)
}

/// Opens a file for reading.
///
/// # Errors
/// If it cannot be opened.
pub fn open_reader(path: &Path, vfs: Option<&str>) -> anyhow::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = match vfs {
        Some(vfs) => Connection::open_with_flags_and_vfs(path, flags, vfs),
        None => Connection::open_with_flags(path, flags),
    }
    .with_context(|| format!("opening {} for reading", path.display()))?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.execute_batch("PRAGMA query_only = ON; PRAGMA cache_size = -4096;")?;
    Ok(connection)
}

fn version(connection: &Connection) -> anyhow::Result<i64> {
    Ok(connection.pragma_query_value(None, "user_version", |row| row.get(0))?)
}

fn check_version(connection: &Connection, path: &Path, file: File) -> anyhow::Result<()> {
    let found = version(connection).with_context(|| format!("{} is not a Pulsewire store", path.display()))?;
    if found > file.version() {
        anyhow::bail!(
            "{} was made by a newer version of Pulsewire (its format is {found}, this build knows {}); \
             start that version, or give another --data-dir",
            path.display(),
            file.version()
        );
    }
    Ok(())
}
