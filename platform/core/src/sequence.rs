//! What becomes of a report by its number: SPEC §5.3 as a pure state machine.
//!
//! One [`StreamProgress`] per stream. Numbers must come without holes (a hole is declared by SKIP), so a single high-water
//! mark says what was taken; a short ring of digests tells a repeat from a clone.

use crate::ids::Sequence;
use std::collections::VecDeque;

/// How many of the newest digests a stream remembers. A repeat older than that is believed: after a reconnect a device
/// resends at most its window, and what matters is that two live devices with one identity collide soon.
pub const DIGESTS_PER_STREAM: usize = 64;

/// What to do with a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The next number: take it.
    Fresh,
    /// Taken before: acknowledge, store nothing.
    Repeat,
    /// Taken before with other content: two devices share one identity.
    Clone,
    /// Numbers are missing before it; `expected` is the next acceptable one.
    Gap {
        /// The number that must come next.
        expected: Sequence,
    },
}

/// Where a stream stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamProgress {
    taken: Sequence,
    durable: Sequence,
    digests: VecDeque<(Sequence, u64)>,
}

impl StreamProgress {
    /// A stream whose reports up to `durable` are stored.
    pub fn recovered(durable: Sequence) -> Self {
        Self { taken: durable, durable, digests: VecDeque::new() }
    }

    /// Gives back a digest read from the journal, oldest first, when state is rebuilt at start.
    pub fn remember(&mut self, sequence: Sequence, digest: u64) {
        if sequence <= self.durable {
            self.push_digest(sequence, digest);
        }
    }

    /// The highest number that is stored and synced.
    pub fn durable(&self) -> Sequence {
        self.durable
    }

    /// The highest number that was taken, stored or not.
    pub fn taken(&self) -> Sequence {
        self.taken
    }

    /// Judges a report and, if it is fresh, takes its number.
    pub fn admit(&mut self, sequence: Sequence, digest: u64) -> Verdict {
        if sequence <= self.taken {
            let known = self.digests.iter().rev().find(|(s, _)| *s == sequence);
            return match known {
                Some((_, d)) if *d != digest => Verdict::Clone,
                _ => Verdict::Repeat,
            };
        }
        if sequence.0 != self.taken.0 + 1 {
            return Verdict::Gap { expected: Sequence(self.taken.0 + 1) };
        }
        self.taken = sequence;
        self.push_digest(sequence, digest);
        Verdict::Fresh
    }

    /// Judges a SKIP of `from..=to` and, if it is fresh, takes the range. SPEC §6.7.
    pub fn skip(&mut self, from: Sequence, to: Sequence) -> Verdict {
        if to <= self.taken {
            return Verdict::Repeat;
        }
        // A range that begins within what is taken was partly handled before the device lost its memory of it.
        if from.0 > self.taken.0 + 1 {
            return Verdict::Gap { expected: Sequence(self.taken.0 + 1) };
        }
        self.taken = to;
        Verdict::Fresh
    }

    /// Everything taken is stored and synced.
    pub fn commit(&mut self) {
        self.durable = self.taken;
    }

    /// What was taken since the last commit was not stored: forget it.
    pub fn roll_back(&mut self) {
        self.taken = self.durable;
        while self.digests.back().is_some_and(|(s, _)| *s > self.durable) {
            self.digests.pop_back();
        }
    }

    fn push_digest(&mut self, sequence: Sequence, digest: u64) {
        if self.digests.len() == DIGESTS_PER_STREAM {
            self.digests.pop_front();
        }
        self.digests.push_back((sequence, digest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_repeat_is_known_by_its_digest_and_a_clone_by_its_difference() {
        let mut p = StreamProgress::default();
        assert_eq!(p.admit(Sequence(1), 7), Verdict::Fresh);
        assert_eq!(p.admit(Sequence(1), 7), Verdict::Repeat);
        assert_eq!(p.admit(Sequence(1), 8), Verdict::Clone);
        assert_eq!(p.admit(Sequence(3), 9), Verdict::Gap { expected: Sequence(2) });
    }

    #[test]
    fn a_failed_commit_lets_the_same_number_come_again_with_any_content() {
        let mut p = StreamProgress::default();
        assert_eq!(p.admit(Sequence(1), 7), Verdict::Fresh);
        p.commit();
        assert_eq!(p.admit(Sequence(2), 8), Verdict::Fresh);
        p.roll_back();
        assert_eq!(p.durable(), Sequence(1));
        assert_eq!(p.admit(Sequence(2), 9), Verdict::Fresh);
        assert_eq!(p.admit(Sequence(1), 7), Verdict::Repeat);
    }

    #[test]
    fn a_skip_moves_the_stream_on_and_its_repeat_changes_nothing() {
        let mut p = StreamProgress::recovered(Sequence(4));
        assert_eq!(p.skip(Sequence(6), Sequence(9)), Verdict::Gap { expected: Sequence(5) });
        assert_eq!(p.skip(Sequence(5), Sequence(9)), Verdict::Fresh);
        assert_eq!(p.skip(Sequence(5), Sequence(9)), Verdict::Repeat);
        assert_eq!(p.admit(Sequence(7), 1), Verdict::Repeat);
        assert_eq!(p.admit(Sequence(10), 1), Verdict::Fresh);
    }

    proptest! {
        /// However reports are repeated and commits fail, each number is fresh exactly once among what is committed.
        #[test]
        fn each_number_is_committed_once(steps in proptest::collection::vec((1u64..20, 0u8..6), 1..200)) {
            let mut p = StreamProgress::default();
            let (mut open, mut committed) = (Vec::new(), Vec::new());
            for (sequence, action) in steps {
                match action {
                    0 => { p.roll_back(); open.clear(); }
                    1 => { p.commit(); committed.append(&mut open); }
                    _ => if p.admit(Sequence(sequence), sequence) == Verdict::Fresh { open.push(sequence); },
                }
            }
            let expected: Vec<u64> = (1..=committed.len() as u64).collect();
            prop_assert_eq!(committed, expected);
        }
    }
}
