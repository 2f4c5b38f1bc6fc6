//! The task that follows the journal.

use super::LiveParts;
use super::fanout::Fanout;
use super::presence::PresenceTable;
use crate::ports::{BusEvent, JournalError, Lagged, Subscription};
use pulsewire_core::block::Block;
use pulsewire_core::ids::{Lane, Position};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often presence is looked at.
const SWEEP_INTERVAL: Duration = Duration::from_millis(500);
/// Records read from the journal at a time when catching up.
const READ_RECORDS: usize = 256;

pub(super) struct LiveTask {
    pub parts: LiveParts,
    pub fanout: Arc<Mutex<Fanout>>,
    pub presence: Arc<PresenceTable>,
    pub stale_after: Duration,
    pub series_max: usize,
    pub pending_max: usize,
    pub events_max: usize,
    pub cursor: Position,
}

impl LiveTask {
    pub(super) async fn run(
        mut self,
        mut commits: Box<dyn Subscription>,
        mut devices: Box<dyn Subscription>,
        mut events: Box<dyn Subscription>,
    ) {
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
                    Ok(Some(BusEvent::DeviceChanged { device, .. })) => self.with_devices(|fanout, directory| {
                        fanout.device_added(device, directory);
                    }),
                    Ok(Some(BusEvent::DeviceDeleted { device })) => {
                        self.presence.forget(device);
                        self.with_devices(|fanout, _| fanout.device_removed(device));
                    }
                    Ok(Some(_)) => {}
                    Ok(None) => return,
                    Err(Lagged(_)) => self.with_devices(|fanout, directory| {
                        let all: Vec<_> = directory.after(None).map(|d| d.key).collect();
                        all.into_iter().for_each(|device| fanout.device_added(device, directory));
                    }),
                },
                event = events.next() => match event {
                    Ok(Some(event)) => self.on_event(&event),
                    Ok(None) => return,
                    Err(Lagged(count)) => {
                        tracing::debug!(count, "live is behind the bus; viewers are told that events are missing");
                        if let Ok(mut fanout) = self.fanout.lock() {
                            fanout.lose_events(count);
                        }
                    }
                },
                _ = sweep.tick() => {
                    let stale_after_us = i64::try_from(self.stale_after.as_micros()).unwrap_or(i64::MAX);
                    let changed = self.presence.sweep(self.parts.clock.now_us(), stale_after_us);
                    if !changed.is_empty() && let Ok(mut fanout) = self.fanout.lock() {
                        fanout.presence_changed(&changed);
                    }
                }
            }
        }
    }

    fn on_event(&self, event: &BusEvent) {
        let Ok(mut fanout) = self.fanout.lock() else { return };
        match event {
            BusEvent::AlertChanged(alert) => fanout.alert_changed(alert, self.events_max),
            BusEvent::CommandChanged(command) => fanout.command_changed(command, self.events_max),
            _ => {}
        }
    }

    fn with_devices(&self, act: impl FnOnce(&mut Fanout, &pulsewire_core::directory::Directory)) {
        if let (Ok(directory), Ok(mut fanout)) = (self.parts.directory.read(), self.fanout.lock()) {
            act(&mut fanout, &directory);
        }
    }

    fn apply(&mut self, position: Position, now_us: i64, blocks: &[Block]) {
        let live = blocks.iter().filter(|block| block.live_rows().next().is_some());
        self.presence.fresh(live.map(Block::device), now_us);
        if let (Ok(catalogue), Ok(mut fanout)) = (self.parts.catalogue.read(), self.fanout.lock()) {
            fanout.apply(position, blocks, &catalogue, self.series_max, self.pending_max);
        }
        self.cursor = position;
    }

    /// Goes on after `to` without what was between.
    fn lose(&mut self, to: Position) {
        if let Ok(mut fanout) = self.fanout.lock() {
            fanout.lose(self.cursor, to);
        }
        self.cursor = to;
    }

    /// Reads from the journal what the bus did not bring.
    async fn catch_up(&mut self) {
        loop {
            match self.parts.journal.read(Lane(0), self.cursor, READ_RECORDS).await {
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
