//! What became of everything, for people to read.

use super::round::Counts;
use foldhash::HashMap;
use pulsewire_core::accounting::Accounting;
use pulsewire_core::ids::DeviceKey;
use std::collections::VecDeque;
use std::sync::RwLock;

/// Seconds over which the rate is averaged.
const RATE_SECONDS: i64 = 10;

/// Accounts per device and in total, as of the newest commit, and the rate of late.
#[derive(Debug, Default)]
pub struct Accounts {
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    devices: HashMap<DeviceKey, Accounting>,
    total: Accounting,
    // (second, values stored in it), newest last.
    recent: VecDeque<(i64, u64)>,
}

impl Accounts {
    /// Accounts as read from the store.
    pub fn new(accounts: Vec<(DeviceKey, Accounting)>) -> Self {
        let mut inner = Inner::default();
        for (device, accounting) in accounts {
            inner.total.add(&accounting);
            inner.devices.insert(device, accounting);
        }
        Self { inner: RwLock::new(inner) }
    }

    /// One device's account.
    pub fn of(&self, device: DeviceKey) -> Accounting {
        self.inner.read().map(|i| i.devices.get(&device).copied().unwrap_or_default()).unwrap_or_default()
    }

    /// All devices together, deleted ones included until the next start.
    pub fn total(&self) -> Accounting {
        self.inner.read().map(|i| i.total).unwrap_or_default()
    }

    /// Values stored per second, averaged over the last ten whole seconds.
    pub fn values_per_s(&self, now_us: i64) -> f64 {
        let second = now_us.div_euclid(1_000_000);
        let Ok(inner) = self.inner.read() else { return 0.0 };
        let window = second - RATE_SECONDS..second;
        let values: u64 = inner.recent.iter().filter(|(s, _)| window.contains(s)).map(|(_, n)| n).sum();
        // Counts of ten seconds are far below 2^53.
        #[allow(clippy::cast_precision_loss)]
        let rate = values as f64 / RATE_SECONDS as f64;
        rate
    }

    pub(super) fn add(&self, changes: &Counts, now_us: i64) {
        let Ok(mut inner) = self.inner.write() else { return };
        let second = now_us.div_euclid(1_000_000);
        let mut stored = 0;
        for (device, change) in changes {
            inner.devices.entry(*device).or_default().add(change);
            inner.total.add(change);
            stored += change.stored;
        }
        match inner.recent.back_mut() {
            Some((s, n)) if *s == second => *n += stored,
            _ => inner.recent.push_back((second, stored)),
        }
        while inner.recent.len() > usize::try_from(RATE_SECONDS).unwrap_or(10) + 2 {
            inner.recent.pop_front();
        }
    }

    pub(super) fn forget(&self, device: DeviceKey) {
        if let Ok(mut inner) = self.inner.write() {
            inner.devices.remove(&device);
        }
    }
}
