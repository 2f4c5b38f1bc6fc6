//! Rows become chunks.

use crate::data::{self, ChunkRow, kind_of};
use crate::error::StoreError;
use crate::heads::{SealedTable, TableId, Taken, TakenTable};
use crate::resolve::{Resolved, settle};
use crate::rollup::{self, Level};
use crate::shared::Shared;
use crate::tidy::Known;
use pulsewire_chunk::{ChunkReader, ColumnIn, encode};
use pulsewire_core::aggregate::floor;
use pulsewire_core::block::SeriesSet;
use pulsewire_core::ids::SeriesKey;
use rusqlite::Connection;
use std::ops::Range;

/// Most rows of a chunk. More compress no better, and a query for a moment decodes a whole column.
pub(crate) const CHUNK_ROWS_MAX: usize = 8192;

/// Effort of encoding when heads take more than half of their memory: half as long, for about a tenth more bytes.
pub(crate) const LEVEL_PRESSED: u8 = 2;

/// A chunk of fewer rows is small: it compresses badly, and is merged with others of its kind. As in `data.db`'s index.
pub(crate) const CHUNK_ROWS_SMALL: i64 = 1024;

/// Rows of a table on their way into a chunk, by ascending time.
pub(crate) struct Encoded {
    pub from_us: i64,
    pub to_us: i64,
    pub rows: usize,
    pub data: Vec<u8>,
}

/// A column to encode, as it is gathered.
#[derive(Default)]
pub(crate) struct Gathered {
    pub cells: Vec<u64>,
    pub present: Vec<bool>,
}

/// Encodes rows, columns given in the order of the set.
pub(crate) fn encode_columns(
    set: &SeriesSet,
    times: &[i64],
    columns: &[Gathered],
    texts: &[&str],
    level: u8,
) -> Result<Encoded, StoreError> {
    let columns: Vec<ColumnIn<'_>> = set
        .series
        .iter()
        .zip(&set.types)
        .zip(columns)
        .map(|((series, value_type), column)| ColumnIn {
            series: series.0,
            kind: kind_of(*value_type),
            cells: &column.cells,
            present: (!column.present.iter().all(|p| *p)).then_some(&column.present[..]),
            texts: if kind_of(*value_type) == pulsewire_chunk::Kind::Text { texts } else { &[] },
        })
        .collect();
    let data = encode(times, &columns, level).map_err(|error| StoreError::Retry(error.into()))?;
    let (from_us, to_us) = (times.first().copied().unwrap_or(0), times.last().copied().unwrap_or(0));
    Ok(Encoded { from_us, to_us, rows: times.len(), data })
}

fn encode_rows(resolved: &Resolved, rows: &[u32], level: u8) -> Result<Encoded, StoreError> {
    let times: Vec<i64> = rows.iter().map(|row| resolved.times[*row as usize]).collect();
    let mut columns = Vec::with_capacity(resolved.set.series.len());
    for column in 0..resolved.set.series.len() {
        let mut gathered = Gathered { cells: Vec::with_capacity(rows.len()), present: Vec::with_capacity(rows.len()) };
        for row in rows {
            let cell = resolved.cell(*row as usize, column);
            gathered.cells.push(cell.unwrap_or(0));
            gathered.present.push(cell.is_some());
        }
        columns.push(gathered);
    }
    let texts: Vec<&str> = resolved.part.rows.texts().iter().map(AsRef::as_ref).collect();
    encode_columns(&resolved.set, &times, &columns, &texts, level)
}

/// What a device's head became, before it is written.
pub(crate) struct Prepared {
    tables: Vec<PreparedTable>,
    replaced: u64,
}

struct PreparedTable {
    // Rows after everything sealed before, then those that are not.
    chunks: Vec<Encoded>,
    // True if there are rows not before the floor, in the block of minutes or of hours that it cuts.
    cut: [bool; 2],
    // True if there are rows after everything sealed before.
    ahead: bool,
    late: Option<Late>,
}

struct Late {
    // Of all rows, ascending; there is at least one.
    times: Vec<i64>,
    // By series its times, ascending: what may have been there before.
    cells: Vec<(SeriesKey, Vec<i64>)>,
}

impl Late {
    /// The first and the last time.
    fn range(&self) -> (i64, i64) {
        (self.times.first().copied().unwrap_or(0), self.times.last().copied().unwrap_or(0))
    }
}

/// Sorts, settles and encodes; the costly part, for which no lock and no transaction is needed.
pub(crate) fn prepare(taken: &Taken, level: u8) -> Result<Prepared, StoreError> {
    let mut resolved: Vec<Resolved> =
        taken.tables.iter().map(|table| Resolved::new(table.set.clone(), table.part.clone())).collect();
    // Counted when it came, if it was the same table; values of two tables meet only here.
    let replaced = settle(&mut resolved);
    let mut tables = Vec::with_capacity(resolved.len());
    for (table, resolved) in taken.tables.iter().zip(&resolved) {
        tables.push(prepare_table(table, resolved, level)?);
    }
    Ok(Prepared { tables, replaced })
}

fn prepare_table(table: &TakenTable, resolved: &Resolved, level: u8) -> Result<PreparedTable, StoreError> {
    let rows: Vec<u32> = (0..resolved.times.len()).filter(|r| !resolved.is_empty_row(*r)).map(|r| r as u32).collect();
    let forward = rows.partition_point(|row| resolved.times[*row as usize] <= table.sealed_us);
    let in_cut = |level: Level| {
        let end_us = floor(table.floor_us, level.block_us()).saturating_add(level.block_us());
        let at = rows.partition_point(|row| resolved.times[*row as usize] < table.floor_us);
        table.floor_us > i64::MIN && rows.get(at).is_some_and(|row| resolved.times[*row as usize] < end_us)
    };
    let mut prepared = PreparedTable {
        chunks: Vec::new(),
        cut: [in_cut(Level::Minute), in_cut(Level::Hour)],
        ahead: forward < rows.len(),
        late: None,
    };
    // Apart, so that chunks of what comes in order never overlap.
    for part in [&rows[..forward], &rows[forward..]] {
        for some in part.chunks(CHUNK_ROWS_MAX) {
            prepared.chunks.push(encode_rows(resolved, some, level)?);
        }
    }
    let late = rows.partition_point(|row| resolved.times[*row as usize] <= table.related_sealed_us);
    if late > 0 {
        let time = |row: &u32| resolved.times[*row as usize];
        let cells = table.set.series.iter().enumerate().map(|(column, series)| {
            let times = rows[..late].iter().filter(|row| resolved.cell(**row as usize, column).is_some()).map(time);
            (*series, times.collect())
        });
        prepared.late = Some(Late { times: rows[..late].iter().map(time).collect(), cells: cells.collect() });
    }
    Ok(prepared)
}

/// Writes it; answers what changed, and how many values took the place of sealed ones.
pub(crate) fn write(
    connection: &Connection,
    shared: &Shared,
    taken: &Taken,
    prepared: &Prepared,
) -> Result<(Vec<SealedTable>, u64), StoreError> {
    let mut replaced = prepared.replaced;
    let mut sealed = Vec::with_capacity(taken.tables.len());
    for (table, prepared) in taken.tables.iter().zip(&prepared.tables) {
        let mut rolled_us = table.rolled_us;
        if let Some(late) = &prepared.late {
            replaced += count_replaced(connection, &table.related, late)?;
            let (from_us, to_us) = late.range();
            // Also at or after `rolled_us`: blocks stay there when earlier late samples set it back.
            if let Some(id) = table.id {
                let first = data::drop_rollups(connection, id, from_us, to_us, table.floor_us)?;
                // Also where there was none: perhaps there is reason for one now. But not where samples are gone already.
                let again_us = floor(first.unwrap_or(from_us).min(from_us), Level::Minute.block_us());
                let kept_us =
                    floor(table.floor_us.saturating_add(Level::Minute.block_us() - 1), Level::Minute.block_us());
                rolled_us = rolled_us.min(again_us.max(kept_us));
            }
        }
        let spans = prepared.chunks.iter().map(|chunk| chunk.to_us.saturating_sub(chunk.from_us));
        let span_us = spans.fold(table.span_us, i64::max);
        let id = data::write_table(connection, taken.device, table, rolled_us, span_us)?;
        let columns = i64::try_from(table.set.series.len()).unwrap_or(i64::MAX);
        let mut small = 0;
        for chunk in &prepared.chunks {
            let rows = i64::try_from(chunk.rows).unwrap_or(i64::MAX);
            small += u32::from(rows < CHUNK_ROWS_SMALL);
            let row = ChunkRow {
                chunk: 0,
                table: id,
                seal: taken.seal,
                from_us: chunk.from_us,
                to_us: chunk.to_us,
                rows,
                columns,
            };
            data::insert_chunk(connection, &row, &chunk.data)?;
        }
        if prepared.ahead && table.id.is_some() {
            data::drop_rollups_ahead(connection, id, table.sealed_us, table.floor_us)?;
        }
        if prepared.cut.contains(&true) {
            let known = Known {
                device: taken.device,
                id,
                set: table.set.clone(),
                sealed_us: table.sealed_us,
                rolled_us,
                floor_us: table.floor_us,
                span_us,
            };
            for (level, _) in [Level::Minute, Level::Hour].into_iter().zip(prepared.cut).filter(|(_, cut)| *cut) {
                rollup::make_cut_again(connection, shared, &known, level)?;
            }
        }
        let newest = prepared.chunks.iter().map(|chunk| chunk.to_us).max();
        let sealed_us = newest.map_or(table.sealed_us, |newest| newest.max(table.sealed_us));
        sealed.push(SealedTable { index: table.index, small, id, sealed_us, rolled_us, span_us });
    }
    let mut account = taken.account;
    account.replaced += replaced;
    data::write_device(connection, taken, &account)?;
    Ok((sealed, replaced))
}

/// Chunks and samples of what was prepared.
pub(crate) fn size(taken: &Taken, prepared: &Prepared) -> (u64, u64) {
    let samples = taken.tables.iter().map(|table| table.part.rows.count()).sum();
    (prepared.tables.iter().map(|table| table.chunks.len() as u64).sum(), samples)
}

/// How many late values stand where `data.db` has one. Reads only chunks that span a late time, one at a time, and keeps of
/// them one bit per late value.
fn count_replaced(connection: &Connection, tables: &[(TableId, i64)], late: &Late) -> Result<u64, StoreError> {
    let (from_us, to_us) = late.range();
    let mut found: Vec<Vec<bool>> = late.cells.iter().map(|(_, times)| vec![false; times.len()]).collect();
    for (table, span_us) in tables {
        for chunk in data::chunks(connection, *table, from_us, to_us, *span_us)? {
            if within(&late.times, chunk.from_us, chunk.to_us).is_empty() {
                continue;
            }
            data::with_bytes(connection, chunk.chunk, |bytes| {
                // A damaged chunk is found and reported by whoever reads it for its values.
                let Ok(reader) = ChunkReader::open(bytes) else { return };
                let Ok(times) = reader.times() else { return };
                for ((series, late), found) in late.cells.iter().zip(&mut found) {
                    let some = within(late, chunk.from_us, chunk.to_us);
                    if some.is_empty() {
                        continue;
                    }
                    let Ok(Some(column)) = reader.column(series.0) else { continue };
                    let has = |row: usize| column.present.as_ref().is_none_or(|p| p.get(row) == Some(&true));
                    for (time, found) in late[some.clone()].iter().zip(&mut found[some]) {
                        *found |= times.binary_search(time).is_ok_and(has);
                    }
                }
            })?;
        }
    }
    Ok(found.iter().flatten().filter(|found| **found).count() as u64)
}

/// Which of some ascending times are in `from_us..=to_us`.
fn within(times: &[i64], from_us: i64, to_us: i64) -> Range<usize> {
    let first = times.partition_point(|time| *time < from_us);
    first..times.partition_point(|time| *time <= to_us).max(first)
}
