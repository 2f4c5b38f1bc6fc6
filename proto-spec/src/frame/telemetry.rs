//! TELEMETRY and BACKFILL, drawn byte by byte in SPEC §6.2 and §6.4: reading without copying, and a builder.
//!
//! The metric set belongs to the session, so a report is read in two steps: [`Report::parse`] takes the prefix, and
//! [`Report::samples`] the values once the set is at hand.

use alloc::vec::Vec;

use super::{MetricSet, MetricType};
use crate::{
    DecodeError,
    error::Problem,
    limits,
    varint::{Cursor, put_varint, put_zigzag},
};

const NAME: &str = "TELEMETRY";
const SPARSE_BIT: u8 = 0x80;

/// A report whose prefix is read and whose values are not yet. SPEC §6.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report<'a> {
    /// Number of the metric set, 0–127.
    pub set: u8,
    /// Whether each row says which metrics it has.
    pub sparse: bool,
    /// Stream id; whether it exists is for the receiver to check.
    pub stream: u32,
    /// Number in the stream, from 1.
    pub sequence: u64,
    /// Time of row 0, µs since 1970.
    pub base_us: i64,
    /// Number of rows, at least 1 and at most the bytes of the body.
    pub rows: u32,
    /// Row 0 and what follows. Extra bytes may follow the last row.
    pub body: &'a [u8],
}

/// A value as it was sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// Any bit pattern.
    F64(f64),
    /// Any bit pattern.
    F32(f32),
    /// Any integer.
    I64(i64),
    /// Truth.
    Bool(bool),
    /// At most 4,096 bytes.
    Text(&'a str),
}

/// One value of a report, with its place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample<'a> {
    /// Row in the report, from 0.
    pub row: u32,
    /// The row's time, µs since 1970.
    pub time_us: i64,
    /// Index in the metric set.
    pub metric: u32,
    /// What was measured.
    pub value: Value<'a>,
}

impl Value<'_> {
    /// The type under which this value is written.
    pub const fn metric_type(&self) -> MetricType {
        match self {
            Value::F64(_) => MetricType::F64,
            Value::F32(_) => MetricType::F32,
            Value::I64(_) => MetricType::I64,
            Value::Bool(_) => MetricType::Bool,
            Value::Text(_) => MetricType::Text,
        }
    }
}

impl<'a> Report<'a> {
    /// Reads the prefix. The values are checked while [`samples`](Self::samples) goes over them.
    pub fn parse(payload: &'a [u8]) -> Result<Report<'a>, DecodeError> {
        let mut cursor = Cursor::new(payload);
        let set = cursor.u8().map_err(in_field("set"))?;
        let stream = cursor.varint_u32().map_err(in_field("stream"))?;
        let sequence = cursor.varint_u64().map_err(in_field("sequence"))?;
        let base_us = i64::from_le_bytes(cursor.array().map_err(in_field("base_us"))?);
        let rows = cursor.varint_u32().map_err(in_field("rows"))?;
        let body = cursor.rest();
        if !(1..=limits::SEQUENCE_MAX).contains(&sequence) {
            return Err(in_field("sequence")(Problem::NotAllowed("a sequence is 1 to 2^63-1")));
        }
        if rows == 0 {
            return Err(in_field("rows")(Problem::NotAllowed("at least 1 row")));
        }
        // Each row takes at least one byte; whoever reserves memory by `rows` is safe.
        if u64::from(rows) > body.len() as u64 {
            return Err(in_field("rows")(Problem::Truncated));
        }
        Ok(Report { set: set & !SPARSE_BIT, sparse: set & SPARSE_BIT != 0, stream, sequence, base_us, rows, body })
    }

    /// The values in the order sent. The iterator ends after the last value, or after the first error.
    ///
    /// `set` must be the one declared under [`set`](Self::set) when the report was sent.
    pub fn samples<'s>(&self, set: &'s MetricSet) -> Samples<'a, 's> {
        Samples {
            cursor: Cursor::new(self.body),
            set,
            sparse: self.sparse,
            base_us: self.base_us,
            rows: self.rows,
            row: 0,
            time_us: self.base_us,
            metric: 0,
            presence: &[],
            in_row: false,
        }
    }

    /// Gives every row to `sink`, cell by cell, gaps included: what [`samples`](Self::samples) does, faster. After an error the
    /// sink has what came before it.
    ///
    /// `set` must be the one declared under [`set`](Self::set) when the report was sent.
    pub fn read(&self, set: &MetricSet, sink: &mut impl RowSink) -> Result<(), DecodeError> {
        let mut samples = self.samples(set);
        while samples.row < samples.rows {
            samples.begin_row()?;
            sink.row(samples.time_us);
            for (index, metric) in set.metrics.iter().enumerate() {
                if samples.has(index) {
                    sink.value(samples.value(metric.metric_type).map_err(in_field("value"))?);
                } else {
                    sink.absent();
                }
            }
            samples.row += 1;
        }
        Ok(())
    }

    /// The rows of a dense report under a set that has only f64 and f32, so that each row's values take `row_bytes`
    /// ([`MetricSet::float_row_bytes`]): time and bytes of the values. None if the report is sparse.
    pub fn float_rows(&self, row_bytes: usize) -> Option<FloatRows<'a>> {
        let (cursor, base_us, rows) = (Cursor::new(self.body), self.base_us, self.rows);
        (!self.sparse).then_some(FloatRows { cursor, base_us, rows, row: 0, row_bytes })
    }

    /// Checks every value against `set` and returns how many there are.
    pub fn check(&self, set: &MetricSet) -> Result<u64, DecodeError> {
        self.samples(set).try_fold(0, |count, sample| sample.map(|_| count + 1))
    }

    /// Appends the payload.
    pub fn encode_payload(&self, out: &mut Vec<u8>) {
        out.push(self.set | if self.sparse { SPARSE_BIT } else { 0 });
        put_varint(out, u64::from(self.stream));
        put_varint(out, self.sequence);
        out.extend_from_slice(&self.base_us.to_le_bytes());
        put_varint(out, u64::from(self.rows));
        out.extend_from_slice(self.body);
    }
}

/// Takes the rows of a report, from [`Report::read`].
pub trait RowSink {
    /// A row begins. Then follows one call per metric of the set.
    fn row(&mut self, time_us: i64);
    /// The row's next metric has this value, which is of the metric's type.
    fn value(&mut self, value: Value<'_>);
    /// The row's next metric has no value.
    fn absent(&mut self);
}

/// Iterator of [`Report::float_rows`]; to be dropped after an error.
#[derive(Debug, Clone)]
pub struct FloatRows<'a> {
    cursor: Cursor<'a>,
    base_us: i64,
    rows: u32,
    row: u32,
    row_bytes: usize,
}

impl<'a> FloatRows<'a> {
    #[inline]
    fn step(&mut self) -> Result<(i64, &'a [u8]), DecodeError> {
        let time_us = if self.row == 0 { self.base_us } else { row_time(&mut self.cursor, self.base_us)? };
        self.row += 1;
        Ok((time_us, self.cursor.bytes(self.row_bytes).map_err(in_field("value"))?))
    }
}

impl<'a> Iterator for FloatRows<'a> {
    type Item = Result<(i64, &'a [u8]), DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        (self.row < self.rows).then(|| self.step())
    }
}

/// The time of a row after the first.
#[inline]
fn row_time(cursor: &mut Cursor<'_>, base_us: i64) -> Result<i64, DecodeError> {
    let offset = cursor.zigzag_i64().map_err(in_field("offset"))?;
    base_us.checked_add(offset).ok_or(in_field("offset")(Problem::NotAllowed("the row's time must fit i64")))
}

/// Iterator of [`Report::samples`].
#[derive(Debug, Clone)]
pub struct Samples<'a, 's> {
    cursor: Cursor<'a>,
    set: &'s MetricSet,
    sparse: bool,
    base_us: i64,
    rows: u32,
    row: u32,
    time_us: i64,
    metric: usize,
    presence: &'a [u8],
    in_row: bool,
}

impl<'a> Samples<'a, '_> {
    #[inline]
    fn begin_row(&mut self) -> Result<(), DecodeError> {
        if self.row > 0 {
            self.time_us = row_time(&mut self.cursor, self.base_us)?;
        }
        if self.sparse {
            self.presence = self.cursor.bytes(self.set.presence_bytes()).map_err(in_field("present"))?;
            let used = self.set.metrics.len() % 8;
            let unused_set = used != 0 && self.presence.last().is_some_and(|&last| last >> used != 0);
            if unused_set {
                return Err(in_field("present")(Problem::NotAllowed("unused bits must be 0")));
            }
        }
        self.metric = 0;
        self.in_row = true;
        Ok(())
    }

    /// Whether the row begun last has this metric.
    #[inline]
    fn has(&self, metric: usize) -> bool {
        !self.sparse || self.presence[metric / 8] >> (metric % 8) & 1 == 1
    }

    #[inline]
    fn value(&mut self, metric_type: MetricType) -> Result<Value<'a>, Problem> {
        Ok(match metric_type {
            MetricType::F64 => Value::F64(f64::from_le_bytes(self.cursor.array()?)),
            MetricType::F32 => Value::F32(f32::from_le_bytes(self.cursor.array()?)),
            MetricType::I64 => Value::I64(self.cursor.zigzag_i64()?),
            MetricType::Bool => match self.cursor.u8()? {
                0 => Value::Bool(false),
                1 => Value::Bool(true),
                _ => return Err(Problem::InvalidBool),
            },
            MetricType::Text => {
                let length = self.cursor.varint_u64()?;
                if length > limits::TEXT_VALUE_BYTES as u64 {
                    return Err(Problem::NotAllowed("a text value is at most 4,096 bytes"));
                }
                let bytes = self.cursor.bytes(length as usize)?;
                Value::Text(core::str::from_utf8(bytes).map_err(|_| Problem::InvalidUtf8)?)
            }
        })
    }

    #[inline]
    fn step(&mut self) -> Result<Option<Sample<'a>>, DecodeError> {
        loop {
            if !self.in_row {
                if self.row >= self.rows {
                    return Ok(None);
                }
                self.begin_row()?;
            }
            while let Some(metric) = self.set.metrics.get(self.metric) {
                let index = self.metric;
                self.metric += 1;
                if self.has(index) {
                    let value = self.value(metric.metric_type).map_err(in_field("value"))?;
                    return Ok(Some(Sample { row: self.row, time_us: self.time_us, metric: index as u32, value }));
                }
            }
            self.in_row = false;
            self.row += 1;
        }
    }
}

impl<'a> Iterator for Samples<'a, '_> {
    type Item = Result<Sample<'a>, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            // Nothing after damage can be trusted.
            self.row = self.rows;
            self.in_row = false;
        }
        step.transpose()
    }
}

/// Builds the rows of one report for one metric set. Memory: the bytes of the rows.
#[derive(Debug, Clone)]
pub struct ReportBuilder<'s> {
    set: &'s MetricSet,
    sparse: bool,
    base_us: i64,
    rows: u32,
    body: Vec<u8>,
}

/// A row that does not fit the metric set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildError {
    /// The number of values is not the number of metrics.
    WrongCount {
        /// Metrics in the set.
        expected: usize,
        /// Values in the row.
        actual: usize,
    },
    /// A value of another type than its metric has.
    WrongType {
        /// Index in the set.
        metric: usize,
        /// The metric's type.
        expected: MetricType,
        /// The value's.
        actual: MetricType,
    },
    /// A text above 4,096 bytes.
    TextTooLong {
        /// Index in the set.
        metric: usize,
    },
    /// The distance between this row's time and the first row's does not fit i64.
    TimeOutOfRange,
    /// A value is missing in a report that is not sparse.
    Missing {
        /// Index in the set.
        metric: usize,
    },
}

impl<'s> ReportBuilder<'s> {
    /// A report in which every row has every metric.
    pub fn dense(set: &'s MetricSet) -> Self {
        ReportBuilder { set, sparse: false, base_us: 0, rows: 0, body: Vec::new() }
    }

    /// A report whose rows say which metrics they have.
    pub fn sparse(set: &'s MetricSet) -> Self {
        ReportBuilder { sparse: true, ..ReportBuilder::dense(set) }
    }

    /// Rows so far.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// Payload bytes so far, without the prefix (at most 32 bytes).
    pub fn body_len(&self) -> usize {
        self.body.len()
    }

    /// Appends a row with one value per metric, in the set's order. On an error nothing was appended.
    pub fn row(&mut self, time_us: i64, values: &[Value<'_>]) -> Result<(), BuildError> {
        self.append(time_us, values.len(), values.iter().map(|value| Some(*value)))
    }

    /// Appends a row in which metrics may be missing; only in a sparse report. On an error nothing was appended.
    pub fn sparse_row(&mut self, time_us: i64, values: &[Option<Value<'_>>]) -> Result<(), BuildError> {
        self.append(time_us, values.len(), values.iter().copied())
    }

    /// The report as a view that [`Report::encode_payload`] or [`crate::Message`] writes; `None` without rows.
    pub fn report(&self, stream: u32, sequence: u64) -> Option<Report<'_>> {
        (self.rows > 0).then_some(Report {
            set: self.set.set,
            sparse: self.sparse,
            stream,
            sequence,
            base_us: self.base_us,
            rows: self.rows,
            body: &self.body,
        })
    }

    fn append<'v>(
        &mut self,
        time_us: i64,
        count: usize,
        values: impl Iterator<Item = Option<Value<'v>>>,
    ) -> Result<(), BuildError> {
        if count != self.set.metrics.len() {
            return Err(BuildError::WrongCount { expected: self.set.metrics.len(), actual: count });
        }
        let start = self.body.len();
        let result = self.append_row(time_us, values);
        if result.is_err() {
            self.body.truncate(start);
        } else {
            if self.rows == 0 {
                self.base_us = time_us;
            }
            self.rows += 1;
        }
        result
    }

    fn append_row<'v>(
        &mut self,
        time_us: i64,
        values: impl Iterator<Item = Option<Value<'v>>>,
    ) -> Result<(), BuildError> {
        if self.rows > 0 {
            let offset = time_us.checked_sub(self.base_us).ok_or(BuildError::TimeOutOfRange)?;
            put_zigzag(&mut self.body, offset);
        }
        let presence_at = self.body.len();
        if self.sparse {
            self.body.resize(presence_at + self.set.presence_bytes(), 0);
        }
        for (metric, value) in values.enumerate() {
            let Some(value) = value else {
                if self.sparse {
                    continue;
                }
                return Err(BuildError::Missing { metric });
            };
            let expected = self.set.metrics[metric].metric_type;
            if value.metric_type() != expected {
                return Err(BuildError::WrongType { metric, expected, actual: value.metric_type() });
            }
            if self.sparse {
                self.body[presence_at + metric / 8] |= 1 << (metric % 8);
            }
            self.put_value(metric, value)?;
        }
        Ok(())
    }

    fn put_value(&mut self, metric: usize, value: Value<'_>) -> Result<(), BuildError> {
        match value {
            Value::F64(value) => self.body.extend_from_slice(&value.to_le_bytes()),
            Value::F32(value) => self.body.extend_from_slice(&value.to_le_bytes()),
            Value::I64(value) => put_zigzag(&mut self.body, value),
            Value::Bool(value) => self.body.push(u8::from(value)),
            Value::Text(text) => {
                if text.len() > limits::TEXT_VALUE_BYTES {
                    return Err(BuildError::TextTooLong { metric });
                }
                put_varint(&mut self.body, text.len() as u64);
                self.body.extend_from_slice(text.as_bytes());
            }
        }
        Ok(())
    }
}

impl core::fmt::Display for BuildError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            BuildError::WrongCount { expected, actual } => {
                write!(f, "the row has {actual} values, the metric set {expected} metrics")
            }
            BuildError::WrongType { metric, expected, actual } => {
                write!(f, "value {metric} is {}, its metric {}", actual.name(), expected.name())
            }
            BuildError::TextTooLong { metric } => write!(f, "text value {metric} is longer than 4,096 bytes"),
            BuildError::TimeOutOfRange => f.write_str("the row's time is too far from the first row's"),
            BuildError::Missing { metric } => write!(f, "value {metric} is missing and the report is not sparse"),
        }
    }
}

impl core::error::Error for BuildError {}

fn in_field(field: &'static str) -> impl Fn(Problem) -> DecodeError {
    move |problem| DecodeError::new(NAME, field, problem)
}
