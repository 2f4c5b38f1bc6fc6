//! What the fan-out may hold, what it says when that is too little, and what it did.

use std::sync::atomic::AtomicU64;

/// Bounds; each is a key of `[live]` in the configuration.
#[derive(Debug, Clone)]
#[allow(missing_docs)] // documented with the keys
pub struct FanoutLimits {
    pub series_max: usize,
    pub inputs_max: usize,
    pub views_max: usize,
    pub view_series_max: usize,
    pub view_linger_us: u64,
    pub idle_series_max: usize,
    pub pending_samples_max: usize,
    pub ring_frames: usize,
    pub ring_bytes_max: usize,
    pub rings_bytes_max: usize,
    pub slow_interval_us: u64,
    pub across_stale_us: i64,
}

/// What was done since the start.
#[derive(Debug, Default)]
pub struct Counts {
    /// Frames made by ticks of views.
    pub frames_encoded: AtomicU64,
    /// Frames sent to viewers.
    pub frames_sent: AtomicU64,
    /// Bytes sent to viewers.
    pub bytes_sent: AtomicU64,
    /// Samples sent to viewers.
    pub samples_sent: AtomicU64,
    /// Snapshots made for those who join.
    pub snapshots_encoded: AtomicU64,
    /// Catch-ups made for those who were behind.
    pub catch_ups_encoded: AtomicU64,
    /// Samples that viewers were too slow for.
    pub dropped: AtomicU64,
    /// EVENTS_LOST sent.
    pub events_lost: AtomicU64,
}

/// Why there is no such view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unservable {
    /// It has more series than one subscription may.
    TooManySeries {
        /// What it has.
        found: usize,
        /// What it may have.
        allowed: usize,
    },
    /// All views together have as many series as they may, or there are too many.
    Full,
}
