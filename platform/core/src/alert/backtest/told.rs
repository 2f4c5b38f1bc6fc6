//! What people would have been told of the alerts of a rule.

use super::{Change, Person, day_of};
use crate::alert::compiled::Compiled;
use crate::alert::held::Event;
use crate::device::Device;
use crate::ids::{AlertId, UserName};
use crate::notify::{Decision, Group, Member, Recipients};
use crate::severity::Severity;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Messages that are worked out. Above it none is, and [`Told::cut`] says so: a rule that fires for years on thousands of devices
/// and repeats each minute.
const DECISIONS_MAX: u64 = 1_000_000;

/// What one person is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonTold {
    /// Who.
    pub user: UserName,
    /// How many messages.
    pub total: u64,
}

/// What people are told. Silences, presence and preferences are not considered; nor is that many alerts at once are folded
/// into one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// Messages, each counted once for each person.
    pub total: u64,
    /// Messages, however many people each goes to.
    pub messages: u64,
    /// Everyone who is told anything, who is told most first.
    pub per_person: Vec<PersonTold>,
    /// There were more changes or messages than are worked out: the numbers are too low.
    pub cut: bool,
    pub(super) days: BTreeMap<i64, u64>,
}

struct Telling<'a> {
    rule: &'a Compiled,
    people: &'a [Person],
    groups: Vec<Group>,
    // Which group is due when.
    due: BTreeSet<(i64, usize)>,
    due_of: Vec<Option<i64>>,
    per_person: Vec<u64>,
    decisions: u64,
    told: Told,
}

/// `changes` are in the order of time.
pub(super) fn tell(
    rule: &Compiled,
    devices: &[Arc<Device>],
    changes: &[Change],
    people: &[Person],
    to_us: i64,
) -> Told {
    let mut telling = Telling {
        rule,
        people,
        groups: Vec::new(),
        due: BTreeSet::new(),
        due_of: Vec::new(),
        per_person: vec![0; people.len()],
        decisions: 0,
        told: Told::default(),
    };
    let mut places: BTreeMap<Vec<String>, usize> = BTreeMap::new();
    let mut members: HashMap<AlertId, (usize, Member)> = HashMap::new();
    for change in changes {
        telling.decide_until(change.at_us.saturating_sub(1));
        let Some(device) = devices.get(change.device as usize) else { continue };
        let begun = match change.event {
            Event::Fired { alert, severity, .. } => Some((alert, severity, "condition")),
            Event::NoData { alert, severity, .. } => Some((alert, severity, "no_data")),
            _ => None,
        };
        if let Some((alert, severity, kind)) = begun {
            let known = members.get(&alert).map(|(place, _)| *place);
            let place = known.unwrap_or_else(|| {
                let label = |name: &String| label_of(rule, device, alert, severity, kind, name);
                let key: Vec<String> = rule.rule.telling.group_by.iter().map(label).collect();
                *places.entry(key).or_insert_with(|| telling.new_group())
            });
            members.insert(alert, (place, member_of(alert, severity)));
        }
        let alert = change.event.alert();
        let Some((place, member)) = members.get_mut(&alert) else { continue };
        follow(member, &change.event);
        let (place, member) = (*place, *member);
        telling.put(place, member, change.at_us);
        // An ended alert may still be reopened, under the same id; that brings all of it again.
        if !member.firing && !member.flapping {
            members.remove(&alert);
        }
    }
    telling.decide_until(to_us);
    telling.result()
}

/// An alert as it begins, for its group.
pub fn member_of(alert: AlertId, severity: Severity) -> Member {
    Member { alert, severity, firing: true, acknowledged_us: None, mute: None, stale: false, flapping: false }
}

/// What an event makes of an alert in its group.
pub fn follow(member: &mut Member, event: &Event) {
    match event {
        Event::Fired { .. } | Event::NoData { .. } | Event::Recovering { .. } => {}
        Event::Level { to, .. } => member.severity = *to,
        Event::Silent { begins, .. } => member.stale = *begins,
        Event::Flapping { begins, .. } => member.flapping = *begins,
        Event::Resolved { .. } => (member.firing, member.flapping, member.stale) = (false, false, false),
    }
}

/// A label of an alert as it begins; empty if it has none of this name. `kind` is `condition` or `no_data`.
pub fn label_of(
    rule: &Compiled,
    device: &Device,
    alert: AlertId,
    severity: Severity,
    kind: &str,
    name: &str,
) -> String {
    match name {
        "rule" => rule.rule.id.to_string(),
        "device" => device.id.to_string(),
        "group" => device.group.as_ref().map(ToString::to_string).unwrap_or_default(),
        "severity" => severity.name().to_owned(),
        "kind" => kind.to_owned(),
        "metric" => rule.program.metrics().first().map(ToString::to_string).unwrap_or_default(),
        "alert" => alert.to_string(),
        name => match name.strip_prefix("tag.") {
            Some(tag) => device.tags.get(tag).cloned().unwrap_or_default(),
            None => rule.rule.labels.get(name).cloned().unwrap_or_default(),
        },
    }
}

impl Telling<'_> {
    fn new_group(&mut self) -> usize {
        self.groups.push(Group::default());
        self.due_of.push(None);
        self.groups.len() - 1
    }

    fn put(&mut self, place: usize, member: Member, at_us: i64) {
        if let Some(group) = self.groups.get_mut(place) {
            group.put(member, at_us, &self.rule.rule.telling.policy);
        }
        self.arm(place);
    }

    fn arm(&mut self, place: usize) {
        let due_us = self.groups.get(place).and_then(|group| group.due_us(&self.rule.rule.telling.policy));
        let Some(armed) = self.due_of.get_mut(place) else { return };
        if let Some(before_us) = std::mem::replace(armed, due_us) {
            self.due.remove(&(before_us, place));
        }
        self.due.extend(due_us.map(|due_us| (due_us, place)));
    }

    /// Everything that is due up to a time, each at its moment.
    fn decide_until(&mut self, until_us: i64) {
        while let Some((due_us, place)) = self.due.first().copied().filter(|(due_us, _)| *due_us <= until_us) {
            if self.decisions >= DECISIONS_MAX {
                self.told.cut = true;
                return;
            }
            self.decisions += 1;
            let policy = &self.rule.rule.telling.policy;
            let decision = self.groups.get_mut(place).and_then(|group| group.decide(due_us, policy));
            if let Some(decision) = decision {
                self.count(due_us, &decision);
            }
            self.arm(place);
        }
    }

    fn count(&mut self, at_us: i64, decision: &Decision) {
        let to: Vec<&Recipients> = std::iter::once(&decision.to).chain(&decision.also_to).collect();
        self.told.messages += 1;
        for (person, total) in self.people.iter().zip(&mut self.per_person) {
            if to.iter().any(|recipients| takes(recipients, person)) {
                *total += 1;
                self.told.total += 1;
                *self.told.days.entry(day_of(at_us)).or_default() += 1;
            }
        }
    }

    fn result(self) -> Told {
        let per_person = self.people.iter().zip(self.per_person).filter(|(_, total)| *total > 0);
        let mut per_person: Vec<_> =
            per_person.map(|(person, total)| PersonTold { user: person.user.clone(), total }).collect();
        per_person.sort_by(|a, b| b.total.cmp(&a.total).then_with(|| a.user.cmp(&b.user)));
        Told { per_person, ..self.told }
    }
}

fn takes(recipients: &Recipients, person: &Person) -> bool {
    match recipients {
        Recipients::Everyone => true,
        Recipients::Users(users) => users.contains(&person.user),
        Recipients::Role(role) => person.role.allows(*role),
    }
}
