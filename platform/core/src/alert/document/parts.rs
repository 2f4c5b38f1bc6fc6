//! The parts of a rule's document.

use crate::alert::rule::{Level, NoData, RuleError, RuleProblem, SILENCE_US_MAX, Telling, WhenStale};
use crate::alert::scope::Scope;
use crate::expr::Expr;
use crate::ids::{DeviceId, GroupName};
use crate::notify::{EscalationStep, GroupPolicy, Recipients};
use crate::schedule::{Schedule, Window};
use crate::severity::Severity;
use crate::span;
use serde::{Deserialize, Serialize};

/// Exactly one of these.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)] // as `Scope`
pub struct ScopeDocument {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub devices: Option<Vec<String>>,
    /// `key:value`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Only `true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all: Option<bool>,
}

/// One severity of a rule.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LevelDocument {
    /// `info`, `warning` or `critical`.
    pub severity: String,
    /// Asks for the alert.
    pub when: String,
    /// Lets it go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clear: Option<String>,
}

/// A number with `metric`, else an expression.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
#[allow(missing_docs)]
pub enum ClearDocument {
    Number(f64),
    Expression(String),
}

/// `at_least` of the last `of` samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct CountDocument {
    pub at_least: u8,
    pub of: u8,
}

/// What silence means.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoDataDocument {
    /// `5m` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// `hold`, `fire` or `clear`; `hold` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<String>,
    /// With `fire`; `warning` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<String>,
}

/// When a rule may begin to fire.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleDocument {
    /// An IANA name.
    pub zone: String,
    /// `mon-fri 08:00-18:00`, or the same in parts.
    pub windows: Vec<WindowDocument>,
}

/// As text or in parts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
#[allow(missing_docs)]
pub enum WindowDocument {
    Text(String),
    Parts { days: Vec<String>, from: String, to: String },
}

/// How alerts are told. Defaults as [`GroupPolicy`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)] // as `GroupPolicy`
pub struct NotifyDocument {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_by: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeat: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolved: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolved_when_quiet: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ack_timeout: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub escalation: Vec<EscalationDocument>,
}

/// One step of an escalation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // as `EscalationStep`
pub struct EscalationDocument {
    pub after: String,
    pub to: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<String>,
}

impl LevelDocument {
    pub(super) fn read(&self, index: usize) -> Result<Level, RuleError> {
        let field = |name: &str| format!("levels[{index}].{name}");
        let severity = Severity::from_name(&self.severity)
            .ok_or_else(|| one_of(&field("severity"), &self.severity, "info, warning or critical"))?;
        let parse =
            |name: &str, text: &str| Expr::parse(text).map_err(|error| RuleError::expression(field(name), &error));
        let when = parse("when", &self.when)?;
        let clear = self.clear.as_deref().map(|text| parse("clear", text)).transpose()?;
        Ok(Level { severity, when, clear })
    }
}

impl ScopeDocument {
    /// Reads the scope.
    ///
    /// # Errors
    /// If it is none of the forms, or names what cannot be a name.
    pub fn scope(&self) -> Result<Scope, RuleError> {
        let device =
            |id: &String| DeviceId::parse(id).map_err(|error| RuleError::field("scope.device", error.to_string()));
        match self {
            Self { device: Some(id), devices: None, tag: None, group: None, all: None } => {
                Ok(Scope::Devices(vec![device(id)?]))
            }
            Self { device: None, devices: Some(ids), tag: None, group: None, all: None } => {
                Ok(Scope::Devices(ids.iter().map(device).collect::<Result<_, _>>()?))
            }
            Self { device: None, devices: None, tag: Some(tag), group: None, all: None } => {
                let (key, value) = tag.split_once(':').ok_or_else(|| {
                    RuleError::field("scope.tag", format!("scope.tag is {tag:?}; key:value is wanted"))
                })?;
                Ok(Scope::Tag { key: key.to_owned(), value: value.to_owned() })
            }
            Self { device: None, devices: None, tag: None, group: Some(group), all: None } => {
                let group =
                    GroupName::parse(group).map_err(|error| RuleError::field("scope.group", error.to_string()))?;
                Ok(Scope::Group(group))
            }
            Self { device: None, devices: None, tag: None, group: None, all: Some(true) } => Ok(Scope::All),
            _ => Err(RuleError::field("scope", "scope wants exactly one of device, devices, tag, group or all: true")),
        }
    }

    pub(super) fn of(scope: &Scope) -> Self {
        let empty = Self::default();
        match scope {
            Scope::All => Self { all: Some(true), ..empty },
            Scope::Devices(ids) if ids.len() == 1 => Self { device: ids.first().map(ToString::to_string), ..empty },
            Scope::Devices(ids) => Self { devices: Some(ids.iter().map(ToString::to_string).collect()), ..empty },
            Scope::Tag { key, value } => Self { tag: Some(format!("{key}:{value}")), ..empty },
            Scope::Group(group) => Self { group: Some(group.to_string()), ..empty },
        }
    }
}

impl NoDataDocument {
    pub(super) fn read(&self) -> Result<NoData, RuleError> {
        let after_us = optional_span("no_data.after", self.after.as_deref(), SILENCE_US_MAX)?.unwrap_or(300_000_000);
        let severity = match self.severity.as_deref() {
            None => Severity::Warning,
            Some(name) => Severity::from_name(name)
                .ok_or_else(|| one_of("no_data.severity", name, "info, warning or critical"))?,
        };
        let then = match self.then.as_deref() {
            None | Some("hold") => WhenStale::Hold,
            Some("fire") => WhenStale::Fire(severity),
            Some("clear") => WhenStale::Clear,
            Some(other) => return Err(one_of("no_data.then", other, "hold, fire or clear")),
        };
        Ok(NoData { after_us, then })
    }

    pub(super) fn of(no_data: NoData) -> Self {
        let (then, severity) = match no_data.then {
            WhenStale::Hold => ("hold", None),
            WhenStale::Fire(severity) => ("fire", Some(severity.name().to_owned())),
            WhenStale::Clear => ("clear", None),
        };
        Self { after: Some(span::text(no_data.after_us)), then: Some(then.to_owned()), severity }
    }
}

impl ScheduleDocument {
    pub(super) fn read(&self) -> Result<Schedule, RuleError> {
        let wrong = |problem: String| RuleError::new(RuleProblem::Schedule, "schedule", problem);
        let texts: Vec<String> = self
            .windows
            .iter()
            .map(|window| match window {
                WindowDocument::Text(text) => text.clone(),
                WindowDocument::Parts { days, from, to } => format!("{} {from}-{to}", days.join(",")),
            })
            .collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        Schedule::parse_texts(&self.zone, &texts).map_err(|error| wrong(error.to_string()))
    }

    pub(super) fn of(schedule: &Schedule) -> Self {
        const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
        let clock = |minutes: u16| format!("{:02}:{:02}", minutes / 60, minutes % 60);
        let parts = |window: &Window| WindowDocument::Parts {
            days: DAYS.into_iter().zip(window.days).filter(|(_, on)| *on).map(|(name, _)| name.to_owned()).collect(),
            from: clock(window.from),
            to: clock(window.to),
        };
        Self { zone: schedule.zone().to_owned(), windows: schedule.windows().iter().map(parts).collect() }
    }
}

impl NotifyDocument {
    pub(super) fn read(&self) -> Result<Telling, RuleError> {
        let defaults = GroupPolicy::default();
        let time = |field: &str, text: &Option<String>| optional_span(field, text.as_deref(), SILENCE_US_MAX);
        let policy = GroupPolicy {
            wait_us: time("notify.wait", &self.wait)?.unwrap_or(defaults.wait_us),
            interval_us: time("notify.interval", &self.interval)?.unwrap_or(defaults.interval_us),
            repeat_us: time("notify.repeat", &self.repeat)?.unwrap_or(defaults.repeat_us),
            send_resolved: self.resolved.unwrap_or(defaults.send_resolved),
            resolved_when_quiet: self.resolved_when_quiet.unwrap_or(defaults.resolved_when_quiet),
            tell_stale: self.stale.unwrap_or(defaults.tell_stale),
            ack_timeout_us: time("notify.ack_timeout", &self.ack_timeout)?,
            to: self.to.as_ref().map_or(Ok(Recipients::Everyone), |to| recipients("notify.to", to))?,
            escalation: self
                .escalation
                .iter()
                .enumerate()
                .map(|(index, step)| step.read(index))
                .collect::<Result<_, _>>()?,
        };
        policy.check().map_err(|error| RuleError::field(format!("notify.{}", error.field()), error.to_string()))?;
        let group_by = self.group_by.clone().unwrap_or_else(|| vec!["rule".to_owned()]);
        if group_by.len() > 8 || group_by.iter().any(|label| label.is_empty() || label.len() > 80) {
            let problem =
                format!("notify.group_by is {group_by:?}; at most 8 names of labels of 1-80 bytes are allowed");
            return Err(RuleError::field("notify.group_by", problem));
        }
        Ok(Telling { group_by, policy })
    }

    pub(super) fn of(telling: &Telling) -> Self {
        let policy = &telling.policy;
        Self {
            group_by: Some(telling.group_by.clone()),
            wait: Some(span::text(policy.wait_us)),
            interval: Some(span::text(policy.interval_us)),
            repeat: Some(span::text(policy.repeat_us)),
            resolved: Some(policy.send_resolved),
            resolved_when_quiet: Some(policy.resolved_when_quiet),
            stale: Some(policy.tell_stale),
            to: Some(policy.to.texts()),
            ack_timeout: policy.ack_timeout_us.map(span::text),
            escalation: policy
                .escalation
                .iter()
                .map(|step| EscalationDocument {
                    after: span::text(step.after_us),
                    to: step.to.texts(),
                    times: Some(step.times),
                    every: Some(span::text(step.every_us)),
                })
                .collect(),
        }
    }
}

impl EscalationDocument {
    pub(super) fn read(&self, index: usize) -> Result<EscalationStep, RuleError> {
        let field = |name: &str| format!("notify.escalation[{index}].{name}");
        let every = optional_span(&field("every"), self.every.as_deref(), SILENCE_US_MAX)?;
        Ok(EscalationStep {
            after_us: optional_span(&field("after"), Some(&self.after), SILENCE_US_MAX)?.unwrap_or(0),
            to: recipients(&field("to"), &self.to)?,
            times: self.times.unwrap_or(1),
            every_us: every.unwrap_or(600_000_000),
        })
    }
}

fn recipients(field: &str, texts: &[String]) -> Result<Recipients, RuleError> {
    Recipients::parse(texts).map_err(|problem| RuleError::field(field, format!("{field} is {texts:?}; {problem}")))
}

pub(super) fn optional_span(field: &str, text: Option<&str>, max_us: i64) -> Result<Option<i64>, RuleError> {
    let Some(text) = text else { return Ok(None) };
    let read = span::parse(text).filter(|us| (0..=max_us).contains(us));
    read.map(Some).ok_or_else(|| {
        let given: String = text.chars().take(80).collect();
        let max = span::text(max_us);
        RuleError::field(field, format!("{field} is {given:?}; a time like 30s, 5m or 1h from 0s to {max} is wanted"))
    })
}

pub(super) fn one_of(field: &str, given: &str, allowed: &str) -> RuleError {
    let given: String = given.chars().take(80).collect();
    RuleError::field(field, format!("{field} is {given:?}; {allowed} is allowed"))
}
