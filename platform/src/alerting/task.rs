//! The task that owns the engine.

use super::telling::Telling;
use super::{AlertingOptions, AlertingParts, Request};
use crate::ports::{AlertCommit, BusEvent, Cursor, JournalError, Lagged, MetaError, ShownAlert, Subscription};
use crate::telemetry::names;
use pulsewire_core::alert::{Alert, Change, Engine, Standing, World};
use pulsewire_core::block::Block;
use pulsewire_core::ids::{AlertId, DeviceKey, Lane, Position, RuleId};
use pulsewire_core::notify::Silence;
use pulsewire_core::ulid::Ulid;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Records read from the journal at a time.
const READ_RECORDS: usize = 256;
/// How long after a failure of journal or store it is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Ticks between two writes of the cursor and all states that changed. What was judged since is judged again after a crash, with
/// the same outcome.
const FLUSH_TICKS: u32 = 10;
/// The same while so many states change that writing them all takes a while.
const FLUSH_TICKS_BUSY: u32 = 60;
/// More than so many states are a while.
const BUSY_STATES: usize = 20_000;
/// States written in one transaction, so that alerts do not wait for all of them.
const STATES_CHUNK: usize = 1_000;
/// Ticks between two looks for alerts that are too old to keep.
const PRUNE_TICKS: u32 = 60;
/// Changes that are decided before they are stored, while a long backlog is judged.
const PENDING_MAX: usize = 500;
/// Devices that a great silence wakes between two looks at samples.
const WAKE_DEVICES: usize = 1_000;
/// While samples wait to be judged, what people are told waits, too: what fires may be over already. Not for longer than this, or an
/// overloaded server would tell nothing.
const TELL_WHILE_BEHIND_AFTER_US: i64 = 15_000_000;
/// How long a count of where the rules stand is taken for the present.
const STANDINGS_FOR: Duration = Duration::from_millis(500);
/// Shortest sleep before a deadline: the clock's own grain.
const SLEEP_MIN: Duration = Duration::from_millis(1);
/// Longest sleep: a wall clock that was set is noticed after it.
const SLEEP_MAX: Duration = Duration::from_secs(1);

pub(super) struct AlertingTask {
    pub(super) options: AlertingOptions,
    pub(super) parts: AlertingParts,
    pub(super) engine: Engine,
    pub(super) telling: Telling,
    pub(super) cursor: Cursor,
    // The cursor that is stored.
    stored: Cursor,
    // Changes that are decided and not stored yet.
    pub(super) pending: Vec<Change>,
    // A commit that could not be stored: tried again as it is before anything else, so that nothing is decided twice.
    unstored: Option<(Arc<AlertCommit>, Vec<Change>)>,
    // A write of all changed states that is under way: up to where they go, and whose are left.
    flushing: Option<(Cursor, Vec<DeviceKey>)>,
    // The journal has records that were not judged; a step of the loop judges some.
    behind: bool,
    // Since when it is behind without a break.
    behind_since_us: Option<i64>,
    // The journal could not be read: the next tick tries again.
    paused: bool,
    // On how many devices each rule stands how, and when that was counted.
    pub(super) standings: Option<(std::time::Instant, BTreeMap<RuleId, Standing>)>,
    ticks: u32,
    flushed_ticks: u32,
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
        for problem in &state.damaged {
            tracing::error!(problem, "something stored of rules and alerts cannot be read and is left out");
        }
        let stored = state.cursor.filter(|c| c.epoch == newest.epoch && c.position <= newest.position);
        // Without rules there is nothing to judge, and how far that came is not stored.
        let cursor = stored.filter(|_| !state.rules.is_empty()).unwrap_or(newest);
        let now_us = parts.clock.now_us();
        let (mut engine, pending, damaged) = {
            let (directory, catalogue) = (read(&parts.directory), read(&parts.catalogue));
            let mut world =
                World { directory: &directory, catalogue: &catalogue, now_us, new_id: &mut || new_id(now_us) };
            Engine::restore(options.limits, state.rules, state.states, state.open, &mut world)
        };
        if state.cursor.is_some_and(|c| c.epoch != newest.epoch || c.position > newest.position) {
            // What the states say of positions is of another journal.
            engine.positions_begin_anew();
        }
        for one in damaged {
            tracing::error!(
                device = one.device.0,
                problem = one.problem,
                "what alerting knew of a device is lost; it begins anew"
            );
        }
        let mut over = Vec::new();
        for id in Telling::alerts_in(&state.groups).into_iter().filter(|id| engine.alert(*id).is_none()) {
            over.extend(parts.store.alert(id).await?.map(|(alert, _)| Arc::new(alert)));
        }
        let mut telling = Telling::new(options.policy);
        telling.restore(state.groups, state.silences, over, &engine, now_us);
        parts.journal.hold(cursor.position);
        // Unequal to the cursor, so that the first flush stores it.
        let stored = stored.unwrap_or(Cursor { epoch: !newest.epoch, position: Position(0) });
        Ok(Self {
            options,
            parts,
            engine,
            telling,
            cursor,
            stored,
            pending,
            unstored: None,
            flushing: None,
            behind: true,
            behind_since_us: None,
            paused: false,
            standings: None,
            ticks: 0,
            flushed_ticks: 0,
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
            let failing = self.unstored.is_some();
            let reads = self.behind && !failing && !self.paused;
            let flushes = self.flushing.is_some() && !failing;
            // What is due while samples wait to be judged is not due perhaps: they come first.
            let sleep = self.until_due().filter(|_| !self.behind && !failing);
            tokio::select! {
                event = commits.next() => match event {
                    Ok(Some(BusEvent::Committed(committed))) => {
                        let next = committed.position.0 == self.cursor.position.0 + 1;
                        if next && !failing {
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
                    Ok(Some(BusEvent::DevicesChanged { devices, .. } | BusEvent::DevicesDeleted { devices })) => {
                        self.with_world(|engine, world, changes| {
                            devices.iter().for_each(|device| engine.device_changed(*device, world, changes));
                        });
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
                () = tokio::time::sleep(sleep.unwrap_or(SLEEP_MAX)), if sleep.is_some() => self.on_time().await,
                // Some at a time, so that people and ticks are served however long the backlog is.
                () = std::future::ready(()), if reads => self.catch_up().await,
                () = std::future::ready(()), if flushes && !reads => self.flush_some().await,
            }
        }
        // What was judged is kept, so that the next start need not do it again.
        let _ = self.flush_all().await;
    }

    /// On how many devices each rule stands how. Counting looks at every device, so what was counted just now is taken again.
    pub(super) fn standings(&mut self) -> &BTreeMap<RuleId, Standing> {
        let fresh = self.standings.take().filter(|(counted, _)| counted.elapsed() < STANDINGS_FOR);
        let engine = &self.engine;
        let (_, standings) =
            self.standings.insert(fresh.unwrap_or_else(|| (std::time::Instant::now(), engine.standings())));
        standings
    }

    /// How long until a timer of the engine or a decision is due; None if nothing is within the longest sleep.
    fn until_due(&mut self) -> Option<Duration> {
        let due_us = [self.engine.next_wake_us(), self.telling.next_us()].into_iter().flatten().min()?;
        let wait_us = due_us.saturating_sub(self.parts.clock.now_us()).max(0).unsigned_abs();
        Some(Duration::from_micros(wait_us).clamp(SLEEP_MIN, SLEEP_MAX))
    }

    async fn on_time(&mut self) {
        self.wake();
        self.store_changes().await;
    }

    /// What time does to conditions; not before the samples that came are judged.
    fn wake(&mut self) {
        let now_us = self.parts.clock.now_us();
        if !self.behind && self.engine.next_wake_us().is_some_and(|due_us| due_us <= now_us) {
            self.with_world(|engine, world, changes| {
                engine.wake(WAKE_DEVICES, world, changes);
            });
        }
    }

    /// Whether people may be told now: of what is known, not of what a sample that waits may have ended.
    fn may_tell(&mut self, now_us: i64) -> bool {
        if !self.behind {
            self.behind_since_us = None;
            return true;
        }
        let since_us = *self.behind_since_us.get_or_insert(now_us);
        now_us.saturating_sub(since_us) > TELL_WHILE_BEHIND_AFTER_US
    }

    async fn on_tick(&mut self) {
        self.ticks = self.ticks.wrapping_add(1);
        self.paused = false;
        if self.pending.is_empty() && self.unstored.is_none() && self.engine.rules().next().is_none() {
            // Without rules nothing is judged, and how far that came is not stored.
            self.parts.journal.hold(self.cursor.position);
        }
        // A failure has been told.
        let _ = self.flush().await;
        let every = if self.engine.dirty() > BUSY_STATES { FLUSH_TICKS_BUSY } else { FLUSH_TICKS };
        if self.ticks.wrapping_sub(self.flushed_ticks) >= every && self.flushing.is_none() {
            self.flushed_ticks = self.ticks;
            self.begin_flush();
        }
        if self.ticks.is_multiple_of(PRUNE_TICKS)
            && let Err(error) =
                self.parts.store.prune_alerts(self.options.history_alerts, self.options.notifications_max).await
        {
            tracing::warn!(%error, "old alerts could not be deleted");
        }
    }

    pub(super) fn with_world(&mut self, act: impl FnOnce(&mut Engine, &mut World<'_>, &mut Vec<Change>)) {
        let now_us = self.parts.clock.now_us();
        let (directory, catalogue) = (read(&self.parts.directory), read(&self.parts.catalogue));
        let mut world = World { directory: &directory, catalogue: &catalogue, now_us, new_id: &mut || new_id(now_us) };
        act(&mut self.engine, &mut world, &mut self.pending);
    }

    fn judge(&mut self, position: Position, received_us: i64, blocks: &[Block]) {
        self.with_world(|engine, world, changes| {
            let judged = engine.apply(position, received_us, blocks, world, changes);
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
                // The cursor moves also while there is no end in sight.
                if self.flushing.is_some() {
                    self.flush_some().await;
                }
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
        let to = to.max(self.cursor.position);
        let lost = to.0 - self.cursor.position.0;
        tracing::error!(after = %self.cursor.position, lost, why, "records were not judged by any rule");
        metrics::counter!(names::ALERTING_LOST).increment(lost);
        self.cursor.position = to;
    }

    /// Stores what was decided at once if anyone has to know; states alone can wait for the tick.
    pub(super) async fn store_changes(&mut self) {
        let due = !self.behind && self.telling.next_us().is_some_and(|due_us| due_us <= self.parts.clock.now_us());
        if !self.pending.is_empty() || due {
            // It is told, and tried again at the next tick.
            let _ = self.flush().await;
        }
    }

    pub(super) fn empty_commit(&self) -> AlertCommit {
        AlertCommit {
            now_us: self.parts.clock.now_us(),
            rule_versions_max: self.options.rule_versions_max,
            ..AlertCommit::default()
        }
    }

    /// Stores the changes that are pending with the states of their devices, and what is told of them.
    pub(super) async fn flush(&mut self) -> Result<(), MetaError> {
        self.store_unstored().await?;
        // Before anybody is told how it stands.
        self.wake();
        let changes = std::mem::take(&mut self.pending);
        let mut commit = self.empty_commit();
        for change in &changes {
            let rule = self.engine.rule(&change.alert.rule);
            self.telling.put(&change.alert, rule, commit.now_us);
        }
        if self.may_tell(commit.now_us) {
            commit.told = self.telling.decide(&self.engine, commit.now_us);
            // Pages show what a silence or a snooze that began or ended by itself has changed.
            for alert in self.telling.take_silence_changes() {
                self.show(&alert);
            }
        }
        commit.groups = self.telling.take_decided();
        if changes.is_empty() && commit.told.is_empty() && commit.groups.is_empty() {
            return Ok(());
        }
        commit.states = self.engine.states_of(&changes);
        commit.changes = Self::changes_of(&changes);
        self.unstored = Some((Arc::new(commit), changes));
        self.store_unstored().await
    }

    async fn store_unstored(&mut self) -> Result<(), MetaError> {
        let Some((commit, _)) = &self.unstored else { return Ok(()) };
        if let Err(error) = self.parts.store.commit(commit.clone()).await {
            if !self.behind {
                tracing::error!(%error, changes = commit.changes.len(),
                    "alerts could not be stored; nothing more is judged until they are");
            }
            // What is committed meanwhile is read from the journal afterwards.
            self.behind = true;
            return Err(error);
        }
        if let Some((commit, changes)) = self.unstored.take() {
            if let Some(cursor) = commit.cursor {
                self.stored = cursor;
                self.parts.journal.hold(cursor.position);
            }
            self.tell(&changes, !commit.told.is_empty());
        }
        Ok(())
    }

    /// Begins to write every state that changed; once all are written, the cursor as it is now moves behind them.
    fn begin_flush(&mut self) {
        if self.cursor != self.stored || self.engine.dirty() > 0 {
            self.flushing = Some((self.cursor, self.engine.take_dirty()));
        }
    }

    async fn flush_some(&mut self) {
        if self.flush().await.is_err() {
            return;
        }
        let Some((cursor, mut keys)) = self.flushing.take() else { return };
        let rest = keys.split_off(keys.len().min(STATES_CHUNK));
        let mut commit = self.empty_commit();
        commit.states = self.engine.states(&keys);
        if rest.is_empty() {
            commit.cursor = Some(cursor);
            commit.groups = self.telling.take_dirty();
        } else {
            self.flushing = Some((cursor, rest));
        }
        self.unstored = Some((Arc::new(commit), Vec::new()));
        // Told already, and tried again.
        let _ = self.store_unstored().await;
    }

    /// Stores everything.
    pub(super) async fn flush_all(&mut self) -> Result<(), MetaError> {
        self.flush().await?;
        // One that is under way has left out what changed since it began.
        self.flush_to_the_end().await?;
        self.begin_flush();
        self.flush_to_the_end().await
    }

    async fn flush_to_the_end(&mut self) -> Result<(), MetaError> {
        while self.flushing.is_some() {
            self.flush_some().await;
            self.store_unstored().await?;
        }
        Ok(())
    }

    pub(super) fn tell(&self, changes: &[Change], told: bool) {
        metrics::gauge!(names::ALERTS_OPEN).set(self.engine.open() as f64);
        for change in changes {
            metrics::counter!(names::ALERT_CHANGES, "kind" => change.step.kind.name()).increment(1);
            let alert = &change.alert;
            tracing::info!(alert = %alert.id, rule = %alert.rule, device = alert.device_id, severity = alert.severity.name(),
                "alert {}", change.step.kind.name());
            self.show(&change.alert);
        }
        if told || !changes.is_empty() {
            self.parts.bus.publish(BusEvent::MessagesQueued);
        }
    }

    fn show(&self, alert: &Arc<Alert>) {
        let quiet = alert.is_open() && self.quiet_of(alert, self.parts.clock.now_us()).is_some();
        self.parts.bus.publish(BusEvent::AlertChanged(ShownAlert { alert: alert.clone(), quiet }));
    }

    /// Pages ask again for what a silence keeps quiet.
    pub(super) fn tell_of_silence(&self, silence: &Silence) {
        for alert in self.engine.alerts().filter(|alert| silence.matches(&|label| alert.label(label))) {
            self.show(alert);
        }
    }
}

fn read<T>(lock: &std::sync::RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    // What is guarded is replaced whole; a panic elsewhere leaves it usable.
    lock.read().unwrap_or_else(std::sync::PoisonError::into_inner)
}
