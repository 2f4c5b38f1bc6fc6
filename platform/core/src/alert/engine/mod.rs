//! All rules on all devices: samples, time, edits and deletions in; changed alerts out.
//!
//! A device's samples and time-outs pass through here one after the other, so a report that arrives as its silence is noticed
//! comes either before or after it, never beside it.

mod calm;
mod edits;
mod operations;
mod raise;
mod state;
mod storms;
mod taking;
mod watched;
mod wheel;

pub use operations::{COMMENT_BYTES_MAX, Operation};
pub use state::Damaged;
pub use watched::DeviceState;
pub use wheel::SLOT_US;

use super::compiled::Compiled;
use super::held::{Event, Freshness, Hand, Held, Seen};
use super::record::{Alert, AlertStep, ResolvedReason};
use super::rule::Rule;
use crate::block::Block;
use crate::catalogue::Catalogue;
use crate::device::Device;
use crate::directory::Directory;
use crate::ids::{AlertId, DeviceKey, Position, RuleId};
use foldhash::HashMap;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use storms::Storms;
use taking::Taking;
use watched::{Index, Layout, Shared, Watched};
use wheel::Wheel;

/// Blocks whose devices are asked for together.
const AHEAD_BLOCKS: usize = 16;

/// What the engine takes for late, early, silence and too much. Each is a key of `[alerting]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EngineLimits {
    /// A sampled value is taken for the present for so long, where its rule does not say; `for` begins anew after it.
    pub gap_max_us: i64,
    /// A sample further behind its device's newest is late for every rule.
    pub lateness_max_us: i64,
    /// A sample further ahead of its arrival is judged as of its arrival.
    pub ahead_max_us: i64,
    /// Open alerts of a rule; further ones are folded into one.
    pub alerts_per_rule_max: usize,
    /// Share of a group's devices that go silent within `group_silence_window_us` to make one alert of it.
    pub group_silence_share: f64,
    /// See `group_silence_share`.
    pub group_silence_window_us: i64,
}

/// What the engine looks things up in, and how it names alerts.
pub struct World<'a> {
    /// The devices that exist.
    pub directory: &'a Directory,
    /// The series that exist.
    pub catalogue: &'a Catalogue,
    /// The time, µs since the Unix epoch.
    pub now_us: i64,
    /// Makes a new id.
    pub new_id: &'a mut dyn FnMut() -> AlertId,
}

/// An alert that changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// As it is now.
    pub alert: Arc<Alert>,
    /// What happened.
    pub step: AlertStep,
}

/// What a record did besides changing alerts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Judged {
    /// Samples that a rule looked at.
    pub samples: u64,
    /// Samples that were late.
    pub late: u64,
}

/// On how many devices a rule stands how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// An alert is open.
    pub firing: usize,
    /// A level holds, but not for long enough yet.
    pub pending: usize,
    /// The device is silent.
    pub stale: usize,
}

impl Standing {
    /// Counts a device.
    pub fn count(&mut self, held: &Held) {
        self.firing += usize::from(held.alert().is_some() || held.silent_alert().is_some());
        self.pending += usize::from(held.pending().is_some());
        self.stale += usize::from(held.freshness() == Freshness::Stale);
    }
}

struct Slot {
    rule: Arc<Compiled>,
    // Open alerts, without group and overflow alerts.
    open: usize,
}

/// See the module.
pub struct Engine {
    limits: EngineLimits,
    // In the order in which they came; the place of a deleted one stays empty until the next start.
    slots: Vec<Option<Slot>>,
    by_id: BTreeMap<RuleId, Index>,
    // Grows when rules or devices change: each device finds its rules anew at its next sample.
    generation: u64,
    devices: HashMap<DeviceKey, Watched>,
    shared: Shared,
    wheel: Wheel,
    open: HashMap<AlertId, Arc<Alert>>,
    storms: Storms,
    // Since when this process listens: silence before it says nothing about devices.
    resumed_us: i64,
    dirty: Vec<DeviceKey>,
    gone: Vec<DeviceKey>,
    // What one rule said of a device, and what all of them did.
    events: Vec<(Event, f64)>,
    seen: Vec<Seen>,
    raised: Vec<(Index, Event, f64)>,
    times: Vec<RowTime>,
    // Counts calls of `apply`.
    records: u64,
}

/// A row that is judged: its number in the block, and its time as it counts.
#[derive(Clone, Copy)]
struct RowTime {
    row: usize,
    time_us: i64,
    late: bool,
}

impl Engine {
    /// Judges what devices sent in one journal record. Backfill is never judged, and what a device's state has seen is not judged
    /// again, so that a record may be given once more after a restart.
    pub fn apply(
        &mut self,
        position: Position,
        received_us: i64,
        blocks: &[Block],
        world: &mut World<'_>,
        changes: &mut Vec<Change>,
    ) -> Judged {
        let mut judged = Judged::default();
        if self.by_id.is_empty() {
            return judged;
        }
        self.records += 1;
        for blocks in blocks.chunks(AHEAD_BLOCKS) {
            self.look_ahead(blocks);
            for block in blocks {
                self.apply_block(position, received_us, block, world, changes, &mut judged);
            }
        }
        judged
    }

    /// Reads something of the devices of blocks. With many devices each is far away in memory; asked for together they come together,
    /// instead of one after the other.
    fn look_ahead(&self, blocks: &[Block]) {
        if blocks.len() > 1 {
            let watched = blocks.iter().filter_map(|block| self.devices.get(&block.device()));
            black_box(watched.fold(0, |sum, watched| sum ^ watched.look()));
        }
    }

    fn apply_block(
        &mut self,
        position: Position,
        received_us: i64,
        block: &Block,
        world: &mut World<'_>,
        changes: &mut Vec<Change>,
        judged: &mut Judged,
    ) {
        let key = block.device();
        let mut watched = self.devices.entry(key).or_insert_with(Watched::new);
        // A record may hold several blocks of a device: all of them are judged.
        if watched.judged >= position && watched.record != self.records {
            return;
        }
        (watched.judged, watched.record) = (watched.judged.max(position), self.records);
        if watched.generation != self.generation {
            // The device may be another already, though nobody has said so yet: alerts of rules that look at it no more end here.
            self.look_again(key, ResolvedReason::ScopeChanged, world, changes);
            let Some(again) = self.devices.get_mut(&key).filter(|again| again.generation == self.generation) else {
                return;
            };
            watched = again;
        }
        let Some(layout) = layout_of(&self.slots, &mut self.shared, watched, block, world) else { return };
        row_times(block, received_us, &self.limits, watched, &mut self.times);
        if self.times.is_empty() {
            return;
        }
        if !watched.dirty {
            watched.dirty = true;
            self.dirty.push(key);
        }
        let mut taking = Taking {
            key,
            block,
            received_us,
            resumed_us: self.resumed_us,
            watching: &watched.watching,
            armed: watched.armed_us < i64::MAX,
            seen: &mut self.seen,
            events: &mut self.events,
            raised: &mut self.raised,
            judged,
            deadline_us: i64::MAX,
        };
        for laid in &layout.families {
            let (Some(family), Some(calm)) = (watched.families.get(laid.family), watched.calm.get_mut(laid.family))
            else {
                continue;
            };
            let mut times = &self.times[..];
            if calm.holds {
                let Some(rest) = taking.calmly(laid, &mut calm.newest, times) else {
                    if family.no_data && !taking.armed {
                        calm.settle(family, &mut watched.held);
                        laid.entries.iter().for_each(|entry| taking.note_deadline(entry, &watched.held, world));
                    }
                    continue;
                };
                times = &times[rest..];
                calm.settle(family, &mut watched.held);
            }
            for entry in &laid.entries {
                taking.one(entry, &mut watched.held, times, world);
            }
            calm.look(family, &watched.held);
        }
        for entry in &layout.others {
            taking.one(entry, &mut watched.held, &self.times, world);
        }
        let deadline_us = taking.deadline_us;
        if deadline_us < watched.armed_us {
            watched.armed_us = self.wheel.arm(key, deadline_us);
        }
        if !self.raised.is_empty() {
            self.raise(key, world, changes);
        }
    }

    /// Time has come to `now_us`: `for` that is over without a sample, devices that are silent, samples that waited long enough.
    /// Cheap while nothing is due. At most `devices_max` devices are woken, so that a great silence does not hold up samples;
    /// call it again while it answers true.
    pub fn wake(&mut self, devices_max: usize, world: &mut World<'_>, changes: &mut Vec<Change>) -> bool {
        let mut woken = 0;
        while woken < devices_max {
            let Some((end_us, mut keys)) = self.wheel.take(world.now_us) else { return false };
            let left = keys.split_off(keys.len().min(devices_max - woken));
            woken += keys.len();
            for key in keys {
                self.wake_device(key, end_us, world, changes);
            }
            for key in left {
                self.wheel.arm(key, end_us);
            }
        }
        self.next_wake_us().is_some_and(|next_us| next_us <= world.now_us)
    }

    fn wake_device(&mut self, key: DeviceKey, end_us: i64, world: &mut World<'_>, changes: &mut Vec<Change>) {
        let Some(mut watched) = self.devices.get_mut(&key).filter(|watched| watched.armed_us == end_us) else { return };
        watched.armed_us = i64::MAX;
        let Some(device) = world.directory.by_key(key) else { return };
        if watched.generation != self.generation {
            self.look_again(key, ResolvedReason::ScopeChanged, world, changes);
            let Some(again) = self.devices.get_mut(&key) else { return };
            watched = again;
        }
        watched.unsettle();
        let mut next_us = i64::MAX;
        for (held, index) in watched.held.iter_mut().zip(watched.watching.iter()) {
            let Some(slot) = self.slots.get(*index as usize).and_then(Option::as_ref) else { continue };
            let deadline = |held: &Held| held.deadline_us(&slot.rule, device, self.resumed_us);
            if deadline(held).is_some_and(|due_us| due_us <= world.now_us) {
                let mut hand = Hand {
                    rule: &slot.rule,
                    device,
                    new_id: world.new_id,
                    resumed_us: self.resumed_us,
                    seen: &mut self.seen,
                    events: &mut self.events,
                };
                held.wake(world.now_us, &mut hand);
                self.raised.extend(self.events.drain(..).map(|(event, value)| (*index, event, value)));
                if !watched.dirty {
                    watched.dirty = true;
                    self.dirty.push(key);
                }
            }
            // What is still due has nothing to do before its next slot.
            let again = deadline(held).map(|due_us| due_us.max(world.now_us.saturating_add(1)));
            next_us = next_us.min(again.unwrap_or(i64::MAX));
        }
        if next_us < i64::MAX {
            watched.armed_us = self.wheel.arm(key, next_us);
        }
        if !self.raised.is_empty() {
            self.raise(key, world, changes);
        }
    }

    /// When [`Engine::wake`] has something to do next.
    pub fn next_wake_us(&self) -> Option<i64> {
        self.wheel.next_us()
    }

    /// The rules, by id.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.by_id.values().filter_map(|index| Some(&self.slot_at(*index)?.rule.rule))
    }

    /// A rule.
    pub fn rule(&self, id: &RuleId) -> Option<&Rule> {
        self.slot(id).map(|slot| &slot.rule.rule)
    }

    fn slot(&self, id: &RuleId) -> Option<&Slot> {
        self.slot_at(*self.by_id.get(id)?)
    }

    fn slot_at(&self, index: Index) -> Option<&Slot> {
        self.slots.get(index as usize)?.as_ref()
    }

    /// On how many devices each rule stands how. Looks at every device.
    pub fn standings(&self) -> BTreeMap<RuleId, Standing> {
        let mut by_index = vec![Standing::default(); self.slots.len()];
        for watched in self.devices.values() {
            for (held, index) in watched.held.iter().zip(watched.watching.iter()) {
                let Some(standing) = by_index.get_mut(*index as usize) else { continue };
                standing.count(held);
            }
        }
        self.by_id.iter().map(|(id, index)| (id.clone(), by_index[*index as usize])).collect()
    }

    /// An alert that fires.
    pub fn alert(&self, id: AlertId) -> Option<&Arc<Alert>> {
        self.open.get(&id)
    }

    /// Every alert that fires, in no order.
    pub fn alerts(&self) -> impl Iterator<Item = &Arc<Alert>> {
        self.open.values()
    }

    /// How many alerts fire.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// Devices known, states held, and the memory they take in bytes.
    pub fn size(&self) -> (usize, usize, usize) {
        let states = self.devices.values().map(|w| w.held.len()).sum();
        let entry = size_of::<DeviceKey>() + 1;
        let bytes: usize = self.devices.values().map(|w| w.bytes() + entry).sum();
        (self.devices.len(), states, bytes + self.wheel.len() * size_of::<DeviceKey>())
    }
}

/// The live rows of a block with the time that counts: a clock that runs ahead is not believed, and what is too far behind the
/// device's newest is late.
fn row_times(block: &Block, received_us: i64, limits: &EngineLimits, watched: &mut Watched, times: &mut Vec<RowTime>) {
    times.clear();
    let latest_us = received_us.saturating_add(limits.ahead_max_us);
    let mut newest_us = watched.watermark_us;
    for (row, time_us) in block.live_times() {
        let time_us = believed_us(time_us, received_us, latest_us, newest_us);
        let late = time_us < newest_us.saturating_sub(limits.lateness_max_us.max(watched.lateness_us));
        newest_us = newest_us.max(time_us);
        times.push(RowTime { row, time_us, late });
    }
    watched.watermark_us = newest_us;
}

/// A time of the future is not believed: it counts by its arrival, but not as before what came already, or a clock that is ahead by
/// just as much as is believed would be late at every other sample.
pub(super) fn believed_us(time_us: i64, received_us: i64, latest_us: i64, newest_us: i64) -> i64 {
    if time_us > latest_us { received_us.max(newest_us.min(latest_us)) } else { time_us }
}

fn find_rules(slots: &[Option<Slot>], shared: &mut Shared, generation: u64, device: &Device, watched: &mut Watched) {
    let looks = |slot: &Slot| slot.rule.rule.enabled && slot.rule.rule.scope.takes(device);
    let indexes: Vec<Index> = slots
        .iter()
        .enumerate()
        .filter(|(_, slot)| slot.as_ref().is_some_and(looks))
        .filter_map(|(index, _)| Index::try_from(index).ok())
        .collect();
    watched.generation = generation;
    let rules = indexes.iter().filter_map(|index| slots.get(*index as usize)?.as_ref());
    watched.lateness_us = rules.map(|slot| slot.rule.rule.lateness_us).max().unwrap_or(0);
    watched.forget_layouts();
    watched.settle();
    let rule = |index: Index| Some(&*slots.get(index as usize)?.as_ref()?.rule);
    if *watched.watching == *indexes {
        // A rule may have been edited.
        watched.watch(shared.families(&watched.watching, rule));
        return;
    }
    let mut before: BTreeMap<Index, Held> =
        watched.watching.iter().copied().zip(std::mem::take(&mut watched.held)).collect();
    watched.held = indexes
        .iter()
        .filter_map(|index| {
            let slot = slots.get(*index as usize)?.as_ref()?;
            Some(before.remove(index).unwrap_or_else(|| Held::new(&slot.rule)))
        })
        .collect();
    watched.watching = shared.watching(indexes);
    watched.watch(shared.families(&watched.watching, rule));
}

/// How the rules look at a block; None if none does.
fn layout_of(
    slots: &[Option<Slot>],
    shared: &mut Shared,
    watched: &mut Watched,
    block: &Block,
    world: &World<'_>,
) -> Option<Layout> {
    if watched.watching.is_empty() {
        return None;
    }
    if let Some(layout) = watched.layout(&block.set) {
        return (!layout.is_empty()).then(|| layout.clone());
    }
    let mut columns = Vec::with_capacity(block.set.series.len());
    for (series, value_type) in block.set.series.iter().zip(&block.set.types) {
        // A series that the catalogue does not have yet is looked for again.
        columns.push((world.catalogue.get(*series)?.metric.clone(), *value_type));
    }
    let rule = |index: Index| Some(slots.get(index as usize)?.as_ref()?.rule.clone());
    let layout = shared.layout(&watched.watching, &watched.families, columns, rule);
    watched.remember(&block.set, layout.clone());
    (!layout.is_empty()).then_some(layout)
}

#[cfg(test)]
mod tests;
