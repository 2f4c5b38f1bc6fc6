//! Opening the two files, their tables and their versions.

use crate::options::StoreOptions;
use anyhow::Context;
use rusqlite::{Connection, OpenFlags};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Prepared statements kept per connection: more than there are.
const STATEMENTS: usize = 96;

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
-- Which streams exist. How far each has come is in the records, and in data.db as of its device's last seal.
CREATE TABLE stream (
    device INTEGER NOT NULL,
    stream INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    opened_us INTEGER NOT NULL,
    PRIMARY KEY (device, stream)
) STRICT, WITHOUT ROWID;
";

const DATA: &str = "
CREATE TABLE store (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
-- `sealed_through`: everything of every device up to that record is in this file, so the journal may release it.
INSERT INTO store (name, value) VALUES ('generation', 0), ('sealed_through', 0);
-- Everything of a device up to `position` is in this file, and nothing after it.
CREATE TABLE device (
    device INTEGER PRIMARY KEY,
    position INTEGER NOT NULL,
    seals INTEGER NOT NULL,
    counts BLOB NOT NULL
) STRICT;
CREATE TABLE stream (
    device INTEGER NOT NULL,
    stream INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    used_us INTEGER NOT NULL,
    PRIMARY KEY (device, stream)
) STRICT, WITHOUT ROWID;
-- Series of one device that are sampled together.
CREATE TABLE tbl (
    tbl INTEGER PRIMARY KEY AUTOINCREMENT,
    device INTEGER NOT NULL,
    columns BLOB NOT NULL,
    newest_us INTEGER NOT NULL,
    rolled_us INTEGER NOT NULL,
    floor_us INTEGER NOT NULL,
    span_us INTEGER NOT NULL,
    latest BLOB NOT NULL
) STRICT;
CREATE INDEX tbl_device ON tbl (device);
-- `seal` says which of two chunks of a device came later. `bad` is set when its bytes were found damaged.
CREATE TABLE chunk (
    chunk INTEGER PRIMARY KEY AUTOINCREMENT,
    tbl INTEGER NOT NULL,
    seal INTEGER NOT NULL,
    from_us INTEGER NOT NULL,
    to_us INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    columns INTEGER NOT NULL,
    bad INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX chunk_time ON chunk (tbl, from_us, to_us, seal, rows, columns, bad);
CREATE INDEX chunk_small ON chunk (tbl, rows) WHERE rows < 1024 AND bad = 0;
CREATE INDEX chunk_end ON chunk (to_us, tbl);
CREATE TABLE chunk_data (chunk INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;
-- Level 1 is by minute, 2 by hour. `to_us` is exclusive. The columns of a rollup are the parts of a column of its table.
CREATE TABLE rollup (
    tbl INTEGER NOT NULL,
    level INTEGER NOT NULL,
    from_us INTEGER NOT NULL,
    to_us INTEGER NOT NULL,
    columns INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (tbl, level, from_us)
) STRICT, WITHOUT ROWID;
CREATE INDEX rollup_end ON rollup (level, to_us, tbl);
";

/// Which of the two files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum File {
    /// `journal.db`.
    Journal,
    /// `data.db`.
    Data,
}

impl File {
    pub(crate) fn path(self, folder: &Path) -> PathBuf {
        folder.join(match self {
            Self::Journal => "journal.db",
            Self::Data => "data.db",
        })
    }

    fn tables(self) -> &'static str {
        match self {
            Self::Journal => JOURNAL,
            Self::Data => DATA,
        }
    }

    /// The version that this build reads and writes. Versions 1 and 2 of `journal.db` kept samples as plain rows.
    pub(crate) fn version(self) -> i64 {
        match self {
            Self::Journal => 3,
            Self::Data => 1,
        }
    }

    /// Bytes per page. A page of the journal costs two writes to its log and one at a checkpoint, and a busy record takes
    /// hundreds of kilobytes. Chunks are small, and the end of each leaves part of a page empty.
    fn page_bytes(self) -> u32 {
        match self {
            Self::Journal => 16_384,
            Self::Data => 2048,
        }
    }
}

fn connect(path: &Path, vfs: Option<&str>, flags: OpenFlags) -> anyhow::Result<Connection> {
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = match vfs {
        Some(vfs) => Connection::open_with_flags_and_vfs(path, flags, vfs),
        None => Connection::open_with_flags(path, flags),
    }
    .with_context(|| format!("opening {}", path.display()))?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// Opens a file for its writer, making its tables if it is new.
pub(crate) fn open_writer(options: &StoreOptions, file: File) -> anyhow::Result<Connection> {
    let path = file.path(&options.folder);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let mut connection = connect(&path, options.vfs.as_deref(), flags)?;
    let context = || format!("opening {}", path.display());
    check_version(&connection, &path, file)?;
    // Both must be set before the first table is made.
    connection
        .execute_batch(&format!("PRAGMA page_size = {}; PRAGMA auto_vacuum = INCREMENTAL;", file.page_bytes()))
        .with_context(context)?;
    let synchronous = options.synchronous.pragma();
    // A growing WAL costs a metadata sync per commit; after the first checkpoint it is overwritten in place. The journal's is
    // checkpointed beside its writer, which begins again at its start when it has caught up; it helps where it must.
    let wal_bytes = if file == File::Journal { 64 << 20 } else { 16 << 20 };
    connection
        .execute_batch(&format!(
            "PRAGMA journal_mode = WAL;
             PRAGMA synchronous = {synchronous};
             PRAGMA wal_autocheckpoint = {};
             PRAGMA foreign_keys = ON;
             PRAGMA temp_store = MEMORY;
             PRAGMA cache_size = -8192;",
            wal_bytes / file.page_bytes()
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

/// Opens a file that its writer has open, to write what the writer need not.
pub(crate) fn open_again(options: &StoreOptions, file: File) -> anyhow::Result<Connection> {
    let connection = connect(&file.path(&options.folder), options.vfs.as_deref(), OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.execute_batch(&format!(
        "PRAGMA synchronous = {}; PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -1024;",
        options.synchronous.pragma()
    ))?;
    Ok(connection)
}

/// Opens a file for reading.
pub(crate) fn open_reader(folder: &Path, vfs: Option<&str>, file: File) -> anyhow::Result<Connection> {
    let path = file.path(folder);
    let connection = connect(&path, vfs, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    check_version(&connection, &path, file)?;
    connection.execute_batch("PRAGMA cache_size = -4096;")?;
    Ok(connection)
}

fn version(connection: &Connection) -> anyhow::Result<i64> {
    Ok(connection.pragma_query_value(None, "user_version", |row| row.get(0))?)
}

fn check_version(connection: &Connection, path: &Path, file: File) -> anyhow::Result<()> {
    let found = version(connection).with_context(|| format!("{} is not a Pulsewire store", path.display()))?;
    let knows = file.version();
    if found > knows {
        anyhow::bail!(
            "{} was made by a newer version of Pulsewire (its format is {found}, this build knows {knows}); \
             start that version, or give another --data-dir",
            path.display()
        );
    }
    if found != 0 && found < knows {
        anyhow::bail!(
            "{} was made by an early version of Pulsewire (its format is {found}, this build reads {knows}); \
             export its data with that version, or give another --data-dir",
            path.display()
        );
    }
    Ok(())
}
