//! The outbox in `meta.db`: one step, one transaction.

use super::alerts::severity;
use super::endpoints::damaged;
use super::messages::{self, notice_kind};
use super::meta::{Failure, SqliteMeta};
use crate::ports::{
    Leased, Message, MessageQuery, MetaError, OutboxStep, OutboxStore, PushAddress, Settled, Slots, Stepped,
};
use async_trait::async_trait;
use pulsewire_core::ids::{DeliveryId, EndpointId, MessageId, UserName};
use pulsewire_core::notice::delivery_id;
use pulsewire_core::push::{Decision, Gate, Next, Notification, OpenAlerts, decide};
use pulsewire_core::severity::Severity;
use pulsewire_core::ulid::Ulid;
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::collections::{BTreeSet, HashMap};

/// Events kept per delivery; the newest stay.
const EVENTS_MAX: i64 = 20;
/// Due deliveries looked at, and messages decided about, in one step.
const STEP_ROWS: i64 = 512;
/// How long a removed endpoint is remembered: 30 days.
const TOMBSTONE_US: i64 = 30 * 86_400_000_000;

type Bytes = [u8; 16];

fn note(
    connection: &Connection,
    delivery: Bytes,
    now_us: i64,
    event: &str,
    status: Option<u16>,
    text: &str,
) -> rusqlite::Result<()> {
    let step: i64 = connection
        .prepare_cached("SELECT coalesce(max(step), 0) + 1 FROM delivery_event WHERE delivery = ?1")?
        .query_row([delivery], |row| row.get(0))?;
    connection
        .prepare_cached(
            "INSERT INTO delivery_event (delivery, step, time_us, event, status, text) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![delivery, step, now_us, event, status, text])?;
    if step > EVENTS_MAX {
        connection
            .prepare_cached("DELETE FROM delivery_event WHERE delivery = ?1 AND step <= ?2")?
            .execute(params![delivery, step - EVENTS_MAX])?;
    }
    Ok(())
}

/// Ends deliveries that wait, as `state` with a reason; answers their messages.
fn end(
    connection: &Connection,
    deliveries: &[(Bytes, Bytes)],
    now_us: i64,
    state: &str,
    reason: &str,
) -> rusqlite::Result<Vec<Bytes>> {
    for (delivery, _) in deliveries {
        connection
            .prepare_cached("UPDATE delivery SET state = ?2, reason = ?3, lease_us = NULL WHERE id = ?1")?
            .execute(params![delivery, state, reason])?;
        note(connection, *delivery, now_us, state, None, reason)?;
    }
    Ok(deliveries.iter().map(|(_, message)| *message).collect())
}

fn pairs(
    connection: &Connection,
    sql: &str,
    parameters: impl rusqlite::Params,
) -> rusqlite::Result<Vec<(Bytes, Bytes)>> {
    connection.prepare_cached(sql)?.query_map(parameters, |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// Messages of which nothing is on its way any more are done; answers their users.
fn finish(connection: &Connection, touched: &BTreeSet<Bytes>) -> rusqlite::Result<BTreeSet<String>> {
    let mut users = BTreeSet::new();
    let mut statement = connection.prepare_cached(
        "UPDATE message SET state = 'done' WHERE id = ?1 AND state = 'sending' AND NOT EXISTS
             (SELECT 1 FROM delivery d WHERE d.message = ?1 AND d.state IN ('queued', 'sending')) RETURNING user",
    )?;
    for id in touched {
        users.extend(statement.query_row([id], |row| row.get::<_, String>(0)).optional()?);
    }
    Ok(users)
}

/// Withdraws what waits for an endpoint.
pub(super) fn withdraw_endpoint(
    connection: &Connection,
    endpoint: EndpointId,
    now_us: i64,
    why: &str,
) -> rusqlite::Result<()> {
    let waiting = pairs(
        connection,
        "SELECT id, message FROM delivery WHERE endpoint = ?1 AND state = 'queued'",
        [endpoint.0.to_bytes()],
    )?;
    let touched = end(connection, &waiting, now_us, "withdrawn", why)?;
    finish(connection, &touched.into_iter().collect())?;
    Ok(())
}

fn settle(connection: &Connection, one: &Settled, now_us: i64) -> rusqlite::Result<Option<Bytes>> {
    let id = one.delivery.0.to_bytes();
    let (state, event, next_us, reason) = match &one.next {
        Next::Delivered => ("delivered", "sent", None, ""),
        Next::RetryAt(at) => ("queued", if one.unclear { "unclear" } else { "retry" }, Some(*at), one.text.as_str()),
        Next::Dead(reason) => ("dead", "dead", None, reason.as_str()),
        Next::Dropped { reason, .. } => ("dropped", "dropped", None, reason.as_str()),
    };
    let message: Option<Bytes> = connection
        .prepare_cached(
            "UPDATE delivery SET state = ?2, next_us = coalesce(?3, next_us), reason = ?4, provider_id = coalesce(?5, provider_id),
                 lease_us = NULL
             WHERE id = ?1 AND state = 'sending' RETURNING message",
        )?
        .query_row(params![id, state, next_us, reason, one.provider_id], |row| row.get(0))
        .optional()?;
    // The history or the user may be gone meanwhile.
    let Some(message) = message else { return Ok(None) };
    if one.unclear && event != "unclear" {
        note(connection, id, now_us, "unclear", one.status, &one.text)?;
    }
    note(connection, id, now_us, event, one.status, if reason.is_empty() { &one.text } else { reason })?;
    let endpoint = one.endpoint.0.to_bytes();
    match &one.next {
        Next::Delivered => {
            connection
                .prepare_cached("UPDATE endpoint SET last_delivered_us = ?2 WHERE id = ?1")?
                .execute(params![endpoint, now_us])?;
        }
        Next::Dropped { reason, remove_endpoint: true } => {
            let removed = connection
                .prepare_cached(
                    "UPDATE endpoint SET removed_us = ?3, removed_reason = ?4
                     WHERE id = ?1 AND registered_us = ?2 AND removed_us IS NULL",
                )?
                .execute(params![endpoint, one.registered_us, now_us, reason])?;
            if removed > 0 {
                withdraw_endpoint(connection, one.endpoint, now_us, reason)?;
            }
        }
        _ => {}
    }
    Ok(Some(message))
}

/// What nobody needs any more: alarms that were acknowledged or are over, and whatever is too old.
fn withdraw(connection: &Connection, now_us: i64) -> rusqlite::Result<Vec<Bytes>> {
    const WAITING: &str =
        "SELECT d.id, d.message FROM delivery d INDEXED BY delivery_queued JOIN message m ON m.id = d.message
                               LEFT JOIN alert a ON a.id = m.alert WHERE d.state = 'queued' AND m.state = 'sending'";
    let mut touched = Vec::new();
    // Who replays a message wants it, whatever became of the alert.
    for (filter, reason) in [
        ("a.resolved_us IS NOT NULL", "the alert is over; the message that says so takes its place"),
        ("a.ack_us IS NOT NULL", "the alert was acknowledged"),
    ] {
        let sql = format!("{WAITING} AND m.kind = 'firing' AND d.reason <> 'replayed' AND {filter}");
        touched.extend(end(connection, &pairs(connection, &sql, [])?, now_us, "withdrawn", reason)?);
    }
    let late = pairs(connection, &format!("{WAITING} AND m.expires_us <= ?1"), [now_us])?;
    touched.extend(end(connection, &late, now_us, "dead", "its time was over before it could be sent")?);
    let gone = pairs(
        connection,
        "SELECT id, message FROM delivery INDEXED BY delivery_sending WHERE state = 'sending' AND lease_us <= ?1",
        [now_us],
    )?;
    give_back(connection, &gone, now_us)?;
    Ok(touched)
}

/// Leases that ended without a word: the attempt may have succeeded, so it is made again under the same id.
fn give_back(connection: &Connection, deliveries: &[(Bytes, Bytes)], now_us: i64) -> rusqlite::Result<()> {
    for (delivery, _) in deliveries {
        connection
            .prepare_cached("UPDATE delivery SET state = 'queued', next_us = ?2, lease_us = NULL WHERE id = ?1")?
            .execute(params![delivery, now_us])?;
        note(connection, *delivery, now_us, "unclear", None, "the server stopped while it was being sent")?;
    }
    Ok(())
}

struct Waiting {
    id: Bytes,
    user: UserName,
    gate: Gate,
}

fn waiting(row: &Row<'_>, now_us: i64) -> rusqlite::Result<Waiting> {
    let user: String = row.get("user")?;
    Ok(Waiting {
        id: row.get("id")?,
        user: UserName::parse(&user).map_err(damaged)?,
        gate: Gate {
            kind: notice_kind(&row.get::<_, String>("kind")?)?,
            now_us,
            created_us: row.get("created_us")?,
            due_us: row.get("due_us")?,
            expires_us: row.get("expires_us")?,
            event_us: row.get("event_us")?,
            last_visible_us: None,
            acknowledged: row.get("acknowledged")?,
            resolved: row.get("resolved")?,
            told: row.get("told")?,
            has_endpoint: row.get("has_endpoint")?,
        },
    })
}

/// Decides about messages; answers the users of those that are done.
fn pass_gate(connection: &Connection, step: &OutboxStep, stepped: &mut Stepped) -> rusqlite::Result<BTreeSet<String>> {
    // `told`: of the same alert and user, an alarm that was taken, is being sent, or may have arrived.
    let mut statement = connection.prepare_cached(
        "SELECT m.id, m.user, m.kind, m.created_us, m.due_us, m.expires_us, m.event_us,
             a.ack_us IS NOT NULL AS acknowledged, a.resolved_us IS NOT NULL AS resolved,
             EXISTS (SELECT 1 FROM delivery d WHERE d.message = m.id AND d.state = 'queued') AS has_endpoint,
             EXISTS (SELECT 1 FROM message f JOIN delivery d ON d.message = f.id
                     WHERE f.alert = m.alert AND f.user = m.user AND f.kind = 'firing' AND (d.state IN ('delivered', 'sending')
                         OR EXISTS (SELECT 1 FROM delivery_event e WHERE e.delivery = d.id AND e.event = 'unclear'))) AS told
         FROM message m LEFT JOIN alert a ON a.id = m.alert
         WHERE m.state = 'waiting' AND (m.due_us <= ?1 OR m.kind = 'firing' AND (a.ack_us IS NOT NULL OR a.resolved_us IS NOT NULL))
         ORDER BY m.severity DESC, m.seq LIMIT ?2",
    )?;
    let found = statement.query_map(params![step.now_us, STEP_ROWS], |row| waiting(row, step.now_us))?;
    let mut users = BTreeSet::new();
    for one in found.collect::<Result<Vec<_>, _>>()? {
        let gate = Gate { last_visible_us: step.attention.last_visible_us(&one.user), ..one.gate };
        let why = match decide(&gate) {
            Decision::SendNow => {
                connection.prepare_cached("UPDATE message SET state = 'sending' WHERE id = ?1")?.execute([one.id])?;
                continue;
            }
            Decision::WaitUntil(_) => continue,
            Decision::Suppress(why) => why,
        };
        let text = why.text(one.user.as_str(), &gate);
        connection
            .prepare_cached("UPDATE message SET state = 'done', reason = ?2, reason_text = ?3 WHERE id = ?1")?
            .execute(params![one.id, why.name(), text])?;
        let own =
            pairs(connection, "SELECT id, message FROM delivery WHERE message = ?1 AND state = 'queued'", [one.id])?;
        end(connection, &own, step.now_us, "withdrawn", &text)?;
        stepped.suppressed.push(why.name());
        users.insert(one.user.to_string());
    }
    Ok(users)
}

fn leasable(row: &Row<'_>) -> rusqlite::Result<Leased> {
    let address: String = row.get("address")?;
    Ok(Leased {
        notification: Notification {
            message: MessageId(Ulid::from_bytes(row.get("message")?)),
            delivery: DeliveryId(Ulid::from_bytes(row.get("id")?)),
            tag: row.get("tag")?,
            kind: notice_kind(&row.get::<_, String>("kind")?)?,
            severity: severity(row.get("severity")?)?,
            title: row.get("title")?,
            body: row.get("body")?,
            url: row.get("url")?,
            open: OpenAlerts::default(),
            event_us: row.get("event_us")?,
            expires_us: row.get("expires_us")?,
        },
        // Not even the error says what is in it.
        address: serde_json::from_str::<PushAddress>(&address).map_err(|_| damaged("an endpoint's address"))?,
        provider: row.get("provider")?,
        endpoint: EndpointId(Ulid::from_bytes(row.get("endpoint")?)),
        registered_us: row.get("registered_us")?,
        attempt: row.get::<_, u32>("attempts")?.saturating_add(1),
    })
}

fn take(slots: &mut Slots, critical: bool) -> bool {
    if slots.all == 0 || (!critical && slots.ordinary == 0) {
        return false;
    }
    slots.all -= 1;
    // A critical one may use what is kept for it and what is not.
    slots.ordinary = if critical { slots.ordinary.min(slots.all) } else { slots.ordinary - 1 };
    true
}

fn lease(connection: &Connection, step: &OutboxStep) -> rusqlite::Result<Vec<Leased>> {
    let mut free = step.free;
    let mut providers: HashMap<String, Slots> = step.busy.iter().cloned().collect();
    let full = step.busy.iter().filter(|(_, slots)| slots.all == 0).map(|(name, _)| name.as_str());
    let full = serde_json::to_string(&full.collect::<Vec<_>>()).unwrap_or_else(|_| "[]".into());
    // Of messages that replace each other at one endpoint only one is on its way at a time, so that none overtakes.
    let mut statement = connection.prepare_cached(
        "SELECT d.id, d.message, d.endpoint, d.attempts, m.tag, m.kind, m.severity, m.title, m.body, m.url, m.event_us,
             m.expires_us, e.address, e.provider, e.registered_us
         FROM delivery d INDEXED BY delivery_queued JOIN message m ON m.id = d.message JOIN endpoint e ON e.id = d.endpoint
         WHERE d.state = 'queued' AND d.next_us <= ?1 AND m.state = 'sending'
             AND e.provider NOT IN (SELECT value FROM json_each(?2))
             AND NOT EXISTS (SELECT 1 FROM delivery o JOIN message n ON n.id = o.message
                             WHERE o.endpoint = d.endpoint AND o.state = 'sending' AND n.tag = m.tag)
         ORDER BY m.severity = 2 DESC, d.next_us, m.seq LIMIT ?3",
    )?;
    let found = statement.query_map(params![step.now_us, full, STEP_ROWS], leasable)?;
    let mut leased: Vec<Leased> = Vec::new();
    for one in found {
        let one = one?;
        let critical = one.notification.severity == Severity::Critical;
        let provider = providers.entry(one.provider.clone()).or_insert(step.per_provider);
        let same = |other: &Leased| other.endpoint == one.endpoint && other.notification.tag == one.notification.tag;
        if leased.iter().any(same) {
            continue;
        }
        let (mut own, mut all) = (*provider, free);
        if take(&mut own, critical) && take(&mut all, critical) {
            (*provider, free) = (own, all);
            leased.push(one);
        }
        if free.all == 0 {
            break;
        }
    }
    if leased.is_empty() {
        return Ok(leased);
    }
    let (count, worst): (u32, Option<u8>) = connection
        .prepare_cached("SELECT count(*), max(severity) FROM alert WHERE resolved_us IS NULL")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let open = OpenAlerts { count, worst: worst.map(severity).transpose()? };
    let mut update = connection
        .prepare_cached("UPDATE delivery SET state = 'sending', attempts = ?2, lease_us = ?3 WHERE id = ?1")?;
    for one in &mut leased {
        one.notification.open = open;
        update.execute(params![one.notification.delivery.0.to_bytes(), one.attempt, step.lease_until_us])?;
    }
    Ok(leased)
}

fn next_us(connection: &Connection, now_us: i64) -> rusqlite::Result<Option<i64>> {
    // What is due already waits for something else: a slot, a provider, a message before it.
    connection
        .prepare_cached(
            "SELECT min(t) FROM (
                 SELECT min(due_us) AS t FROM message WHERE state = 'waiting' AND due_us > ?1
                 UNION ALL SELECT min(d.next_us) FROM delivery d INDEXED BY delivery_queued JOIN message m ON m.id = d.message
                     WHERE d.state = 'queued' AND d.next_us > ?1 AND m.state = 'sending'
                 UNION ALL SELECT min(lease_us) FROM delivery WHERE state = 'sending')",
        )?
        .query_row([now_us], |row| row.get(0))
}

fn prune(connection: &Connection, users: &BTreeSet<String>, keep: usize, now_us: i64) -> rusqlite::Result<()> {
    let keep = i64::try_from(keep).unwrap_or(i64::MAX);
    for user in users {
        connection
            .prepare_cached(
                "DELETE FROM message WHERE user = ?1 AND state = 'done' AND seq <=
                     (SELECT seq FROM message WHERE user = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)",
            )?
            .execute(params![user, keep])?;
        connection
            .prepare_cached("DELETE FROM endpoint WHERE user = ?1 AND removed_us < ?2")?
            .execute(params![user, now_us - TOMBSTONE_US])?;
    }
    Ok(())
}

fn run(connection: &Connection, step: &OutboxStep) -> Result<Stepped, Failure> {
    let mut stepped = Stepped::default();
    let mut touched = BTreeSet::new();
    for one in &step.settled {
        touched.extend(settle(connection, one, step.now_us)?);
    }
    touched.extend(withdraw(connection, step.now_us)?);
    let mut done = pass_gate(connection, step, &mut stepped)?;
    done.extend(finish(connection, &touched)?);
    if step.free.all > 0 {
        stepped.leased = lease(connection, step)?;
    }
    prune(connection, &done, step.history_per_user, step.now_us)?;
    stepped.next_us = next_us(connection, step.now_us)?;
    Ok(stepped)
}

#[async_trait]
impl OutboxStore for SqliteMeta {
    async fn recover(&self, now_us: i64) -> Result<usize, MetaError> {
        self.write(move |connection| {
            let left = pairs(connection, "SELECT id, message FROM delivery WHERE state = 'sending'", [])?;
            give_back(connection, &left, now_us)?;
            Ok(left.len())
        })
        .await
    }

    async fn step(&self, step: OutboxStep) -> Result<Stepped, MetaError> {
        self.write(move |connection| run(connection, &step)).await
    }

    async fn create_test(
        &self,
        id: MessageId,
        endpoint: EndpointId,
        now_us: i64,
        expires_us: i64,
    ) -> Result<Option<Message>, MetaError> {
        self.write(move |connection| {
            let (own, target) = (id.0.to_bytes(), endpoint.0.to_bytes());
            let found: Option<(String, String, String)> = connection
                .prepare_cached("SELECT user, kind, label FROM endpoint WHERE id = ?1 AND removed_us IS NULL")?
                .query_row([target], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                .optional()?;
            let Some((user, kind, label)) = found else { return Ok(None) };
            // Its tag is its own, so that no alarm is replaced by it.
            let tag = hex::encode(delivery_id(id, endpoint).0.to_bytes());
            connection.execute(
                "INSERT INTO message (id, user, kind, alert, severity, title, body, url, tag, created_us, event_us, due_us,
                     expires_us, state, reason, reason_text)
                 VALUES (?1, ?2, 'test', NULL, ?3, 'Test message', ?4, '/', ?5, ?6, ?6, ?6, ?7, 'waiting', '', '')",
                params![own, user, Severity::Warning as u8, format!("Messages reach {label}."), tag, now_us, expires_us],
            )?;
            connection.execute(
                "INSERT INTO delivery (id, message, endpoint, kind, label, state, attempts, next_us, reason)
                 VALUES (?1, ?2, ?3, ?4, ?5, 'queued', 0, ?6, '')",
                params![delivery_id(id, endpoint).0.to_bytes(), own, target, kind, label, now_us],
            )?;
            Ok(messages::find(connection, id)?)
        })
        .await
    }

    async fn messages(&self, query: MessageQuery) -> Result<Vec<(i64, Message)>, MetaError> {
        self.read(move |connection| Ok(messages::page(connection, &query)?)).await
    }

    async fn message(&self, id: MessageId) -> Result<Option<Message>, MetaError> {
        self.read(move |connection| Ok(messages::find(connection, id)?)).await
    }

    async fn replay(&self, id: MessageId, now_us: i64) -> Result<usize, MetaError> {
        self.write(move |connection| {
            let own = id.0.to_bytes();
            // Only to endpoints that are still in use.
            let dead = pairs(
                connection,
                "SELECT d.id, d.message FROM delivery d JOIN endpoint e ON e.id = d.endpoint
                 WHERE d.message = ?1 AND d.state = 'dead' AND e.removed_us IS NULL",
                [own],
            )?;
            for (delivery, _) in &dead {
                connection.execute(
                    "UPDATE delivery SET state = 'queued', attempts = 0, next_us = ?2, reason = 'replayed' WHERE id = ?1",
                    params![delivery, now_us],
                )?;
                note(connection, *delivery, now_us, "replayed", None, "")?;
            }
            if !dead.is_empty() {
                connection.execute(
                    "UPDATE message SET state = 'sending', expires_us = max(expires_us, ?2 + expires_us - created_us)
                     WHERE id = ?1",
                    params![own, now_us],
                )?;
            }
            Ok(dead.len())
        })
        .await
    }
}
