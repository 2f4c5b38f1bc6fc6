//! Opening `meta.db`, its tables and its version.

use super::{schema_3, schema_4, schema_5};
use anyhow::Context;
use pulsewire_core::ids::DeviceKey;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use std::time::Duration;

/// Prepared statements kept per connection: more than there are.
const STATEMENTS: usize = 128;

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

/// What version 2 of `meta.db` adds: rules, alerts, and who is told of them.
const META_2: &str = "
CREATE TABLE secret (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE cursor (name TEXT PRIMARY KEY, epoch INTEGER NOT NULL, position INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE rule (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    enabled INTEGER NOT NULL,
    metric TEXT NOT NULL,
    comparison INTEGER NOT NULL,
    threshold REAL NOT NULL,
    clear REAL NOT NULL,
    hold_us INTEGER NOT NULL,
    severity INTEGER NOT NULL,
    scope TEXT NOT NULL,
    message TEXT NOT NULL,
    version INTEGER NOT NULL,
    created_us INTEGER NOT NULL,
    updated_us INTEGER NOT NULL,
    updated_by TEXT NOT NULL
) STRICT, WITHOUT ROWID;
-- Where each rule stands on each device; written together with the cursor.
CREATE TABLE track (
    rule TEXT NOT NULL,
    device INTEGER NOT NULL,
    last_us INTEGER NOT NULL,
    value REAL,
    phase INTEGER NOT NULL,
    since_us INTEGER,
    alert BLOB,
    PRIMARY KEY (rule, device)
) STRICT, WITHOUT ROWID;
-- The newest event time of each device that any rule looks at.
CREATE TABLE watermark (device INTEGER PRIMARY KEY, time_us INTEGER NOT NULL) STRICT;
CREATE TABLE alert (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    revision INTEGER NOT NULL,
    rule TEXT NOT NULL,
    rule_name TEXT NOT NULL,
    device INTEGER NOT NULL,
    device_id TEXT NOT NULL,
    device_name TEXT NOT NULL,
    metric TEXT NOT NULL,
    unit TEXT NOT NULL,
    severity INTEGER NOT NULL,
    comparison INTEGER NOT NULL,
    threshold REAL NOT NULL,
    clear REAL NOT NULL,
    hold_us INTEGER NOT NULL,
    value REAL,
    text TEXT NOT NULL,
    started_us INTEGER NOT NULL,
    fired_us INTEGER NOT NULL,
    resolved_us INTEGER,
    resolved_reason TEXT,
    ack_user TEXT,
    ack_us INTEGER
) STRICT;
CREATE INDEX alert_open ON alert (severity, seq) WHERE resolved_us IS NULL;
CREATE INDEX alert_resolved ON alert (seq) WHERE resolved_us IS NOT NULL;
CREATE INDEX alert_device ON alert (device_id, seq);
CREATE INDEX alert_rule ON alert (rule, seq);
CREATE TABLE alert_step (
    alert BLOB NOT NULL REFERENCES alert (id) ON DELETE CASCADE,
    step INTEGER NOT NULL,
    time_us INTEGER NOT NULL,
    kind TEXT NOT NULL,
    user TEXT,
    text TEXT NOT NULL,
    PRIMARY KEY (alert, step)
) STRICT, WITHOUT ROWID;
-- Where a user's notifications go. `address` is never answered or logged; `address_hash` finds the same one again.
CREATE TABLE endpoint (
    id BLOB PRIMARY KEY,
    user TEXT NOT NULL,
    kind TEXT NOT NULL,
    label TEXT NOT NULL,
    address TEXT NOT NULL,
    address_hash BLOB NOT NULL UNIQUE,
    provider TEXT NOT NULL,
    created_us INTEGER NOT NULL,
    registered_us INTEGER NOT NULL,
    removed_us INTEGER,
    removed_reason TEXT,
    last_delivered_us INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX endpoint_user ON endpoint (user);
CREATE INDEX endpoint_removed ON endpoint (removed_us) WHERE removed_us IS NOT NULL;
-- One per user and alert transition; why it was not pushed, if it was not.
CREATE TABLE message (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    user TEXT NOT NULL,
    kind TEXT NOT NULL,
    alert BLOB,
    severity INTEGER NOT NULL,
    title TEXT NOT NULL,
    body TEXT NOT NULL,
    url TEXT NOT NULL,
    tag TEXT NOT NULL,
    created_us INTEGER NOT NULL,
    event_us INTEGER NOT NULL,
    due_us INTEGER NOT NULL,
    expires_us INTEGER NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    reason_text TEXT NOT NULL,
    replayed_us INTEGER
) STRICT;
CREATE INDEX message_user ON message (user, seq);
CREATE INDEX message_alert ON message (alert, user);
CREATE INDEX message_waiting ON message (severity, due_us) WHERE state = 'waiting';
-- Alerts that changed since the outbox last looked.
CREATE TABLE alert_changed (alert BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;
-- The outbox: one per message and endpoint. `provider`, `critical`, `seq` and `expires_us` repeat what endpoint and message
-- say, so that what is next is found without looking at all that waits.
CREATE TABLE delivery (
    id BLOB PRIMARY KEY,
    message BLOB NOT NULL REFERENCES message (id) ON DELETE CASCADE,
    endpoint BLOB NOT NULL,
    kind TEXT NOT NULL,
    label TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    next_us INTEGER NOT NULL,
    lease_us INTEGER,
    reason TEXT NOT NULL,
    provider_id TEXT,
    provider TEXT NOT NULL,
    critical INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    expires_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX delivery_message ON delivery (message);
CREATE INDEX delivery_endpoint ON delivery (endpoint, state);
CREATE INDEX delivery_queued ON delivery (next_us) WHERE state = 'queued';
CREATE INDEX delivery_lane ON delivery (provider, critical, next_us, seq) WHERE state = 'queued';
CREATE INDEX delivery_expires ON delivery (expires_us) WHERE state = 'queued';
CREATE INDEX delivery_sending ON delivery (lease_us) WHERE state = 'sending';
CREATE TABLE delivery_event (
    delivery BLOB NOT NULL REFERENCES delivery (id) ON DELETE CASCADE,
    step INTEGER NOT NULL,
    time_us INTEGER NOT NULL,
    event TEXT NOT NULL,
    status INTEGER,
    text TEXT NOT NULL,
    PRIMARY KEY (delivery, step)
) STRICT, WITHOUT ROWID;
";

/// Version 2 as well: commands. They go with their device.
const META_2_COMMANDS: &str = "
CREATE TABLE command (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    device INTEGER NOT NULL REFERENCES device (device) ON DELETE CASCADE,
    device_id TEXT NOT NULL,
    name TEXT NOT NULL,
    arguments TEXT NOT NULL,
    state INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    percent INTEGER,
    code TEXT NOT NULL,
    text TEXT NOT NULL,
    result TEXT NOT NULL,
    cancel_requested INTEGER NOT NULL,
    answered INTEGER NOT NULL,
    supersede_key TEXT,
    created_by TEXT NOT NULL,
    created_us INTEGER NOT NULL,
    changed_us INTEGER NOT NULL,
    since_us INTEGER NOT NULL,
    deadline_us INTEGER NOT NULL,
    timeout_us INTEGER NOT NULL,
    revision INTEGER NOT NULL
) STRICT;
CREATE INDEX command_device ON command (device, seq);
-- The states that are not finished are 0 to 3.
CREATE INDEX command_open ON command (seq) WHERE state < 4;
CREATE TABLE command_step (
    command INTEGER NOT NULL REFERENCES command (seq) ON DELETE CASCADE,
    step INTEGER NOT NULL,
    time_us INTEGER NOT NULL,
    state INTEGER NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (command, step)
) STRICT, WITHOUT ROWID;
-- What a device said that it knows, as JSON.
CREATE TABLE command_set (
    device INTEGER PRIMARY KEY REFERENCES device (device) ON DELETE CASCADE,
    declared TEXT NOT NULL
) STRICT;
";

/// And: finished commands by device, and those that were given up while their device could have
/// them, which it has not answered. The states that are finished are 4 and above; 9 is canceled.
const META_2_FINISHED: &str = "
CREATE INDEX command_finished ON command (device, seq, state, answered, attempt, deadline_us, changed_us) WHERE state >= 4;
CREATE INDEX command_given_up ON command (device, seq)
    WHERE state >= 4 AND answered = 0 AND attempt > 0 AND (state = 9 OR cancel_requested = 1);
";

/// Makes a store of a version out of one of the version before.
type Step = fn(&Connection) -> anyhow::Result<()>;

/// What each version does to the one before.
const STEPS: &[Step] = &[
    |connection| Ok(connection.execute_batch(META)?),
    |connection| {
        Ok([META_2, META_2_COMMANDS, META_2_FINISHED].iter().try_for_each(|sql| connection.execute_batch(sql))?)
    },
    schema_3::upgrade,
    schema_4::upgrade,
    schema_5::upgrade,
];

/// Opens the file for its writer, making its tables if it is new and adding what its version lacks.
///
/// # Errors
/// If the file cannot be opened or written, is not ours, or was made by a newer version.
pub fn open_writer(path: &Path) -> anyhow::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let context = || format!("opening {}", path.display());
    let mut connection = Connection::open_with_flags(path, flags).with_context(context)?;
    connection.busy_timeout(Duration::from_secs(5)).with_context(context)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    check_version(&connection, path)?;
    // A growing WAL costs a metadata sync per commit; after the first checkpoint it is overwritten in place. 4,096 pages
    // (16 MiB) keep checkpoints rare without a long recovery.
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL;
             PRAGMA synchronous = FULL;
             PRAGMA wal_autocheckpoint = 4096;
             PRAGMA foreign_keys = OFF;
             PRAGMA temp_store = MEMORY;
             PRAGMA cache_size = -8192;",
        )
        .with_context(context)?;
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).with_context(context)?;
    let found = version(&transaction)?;
    for step in STEPS.get(found..).unwrap_or_default() {
        step(&transaction).with_context(context)?;
    }
    if found < STEPS.len() {
        transaction.pragma_update(None, "user_version", i64::try_from(STEPS.len())?).with_context(context)?;
    }
    transaction.commit().with_context(context)?;
    // Only now: a version may make a table anew, and what points at its rows stays.
    connection.execute_batch("PRAGMA foreign_keys = ON;").with_context(context)?;
    Ok(connection)
}

/// Opens the file for reading.
///
/// # Errors
/// If it cannot be opened.
pub fn open_reader(path: &Path) -> anyhow::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection =
        Connection::open_with_flags(path, flags).with_context(|| format!("opening {} for reading", path.display()))?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.execute_batch("PRAGMA query_only = ON; PRAGMA cache_size = -4096;")?;
    Ok(connection)
}

/// Copies the file as it is at one moment, also while a server writes it.
///
/// # Errors
/// If it cannot be read, or the copy not be written.
pub fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let name = to.to_str().with_context(|| format!("{} is not UTF-8", to.display()))?;
    let connection = open_plain(from)?;
    connection
        .execute("VACUUM INTO ?1", [name])
        .with_context(|| format!("copying {} to {}", from.display(), to.display()))?;
    std::fs::File::open(to)?.sync_all().with_context(|| format!("syncing {}", to.display()))
}

/// What is wrong with the file's structure; nothing if all is well.
///
/// # Errors
/// If it cannot be opened.
pub fn check(path: &Path) -> anyhow::Result<Vec<String>> {
    let connection = open_plain(path)?;
    let mut statement = connection.prepare("PRAGMA quick_check(20)")?;
    let lines = statement.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
    Ok(lines.into_iter().filter(|line| line != "ok").map(|line| format!("meta.db: {line}")).collect())
}

/// Number and id of every device, of a file that stays as it is, whatever version of ours made it.
///
/// # Errors
/// If it cannot be read.
pub fn device_ids(path: &Path) -> anyhow::Result<Vec<(DeviceKey, String)>> {
    let connection = open_plain(path)?;
    let mut statement = connection.prepare("SELECT device, id FROM device")?;
    let devices = statement.query_map([], |row| Ok((DeviceKey(row.get(0)?), row.get(1)?)))?;
    Ok(devices.collect::<Result<_, _>>()?)
}

fn open_plain(path: &Path) -> anyhow::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection =
        Connection::open_with_flags(path, flags).with_context(|| format!("opening {} for reading", path.display()))?;
    connection.busy_timeout(Duration::from_secs(5))?;
    check_version(&connection, path)?;
    Ok(connection)
}

fn version(connection: &Connection) -> anyhow::Result<usize> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    usize::try_from(version).map_err(|_| anyhow::anyhow!("the store's version is {version}, which is none of ours"))
}

fn check_version(connection: &Connection, path: &Path) -> anyhow::Result<()> {
    let found = version(connection).with_context(|| format!("{} is not a Pulsewire store", path.display()))?;
    if found > STEPS.len() {
        anyhow::bail!(
            "{} was made by a newer version of Pulsewire (its format is {found}, this build knows {}); \
             start that version, or give another --data-dir",
            path.display(),
            STEPS.len()
        );
    }
    Ok(())
}
