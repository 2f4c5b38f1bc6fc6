//! Reading samples back.

use crate::ports::{BucketQuery, HistoryError, RangeQuery, Snapshot, SnapshotQuery};
use pulsewire_core::aggregate::Buckets;
use pulsewire_core::ids::{Position, SeriesKey};
use pulsewire_core::sample::Sample;
use pulsewire_core::value::{Value, ValueClass, ValueType};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row};

/// Most samples one bucket query may look at: a few seconds of reading. More is an error that says what to do.
const SCAN_SAMPLES_MAX: usize = 20_000_000;

/// Most bytes of text in one snapshot, beyond the newest value of each series.
const SNAPSHOT_TEXT_BYTES: usize = 16 << 20;

fn failed(error: rusqlite::Error) -> HistoryError {
    HistoryError::Failed(error.into())
}

fn class_of(connection: &Connection, series: SeriesKey) -> Result<ValueClass, HistoryError> {
    let number: Option<u8> = connection
        .prepare_cached("SELECT type FROM series WHERE series = ?1")
        .and_then(|mut s| s.query_row([series.0], |row| row.get(0)).optional())
        .map_err(failed)?;
    Ok(number.and_then(ValueType::from_number).map_or(ValueClass::Number, ValueType::class))
}

fn sample(row: &Row<'_>, class: ValueClass) -> rusqlite::Result<Sample> {
    let value = match row.get_ref(1)? {
        ValueRef::Real(v) => Value::F64(v),
        ValueRef::Integer(v) if class == ValueClass::Bool => Value::Bool(v != 0),
        ValueRef::Integer(v) => Value::I64(v),
        ValueRef::Text(v) => Value::Text(String::from_utf8_lossy(v).into()),
        // Only NaN is kept as a blob, with its bits.
        ValueRef::Blob(v) => {
            Value::F64(v.try_into().map_or(f64::NAN, |bytes| f64::from_bits(u64::from_le_bytes(bytes))))
        }
        ValueRef::Null => Value::F64(f64::NAN),
    };
    Ok(Sample { time_us: row.get(0)?, value })
}

/// See [`History::range`](crate::ports::History::range).
pub fn range(connection: &Connection, query: RangeQuery) -> Result<Vec<Sample>, HistoryError> {
    let class = class_of(connection, query.series)?;
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    let mut statement = connection
        .prepare_cached(
            "SELECT time_us, value FROM sample WHERE series = ?1 AND time_us >= ?2 AND time_us < ?3
             ORDER BY time_us LIMIT ?4",
        )
        .map_err(failed)?;
    let rows = statement
        .query_map((query.series.0, query.from_us, query.to_us, limit), |row| sample(row, class))
        .map_err(failed)?;
    rows.collect::<Result<_, _>>().map_err(failed)
}

/// See [`History::buckets`](crate::ports::History::buckets).
pub fn buckets(connection: &Connection, query: BucketQuery) -> Result<Vec<Sample>, HistoryError> {
    let class = class_of(connection, query.range.series)?;
    let mut statement = connection
        .prepare_cached(
            "SELECT time_us, value FROM sample WHERE series = ?1 AND time_us >= ?2 AND time_us < ?3 ORDER BY time_us",
        )
        .map_err(failed)?;
    let mut rows = statement.query((query.range.series.0, query.range.from_us, query.range.to_us)).map_err(failed)?;
    let mut buckets = Buckets::new(query.step_us, query.aggregate);
    let (mut out, mut seen) = (Vec::new(), 0);
    while let Some(row) = rows.next().map_err(failed)? {
        seen += 1;
        if seen > SCAN_SAMPLES_MAX {
            return Err(HistoryError::TooMuch(format!(
                "the range holds more than {SCAN_SAMPLES_MAX} samples; ask for a shorter one"
            )));
        }
        out.extend(buckets.push(sample(row, class).map_err(failed)?));
        if out.len() >= query.range.limit {
            return Ok(out);
        }
    }
    out.extend(buckets.finish());
    Ok(out)
}

/// See [`History::snapshot`](crate::ports::History::snapshot).
pub fn snapshot(connection: &mut Connection, query: &SnapshotQuery) -> Result<Snapshot, HistoryError> {
    // One read transaction: the position and the samples belong together.
    let transaction = connection.transaction().map_err(failed)?;
    let position: i64 = transaction
        .query_row("SELECT coalesce(max(position), 0) FROM journal", [], |row| row.get(0))
        .map_err(failed)?;
    let mut text_bytes = 0;
    let share = (query.samples_max / query.series.len().max(1)).max(1);
    let mut answer = Snapshot { position: Position(position.unsigned_abs()), ..Snapshot::default() };
    for &series in &query.series {
        let class = class_of(&transaction, series)?;
        let limit = if query.from_us.is_some() { share + 1 } else { 1 };
        let mut statement = transaction
            .prepare_cached(
                "SELECT time_us, value FROM sample WHERE series = ?1 AND time_us >= ?2 ORDER BY time_us DESC LIMIT ?3",
            )
            .map_err(failed)?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let from = query.from_us.unwrap_or(i64::MIN);
        let mut rows = statement.query((series.0, from, limit)).map_err(failed)?;
        let mut samples: Vec<Sample> = Vec::new();
        while let Some(row) = rows.next().map_err(failed)? {
            let one = sample(row, class).map_err(failed)?;
            if let Value::Text(text) = &one.value {
                text_bytes += text.len();
                if text_bytes > SNAPSHOT_TEXT_BYTES && !samples.is_empty() {
                    answer.cut = true;
                    break;
                }
            }
            samples.push(one);
        }
        if samples.len() > share {
            samples.truncate(share);
            answer.cut = true;
        }
        samples.reverse();
        if !samples.is_empty() {
            answer.samples.push((series, samples));
        }
    }
    Ok(answer)
}
