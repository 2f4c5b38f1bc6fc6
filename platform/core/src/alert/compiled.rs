//! A rule made ready to judge: its predicates compiled, its times in one place.

use super::condition::{LEVELS, Said, Saying, Timing};
use super::rule::{Mode, Rule, RuleError};
use crate::device::Device;
use crate::expr::{Memory, Moment, Program, Threshold, Truth};

/// Devices that lost their connection with the server are back within a minute.
const GRACE_US_MIN: i64 = 60_000_000;

/// See the module. Shared by all devices that the rule looks at.
#[derive(Debug)]
pub struct Compiled {
    /// The rule.
    pub rule: Rule,
    /// Its predicates.
    pub program: Program,
    /// How its times bear on its condition.
    pub timing: Timing,
    /// How long a value is taken for the present, µs; None = until the next.
    pub staleness_us: Option<i64>,
    /// A predicate may change, or `for` be over, without a sample.
    pub timed: bool,
    /// How long after a start of the server time alone says nothing of a device that has not sent since, µs: as long as the rule
    /// takes a device for alive, and a minute at least. None if the rule does not ask for time alone.
    pub grace_us: Option<i64>,
    /// Tells its first metric from others.
    pub about: u32,
    /// The thresholds, if every predicate is one over the same metric: such a rule needs no memory.
    pub simple: Option<Simple>,
    // Per severity: which predicates of the program.
    predicates: [Option<(usize, Option<usize>)>; LEVELS],
}

/// Per severity: where it fires and where it clears.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Simple {
    /// `when` and `clear`.
    pub levels: [Option<(Threshold, Option<Threshold>)>; LEVELS],
}

impl Simple {
    /// True if any level asks for an alert.
    #[inline]
    pub fn any_holds(&self, value: f64, is_f32: bool) -> bool {
        self.levels.iter().flatten().any(|(when, _)| when.holds(value, is_f32))
    }

    /// Every `when`.
    pub fn thresholds(&self) -> impl Iterator<Item = &Threshold> {
        self.levels.iter().flatten().map(|(when, _)| when)
    }

    fn say(&self, value: f64, is_f32: bool) -> Saying {
        self.levels.map(|level| {
            level.map(|(when, clear)| {
                if value.is_nan() {
                    return Said { when: Truth::Unknown, clear: Truth::Unknown };
                }
                let holds = when.holds(value, is_f32);
                let clears = clear.map_or(!holds, |clear| clear.holds(value, is_f32));
                Said { when: Truth::from(holds), clear: Truth::from(clears) }
            })
        })
    }
}

impl Compiled {
    /// `gap_max_us` is how long a sampled value is taken for the present where the rule does not say.
    ///
    /// # Errors
    /// If the expressions are too much together; a rule that passed [`Rule::check`] compiles.
    pub fn new(rule: Rule, gap_max_us: i64) -> Result<Self, RuleError> {
        let program = rule.program()?;
        let staleness_us = match rule.mode {
            Mode::Sampled => Some(rule.staleness_us.unwrap_or(gap_max_us)),
            Mode::OnChange => None,
        };
        let timing = Timing { hold: rule.hold, keep_firing_us: rule.keep_firing_us, gap_max_us: staleness_us };
        let mut predicates = [None; LEVELS];
        let mut next = 0;
        for level in &rule.levels {
            let when = next;
            let clear = level.clear.is_some().then_some(next + 1);
            next += 1 + usize::from(clear.is_some());
            predicates[level.severity as usize] = Some((when, clear));
        }
        let simple = program.simple().map(|thresholds| Simple {
            levels: predicates.map(|p| {
                let (when, clear) = p?;
                Some((*thresholds.get(when)?, clear.and_then(|clear| thresholds.get(clear).copied())))
            }),
        });
        let about = program.metrics().first().map_or(0, |metric| about(metric.as_str()));
        let timed = rule.mode == Mode::OnChange || program.uses_time();
        let grace_us = program.uses_time().then(|| {
            let silence_us = match program.longest_silence_us() {
                0 => staleness_us.unwrap_or(0),
                silence_us => silence_us,
            };
            silence_us.max(GRACE_US_MIN)
        });
        Ok(Self { rule, program, timing, staleness_us, timed, grace_us, about, simple, predicates })
    }

    /// What the levels say of a value, for a rule of thresholds over one metric.
    pub fn say_of(&self, simple: &Simple, value: f64, is_f32: bool) -> Saying {
        simple.say(value, is_f32)
    }

    /// What the levels say of what is remembered, at an event time.
    pub fn say(&self, memory: &Memory, now_us: i64, device: &Device) -> Saying {
        let moment = Moment { now_us, staleness_us: self.staleness_us, device };
        self.predicates.map(|predicate| {
            let (when, clear) = predicate?;
            let when = memory.judge(&self.program, when, &moment);
            let clear = match clear {
                Some(clear) => memory.judge(&self.program, clear, &moment),
                None => !when,
            };
            Some(Said { when, clear })
        })
    }

    /// The rule may begin to fire at this event time.
    pub fn may_begin(&self, time_us: i64) -> bool {
        self.rule.schedule.as_ref().is_none_or(|schedule| schedule.contains(time_us))
    }
}

/// FNV-1a: the same on every machine and in every version, since it is stored.
fn about(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
