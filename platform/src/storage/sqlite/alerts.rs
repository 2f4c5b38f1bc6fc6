//! Rules, alerts, silences and what is told of them, as one store in `meta.db`: one commit, one transaction.

use super::alert_rows::{Search, alert, put_alert, put_step, search, step};
use super::meta::{Failure, SqliteMeta};
use super::notices::Audience;
use super::{outbox, rules, silences, states, told};
use crate::ports::{AlertCommit, AlertPage, AlertQuery, AlertStore, AlertingState, MetaError, RuleVersion, ToldView};
use async_trait::async_trait;
use pulsewire_core::alert::{Alert, AlertStep};
use pulsewire_core::ids::{AlertId, RuleId, SilenceId};
use pulsewire_core::notify::Silence;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row};
use std::sync::Arc;

/// What a damaged row is called: its first column.
fn name_of(row: &Row<'_>) -> String {
    match row.get_ref(0) {
        Ok(ValueRef::Text(text)) => String::from_utf8_lossy(text).into_owned(),
        Ok(ValueRef::Blob(bytes)) => hex::encode(bytes),
        Ok(ValueRef::Integer(number)) => format!("#{number}"),
        _ => "without a name".into(),
    }
}

fn cause_of(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::FromSqlConversionFailure(_, _, cause) => cause.to_string(),
        other => other.to_string(),
    }
}

/// The rows that can be read; of the others it is noted what is wrong.
fn readable<T>(
    connection: &Connection,
    (what, query): (&str, &str),
    damaged: &mut Vec<String>,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    let mut statement = connection.prepare(query)?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        match read(row) {
            Ok(one) => found.push(one),
            Err(error) => damaged.push(format!("{what} {}: {}", name_of(row), cause_of(&error))),
        }
    }
    Ok(found)
}

fn load(connection: &Connection) -> rusqlite::Result<AlertingState> {
    let mut damaged = Vec::new();
    let bad = &mut damaged;
    Ok(AlertingState {
        cursor: states::cursor(connection)?,
        rules: readable(connection, ("rule", "SELECT * FROM rule ORDER BY id"), bad, rules::rule)?,
        states: readable(connection, ("the rules' state on device", states::STATES), bad, states::state)?,
        open: readable(connection, ("alert", "SELECT * FROM alert WHERE resolved_us IS NULL"), bad, alert)?,
        groups: readable(connection, ("group", states::GROUPS), bad, states::group)?,
        silences: readable(connection, ("silence", silences::LIVE), bad, silences::silence)?,
        damaged,
    })
}

fn commit(connection: &Connection, commit: &AlertCommit) -> Result<(), Failure> {
    if let Some(write) = &commit.rule {
        rules::put(connection, write, commit)?;
    }
    states::put_states(connection, commit)?;
    if let Some(cursor) = commit.cursor {
        states::put_cursor(connection, cursor)?;
    }
    for change in &commit.changes {
        if put_alert(connection, &change.alert)? {
            put_step(connection, change.alert.id, &change.step)?;
            outbox::alert_changed(connection, change.alert.id)?;
        }
    }
    if let Some(silence) = &commit.silence {
        silences::put(connection, silence, commit.now_us)?;
    }
    states::put_groups(connection, commit)?;
    if !commit.told.is_empty() {
        let audience = Audience::read(connection)?;
        for one in &commit.told {
            told::put(connection, one, &audience, commit.now_us)?;
        }
    }
    Ok(())
}

#[async_trait]
impl AlertStore for SqliteMeta {
    async fn load(&self) -> Result<AlertingState, MetaError> {
        self.read(|connection| Ok(load(connection)?)).await
    }

    async fn commit(&self, work: Arc<AlertCommit>) -> Result<(), MetaError> {
        self.write(move |connection| commit(connection, &work)).await
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

    async fn prune_alerts(&self, keep: usize, keep_told: usize) -> Result<usize, MetaError> {
        let keep = i64::try_from(keep).unwrap_or(i64::MAX);
        self.write(move |connection| {
            let gone = connection.execute(
                "DELETE FROM alert WHERE resolved_us IS NOT NULL AND seq <=
                     (SELECT seq FROM alert WHERE resolved_us IS NOT NULL ORDER BY seq DESC LIMIT 1 OFFSET ?1)",
                [keep],
            )?;
            told::prune(connection, keep_told)?;
            // Those of deleted devices.
            connection.execute("DELETE FROM alert_state WHERE device NOT IN (SELECT device FROM device)", [])?;
            Ok(gone)
        })
        .await
    }

    async fn rule_versions(&self, id: RuleId) -> Result<Vec<RuleVersion>, MetaError> {
        self.read(move |connection| Ok(rules::versions(connection, &id)?)).await
    }

    async fn silences(&self) -> Result<Vec<Silence>, MetaError> {
        self.read(|connection| Ok(silences::all(connection)?)).await
    }

    async fn silence(&self, id: SilenceId) -> Result<Option<Silence>, MetaError> {
        self.read(move |connection| Ok(silences::find(connection, id)?)).await
    }

    async fn told(
        &self,
        alert: Option<AlertId>,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<(i64, ToldView)>, MetaError> {
        self.read(move |connection| Ok(told::page(connection, alert, before, limit)?)).await
    }
}
