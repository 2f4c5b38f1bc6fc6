//! The newest sample of every series that a view selects.

use super::view::ViewId;
use pulsewire_core::ids::{DeviceKey, SeriesKey};
use pulsewire_core::value::{Value, ValueType};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Number of a series within the service.
pub type Slot = u32;

const UNKNOWN: Slot = u32::MAX;
const UNWANTED: Slot = u32::MAX - 1;

/// What viewers are told of a series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesMeta {
    /// Device id; empty for a result over many.
    pub device: String,
    /// Metric name.
    pub metric: String,
    /// Unit; may be empty.
    pub unit: String,
    /// As declared; f64 for results.
    pub value_type: ValueType,
    /// What a result over many devices is of: names and values.
    pub labels: Vec<(String, String)>,
}

/// A place in a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Which view.
    pub view: ViewId,
    /// Its input.
    pub input: u32,
}

/// The newest of one series.
#[derive(Debug)]
pub struct Latest {
    /// Whose.
    pub series: SeriesKey,
    /// Whose.
    pub device: DeviceKey,
    /// What viewers are told of it.
    pub meta: Arc<SeriesMeta>,
    /// Time of the newest sample, µs since the Unix epoch.
    pub time_us: i64,
    /// None: no sample yet.
    pub value: Option<Value>,
    /// Record of the newest sample that was not taken as the newest, or is not any more.
    pub before: u64,
    /// What the store had was put in.
    pub filled: bool,
    /// Samples of records up to here were in what the store had.
    pub floor: u64,
    /// Views that select it.
    pub users: Vec<Place>,
    /// Those of them that take every sample.
    pub listeners: Vec<Place>,
    idle: bool,
}

/// See the module. Series that no view selects any more stay up to a bound: who scrolls back finds them.
#[derive(Debug, Default)]
pub struct SeriesTable {
    // By the store's number, which grows and is not used again.
    slot_of: Vec<Slot>,
    /// Record of the newest sample of each slot; 0 = none. Apart from the rest, since every tick reads it.
    pub positions: Vec<u64>,
    rows: Vec<Option<Latest>>,
    free: Vec<Slot>,
    of_device: HashMap<DeviceKey, Vec<Slot>>,
    idle: VecDeque<Slot>,
    idle_max: usize,
}

/// What is known of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It has a slot.
    At(Slot),
    /// No view wants it.
    Unwanted,
    /// Nobody asked yet.
    Unknown,
}

impl SeriesTable {
    /// `idle_max`: series without a view that are kept.
    pub fn new(idle_max: usize) -> Self {
        Self { idle_max, ..Self::default() }
    }

    /// What is known of a series.
    pub fn find(&self, series: SeriesKey) -> Found {
        match self.slot_of.get(series.0 as usize).copied().unwrap_or(UNKNOWN) {
            UNKNOWN => Found::Unknown,
            UNWANTED => Found::Unwanted,
            slot => Found::At(slot),
        }
    }

    /// No view wants it, until one is made that does.
    pub fn unwanted(&mut self, series: SeriesKey) {
        self.put(series, UNWANTED);
    }

    fn put(&mut self, series: SeriesKey, slot: Slot) {
        let at = series.0 as usize;
        if at >= self.slot_of.len() {
            self.slot_of.resize(at + 1, UNKNOWN);
        }
        self.slot_of[at] = slot;
    }

    /// The slot of a series, made if there is none.
    pub fn intern(&mut self, series: SeriesKey, device: DeviceKey, meta: impl FnOnce() -> SeriesMeta) -> Slot {
        if let Found::At(slot) = self.find(series) {
            return slot;
        }
        let latest = Latest {
            series,
            device,
            meta: Arc::new(meta()),
            time_us: 0,
            value: None,
            before: 0,
            filled: false,
            floor: 0,
            users: Vec::new(),
            listeners: Vec::new(),
            idle: false,
        };
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.rows.push(None);
                self.positions.push(0);
                // Series are fewer than their numbers, which are u32.
                u32::try_from(self.rows.len() - 1).unwrap_or(UNWANTED - 1)
            }
        };
        self.rows[slot as usize] = Some(latest);
        self.positions[slot as usize] = 0;
        self.of_device.entry(device).or_default().push(slot);
        self.put(series, slot);
        slot
    }

    /// A slot's series.
    pub fn get(&self, slot: Slot) -> Option<&Latest> {
        self.rows.get(slot as usize)?.as_ref()
    }

    /// A slot's series.
    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut Latest> {
        self.rows.get_mut(slot as usize)?.as_mut()
    }

    /// The devices that have a slot.
    pub fn devices(&self) -> impl Iterator<Item = DeviceKey> {
        self.of_device.keys().copied()
    }

    /// The slots of a device.
    pub fn of_device(&self, device: DeviceKey) -> Vec<Slot> {
        self.of_device.get(&device).cloned().unwrap_or_default()
    }

    /// How many series there are.
    pub fn count(&self) -> usize {
        self.rows.len() - self.free.len()
    }

    /// A view takes a series.
    pub fn use_by(&mut self, slot: Slot, place: Place, listens: bool) {
        let Some(latest) = self.get_mut(slot) else { return };
        latest.users.push(place);
        if listens {
            latest.listeners.push(place);
        }
    }

    /// A view takes a series no longer. Above the bound the one that is idle longest is forgotten.
    pub fn release(&mut self, slot: Slot, view: ViewId) {
        let Some(latest) = self.get_mut(slot) else { return };
        latest.users.retain(|place| place.view != view);
        latest.listeners.retain(|place| place.view != view);
        if !latest.users.is_empty() || latest.idle {
            return;
        }
        latest.idle = true;
        self.idle.push_back(slot);
        // One that is in use again leaves the queue here.
        while self.idle.len() > self.idle_max {
            let Some(oldest) = self.idle.pop_front() else { return };
            let Some(latest) = self.get_mut(oldest).filter(|l| l.idle) else { continue };
            latest.idle = false;
            if latest.users.is_empty() {
                let series = latest.series;
                self.forget(oldest);
                self.put(series, UNWANTED);
            }
        }
    }

    /// Forgets a series; nothing may use it.
    pub fn forget(&mut self, slot: Slot) {
        let Some(latest) = self.rows.get_mut(slot as usize).and_then(Option::take) else { return };
        if let Some(slots) = self.of_device.get_mut(&latest.device) {
            slots.retain(|one| *one != slot);
            if slots.is_empty() {
                self.of_device.remove(&latest.device);
            }
        }
        self.put(latest.series, UNKNOWN);
        self.positions[slot as usize] = 0;
        self.free.push(slot);
    }

    /// Puts a sample in; false if it is known already. An older sample does not take the place of a newer one.
    #[inline]
    pub fn apply(&mut self, slot: Slot, position: u64, time_us: i64, value: impl FnOnce() -> Value) -> bool {
        let Some(latest) = self.rows.get_mut(slot as usize).and_then(Option::as_mut) else { return false };
        if position <= latest.floor {
            return false;
        }
        if latest.value.is_some() && time_us < latest.time_us {
            latest.before = position;
            return true;
        }
        latest.before = latest.before.max(self.positions[slot as usize]);
        latest.time_us = time_us;
        latest.value = Some(value());
        self.positions[slot as usize] = position;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta() -> SeriesMeta {
        let empty = String::new;
        let value_type = ValueType::F64;
        SeriesMeta { device: empty(), metric: empty(), unit: empty(), value_type, labels: Vec::new() }
    }

    #[test]
    fn a_late_sample_does_not_take_the_place_of_a_newer_one() {
        let mut table = SeriesTable::new(10);
        let slot = table.intern(SeriesKey(7), DeviceKey(1), meta);
        assert!(table.apply(slot, 1, 100, || Value::I64(1)));
        assert!(table.apply(slot, 2, 50, || Value::I64(2)));
        assert_eq!(table.get(slot).and_then(|l| l.value.clone()), Some(Value::I64(1)));
        assert_eq!((table.positions[slot as usize], table.get(slot).map(|l| l.before)), (1, Some(2)));
        assert!(table.apply(slot, 3, 100, || Value::I64(3)), "among equal times the one stored last");
        assert_eq!(table.positions[slot as usize], 3);
    }

    #[test]
    fn series_without_a_view_stay_up_to_the_bound() {
        let mut table = SeriesTable::new(1);
        let slots = [1, 2].map(|n| table.intern(SeriesKey(n), DeviceKey(n), meta));
        let place = |input| Place { view: ViewId(0), input };
        slots.iter().for_each(|slot| table.use_by(*slot, place(0), false));
        table.release(slots[0], ViewId(0));
        assert_eq!(table.find(SeriesKey(1)), Found::At(slots[0]), "still warm");
        table.release(slots[1], ViewId(0));
        assert_eq!(table.find(SeriesKey(1)), Found::Unwanted);
        assert_eq!(table.find(SeriesKey(2)), Found::At(slots[1]));
        assert_eq!(table.count(), 1);
    }
}
