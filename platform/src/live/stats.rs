//! Who is on the live socket, who is slow, and by how much.

use super::fanout::cursor::Shown;
use super::fanout::{Cursor, Standing};
use pulsewire_core::ids::UserName;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

/// What is known of one viewer.
#[derive(Debug)]
pub struct ViewerStats {
    id: u64,
    user: UserName,
    address: Option<IpAddr>,
    since_us: i64,
    frames: AtomicU64,
    subscriptions: Mutex<HashMap<u32, Shown>>,
}

/// One viewer as an administrator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewerStatus {
    /// Its number since the start.
    pub id: u64,
    /// Who it is.
    pub user: UserName,
    /// Where it comes from.
    pub address: Option<IpAddr>,
    /// When it came, µs since the Unix epoch.
    pub since_us: i64,
    /// How many subscriptions it has.
    pub subscriptions: usize,
    /// Frames it was sent.
    pub frames: u64,
    /// How the subscription that is furthest behind stands.
    pub standing: Standing,
}

impl ViewerStats {
    /// A viewer that just came.
    pub fn new(id: u64, user: UserName, address: Option<IpAddr>, since_us: i64) -> Self {
        Self { id, user, address, since_us, frames: AtomicU64::new(0), subscriptions: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Shown>> {
        // The guarded code does not panic; were it poisoned, its content would still be whole.
        self.subscriptions.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Frames were handed over.
    pub fn sent(&self, frames: u64) {
        self.frames.fetch_add(frames, Ordering::Relaxed);
    }

    /// A subscription began.
    pub fn subscribed(&self, number: u32, cursor: &Cursor) {
        self.lock().insert(number, cursor.shown());
    }

    /// A subscription ended.
    pub fn unsubscribed(&self, number: u32) {
        self.lock().remove(&number);
    }

    /// How it stands.
    pub fn status(&self, now_us: u64) -> ViewerStatus {
        let subscriptions = self.lock();
        let standings = subscriptions.values().map(|shown| shown.standing(now_us));
        let furthest = standings.max_by_key(|s| (s.behind_us, s.interval_us)).unwrap_or_default();
        let slow = subscriptions.values().any(|shown| shown.standing(now_us).slow);
        ViewerStatus {
            id: self.id,
            user: self.user.clone(),
            address: self.address,
            since_us: self.since_us,
            subscriptions: subscriptions.len(),
            frames: self.frames.load(Ordering::Relaxed),
            standing: Standing { slow: slow || furthest.is_late(), ..furthest },
        }
    }
}

impl Standing {
    /// More than two of its intervals, and at least a second, are missing.
    pub fn is_late(&self) -> bool {
        self.behind_us > (2 * self.interval_us).max(1_000_000)
    }
}
