//! How a journal record is laid out in its blob. An XXH3 checksum stands beside it.
//!
//! Little-endian and flat, so that writing one is little more than a copy. The numbers of types and reasons are the core's,
//! which never change their meaning; a layout that changes gets another version byte.
//!
//! ```text
//! version  u8 = 2
//! blocks   u32, then each:
//!   device   u32
//!   columns  u32, then each: series u32, type u8
//!   reports  u32, then each: stream u32, sequence u64, digest u64, kind u8 (0 live, 1 backfill), rows u32
//!   rows     u32, then their times: i64 each
//!   flags    u8: 1 = cells may be absent, 2 = f32 in 4 bytes
//!   presence with flag 1: per row one u64 per 64 columns, a set bit = absent
//!   cells    row after row those that are there: f64, i64 8 bytes; f32 4 with flag 2, else 8; bool 1; text u32 and UTF-8
//! accounts u32, then each: device u32, number of counts u8, counts as varints of 7 bits, lowest first
//! ```

use crate::ports::{Batch, JournalError};
use pulsewire_core::accounting::Accounting;
use pulsewire_core::block::{Block, ReportHead, Rows, SeriesSet};
use pulsewire_core::ids::{DeviceKey, Position, Sequence, SeriesKey, StreamId};
use pulsewire_core::sample::{JournalRecord, ReportKind};
use pulsewire_core::value::ValueType;
use std::sync::Arc;

const VERSION: u8 = 2;
const FLAG_GAPS: u8 = 1;
const FLAG_NARROW: u8 = 2;

/// The blob of a batch: its blocks and what it adds to the accounts, not its series.
pub fn encode(batch: &Batch) -> Vec<u8> {
    let mut out = Vec::with_capacity(size_hint(batch));
    out.push(VERSION);
    put_count(&mut out, batch.blocks.len());
    for block in &batch.blocks {
        put_block(&mut out, block);
    }
    put_count(&mut out, batch.accounting.len());
    for (device, account) in &batch.accounting {
        out.extend_from_slice(&device.0.to_le_bytes());
        let counts = account.counts();
        out.push(u8::try_from(counts.len()).unwrap_or(u8::MAX));
        counts.iter().for_each(|count| put_varint(&mut out, *count));
    }
    out
}

/// Reads a record back, and what it added to the accounts.
///
/// # Errors
/// [`JournalError::Corrupt`] if the checksum or the layout is wrong.
pub fn decode(
    position: i64,
    received_us: i64,
    sum: i64,
    blob: &[u8],
) -> Result<(JournalRecord, Vec<(DeviceKey, Accounting)>), JournalError> {
    let position = Position(position.unsigned_abs());
    let damaged = |problem: &str| JournalError::Corrupt { position, problem: problem.into() };
    if checksum(blob) != sum {
        return Err(damaged("its checksum does not match"));
    }
    let (blocks, accounts) = read(blob).map_err(|Damage(problem)| damaged(problem))?;
    Ok((JournalRecord { position, received_us, blocks }, accounts))
}

/// What stands beside the blob.
pub fn checksum(blob: &[u8]) -> i64 {
    xxhash_rust::xxh3::xxh3_64(blob).cast_signed()
}

fn size_hint(batch: &Batch) -> usize {
    let blocks = batch.blocks.iter().map(|block| {
        32 + block.set.series.len() * 5 + block.reports.len() * 25 + block.rows.len() * 8 + block.rows.cells().len() * 8
    });
    blocks.sum::<usize>() + 16 + batch.accounting.len() * 40
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    // What a batch holds is bounded by `ingest.queue_bytes`, which is below 2^31.
    debug_assert!(u32::try_from(count).is_ok(), "a batch of 4 GiB");
    out.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
}

/// Things of one length, with the room for all made at once.
fn put_fixed<T, const N: usize>(out: &mut Vec<u8>, things: &[T], mut bytes: impl FnMut(&T) -> [u8; N]) {
    let at = out.len();
    out.resize(at + things.len() * N, 0);
    let slots = out[at..].as_chunks_mut().0;
    slots.iter_mut().zip(things).for_each(|(slot, thing)| *slot = bytes(thing));
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

fn put_block(out: &mut Vec<u8>, block: &Block) {
    let (set, rows) = (&*block.set, &block.rows);
    out.extend_from_slice(&set.device.0.to_le_bytes());
    put_count(out, set.series.len());
    for (series, value_type) in set.series.iter().zip(&set.types) {
        out.extend_from_slice(&series.0.to_le_bytes());
        out.push(value_type.number());
    }
    put_count(out, block.reports.len());
    for head in &block.reports {
        let mut bytes = [0; 25];
        bytes[..4].copy_from_slice(&head.stream.0.to_le_bytes());
        bytes[4..12].copy_from_slice(&head.sequence.0.to_le_bytes());
        bytes[12..20].copy_from_slice(&head.digest.to_le_bytes());
        bytes[20] = u8::from(head.kind == ReportKind::Backfill);
        bytes[21..].copy_from_slice(&head.rows.to_le_bytes());
        out.extend_from_slice(&bytes);
    }
    put_count(out, rows.len());
    put_fixed(out, rows.times(), |time_us| time_us.to_le_bytes());
    let flags_at = out.len();
    let gaps = if rows.is_dense() { 0 } else { FLAG_GAPS };
    out.push(gaps | FLAG_NARROW);
    for row in 0..rows.len() {
        let words = rows.absent_words(row).into_iter().flatten();
        words.for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
    }
    let cells_at = out.len();
    if !put_cells(out, set, rows, true) {
        // Some f32 is none: an f64 that was declared anew, or a NaN that does not survive.
        out.truncate(cells_at);
        out[flags_at] = gaps;
        put_cells(out, set, rows, false);
    }
}

/// True unless an f32 cell did not fit its 4 bytes.
fn put_cells(out: &mut Vec<u8>, set: &SeriesSet, rows: &Rows, narrow: bool) -> bool {
    if rows.is_dense() && narrow && set.types.iter().all(|one| *one == ValueType::F32) {
        let mut lost = 0;
        put_fixed(out, rows.cells(), |cell| {
            let short = narrowed(*cell);
            lost |= widened(short) ^ cell;
            short.to_le_bytes()
        });
        return lost == 0;
    }
    if rows.is_dense() && set.types.iter().all(|one| *one == ValueType::F64 || *one == ValueType::I64) {
        put_fixed(out, rows.cells(), |cell| cell.to_le_bytes());
        return true;
    }
    for row in 0..rows.len() {
        for (column, value_type) in set.types.iter().enumerate() {
            let Some(cell) = rows.cell(row, column) else { continue };
            match value_type {
                ValueType::F32 if narrow => {
                    let short = narrowed(cell);
                    if widened(short) != cell {
                        return false;
                    }
                    out.extend_from_slice(&short.to_le_bytes());
                }
                ValueType::F64 | ValueType::F32 | ValueType::I64 => out.extend_from_slice(&cell.to_le_bytes()),
                ValueType::Bool => out.push(u8::from(cell != 0)),
                ValueType::Text => {
                    let text = usize::try_from(cell).ok().and_then(|index| rows.texts().get(index));
                    let text = text.map_or("", |text| text);
                    put_count(out, text.len());
                    out.extend_from_slice(text.as_bytes());
                }
            }
        }
    }
    true
}

/// The bits of the f32 that a widened one was. NaNs by hand, since a cast need not keep what they carry.
fn narrowed(cell: u64) -> u32 {
    let value = f64::from_bits(cell);
    if value.is_nan() {
        // The sign, all ones, and the upper 23 of the 52 bits; the result fits.
        return ((cell >> 32) as u32 & 0x8000_0000) | 0x7f80_0000 | ((cell >> 29) as u32 & 0x007f_ffff);
    }
    // What is rounded here is noticed by the caller.
    #[allow(clippy::cast_possible_truncation)]
    let short = value as f32;
    short.to_bits()
}

fn widened(short: u32) -> u64 {
    let value = f32::from_bits(short);
    if value.is_nan() {
        return (u64::from(short & 0x8000_0000) << 32) | 0x7ff0_0000_0000_0000 | (u64::from(short & 0x007f_ffff) << 29);
    }
    f64::from(value).to_bits()
}

/// What is wrong with a blob.
#[derive(Debug)]
struct Damage(&'static str);

const CUT: Damage = Damage("it ends too early");

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, length: usize) -> Result<&'a [u8], Damage> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(CUT)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(CUT)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, Damage> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Result<u32, Damage> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Damage> {
        self.array().map(u64::from_le_bytes)
    }

    /// How many things follow that take at least so many bytes each: never more than there is room for.
    fn count(&mut self, bytes_each: usize) -> Result<usize, Damage> {
        let count = usize::try_from(self.u32()?).map_err(|_| CUT)?;
        let fits = count.checked_mul(bytes_each).is_some_and(|bytes| bytes <= self.0.len());
        if fits { Ok(count) } else { Err(CUT) }
    }

    fn varint(&mut self) -> Result<u64, Damage> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let part = u64::from(byte & 0x7f);
            if part << shift >> shift != part {
                break;
            }
            value |= part << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Damage("a number is too large"))
    }
}

type Content = (Vec<Block>, Vec<(DeviceKey, Accounting)>);

fn read(blob: &[u8]) -> Result<Content, Damage> {
    let mut reader = Reader(blob);
    if reader.u8()? != VERSION {
        return Err(Damage("its layout is of another version"));
    }
    // A block takes at least 17 bytes, an account 5.
    let blocks = reader.count(17)?;
    let blocks = (0..blocks).map(|_| read_block(&mut reader)).collect::<Result<_, _>>()?;
    let accounts = reader.count(5)?;
    let accounts = (0..accounts).map(|_| read_account(&mut reader)).collect::<Result<_, _>>()?;
    if !reader.0.is_empty() {
        return Err(Damage("something follows its end"));
    }
    Ok((blocks, accounts))
}

fn read_account(reader: &mut Reader<'_>) -> Result<(DeviceKey, Accounting), Damage> {
    let device = DeviceKey(reader.u32()?);
    let mut counts = [0; Accounting::COUNTS];
    for index in 0..usize::from(reader.u8()?) {
        let value = reader.varint()?;
        // Counts that a later version has are passed over.
        if let Some(count) = counts.get_mut(index) {
            *count = value;
        }
    }
    Ok((device, Accounting::from_counts(&counts)))
}

fn read_block(reader: &mut Reader<'_>) -> Result<Block, Damage> {
    let device = DeviceKey(reader.u32()?);
    let columns = reader.count(5)?;
    let mut set = SeriesSet { device, series: Vec::with_capacity(columns), types: Vec::with_capacity(columns) };
    for _ in 0..columns {
        set.series.push(SeriesKey(reader.u32()?));
        set.types.push(ValueType::from_number(reader.u8()?).ok_or(Damage("a column has no known type"))?);
    }
    let reports = reader.count(25)?;
    let reports = (0..reports).map(|_| read_head(reader)).collect::<Result<Vec<_>, _>>()?;
    let count = reader.count(8)?;
    if reports.iter().map(|head| u64::from(head.rows)).sum::<u64>() != count as u64 {
        return Err(Damage("its reports have another number of rows"));
    }
    let times = reader.bytes(count * 8)?.as_chunks().0;
    let rows = read_rows(reader, &set, times)?;
    Ok(Block { set: Arc::new(set), reports, rows })
}

fn read_head(reader: &mut Reader<'_>) -> Result<ReportHead, Damage> {
    Ok(ReportHead {
        stream: StreamId(reader.u32()?),
        sequence: Sequence(reader.u64()?),
        digest: reader.u64()?,
        kind: match reader.u8()? {
            0 => ReportKind::Live,
            1 => ReportKind::Backfill,
            _ => return Err(Damage("a report has no known kind")),
        },
        rows: reader.u32()?,
    })
}

fn read_rows(reader: &mut Reader<'_>, set: &SeriesSet, times: &[[u8; 8]]) -> Result<Rows, Damage> {
    let flags = reader.u8()?;
    if flags & !(FLAG_GAPS | FLAG_NARROW) != 0 {
        return Err(Damage("a block has unknown flags"));
    }
    let (width, narrow) = (set.types.len(), flags & FLAG_NARROW != 0);
    let mut rows = Rows::new(width);
    if width == 0 {
        // Nothing is stored without columns.
        return if times.is_empty() { Ok(rows) } else { Err(Damage("a block has rows without columns")) };
    }
    let words = width.div_ceil(64);
    if flags & FLAG_GAPS != 0 {
        let absent = reader.bytes(times.len().checked_mul(words * 8).ok_or(CUT)?)?.as_chunks().0;
        for (time_us, absent) in times.iter().zip(absent.chunks_exact(words)) {
            rows.begin_row(i64::from_le_bytes(*time_us));
            for (column, value_type) in set.types.iter().enumerate() {
                if u64::from_le_bytes(absent[column / 64]) >> (column % 64) & 1 == 1 {
                    rows.push_absent();
                } else {
                    read_cell(reader, *value_type, narrow, &mut rows)?;
                }
            }
        }
        return Ok(rows);
    }
    // At least so many bytes: what is reserved is in proportion to what is there.
    let row_bytes: usize = set.types.iter().map(|one| cell_bytes_min(*one, narrow)).sum();
    if times.len().checked_mul(row_bytes).is_none_or(|bytes| bytes > reader.0.len()) {
        return Err(CUT);
    }
    rows.reserve(times.len());
    let only = |one| set.types.iter().all(|value_type| *value_type == one);
    let is_short = narrow && only(ValueType::F32);
    let is_long = set.types.iter().all(|one| cell_bytes_min(*one, narrow) == 8);
    for time_us in times {
        let time_us = i64::from_le_bytes(*time_us);
        if is_short {
            let cells = reader.bytes(row_bytes)?.as_chunks().0.iter();
            rows.push_dense(time_us, cells.map(|cell| widened(u32::from_le_bytes(*cell))));
        } else if is_long {
            let cells = reader.bytes(row_bytes)?.as_chunks().0.iter();
            rows.push_dense(time_us, cells.map(|cell| u64::from_le_bytes(*cell)));
        } else {
            rows.begin_row(time_us);
            set.types.iter().try_for_each(|one| read_cell(reader, *one, narrow, &mut rows))?;
        }
    }
    Ok(rows)
}

fn cell_bytes_min(value_type: ValueType, narrow: bool) -> usize {
    match value_type {
        ValueType::F32 if narrow => 4,
        ValueType::F64 | ValueType::F32 | ValueType::I64 => 8,
        ValueType::Bool => 1,
        ValueType::Text => 4,
    }
}

fn read_cell(reader: &mut Reader<'_>, value_type: ValueType, narrow: bool, rows: &mut Rows) -> Result<(), Damage> {
    match value_type {
        ValueType::F32 if narrow => rows.push_cell(widened(reader.u32()?)),
        ValueType::F64 | ValueType::F32 | ValueType::I64 => rows.push_cell(reader.u64()?),
        ValueType::Bool => match reader.u8()? {
            bit @ (0 | 1) => rows.push_cell(bit.into()),
            _ => return Err(Damage("a truth value is neither true nor false")),
        },
        ValueType::Text => {
            let length = reader.count(1)?;
            let text = std::str::from_utf8(reader.bytes(length)?).map_err(|_| Damage("a text is not UTF-8"))?;
            rows.push_text(text);
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
