//! One rule's condition on one device: which severity holds, since when, and what that makes of an alert.
//!
//! The machine knows nothing of values: each step is told what the levels' predicates say at a time. Levels are indexed by
//! severity, so that an edit which adds or removes a level leaves the others where they stand.

use super::rule::Hold;
use crate::expr::Truth;
use crate::severity::Severity;
use wincode::{SchemaRead, SchemaWrite};

/// How many severities there are.
pub const LEVELS: usize = Severity::ALL.len();
/// No time.
pub const NEVER: i64 = i64::MIN;

/// What a level's predicates say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said {
    /// It asks for the alert.
    pub when: Truth,
    /// It lets the alert go.
    pub clear: Truth,
}

/// What all levels say; None where the rule has no such level.
pub type Saying = [Option<Said>; LEVELS];

/// Where a condition stands, besides what is pending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub enum Stage {
    /// Nothing fires.
    Normal,
    /// An alert fires at this severity.
    Firing(u8),
    /// The condition is over since this event time, and `keep_firing_for` is not.
    Recovering {
        /// As in `Firing`.
        severity: u8,
        /// When it was first false.
        since_us: i64,
    },
    /// Someone resolved the alert by hand: nothing fires at this severity or below until the condition was over.
    Muted(u8),
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// An alert has to begin.
    Fire {
        /// How bad.
        severity: Severity,
        /// Event time from which on its predicate held.
        since_us: i64,
    },
    /// The alert goes on, worse or milder than before.
    Level {
        /// What it was.
        from: Severity,
        /// What it is.
        to: Severity,
    },
    /// The condition is over, the alert is kept for a while.
    Recover,
    /// The condition came back in that while.
    Relapse,
    /// The alert ends.
    Resolve,
}

/// How a rule's times bear on its condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// `for` or `count`.
    pub hold: Hold,
    /// `keep_firing_for`, µs.
    pub keep_firing_us: i64,
    /// After a longer silence `for` and `count` begin anew; None if values hold until they change.
    pub gap_max_us: Option<i64>,
}

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub struct Condition {
    /// Time of the newest sample that was judged.
    pub last_us: i64,
    /// Per severity: event time of the first sample of the unbroken run for which `when` held.
    pub since_us: [i64; LEVELS],
    /// Where it stands.
    pub stage: Stage,
}

/// The last outcomes of each level's `when`, the newest in bit 0. Used with [`Hold::Count`] only.
pub type Counts = [u64; LEVELS];

impl Default for Condition {
    fn default() -> Self {
        Self { last_us: NEVER, since_us: [NEVER; LEVELS], stage: Stage::Normal }
    }
}

fn severity(index: u8) -> Severity {
    Severity::ALL.get(usize::from(index)).copied().unwrap_or(Severity::Critical)
}

impl Condition {
    /// True if nothing fires, is pending or muted.
    pub fn is_quiet(&self) -> bool {
        self.stage == Stage::Normal && self.since_us == [NEVER; LEVELS]
    }

    /// Severity of the alert that fires or is kept.
    pub fn firing(&self) -> Option<Severity> {
        match self.stage {
            Stage::Firing(level) | Stage::Recovering { severity: level, .. } => Some(severity(level)),
            Stage::Normal | Stage::Muted(_) => None,
        }
    }

    /// Severity of what is pending, and since when.
    pub fn pending(&self) -> Option<(Severity, i64)> {
        if self.firing().is_some() {
            return None;
        }
        let of = |s: &Severity| self.since_us[*s as usize];
        Severity::ALL.iter().rev().find(|s| of(s) != NEVER).map(|s| (*s, of(s)))
    }

    /// Someone resolved the alert.
    pub fn mute(&mut self) {
        if let Some(severity) = self.firing() {
            self.stage = Stage::Muted(severity as u8);
        }
    }

    /// Judges a moment. `sampled` is false if a timer asks and no sample came. While `may_begin` is false (outside the rule's
    /// schedule) nothing begins and nothing gets worse; what fires can end.
    ///
    /// Times do not go back, and the same time again replaces what was said of it. An unknown predicate changes nothing: it
    /// neither begins, nor holds, nor clears.
    pub fn step(
        &mut self,
        timing: &Timing,
        counts: Option<&mut Counts>,
        time_us: i64,
        sampled: bool,
        may_begin: bool,
        saying: &Saying,
    ) -> Option<Move> {
        let repeated = time_us == self.last_us;
        let silent = timing.gap_max_us.is_some_and(|gap| time_us.saturating_sub(self.last_us) > gap);
        let anew = !may_begin || (sampled && self.last_us != NEVER && silent);
        if anew {
            self.since_us = [NEVER; LEVELS];
        }
        let mut held = [false; LEVELS];
        let mut counts = counts;
        for (index, said) in saying.iter().enumerate() {
            let Some(said) = said else {
                self.since_us[index] = NEVER;
                continue;
            };
            match said.when {
                Truth::Yes if self.since_us[index] == NEVER && may_begin => self.since_us[index] = time_us,
                Truth::No => self.since_us[index] = NEVER,
                Truth::Yes | Truth::Unknown => {}
            }
            let since_us = self.since_us[index];
            held[index] = may_begin
                && said.when == Truth::Yes
                && match timing.hold {
                    Hold::For(hold_us) => since_us != NEVER && time_us.saturating_sub(since_us) >= hold_us,
                    Hold::Count { at_least, of } => match counts.as_deref_mut() {
                        Some(counts) => {
                            counted(&mut counts[index], anew, sampled, repeated, said.when, of) >= u32::from(at_least)
                        }
                        None => false,
                    },
                };
            if said.when == Truth::No
                && let (Hold::Count { of, .. }, Some(counts)) = (timing.hold, counts.as_deref_mut())
            {
                counted(&mut counts[index], anew, sampled, repeated, said.when, of);
            }
        }
        if sampled {
            self.last_us = time_us;
        }
        self.advance(timing, time_us, saying, &held)
    }

    fn advance(&mut self, timing: &Timing, time_us: i64, saying: &Saying, held: &[bool; LEVELS]) -> Option<Move> {
        let worst_held =
            |above: Option<usize>| (0..LEVELS).rev().take_while(|l| above.is_none_or(|a| *l > a)).find(|l| held[*l]);
        match self.stage {
            Stage::Normal | Stage::Muted(_) => {
                let muted = match self.stage {
                    Stage::Muted(level) => Some(usize::from(level)),
                    _ => None,
                };
                if let Some(level) = worst_held(muted) {
                    let fired = severity(u8::try_from(level).unwrap_or(0));
                    self.stage = Stage::Firing(fired as u8);
                    let since_us = if self.since_us[level] == NEVER { time_us } else { self.since_us[level] };
                    return Some(Move::Fire { severity: fired, since_us });
                }
                if let Some(level) = muted {
                    self.stage = match landing(level, saying) {
                        Landing::Stays => return None,
                        Landing::On(lower) => Stage::Muted(lower),
                        Landing::Over => Stage::Normal,
                    };
                }
                None
            }
            Stage::Firing(level) | Stage::Recovering { severity: level, .. } => {
                let from = severity(level);
                let recovering = matches!(self.stage, Stage::Recovering { .. });
                if let Some(up) = worst_held(Some(usize::from(level))) {
                    let to = severity(u8::try_from(up).unwrap_or(0));
                    self.stage = Stage::Firing(to as u8);
                    return Some(Move::Level { from, to });
                }
                match landing(usize::from(level), saying) {
                    // While it is not known whether it came back, the time goes on.
                    Landing::Stays if recovering && !goes_on(usize::from(level), saying) => self.wait(timing, time_us),
                    Landing::Stays => {
                        self.stage = Stage::Firing(level);
                        recovering.then_some(Move::Relapse)
                    }
                    Landing::On(lower) => {
                        self.stage = Stage::Firing(lower);
                        Some(Move::Level { from, to: severity(lower) })
                    }
                    Landing::Over if timing.keep_firing_us == 0 => {
                        self.stage = Stage::Normal;
                        Some(Move::Resolve)
                    }
                    Landing::Over if recovering => self.wait(timing, time_us),
                    Landing::Over => {
                        self.stage = Stage::Recovering { severity: level, since_us: time_us };
                        Some(Move::Recover)
                    }
                }
            }
        }
    }

    /// Prometheus' rule (`rules/alerting.go`): over once the condition was false for `keep_firing_for`.
    fn wait(&mut self, timing: &Timing, time_us: i64) -> Option<Move> {
        match self.stage {
            Stage::Recovering { since_us, .. } if time_us.saturating_sub(since_us) >= timing.keep_firing_us => {
                self.stage = Stage::Normal;
                Some(Move::Resolve)
            }
            _ => None,
        }
    }

    /// Earliest later event time at which [`Condition::step`] would do something although no predicate changed.
    pub fn next_us(&self, timing: &Timing) -> Option<i64> {
        let recovered = match self.stage {
            Stage::Recovering { since_us, .. } => Some(since_us.saturating_add(timing.keep_firing_us)),
            _ => None,
        };
        let Hold::For(hold_us) = timing.hold else { return recovered };
        let above = match self.stage {
            Stage::Normal => 0,
            Stage::Firing(level) | Stage::Recovering { severity: level, .. } | Stage::Muted(level) => {
                usize::from(level) + 1
            }
        };
        let rising = self.since_us.iter().skip(above).filter(|since| **since != NEVER);
        rising.map(|since| since.saturating_add(hold_us)).chain(recovered).min()
    }
}

/// Notes an outcome and answers how many of the last `of` were true.
fn counted(bits: &mut u64, anew: bool, sampled: bool, repeated: bool, said: Truth, of: u8) -> u32 {
    if anew {
        *bits = 0;
    }
    if sampled {
        if !repeated {
            *bits <<= 1;
        }
        *bits = (*bits & !1) | u64::from(said == Truth::Yes);
    }
    let window = if of >= 64 { u64::MAX } else { (1 << of) - 1 };
    (*bits & window).count_ones()
}

enum Landing {
    Stays,
    On(u8),
    Over,
}

fn goes_on(level: usize, saying: &Saying) -> bool {
    saying[level].is_some_and(|said| said.clear == Truth::No)
}

/// Where an alert of a level goes: it stays until its own `clear` holds, then takes the worst milder level whose `when` holds
/// (Kapacitor's `determineLevel`).
fn landing(level: usize, saying: &Saying) -> Landing {
    match saying[level] {
        Some(said) if said.clear != Truth::Yes => Landing::Stays,
        _ => {
            let holds = |l: &usize| saying[*l].is_some_and(|said| said.when == Truth::Yes);
            // The level itself as well: it may have been removed, or its `clear` overlap its `when`.
            (0..level).rev().find(holds).and_then(|l| u8::try_from(l).ok()).map_or(Landing::Over, Landing::On)
        }
    }
}

#[cfg(test)]
#[path = "condition_tests.rs"]
mod tests;
