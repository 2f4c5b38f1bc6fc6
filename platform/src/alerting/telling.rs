//! Who is told of alerts: keeps the groups, the silences and who snoozed what, and turns what happened into decisions.

use crate::ports::{GroupKey, GroupState, Told};
use pulsewire_core::alert::{Alert, Engine, Rule};
use pulsewire_core::ids::{AlertId, NotificationId, RuleId};
use pulsewire_core::notice::NoticePolicy;
use pulsewire_core::notify::{self, Group, GroupPolicy, Member, Mute, Silence, SilenceError, SilenceKind, Silences};
use pulsewire_core::ulid::Ulid;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Most decisions taken at one moment; more wait for the next.
const DECISIONS_MAX: usize = 256;

struct Entry {
    group: Group,
    policy: GroupPolicy,
    id: [u8; 16],
}

/// See the module.
pub(super) struct Telling {
    policy: NoticePolicy,
    groups: BTreeMap<GroupKey, Entry>,
    // Changed since they were stored. Those that decided are stored with the decision; what the others heard since can be told them
    // again from the alerts, so they are stored with the cursor: of a storm's group that would be its thousands for each alert.
    dirty: BTreeSet<GroupKey>,
    decided: BTreeSet<GroupKey>,
    // Those that heard something since they were asked when they want to be asked.
    touched: BTreeSet<GroupKey>,
    // When each group has to be asked next.
    due: BTreeSet<(i64, GroupKey)>,
    due_of: HashMap<GroupKey, i64>,
    of_alert: HashMap<AlertId, GroupKey>,
    // Alerts that groups speak of, as they are now; those that are over stay until their group has told it.
    known: HashMap<AlertId, Arc<Alert>>,
    // How each open alert was kept quiet when its group last heard of it.
    mutes: HashMap<AlertId, Option<Mute>>,
    // Those for which that changed since it was last asked.
    silence_changes: Vec<Arc<Alert>>,
    silences: Silences,
    // When a silence, or a snooze, begins or ends next.
    quiet_changes_us: Option<i64>,
}

/// Labels and values of a group, in the order of `group_by`; the rule is always one of them, since its policy counts.
fn key_of(alert: &Alert, rule: &Rule) -> GroupKey {
    let mut labels: Vec<(&str, &str)> = vec![("rule", alert.rule.as_str())];
    for label in rule.telling.group_by.iter().filter(|label| *label != "rule") {
        labels.push((label, alert.label(label).unwrap_or("")));
    }
    let text: Vec<String> = labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
    text.join(",")
}

fn id_of_key(key: &str) -> [u8; 16] {
    notify::group_id([("key", key)]).0.to_bytes()
}

impl Telling {
    pub fn new(policy: NoticePolicy) -> Self {
        Self {
            policy,
            groups: BTreeMap::new(),
            dirty: BTreeSet::new(),
            decided: BTreeSet::new(),
            touched: BTreeSet::new(),
            due: BTreeSet::new(),
            due_of: HashMap::new(),
            of_alert: HashMap::new(),
            known: HashMap::new(),
            mutes: HashMap::new(),
            silence_changes: Vec::new(),
            silences: Silences::default(),
            quiet_changes_us: None,
        }
    }

    /// Goes on from what was stored. `over` are alerts that groups still have to speak of although they ended.
    pub fn restore(
        &mut self,
        groups: Vec<(GroupKey, Vec<u8>)>,
        silences: Vec<Silence>,
        over: Vec<Arc<Alert>>,
        engine: &Engine,
        now_us: i64,
    ) {
        for silence in silences {
            if let Err(error) = self.silences.put(silence, now_us) {
                tracing::error!(%error, "a stored silence is not kept");
            }
        }
        let open: Vec<Arc<Alert>> = engine.alerts().cloned().collect();
        for alert in open.into_iter().chain(over) {
            self.known.insert(alert.id, alert);
        }
        for (key, bytes) in groups {
            let rule = key.strip_prefix("rule=").and_then(|rest| rest.split(',').next());
            let policy =
                rule.and_then(|id| engine.rule(&RuleId::parse(id).ok()?)).map(|rule| rule.telling.policy.clone());
            match Group::decode(&bytes) {
                Ok(group) => {
                    // Where an alert is told is decided once: rules and labels may have changed since.
                    self.of_alert.extend(group.alerts().map(|alert| (alert, key.clone())));
                    let id = id_of_key(&key);
                    self.groups.insert(key.clone(), Entry { group, policy: policy.unwrap_or_default(), id });
                    self.ask_when(&key);
                }
                Err(error) => {
                    tracing::error!(group = key, %error, "what was told of a group of alerts is lost; it may be told again");
                }
            }
        }
        // A group that was lost, an alert that no group has, and what was done by hand just before the end, are taken up.
        let over: Vec<Arc<Alert>> = self.known.values().filter(|alert| !alert.is_open()).cloned().collect();
        for alert in over {
            self.put(&alert, engine.rule(&alert.rule), now_us);
        }
        self.look_at_all(engine, now_us);
        self.silence_changes.clear();
    }

    /// A rule was edited: how its alerts are told may be another.
    pub fn rule_changed(&mut self, rule: &Rule) {
        let prefix = format!("rule={}", rule.id);
        let of_rule = |key: &&GroupKey| **key == prefix || key.starts_with(&format!("{prefix},"));
        for key in self.groups.keys().filter(of_rule).cloned().collect::<Vec<_>>() {
            if let Some(entry) = self.groups.get_mut(&key) {
                entry.policy = rule.telling.policy.clone();
            }
            self.ask_when(&key);
        }
    }

    /// Alerts that became quiet, or not any more, since the last call.
    pub fn take_silence_changes(&mut self) -> Vec<Arc<Alert>> {
        std::mem::take(&mut self.silence_changes)
    }

    /// The alerts that groups speak of and that are not open: the store is asked for them at a start.
    pub fn alerts_in(groups: &[(GroupKey, Vec<u8>)]) -> Vec<AlertId> {
        let decoded = groups.iter().filter_map(|(_, bytes)| Group::decode(bytes).ok());
        decoded.flat_map(|group| group.alerts().collect::<Vec<_>>()).collect()
    }

    /// Takes an alert as it is now.
    pub fn put(&mut self, alert: &Arc<Alert>, rule: Option<&Rule>, now_us: i64) {
        let key = match (self.of_alert.get(&alert.id), rule) {
            (Some(key), _) => key.clone(),
            (None, Some(rule)) => key_of(alert, rule),
            // Its rule is gone and nobody was told of it.
            (None, None) => return,
        };
        let mute = self.mute(alert, now_us);
        if alert.is_open() {
            self.mutes.insert(alert.id, mute);
        } else {
            self.mutes.remove(&alert.id);
        }
        self.known.insert(alert.id, alert.clone());
        self.of_alert.insert(alert.id, key.clone());
        let entry = self.groups.entry(key.clone()).or_insert_with(|| Entry {
            group: Group::default(),
            policy: rule.map(|rule| rule.telling.policy.clone()).unwrap_or_default(),
            id: id_of_key(&key),
        });
        let member = Member {
            alert: alert.id,
            severity: alert.severity,
            firing: alert.is_open(),
            acknowledged_us: alert.acknowledged.as_ref().map(|a| a.time_us),
            mute,
            stale: alert.stale,
            flapping: alert.flapping,
        };
        entry.group.put(member, now_us, &entry.policy);
        self.dirty.insert(key.clone());
        self.touched.insert(key.clone());
        if let Some(until_us) = alert.snoozed.as_ref().and_then(|s| s.until_us).filter(|until_us| *until_us > now_us) {
            self.quiet_changes_us = Some(self.quiet_changes_us.map_or(until_us, |at| at.min(until_us)));
        }
        if !alert.is_open() {
            self.forget_if_told(alert.id, &key);
        }
    }

    fn forget_if_told(&mut self, alert: AlertId, key: &GroupKey) {
        if !self.groups.get(key).is_some_and(|entry| entry.group.speaks_of(alert)) {
            self.known.remove(&alert);
            self.of_alert.remove(&alert);
        }
    }

    fn mute(&self, alert: &Alert, now_us: i64) -> Option<Mute> {
        if alert.parent.is_some() {
            return Some(Mute::Inhibited);
        }
        let snoozed = alert.snoozed.as_ref().is_some_and(|s| s.until_us.is_none_or(|until_us| now_us < until_us));
        if snoozed {
            return Some(Mute::Silenced);
        }
        self.silence_of(alert, now_us).map(|silence| match silence.kind {
            SilenceKind::Silence => Mute::Silenced,
            SilenceKind::Maintenance => Mute::Maintenance,
        })
    }

    /// The silence that keeps an alert quiet now.
    pub fn silence_of(&self, alert: &Alert, now_us: i64) -> Option<&Silence> {
        self.silences.active_for(&|label| alert.label(label), now_us)
    }

    pub fn silences(&self) -> &Silences {
        &self.silences
    }

    /// A silence was made, changed or ended.
    pub fn put_silence(&mut self, silence: Silence, engine: &Engine, now_us: i64) -> Result<(), SilenceError> {
        self.silences.put(silence, now_us)?;
        self.look_at_all(engine, now_us);
        Ok(())
    }

    /// Looks at every open alert again: what is silenced has changed.
    fn look_at_all(&mut self, engine: &Engine, now_us: i64) {
        self.quiet_changes_us = self.silences.next_change_us(now_us);
        let changed: Vec<Arc<Alert>> = engine
            .alerts()
            // What a group has no room for is counted at each change: only real ones are given to it.
            .filter(|alert| match self.mutes.get(&alert.id) {
                Some(mute) => *mute != self.mute(alert, now_us),
                // After a start: what a full group has no room for was counted when it came.
                None => self.of_alert.contains_key(&alert.id) || !self.is_full(alert, engine),
            })
            .cloned()
            .collect();
        for alert in changed {
            let known = self.mutes.contains_key(&alert.id);
            self.put(&alert, engine.rule(&alert.rule), now_us);
            if known {
                self.silence_changes.push(alert);
            }
        }
        let snoozes = engine.alerts().filter_map(|alert| alert.snoozed.as_ref()?.until_us).filter(|at| *at > now_us);
        self.quiet_changes_us = snoozes.chain(self.quiet_changes_us).min();
    }

    fn is_full(&self, alert: &Alert, engine: &Engine) -> bool {
        let key = engine.rule(&alert.rule).map(|rule| key_of(alert, rule));
        let group = key.and_then(|key| self.groups.get(&key));
        group.is_some_and(|entry| entry.group.len() >= notify::MEMBERS_MAX)
    }

    /// Asks each group once, however much it has heard: it looks at all its alerts for that.
    fn ask_touched(&mut self) {
        for key in std::mem::take(&mut self.touched) {
            self.ask_when(&key);
        }
    }

    fn ask_when(&mut self, key: &GroupKey) {
        if let Some(before) = self.due_of.remove(key) {
            self.due.remove(&(before, key.clone()));
        }
        let due = self.groups.get(key).and_then(|entry| entry.group.due_us(&entry.policy));
        if let Some(due_us) = due {
            self.due.insert((due_us, key.clone()));
            self.due_of.insert(key.clone(), due_us);
        }
    }

    /// When there is something to decide next.
    pub fn next_us(&mut self) -> Option<i64> {
        self.ask_touched();
        let group = self.due.first().map(|(due_us, _)| *due_us);
        [group, self.quiet_changes_us].into_iter().flatten().min()
    }

    /// Decides what is due.
    pub fn decide(&mut self, engine: &Engine, now_us: i64) -> Vec<Told> {
        if self.quiet_changes_us.is_some_and(|at| at <= now_us) {
            self.look_at_all(engine, now_us);
        }
        self.ask_touched();
        let mut told = Vec::new();
        while told.len() < DECISIONS_MAX {
            let Some((due_us, key)) = self.due.first().cloned() else { break };
            if due_us > now_us {
                break;
            }
            let Some(entry) = self.groups.get_mut(&key) else { break };
            let decision = entry.group.decide(now_us, &entry.policy);
            self.dirty.insert(key.clone());
            self.decided.insert(key.clone());
            let has_told = decision.is_some();
            if let Some(decision) = decision {
                let known = &self.known;
                let find = |id: AlertId| engine.alert(id).or_else(|| known.get(&id)).cloned();
                let notice = notify::notice(&self.policy, &decision, &find, now_us);
                let of_group = decision.firing.iter().chain(&decision.flapping).chain(&decision.resolved);
                let worst = of_group.filter_map(|id| find(*id)).max_by_key(|alert| (alert.is_open(), alert.severity));
                told.push(Told {
                    id: id_of(&entry.id, decision.sequence),
                    time_us: now_us,
                    group: key.clone(),
                    group_id: entry.id,
                    about: worst.map(|alert| alert.id),
                    notice,
                    decision,
                });
            }
            self.ask_when(&key);
            if !has_told && self.due_of.get(&key) == Some(&due_us) {
                // It has nothing to say at a time at which it wanted to be asked: not asked again before something changes.
                self.due.remove(&(due_us, key.clone()));
                self.due_of.remove(&key);
            }
        }
        for one in &told {
            for alert in &one.decision.resolved {
                self.forget_if_told(*alert, &one.group);
            }
        }
        told
    }

    /// Takes the groups that decided something since they were last taken: their states belong into the commit of the decision.
    pub fn take_decided(&mut self) -> Vec<GroupState> {
        let keys = std::mem::take(&mut self.decided);
        self.dirty.retain(|key| !keys.contains(key));
        self.states(keys)
    }

    /// Takes all groups that changed since they were last taken.
    pub fn take_dirty(&mut self) -> Vec<GroupState> {
        self.decided.clear();
        let keys = std::mem::take(&mut self.dirty);
        self.states(keys)
    }

    fn states(&mut self, keys: BTreeSet<GroupKey>) -> Vec<GroupState> {
        let mut states = Vec::new();
        for key in keys {
            let Some(entry) = self.groups.get(&key) else { continue };
            if entry.group.is_idle() {
                self.groups.remove(&key);
                states.push((key, None));
                continue;
            }
            match entry.group.encode() {
                Ok(bytes) => states.push((key, Some(bytes))),
                Err(error) => tracing::error!(group = key, %error, "a group of alerts cannot be stored"),
            }
        }
        states
    }
}

fn id_of(group: &[u8; 16], sequence: u64) -> NotificationId {
    NotificationId(Ulid::from_bytes(notify::decision_id(group, sequence)))
}
