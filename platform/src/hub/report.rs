//! From the wire's types to the core's.

use crate::ingest::{IncomingBlock, MetricSetRef, Rejected};
use pulsewire_core::block::{ReportHead, Rows, ValueRef};
use pulsewire_core::ids::{MetricName, Sequence, StreamId};
use pulsewire_core::sample::{MetricDeclaration, RejectReason, ReportKind};
use pulsewire_core::value::ValueType;
use pulsewire_proto::frame::{NackItem, NackReason, Report, RowSink, WHOLE_ROW};
use pulsewire_proto::{DecodeError, MetricSet, MetricType, Value};
use std::sync::Arc;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// A declared set in the core's terms.
#[derive(Debug, Clone)]
pub struct DeclaredSet {
    /// As declared.
    pub wire: Arc<MetricSet>,
    /// For ingest.
    pub set: Arc<MetricSetRef>,
    /// Digest of names and types: the part of a report's content that its set number stands for.
    seed: u64,
    floats: Option<Floats>,
    texts: usize,
    row_bytes_min: usize,
}

/// A set of one float type only, whose dense rows are read without looking at each value's type.
#[derive(Debug, Clone, Copy)]
enum Floats {
    F64,
    F32,
}

impl DeclaredSet {
    /// Takes a set whose names the codec has checked.
    pub fn new(wire: Arc<MetricSet>) -> Result<Self, pulsewire_core::ids::InvalidName> {
        let mut definition = Vec::new();
        let mut metrics = Vec::with_capacity(wire.metrics.len());
        for metric in &wire.metrics {
            let value_type = value_type(metric.metric_type);
            definition.extend_from_slice(metric.name.as_bytes());
            definition.extend_from_slice(&[0, value_type.number()]);
            metrics.push(MetricDeclaration {
                name: MetricName::parse(&metric.name)?,
                unit: metric.unit.clone(),
                value_type,
            });
        }
        let only = |one| metrics.iter().all(|metric| metric.value_type == one);
        let floats = match () {
            () if only(ValueType::F32) => Some(Floats::F32),
            () if only(ValueType::F64) => Some(Floats::F64),
            () => None,
        };
        let texts = metrics.iter().filter(|metric| metric.value_type == ValueType::Text).count();
        let row_bytes_min = metrics.iter().map(|metric| match metric.value_type {
            ValueType::F64 => 8,
            ValueType::F32 => 4,
            ValueType::I64 | ValueType::Bool | ValueType::Text => 1,
        });
        let row_bytes_min = row_bytes_min.sum();
        let (set, seed) = (Arc::new(MetricSetRef::new(metrics)), xxh3_64(&definition));
        Ok(Self { wire, set, seed, floats, texts, row_bytes_min })
    }

    /// Bytes of memory that a report takes at most once it is read.
    pub fn read_bytes(&self, report: &Report<'_>) -> usize {
        let width = self.wire.metrics.len();
        let presence = if report.sparse { width.div_ceil(64) * 8 } else { 0 };
        let row = 8 + width * 8 + presence + self.texts * size_of::<Box<str>>();
        let texts = if self.texts > 0 { report.body.len() } else { 0 };
        size_of::<ReportHead>() + texts + row.saturating_mul(self.rows_at_most(report))
    }

    /// How many rows there can be in the bytes of a report, whatever it says: nothing is reserved for more.
    pub fn rows_at_most(&self, report: &Report<'_>) -> usize {
        let row_bytes = if report.sparse { self.wire.presence_bytes() } else { self.row_bytes_min };
        (report.rows as usize).min(1 + report.body.len() / row_bytes.max(1))
    }

    /// Appends a report to a block of this set.
    ///
    /// # Errors
    /// [`DecodeError`] if its values do not fit the set; the block is as it was then.
    pub fn read(&self, report: &Report<'_>, backfill: bool, block: &mut IncomingBlock) -> Result<(), DecodeError> {
        let before = block.rows.len();
        let read = self.read_rows(report, &mut block.rows);
        if read.is_err() {
            block.rows.truncate(before);
            return read;
        }
        block.heads.push(ReportHead {
            stream: StreamId(report.stream),
            sequence: Sequence(report.sequence),
            digest: self.digest(report),
            kind: if backfill { ReportKind::Backfill } else { ReportKind::Live },
            rows: report.rows,
        });
        Ok(())
    }

    fn read_rows(&self, report: &Report<'_>, rows: &mut Rows) -> Result<(), DecodeError> {
        let width = self.wire.metrics.len();
        let bytes = width * if matches!(self.floats, Some(Floats::F32)) { 4 } else { 8 };
        match self.floats.zip(report.float_rows(bytes)) {
            Some((Floats::F32, float_rows)) => {
                for row in float_rows {
                    let (time_us, bytes) = row?;
                    let cells = bytes.as_chunks().0.iter();
                    rows.push_dense(time_us, cells.map(|cell| f64::from(f32::from_le_bytes(*cell)).to_bits()));
                }
                Ok(())
            }
            Some((Floats::F64, float_rows)) => {
                for row in float_rows {
                    let (time_us, bytes) = row?;
                    rows.push_dense(time_us, bytes.as_chunks().0.iter().map(|cell| u64::from_le_bytes(*cell)));
                }
                Ok(())
            }
            None => report.read(&self.wire, &mut Sink(rows)),
        }
    }

    /// Digest of what a report says, whatever number its set has in this session.
    fn digest(&self, report: &Report<'_>) -> u64 {
        // Not whether it is backfill: a device may repeat from its spool what it has sent live.
        let mut head = [0; 13];
        head[0] = u8::from(report.sparse);
        head[1..9].copy_from_slice(&report.base_us.to_le_bytes());
        head[9..].copy_from_slice(&report.rows.to_le_bytes());
        // In two parts, each in one piece: hashing piece by piece costs more than the hash of a usual report.
        let digest = xxh3_64_with_seed(report.body, xxh3_64_with_seed(&head, self.seed));
        // 0 stands for "no content".
        digest.max(1)
    }
}

/// Rows that a report is read into.
struct Sink<'a>(&'a mut Rows);

impl RowSink for Sink<'_> {
    fn row(&mut self, time_us: i64) {
        self.0.begin_row(time_us);
    }

    fn value(&mut self, value: Value<'_>) {
        self.0.push_value(Some(match value {
            Value::F64(v) => ValueRef::F64(v),
            Value::F32(v) => ValueRef::F64(f64::from(v)),
            Value::I64(v) => ValueRef::I64(v),
            Value::Bool(v) => ValueRef::Bool(v),
            Value::Text(v) => ValueRef::Text(v),
        }));
    }

    fn absent(&mut self) {
        self.0.push_absent();
    }
}

fn value_type(metric_type: MetricType) -> ValueType {
    match metric_type {
        MetricType::F64 => ValueType::F64,
        MetricType::F32 => ValueType::F32,
        MetricType::I64 => ValueType::I64,
        MetricType::Bool => ValueType::Bool,
        MetricType::Text => ValueType::Text,
    }
}

/// The items of a NACK and its text.
pub fn nack(items: &[Rejected], total: u32) -> (Vec<NackItem>, String) {
    let wire = items.iter().map(|item| NackItem {
        row: item.row,
        metric: item.metric.unwrap_or(WHOLE_ROW),
        reason: match item.reason {
            RejectReason::Other => NackReason::Other,
            RejectReason::TimeInFuture => NackReason::TimeInFuture,
            RejectReason::TypeMismatch => NackReason::TypeMismatch,
            RejectReason::TimeOutOfRange => NackReason::TimeOutOfRange,
        },
    });
    let why = match items.first().map(|item| item.reason) {
        Some(RejectReason::TimeInFuture) => "a row's time is too far ahead of the server's clock: check the clock",
        Some(RejectReason::TypeMismatch) => "a metric is stored with another class of type: use another name",
        Some(RejectReason::TimeOutOfRange) => "a row's time is before 1970: check the clock",
        Some(RejectReason::Other) | None => {
            "there is no room for another series (ingest.series_max, ingest.series_per_device_max)"
        }
    };
    (wire.collect(), format!("{total} values were not stored; {why}"))
}
