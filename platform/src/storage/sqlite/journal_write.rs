//! What the journal's writer does inside a transaction.

use super::checks::journal_error;
use super::record;
use crate::ports::{Batch, JournalError, OpenedLane, OpenedStream, Receipt, StreamKind, StreamPosition};
use pulsewire_core::accounting::Accounting;
use pulsewire_core::block::ValueRef;
use pulsewire_core::ids::{DeviceKey, Fence, Lane, MetricName, Position, Sequence, SeriesKey, StreamId};
use pulsewire_core::sample::Series;
use pulsewire_core::value::ValueType;
use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, OptionalExtension, ToSql, params};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of the newest records read at start to learn the digests of recent reports.
const DIGEST_BYTES: i64 = 8 << 20;
/// Samples removed per step when a device is deleted: some milliseconds, so that acknowledgements go on between steps.
const FORGET_SAMPLES: i64 = 10_000;

/// Arguments of [`open_stream`].
#[derive(Debug, Clone, Copy)]
pub struct StreamRequest {
    pub lane: Lane,
    pub fence: Fence,
    pub device: DeviceKey,
    pub kind: StreamKind,
    pub now_us: i64,
    pub streams_max: usize,
}

/// Gives a new store its epoch, by which viewers notice that positions started anew.
pub fn ensure_epoch(connection: &Connection) -> anyhow::Result<()> {
    let mut bytes = [0u8; 8];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("the system gives no random bytes: {error}"))?;
    // 63 bits, so that SQLite's integer holds it; never 0, which means "none" to readers.
    let epoch = (i64::from_le_bytes(bytes) & i64::MAX).max(1);
    connection.execute("INSERT OR IGNORE INTO store (name, value) VALUES ('epoch', ?1)", [epoch])?;
    Ok(())
}

/// A value as SQLite keeps it bit for bit.
pub struct Stored<'a>(pub ValueRef<'a>);

impl ToSql for Stored<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self.0 {
            ValueRef::F64(v) if v.is_nan() => Ok(ToSqlOutput::from(v.to_bits().to_le_bytes().to_vec())),
            ValueRef::F64(v) => Ok(ToSqlOutput::from(v)),
            ValueRef::I64(v) => Ok(ToSqlOutput::from(v)),
            ValueRef::Bool(v) => Ok(ToSqlOutput::from(v)),
            ValueRef::Text(v) => Ok(ToSqlOutput::from(v)),
        }
    }
}

fn fence_holds(transaction: &Connection, lane: Lane, fence: Fence) -> Result<bool, JournalError> {
    let newest: i64 = transaction
        .prepare_cached("SELECT fence FROM lane WHERE lane = ?1")
        .and_then(|mut s| s.query_row([lane.0], |row| row.get(0)))
        .map_err(journal_error)?;
    Ok(newest.unsigned_abs() == fence.0)
}

/// Writes a batch; the outer error undoes the whole transaction, the inner one only answers this request.
pub fn append(
    transaction: &Connection,
    lane: Lane,
    fence: Fence,
    batch: &Batch,
    trim: &mut Trim,
) -> Result<Result<Receipt, JournalError>, JournalError> {
    if !fence_holds(transaction, lane, fence)? {
        return Ok(Err(JournalError::StaleFence));
    }
    let blob = record::encode(batch);
    let checksum = record::checksum(&blob);
    let receipt = write_batch(transaction, lane, batch, &blob, checksum).map_err(journal_error)?;
    trim.added += blob.len() as u64;
    Ok(Ok(receipt))
}

fn write_batch(
    transaction: &Connection,
    lane: Lane,
    batch: &Batch,
    blob: &[u8],
    checksum: i64,
) -> rusqlite::Result<Receipt> {
    transaction
        .prepare_cached("INSERT INTO journal (lane, received_us, checksum, record) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![lane.0, batch.received_us, checksum, blob])?;
    let position = Position(transaction.last_insert_rowid().unsigned_abs());
    write_series(transaction, batch)?;
    let mut replaced: HashMap<DeviceKey, u64> = HashMap::new();
    let mut insert =
        transaction.prepare_cached("INSERT OR IGNORE INTO sample (series, time_us, value) VALUES (?1, ?2, ?3)")?;
    let mut update = transaction.prepare_cached("UPDATE sample SET value = ?3 WHERE series = ?1 AND time_us = ?2")?;
    let mut advance = transaction
        .prepare_cached("UPDATE stream SET sequence = ?3, used_us = ?4 WHERE device = ?1 AND stream = ?2")?;
    for block in &batch.blocks {
        let device = block.device();
        for row in block.reports().flat_map(|report| report.rows()) {
            for (series, value) in row.values() {
                let values = params![series.0, row.time_us(), Stored(value)];
                if insert.execute(values)? == 0 {
                    // Last write wins.
                    update.execute(values)?;
                    *replaced.entry(device).or_default() += 1;
                }
            }
        }
        for run in block.reports.chunk_by(|a, b| a.stream == b.stream) {
            let Some(last) = run.last() else { continue };
            advance.execute(params![device.0, last.stream.0, last.sequence.0.cast_signed(), batch.received_us])?;
        }
    }
    write_accounting(transaction, batch, &replaced)?;
    Ok(Receipt { position, replaced: replaced.into_iter().collect() })
}

fn write_series(transaction: &Connection, batch: &Batch) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached(
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
    if let Some(last) = batch.series.iter().map(|s| s.key.0).max() {
        transaction
            .prepare_cached(
                "INSERT INTO store (name, value) VALUES ('next_series', ?1)
                 ON CONFLICT (name) DO UPDATE SET value = max(value, ?1)",
            )?
            .execute([i64::from(last) + 1])?;
    }
    Ok(())
}

fn write_accounting(
    transaction: &Connection,
    batch: &Batch,
    replaced: &HashMap<DeviceKey, u64>,
) -> rusqlite::Result<()> {
    let mut read = transaction.prepare_cached("SELECT counts FROM accounting WHERE device = ?1")?;
    let mut write = transaction.prepare_cached(
        "INSERT INTO accounting (device, counts) VALUES (?1, ?2) ON CONFLICT (device) DO UPDATE SET counts = ?2",
    )?;
    for (device, added) in &batch.accounting {
        let known = read.query_row([device.0], |row| row.get::<_, String>(0)).optional()?;
        let mut account = known.map(|counts| account(&counts)).transpose()?.unwrap_or_default();
        account.add(added);
        account.replaced += replaced.get(device).copied().unwrap_or(0);
        write.execute(params![device.0, serde_json::Value::from(account.counts().to_vec()).to_string()])?;
    }
    Ok(())
}

/// An account as it is kept: its counts as a JSON list.
fn account(counts: &str) -> rusqlite::Result<Accounting> {
    let counts: Vec<u64> = serde_json::from_str(counts)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, error.into()))?;
    Ok(Accounting::from_counts(&counts))
}

/// Makes a stream; errors as for [`append`].
pub fn open_stream(
    transaction: &Connection,
    request: &StreamRequest,
) -> Result<Result<OpenedStream, JournalError>, JournalError> {
    if !fence_holds(transaction, request.lane, request.fence)? {
        return Ok(Err(JournalError::StaleFence));
    }
    write_stream(transaction, request).map(Ok).map_err(journal_error)
}

fn write_stream(transaction: &Connection, request: &StreamRequest) -> rusqlite::Result<OpenedStream> {
    let device = request.device.0;
    let (held, highest): (i64, u32) = transaction
        .prepare_cached("SELECT count(*), coalesce(max(stream), 0) FROM stream WHERE device = ?1")?
        .query_row([device], |row| Ok((row.get(0)?, row.get(1)?)))?;
    // The highest id is never the one retired, so `highest + 1` was never used before.
    let stream = highest.checked_add(1).ok_or(rusqlite::Error::IntegralValueOutOfRange(1, i64::from(highest)))?;
    let kind = match request.kind {
        StreamKind::Live => 0,
        StreamKind::Backlog => 1,
    };
    transaction
        .prepare_cached("INSERT INTO stream (device, stream, kind, sequence, used_us) VALUES (?1, ?2, ?3, 0, ?4)")?
        .execute(params![device, stream, kind, request.now_us])?;
    let mut retired = None;
    if held.unsigned_abs() >= request.streams_max.max(1) as u64 {
        let oldest: u32 = transaction
            .prepare_cached(
                "SELECT stream FROM stream WHERE device = ?1 AND stream <> ?2 ORDER BY used_us, stream LIMIT 1",
            )?
            .query_row([device, stream], |row| row.get(0))?;
        transaction
            .prepare_cached("DELETE FROM stream WHERE device = ?1 AND stream = ?2")?
            .execute([device, oldest])?;
        retired = Some(StreamId(oldest));
    }
    Ok(OpenedStream { stream: StreamId(stream), retired })
}

/// Takes a lane over and reads what its new owner needs.
pub fn open_lane(transaction: &Connection, lane: Lane) -> Result<OpenedLane, JournalError> {
    let opened = read_lane(transaction, lane).map_err(journal_error)?;
    let (fence, epoch, position, next_series) = opened;
    Ok(OpenedLane {
        fence: Fence(fence),
        epoch,
        position: Position(position),
        series: read_series(transaction).map_err(journal_error)?,
        next_series: SeriesKey(next_series),
        streams: read_streams(transaction).map_err(journal_error)?,
        digests: read_digests(transaction, lane)?,
        accounting: read_accounting(transaction).map_err(journal_error)?,
    })
}

fn read_lane(transaction: &Connection, lane: Lane) -> rusqlite::Result<(u64, u64, u64, u32)> {
    let fence: i64 = transaction.query_row(
        "INSERT INTO lane (lane, fence) VALUES (?1, 1) ON CONFLICT (lane) DO UPDATE SET fence = fence + 1
         RETURNING fence",
        [lane.0],
        |row| row.get(0),
    )?;
    let value = |name: &str| -> rusqlite::Result<i64> {
        let found = transaction.query_row("SELECT value FROM store WHERE name = ?1", [name], |row| row.get(0));
        Ok(found.optional()?.unwrap_or(0))
    };
    let epoch = value("epoch")?.unsigned_abs();
    let next_series = u32::try_from(value("next_series")?).unwrap_or(u32::MAX);
    let position: i64 =
        transaction.query_row("SELECT coalesce(max(position), 0) FROM journal", [], |row| row.get(0))?;
    Ok((fence.unsigned_abs(), epoch, position.unsigned_abs(), next_series))
}

fn read_series(transaction: &Connection) -> rusqlite::Result<Vec<Series>> {
    let mut statement = transaction.prepare("SELECT series, device, metric, unit, type FROM series")?;
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

fn read_streams(transaction: &Connection) -> rusqlite::Result<Vec<StreamPosition>> {
    let mut statement = transaction.prepare("SELECT device, stream, sequence FROM stream")?;
    let rows = statement.query_map([], |row| {
        Ok(StreamPosition {
            device: DeviceKey(row.get(0)?),
            stream: StreamId(row.get(1)?),
            sequence: Sequence(row.get::<_, i64>(2)?.unsigned_abs()),
        })
    })?;
    rows.collect()
}

fn read_accounting(transaction: &Connection) -> rusqlite::Result<Vec<(DeviceKey, Accounting)>> {
    let mut statement = transaction.prepare("SELECT device, counts FROM accounting")?;
    let rows = statement.query_map([], |row| Ok((DeviceKey(row.get(0)?), account(&row.get::<_, String>(1)?)?)))?;
    rows.collect()
}

/// Digests of the newest reports. A damaged record among them is reported and passed over: digests only
/// serve to notice clones.
fn read_digests(
    transaction: &Connection,
    lane: Lane,
) -> Result<Vec<(DeviceKey, StreamId, Sequence, u64)>, JournalError> {
    let mut statement = transaction
        .prepare("SELECT position, received_us, checksum, record FROM journal WHERE lane = ?1 ORDER BY position DESC")
        .map_err(journal_error)?;
    let mut rows = statement.query([lane.0]).map_err(journal_error)?;
    let (mut digests, mut bytes) = (Vec::new(), 0);
    while bytes < DIGEST_BYTES {
        let Some(row) = rows.next().map_err(journal_error)? else { break };
        let blob: Vec<u8> = row.get(3).map_err(journal_error)?;
        bytes += i64::try_from(blob.len()).unwrap_or(i64::MAX);
        let column = |i| row.get::<_, i64>(i).map_err(journal_error);
        match record::decode(column(0)?, column(1)?, column(2)?, &blob) {
            Ok((record, _)) => {
                for block in &record.blocks {
                    // A skip has no content and so no digest.
                    let reports = block.reports.iter().filter(|r| r.digest != 0);
                    digests.extend(reports.map(|r| (block.device(), r.stream, r.sequence, r.digest)));
                }
            }
            Err(error) => tracing::error!(%error, "a journal record is damaged; its samples were stored beside it"),
        }
    }
    Ok(digests)
}

/// Removes a part of a device's data; true if more is left.
pub fn forget_step(transaction: &Connection, device: DeviceKey) -> Result<bool, JournalError> {
    forget(transaction, device).map_err(journal_error)
}

fn forget(transaction: &Connection, device: DeviceKey) -> rusqlite::Result<bool> {
    let series: Option<u32> = transaction
        .query_row("SELECT series FROM series WHERE device = ?1 LIMIT 1", [device.0], |row| row.get(0))
        .optional()?;
    let Some(series) = series else {
        transaction.execute("DELETE FROM stream WHERE device = ?1", [device.0])?;
        transaction.execute("DELETE FROM accounting WHERE device = ?1", [device.0])?;
        return Ok(false);
    };
    let removed = transaction.execute(
        "DELETE FROM sample WHERE series = ?1 AND time_us IN
             (SELECT time_us FROM sample WHERE series = ?1 ORDER BY time_us LIMIT ?2)",
        params![series, FORGET_SAMPLES],
    )?;
    if i64::try_from(removed).unwrap_or(0) < FORGET_SAMPLES {
        transaction.execute("DELETE FROM series WHERE series = ?1", [series])?;
    }
    Ok(true)
}

/// Which records are kept for readers.
#[derive(Debug, Clone)]
pub struct Retention {
    /// Bytes kept in any case.
    pub retain_bytes: u64,
    /// Bytes kept for the reader that holds records.
    pub hold_bytes: u64,
    /// Records after this position are held; `u64::MAX` = none.
    pub held_after: Arc<AtomicU64>,
}

/// Keeps the table of records below its limit by deleting the oldest as new ones come.
#[derive(Debug)]
pub struct Trim {
    limits: Retention,
    bytes: u64,
    /// Added by the transaction under way.
    pub added: u64,
    removed: u64,
}

impl Trim {
    /// Learns how much there is.
    pub fn measure(connection: &Connection, limits: Retention) -> Self {
        let bytes: i64 = connection
            .query_row("SELECT coalesce(sum(length(record)), 0) FROM journal", [], |row| row.get(0))
            .unwrap_or(0);
        Self { limits, bytes: bytes.unsigned_abs(), added: 0, removed: 0 }
    }

    /// A transaction begins; what an earlier one added or removed without a commit did not happen.
    pub fn begin(&mut self) {
        (self.added, self.removed) = (0, 0);
    }

    /// Deletes what is too much; the newest record always stays, since the next position follows from it.
    pub fn run(&mut self, transaction: &Connection) -> Result<(), JournalError> {
        let held_after = self.limits.held_after.load(Ordering::Acquire);
        loop {
            let bytes = (self.bytes + self.added).saturating_sub(self.removed);
            if bytes <= self.limits.retain_bytes {
                break;
            }
            let up_to = if bytes > self.limits.hold_bytes { u64::MAX } else { held_after };
            let up_to = i64::try_from(up_to).unwrap_or(i64::MAX);
            let oldest = transaction
                .prepare_cached(
                    "DELETE FROM journal WHERE position <= ?1 AND position =
                         (SELECT min(position) FROM journal WHERE position < (SELECT max(position) FROM journal))
                     RETURNING length(record)",
                )
                .and_then(|mut s| s.query_row([up_to], |row| row.get::<_, i64>(0)).optional())
                .map_err(journal_error)?;
            match oldest {
                Some(bytes) => self.removed += bytes.unsigned_abs(),
                None => break,
            }
        }
        Ok(())
    }

    /// The transaction is durable.
    pub fn committed(&mut self) {
        self.bytes = (self.bytes + self.added).saturating_sub(self.removed);
        (self.added, self.removed) = (0, 0);
    }
}
