//! All rules on all devices: samples, edits and deletions in; changed alerts out.

use super::record::{Acknowledgement, Alert, AlertStep, ResolvedReason, StepKind, fired_text, short};
use super::rule::{Limits, Rule};
use super::track::{Outcome, Phase, Track};
use crate::block::Block;
use crate::catalogue::Catalogue;
use crate::directory::Directory;
use crate::ids::{AlertId, DeviceKey, RuleId, SeriesKey, UserName};
use crate::value::ValueType;
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

/// A rule and where it stands on each device.
struct Slot {
    rule: Rule,
    tracks: HashMap<DeviceKey, Tracked>,
}

#[derive(Clone, Copy)]
struct Tracked {
    track: Track<AlertId>,
    // It is in the list of those that moved.
    moved: bool,
}

/// Where a rule stands in the list of rules.
type Index = usize;

/// The rules that look at a series, with their thresholds for its type.
type Looking = Arc<[(Index, Limits)]>;

/// What is known of a device that sends: which rules look at its series, and how far its time has come.
#[derive(Default)]
struct Sender {
    // Filled as samples come, emptied when rules or the device change. The type is part of it: a device may declare an f64 as
    // f32 from one session to the next.
    rules: HashMap<SeriesKey, (ValueType, Looking)>,
    watermark_us: Option<i64>,
    moved: bool,
}

/// See the module.
pub struct Engine {
    limits: EngineLimits,
    // In the order in which they came; the place of a deleted one stays empty until the next start.
    slots: Vec<Option<Slot>>,
    by_id: BTreeMap<RuleId, Index>,
    senders: HashMap<DeviceKey, Sender>,
    open: HashMap<AlertId, Arc<Alert>>,
    moved: Vec<(Index, DeviceKey)>,
    gone: Vec<(RuleId, DeviceKey)>,
    moved_watermarks: Vec<DeviceKey>,
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
            slots: Vec::new(),
            by_id: BTreeMap::new(),
            senders: HashMap::new(),
            open: open.into_iter().map(|alert| (alert.id, Arc::new(alert))).collect(),
            moved: Vec::new(),
            gone: Vec::new(),
            moved_watermarks: Vec::new(),
        };
        for rule in rules {
            engine.add(rule);
        }
        for (device, time_us) in watermarks {
            engine.senders.entry(device).or_default().watermark_us = Some(time_us);
        }
        for (rule, device, track) in tracks {
            if let Some(slot) = engine.by_id.get(&rule).and_then(|index| engine.slots[*index].as_mut()) {
                slot.tracks.insert(device, Tracked { track, moved: false });
            }
        }
        let mut changes = Vec::new();
        for index in 0..engine.slots.len() {
            engine.reconsider(index, world, &mut changes);
        }
        // What no track fires any more: its rule is gone, or looks at another metric now.
        let firing: HashSet<AlertId> = engine.rules_and_tracks().filter_map(|(_, _, track)| alert_of(track)).collect();
        let orphans = engine.open.values().filter(|alert| !firing.contains(&alert.id));
        let orphans: Vec<_> = orphans.map(|alert| (alert.id, engine.by_id.contains_key(&alert.rule))).collect();
        for (id, changed) in orphans {
            let reason = if changed { ResolvedReason::RuleChanged } else { ResolvedReason::RuleDeleted };
            engine.resolve(id, None, reason, world.now_us, &mut changes);
        }
        (engine, changes)
    }

    fn add(&mut self, rule: Rule) -> Index {
        let index = self.slots.len();
        self.by_id.insert(rule.id.clone(), index);
        self.slots.push(Some(Slot { rule, tracks: HashMap::new() }));
        index
    }

    fn slot(&self, id: &RuleId) -> Option<&Slot> {
        self.slots[*self.by_id.get(id)?].as_ref()
    }

    fn rules_and_tracks(&self) -> impl Iterator<Item = (Index, DeviceKey, &Track<AlertId>)> {
        let slots = self.slots.iter().enumerate().filter_map(|(index, slot)| Some((index, slot.as_ref()?)));
        slots.flat_map(|(index, slot)| slot.tracks.iter().map(move |(device, t)| (index, *device, &t.track)))
    }

    /// The rules, by id.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.by_id.values().filter_map(|index| Some(&self.slots[*index].as_ref()?.rule))
    }

    /// A rule.
    pub fn rule(&self, id: &RuleId) -> Option<&Rule> {
        self.slot(id).map(|slot| &slot.rule)
    }

    /// How many alerts of a rule fire.
    pub fn firing(&self, id: &RuleId) -> usize {
        self.slot(id).map_or(0, |slot| slot.tracks.values().filter_map(|t| alert_of(&t.track)).count())
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
        let gone = std::mem::take(&mut self.gone).into_iter().map(|(rule, device)| (rule, device, None));
        let mut tracks: Vec<_> = gone.collect();
        for (index, device) in std::mem::take(&mut self.moved) {
            // One that moved and went since is among the gone.
            let Some(slot) = self.slots[index].as_mut() else { continue };
            let Some(tracked) = slot.tracks.get_mut(&device) else { continue };
            tracked.moved = false;
            tracks.push((slot.rule.id.clone(), device, Some(tracked.track)));
        }
        let mut watermarks = Vec::new();
        for device in std::mem::take(&mut self.moved_watermarks) {
            if let Some(sender) = self.senders.get_mut(&device) {
                sender.moved = false;
                watermarks.extend(sender.watermark_us.map(|time_us| (device, time_us)));
            }
        }
        Dirty { tracks, watermarks }
    }

    /// What was taken could not be stored: it is taken again next time, as it is then.
    pub fn put_back(&mut self, dirty: Dirty) {
        for (rule, device, track) in dirty.tracks {
            match (track, self.by_id.get(&rule)) {
                (Some(_), Some(index)) => self.touch(*index, device),
                (None, _) => self.gone.push((rule, device)),
                // The rule is deleted, and its tracks with it.
                (Some(_), None) => {}
            }
        }
        for (device, _) in dirty.watermarks {
            if let Some(sender) = self.senders.get_mut(&device).filter(|sender| !sender.moved) {
                sender.moved = true;
                self.moved_watermarks.push(device);
            }
        }
    }

    fn touch(&mut self, index: Index, device: DeviceKey) {
        let tracked = self.slots[index].as_mut().and_then(|slot| slot.tracks.get_mut(&device));
        if let Some(tracked) = tracked.filter(|tracked| !tracked.moved) {
            tracked.moved = true;
            self.moved.push((index, device));
        }
    }

    /// Judges what devices sent, in the order in which it was stored. Backfill is never judged.
    pub fn apply(
        &mut self,
        received_us: i64,
        blocks: &[Block],
        world: &mut World<'_>,
        changes: &mut Vec<Change>,
    ) -> Judged {
        let mut judged = Judged::default();
        if self.by_id.is_empty() {
            return judged;
        }
        let mut looking = Vec::new();
        for block in blocks.iter().filter(|block| block.live_rows().next().is_some()) {
            let device = block.device();
            looking.clear();
            looking.extend(block.set.series.iter().map(|series| self.rules_of(device, *series, world)));
            if looking.iter().any(|rules: &Looking| !rules.is_empty()) {
                self.apply_block(received_us, block, &looking, world, changes, &mut judged);
            }
        }
        judged
    }

    fn apply_block(
        &mut self,
        received_us: i64,
        block: &Block,
        looking: &[Looking],
        world: &mut World<'_>,
        changes: &mut Vec<Change>,
        judged: &mut Judged,
    ) {
        let (device, latest_us) = (block.device(), received_us.saturating_add(self.limits.ahead_max_us));
        for row in block.live_rows() {
            let time_us = row.time_us().min(latest_us);
            let mut row_is_late = None;
            for (column, value) in row.columns() {
                let rules = &looking[column];
                let Some(value) = value.as_f64().filter(|_| !rules.is_empty()) else { continue };
                judged.samples += 1;
                // All values of a row have its time.
                let mut late = *row_is_late.get_or_insert_with(|| self.advance(device, time_us));
                let rules = if late { &[] } else { &**rules };
                for (index, limits) in rules {
                    let series = block.set.series[column];
                    late |= self.judge(*index, limits, device, series, (time_us, value), world, changes);
                }
                judged.late += u64::from(late);
            }
        }
    }

    /// Moves a device's time on; true if the time is too far behind it.
    fn advance(&mut self, device: DeviceKey, time_us: i64) -> bool {
        let sender = self.senders.entry(device).or_default();
        let newest = sender.watermark_us.unwrap_or(i64::MIN);
        if time_us > newest {
            sender.watermark_us = Some(time_us);
            if !sender.moved {
                sender.moved = true;
                self.moved_watermarks.push(device);
            }
        }
        time_us < newest.saturating_sub(self.limits.lateness_max_us)
    }

    fn rules_of(&mut self, device: DeviceKey, series: SeriesKey, world: &World<'_>) -> Looking {
        let declared = world.catalogue.get(series);
        let cached = self.senders.get(&device).and_then(|sender| sender.rules.get(&series));
        if let (Some(declared), Some((value_type, rules))) = (declared, cached)
            && declared.value_type == *value_type
        {
            return rules.clone();
        }
        let found = declared.and_then(|s| Some((s, world.directory.by_key(s.device)?)));
        // A series that the catalogue does not have yet is looked for again.
        let Some((series, of)) = found else { return Arc::from([]) };
        let looks = |rule: &Rule| rule.enabled && rule.metric == series.metric && rule.scope.takes(of);
        let slots = self.slots.iter().enumerate().filter_map(|(index, slot)| Some((index, &slot.as_ref()?.rule)));
        let rules = slots.filter(|(_, rule)| looks(rule)).map(|(index, rule)| (index, rule.limits(series.value_type)));
        let rules: Looking = rules.collect();
        let entry = (series.value_type, rules.clone());
        self.senders.entry(device).or_default().rules.insert(series.key, entry);
        rules
    }

    /// True if the sample was late for this rule.
    #[allow(clippy::too_many_arguments)] // one step of `apply`
    fn judge(
        &mut self,
        index: Index,
        limits: &Limits,
        device: DeviceKey,
        series: SeriesKey,
        sample: (i64, f64),
        world: &mut World<'_>,
        changes: &mut Vec<Change>,
    ) -> bool {
        let Some(slot) = self.slots[index].as_mut() else { return false };
        let fresh = || Tracked { track: Track::default(), moved: false };
        let tracked = slot.tracks.entry(device).or_insert_with(fresh);
        let outcome = tracked.track.sample(limits, self.limits.gap_max_us, sample.0, sample.1);
        if outcome == Outcome::Late {
            return true;
        }
        if !tracked.moved {
            tracked.moved = true;
            self.moved.push((index, device));
        }
        match outcome {
            Outcome::Nothing | Outcome::Late => {}
            Outcome::Fire { started_us } => {
                let known = world.catalogue.get(series).zip(world.directory.by_key(device));
                if let Some((series, of)) = known {
                    let id = (world.new_id)();
                    tracked.track.fired(id);
                    let alert = Alert::begin(id, &slot.rule, of, series, started_us, sample);
                    self.begin(alert, world.now_us, changes);
                }
            }
            Outcome::Resolve(id) => {
                self.resolve(id, Some(sample), ResolvedReason::Cleared, world.now_us, changes);
            }
        }
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
        let step = AlertStep { time_us: now_us, kind: StepKind::Resolved, user: None, text };
        changes.push(Change { alert: Arc::new(alert), step });
    }

    fn forget_lookups(&mut self) {
        self.senders.values_mut().for_each(|sender| sender.rules.clear());
    }

    /// Takes a new or edited rule.
    pub fn put_rule(&mut self, rule: Rule, world: &mut World<'_>, changes: &mut Vec<Change>) {
        self.forget_lookups();
        let known = self.by_id.get(&rule.id).copied();
        let index = match known.and_then(|index| Some((index, self.slots[index].as_mut()?))) {
            Some((index, slot)) => {
                let other_metric = slot.rule.metric != rule.metric;
                slot.rule = rule;
                if other_metric {
                    // What is known of the devices is of another metric.
                    self.drop_tracks(index, ResolvedReason::RuleChanged, world.now_us, changes, |_| true);
                }
                index
            }
            None => self.add(rule),
        };
        self.reconsider(index, world, changes);
    }

    /// Forgets a rule; its alerts end. Its tracks are deleted with it in the store.
    pub fn delete_rule(&mut self, id: &RuleId, now_us: i64, changes: &mut Vec<Change>) {
        let Some(index) = self.by_id.get(id).copied() else { return };
        self.forget_lookups();
        self.drop_tracks(index, ResolvedReason::RuleDeleted, now_us, changes, |_| true);
        self.by_id.remove(id);
        self.slots[index] = None;
    }

    /// A device was made, edited or deleted: rules may look at it now, or not any more.
    pub fn device_changed(&mut self, device: DeviceKey, world: &mut World<'_>, changes: &mut Vec<Change>) {
        for index in 0..self.slots.len() {
            self.leave_scope(index, Some(device), world, changes);
        }
        match world.directory.by_key(device) {
            Some(_) => self.senders.entry(device).or_default().rules.clear(),
            None => drop(self.senders.remove(&device)),
        }
    }

    /// Which devices changed is not known: looks at all.
    pub fn devices_changed(&mut self, world: &mut World<'_>, changes: &mut Vec<Change>) {
        self.forget_lookups();
        for index in 0..self.slots.len() {
            self.leave_scope(index, None, world, changes);
        }
        self.senders.retain(|device, _| world.directory.by_key(*device).is_some());
    }

    /// Ends what a rule does not look at any more, of one device or of all.
    fn leave_scope(&mut self, index: Index, only: Option<DeviceKey>, world: &World<'_>, changes: &mut Vec<Change>) {
        let Some(slot) = self.slots[index].as_ref() else { return };
        let (mut left, mut deleted) = (HashSet::new(), HashSet::new());
        let one = only.filter(|device| slot.tracks.contains_key(device)).into_iter();
        let all = slot.tracks.keys().copied().filter(|_| only.is_none());
        for key in one.chain(all) {
            match world.directory.by_key(key) {
                None => deleted.insert(key),
                Some(device) => !slot.rule.scope.takes(device) && left.insert(key),
            };
        }
        if !deleted.is_empty() {
            self.drop_tracks(index, ResolvedReason::DeviceDeleted, world.now_us, changes, |d| deleted.contains(&d));
        }
        if !left.is_empty() {
            self.drop_tracks(index, ResolvedReason::ScopeChanged, world.now_us, changes, |d| left.contains(&d));
        }
    }

    fn drop_tracks(
        &mut self,
        index: Index,
        reason: ResolvedReason,
        now_us: i64,
        changes: &mut Vec<Change>,
        goes: impl Fn(DeviceKey) -> bool,
    ) {
        let Some(slot) = self.slots[index].as_mut() else { return };
        let going: Vec<(DeviceKey, Tracked)> = slot.tracks.extract_if(|device, _| goes(*device)).collect();
        let id = slot.rule.id.clone();
        for (device, tracked) in going {
            self.gone.push((id.clone(), device));
            if let Some(alert) = alert_of(&tracked.track) {
                self.resolve(alert, None, reason, now_us, changes);
            }
        }
    }

    /// Judges what is known of the devices by the rule as it is now.
    fn reconsider(&mut self, index: Index, world: &mut World<'_>, changes: &mut Vec<Change>) {
        self.leave_scope(index, None, world, changes);
        let Some(slot) = self.slots[index].as_mut() else { return };
        if !slot.rule.enabled {
            self.drop_tracks(index, ResolvedReason::RuleDisabled, world.now_us, changes, |_| true);
            return;
        }
        let (mut begun, mut ended, mut moved) = (Vec::new(), Vec::new(), Vec::new());
        for (device, tracked) in &mut slot.tracks {
            let known = world.directory.by_key(*device).zip(world.catalogue.find(*device, &slot.rule.metric));
            let Some((of, series)) = known else { continue };
            let track = &mut tracked.track;
            let before = *track;
            match track.reconsider(&slot.rule.limits(series.value_type)) {
                Outcome::Fire { started_us } => {
                    let alert_id = (world.new_id)();
                    track.fired(alert_id);
                    let sample = (track.last_us, track.value);
                    begun.push(Alert::begin(alert_id, &slot.rule, of, series, started_us, sample));
                }
                Outcome::Resolve(alert) => ended.push((alert, (track.last_us, track.value))),
                Outcome::Nothing | Outcome::Late => {}
            }
            if *track != before {
                moved.push(*device);
            }
        }
        moved.into_iter().for_each(|device| self.touch(index, device));
        for alert in begun {
            self.begin(alert, world.now_us, changes);
        }
        for (alert, sample) in ended {
            self.resolve(alert, Some(sample), ResolvedReason::RuleChanged, world.now_us, changes);
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

    /// The change by which someone ends an alert, with the track that stays quiet until the trouble was over. The caller stores
    /// both and then calls [`Engine::changed`].
    pub fn resolve_by_hand(&self, id: AlertId, user: &UserName, now_us: i64) -> Option<(Change, Muted)> {
        let open = self.open.get(&id)?;
        let (device, index) = (open.device, *self.by_id.get(&open.rule)?);
        let mut track = self.slots[index].as_ref()?.tracks.get(&device)?.track;
        track.resolved_by_hand();
        let resolved = Some((now_us, ResolvedReason::ByHand));
        let alert = Alert { resolved, revision: open.revision + 1, ..(**open).clone() };
        let (kind, text) = (StepKind::Resolved, format!("resolved by {user}"));
        let step = AlertStep { time_us: now_us, kind, user: Some(user.clone()), text };
        Some((Change { alert: Arc::new(alert), step }, (open.rule.clone(), device, track)))
    }

    /// A change made by [`Engine::acknowledge`] or [`Engine::resolve_by_hand`] is stored.
    pub fn changed(&mut self, change: &Change) {
        let alert = &change.alert;
        if alert.is_open() {
            self.open.insert(alert.id, alert.clone());
            return;
        }
        self.open.remove(&alert.id);
        let slot = self.by_id.get(&alert.rule).and_then(|index| self.slots[*index].as_mut());
        let tracked = slot.and_then(|slot| slot.tracks.get_mut(&alert.device));
        if let Some(tracked) = tracked.filter(|tracked| alert_of(&tracked.track) == Some(alert.id)) {
            tracked.track.resolved_by_hand();
        }
    }
}

/// The track of an alert that was resolved by hand.
pub type Muted = (RuleId, DeviceKey, Track<AlertId>);

fn alert_of(track: &Track<AlertId>) -> Option<AlertId> {
    match track.phase {
        Phase::Firing { alert } => Some(alert),
        _ => None,
    }
}
