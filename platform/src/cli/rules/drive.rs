//! Rules over samples in virtual time: what arrives, what time alone does, and what people are told, each at its moment.

use super::series::sent;
use pulsewire_core::alert::{Compiled, Event, Freshness, Trial, TrialLimits, Values, follow, label_of, member_of};
use pulsewire_core::block::ValueRef;
use pulsewire_core::device::Device;
use pulsewire_core::ids::{AlertId, MetricName};
use pulsewire_core::notify::{Decision, Group, Member};
use pulsewire_core::severity::Severity;
use pulsewire_core::value::{Value, ValueType};
use std::collections::BTreeMap;

/// A value on its way to the rules.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample<'a> {
    /// Which of the devices.
    pub device: usize,
    pub metric: &'a MetricName,
    pub value_type: ValueType,
    pub value: &'a Value,
    pub time_us: i64,
    pub arrival_us: i64,
}

/// An alert that fires, or a condition that is on its way to one.
#[derive(Debug, Clone)]
pub(super) struct AlertNow<'a> {
    pub rule: &'a Compiled,
    pub device: &'a Device,
    pub alert: Option<AlertId>,
    /// `condition` or `no_data`.
    pub kind: &'static str,
    pub severity: Severity,
    /// When it fired; of a pending one, since when its condition holds.
    pub since_us: i64,
    pub recovering: bool,
    pub flapping: bool,
    pub stale: bool,
    /// When it is pending, it does not fire yet.
    pub pending: bool,
}

impl AlertNow<'_> {
    /// One of its labels; empty if it has none of this name.
    pub fn label(&self, name: &str) -> String {
        // A pending one has no id that could be asked for.
        let alert = self.alert.unwrap_or(AlertId(pulsewire_core::ulid::Ulid::from_bytes([0; 16])));
        label_of(self.rule, self.device, alert, self.severity, self.kind, name)
    }
}

/// A message.
#[derive(Debug, Clone)]
pub(super) struct Message<'a> {
    pub at_us: i64,
    pub rule: &'a Compiled,
    pub decision: Decision,
    /// Devices of the alerts it speaks of.
    pub devices: BTreeMap<AlertId, &'a Device>,
}

/// A rule on a device.
struct Pair<'a> {
    rule: usize,
    device: usize,
    trial: Trial<'a>,
    // How many events were looked at.
    seen: usize,
    open: BTreeMap<AlertId, AlertNow<'a>>,
}

struct Told<'a> {
    rule: &'a Compiled,
    group: Group,
    devices: BTreeMap<AlertId, &'a Device>,
}

/// See the module.
pub(super) struct Drive<'a> {
    rules: &'a [Compiled],
    devices: &'a [Device],
    // The next one last.
    samples: Vec<Sample<'a>>,
    pairs: Vec<Pair<'a>>,
    groups: BTreeMap<(usize, Vec<String>), Told<'a>>,
    // By rule and alert; an id is of one device, and so of one pair of a rule.
    members: BTreeMap<(usize, AlertId), (Vec<String>, Member)>,
    messages: Vec<Message<'a>>,
}

impl<'a> Drive<'a> {
    pub fn new(
        rules: &'a [Compiled],
        devices: &'a [Device],
        mut samples: Vec<Sample<'a>>,
        start_us: i64,
        limits: TrialLimits,
    ) -> Self {
        // Stable: what arrives at one time stays in the order of the file. The values of one time are one row.
        samples.sort_by_key(|sample| (sample.arrival_us, sample.device, sample.time_us));
        samples.reverse();
        let mut pairs = Vec::new();
        for (rule, compiled) in rules.iter().enumerate() {
            for (device, known) in devices.iter().enumerate().filter(|(_, device)| compiled.rule.scope.takes(device)) {
                let trial = Trial::new(compiled, known, start_us, limits);
                pairs.push(Pair { rule, device, trial, seen: 0, open: BTreeMap::new() });
            }
        }
        Self { rules, devices, samples, pairs, groups: BTreeMap::new(), members: BTreeMap::new(), messages: Vec::new() }
    }

    /// Goes on to a time: everything that arrives or is due by then has happened. At one moment samples come first, then what time
    /// does, then what is told.
    pub fn to(&mut self, until_us: i64) {
        loop {
            let arrival_us = self.samples.last().map_or(i64::MAX, |sample| sample.arrival_us);
            let due = self.pairs.iter().enumerate().filter_map(|(at, pair)| Some((pair.trial.due_us()?, at))).min();
            let due_us = due.map_or(i64::MAX, |(due_us, _)| due_us);
            let told = |((rule, key), told): (&(usize, Vec<String>), &Told<'a>)| {
                Some((told.group.due_us(&self.rules.get(*rule)?.rule.telling.policy)?, (*rule, key.clone())))
            };
            let telling = self.groups.iter().filter_map(told).min();
            let telling_us = telling.as_ref().map_or(i64::MAX, |(telling_us, _)| *telling_us);
            let next_us = arrival_us.min(due_us).min(telling_us);
            if next_us > until_us || next_us == i64::MAX {
                break;
            }
            if arrival_us == next_us {
                self.take_row();
            } else if let Some((due_us, at)) = due.filter(|(due_us, _)| *due_us == next_us) {
                self.pairs[at].trial.advance(due_us);
                self.note(at, due_us);
            } else if let Some((at_us, key)) = telling {
                self.tell(at_us, &key);
            }
        }
    }

    /// The values of one device that came at once with one time.
    fn take_row(&mut self) {
        let Some(first) = self.samples.last().copied() else { return };
        let same = |sample: &Sample<'_>| {
            let of = |s: &Sample<'_>| (s.arrival_us, s.device, s.time_us);
            of(sample) == of(&first)
        };
        let from = self.samples.iter().rposition(|sample| !same(sample)).map_or(0, |at| at + 1);
        let mut row = self.samples.split_off(from);
        row.reverse();
        for at in 0..self.pairs.len() {
            let pair = &mut self.pairs[at];
            if pair.device != first.device {
                continue;
            }
            let metrics = self.rules[pair.rule].program.metrics();
            let value = |sample: &Sample<'a>| {
                let input = metrics.iter().position(|metric| metric == sample.metric)?;
                let is_f32 = sample.value_type == ValueType::F32;
                Some((u16::try_from(input).ok()?, sent(sample.value, sample.value_type), is_f32))
            };
            let values: Vec<(u16, ValueRef<'_>, bool)> = row.iter().filter_map(value).collect();
            take(&mut pair.trial, &first, &values);
            self.note(at, first.arrival_us);
        }
    }

    /// What happened on a pair at a time by the server's clock.
    fn note(&mut self, at: usize, now_us: i64) {
        let pair = &mut self.pairs[at];
        let (rule, device) = (&self.rules[pair.rule], &self.devices[pair.device]);
        let policy = &rule.rule.telling.policy;
        for logged in pair.trial.findings().log.iter().skip(pair.seen) {
            let event = &logged.event;
            let alert = event.alert();
            pair.seen += 1;
            let begun = match event {
                Event::Fired { severity, at_us, .. } => Some((*severity, *at_us, "condition")),
                Event::NoData { severity, at_us, .. } => Some((*severity, *at_us, "no_data")),
                _ => None,
            };
            if let Some((severity, since_us, kind)) = begun {
                let label = |name: &String| label_of(rule, device, alert, severity, kind, name);
                let key: Vec<String> = rule.rule.telling.group_by.iter().map(label).collect();
                self.members.insert((pair.rule, alert), (key, member_of(alert, severity)));
                let quiet = AlertNow {
                    rule,
                    device,
                    alert: Some(alert),
                    kind,
                    severity,
                    since_us,
                    recovering: false,
                    flapping: false,
                    stale: false,
                    pending: false,
                };
                pair.open.insert(alert, quiet);
            }
            if let Some((key, member)) = self.members.get_mut(&(pair.rule, alert)) {
                follow(member, event);
                let told = self.groups.entry((pair.rule, key.clone())).or_insert_with(|| Told {
                    rule,
                    group: Group::default(),
                    devices: BTreeMap::new(),
                });
                told.devices.insert(alert, device);
                told.group.put(*member, now_us, policy);
                if !member.firing && !member.flapping {
                    self.members.remove(&(pair.rule, alert));
                }
            }
            let Some(open) = pair.open.get_mut(&alert) else { continue };
            match event {
                Event::Level { to, .. } => open.severity = *to,
                Event::Recovering { begins, .. } => open.recovering = *begins,
                Event::Silent { begins, .. } => open.stale = *begins,
                Event::Flapping { begins, .. } => open.flapping = *begins,
                Event::Resolved { .. } => drop(pair.open.remove(&alert)),
                Event::Fired { .. } | Event::NoData { .. } => {}
            }
        }
    }

    fn tell(&mut self, at_us: i64, key: &(usize, Vec<String>)) {
        let Some(told) = self.groups.get_mut(key) else { return };
        if let Some(decision) = told.group.decide(at_us, &told.rule.rule.telling.policy) {
            let devices = told.devices.clone();
            self.messages.push(Message { at_us, rule: told.rule, decision, devices });
        }
        let held: Vec<AlertId> = told.group.alerts().collect();
        told.devices.retain(|alert, _| held.contains(alert));
    }

    /// Alerts that fire, and conditions that hold but not for long enough, in the order of rules and devices.
    pub fn alerts(&self) -> Vec<AlertNow<'a>> {
        let mut alerts = Vec::new();
        for pair in &self.pairs {
            alerts.extend(pair.open.values().cloned());
            if let Some((severity, since_us)) =
                pair.trial.held().pending().filter(|_| pair.trial.held().alert().is_none())
            {
                alerts.push(AlertNow {
                    rule: &self.rules[pair.rule],
                    device: &self.devices[pair.device],
                    alert: None,
                    kind: "condition",
                    severity,
                    since_us,
                    recovering: false,
                    flapping: false,
                    stale: pair.trial.held().freshness() == Freshness::Stale,
                    pending: true,
                });
            }
        }
        alerts
    }

    /// The messages since this was asked for last.
    pub fn take_messages(&mut self) -> Vec<Message<'a>> {
        std::mem::take(&mut self.messages)
    }

    /// Some of what happened is missing.
    pub fn cut(&self) -> bool {
        self.pairs.iter().any(|pair| pair.trial.findings().cut)
    }
}

fn take(trial: &mut Trial<'_>, row: &Sample<'_>, values: Values<'_>) {
    if values.is_empty() {
        trial.other_sample(row.time_us, row.arrival_us);
    } else {
        trial.sample(row.time_us, row.arrival_us, values);
    }
}
