//! Who is logged in: at most one session per device, the newer wins.

use super::login::Credential;
use pulsewire_core::ids::{DeviceKey, SessionEpoch};
use pulsewire_proto::CloseCode;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard};
use tokio::sync::watch;

/// Tells a session to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndSession {
    /// Why.
    pub code: CloseCode,
    /// For a human.
    pub text: String,
}

struct Entry {
    epoch: SessionEpoch,
    // What it logged in with.
    proven: Credential,
    end: watch::Sender<Option<EndSession>>,
}

/// See the module.
pub struct Registry {
    boot: u32,
    next: AtomicU32,
    sessions: Mutex<HashMap<DeviceKey, Entry>>,
    // Set once the server stops: a session that begins after that is told at once.
    stopping: Mutex<Option<EndSession>>,
}

impl Registry {
    /// `boot` must be greater than at every earlier start, so that epochs grow over restarts.
    pub fn new(boot: u32) -> Self {
        Self { boot, next: AtomicU32::new(1), sessions: Mutex::default(), stopping: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<DeviceKey, Entry>> {
        self.sessions.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Enters a session and ends the one that the device had.
    pub fn enter(&self, device: DeviceKey, proven: Credential) -> (SessionEpoch, watch::Receiver<Option<EndSession>>) {
        let mut sessions = self.lock();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let epoch = SessionEpoch(u64::from(self.boot) << 32 | u64::from(number));
        let stopping = self.stopping.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let (end, ending) = watch::channel(stopping);
        if let Some(old) = sessions.insert(device, Entry { epoch, proven, end }) {
            let text = "a newer session of this device took over; if that was not this device, replace its secret";
            old.end.send_replace(Some(EndSession { code: CloseCode::Superseded, text: text.into() }));
        }
        (epoch, ending)
    }

    /// Removes a session, unless a newer one has taken its place.
    pub fn leave(&self, device: DeviceKey, epoch: SessionEpoch) {
        let mut sessions = self.lock();
        if sessions.get(&device).is_some_and(|entry| entry.epoch == epoch) {
            sessions.remove(&device);
        }
    }

    /// Ends a device's session, if it has one.
    pub fn close(&self, device: DeviceKey, code: CloseCode, text: &str) {
        if let Some(entry) = self.lock().get(&device) {
            entry.end.send_replace(Some(EndSession { code, text: text.into() }));
        }
    }

    /// What a device's session logged in with.
    pub fn proven(&self, device: DeviceKey) -> Option<(SessionEpoch, Credential)> {
        self.lock().get(&device).map(|entry| (entry.epoch, entry.proven))
    }

    /// Every session, and what it logged in with.
    pub fn all(&self) -> Vec<(DeviceKey, SessionEpoch, Credential)> {
        self.lock().iter().map(|(device, entry)| (*device, entry.epoch, entry.proven)).collect()
    }

    /// Ends a session, unless a newer one has taken its place.
    pub fn close_session(&self, device: DeviceKey, epoch: SessionEpoch, code: CloseCode, text: &str) {
        if let Some(entry) = self.lock().get(&device).filter(|entry| entry.epoch == epoch) {
            entry.end.send_replace(Some(EndSession { code, text: text.into() }));
        }
    }

    /// Ends every session, also those that begin from now on.
    pub fn stop(&self, code: CloseCode, text: &str) {
        let end = EndSession { code, text: text.into() };
        *self.stopping.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(end.clone());
        for entry in self.lock().values() {
            entry.end.send_replace(Some(end.clone()));
        }
    }

    /// How many sessions there are.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.lock().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_session_ends_the_older_and_outlives_its_leaving() {
        let registry = Registry::new(7);
        let device = DeviceKey(1);
        let (old, ending) = registry.enter(device, Credential::Token([1; 32]));
        let (new, _still) = registry.enter(device, Credential::Token([2; 32]));
        assert!(new > old && new.0 >> 32 == 7);
        assert_eq!(ending.borrow().as_ref().map(|e| e.code), Some(CloseCode::Superseded));
        registry.leave(device, old);
        assert_eq!(registry.len(), 1);
        registry.leave(device, new);
        assert_eq!(registry.len(), 0);
    }
}
