//! Reading samples back: from chunks, from rollups where they answer the same, and from what is in memory.

use crate::data::{self, ChunkRow};
use crate::error::{QueryError, StoreError};
use crate::heads::{Heads, Table, TableId};
use crate::journal;
use crate::merge::{self, HEAD, SEALING};
use crate::rolled::Rolled;
use crate::rollup::{self, Level};
use crate::shared::Shared;
use pulsewire_chunk::ChunkReader;
use pulsewire_core::aggregate::{Buckets, floor};
use pulsewire_core::block::ValueRef;
use pulsewire_core::ids::{Lane, Position, SeriesKey};
use pulsewire_core::sample::{JournalRecord, Sample};
use pulsewire_core::value::{Value, ValueType};
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::time::Instant;

use crate::merge::Piece;
pub use pulsewire_core::aggregate::Bucket;
pub use pulsewire_core::query::{BucketQuery, RangeQuery, Snapshot, SnapshotQuery};

/// Series that are looked at in one go, so that a commit waits for no more than these.
const LATEST_AT_ONCE: usize = 2_000;
/// Most bytes of text in one snapshot, beyond the newest value of each series.
const SNAPSHOT_TEXT_BYTES: usize = 16 << 20;

/// Reads. Any number of them, each for one thread.
pub struct Reader {
    data: Connection,
    journal: Connection,
    shared: Arc<Shared>,
    deadline: Option<Instant>,
}

/// What memory has of a series, and which tables to look at.
#[derive(Default)]
struct Memory {
    tables: Vec<SealedTable>,
    pieces: Vec<Piece>,
    /// The newest value at all.
    latest: Option<Sample>,
    /// Two tables have a value of that time, so that only their rows say which is the later one.
    tied: bool,
}

#[derive(Clone, Copy)]
struct SealedTable {
    id: TableId,
    span_us: i64,
    floor_us: i64,
    column: usize,
    value_type: ValueType,
}

fn memory_of(heads: &Heads, series: SeriesKey, from_us: i64, to_us: i64) -> Memory {
    let mut memory = Memory::default();
    let Some(device) = heads.device_of(series).and_then(|device| heads.devices.get(&device)) else { return memory };
    for table in &device.tables {
        let Some(column) = table.column_of(series) else { continue };
        let value_type = table.set.types.get(column).copied().unwrap_or(ValueType::F64);
        let (span_us, floor_us) = (table.span_us, table.floor_us);
        memory.tables.extend(table.id.map(|id| SealedTable { id, span_us, floor_us, column, value_type }));
        if let Some(part) = &table.sealing {
            memory.pieces.push(Piece::of_part(table, part, column, SEALING, from_us, to_us));
        }
        if !table.part.rows.is_empty() {
            memory.pieces.push(Piece::of_part(table, &table.part, column, HEAD, from_us, to_us));
        }
        let latest = latest_of(table, column);
        if let Some(sample) = latest {
            let known_us = memory.latest.as_ref().map_or(i64::MIN, |known| known.time_us);
            memory.tied = known_us == sample.time_us || memory.tied && known_us > sample.time_us;
            if known_us <= sample.time_us {
                memory.latest = Some(sample);
            }
        }
    }
    memory.pieces.retain(|piece| !piece.times.is_empty());
    memory
}

fn latest_of(table: &Table, column: usize) -> Option<Sample> {
    let latest = table.latest.get(column).filter(|latest| latest.time_us != i64::MIN)?;
    let value = match table.set.types.get(column)? {
        ValueType::F64 | ValueType::F32 => Value::F64(f64::from_bits(latest.cell)),
        ValueType::I64 => Value::I64(latest.cell.cast_signed()),
        ValueType::Bool => Value::Bool(latest.cell != 0),
        ValueType::Text => Value::Text(table.latest_texts.get(usize::try_from(latest.cell).ok()?)?.clone()),
    };
    Some(Sample { time_us: latest.time_us, value })
}

/// One series, its memory and the file at one moment.
pub(crate) struct Source<'a> {
    data: &'a Connection,
    shared: &'a Shared,
    series: SeriesKey,
    tables: Vec<SealedTable>,
    pieces: Vec<Piece>,
    scanned: usize,
    deadline: Option<Instant>,
}

impl Reader {
    pub(crate) fn new(data: Connection, journal: Connection, shared: Arc<Shared>) -> Self {
        Self { data, journal, shared, deadline: None }
    }

    /// When [`range`](Self::range), [`visit`](Self::visit) and [`buckets`](Self::buckets) end with
    /// [`QueryError::TooMuch`], from now on. `None`, as in the beginning: never. Looked at between chunks.
    pub fn give_up_at(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
    }

    /// Journal records after `after`, oldest first, at most `limit` and a few MiB. None at all means the end. If `after` is
    /// older than what the journal keeps, the first record answered has a position above `after + 1`.
    ///
    /// # Errors
    /// [`StoreError::Retry`] and [`StoreError::Corrupt`].
    pub fn records(&self, lane: Lane, after: Position, limit: usize) -> Result<Vec<JournalRecord>, StoreError> {
        journal::read(&self.journal, lane, after, limit)
    }

    /// Runs `query` on the file as it is at one moment, with what memory has beyond it. What is sealed between the two looks
    /// is seen twice, which merging undoes, and never missed: the file is looked at again if memory is ahead of it.
    fn at_one_moment<M, R>(
        &mut self,
        look: impl Fn(&Heads) -> M,
        query: impl FnOnce(&Connection, &Shared, M) -> Result<R, QueryError>,
    ) -> Result<R, QueryError> {
        loop {
            let transaction = self.data.transaction()?;
            let generation = data::generation(&transaction)?;
            let heads = self.shared.read();
            if heads.generation > generation {
                continue;
            }
            let memory = look(&heads);
            drop(heads);
            return query(&transaction, &self.shared, memory);
        }
    }

    /// Samples in time order.
    ///
    /// # Errors
    /// [`QueryError`].
    pub fn range(&mut self, query: &RangeQuery) -> Result<Vec<Sample>, QueryError> {
        let mut samples = Vec::new();
        self.visit(query, &mut |time_us, value| {
            samples.push(Sample { time_us, value: value.to_value() });
            if samples.len() >= query.limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(samples)
    }

    /// Hands the samples of a range to `each` in time order, until it breaks. `limit` is not looked at.
    ///
    /// # Errors
    /// [`QueryError`].
    pub fn visit(
        &mut self,
        query: &RangeQuery,
        each: &mut dyn FnMut(i64, ValueRef<'_>) -> ControlFlow<()>,
    ) -> Result<(), QueryError> {
        if query.limit == 0 || query.from_us >= query.to_us {
            return Ok(());
        }
        let deadline = self.deadline;
        let look = |heads: &Heads| memory_of(heads, query.series, query.from_us, query.to_us);
        self.at_one_moment(look, |data, shared, memory| {
            let mut source = Source::new(data, shared, query.series, memory, deadline);
            source.visit(query.from_us, query.to_us, each).map(drop)
        })
    }

    /// One row per bucket that has any sample, in time order, at most `limit`.
    ///
    /// # Errors
    /// [`QueryError`].
    pub fn buckets(&mut self, query: &BucketQuery) -> Result<Vec<Bucket>, QueryError> {
        let range = &query.range;
        if range.limit == 0 || range.from_us >= range.to_us {
            return Ok(Vec::new());
        }
        let deadline = self.deadline;
        let look = |heads: &Heads| memory_of(heads, range.series, range.from_us, range.to_us);
        self.at_one_moment(look, |data, shared, memory| {
            let mut source = Source::new(data, shared, range.series, memory, deadline);
            let mut buckets = Buckets::new(query.step_us, &query.aggregates);
            let levels: Vec<Level> = buckets.units().into_iter().filter_map(Level::of_unit).collect();
            let mut out = Vec::new();
            let _ = source.feed(&levels, range.from_us, range.to_us, &mut buckets, &mut out, range.limit)?;
            out.extend(buckets.finish());
            out.truncate(range.limit);
            Ok(out)
        })
    }

    /// The newest sample of each series, in their order; not all as of one moment. They are in memory, so that no file is
    /// read, unless two metric sets of a device have the same metric with the same newest time.
    ///
    /// # Errors
    /// [`QueryError`].
    pub fn latest(&mut self, series: &[SeriesKey]) -> Result<Vec<Option<Sample>>, QueryError> {
        let mut samples = Vec::with_capacity(series.len());
        let mut tied = Vec::new();
        for some in series.chunks(LATEST_AT_ONCE) {
            let heads = self.shared.read();
            for key in some {
                samples.push(match newest_of(&heads, *key) {
                    Newest::None => None,
                    Newest::One(sample) => Some(sample),
                    Newest::Tied => {
                        tied.push(samples.len());
                        None
                    }
                });
            }
        }
        for some in tied.chunks(LATEST_AT_ONCE) {
            let keys: Vec<SeriesKey> = some.iter().filter_map(|at| series.get(*at).copied()).collect();
            let found = self.snapshot(&SnapshotQuery { series: keys, from_us: None, samples_max: usize::MAX })?;
            let mut found = found.samples.into_iter().peekable();
            for at in some {
                let Some((_, of)) = found.next_if(|(key, _)| series.get(*at) == Some(key)) else { continue };
                samples[*at] = of.into_iter().next_back();
            }
        }
        Ok(samples)
    }

    /// Many series at one position.
    ///
    /// # Errors
    /// [`QueryError`].
    pub fn snapshot(&mut self, query: &SnapshotQuery) -> Result<Snapshot, QueryError> {
        let from_us = query.from_us.unwrap_or(i64::MAX);
        let look = |heads: &Heads| {
            let memory = query.series.iter().map(|series| {
                let memory = memory_of(heads, *series, from_us, i64::MAX);
                match &memory.latest {
                    Some(latest) if query.from_us.is_none() && memory.tied => {
                        memory_of(heads, *series, latest.time_us, latest.time_us.saturating_add(1))
                    }
                    _ => memory,
                }
            });
            (heads.applied, memory.collect::<Vec<_>>())
        };
        self.at_one_moment(look, |data, shared, (position, memories)| {
            let mut answer = Snapshot { position, ..Snapshot::default() };
            let share = (query.samples_max / query.series.len().max(1)).max(1);
            let mut text_bytes = 0;
            for (series, memory) in query.series.iter().zip(memories) {
                let samples = match query.from_us {
                    None if memory.tied => {
                        let latest = memory.latest.clone();
                        let mut source = Source::new(data, shared, *series, memory, None);
                        source.one(latest)?.into_iter().collect()
                    }
                    None => memory.latest.into_iter().collect(),
                    Some(from_us) => {
                        let mut source = Source::new(data, shared, *series, memory, None);
                        let (samples, cut) = source.newest(from_us, share)?;
                        answer.cut |= cut;
                        samples
                    }
                };
                let samples = without_much_text(samples, &mut text_bytes, &mut answer.cut);
                if !samples.is_empty() {
                    answer.samples.push((*series, samples));
                }
            }
            Ok(answer)
        })
    }
}

/// What memory alone knows as the newest value of a series.
enum Newest {
    None,
    One(Sample),
    /// Two tables have a value of that time, so that only their rows say which is the later one.
    Tied,
}

fn newest_of(heads: &Heads, series: SeriesKey) -> Newest {
    let device = heads.device_of(series).and_then(|device| heads.devices.get(&device));
    let mut newest = Newest::None;
    // Usually one: no row is looked at and no text copied but the newest.
    let mut newest_us = i64::MIN;
    for table in device.into_iter().flat_map(|device| &device.tables) {
        let Some(column) = table.column_of(series) else { continue };
        let time_us = table.latest.get(column).map_or(i64::MIN, |latest| latest.time_us);
        if time_us == i64::MIN || time_us < newest_us {
            continue;
        }
        newest = match latest_of(table, column) {
            Some(_) if time_us == newest_us => Newest::Tied,
            Some(sample) => Newest::One(sample),
            None => continue,
        };
        newest_us = time_us;
    }
    newest
}

/// Leaves out older texts beyond the bound; the newest of a series always stays.
fn without_much_text(samples: Vec<Sample>, bytes: &mut usize, cut: &mut bool) -> Vec<Sample> {
    let length = |sample: &Sample| if let Value::Text(text) = &sample.value { text.len() } else { 0 };
    let mut first = samples.len();
    for (at, sample) in samples.iter().enumerate().rev() {
        *bytes += length(sample);
        if *bytes > SNAPSHOT_TEXT_BYTES && length(sample) > 0 && first < samples.len() {
            *cut = true;
            break;
        }
        first = at;
    }
    samples.into_iter().skip(first).collect()
}

impl<'a> Source<'a> {
    /// What is in the file alone, of one column of one table.
    pub fn sealed(data: &'a Connection, shared: &'a Shared, series: SeriesKey, table: TableId, span_us: i64) -> Self {
        let table = SealedTable { id: table, span_us, floor_us: i64::MIN, column: 0, value_type: ValueType::F64 };
        let memory = Memory { tables: vec![table], ..Memory::default() };
        // The keeper's work is bounded by the width of a block, not by a query's limits.
        Self { scanned: usize::MAX, ..Self::new(data, shared, series, memory, None) }
    }

    fn new(
        data: &'a Connection,
        shared: &'a Shared,
        series: SeriesKey,
        memory: Memory,
        deadline: Option<Instant>,
    ) -> Self {
        Self { data, shared, series, tables: memory.tables, pieces: memory.pieces, scanned: 0, deadline }
    }

    fn check(&mut self, samples: usize) -> Result<(), QueryError> {
        if self.scanned == usize::MAX {
            return Ok(());
        }
        self.scanned += samples;
        let most = self.shared.options.scan_samples;
        if self.scanned > most {
            return Err(QueryError::TooMuch(format!(
                "the range holds more than {most} samples; ask for a shorter one, or for steps of whole minutes"
            )));
        }
        if self.deadline.is_some_and(|deadline| Instant::now() > deadline) {
            return Err(QueryError::TooMuch("the query took too long; ask for a shorter range or larger steps".into()));
        }
        Ok(())
    }

    fn chunks(&self, from_us: i64, to_us: i64) -> Result<Vec<ChunkRow>, QueryError> {
        let mut all = Vec::new();
        for table in &self.tables {
            all.extend(data::chunks(self.data, table.id, from_us, to_us.saturating_sub(1), table.span_us)?);
        }
        if self.tables.len() > 1 {
            all.sort_by_key(|chunk| chunk.from_us);
        }
        Ok(all)
    }

    fn decode(&mut self, chunk: &ChunkRow, from_us: i64, to_us: i64) -> Result<Option<Piece>, QueryError> {
        self.check(usize::try_from(chunk.rows).unwrap_or(0))?;
        let series = self.series.0;
        let decoded = data::with_bytes(self.data, chunk.chunk, |bytes| {
            let reader = ChunkReader::open(bytes)?;
            let Some(column) = reader.column(series)? else { return Ok(None) };
            Ok(Some(Piece::of_column(&reader.times()?, column, chunk.seal, from_us, to_us)))
        })?;
        let result: Result<Option<Piece>, pulsewire_chunk::DecodeError> = match decoded {
            Some(result) => result,
            None => return Ok(None),
        };
        match result {
            Ok(piece) => Ok(piece.filter(|piece| !piece.times.is_empty())),
            Err(error) => {
                self.shared.report_damaged(chunk, &error.to_string());
                Ok(None)
            }
        }
    }

    /// Hands the samples of a range to `each`, in time order.
    pub fn visit(
        &mut self,
        from_us: i64,
        to_us: i64,
        each: &mut dyn FnMut(i64, ValueRef<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, QueryError> {
        let chunks = self.chunks(from_us, to_us)?;
        let mut memory: Vec<Piece> = self.pieces.iter().map(|piece| cut(piece, from_us, to_us)).collect();
        memory.retain(|piece| !piece.times.is_empty());
        memory.sort_by_key(|piece| piece.times.first().copied());
        let (mut chunks, mut memory) = (chunks.into_iter().peekable(), memory.into_iter().peekable());
        loop {
            // A cluster: what overlaps directly or by way of another.
            let first_chunk = chunks.peek().map(|chunk| chunk.from_us.max(from_us));
            let first_piece = memory.peek().and_then(|piece| piece.times.first().copied());
            let Some(mut end_us) = first_chunk.into_iter().chain(first_piece).min() else {
                return Ok(ControlFlow::Continue(()));
            };
            let mut cluster = Vec::new();
            loop {
                if let Some(chunk) = chunks.next_if(|chunk| chunk.from_us <= end_us) {
                    end_us = end_us.max(chunk.to_us.min(to_us.saturating_sub(1)));
                    cluster.extend(self.decode(&chunk, from_us, to_us)?);
                } else if let Some(piece) = memory.next_if(|piece| piece.times.first().is_some_and(|t| *t <= end_us)) {
                    end_us = end_us.max(piece.times.last().copied().unwrap_or(end_us));
                    cluster.push(piece);
                } else {
                    break;
                }
            }
            if merge::visit(&cluster, each).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }

    /// The value that counts at the time of a sample; the sample itself if its rows cannot be read any more.
    fn one(&mut self, sample: Option<Sample>) -> Result<Option<Sample>, QueryError> {
        let Some(mut sample) = sample else { return Ok(None) };
        let _ = self.visit(sample.time_us, sample.time_us.saturating_add(1), &mut |time_us, value| {
            sample = Sample { time_us, value: value.to_value() };
            ControlFlow::Continue(())
        })?;
        Ok(Some(sample))
    }

    /// The newest samples from a time on, at most `most`; true if there are more.
    fn newest(&mut self, from_us: i64, most: usize) -> Result<(Vec<Sample>, bool), QueryError> {
        let mut chunks = self.chunks(from_us, i64::MAX)?;
        // From the end until there is enough: a chunk that begins before all that was taken may still overlap it.
        chunks.sort_by_key(|chunk| std::cmp::Reverse(chunk.to_us));
        let mut pieces = self.pieces.clone();
        let mut left = chunks.into_iter().peekable();
        loop {
            let mut samples = Vec::new();
            let _ = merge::visit(&pieces, &mut |time_us, value| {
                samples.push(Sample { time_us, value: value.to_value() });
                ControlFlow::Continue(())
            });
            // What was not read yet ends before this.
            let unread_us = left.peek().map_or(i64::MIN, |chunk| chunk.to_us);
            let certain = samples.iter().filter(|sample| sample.time_us > unread_us).count();
            if certain > most || left.peek().is_none() {
                let extra = samples.len().saturating_sub(most);
                samples.drain(..extra);
                return Ok((samples, extra > 0));
            }
            if let Some(chunk) = left.next() {
                pieces.extend(self.decode(&chunk, from_us, i64::MAX)?);
            }
        }
    }

    /// Feeds a range into buckets, from the coarsest of `levels` that has it, else from samples.
    fn feed(
        &mut self,
        levels: &[Level],
        from_us: i64,
        to_us: i64,
        buckets: &mut Buckets,
        out: &mut Vec<Bucket>,
        limit: usize,
    ) -> Result<ControlFlow<()>, QueryError> {
        let Some((level, finer)) = levels.split_first() else {
            let mut full = false;
            let _ = self.visit(from_us, to_us, &mut |time_us, value| {
                buckets.push(time_us, value);
                full = buckets.ended() > 0 && out.len() + buckets.ended() >= limit;
                if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
            out.extend(buckets.take());
            return Ok(if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) });
        };
        let unit = level.unit_us();
        // Whole units only; what is left at the ends is finer.
        let inner = floor(from_us.saturating_add(unit - 1), unit)..floor(to_us, unit);
        if inner.is_empty() {
            return self.feed(finer, from_us, to_us, buckets, out, limit);
        }
        let mut at_us = from_us;
        for block in self.rollups(*level, inner.start, inner.end)? {
            let (start, end) = (block.from_us.max(inner.start), block.to_us.min(inner.end));
            if start < at_us || start >= end {
                continue;
            }
            if at_us < start && self.feed(finer, at_us, start, buckets, out, limit)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            at_us = start;
            for touched in self.finer(&block, unit, start..end) {
                block.push(unit, at_us..touched.start, buckets);
                if self.feed(finer, touched.start, touched.end, buckets, out, limit)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                at_us = touched.end;
            }
            block.push(unit, at_us..end, buckets);
            at_us = end;
            out.extend(buckets.take());
            if out.len() >= limit {
                return Ok(ControlFlow::Break(()));
            }
        }
        if at_us < to_us { self.feed(finer, at_us, to_us, buckets, out, limit) } else { Ok(ControlFlow::Continue(())) }
    }

    /// The parts of a block that come from what is finer: units of which memory has something, and those that several
    /// tables have. But not before the floor: there samples are gone that the block knows of, and what comes late to such a
    /// time is not rolled up any more.
    fn finer(&self, block: &Rolled, unit_us: i64, range: Range<i64>) -> Vec<Range<i64>> {
        let mut units: Vec<Range<i64>> = Vec::new();
        for piece in &self.pieces {
            let rows =
                piece.times.partition_point(|t| *t < range.start)..piece.times.partition_point(|t| *t < range.end);
            for time in &piece.times[rows] {
                let start = floor(*time, unit_us);
                if units.last().is_none_or(|last| last.start != start) {
                    units.push(start..start.saturating_add(unit_us));
                }
            }
        }
        units.extend(block.doubtful.iter().map(|one| one.start.max(range.start)..one.end.min(range.end)));
        for one in &mut units {
            // The unit that the floor cuts is before it too.
            one.start = one.start.max(floor(block.floor_us.saturating_add(unit_us - 1), unit_us));
        }
        units.retain(|one| one.start < one.end);
        units.sort_unstable_by_key(|one| one.start);
        let mut merged: Vec<Range<i64>> = Vec::new();
        for one in units {
            match merged.last_mut() {
                Some(last) if last.end >= one.start => last.end = last.end.max(one.end),
                _ => merged.push(one),
            }
        }
        merged
    }

    /// Rollups of a level within a range, of all tables that have the series.
    fn rollups(&mut self, level: Level, from_us: i64, to_us: i64) -> Result<Vec<Rolled>, QueryError> {
        self.check(0)?;
        let unit_us = level.unit_us();
        let mut rolled: BTreeMap<i64, Rolled> = BTreeMap::new();
        for (at, table) in self.tables.iter().enumerate() {
            let blocks = rollup::read(self.data, table.id, table.column, table.value_type, level, from_us..to_us)?;
            for block in blocks {
                match rolled.entry(block.from_us) {
                    Entry::Vacant(entry) => drop(entry.insert(Rolled::new(block, at, table.floor_us))),
                    Entry::Occupied(mut entry) => entry.get_mut().add(block, at, table.floor_us, unit_us),
                }
            }
        }
        // A table without such a block may have samples all the same.
        for one in rolled.values_mut() {
            for table in self.tables.iter().enumerate().filter(|(at, _)| !one.tables.contains(at)).map(|(_, t)| t) {
                for chunk in data::chunks(self.data, table.id, one.from_us, one.to_us.saturating_sub(1), table.span_us)?
                {
                    let end_us = floor(chunk.to_us, unit_us).saturating_add(unit_us);
                    one.doubtful.push(floor(chunk.from_us, unit_us).max(one.from_us)..end_us.min(one.to_us));
                }
            }
        }
        Ok(rolled.into_values().collect())
    }
}

fn cut(piece: &Piece, from_us: i64, to_us: i64) -> Piece {
    let rows = piece.times.partition_point(|t| *t < from_us)..piece.times.partition_point(|t| *t < to_us);
    if rows == (0..piece.times.len()) {
        return piece.clone();
    }
    Piece {
        times: piece.times[rows.clone()].to_vec(),
        cells: piece.cells[rows.clone()].to_vec(),
        texts: piece.texts.clone(),
        value_type: piece.value_type,
        rank: piece.rank,
        orders: piece.orders.get(rows).unwrap_or_default().to_vec(),
    }
}
