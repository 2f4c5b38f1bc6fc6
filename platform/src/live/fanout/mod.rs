//! All views: which exist, which series they have, and when each makes its next frame.
//!
//! A view is what several viewers ask for alike. A stored sample touches the table of series, and the views that see every
//! sample; nothing per viewer. A tick makes one frame of a view for all of them. Each viewer stands at a [`Cursor`] and takes
//! what it is owed when it can.
//!
//! Here are no clocks, sockets or files: `now_us` is any clock that only grows, `wall_us` the time of day in µs since the Unix
//! epoch, both given by the caller. A test drives it like the service does:
//!
//! 1. [`Fanout::new`], then [`Fanout::apply`] for every committed record in order of position.
//! 2. [`Fanout::join`] with a [`Wish`]. When the answer's `unfilled` is not empty, [`Fanout::fill`] with what the store has of
//!    those series (an empty list will do). Then [`Cursor::snapshot`], or [`Cursor::changed_since`] for one that resumes.
//! 3. [`Fanout::tick`] at times of its choosing, not before [`Fanout::next_due_us`]; then for each subscriber that can take
//!    something [`Cursor::next`] until it answers None. One that stalls is not asked; dropping a cursor and calling
//!    [`Fanout::leave`] ends it.
//!
//! After the frames of a position a viewer holds, for each series, what [`Fanout::latest`] had at that position.

pub mod aggregate;
mod bounds;
pub mod channel;
pub mod cursor;
mod devices;
pub mod series;
pub mod view;

#[cfg(test)]
mod tests;

pub use aggregate::Fold;
pub use bounds::{Counts, FanoutLimits, Unservable};
pub use channel::{Outlet, RingLimits, Signal};
pub use cursor::{Cursor, Owed, Standing};
pub use devices::Came;
pub use series::SeriesMeta;
pub use view::{Form, Label, ViewId, Wish};

use channel::Selected;
use pulsewire_core::block::Block;
use pulsewire_core::catalogue::Catalogue;
use pulsewire_core::device::Device;
use pulsewire_core::directory::Directory;
use pulsewire_core::ids::{DeviceKey, Position, SeriesKey};
use pulsewire_core::sample::{Sample, Series};
use pulsewire_core::selector::Selector;
use series::{Found, Place, SeriesTable, Slot};
use std::cmp::Reverse;
use std::collections::hash_map::RandomState;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use view::View;

/// A subscriber that has joined.
#[derive(Debug)]
pub struct Joined {
    /// Its view.
    pub view: ViewId,
    /// Its place in it.
    pub cursor: Cursor,
    /// Series whose newest sample in the store is not known yet.
    pub unfilled: Vec<SeriesKey>,
}

/// See the module.
#[derive(Debug)]
pub struct Fanout {
    limits: FanoutLimits,
    counts: Arc<Counts>,
    position: u64,
    table: SeriesTable,
    views: Vec<Option<View>>,
    vacant: Vec<u32>,
    by_wish: HashMap<Wish, ViewId>,
    // Of views that do not select every device.
    by_device: HashMap<DeviceKey, Vec<ViewId>>,
    everywhere: Vec<ViewId>,
    due: BinaryHeap<Reverse<(u64, ViewId)>>,
    // Spreads the ticks of views over their intervals.
    hasher: RandomState,
    view_series: usize,
    rings_bytes: usize,
    unfilled: Vec<SeriesKey>,
}

impl Fanout {
    /// A fanout that has read up to `position`.
    pub fn new(limits: FanoutLimits, position: Position) -> Self {
        Self {
            table: SeriesTable::new(limits.idle_series_max),
            limits,
            counts: Arc::default(),
            position: position.0,
            views: Vec::new(),
            vacant: Vec::new(),
            by_wish: HashMap::new(),
            by_device: HashMap::new(),
            everywhere: Vec::new(),
            due: BinaryHeap::new(),
            hasher: RandomState::new(),
            view_series: 0,
            rings_bytes: 0,
            unfilled: Vec::new(),
        }
    }

    /// What was done.
    pub fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    /// How far commits were read.
    pub fn position(&self) -> Position {
        Position(self.position)
    }

    /// How many views and series there are.
    pub fn sizes(&self) -> (usize, usize) {
        (self.by_wish.len(), self.table.count())
    }

    /// The newest sample of a series and its record, if a view has it.
    pub fn latest(&self, series: SeriesKey) -> Option<(u64, Sample)> {
        let Found::At(slot) = self.table.find(series) else { return None };
        let latest = self.table.get(slot)?;
        let sample = Sample { time_us: latest.time_us, value: latest.value.clone()? };
        Some((self.table.positions[slot as usize], sample))
    }

    /// Adds a subscriber to the view of a wish, which is made if there is none.
    ///
    /// # Errors
    /// [`Unservable`].
    pub fn join(
        &mut self,
        wish: &Wish,
        signal: Arc<Signal>,
        directory: &Directory,
        catalogue: &Catalogue,
        now_us: u64,
        wall_us: i64,
    ) -> Result<Joined, Unservable> {
        let id = match self.by_wish.get(wish) {
            Some(id) => *id,
            None => self.make(wish, directory, catalogue)?,
        };
        let position = self.position;
        let stale_us = self.limits.across_stale_us;
        let slow_us = self.limits.slow_interval_us;
        let Some(view) = self.views.get_mut(id.0 as usize).and_then(Option::as_mut) else {
            return Err(Unservable::Full);
        };
        view.members += 1;
        if view.members == 1 {
            let (interval, at) = (view.interval_us().max(1), self.hasher.hash_one(wish));
            // Where in the interval, then the next such moment.
            let phase = at % interval;
            let due = now_us - now_us % interval + phase;
            view.due_us = if due <= now_us { due + interval } else { due };
            self.due.push(Reverse((view.due_us, id)));
            restart(view, &mut self.rings_bytes, &self.table, position, wall_us, stale_us);
        }
        let inputs = view.inputs.iter().flatten();
        let unfilled = match view.wish.form {
            Form::Interval(_) => Vec::new(),
            // Who came before has asked.
            _ if view.outlet.filled.initialized() => Vec::new(),
            _ => inputs.filter_map(|i| self.table.get(i.slot).filter(|l| !l.filled)).map(|l| l.series).collect(),
        };
        let cursor = Cursor::join(view.outlet.clone(), signal, slow_us);
        Ok(Joined { view: id, cursor, unfilled })
    }

    fn make(&mut self, wish: &Wish, directory: &Directory, catalogue: &Catalogue) -> Result<ViewId, Unservable> {
        let devices = selected(&wish.selector, directory);
        let takes = |series: &Series| wish.selector.takes_metric(&series.metric) && wish.form.takes(series.value_type);
        let of_device = |device: &Arc<Device>| catalogue.of_device(device.key).filter(|s| takes(s));
        let found: usize = devices.iter().map(|device| of_device(device).count()).sum();
        let allowed = match wish.form {
            Form::Across(..) => self.limits.inputs_max,
            _ => self.limits.series_max,
        };
        if found > allowed {
            return Err(Unservable::TooManySeries { found, allowed });
        }
        if !self.has_room(found) {
            self.drop_idle(found);
            if !self.has_room(found) {
                return Err(Unservable::Full);
            }
        }
        let number = self.vacant.pop().unwrap_or_else(|| {
            self.views.push(None);
            u32::try_from(self.views.len() - 1).unwrap_or(u32::MAX)
        });
        let id = ViewId(number);
        let everywhere = wish.selector.takes_every_device();
        let keys = || devices.iter().map(|device| device.key);
        let selected = if everywhere { Selected::All } else { Selected::These(keys().collect()) };
        let every = wish.form == Form::Every;
        let interval_us = u64::from(wish.interval_ms) * 1000;
        let outlet = Arc::new(Outlet::new(every, interval_us, self.position, selected));
        self.views[number as usize] = Some(View::new(id, wish.clone(), outlet, self.position));
        if everywhere {
            self.everywhere.push(id);
        } else {
            keys().for_each(|key| self.by_device.entry(key).or_default().push(id));
        }
        self.by_wish.insert(wish.clone(), id);
        for device in &devices {
            for series in of_device(device) {
                let is_news = matches!(self.table.find(series.key), Found::Unknown);
                self.add(id, series, device, None);
                if is_news {
                    self.offer(series, device);
                }
            }
        }
        let outputs = self.views[number as usize].as_ref().map_or(0, View::series);
        if outputs > self.limits.series_max {
            self.drop_view(id);
            return Err(Unservable::TooManySeries { found: outputs, allowed: self.limits.series_max });
        }
        Ok(id)
    }

    fn has_room(&self, series: usize) -> bool {
        self.by_wish.len() < self.limits.views_max && self.view_series + series <= self.limits.view_series_max
    }

    /// Views that nobody has any more make room, those first that are idle longest.
    fn drop_idle(&mut self, series: usize) {
        let idle = self.views.iter().flatten().filter(|view| view.members == 0);
        let mut idle: Vec<(u64, ViewId)> = idle.map(|view| (view.idle_us, view.id)).collect();
        idle.sort_unstable();
        for (_, id) in idle {
            if self.has_room(series) {
                return;
            }
            self.drop_view(id);
        }
    }

    /// Gives a view a series; None if it has it or has no room. `since` as in [`View::add`].
    fn add(&mut self, id: ViewId, series: &Series, device: &Device, since: Option<u64>) -> Option<(Slot, u32)> {
        let slot = self.table.intern(series.key, series.device, || SeriesMeta {
            device: device.id.to_string(),
            metric: series.metric.to_string(),
            unit: series.unit.clone(),
            value_type: series.value_type,
            labels: Vec::new(),
        });
        // One more than allowed, so that a view that is just made shows that it has too many.
        let series_max = self.limits.series_max + usize::from(since.is_none());
        let inputs_max = self.limits.inputs_max;
        let meta = self.table.get(slot)?.meta.clone();
        let view = self.views.get_mut(id.0 as usize)?.as_mut()?;
        let input = view.add(slot, &meta, device, since, series_max, inputs_max)?;
        let place = Place { view: id, input };
        self.table.use_by(slot, place, view.wish.form.listens());
        self.view_series += 1;
        Some((slot, input))
    }

    /// Puts in what the store has of series, as it stood at `position`; `asked` are those that it was asked for. `view` begins
    /// anew with it.
    pub fn fill(
        &mut self,
        view: Option<ViewId>,
        asked: &[SeriesKey],
        found: Vec<(SeriesKey, Sample)>,
        position: Position,
        wall_us: i64,
    ) {
        let now = self.position;
        for (series, sample) in found {
            let Found::At(slot) = self.table.find(series) else { continue };
            let Some(latest) = self.table.get_mut(slot).filter(|latest| !latest.filled) else { continue };
            let newer = latest.value.is_none() || sample.time_us > latest.time_us;
            let places = if newer { latest.users.clone() } else { Vec::new() };
            if newer {
                (latest.time_us, latest.value) = (sample.time_us, Some(sample.value.clone()));
                let of = &mut self.table.positions[slot as usize];
                *of = (*of).max(now);
            }
            for place in places.into_iter().filter(|place| Some(place.view) != view) {
                if let Some(Some(other)) = self.views.get_mut(place.view.0 as usize) {
                    other.force(place.input, Some((sample.time_us, sample.value.clone())), now);
                }
            }
        }
        for series in asked {
            if let Found::At(slot) = self.table.find(*series)
                && let Some(latest) = self.table.get_mut(slot).filter(|latest| !latest.filled)
            {
                (latest.filled, latest.floor) = (true, position.0);
            }
        }
        let stale_us = self.limits.across_stale_us;
        if let Some(id) = view
            && let Some(Some(view)) = self.views.get_mut(id.0 as usize)
        {
            restart(view, &mut self.rings_bytes, &self.table, now, wall_us, stale_us);
        }
    }

    /// Series that came into views later and whose newest sample is to be asked of the store.
    pub fn take_unfilled(&mut self) -> Vec<SeriesKey> {
        std::mem::take(&mut self.unfilled)
    }

    /// The series of a view and its numbers for them, as far as they were defined up to a frame.
    pub fn series_of(&self, view: ViewId, up_to: u64) -> Vec<(SeriesKey, u32)> {
        let Some(Some(view)) = self.views.get(view.0 as usize) else { return Vec::new() };
        let channel = view.outlet.lock();
        let defined = view.inputs.iter().flatten().filter(|input| {
            let cell = channel.cells.get(input.index as usize).and_then(Option::as_ref);
            cell.is_some_and(|cell| cell.defined <= up_to)
        });
        defined.filter_map(|i| Some((self.table.get(i.slot)?.series, i.index))).collect()
    }

    /// A subscriber is gone. Its cursor is dropped before.
    pub fn leave(&mut self, id: ViewId, now_us: u64) {
        let Some(Some(view)) = self.views.get_mut(id.0 as usize) else { return };
        view.members = view.members.saturating_sub(1);
        if view.members == 0 {
            view.idle_us = now_us;
        }
    }

    fn drop_view(&mut self, id: ViewId) {
        let Some(view) = self.views.get_mut(id.0 as usize).and_then(Option::take) else { return };
        self.vacant.push(id.0);
        self.by_wish.remove(&view.wish);
        self.everywhere.retain(|one| *one != id);
        let channel = view.outlet.lock();
        self.rings_bytes = self.rings_bytes.saturating_sub(channel.ring_bytes());
        if let Selected::These(devices) = &channel.selected {
            for device in devices {
                if let Some(views) = self.by_device.get_mut(device) {
                    views.retain(|one| *one != id);
                    if views.is_empty() {
                        self.by_device.remove(device);
                    }
                }
            }
        }
        drop(channel);
        self.view_series = self.view_series.saturating_sub(view.input_of.len());
        view.inputs.iter().flatten().for_each(|input| self.table.release(input.slot, id));
    }

    fn give(&mut self, id: ViewId, device: &Device, catalogue: &Catalogue) {
        for series in catalogue.of_device(device.key) {
            let Some(Some(view)) = self.views.get(id.0 as usize) else { return };
            let wish = &view.wish;
            if !wish.selector.takes_metric(&series.metric) || !wish.form.takes(series.value_type) {
                continue;
            }
            let is_news = matches!(self.table.find(series.key), Found::Unknown);
            let position = self.position;
            let Some((slot, input)) = self.add(id, series, device, Some(position + 1)) else { continue };
            if is_news {
                self.offer(series, device);
            }
            let Some(latest) = self.table.get(slot) else { continue };
            if !latest.filled {
                self.unfilled.push(series.key);
            }
            // What is known is told now: the store may have nothing newer.
            if let Some(value) = latest.value.clone()
                && let Some(Some(view)) = self.views.get_mut(id.0 as usize)
            {
                view.force(input, Some((latest.time_us, value)), position);
            }
        }
    }

    fn take_away(&mut self, id: ViewId, device: DeviceKey) {
        for slot in self.table.of_device(device) {
            if let Some(Some(view)) = self.views.get_mut(id.0 as usize)
                && view.remove(slot)
            {
                self.view_series = self.view_series.saturating_sub(1);
                self.table.release(slot, id);
            }
        }
        if let Some(Some(view)) = self.views.get(id.0 as usize)
            && let Selected::These(devices) = &mut view.outlet.lock().selected
        {
            devices.remove(&device);
        }
        if let Some(views) = self.by_device.get_mut(&device) {
            views.retain(|one| *one != id);
        }
    }

    /// The devices of which it has series and that do not exist any more.
    pub fn devices_without(&self, directory: &Directory) -> Vec<DeviceKey> {
        self.table.devices().filter(|device| directory.by_key(*device).is_none()).collect()
    }

    /// A device is gone, and its series with it.
    pub fn device_removed(&mut self, device: DeviceKey) {
        let slots = self.table.of_device(device);
        let users = |slot: &Slot| self.table.get(*slot).map(|l| l.users.clone()).unwrap_or_default();
        let mut views: HashSet<ViewId> = slots.iter().flat_map(users).map(|place| place.view).collect();
        views.extend(self.by_device.get(&device).into_iter().flatten());
        views.into_iter().for_each(|id| self.take_away(id, device));
        self.by_device.remove(&device);
        slots.into_iter().for_each(|slot| self.table.forget(slot));
    }

    /// Records after the newest up to `to` were not read: every view has a gap, and what the store has is to be asked again.
    pub fn lose(&mut self, to: Position) {
        let from = self.position;
        self.position = from.max(to.0);
        self.views.iter_mut().flatten().for_each(|view| view.lose(from, to.0));
        for view in self.views.iter().flatten() {
            let slots = view.inputs.iter().flatten().map(|input| input.slot);
            for slot in slots {
                if let Some(latest) = self.table.get_mut(slot)
                    && std::mem::replace(&mut latest.filled, false)
                {
                    self.unfilled.push(latest.series);
                }
            }
        }
    }

    /// Distributes a committed record.
    pub fn apply(&mut self, position: Position, blocks: &[Block], directory: &Directory, catalogue: &Catalogue) {
        let mut slots: Vec<Option<Option<Slot>>> = Vec::new();
        for block in blocks {
            // By column, once it has a value.
            slots.clear();
            slots.resize(block.set.series.len(), None);
            for row in block.live_rows() {
                for (column, value) in row.columns() {
                    let slot = match slots[column] {
                        Some(slot) => slot,
                        None => *slots[column].insert(self.slot_of(block.set.series[column], directory, catalogue)),
                    };
                    let Some(slot) = slot else { continue };
                    let time_us = row.time_us();
                    if !self.table.apply(slot, position.0, time_us, || value.to_value()) {
                        continue;
                    }
                    let Some(latest) = self.table.get(slot).filter(|l| !l.listeners.is_empty()) else { continue };
                    let value = value.to_value();
                    for place in &latest.listeners {
                        let Some(Some(view)) = self.views.get_mut(place.view.0 as usize) else { continue };
                        if view.members > 0 {
                            let samples_max = self.limits.pending_samples_max;
                            let dropped = view.hear(place.input, position.0, time_us, &value, samples_max);
                            self.counts.dropped.fetch_add(dropped, Ordering::Relaxed);
                        }
                    }
                }
            }
        }
        self.position = self.position.max(position.0);
    }

    /// The slot of a series that a view has; a series of which nobody heard yet is offered to the views.
    fn slot_of(&mut self, series: SeriesKey, directory: &Directory, catalogue: &Catalogue) -> Option<Slot> {
        match self.table.find(series) {
            Found::At(slot) => return Some(slot),
            Found::Unwanted => return None,
            Found::Unknown => {}
        }
        let known = catalogue.get(series)?.clone();
        let device = directory.by_key(known.device)?.clone();
        self.offer(&known, &device);
        let Found::At(slot) = self.table.find(series) else {
            self.table.unwanted(series);
            return None;
        };
        // It is new: the store has nothing of it.
        let latest = self.table.get_mut(slot)?;
        if latest.users.is_empty() {
            self.table.forget(slot);
            self.table.unwanted(series);
            return None;
        }
        latest.filled = true;
        Some(slot)
    }

    /// Gives a series of which nobody heard yet to every view that selects it. Also a view that is made may be the first to
    /// hear of one: the catalogue has a series before the first of its samples comes by.
    fn offer(&mut self, series: &Series, device: &Device) {
        let named = self.by_device.get(&device.key).into_iter().flatten();
        let ids: Vec<ViewId> = self.everywhere.iter().chain(named).copied().collect();
        for id in ids {
            let Some(Some(view)) = self.views.get(id.0 as usize) else { continue };
            if view.wish.selector.takes_metric(&series.metric) && view.wish.form.takes(series.value_type) {
                self.add(id, series, device, Some(self.position + 1));
            }
        }
    }

    /// When the next tick is due; None if nobody subscribes.
    pub fn next_due_us(&self) -> Option<u64> {
        self.due.peek().map(|Reverse((due, _))| *due)
    }

    /// Makes the frames of at most `most` views that are due.
    pub fn tick(&mut self, now_us: u64, wall_us: i64, most: usize) {
        for _ in 0..most {
            let Some(Reverse((due, id))) = self.due.peek().copied().filter(|Reverse((due, _))| *due <= now_us) else {
                return;
            };
            self.due.pop();
            let Some(Some(view)) = self.views.get_mut(id.0 as usize) else { continue };
            if view.due_us != due {
                continue;
            }
            if view.members == 0 {
                if now_us.saturating_sub(view.idle_us) >= self.limits.view_linger_us {
                    self.drop_view(id);
                } else {
                    view.due_us = view.idle_us + self.limits.view_linger_us;
                    self.due.push(Reverse((view.due_us, id)));
                }
                continue;
            }
            let interval = view.interval_us().max(1);
            // A tick that comes late does not make the next ones late.
            let missed = now_us.saturating_sub(due) / interval;
            view.due_us = due + (missed + 1) * interval;
            self.due.push(Reverse((view.due_us, id)));
            self.frame(id, now_us, wall_us);
        }
    }

    /// Makes the next frame of a view now, before it is due; none if it has nothing new.
    pub fn frame(&mut self, id: ViewId, now_us: u64, wall_us: i64) {
        let Some(Some(view)) = self.views.get_mut(id.0 as usize) else { return };
        let before = view.outlet.lock().ring_bytes();
        let full = self.rings_bytes > self.limits.rings_bytes_max;
        let limits = RingLimits {
            frames: if full { 1 } else { self.limits.ring_frames },
            bytes: self.limits.ring_bytes_max,
            samples: self.limits.pending_samples_max,
        };
        let stale_us = self.limits.across_stale_us;
        let ticked = view.tick(&self.table, self.position, now_us, wall_us, stale_us, limits);
        if ticked.frame {
            self.counts.frames_encoded.fetch_add(1, Ordering::Relaxed);
            self.counts.dropped.fetch_add(ticked.dropped, Ordering::Relaxed);
            let after = view.outlet.lock().ring_bytes();
            self.rings_bytes = (self.rings_bytes + after).saturating_sub(before);
        }
    }
}

fn restart(view: &mut View, rings_bytes: &mut usize, table: &SeriesTable, position: u64, wall_us: i64, stale_us: i64) {
    *rings_bytes = rings_bytes.saturating_sub(view.outlet.lock().ring_bytes());
    view.restart(table, position, wall_us, stale_us);
}

/// The devices that a selector means now.
pub fn selected(selector: &Selector, directory: &Directory) -> Vec<Arc<Device>> {
    if selector.devices.is_empty() {
        directory.after(None).filter(|d| selector.takes(d)).cloned().collect()
    } else {
        let named = selector.devices.iter().filter_map(|id| directory.by_id(id));
        named.filter(|d| selector.takes(d)).cloned().collect()
    }
}
