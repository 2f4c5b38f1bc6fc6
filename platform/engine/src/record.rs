//! How a journal record is laid out in its blob. Little-endian; its XXH3 checksum stands beside it.
//!
//! `version u8 = 2 · blocks u32 · block* · accounts u32 · account*`, where a block is `device u32 · columns u16 · (series
//! u32, type u8)* · flags u8 · reports u32 · (stream u32, sequence u64, digest u64, kind u8, rows u32)* · rows u32 · times
//! i64* · absent words u64* (flag 1) · cells`, cells row after row, each as wide as its type: 8 bytes, 4 for an f32 (8 under
//! flag 2), 1 for a bool, a u32 length and the bytes for a text; absent cells take no room. An account is `device u32 ·
//! counts u8 · u64*`.

use pulsewire_core::accounting::Accounting;
use pulsewire_core::batch::Batch;
use pulsewire_core::block::{Block, ReportHead, Rows, SeriesSet};
use pulsewire_core::ids::{DeviceKey, Sequence, SeriesKey, StreamId};
use pulsewire_core::sample::ReportKind;
use pulsewire_core::value::ValueType;
use std::sync::Arc;

const VERSION: u8 = 2;
const SPARSE: u8 = 1;
// Some cell of an f32 column is not exactly an f32.
const WIDE: u8 = 2;

/// What a record holds.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Record {
    pub blocks: Vec<Block>,
    pub accounting: Vec<(DeviceKey, Accounting)>,
}

pub(crate) fn checksum(blob: &[u8]) -> i64 {
    xxhash_rust::xxh3::xxh3_64(blob).cast_signed()
}

/// The blob of a batch.
pub(crate) fn encode(batch: &Batch) -> Vec<u8> {
    let rows: usize =
        batch.blocks.iter().map(|b| b.rows.cells().len() * 8 + b.rows.len() * 8 + b.reports.len() * 25).sum();
    let mut out = Vec::with_capacity(64 + rows + batch.blocks.len() * 96 + batch.accounting.len() * 136);
    out.push(VERSION);
    put_len(&mut out, batch.blocks.len());
    batch.blocks.iter().for_each(|block| put_block(&mut out, block));
    put_len(&mut out, batch.accounting.len());
    for (device, accounting) in &batch.accounting {
        out.extend_from_slice(&device.0.to_le_bytes());
        let counts = accounting.counts();
        out.push(counts.len() as u8);
        counts.iter().for_each(|count| out.extend_from_slice(&count.to_le_bytes()));
    }
    out
}

// A batch is far below 4 GiB of anything: ingest's queue is bounded by 2 GiB.
fn put_len(out: &mut Vec<u8>, len: usize) {
    out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
}

fn is_f32(cell: u64) -> bool {
    f64::from(f64::from_bits(cell) as f32).to_bits() == cell
}

fn put_block(out: &mut Vec<u8>, block: &Block) {
    let (rows, types) = (&block.rows, &block.set.types);
    out.extend_from_slice(&block.set.device.0.to_le_bytes());
    out.extend_from_slice(&u16::try_from(types.len()).unwrap_or(u16::MAX).to_le_bytes());
    for (series, value_type) in block.set.series.iter().zip(types) {
        out.extend_from_slice(&series.0.to_le_bytes());
        out.push(value_type.number());
    }
    let sparse = !rows.is_dense();
    let width = rows.width().max(1);
    let narrow = |(column, value_type): (usize, &ValueType)| {
        *value_type != ValueType::F32 || rows.cells().iter().skip(column).step_by(width).all(|cell| is_f32(*cell))
    };
    let wide = !types.iter().enumerate().all(narrow);
    out.push(if sparse { SPARSE } else { 0 } | if wide { WIDE } else { 0 });
    put_len(out, block.reports.len());
    for report in &block.reports {
        out.extend_from_slice(&report.stream.0.to_le_bytes());
        out.extend_from_slice(&report.sequence.0.to_le_bytes());
        out.extend_from_slice(&report.digest.to_le_bytes());
        out.push(u8::from(report.kind == ReportKind::Backfill));
        out.extend_from_slice(&report.rows.to_le_bytes());
    }
    put_len(out, rows.len());
    rows.times().iter().for_each(|time| out.extend_from_slice(&time.to_le_bytes()));
    if sparse {
        for row in 0..rows.len() {
            rows.absent_words(row).into_iter().flatten().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
        }
    }
    if !sparse && !wide && types.iter().all(|t| *t == ValueType::F32) {
        // By far the commonest kind of report.
        out.reserve(rows.cells().len() * 4);
        rows.cells().iter().for_each(|cell| out.extend_from_slice(&(f64::from_bits(*cell) as f32).to_le_bytes()));
        return;
    }
    for (row, cells) in rows.cells().chunks_exact(width).enumerate() {
        for (column, (cell, value_type)) in cells.iter().zip(types).enumerate() {
            if sparse && !rows.has(row, column) {
                continue;
            }
            match value_type {
                ValueType::F32 if !wide => out.extend_from_slice(&(f64::from_bits(*cell) as f32).to_le_bytes()),
                ValueType::F32 | ValueType::F64 | ValueType::I64 => out.extend_from_slice(&cell.to_le_bytes()),
                ValueType::Bool => out.push(u8::from(*cell != 0)),
                ValueType::Text => {
                    let text = usize::try_from(*cell).ok().and_then(|at| rows.texts().get(at)).map_or("", |t| t);
                    put_len(out, text.len());
                    out.extend_from_slice(text.as_bytes());
                }
            }
        }
    }
}

struct Input<'a>(&'a [u8]);

type Read<T> = Result<T, String>;

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> Read<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len).ok_or_else(|| "it ends too early".to_owned())?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| "it ends too early".to_owned())
    }

    fn u8(&mut self) -> Read<u8> {
        Ok(self.array::<1>()?[0])
    }

    fn u32(&mut self) -> Read<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Read<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A number of things that take at least `bytes` each, so that room may be made for them.
    fn len(&mut self, bytes: usize) -> Read<usize> {
        let len = self.u32()? as usize;
        if len > self.0.len() / bytes.max(1) {
            return Err(format!("a length of {len} is more than it holds"));
        }
        Ok(len)
    }
}

/// Reads a blob back.
pub(crate) fn decode(sum: i64, blob: &[u8]) -> Read<Record> {
    if checksum(blob) != sum {
        return Err("its checksum does not match".into());
    }
    let mut input = Input(blob);
    let version = input.u8()?;
    if version != VERSION {
        return Err(format!("its layout is {version}, this build knows {VERSION}"));
    }
    let mut record = Record::default();
    let mut known: Option<Arc<SeriesSet>> = None;
    for _ in 0..input.len(15)? {
        let block = block(&mut input, &mut known)?;
        record.blocks.push(block);
    }
    for _ in 0..input.len(5)? {
        let device = DeviceKey(input.u32()?);
        let mut counts = [0; 256];
        let len = usize::from(input.u8()?);
        for count in counts.iter_mut().take(len) {
            *count = input.u64()?;
        }
        record.accounting.push((device, Accounting::from_counts(&counts[..len])));
    }
    Ok(record)
}

fn block(input: &mut Input<'_>, known: &mut Option<Arc<SeriesSet>>) -> Read<Block> {
    let device = DeviceKey(input.u32()?);
    let columns = usize::from(u16::from_le_bytes(input.array()?));
    let mut set = SeriesSet { device, series: Vec::with_capacity(columns), types: Vec::with_capacity(columns) };
    for _ in 0..columns {
        set.series.push(SeriesKey(input.u32()?));
        let number = input.u8()?;
        set.types.push(ValueType::from_number(number).ok_or_else(|| format!("{number} is no type of a value"))?);
    }
    // Blocks of one device follow one another: they share their set.
    let set = match known {
        Some(known) if **known == set => known.clone(),
        _ => known.insert(Arc::new(set)).clone(),
    };
    let flags = input.u8()?;
    let (sparse, wide) = (flags & SPARSE != 0, flags & WIDE != 0);
    let mut block = Block::new(set);
    let reports = input.len(25)?;
    block.reports.reserve(reports);
    let mut reported = 0;
    for _ in 0..reports {
        let head = ReportHead {
            stream: StreamId(input.u32()?),
            sequence: Sequence(input.u64()?),
            digest: input.u64()?,
            kind: if input.u8()? == 0 { ReportKind::Live } else { ReportKind::Backfill },
            rows: input.u32()?,
        };
        reported += u64::from(head.rows);
        block.reports.push(head);
    }
    let rows = input.len(8)?;
    if reported != rows as u64 {
        return Err(format!("its reports have {reported} rows and it has {rows}"));
    }
    block.rows = self::rows(input, rows, &block.set.types, sparse, wide)?;
    Ok(block)
}

fn rows(input: &mut Input<'_>, count: usize, types: &[ValueType], sparse: bool, wide: bool) -> Read<Rows> {
    let mut rows = Rows::new(types.len());
    let times = input.take(count * 8)?;
    let absent = if sparse { input.take(count * types.len().div_ceil(64) * 8)? } else { &[] };
    // Each cell that has a value takes at least a byte, so this is not more than the input's own size, but for sparse rows.
    if !sparse && types.len() * count > input.0.len() {
        return Err("it ends too early".into());
    }
    if !sparse {
        rows.reserve(count);
    }
    let words = types.len().div_ceil(64);
    for (row, time) in times.chunks_exact(8).enumerate() {
        rows.begin_row(i64::from_le_bytes(time.try_into().unwrap_or_default()));
        for (column, value_type) in types.iter().enumerate() {
            if sparse {
                let byte = absent[(row * words + column / 64) * 8 + column % 64 / 8];
                if byte >> (column % 8) & 1 == 1 {
                    rows.push_absent();
                    continue;
                }
            }
            match value_type {
                ValueType::F32 if !wide => rows.push_cell(f64::from(f32::from_le_bytes(input.array()?)).to_bits()),
                ValueType::F32 | ValueType::F64 | ValueType::I64 => rows.push_cell(input.u64()?),
                ValueType::Bool => rows.push_cell(u64::from(input.u8()? != 0)),
                ValueType::Text => {
                    let len = input.len(1)?;
                    let text = std::str::from_utf8(input.take(len)?).map_err(|_| "a text is not UTF-8".to_owned())?;
                    rows.push_text(text);
                }
            }
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use pulsewire_core::block::ValueRef;

    fn a_block(types: Vec<ValueType>, rows: Vec<Vec<Option<u64>>>) -> Block {
        let series = (0..types.len()).map(|n| SeriesKey(n as u32 * 3)).collect();
        let set = Arc::new(SeriesSet { device: DeviceKey(7), series, types });
        let mut block = Block::new(set.clone());
        for (n, cells) in rows.iter().enumerate() {
            block.rows.begin_row(n as i64 - 3);
            for (value_type, cell) in set.types.iter().zip(cells) {
                match (value_type, cell) {
                    (_, None) => block.rows.push_absent(),
                    (ValueType::Text, Some(cell)) => block.rows.push_value(Some(ValueRef::Text(&cell.to_string()))),
                    (ValueType::Bool, Some(cell)) => block.rows.push_cell(cell & 1),
                    (ValueType::F32, Some(cell)) if cell % 3 > 0 => {
                        block.rows.push_cell(f64::from(*cell as f32).to_bits());
                    }
                    (_, Some(cell)) => block.rows.push_cell(*cell),
                }
            }
        }
        let head = ReportHead {
            stream: StreamId(1),
            sequence: Sequence(u64::from(u32::MAX) + 9),
            digest: 77,
            kind: ReportKind::Backfill,
            rows: rows.len() as u32,
        };
        block.reports.push(head);
        block
    }

    fn batch(blocks: Vec<Block>) -> Batch {
        let account = Accounting { reports: 1, received: u64::MAX, ..Accounting::default() };
        Batch { blocks, accounting: vec![(DeviceKey(7), account)], ..Batch::default() }
    }

    fn types() -> impl Strategy<Value = Vec<ValueType>> {
        proptest::collection::vec(proptest::sample::select(ValueType::ALL.to_vec()), 0..70)
    }

    fn blocks() -> impl Strategy<Value = Block> {
        types().prop_flat_map(|types| {
            let row = proptest::collection::vec(proptest::option::weighted(0.8, any::<u64>()), types.len());
            proptest::collection::vec(row, 0..5).prop_map(move |rows| a_block(types.clone(), rows))
        })
    }

    proptest! {
        #[test]
        fn a_record_reads_back_as_written(blocks in proptest::collection::vec(blocks(), 0..4)) {
            let batch = batch(blocks);
            let blob = encode(&batch);
            let record = decode(checksum(&blob), &blob).expect("decodes");
            prop_assert_eq!(record.blocks, batch.blocks);
            prop_assert_eq!(record.accounting, batch.accounting);
        }

        /// Whatever the bytes are, with a checksum that fits them, there is no panic.
        #[test]
        fn damage_is_an_error_and_never_a_panic(block in blocks(), at in any::<usize>(), to in any::<u8>(), cut in any::<bool>()) {
            let mut blob = encode(&batch(vec![block]));
            let at = at % blob.len();
            if cut { blob.truncate(at) } else { blob[at] = to }
            let _ = decode(checksum(&blob), &blob);
            prop_assert!(decode(checksum(&blob) ^ 1, &blob).is_err());
        }
    }
}
