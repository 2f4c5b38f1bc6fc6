//! When a predicate may change without a sample.

use super::ast::Relation;
use super::compile::Op;
use super::memory::Memory;
use super::program::{AgeMark, Moment, Program};

/// How often an `age()` that is calculated with, rather than compared with a number, is looked at again.
const AGE_STEP_US: i64 = 1_000_000;

impl Memory {
    /// The earliest time after the moment at which a predicate may change though no sample comes: a value goes stale, an
    /// age passes its limit, a sample leaves a window. None if nothing is left that time could change.
    ///
    /// Exact, but for `age()` within a calculation (`age(m) * 2 > 60`): that is looked at every second.
    pub fn next_us(&self, program: &Program, moment: &Moment<'_>) -> Option<i64> {
        let now_us = moment.now_us.max(self.clock_us);
        let mut next = Next { now_us, earliest: None };
        for op in &program.code().ops {
            let (Op::Metric(input) | Op::Changed(input, _) | Op::Missing(input, _)) = op else { continue };
            let Some(seen) = self.seen(*input) else { continue };
            if let (Some(staleness), false) = (moment.staleness_us, matches!(op, Op::Missing(_, Some(_)))) {
                // At exactly the staleness it still counts.
                next.at(seen.time_us.saturating_add(staleness).saturating_add(1));
            }
            match op {
                Op::Missing(_, Some(within)) => next.at(seen.time_us.saturating_add(*within)),
                Op::Changed(_, Some(within)) => {
                    next.at(seen.first_us.saturating_add(*within));
                    if let Some(changed) = seen.last_change_us() {
                        next.at(changed.saturating_add(*within));
                    }
                }
                _ => {}
            }
        }
        for (window, plan) in self.windows.iter().zip(program.windows()) {
            if let Some(oldest) = window.oldest_us(plan, now_us) {
                next.at(oldest.saturating_add(plan.duration_us));
            }
        }
        for mark in program.age_marks() {
            if let Some(seen) = self.seen(mark.input) {
                turns(*mark).for_each(|age_us| next.at(seen.time_us.saturating_add(age_us)));
            }
        }
        if program.ages().iter().any(|input| self.seen(*input).is_some()) {
            next.at(now_us.saturating_add(AGE_STEP_US));
        }
        next.earliest
    }
}

struct Next {
    now_us: i64,
    earliest: Option<i64>,
}

impl Next {
    fn at(&mut self, time_us: i64) {
        if time_us > self.now_us {
            self.earliest = Some(self.earliest.map_or(time_us, |earliest| earliest.min(time_us)));
        }
    }
}

/// The ages in µs at which a comparison turns. Rounding may move them by one from the number that is written.
fn turns(mark: AgeMark) -> impl Iterator<Item = i64> {
    #[allow(clippy::cast_precision_loss)]
    let holds = move |age_us: i64| mark.relation.holds(age_us as f64 / 1e6, mark.seconds);
    #[allow(clippy::cast_possible_truncation)] // saturates
    let near = (mark.seconds * 1e6).floor().clamp(0.0, 9e18) as i64;
    let around = near.saturating_sub(2).max(0)..=near.saturating_add(3);
    let equality = matches!(mark.relation, Relation::Equal | Relation::Different);
    around.filter(move |age| *age > 0 && (holds(*age) != holds(*age - 1) || (equality && holds(*age))))
}
