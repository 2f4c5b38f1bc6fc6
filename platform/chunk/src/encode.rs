//! From rows to bytes.

use std::borrow::Cow;
use std::collections::HashMap;

use xxhash_rust::xxh3::xxh3_64;

use crate::reader::{FLAG_ONE_VALUE, FLAG_SPARSE, FLAG_STATISTICS, MAGIC};
use crate::wire::{put_number, put_signed, put_varint};
use crate::{
    COLUMNS_MAX, ColumnIn, EncodeError, Kind, LEVEL_MAX, ROWS_MAX, TEXT_BYTES_MAX, VERSION, bools, floats, ints, times,
};

/// Turns rows of one device into a chunk.
///
/// `times` are microseconds since the Unix epoch, strictly ascending; columns may come in any order. `level` is the effort,
/// 0 to [`LEVEL_MAX`] (more counts as that); any reader reads any level. The same arguments give the same bytes.
///
/// # Errors
/// What is said at [`EncodeError`]; nothing about the values of numbers is an error.
pub fn encode(times: &[i64], columns: &[ColumnIn], level: u8) -> Result<Vec<u8>, EncodeError> {
    let level = level.min(LEVEL_MAX);
    let rows = times.len();
    if rows == 0 || rows > ROWS_MAX {
        return Err(EncodeError::Rows(rows));
    }
    if columns.is_empty() || columns.len() > COLUMNS_MAX {
        return Err(EncodeError::Columns(columns.len()));
    }
    if let Some(row) = times.windows(2).position(|pair| pair[0] >= pair[1]) {
        return Err(EncodeError::NotAscending(row + 1));
    }
    let mut order: Vec<&ColumnIn> = columns.iter().collect();
    order.sort_by_key(|column| column.series);
    if let Some(pair) = order.windows(2).find(|pair| pair[0].series == pair[1].series) {
        return Err(EncodeError::Twice(pair[0].series));
    }

    let mut directory = Vec::with_capacity(order.len() * 12);
    let mut bodies = Vec::new();
    times::put(&mut bodies, times, level);
    let times_len = bodies.len();
    let mut before = 0;
    for column in order {
        let start = bodies.len();
        let summary = put_column(&mut bodies, column, rows, level)?;
        put_varint(&mut directory, u64::from(column.series - before));
        before = column.series;
        summary.put(&mut directory, column.kind, rows);
        put_varint(&mut directory, (bodies.len() - start) as u64);
    }

    let (first, last) = (times.first().copied().unwrap_or_default(), times.last().copied().unwrap_or_default());
    let mut out = head(rows, first, last, columns.len(), times_len);
    out.reserve(directory.len() + bodies.len() + 8);
    out.extend_from_slice(&directory);
    out.extend_from_slice(&bodies);
    Ok(seal(out))
}

/// What stands before the directory.
pub fn head(rows: usize, first: i64, last: i64, columns: usize, times_len: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(40);
    out.extend_from_slice(&MAGIC);
    out.push(VERSION);
    put_varint(&mut out, rows as u64);
    put_signed(&mut out, first);
    put_varint(&mut out, last.wrapping_sub(first) as u64);
    put_varint(&mut out, columns as u64);
    put_varint(&mut out, times_len as u64);
    out
}

/// Appends the checksum of everything before it.
pub fn seal(mut out: Vec<u8>) -> Vec<u8> {
    let sum = xxh3_64(&out);
    out.extend_from_slice(&sum.to_le_bytes());
    out
}

/// What the directory says of a column beside its place.
struct Summary {
    count: usize,
    bounds: Option<(f64, f64)>,
}

impl Summary {
    fn of(kind: Kind, cells: &[u64]) -> Self {
        let bounds = match kind {
            Kind::Text => None,
            Kind::F64 | Kind::F32 => bounds(cells),
            Kind::I64 => {
                let numbers = || cells.iter().map(|cell| *cell as i64);
                numbers().min().zip(numbers().max()).map(|(min, max)| (min as f64, max as f64))
            }
            Kind::Bool => cells.iter().min().zip(cells.iter().max()).map(|(min, max)| (*min as f64, *max as f64)),
        };
        Self { count: cells.len(), bounds }
    }

    fn put(&self, out: &mut Vec<u8>, kind: Kind, rows: usize) {
        let mut flags = kind.number();
        if self.count < rows {
            flags |= FLAG_SPARSE;
        }
        if let Some((min, max)) = self.bounds {
            flags |= FLAG_STATISTICS;
            if min.to_bits() == max.to_bits() {
                flags |= FLAG_ONE_VALUE;
            }
        }
        out.push(flags);
        if self.count < rows {
            put_varint(out, self.count as u64);
        }
        if let Some((min, max)) = self.bounds {
            put_number(out, min);
            if min.to_bits() != max.to_bits() {
                put_number(out, max);
            }
        }
    }
}

/// Smallest and largest double that is not NaN.
fn bounds(cells: &[u64]) -> Option<(f64, f64)> {
    // Four at a time: each comparison waits for the one before in its lane only. NaN loses every comparison.
    let (mut mins, mut maxs) = ([f64::INFINITY; 4], [f64::NEG_INFINITY; 4]);
    let (fours, rest) = cells.as_chunks::<4>();
    let mut see = |lane: usize, cell: u64| {
        let value = f64::from_bits(cell);
        mins[lane] = if value < mins[lane] { value } else { mins[lane] };
        maxs[lane] = if value > maxs[lane] { value } else { maxs[lane] };
    };
    for four in fours {
        (0..4).for_each(|lane| see(lane, four[lane]));
    }
    rest.iter().for_each(|cell| see(0, *cell));
    let min = mins.into_iter().fold(f64::INFINITY, f64::min);
    let max = maxs.into_iter().fold(f64::NEG_INFINITY, f64::max);
    (min <= max).then_some((min, max))
}

fn put_column(out: &mut Vec<u8>, column: &ColumnIn, rows: usize, level: u8) -> Result<Summary, EncodeError> {
    let &ColumnIn { series, kind, cells, present, texts } = column;
    let wrong = [Some(cells.len()), present.map(<[bool]>::len)].into_iter().flatten().find(|len| *len != rows);
    if let Some(got) = wrong {
        return Err(EncodeError::Length { series, got, rows });
    }
    let is_present = |row: usize| present.is_none_or(|present| present.get(row) == Some(&true));
    let limit = match kind {
        Kind::Bool => 2,
        Kind::Text => texts.len() as u64,
        _ => u64::MAX,
    };
    if limit != u64::MAX
        && let Some(row) = cells.iter().enumerate().position(|(row, cell)| is_present(row) && *cell >= limit)
    {
        return Err(EncodeError::Cell { series, row });
    }
    let there: Cow<[u64]> = match present.filter(|present| present.contains(&false)) {
        None => Cow::Borrowed(cells),
        Some(present) => {
            let there: Vec<u64> =
                cells.iter().zip(present).filter_map(|(cell, there)| there.then_some(*cell)).collect();
            if !there.is_empty() {
                bools::put(out, present, level);
            }
            Cow::Owned(there)
        }
    };
    match kind {
        Kind::F64 | Kind::F32 => floats::put(out, &there, level),
        Kind::I64 => ints::put(out, &there.iter().map(|cell| *cell as i64).collect::<Vec<_>>(), level),
        Kind::Bool => bools::put(out, &there.iter().map(|cell| *cell == 1).collect::<Vec<_>>(), level),
        Kind::Text => put_texts(out, series, &there, texts, level)?,
    }
    Ok(Summary::of(kind, &there))
}

/// The different texts that are used, in order of first use, then which of them each row has.
fn put_texts(out: &mut Vec<u8>, series: u32, cells: &[u64], texts: &[&str], level: u8) -> Result<(), EncodeError> {
    if cells.is_empty() {
        return Ok(());
    }
    let mut known: HashMap<&str, i64> = HashMap::new();
    let mut used = Vec::new();
    let mut indexes = Vec::with_capacity(cells.len());
    for cell in cells {
        // The caller checked that the index is inside.
        let text = usize::try_from(*cell).ok().and_then(|index| texts.get(index)).copied().unwrap_or_default();
        if text.len() > TEXT_BYTES_MAX {
            return Err(EncodeError::Text { series, bytes: text.len() });
        }
        indexes.push(*known.entry(text).or_insert_with(|| {
            used.push(text);
            used.len() as i64 - 1
        }));
    }
    put_varint(out, used.len() as u64);
    for text in used {
        put_varint(out, text.len() as u64);
        out.extend_from_slice(text.as_bytes());
    }
    ints::put(out, &indexes, level);
    Ok(())
}
