//! Rules, alerts and the state of their evaluation in `meta.db`.

use super::columns::{alert_id, comparison, damaged, severity};
use super::meta::{Failure, SqliteMeta, exists_or};
use super::notices::Recipients;
use super::outbox;
use crate::ports::{AlertCommit, AlertPage, AlertQuery, AlertStore, AlertingState, Cursor, MetaError, RuleWrite};
use async_trait::async_trait;
use pulsewire_core::alert::{Acknowledgement, Alert, AlertStep, Phase, ResolvedReason, Rule, StepKind, Track};
use pulsewire_core::ids::{AlertId, DeviceId, DeviceKey, MetricName, Position, RuleId, UserName};
use rusqlite::types::Value as Sql;
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::sync::Arc;

/// The name of alerting's cursor.
const CURSOR: &str = "alerting";
/// Most steps kept of one alert; the newest stay, and the first.
const STEPS_MAX: i64 = 100;

/// NaN and NULL are the same to SQLite.
fn number(value: Option<f64>) -> f64 {
    value.unwrap_or(f64::NAN)
}

fn rule(row: &Row<'_>) -> rusqlite::Result<Rule> {
    let text = |name: &str| row.get::<_, String>(name);
    Ok(Rule {
        id: RuleId::parse(&text("id")?).map_err(damaged)?,
        name: row.get("name")?,
        enabled: row.get("enabled")?,
        metric: MetricName::parse(&text("metric")?).map_err(damaged)?,
        comparison: comparison(row.get("comparison")?)?,
        threshold: row.get("threshold")?,
        clear: row.get("clear")?,
        hold_us: row.get("hold_us")?,
        severity: severity(row.get("severity")?)?,
        scope: super::scope::read(&text("scope")?).map_err(damaged)?,
        message: row.get("message")?,
        version: row.get("version")?,
        created_us: row.get("created_us")?,
        updated_us: row.get("updated_us")?,
        updated_by: UserName::parse(&text("updated_by")?).map_err(damaged)?,
    })
}

pub(super) fn alert(row: &Row<'_>) -> rusqlite::Result<Alert> {
    let text = |name: &str| row.get::<_, String>(name);
    let optional = |name: &str| row.get::<_, Option<String>>(name);
    let resolved = match (row.get("resolved_us")?, optional("resolved_reason")?) {
        (Some(time_us), Some(reason)) => {
            let unknown = || damaged(format!("there is no reason {reason:?}"));
            Some((time_us, ResolvedReason::from_name(&reason).ok_or_else(unknown)?))
        }
        _ => None,
    };
    let acknowledged = match (optional("ack_user")?, row.get("ack_us")?) {
        (Some(user), Some(time_us)) => {
            Some(Acknowledgement { user: UserName::parse(&user).map_err(damaged)?, time_us })
        }
        _ => None,
    };
    Ok(Alert {
        id: alert_id(row.get("id")?),
        revision: row.get::<_, i64>("revision")?.unsigned_abs(),
        rule: RuleId::parse(&text("rule")?).map_err(damaged)?,
        rule_name: row.get("rule_name")?,
        device: DeviceKey(row.get("device")?),
        device_id: DeviceId::parse(&text("device_id")?).map_err(damaged)?,
        device_name: row.get("device_name")?,
        metric: MetricName::parse(&text("metric")?).map_err(damaged)?,
        unit: row.get("unit")?,
        severity: severity(row.get("severity")?)?,
        comparison: comparison(row.get("comparison")?)?,
        threshold: row.get("threshold")?,
        clear: row.get("clear")?,
        hold_us: row.get("hold_us")?,
        value: number(row.get("value")?),
        text: row.get("text")?,
        started_us: row.get("started_us")?,
        fired_us: row.get("fired_us")?,
        resolved,
        acknowledged,
    })
}

fn step(row: &Row<'_>) -> rusqlite::Result<AlertStep> {
    let (kind, user): (String, Option<String>) = (row.get("kind")?, row.get("user")?);
    Ok(AlertStep {
        time_us: row.get("time_us")?,
        kind: StepKind::from_name(&kind).ok_or_else(|| damaged(format!("there is no step {kind:?}")))?,
        user: user.as_deref().map(UserName::parse).transpose().map_err(damaged)?,
        text: row.get("text")?,
    })
}

fn track(row: &Row<'_>) -> rusqlite::Result<(RuleId, DeviceKey, Track<AlertId>)> {
    let rule: String = row.get("rule")?;
    let phase = match (row.get::<_, u8>("phase")?, row.get("since_us")?, row.get("alert")?) {
        (1, Some(since_us), _) => Phase::Pending { since_us },
        (2, _, Some(bytes)) => Phase::Firing { alert: alert_id(bytes) },
        (3, ..) => Phase::Muted,
        _ => Phase::Normal,
    };
    let track = Track { last_us: row.get("last_us")?, value: number(row.get("value")?), phase };
    Ok((RuleId::parse(&rule).map_err(damaged)?, DeviceKey(row.get("device")?), track))
}

fn collect<T>(
    connection: &Connection,
    query: &str,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection.prepare(query)?.query_map([], read)?.collect()
}

fn put_rule(connection: &Connection, write: &RuleWrite) -> Result<(), Failure> {
    let (rule, sql) = match write {
        RuleWrite::Create(rule) => {
            (rule, "INSERT INTO rule VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)")
        }
        RuleWrite::Update(rule) => {
            (rule, "REPLACE INTO rule VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)")
        }
        RuleWrite::Delete(id) => {
            connection.execute("DELETE FROM rule WHERE id = ?1", [id.as_str()])?;
            connection.execute("DELETE FROM track WHERE rule = ?1", [id.as_str()])?;
            return Ok(());
        }
    };
    // What is known of the devices is of another metric.
    connection.execute(
        "DELETE FROM track WHERE rule = ?1 AND EXISTS (SELECT 1 FROM rule WHERE id = ?1 AND metric <> ?2)",
        [rule.id.as_str(), rule.metric.as_str()],
    )?;
    connection
        .prepare_cached(sql)?
        .execute(params![
            rule.id.as_str(),
            rule.name,
            rule.enabled,
            rule.metric.as_str(),
            rule.comparison as u8,
            rule.threshold,
            rule.clear,
            rule.hold_us,
            rule.severity as u8,
            super::scope::write(&rule.scope),
            rule.message,
            rule.version,
            rule.created_us,
            rule.updated_us,
            rule.updated_by.as_str(),
        ])
        .map_err(exists_or("rule", rule.id.as_str()))?;
    Ok(())
}

fn put_tracks(connection: &Connection, commit: &AlertCommit) -> Result<(), Failure> {
    let mut forget = connection.prepare_cached("DELETE FROM track WHERE rule = ?1 AND device = ?2")?;
    for (rule, device) in &commit.forget {
        forget.execute(params![rule.as_str(), device.0])?;
    }
    let mut put = connection.prepare_cached("REPLACE INTO track VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
    for (rule, device, track) in &commit.tracks {
        let (phase, since_us, alert) = match track.phase {
            Phase::Normal => (0, None, None),
            Phase::Pending { since_us } => (1, Some(since_us), None),
            Phase::Firing { alert } => (2, None, Some(alert.0.to_bytes())),
            Phase::Muted => (3, None, None),
        };
        put.execute(params![rule.as_str(), device.0, track.last_us, track.value, phase, since_us, alert])?;
    }
    let mut watermark = connection.prepare_cached("REPLACE INTO watermark VALUES (?1, ?2)")?;
    for (device, time_us) in &commit.watermarks {
        watermark.execute(params![device.0, time_us])?;
    }
    if let Some(cursor) = commit.cursor {
        connection.prepare_cached("REPLACE INTO cursor VALUES (?1, ?2, ?3)")?.execute(params![
            CURSOR,
            cursor.epoch.cast_signed(),
            cursor.position.0.cast_signed()
        ])?;
    }
    Ok(())
}

/// Answers false if the store has this revision of the alert, or a later one: a commit that was tried again.
fn put_alert(connection: &Connection, alert: &Alert) -> Result<bool, Failure> {
    let changed = connection
        .prepare_cached(
            "INSERT INTO alert (id, revision, rule, rule_name, device, device_id, device_name, metric, unit, severity,
                 comparison, threshold, clear, hold_us, value, text, started_us, fired_us, resolved_us, resolved_reason,
                 ack_user, ack_us)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22)
             ON CONFLICT (id) DO UPDATE SET revision = ?2, value = ?15, resolved_us = ?19, resolved_reason = ?20,
                 ack_user = ?21, ack_us = ?22
             WHERE revision < ?2",
        )?
        .execute(params![
            alert.id.0.to_bytes(),
            alert.revision.cast_signed(),
            alert.rule.as_str(),
            alert.rule_name,
            alert.device.0,
            alert.device_id.as_str(),
            alert.device_name,
            alert.metric.as_str(),
            alert.unit,
            alert.severity as u8,
            alert.comparison as u8,
            alert.threshold,
            alert.clear,
            alert.hold_us,
            alert.value,
            alert.text,
            alert.started_us,
            alert.fired_us,
            alert.resolved.map(|(time_us, _)| time_us),
            alert.resolved.map(|(_, reason)| reason.name()),
            alert.acknowledged.as_ref().map(|a| a.user.as_str()),
            alert.acknowledged.as_ref().map(|a| a.time_us),
        ])?;
    Ok(changed > 0)
}

fn put_step(connection: &Connection, alert: AlertId, step: &AlertStep) -> Result<(), Failure> {
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
struct Search {
    sql: String,
    values: Vec<Sql>,
}

impl Search {
    fn and(&mut self, condition: &str, values: impl IntoIterator<Item = Sql>) {
        self.sql.push_str(" AND ");
        self.sql.push_str(condition);
        self.values.extend(values);
    }
}

fn search(query: &AlertQuery) -> Search {
    let mut search = Search { sql: "SELECT * FROM alert WHERE 1".into(), values: Vec::new() };
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

#[async_trait]
impl AlertStore for SqliteMeta {
    async fn load(&self) -> Result<AlertingState, MetaError> {
        self.read(|connection| {
            let cursor = connection
                .query_row("SELECT epoch, position FROM cursor WHERE name = ?1", [CURSOR], |row| {
                    let (epoch, position): (i64, i64) = (row.get(0)?, row.get(1)?);
                    Ok(Cursor { epoch: epoch.cast_unsigned(), position: Position(position.cast_unsigned()) })
                })
                .optional()?;
            Ok(AlertingState {
                cursor,
                rules: collect(connection, "SELECT * FROM rule ORDER BY id", rule)?,
                tracks: collect(connection, "SELECT * FROM track", track)?,
                watermarks: collect(connection, "SELECT device, time_us FROM watermark", |row| {
                    Ok((DeviceKey(row.get(0)?), row.get(1)?))
                })?,
                open: collect(connection, "SELECT * FROM alert WHERE resolved_us IS NULL", alert)?,
            })
        })
        .await
    }

    async fn commit(&self, commit: Arc<AlertCommit>) -> Result<(), MetaError> {
        self.write(move |connection| {
            if let Some(write) = &commit.rule {
                put_rule(connection, write)?;
            }
            put_tracks(connection, &commit)?;
            let told = commit.changes.iter().any(|change| change.notice.is_some());
            let recipients = told.then(|| Recipients::read(connection)).transpose()?;
            for change in &commit.changes {
                if !put_alert(connection, &change.alert)? {
                    continue;
                }
                put_step(connection, change.alert.id, &change.step)?;
                outbox::alert_changed(connection, change.alert.id)?;
                if let (Some(notice), Some(recipients)) = (&change.notice, &recipients) {
                    recipients.tell(connection, &change.alert, notice, commit.now_us)?;
                }
            }
            Ok(())
        })
        .await
    }

    async fn alerts(&self, query: AlertQuery) -> Result<Vec<(AlertPage, Alert)>, MetaError> {
        self.read(move |connection| {
            let Search { sql, values } = search(&query);
            let mut statement = connection.prepare_cached(&sql)?;
            let found = statement.query_map(rusqlite::params_from_iter(values), |row| {
                let alert = alert(row)?;
                Ok((AlertPage { severity: alert.severity, seq: row.get("seq")? }, alert))
            })?;
            Ok(found.collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn alert(&self, id: AlertId) -> Result<Option<(Alert, Vec<AlertStep>)>, MetaError> {
        self.read(move |connection| {
            let id = id.0.to_bytes();
            let found =
                connection.prepare_cached("SELECT * FROM alert WHERE id = ?1")?.query_row([id], alert).optional()?;
            let Some(alert) = found else { return Ok(None) };
            let mut steps = connection.prepare_cached("SELECT * FROM alert_step WHERE alert = ?1 ORDER BY step")?;
            let steps = steps.query_map([id], step)?.collect::<Result<_, _>>()?;
            Ok(Some((alert, steps)))
        })
        .await
    }

    async fn prune_alerts(&self, keep: usize) -> Result<usize, MetaError> {
        let keep = i64::try_from(keep).unwrap_or(i64::MAX);
        self.write(move |connection| {
            let gone = connection.execute(
                "DELETE FROM alert WHERE resolved_us IS NOT NULL AND seq <=
                     (SELECT seq FROM alert WHERE resolved_us IS NOT NULL ORDER BY seq DESC LIMIT 1 OFFSET ?1)",
                [keep],
            )?;
            // Those of deleted devices.
            connection.execute("DELETE FROM watermark WHERE device NOT IN (SELECT device FROM device)", [])?;
            Ok(gone)
        })
        .await
    }
}
