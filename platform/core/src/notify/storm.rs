//! A cap on one person's messages: what is over it becomes one digest.

use crate::severity::Severity;
use std::collections::VecDeque;

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
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It goes out.
    Send,
    /// It is counted, and the next digest tells of it.
    Held,
}

/// One message in place of many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest {
    /// How many messages it stands for.
    pub count: u32,
    /// The worst severity among them.
    pub worst: Severity,
}

/// One person's last minute. Takes at most 60 times; forgetting it at a restart costs at most one minute's messages more.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Storm {
    sent_us: VecDeque<i64>,
    held: Option<Digest>,
}

impl Storm {
    /// How many messages may go now. None while a digest waits: it comes first, so that nothing overtakes what is older.
    pub fn room(&self, cap: StormCap, now_us: i64) -> u32 {
        if self.held.is_some() {
            return 0;
        }
        cap.per_minute.saturating_sub(self.counted(now_us))
    }

    /// Takes a message: it goes out, or is counted for the digest.
    pub fn offer(&mut self, cap: StormCap, severity: Severity, now_us: i64) -> Verdict {
        if self.room(cap, now_us) > 0 {
            self.sent(cap, now_us);
            return Verdict::Send;
        }
        let held = self.held.get_or_insert(Digest { count: 0, worst: severity });
        held.count = held.count.saturating_add(1);
        held.worst = held.worst.max(severity);
        Verdict::Held
    }

    /// When the digest may go, if one waits.
    pub fn due_us(&self, cap: StormCap) -> Option<i64> {
        self.held?;
        // With as many within a minute as the cap allows, the oldest of these has to leave it. A lowered cap may have more.
        let within = usize::try_from(cap.per_minute).unwrap_or(usize::MAX);
        let oldest = self.sent_us.len().checked_sub(within).and_then(|i| self.sent_us.get(i));
        Some(oldest.map_or(i64::MIN, |at| at.saturating_add(MINUTE_US)))
    }

    /// The digest, if one waits and may go; it counts as a message.
    pub fn digest(&mut self, cap: StormCap, now_us: i64) -> Option<Digest> {
        if self.due_us(cap)? > now_us {
            return None;
        }
        let digest = self.held.take()?;
        self.sent(cap, now_us);
        Some(digest)
    }

    /// True if nothing waits and nothing counts any more: it can be forgotten.
    pub fn is_idle(&self, now_us: i64) -> bool {
        self.held.is_none() && self.counted(now_us) == 0
    }

    fn counted(&self, now_us: i64) -> u32 {
        let recent = self.sent_us.iter().rev().take_while(|at| at.saturating_add(MINUTE_US) > now_us).count();
        u32::try_from(recent).unwrap_or(u32::MAX)
    }

    fn sent(&mut self, cap: StormCap, now_us: i64) {
        // A clock that was set back must not make the list go back: the cap would let through too much.
        let at = self.sent_us.back().map_or(now_us, |last| now_us.max(*last));
        self.sent_us.push_back(at);
        while self.sent_us.len() > usize::try_from(cap.per_minute).unwrap_or(usize::MAX) {
            self.sent_us.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: i64 = 1_000_000;

    #[test]
    fn what_is_over_the_cap_becomes_one_digest_with_its_count_and_the_worst() {
        let cap = StormCap::new(3).expect("in range");
        let mut storm = Storm::default();
        let offers = [Severity::Info; 5].map(|severity| storm.offer(cap, severity, 10 * S));
        assert_eq!(offers, [Verdict::Send, Verdict::Send, Verdict::Send, Verdict::Held, Verdict::Held]);
        assert_eq!(storm.offer(cap, Severity::Critical, 69 * S), Verdict::Held);
        assert_eq!((storm.due_us(cap), storm.digest(cap, 69 * S)), (Some(70 * S), None));
        assert_eq!(storm.offer(cap, Severity::Info, 70 * S), Verdict::Held, "the digest comes first");
        assert_eq!(storm.digest(cap, 70 * S), Some(Digest { count: 4, worst: Severity::Critical }));
        assert_eq!(storm.digest(cap, 70 * S), None);
        assert_eq!(storm.room(cap, 70 * S), 2);
        assert!(!storm.is_idle(129 * S) && storm.is_idle(130 * S));
    }

    #[test]
    fn a_cap_out_of_range_is_refused() {
        assert!(StormCap::new(0).is_err() && StormCap::new(61).is_err());
        assert_eq!(StormCap::new(0).expect_err("zero").to_string(), "per_minute is 0; 1 to 60 is allowed");
    }

    #[test]
    fn a_lowered_cap_and_a_clock_set_back_let_nothing_through_too_early() {
        let (wide, narrow) = (StormCap::new(5).expect("ok"), StormCap::new(2).expect("ok"));
        let mut storm = Storm::default();
        for second in 0..5 {
            storm.offer(wide, Severity::Info, (100 + second) * S);
        }
        assert_eq!(storm.offer(narrow, Severity::Info, 105 * S), Verdict::Held);
        assert_eq!(storm.due_us(narrow), Some(163 * S), "the two newest count");
        assert_eq!(storm.offer(narrow, Severity::Info, 50 * S), Verdict::Held);
        assert_eq!(storm.digest(narrow, 50 * S), None);
    }

    proptest! {
        #[test]
        fn never_more_than_the_cap_within_a_minute_and_nothing_is_lost(
            per_minute in 1u32..8,
            gaps in proptest::collection::vec(0i64..20 * S, 1..200),
        ) {
            let cap = StormCap::new(per_minute).expect("in range");
            let (mut storm, mut now, mut out, mut told) = (Storm::default(), 0, Vec::new(), 0);
            for gap in &gaps {
                now += gap;
                while let Some(due) = storm.due_us(cap).filter(|due| *due <= now) {
                    told += storm.digest(cap, due).expect("due").count;
                    out.push(due);
                }
                if storm.offer(cap, Severity::Info, now) == Verdict::Send {
                    out.push(now);
                    told += 1;
                }
            }
            if let Some(due) = storm.due_us(cap) {
                told += storm.digest(cap, due).expect("due").count;
            }
            prop_assert_eq!(told as usize, gaps.len());
            for pair in out.windows(per_minute as usize + 1) {
                prop_assert!(pair[pair.len() - 1] - pair[0] >= MINUTE_US);
            }
        }
    }
}
