//! The rows of a CSV file, and how their cells are understood.

use std::fmt;

use csv::{ByteRecord, StringRecord};
use jiff::tz::TimeZone;
use pulsewire_proto::{Metric, MetricSet, MetricType, Value, limits, names};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::columns::{Columns, DeviceFrom};
use crate::SimError;

/// A row that was not read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BadRow {
    /// Which file.
    pub file: String,
    /// Line, counted from 1.
    pub line: u64,
    /// Column name.
    pub column: String,
    /// What is there.
    pub value: String,
    /// Why that cannot be read.
    pub problem: String,
}

impl fmt::Display for BadRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BadRow { file, line, column, value, problem } = self;
        write!(f, "{file}:{line}: column {column:?}: {value:?}: {problem}")
    }
}

/// One row as text.
pub(super) struct TextRow {
    pub(super) line: u64,
    pub(super) cells: StringRecord,
}

/// The rows of a file after its header, each as text or with the reason why not.
pub(super) struct Rows<'b> {
    file: String,
    headers: Vec<String>,
    reader: csv::Reader<&'b [u8]>,
}

impl<'b> Rows<'b> {
    pub(super) fn open(bytes: &'b [u8], file: &str) -> Result<(Vec<String>, Rows<'b>), SimError> {
        let undetected = |problem: String| SimError::Undetected { file: file.to_owned(), problem };
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(bytes);
        let headers = reader.headers().map_err(|error| undetected(format!("the header cannot be read: {error}")))?;
        let headers: Vec<String> = headers.iter().map(str::to_owned).collect();
        if headers.iter().all(String::is_empty) {
            return Err(undetected("the file has no header line".into()));
        }
        Ok((headers.clone(), Rows { file: file.to_owned(), headers, reader }))
    }

    fn text(&self, record: ByteRecord) -> Result<TextRow, BadRow> {
        let line = record.position().map_or(0, csv::Position::line);
        let bad = |column: &str, value: String, problem: String| BadRow {
            file: self.file.clone(),
            line,
            column: column.to_owned(),
            value,
            problem,
        };
        if record.len() != self.headers.len() {
            let (actual, expected) = (record.len(), self.headers.len());
            let value = record.iter().map(String::from_utf8_lossy).collect::<Vec<_>>().join(",");
            let missing = self.headers.get(actual).map_or("", String::as_str);
            return Err(bad(missing, clipped(&value), format!("{actual} fields, the header has {expected}")));
        }
        match StringRecord::from_byte_record(record) {
            Ok(cells) => Ok(TextRow { line, cells }),
            Err(error) => {
                let field = error.utf8_error().field();
                let record = error.into_byte_record();
                let value = String::from_utf8_lossy(record.get(field).unwrap_or_default()).into_owned();
                let column = self.headers.get(field).map_or("", String::as_str);
                Err(bad(column, clipped(&value), "not UTF-8".into()))
            }
        }
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<TextRow, BadRow>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut record = ByteRecord::new();
        match self.reader.read_byte_record(&mut record) {
            Ok(true) => Some(self.text(record)),
            // Reading from memory with flexible rows has no errors; one would end the file.
            Ok(false) | Err(_) => None,
        }
    }
}

/// How rows are understood.
pub(super) struct Reading<'r> {
    pub(super) file: &'r str,
    pub(super) headers: &'r [String],
    pub(super) columns: &'r Columns,
    pub(super) zone: &'r TimeZone,
}

/// What kinds of values a column has.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Kinds {
    bools: bool,
    integers: bool,
    floats: bool,
    texts: bool,
}

impl Kinds {
    fn metric_type(self) -> Option<MetricType> {
        match self {
            Kinds { texts: true, .. } => Some(MetricType::Text),
            Kinds { bools: true, integers: false, floats: false, .. } => Some(MetricType::Bool),
            Kinds { bools: true, .. } => Some(MetricType::Text),
            Kinds { floats: true, .. } => Some(MetricType::F64),
            Kinds { integers: true, .. } => Some(MetricType::I64),
            _ => None,
        }
    }
}

impl Reading<'_> {
    pub(super) fn bad(&self, line: u64, column: usize, value: &str, problem: &str) -> BadRow {
        let column = self.headers.get(column).cloned().unwrap_or_default();
        BadRow { file: self.file.to_owned(), line, column, value: clipped(value), problem: problem.to_owned() }
    }

    /// Device and time of a row.
    pub(super) fn key<'t>(&'t self, row: &'t TextRow) -> Result<(&'t str, i64), BadRow> {
        let cell = |column: usize| row.cells.get(column).unwrap_or("");
        let text = self.columns.time_text(cell);
        let time_us = self.columns.format.parse(&text, self.zone).ok_or_else(|| {
            let column = self.columns.time.first().copied().unwrap_or(0);
            self.bad(row.line, column, &text, &format!("not a time of the form {}", self.columns.format.name()))
        })?;
        let device = match &self.columns.device {
            DeviceFrom::Fixed(device) => device,
            DeviceFrom::Column(column) => {
                let device = cell(*column);
                if !names::is_device_id(device) {
                    return Err(self.bad(row.line, *column, device, names::DEVICE_ID_RULE));
                }
                device
            }
        };
        for column in &self.columns.metrics {
            if cell(*column).len() > limits::TEXT_VALUE_BYTES {
                return Err(self.bad(row.line, *column, cell(*column), "longer than 4,096 bytes"));
            }
        }
        Ok((device, time_us))
    }

    pub(super) fn infer(&self, rows: Rows<'_>) -> Vec<Kinds> {
        let mut kinds = vec![Kinds::default(); self.columns.metrics.len()];
        for row in rows.flatten().filter(|row| self.key(row).is_ok()) {
            for (kinds, column) in kinds.iter_mut().zip(&self.columns.metrics) {
                match row.cells.get(*column).unwrap_or("") {
                    cell if is_missing(cell) => {}
                    cell if parse_bool(cell).is_some() => kinds.bools = true,
                    cell if cell.parse::<i64>().is_ok() => kinds.integers = true,
                    cell if cell.parse::<f64>().is_ok() => kinds.floats = true,
                    _ => kinds.texts = true,
                }
            }
        }
        kinds
    }

    /// The metrics that have values, and their columns.
    pub(super) fn metric_set(&self, kinds: &[Kinds]) -> (MetricSet, Vec<usize>) {
        let typed = self.columns.metrics.iter().zip(kinds).filter_map(|(column, kinds)| {
            let metric = Metric::new(self.headers[*column].clone(), "", kinds.metric_type()?);
            Some((metric, *column))
        });
        let (metrics, columns) = typed.unzip();
        (MetricSet { set: 0, metrics }, columns)
    }

    pub(super) fn layout(&self, set: &MetricSet) -> String {
        let mut hash = Sha256::new();
        let zone = self.zone.iana_name().unwrap_or("fixed");
        let Columns { time, format, device, .. } = self.columns;
        hash.update(format!("{time:?} {} {zone} {device:?}\n", format.name()));
        for metric in &set.metrics {
            hash.update(format!("{} {:?}\n", metric.metric_type.name(), metric.name));
        }
        hex::encode(&hash.finalize()[..16])
    }
}

/// Whether a cell means that there is no value.
fn is_missing(cell: &str) -> bool {
    matches!(cell, "" | "NA" | "N/A" | "n/a" | "null" | "NULL" | "None")
}

fn parse_bool(cell: &str) -> Option<bool> {
    if cell.eq_ignore_ascii_case("true") {
        Some(true)
    } else if cell.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

pub(super) fn value_of(cell: &str, metric_type: MetricType) -> Option<Value<'_>> {
    if is_missing(cell) {
        return None;
    }
    match metric_type {
        MetricType::Bool => parse_bool(cell).map(Value::Bool),
        MetricType::I64 => cell.parse().ok().map(Value::I64),
        MetricType::F64 => cell.parse().ok().map(Value::F64),
        MetricType::F32 => cell.parse().ok().map(Value::F32),
        MetricType::Text => Some(Value::Text(cell)),
    }
}

fn clipped(text: &str) -> String {
    text.chars().take(80).collect()
}
