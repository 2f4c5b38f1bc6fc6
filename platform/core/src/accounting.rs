//! What became of everything a device sent.

use crate::sample::RejectReason;

/// The largest count: what a signed 64-bit column holds.
pub const COUNT_MAX: u64 = i64::MAX as u64;

/// Why values that arrived were neither stored nor rejected. None of them was acknowledged, so a device sends them again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// The store could not take them.
    NotStored = 0,
    /// Reports before them were missing.
    SequenceGap = 1,
    /// Their number was stored with other content: two devices share one identity.
    Clone = 2,
    /// Their stream is not open.
    UnknownStream = 3,
    /// Their session had been told to end.
    SessionEnded = 4,
}

impl DropReason {
    /// Every reason, by number.
    pub const ALL: [Self; 5] =
        [Self::NotStored, Self::SequenceGap, Self::Clone, Self::UnknownStream, Self::SessionEnded];

    /// The label used in the API and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotStored => "not_stored",
            Self::SequenceGap => "sequence_gap",
            Self::Clone => "clone",
            Self::UnknownStream => "unknown_stream",
            Self::SessionEnded => "session_ended",
        }
    }
}

/// Counts for one device since it was created.
///
/// All but `reports` and `skipped` count values (metric readings). `received = stored + duplicate + rejected + dropped`
/// holds at all times; `late` and `replaced` say something more about stored ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Accounting {
    /// Reports accepted, without repeats and skips.
    pub reports: u64,
    /// Reports the device declared as lost. They never arrived.
    pub skipped: u64,
    /// Values that arrived.
    pub received: u64,
    /// Values stored.
    pub stored: u64,
    /// Values of reports that came again.
    pub duplicate: u64,
    /// Values not stored and never to be, by [`RejectReason`].
    pub rejected: [u64; RejectReason::ALL.len()],
    /// Values not stored and not acknowledged, by [`DropReason`].
    pub dropped: [u64; DropReason::ALL.len()],
    /// Stored values that were older than the newest of their device when they came.
    pub late: u64,
    /// Stored values that took the place of one with the same time.
    pub replaced: u64,
}

impl Accounting {
    /// Adds another count to this one.
    pub fn add(&mut self, other: &Self) {
        self.reports += other.reports;
        // A device says itself how much it skipped, so this one can be made to overflow.
        self.skipped = self.skipped.saturating_add(other.skipped).min(COUNT_MAX);
        self.received += other.received;
        self.stored += other.stored;
        self.duplicate += other.duplicate;
        self.rejected.iter_mut().zip(other.rejected).for_each(|(sum, n)| *sum += n);
        self.dropped.iter_mut().zip(other.dropped).for_each(|(sum, n)| *sum += n);
        self.late += other.late;
        self.replaced += other.replaced;
    }

    /// Values rejected, for whatever reason.
    pub fn rejected_in_all(&self) -> u64 {
        self.rejected.iter().sum()
    }

    /// Values dropped, for whatever reason.
    pub fn dropped_in_all(&self) -> u64 {
        self.dropped.iter().sum()
    }

    /// True if every value that arrived is accounted for.
    pub fn balances(&self) -> bool {
        self.received == self.stored + self.duplicate + self.rejected_in_all() + self.dropped_in_all()
    }

    /// True if nothing was counted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// How many counts [`counts`](Self::counts) answers.
    pub const COUNTS: usize = 7 + RejectReason::ALL.len() + DropReason::ALL.len();

    /// Every count, in the order in which they are kept on disk.
    pub fn counts(&self) -> [u64; Self::COUNTS] {
        let mut counts = [0; Self::COUNTS];
        let plain = [self.reports, self.skipped, self.received, self.stored, self.duplicate, self.late, self.replaced];
        let all = plain.into_iter().chain(self.rejected).chain(self.dropped);
        counts.iter_mut().zip(all).for_each(|(count, n)| *count = n);
        counts
    }

    /// The reverse of [`counts`](Self::counts). Missing ones are 0, so that counts can be appended later.
    pub fn from_counts(counts: &[u64]) -> Self {
        let mut all = counts.iter().copied().chain(std::iter::repeat(0));
        let mut next = || all.next().unwrap_or(0);
        Self {
            reports: next(),
            skipped: next(),
            received: next(),
            stored: next(),
            duplicate: next(),
            late: next(),
            replaced: next(),
            rejected: std::array::from_fn(|_| next()),
            dropped: std::array::from_fn(|_| next()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_read_back_as_written() {
        let written: [u64; Accounting::COUNTS] = std::array::from_fn(|at| at as u64 + 1);
        let accounting = Accounting::from_counts(&written);
        assert_eq!(accounting.counts(), written);
        // The order on disk.
        assert_eq!([accounting.reports, accounting.skipped, accounting.received, accounting.stored], [1, 2, 3, 4]);
        assert_eq!([accounting.duplicate, accounting.late, accounting.replaced], [5, 6, 7]);
        assert_eq!(accounting.rejected[0], 8);
        assert_eq!(accounting.dropped.last(), written.last());
        let before = Accounting::from_counts(&written[..4]);
        assert_eq!((before.stored, before.duplicate), (4, 0), "a count added since is 0");
    }
}
