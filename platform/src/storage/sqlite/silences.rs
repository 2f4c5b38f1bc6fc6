//! Silences in `meta.db`.

use super::columns::damaged;
use super::meta::Failure;
use pulsewire_core::ids::{SilenceId, UserName};
use pulsewire_core::notify::{Matcher, Silence, SilenceKind};
use pulsewire_core::ulid::Ulid;
use rusqlite::{Connection, OptionalExtension, Row, params};

/// Silences kept in all. Of more, those that are over go, the one that ended first before the others.
const SILENCES_MAX: i64 = 1_000;

pub(super) fn silence(row: &Row<'_>) -> rusqlite::Result<Silence> {
    let text = |name: &str| row.get::<_, String>(name);
    let kind = text("kind")?;
    let matchers: Vec<String> = serde_json::from_str(&text("matchers")?).map_err(damaged)?;
    Ok(Silence {
        id: SilenceId(Ulid::from_bytes(row.get("id")?)),
        kind: SilenceKind::from_name(&kind).ok_or_else(|| damaged(format!("there is no silence {kind:?}")))?,
        matchers: matchers.iter().map(|text| Matcher::parse(text)).collect::<Result<_, _>>().map_err(damaged)?,
        starts_us: row.get("starts_us")?,
        ends_us: row.get("ends_us")?,
        reason: text("reason")?,
        created_by: UserName::parse(&text("created_by")?).map_err(damaged)?,
        created_us: row.get("created_us")?,
        updated_us: row.get("updated_us")?,
        ended_early_us: row.get("ended_early_us")?,
    })
}

/// Silences that may be planned or active. Only a clock knows of those that just ran out.
pub(super) const LIVE: &str = "SELECT * FROM silence WHERE over_us > starts_us AND over_us > updated_us ORDER BY id";

pub(super) fn find(connection: &Connection, id: SilenceId) -> rusqlite::Result<Option<Silence>> {
    let mut statement = connection.prepare_cached("SELECT * FROM silence WHERE id = ?1")?;
    statement.query_row([id.0.to_bytes()], silence).optional()
}

/// Every silence that is kept, the newest first. One that cannot be read is left out.
pub(super) fn all(connection: &Connection) -> rusqlite::Result<Vec<Silence>> {
    let mut statement =
        connection.prepare_cached("SELECT * FROM silence ORDER BY created_us DESC, id DESC LIMIT ?1")?;
    let mut rows = statement.query([SILENCES_MAX])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        match silence(row) {
            Ok(one) => found.push(one),
            Err(error) => tracing::error!(%error, "a stored silence is damaged"),
        }
    }
    Ok(found)
}

pub(super) fn put(connection: &Connection, silence: &Silence, now_us: i64) -> Result<(), Failure> {
    let matchers: Vec<String> = silence.matchers.iter().map(Matcher::to_string).collect();
    connection.prepare_cached("REPLACE INTO silence VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)")?.execute(
        params![
            silence.id.0.to_bytes(),
            silence.kind.name(),
            serde_json::to_string(&matchers).map_err(damaged)?,
            silence.starts_us,
            silence.ends_us,
            silence.reason,
            silence.created_by.as_str(),
            silence.created_us,
            silence.updated_us,
            silence.ended_early_us,
            silence.over_us(),
        ],
    )?;
    connection
        .prepare_cached(
            "DELETE FROM silence WHERE id IN (
                 SELECT id FROM silence WHERE over_us <= ?1 OR over_us <= starts_us ORDER BY over_us, id
                 LIMIT max(0, (SELECT count(*) FROM silence) - ?2))",
        )?
        .execute(params![now_us, SILENCES_MAX])?;
    Ok(())
}
