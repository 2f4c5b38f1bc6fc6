//! What a test expects, and whether it is so.

use super::drive::{AlertNow, Drive, Message};
use super::files::place_of;
use super::series;
use super::testing::read_at;
use anyhow::{anyhow, bail};
use pulsewire_core::alert::Compiled;
use pulsewire_core::ids::AlertId;
use pulsewire_core::notify::Reason;
use pulsewire_core::severity::Severity;
use serde::Deserialize;
use serde_saphyr::Spanned;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What fires at a time.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AlertTest {
    eval_time: Spanned<String>,
    #[serde(alias = "rule")]
    alertname: Option<Spanned<String>>,
    #[serde(default)]
    exp_alerts: Vec<Spanned<ExpectedAlert>>,
}

/// What people were told up to a time, since the one before.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NotificationTest {
    eval_time: Spanned<String>,
    #[serde(alias = "rule")]
    alertname: Option<Spanned<String>>,
    #[serde(default)]
    exp_notifications: Vec<Spanned<ExpectedMessage>>,
}

/// What is given has to be so.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct ExpectedAlert {
    device: Option<String>,
    rule: Option<String>,
    severity: Option<String>,
    state: Option<String>,
    kind: Option<String>,
    since: Option<String>,
    stale: Option<bool>,
    recovering: Option<bool>,
    flapping: Option<bool>,
    #[serde(alias = "exp_labels")]
    labels: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct ExpectedMessage {
    reason: Option<String>,
    rule: Option<String>,
    at: Option<String>,
    firing: Option<Vec<String>>,
    resolved: Option<Vec<String>>,
    flapping: Option<Vec<String>>,
    stale: Option<Vec<String>>,
    to: Option<Vec<String>>,
}

/// Something is not as expected.
#[derive(Debug)]
pub(super) struct Failure {
    pub at: String,
    pub what: String,
    pub expected: Vec<String>,
    pub got: Vec<String>,
}

/// A time at which something is expected.
pub(super) struct Check<'a> {
    /// µs since the test's beginning.
    pub at_us: i64,
    eval_time: &'a str,
    rule: Option<&'a str>,
    what: Expected<'a>,
}

enum Expected<'a> {
    Alerts(Vec<(&'a ExpectedAlert, Option<i64>)>),
    Messages(Vec<(&'a ExpectedMessage, Option<i64>)>),
}

/// The checks in the order of time.
pub(super) fn checks<'a>(
    file: &Path,
    alerts: &'a [AlertTest],
    notifications: &'a [NotificationTest],
    rules: &[Compiled],
) -> anyhow::Result<Vec<Check<'a>>> {
    let time = |text: &Spanned<String>| read_at(file, "eval_time", text, |text| series::duration(text));
    let known = |name: &Option<Spanned<String>>| {
        let Some(name) = name else { return Ok(()) };
        read_at(file, "alertname", name, |name| match rules.iter().any(|rule| is_called(rule, name)) {
            true => Ok(()),
            false => Err(format!("no rule has the id or name {name:?}")),
        })
    };
    let mut checks = Vec::new();
    for test in alerts {
        known(&test.alertname)?;
        let mut expected = Vec::new();
        for alert in &test.exp_alerts {
            alert.value.check().map_err(|problem| anyhow!("{}: exp_alerts: {problem}", place_of(file, alert)))?;
            let since = |text: &String| read_at(file, "since", alert, |_| series::duration(text));
            expected.push((&alert.value, alert.value.since.as_ref().map(since).transpose()?));
        }
        checks.push(Check {
            at_us: time(&test.eval_time)?,
            eval_time: &test.eval_time.value,
            rule: test.alertname.as_ref().map(|name| name.value.as_str()),
            what: Expected::Alerts(expected),
        });
    }
    for test in notifications {
        known(&test.alertname)?;
        let mut expected = Vec::new();
        for message in &test.exp_notifications {
            if let Some(reason) = message.value.reason.as_deref().filter(|name| Reason::from_name(name).is_none()) {
                let allowed: Vec<_> = Reason::ALL.iter().map(|reason| reason.name()).collect();
                let place = place_of(file, message);
                bail!("{place}: reason: {reason:?} is none; {} is allowed", allowed.join(", "));
            }
            let at = |text: &String| read_at(file, "at", message, |_| series::duration(text));
            expected.push((&message.value, message.value.at.as_ref().map(at).transpose()?));
        }
        checks.push(Check {
            at_us: time(&test.eval_time)?,
            eval_time: &test.eval_time.value,
            rule: test.alertname.as_ref().map(|name| name.value.as_str()),
            what: Expected::Messages(expected),
        });
    }
    checks.sort_by_key(|check| check.at_us);
    Ok(checks)
}

fn is_called(rule: &Compiled, name: &str) -> bool {
    rule.rule.id.as_str() == name || rule.rule.name == name
}

impl Check<'_> {
    /// What is not as expected, now that the time has come.
    pub fn look(&self, drive: &mut Drive<'_>, start_us: i64) -> Option<Failure> {
        let of_rule = |rule: &Compiled| self.rule.is_none_or(|name| is_called(rule, name));
        let failure = |what: &str, expected, got| {
            let what = format!("{what}{}", self.rule.map(|rule| format!(" of {rule}")).unwrap_or_default());
            Some(Failure { at: self.eval_time.to_owned(), what, expected, got })
        };
        match &self.what {
            Expected::Alerts(expected) => {
                let pending = expected.iter().any(|(alert, _)| alert.state.as_deref() == Some("pending"));
                let mut got = drive.alerts();
                got.retain(|alert| of_rule(alert.rule) && (pending || !alert.pending));
                let fits = |at: usize, alert: &AlertNow<'_>| {
                    expected.get(at).is_some_and(|(wanted, since_us)| wanted.fits(alert, *since_us, start_us))
                };
                if pairs_up(expected.len(), &got, fits) {
                    return None;
                }
                let expected = expected.iter().map(|(alert, _)| alert.text()).collect();
                failure("alerts", expected, got.iter().map(|alert| alert_text(alert, start_us)).collect())
            }
            Expected::Messages(expected) => {
                let mut got = drive.take_messages();
                // Those of other rules are not spoken of.
                got.retain(|message| of_rule(message.rule));
                let same = got.len() == expected.len()
                    && got.iter().zip(expected).all(|(got, (wanted, at_us))| wanted.fits(got, *at_us, start_us));
                if same {
                    return None;
                }
                let expected = expected.iter().map(|(message, _)| message.text()).collect();
                failure("notifications", expected, got.iter().map(|message| message_text(message, start_us)).collect())
            }
        }
    }
}

/// True if each of what is expected can have one of what there is for itself. An expectation that says little may fit several.
fn pairs_up<T>(expected: usize, got: &[T], fits: impl Fn(usize, &T) -> bool) -> bool {
    fn find<T>(
        at: usize,
        got: &[T],
        fits: &impl Fn(usize, &T) -> bool,
        seen: &mut [bool],
        taken: &mut [Option<usize>],
    ) -> bool {
        for place in 0..got.len() {
            if seen[place] || !fits(at, &got[place]) {
                continue;
            }
            seen[place] = true;
            let free = match taken[place] {
                None => true,
                Some(other) => find(other, got, fits, seen, taken),
            };
            if free {
                taken[place] = Some(at);
                return true;
            }
        }
        false
    }
    let mut taken = vec![None; got.len()];
    expected == got.len() && (0..expected).all(|at| find(at, got, &fits, &mut vec![false; got.len()], &mut taken))
}

impl ExpectedAlert {
    fn check(&self) -> Result<(), String> {
        let one_of = |field: &str, value: &Option<String>, allowed: &[&str]| match value {
            Some(value) if !allowed.contains(&value.as_str()) => {
                Err(format!("{field} is {value:?}; {} is allowed", allowed.join(", ")))
            }
            _ => Ok(()),
        };
        one_of("severity", &self.severity, &Severity::ALL.map(Severity::name))?;
        one_of("state", &self.state, &["firing", "pending"])?;
        one_of("kind", &self.kind, &["condition", "no_data"])
    }

    fn fits(&self, alert: &AlertNow<'_>, since_us: Option<i64>, start_us: i64) -> bool {
        fn is<T: PartialEq>(wanted: Option<T>, is: T) -> bool {
            wanted.is_none_or(|wanted| wanted == is)
        }
        let label = |(name, value): (&String, &String)| match name.as_str() {
            "alertname" => is_called(alert.rule, value),
            name => alert.label(name) == *value,
        };
        is(self.device.as_deref(), alert.device.id.as_str())
            && self.rule.as_ref().is_none_or(|name| is_called(alert.rule, name))
            && is(self.severity.as_deref(), alert.severity.name())
            && (self.state.as_deref() == Some("pending")) == alert.pending
            && is(self.kind.as_deref(), alert.kind)
            && is(since_us, alert.since_us.saturating_sub(start_us))
            && is(self.stale, alert.stale)
            && is(self.recovering, alert.recovering)
            && is(self.flapping, alert.flapping)
            && self.labels.iter().all(label)
    }

    fn text(&self) -> String {
        let mut words: Vec<String> = Vec::new();
        words.extend(self.rule.clone());
        words.push(self.device.clone().unwrap_or_else(|| "any device".into()));
        words.extend(self.severity.clone());
        words.push(self.state.clone().unwrap_or_else(|| "firing".into()));
        words.extend(self.kind.clone().filter(|kind| kind != "condition"));
        words.extend(self.since.as_ref().map(|since| format!("since {since}")));
        for (name, flag) in [("stale", self.stale), ("recovering", self.recovering), ("flapping", self.flapping)] {
            words.extend(flag.map(|on| if on { name.to_owned() } else { format!("not {name}") }));
        }
        words.extend(self.labels.iter().map(|(name, value)| format!("{name}={value}")));
        words.join(" ")
    }
}

fn alert_text(alert: &AlertNow<'_>, start_us: i64) -> String {
    let mut words = vec![
        alert.rule.rule.id.as_str(),
        alert.device.id.as_str(),
        alert.severity.name(),
        if alert.pending { "pending" } else { "firing" },
    ];
    words.extend((alert.kind != "condition").then_some(alert.kind));
    let since = format!("since {}", moment(alert.since_us, start_us));
    words.push(&since);
    for (name, on) in [("stale", alert.stale), ("recovering", alert.recovering), ("flapping", alert.flapping)] {
        words.extend(on.then_some(name));
    }
    words.join(" ")
}

impl ExpectedMessage {
    fn fits(&self, message: &Message<'_>, at_us: Option<i64>, start_us: i64) -> bool {
        let decision = &message.decision;
        let same = |wanted: &Option<Vec<String>>, alerts: &[AlertId]| {
            let Some(wanted) = wanted else { return true };
            let wanted: BTreeSet<&str> = wanted.iter().map(String::as_str).collect();
            wanted == devices(message, alerts)
        };
        self.reason.as_deref().is_none_or(|reason| reason == decision.reason.name())
            && self.rule.as_ref().is_none_or(|name| is_called(message.rule, name))
            && at_us.is_none_or(|at_us| at_us == message.at_us.saturating_sub(start_us))
            && same(&self.firing, &decision.firing)
            && same(&self.resolved, &decision.resolved)
            && same(&self.flapping, &decision.flapping)
            && same(&self.stale, &decision.stale)
            && self.to.as_ref().is_none_or(|to| {
                to.iter().collect::<BTreeSet<_>>() == recipients(message).iter().collect::<BTreeSet<_>>()
            })
    }

    fn text(&self) -> String {
        let mut words: Vec<String> = Vec::new();
        words.extend(self.at.as_ref().map(|at| format!("at {at}")));
        words.extend(self.rule.clone());
        words.push(self.reason.clone().unwrap_or_else(|| "any reason".into()));
        let lists = [
            ("firing", &self.firing),
            ("resolved", &self.resolved),
            ("flapping", &self.flapping),
            ("stale", &self.stale),
            ("to", &self.to),
        ];
        words.extend(lists.iter().filter_map(|(name, list)| Some(format!("{name} [{}]", list.as_ref()?.join(", ")))));
        words.join(" ")
    }
}

fn message_text(message: &Message<'_>, start_us: i64) -> String {
    let decision = &message.decision;
    let mut words = vec![
        format!("at {}", moment(message.at_us, start_us)),
        message.rule.rule.id.to_string(),
        decision.reason.name().to_owned(),
    ];
    let lists = [
        ("firing", &decision.firing),
        ("resolved", &decision.resolved),
        ("flapping", &decision.flapping),
        ("stale", &decision.stale),
    ];
    for (name, alerts) in lists.into_iter().filter(|(_, alerts)| !alerts.is_empty()) {
        let devices: Vec<_> = devices(message, alerts).into_iter().collect();
        words.push(format!("{name} [{}]", devices.join(", ")));
    }
    words.push(format!("to [{}]", recipients(message).join(", ")));
    words.join(" ")
}

fn devices<'m>(message: &'m Message<'_>, alerts: &[AlertId]) -> BTreeSet<&'m str> {
    alerts.iter().filter_map(|alert| Some(message.devices.get(alert)?.id.as_str())).collect()
}

fn recipients(message: &Message<'_>) -> Vec<String> {
    let all = std::iter::once(&message.decision.to).chain(&message.decision.also_to);
    all.flat_map(pulsewire_core::notify::Recipients::texts).collect()
}

/// A time since the beginning, as in `1m30s`.
fn moment(time_us: i64, start_us: i64) -> String {
    let us = time_us.saturating_sub(start_us);
    let (sign, us) = (if us < 0 { "-" } else { "" }, us.unsigned_abs());
    let parts =
        [("h", us / 3_600_000_000), ("m", us / 60_000_000 % 60), ("s", us / 1_000_000 % 60), ("ms", us / 1000 % 1000)];
    let text: String = parts.iter().filter(|(_, n)| *n > 0).map(|(unit, n)| format!("{n}{unit}")).collect();
    if text.is_empty() { "0s".into() } else { format!("{sign}{text}") }
}
