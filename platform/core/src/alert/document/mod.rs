//! A rule as people write it: in JSON over HTTP, in YAML files, and in the store.

mod parts;

pub use parts::{
    ClearDocument, CountDocument, EscalationDocument, LevelDocument, NoDataDocument, NotifyDocument, ScheduleDocument,
    ScopeDocument, WindowDocument,
};

use parts::{one_of, optional_span};

use super::comparison::Comparison;
use super::rule::{HOLD_US_MAX, Hold, Level, Mode, Rule, RuleError, RuleProblem, SILENCE_US_MAX};
use super::scope::Scope;
use super::template::Template;
use crate::ids::{MetricName, RuleId, UserName};
use crate::severity::Severity;
use crate::span;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// See the module. What is absent takes its default; what is written again has every field but those that are shorthand.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RuleDocument {
    /// A name, or absent to have one made up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// For people.
    pub name: String,
    /// True if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// All devices if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<ScopeDocument>,
    /// One to three, in any order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub levels: Option<Vec<LevelDocument>>,
    /// Instead of `levels`: the one level's expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// Instead of `levels`: its clear expression, or with `metric` the number where it clears.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clear: Option<ClearDocument>,
    /// Instead of `levels`: its severity; `warning` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<String>,
    /// Instead of `when`: a threshold over this metric.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// `>`, `>=`, `<` or `<=`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparison: Option<String>,
    /// Where it fires.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// `0s` if absent.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    /// Instead of `for`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<CountDocument>,
    /// `0s` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_firing_for: Option<String>,
    /// `sampled` if absent, or `on_change`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// `alerting.gap_max` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub staleness: Option<String>,
    /// `0s` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lateness: Option<String>,
    /// Silence means nothing if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_data: Option<NoDataDocument>,
    /// True if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flapping: Option<bool>,
    /// Always if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleDocument>,
    /// `0s` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reopen_window: Option<String>,
    /// Of its alerts.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// May be empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// May be empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub runbook: String,
    /// How its alerts are told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notify: Option<NotifyDocument>,
}

/// What a document does not say: who made it, and when.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // as `Rule`
pub struct Authorship {
    pub id: RuleId,
    pub version: u32,
    pub created_us: i64,
    pub updated_us: i64,
    pub updated_by: UserName,
}

impl RuleDocument {
    /// Reads and checks the rule.
    ///
    /// # Errors
    /// [`RuleError`], which names the field and the remedy.
    pub fn rule(&self, by: Authorship) -> Result<Rule, RuleError> {
        let levels = self.read_levels()?;
        let metrics = metrics_of(&levels);
        let message = Template::parse(&self.message, &metrics).map_err(|error| RuleError {
            kind: RuleProblem::Template,
            field: "message".into(),
            problem: error.to_string(),
            remedy: String::new(),
            at: Some(error.at.clone()),
        })?;
        let rule = Rule {
            id: by.id,
            name: self.name.clone(),
            enabled: self.enabled.unwrap_or(true),
            scope: self.scope.as_ref().map_or(Ok(Scope::All), ScopeDocument::scope)?,
            levels,
            hold: self.read_hold()?,
            keep_firing_us: optional_span("keep_firing_for", self.keep_firing_for.as_deref(), HOLD_US_MAX)?
                .unwrap_or(0),
            mode: match self.mode.as_deref() {
                None | Some("sampled") => Mode::Sampled,
                Some("on_change") => Mode::OnChange,
                Some(other) => return Err(one_of("mode", other, "sampled or on_change")),
            },
            staleness_us: optional_span("staleness", self.staleness.as_deref(), SILENCE_US_MAX)?,
            lateness_us: optional_span("lateness", self.lateness.as_deref(), HOLD_US_MAX)?.unwrap_or(0),
            no_data: self.no_data.as_ref().map(NoDataDocument::read).transpose()?,
            flapping: self.flapping.unwrap_or(true),
            schedule: self.schedule.as_ref().map(ScheduleDocument::read).transpose()?,
            reopen_us: optional_span("reopen_window", self.reopen_window.as_deref(), HOLD_US_MAX)?.unwrap_or(0),
            labels: self.labels.clone(),
            message,
            runbook: self.runbook.clone(),
            telling: self.notify.clone().unwrap_or_default().read()?,
            version: by.version,
            created_us: by.created_us,
            updated_us: by.updated_us,
            updated_by: by.updated_by,
        };
        rule.check()?;
        Ok(rule)
    }

    fn read_hold(&self) -> Result<Hold, RuleError> {
        match (&self.hold, self.count) {
            (Some(hold), Some(_)) if hold != "0s" => {
                Err(RuleError::field("count", "for and count are both given; one of them says when it fires"))
            }
            (_, Some(count)) => Ok(Hold::Count { at_least: count.at_least, of: count.of }),
            (hold, None) => Ok(Hold::For(optional_span("for", hold.as_deref(), HOLD_US_MAX)?.unwrap_or(0))),
        }
    }

    fn read_levels(&self) -> Result<Vec<Level>, RuleError> {
        let short = self.when.is_some() || self.metric.is_some();
        let mut levels = match (&self.levels, short) {
            (Some(_), true) => {
                return Err(RuleError::field(
                    "levels",
                    "levels are given beside when or metric; one of them says the condition",
                ));
            }
            (Some(levels), false) => levels.clone(),
            (None, _) => vec![self.short_level()?],
        }
        .iter()
        .enumerate()
        .map(|(index, level)| level.read(index))
        .collect::<Result<Vec<_>, _>>()?;
        levels.sort_by_key(|level| level.severity);
        Ok(levels)
    }

    /// The one level of a rule without `levels`.
    fn short_level(&self) -> Result<LevelDocument, RuleError> {
        let severity = self.severity.clone().unwrap_or_else(|| Severity::Warning.name().to_owned());
        let (when, clear) = match (&self.when, &self.metric) {
            (Some(_), Some(_)) => {
                return Err(RuleError::field("when", "when and metric are both given; one of them says the condition"));
            }
            (Some(when), None) => {
                let clear = match &self.clear {
                    None => None,
                    Some(ClearDocument::Expression(text)) => Some(text.clone()),
                    Some(ClearDocument::Number(number)) => {
                        let problem =
                            format!("clear is {number}; beside when an expression is wanted, such as temp < {number}");
                        return Err(RuleError::field("clear", problem));
                    }
                };
                (when.clone(), clear)
            }
            (None, Some(metric)) => self.threshold_level(metric)?,
            (None, None) => {
                return Err(RuleError::field(
                    "when",
                    "there is no condition; give when, levels, or metric, comparison and threshold",
                ));
            }
        };
        Ok(LevelDocument { severity, when, clear })
    }

    fn threshold_level(&self, metric: &str) -> Result<(String, Option<String>), RuleError> {
        let metric = MetricName::parse(metric).map_err(|error| RuleError::field("metric", error.to_string()))?;
        let sign = self.comparison.as_deref().unwrap_or_default();
        let comparison = Comparison::from_sign(sign).ok_or_else(|| one_of("comparison", sign, ">, >=, < or <="))?;
        let threshold = self
            .threshold
            .ok_or_else(|| RuleError::field("threshold", "threshold is missing; beside metric a number is wanted"))?;
        let clear = match &self.clear {
            None => None,
            Some(ClearDocument::Number(clear)) => Some(*clear),
            Some(ClearDocument::Expression(text)) => {
                let problem = format!("clear is {text:?}; beside metric a number is wanted");
                return Err(RuleError::field("clear", problem));
            }
        };
        for (field, value) in [("threshold", Some(threshold)), ("clear", clear)] {
            if let Some(value) = value.filter(|value| !value.is_finite()) {
                let problem = format!("{field} is {value}; a finite number is wanted");
                return Err(RuleError::new(RuleProblem::Threshold, field, problem));
            }
        }
        if let Some(clear) = clear {
            let wrong = if comparison.looks_up() { clear > threshold } else { clear < threshold };
            if wrong {
                let side = if comparison.looks_up() { "at or below" } else { "at or above" };
                let problem = format!(
                    "clear is {clear} and threshold is {threshold}: with {sign} the alert clears {side} the threshold, or it could never stop firing"
                );
                return Err(RuleError::new(RuleProblem::Threshold, "clear", problem));
            }
        }
        let name = crate::expr::quoted(&metric);
        // What is not past `clear` goes on.
        let clear = clear.filter(|clear| *clear != threshold);
        let clear = clear.map(|clear| format!("{name} {} {clear}", comparison.opposite().sign()));
        Ok((format!("{name} {sign} {threshold}"), clear))
    }
}

fn metrics_of(levels: &[Level]) -> Vec<MetricName> {
    let all = levels.iter().flat_map(|l| std::iter::once(&l.when).chain(&l.clear)).flat_map(|e| e.metrics());
    let mut metrics = Vec::new();
    for metric in all {
        if !metrics.contains(metric) {
            metrics.push(metric.clone());
        }
    }
    metrics
}

impl From<&Rule> for RuleDocument {
    fn from(rule: &Rule) -> Self {
        let level = |level: &Level| LevelDocument {
            severity: level.severity.name().to_owned(),
            when: level.when.text().to_owned(),
            clear: level.clear.as_ref().map(|clear| clear.text().to_owned()),
        };
        let (hold, count) = match rule.hold {
            Hold::For(hold_us) => (Some(span::text(hold_us)), None),
            Hold::Count { at_least, of } => (None, Some(CountDocument { at_least, of })),
        };
        Self {
            id: Some(rule.id.to_string()),
            name: rule.name.clone(),
            enabled: Some(rule.enabled),
            scope: Some(ScopeDocument::of(&rule.scope)),
            levels: Some(rule.levels.iter().map(level).collect()),
            hold,
            count,
            keep_firing_for: Some(span::text(rule.keep_firing_us)),
            mode: Some(if rule.mode == Mode::Sampled { "sampled" } else { "on_change" }.to_owned()),
            staleness: rule.staleness_us.map(span::text),
            lateness: Some(span::text(rule.lateness_us)),
            no_data: rule.no_data.map(NoDataDocument::of),
            flapping: Some(rule.flapping),
            schedule: rule.schedule.as_ref().map(ScheduleDocument::of),
            reopen_window: Some(span::text(rule.reopen_us)),
            labels: rule.labels.clone(),
            message: rule.message.text().to_owned(),
            runbook: rule.runbook.clone(),
            notify: Some(NotifyDocument::of(&rule.telling)),
            ..Self::default()
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
