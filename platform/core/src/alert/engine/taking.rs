//! The rows of a block through the rules of its device.

use super::watched::{Entry, FamilyEntry};
use super::{Index, Judged, RowTime, World};
use crate::alert::held::{Event, Hand, Held, Newest, Seen, Taken};
use crate::block::{Block, ValueRef};
use crate::ids::DeviceKey;
use crate::value::ValueType;

/// A block on its way.
pub(super) struct Taking<'a> {
    pub key: DeviceKey,
    pub block: &'a Block,
    pub received_us: i64,
    pub resumed_us: i64,
    pub watching: &'a [Index],
    /// The device is in the wheel.
    pub armed: bool,
    pub seen: &'a mut Vec<Seen>,
    pub events: &'a mut Vec<(Event, f64)>,
    pub raised: &'a mut Vec<(Index, Event, f64)>,
    pub judged: &'a mut Judged,
    /// The earliest that was found; `i64::MAX` if none.
    pub deadline_us: i64,
}

impl Taking<'_> {
    /// Takes the rows of which nothing follows for a family, and answers which is the first that may change more; None if none does.
    #[inline]
    pub fn calmly(&mut self, laid: &FamilyEntry, newest: &mut Newest, times: &[RowTime]) -> Option<usize> {
        let rules = laid.entries.len() as u64;
        for (at, row) in times.iter().enumerate() {
            let Some(value) = self.number_at(row.row, laid.column, laid.value_type) else { continue };
            if laid.band.any_holds(value) {
                return Some(at);
            }
            self.judged.samples += rules;
            if row.late {
                newest.arrival_us = newest.arrival_us.max(self.received_us);
                self.judged.late += rules;
            } else if !newest.take(row.time_us, self.received_us, value, laid.band.is_f32()) {
                self.judged.late += rules;
            }
        }
        None
    }

    /// Takes rows for one rule.
    pub fn one(&mut self, entry: &Entry, held: &mut [Held], times: &[RowTime], world: &mut World<'_>) {
        let Some(state) = held.get_mut(entry.held) else { return };
        match self.quietly(entry, state, times) {
            Some(rest) => self.wholly(entry, state, &times[rest..], world),
            None => {
                if !self.armed && entry.rule.rule.no_data.is_some() {
                    self.note_deadline(entry, held, world);
                }
            }
        }
    }

    /// Takes the rows that change nothing but times, and answers which is the first that may change more; None if none does.
    #[inline]
    fn quietly(&mut self, entry: &Entry, held: &mut Held, times: &[RowTime]) -> Option<usize> {
        let Some(short) = entry.short.filter(|_| held.is_quiet()) else { return Some(0) };
        for (at, row) in times.iter().enumerate() {
            let Some(value) = self.number_at(row.row, short.column, short.value_type) else { continue };
            if short.simple.any_holds(value, short.is_f32) {
                return Some(at);
            }
            self.judged.samples += 1;
            if row.late {
                held.quiet_late_sample(self.received_us);
                self.judged.late += 1;
            } else if !held.quiet_sample(row.time_us, self.received_us, value, short.is_f32) {
                self.judged.late += 1;
            }
        }
        None
    }

    fn wholly(&mut self, entry: &Entry, held: &mut Held, times: &[RowTime], world: &mut World<'_>) {
        let Some(device) = world.directory.by_key(self.key) else { return };
        let mut hand = Hand {
            rule: &entry.rule,
            device,
            new_id: world.new_id,
            resumed_us: self.resumed_us,
            seen: self.seen,
            events: self.events,
        };
        let mut values: Vec<(u16, ValueRef<'_>, bool)> = Vec::with_capacity(entry.inputs.len());
        for row in times {
            values.clear();
            values.extend(entry.inputs.iter().filter_map(|(column, input, is_f32)| {
                let value_type = *self.block.set.types.get(*column)?;
                Some((*input, self.block.rows.value(row.row, *column, value_type)?, *is_f32))
            }));
            if values.is_empty() {
                continue;
            }
            let count = values.len() as u64;
            self.judged.samples += count;
            if row.late {
                held.late_sample(self.received_us, &mut hand);
                self.judged.late += count;
            } else if held.sample(row.time_us, self.received_us, &values, &mut hand) == Taken::Late {
                self.judged.late += count;
            }
        }
        if let (false, Some(index)) = (self.events.is_empty(), self.watching.get(entry.held)) {
            self.raised.extend(self.events.drain(..).map(|(event, value)| (*index, event, value)));
        }
        let deadline_us = held.deadline_us(&entry.rule, device, self.resumed_us);
        self.deadline_us = self.deadline_us.min(deadline_us.unwrap_or(i64::MAX));
    }

    /// When a rule has to be looked at next.
    pub fn note_deadline(&mut self, entry: &Entry, held: &[Held], world: &World<'_>) {
        let (Some(held), Some(device)) = (held.get(entry.held), world.directory.by_key(self.key)) else { return };
        let deadline_us = held.deadline_us(&entry.rule, device, self.resumed_us);
        self.deadline_us = self.deadline_us.min(deadline_us.unwrap_or(i64::MAX));
    }

    #[inline]
    fn number_at(&self, row: usize, column: usize, value_type: ValueType) -> Option<f64> {
        let cell = self.block.rows.cell(row, column)?;
        // What `Rows` says of its cells.
        #[allow(clippy::cast_precision_loss)] // as `ValueRef::as_f64`
        Some(match value_type {
            ValueType::F64 | ValueType::F32 => f64::from_bits(cell),
            ValueType::I64 => cell.cast_signed() as f64,
            ValueType::Bool => f64::from(u8::from(cell != 0)),
            ValueType::Text => return None,
        })
    }
}
