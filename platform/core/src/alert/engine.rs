//! All rules on all devices: samples, edits and deletions in; changed alerts out.

use super::record::{Acknowledgement, Alert, AlertStep, ResolvedReason, StepKind, fired_text, short};
use super::rule::Rule;
use super::track::{Outcome, Phase, Track};
use crate::catalogue::Catalogue;
use crate::device::Device;
use crate::directory::Directory;
use crate::ids::{AlertId, DeviceKey, RuleId, SeriesKey, UserName};
use crate::sample::{ReportKind, StoredReport};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// What the engine takes for late, early, and silence. Each is a key of `[alerting]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineLimits {
    /// After a longer silence `for` begins anew.
    pub gap_max_us: i64,
    /// A sample further behind its device's newest is late.
    pub lateness_max_us: i64,
    /// A sample further ahead of its arrival is judged as of its arrival.
    pub ahead_max_us: i64,
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
    /// Samples that a rule judged.
    pub samples: u64,
    /// Samples that were late.
    pub late: u64,
}

struct Slot {
    rule: Rule,
    tracks: HashMap<DeviceKey, Track<AlertId>>,
}

/// A track that moved, or went.
type Moved = (RuleId, DeviceKey);

/// See the module.
pub struct Engine {
    limits: EngineLimits,
    rules: BTreeMap<RuleId, Slot>,
    watermarks: HashMap<DeviceKey, i64>,
    open: HashMap<AlertId, Arc<Alert>>,
    // Which rules look at a series; filled as samples come, emptied when rules or devices change.
    lookup: HashMap<SeriesKey, Arc<[RuleId]>>,
    moved: HashSet<Moved>,
    moved_watermarks: HashSet<DeviceKey>,
}

/// Tracks and watermarks that moved since they were last taken. A track that is None went.
pub struct Dirty {
    /// Tracks.
    pub tracks: Vec<(RuleId, DeviceKey, Option<Track<AlertId>>)>,
    /// Watermarks.
    pub watermarks: Vec<(DeviceKey, i64)>,
}

impl Engine {
    /// Goes on from what was stored. The changes are those that a crash, or edits while nothing ran, left to be made: alerts
    /// whose rule or device is gone, and tracks that the rule as it is now judges differently.
    pub fn restore(
        limits: EngineLimits,
        rules: Vec<Rule>,
        tracks: Vec<(RuleId, DeviceKey, Track<AlertId>)>,
        watermarks: Vec<(DeviceKey, i64)>,
        open: Vec<Alert>,
        world: &mut World<'_>,
    ) -> (Self, Vec<Change>) {
        let mut engine = Self {
            limits,
            rules: rules.into_iter().map(|rule| (rule.id.clone(), Slot { rule, tracks: HashMap::new() })).collect(),
            watermarks: watermarks.into_iter().collect(),
            open: open.into_iter().map(|alert| (alert.id, Arc::new(alert))).collect(),
            lookup: HashMap::new(),
            moved: HashSet::new(),
            moved_watermarks: HashSet::new(),
        };
        for (rule, device, track) in tracks {
            if let Some(slot) = engine.rules.get_mut(&rule) {
                slot.tracks.insert(device, track);
            }
        }
        let mut changes = Vec::new();
        let ids: Vec<_> = engine.rules.keys().cloned().collect();
        for id in &ids {
            engine.reconsider(id, world, &mut changes);
        }
        // What no track fires any more: its rule is gone.
        let firing: HashSet<AlertId> =
            engine.rules.values().flat_map(|slot| slot.tracks.values()).filter_map(alert_of).collect();
        let orphans: Vec<AlertId> = engine.open.keys().filter(|id| !firing.contains(id)).copied().collect();
        for id in orphans {
            engine.resolve(id, None, ResolvedReason::RuleDeleted, None, world.now_us, &mut changes);
        }
        (engine, changes)
    }

    /// The rules, by id.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.values().map(|slot| &slot.rule)
    }

    /// A rule.
    pub fn rule(&self, id: &RuleId) -> Option<&Rule> {
        self.rules.get(id).map(|slot| &slot.rule)
    }

    /// How many alerts of a rule fire.
    pub fn firing(&self, id: &RuleId) -> usize {
        self.rules.get(id).map_or(0, |slot| slot.tracks.values().filter_map(alert_of).count())
    }

    /// An alert that fires.
    pub fn alert(&self, id: AlertId) -> Option<&Arc<Alert>> {
        self.open.get(&id)
    }

    /// How many alerts fire.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// Takes what moved since the last call.
    pub fn take_dirty(&mut self) -> Dirty {
        let moved = std::mem::take(&mut self.moved).into_iter();
        let tracks = moved.map(|(rule, device)| {
            let track = self.rules.get(&rule).and_then(|slot| slot.tracks.get(&device)).copied();
            (rule, device, track)
        });
        let tracks = tracks.collect();
        let watermarks = std::mem::take(&mut self.moved_watermarks).into_iter();
        let watermarks = watermarks.filter_map(|device| Some((device, *self.watermarks.get(&device)?))).collect();
        Dirty { tracks, watermarks }
    }

    /// What was taken could not be stored: it is taken again next time, as it is then.
    pub fn put_back(&mut self, dirty: Dirty) {
        self.moved.extend(dirty.tracks.into_iter().map(|(rule, device, _)| (rule, device)));
        self.moved_watermarks.extend(dirty.watermarks.into_iter().map(|(device, _)| device));
    }

    /// Judges what a device sent, in the order in which it was stored. Backfill is never judged.
    pub fn apply(
        &mut self,
        received_us: i64,
        reports: &[StoredReport],
        world: &mut World<'_>,
        changes: &mut Vec<Change>,
    ) -> Judged {
        let mut judged = Judged::default();
        if self.rules.is_empty() {
            return judged;
        }
        for report in reports.iter().filter(|r| r.kind == ReportKind::Live) {
            for row in &report.rows {
                let time_us = row.time_us.min(received_us.saturating_add(self.limits.ahead_max_us));
                for (series, value) in &row.values {
                    let rules = self.rules_of(*series, world);
                    let Some(value) = value.as_f64().filter(|_| !rules.is_empty()) else { continue };
                    judged.samples += 1;
                    let newest = self.watermarks.entry(report.device).or_insert(i64::MIN);
                    if time_us < newest.saturating_sub(self.limits.lateness_max_us) {
                        judged.late += 1;
                        continue;
                    }
                    if time_us > *newest {
                        *newest = time_us;
                        self.moved_watermarks.insert(report.device);
                    }
                    for rule in rules.iter() {
                        let late = self.judge(rule, report.device, *series, (time_us, value), world, changes);
                        judged.late += u64::from(late);
                    }
                }
            }
        }
        judged
    }

    fn rules_of(&mut self, series: SeriesKey, world: &World<'_>) -> Arc<[RuleId]> {
        if let Some(known) = self.lookup.get(&series) {
            return known.clone();
        }
        let found = world.catalogue.get(series).and_then(|s| Some((s, world.directory.by_key(s.device)?)));
        // A series that the catalogue does not have yet is looked for again.
        let Some((series, device)) = found else { return Arc::from([]) };
        let looks = |rule: &&Rule| rule.enabled && rule.metric == series.metric && rule.scope.takes(device);
        let rules: Arc<[RuleId]> = self.rules().filter(looks).map(|rule| rule.id.clone()).collect();
        self.lookup.insert(series.key, rules.clone());
        rules
    }

    fn judge(
        &mut self,
        rule: &RuleId,
        device: DeviceKey,
        series: SeriesKey,
        sample: (i64, f64),
        world: &mut World<'_>,
        changes: &mut Vec<Change>,
    ) -> bool {
        let Some(slot) = self.rules.get_mut(rule) else { return false };
        let track = slot.tracks.entry(device).or_default();
        match track.sample(&slot.rule, self.limits.gap_max_us, sample.0, sample.1) {
            Outcome::Late => return true,
            Outcome::Nothing => {}
            Outcome::Fire { started_us } => {
                let known = world.catalogue.get(series).cloned();
                let found = known.and_then(|s| Some((s, world.directory.by_key(device)?.clone())));
                if let Some((series, of)) = found {
                    let id = (world.new_id)();
                    track.fired(id);
                    let alert = Alert::begin(id, &slot.rule, &of, &series, started_us, sample);
                    self.begin(alert, world.now_us, changes);
                }
            }
            Outcome::Resolve(id) => {
                self.resolve(id, Some(sample), ResolvedReason::Cleared, None, world.now_us, changes);
            }
        }
        self.moved.insert((rule.clone(), device));
        false
    }

    fn begin(&mut self, alert: Alert, now_us: i64, changes: &mut Vec<Change>) {
        let alert = Arc::new(alert);
        let step = AlertStep { time_us: now_us, kind: StepKind::Fired, user: None, text: fired_text(&alert) };
        self.open.insert(alert.id, alert.clone());
        changes.push(Change { alert, step });
    }

    fn resolve(
        &mut self,
        id: AlertId,
        sample: Option<(i64, f64)>,
        reason: ResolvedReason,
        user: Option<UserName>,
        now_us: i64,
        changes: &mut Vec<Change>,
    ) {
        let Some(open) = self.open.remove(&id) else { return };
        let mut alert = Arc::unwrap_or_clone(open);
        let (time_us, value) = sample.unwrap_or((now_us, alert.value));
        alert.revision += 1;
        alert.value = value;
        alert.resolved = Some((time_us, reason));
        let mut text = reason.text().to_owned();
        if sample.is_some() {
            let unit = if alert.unit.is_empty() { String::new() } else { format!(" {}", alert.unit) };
            text = format!("{text}: {} {}{unit}", alert.metric, short(value));
        }
        let step = AlertStep { time_us: now_us, kind: StepKind::Resolved, user, text };
        changes.push(Change { alert: Arc::new(alert), step });
    }

    /// Takes a new or edited rule.
    pub fn put_rule(&mut self, rule: Rule, world: &mut World<'_>, changes: &mut Vec<Change>) {
        self.lookup.clear();
        let id = rule.id.clone();
        match self.rules.get_mut(&id) {
            Some(slot) => {
                let other_metric = slot.rule.metric != rule.metric;
                slot.rule = rule;
                if other_metric {
                    // What is known of the devices is of another metric.
                    self.drop_tracks(&id, ResolvedReason::RuleChanged, world.now_us, changes, |_| true);
                }
            }
            None => {
                self.rules.insert(id.clone(), Slot { rule, tracks: HashMap::new() });
            }
        }
        self.reconsider(&id, world, changes);
    }

    /// Forgets a rule; its alerts end. Its tracks are deleted with it in the store.
    pub fn delete_rule(&mut self, id: &RuleId, now_us: i64, changes: &mut Vec<Change>) {
        self.lookup.clear();
        self.drop_tracks(id, ResolvedReason::RuleDeleted, now_us, changes, |_| true);
        self.rules.remove(id);
    }

    /// Devices were made, edited or deleted: rules may look at others now.
    pub fn devices_changed(&mut self, world: &mut World<'_>, changes: &mut Vec<Change>) {
        self.lookup.clear();
        let ids: Vec<_> = self.rules.keys().cloned().collect();
        for id in &ids {
            self.leave_scope(id, world, changes);
        }
        let gone: Vec<_> = self.watermarks.keys().filter(|d| world.directory.by_key(**d).is_none()).copied().collect();
        for device in gone {
            self.watermarks.remove(&device);
        }
    }

    fn leave_scope(&mut self, id: &RuleId, world: &World<'_>, changes: &mut Vec<Change>) {
        let Some(slot) = self.rules.get(id) else { return };
        let takes = |device: &Device| slot.rule.scope.takes(device);
        let (mut left, mut deleted) = (HashSet::new(), HashSet::new());
        for key in slot.tracks.keys() {
            match world.directory.by_key(*key) {
                None => deleted.insert(*key),
                Some(device) => !takes(device) && left.insert(*key),
            };
        }
        self.drop_tracks(id, ResolvedReason::DeviceDeleted, world.now_us, changes, |d| deleted.contains(&d));
        self.drop_tracks(id, ResolvedReason::ScopeChanged, world.now_us, changes, |d| left.contains(&d));
    }

    fn drop_tracks(
        &mut self,
        id: &RuleId,
        reason: ResolvedReason,
        now_us: i64,
        changes: &mut Vec<Change>,
        goes: impl Fn(DeviceKey) -> bool,
    ) {
        let Some(slot) = self.rules.get_mut(id) else { return };
        let going: Vec<(DeviceKey, Track<AlertId>)> = slot.tracks.extract_if(|device, _| goes(*device)).collect();
        for (device, track) in going {
            self.moved.insert((id.clone(), device));
            if let Some(alert) = alert_of(&track) {
                self.resolve(alert, None, reason, None, now_us, changes);
            }
        }
    }

    /// Judges what is known of the devices by the rule as it is now.
    fn reconsider(&mut self, id: &RuleId, world: &mut World<'_>, changes: &mut Vec<Change>) {
        self.leave_scope(id, world, changes);
        let Some(slot) = self.rules.get_mut(id) else { return };
        if !slot.rule.enabled {
            self.drop_tracks(id, ResolvedReason::RuleDisabled, world.now_us, changes, |_| true);
            return;
        }
        let (mut begun, mut ended) = (Vec::new(), Vec::new());
        for (device, track) in &mut slot.tracks {
            let before = *track;
            match track.reconsider(&slot.rule) {
                Outcome::Fire { started_us } => {
                    let of = world.directory.by_key(*device);
                    let series = world.catalogue.find(*device, &slot.rule.metric);
                    if let (Some(of), Some(series)) = (of, series) {
                        let alert_id = (world.new_id)();
                        track.fired(alert_id);
                        let sample = (track.last_us, track.value);
                        begun.push(Alert::begin(alert_id, &slot.rule, of, series, started_us, sample));
                    }
                }
                Outcome::Resolve(alert) => ended.push((alert, (track.last_us, track.value))),
                Outcome::Nothing | Outcome::Late => {}
            }
            if *track != before {
                self.moved.insert((id.clone(), *device));
            }
        }
        for alert in begun {
            self.begin(alert, world.now_us, changes);
        }
        for (alert, sample) in ended {
            self.resolve(alert, Some(sample), ResolvedReason::RuleChanged, None, world.now_us, changes);
        }
    }

    /// The change by which someone takes note of an alert that fires, or takes that back. None if nothing changes. The caller
    /// stores it and then calls [`Engine::changed`].
    pub fn acknowledge(
        &self,
        id: AlertId,
        by: Option<Acknowledgement>,
        user: &UserName,
        now_us: i64,
    ) -> Option<Change> {
        let open = self.open.get(&id)?;
        if open.acknowledged.is_some() == by.is_some() {
            return None;
        }
        let (kind, text) = match by {
            Some(_) => (StepKind::Acknowledged, format!("acknowledged by {user}")),
            None => (StepKind::Unacknowledged, format!("acknowledgement taken back by {user}")),
        };
        let alert = Alert { acknowledged: by, revision: open.revision + 1, ..(**open).clone() };
        let step = AlertStep { time_us: now_us, kind, user: Some(user.clone()), text };
        Some(Change { alert: Arc::new(alert), step })
    }

    /// A change made by [`Engine::acknowledge`] is stored.
    pub fn changed(&mut self, change: &Change) {
        self.open.insert(change.alert.id, change.alert.clone());
    }

    /// Ends an alert by hand; it stays quiet until the trouble was over.
    pub fn resolve_by_hand(&mut self, id: AlertId, user: &UserName, now_us: i64, changes: &mut Vec<Change>) {
        for (rule, slot) in &mut self.rules {
            for (device, track) in slot.tracks.iter_mut().filter(|(_, track)| alert_of(track) == Some(id)) {
                track.resolved_by_hand();
                self.moved.insert((rule.clone(), *device));
            }
        }
        self.resolve(id, None, ResolvedReason::ByHand, Some(user.clone()), now_us, changes);
        if let Some(last) = changes.last_mut().filter(|c| c.alert.id == id) {
            last.step.text = format!("resolved by {user}");
        }
    }
}

fn alert_of(track: &Track<AlertId>) -> Option<AlertId> {
    match track.phase {
        Phase::Firing { alert } => Some(alert),
        _ => None,
    }
}
