//! What people ask of the task: rules that come and go, alerts that are taken care of, silences.

use super::task::AlertingTask;
use super::{AlertingError, Bulk, OpenAlert, OpenFilter, Quiet, Request, RuleView};
use crate::ports::{AlertChange, AlertCommit, RuleWrite};
use pulsewire_core::alert::{Alert, Change, Compiled, Operation, Standing};
use pulsewire_core::ids::{AlertId, DeviceKey, RuleId, UserName};
use pulsewire_core::notify::{Silence, SilenceState};
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Alerts that one transaction of a bulk operation changes.
const BULK_CHUNK: usize = 500;

impl AlertingTask {
    pub(super) async fn answer(&mut self, request: Request) {
        // Who asked may be gone; what was done stays done.
        match request {
            Request::Rules { reply } => {
                let _ = reply.send(self.views());
            }
            Request::Rule { id, reply } => {
                let _ = reply.send(self.view(&id));
            }
            Request::Write { write, reply } => {
                let _ = reply.send(self.write_rule(*write).await);
            }
            Request::Open { filter, reply } => {
                let _ = reply.send(self.open_alerts(&filter));
            }
            Request::OpenByDevice { scope, reply } => {
                let mut open: HashMap<DeviceKey, [u32; 3]> = HashMap::new();
                for alert in self.engine.alerts().filter(|alert| scope.sees_group(alert.group.as_ref())) {
                    let Some(device) = alert.device else { continue };
                    open.entry(device).or_default()[alert.severity as usize] += 1;
                }
                let _ = reply.send(open);
            }
            Request::Operate { alert, operation, user, reply } => {
                let _ = reply.send(self.operate(alert, &operation, &user).await);
            }
            Request::Bulk { filter, operation, user, reply } => {
                let _ = reply.send(self.bulk(&filter, &operation, &user).await);
            }
            Request::Silence { silence, reply } => {
                let _ = reply.send(self.put_silence(silence).await);
            }
            Request::HideCounts { silences, reply } => {
                let count = |silence: &Silence| {
                    self.engine.alerts().filter(|alert| silence.matches(&|label| alert.label(label))).count()
                };
                let _ = reply.send(silences.iter().map(count).collect());
            }
            Request::Hides { silence, reply } => {
                let hidden = |alert: &&Arc<Alert>| silence.matches(&|label| alert.label(label));
                let mut alerts: Vec<_> = self.engine.alerts().filter(hidden).cloned().collect();
                alerts.sort_unstable_by_key(|alert| Reverse((alert.severity, alert.id)));
                let _ = reply.send(alerts);
            }
        }
    }

    fn views(&mut self) -> Vec<RuleView> {
        let mut standings = self.standings().clone();
        let view = |rule: &pulsewire_core::alert::Rule| RuleView {
            rule: rule.clone(),
            standing: standings.remove(&rule.id).unwrap_or_default(),
        };
        self.engine.rules().map(view).collect()
    }

    fn view(&mut self, id: &RuleId) -> Option<RuleView> {
        let standing = self.standings().get(id).copied().unwrap_or_default();
        Some(RuleView { rule: self.engine.rule(id)?.clone(), standing })
    }

    /// The rule is stored first: were the order the other way, a rule that could not be stored would fire until a restart.
    /// A crash in between is made up for at the start, which judges every state by the rules as stored.
    async fn write_rule(&mut self, mut write: RuleWrite) -> Result<RuleView, AlertingError> {
        if let RuleWrite::Create(rule) = &mut write {
            // One of this id may have been deleted: its history goes on.
            let before = self.parts.store.rule_versions(rule.id.clone()).await.map_err(AlertingError::Store)?;
            rule.version = before.first().map_or(rule.version, |last| last.version.saturating_add(1));
        }
        let known = |id: &RuleId| self.engine.rule(id).cloned();
        let (id, rule) = match &write {
            RuleWrite::Create(rule) if known(&rule.id).is_some() => {
                return Err(AlertingError::RuleExists(rule.id.clone()));
            }
            RuleWrite::Create(_) if self.engine.rules().count() >= self.options.rules_max => {
                return Err(AlertingError::TooManyRules(self.options.rules_max));
            }
            RuleWrite::Create(rule) => (rule.id.clone(), Some(rule.clone())),
            RuleWrite::Update(rule, _) => {
                (known(&rule.id).ok_or_else(|| AlertingError::NoRule(rule.id.clone()))?.id, Some(rule.clone()))
            }
            RuleWrite::Delete { rule, .. } => {
                (known(&rule.id).ok_or_else(|| AlertingError::NoRule(rule.id.clone()))?.id, None)
            }
        };
        if let Some(rule) = &rule {
            Compiled::new(rule.clone(), self.options.limits.gap_max_us).map_err(AlertingError::Rule)?;
        }
        // With the cursor: a first rule does not judge what came before it.
        self.flush_all().await.map_err(AlertingError::Store)?;
        let commit = AlertCommit { rule: Some(write), cursor: Some(self.cursor), ..self.empty_commit() };
        self.parts.store.commit(Arc::new(commit)).await.map_err(AlertingError::Store)?;
        let deleted = rule.is_none().then(|| self.view(&id)).flatten();
        match rule {
            Some(rule) => {
                self.telling.rule_changed(&rule);
                // It compiled just now.
                self.with_world(|engine, world, changes| {
                    if let Err(error) = engine.put_rule(rule, world, changes) {
                        tracing::error!(%error, "a rule that was checked does not compile");
                    }
                });
            }
            None => self.with_world(|engine, world, changes| engine.delete_rule(&id, world.now_us, changes)),
        }
        self.store_changes().await;
        // What was counted is of the rules as they were.
        self.standings = None;
        let now = self.view(&id);
        let gone = deleted.map(|view| RuleView { standing: Standing::default(), ..view });
        now.or(gone).ok_or(AlertingError::NoRule(id))
    }

    pub(super) fn quiet_of(&self, alert: &Alert, now_us: i64) -> Option<Quiet> {
        let snoozed = alert.snoozed.as_ref().filter(|s| s.until_us.is_none_or(|until_us| now_us < until_us));
        if let Some(snooze) = snoozed {
            let (by, reason) = (snooze.user.clone(), snooze.reason.clone());
            return Some(Quiet { until_us: snooze.until_us, by, reason, silence: None });
        }
        self.telling.silence_of(alert, now_us).map(|silence| Quiet {
            until_us: Some(silence.over_us()),
            by: silence.created_by.clone(),
            reason: silence.reason.clone(),
            silence: Some(silence.id),
        })
    }

    fn shown(&self, alert: Arc<Alert>) -> OpenAlert {
        let quiet = self.quiet_of(&alert, self.parts.clock.now_us());
        OpenAlert { alert, quiet }
    }

    fn open_alerts(&self, filter: &OpenFilter) -> Vec<OpenAlert> {
        let now_us = self.parts.clock.now_us();
        let ids: Option<HashSet<AlertId>> = filter.ids.as_ref().map(|ids| ids.iter().copied().collect());
        let Ok(directory) = self.parts.directory.read() else { return Vec::new() };
        let wanted = |alert: &&Arc<Alert>| {
            super::sees(&filter.scope, alert, &directory)
                && ids.as_ref().is_none_or(|ids| ids.contains(&alert.id))
                && filter.severity.is_none_or(|severity| alert.severity == severity)
                && filter.rule.as_ref().is_none_or(|rule| alert.rule == *rule)
                && filter.device.as_ref().is_none_or(|device| alert.device_id == device.as_str())
                && filter.group.as_ref().is_none_or(|group| alert.group.as_ref() == Some(group))
                && filter.acknowledged.is_none_or(|acknowledged| alert.acknowledged.is_some() == acknowledged)
        };
        let mut found: Vec<OpenAlert> = self
            .engine
            .alerts()
            .filter(wanted)
            .map(|alert| OpenAlert { quiet: self.quiet_of(alert, now_us), alert: alert.clone() })
            .filter(|open| filter.silenced.is_none_or(|silenced| open.quiet.is_some() == silenced))
            .collect();
        found.sort_unstable_by_key(|open| Reverse((open.alert.severity, open.alert.id)));
        found
    }

    async fn operate(
        &mut self,
        id: AlertId,
        operation: &Operation,
        user: &UserName,
    ) -> Result<OpenAlert, AlertingError> {
        let Some(open) = self.engine.alert(id).cloned() else {
            return match self.parts.store.alert(id).await.map_err(AlertingError::Store)? {
                Some(_) => Err(AlertingError::Resolved(id)),
                None => Err(AlertingError::NoAlert(id)),
            };
        };
        let done = self.operate_on(&[id], operation, user).await?;
        let alert = done.into_iter().next().map_or(open, |change| change.alert);
        Ok(self.shown(alert))
    }

    async fn bulk(
        &mut self,
        filter: &OpenFilter,
        operation: &Operation,
        user: &UserName,
    ) -> Result<Bulk, AlertingError> {
        let ids: Vec<AlertId> = self.open_alerts(filter).into_iter().map(|open| open.alert.id).collect();
        let mut bulk = Bulk { matched: ids.len(), changed: 0 };
        for chunk in ids.chunks(BULK_CHUNK) {
            bulk.changed += self.operate_on(chunk, operation, user).await?.len();
        }
        Ok(bulk)
    }

    /// Changes alerts in one transaction; what cannot be stored is not done. What people are told of it follows, or, after a kill
    /// between the two, at the next start.
    async fn operate_on(
        &mut self,
        ids: &[AlertId],
        operation: &Operation,
        user: &UserName,
    ) -> Result<Vec<Change>, AlertingError> {
        // What is pending may be about these very alerts, and comes first.
        self.flush().await.map_err(AlertingError::Store)?;
        let mut commit = self.empty_commit();
        let now_us = commit.now_us;
        let planned: Vec<Change> = ids.iter().filter_map(|id| self.engine.plan(*id, operation, user, now_us)).collect();
        if planned.is_empty() {
            return Ok(planned);
        }
        commit.states = self.engine.planned_states(&planned);
        commit.changes = Self::changes_of(&planned);
        self.parts.store.commit(Arc::new(commit)).await.map_err(AlertingError::Store)?;
        // Alerts that stand for others first: the ends of their members do not change them any more.
        let (alone, members): (Vec<&Change>, Vec<&Change>) = planned.iter().partition(|c| c.alert.device.is_none());
        for change in alone.into_iter().chain(members) {
            self.engine.operated(change, &mut self.pending);
            self.telling.put(&change.alert, self.engine.rule(&change.alert.rule), now_us);
        }
        self.tell(&planned, true);
        self.store_changes().await;
        Ok(planned)
    }

    async fn put_silence(&mut self, silence: Silence) -> Result<Silence, AlertingError> {
        self.flush().await.map_err(AlertingError::Store)?;
        let now_us = self.parts.clock.now_us();
        let full = self.telling.silences().get(silence.id).is_none()
            && self.telling.silences().iter().filter(|s| s.state(now_us) != SilenceState::Ended).count()
                >= pulsewire_core::notify::SILENCES_MAX
            && silence.state(now_us) != SilenceState::Ended;
        if full {
            return Err(AlertingError::Silence(pulsewire_core::notify::SilenceError::Full));
        }
        let commit = AlertCommit { silence: Some(silence.clone()), ..self.empty_commit() };
        self.parts.store.commit(Arc::new(commit)).await.map_err(AlertingError::Store)?;
        self.telling.put_silence(silence.clone(), &self.engine, now_us).map_err(AlertingError::Silence)?;
        // Pages show which alerts are silenced: each of them has changed for them.
        self.tell_of_silence(&silence);
        self.store_changes().await;
        Ok(silence)
    }

    pub(super) fn changes_of(changes: &[Change]) -> Vec<AlertChange> {
        changes.iter().map(|c| AlertChange { alert: c.alert.clone(), step: c.step.clone() }).collect()
    }
}
