//! From the wire's types to the core's.

use crate::ingest::{IncomingReport, MetricSetRef, Rejected};
use pulsewire_core::ids::{MetricName, Sequence, StreamId};
use pulsewire_core::sample::{MetricDeclaration, RejectReason, ReportKind, Row};
use pulsewire_core::value::{Value, ValueType};
use pulsewire_proto::frame::{NackItem, NackReason, Report, WHOLE_ROW};
use pulsewire_proto::{DecodeError, MetricSet, MetricType};
use std::sync::Arc;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// A declared set in the core's terms.
#[derive(Debug, Clone)]
pub struct DeclaredSet {
    /// As declared.
    pub wire: Arc<MetricSet>,
    /// For ingest.
    pub set: Arc<MetricSetRef>,
    /// Digest of names and types: the part of a report's content that its set number stands for.
    seed: u64,
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
        Ok(Self { wire, set: Arc::new(MetricSetRef::new(metrics)), seed: xxh3_64(&definition) })
    }

    /// Reads a report's values.
    ///
    /// # Errors
    /// [`DecodeError`] if they do not fit the set.
    pub fn read(&self, report: &Report<'_>, backfill: bool) -> Result<IncomingReport, DecodeError> {
        let mut rows: Vec<Row> = Vec::new();
        let mut newest = None;
        for sample in report.samples(&self.wire) {
            let sample = sample?;
            if newest != Some(sample.row) {
                newest = Some(sample.row);
                // A sparse row may have one value of a thousand: room is made as they come.
                let expected = if report.sparse { 0 } else { self.wire.metrics.len() };
                rows.push(Row { time_us: sample.time_us, values: Vec::with_capacity(expected) });
            }
            let value = match sample.value {
                pulsewire_proto::Value::F64(v) => Value::F64(v),
                pulsewire_proto::Value::F32(v) => Value::F64(f64::from(v)),
                pulsewire_proto::Value::I64(v) => Value::I64(v),
                pulsewire_proto::Value::Bool(v) => Value::Bool(v),
                pulsewire_proto::Value::Text(v) => Value::Text(v.into()),
            };
            if let Some(row) = rows.last_mut() {
                // A set has at most 1,024 metrics.
                row.values.push((u16::try_from(sample.metric).unwrap_or(u16::MAX), value));
            }
        }
        Ok(IncomingReport {
            stream: StreamId(report.stream),
            sequence: Sequence(report.sequence),
            kind: if backfill { ReportKind::Backfill } else { ReportKind::Live },
            digest: self.digest(report),
            set: self.set.clone(),
            rows,
        })
    }

    /// Digest of what a report says, whatever number its set has in this session.
    fn digest(&self, report: &Report<'_>) -> u64 {
        // Not whether it is backfill: a device may repeat from its spool what it has sent live.
        let mut hash = Xxh3::with_seed(self.seed);
        hash.update(&[u8::from(report.sparse)]);
        hash.update(&report.base_us.to_le_bytes());
        hash.update(&report.rows.to_le_bytes());
        hash.update(report.body);
        // 0 stands for "no content".
        hash.digest().max(1)
    }
}

/// What a report takes in memory once it is read, in bytes; for the bound of ingest's queue.
pub fn decoded_bytes(report: &IncomingReport) -> usize {
    let value = |v: &Value| match v {
        Value::Text(text) => 32 + text.len(),
        _ => 32,
    };
    report.rows.iter().map(|row| 64 + row.values.iter().map(|(_, v)| value(v)).sum::<usize>()).sum()
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
