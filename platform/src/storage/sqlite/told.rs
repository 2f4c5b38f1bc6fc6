//! What was decided to be told, in `meta.db`.

use super::columns::{alert_id, damaged};
use super::meta::Failure;
use super::notices::Audience;
use crate::ports::{Told, ToldView};
use pulsewire_core::ids::{AlertId, NotificationId};
use pulsewire_core::notify::{Decision, Reason, Recipients, Suppressed};
use pulsewire_core::ulid::Ulid;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Alerts kept of each list of a decision.
const LIST_MAX: usize = 200;

/// The part of a decision that nothing is looked up by.
#[derive(Serialize, Deserialize)]
struct Stored {
    sequence: u64,
    due_us: i64,
    to: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    also_to: Vec<Vec<String>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    about: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    firing: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    resolved: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    flapping: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    stale: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    suppressed: Vec<(String, String)>,
    more: u32,
}

fn texts(ids: &[AlertId]) -> Vec<String> {
    ids.iter().take(LIST_MAX).map(ToString::to_string).collect()
}

fn ids(texts: &[String]) -> rusqlite::Result<Vec<AlertId>> {
    texts.iter().map(|text| AlertId::parse(text)).collect::<Result<_, _>>().map_err(damaged)
}

/// Nobody is written as an empty list.
fn recipients(texts: &[String]) -> rusqlite::Result<Recipients> {
    if texts.is_empty() { Ok(Recipients::Users(Vec::new())) } else { Recipients::parse(texts).map_err(damaged) }
}

impl From<&Decision> for Stored {
    fn from(decision: &Decision) -> Self {
        let suppressed = decision.suppressed.iter().take(LIST_MAX);
        Self {
            sequence: decision.sequence,
            due_us: decision.due_us,
            to: decision.to.texts(),
            also_to: decision.also_to.iter().map(Recipients::texts).collect(),
            about: texts(&decision.about),
            firing: texts(&decision.firing),
            resolved: texts(&decision.resolved),
            flapping: texts(&decision.flapping),
            stale: texts(&decision.stale),
            suppressed: suppressed.map(|(id, why)| (id.to_string(), why.name().to_owned())).collect(),
            more: decision.more,
        }
    }
}

impl Stored {
    fn decision(&self, reason: Reason, delayed: bool) -> rusqlite::Result<Decision> {
        let suppressed = |(id, why): &(String, String)| {
            let unknown = || damaged(format!("there is no reason {why:?}"));
            Ok((AlertId::parse(id).map_err(damaged)?, Suppressed::from_name(why).ok_or_else(unknown)?))
        };
        Ok(Decision {
            reason,
            sequence: self.sequence,
            due_us: self.due_us,
            delayed,
            to: recipients(&self.to)?,
            also_to: self.also_to.iter().map(|to| recipients(to)).collect::<Result<_, _>>()?,
            about: ids(&self.about)?,
            firing: ids(&self.firing)?,
            resolved: ids(&self.resolved)?,
            flapping: ids(&self.flapping)?,
            stale: ids(&self.stale)?,
            suppressed: self.suppressed.iter().map(suppressed).collect::<rusqlite::Result<_>>()?,
            more: self.more,
        })
    }
}

fn view(row: &Row<'_>) -> rusqlite::Result<ToldView> {
    let text = |name: &str| row.get::<_, String>(name);
    let reason = text("reason")?;
    let reason = Reason::from_name(&reason).ok_or_else(|| damaged(format!("there is no reason {reason:?}")))?;
    let stored: Stored = serde_json::from_str(&text("decision")?).map_err(damaged)?;
    let told = Told {
        id: NotificationId(Ulid::from_bytes(row.get("id")?)),
        time_us: row.get("time_us")?,
        group: text("key")?,
        group_id: row.get("grp")?,
        decision: stored.decision(reason, row.get("delayed")?)?,
        notice: None,
        about: row.get::<_, Option<[u8; 16]>>("about")?.map(alert_id),
    };
    Ok(ToldView { told, messages: row.get::<_, i64>("messages")?.unsigned_abs() })
}

/// Writes a decision and its messages, unless it is there already: a commit that was tried again.
pub(super) fn put(connection: &Connection, told: &Told, audience: &Audience, now_us: i64) -> Result<(), Failure> {
    let stored = Stored::from(&told.decision);
    let seq: Option<i64> = connection
        .prepare_cached(
            "INSERT INTO told (id, time_us, key, grp, reason, delayed, about, decision, messages)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0) ON CONFLICT (id) DO NOTHING RETURNING seq",
        )?
        .query_row(
            params![
                told.id.0.to_bytes(),
                told.time_us,
                told.group,
                told.group_id,
                told.decision.reason.name(),
                told.decision.delayed,
                told.about.map(|about| about.0.to_bytes()),
                serde_json::to_string(&stored).map_err(damaged)?,
            ],
            |row| row.get(0),
        )
        .optional()?;
    let Some(seq) = seq else { return Ok(()) };
    let Decision { about, firing, resolved, flapping, stale, suppressed, .. } = &told.decision;
    let kept = [about, firing, resolved, flapping, stale].into_iter().flat_map(|list| list.iter().take(LIST_MAX));
    let mut alerts: BTreeSet<AlertId> = kept.copied().collect();
    alerts.extend(suppressed.iter().take(LIST_MAX).map(|(alert, _)| *alert));
    alerts.extend(told.about);
    let mut link = connection.prepare_cached("INSERT INTO told_alert (alert, told) VALUES (?1, ?2)")?;
    for alert in alerts {
        link.execute(params![alert.0.to_bytes(), seq])?;
    }
    if let Some(notice) = &told.notice {
        let messages = audience.tell(connection, told, notice, now_us)?;
        connection
            .prepare_cached("UPDATE told SET messages = ?2 WHERE seq = ?1")?
            .execute(params![seq, i64::try_from(messages).unwrap_or(i64::MAX)])?;
    }
    Ok(())
}

/// Decisions, the newest first. One that cannot be read is left out.
pub(super) fn page(
    connection: &Connection,
    alert: Option<AlertId>,
    before: Option<i64>,
    limit: usize,
) -> rusqlite::Result<Vec<(i64, ToldView)>> {
    let filter = match alert {
        Some(_) => "seq IN (SELECT told FROM told_alert WHERE alert = ?1)",
        None => "?1 IS NULL",
    };
    let sql = format!(
        "SELECT * FROM told WHERE {filter} AND seq < coalesce(?2, 9223372036854775807) ORDER BY seq DESC LIMIT ?3"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![alert.map(|alert| alert.0.to_bytes()), before, limit])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let seq: i64 = row.get("seq")?;
        match view(row) {
            Ok(one) => found.push((seq, one)),
            Err(error) => tracing::error!(seq, %error, "a stored decision is damaged"),
        }
    }
    Ok(found)
}

/// Forgets the oldest decisions, until at most `keep` are left.
pub(super) fn prune(connection: &Connection, keep: usize) -> rusqlite::Result<()> {
    connection.execute(
        "DELETE FROM told WHERE seq <= (SELECT seq FROM told ORDER BY seq DESC LIMIT 1 OFFSET ?1)",
        [i64::try_from(keep).unwrap_or(i64::MAX)],
    )?;
    Ok(())
}
