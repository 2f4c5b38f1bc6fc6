//! Several messages as one, in `meta.db`.

use super::alert_rows::alert;
use super::judge::Candidate;
use super::outbox::Bytes;
use crate::ports::MESSAGE_ALERTS_MAX;
use pulsewire_core::alert::Alert;
use pulsewire_core::ids::{EndpointId, MessageId};
use pulsewire_core::notice::{delivery_id, digest_id};
use pulsewire_core::notify::digest_words;
use pulsewire_core::push::{Language, Priority};
use pulsewire_core::severity::Severity;
use pulsewire_core::ulid::Ulid;
use rusqlite::{Connection, OptionalExtension, params};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// What the messages say that are told as one.
#[derive(Default)]
struct Content {
    alerts: BTreeMap<Bytes, Alert>,
    /// Alerts that the messages tell beside those.
    more: usize,
    event_us: i64,
    lifetime_us: i64,
}

fn content(connection: &Connection, messages: &BTreeSet<Bytes>) -> rusqlite::Result<Content> {
    let mut all = Content { event_us: i64::MIN, ..Content::default() };
    let mut of_message = connection.prepare_cached(
        "SELECT event_us, max(expires_us - coalesce(replayed_us, created_us), 0), left_out FROM message WHERE id = ?1",
    )?;
    let mut alerts = connection
        .prepare_cached("SELECT a.* FROM message_alert x JOIN alert a ON a.id = x.alert WHERE x.message = ?1")?;
    for message in messages {
        let (event_us, lifetime_us, left_out): (i64, i64, u32) =
            of_message.query_row([message], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        all.event_us = all.event_us.max(event_us);
        all.lifetime_us = all.lifetime_us.max(lifetime_us);
        all.more = all.more.saturating_add(usize::try_from(left_out).unwrap_or(usize::MAX));
        for one in alerts.query_map([message], alert)? {
            match one {
                Ok(one) => drop(all.alerts.insert(one.id.0.to_bytes(), one)),
                // The others are told all the same.
                Err(error) => tracing::error!(%error, "a stored alert is damaged and is not told"),
            }
        }
    }
    Ok(all)
}

/// Writes the message that tells what these deliveries would, with a delivery to each of their endpoints; all endpoints wait for
/// the same messages. Its id is made of theirs, so that the same is never told twice. Answers its id.
pub(super) fn put(
    connection: &Connection,
    user: &str,
    endpoints: &[Vec<Candidate>],
    language: Language,
    now_us: i64,
) -> rusqlite::Result<Bytes> {
    let messages: BTreeSet<Bytes> = endpoints.iter().flatten().map(|one| one.message).collect();
    let stands_for: BTreeSet<Bytes> = endpoints.iter().flatten().map(|one| one.id).collect();
    let id = digest_id(&stands_for.iter().copied().collect::<Vec<_>>());
    let all = content(connection, &messages)?;
    let mut alerts: Vec<&Alert> = all.alerts.values().collect();
    // The worst of those that fire first, and the newest of these.
    alerts.sort_by_key(|one| (Reverse(one.is_open()), Reverse(one.severity), Reverse(one.fired_us)));
    let words = digest_words(language, &alerts, all.more);
    let worst = alerts.iter().filter(|one| one.is_open()).map(|one| one.severity).max().unwrap_or(Severity::Info);
    let left_out = alerts.len().saturating_sub(MESSAGE_ALERTS_MAX).saturating_add(all.more);
    let why = endpoints.iter().flatten().find_map(|one| one.held.as_deref()).unwrap_or_default();
    let own = id.0.to_bytes();
    connection
        .prepare_cached(
            "INSERT INTO message (id, user, kind, alert, severity, title, body, url, tag, created_us, event_us, due_us,
                 expires_us, state, reason, reason_text, cause, left_out, passed_us)
             VALUES (?1, ?2, 'digest', ?3, ?4, ?5, ?6, '/alerts', ?7, ?8, ?9, ?8, ?10, 'sending', '', '', ?11, ?12, ?8)",
        )?
        .execute(params![
            own,
            user,
            alerts.first().map(|one| one.id.0.to_bytes()),
            worst as u8,
            words.0,
            words.1,
            // Its own: a later one says nothing of what this one says.
            hex::encode(own),
            now_us,
            all.event_us,
            now_us.saturating_add(all.lifetime_us),
            why,
            i64::try_from(left_out).unwrap_or(i64::MAX),
        ])?;
    let seq = connection.last_insert_rowid();
    let mut link =
        connection.prepare_cached("INSERT INTO message_alert (message, place, alert) VALUES (?1, ?2, ?3)")?;
    for (place, one) in (0_i64..).zip(alerts.iter().take(MESSAGE_ALERTS_MAX)) {
        link.execute(params![own, place, one.id.0.to_bytes()])?;
    }
    for endpoint in endpoints.iter().filter_map(|own| own.first()).map(|one| one.endpoint) {
        put_delivery(connection, id, endpoint, Priority::of(worst), seq, now_us)?;
    }
    Ok(own)
}

/// Queues a message for one more endpoint, unless it is there already or the endpoint is gone.
pub(super) fn put_delivery(
    connection: &Connection,
    message: MessageId,
    endpoint: Bytes,
    priority: Priority,
    seq: i64,
    now_us: i64,
) -> rusqlite::Result<bool> {
    let own = delivery_id(message, EndpointId(Ulid::from_bytes(endpoint))).0.to_bytes();
    let made = connection
        .prepare_cached(
            "INSERT INTO delivery (id, message, endpoint, kind, label, state, attempts, next_us, reason, provider, priority, seq,
                 expires_us)
             SELECT ?1, m.id, e.id, e.kind, e.label, 'queued', 0, ?4, '', e.provider, ?5, ?6, m.expires_us
             FROM message m, endpoint e WHERE m.id = ?2 AND e.id = ?3 AND e.removed_us IS NULL AND e.user = m.user
             ON CONFLICT (id) DO NOTHING RETURNING 1",
        )?
        .query_row(
            params![own, message.0.to_bytes(), endpoint, now_us, priority as u8, seq],
            |_| Ok(()),
        )
        .optional()?;
    Ok(made.is_some())
}
