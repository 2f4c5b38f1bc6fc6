//! A cap on one person's messages within a minute.

/// The time over which messages are counted, in µs.
pub const MINUTE_US: i64 = 60_000_000;
/// Most messages a minute that a cap may allow.
pub const PER_MINUTE_MAX: u32 = 60;

/// How many messages one person gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StormCap {
    per_minute: u32,
}

/// A cap out of range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("per_minute is {given}; 1 to {PER_MINUTE_MAX} is allowed")]
pub struct StormCapError {
    /// As given.
    pub given: u32,
}

impl Default for StormCap {
    /// Ten: one every six seconds is more than anyone reads.
    fn default() -> Self {
        Self { per_minute: 10 }
    }
}

impl StormCap {
    /// At most so many messages within any 60 seconds, 1 to 60.
    ///
    /// # Errors
    /// [`StormCapError`].
    pub fn new(per_minute: u32) -> Result<Self, StormCapError> {
        if (1..=PER_MINUTE_MAX).contains(&per_minute) {
            Ok(Self { per_minute })
        } else {
            Err(StormCapError { given: per_minute })
        }
    }

    /// As given.
    pub fn per_minute(self) -> u32 {
        self.per_minute
    }

    /// When the next message may go, if not now. `sent_us` are the times of those that went, in any order; what went more than
    /// a minute ago does not count, nor does what seems to have gone later than now: the clock was set back since.
    pub fn full_until_us(self, sent_us: &[i64], now_us: i64) -> Option<i64> {
        let within = |at: &&i64| **at <= now_us && at.saturating_add(MINUTE_US) > now_us;
        let mut recent: Vec<i64> = sent_us.iter().filter(within).copied().collect();
        recent.sort_unstable();
        // With as many within a minute as the cap allows, the oldest of these has to leave it. A lowered cap may have more.
        let allowed = usize::try_from(self.per_minute).unwrap_or(usize::MAX);
        let oldest = recent.len().checked_sub(allowed).and_then(|index| recent.get(index))?;
        Some(oldest.saturating_add(MINUTE_US))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: i64 = 1_000_000;

    #[test]
    fn what_is_over_the_cap_waits_until_the_oldest_is_a_minute_old() {
        let cap = StormCap::new(3).expect("in range");
        assert_eq!(cap.full_until_us(&[10 * S, 11 * S], 12 * S), None);
        let sent = [12 * S, 10 * S, 11 * S];
        assert_eq!(cap.full_until_us(&sent, 12 * S), Some(70 * S));
        assert_eq!((cap.full_until_us(&sent, 70 * S - 1), cap.full_until_us(&sent, 70 * S)), (Some(70 * S), None));
    }

    #[test]
    fn a_cap_out_of_range_is_refused() {
        assert!(StormCap::new(0).is_err() && StormCap::new(61).is_err());
        assert_eq!(StormCap::new(0).expect_err("zero").to_string(), "per_minute is 0; 1 to 60 is allowed");
    }

    #[test]
    fn a_lowered_cap_waits_for_the_newest_and_a_clock_set_back_blocks_nobody() {
        let narrow = StormCap::new(2).expect("ok");
        let sent: Vec<i64> = (100..105).map(|second| second * S).collect();
        assert_eq!(narrow.full_until_us(&sent, 105 * S), Some(163 * S), "the two newest count");
        assert_eq!(narrow.full_until_us(&sent, 50 * S), None);
    }

    proptest! {
        #[test]
        fn never_more_than_the_cap_within_a_minute(
            per_minute in 1u32..8,
            gaps in proptest::collection::vec(0i64..20 * S, 1..200),
        ) {
            let cap = StormCap::new(per_minute).expect("in range");
            let (mut now, mut out) = (0, Vec::new());
            for gap in &gaps {
                now += gap;
                match cap.full_until_us(&out, now) {
                    None => out.push(now),
                    Some(until) => prop_assert!(until > now && cap.full_until_us(&out, until).is_none()),
                }
            }
            for pair in out.windows(per_minute as usize + 1) {
                prop_assert!(pair[pair.len() - 1] - pair[0] >= MINUTE_US);
            }
        }
    }
}
