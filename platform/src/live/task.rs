//! The task that follows the journal, and the one that makes the frames of views.

use super::LiveShared;
use super::fanout::Fanout;
use super::lane::Change;
use crate::ports::{BusEvent, JournalError, Lagged, Subscription};
use crate::telemetry::names;
use pulsewire_core::block::Block;
use pulsewire_core::catalogue::Catalogue;
use pulsewire_core::directory::Directory;
use pulsewire_core::ids::{DeviceKey, Lane, Position};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often presence is looked at.
const SWEEP_INTERVAL: Duration = Duration::from_millis(250);
/// Changes in the lane reach viewers at least this fast; those that come together wake them once.
const LANE_INTERVAL: Duration = Duration::from_millis(100);
/// Records read from the journal at a time when catching up.
const READ_RECORDS: usize = 256;
/// Devices looked at before others may have the fan-out, when it is not known which changed.
const DEVICES_AT_ONCE: usize = 1000;
/// Views ticked before others may have the fan-out.
const TICKS_AT_ONCE: usize = 64;
/// The ticking task looks at least this often, and never twice within a millisecond.
const TICK_LONGEST: Duration = Duration::from_millis(500);

pub(super) struct LiveTask {
    pub shared: Arc<LiveShared>,
    pub cursor: Position,
}

impl LiveTask {
    pub(super) async fn run(
        mut self,
        mut commits: Box<dyn Subscription>,
        mut devices: Box<dyn Subscription>,
        mut events: Box<dyn Subscription>,
    ) {
        // Ends with this task, also when that is aborted.
        let mut beside = tokio::task::JoinSet::new();
        beside.spawn(ticks(self.shared.clone()));
        beside.spawn(lane(self.shared.clone()));
        let mut sweep = tokio::time::interval(SWEEP_INTERVAL);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = commits.next() => match event {
                    Ok(Some(BusEvent::Committed(committed))) => {
                        if committed.position.0 == self.cursor.0 + 1 {
                            let (position, now_us) = (committed.position, committed.batch.received_us);
                            self.apply(position, now_us, &committed.batch.blocks);
                        } else if committed.position > self.cursor {
                            self.catch_up().await;
                        }
                    }
                    Ok(Some(_)) => {}
                    Ok(None) => return,
                    Err(Lagged(events)) => {
                        tracing::debug!(events, "live is behind the bus and reads the journal");
                        self.catch_up().await;
                    }
                },
                event = devices.next() => match event {
                    Ok(Some(BusEvent::DevicesChanged { devices, .. })) => {
                        self.with_devices(|fanout, directory, catalogue| {
                            fanout.devices_changed(&devices, directory, catalogue);
                        });
                    }
                    Ok(Some(BusEvent::DevicesDeleted { devices })) => {
                        devices.iter().for_each(|device| self.shared.presence.forget(*device));
                        self.with_devices(|fanout, _, _| {
                            devices.iter().for_each(|device| fanout.device_removed(*device));
                        });
                    }
                    Ok(Some(_)) => {}
                    Ok(None) => return,
                    Err(Lagged(_)) => self.look_again().await,
                },
                event = events.next() => match event {
                    Ok(Some(event)) => self.on_event(event),
                    Ok(None) => return,
                    Err(Lagged(count)) => {
                        tracing::debug!(count, "live is behind the bus; viewers are told that events are missing");
                        self.push([Change::Lost(count)].into_iter());
                    }
                },
                _ = sweep.tick() => self.sweep(),
            }
            let unfilled = self.shared.fanout().take_unfilled();
            if !unfilled.is_empty() {
                let shared = self.shared.clone();
                beside.spawn(async move {
                    // What cannot be read now is seen with the next sample.
                    let _ = super::subscribe::fill(&shared, None, unfilled).await;
                });
            }
            while beside.try_join_next().is_some() {}
        }
    }

    /// Which devices changed is not known: looks at all, some at a time, so that others have the fan-out in between.
    async fn look_again(&self) {
        let mut all = Vec::new();
        self.with_devices(|_, directory, _| all.extend(directory.after(None).map(|device| device.key)));
        for some in all.chunks(DEVICES_AT_ONCE) {
            self.with_devices(|fanout, directory, catalogue| fanout.devices_changed(some, directory, catalogue));
            tokio::task::yield_now().await;
        }
        self.with_devices(|fanout, directory, _| {
            for device in fanout.devices_without(directory) {
                self.shared.presence.forget(device);
                fanout.device_removed(device);
            }
        });
    }

    fn push(&self, changes: impl Iterator<Item = Change>) {
        let mut lane = self.shared.lane();
        changes.for_each(|change| lane.push(change));
        self.shared.lane_position.store(lane.position(), Ordering::Release);
    }

    fn on_event(&self, event: BusEvent) {
        let change = match event {
            BusEvent::AlertChanged(alert) => {
                let directory = self.shared.parts.directory.read().ok();
                let device = directory.and_then(|directory| directory.by_key(alert.alert.device?).cloned());
                Change::Alert(alert, device)
            }
            BusEvent::CommandChanged(command) => {
                let directory = self.shared.parts.directory.read().ok();
                let device = directory.and_then(|directory| directory.by_key(command.device).cloned());
                Change::Command(command, device)
            }
            _ => return,
        };
        self.push([change].into_iter());
    }

    fn sweep(&self) {
        let stale_after_us = i64::try_from(self.shared.options.stale_after.as_micros()).unwrap_or(i64::MAX);
        let changed = self.shared.presence.sweep(self.shared.parts.clock.now_us(), stale_after_us);
        let Ok(directory) = self.shared.parts.directory.read() else { return };
        let change = |key: DeviceKey| {
            let seen = self.shared.presence.get(key);
            let device = directory.by_key(key)?.clone();
            Some(Change::Presence { device, presence: seen.presence, last_seen_us: seen.last_seen_us })
        };
        self.push(changed.into_iter().filter_map(change));
    }

    fn with_devices(&self, act: impl FnOnce(&mut Fanout, &Directory, &Catalogue)) {
        let parts = &self.shared.parts;
        if let (Ok(directory), Ok(catalogue)) = (parts.directory.read(), parts.catalogue.read()) {
            act(&mut self.shared.fanout(), &directory, &catalogue);
        }
    }

    fn apply(&mut self, position: Position, now_us: i64, blocks: &[Block]) {
        let live = blocks.iter().filter(|block| block.live_rows().next().is_some());
        self.shared.presence.fresh(live.map(Block::device), now_us);
        self.with_devices(|fanout, directory, catalogue| fanout.apply(position, blocks, directory, catalogue));
        self.cursor = position;
        self.shared.applied.notify_waiters();
    }

    /// Goes on after `to` without what was between.
    fn lose(&mut self, to: Position) {
        self.shared.fanout().lose(to);
        self.cursor = to;
        self.shared.applied.notify_waiters();
    }

    /// Reads from the journal what the bus did not bring.
    async fn catch_up(&mut self) {
        loop {
            match self.shared.parts.journal.read(Lane(0), self.cursor, READ_RECORDS).await {
                Ok(records) => {
                    let Some(first) = records.first().map(|r| r.position) else { return };
                    if first.0 > self.cursor.0 + 1 {
                        tracing::warn!(after = %self.cursor, "live is behind what the journal keeps; viewers get a gap");
                        self.lose(Position(first.0 - 1));
                    }
                    for record in records {
                        self.apply(record.position, record.received_us, &record.blocks);
                    }
                }
                Err(JournalError::Corrupt { position, problem }) => {
                    tracing::error!(%position, problem, "a damaged journal record was passed over by live");
                    self.lose(position);
                }
                Err(error) => {
                    // The next commit tries again from the same cursor.
                    tracing::warn!(%error, "live could not read the journal");
                    return;
                }
            }
        }
    }
}

/// Makes the frames of views when they are due.
async fn ticks(shared: Arc<LiveShared>) {
    loop {
        let due_us = shared.fanout().next_due_us();
        let wait = due_us.map_or(TICK_LONGEST, |due| Duration::from_micros(due.saturating_sub(shared.now_us())));
        if wait.is_zero() {
            let (now_us, wall_us) = (shared.now_us(), shared.parts.clock.now_us());
            shared.fanout().tick(now_us, wall_us, TICKS_AT_ONCE);
            tokio::task::yield_now().await;
        } else {
            tokio::select! {
                () = tokio::time::sleep(wait.min(TICK_LONGEST)) => {}
                () = shared.joined.notified() => {}
            }
        }
    }
}

/// Wakes viewers when there are changes for them, and tells the metrics.
async fn lane(shared: Arc<LiveShared>) {
    let mut interval = tokio::time::interval(LANE_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut told = shared.lane_position.load(Ordering::Acquire);
    loop {
        interval.tick().await;
        let newest = shared.lane_position.load(Ordering::Acquire);
        if newest != std::mem::replace(&mut told, newest) {
            let signals: Vec<_> = shared.viewers().values().map(|(_, signal)| signal.clone()).collect();
            signals.iter().for_each(|signal| signal.wake());
        }
        tell_metrics(&shared);
    }
}

fn tell_metrics(shared: &LiveShared) {
    let counts = &shared.counts;
    let tell = |name: &'static str, count: &AtomicU64| metrics::counter!(name).absolute(count.load(Ordering::Relaxed));
    tell(names::LIVE_FRAMES_ENCODED, &counts.frames_encoded);
    tell(names::LIVE_FRAMES_SENT, &counts.frames_sent);
    tell(names::LIVE_BYTES, &counts.bytes_sent);
    tell(names::LIVE_SAMPLES, &counts.samples_sent);
    tell(names::LIVE_DROPPED, &counts.dropped);
    tell(names::LIVE_SNAPSHOTS, &counts.snapshots_encoded);
    tell(names::LIVE_CATCH_UPS, &counts.catch_ups_encoded);
    tell(names::LIVE_EVENTS_LOST, &counts.events_lost);
    let (views, series) = shared.fanout().sizes();
    // Far below 2^53.
    #[allow(clippy::cast_precision_loss)]
    {
        metrics::gauge!(names::LIVE_VIEWS).set(views as f64);
        metrics::gauge!(names::LIVE_SERIES).set(series as f64);
    }
}
