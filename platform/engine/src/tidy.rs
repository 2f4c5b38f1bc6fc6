//! What is done when nothing waits to be sealed: rollups are made, small chunks merged.

use crate::data::{self, ChunkRow};
use crate::error::StoreError;
use crate::heads::{Table, TableId};
use crate::keeper::Step;
use crate::merge::{self, Piece};
use crate::rollup::{self, Level};
use crate::seal::{CHUNK_ROWS_MAX, CHUNK_ROWS_SMALL, Gathered, encode_columns};
use crate::shared::Shared;
use pulsewire_chunk::{ChunkReader, LEVEL_DEFAULT};
use pulsewire_core::aggregate::floor;
use pulsewire_core::block::{SeriesSet, ValueRef};
use pulsewire_core::ids::DeviceKey;
use rusqlite::{Connection, params};
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Small chunks of a table that are worth merging.
const SMALL_CHUNKS: u32 = 8;
/// Most chunks merged at once.
const MERGED_CHUNKS: i64 = 64;
/// Most chunks that are compared with those to be merged; where more lie in their time, fewer are merged at once.
const OTHERS_MAX: usize = 4096;
/// How often tables are looked over.
const SCAN_INTERVAL_US: i64 = 5_000_000;

#[derive(Debug, Clone, Copy)]
enum Job {
    Roll,
    Merge,
}

/// Which tables have something to do.
#[derive(Debug, Default)]
pub(crate) struct Round {
    queue: VecDeque<(DeviceKey, TableId, Job)>,
    next_scan_us: i64,
}

/// A copy of what is known of a table in memory.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub device: DeviceKey,
    pub id: TableId,
    pub set: Arc<SeriesSet>,
    pub sealed_us: i64,
    pub rolled_us: i64,
    pub floor_us: i64,
    pub span_us: i64,
}

pub(crate) fn known(shared: &Shared, device: DeviceKey, id: TableId) -> Option<Known> {
    let heads = shared.read();
    let table = heads.devices.get(&device)?.tables.iter().find(|table| table.id == Some(id))?;
    Some(Known {
        device,
        id,
        set: table.set.clone(),
        sealed_us: table.sealed_us,
        rolled_us: table.rolled_us,
        floor_us: table.floor_us,
        span_us: table.span_us,
    })
}

impl Round {
    pub fn step(
        &mut self,
        connection: &mut Connection,
        shared: &Shared,
        now_us: i64,
    ) -> Result<Option<Step>, StoreError> {
        if self.queue.is_empty() && now_us >= self.next_scan_us {
            self.next_scan_us = now_us.saturating_add(SCAN_INTERVAL_US);
            let heads = shared.read();
            for (device, table) in heads.devices.iter().flat_map(|(key, d)| d.tables.iter().map(move |t| (key, t))) {
                let Some(id) = table.id else { continue };
                if table.small >= SMALL_CHUNKS {
                    self.queue.push_back((*device, id, Job::Merge));
                }
                if may_roll(table) {
                    self.queue.push_back((*device, id, Job::Roll));
                }
            }
        }
        while let Some((device, id, job)) = self.queue.pop_front() {
            let Some(table) = known(shared, device, id) else { continue };
            match job {
                Job::Roll => {
                    if roll(connection, shared, &table)? {
                        self.queue.push_front((device, id, job));
                        return Ok(Some(Step::Rolled));
                    }
                }
                Job::Merge => {
                    if merge_small(connection, shared, &table)? {
                        return Ok(Some(Step::Merged));
                    }
                }
            }
        }
        Ok(None)
    }
}

fn may_roll(table: &Table) -> bool {
    table.sealed_us != i64::MIN && table.sealed_us >= table.rolled_us.saturating_add(Level::Minute.block_us())
}

/// Makes the next block of a table if it is worth it; false if there is none that is complete.
fn roll(connection: &mut Connection, shared: &Shared, table: &Known) -> Result<bool, StoreError> {
    let (minutes, hours) = (Level::Minute.block_us(), Level::Hour.block_us());
    let Some(next_us) = data::next_chunk_from(connection, table.id, table.rolled_us, table.span_us)? else {
        return Ok(false);
    };
    let start_us = floor(next_us, minutes).max(table.rolled_us);
    // Hours of a block whose minutes are all done come first.
    let hour_us = floor(table.rolled_us.max(0), hours);
    let (level, start_us) = match table.rolled_us {
        rolled_us if rolled_us > 0 && rolled_us > hour_us && hour_us + hours <= start_us => (Level::Hour, hour_us),
        _ => (Level::Minute, start_us),
    };
    let end_us = start_us.saturating_add(level.block_us());
    if end_us > table.sealed_us {
        return Ok(false);
    }
    let made = rollup::make(connection, shared, table, level, start_us, false)?;
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    if let Some((data, columns)) = made {
        rollup::insert(&transaction, table.id, level, start_us, &data, columns)?;
    }
    if level == Level::Minute && end_us % hours == 0 {
        let start_us = end_us - hours;
        let made = rollup::make(&transaction, shared, table, Level::Hour, start_us, false)?;
        if let Some((data, columns)) = made {
            rollup::insert(&transaction, table.id, Level::Hour, start_us, &data, columns)?;
        }
    }
    data::set_rolled(&transaction, table.id, end_us)?;
    transaction.commit()?;
    if let Some(table) = shared.write().table_mut(table.device, table.id) {
        table.rolled_us = end_us;
    }
    Ok(true)
}

/// Merges small chunks of a table into large ones; false if that cannot be done.
fn merge_small(connection: &mut Connection, shared: &Shared, table: &Known) -> Result<bool, StoreError> {
    let Some(members) = run(connection, shared, table)? else {
        // Looked at again when there are as many new ones.
        if let Some(table) = shared.write().table_mut(table.device, table.id) {
            table.small = 0;
        }
        return Ok(false);
    };
    let Some(chunks) = merged(connection, shared, table, &members)? else { return Ok(false) };
    let seal = members.iter().map(|chunk| chunk.seal).max().unwrap_or(0);
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    for chunk in &members {
        data::delete_chunk(&transaction, chunk.chunk)?;
    }
    let mut span_us = table.span_us;
    let mut small = 0;
    for chunk in &chunks {
        let rows = i64::try_from(chunk.rows).unwrap_or(i64::MAX);
        small += u32::from(rows < CHUNK_ROWS_SMALL);
        span_us = span_us.max(chunk.to_us.saturating_sub(chunk.from_us));
        let row = ChunkRow {
            chunk: 0,
            table: table.id,
            seal,
            from_us: chunk.from_us,
            to_us: chunk.to_us,
            rows,
            columns: i64::try_from(table.set.series.len()).unwrap_or(i64::MAX),
        };
        data::insert_chunk(&transaction, &row, &chunk.data)?;
    }
    // Before the commit: a reader that already sees the merged chunk must look back as far as it spans.
    if let Some(table) = shared.write().table_mut(table.device, table.id) {
        table.span_us = table.span_us.max(span_us);
    }
    transaction.prepare_cached("UPDATE tbl SET span_us = ?2 WHERE tbl = ?1")?.execute(params![table.id.0, span_us])?;
    transaction.commit()?;
    let gone = u32::try_from(members.len()).unwrap_or(u32::MAX);
    if let Some(table) = shared.write().table_mut(table.device, table.id) {
        table.small = table.small.saturating_sub(gone) + small;
    }
    Ok(true)
}

/// Small chunks with all their columns, by time.
fn small_chunks(connection: &Connection, table: TableId) -> Result<Vec<ChunkRow>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT chunk, tbl, seal, from_us, to_us, rows, columns FROM chunk
         WHERE tbl = ?1 AND rows < 1024 AND bad = 0 ORDER BY from_us LIMIT ?2",
    )?;
    let rows = statement.query_map(params![table.0, MERGED_CHUNKS], data::chunk_row)?;
    let all: Vec<ChunkRow> = rows.collect::<Result<_, _>>()?;
    let most = all.iter().map(|chunk| chunk.columns).max().unwrap_or(0);
    Ok(all.into_iter().filter(|chunk| chunk.columns == most).collect())
}

/// The longest run of small chunks that may be merged; None if no two may. They may not if a chunk that is not merged lies
/// among them, both in time and in order of writing: after merging it could not be told which of two values is the later.
/// The merged chunk counts as written when the last of them was, so another one of that seal matters too.
fn run(connection: &Connection, shared: &Shared, table: &Known) -> Result<Option<Vec<ChunkRow>>, StoreError> {
    let mut members = small_chunks(connection, table.id)?;
    let others = loop {
        if members.len() < 2 {
            return Ok(None);
        }
        let others = others(connection, shared, table, &members)?;
        if others.len() <= OTHERS_MAX {
            break others;
        }
        members.truncate(members.len() / 2);
    };
    let mut longest: &[ChunkRow] = &[];
    for first in 0..members.len() {
        if members.len() - first <= longest.len() {
            break;
        }
        let ends = first + 1..=members.len();
        // A longer run has every conflict that a shorter one with it has, except with what it takes in.
        for run in ends.map(|end| &members[first..end]) {
            if run.len() > longest.len() && !conflicts(run, &others) {
                longest = run;
            }
        }
    }
    Ok((longest.len() > 1).then(|| longest.to_vec()))
}

/// Chunks of tables that share a series with this one, itself included, in the time of some of its chunks. No more than one
/// above the most.
fn others(
    connection: &Connection,
    shared: &Shared,
    table: &Known,
    members: &[ChunkRow],
) -> Result<Vec<ChunkRow>, StoreError> {
    let from_us = members.iter().map(|chunk| chunk.from_us).min().unwrap_or(0);
    let to_us = members.iter().map(|chunk| chunk.to_us).max().unwrap_or(0);
    let related: Vec<(TableId, i64)> = {
        let heads = shared.read();
        let tables = heads.devices.get(&table.device).map_or(&[][..], |device| &device.tables);
        let shares = |other: &&Table| other.set.series.iter().any(|series| table.set.series.contains(series));
        tables.iter().filter(shares).filter_map(|other| Some((other.id?, other.span_us))).collect()
    };
    let mut statement = connection.prepare_cached(
        "SELECT chunk, tbl, seal, from_us, to_us, rows, columns FROM chunk
         WHERE tbl = ?1 AND from_us >= ?2 AND from_us <= ?3 AND to_us >= ?4 AND bad = 0 LIMIT ?5",
    )?;
    let mut others = Vec::new();
    for (id, span_us) in related {
        let most = (OTHERS_MAX + 1).saturating_sub(others.len()) as i64;
        let first_us = from_us.saturating_sub(span_us);
        let rows = statement.query_map(params![id.0, first_us, to_us, from_us, most], data::chunk_row)?;
        for row in rows {
            others.push(row?);
        }
    }
    Ok(others)
}

/// True if one of the others lies among the members.
fn conflicts(members: &[ChunkRow], others: &[ChunkRow]) -> bool {
    let from_us = members.iter().map(|chunk| chunk.from_us).min().unwrap_or(0);
    let to_us = members.iter().map(|chunk| chunk.to_us).max().unwrap_or(0);
    let first = members.iter().map(|chunk| chunk.seal).min().unwrap_or(0);
    let last = members.iter().map(|chunk| chunk.seal).max().unwrap_or(0);
    others.iter().any(|other| {
        let among = other.from_us <= to_us && other.to_us >= from_us && other.seal > first && other.seal <= last;
        among && !members.iter().any(|member| member.chunk == other.chunk)
    })
}

fn merged(
    connection: &Connection,
    shared: &Shared,
    table: &Known,
    members: &[ChunkRow],
) -> Result<Option<Vec<crate::seal::Encoded>>, StoreError> {
    let width = table.set.series.len();
    let mut pieces: Vec<Vec<Piece>> = vec![Vec::new(); width];
    for chunk in members {
        let decoded = data::with_bytes(connection, chunk.chunk, |bytes| -> Result<_, pulsewire_chunk::DecodeError> {
            let reader = ChunkReader::open(bytes)?;
            let times = reader.times()?;
            let mut columns = Vec::with_capacity(width);
            for series in &table.set.series {
                let piece = reader.column(series.0)?;
                columns.push(piece.map(|c| Piece::of_column(&times, c, chunk.seal, i64::MIN, i64::MAX)));
            }
            Ok(columns)
        })?;
        match decoded {
            Some(Ok(columns)) => pieces.iter_mut().zip(columns).for_each(|(all, one)| all.extend(one)),
            Some(Err(error)) => {
                shared.report_damaged(chunk, &error.to_string());
                return Ok(None);
            }
            None => return Ok(None),
        }
    }
    let mut times: Vec<i64> = pieces.iter().flatten().flat_map(|piece| piece.times.iter().copied()).collect();
    times.sort_unstable();
    times.dedup();
    let mut texts: Vec<Box<str>> = Vec::new();
    let mut columns = Vec::with_capacity(width);
    for pieces in &pieces {
        let mut gathered = Gathered { cells: vec![0; times.len()], present: vec![false; times.len()] };
        let mut at = 0;
        let _ = merge::visit(pieces, &mut |time_us, value| {
            while times.get(at).is_some_and(|time| *time < time_us) {
                at += 1;
            }
            if let (Some(cell), Some(present)) = (gathered.cells.get_mut(at), gathered.present.get_mut(at)) {
                *present = true;
                *cell = match value {
                    ValueRef::F64(v) => v.to_bits(),
                    ValueRef::I64(v) => v.cast_unsigned(),
                    ValueRef::Bool(v) => u64::from(v),
                    ValueRef::Text(text) => {
                        texts.push(text.into());
                        texts.len() as u64 - 1
                    }
                };
            }
            ControlFlow::Continue(())
        });
        columns.push(gathered);
    }
    let texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
    let mut chunks = Vec::new();
    for from in (0..times.len()).step_by(CHUNK_ROWS_MAX) {
        let rows = from..(from + CHUNK_ROWS_MAX).min(times.len());
        let part: Vec<Gathered> = columns
            .iter()
            .map(|c| Gathered { cells: c.cells[rows.clone()].to_vec(), present: c.present[rows.clone()].to_vec() })
            .collect();
        chunks.push(encode_columns(&table.set, &times[rows], &part, &texts, LEVEL_DEFAULT)?);
    }
    Ok(Some(chunks))
}
