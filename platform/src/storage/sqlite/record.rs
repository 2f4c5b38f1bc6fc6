//! How a journal record is laid out in its blob: bincode's standard layout, with an XXH3 checksum beside it.
//!
//! The structs are the storage's own, so that neither a change of the wire nor of the core changes files on disk.

use crate::ports::JournalError;
use pulsewire_core::ids::{DeviceKey, Position, Sequence, SeriesKey, StreamId};
use pulsewire_core::sample::{JournalRecord, ReportKind, StoredReport, StoredRow};
use pulsewire_core::value::Value;
use wincode::{SchemaRead, SchemaWrite};

#[derive(SchemaWrite, SchemaRead)]
struct Report {
    device: u32,
    stream: u32,
    sequence: u64,
    backfill: bool,
    digest: u64,
    rows: Vec<Row>,
}

#[derive(SchemaWrite, SchemaRead)]
struct Row {
    time_us: i64,
    values: Vec<(u32, Reading)>,
}

#[derive(SchemaWrite, SchemaRead)]
enum Reading {
    #[wincode(tag = 0)]
    F64(f64),
    #[wincode(tag = 1)]
    I64(i64),
    #[wincode(tag = 2)]
    Bool(bool),
    #[wincode(tag = 3)]
    Text(String),
}

/// Most bytes that one list of a record may take in memory when it is read back: a guard against a damaged length that the
/// checksum did not catch. A round of ingest holds less (`ingest.queue_bytes` counts decoded bytes).
const READ_LIST_BYTES_MAX: usize = 4 << 30;

macro_rules! layout {
    ($limit:expr) => {
        wincode::config::Configuration::default().with_varint_encoding().with_preallocation_size_limit::<{ $limit }>()
    };
}

/// The blob of a record's reports, and its checksum.
///
/// # Errors
/// If it cannot be encoded, which no report that came through the protocol should cause.
pub fn encode(reports: &[StoredReport]) -> anyhow::Result<(Vec<u8>, i64)> {
    let reports: Vec<Report> = reports
        .iter()
        .map(|r| Report {
            device: r.device.0,
            stream: r.stream.0,
            sequence: r.sequence.0,
            backfill: r.kind == ReportKind::Backfill,
            digest: r.digest,
            rows: r.rows.iter().map(row_out).collect(),
        })
        .collect();
    let blob = wincode::config::serialize(&reports, layout!(usize::MAX))
        .map_err(|error| anyhow::anyhow!("encoding a journal record: {error}"))?;
    let sum = checksum(&blob);
    Ok((blob, sum))
}

/// Reads a record back.
///
/// # Errors
/// [`JournalError::Corrupt`] if the checksum or the layout is wrong.
pub fn decode(position: i64, received_us: i64, sum: i64, blob: &[u8]) -> Result<JournalRecord, JournalError> {
    let position = Position(position.unsigned_abs());
    if checksum(blob) != sum {
        return Err(JournalError::Corrupt { position, problem: "its checksum does not match".into() });
    }
    let reports: Vec<Report> = wincode::config::deserialize(blob, layout!(READ_LIST_BYTES_MAX))
        .map_err(|error| JournalError::Corrupt { position, problem: error.to_string() })?;
    let reports = reports
        .into_iter()
        .map(|r| StoredReport {
            device: DeviceKey(r.device),
            stream: StreamId(r.stream),
            sequence: Sequence(r.sequence),
            kind: if r.backfill { ReportKind::Backfill } else { ReportKind::Live },
            digest: r.digest,
            rows: r.rows.into_iter().map(row_in).collect(),
        })
        .collect();
    Ok(JournalRecord { position, received_us, reports })
}

fn checksum(blob: &[u8]) -> i64 {
    xxhash_rust::xxh3::xxh3_64(blob).cast_signed()
}

fn row_out(row: &StoredRow) -> Row {
    let reading = |v: &Value| match v {
        Value::F64(v) => Reading::F64(*v),
        Value::I64(v) => Reading::I64(*v),
        Value::Bool(v) => Reading::Bool(*v),
        Value::Text(v) => Reading::Text(v.to_string()),
    };
    Row { time_us: row.time_us, values: row.values.iter().map(|(key, v)| (key.0, reading(v))).collect() }
}

fn row_in(row: Row) -> StoredRow {
    let value = |r: Reading| match r {
        Reading::F64(v) => Value::F64(v),
        Reading::I64(v) => Value::I64(v),
        Reading::Bool(v) => Value::Bool(v),
        Reading::Text(v) => Value::Text(v.into_boxed_str()),
    };
    StoredRow {
        time_us: row.time_us,
        values: row.values.into_iter().map(|(key, r)| (SeriesKey(key), value(r))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_very_many_rows_is_stored_like_any_other() {
        let row = |n: i64| StoredRow { time_us: n, values: vec![(SeriesKey(0), Value::Bool(n % 2 == 0))] };
        let reports = vec![StoredReport {
            device: DeviceKey(1),
            stream: StreamId(1),
            sequence: Sequence(1),
            kind: ReportKind::Live,
            digest: 1,
            rows: (0..200_000).map(row).collect(),
        }];
        let (blob, sum) = encode(&reports).expect("encodes");
        assert_eq!(decode(1, 1, sum, &blob).expect("decodes").reports, reports);
    }

    #[test]
    fn a_record_reads_back_as_written_and_a_flipped_bit_is_noticed() {
        let reports = vec![StoredReport {
            device: DeviceKey(3),
            stream: StreamId(1),
            sequence: Sequence(u64::from(u32::MAX) + 9),
            kind: ReportKind::Backfill,
            digest: 77,
            rows: vec![StoredRow {
                time_us: -5,
                values: vec![
                    (SeriesKey(0), Value::F64(-0.0)),
                    (SeriesKey(1), Value::I64(i64::MIN)),
                    (SeriesKey(2), Value::Bool(true)),
                    (SeriesKey(300), Value::Text("µ".into())),
                ],
            }],
        }];
        let (mut blob, sum) = encode(&reports).expect("encodes");
        let back = decode(9, 5, sum, &blob).expect("decodes");
        assert_eq!((back.position, back.received_us, &back.reports), (Position(9), 5, &reports));
        blob[3] ^= 1;
        assert!(matches!(decode(9, 5, sum, &blob), Err(JournalError::Corrupt { position: Position(9), .. })));
    }
}
