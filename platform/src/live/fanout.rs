//! All subscriptions, found by the device a sample comes from.

use super::events::{Events, TakenEvents};
use super::subscription::{Pending, Subscription, Taken};
use crate::ports::ShownAlert;
use crate::telemetry::names;
use pulsewire_core::block::Block;
use pulsewire_core::catalogue::Catalogue;
use pulsewire_core::command::Command;
use pulsewire_core::directory::Directory;
use pulsewire_core::ids::{DeviceKey, Position, SeriesKey};
use pulsewire_core::selector::Selector;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Names a subscription within the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SubscriptionKey(u64);

/// See the module.
#[derive(Debug)]
pub struct Fanout {
    position: Position,
    next: u64,
    subscriptions: HashMap<SubscriptionKey, Subscription>,
    by_device: HashMap<DeviceKey, HashSet<SubscriptionKey>>,
    everywhere: HashSet<SubscriptionKey>,
    // Per viewer: the devices whose presence it has to be told. Bounded by the number of devices.
    presence: HashMap<ViewerKey, HashSet<DeviceKey>>,
    events: HashMap<ViewerKey, Events>,
    viewer_of: HashMap<SubscriptionKey, ViewerKey>,
}

/// Names a viewer within the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ViewerKey(pub u64);

/// The selector means more series than a subscription may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManySeries(pub usize);

impl Fanout {
    /// A fanout that has read up to `position`.
    pub fn new(position: Position) -> Self {
        Self {
            position,
            next: 0,
            subscriptions: HashMap::new(),
            by_device: HashMap::new(),
            everywhere: HashSet::new(),
            presence: HashMap::new(),
            events: HashMap::new(),
            viewer_of: HashMap::new(),
        }
    }

    /// Adds a viewer.
    pub fn connect(&mut self) -> ViewerKey {
        let key = ViewerKey(self.next);
        self.next += 1;
        self.presence.insert(key, HashSet::new());
        self.events.insert(key, Events::default());
        key
    }

    /// Removes a viewer; its subscriptions are removed one by one before.
    pub fn disconnect(&mut self, viewer: ViewerKey) {
        self.presence.remove(&viewer);
        self.events.remove(&viewer);
    }

    /// Tells every viewer how an alert stands.
    pub fn alert_changed(&mut self, alert: &ShownAlert, pending_max: usize) {
        self.events.values_mut().for_each(|events| events.push_alert(alert, pending_max));
    }

    /// Tells the viewers that select its device how a command stands.
    pub fn command_changed(&mut self, command: &Arc<Command>, pending_max: usize) {
        let named = self.by_device.get(&command.device);
        let selecting = self.everywhere.iter().chain(named.into_iter().flatten());
        // A viewer with several subscriptions is told once.
        let viewers: HashSet<ViewerKey> = selecting.filter_map(|key| self.viewer_of.get(key).copied()).collect();
        for viewer in viewers {
            if let Some(events) = self.events.get_mut(&viewer) {
                events.push_command(command, pending_max);
            }
        }
    }

    /// Events were lost on the way here.
    pub fn lose_events(&mut self, count: u64) {
        self.events.values_mut().for_each(|events| events.lose(count));
    }

    /// Takes what a viewer has to be told of alerts and commands.
    pub fn take_events(&mut self, viewer: ViewerKey) -> TakenEvents {
        self.events.get_mut(&viewer).map(Events::take).unwrap_or_default()
    }

    /// Notes for every viewer the devices it selects among these.
    pub fn presence_changed(&mut self, devices: &HashSet<DeviceKey>) {
        for device in devices {
            let named = self.by_device.get(device);
            for key in self.everywhere.iter().chain(named.into_iter().flatten()) {
                if let Some(due) = self.viewer_of.get(key).and_then(|viewer| self.presence.get_mut(viewer)) {
                    due.insert(*device);
                }
            }
        }
    }

    /// Takes the devices whose presence a viewer has to be told.
    pub fn take_presence(&mut self, viewer: ViewerKey) -> HashSet<DeviceKey> {
        self.presence.get_mut(&viewer).map(std::mem::take).unwrap_or_default()
    }

    /// How far commits were read.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Adds a subscription that gathers from now on, with the series that match now.
    pub fn subscribe(
        &mut self,
        viewer: ViewerKey,
        selector: Selector,
        last_only: bool,
        series_max: usize,
        directory: &Directory,
        catalogue: &Catalogue,
    ) -> Result<(SubscriptionKey, Vec<SeriesKey>), TooManySeries> {
        let devices = selected(&selector, directory);
        let series: Vec<SeriesKey> = devices
            .iter()
            .flat_map(|device| catalogue.of_device(*device))
            .filter(|s| selector.takes_metric(&s.metric))
            .map(|s| s.key)
            .collect();
        if series.len() > series_max {
            return Err(TooManySeries(series.len()));
        }
        let key = SubscriptionKey(self.next);
        self.next += 1;
        self.viewer_of.insert(key, viewer);
        if let Some(due) = self.presence.get_mut(&viewer) {
            due.extend(&devices);
        }
        if selector.takes_every_device() {
            self.everywhere.insert(key);
        } else {
            for device in devices {
                self.by_device.entry(device).or_default().insert(key);
            }
        }
        let mut subscription = Subscription::new(selector, last_only, self.position);
        for one in &series {
            subscription.index_of(*one, series_max);
        }
        self.subscriptions.insert(key, subscription);
        Ok((key, series))
    }

    /// A device with this number now exists: subscriptions that name it begin to receive it.
    pub fn device_added(&mut self, device: DeviceKey, directory: &Directory) {
        let Some(known) = directory.by_key(device) else { return };
        for (key, subscription) in &self.subscriptions {
            if self.everywhere.contains(key) {
                continue;
            }
            if subscription.selector().takes(known) {
                self.by_device.entry(device).or_default().insert(*key);
            } else if let Some(keys) = self.by_device.get_mut(&device) {
                keys.remove(key);
            }
        }
    }

    /// A device is gone.
    pub fn device_removed(&mut self, device: DeviceKey) {
        self.by_device.remove(&device);
    }

    /// Removes a subscription.
    pub fn unsubscribe(&mut self, key: SubscriptionKey) {
        self.everywhere.remove(&key);
        self.viewer_of.remove(&key);
        self.by_device.retain(|_, keys| {
            keys.remove(&key);
            !keys.is_empty()
        });
        self.subscriptions.remove(&key);
    }

    /// Access to one subscription.
    pub fn get_mut(&mut self, key: SubscriptionKey) -> Option<&mut Subscription> {
        self.subscriptions.get_mut(&key)
    }

    /// Takes what waits for a subscription.
    pub fn take(&mut self, key: SubscriptionKey) -> Option<Taken> {
        let position = self.position;
        self.subscriptions.get_mut(&key).map(|s| s.take(position))
    }

    /// Records after `from` up to `to` were not read: every subscription has a gap.
    pub fn lose(&mut self, from: Position, to: Position) {
        self.subscriptions.values_mut().for_each(|s| s.lose(from, to));
        self.position = self.position.max(to);
    }

    /// Distributes a committed record.
    pub fn apply(
        &mut self,
        position: Position,
        blocks: &[Block],
        catalogue: &Catalogue,
        series_max: usize,
        pending_max: usize,
    ) {
        let mut dropped = 0;
        for block in blocks {
            let named = self.by_device.get(&block.device());
            for key in self.everywhere.iter().chain(named.into_iter().flatten()) {
                let Some(subscription) = self.subscriptions.get_mut(key) else { continue };
                dropped += push_block(subscription, position, block, catalogue, series_max, pending_max);
            }
        }
        if dropped > 0 {
            metrics::counter!(names::LIVE_DROPPED).increment(dropped);
        }
        self.position = self.position.max(position);
    }
}

/// Puts the live rows of a block in; answers how many samples found no room.
fn push_block(
    subscription: &mut Subscription,
    position: Position,
    block: &Block,
    catalogue: &Catalogue,
    series_max: usize,
    pending_max: usize,
) -> u64 {
    // By column, once it has a value: the subscription's number for the series, if it takes it.
    let mut indexes: Vec<Option<Option<u32>>> = vec![None; block.set.series.len()];
    let mut dropped = 0;
    for row in block.live_rows() {
        for (column, value) in row.columns() {
            let index = *indexes[column].get_or_insert_with(|| {
                let series = block.set.series[column];
                subscription.known_index(series).or_else(|| {
                    let wanted = catalogue.get(series).is_some_and(|s| subscription.selector().takes_metric(&s.metric));
                    wanted.then(|| subscription.index_of(series, series_max)).flatten()
                })
            });
            let Some(index) = index else { continue };
            let sample = Pending { index, time_us: row.time_us(), value: value.to_value(), position };
            dropped += u64::from(!subscription.push(sample, pending_max));
        }
    }
    dropped
}

/// The devices that a selector means now.
pub fn selected(selector: &Selector, directory: &Directory) -> Vec<DeviceKey> {
    if selector.devices.is_empty() {
        directory.after(None).filter(|d| selector.takes(d)).map(|d| d.key).collect()
    } else {
        let named = selector.devices.iter().filter_map(|id| directory.by_id(id));
        named.filter(|d| selector.takes(d)).map(|d| d.key).collect()
    }
}
