//! An alert as people see it.

use super::rule::{Comparison, Rule};
use crate::device::Device;
use crate::ids::{AlertId, DeviceId, DeviceKey, MetricName, RuleId, UserName};
use crate::sample::Series;
use crate::severity::Severity;

/// Why an alert does not fire any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResolvedReason {
    /// A sample said so.
    Cleared,
    /// A person said so.
    ByHand,
    /// The rule was edited and does not hold as it is now.
    RuleChanged,
    /// The rule was disabled.
    RuleDisabled,
    /// The rule was deleted.
    RuleDeleted,
    /// The rule does not look at the device any more.
    ScopeChanged,
    /// The device was deleted.
    DeviceDeleted,
}

impl ResolvedReason {
    /// Every reason.
    pub const ALL: [Self; 7] = [
        Self::Cleared,
        Self::ByHand,
        Self::RuleChanged,
        Self::RuleDisabled,
        Self::RuleDeleted,
        Self::ScopeChanged,
        Self::DeviceDeleted,
    ];

    /// The name used in JSON and in the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cleared => "cleared",
            Self::ByHand => "by_hand",
            Self::RuleChanged => "rule_changed",
            Self::RuleDisabled => "rule_disabled",
            Self::RuleDeleted => "rule_deleted",
            Self::ScopeChanged => "scope_changed",
            Self::DeviceDeleted => "device_deleted",
        }
    }

    /// The reason with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.name() == name)
    }

    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            Self::Cleared => "back to normal",
            Self::ByHand => "resolved by hand",
            Self::RuleChanged => "the rule was changed and does not hold any more",
            Self::RuleDisabled => "the rule was switched off",
            Self::RuleDeleted => "the rule was deleted",
            Self::ScopeChanged => "the rule does not look at this device any more",
            Self::DeviceDeleted => "the device was deleted",
        }
    }
}

/// Someone has taken note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledgement {
    /// Who.
    pub user: UserName,
    /// When, µs since the Unix epoch.
    pub time_us: i64,
}

/// An alert. Names and thresholds are those of its beginning, so that it can be read when rule and device are gone.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// Its id.
    pub id: AlertId,
    /// Grows with each change.
    pub revision: u64,
    /// Its rule.
    pub rule: RuleId,
    /// The rule's name.
    pub rule_name: String,
    /// The device's number.
    pub device: DeviceKey,
    /// The device's id.
    pub device_id: DeviceId,
    /// The device's display name.
    pub device_name: String,
    /// The metric.
    pub metric: MetricName,
    /// Its unit.
    pub unit: String,
    /// How bad.
    pub severity: Severity,
    /// How it compares.
    pub comparison: Comparison,
    /// Where it fires.
    pub threshold: f64,
    /// Where it clears.
    pub clear: f64,
    /// How long it had to hold, µs.
    pub hold_us: i64,
    /// The value at the last transition.
    pub value: f64,
    /// The rule's message.
    pub text: String,
    /// Event time of the sample that began it, µs.
    pub started_us: i64,
    /// Event time at which it began to fire, µs.
    pub fired_us: i64,
    /// Event time of its end, and why; None while it fires.
    pub resolved: Option<(i64, ResolvedReason)>,
    /// Who has taken note.
    pub acknowledged: Option<Acknowledgement>,
}

impl Alert {
    /// An alert that begins to fire.
    pub fn begin(id: AlertId, rule: &Rule, device: &Device, series: &Series, started_us: i64, at: (i64, f64)) -> Self {
        Self {
            id,
            revision: 1,
            rule: rule.id.clone(),
            rule_name: rule.name.clone(),
            device: device.key,
            device_id: device.id.clone(),
            device_name: device.name.clone(),
            metric: rule.metric.clone(),
            unit: series.unit.clone(),
            severity: rule.severity,
            comparison: rule.comparison,
            threshold: rule.threshold,
            clear: rule.clear,
            hold_us: rule.hold_us,
            value: at.1,
            text: rule.message.clone(),
            started_us,
            fired_us: at.0,
            resolved: None,
            acknowledged: None,
        }
    }

    /// True while it fires.
    pub fn is_open(&self) -> bool {
        self.resolved.is_none()
    }
}

/// What happened to an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StepKind {
    /// It began to fire.
    Fired,
    /// Someone took note.
    Acknowledged,
    /// Someone took that back.
    Unacknowledged,
    /// It ended.
    Resolved,
}

impl StepKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Fired, Self::Acknowledged, Self::Unacknowledged, Self::Resolved];

    /// The name used in JSON and in the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fired => "fired",
            Self::Acknowledged => "acknowledged",
            Self::Unacknowledged => "unacknowledged",
            Self::Resolved => "resolved",
        }
    }

    /// The kind with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.name() == name)
    }
}

/// One step of an alert's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertStep {
    /// When the server noted it, µs since the Unix epoch.
    pub time_us: i64,
    /// What.
    pub kind: StepKind,
    /// By whom, if a person did it.
    pub user: Option<UserName>,
    /// For people.
    pub text: String,
}

/// What an alert says of its firing: "temperature -11.4 °C > -12 °C for 30 s".
pub fn fired_text(alert: &Alert) -> String {
    let unit = if alert.unit.is_empty() { String::new() } else { format!(" {}", alert.unit) };
    let hold = match alert.hold_us / 1_000_000 {
        0 => String::new(),
        s if s % 3600 == 0 => format!(" for {} h", s / 3600),
        s if s % 60 == 0 => format!(" for {} min", s / 60),
        s => format!(" for {s} s"),
    };
    let (value, threshold) = (short(alert.value), short(alert.threshold));
    format!("{} {value}{unit} {} {threshold}{unit}{hold}", alert.metric, alert.comparison.sign())
}

/// A number with at most six significant digits: an f32 widened to f64 should not show its seventeen.
pub fn short(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    let magnitude = value.abs().log10().floor();
    if !(-4.0..15.0).contains(&magnitude) {
        return format!("{value:.5e}");
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // between 0 and 9 by the clamp
    let decimals = (5.0 - magnitude).clamp(0.0, 9.0) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_show_the_digits_that_matter() {
        assert_eq!(short(-11.399_999_618_530_273), "-11.4");
        assert_eq!(short(0.000_5), "0.0005");
        assert_eq!(short(1_234_567.0), "1234567");
        assert_eq!(short(1e20), "1.00000e20");
    }
}
