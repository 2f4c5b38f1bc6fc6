//! Alerts as rows of `meta.db`.

use super::columns::{alert_id, comparison, damaged, severity};
use super::meta::Failure;
use crate::ports::{AlertPage, AlertQuery};
use pulsewire_core::alert::{
    Acknowledgement, Alert, AlertKind, AlertStep, AlertThreshold, ResolvedReason, Snooze, StepKind,
};
use pulsewire_core::ids::{AlertId, DeviceKey, GroupName, MetricName, RuleId, UserName};
use pulsewire_core::push::OpenAlerts;
use pulsewire_core::scope::DeviceScope;
use rusqlite::types::Value as Sql;
use rusqlite::{Connection, Row, params, params_from_iter};
use std::collections::BTreeSet;

/// Most steps kept of one alert; the newest stay, and the first.
const STEPS_MAX: i64 = 100;

/// NaN and NULL are the same to SQLite.
fn number(value: Option<f64>) -> f64 {
    value.unwrap_or(f64::NAN)
}

fn user(name: Option<String>) -> rusqlite::Result<Option<UserName>> {
    name.as_deref().map(UserName::parse).transpose().map_err(damaged)
}

fn resolved(row: &Row<'_>) -> rusqlite::Result<Option<(i64, ResolvedReason)>> {
    let (Some(time_us), Some(reason)) = (row.get("resolved_us")?, row.get::<_, Option<String>>("resolved_reason")?)
    else {
        return Ok(None);
    };
    let unknown = || damaged(format!("there is no reason {reason:?}"));
    Ok(Some((time_us, ResolvedReason::from_name(&reason).ok_or_else(unknown)?)))
}

fn threshold(row: &Row<'_>) -> rusqlite::Result<Option<AlertThreshold>> {
    let Some(sign) = row.get("comparison")? else { return Ok(None) };
    let value = number(row.get("threshold")?);
    Ok(Some(AlertThreshold { comparison: comparison(sign)?, value, clear: row.get("clear")? }))
}

pub(super) fn alert(row: &Row<'_>) -> rusqlite::Result<Alert> {
    let text = |name: &str| row.get::<_, String>(name);
    let optional = |name: &str| row.get::<_, Option<String>>(name);
    let kind = text("kind")?;
    let acknowledged = user(optional("ack_user")?)?.zip(row.get("ack_us")?);
    let snoozed = match user(optional("snooze_user")?)? {
        None => None,
        Some(user) => Some(Snooze {
            user,
            until_us: row.get("snooze_until_us")?,
            reason: optional("snooze_reason")?.unwrap_or_default(),
        }),
    };
    Ok(Alert {
        id: alert_id(row.get("id")?),
        revision: row.get::<_, i64>("revision")?.unsigned_abs(),
        rule: RuleId::parse(&text("rule")?).map_err(damaged)?,
        rule_name: text("rule_name")?,
        kind: AlertKind::from_name(&kind).ok_or_else(|| damaged(format!("there is no kind of alert {kind:?}")))?,
        device: row.get::<_, Option<u32>>("device")?.map(DeviceKey),
        device_id: text("device_id")?,
        device_name: text("device_name")?,
        group: optional("grp")?.as_deref().map(GroupName::parse).transpose().map_err(damaged)?,
        metric: MetricName::parse(&text("metric")?).map_err(damaged)?,
        unit: text("unit")?,
        severity: severity(row.get("severity")?)?,
        severity_max: severity(row.get("severity_max")?)?,
        condition: text("condition")?,
        threshold: threshold(row)?,
        hold_us: row.get("hold_us")?,
        value: number(row.get("value")?),
        text: text("text")?,
        runbook: text("runbook")?,
        labels: serde_json::from_str(&text("labels")?).map_err(damaged)?,
        started_us: row.get("started_us")?,
        fired_us: row.get("fired_us")?,
        resolved: resolved(row)?,
        reopened: row.get("reopened")?,
        stale: row.get("stale")?,
        recovering: row.get("recovering")?,
        flapping: row.get("flapping")?,
        parent: row.get::<_, Option<[u8; 16]>>("parent")?.map(alert_id),
        members: row.get("members")?,
        acknowledged: acknowledged.map(|(user, time_us)| Acknowledgement { user, time_us }),
        assigned: user(optional("assigned")?)?,
        snoozed,
    })
}

pub(super) fn step(row: &Row<'_>) -> rusqlite::Result<AlertStep> {
    let (kind, user): (String, Option<String>) = (row.get("kind")?, row.get("user")?);
    Ok(AlertStep {
        time_us: row.get("time_us")?,
        kind: StepKind::from_name(&kind).ok_or_else(|| damaged(format!("there is no step {kind:?}")))?,
        user: user.as_deref().map(UserName::parse).transpose().map_err(damaged)?,
        text: row.get("text")?,
    })
}

/// Answers false if the store has this revision of the alert, or a later one: a commit that was tried again. Whatever an alert
/// is about stays as it was first written; an alert that fires again may say other things of it.
pub(super) fn put_alert(connection: &Connection, alert: &Alert) -> Result<bool, Failure> {
    let threshold = alert.threshold.as_ref();
    let snoozed = alert.snoozed.as_ref();
    let changed = connection
        .prepare_cached(
            "INSERT INTO alert (id, revision, rule, rule_name, kind, device, device_id, device_name, grp, metric, unit, severity,
                 severity_max, condition, comparison, threshold, clear, hold_us, value, text, runbook, labels, started_us,
                 fired_us, resolved_us, resolved_reason, reopened, stale, recovering, flapping, parent, members, ack_user,
                 ack_us, assigned, snooze_user, snooze_until_us, snooze_reason)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23,
                 ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31, ?32, ?33, ?34, ?35, ?36, ?37, ?38)
             ON CONFLICT (id) DO UPDATE SET revision = ?2, rule_name = ?4, kind = ?5, device_name = ?8, grp = ?9, metric = ?10,
                 unit = ?11, severity = ?12, severity_max = ?13, condition = ?14, comparison = ?15, threshold = ?16, clear = ?17,
                 hold_us = ?18, value = ?19, text = ?20, runbook = ?21, labels = ?22, started_us = ?23, fired_us = ?24,
                 resolved_us = ?25, resolved_reason = ?26, reopened = ?27, stale = ?28, recovering = ?29, flapping = ?30,
                 parent = ?31, members = ?32, ack_user = ?33, ack_us = ?34, assigned = ?35, snooze_user = ?36,
                 snooze_until_us = ?37, snooze_reason = ?38
             WHERE revision < ?2",
        )?
        .execute(params![
            alert.id.0.to_bytes(),
            alert.revision.cast_signed(),
            alert.rule.as_str(),
            alert.rule_name,
            alert.kind.name(),
            alert.device.map(|device| device.0),
            alert.device_id,
            alert.device_name,
            alert.group.as_ref().map(GroupName::as_str),
            alert.metric.as_str(),
            alert.unit,
            alert.severity as u8,
            alert.severity_max as u8,
            alert.condition,
            threshold.map(|t| t.comparison as u8),
            threshold.map(|t| t.value),
            threshold.and_then(|t| t.clear),
            alert.hold_us,
            alert.value,
            alert.text,
            alert.runbook,
            serde_json::to_string(&alert.labels).map_err(damaged)?,
            alert.started_us,
            alert.fired_us,
            alert.resolved.map(|(time_us, _)| time_us),
            alert.resolved.map(|(_, reason)| reason.name()),
            alert.reopened,
            alert.stale,
            alert.recovering,
            alert.flapping,
            alert.parent.map(|parent| parent.0.to_bytes()),
            alert.members,
            alert.acknowledged.as_ref().map(|a| a.user.as_str()),
            alert.acknowledged.as_ref().map(|a| a.time_us),
            alert.assigned.as_ref().map(UserName::as_str),
            snoozed.map(|s| s.user.as_str()),
            snoozed.and_then(|s| s.until_us),
            snoozed.map(|s| s.reason.as_str()),
        ])?;
    Ok(changed > 0)
}

pub(super) fn put_step(connection: &Connection, alert: AlertId, step: &AlertStep) -> Result<(), Failure> {
    let id = alert.0.to_bytes();
    connection
        .prepare_cached(
            "INSERT INTO alert_step
             SELECT ?1, coalesce((SELECT max(step) FROM alert_step WHERE alert = ?1), 0) + 1, ?2, ?3, ?4, ?5",
        )?
        .execute(params![id, step.time_us, step.kind.name(), step.user.as_ref().map(UserName::as_str), step.text])?;
    connection
        .prepare_cached(
            "DELETE FROM alert_step WHERE alert = ?1 AND step > 1
                 AND step <= (SELECT max(step) FROM alert_step WHERE alert = ?1) - ?2",
        )?
        .execute(params![id, STEPS_MAX])?;
    Ok(())
}

/// A query and its parameters, put together piece by piece.
pub(super) struct Search {
    pub sql: String,
    pub values: Vec<Sql>,
}

impl Search {
    fn and(&mut self, condition: &str, values: impl IntoIterator<Item = Sql>) {
        self.sql.push_str(" AND ");
        self.sql.push_str(condition);
        self.values.extend(values);
    }
}

/// What holds for the alerts that someone sees who sees these groups only: the group when it fired, and the device's now.
fn of_groups(groups: &BTreeSet<GroupName>) -> (String, Vec<Sql>) {
    let marks = vec!["?"; groups.len()].join(", ");
    let names = || groups.iter().map(|group| Sql::Text(group.to_string()));
    let condition = format!(
        "grp IN ({marks}) AND NOT EXISTS (SELECT 1 FROM device d WHERE d.device = alert.device
             AND (d.grp IS NULL OR d.grp NOT IN ({marks})))"
    );
    (condition, names().chain(names()).collect())
}

/// How many alerts are open of those that someone may see, and how bad the worst is.
pub(super) fn open(connection: &Connection, scope: &DeviceScope) -> rusqlite::Result<OpenAlerts> {
    let sql = "SELECT count(*), max(severity) FROM alert WHERE resolved_us IS NULL";
    let mut search = Search { sql: sql.into(), values: Vec::new() };
    if let DeviceScope::Groups(groups) = scope {
        let (condition, names) = of_groups(groups);
        search.and(&condition, names);
    }
    let (count, worst): (u32, Option<u8>) = connection
        .prepare_cached(&search.sql)?
        .query_row(params_from_iter(search.values), |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(OpenAlerts { count, worst: worst.map(severity).transpose()? })
}

pub(super) fn search(query: &AlertQuery) -> Search {
    let mut search = Search { sql: "SELECT * FROM alert WHERE 1".into(), values: Vec::new() };
    if let DeviceScope::Groups(groups) = &query.scope {
        let (condition, names) = of_groups(groups);
        search.and(&condition, names);
    }
    match query.open {
        Some(true) => search.and("resolved_us IS NULL", []),
        Some(false) => search.and("resolved_us IS NOT NULL", []),
        None => {}
    }
    if let Some(severity) = query.severity {
        search.and("severity = ?", [Sql::Integer(i64::from(severity as u8))]);
    }
    if let Some(device) = &query.device {
        search.and("device_id = ?", [Sql::Text(device.to_string())]);
    }
    if let Some(rule) = &query.rule {
        search.and("rule = ?", [Sql::Text(rule.to_string())]);
    }
    if let Some(group) = &query.group {
        search.and("grp = ?", [Sql::Text(group.to_string())]);
    }
    match query.acknowledged {
        Some(true) => search.and("ack_us IS NOT NULL", []),
        Some(false) => search.and("ack_us IS NULL", []),
        None => {}
    }
    if let Some(to_us) = query.to_us {
        search.and("fired_us < ?", [Sql::Integer(to_us)]);
    }
    if let Some(from_us) = query.from_us {
        search.and("coalesce(resolved_us, ?) >= ?", [Sql::Integer(i64::MAX), Sql::Integer(from_us)]);
    }
    if let Some(AlertPage { severity, seq }) = query.after {
        if query.worst_first {
            search.and("(severity, seq) < (?, ?)", [Sql::Integer(i64::from(severity as u8)), Sql::Integer(seq)]);
        } else {
            search.and("seq < ?", [Sql::Integer(seq)]);
        }
    }
    search.sql.push_str(if query.worst_first { " ORDER BY severity DESC, seq DESC" } else { " ORDER BY seq DESC" });
    search.sql.push_str(" LIMIT ?");
    search.values.push(Sql::Integer(i64::try_from(query.limit).unwrap_or(i64::MAX)));
    search
}
