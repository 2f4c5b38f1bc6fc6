//! Rules and alerts: expressions judged over the samples' own time.
//!
//! [`Condition`] is the state machine of one rule on one device; [`Held`] gives it samples, silence and time; [`Engine`] holds all
//! rules on all devices. [`Trial`] runs one rule over recorded samples: tests of rules and backtests.

mod backtest;
mod comparison;
mod compiled;
mod condition;
mod document;
mod engine;
pub mod flapping;
mod held;
mod record;
mod reorder;
mod rule;
mod scope;
pub mod template;
mod trial;

pub use backtest::{
    Backtest, BacktestResult, CHANGES_MAX, DEVICE_SPANS_MAX, DayCount, DeviceResult, MERGED_MAX, Merged, NOISIEST_MAX,
    Person, PersonTold, Told, follow, label_of, member_of,
};
pub use comparison::Comparison;
pub use compiled::Compiled;
pub use condition::{Condition, Move, NEVER, Said, Saying, Stage, Timing};
pub use document::{
    Authorship, ClearDocument, CountDocument, EscalationDocument, LevelDocument, NoDataDocument, NotifyDocument,
    RuleDocument, ScheduleDocument, ScopeDocument, WindowDocument,
};
pub use engine::{
    COMMENT_BYTES_MAX, Change, Damaged, DeviceState, Engine, EngineLimits, Judged, Operation, SLOT_US, Standing, World,
};
pub use held::{Event, Freshness, Hand, Held, Taken, Values};
pub use record::{
    Acknowledgement, Alert, AlertKind, AlertStep, AlertThreshold, ResolvedReason, Snooze, StepKind, fired_text, short,
    span_text,
};
pub(crate) use record::{FiredWords, fired_text_in};
pub use reorder::REORDER_TIMES_MAX;
pub use rule::{
    HOLD_US_MAX, Hold, LATENESS_US_MAX, Level, Mode, NoData, RESERVED_LABELS, Rule, RuleError, RuleProblem, Telling,
    WhenStale,
};
pub use scope::{SCOPE_DEVICES_MAX, Scope};
pub use template::{Fields, Template, TemplateError};
pub use trial::{Findings, Logged, Span, SpanKind, Trial, TrialLimits};
