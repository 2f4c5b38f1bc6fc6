//! The task that owns the engine.

use super::{AlertingError, AlertingOptions, AlertingParts, Request, RuleView};
use crate::ports::{
    AlertChange, AlertCommit, BusEvent, Cursor, JournalError, Lagged, MetaError, RuleWrite, Subscription,
};
use crate::telemetry::names;
use pulsewire_core::alert::{Acknowledgement, Alert, Change, Engine, Rule, StepKind, World};
use pulsewire_core::block::Block;
use pulsewire_core::ids::{AlertId, Lane, Position, RuleId, UserName};
use pulsewire_core::ulid::Ulid;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Records read from the journal at a time.
const READ_RECORDS: usize = 256;
/// How long after a failure of journal or store it is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Ticks between two writes of cursor and tracks while nothing alarms. What was judged since is judged again after a crash,
/// with the same outcome.
const FLUSH_TICKS: u32 = 10;
/// Ticks between two looks for alerts that are too old to keep.
const PRUNE_TICKS: u32 = 60;
/// Changes that are decided before they are stored, while a long backlog is judged.
const PENDING_MAX: usize = 500;

pub(super) struct AlertingTask {
    options: AlertingOptions,
    parts: AlertingParts,
    engine: Engine,
    cursor: Cursor,
    // The cursor that is stored.
    stored: Cursor,
    // Changes that are decided and not stored yet; more than those of one step only while the store fails.
    pending: Vec<Change>,
    // The store refused the last commit: nothing more is judged until it takes it.
    failing: bool,
    // The journal has records that were not judged; a step of the loop judges some.
    behind: bool,
    // The journal could not be read: the next tick tries again.
    paused: bool,
    ticks: u32,
}

/// A new id. Chance only tells apart what was made within one millisecond.
fn new_id(now_us: i64) -> AlertId {
    let mut bytes = [0; 16];
    if let Err(error) = getrandom::fill(&mut bytes) {
        tracing::error!(%error, "the system gives no random bytes; an alert's id is made of the time alone");
        bytes = i128::from(now_us).to_be_bytes();
    }
    AlertId(Ulid::from_parts(now_us, u128::from_be_bytes(bytes)))
}

impl AlertingTask {
    pub(super) async fn restore(
        options: AlertingOptions,
        parts: AlertingParts,
        newest: Cursor,
    ) -> Result<Self, MetaError> {
        let state = parts.store.load().await?;
        let stored = state.cursor.filter(|c| c.epoch == newest.epoch && c.position <= newest.position);
        // Without rules there is nothing to judge, and how far that came is not stored.
        let cursor = stored.filter(|_| !state.rules.is_empty()).unwrap_or(newest);
        let now_us = parts.clock.now_us();
        let (engine, pending) = {
            let (directory, catalogue) = (read(&parts.directory), read(&parts.catalogue));
            let mut world =
                World { directory: &directory, catalogue: &catalogue, now_us, new_id: &mut || new_id(now_us) };
            let limits = options.limits;
            Engine::restore(limits, state.rules, state.tracks, state.watermarks, state.open, &mut world)
        };
        parts.journal.hold(cursor.position);
        // Unequal to the cursor, so that the first flush stores it.
        let stored = stored.unwrap_or(Cursor { epoch: !newest.epoch, position: Position(0) });
        Ok(Self {
            options,
            parts,
            engine,
            cursor,
            stored,
            pending,
            failing: false,
            behind: true,
            paused: false,
            ticks: 0,
        })
    }

    pub(super) async fn run(
        mut self,
        mut commits: Box<dyn Subscription>,
        mut devices: Box<dyn Subscription>,
        mut requests: mpsc::Receiver<Request>,
    ) {
        let mut ticks = tokio::time::interval(RETRY_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.store_changes().await;
        loop {
            let reads = self.behind && !self.failing && !self.paused;
            tokio::select! {
                event = commits.next() => match event {
                    Ok(Some(BusEvent::Committed(committed))) => {
                        let next = committed.position.0 == self.cursor.position.0 + 1;
                        if next && !self.failing {
                            self.judge(committed.position, committed.batch.received_us, &committed.batch.blocks);
                            self.store_changes().await;
                        } else if committed.position > self.cursor.position {
                            self.behind = true;
                        }
                    }
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(Lagged(_)) => self.behind = true,
                },
                event = devices.next() => match event {
                    Ok(Some(BusEvent::DeviceChanged { device, .. } | BusEvent::DeviceDeleted { device })) => {
                        self.with_world(|engine, world, changes| engine.device_changed(device, world, changes));
                        self.store_changes().await;
                    }
                    Ok(Some(_)) => {}
                    Err(Lagged(_)) => {
                        self.with_world(Engine::devices_changed);
                        self.store_changes().await;
                    }
                    Ok(None) => break,
                },
                request = requests.recv() => match request {
                    Some(request) => self.answer(request).await,
                    None => break,
                },
                _ = ticks.tick() => self.on_tick().await,
                // Some records at a time, so that people and ticks are served however long the backlog is.
                () = std::future::ready(()), if reads => self.catch_up().await,
            }
        }
        // What was judged is kept, so that the next start need not do it again.
        let _ = self.flush().await;
    }

    async fn on_tick(&mut self) {
        self.ticks = self.ticks.wrapping_add(1);
        self.paused = false;
        if self.pending.is_empty() && self.engine.rules().next().is_none() {
            // Without rules nothing is judged, and how far that came is not stored.
            self.parts.journal.hold(self.cursor.position);
        } else if self.failing || !self.pending.is_empty() || self.ticks.is_multiple_of(FLUSH_TICKS) {
            // A failure has been told.
            let _ = self.flush().await;
        }
        if self.ticks.is_multiple_of(PRUNE_TICKS)
            && let Err(error) = self.parts.store.prune_alerts(self.options.history_alerts).await
        {
            tracing::warn!(%error, "old alerts could not be deleted");
        }
    }

    fn with_world(&mut self, act: impl FnOnce(&mut Engine, &mut World<'_>, &mut Vec<Change>)) {
        let now_us = self.parts.clock.now_us();
        let (directory, catalogue) = (read(&self.parts.directory), read(&self.parts.catalogue));
        let mut world = World { directory: &directory, catalogue: &catalogue, now_us, new_id: &mut || new_id(now_us) };
        act(&mut self.engine, &mut world, &mut self.pending);
    }

    fn judge(&mut self, position: Position, received_us: i64, blocks: &[Block]) {
        self.with_world(|engine, world, changes| {
            let judged = engine.apply(received_us, blocks, world, changes);
            metrics::counter!(names::ALERTING_SAMPLES).increment(judged.samples);
            metrics::counter!(names::ALERTING_LATE).increment(judged.late);
        });
        self.cursor.position = position;
    }

    /// Judges some of what is in the journal after the cursor.
    async fn catch_up(&mut self) {
        match self.parts.journal.read(Lane(0), self.cursor.position, READ_RECORDS).await {
            Ok(records) => {
                let Some(first) = records.first().map(|r| r.position) else {
                    self.behind = false;
                    return;
                };
                if first.0 > self.cursor.position.0 + 1 {
                    self.lose(Position(first.0 - 1), "the journal does not keep them any more");
                }
                for record in records {
                    self.judge(record.position, record.received_us, &record.blocks);
                    if self.pending.len() >= PENDING_MAX && self.flush().await.is_err() {
                        return;
                    }
                }
                self.store_changes().await;
            }
            Err(JournalError::Corrupt { position, problem }) => self.lose(position, &problem),
            Err(error) => {
                tracing::warn!(%error, "alerting could not read the journal; it tries again");
                self.paused = true;
            }
        }
    }

    /// Goes on after `to` without what was between.
    fn lose(&mut self, to: Position, why: &str) {
        let lost = to.0 - self.cursor.position.0;
        tracing::error!(after = %self.cursor.position, lost, why, "records were not judged by any rule");
        metrics::counter!(names::ALERTING_LOST).increment(lost);
        self.cursor.position = to;
    }

    /// Stores what was decided at once if anyone has to know; the cursor alone can wait for the tick.
    async fn store_changes(&mut self) {
        if !self.pending.is_empty() {
            // It is told, and tried again at the next tick.
            let _ = self.flush().await;
        }
    }

    async fn flush(&mut self) -> Result<(), MetaError> {
        if self.pending.is_empty() && self.cursor == self.stored {
            return Ok(());
        }
        let now_us = self.parts.clock.now_us();
        let changes: Vec<_> = self.pending.iter().map(|change| self.with_notice(change, now_us)).collect();
        let mut commit = AlertCommit { now_us, cursor: Some(self.cursor), changes, ..AlertCommit::default() };
        let dirty = self.engine.take_dirty();
        commit.watermarks.clone_from(&dirty.watermarks);
        for (rule, device, track) in &dirty.tracks {
            match track {
                Some(track) => commit.tracks.push((rule.clone(), *device, *track)),
                None => commit.forget.push((rule.clone(), *device)),
            }
        }
        let stored = self.parts.store.commit(Arc::new(commit)).await;
        if let Err(error) = stored {
            self.engine.put_back(dirty);
            if !self.failing {
                tracing::error!(%error, changes = self.pending.len(),
                    "alerts could not be stored; nothing more is judged until they are");
            }
            // What is committed meanwhile is read from the journal afterwards.
            (self.failing, self.behind) = (true, true);
            return Err(error);
        }
        self.failing = false;
        self.stored = self.cursor;
        self.parts.journal.hold(self.cursor.position);
        let changes = std::mem::take(&mut self.pending);
        self.tell(&changes);
        Ok(())
    }

    /// A change with the message about it, if it is one that people are told of.
    fn with_notice(&self, change: &Change, now_us: i64) -> AlertChange {
        let told = matches!(change.step.kind, StepKind::Fired | StepKind::Resolved);
        let notice = told.then(|| self.options.policy.notice(&change.alert, now_us));
        AlertChange { alert: change.alert.clone(), step: change.step.clone(), notice }
    }

    fn tell(&self, changes: &[Change]) {
        metrics::gauge!(names::ALERTS_OPEN).set(self.engine.open() as f64);
        for change in changes {
            metrics::counter!(names::ALERT_CHANGES, "kind" => change.step.kind.name()).increment(1);
            let alert = &change.alert;
            tracing::info!(alert = %alert.id, rule = %alert.rule, device = %alert.device_id, severity = alert.severity.name(),
                "alert {}", change.step.kind.name());
            self.parts.bus.publish(BusEvent::AlertChanged(change.alert.clone()));
        }
        if !changes.is_empty() {
            self.parts.bus.publish(BusEvent::MessagesQueued);
        }
    }

    async fn answer(&mut self, request: Request) {
        // Who asked may be gone; what was done stays done.
        match request {
            Request::Rules { reply } => {
                let _ = reply.send(self.engine.rules().map(|rule| self.view(rule)).collect());
            }
            Request::Rule { id, reply } => {
                let _ = reply.send(self.engine.rule(&id).map(|rule| self.view(rule)));
            }
            Request::Write { write, reply } => {
                let _ = reply.send(self.write_rule(write).await);
            }
            Request::Acknowledge { alert, user, take_back, reply } => {
                let _ = reply.send(self.acknowledge(alert, user, take_back).await);
            }
            Request::Resolve { alert, user, reply } => {
                let _ = reply.send(self.resolve(alert, &user).await);
            }
        }
    }

    fn view(&self, rule: &Rule) -> RuleView {
        RuleView { rule: rule.clone(), firing: self.engine.firing(&rule.id) }
    }

    /// The rule is stored first: were the order the other way, a rule that could not be stored would fire until a restart.
    /// A crash in between is made up for at the start, which judges every track by the rules as stored.
    async fn write_rule(&mut self, write: RuleWrite) -> Result<RuleView, AlertingError> {
        let known = |id: &RuleId| self.engine.rule(id).cloned();
        let id = match &write {
            RuleWrite::Create(rule) if known(&rule.id).is_some() => {
                return Err(AlertingError::RuleExists(rule.id.clone()));
            }
            RuleWrite::Create(_) if self.engine.rules().count() >= self.options.rules_max => {
                return Err(AlertingError::TooManyRules(self.options.rules_max));
            }
            RuleWrite::Create(rule) => rule.id.clone(),
            RuleWrite::Update(rule) => known(&rule.id).ok_or_else(|| AlertingError::NoRule(rule.id.clone()))?.id,
            RuleWrite::Delete(id) => known(id).ok_or_else(|| AlertingError::NoRule(id.clone()))?.id,
        };
        self.flush().await.map_err(AlertingError::Store)?;
        let now_us = self.parts.clock.now_us();
        // With the cursor: a first rule does not judge what came before it.
        let cursor = Some(self.cursor);
        let commit = AlertCommit { now_us, cursor, rule: Some(write.clone()), ..AlertCommit::default() };
        self.parts.store.commit(Arc::new(commit)).await.map_err(AlertingError::Store)?;
        let view = match write {
            RuleWrite::Create(rule) | RuleWrite::Update(rule) => {
                self.with_world(|engine, world, changes| engine.put_rule(rule, world, changes));
                self.engine.rule(&id).map(|rule| self.view(rule))
            }
            RuleWrite::Delete(_) => {
                let view = self.engine.rule(&id).map(|rule| self.view(rule));
                self.with_world(|engine, world, changes| engine.delete_rule(&id, world.now_us, changes));
                view
            }
        };
        self.store_changes().await;
        view.ok_or(AlertingError::NoRule(id))
    }

    async fn require_open(&self, id: AlertId) -> Result<Arc<Alert>, AlertingError> {
        if let Some(open) = self.engine.alert(id) {
            return Ok(open.clone());
        }
        match self.parts.store.alert(id).await.map_err(AlertingError::Store)? {
            Some(_) => Err(AlertingError::Resolved(id)),
            None => Err(AlertingError::NoAlert(id)),
        }
    }

    async fn acknowledge(&mut self, id: AlertId, user: UserName, take_back: bool) -> Result<Arc<Alert>, AlertingError> {
        let open = self.require_open(id).await?;
        let now_us = self.parts.clock.now_us();
        let by = (!take_back).then(|| Acknowledgement { user: user.clone(), time_us: now_us });
        let Some(change) = self.engine.acknowledge(id, by, &user, now_us) else { return Ok(open) };
        let changes = vec![self.with_notice(&change, now_us)];
        let commit = AlertCommit { now_us, changes, ..AlertCommit::default() };
        // What is pending may be about this very alert, and comes first.
        self.flush().await.map_err(AlertingError::Store)?;
        self.parts.store.commit(Arc::new(commit)).await.map_err(AlertingError::Store)?;
        self.engine.changed(&change);
        self.tell(std::slice::from_ref(&change));
        Ok(change.alert)
    }

    async fn resolve(&mut self, id: AlertId, user: &UserName) -> Result<Arc<Alert>, AlertingError> {
        self.require_open(id).await?;
        // The track is stored with the cursor at which it stands.
        self.flush().await.map_err(AlertingError::Store)?;
        let now_us = self.parts.clock.now_us();
        let planned = self.engine.resolve_by_hand(id, user, now_us);
        let (change, muted) = planned.ok_or(AlertingError::Resolved(id))?;
        let changes = vec![self.with_notice(&change, now_us)];
        let commit = AlertCommit { now_us, changes, tracks: vec![muted], ..AlertCommit::default() };
        self.parts.store.commit(Arc::new(commit)).await.map_err(AlertingError::Store)?;
        self.engine.changed(&change);
        self.tell(std::slice::from_ref(&change));
        Ok(change.alert)
    }
}

fn read<T>(lock: &std::sync::RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    // What is guarded is replaced whole; a panic elsewhere leaves it usable.
    lock.read().unwrap_or_else(std::sync::PoisonError::into_inner)
}
