//! What people do with alerts.

use super::watched::DeviceState;
use super::{Change, Engine};
use crate::alert::held::Held;
use crate::alert::record::{Acknowledgement, Alert, AlertStep, ResolvedReason, Snooze, StepKind};
use crate::ids::{AlertId, DeviceKey, UserName};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Longest comment and reason, in bytes.
pub const COMMENT_BYTES_MAX: usize = 1000;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Take note.
    Acknowledge,
    /// Take that back.
    Unacknowledge,
    /// End it by hand.
    Resolve,
    /// Do not tell of it until a time (µs), or its end.
    Silence {
        /// None = until it ends.
        until_us: Option<i64>,
        /// Why; may be empty.
        reason: String,
    },
    /// Tell of it again.
    Unsilence,
    /// Someone takes care, or nobody.
    Assign(Option<UserName>),
    /// Say something.
    Comment(String),
}

impl Engine {
    /// The change that an operation is, or None if nothing changes. The caller stores it and then calls [`Engine::operated`];
    /// nothing has changed before.
    pub fn plan(&self, id: AlertId, operation: &Operation, user: &UserName, now_us: i64) -> Option<Change> {
        let open = self.open.get(&id)?;
        let mut alert: Alert = (**open).clone();
        let (kind, text) = match operation {
            Operation::Acknowledge if alert.acknowledged.is_some() => return None,
            Operation::Acknowledge => {
                alert.acknowledged = Some(Acknowledgement { user: user.clone(), time_us: now_us });
                (StepKind::Acknowledged, format!("acknowledged by {user}"))
            }
            Operation::Unacknowledge => {
                alert.acknowledged.take()?;
                (StepKind::Unacknowledged, format!("acknowledgement taken back by {user}"))
            }
            Operation::Resolve => {
                alert.resolved = Some((now_us, ResolvedReason::ByHand));
                (alert.recovering, alert.flapping, alert.stale) = (false, false, false);
                (StepKind::Resolved, format!("resolved by {user}"))
            }
            Operation::Silence { until_us, reason } => {
                alert.snoozed = Some(Snooze { user: user.clone(), until_us: *until_us, reason: reason.clone() });
                if alert.snoozed == open.snoozed {
                    return None;
                }
                let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
                (StepKind::Silenced, format!("silenced by {user}{why}"))
            }
            Operation::Unsilence => {
                alert.snoozed.take()?;
                (StepKind::Unsilenced, format!("silence ended by {user}"))
            }
            Operation::Assign(to) if *to == alert.assigned => return None,
            Operation::Assign(to) => {
                alert.assigned.clone_from(to);
                let text = match to {
                    Some(to) => format!("assigned to {to} by {user}"),
                    None => format!("nobody takes care any more, says {user}"),
                };
                (StepKind::Assigned, text)
            }
            Operation::Comment(text) => (StepKind::Commented, text.clone()),
        };
        alert.revision += 1;
        let step = AlertStep { time_us: now_us, kind, user: Some(user.clone()), text };
        Some(Change { alert: Arc::new(alert), step })
    }

    /// The states of devices as they will be once these changes of [`Engine::plan`] are made: they belong into the same commit.
    pub fn planned_states(&self, changes: &[Change]) -> Vec<DeviceState> {
        let mut planned: BTreeMap<DeviceKey, Vec<Held>> = BTreeMap::new();
        for alert in changes.iter().map(|change| &change.alert).filter(|alert| !alert.is_open()) {
            let Some(key) = alert.device else { continue };
            let Some(watched) = self.devices.get(&key) else { continue };
            let held = planned.entry(key).or_insert_with(|| watched.settled());
            held.iter_mut().for_each(|held| held.resolved_by_hand_if(alert.id));
        }
        planned.into_iter().map(|(key, held)| (key, self.encode_with(key, held))).collect()
    }

    /// A change made by [`Engine::plan`] is stored. What follows from it (a group alert without members ends) is added.
    pub fn operated(&mut self, change: &Change, changes: &mut Vec<Change>) {
        let alert = &change.alert;
        if alert.is_open() {
            self.open.insert(alert.id, alert.clone());
            return;
        }
        self.open.remove(&alert.id);
        let now_us = change.step.time_us;
        self.closed(alert, now_us, changes);
        let Some(key) = alert.device else {
            return self.storms.forget_alert(alert.id);
        };
        if let Some(index) = self.by_id.get(&alert.rule).copied()
            && let Some(held) = self.held_mut(key, index)
        {
            held.resolved_by_hand(alert.id);
        }
        self.touch(key);
    }
}
