//! What becomes of a report by its number: SPEC §5.3 as a pure state machine.
//!
//! One [`StreamProgress`] per stream. Numbers must come without holes (a hole is declared by SKIP), so a single high-water
//! mark says what was taken; a short ring of digests tells a repeat from a clone. All of it is 144 bytes, in one piece,
//! because there is one for every stream of every device.

use crate::ids::Sequence;

/// How many of the newest numbers a stream remembers the digests of. A repeat older than that is believed: after a
/// reconnect a device resends at most its window, and what matters is that two live devices with one identity collide soon.
pub const DIGESTS_PER_STREAM: usize = 32;

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
    // Of the newest numbers taken, each in the place of its number modulo the length; 0 = not known.
    digests: [u32; DIGESTS_PER_STREAM],
}

impl StreamProgress {
    /// A stream whose reports up to `durable` are stored.
    pub fn recovered(durable: Sequence) -> Self {
        Self { taken: durable, durable, digests: [0; DIGESTS_PER_STREAM] }
    }

    /// Gives back a digest read from the journal when state is rebuilt at start.
    pub fn remember(&mut self, sequence: Sequence, digest: u64) {
        if self.is_remembered(sequence) {
            self.digests[place(sequence)] = short(digest);
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

    /// True if something was taken that is neither committed nor rolled back.
    pub fn is_open(&self) -> bool {
        self.taken != self.durable
    }

    /// Judges a report and, if it is fresh, takes its number.
    pub fn admit(&mut self, sequence: Sequence, digest: u64) -> Verdict {
        if sequence <= self.taken {
            let known = if self.is_remembered(sequence) { self.digests[place(sequence)] } else { 0 };
            return if known != 0 && known != short(digest) { Verdict::Clone } else { Verdict::Repeat };
        }
        if sequence.0 != self.taken.0 + 1 {
            return Verdict::Gap { expected: Sequence(self.taken.0 + 1) };
        }
        self.taken = sequence;
        self.digests[place(sequence)] = short(digest);
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
        self.forget(self.taken, to);
        self.taken = to;
        Verdict::Fresh
    }

    /// Everything taken is stored and synced.
    pub fn commit(&mut self) {
        self.durable = self.taken;
    }

    /// What was taken since the last commit was not stored: forget it. The digests whose place it took stay forgotten.
    pub fn roll_back(&mut self) {
        self.forget(self.durable, self.taken);
        self.taken = self.durable;
    }

    fn is_remembered(&self, sequence: Sequence) -> bool {
        sequence.0 > 0 && sequence <= self.taken && self.taken.0 - sequence.0 < DIGESTS_PER_STREAM as u64
    }

    /// Forgets the digests of the numbers after `after` up to `to`.
    fn forget(&mut self, after: Sequence, to: Sequence) {
        let first = after.0.max(to.0.saturating_sub(DIGESTS_PER_STREAM as u64)) + 1;
        (first..=to.0).for_each(|n| self.digests[place(Sequence(n))] = 0);
    }
}

fn place(sequence: Sequence) -> usize {
    // The remainder is below 32.
    (sequence.0 % DIGESTS_PER_STREAM as u64) as usize
}

/// Half of a digest, never 0: that a clone goes unnoticed once in four thousand million reports does not matter.
fn short(digest: u64) -> u32 {
    (digest as u32).max(1)
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

    #[test]
    fn digests_are_those_of_the_newest_numbers_whatever_was_skipped() {
        let mut p = StreamProgress::default();
        assert!((1..=40).all(|n| p.admit(Sequence(n), n) == Verdict::Fresh));
        assert_eq!(p.admit(Sequence(9), 1000), Verdict::Clone);
        assert_eq!(p.admit(Sequence(8), 1000), Verdict::Repeat, "older than what is remembered");
        assert_eq!(p.skip(Sequence(41), Sequence(60)), Verdict::Fresh);
        assert_eq!(p.admit(Sequence(50), 1000), Verdict::Repeat, "a skipped number has no digest");
        assert_eq!(p.admit(Sequence(30), 1000), Verdict::Clone);
        assert_eq!(p.skip(Sequence(61), Sequence(u64::MAX >> 1)), Verdict::Fresh);
        assert_eq!(p.admit(Sequence(60), 1000), Verdict::Repeat);
    }

    #[test]
    fn a_start_remembers_what_the_journal_still_holds() {
        let mut p = StreamProgress::recovered(Sequence(100));
        for n in [1, 68, 69, 100, 101] {
            p.remember(Sequence(n), n);
        }
        let clones: Vec<u64> = (1..=100).filter(|n| p.admit(Sequence(*n), 7) == Verdict::Clone).collect();
        assert_eq!(clones, [69, 100]);
    }

    #[test]
    fn a_stream_is_small() {
        assert!(size_of::<StreamProgress>() <= 160);
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
