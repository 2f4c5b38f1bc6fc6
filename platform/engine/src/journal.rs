//! Statements on `journal.db`.

use crate::error::StoreError;
use crate::record::{self, Record};
use crate::writer::StreamRequest;
use pulsewire_core::batch::{Batch, OpenedStream};
use pulsewire_core::ids::{DeviceKey, Fence, Lane, MetricName, Position, SeriesKey, StreamId};
use pulsewire_core::sample::{JournalRecord, Series};
use pulsewire_core::value::ValueType;
use rusqlite::{Connection, OptionalExtension, params};

/// Bytes of records after which an answer to a reader ends.
const READ_BYTES: usize = 4 << 20;

/// Gives a new store its epoch, by which readers notice that positions started anew.
pub(crate) fn ensure_epoch(connection: &Connection) -> anyhow::Result<()> {
    connection.execute("INSERT OR IGNORE INTO store (name, value) VALUES ('epoch', ?1)", [new_epoch()?])?;
    Ok(())
}

/// 63 bits, so that SQLite's integer holds it; never 0, which means "none" to readers.
pub(crate) fn new_epoch() -> anyhow::Result<i64> {
    let mut bytes = [0u8; 8];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("the system gives no random bytes: {error}"))?;
    Ok((i64::from_le_bytes(bytes) & i64::MAX).max(1))
}

pub(crate) fn value(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    let found = connection.query_row("SELECT value FROM store WHERE name = ?1", [name], |row| row.get(0));
    Ok(found.optional()?.unwrap_or(0))
}

pub(crate) fn fence_holds(connection: &Connection, lane: Lane, fence: Fence) -> rusqlite::Result<bool> {
    let newest: Option<i64> = connection
        .prepare_cached("SELECT fence FROM lane WHERE lane = ?1")?
        .query_row([lane.0], |row| row.get(0))
        .optional()?;
    Ok(newest.unwrap_or(0).cast_unsigned() == fence.0)
}

pub(crate) fn raise_fence(connection: &Connection, lane: Lane) -> rusqlite::Result<Fence> {
    let fence: i64 = connection.query_row(
        "INSERT INTO lane (lane, fence) VALUES (?1, 1) ON CONFLICT (lane) DO UPDATE SET fence = fence + 1
         RETURNING fence",
        [lane.0],
        |row| row.get(0),
    )?;
    Ok(Fence(fence.cast_unsigned()))
}

/// Writes a batch as one record; answers its bytes.
pub(crate) fn append(connection: &Connection, lane: Lane, position: Position, batch: &Batch) -> rusqlite::Result<u64> {
    let blob = record::encode(batch);
    connection
        .prepare_cached(
            "INSERT INTO journal (position, lane, received_us, checksum, record) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![position.0.cast_signed(), lane.0, batch.received_us, record::checksum(&blob), blob])?;
    write_series(connection, batch)?;
    Ok(blob.len() as u64)
}

fn write_series(connection: &Connection, batch: &Batch) -> rusqlite::Result<()> {
    let Some(last) = batch.series.iter().map(|s| s.key.0).max() else { return Ok(()) };
    let mut insert = connection.prepare_cached(
        "INSERT INTO series (series, device, metric, unit, type) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (series) DO UPDATE SET unit = ?4, type = ?5",
    )?;
    for series in &batch.series {
        insert.execute(params![
            series.key.0,
            series.device.0,
            series.metric.as_str(),
            series.unit,
            series.value_type.number()
        ])?;
    }
    connection
        .prepare_cached(
            "INSERT INTO store (name, value) VALUES ('next_series', ?1)
             ON CONFLICT (name) DO UPDATE SET value = max(value, ?1)",
        )?
        .execute([i64::from(last) + 1])?;
    Ok(())
}

/// Makes a stream. `unused` is what the device's streams were last used at, by id.
pub(crate) fn open_stream(
    connection: &Connection,
    request: &StreamRequest,
    unused: &[(StreamId, i64)],
) -> rusqlite::Result<OpenedStream> {
    let device = request.device.0;
    let mut statement =
        connection.prepare_cached("SELECT stream, opened_us FROM stream WHERE device = ?1 ORDER BY stream")?;
    let held: Vec<(u32, i64)> =
        statement.query_map([device], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    let highest = held.last().map_or(0, |(stream, _)| *stream);
    // The highest id is never the one retired, so the next one was never used before.
    let stream = highest.checked_add(1).ok_or(rusqlite::Error::IntegralValueOutOfRange(0, i64::from(highest)))?;
    connection
        .prepare_cached("INSERT INTO stream (device, stream, kind, opened_us) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![device, stream, u8::from(request.backlog), request.now_us])?;
    let mut retired = None;
    if held.len() >= request.streams_max.max(1) {
        let used = |(stream, opened_us): &(u32, i64)| {
            let used = unused.iter().find(|(id, _)| id.0 == *stream).map_or(0, |(_, used_us)| *used_us);
            (used.max(*opened_us), *stream)
        };
        if let Some(oldest) = held.iter().map(used).min().map(|(_, stream)| stream) {
            connection
                .prepare_cached("DELETE FROM stream WHERE device = ?1 AND stream = ?2")?
                .execute([device, oldest])?;
            retired = Some(StreamId(oldest));
        }
    }
    Ok(OpenedStream { stream: StreamId(stream), retired })
}

pub(crate) fn forget(connection: &Connection, device: DeviceKey) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM series WHERE device = ?1", [device.0])?;
    connection.execute("DELETE FROM stream WHERE device = ?1", [device.0])?;
    Ok(())
}

pub(crate) fn series(connection: &Connection) -> rusqlite::Result<Vec<Series>> {
    let mut statement = connection.prepare("SELECT series, device, metric, unit, type FROM series")?;
    let rows = statement.query_map([], |row| {
        let metric: String = row.get(2)?;
        let conversion =
            |what: String| rusqlite::Error::FromSqlConversionFailure(2, rusqlite::types::Type::Text, what.into());
        Ok(Series {
            key: SeriesKey(row.get(0)?),
            device: DeviceKey(row.get(1)?),
            metric: MetricName::parse(&metric).map_err(|error| conversion(error.to_string()))?,
            unit: row.get(3)?,
            value_type: ValueType::from_number(row.get(4)?)
                .ok_or_else(|| conversion(format!("series {metric:?} has an unknown type")))?,
        })
    })?;
    rows.collect()
}

/// Every stream, and when it was opened.
pub(crate) fn streams(connection: &Connection) -> rusqlite::Result<Vec<(DeviceKey, StreamId, i64)>> {
    let mut statement = connection.prepare("SELECT device, stream, opened_us FROM stream")?;
    let rows = statement.query_map([], |row| Ok((DeviceKey(row.get(0)?), StreamId(row.get(1)?), row.get(2)?)))?;
    rows.collect()
}

/// The oldest record there is.
pub(crate) fn first(connection: &Connection) -> rusqlite::Result<Option<Position>> {
    let first: Option<i64> = connection.query_row("SELECT min(position) FROM journal", [], |row| row.get(0))?;
    Ok(first.map(|first| Position(first.cast_unsigned())))
}

pub(crate) fn bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let bytes: i64 =
        connection.query_row("SELECT coalesce(sum(length(record)), 0) FROM journal", [], |row| row.get(0))?;
    Ok(bytes.cast_unsigned())
}

/// Records after a position, oldest first, with their bytes.
pub(crate) fn sizes_after(connection: &Connection, after: u64) -> rusqlite::Result<Vec<(Position, u64)>> {
    let mut statement =
        connection.prepare("SELECT position, length(record) FROM journal WHERE position > ?1 ORDER BY position")?;
    let rows = statement.query_map([i64::try_from(after).unwrap_or(i64::MAX)], |row| {
        Ok((Position(row.get::<_, i64>(0)?.cast_unsigned()), row.get::<_, i64>(1)?.cast_unsigned()))
    })?;
    rows.collect()
}

/// Goes over every record, oldest first: position, when it was taken, and what it holds or why it cannot be read.
pub(crate) fn for_each(
    connection: &Connection,
    mut each: impl FnMut(Position, i64, Result<Record, String>),
) -> rusqlite::Result<()> {
    let mut statement =
        connection.prepare("SELECT position, received_us, checksum, record FROM journal ORDER BY position")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let record = record::decode(row.get(2)?, row.get_ref(3)?.as_blob().unwrap_or_default());
        each(Position(row.get::<_, i64>(0)?.cast_unsigned()), row.get(1)?, record);
    }
    Ok(())
}

/// Records after a position; see [`crate::Reader::records`].
pub(crate) fn read(
    connection: &Connection,
    lane: Lane,
    after: Position,
    limit: usize,
) -> Result<Vec<JournalRecord>, StoreError> {
    let retry = |error: rusqlite::Error| StoreError::Retry(error.into());
    let mut statement = connection
        .prepare_cached(
            "SELECT position, received_us, checksum, record FROM journal
             WHERE position > ?1 AND lane = ?2 ORDER BY position LIMIT ?3",
        )
        .map_err(retry)?;
    let after = i64::try_from(after.0).unwrap_or(i64::MAX);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = statement.query((after, lane.0, limit)).map_err(retry)?;
    let (mut records, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next().map_err(retry)? {
        let blob = row.get_ref(3).map_err(retry)?.as_blob().unwrap_or_default();
        let position = Position(row.get::<_, i64>(0).map_err(retry)?.cast_unsigned());
        match record::decode(row.get(2).map_err(retry)?, blob) {
            Ok(record) => {
                let received_us = row.get(1).map_err(retry)?;
                records.push(JournalRecord { position, received_us, blocks: record.blocks });
            }
            // The reader first gets what is whole; the next call meets the damage first.
            Err(_) if !records.is_empty() => break,
            Err(problem) => return Err(StoreError::Corrupt { position, problem }),
        }
        bytes += blob.len();
        if bytes > READ_BYTES {
            break;
        }
    }
    Ok(records)
}

/// Deletes the oldest record if it is not after `up_to` and not the newest, from which the next position follows. Answers
/// its bytes.
pub(crate) fn delete_oldest(connection: &Connection, up_to: u64) -> rusqlite::Result<Option<u64>> {
    let bytes: Option<i64> = connection
        .prepare_cached(
            "DELETE FROM journal WHERE position <= ?1 AND position =
                 (SELECT min(position) FROM journal WHERE position < (SELECT max(position) FROM journal))
             RETURNING length(record)",
        )?
        .query_row([i64::try_from(up_to).unwrap_or(i64::MAX)], |row| row.get(0))
        .optional()?;
    Ok(bytes.map(i64::cast_unsigned))
}
