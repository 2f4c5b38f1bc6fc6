//! Many alerts at once: those of a rule that are more than there may be become one, and so do the devices of a group that go
//! silent together.

use super::raise::bare;
use super::{Change, Engine, Index, World};
use crate::alert::compiled::Compiled;
use crate::alert::record::{Alert, AlertKind, ResolvedReason, StepKind};
use crate::device::Device;
use crate::ids::{AlertId, GroupName};
use crate::severity::Severity;
use foldhash::{HashMap, HashMapExt, HashSet};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Fewest devices that make a group's silence.
const GROUP_SILENCE_MIN: usize = 3;
/// Alerts that ended and may be opened again: the newest are remembered.
const ENDED_MAX: usize = 4096;

#[derive(Default)]
struct Silence {
    // When a device went silent, and its alert.
    recent: VecDeque<(i64, AlertId)>,
    // Those of `recent` that are silent still.
    live: HashSet<AlertId>,
    alert: Option<AlertId>,
}

/// See the module.
pub(super) struct Storms {
    // Alerts that are not shown by themselves, by the rule whose overflow alert stands for them.
    folded: HashMap<AlertId, Index>,
    overflow: BTreeMap<Index, AlertId>,
    silences: BTreeMap<(Index, GroupName), Silence>,
    // How many devices of a group a rule looks at; emptied when devices or rules change.
    sizes: BTreeMap<(Index, GroupName), usize>,
    ended: HashMap<AlertId, Arc<Alert>>,
    ended_order: VecDeque<AlertId>,
}

impl Storms {
    pub fn new() -> Self {
        Self {
            folded: HashMap::new(),
            overflow: BTreeMap::new(),
            silences: BTreeMap::new(),
            sizes: BTreeMap::new(),
            ended: HashMap::new(),
            ended_order: VecDeque::new(),
        }
    }

    /// Devices or rules changed.
    pub fn forget_sizes(&mut self) {
        self.sizes.clear();
    }

    /// The alert about a group's silence that is open.
    pub fn group_alert(&self, index: Index, group: &GroupName) -> Option<AlertId> {
        self.silences.get(&(index, group.clone()))?.alert
    }

    /// An alert that ended not long ago.
    pub fn ended(&self, id: AlertId) -> Option<&Arc<Alert>> {
        self.ended.get(&id)
    }

    pub fn remember(&mut self, alert: Arc<Alert>) {
        let id = alert.id;
        if self.ended.insert(id, alert).is_none() {
            self.ended_order.push_back(id);
        }
        while self.ended_order.len() > ENDED_MAX {
            if let Some(oldest) = self.ended_order.pop_front() {
                self.ended.remove(&oldest);
            }
        }
    }

    /// An alert that stood for others was ended by hand: the next one makes a new one.
    pub fn forget_alert(&mut self, id: AlertId) {
        // What was folded into it has no alert any more that would have to end.
        if let Some((index, _)) = self.overflow.iter().find(|(_, alert)| **alert == id).map(|(i, a)| (*i, *a)) {
            self.overflow.remove(&index);
            self.folded.retain(|_, of| *of != index);
        }
        for silence in self.silences.values_mut().filter(|silence| silence.alert == Some(id)) {
            silence.alert = None;
        }
    }

    /// How many alerts are folded into a rule's overflow alert.
    pub fn folded_of(&self, index: Index) -> u32 {
        u32::try_from(self.folded.values().filter(|of| **of == index).count()).unwrap_or(u32::MAX)
    }

    /// An alert of a device that was silent by itself ended.
    pub fn not_silent(&mut self, index: Index, group: &GroupName, alert: AlertId) {
        if let Some(silence) = self.silences.get_mut(&(index, group.clone())) {
            silence.live.remove(&alert);
        }
    }

    /// A rule is gone, and what was folded into its overflow alert with it.
    pub fn forget_rule(&mut self, index: Index) {
        self.folded.retain(|_, of| *of != index);
        self.overflow.remove(&index);
        self.silences.retain(|(of, _), _| *of != index);
    }

    /// An alert of the store that stands for others.
    pub fn restore(&mut self, index: Index, alert: &Alert) {
        match (alert.kind, &alert.group) {
            (AlertKind::Overflow, _) => drop(self.overflow.insert(index, alert.id)),
            (AlertKind::Group, Some(group)) => {
                self.silences.entry((index, group.clone())).or_default().alert = Some(alert.id);
            }
            _ => {}
        }
    }

    /// A condition fires whose alert is not in the store: it was folded. False if no overflow alert of its rule is open.
    pub fn restore_folded(&mut self, index: Index, alert: AlertId) -> bool {
        let known = self.overflow.contains_key(&index);
        if known {
            self.folded.insert(alert, index);
        }
        known
    }
}

impl Engine {
    /// A rule has as many open alerts as it may.
    pub(super) fn is_full(&self, index: Index) -> bool {
        self.slot_at(index).is_some_and(|slot| slot.open >= self.limits.alerts_per_rule_max)
    }

    /// Counts an alert into the rule's overflow alert instead of showing it. What is open already stays.
    pub(super) fn fold(
        &mut self,
        index: Index,
        rule: &Compiled,
        (alert, severity): (AlertId, Severity),
        world: &mut World<'_>,
        changes: &mut Vec<Change>,
    ) {
        self.storms.folded.insert(alert, index);
        let now_us = world.now_us;
        if let Some(overflow) = self.storms.overflow.get(&index).copied() {
            // All that it stands for are at least as bad as it says.
            self.change(overflow, now_us, changes, |alert| {
                let before = alert.severity;
                alert.severity = before.min(severity);
                let text = format!("{} → {}", before.name(), severity.name());
                (severity < before).then_some((StepKind::Level, text))
            });
            return self.count(overflow, 1, now_us, changes);
        }
        let mut begun = bare((world.new_id)(), rule, severity, (now_us, now_us, f64::NAN));
        begun.kind = AlertKind::Overflow;
        begun.members = 1;
        begun.device_name = "more devices".into();
        begun.text = format!(
            "the rule has {} open alerts, as many as alerting.alerts_per_rule_max allows; further ones are counted here",
            self.limits.alerts_per_rule_max
        );
        self.storms.overflow.insert(index, begun.id);
        self.begin(index, begun, StepKind::Fired, now_us, changes);
    }

    /// An alert that is not open ended: one that was folded.
    pub(super) fn unfold(&mut self, id: AlertId, reason: ResolvedReason, now_us: i64, changes: &mut Vec<Change>) {
        let Some(index) = self.storms.folded.remove(&id) else { return };
        let Some(overflow) = self.storms.overflow.get(&index).copied() else { return };
        if self.open.get(&overflow).is_some_and(|alert| alert.members > 1) {
            return self.count(overflow, -1, now_us, changes);
        }
        self.storms.overflow.remove(&index);
        self.resolve(overflow, None, reason, now_us, changes);
    }

    /// How many an alert stands for. Written down when the number has doubled or halved, or became one of few: a storm of
    /// thousands is not told in thousands of steps.
    fn count(&mut self, id: AlertId, by: i32, now_us: i64, changes: &mut Vec<Change>) {
        let Some(open) = self.open.get_mut(&id) else { return };
        let mut alert = (**open).clone();
        alert.members = alert.members.saturating_add_signed(by);
        let members = alert.members;
        let tell = members <= 4 || members.is_power_of_two();
        *open = Arc::new(alert);
        if tell {
            self.change(id, now_us, changes, |alert| Some((StepKind::Members, format!("{} devices", alert.members))));
        }
    }

    /// A device of a group went silent by rule `index`, under `alert`.
    pub(super) fn group_silence(
        &mut self,
        index: Index,
        rule: &Compiled,
        group: &GroupName,
        alert: AlertId,
        world: &mut World<'_>,
        changes: &mut Vec<Change>,
    ) {
        let now_us = world.now_us;
        let size = *self.storms.sizes.entry((index, group.clone())).or_insert_with(|| {
            let takes = |device: &Device| device.group.as_ref() == Some(group) && rule.rule.scope.takes(device);
            world.directory.after(None).filter(|device| takes(device)).count()
        });
        let silence = self.storms.silences.entry((index, group.clone())).or_default();
        if let Some(open) = silence.alert {
            return self.count(open, 1, now_us, changes);
        }
        silence.recent.push_back((now_us, alert));
        silence.live.insert(alert);
        let from_us = now_us.saturating_sub(self.limits.group_silence_window_us);
        // One that came back is not silent, and one that is silent again is not two.
        while let Some((time_us, oldest)) = silence.recent.front().copied()
            && (time_us < from_us || !silence.live.contains(&oldest))
        {
            silence.recent.pop_front();
            silence.live.remove(&oldest);
        }
        #[allow(clippy::cast_precision_loss)] // numbers of devices
        let enough = silence.live.len() as f64 >= self.limits.group_silence_share * size as f64;
        if !enough || silence.live.len() < GROUP_SILENCE_MIN {
            return;
        }
        let live = std::mem::take(&mut silence.live);
        let recent = std::mem::take(&mut silence.recent).into_iter().map(|(_, alert)| alert);
        let members: Vec<AlertId> = recent.filter(|alert| live.contains(alert)).collect();
        let Some(severity) = self.open.get(&alert).map(|alert| alert.severity) else { return };
        let mut begun = bare((world.new_id)(), rule, severity, (now_us, now_us, f64::NAN));
        begun.kind = AlertKind::Group;
        begun.group = Some(group.clone());
        begun.device_name = group.to_string();
        begun.condition = String::from("no data");
        begun.threshold = None;
        begun.labels.insert("group".into(), group.to_string());
        begun.members = u32::try_from(members.len()).unwrap_or(u32::MAX);
        begun.text = format!("{} of {size} devices went silent together: look at what they share", members.len());
        let parent = begun.id;
        silence.alert = Some(parent);
        self.begin(index, begun, StepKind::Fired, now_us, changes);
        for member in members {
            self.change(member, now_us, changes, |alert| {
                alert.parent = Some(parent);
                Some((StepKind::Members, String::from("many devices of its group are silent: told as one")))
            });
        }
    }

    /// A member of a group alert ended.
    pub(super) fn leave_group(&mut self, parent: AlertId, now_us: i64, changes: &mut Vec<Change>) {
        match self.open.get(&parent).map(|alert| alert.members) {
            Some(2..) => self.count(parent, -1, now_us, changes),
            Some(_) => {
                for silence in self.storms.silences.values_mut().filter(|s| s.alert == Some(parent)) {
                    silence.alert = None;
                }
                self.resolve(parent, None, ResolvedReason::DataBack, now_us, changes);
            }
            None => {}
        }
    }
}
