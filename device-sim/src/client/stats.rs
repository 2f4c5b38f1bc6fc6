use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// What one or many devices have done so far; shared by them.
#[derive(Debug, Default)]
pub struct ClientStats {
    /// Sessions that are live now.
    pub connected: AtomicU64,
    /// Logins so far.
    pub logins: AtomicU64,
    /// Sessions and attempts that ended without having been asked to.
    pub disconnects: AtomicU64,
    /// Reports sent, each time counted.
    pub sent: AtomicU64,
    /// Values in them.
    pub samples: AtomicU64,
    /// Reports acknowledged, once each.
    pub acknowledged: AtomicU64,
    /// Values that the server rejected.
    pub rejected: AtomicU64,
    /// Commands received, each time counted.
    pub commands: AtomicU64,
    /// Readings that were not reported because the spool was full.
    pub dropped: AtomicU64,
    last_problem: Mutex<Option<String>>,
}

impl ClientStats {
    /// The last problem of any device, for people.
    pub fn last_problem(&self) -> Option<String> {
        self.last_problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn problem(&self, text: &str) {
        *self.last_problem.lock().unwrap_or_else(PoisonError::into_inner) = Some(text.to_owned());
    }

    pub(crate) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Relaxed);
    }

    /// A counter's value.
    pub fn get(counter: &AtomicU64) -> u64 {
        counter.load(Relaxed)
    }
}
