//! What happens to conditions becomes alerts that people see.

use super::{Change, Engine, Index, World};
use crate::alert::compiled::Compiled;
use crate::alert::held::Event;
use crate::alert::record::{Alert, AlertKind, AlertStep, AlertThreshold, ResolvedReason, StepKind, fired_text, short};
use crate::alert::template::Fields;
use crate::block::ValueRef;
use crate::device::Device;
use crate::ids::{AlertId, DeviceKey};
use crate::sample::Series;
use crate::severity::Severity;
use crate::value::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Engine {
    /// Makes alerts of the events of one device.
    pub(super) fn raise(&mut self, device: DeviceKey, world: &mut World<'_>, changes: &mut Vec<Change>) {
        let mut raised = std::mem::take(&mut self.raised);
        let mut renamed: Vec<(AlertId, AlertId)> = Vec::new();
        for (index, mut event, value) in raised.drain(..) {
            // In the order in which they fired; one that is opened again fires under the same id.
            let seen = match event {
                Event::Fired { alert, .. } => self.seen.iter().position(|(of, _)| *of == alert),
                _ => None,
            };
            let seen = seen.map(|at| self.seen.remove(at).1);
            self.rename(device, index, &mut event, &mut renamed, world);
            self.raise_one(device, index, (event, value, seen.as_deref()), world, changes);
        }
        self.seen.clear();
        // The room is used again.
        self.raised = raised;
    }

    /// An alert that is to be opened again and of which nothing is remembered, since the server was started anew or it ended too
    /// long ago, is a new one: the store knows the old one under a later revision.
    fn rename(
        &mut self,
        key: DeviceKey,
        index: Index,
        event: &mut Event,
        renamed: &mut Vec<(AlertId, AlertId)>,
        world: &mut World<'_>,
    ) {
        if let Event::Fired { alert, reopened: again @ true, .. } = event
            && self.storms.ended(*alert).is_none()
        {
            *again = false;
            let to = match renamed.iter().find(|(from, _)| from == alert) {
                Some((_, to)) => *to,
                None => (world.new_id)(),
            };
            if self.storms.ended(to).is_some() {
                *again = true;
            } else {
                renamed.push((*alert, to));
                if let Some(held) = self.held_mut(key, index) {
                    held.rename_alert(*alert, to);
                }
            }
        }
        let alert = event.alert_mut();
        if let Some((_, to)) = renamed.iter().rev().find(|(from, _)| from == alert) {
            *alert = *to;
        }
    }

    /// `index` is the rule's: an alert that began and ended at once is in no state any more that would tell.
    fn raise_one(
        &mut self,
        key: DeviceKey,
        index: Index,
        (event, value, seen): (Event, f64, Option<&[Option<Value>]>),
        world: &mut World<'_>,
        changes: &mut Vec<Change>,
    ) {
        let now_us = world.now_us;
        let Some(rule) = self.slot_at(index).map(|slot| slot.rule.clone()) else { return };
        match event {
            Event::Fired { alert, severity, since_us, at_us, reopened } => {
                if self.is_full(index) {
                    return self.fold(index, &rule, (alert, severity), world, changes);
                }
                let Some(device) = world.directory.by_key(key) else { return };
                let mut begun = begin(alert, &rule, severity, device, world, (since_us, at_us, value));
                fill_in(&mut begun, &rule, device, seen);
                let kind = if reopened { StepKind::Reopened } else { StepKind::Fired };
                self.begin(index, begun, kind, now_us, changes);
            }
            Event::NoData { alert, severity, since_us, at_us } => {
                if self.is_full(index) {
                    return self.fold(index, &rule, (alert, severity), world, changes);
                }
                let Some(device) = world.directory.by_key(key) else { return };
                let mut begun = begin(alert, &rule, severity, device, world, (since_us, at_us, value));
                begun.kind = AlertKind::NoData;
                begun.threshold = None;
                begun.condition = String::from("no data");
                let group = begun.group.clone();
                begun.parent = group.as_ref().and_then(|group| self.storms.group_alert(index, group));
                self.begin(index, begun, StepKind::Fired, now_us, changes);
                if let Some(group) = group {
                    self.group_silence(index, &rule, &group, alert, world, changes);
                }
            }
            Event::Level { alert, from: _, to, .. } => {
                let condition = condition_of(&rule, to);
                self.change(alert, now_us, changes, |alert| {
                    let was_recovering = std::mem::replace(&mut alert.recovering, false);
                    if alert.severity == to {
                        if !was_recovering {
                            return None;
                        }
                        alert.value = value;
                        let at = format!("{} {} {}", alert.metric, short(value), alert.unit);
                        return Some((StepKind::Relapsed, format!("it came back ({})", at.trim_end())));
                    }
                    let text = format!("{} → {} at {} {}", alert.severity.name(), to.name(), short(value), alert.unit);
                    alert.severity = to;
                    alert.severity_max = alert.severity_max.max(to);
                    alert.value = value;
                    if let Some((text, threshold)) = condition {
                        (alert.condition, alert.threshold) = (text, threshold);
                    }
                    Some((StepKind::Level, text.trim_end().to_owned()))
                });
            }
            Event::Recovering { alert, begins, .. } => self.change(alert, now_us, changes, |alert| {
                alert.recovering = begins;
                alert.value = value;
                let at = format!("{} {} {}", alert.metric, short(value), alert.unit);
                Some(match begins {
                    true => (
                        StepKind::Recovering,
                        format!("back to normal, waiting whether it stays so ({})", at.trim_end()),
                    ),
                    false => (StepKind::Relapsed, format!("it came back ({})", at.trim_end())),
                })
            }),
            Event::Silent { alert, begins, .. } => self.change(alert, now_us, changes, |alert| {
                alert.stale = begins;
                Some(match begins {
                    true => (StepKind::Stale, "the device went silent; what is shown is old".into()),
                    false => (StepKind::Fresh, "the device sends again".into()),
                })
            }),
            Event::Flapping { alert, begins, .. } => self.change(alert, now_us, changes, |alert| {
                alert.flapping = begins;
                Some(match begins {
                    true => (StepKind::Flapping, "it comes and goes; told once until it settles".into()),
                    false => (StepKind::Settled, "it does not come and go any more".into()),
                })
            }),
            Event::Resolved { alert, reason, at_us } => {
                self.resolve(alert, Some((at_us, value)), reason, now_us, changes)
            }
        }
    }

    pub(super) fn begin(
        &mut self,
        index: Index,
        mut alert: Alert,
        kind: StepKind,
        now_us: i64,
        changes: &mut Vec<Change>,
    ) {
        if kind == StepKind::Reopened
            && let Some(before) = self.storms.ended(alert.id)
        {
            // What people said of it is kept; that they took note of it is not: it is news.
            alert.revision = before.revision + 1;
            alert.reopened = before.reopened + 1;
            alert.assigned.clone_from(&before.assigned);
            alert.started_us = before.started_us;
            // Until when they do not want to hear of it is their word; until its end is over.
            alert.snoozed = before.snoozed.clone().filter(|snooze| snooze.until_us.is_some_and(|us| us > now_us));
        }
        if let Some(slot) = self.slots.get_mut(index as usize).and_then(Option::as_mut)
            && alert.device.is_some()
        {
            slot.open += 1;
        }
        let text = fired_text(&alert);
        let alert = Arc::new(alert);
        self.open.insert(alert.id, alert.clone());
        changes.push(Change { alert, step: AlertStep { time_us: now_us, kind, user: None, text } });
    }

    /// Changes an open alert; the step is None if nothing changed.
    pub(super) fn change(
        &mut self,
        id: AlertId,
        now_us: i64,
        changes: &mut Vec<Change>,
        act: impl FnOnce(&mut Alert) -> Option<(StepKind, String)>,
    ) {
        let Some(open) = self.open.get_mut(&id) else { return };
        let mut alert = (**open).clone();
        let Some((kind, text)) = act(&mut alert) else { return };
        alert.revision += 1;
        *open = Arc::new(alert);
        changes.push(Change { alert: open.clone(), step: AlertStep { time_us: now_us, kind, user: None, text } });
    }

    pub(super) fn resolve(
        &mut self,
        id: AlertId,
        sample: Option<(i64, f64)>,
        reason: ResolvedReason,
        now_us: i64,
        changes: &mut Vec<Change>,
    ) {
        let Some(open) = self.open.remove(&id) else { return self.unfold(id, reason, now_us, changes) };
        let (time_us, value) = sample.unwrap_or((now_us, open.value));
        // An edit ends it as of the newest sample, and silence is noticed after that.
        let time_us = time_us.max(open.fired_us);
        let before = (*open).clone();
        let alert = Alert {
            resolved: Some((time_us, reason)),
            value,
            recovering: false,
            flapping: false,
            stale: false,
            revision: before.revision + 1,
            ..before
        };
        let text = match reason {
            ResolvedReason::Cleared => format!("{} {} {}", alert.metric, short(value), alert.unit),
            reason => reason.text().to_owned(),
        };
        let alert = Arc::new(alert);
        self.closed(&alert, now_us, changes);
        let step =
            AlertStep { time_us: now_us, kind: StepKind::Resolved, user: None, text: text.trim_end().to_owned() };
        changes.push(Change { alert, step });
    }

    /// Books of an alert that is not open any more.
    pub(super) fn closed(&mut self, alert: &Arc<Alert>, now_us: i64, changes: &mut Vec<Change>) {
        if let Some(index) = self.by_id.get(&alert.rule).copied()
            && let Some(slot) = self.slots.get_mut(index as usize).and_then(Option::as_mut)
            && alert.device.is_some()
        {
            slot.open = slot.open.saturating_sub(1);
        }
        self.storms.remember(alert.clone());
        if let Some(parent) = alert.parent {
            self.leave_group(parent, now_us, changes);
        } else if let (AlertKind::NoData, Some(group), Some(index)) =
            (alert.kind, &alert.group, self.by_id.get(&alert.rule))
        {
            self.storms.not_silent(*index, group, alert.id);
        }
    }
}

/// The expression of a level, and the threshold that it is.
fn condition_of(rule: &Compiled, severity: Severity) -> Option<(String, Option<AlertThreshold>)> {
    let level = rule.rule.levels.iter().find(|level| level.severity == severity)?;
    let threshold = level.when.threshold().map(|(_, comparison, value)| AlertThreshold {
        comparison,
        value,
        clear: level.clear.as_ref().map_or(Some(value), |clear| clear.threshold().map(|(_, _, value)| value)),
    });
    Some((level.when.text().to_owned(), threshold))
}

fn begin(
    id: AlertId,
    rule: &Compiled,
    severity: Severity,
    device: &Device,
    world: &World<'_>,
    (since_us, at_us, value): (i64, i64, f64),
) -> Alert {
    let metrics = rule.program.metrics();
    let series: Option<&Arc<Series>> = metrics.first().and_then(|metric| world.catalogue.find(device.key, metric));
    let mut alert = bare(id, rule, severity, (since_us, at_us, value));
    alert.device = Some(device.key);
    alert.device_id = device.id.to_string();
    alert.device_name.clone_from(&device.name);
    alert.group.clone_from(&device.group);
    alert.unit = series.map_or_else(String::new, |series| series.unit.clone());
    alert.labels.insert("device".into(), device.id.to_string());
    if let Some(group) = &device.group {
        alert.labels.insert("group".into(), group.to_string());
    }
    if let Some(profile) = &device.profile {
        alert.labels.insert("profile".into(), profile.to_string());
    }
    for (key, tag) in &device.tags {
        alert.labels.insert(format!("tag.{key}"), tag.clone());
    }
    alert
}

/// An alert without a device.
pub(super) fn bare(
    id: AlertId,
    rule: &Compiled,
    severity: Severity,
    (since_us, at_us, value): (i64, i64, f64),
) -> Alert {
    let of = &rule.rule;
    let (condition, threshold) = condition_of(rule, severity).unwrap_or_default();
    let mut labels: BTreeMap<String, String> = of.labels.clone();
    labels.insert("rule".into(), of.id.to_string());
    labels.insert("alert".into(), id.to_string());
    // A rule that passed its checks looks at one metric at least.
    let metric = rule.program.metrics().first().cloned().unwrap_or_else(crate::ids::MetricName::none);
    labels.insert("metric".into(), metric.to_string());
    Alert {
        id,
        revision: 1,
        rule: of.id.clone(),
        rule_name: of.name.clone(),
        kind: AlertKind::Condition,
        device: None,
        device_id: String::new(),
        device_name: String::new(),
        group: None,
        metric,
        unit: String::new(),
        severity,
        severity_max: severity,
        condition,
        threshold,
        hold_us: match of.hold {
            crate::alert::Hold::For(hold_us) => hold_us,
            crate::alert::Hold::Count { .. } => 0,
        },
        value,
        text: String::new(),
        runbook: of.runbook.clone(),
        labels,
        started_us: since_us,
        fired_us: at_us,
        resolved: None,
        reopened: 0,
        stale: false,
        recovering: false,
        flapping: false,
        parent: None,
        members: 0,
        acknowledged: None,
        assigned: None,
        snoozed: None,
    }
}

/// Fills in the rule's message.
fn fill_in(alert: &mut Alert, rule: &Compiled, device: &Device, seen: Option<&[Option<Value>]>) {
    let only = ValueRef::F64(alert.value);
    let values: Vec<Option<ValueRef<'_>>> = (0..rule.program.metrics().len())
        .map(|input| match seen {
            Some(seen) => seen.get(input)?.as_ref().map(ValueRef::from),
            None => (input == 0).then_some(only),
        })
        .collect();
    let fields = Fields {
        value: values.first().copied().flatten(),
        unit: &alert.unit,
        threshold: alert.threshold.map(|t| t.value),
        severity: alert.severity,
        rule: &alert.rule_name,
        device,
        labels: &alert.labels,
        metrics: &values,
        hold_us: alert.hold_us,
    };
    alert.text = rule.rule.message.render(&fields);
}
