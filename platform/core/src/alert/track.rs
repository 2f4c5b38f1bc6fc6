//! One rule on one device: a state machine over the samples' own time.

use super::rule::Limits;

/// Where a rule stands on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase<A> {
    /// The comparison does not hold.
    Normal,
    /// It holds, but not yet for long enough.
    Pending {
        /// Time of the first sample for which it held.
        since_us: i64,
    },
    /// An alert fires.
    Firing {
        /// Which.
        alert: A,
    },
    /// Someone resolved the alert by hand: nothing fires until the comparison has stopped to hold.
    Muted,
}

/// See the module. `A` names an alert; what it is does not matter here.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Track<A> {
    /// Time of the newest sample that was judged.
    pub last_us: i64,
    /// Its value.
    pub value: f64,
    /// Where it stands.
    pub phase: Phase<A>,
}

/// What a sample did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outcome<A> {
    /// Nothing that anyone has to be told.
    Nothing,
    /// The sample is older than what was judged before: it changes nothing.
    Late,
    /// An alert has to begin; the caller names it and calls [`Track::fired`].
    Fire {
        /// Time of the sample that began it.
        started_us: i64,
    },
    /// This alert ended.
    Resolve(A),
}

impl<A: Copy> Default for Track<A> {
    fn default() -> Self {
        Self { last_us: i64::MIN, value: f64::NAN, phase: Phase::Normal }
    }
}

impl<A: Copy> Track<A> {
    /// Judges a sample. Samples come in the order of their arrival; one that is older than a judged one is late and ignored,
    /// one of the same time replaces it. NaN says nothing about the device and is ignored, too.
    ///
    /// `gap_max_us` is the longest silence over which "it held" may be assumed: after a longer one `for` begins anew, since
    /// two glitches an hour apart are not an hour of trouble. An alert that fires goes on firing through any silence.
    pub fn sample(&mut self, limits: &Limits, gap_max_us: i64, time_us: i64, value: f64) -> Outcome<A> {
        if time_us < self.last_us {
            return Outcome::Late;
        }
        if value.is_nan() {
            return Outcome::Nothing;
        }
        let silence_us = time_us.saturating_sub(self.last_us);
        (self.last_us, self.value) = (time_us, value);
        match self.phase {
            Phase::Firing { .. } if limits.goes_on(value) => Outcome::Nothing,
            Phase::Firing { alert } => {
                self.phase = Phase::Normal;
                Outcome::Resolve(alert)
            }
            Phase::Muted if limits.goes_on(value) => Outcome::Nothing,
            Phase::Muted => {
                self.phase = Phase::Normal;
                Outcome::Nothing
            }
            Phase::Normal | Phase::Pending { .. } if !limits.holds(value) => {
                self.phase = Phase::Normal;
                Outcome::Nothing
            }
            Phase::Pending { since_us } if silence_us <= gap_max_us => self.hold(limits, since_us),
            Phase::Normal | Phase::Pending { .. } => self.hold(limits, time_us),
        }
    }

    fn hold(&mut self, limits: &Limits, since_us: i64) -> Outcome<A> {
        self.phase = Phase::Pending { since_us };
        if self.last_us.saturating_sub(since_us) >= limits.hold_us {
            Outcome::Fire { started_us: since_us }
        } else {
            Outcome::Nothing
        }
    }

    /// The alert that [`Outcome::Fire`] asked for has begun.
    pub fn fired(&mut self, alert: A) {
        self.phase = Phase::Firing { alert };
    }

    /// Someone resolved the alert.
    pub fn resolved_by_hand(&mut self) {
        self.phase = Phase::Muted;
    }

    /// The rule was edited: judges the newest sample anew. What fires and still holds goes on under its name; `for` that has
    /// begun goes on as well, and may be over by the new rule.
    pub fn reconsider(&mut self, limits: &Limits) -> Outcome<A> {
        let known = !self.value.is_nan();
        match self.phase {
            Phase::Firing { .. } if known && limits.goes_on(self.value) => Outcome::Nothing,
            Phase::Firing { alert } => {
                self.phase = Phase::Normal;
                Outcome::Resolve(alert)
            }
            Phase::Muted if known && limits.goes_on(self.value) => Outcome::Nothing,
            Phase::Pending { since_us } if limits.holds(self.value) => self.hold(limits, since_us),
            Phase::Normal if limits.holds(self.value) => self.hold(limits, self.last_us),
            _ => {
                self.phase = Phase::Normal;
                Outcome::Nothing
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rule::{Comparison, Limits};
    use super::*;
    use crate::value::ValueType;
    use proptest::prelude::*;

    fn rule(comparison: Comparison, threshold: f64, clear: f64, hold_us: i64) -> Limits {
        super::super::rule::tests::rule(comparison, threshold, clear, hold_us).limits(ValueType::F64)
    }

    const SECOND: i64 = 1_000_000;
    const GAP: i64 = 900 * SECOND;

    /// Feeds (second, value) and notes what happened: `F` fires, `R` resolves, `l` late, `.` nothing.
    fn run(rule: &Limits, samples: &[(i64, f64)]) -> String {
        let mut track = Track::default();
        let mut alerts = 0;
        let one = |(second, value): &(i64, f64)| match track.sample(rule, GAP, second * SECOND, *value) {
            Outcome::Nothing => '.',
            Outcome::Late => 'l',
            Outcome::Fire { .. } => {
                alerts += 1;
                track.fired(alerts);
                'F'
            }
            Outcome::Resolve(_) => 'R',
        };
        samples.iter().map(one).collect()
    }

    #[test]
    fn without_hold_the_first_sample_fires_and_the_clear_threshold_resolves() {
        let above = rule(Comparison::Above, 80.0, 75.0, 0);
        assert_eq!(run(&above, &[(0, 79.0), (1, 81.0), (2, 78.0), (3, 75.5), (4, 75.0), (5, 80.0)]), ".F..R.");
    }

    #[test]
    fn the_comparison_must_hold_for_the_whole_time_and_one_false_sample_starts_it_anew() {
        let below = rule(Comparison::Below, 10.0, 10.0, 30 * SECOND);
        assert_eq!(run(&below, &[(0, 9.0), (29, 9.0), (30, 9.0), (31, 9.0)]), "..F.");
        assert_eq!(run(&below, &[(0, 9.0), (29, 11.0), (31, 9.0), (60, 9.0), (61, 9.0)]), "....F");
    }

    #[test]
    fn single_glitches_far_apart_are_not_one_long_trouble() {
        let below = rule(Comparison::Below, 10.0, 10.0, 30 * SECOND);
        assert_eq!(run(&below, &[(0, 9.0), (901, 9.0), (930, 9.0), (931, 9.0)]), "...F");
    }

    #[test]
    fn late_samples_and_nan_change_nothing() {
        let above = rule(Comparison::Above, 80.0, 80.0, 0);
        assert_eq!(
            run(&above, &[(10, 70.0), (5, 99.0), (11, f64::NAN), (12, 81.0), (3, 0.0), (13, f64::NAN)]),
            ".l.Fl."
        );
    }

    #[test]
    fn an_alert_resolved_by_hand_fires_again_only_after_the_trouble_was_over() {
        let above = rule(Comparison::Above, 80.0, 75.0, 0);
        let mut track = Track::default();
        track.sample(&above, GAP, 0, 90.0);
        track.fired(1);
        track.resolved_by_hand();
        assert_eq!(track.sample(&above, GAP, 1, 90.0), Outcome::Nothing);
        assert_eq!(track.sample(&above, GAP, 2, 70.0), Outcome::Nothing);
        assert_eq!(track.sample(&above, GAP, 3, 90.0), Outcome::Fire { started_us: 3 });
    }

    #[test]
    fn an_edited_rule_keeps_what_still_holds_and_resolves_the_rest() {
        let mut track = Track::default();
        track.sample(&rule(Comparison::Above, 80.0, 80.0, 0), GAP, 0, 90.0);
        track.fired(1);
        assert_eq!(track.reconsider(&rule(Comparison::Above, 85.0, 85.0, 0)), Outcome::Nothing);
        assert_eq!(track.reconsider(&rule(Comparison::Above, 95.0, 95.0, 0)), Outcome::Resolve(1));
        assert_eq!(track.reconsider(&rule(Comparison::Above, 85.0, 85.0, 0)), Outcome::Fire { started_us: 0 });
    }

    proptest! {
        #[test]
        fn repeats_change_nothing(values in proptest::collection::vec(60.0..100.0f64, 1..60), hold in 0i64..20) {
            let above = rule(Comparison::Above, 80.0, 75.0, hold * SECOND);
            let once: Vec<_> = values.iter().enumerate().map(|(i, v)| (i as i64, *v)).collect();
            let twice: Vec<_> = once.iter().flat_map(|s| [*s, *s]).collect();
            let shown = |s: String| s.replace('.', "");
            prop_assert_eq!(shown(run(&above, &once)), shown(run(&above, &twice)));
        }

        #[test]
        fn fires_and_resolves_alternate(values in proptest::collection::vec(60.0..100.0f64, 1..200), hold in 0i64..5) {
            let above = rule(Comparison::Above, 80.0, 75.0, hold * SECOND);
            let samples: Vec<_> = values.iter().enumerate().map(|(i, v)| (i as i64, *v)).collect();
            let events = run(&above, &samples).replace('.', "");
            prop_assert!(!events.contains("FF") && !events.contains("RR") && !events.starts_with('R'));
        }
    }
}
