//! What a rule is, and whether it can mean anything.

use super::comparison::Comparison;
use super::scope::{SCOPE_DEVICES_MAX, Scope};
use super::template::Template;
use crate::expr::{Expr, ExprError, Program};
use crate::ids::{MetricName, RuleId, UserName};
use crate::notify::GroupPolicy;
use crate::schedule::Schedule;
use crate::severity::Severity;
use crate::value::ValueType;
use std::collections::BTreeMap;
use std::ops::Range;

/// Longest `for`, `keep_firing_for` and `reopen_window`, in µs: a day.
pub const HOLD_US_MAX: i64 = 24 * 3_600_000_000;
/// Longest name of a rule, in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// Longest link to a runbook, in bytes.
pub const RUNBOOK_BYTES_MAX: usize = 512;
/// Most labels of a rule.
pub const LABELS_MAX: usize = 16;
/// Samples that `count` can look back on.
pub const COUNT_OF_MAX: u8 = 64;
/// Longest lateness that a rule waits for, in µs: ten minutes, by which its alerts are late.
pub const LATENESS_US_MAX: i64 = 600_000_000;
/// Shortest silence that can be called no data, in µs.
pub const NO_DATA_US_MIN: i64 = 1_000_000;
/// Longest silence that `staleness` and `no_data` take, in µs: 30 days.
pub const SILENCE_US_MAX: i64 = 30 * 24 * 3_600_000_000;

/// How long, or how often, a predicate has to hold before it fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// For this long, in µs of event time; 0 fires with the first sample.
    For(i64),
    /// In so many of the last samples.
    Count {
        /// So many, at least 1.
        at_least: u8,
        /// Of so many, at most [`COUNT_OF_MAX`].
        of: u8,
    },
}

/// What a sample says about the time after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Its value, until staleness: the device reports regularly.
    Sampled,
    /// Its value, until the next one: the device reports changes. `for` is over by time, without a further sample.
    OnChange,
}

/// What happens when a device has gone silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenStale {
    /// Nothing but a mark on the alert that fires.
    Hold,
    /// An alert of its own.
    Fire(Severity),
    /// The alert that fires ends.
    Clear,
}

/// Silence, by the clock of the server: a device with a wrong clock is still alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoData {
    /// After so long without a sample of the rule's metrics, µs.
    pub after_us: i64,
    /// What follows.
    pub then: WhenStale,
}

/// One severity of a rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Level {
    /// How bad.
    pub severity: Severity,
    /// Asks for the alert.
    pub when: Expr,
    /// Lets it go; None means as soon as `when` does not hold.
    pub clear: Option<Expr>,
}

/// How its alerts are told, and which of them together.
#[derive(Debug, Clone, PartialEq)]
pub struct Telling {
    /// Labels whose values an alert must share with others to be told in one message.
    pub group_by: Vec<String>,
    /// When, how often and to whom.
    pub policy: GroupPolicy,
}

/// An expression over the metrics of one device, and what follows when it holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Chosen by its author, or made up.
    pub id: RuleId,
    /// For people.
    pub name: String,
    /// A rule that is not enabled looks at nothing.
    pub enabled: bool,
    /// Which devices.
    pub scope: Scope,
    /// One to three, the mildest first.
    pub levels: Vec<Level>,
    /// How long or how often.
    pub hold: Hold,
    /// How long an alert goes on after its condition, µs.
    pub keep_firing_us: i64,
    /// What a sample says.
    pub mode: Mode,
    /// How long a sampled value is taken for the present, µs; None = as `alerting.gap_max`.
    pub staleness_us: Option<i64>,
    /// How long samples that come out of order are waited for, µs. Alerts are later by as much.
    pub lateness_us: i64,
    /// What silence means.
    pub no_data: Option<NoData>,
    /// Alerts that come and go are told once.
    pub flapping: bool,
    /// When it may begin to fire; None = always.
    pub schedule: Option<Schedule>,
    /// An alert that fires again within this time goes on under its id, µs.
    pub reopen_us: i64,
    /// Labels of its alerts.
    pub labels: BTreeMap<String, String>,
    /// What to do about it, with fields to be filled in; may be empty.
    pub message: Template,
    /// Where it says what to do; may be empty.
    pub runbook: String,
    /// How its alerts are told.
    pub telling: Telling,
    /// Grows with each edit; 1 at first.
    pub version: u32,
    /// µs since the Unix epoch.
    pub created_us: i64,
    /// µs since the Unix epoch.
    pub updated_us: i64,
    /// Who made it as it is.
    pub updated_by: UserName,
}

/// What kind of mistake a rule has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleProblem {
    /// A field out of its range, missing, or of the wrong form.
    Field,
    /// An expression.
    Expression,
    /// The message.
    Template,
    /// The schedule.
    Schedule,
    /// A threshold that no value can pass, or that nothing can clear.
    Threshold,
    /// A condition that always holds.
    Everything,
}

/// Why a rule cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}{}", if remedy.is_empty() { String::new() } else { format!("; {remedy}") })]
pub struct RuleError {
    /// What kind of mistake.
    pub kind: RuleProblem,
    /// The field that is to blame, as in JSON: `levels[0].when`.
    pub field: String,
    /// What is wrong, with the value.
    pub problem: String,
    /// What is allowed, or what to do; may be empty.
    pub remedy: String,
    /// Where in the text of the field, in bytes.
    pub at: Option<Range<usize>>,
}

impl RuleError {
    /// A field that is out of its range.
    pub fn field(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::new(RuleProblem::Field, field, problem)
    }

    pub(super) fn new(kind: RuleProblem, field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { kind, field: field.into(), problem: problem.into(), remedy: String::new(), at: None }
    }

    pub(super) fn expression(field: impl Into<String>, error: &ExprError) -> Self {
        Self {
            kind: RuleProblem::Expression,
            field: field.into(),
            problem: error.to_string(),
            remedy: String::new(),
            at: Some(error.at.clone()),
        }
    }
}

impl Rule {
    /// Checks what the types do not.
    ///
    /// # Errors
    /// [`RuleError`], which names the field and what is allowed.
    pub fn check(&self) -> Result<(), RuleError> {
        check_text("name", &self.name, 1, NAME_BYTES_MAX)?;
        check_text("runbook", &self.runbook, 0, RUNBOOK_BYTES_MAX)?;
        if !self.runbook.is_empty() && !["https://", "http://"].iter().any(|s| self.runbook.starts_with(s)) {
            let problem =
                format!("runbook is {:?}; a link that begins with https:// or http:// is wanted", cut(&self.runbook));
            return Err(RuleError::field("runbook", problem));
        }
        self.check_levels()?;
        self.check_times()?;
        if self.labels.len() > LABELS_MAX {
            let problem = format!("labels has {} entries; at most {LABELS_MAX} are allowed", self.labels.len());
            return Err(RuleError::field("labels", problem));
        }
        for (key, value) in &self.labels {
            let plain = !key.is_empty()
                && key.len() <= 64
                && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
            if !plain || RESERVED_LABELS.contains(&key.as_str()) || key.starts_with("tag.") {
                let problem = format!(
                    "label {:?} is not valid: 1-64 characters of A-Z a-z 0-9 . _ -, and none of {} or tag.…",
                    cut(key),
                    RESERVED_LABELS.join(", ")
                );
                return Err(RuleError::field("labels", problem));
            }
            check_text(&format!("labels.{key}"), value, 1, 128)?;
        }
        match &self.scope {
            Scope::Devices(ids) if ids.is_empty() || ids.len() > SCOPE_DEVICES_MAX => {
                let problem = format!(
                    "scope names {} devices; 1 to {SCOPE_DEVICES_MAX} are allowed (use a tag, a group or all)",
                    ids.len()
                );
                Err(RuleError::field("scope", problem))
            }
            Scope::Tag { key, value } if key.is_empty() || value.is_empty() || key.len() + value.len() > 256 => {
                let problem = format!(
                    "scope.tag is {:?}; key:value of at most 256 bytes is wanted",
                    cut(&format!("{key}:{value}"))
                );
                Err(RuleError::field("scope.tag", problem))
            }
            _ => Ok(()),
        }
    }

    fn check_levels(&self) -> Result<(), RuleError> {
        if self.levels.is_empty() || self.levels.len() > Severity::ALL.len() {
            let problem = format!("levels has {} entries; 1 to {} are allowed", self.levels.len(), Severity::ALL.len());
            return Err(RuleError::field("levels", problem));
        }
        for (index, pair) in self.levels.windows(2).enumerate() {
            if pair[0].severity >= pair[1].severity {
                let problem = format!("severity {} is given twice", pair[1].severity.name());
                let remedy = "give each level another severity, or join their conditions with ||".into();
                let field = format!("levels[{}].severity", index + 1);
                return Err(RuleError { remedy, ..RuleError::field(field, problem) });
            }
        }
        for (index, level) in self.levels.iter().enumerate() {
            check_level(index, level)?;
        }
        // The limits of an expression count for all of them together, too.
        self.program().map(drop)
    }

    fn check_times(&self) -> Result<(), RuleError> {
        let range = |field: &str, value: i64, min: i64, max: i64| {
            if (min..=max).contains(&value) {
                return Ok(());
            }
            let problem = format!("{field} is {}; {} to {} is allowed", seconds(value), seconds(min), seconds(max));
            Err(RuleError::field(field, problem))
        };
        match self.hold {
            Hold::For(hold_us) => range("for", hold_us, 0, HOLD_US_MAX)?,
            Hold::Count { at_least, of } if at_least == 0 || at_least > of || of > COUNT_OF_MAX => {
                let problem = format!(
                    "count is {at_least} of {of}; at_least from 1 to of, and of up to {COUNT_OF_MAX} is allowed"
                );
                return Err(RuleError::field("count", problem));
            }
            Hold::Count { .. } => {}
        }
        range("keep_firing_for", self.keep_firing_us, 0, HOLD_US_MAX)?;
        range("reopen_window", self.reopen_us, 0, HOLD_US_MAX)?;
        range("lateness", self.lateness_us, 0, LATENESS_US_MAX)?;
        if let Some(staleness_us) = self.staleness_us {
            range("staleness", staleness_us, 1_000_000, SILENCE_US_MAX)?;
        }
        if let Some(no_data) = self.no_data {
            range("no_data.after", no_data.after_us, NO_DATA_US_MIN, SILENCE_US_MAX)?;
        }
        Ok(())
    }

    /// The predicates of all levels as one program: each level's `when`, followed by its `clear` if it has one.
    ///
    /// # Errors
    /// If they are too much together.
    pub fn program(&self) -> Result<Program, RuleError> {
        let all: Vec<Expr> =
            self.levels.iter().flat_map(|l| std::iter::once(l.when.clone()).chain(l.clear.clone())).collect();
        Program::new(&all).map_err(|error| RuleError::expression(self.field_of(error.predicate), &error))
    }

    /// The field that a predicate of [`Rule::program`] is written in.
    fn field_of(&self, predicate: usize) -> String {
        let fields = self.levels.iter().enumerate().flat_map(|(index, level)| {
            let clear = level.clear.as_ref().map(|_| format!("levels[{index}].clear"));
            std::iter::once(format!("levels[{index}].when")).chain(clear)
        });
        fields.into_iter().nth(predicate).unwrap_or_else(|| "levels".into())
    }

    /// The metrics it looks at, in the order in which they are first named.
    pub fn metrics(&self) -> Vec<MetricName> {
        let mut metrics: Vec<MetricName> = Vec::new();
        let all = self.levels.iter().flat_map(|l| std::iter::once(&l.when).chain(&l.clear));
        for metric in all.flat_map(|expr| expr.metrics()) {
            if !metrics.contains(metric) {
                metrics.push(metric.clone());
            }
        }
        metrics
    }

    /// Checks the expressions against the types of a device's metrics; `types` follows [`Rule::metrics`].
    ///
    /// # Errors
    /// If a predicate could never be judged, or could never change, on values of these types.
    pub fn check_types(&self, types: &[Option<ValueType>]) -> Result<(), RuleError> {
        let metrics = self.metrics();
        for (index, level) in self.levels.iter().enumerate() {
            if let Some((metric, comparison, threshold)) = level.when.threshold() {
                let value_type =
                    metrics.iter().position(|m| *m == metric).and_then(|i| types.get(i).copied().flatten());
                if let Some(value_type) = value_type {
                    check_threshold(index, &metric, comparison, threshold, value_type)?;
                }
            }
        }
        self.program()?
            .check_types(types)
            .map_err(|error| RuleError::expression(self.field_of(error.predicate), &error))
    }
}

/// Labels that every alert has.
pub const RESERVED_LABELS: [&str; 8] = ["rule", "device", "group", "profile", "severity", "kind", "metric", "alert"];

fn check_level(index: usize, level: &Level) -> Result<(), RuleError> {
    for (field, expr) in [("when", Some(&level.when)), ("clear", level.clear.as_ref())] {
        let Some(expr) = expr else { continue };
        let field = format!("levels[{index}].{field}");
        if expr.metrics().is_empty() {
            let problem = format!("{:?} looks at no metric, so it is always the same", cut(expr.text()));
            let remedy = "name a metric of the device in it, as in temperature > 80".into();
            return Err(RuleError { remedy, ..RuleError::new(RuleProblem::Everything, field, problem) });
        }
    }
    let (Some((metric, comparison, threshold)), Some(clear)) = (level.when.threshold(), &level.clear) else {
        return Ok(());
    };
    let Some((of, clears, at)) = clear.threshold() else { return Ok(()) };
    if of != metric {
        return Ok(());
    }
    // What clears must not hold where the alert begins; between the two nothing changes.
    let wrong_side = match comparison.looks_up() {
        true => clears.looks_up() || at > threshold,
        false => !clears.looks_up() || at < threshold,
    };
    if wrong_side {
        let problem = format!(
            "{} fires and {} clears: the alert would begin and end at once, or never stop; clear on the quiet side of {threshold}",
            level.when.text(),
            clear.text()
        );
        let field = format!("levels[{index}].clear");
        return Err(RuleError::new(RuleProblem::Threshold, field, problem));
    }
    Ok(())
}

fn check_threshold(
    index: usize,
    metric: &MetricName,
    comparison: Comparison,
    threshold: f64,
    value_type: ValueType,
) -> Result<(), RuleError> {
    let impossible = |problem| Err(RuleError::new(RuleProblem::Threshold, format!("levels[{index}].when"), problem));
    match value_type {
        ValueType::Text => impossible(format!("{metric} is a text; a threshold needs a number or a bool")),
        ValueType::Bool => {
            let fires = |value| comparison.holds(value, threshold);
            if fires(0.0) == fires(1.0) {
                return impossible(format!(
                    "{metric} is a bool, 0 or 1: {} {threshold} is {} (try {metric}, or !{metric})",
                    comparison.sign(),
                    if fires(0.0) { "always so" } else { "never so" },
                ));
            }
            Ok(())
        }
        ValueType::F64 | ValueType::F32 | ValueType::I64 => Ok(()),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

fn seconds(us: i64) -> String {
    match us / 1_000_000 {
        s if s != 0 && s % 86_400 == 0 => format!("{}d", s / 86_400),
        s if s != 0 && s % 3600 == 0 => format!("{}h", s / 3600),
        s if s != 0 && s % 60 == 0 => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

pub(super) fn check_text(field: &str, text: &str, bytes_min: usize, bytes_max: usize) -> Result<(), RuleError> {
    let control = |c: char| c.is_control() && c != '\n';
    if text.trim().len() < bytes_min || text.len() > bytes_max || text.chars().any(control) {
        let problem = format!(
            "{field} {:?} is not valid: {bytes_min}-{bytes_max} bytes without control characters are wanted",
            cut(text)
        );
        return Err(RuleError::field(field, problem));
    }
    Ok(())
}
