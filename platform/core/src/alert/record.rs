//! An alert as people see it.

use super::comparison::Comparison;
use crate::ids::{AlertId, DeviceKey, GroupName, MetricName, RuleId, UserName};
use crate::severity::Severity;
use std::collections::BTreeMap;

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
    /// The device went silent, and the rule says that this ends it.
    NoData,
    /// The device that was silent sends again.
    DataBack,
}

impl ResolvedReason {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::Cleared,
        Self::ByHand,
        Self::RuleChanged,
        Self::RuleDisabled,
        Self::RuleDeleted,
        Self::ScopeChanged,
        Self::DeviceDeleted,
        Self::NoData,
        Self::DataBack,
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
            Self::NoData => "no_data",
            Self::DataBack => "data_back",
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
            Self::NoData => "the device went silent",
            Self::DataBack => "the device sends again",
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

/// What an alert is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AlertKind {
    /// A rule's condition on a device.
    Condition = 0,
    /// A device that went silent.
    NoData = 1,
    /// Many devices of a group that went silent at once.
    Group = 2,
    /// The alerts of a rule that are more than there may be.
    Overflow = 3,
}

impl AlertKind {
    /// Every kind, by number. Numbers are those of SPEC §9.12.
    pub const ALL: [Self; 4] = [Self::Condition, Self::NoData, Self::Group, Self::Overflow];

    /// The name used in JSON and in the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::Condition => "condition",
            Self::NoData => "no_data",
            Self::Group => "group",
            Self::Overflow => "overflow",
        }
    }

    /// The kind with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.name() == name)
    }
}

/// Someone does not want to hear of an alert for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snooze {
    /// Who.
    pub user: UserName,
    /// Until when, µs since the Unix epoch; None = until it is resolved.
    pub until_us: Option<i64>,
    /// Why; may be empty.
    pub reason: String,
}

/// The alert is about a threshold: what charts draw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AlertThreshold {
    /// How it compares.
    pub comparison: Comparison,
    /// Where it fires.
    pub value: f64,
    /// Where it clears, if that is a threshold, too.
    pub clear: Option<f64>,
}

/// An alert. Names and conditions are those of its beginning, so that it can be read when rule and device are gone.
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
    /// What it is about.
    pub kind: AlertKind,
    /// The device's number; None for an alert about several.
    pub device: Option<DeviceKey>,
    /// The device's id; empty for an alert about several.
    pub device_id: String,
    /// The device's display name, or the group's.
    pub device_name: String,
    /// The group that it belongs to.
    pub group: Option<GroupName>,
    /// The first metric of the rule.
    pub metric: MetricName,
    /// Its unit.
    pub unit: String,
    /// How bad it is.
    pub severity: Severity,
    /// How bad it was at its worst.
    pub severity_max: Severity,
    /// The expression that holds.
    pub condition: String,
    /// The same as a threshold, if it is one.
    pub threshold: Option<AlertThreshold>,
    /// How long it had to hold, µs.
    pub hold_us: i64,
    /// The value at the last transition.
    pub value: f64,
    /// The rule's message, filled in when it fired.
    pub text: String,
    /// Where it says what to do; may be empty.
    pub runbook: String,
    /// Labels by which it is silenced and grouped; those of the rule and those that every alert has.
    pub labels: BTreeMap<String, String>,
    /// Event time of the sample that began it, µs.
    pub started_us: i64,
    /// Event time at which it began to fire, µs.
    pub fired_us: i64,
    /// Event time of its end, and why; None while it fires.
    pub resolved: Option<(i64, ResolvedReason)>,
    /// How often it fired again after its end.
    pub reopened: u32,
    /// Its device is silent.
    pub stale: bool,
    /// Its condition is over, and it is kept for `keep_firing_for`.
    pub recovering: bool,
    /// It comes and goes.
    pub flapping: bool,
    /// The alert that stands for this one and others; this one is not told.
    pub parent: Option<AlertId>,
    /// How many it stands for.
    pub members: u32,
    /// Who has taken note.
    pub acknowledged: Option<Acknowledgement>,
    /// Who takes care.
    pub assigned: Option<UserName>,
    /// Who does not want to hear of it.
    pub snoozed: Option<Snooze>,
}

impl Alert {
    /// True while it fires.
    pub fn is_open(&self) -> bool {
        self.resolved.is_none()
    }

    /// A label by its name.
    pub fn label(&self, name: &str) -> Option<&str> {
        match name {
            // These change while it is open.
            "severity" => Some(self.severity.name()),
            "kind" => Some(self.kind.name()),
            name => self.labels.get(name).map(String::as_str),
        }
    }
}

/// What happened to an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StepKind {
    /// It began to fire.
    Fired,
    /// It became worse or milder.
    Level,
    /// Its device went silent.
    Stale,
    /// Its device sends again.
    Fresh,
    /// Its condition is over; it is kept for a while.
    Recovering,
    /// Its condition came back in that while.
    Relapsed,
    /// It comes and goes: that is told once.
    Flapping,
    /// It does not any more.
    Settled,
    /// It fires again, soon after its end.
    Reopened,
    /// It stands for more or fewer.
    Members,
    /// Someone took note.
    Acknowledged,
    /// Someone took that back.
    Unacknowledged,
    /// Someone does not want to hear of it.
    Silenced,
    /// Someone does again.
    Unsilenced,
    /// Someone takes care, or does not any more.
    Assigned,
    /// Someone said something.
    Commented,
    /// It ended.
    Resolved,
}

impl StepKind {
    /// Every kind.
    pub const ALL: [Self; 17] = [
        Self::Fired,
        Self::Level,
        Self::Stale,
        Self::Fresh,
        Self::Recovering,
        Self::Relapsed,
        Self::Flapping,
        Self::Settled,
        Self::Reopened,
        Self::Members,
        Self::Acknowledged,
        Self::Unacknowledged,
        Self::Silenced,
        Self::Unsilenced,
        Self::Assigned,
        Self::Commented,
        Self::Resolved,
    ];

    /// The name used in JSON and in the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fired => "fired",
            Self::Level => "level",
            Self::Stale => "stale",
            Self::Fresh => "fresh",
            Self::Recovering => "recovering",
            Self::Relapsed => "relapsed",
            Self::Flapping => "flapping",
            Self::Settled => "settled",
            Self::Reopened => "reopened",
            Self::Members => "members",
            Self::Acknowledged => "acknowledged",
            Self::Unacknowledged => "unacknowledged",
            Self::Silenced => "silenced",
            Self::Unsilenced => "unsilenced",
            Self::Assigned => "assigned",
            Self::Commented => "commented",
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

/// The words around what an alert's device has, in one language.
pub(crate) struct FiredWords {
    /// Before how long it had to last.
    pub hold: &'static str,
    /// Before how long nothing came.
    pub silent: &'static str,
    /// Between how many devices and what they are part of, and after that.
    pub group: [&'static str; 2],
    /// After how many devices there are more.
    pub more: &'static str,
}

const ENGLISH: FiredWords = FiredWords {
    hold: " for ",
    silent: "nothing came for ",
    group: [" devices of ", " went silent"],
    more: " more devices",
};

/// What an alert says of its firing: "temperature -11.4 °C > -12 °C for 30 s".
pub fn fired_text(alert: &Alert) -> String {
    fired_text_in(&ENGLISH, alert)
}

/// The same in another language.
pub(crate) fn fired_text_in(words: &FiredWords, alert: &Alert) -> String {
    let unit = if alert.unit.is_empty() { String::new() } else { format!(" {}", alert.unit) };
    let hold = if alert.hold_us == 0 { String::new() } else { format!("{}{}", words.hold, span_text(alert.hold_us)) };
    let value = short(alert.value);
    match (alert.kind, &alert.threshold) {
        (AlertKind::Condition, Some(AlertThreshold { comparison, value: threshold, .. })) => {
            format!("{} {value}{unit} {} {}{unit}{hold}", alert.metric, comparison.sign(), short(*threshold))
        }
        (AlertKind::Condition, None) => format!("{}{hold} ({} {value}{unit})", alert.condition, alert.metric),
        (AlertKind::NoData, _) => {
            format!("{}{}", words.silent, span_text(alert.fired_us.saturating_sub(alert.started_us)))
        }
        (AlertKind::Group, _) => {
            let [of, silent] = words.group;
            format!("{}{of}{}{silent}", alert.members, alert.device_name)
        }
        (AlertKind::Overflow, _) => format!("{}{}", alert.members, words.more),
    }
}

/// A span of time for people: "30 s", "5 min", "2 h".
pub fn span_text(us: i64) -> String {
    match us / 1_000_000 {
        s if s != 0 && s % 3600 == 0 => format!("{} h", s / 3600),
        s if s != 0 && s % 60 == 0 => format!("{} min", s / 60),
        s => format!("{s} s"),
    }
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
