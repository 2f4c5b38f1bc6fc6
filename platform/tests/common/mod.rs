//! Alerts and what is told of them, for tests of the store.
#![allow(clippy::unwrap_used)] // a helper's panic is the test's failure

use pulsewire::ports::{AlertChange, Told};
use pulsewire_core::alert::{Alert, AlertKind, AlertStep, AlertThreshold, Comparison, StepKind};
use pulsewire_core::ids::{AlertId, DeviceKey, MetricName, NotificationId, RuleId, UserName};
use pulsewire_core::notice::{Notice, NoticeKind};
use pulsewire_core::notify::{Decision, Reason, Recipients, group_id};
use pulsewire_core::severity::Severity;
use pulsewire_core::ulid::Ulid;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Time between an alarm and its push.
pub const GRACE_US: i64 = 10;
/// Lifetime of a message.
pub const LIFETIME_US: i64 = 1_000_000;

pub fn name(text: &str) -> UserName {
    UserName::parse(text).unwrap()
}

pub fn alert(number: u128, severity: Severity) -> Alert {
    Alert {
        id: AlertId(Ulid::from_parts(1_000, number)),
        revision: 1,
        rule: RuleId::parse("hot").unwrap(),
        rule_name: "Too hot".into(),
        kind: AlertKind::Condition,
        device: Some(DeviceKey(7)),
        device_id: "boiler".into(),
        device_name: "Boiler".into(),
        group: None,
        metric: MetricName::parse("temp").unwrap(),
        unit: "°C".into(),
        severity,
        severity_max: severity,
        condition: "temp > 80".into(),
        threshold: Some(AlertThreshold { comparison: Comparison::Above, value: 80.0, clear: Some(75.0) }),
        hold_us: 0,
        value: 81.0,
        text: String::new(),
        runbook: String::new(),
        labels: BTreeMap::from([("rule".into(), "hot".into())]),
        started_us: 5,
        fired_us: 6,
        resolved: None,
        reopened: 0,
        stale: false,
        recovering: false,
        flapping: false,
        parent: None,
        members: 0,
        acknowledged: None,
        assigned: None,
        snoozed: None,
    }
}

/// The alert as it is now, with a step that says so.
pub fn change(alert: &Alert, now_us: i64) -> AlertChange {
    let kind = match (&alert.resolved, &alert.acknowledged) {
        (Some(_), _) => StepKind::Resolved,
        (None, Some(_)) => StepKind::Acknowledged,
        (None, None) => StepKind::Fired,
    };
    AlertChange {
        alert: Arc::new(alert.clone()),
        step: AlertStep { time_us: now_us, kind, user: None, text: "text".into() },
    }
}

/// A message about these alerts, the worst first: an alarm if one of them fires, else their end.
pub fn told(group: &str, alerts: &[Alert], now_us: i64) -> Told {
    let ids = |open: bool| alerts.iter().filter(|alert| alert.is_open() == open).map(|alert| alert.id).collect();
    let (firing, resolved): (Vec<AlertId>, Vec<AlertId>) = (ids(true), ids(false));
    let ended = alerts.iter().filter_map(|alert| alert.resolved).map(|(time_us, _)| time_us).max();
    let (kind, reason, due_us, event_us) = match ended {
        Some(event_us) if firing.is_empty() => (NoticeKind::Resolved, Reason::AllResolved, now_us, event_us),
        _ => (NoticeKind::Firing, Reason::First, now_us + GRACE_US, alerts[0].fired_us),
    };
    let revisions: u64 = alerts.iter().map(|alert| alert.revision).sum();
    let id = group_id([("group", group), ("told", &format!("{now_us} {revisions} {}", alerts.len()))]);
    Told {
        id: NotificationId(id.0),
        time_us: now_us,
        group: group.into(),
        group_id: group_id([("group", group)]).0.to_bytes(),
        decision: Decision {
            reason,
            sequence: now_us.unsigned_abs(),
            due_us: now_us,
            delayed: false,
            to: Recipients::Everyone,
            also_to: Vec::new(),
            about: alerts.iter().map(|alert| alert.id).collect(),
            firing,
            resolved,
            flapping: Vec::new(),
            stale: Vec::new(),
            suppressed: Vec::new(),
            more: 0,
        },
        notice: Some(Notice {
            kind,
            severity: alerts[0].severity,
            title: alerts[0].rule_name.clone(),
            body: alerts[0].device_name.clone(),
            translations: Vec::new(),
            due_us,
            expires_us: now_us + LIFETIME_US,
            event_us,
        }),
        about: alerts.first().map(|alert| alert.id),
    }
}
