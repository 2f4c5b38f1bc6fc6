//! Who is there. The hub writes it at login and at the end of a session, ingest's commits keep it fresh.

use pulsewire_core::device::Device;
use pulsewire_core::ids::{DeviceKey, SessionEpoch};
use pulsewire_core::presence::{Presence, presence};
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard};

/// What is known of a device's presence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Offline, online or stale.
    pub presence: Presence,
    /// µs since the Unix epoch; None = never.
    pub last_seen_us: Option<i64>,
    /// As said at the last login.
    pub firmware: Option<String>,
}

#[derive(Debug, Clone)]
struct Entry {
    session: Option<SessionEpoch>,
    fresh_us: i64,
    last_seen_us: Option<i64>,
    firmware: Option<String>,
    shown: Presence,
    unsaved: bool,
}

#[derive(Debug, Default)]
struct Inner {
    devices: HashMap<DeviceKey, Entry>,
    // Devices whose shown presence changed since the task looked last.
    changed: HashSet<DeviceKey>,
}

/// Presence of every device that was ever seen.
#[derive(Debug, Default)]
pub struct PresenceTable {
    inner: Mutex<Inner>,
}

impl PresenceTable {
    /// Everyone offline, last seen as stored.
    pub fn new(devices: &[Device]) -> Self {
        let entry = |d: &Device| Entry {
            session: None,
            fresh_us: 0,
            last_seen_us: d.last_seen_us,
            firmware: d.firmware.clone(),
            shown: Presence::Offline,
            unsaved: false,
        };
        let devices = devices.iter().map(|d| (d.key, entry(d))).collect();
        Self { inner: Mutex::new(Inner { devices, changed: HashSet::new() }) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // The guarded code does not panic; were it poisoned, its content would still be whole.
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A session began.
    pub fn connected(&self, device: DeviceKey, epoch: SessionEpoch, now_us: i64, firmware: &str) {
        let mut inner = self.lock();
        // Two logins of one device may come here in either order.
        if inner.devices.get(&device).and_then(|e| e.session).is_some_and(|newer| newer > epoch) {
            return;
        }
        let entry = Entry {
            session: Some(epoch),
            fresh_us: now_us,
            last_seen_us: Some(now_us),
            firmware: Some(firmware.to_owned()).filter(|f| !f.is_empty()),
            shown: Presence::Online,
            unsaved: true,
        };
        inner.devices.insert(device, entry);
        inner.changed.insert(device);
    }

    /// A session ended. Does nothing unless it is the newest one: a superseded session cannot take its device offline.
    pub fn disconnected(&self, device: DeviceKey, epoch: SessionEpoch, now_us: i64) {
        let mut inner = self.lock();
        let Some(entry) = inner.devices.get_mut(&device).filter(|e| e.session == Some(epoch)) else { return };
        entry.session = None;
        entry.last_seen_us = Some(now_us);
        entry.shown = Presence::Offline;
        entry.unsaved = true;
        inner.changed.insert(device);
    }

    /// Live telemetry of these devices was stored.
    pub fn fresh(&self, devices: impl Iterator<Item = DeviceKey>, now_us: i64) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        for device in devices {
            let Some(entry) = inner.devices.get_mut(&device) else { continue };
            entry.last_seen_us = Some(now_us);
            entry.unsaved = true;
            if entry.session.is_some() {
                entry.fresh_us = now_us;
                if entry.shown != Presence::Online {
                    entry.shown = Presence::Online;
                    inner.changed.insert(device);
                }
            }
        }
    }

    /// Looks for sessions that became stale and takes the devices whose presence changed since the last call.
    pub fn sweep(&self, now_us: i64, stale_after_us: i64) -> HashSet<DeviceKey> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        for (device, entry) in &mut inner.devices {
            let now = presence(entry.session.is_some(), entry.fresh_us, now_us, stale_after_us);
            if now != entry.shown {
                entry.shown = now;
                inner.changed.insert(*device);
            }
        }
        std::mem::take(&mut inner.changed)
    }

    /// What is known of a device.
    pub fn get(&self, device: DeviceKey) -> Seen {
        self.lock().devices.get(&device).map_or(
            Seen { presence: Presence::Offline, last_seen_us: None, firmware: None },
            |e| Seen { presence: e.shown, last_seen_us: e.last_seen_us, firmware: e.firmware.clone() },
        )
    }

    /// Presence and last sign of life of many devices, in their order. Others wait for a thousand of them at most.
    pub fn of_each(&self, devices: impl Iterator<Item = DeviceKey>) -> Vec<(Presence, Option<i64>)> {
        let mut devices = devices.peekable();
        let mut seen = Vec::with_capacity(devices.size_hint().0);
        while devices.peek().is_some() {
            let inner = self.lock();
            let of = |device: DeviceKey| {
                inner.devices.get(&device).map_or((Presence::Offline, None), |e| (e.shown, e.last_seen_us))
            };
            seen.extend(devices.by_ref().take(1_000).map(of));
        }
        seen
    }

    /// How many devices are online and how many stale.
    pub fn counts(&self) -> (usize, usize) {
        let inner = self.lock();
        let count = |p| inner.devices.values().filter(|e| e.shown == p).count();
        (count(Presence::Online), count(Presence::Stale))
    }

    /// Forgets a deleted device.
    pub fn forget(&self, device: DeviceKey) {
        self.lock().devices.remove(&device);
    }

    /// Takes what changed since the last call, for the store.
    pub fn take_unsaved(&self) -> Vec<(DeviceKey, i64, String)> {
        let mut inner = self.lock();
        let unsaved = inner.devices.iter_mut().filter_map(|(device, entry)| {
            std::mem::take(&mut entry.unsaved).then_some(())?;
            Some((*device, entry.last_seen_us?, entry.firmware.clone().unwrap_or_default()))
        });
        unsaved.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_superseded_session_cannot_take_its_device_offline() {
        let (table, device) = (PresenceTable::default(), DeviceKey(1));
        table.connected(device, SessionEpoch(1), 10, "1.0");
        table.connected(device, SessionEpoch(2), 20, "1.1");
        table.disconnected(device, SessionEpoch(1), 30);
        assert_eq!(table.get(device).presence, Presence::Online);
        table.disconnected(device, SessionEpoch(2), 40);
        assert_eq!(table.get(device).presence, Presence::Offline);
        assert_eq!(table.get(device).last_seen_us, Some(40));
    }

    #[test]
    fn a_silent_device_becomes_stale_and_fresh_again_with_its_next_report() {
        let (table, device) = (PresenceTable::default(), DeviceKey(1));
        table.connected(device, SessionEpoch(1), 0, "");
        assert_eq!(table.sweep(50, 100).len(), 1);
        assert_eq!(table.sweep(101, 100).len(), 1);
        assert_eq!(table.get(device).presence, Presence::Stale);
        table.fresh([device].into_iter(), 150);
        assert_eq!(table.get(device).presence, Presence::Online);
        assert_eq!(table.counts(), (1, 0));
    }
}
