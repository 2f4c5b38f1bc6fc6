//! What is not sealed yet, in memory, and where each device stands.
//!
//! Rows of one metric set of one device are a *table*. They are kept as they came; sorting and conflicts are resolved when
//! they are sealed or read, since most devices send in order and need neither.

use pulsewire_core::accounting::Accounting;
use pulsewire_core::batch::Batch;
use pulsewire_core::block::{Block, Rows, SeriesSet};
use pulsewire_core::ids::{DeviceKey, Position, Sequence, SeriesKey, StreamId};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// What a table takes in memory beyond its rows, roughly; counts towards the budget of heads.
const TABLE_BYTES: usize = 256;
/// How many rows back a late row is compared with; see [`Table::replaced_by`].
const REPLACED_ROWS: usize = 8192;
const NO_DEVICE: u32 = u32::MAX;

/// A table's number in `data.db`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TableId(pub i64);

/// When something came, compared with everything else of the store: its record, and its block there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Order(u64);

/// Bits for the block: more than one record can hold.
const BLOCK_BITS: u32 = 22;

impl Order {
    /// Of the block number `block` of a record, counted from 1; 0 is before all of them.
    pub fn new(position: Position, block: usize) -> Self {
        Self(position.0 << BLOCK_BITS | (block as u64).min((1 << BLOCK_BITS) - 1))
    }
}

/// Rows from `row` on came at that point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub row: u32,
    pub order: Order,
}

/// Rows and when they came.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Part {
    pub rows: Rows,
    /// Empty while the device has one table only: then the order of rows says which came later.
    pub marks: Vec<Mark>,
}

impl Part {
    /// What it takes in memory; its first mark is in [`TABLE_BYTES`].
    fn bytes(&self) -> usize {
        self.rows.bytes() + self.marks.len().saturating_sub(1) * size_of::<Mark>()
    }

    /// When a row came; the oldest possible if that was not noted.
    pub fn order_of(&self, row: usize) -> Order {
        let after = self.marks.partition_point(|mark| mark.row as usize <= row);
        after.checked_sub(1).map_or(Order::default(), |at| self.marks[at].order)
    }
}

/// The newest value of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Latest {
    /// `i64::MIN` = there is none.
    pub time_us: i64,
    pub cell: u64,
}

pub(crate) const NO_LATEST: Latest = Latest { time_us: i64::MIN, cell: 0 };

#[derive(Debug, Clone)]
pub(crate) struct Table {
    /// Given at the first seal.
    pub id: Option<TableId>,
    pub set: Arc<SeriesSet>,
    pub text_columns: Vec<usize>,
    pub part: Part,
    /// Rows on their way to `data.db`; still read from here.
    pub sealing: Option<Arc<Part>>,
    /// The newest time of all rows ever.
    pub newest_us: i64,
    /// The newest time of all rows in `data.db`.
    pub sealed_us: i64,
    /// Rollups before this time are as they should be.
    pub rolled_us: i64,
    /// Samples before this time were removed because of their age; rollups before it are not made again.
    pub floor_us: i64,
    /// The longest time that a chunk spans.
    pub span_us: i64,
    /// How many of its chunks are small, and worth merging.
    pub small: u32,
    /// By column.
    pub latest: Vec<Latest>,
    /// By text column, in the order of `text_columns`; a latest text cell is its index here.
    pub latest_texts: Vec<Box<str>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StreamState {
    pub stream: StreamId,
    pub sequence: Sequence,
    pub used_us: i64,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Device {
    pub account: Accounting,
    /// The newest record that concerns it.
    pub position: Position,
    /// The oldest record of which something is not in `data.db`.
    pub unsealed_from: Option<Position>,
    /// The same for what is being sealed.
    pub sealing_from: Option<Position>,
    pub seals: i64,
    pub streams: Vec<StreamState>,
    pub tables: Vec<Table>,
    /// It stands in `due`.
    pub due: bool,
}

/// A device's head, taken out to be sealed.
pub(crate) struct Taken {
    pub device: DeviceKey,
    pub position: Position,
    pub account: Accounting,
    pub seal: i64,
    pub streams: Vec<StreamState>,
    pub tables: Vec<TakenTable>,
    /// What to give back to the budget afterwards.
    pub bytes: usize,
}

pub(crate) struct TakenTable {
    pub index: usize,
    pub id: Option<TableId>,
    pub set: Arc<SeriesSet>,
    pub part: Arc<Part>,
    pub newest_us: i64,
    pub sealed_us: i64,
    pub rolled_us: i64,
    pub floor_us: i64,
    pub span_us: i64,
    /// Tables of the device in `data.db` with a series of this one, itself included, with the longest that a chunk of each
    /// spans, and the newest time of any.
    pub related: Vec<(TableId, i64)>,
    pub related_sealed_us: i64,
    pub latest: Vec<Latest>,
    pub latest_texts: Vec<Box<str>>,
}

/// What sealing a table changed.
pub(crate) struct SealedTable {
    pub index: usize,
    /// Small chunks that were made.
    pub small: u32,
    pub id: TableId,
    pub sealed_us: i64,
    pub rolled_us: i64,
    pub span_us: i64,
}

#[derive(Debug, Default)]
pub(crate) struct Heads {
    /// Everything up to this record is here or in `data.db`.
    pub applied: Position,
    /// How many seals `data.db` has had.
    pub generation: i64,
    pub devices: HashMap<DeviceKey, Device>,
    // By number of the series.
    device_of: Vec<u32>,
    /// Of rows not sealed, those on their way included.
    pub bytes: usize,
    /// Devices with a table that is large enough for a chunk.
    pub due: Vec<DeviceKey>,
    /// Deleted devices of which `data.db` still has something.
    pub forgotten: Vec<DeviceKey>,
    /// Replaced values that sealing found, for the next receipt.
    pub found: Vec<(DeviceKey, u64)>,
}

impl Table {
    pub fn new(set: Arc<SeriesSet>) -> Self {
        let text_columns = set.text_columns();
        let rows = Rows::new(set.series.len());
        Self {
            id: None,
            latest: vec![NO_LATEST; set.series.len()],
            latest_texts: vec![Box::default(); text_columns.len()],
            text_columns,
            part: Part { rows, marks: Vec::new() },
            set,
            sealing: None,
            newest_us: i64::MIN,
            sealed_us: i64::MIN,
            rolled_us: i64::MIN,
            floor_us: i64::MIN,
            span_us: 0,
            small: 0,
        }
    }

    pub fn column_of(&self, series: SeriesKey) -> Option<usize> {
        self.set.series.iter().position(|s| *s == series)
    }

    /// Appends a block's rows; answers how many values took the place of one of the same time among the unsealed ones.
    fn append(&mut self, block: &Block) -> u64 {
        let (rows, before) = (&block.rows, self.part.rows.len());
        self.part.rows.append(rows, 0..rows.len(), &self.text_columns);
        let times = rows.times();
        let in_order = times.first().is_some_and(|t| *t > self.newest_us) && times.is_sorted_by(|a, b| a < b);
        let mut replaced = 0;
        if !in_order {
            for (row, time) in times.iter().enumerate() {
                if *time <= self.newest_us {
                    replaced += self.replaced_by(before + row);
                }
                self.newest_us = self.newest_us.max(*time);
            }
        }
        if let Some(last) = times.last().filter(|_| in_order) {
            self.newest_us = *last;
        }
        self.note_latest(before..before + rows.len(), in_order && rows.is_dense());
        replaced
    }

    /// How many values of a row have one of the same time before them, among the newest rows: where more wait than two chunks
    /// usually have, values that replace one further back are not counted, so that a late row costs a bounded time.
    fn replaced_by(&self, row: usize) -> u64 {
        let rows = &self.part.rows;
        let time = rows.times()[row];
        let same: Vec<usize> =
            (row.saturating_sub(REPLACED_ROWS)..row).filter(|other| rows.times()[*other] == time).collect();
        let columns = (0..rows.width()).filter(|c| rows.has(row, *c) && same.iter().any(|other| rows.has(*other, *c)));
        columns.count() as u64
    }

    fn note_latest(&mut self, rows: Range<usize>, last_is_all: bool) {
        let rows = if last_is_all { rows.end - 1..rows.end } else { rows };
        for row in rows {
            let time_us = self.part.rows.times()[row];
            for column in 0..self.latest.len() {
                if time_us < self.latest[column].time_us {
                    continue;
                }
                let Some(cell) = self.part.rows.cell(row, column) else { continue };
                self.latest[column] = Latest { time_us, cell };
                if let Some(text) = self.text_columns.iter().position(|c| *c == column) {
                    let found = usize::try_from(cell).ok().and_then(|at| self.part.rows.texts().get(at));
                    self.latest_texts[text] = found.cloned().unwrap_or_default();
                    self.latest[column].cell = text as u64;
                }
            }
        }
    }
}

impl Device {
    /// Something of this record must be sealed.
    fn touch(&mut self, position: Position) {
        self.position = position;
        self.unsealed_from.get_or_insert(position);
    }

    fn advance(&mut self, stream: StreamId, sequence: Sequence, now_us: i64) {
        // A retired stream stays retired.
        if let Some(state) = self.streams.iter_mut().find(|s| s.stream == stream) {
            state.sequence = state.sequence.max(sequence);
            state.used_us = state.used_us.max(now_us);
        }
    }

    /// The index of the table of a set, which is made if there is none.
    fn table(&mut self, set: &Arc<SeriesSet>, position: Position) -> usize {
        let by_pointer = self.tables.iter().position(|t| Arc::ptr_eq(&t.set, set));
        let found = by_pointer.or_else(|| self.tables.iter().position(|t| t.set == *set));
        let index = found.unwrap_or_else(|| {
            if self.tables.len() == 1 {
                // From now on it matters which of two tables' rows came first.
                let part = &mut self.tables[0].part;
                if !part.rows.is_empty() {
                    part.marks = vec![Mark { row: 0, order: Order::new(position, 0) }];
                }
            }
            self.tables.push(Table::new(set.clone()));
            self.tables.len() - 1
        });
        // Sets are made anew by each session; the newest one is found by its address the next time.
        self.tables[index].set = set.clone();
        index
    }
}

impl Heads {
    pub fn device_of(&self, series: SeriesKey) -> Option<DeviceKey> {
        self.device_of.get(series.0 as usize).copied().filter(|device| *device != NO_DEVICE).map(DeviceKey)
    }

    pub fn set_device_of(&mut self, series: SeriesKey, device: Option<DeviceKey>) {
        let at = series.0 as usize;
        if self.device_of.len() <= at {
            self.device_of.resize(at + 1, NO_DEVICE);
        }
        self.device_of[at] = device.map_or(NO_DEVICE, |d| d.0);
    }

    /// The lowest number above those of all series that any table has.
    pub fn next_series(&self) -> SeriesKey {
        let tables = self.devices.values().flat_map(|device| &device.tables);
        let highest = tables.flat_map(|table| &table.set.series).map(|series| series.0).max();
        SeriesKey(highest.map_or(0, |highest| highest.saturating_add(1)))
    }

    /// Takes up a record that is durable; answers how many values of each device took the place of another.
    pub fn apply(&mut self, position: Position, batch: &Batch, chunk_rows: usize) -> Vec<(DeviceKey, u64)> {
        let mut replaced = Vec::new();
        for series in &batch.series {
            self.set_device_of(series.key, Some(series.device));
        }
        for (n, block) in batch.blocks.iter().enumerate() {
            let order = Order::new(position, n + 1);
            let (found, due) = self.apply_block(position, order, block, batch.received_us, chunk_rows);
            if found > 0 {
                replaced.push((block.device(), found));
            }
            if due {
                self.due.push(block.device());
            }
        }
        for (device, change) in &batch.accounting {
            let device = self.devices.entry(*device).or_default();
            device.account.add(change);
            device.touch(position);
        }
        self.applied = position;
        replaced
    }

    fn apply_block(
        &mut self,
        position: Position,
        order: Order,
        block: &Block,
        now_us: i64,
        chunk_rows: usize,
    ) -> (u64, bool) {
        let device = self.devices.entry(block.device()).or_default();
        // The last one of each stream counts.
        for (n, report) in block.reports.iter().enumerate() {
            if block.reports.get(n + 1).is_none_or(|next| next.stream != report.stream) {
                device.advance(report.stream, report.sequence, now_us);
            }
        }
        device.touch(position);
        if block.rows.is_empty() {
            return (0, false);
        }
        let index = device.table(&block.set, position);
        let several = device.tables.len() > 1;
        let table = &mut device.tables[index];
        let before = table.part.bytes() + usize::from(!table.part.rows.is_empty()) * TABLE_BYTES;
        let first = table.part.rows.len();
        let replaced = table.append(block);
        if several {
            table.part.marks.push(Mark { row: u32::try_from(first).unwrap_or(u32::MAX), order });
        }
        let grown = (table.part.bytes() + TABLE_BYTES).saturating_sub(before);
        let full = table.part.rows.len() >= chunk_rows;
        device.account.replaced += replaced;
        let due = full && !device.due;
        device.due |= full;
        self.bytes += grown;
        (replaced, due)
    }

    /// Takes a device's rows out to be sealed. None if there is nothing of it, or it is being sealed.
    pub fn take(&mut self, key: DeviceKey) -> Option<Taken> {
        let device = self.devices.get_mut(&key)?;
        device.due = false;
        if device.sealing_from.is_some() {
            return None;
        }
        device.sealing_from = Some(device.unsealed_from.take()?);
        let mut taken = Taken {
            device: key,
            position: device.position,
            account: device.account,
            seal: device.seals + 1,
            streams: device.streams.clone(),
            tables: Vec::new(),
            bytes: 0,
        };
        for index in 0..device.tables.len() {
            let table = &device.tables[index];
            if table.part.rows.is_empty() {
                continue;
            }
            let shares = |other: &&Table| other.set.series.iter().any(|s| table.set.series.contains(s));
            let related: Vec<_> =
                device.tables.iter().filter(shares).filter_map(|t| Some((t.id?, t.span_us, t.sealed_us))).collect();
            let related_sealed_us = related.iter().map(|(_, _, sealed_us)| *sealed_us).max().unwrap_or(i64::MIN);
            let table = &mut device.tables[index];
            taken.bytes += table.part.bytes() + TABLE_BYTES;
            let fresh = Part { rows: Rows::new(table.set.series.len()), marks: Vec::new() };
            let part = Arc::new(std::mem::replace(&mut table.part, fresh));
            table.sealing = Some(part.clone());
            taken.tables.push(TakenTable {
                index,
                id: table.id,
                set: table.set.clone(),
                part,
                newest_us: table.newest_us,
                sealed_us: table.sealed_us,
                rolled_us: table.rolled_us,
                floor_us: table.floor_us,
                span_us: table.span_us,
                related: related.into_iter().map(|(id, span_us, _)| (id, span_us)).collect(),
                related_sealed_us,
                latest: table.latest.clone(),
                latest_texts: table.latest_texts.clone(),
            });
        }
        Some(taken)
    }

    /// What was taken is in `data.db`. `replaced` says what it found there of the same times.
    pub fn sealed(&mut self, taken: &Taken, tables: &[SealedTable], replaced: u64) {
        self.bytes = self.bytes.saturating_sub(taken.bytes);
        let Some(device) = self.devices.get_mut(&taken.device).filter(|device| device.sealing_from.is_some()) else {
            // It was deleted meanwhile, and what was just written of it has to go too.
            self.forgotten.push(taken.device);
            return;
        };
        if replaced > 0 {
            self.found.push((taken.device, replaced));
        }
        device.sealing_from = None;
        device.seals = taken.seal;
        device.account.replaced += replaced;
        for sealed in tables {
            let Some(table) = device.tables.get_mut(sealed.index) else { continue };
            table.id = Some(sealed.id);
            table.sealing = None;
            table.sealed_us = sealed.sealed_us;
            table.rolled_us = sealed.rolled_us;
            table.span_us = sealed.span_us;
            table.small += sealed.small;
        }
    }

    /// What was taken could not be sealed: it goes back before what came since.
    pub fn put_back(&mut self, taken: &Taken) {
        let Some(device) = self.devices.get_mut(&taken.device).filter(|device| device.sealing_from.is_some()) else {
            self.bytes = self.bytes.saturating_sub(taken.bytes);
            return;
        };
        device.unsealed_from = device.sealing_from.take().or(device.unsealed_from);
        let several = device.tables.len() > 1;
        self.bytes = self.bytes.saturating_sub(taken.bytes);
        for one in &taken.tables {
            let Some(table) = device.tables.get_mut(one.index) else { continue };
            let newer = std::mem::take(&mut table.part);
            let since = newer.bytes() + usize::from(!newer.rows.is_empty()) * TABLE_BYTES;
            table.sealing = None;
            let first = u32::try_from(one.part.rows.len()).unwrap_or(u32::MAX);
            let mut part = Part::clone(&one.part);
            if several && part.marks.is_empty() {
                part.marks = vec![Mark { row: 0, order: Order::new(taken.position, 0) }];
            }
            part.rows.append(&newer.rows, 0..newer.rows.len(), &table.text_columns);
            part.marks.extend(newer.marks.iter().map(|m| Mark { row: m.row.saturating_add(first), ..*m }));
            self.bytes = (self.bytes + part.bytes() + TABLE_BYTES).saturating_sub(since);
            table.part = part;
        }
        if !device.due {
            device.due = true;
            self.due.push(taken.device);
        }
    }

    /// A table in `data.db`.
    pub fn table_mut(&mut self, device: DeviceKey, id: TableId) -> Option<&mut Table> {
        self.devices.get_mut(&device)?.tables.iter_mut().find(|table| table.id == Some(id))
    }

    /// The newest record up to which every device is sealed.
    pub fn sealed_through(&self) -> Position {
        let unsealed = self.devices.values().flat_map(|d| [d.unsealed_from, d.sealing_from]).flatten().min();
        unsealed.map_or(self.applied, |first| Position(first.0.saturating_sub(1)))
    }

    /// The same once what was taken is in `data.db`.
    pub fn sealed_through_with_taken(&self) -> Position {
        let unsealed = self.devices.values().filter_map(|d| d.unsealed_from).min();
        unsealed.map_or(self.applied, |first| Position(first.0.saturating_sub(1)))
    }

    /// Drops a device and frees what its rows took.
    pub fn forget(&mut self, key: DeviceKey) {
        let Some(device) = self.devices.remove(&key) else { return };
        for table in device.tables {
            if !table.part.rows.is_empty() {
                self.bytes = self.bytes.saturating_sub(table.part.bytes() + TABLE_BYTES);
            }
            for series in &table.set.series {
                self.set_device_of(*series, None);
            }
        }
        for owner in &mut self.device_of {
            if *owner == key.0 {
                *owner = NO_DEVICE;
            }
        }
    }
}
