//! What is stored of the engine, and how it goes on from that.
//!
//! One row per device: where its rules stand, and the journal position up to which it was judged. A commit with alerts writes
//! the rows of their devices only; the cursor moves when all changed rows are written. After a crash the journal is read from
//! the cursor, and a device skips what its row has seen: every device ends where an uninterrupted run would have.

use super::watched::{DeviceState, Stored, Watched};
use super::{Change, Engine, EngineLimits, Index, World};
use crate::alert::held::Held;
use crate::alert::record::{Alert, AlertKind, ResolvedReason};
use crate::alert::rule::Rule;
use crate::ids::{AlertId, DeviceKey, Position, RuleId};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// Begins every stored state.
const FORMAT: u8 = 1;

/// What could not be taken from the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    /// Whose.
    pub device: DeviceKey,
    /// What is wrong.
    pub problem: String,
}

impl Engine {
    /// Goes on from what was stored. The changes are those that a crash, or edits while nothing ran, left to be made: alerts
    /// whose rule or device is gone, and states that the rule as it is now judges differently. A rule that does not compile any
    /// more and a state that cannot be read are answered; the device begins anew.
    pub fn restore(
        limits: EngineLimits,
        rules: Vec<Rule>,
        states: Vec<(DeviceKey, Vec<u8>)>,
        open: Vec<Alert>,
        world: &mut World<'_>,
    ) -> (Self, Vec<Change>, Vec<Damaged>) {
        let mut engine = Self::new(limits, world.now_us);
        let (mut changes, mut damaged) = (Vec::new(), Vec::new());
        for rule in rules {
            let id = rule.id.clone();
            if let Err(error) = engine.add(rule) {
                damaged.push(Damaged { device: DeviceKey(0), problem: format!("rule {id}: {error}") });
            }
        }
        for alert in open {
            let alert = Arc::new(alert);
            if let Some(index) = engine.by_id.get(&alert.rule).copied() {
                engine.storms.restore(index, &alert);
                if let Some(slot) = engine.slots.get_mut(index as usize).and_then(Option::as_mut)
                    && alert.device.is_some()
                {
                    slot.open += 1;
                }
            }
            engine.open.insert(alert.id, alert);
        }
        let mut firing = HashSet::new();
        let mut taken = Vec::with_capacity(states.len());
        for (key, bytes) in states {
            match decode(&bytes) {
                Ok(stored) => taken.extend(engine.take_in(key, stored, &mut firing, world)),
                Err(problem) => damaged.push(Damaged { device: key, problem }),
            }
        }
        engine.count_members(world.now_us, &mut changes);
        for (key, indexes) in taken {
            // Rules may have been edited, made or deleted since.
            engine.look_again(key, ResolvedReason::ScopeChanged, world, &mut changes);
            for index in indexes {
                engine.reconsider(key, index, world, &mut changes);
            }
        }
        engine.end_orphans(&firing, world.now_us, &mut changes);
        (engine, changes, damaged)
    }

    fn take_in(
        &mut self,
        key: DeviceKey,
        stored: Stored,
        firing: &mut HashSet<AlertId>,
        world: &World<'_>,
    ) -> Option<(DeviceKey, Vec<Index>)> {
        if world.directory.by_key(key).is_none() {
            // Its alerts end as orphans.
            self.gone.push(key);
            return None;
        }
        let mut watched = Watched::new();
        watched.judged = Position(stored.judged);
        watched.watermark_us = stored.watermark_us;
        let known = |(id, held): (String, Held)| Some((*self.by_id.get(&RuleId::parse(&id).ok()?)?, held));
        let mut held: BTreeMap<_, _> = stored.held.into_iter().filter_map(known).collect();
        for (index, held) in &mut held {
            if let Some(slot) = self.slot_at(*index) {
                held.refit(&slot.rule);
            }
        }
        let indexes: Vec<_> = held.keys().copied().collect();
        for (index, held) in &mut held {
            let alerts = super::edits::alerts_of(std::slice::from_ref(held));
            for alert in alerts {
                if self.open.contains_key(&alert) || self.storms.restore_folded(*index, alert) {
                    firing.insert(alert);
                } else {
                    // Nobody sees it: what still holds begins anew.
                    held.forget_alert(alert);
                }
            }
        }
        watched.held = held.into_values().collect();
        watched.watching = self.shared.watching(indexes.clone());
        watched.generation = self.generation.wrapping_sub(1);
        self.devices.insert(key, watched);
        Some((key, indexes))
    }

    /// How many an alert stands for is not stored at each change: counts them. One that stands for none ends.
    fn count_members(&mut self, now_us: i64, changes: &mut Vec<Change>) {
        let mut members: BTreeMap<AlertId, u32> = BTreeMap::new();
        self.open.values().filter_map(|alert| alert.parent).for_each(|parent| *members.entry(parent).or_default() += 1);
        let mut empty = Vec::new();
        for alert in self.open.values_mut() {
            let Some(index) = self.by_id.get(&alert.rule) else { continue };
            let (counted, reason) = match alert.kind {
                AlertKind::Overflow => (self.storms.folded_of(*index), ResolvedReason::Cleared),
                AlertKind::Group => (members.get(&alert.id).copied().unwrap_or(0), ResolvedReason::DataBack),
                AlertKind::Condition | AlertKind::NoData => continue,
            };
            if counted == 0 {
                empty.push((alert.id, reason));
            } else if counted != alert.members {
                Arc::make_mut(alert).members = counted;
            }
        }
        empty.sort_unstable_by_key(|(alert, _)| *alert);
        for (alert, reason) in empty {
            self.storms.forget_alert(alert);
            self.resolve(alert, None, reason, now_us, changes);
        }
    }

    /// What no condition fires any more: its rule or device is gone, or the state was lost.
    fn end_orphans(&mut self, firing: &HashSet<AlertId>, now_us: i64, changes: &mut Vec<Change>) {
        let orphan = |alert: &&Arc<Alert>| alert.device.is_some() && !firing.contains(&alert.id);
        let mut orphans: Vec<Arc<Alert>> = self.open.values().filter(orphan).cloned().collect();
        let lone = |alert: &&Arc<Alert>| alert.device.is_none() && !self.by_id.contains_key(&alert.rule);
        orphans.extend(self.open.values().filter(lone).cloned());
        orphans.sort_unstable_by_key(|alert| alert.id);
        for alert in orphans {
            let reason = match alert.device {
                _ if !self.by_id.contains_key(&alert.rule) => ResolvedReason::RuleDeleted,
                Some(key) if self.gone.contains(&key) => ResolvedReason::DeviceDeleted,
                _ => ResolvedReason::RuleChanged,
            };
            self.resolve(alert.id, None, reason, now_us, changes);
        }
    }

    /// The states of the devices of these changes, as they are now: what a commit with the changes has to hold. They stay among the
    /// changed ones until [`Engine::take_dirty`].
    pub fn states_of(&self, changes: &[Change]) -> Vec<DeviceState> {
        let mut keys: Vec<DeviceKey> = changes.iter().filter_map(|change| change.alert.device).collect();
        keys.sort_unstable();
        keys.dedup();
        keys.into_iter().map(|key| (key, self.encode(key))).collect()
    }

    /// How many states changed since they were last taken.
    pub fn dirty(&self) -> usize {
        self.dirty.len() + self.gone.len()
    }

    /// Takes the devices whose states changed since the last call, deleted ones included: [`Engine::states`] has to be stored for
    /// each of them before a cursor as of now is.
    pub fn take_dirty(&mut self) -> Vec<DeviceKey> {
        let mut keys = std::mem::take(&mut self.gone);
        keys.append(&mut self.dirty);
        keys
    }

    /// The states of devices as they are now; None for one that is gone.
    pub fn states(&mut self, keys: &[DeviceKey]) -> Vec<DeviceState> {
        for key in keys {
            if let Some(watched) = self.devices.get_mut(key) {
                watched.dirty = false;
            }
        }
        keys.iter().map(|key| (*key, self.encode(*key))).collect()
    }

    pub(super) fn encode(&self, key: DeviceKey) -> Option<Vec<u8>> {
        self.encode_with(key, self.devices.get(&key)?.settled())
    }

    /// A device's state with its rules standing otherwise than they do.
    pub(super) fn encode_with(&self, key: DeviceKey, held: Vec<Held>) -> Option<Vec<u8>> {
        let watched = self.devices.get(&key)?;
        let id = |index: &u32| Some(self.slot_at(*index)?.rule.rule.id.to_string());
        let held = watched.watching.iter().zip(held);
        let held = held.filter_map(|(index, held)| Some((id(index)?, held))).collect();
        let stored = Stored { judged: watched.judged.0, watermark_us: watched.watermark_us, held };
        let mut bytes = vec![FORMAT];
        bytes.extend(wincode::serialize(&stored).ok()?);
        Some(bytes)
    }
}

fn decode(bytes: &[u8]) -> Result<Stored, String> {
    match bytes.split_first() {
        Some((&FORMAT, rest)) => wincode::deserialize_exact(rest).map_err(|error| error.to_string()),
        Some((format, _)) => Err(format!("format {format} is not known")),
        None => Err("it is empty".into()),
    }
}
