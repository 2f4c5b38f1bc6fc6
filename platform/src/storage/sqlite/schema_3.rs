//! Version 3 of `meta.db`: rules are documents, alerts have levels, and people are told of groups of alerts.

use super::columns::comparison;
use pulsewire_core::alert::{Authorship, ClearDocument, RuleDocument, ScopeDocument};
use pulsewire_core::ids::{RuleId, UserName};
use rusqlite::{Connection, Row, params};
use serde::Deserialize;
use std::time::{SystemTime, UNIX_EPOCH};

/// What a version-2 store said of an alert that the update ended.
const ENDED: &str = "the server was updated; its rules judge anew";

/// The tables of rules, alerts and decisions.
const TABLES: &str = "
CREATE TABLE rule (
    id TEXT PRIMARY KEY,
    -- A `RuleDocument` as JSON.
    document TEXT NOT NULL,
    version INTEGER NOT NULL,
    created_us INTEGER NOT NULL,
    updated_us INTEGER NOT NULL,
    updated_by TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE rule_version (
    rule TEXT NOT NULL,
    version INTEGER NOT NULL,
    change TEXT NOT NULL,
    time_us INTEGER NOT NULL,
    user TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (rule, version)
) STRICT, WITHOUT ROWID;
CREATE INDEX rule_version_deleted ON rule_version (time_us, rule) WHERE change = 'deleted';
-- Where the rules stand on each device; opaque here.
CREATE TABLE alert_state (device INTEGER PRIMARY KEY, state BLOB NOT NULL) STRICT;
CREATE TABLE alert_3 (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    revision INTEGER NOT NULL,
    rule TEXT NOT NULL,
    rule_name TEXT NOT NULL,
    kind TEXT NOT NULL,
    device INTEGER,
    device_id TEXT NOT NULL,
    device_name TEXT NOT NULL,
    grp TEXT,
    metric TEXT NOT NULL,
    unit TEXT NOT NULL,
    severity INTEGER NOT NULL,
    severity_max INTEGER NOT NULL,
    condition TEXT NOT NULL,
    comparison INTEGER,
    threshold REAL,
    clear REAL,
    hold_us INTEGER NOT NULL,
    value REAL,
    text TEXT NOT NULL,
    runbook TEXT NOT NULL,
    labels TEXT NOT NULL,
    started_us INTEGER NOT NULL,
    fired_us INTEGER NOT NULL,
    resolved_us INTEGER,
    resolved_reason TEXT,
    reopened INTEGER NOT NULL,
    stale INTEGER NOT NULL,
    recovering INTEGER NOT NULL,
    flapping INTEGER NOT NULL,
    parent BLOB,
    members INTEGER NOT NULL,
    ack_user TEXT,
    ack_us INTEGER,
    assigned TEXT,
    snooze_user TEXT,
    snooze_until_us INTEGER,
    snooze_reason TEXT
) STRICT;
CREATE TABLE silence (
    id BLOB PRIMARY KEY,
    kind TEXT NOT NULL,
    -- JSON: the matchers as people write them.
    matchers TEXT NOT NULL,
    starts_us INTEGER NOT NULL,
    ends_us INTEGER NOT NULL,
    reason TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_us INTEGER NOT NULL,
    updated_us INTEGER NOT NULL,
    ended_early_us INTEGER,
    -- When it really is over.
    over_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX silence_over ON silence (over_us);
-- Groups of alerts with something to tell; opaque here.
CREATE TABLE notify_group (key TEXT PRIMARY KEY, state BLOB NOT NULL) STRICT, WITHOUT ROWID;
-- What was decided to be told, or not.
CREATE TABLE told (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    time_us INTEGER NOT NULL,
    key TEXT NOT NULL,
    grp BLOB NOT NULL,
    reason TEXT NOT NULL,
    delayed INTEGER NOT NULL,
    about BLOB,
    -- JSON: the rest of the decision.
    decision TEXT NOT NULL,
    messages INTEGER NOT NULL
) STRICT;
CREATE TABLE told_alert (
    alert BLOB NOT NULL,
    told INTEGER NOT NULL REFERENCES told (seq) ON DELETE CASCADE,
    PRIMARY KEY (alert, told)
) STRICT, WITHOUT ROWID;
CREATE INDEX told_alert_told ON told_alert (told);
-- The group that a message is about, the reason why it was made, and of how many further alerts it tells that have no row in
-- `message_alert`.
ALTER TABLE message ADD COLUMN grp BLOB;
ALTER TABLE message ADD COLUMN cause TEXT NOT NULL DEFAULT '';
ALTER TABLE message ADD COLUMN left_out INTEGER NOT NULL DEFAULT 0;
DROP INDEX message_alert;
CREATE INDEX message_group ON message (grp, user) WHERE grp IS NOT NULL;
CREATE TABLE message_alert (
    message BLOB NOT NULL REFERENCES message (id) ON DELETE CASCADE,
    -- The worst first.
    place INTEGER NOT NULL,
    alert BLOB NOT NULL,
    PRIMARY KEY (message, place)
) STRICT, WITHOUT ROWID;
CREATE INDEX message_alert_alert ON message_alert (alert, message);
";

/// What version 2 has goes over. Alerts that fire end at `:now`: nothing watches them any more.
const ALERTS: &str = "
INSERT INTO alert_step
SELECT id, (SELECT coalesce(max(step), 0) + 1 FROM alert_step s WHERE s.alert = alert.id), :now, 'resolved', NULL, :ended
FROM alert WHERE resolved_us IS NULL;
INSERT OR IGNORE INTO alert_changed SELECT id FROM alert WHERE resolved_us IS NULL;
INSERT INTO alert_3
SELECT seq, id, revision + (resolved_us IS NULL), rule, rule_name, 'condition', device, device_id, device_name, NULL, metric,
    unit, severity, severity,
    metric || CASE comparison WHEN 0 THEN ' > ' WHEN 1 THEN ' >= ' WHEN 2 THEN ' < ' ELSE ' <= ' END
        || printf('%.15g', threshold),
    comparison, threshold, nullif(clear, threshold), hold_us, value, text, '',
    json_object('rule', rule, 'device', device_id, 'metric', metric), started_us, fired_us,
    coalesce(resolved_us, max(fired_us, :now)), coalesce(resolved_reason, 'rule_changed'), 0, 0, 0, 0, NULL, 0, ack_user,
    ack_us, NULL, NULL, NULL, NULL
FROM alert;
INSERT INTO message_alert SELECT id, 0, alert FROM message WHERE alert IS NOT NULL;
-- Each alert was told by itself: it is its own group.
UPDATE message SET grp = alert, cause = CASE kind WHEN 'firing' THEN 'first' ELSE 'all_resolved' END WHERE alert IS NOT NULL;
";

const SWAP: &str = "
DROP TABLE alert;
ALTER TABLE alert_3 RENAME TO alert;
CREATE INDEX alert_open ON alert (severity, seq) WHERE resolved_us IS NULL;
CREATE INDEX alert_resolved ON alert (seq) WHERE resolved_us IS NOT NULL;
CREATE INDEX alert_device ON alert (device_id, seq);
CREATE INDEX alert_rule ON alert (rule, seq);
CREATE INDEX alert_group ON alert (grp, seq) WHERE grp IS NOT NULL;
DROP TABLE track;
DROP TABLE watermark;
";

/// A rule of version 2.
struct Old {
    document: RuleDocument,
    by: Authorship,
}

/// A rule's scope as version 2 wrote it.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum OldScope {
    All,
    Devices(Vec<String>),
    Tag(String, String),
    Group(String),
}

impl From<OldScope> for ScopeDocument {
    fn from(old: OldScope) -> Self {
        let empty = Self::default();
        match old {
            OldScope::All => Self { all: Some(true), ..empty },
            OldScope::Devices(ids) => Self { devices: Some(ids), ..empty },
            OldScope::Tag(key, value) => Self { tag: Some(format!("{key}:{value}")), ..empty },
            OldScope::Group(group) => Self { group: Some(group), ..empty },
        }
    }
}

fn old(row: &Row<'_>) -> anyhow::Result<Old> {
    let text = |name: &str| row.get::<_, String>(name);
    let severity: u8 = row.get("severity")?;
    let scope: OldScope = serde_json::from_str(&text("scope")?)?;
    let id = RuleId::parse(&text("id")?)?;
    let document = RuleDocument {
        id: Some(id.to_string()),
        name: text("name")?,
        enabled: Some(row.get("enabled")?),
        scope: Some(scope.into()),
        metric: Some(text("metric")?),
        comparison: Some(comparison(row.get("comparison")?)?.sign().to_owned()),
        threshold: Some(row.get("threshold")?),
        clear: Some(ClearDocument::Number(row.get("clear")?)),
        severity: Some(super::columns::severity(severity)?.name().to_owned()),
        hold: Some(pulsewire_core::span::text(row.get("hold_us")?)),
        // It had no fields: braces were braces.
        message: text("message")?.replace("{{", "{ {"),
        ..RuleDocument::default()
    };
    let by = Authorship {
        id,
        version: row.get("version")?,
        created_us: row.get("created_us")?,
        updated_us: row.get("updated_us")?,
        updated_by: UserName::parse(&text("updated_by")?)?,
    };
    Ok(Old { document, by })
}

/// Takes the rules out of the store, as documents. One that means nothing any more is kept as it was written: it is reported at
/// every start until someone corrects it.
fn take_rules(connection: &Connection) -> anyhow::Result<Vec<(Old, String)>> {
    let mut statement = connection.prepare("SELECT * FROM rule ORDER BY id")?;
    let mut rows = statement.query([])?;
    let mut rules = Vec::new();
    while let Some(row) = rows.next()? {
        let name: String = row.get("id")?;
        let old = match old(row) {
            Ok(old) => old,
            Err(error) => {
                tracing::error!(rule = %name, %error, "a rule of an older version is damaged and is left out");
                continue;
            }
        };
        let document = match old.document.rule(old.by.clone()) {
            Ok(rule) => RuleDocument::from(&rule),
            Err(error) => {
                tracing::error!(rule = %name, %error, "a rule of an older version means nothing any more");
                old.document.clone()
            }
        };
        let text = serde_json::to_string(&document)?;
        rules.push((old, text));
    }
    Ok(rules)
}

fn put_rules(connection: &Connection, rules: &[(Old, String)]) -> anyhow::Result<()> {
    for (Old { by, .. }, document) in rules {
        let own = params![by.id.as_str(), document, by.version, by.created_us, by.updated_us, by.updated_by.as_str()];
        connection.execute("INSERT INTO rule VALUES (?1, ?2, ?3, ?4, ?5, ?6)", own)?;
        let change = if by.version > 1 { "edited" } else { "created" };
        connection.execute(
            "INSERT INTO rule_version VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![by.id.as_str(), by.version, change, by.updated_us, by.updated_by.as_str(), document],
        )?;
    }
    Ok(())
}

/// Brings a version-2 store to version 3. Foreign keys have to be off, or the steps of alerts go with the old table.
pub(super) fn upgrade(connection: &Connection) -> anyhow::Result<()> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_us = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
    let rules = take_rules(connection)?;
    connection.execute_batch("DROP TABLE rule;")?;
    connection.execute_batch(TABLES)?;
    put_rules(connection, &rules)?;
    for statement in ALERTS.split(";\n").map(str::trim).filter(|statement| !statement.is_empty()) {
        let mut statement = connection.prepare(statement)?;
        for (name, value) in [(":now", rusqlite::types::Value::from(now_us)), (":ended", ENDED.to_owned().into())] {
            if let Some(index) = statement.parameter_index(name)? {
                statement.raw_bind_parameter(index, value)?;
            }
        }
        statement.raw_execute()?;
    }
    connection.execute_batch(SWAP)?;
    Ok(())
}
