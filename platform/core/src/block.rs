//! Reports in flat memory: what a socket read brought of one device under one metric set.
//!
//! A block is three vectors, however many reports it holds, so that a report costs no allocation of its own on its way from
//! the socket to the disk. Cells lie row after row, eight bytes each; a row is copied once, whole.

use crate::ids::{DeviceKey, Sequence, SeriesKey, StreamId};
use crate::sample::ReportKind;
use crate::value::{Value, ValueType};
use std::ops::Range;
use std::sync::Arc;

/// The series of one metric set of one device. Shared by all blocks of a session.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SeriesSet {
    /// Whose.
    pub device: DeviceKey,
    /// By index in the metric set.
    pub series: Vec<SeriesKey>,
    /// The declared type of each; says what its cells mean.
    pub types: Vec<ValueType>,
}

/// One reading, borrowed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ValueRef<'a> {
    /// f64, or an f32 widened.
    F64(f64),
    /// i64.
    I64(i64),
    /// bool.
    Bool(bool),
    /// text.
    Text(&'a str),
}

impl ValueRef<'_> {
    /// The value as a number; see [`Value::as_f64`].
    pub fn as_f64(self) -> Option<f64> {
        match self {
            Self::F64(v) => Some(v),
            // Rounding is part of the contract.
            #[allow(clippy::cast_precision_loss)]
            Self::I64(v) => Some(v as f64),
            Self::Bool(v) => Some(f64::from(u8::from(v))),
            Self::Text(_) => None,
        }
    }

    /// A value of its own.
    pub fn to_value(self) -> Value {
        match self {
            Self::F64(v) => Value::F64(v),
            Self::I64(v) => Value::I64(v),
            Self::Bool(v) => Value::Bool(v),
            Self::Text(v) => Value::Text(v.into()),
        }
    }
}

impl<'a> From<&'a Value> for ValueRef<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::F64(v) => Self::F64(*v),
            Value::I64(v) => Self::I64(*v),
            Value::Bool(v) => Self::Bool(*v),
            Value::Text(v) => Self::Text(v),
        }
    }
}

/// Rows of `width` cells. A cell's meaning is its column's type: f64 and f32 are the bits of an f64, i64 is two's
/// complement, bool 0 or 1, text the index of a text of these rows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rows {
    width: usize,
    times: Vec<i64>,
    cells: Vec<u64>,
    // One bit per cell, in whole words per row; no words at all while every cell has a value.
    absent: Vec<u64>,
    texts: Vec<Box<str>>,
    text_bytes: usize,
}

impl Rows {
    /// No rows yet.
    pub fn new(width: usize) -> Self {
        Self { width, ..Self::default() }
    }

    /// Cells per row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// The rows' times, µs since the Unix epoch, as they came.
    pub fn times(&self) -> &[i64] {
        &self.times
    }

    /// All cells, row after row. An absent one is 0.
    pub fn cells(&self) -> &[u64] {
        &self.cells
    }

    /// The texts that text cells refer to.
    pub fn texts(&self) -> &[Box<str>] {
        &self.texts
    }

    /// True if every cell has a value.
    pub fn is_dense(&self) -> bool {
        self.absent.is_empty()
    }

    fn words(&self) -> usize {
        self.width.div_ceil(64)
    }

    /// Which cells of a row are absent, one bit each; None while all rows are dense.
    pub fn absent_words(&self, row: usize) -> Option<&[u64]> {
        let words = self.words();
        self.absent.get(row * words..(row + 1) * words)
    }

    /// True if the cell has a value.
    pub fn has(&self, row: usize, column: usize) -> bool {
        self.absent.get(row * self.words() + column / 64).is_none_or(|word| word >> (column % 64) & 1 == 0)
    }

    /// The cell, if it has a value.
    pub fn cell(&self, row: usize, column: usize) -> Option<u64> {
        self.has(row, column).then(|| self.cells.get(row * self.width + column).copied()).flatten()
    }

    /// The value of a cell.
    pub fn value(&self, row: usize, column: usize, value_type: ValueType) -> Option<ValueRef<'_>> {
        let cell = self.cell(row, column)?;
        Some(match value_type {
            ValueType::F64 | ValueType::F32 => ValueRef::F64(f64::from_bits(cell)),
            ValueType::I64 => ValueRef::I64(cell.cast_signed()),
            ValueType::Bool => ValueRef::Bool(cell != 0),
            ValueType::Text => ValueRef::Text(self.texts.get(usize::try_from(cell).ok()?)?),
        })
    }

    /// How many cells have values.
    pub fn count(&self) -> u64 {
        let absent: u32 = self.absent.iter().map(|word| word.count_ones()).sum();
        self.cells.len() as u64 - u64::from(absent)
    }

    /// How many cells of some rows have values.
    pub fn count_in(&self, rows: Range<usize>) -> u64 {
        let words = self.words();
        let absent = self.absent.get(rows.start * words..rows.end * words).unwrap_or_default();
        let absent: u32 = absent.iter().map(|word| word.count_ones()).sum();
        (rows.len() * self.width) as u64 - u64::from(absent)
    }

    /// Bytes of memory held.
    pub fn bytes(&self) -> usize {
        (self.times.capacity() + self.cells.capacity() + self.absent.capacity()) * 8
            + self.texts.capacity() * 16
            + self.text_bytes
    }

    /// Makes room for so many rows more.
    pub fn reserve(&mut self, rows: usize) {
        self.times.reserve(rows);
        self.cells.reserve(rows * self.width);
    }

    /// Begins a row. Exactly `width` cells must follow before the next.
    pub fn begin_row(&mut self, time_us: i64) {
        debug_assert_eq!(self.cells.len(), self.times.len() * self.width, "the last row is whole");
        self.times.push(time_us);
        if !self.absent.is_empty() {
            self.absent.resize(self.times.len() * self.words(), 0);
        }
    }

    /// The next cell of the row begun last.
    pub fn push_cell(&mut self, cell: u64) {
        self.cells.push(cell);
    }

    /// Appends a row in which every cell has a value: exactly `width` of them.
    pub fn push_dense(&mut self, time_us: i64, cells: impl ExactSizeIterator<Item = u64>) {
        debug_assert_eq!(cells.len(), self.width, "a whole row");
        self.begin_row(time_us);
        self.cells.extend(cells);
    }

    /// The next cell has no value.
    pub fn push_absent(&mut self) {
        let column = self.cells.len() - (self.times.len() - 1) * self.width;
        let words = self.words();
        self.absent.resize(self.times.len() * words, 0);
        self.absent[(self.times.len() - 1) * words + column / 64] |= 1 << (column % 64);
        self.cells.push(0);
    }

    /// The next cell is a text.
    pub fn push_text(&mut self, text: &str) {
        self.cells.push(self.texts.len() as u64);
        self.text_bytes += text.len();
        self.texts.push(text.into());
    }

    /// The next cell by its value. A value of another type than the column's would be misread; the caller checks that.
    pub fn push_value(&mut self, value: Option<ValueRef<'_>>) {
        match value {
            Some(ValueRef::F64(v)) => self.push_cell(v.to_bits()),
            Some(ValueRef::I64(v)) => self.push_cell(v.cast_unsigned()),
            Some(ValueRef::Bool(v)) => self.push_cell(v.into()),
            Some(ValueRef::Text(v)) => self.push_text(v),
            None => self.push_absent(),
        }
    }

    /// Takes back rows from `rows` on, also one that was begun and not finished.
    pub fn truncate(&mut self, rows: usize) {
        self.times.truncate(rows);
        self.cells.truncate(rows * self.width);
        self.absent.truncate(rows * self.words());
        // Texts that nothing refers to any more are few and go with the block.
    }

    /// Appends some rows of another of the same width; `text_columns` are those whose cells refer to texts.
    pub fn append(&mut self, other: &Self, rows: Range<usize>, text_columns: &[usize]) {
        debug_assert_eq!(self.width, other.width, "rows of one set");
        let (words, before) = (self.words(), self.times.len());
        let first_cell = self.cells.len();
        if self.times.capacity() - before < rows.len() {
            // By a quarter, not by double: rows that wait to be sealed are counted by what they hold, and the tables of a
            // fleet grow at the same moments.
            let more = rows.len().max(before / 4).max(4);
            self.times.reserve_exact(more);
            self.cells.reserve_exact(more * self.width);
        }
        self.times.extend_from_slice(&other.times[rows.clone()]);
        self.cells.extend_from_slice(&other.cells[rows.start * self.width..rows.end * self.width]);
        if !self.absent.is_empty() || !other.absent.is_empty() {
            self.absent.resize(before * words, 0);
            match other.absent.get(rows.start * words..rows.end * words) {
                Some(absent) if !other.absent.is_empty() => self.absent.extend_from_slice(absent),
                _ => self.absent.resize((before + rows.len()) * words, 0),
            }
        }
        for &column in text_columns {
            for row in 0..rows.len() {
                if !self.has(before + row, column) {
                    continue;
                }
                let cell = &mut self.cells[first_cell + row * self.width + column];
                let text = usize::try_from(*cell).ok().and_then(|index| other.texts.get(index));
                *cell = self.texts.len() as u64;
                let text = text.cloned().unwrap_or_default();
                self.text_bytes += text.len();
                self.texts.push(text);
            }
        }
    }
}

impl SeriesSet {
    /// The columns whose cells refer to texts.
    pub fn text_columns(&self) -> Vec<usize> {
        let types = self.types.iter().enumerate();
        types.filter(|(_, value_type)| **value_type == ValueType::Text).map(|(column, _)| column).collect()
    }
}

/// What stands before the rows of one report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportHead {
    /// Its stream.
    pub stream: StreamId,
    /// Its number; for a skip the last number of the skipped range.
    pub sequence: Sequence,
    /// Digest of the content as sent, to tell a repeat from a clone. SPEC §5.3. 0 for a skip.
    pub digest: u64,
    /// Live or backfill.
    pub kind: ReportKind,
    /// How many rows of the block are its. 0 for a skip, or when everything was rejected.
    pub rows: u32,
}

/// Reports of one device under one metric set that passed every check, in the order in which they were accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// What the columns are.
    pub set: Arc<SeriesSet>,
    /// The reports, in order; their rows lie one after the other.
    pub reports: Vec<ReportHead>,
    /// All rows.
    pub rows: Rows,
}

impl Block {
    /// No reports yet.
    pub fn new(set: Arc<SeriesSet>) -> Self {
        let rows = Rows::new(set.series.len());
        Self { set, reports: Vec::new(), rows }
    }

    /// Whose reports these are.
    pub fn device(&self) -> DeviceKey {
        self.set.device
    }

    /// The reports one by one.
    pub fn reports(&self) -> impl Iterator<Item = ReportView<'_>> {
        let mut from = 0;
        self.reports.iter().map(move |head| {
            let rows = from..(from + head.rows as usize).min(self.rows.len());
            from = rows.end;
            ReportView { head, block: self, rows }
        })
    }

    /// Number and time of the rows of live reports.
    pub fn live_times(&self) -> impl Iterator<Item = (usize, i64)> + '_ {
        let live = self.reports().filter(|report| report.head.kind == ReportKind::Live);
        live.flat_map(|report| report.rows).map(|row| (row, self.rows.times[row]))
    }

    /// The rows of live reports: what is shown and judged.
    pub fn live_rows(&self) -> impl Iterator<Item = RowView<'_>> {
        self.reports().filter(|report| report.head.kind == ReportKind::Live).flat_map(|report| report.rows())
    }
}

/// One report of a block.
#[derive(Debug, Clone)]
pub struct ReportView<'a> {
    /// Stream, number, kind.
    pub head: &'a ReportHead,
    block: &'a Block,
    rows: Range<usize>,
}

impl<'a> ReportView<'a> {
    /// Its rows.
    pub fn rows(&self) -> impl Iterator<Item = RowView<'a>> + use<'a> {
        let block = self.block;
        self.rows.clone().map(move |row| RowView { block, row })
    }
}

/// One row of a block.
#[derive(Debug, Clone, Copy)]
pub struct RowView<'a> {
    block: &'a Block,
    row: usize,
}

impl<'a> RowView<'a> {
    /// Its time, µs since the Unix epoch.
    pub fn time_us(&self) -> i64 {
        self.block.rows.times[self.row]
    }

    /// What it has, in the order of the metric set.
    pub fn values(&self) -> impl Iterator<Item = (SeriesKey, ValueRef<'a>)> + use<'a> {
        let series = &self.block.set.series;
        self.columns().map(|(column, value)| (series[column], value))
    }

    /// What it has, by index in the metric set.
    pub fn columns(&self) -> impl Iterator<Item = (usize, ValueRef<'a>)> + use<'a> {
        let (block, row) = (self.block, self.row);
        // A set has one type per series.
        let columns = block.set.types.iter().take(block.set.series.len()).enumerate();
        columns.filter_map(move |(column, value_type)| {
            block.rows.value(row, column, *value_type).map(|value| (column, value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(types: &[ValueType]) -> Arc<SeriesSet> {
        let series = (0..types.len()).map(|n| SeriesKey(u32::try_from(n).expect("few"))).collect();
        Arc::new(SeriesSet { device: DeviceKey(1), series, types: types.to_vec() })
    }

    #[test]
    fn rows_appended_from_another_block_keep_their_texts_and_gaps() {
        let types = [ValueType::Text, ValueType::I64];
        let (mut one, mut two) = (Block::new(set(&types)), Block::new(set(&types)));
        for (block, text, number) in [(&mut one, "a", Some(1)), (&mut two, "b", None)] {
            block.rows.begin_row(5);
            block.rows.push_text(text);
            block.rows.push_value(number.map(ValueRef::I64));
        }
        one.rows.append(&two.rows, 0..1, &two.set.text_columns());
        one.rows.append(&two.rows, 0..1, &two.set.text_columns());
        let read = |row, column: usize| one.rows.value(row, column, types[column]);
        assert_eq!([read(0, 0), read(0, 1)], [Some(ValueRef::Text("a")), Some(ValueRef::I64(1))]);
        assert_eq!([read(2, 0), read(2, 1)], [Some(ValueRef::Text("b")), None]);
        assert_eq!((one.rows.count(), one.rows.count_in(0..1), one.rows.is_dense()), (4, 2, false));
    }

    proptest! {
        /// Whatever is put in, in whatever parts it is appended, the same comes out.
        #[test]
        fn cells_read_back_as_pushed(
            rows in proptest::collection::vec(proptest::collection::vec(proptest::option::of(any::<i64>()), 70), 1..20),
            cut in 0usize..20,
        ) {
            let push = |target: &mut Rows, row: &[Option<i64>]| {
                target.begin_row(7);
                row.iter().for_each(|cell| target.push_value(cell.map(ValueRef::I64)));
            };
            let cut = cut.min(rows.len());
            let (mut first, mut second) = (Rows::new(70), Rows::new(70));
            rows[..cut].iter().for_each(|row| push(&mut first, row));
            rows[cut..].iter().for_each(|row| push(&mut second, row));
            first.append(&second, 0..second.len(), &[]);
            prop_assert_eq!(first.len(), rows.len());
            for (r, row) in rows.iter().enumerate() {
                for (c, cell) in row.iter().enumerate() {
                    prop_assert_eq!(first.value(r, c, ValueType::I64), cell.map(ValueRef::I64));
                }
            }
            let present = rows.iter().flatten().flatten().count() as u64;
            prop_assert_eq!(first.count(), present);
        }
    }
}
