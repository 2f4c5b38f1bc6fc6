//! Rules and alerts: thresholds judged over the samples' own time.

mod engine;
#[cfg(test)]
mod engine_tests;
pub mod flapping;
mod record;
mod rule;
pub mod template;
mod track;

pub use engine::{Change, Dirty, Engine, EngineLimits, Judged, Muted, World};
pub use record::{Acknowledgement, Alert, AlertStep, ResolvedReason, StepKind, fired_text, short};
pub use rule::{Comparison, HOLD_US_MAX, Limits, Rule, RuleError, SCOPE_DEVICES_MAX, Scope};
pub use track::{Outcome, Phase, Track};
