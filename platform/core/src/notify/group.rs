//! A group of alerts that people are told of together: when, of what, and why.
//!
//! The decision is Alertmanager's (`needsUpdate`): tell what fires if people do not know all of it, tell ends if they are
//! wanted, else tell again when the repeat interval is over. What is different, and why:
//!
//! * **Waiting.** Each change waits `wait_us` for others to come along, and `interval_us` lies between two messages.
//!   Alertmanager looks at a group once per interval, counted from its first alert, so a change there waits for a time that
//!   nobody can tell. A rise in level does not wait for the interval.
//! * **Repeats are exact**, not rounded up to the interval, and do not drift with the time that deciding takes.
//! * **The end of an alert that was told is told**, also if it was silenced, inhibited or acknowledged meanwhile
//!   (`resolved_when_quiet`). An alert that ends before it was told is never told.
//! * **Acknowledging** stops repeats and escalation of that alert, until it gets worse than it was then, or `ack_timeout_us` is
//!   over. Then it is told again at once.
//! * **The end of a silence or maintenance** tells what still fires, at once. The end of an inhibition tells only what people do
//!   not know: it comes and goes with another alert.
//! * **Flapping** is told once when it begins, then nothing of that alert until it ends; then the settled state.
//! * **Stale** alerts are told once per firing, if at all; data that return still bad tell nothing.
//! * **A deadline that passed while nobody decided** is met once, late, and marked.
//!
//! ## Storing
//! [`Group::decide`] changes the group as if its decision were carried out. So decide on a clone, store the clone together with
//! the decision in one transaction, and keep the clone only then: what could not be stored will be decided again.

use super::member::{Held, Member, Pending};
use super::policy::{GroupPolicy, Recipients};
use super::reason::{Decision, Reason, Suppressed};
use crate::ids::{AlertGroupId, AlertId};
use crate::ulid::Ulid;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Most alerts of a group, 66 bytes each in the store. One more is not held: the next message counts it as "more" when it begins
/// and when it gets worse, and it is held from its next change on if there is room by then. What is held is not dropped for it,
/// except ends that nobody is going to be told.
pub const MEMBERS_MAX: usize = 10_000;
/// Most alerts of which a group without room remembers that they fire: while one does, nobody is told that all are over. Further
/// ones are counted as "more" at each change, and do not keep people from being told that all are over.
pub const UNHELD_MAX: usize = 50_000;
/// A decision that is later than this, in µs, says so: 30 s is no hiccup any more.
pub const DELAYED_AFTER_US: i64 = 30_000_000;

/// The id of the group of alerts with these labels, in any order. The same labels give the same id, for ever.
pub fn group_id<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> AlertGroupId {
    let sorted: BTreeMap<&str, &str> = labels.into_iter().collect();
    let mut hash = Sha256::new();
    hash.update(b"pulsewire alert group 1");
    for text in sorted.iter().flat_map(|(label, value)| [label, value]) {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    }
    let mut id = [0; 16];
    id.copy_from_slice(&hash.finalize()[..16]);
    AlertGroupId(Ulid::from_bytes(id))
}

/// What names a decision of a group: the same for the same, whenever it is made.
pub fn decision_id(group: &[u8; 16], sequence: u64) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update(b"pulsewire decision 1");
    hash.update(group);
    hash.update(sequence.to_le_bytes());
    let mut id = [0; 16];
    id.copy_from_slice(&hash.finalize()[..16]);
    id
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Group {
    pub(super) members: BTreeMap<AlertId, Held>,
    pub(super) sequence: u64,
    /// When the last message went out; escalation does not count.
    pub(super) last_us: Option<i64>,
    /// From when the repeat interval counts.
    pub(super) repeat_from_us: i64,
    /// Changes of alerts for which there was no room since the last message, and when they may be told.
    pub(super) more: u32,
    pub(super) more_due_us: i64,
    /// Alerts that fire and for which there was no room; and how bad they were when they were counted into `more`, 0 = were not,
    /// else the severity + 1.
    pub(super) unheld: BTreeMap<AlertId, u8>,
}

enum Due {
    Message(i64),
    Escalation(i64),
}

impl Due {
    fn at_us(&self) -> i64 {
        match self {
            Self::Message(at) | Self::Escalation(at) => *at,
        }
    }
}

impl Group {
    /// How many alerts it holds.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// The alerts whose ends it waits for or has to tell: those it holds, and those that fire without room.
    pub fn alerts(&self) -> impl Iterator<Item = AlertId> + '_ {
        self.members.keys().chain(self.unheld.keys()).copied()
    }

    /// True if it waits for the end of an alert, or has to tell it: see [`alerts`](Self::alerts).
    pub fn speaks_of(&self, alert: AlertId) -> bool {
        self.members.contains_key(&alert) || self.unheld.contains_key(&alert)
    }

    /// True if it holds none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// True if nothing fires and everything was told: it can be forgotten, and a new group goes on as this one would.
    pub fn is_idle(&self) -> bool {
        self.members.is_empty() && self.more == 0 && self.unheld.is_empty()
    }

    /// Takes an alert as it stands now: whenever it begins, changes its level, is acknowledged or not any more, is silenced or
    /// inhibited or not any more, goes stale or returns, begins or ends to flap, reopens or ends. Taking the same twice changes
    /// nothing. Returns why nothing will be told because of it as things stand; None: something will.
    pub fn put(&mut self, member: Member, now_us: i64, policy: &GroupPolicy) -> Option<Suppressed> {
        if let Some(held) = self.members.get_mut(&member.alert) {
            held.put(member, now_us, policy);
        } else if !(member.firing || member.flapping) {
            self.unheld.remove(&member.alert);
            self.forget_if_all_is_over(now_us, policy);
            return Some(Suppressed::ResolvedBeforeWait);
        } else if !self.has_room(policy) {
            self.put_without_room(&member, now_us, policy);
            return Some(Suppressed::GroupFull);
        } else {
            self.unheld.remove(&member.alert);
            let mut held = Held::new(member, now_us);
            held.due_us = now_us.saturating_add(policy.wait_us);
            self.members.insert(member.alert, held);
        }
        let why = self.why(member.alert, policy);
        // One that is open keeps the group, and no other changed: in a storm the others are thousands.
        if !(member.firing || member.flapping) {
            if self.members.get(&member.alert).is_some_and(|held| !held.open() && !held.known()) {
                self.members.remove(&member.alert);
            }
            self.forget_if_all_is_over(now_us, policy);
        }
        why
    }

    /// Counts an alert that is not held when people are to hear of it: when it begins, gets worse or is not kept quiet any more.
    fn put_without_room(&mut self, member: &Member, now_us: i64, policy: &GroupPolicy) {
        let before = self.unheld.get(&member.alert).copied().unwrap_or(0);
        let audible = member.mute.is_none() && member.acknowledged_us.is_none();
        let severity = member.severity as u8 + 1;
        let counts = audible && severity > before;
        if before > 0 || self.unheld.len() < UNHELD_MAX || self.unheld.contains_key(&member.alert) {
            self.unheld.insert(member.alert, if counts { severity } else { before });
        }
        if !counts {
            return;
        }
        if self.more == 0 {
            self.more_due_us = now_us.saturating_add(policy.wait_us);
        }
        self.more = self.more.saturating_add(1);
    }

    /// Why nothing is told of an alert as things stand; None: something will be, or the group does not hold it.
    pub fn why(&self, alert: AlertId, policy: &GroupPolicy) -> Option<Suppressed> {
        self.members.get(&alert)?.pending(policy).err()
    }

    /// When [`decide`](Self::decide) has to be asked next; None: not before the next [`put`](Self::put).
    pub fn due_us(&self, policy: &GroupPolicy) -> Option<i64> {
        let ack_over = self.members.values().filter_map(|held| held.ack_over_us(policy)).min();
        let due = self.due(policy).map(|due| due.at_us());
        let forget = self.only_untold_ends(policy).then(|| self.interval_over_us(policy));
        ack_over.into_iter().chain(due).chain(forget).min()
    }

    /// Decides whether a message goes out now. Ask until it answers None: a message and an escalation may be due at a time. What
    /// is due but was decided late is decided once. See the module on storing.
    pub fn decide(&mut self, now_us: i64, policy: &GroupPolicy) -> Option<Decision> {
        for held in self.members.values_mut() {
            if let Some(at) = held.ack_over_us(policy).filter(|at| *at <= now_us) {
                held.ack_is_over(at);
            }
        }
        self.forget_what_is_over(now_us, policy);
        let due = self.due(policy).filter(|due| due.at_us() <= now_us)?;
        // Also after the group was forgotten, no number comes again.
        self.sequence = self.sequence.saturating_add(1).max(u64::try_from(now_us).unwrap_or(0));
        Some(match due {
            Due::Message(at) => self.message(at, now_us, policy),
            Due::Escalation(at) => self.escalation(at, now_us, policy),
        })
    }

    fn has_room(&mut self, policy: &GroupPolicy) -> bool {
        if self.members.len() >= MEMBERS_MAX {
            // Alerts that are over and of which nothing will be told.
            self.members.retain(|_, held| held.open() || held.pending(policy).is_ok());
        }
        self.members.len() < MEMBERS_MAX
    }

    fn forget_what_is_over(&mut self, now_us: i64, policy: &GroupPolicy) {
        self.members.retain(|_, held| held.open() || held.known());
        self.forget_if_all_is_over(now_us, policy);
    }

    fn forget_if_all_is_over(&mut self, now_us: i64, policy: &GroupPolicy) {
        if self.only_untold_ends(policy) && now_us >= self.interval_over_us(policy) {
            self.members.clear();
        }
        if self.is_idle() {
            *self = Self { sequence: self.sequence, ..Self::default() };
        }
    }

    /// True if all that is held are ends that nobody is going to be told. They still count for the interval, as with
    /// Alertmanager: an alert that comes back within it is known.
    fn only_untold_ends(&self, policy: &GroupPolicy) -> bool {
        !self.is_empty() && self.members.values().all(|held| !held.open() && held.pending(policy).is_err())
    }

    fn interval_over_us(&self, policy: &GroupPolicy) -> i64 {
        self.last_us.map_or(i64::MIN, |last| last.saturating_add(policy.interval_us))
    }

    fn due(&self, policy: &GroupPolicy) -> Option<Due> {
        let mut urgent: Option<i64> = None;
        let mut normal: Option<i64> = (self.more > 0).then_some(self.more_due_us);
        let mut repeatable: Option<i64> = None;
        let mut escalation: Option<i64> = None;
        let earlier = |one: Option<i64>, at: i64| Some(one.map_or(at, |one| one.min(at)));
        for held in self.members.values() {
            match held.pending(policy) {
                Ok(Pending::LevelUp) => urgent = earlier(urgent, held.due_us),
                Ok(_) => normal = earlier(normal, held.due_us),
                Err(Suppressed::NotDue) => repeatable = earlier(repeatable, held.audible_us),
                Err(_) => {}
            }
            if let Some(at) = held.escalation_due_us(policy) {
                escalation = earlier(escalation, at);
            }
        }
        let normal = normal.map(|at| at.max(self.interval_over_us(policy)));
        let repeat = repeatable.map(|at| at.max(self.repeat_from_us.saturating_add(policy.repeat_us)));
        let message = [urgent, normal, repeat].into_iter().flatten().min();
        match (message, escalation) {
            (Some(message), Some(escalation)) if escalation < message => Some(Due::Escalation(escalation)),
            (Some(message), _) => Some(Due::Message(message)),
            (None, Some(escalation)) => Some(Due::Escalation(escalation)),
            (None, None) => None,
        }
    }

    fn message(&mut self, due_us: i64, now_us: i64, policy: &GroupPolicy) -> Decision {
        let mut decision = self.decision(Reason::Repeat, due_us, now_us, &policy.to);
        decision.more = std::mem::take(&mut self.more);
        let mut reason = if decision.more > 0 { Reason::NewAlerts } else { Reason::Repeat };
        // As Alertmanager: if people know of nothing that fires, it begins.
        let any_known = self.members.values().any(Held::known);
        let any_open = self.members.values().any(Held::open) || !self.unheld.is_empty();
        let mut over = Vec::new();
        let mut escalated = 0;
        for (alert, held) in &mut self.members {
            let pending = held.pending(policy);
            match pending {
                Ok(Pending::Flapping) => {
                    held.told_flapping = true;
                    decision.flapping.push(*alert);
                }
                Ok(_) | Err(Suppressed::NotDue) if held.member.firing => {
                    if held.member.stale && policy.tell_stale && !held.told_stale {
                        held.told_stale = true;
                        decision.stale.push(*alert);
                    }
                    // Someone takes care, and hears that its data stopped; all else is known.
                    if held.acknowledged() && pending == Ok(Pending::Stale) {
                        decision.suppressed.push((*alert, Suppressed::Acknowledged));
                    } else {
                        held.told_as_it_is(now_us, pending.ok());
                        decision.firing.push(*alert);
                    }
                }
                Ok(_) => {
                    decision.resolved.push(*alert);
                    escalated = escalated.max(held.escalated);
                    over.push(*alert);
                }
                Err(why) => {
                    decision.suppressed.push((*alert, why));
                    if !held.open() {
                        over.push(*alert);
                    }
                }
            }
            let Ok(pending) = pending else { continue };
            reason = reason.min(match pending {
                Pending::New if any_known => Reason::NewAlerts,
                Pending::New => Reason::First,
                Pending::LevelUp => Reason::LevelUp,
                Pending::Again => Reason::Repeat,
                Pending::Resolved if any_open => Reason::SomeResolved,
                Pending::Resolved => Reason::AllResolved,
                Pending::Flapping => Reason::Flapping,
                Pending::Settled => Reason::Settled,
                Pending::Stale => Reason::Stale,
            });
            decision.about.push(*alert);
        }
        if decision.about.is_empty() {
            decision.about.clone_from(&decision.firing);
        }
        decision.reason = reason;
        decision.also_to = told_by_escalation(escalated, policy);
        for alert in over {
            self.members.remove(&alert);
        }
        self.last_us = Some(now_us);
        // A repeat that is on time counts from when it was due, so that repeats do not drift.
        self.repeat_from_us = if reason == Reason::Repeat && !decision.delayed { due_us } else { now_us };
        self.forget_what_is_over(now_us, policy);
        decision
    }

    fn escalation(&mut self, due_us: i64, now_us: i64, policy: &GroupPolicy) -> Decision {
        let mut decision = self.decision(Reason::Escalation, due_us, now_us, &policy.to);
        // Alerts that were told at one time are escalated at one time. If more than one step is due, because nobody decided or
        // something kept the alert quiet, one message goes to the people of all of them.
        let mut to: Vec<Recipients> = Vec::new();
        for (alert, held) in &mut self.members {
            if held.escalation_due_us(policy).is_none_or(|at| at > now_us) {
                decision.suppressed.extend(held.pending(policy).err().map(|why| (*alert, why)));
                continue;
            }
            while held.escalation_due_us(policy).is_some_and(|at| at <= now_us) {
                let step = policy.escalation_message(held.escalated).map(|(_, step)| &step.to);
                to.extend(step.filter(|step| !to.contains(step)).cloned());
                held.escalated = held.escalated.saturating_add(1);
            }
            decision.firing.push(*alert);
        }
        decision.about.clone_from(&decision.firing);
        if let Some(last) = to.pop() {
            decision.to = last;
        }
        decision.also_to = to;
        decision
    }

    fn decision(&self, reason: Reason, due_us: i64, now_us: i64, to: &Recipients) -> Decision {
        Decision {
            reason,
            sequence: self.sequence,
            due_us,
            delayed: now_us.saturating_sub(due_us) > DELAYED_AFTER_US,
            to: to.clone(),
            also_to: Vec::new(),
            about: Vec::new(),
            firing: Vec::new(),
            resolved: Vec::new(),
            flapping: Vec::new(),
            stale: Vec::new(),
            suppressed: Vec::new(),
            more: 0,
        }
    }
}

/// Who got the first `escalated` messages of the escalation, without repeats and without those who are told anyway.
fn told_by_escalation(escalated: u8, policy: &GroupPolicy) -> Vec<Recipients> {
    let mut told: Vec<Recipients> = Vec::new();
    for (_, step) in (0..escalated).filter_map(|n| policy.escalation_message(n)) {
        if step.to != policy.to && !told.contains(&step.to) {
            told.push(step.to.clone());
        }
    }
    told
}
