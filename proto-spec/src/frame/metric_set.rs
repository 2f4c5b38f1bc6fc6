use alloc::{collections::BTreeSet, string::String, vec::Vec};

use wincode::{SchemaRead, SchemaWrite};

use super::layout::{ensure, payload};
use crate::{DecodeError, limits, names};

payload! {
    /// Declares what the values of a report are, for the rest of the session. SPEC §6.1.
    MetricSet = "METRIC_SET" {
        /// 0–127; declaring a number again replaces it.
        set: u8,
        /// 1–1,024 metrics with distinct names, in the order of the values.
        metrics: Vec<Metric>,
    }
}

/// One metric of a set. SPEC §6.1.
#[derive(Debug, Clone, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub struct Metric {
    /// Metric name, §3.1.
    pub name: String,
    /// Unit, §3.1; may be empty.
    pub unit: String,
    /// Type on the wire.
    pub metric_type: MetricType,
}

/// How a value is written. SPEC §6.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, SchemaRead, SchemaWrite)]
pub enum MetricType {
    /// 8 bytes IEEE 754.
    F64,
    /// 4 bytes IEEE 754.
    F32,
    /// Zigzag varint.
    I64,
    /// One byte.
    Bool,
    /// Length and UTF-8, at most 4,096 bytes.
    Text,
}

/// What a metric stays for good once it was stored. SPEC §6.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MetricClass {
    /// f64, f32 and i64.
    Number,
    /// bool.
    Bool,
    /// text.
    Text,
}

impl Metric {
    /// A metric without limits checked; see [`MetricSet::validate`].
    pub fn new(name: impl Into<String>, unit: impl Into<String>, metric_type: MetricType) -> Metric {
        Metric { name: name.into(), unit: unit.into(), metric_type }
    }
}

impl MetricType {
    /// The class under which samples of this type are stored.
    pub const fn class(self) -> MetricClass {
        match self {
            MetricType::F64 | MetricType::F32 | MetricType::I64 => MetricClass::Number,
            MetricType::Bool => MetricClass::Bool,
            MetricType::Text => MetricClass::Text,
        }
    }

    /// The name in SPEC §6.1, also used by the HTTP API.
    pub const fn name(self) -> &'static str {
        match self {
            MetricType::F64 => "f64",
            MetricType::F32 => "f32",
            MetricType::I64 => "i64",
            MetricType::Bool => "bool",
            MetricType::Text => "text",
        }
    }
}

impl MetricSet {
    /// Bytes of the presence bits in a sparse row. SPEC §6.2.
    pub fn presence_bytes(&self) -> usize {
        self.metrics.len().div_ceil(8)
    }

    /// Bytes of the values of a dense row, if the metrics are f64 and f32 only.
    pub fn float_row_bytes(&self) -> Option<usize> {
        let bytes = |metric: &Metric| match metric.metric_type {
            MetricType::F64 => Some(8),
            MetricType::F32 => Some(4),
            MetricType::I64 | MetricType::Bool | MetricType::Text => None,
        };
        self.metrics.iter().map(bytes).sum()
    }

    /// Checks the limits of SPEC §3.1 and §6.1.
    pub fn validate(&self) -> Result<(), DecodeError> {
        ensure(usize::from(self.set) < limits::METRIC_SETS, Self::NAME, "set", "0 to 127")?;
        let count_ok = (1..=limits::METRICS_PER_SET).contains(&self.metrics.len());
        ensure(count_ok, Self::NAME, "metrics", "1 to 1,024 metrics")?;
        let mut seen = BTreeSet::new();
        for metric in &self.metrics {
            ensure(names::is_metric_name(&metric.name), Self::NAME, "metrics.name", names::METRIC_NAME_RULE)?;
            ensure(names::is_unit(&metric.unit), Self::NAME, "metrics.unit", names::UNIT_RULE)?;
            ensure(seen.insert(metric.name.as_str()), Self::NAME, "metrics.name", "names must be distinct in a set")?;
        }
        Ok(())
    }
}
