//! Minutes and hours of a table, kept beside its samples.
//!
//! They lie in blocks of fixed bounds: six hours of minutes, eight days of hours. A block is made once, when everything in
//! it is sealed; late samples remove it, and it is made again. Where there is no block a query takes samples, which gives
//! the same answer. A block that would save little is not made, until the samples are about to be removed.

use crate::data::kind_of;
use crate::error::{QueryError, StoreError};
use crate::heads::TableId;
use crate::query::Source;
use crate::shared::Shared;
use crate::tidy::Known;
use pulsewire_chunk::{ChunkReader, Column, ColumnIn, Kind, LEVEL_DEFAULT, encode};
use pulsewire_core::aggregate::{HOUR_US, MINUTE_US, Partial, floor};
use pulsewire_core::block::ValueRef;
use pulsewire_core::value::{Value, ValueType};
use rusqlite::{Connection, params};
use std::ops::{ControlFlow, Range};

/// Samples per minute or hour below which a block saves too little.
const WORTH_SAMPLES: u64 = 30;
/// Columns that each column of a table may have here.
const PARTS: usize = 8;

/// How coarse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Minute = 1,
    Hour = 2,
}

impl Level {
    pub fn of_unit(unit_us: i64) -> Option<Self> {
        match unit_us {
            MINUTE_US => Some(Self::Minute),
            HOUR_US => Some(Self::Hour),
            _ => None,
        }
    }

    pub fn unit_us(self) -> i64 {
        match self {
            Self::Minute => MINUTE_US,
            Self::Hour => HOUR_US,
        }
    }

    /// What one block spans.
    pub fn block_us(self) -> i64 {
        match self {
            Self::Minute => 6 * HOUR_US,
            Self::Hour => 192 * HOUR_US,
        }
    }

    pub fn number(self) -> i64 {
        self as i64
    }
}

/// The units of one column in a block.
pub(crate) struct Block {
    pub from_us: i64,
    /// Exclusive.
    pub to_us: i64,
    pub partials: Vec<(i64, Partial)>,
}

type Partials = Vec<(i64, Partial)>;

/// Reads the blocks with something in a range, by their beginning. Blocks that do not have the column (texts have none), or
/// are damaged, are left out.
pub(crate) fn read(
    connection: &Connection,
    table: TableId,
    column: usize,
    value_type: ValueType,
    level: Level,
    range: Range<i64>,
) -> Result<Vec<Block>, QueryError> {
    let mut blocks = Vec::new();
    if value_type == ValueType::Text {
        return Ok(blocks);
    }
    let mut statement = connection.prepare_cached(
        "SELECT from_us, to_us, data FROM rollup WHERE tbl = ?1 AND level = ?2 AND from_us > ?3 AND from_us < ?4
         ORDER BY from_us",
    )?;
    let first = range.start.saturating_sub(level.block_us());
    let mut rows = statement.query(params![table.0, level.number(), first, range.end])?;
    while let Some(row) = rows.next()? {
        let (from_us, to_us): (i64, i64) = (row.get(0)?, row.get(1)?);
        match decode(row.get_ref(2)?.as_blob().unwrap_or_default(), column, value_type) {
            Ok(Some(partials)) => blocks.push(Block { from_us, to_us, partials }),
            Ok(None) => {}
            // Samples say the same, while they are there.
            Err(error) => tracing::warn!(table = table.0, from_us, %error, "a rollup is damaged and is passed over"),
        }
    }
    Ok(blocks)
}

fn part(column: usize, part: usize) -> u32 {
    u32::try_from(column * PARTS + part).unwrap_or(u32::MAX)
}

fn decode(
    bytes: &[u8],
    column: usize,
    value_type: ValueType,
) -> Result<Option<Partials>, pulsewire_chunk::DecodeError> {
    let reader = ChunkReader::open(bytes)?;
    let Some(count) = reader.column(part(column, 0))? else { return Ok(None) };
    let numbers = reader.column(part(column, 1))?;
    let mut rest = Vec::with_capacity(5);
    for n in 2..7 {
        let Some(column) = reader.column(part(column, n))? else { return Ok(None) };
        rest.push(column);
    }
    let times = reader.times()?;
    let cell = |column: &Column, row: usize| column.cells.get(row).copied().unwrap_or(0);
    let number = |n: usize, row: usize| f64::from_bits(cell(&rest[n], row));
    let value = |n: usize, row: usize| match value_type {
        ValueType::I64 => Value::I64(cell(&rest[n], row).cast_signed()),
        ValueType::Bool => Value::Bool(cell(&rest[n], row) != 0),
        _ => Value::F64(f64::from_bits(cell(&rest[n], row))),
    };
    let has = |row: &usize| count.present.as_ref().is_none_or(|present| present.get(*row) == Some(&true));
    let partials = (0..times.len()).filter(has).map(|row| {
        let partial = Partial {
            count: cell(&count, row),
            numbers: numbers.as_ref().map_or(cell(&count, row), |numbers| cell(numbers, row)),
            min: number(0, row),
            max: number(1, row),
            sum: number(2, row),
            first: value(3, row),
            last: value(4, row),
        };
        (times[row], partial)
    });
    Ok(Some(partials.collect()))
}

/// Folds samples into minutes.
#[derive(Default)]
struct Minutes(Partials);

impl Minutes {
    fn push(&mut self, time_us: i64, value: ValueRef<'_>) {
        let start = floor(time_us, MINUTE_US);
        match self.0.last_mut() {
            Some((last, partial)) if *last == start => partial.push(value),
            _ => self.0.push((start, Partial::of(value))),
        }
    }
}

fn hours(minutes: &Partials) -> Partials {
    let mut out: Partials = Vec::new();
    for (start, partial) in minutes {
        let start = floor(*start, HOUR_US);
        match out.last_mut() {
            Some((last, hour)) if *last == start => hour.fold(partial),
            _ => out.push((start, partial.clone())),
        }
    }
    out
}

/// Computes a block; None if it has nothing, or is not worth it and not `forced`.
pub(crate) fn make(
    connection: &Connection,
    shared: &Shared,
    known: &Known,
    level: Level,
    start_us: i64,
    forced: bool,
) -> Result<Option<(Vec<u8>, usize)>, StoreError> {
    let end_us = start_us.saturating_add(level.block_us());
    let (table, set, span_us) = (known.id, &known.set, known.span_us);
    let mut columns = Vec::new();
    for (column, (series, value_type)) in set.series.iter().zip(&set.types).enumerate() {
        if *value_type == ValueType::Text {
            continue;
        }
        let mut minutes = Minutes::default();
        // An hour block takes minutes where they are, since samples may be gone already.
        let blocks = match level {
            Level::Minute => Vec::new(),
            Level::Hour => {
                read(connection, table, column, *value_type, Level::Minute, start_us..end_us).map_err(from_query)?
            }
        };
        let mut at_us = start_us;
        for block in blocks {
            feed(connection, shared, *series, table, span_us, at_us..block.from_us, &mut minutes)?;
            minutes.0.extend(block.partials);
            at_us = block.to_us;
        }
        feed(connection, shared, *series, table, span_us, at_us..end_us, &mut minutes)?;
        let mut partials = if level == Level::Hour { hours(&minutes.0) } else { minutes.0 };
        let before = read(connection, table, column, *value_type, level, start_us..end_us).map_err(from_query)?;
        if let Some(before) = before.into_iter().find(|block| block.from_us == start_us) {
            // Before the floor, what was known stays and nothing comes to it: samples are gone, perhaps minutes too.
            partials.retain(|(unit_us, _)| *unit_us >= known.floor_us);
            let gone = before.partials.into_iter().filter(|(unit_us, _)| *unit_us < known.floor_us);
            partials.splice(0..0, gone);
        }
        columns.push((column, *value_type, partials));
    }
    let samples = |partials: &Partials| partials.iter().map(|(_, p)| p.count).sum::<u64>();
    let most = columns.iter().map(|(_, _, p)| samples(p)).max().unwrap_or(0);
    let units = columns.iter().map(|(_, _, p)| p.len() as u64).max().unwrap_or(0);
    if units == 0 || (!forced && most < units * WORTH_SAMPLES) {
        return Ok(None);
    }
    encode_block(&columns).map(Some)
}

/// Makes the block again that the floor cuts, if it is there: of its samples only those after the floor are left.
pub(crate) fn make_cut_again(
    connection: &Connection,
    shared: &Shared,
    known: &Known,
    level: Level,
) -> Result<(), StoreError> {
    let start_us = floor(known.floor_us, level.block_us());
    let there = connection
        .prepare_cached("SELECT 1 FROM rollup WHERE tbl = ?1 AND level = ?2 AND from_us = ?3")?
        .exists(params![known.id.0, level.number(), start_us])?;
    if there && let Some((data, columns)) = make(connection, shared, known, level, start_us, true)? {
        insert(connection, known.id, level, start_us, &data, columns)?;
    }
    Ok(())
}

fn from_query(error: QueryError) -> StoreError {
    match error {
        QueryError::TooMuch(problem) => StoreError::Retry(anyhow::anyhow!(problem)),
        // A file that cannot be read is not to be written any more.
        QueryError::Failed(source) => match source.downcast::<rusqlite::Error>() {
            Ok(error) => error.into(),
            Err(source) => StoreError::Retry(source),
        },
    }
}

fn feed(
    connection: &Connection,
    shared: &Shared,
    series: pulsewire_core::ids::SeriesKey,
    table: TableId,
    span_us: i64,
    range: Range<i64>,
    minutes: &mut Minutes,
) -> Result<(), StoreError> {
    if range.is_empty() {
        return Ok(());
    }
    let mut source = Source::sealed(connection, shared, series, table, span_us);
    let visited = source.visit(range.start, range.end, &mut |time_us, value| {
        minutes.push(time_us, value);
        ControlFlow::Continue(())
    });
    visited.map(drop).map_err(from_query)
}

#[derive(Default)]
struct Parts {
    present: Vec<bool>,
    cells: [Vec<u64>; 7],
}

fn encode_block(columns: &[(usize, ValueType, Partials)]) -> Result<(Vec<u8>, usize), StoreError> {
    let mut times: Vec<i64> = columns.iter().flat_map(|(_, _, p)| p.iter().map(|(time, _)| *time)).collect();
    times.sort_unstable();
    times.dedup();
    let cell = |value: &Value| match value {
        Value::F64(v) => v.to_bits(),
        Value::I64(v) => v.cast_unsigned(),
        Value::Bool(v) => u64::from(*v),
        Value::Text(_) => 0,
    };
    let gather = |partials: &Partials| {
        let mut parts = Parts::default();
        let mut next = partials.iter().peekable();
        for time in &times {
            let found = next.next_if(|(at, _)| at == time).map(|(_, partial)| partial);
            parts.present.push(found.is_some());
            let cells = found.map_or([0; 7], |p| {
                let numbers = [p.min.to_bits(), p.max.to_bits(), p.sum.to_bits()];
                [p.count, p.numbers, numbers[0], numbers[1], numbers[2], cell(&p.first), cell(&p.last)]
            });
            parts.cells.iter_mut().zip(cells).for_each(|(column, cell)| column.push(cell));
        }
        parts
    };
    let gathered: Vec<Parts> = columns.iter().map(|(_, _, partials)| gather(partials)).collect();
    let mut input = Vec::new();
    for ((column, value_type, _), parts) in columns.iter().zip(&gathered) {
        let value = kind_of(*value_type);
        let kinds = [Kind::I64, Kind::I64, Kind::F64, Kind::F64, Kind::F64, value, value];
        for (n, (cells, kind)) in parts.cells.iter().zip(kinds).enumerate() {
            // Without NaN every sample is a number.
            if n == 1 && parts.cells[0] == *cells {
                continue;
            }
            let present = (!parts.present.iter().all(|p| *p)).then_some(&parts.present[..]);
            input.push(ColumnIn { series: part(*column, n), kind, cells, present, texts: &[] });
        }
    }
    let count = columns.len();
    let data = encode(&times, &input, LEVEL_DEFAULT).map_err(|error| StoreError::Retry(error.into()))?;
    Ok((data, count))
}

pub(crate) fn insert(
    connection: &Connection,
    table: TableId,
    level: Level,
    start_us: i64,
    data: &[u8],
    columns: usize,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO rollup (tbl, level, from_us, to_us, columns, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            table.0,
            level.number(),
            start_us,
            start_us.saturating_add(level.block_us()),
            i64::try_from(columns).unwrap_or(i64::MAX),
            data
        ])?;
    Ok(())
}

/// The same block without some columns of its table; None if nothing is left.
pub(crate) fn without(bytes: &[u8], columns: &[usize]) -> Option<Vec<u8>> {
    let parts: Vec<u32> = columns.iter().flat_map(|column| (0..PARTS).map(move |n| part(*column, n))).collect();
    ChunkReader::open(bytes).ok()?.without(&parts)
}
