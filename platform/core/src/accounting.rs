//! What became of everything a device sent.

/// The largest count: what a signed 64-bit column holds.
pub const COUNT_MAX: u64 = i64::MAX as u64;

/// Counts for one device since it was created.
///
/// `received`, `stored`, `rejected` and `replaced` count values (metric readings); `reports`, `duplicate` and `skipped`
/// count reports. `received = stored + rejected` holds at all times; `replaced` says how many stored values took the place
/// of one with the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Accounting {
    /// Reports accepted, without repeats and skips.
    pub reports: u64,
    /// Reports that came again.
    pub duplicate: u64,
    /// Reports the device declared as lost.
    pub skipped: u64,
    /// Values in accepted reports.
    pub received: u64,
    /// Values stored.
    pub stored: u64,
    /// Values not stored, each for a stated reason.
    pub rejected: u64,
    /// Stored values that replaced one of the same time.
    pub replaced: u64,
}

impl Accounting {
    /// Adds another count to this one.
    pub fn add(&mut self, other: &Self) {
        self.reports += other.reports;
        self.duplicate += other.duplicate;
        // A device says itself how much it skipped, so this one can be made to overflow.
        self.skipped = self.skipped.saturating_add(other.skipped).min(COUNT_MAX);
        self.received += other.received;
        self.stored += other.stored;
        self.rejected += other.rejected;
        self.replaced += other.replaced;
    }

    /// True if nothing was counted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
