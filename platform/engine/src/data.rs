//! Statements on `data.db`.

use crate::error::StoreError;
use crate::heads::{Device, Heads, Latest, NO_LATEST, StreamState, Table, TableId, Taken, TakenTable};
use crate::rollup::Level;
use pulsewire_chunk::Kind;
use pulsewire_core::accounting::Accounting;
use pulsewire_core::block::SeriesSet;
use pulsewire_core::ids::{DeviceKey, Position, Sequence, SeriesKey, StreamId};
use pulsewire_core::value::ValueType;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::HashMap;
use std::sync::Arc;

/// A chunk without its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChunkRow {
    pub chunk: i64,
    pub table: TableId,
    pub seal: i64,
    pub from_us: i64,
    /// Inclusive.
    pub to_us: i64,
    pub rows: i64,
    /// How many columns it has; fewer than its table once some metric's samples are too old.
    pub columns: i64,
}

pub(crate) fn kind_of(value_type: ValueType) -> Kind {
    match value_type {
        ValueType::F64 => Kind::F64,
        ValueType::F32 => Kind::F32,
        ValueType::I64 => Kind::I64,
        ValueType::Bool => Kind::Bool,
        ValueType::Text => Kind::Text,
    }
}

pub(crate) fn generation(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("SELECT value FROM store WHERE name = 'generation'")?.query_row([], |row| row.get(0))
}

pub(crate) fn next_generation(connection: &Connection) -> rusqlite::Result<()> {
    connection.prepare_cached("UPDATE store SET value = value + 1 WHERE name = 'generation'")?.execute([])?;
    Ok(())
}

/// Every record up to this one is in this file; None = the file does not say.
pub(crate) fn sealed_through(connection: &Connection) -> rusqlite::Result<Option<u64>> {
    let found: Option<i64> = connection
        .query_row("SELECT value FROM store WHERE name = 'sealed_through'", [], |row| row.get(0))
        .optional()?;
    Ok(found.map(i64::cast_unsigned))
}

pub(crate) fn set_sealed_through(connection: &Connection, through: Position) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO store (name, value) VALUES ('sealed_through', ?1)
             ON CONFLICT (name) DO UPDATE SET value = max(value, ?1)",
        )?
        .execute([through.0.cast_signed()])?;
    Ok(())
}

/// True if it has anything of any device.
pub(crate) fn has_devices(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT EXISTS (SELECT 1 FROM device)", [], |row| row.get(0))
}

/// Where a device stands as of its seal. Streams that do not exist any more are removed at the next start.
pub(crate) fn write_device(connection: &Connection, taken: &Taken, account: &Accounting) -> rusqlite::Result<()> {
    let counts: Vec<u8> = account.counts().iter().flat_map(|count| count.to_le_bytes()).collect();
    connection
        .prepare_cached(
            "INSERT INTO device (device, position, seals, counts) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (device) DO UPDATE SET position = ?2, seals = ?3, counts = ?4",
        )?
        .execute(params![taken.device.0, taken.position.0.cast_signed(), taken.seal, counts])?;
    let mut stream = connection.prepare_cached(
        "INSERT INTO stream (device, stream, sequence, used_us) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (device, stream) DO UPDATE SET sequence = ?3, used_us = ?4",
    )?;
    for s in &taken.streams {
        stream.execute(params![taken.device.0, s.stream.0, s.sequence.0.cast_signed(), s.used_us])?;
    }
    Ok(())
}

fn columns_blob(set: &SeriesSet) -> Vec<u8> {
    let columns = set.series.iter().zip(&set.types);
    columns.flat_map(|(series, value_type)| [&series.0.to_le_bytes()[..], &[value_type.number()]].concat()).collect()
}

fn latest_blob(latest: &[Latest], texts: &[Box<str>]) -> Vec<u8> {
    let mut out = Vec::with_capacity(latest.len() * 16);
    for one in latest {
        out.extend_from_slice(&one.time_us.to_le_bytes());
        out.extend_from_slice(&one.cell.to_le_bytes());
    }
    for text in texts {
        // A text is at most 4,096 bytes.
        out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(0).to_le_bytes());
        out.extend_from_slice(text.as_bytes());
    }
    out
}

fn read_latest(blob: &[u8], table: &mut Table) {
    let mut numbers = blob.chunks_exact(8).map(|b| b.try_into().map_or(0, u64::from_le_bytes));
    for latest in &mut table.latest {
        let (Some(time), Some(cell)) = (numbers.next(), numbers.next()) else { return };
        *latest = Latest { time_us: time.cast_signed(), cell };
    }
    let mut rest = blob.get(table.latest.len() * 16..).unwrap_or_default();
    for text in &mut table.latest_texts {
        let Some((len, tail)) = rest.split_first_chunk::<4>() else { return };
        let len = u32::from_le_bytes(*len) as usize;
        let Some((bytes, tail)) = tail.split_at_checked(len) else { return };
        *text = String::from_utf8_lossy(bytes).into();
        rest = tail;
    }
}

/// Writes what a table is as of its seal, and gives it a number if it has none.
pub(crate) fn write_table(
    connection: &Connection,
    device: DeviceKey,
    table: &TakenTable,
    rolled_us: i64,
    span_us: i64,
) -> rusqlite::Result<TableId> {
    let latest = latest_blob(&table.latest, &table.latest_texts);
    let Some(id) = table.id else {
        connection
            .prepare_cached(
                "INSERT INTO tbl (device, columns, newest_us, rolled_us, floor_us, span_us, latest)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                device.0,
                columns_blob(&table.set),
                table.newest_us,
                rolled_us,
                table.floor_us,
                span_us,
                latest
            ])?;
        return Ok(TableId(connection.last_insert_rowid()));
    };
    connection
        .prepare_cached("UPDATE tbl SET newest_us = ?2, rolled_us = ?3, span_us = ?4, latest = ?5 WHERE tbl = ?1")?
        .execute(params![id.0, table.newest_us, rolled_us, span_us, latest])?;
    Ok(id)
}

pub(crate) fn insert_chunk(connection: &Connection, row: &ChunkRow, data: &[u8]) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO chunk (tbl, seal, from_us, to_us, rows, columns) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
        .execute(params![row.table.0, row.seal, row.from_us, row.to_us, row.rows, row.columns])?;
    connection
        .prepare_cached("INSERT INTO chunk_data (chunk, data) VALUES (?1, ?2)")?
        .execute(params![connection.last_insert_rowid(), data])?;
    Ok(())
}

pub(crate) fn delete_chunk(connection: &Connection, chunk: i64) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM chunk WHERE chunk = ?1")?.execute([chunk])?;
    connection.prepare_cached("DELETE FROM chunk_data WHERE chunk = ?1")?.execute([chunk])?;
    Ok(())
}

/// Chunks of a table with something in `from_us..=to_us`, by their beginning. `span_us` is the longest that any spans.
pub(crate) fn chunks(
    connection: &Connection,
    table: TableId,
    from_us: i64,
    to_us: i64,
    span_us: i64,
) -> rusqlite::Result<Vec<ChunkRow>> {
    let mut statement = connection.prepare_cached(
        "SELECT chunk, tbl, seal, from_us, to_us, rows, columns FROM chunk
         WHERE tbl = ?1 AND from_us >= ?2 AND from_us <= ?3 AND to_us >= ?4 AND bad = 0 ORDER BY from_us",
    )?;
    let rows = statement.query_map(params![table.0, from_us.saturating_sub(span_us), to_us, from_us], chunk_row)?;
    rows.collect()
}

pub(crate) fn chunk_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<ChunkRow> {
    Ok(ChunkRow {
        chunk: row.get(0)?,
        table: TableId(row.get(1)?),
        seal: row.get(2)?,
        from_us: row.get(3)?,
        to_us: row.get(4)?,
        rows: row.get(5)?,
        columns: row.get(6)?,
    })
}

/// A chunk's bytes, lent to `read`. None if it is gone.
pub(crate) fn with_bytes<R>(
    connection: &Connection,
    chunk: i64,
    read: impl FnOnce(&[u8]) -> R,
) -> rusqlite::Result<Option<R>> {
    let mut statement = connection.prepare_cached("SELECT data FROM chunk_data WHERE chunk = ?1")?;
    let mut rows = statement.query([chunk])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    Ok(Some(read(row.get_ref(0)?.as_blob().unwrap_or_default())))
}

/// Removes rollups that hold something of `from_us..=to_us`, as far as they can be made again.
pub(crate) fn drop_rollups(
    connection: &Connection,
    table: TableId,
    from_us: i64,
    to_us: i64,
    floor_us: i64,
) -> rusqlite::Result<Option<i64>> {
    // Levels and the longest block are given so that SQLite goes by the primary key: a table may have very many blocks.
    let mut statement = connection.prepare_cached(
        "DELETE FROM rollup WHERE tbl = ?1 AND level IN (1, 2) AND from_us >= ?4 AND from_us <= ?3 AND +to_us > ?2
         RETURNING from_us",
    )?;
    let first_us = from_us.saturating_sub(Level::Hour.block_us()).max(floor_us);
    let removed: Vec<i64> =
        statement.query_map(params![table.0, from_us, to_us, first_us], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(removed.into_iter().min())
}

/// Removes minutes that were made ahead of what was sealed, because nothing seemed to come any more.
pub(crate) fn drop_rollups_ahead(
    connection: &Connection,
    table: TableId,
    sealed_us: i64,
    floor_us: i64,
) -> rusqlite::Result<()> {
    let first_us = sealed_us.saturating_sub(Level::Minute.block_us()).max(floor_us.saturating_sub(1));
    // The plus keeps SQLite to the primary key; the index by end holds every table's blocks.
    connection
        .prepare_cached("DELETE FROM rollup WHERE tbl = ?1 AND level = 1 AND from_us > ?2 AND +to_us > ?3")?
        .execute(params![table.0, first_us, sealed_us.saturating_add(1)])?;
    Ok(())
}

/// Reads where every device stands.
pub(crate) fn load(connection: &Connection) -> Result<Heads, StoreError> {
    let mut heads = Heads::default();
    heads.generation = generation(connection)?;
    let mut statement = connection.prepare("SELECT device, position, seals, counts FROM device")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let counts: Vec<u8> = row.get(3)?;
        let counts: Vec<u64> = counts.chunks_exact(8).map(|b| b.try_into().map_or(0, u64::from_le_bytes)).collect();
        let device = Device {
            account: Accounting::from_counts(&counts),
            position: Position(row.get::<_, i64>(1)?.cast_unsigned()),
            seals: row.get(2)?,
            ..Device::default()
        };
        heads.applied = heads.applied.max(device.position);
        heads.devices.insert(DeviceKey(row.get(0)?), device);
    }
    let mut statement =
        connection.prepare("SELECT device, stream, sequence, used_us FROM stream ORDER BY device, stream")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let state = StreamState {
            stream: StreamId(row.get(1)?),
            sequence: Sequence(row.get::<_, i64>(2)?.cast_unsigned()),
            used_us: row.get(3)?,
        };
        if let Some(device) = heads.devices.get_mut(&DeviceKey(row.get(0)?)) {
            device.streams.push(state);
        }
    }
    let mut statement = connection.prepare(
        "SELECT tbl, device, columns, newest_us, rolled_us, floor_us, span_us, latest FROM tbl ORDER BY tbl",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let device = DeviceKey(row.get(1)?);
        let Some(set) = read_columns(device, row.get_ref(2)?.as_blob().unwrap_or_default()) else {
            return Err(StoreError::Stopped(anyhow::anyhow!("data.db describes a table of device {device} wrongly")));
        };
        let mut table = Table::new(Arc::new(set));
        table.id = Some(TableId(row.get(0)?));
        table.newest_us = row.get(3)?;
        table.sealed_us = table.newest_us;
        table.rolled_us = row.get(4)?;
        table.floor_us = row.get(5)?;
        table.span_us = row.get(6)?;
        table.latest.fill(NO_LATEST);
        read_latest(row.get_ref(7)?.as_blob().unwrap_or_default(), &mut table);
        if let Some(device) = heads.devices.get_mut(&device) {
            device.tables.push(table);
        }
    }
    let mut statement = connection
        .prepare("SELECT tbl, count(*) FROM chunk WHERE rows < 1024 AND bad = 0 GROUP BY tbl HAVING count(*) > 1")?;
    let small: HashMap<i64, u32> =
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    for table in heads.devices.values_mut().flat_map(|device| &mut device.tables) {
        table.small = table.id.and_then(|id| small.get(&id.0).copied()).unwrap_or(0);
    }
    Ok(heads)
}

fn read_columns(device: DeviceKey, blob: &[u8]) -> Option<SeriesSet> {
    let mut set = SeriesSet { device, series: Vec::new(), types: Vec::new() };
    for column in blob.chunks_exact(5) {
        let (series, value_type) = column.split_first_chunk::<4>()?;
        set.series.push(SeriesKey(u32::from_le_bytes(*series)));
        set.types.push(ValueType::from_number(value_type[0])?);
    }
    Some(set)
}

/// Removes some of what a device has; true if there is more.
pub(crate) fn forget_step(connection: &Connection, device: DeviceKey, chunks: i64) -> rusqlite::Result<bool> {
    let table: Option<i64> = connection
        .query_row("SELECT tbl FROM tbl WHERE device = ?1 LIMIT 1", [device.0], |row| row.get(0))
        .optional()?;
    let Some(table) = table else {
        connection.execute("DELETE FROM stream WHERE device = ?1", [device.0])?;
        connection.execute("DELETE FROM device WHERE device = ?1", [device.0])?;
        return Ok(false);
    };
    let mut statement = connection.prepare_cached("SELECT chunk FROM chunk WHERE tbl = ?1 LIMIT ?2")?;
    let some: Vec<i64> = statement.query_map([table, chunks], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for chunk in &some {
        delete_chunk(connection, *chunk)?;
    }
    if i64::try_from(some.len()).unwrap_or(0) < chunks {
        connection.execute("DELETE FROM rollup WHERE tbl = ?1", [table])?;
        connection.execute("DELETE FROM tbl WHERE tbl = ?1", [table])?;
    }
    Ok(true)
}

/// Marks a chunk as damaged; answers in words what it held.
pub(crate) fn set_aside(connection: &Connection, chunk: i64) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached(
            "UPDATE chunk SET bad = 1 WHERE chunk = ?1
             RETURNING (SELECT device FROM tbl WHERE tbl.tbl = chunk.tbl), rows, from_us, to_us",
        )?
        .query_row([chunk], |row| {
            let (device, rows): (i64, i64) = (row.get(0)?, row.get(1)?);
            let (from_us, to_us): (i64, i64) = (row.get(2)?, row.get(3)?);
            Ok(format!("chunk {chunk} of device number {device}: {rows} rows from {from_us} to {to_us} µs"))
        })
        .optional()
}

pub(crate) fn set_rolled(connection: &Connection, table: TableId, rolled_us: i64) -> rusqlite::Result<()> {
    connection.prepare_cached("UPDATE tbl SET rolled_us = ?2 WHERE tbl = ?1")?.execute(params![table.0, rolled_us])?;
    Ok(())
}

pub(crate) fn set_floor(connection: &Connection, table: TableId, floor_us: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE tbl SET floor_us = max(floor_us, ?2) WHERE tbl = ?1")?
        .execute(params![table.0, floor_us])?;
    Ok(())
}

/// The beginning of the first chunk that has something at or after a time.
pub(crate) fn next_chunk_from(
    connection: &Connection,
    table: TableId,
    from_us: i64,
    span_us: i64,
) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached(
            "SELECT max(from_us, ?3) FROM chunk WHERE tbl = ?1 AND from_us >= ?2 AND to_us >= ?3 AND bad = 0
             ORDER BY from_us LIMIT 1",
        )?
        .query_row(params![table.0, from_us.saturating_sub(span_us), from_us], |row| row.get(0))
        .optional()
}
