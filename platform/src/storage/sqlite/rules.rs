//! Rules and their versions in `meta.db`.

use super::columns::damaged;
use super::meta::{Failure, exists_or};
use crate::ports::{AlertCommit, RuleChangeKind, RuleVersion, RuleWrite};
use pulsewire_core::alert::{Authorship, Rule, RuleDocument};
use pulsewire_core::ids::{RuleId, UserName};
use rusqlite::{Connection, OptionalExtension, Row, params};

/// Versions kept per rule if the commit does not say how many.
const VERSIONS_DEFAULT: usize = 50;
/// Rules that were deleted whose versions are kept; those of the one deleted longest ago go first.
const DELETED_RULES_MAX: i64 = 1_000;

/// What was done, when, by whom, and the document after it.
type Made<'a> = (RuleChangeKind, i64, &'a UserName, &'a str);

pub(super) fn rule(row: &Row<'_>) -> rusqlite::Result<Rule> {
    let text = |name: &str| row.get::<_, String>(name);
    let document: RuleDocument = serde_json::from_str(&text("document")?).map_err(damaged)?;
    let by = Authorship {
        id: RuleId::parse(&text("id")?).map_err(damaged)?,
        version: row.get("version")?,
        created_us: row.get("created_us")?,
        updated_us: row.get("updated_us")?,
        updated_by: UserName::parse(&text("updated_by")?).map_err(damaged)?,
    };
    document.rule(by).map_err(damaged)
}

fn version(row: &Row<'_>) -> rusqlite::Result<RuleVersion> {
    let text = |name: &str| row.get::<_, String>(name);
    let change = text("change")?;
    let unknown = || damaged(format!("there is no change {change:?} of a rule"));
    Ok(RuleVersion {
        version: row.get("version")?,
        change: RuleChangeKind::from_name(&change).ok_or_else(unknown)?,
        time_us: row.get("time_us")?,
        user: UserName::parse(&text("user")?).map_err(damaged)?,
        document: serde_json::from_str(&text("document")?).map_err(damaged)?,
    })
}

/// The versions of a rule, the newest first. One that cannot be read is left out: the others still show what was changed.
pub(super) fn versions(connection: &Connection, id: &RuleId) -> rusqlite::Result<Vec<RuleVersion>> {
    let mut statement =
        connection.prepare_cached("SELECT * FROM rule_version WHERE rule = ?1 ORDER BY version DESC")?;
    let mut rows = statement.query([id.as_str()])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        match version(row) {
            Ok(one) => found.push(one),
            Err(error) => tracing::error!(rule = %id, %error, "a stored version of a rule is damaged"),
        }
    }
    Ok(found)
}

/// The number of the version that a write makes. It goes on from that of the last one, also of a deleted rule, so that no number
/// comes twice; a write that was tried again has the number that it had.
fn number_of(
    connection: &Connection,
    id: &str,
    wanted: u32,
    (change, time_us, user, document): Made<'_>,
) -> rusqlite::Result<u32> {
    let last: Option<(u32, bool)> = connection
        .prepare_cached(
            "SELECT version, (change, time_us, user, document) = (?2, ?3, ?4, ?5) FROM rule_version WHERE rule = ?1
             ORDER BY version DESC LIMIT 1",
        )?
        .query_row(params![id, change.name(), time_us, user.as_str(), document], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(match last {
        Some((version, true)) => version,
        Some((version, false)) => wanted.max(version.saturating_add(1)),
        None => wanted,
    })
}

/// Carries out what was done to a rule, and keeps the version.
pub(super) fn put(connection: &Connection, write: &RuleWrite, commit: &AlertCommit) -> Result<(), Failure> {
    let (rule, change, wanted, time_us, user) = match write {
        RuleWrite::Create(rule) => (rule, RuleChangeKind::Created, rule.version, rule.updated_us, &rule.updated_by),
        RuleWrite::Update(rule, change) => (rule, *change, rule.version, rule.updated_us, &rule.updated_by),
        RuleWrite::Delete { rule, user } => {
            (rule, RuleChangeKind::Deleted, rule.version.saturating_add(1), commit.now_us, user)
        }
    };
    let (id, document) = (rule.id.as_str(), serde_json::to_string(&RuleDocument::from(rule)).map_err(damaged)?);
    let version = number_of(connection, id, wanted, (change, time_us, user, &document))?;
    let own = params![id, document, version, rule.created_us, rule.updated_us, rule.updated_by.as_str()];
    match change {
        RuleChangeKind::Created => {
            let made = connection.prepare_cached("INSERT INTO rule VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?.execute(own);
            made.map_err(exists_or("rule", id))?;
        }
        RuleChangeKind::Deleted => {
            connection.prepare_cached("DELETE FROM rule WHERE id = ?1")?.execute([id])?;
        }
        RuleChangeKind::Edited | RuleChangeKind::Paused | RuleChangeKind::Resumed => {
            connection.prepare_cached("REPLACE INTO rule VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?.execute(own)?;
        }
    }
    connection.prepare_cached("REPLACE INTO rule_version VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?.execute(params![
        id,
        version,
        change.name(),
        time_us,
        user.as_str(),
        document
    ])?;
    trim(connection, id, commit.rule_versions_max)?;
    if change == RuleChangeKind::Deleted {
        forget_deleted(connection)?;
    }
    Ok(())
}

fn trim(connection: &Connection, id: &str, keep: usize) -> rusqlite::Result<()> {
    let keep = if keep == 0 { VERSIONS_DEFAULT } else { keep };
    connection
        .prepare_cached(
            "DELETE FROM rule_version WHERE rule = ?1 AND version <=
                 (SELECT version FROM rule_version WHERE rule = ?1 ORDER BY version DESC LIMIT 1 OFFSET ?2)",
        )?
        .execute(params![id, i64::try_from(keep).unwrap_or(i64::MAX)])?;
    Ok(())
}

fn forget_deleted(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "DELETE FROM rule_version WHERE rule IN (
                 SELECT rule FROM rule_version INDEXED BY rule_version_deleted
                 WHERE change = 'deleted' AND rule NOT IN (SELECT id FROM rule)
                 GROUP BY rule ORDER BY max(time_us) DESC, rule LIMIT -1 OFFSET ?1)",
        )?
        .execute([DELETED_RULES_MAX])?;
    Ok(())
}
