//! Rules and devices that come, change and go.

use super::watched::Watched;
use super::{Change, Engine, EngineLimits, Index, Slot, World, find_rules};
use crate::alert::compiled::Compiled;
use crate::alert::held::{Hand, Held};
use crate::alert::record::ResolvedReason;
use crate::alert::rule::{Rule, RuleError};
use crate::ids::{AlertId, DeviceKey, Position, RuleId};
use std::sync::Arc;

impl Engine {
    /// Without rules and devices. `resumed_us` is the time of the start.
    pub fn new(limits: EngineLimits, resumed_us: i64) -> Self {
        use foldhash::{HashMap, HashMapExt};
        Self {
            limits,
            slots: Vec::new(),
            by_id: std::collections::BTreeMap::new(),
            generation: 0,
            devices: HashMap::new(),
            shared: super::Shared::default(),
            wheel: super::Wheel::default(),
            open: HashMap::new(),
            storms: super::storms::Storms::new(),
            resumed_us,
            dirty: Vec::new(),
            gone: Vec::new(),
            events: Vec::new(),
            seen: Vec::new(),
            raised: Vec::new(),
            times: Vec::new(),
            records: 0,
        }
    }

    pub(super) fn add(&mut self, rule: Rule) -> Result<Index, RuleError> {
        let id = rule.id.clone();
        let compiled = Arc::new(Compiled::new(rule, self.limits.gap_max_us)?);
        let index = Index::try_from(self.slots.len()).unwrap_or(Index::MAX);
        self.slots.push(Some(Slot { rule: compiled, open: 0 }));
        self.by_id.insert(id, index);
        Ok(index)
    }

    fn rules_changed(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        self.shared.clear();
        self.storms.forget_sizes();
    }

    /// Adds a rule, or takes an edited one: what it held is judged by the rule as it is now. A new rule judges what comes from now
    /// on.
    ///
    /// # Errors
    /// As [`Compiled::new`]; nothing changed then.
    pub fn put_rule(&mut self, rule: Rule, world: &mut World<'_>, changes: &mut Vec<Change>) -> Result<(), RuleError> {
        let Some(index) = self.by_id.get(&rule.id).copied() else {
            self.add(rule)?;
            self.rules_changed();
            return Ok(());
        };
        let compiled = Arc::new(Compiled::new(rule, self.limits.gap_max_us)?);
        let keys: Vec<DeviceKey> = self.devices_watching(index);
        if self.slot_at(index).is_some_and(|slot| slot.rule.rule.lateness_us > 0) {
            // What waits is judged by the rule under which it came: which metric a sample is of is only known by that one.
            keys.iter().for_each(|key| self.with_held(*key, index, world, changes, Held::release_all));
        }
        if let Some(slot) = self.slots.get_mut(index as usize).and_then(Option::as_mut) {
            slot.rule = compiled;
        }
        self.rules_changed();
        for key in keys {
            self.look_again(key, ResolvedReason::ScopeChanged, world, changes);
            self.reconsider(key, index, world, changes);
        }
        Ok(())
    }

    /// The journal begins anew, and positions with it: how far devices were judged says nothing of the new one. Their states have to
    /// be stored again.
    pub fn positions_begin_anew(&mut self) {
        for (key, watched) in &mut self.devices {
            watched.judged = Position(0);
            if !std::mem::replace(&mut watched.dirty, true) {
                self.dirty.push(*key);
            }
        }
    }

    /// Deletes a rule; its alerts end.
    pub fn delete_rule(&mut self, id: &RuleId, now_us: i64, changes: &mut Vec<Change>) {
        let Some(index) = self.by_id.get(id).copied() else { return };
        let mut ending: Vec<AlertId> = self.open.values().filter(|a| a.rule == *id).map(|a| a.id).collect();
        ending.sort_unstable();
        self.storms.forget_rule(index);
        for alert in ending {
            self.resolve(alert, None, ResolvedReason::RuleDeleted, now_us, changes);
        }
        for key in self.devices_watching(index) {
            self.touch(key);
        }
        self.by_id.remove(id);
        if let Some(slot) = self.slots.get_mut(index as usize) {
            *slot = None;
        }
        self.rules_changed();
    }

    fn devices_watching(&self, index: Index) -> Vec<DeviceKey> {
        let mut keys: Vec<DeviceKey> =
            self.devices.iter().filter(|(_, w)| w.watching.contains(&index)).map(|(key, _)| *key).collect();
        keys.sort_unstable();
        keys
    }

    /// A device was made, edited or deleted: rules may look at it now, or not any more.
    pub fn device_changed(&mut self, key: DeviceKey, world: &mut World<'_>, changes: &mut Vec<Change>) {
        self.storms.forget_sizes();
        if world.directory.by_key(key).is_none() {
            return self.forget_device(key, world.now_us, changes);
        }
        if let Some(watched) = self.devices.get_mut(&key) {
            watched.generation = watched.generation.wrapping_sub(1);
            self.look_again(key, ResolvedReason::ScopeChanged, world, changes);
        }
    }

    /// Which devices changed is not known: looks at all.
    pub fn devices_changed(&mut self, world: &mut World<'_>, changes: &mut Vec<Change>) {
        self.storms.forget_sizes();
        self.rules_changed();
        let mut keys: Vec<DeviceKey> = self.devices.keys().copied().collect();
        keys.sort_unstable();
        for key in keys {
            if world.directory.by_key(key).is_none() {
                self.forget_device(key, world.now_us, changes);
            } else {
                self.look_again(key, ResolvedReason::ScopeChanged, world, changes);
            }
        }
    }

    fn forget_device(&mut self, key: DeviceKey, now_us: i64, changes: &mut Vec<Change>) {
        let Some(watched) = self.devices.remove(&key) else { return };
        for alert in alerts_of(&watched.held) {
            self.resolve(alert, None, ResolvedReason::DeviceDeleted, now_us, changes);
        }
        self.gone.push(key);
    }

    /// Finds the rules of a device anew and ends the alerts of those that look at it no more; those that were switched off say so.
    pub(super) fn look_again(
        &mut self,
        key: DeviceKey,
        reason: ResolvedReason,
        world: &mut World<'_>,
        changes: &mut Vec<Change>,
    ) {
        let Some(device) = world.directory.by_key(key) else { return };
        let Some(watched) = self.devices.get_mut(&key) else { return };
        let before = alerts_of(&watched.held);
        find_rules(&self.slots, &mut self.shared, self.generation, device, watched);
        let after = alerts_of(&watched.held);
        self.touch(key);
        for alert in before.into_iter().filter(|alert| !after.contains(alert)) {
            let rule = self.open.get(&alert).and_then(|open| self.rule(&open.rule));
            let reason = if rule.is_some_and(|rule| !rule.enabled) { ResolvedReason::RuleDisabled } else { reason };
            self.resolve(alert, None, reason, world.now_us, changes);
        }
    }

    /// Judges what is known of a device by a rule as it is now.
    pub(super) fn reconsider(
        &mut self,
        key: DeviceKey,
        index: Index,
        world: &mut World<'_>,
        changes: &mut Vec<Change>,
    ) {
        self.with_held(key, index, world, changes, Held::reconsider);
    }

    /// Does something with where a rule stands on a device, and what follows from it.
    fn with_held(
        &mut self,
        key: DeviceKey,
        index: Index,
        world: &mut World<'_>,
        changes: &mut Vec<Change>,
        act: impl FnOnce(&mut Held, &mut Hand<'_>),
    ) {
        let Some(device) = world.directory.by_key(key) else { return };
        let Some(slot) = self.slots.get(index as usize).and_then(Option::as_ref) else { return };
        let Some(watched) = self.devices.get_mut(&key) else { return };
        let Some(at) = watched.watching.iter().position(|i| *i == index) else { return };
        watched.unsettle();
        let Some(held) = watched.held.get_mut(at) else { return };
        let mut hand = Hand {
            rule: &slot.rule,
            device,
            new_id: world.new_id,
            resumed_us: self.resumed_us,
            seen: &mut self.seen,
            events: &mut self.events,
        };
        act(held, &mut hand);
        self.raised.extend(self.events.drain(..).map(|(event, value)| (index, event, value)));
        // A deadline may be nearer now.
        let deadline_us = held.deadline_us(&slot.rule, device, self.resumed_us).unwrap_or(i64::MAX);
        if deadline_us < watched.armed_us {
            watched.armed_us = self.wheel.arm(key, deadline_us);
        }
        self.touch(key);
        if !self.raised.is_empty() {
            self.raise(key, world, changes);
        }
    }

    /// A device's state has to be stored.
    pub(super) fn touch(&mut self, key: DeviceKey) {
        if let Some(watched) = self.devices.get_mut(&key).filter(|watched| !watched.dirty) {
            watched.dirty = true;
            self.dirty.push(key);
        }
    }

    pub(super) fn held_mut(&mut self, key: DeviceKey, index: Index) -> Option<&mut Held> {
        let watched: &mut Watched = self.devices.get_mut(&key)?;
        let at = watched.watching.iter().position(|i| *i == index)?;
        watched.unsettle();
        watched.held.get_mut(at)
    }
}

pub(super) fn alerts_of(held: &[Held]) -> Vec<AlertId> {
    held.iter().flat_map(|held| [held.alert(), held.silent_alert()]).flatten().collect()
}
