//! Which deliveries begin: per provider what is due first, over all providers the critical ones first and bulk last.

use super::alert_rows;
use super::columns::{damaged, notice_kind, severity};
use super::outbox::{Bytes, pairs};
use super::preferences;
use super::users;
use crate::ports::{Leased, OutboxStep, PushAddress, Slots};
use pulsewire_core::ids::{DeliveryId, EndpointId, MessageId};
use pulsewire_core::push::{Look, Notification, OpenAlerts, Priority};
use pulsewire_core::scope::DeviceScope;
use pulsewire_core::ulid::Ulid;
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::collections::HashMap;

/// What is stored as anything else goes last.
fn priority(stored: u8) -> Priority {
    match stored {
        0 => Priority::Critical,
        1 => Priority::Normal,
        _ => Priority::Bulk,
    }
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
            image: row.get("image")?,
            look: Look::default(),
            token: None,
            open: OpenAlerts::default(),
            event_us: row.get("event_us")?,
            expires_us: row.get("expires_us")?,
        },
        // Not even the error says what is in it.
        address: serde_json::from_str::<PushAddress>(&address).map_err(|_| damaged("an endpoint's address"))?,
        provider: row.get("provider")?,
        endpoint: EndpointId(Ulid::from_bytes(row.get("endpoint")?)),
        registered_us: row.get("registered_us")?,
        delivered_before: row.get("delivered_before")?,
        attempt: row.get::<_, u32>("attempts")?.saturating_add(1),
        priority: priority(row.get("priority")?),
    })
}

/// One that may begin. In the order in which they do.
struct Candidate {
    priority: Priority,
    next_us: i64,
    seq: i64,
    id: Bytes,
    message: Bytes,
    leased: Option<Leased>,
}

fn candidate(row: &Row<'_>) -> rusqlite::Result<Candidate> {
    Ok(Candidate {
        priority: priority(row.get("priority")?),
        next_us: row.get("next_us")?,
        seq: row.get("seq")?,
        id: row.get("id")?,
        message: row.get("message")?,
        leased: leasable(row).ok(),
    })
}

/// The next provider by name that has something queued.
fn provider_after(connection: &Connection, name: &str) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached(
            "SELECT min(provider) FROM delivery INDEXED BY delivery_lane WHERE state = 'queued' AND provider > ?1",
        )?
        .query_row([name], |row| row.get(0))
}

/// So many of one provider that are due. Of messages that replace each other at one endpoint only one is on its way at a
/// time, so that none overtakes.
fn due(
    connection: &Connection,
    provider: &str,
    priority: Priority,
    room: usize,
    now_us: i64,
) -> rusqlite::Result<Vec<Candidate>> {
    let mut statement = connection.prepare_cached(
        "SELECT d.id, d.message, d.endpoint, d.attempts, d.priority, d.next_us, d.seq, d.provider, m.tag, m.kind, m.severity,
             m.title, m.body, m.url, m.image, m.event_us, d.expires_us, e.address, e.registered_us,
             e.last_delivered_us IS NOT NULL AS delivered_before
         FROM delivery d INDEXED BY delivery_lane CROSS JOIN message m ON m.id = d.message
             CROSS JOIN endpoint e ON e.id = d.endpoint
         WHERE d.state = 'queued' AND d.provider = ?1 AND d.priority = ?2 AND d.next_us <= ?3 AND d.held IS NULL AND m.state = 'sending'
             AND e.removed_us IS NULL AND e.user = m.user
             AND NOT EXISTS (SELECT 1 FROM delivery o JOIN message n ON n.id = o.message
                             WHERE o.endpoint = d.endpoint AND o.state = 'sending' AND n.tag = m.tag)
         ORDER BY d.next_us, d.seq",
    )?;
    let mut found: Vec<Candidate> = Vec::new();
    let mut rows = statement.query(params![provider, priority as u8, now_us])?;
    while found.len() < room {
        let Some(row) = rows.next()? else { break };
        let one = candidate(row)?;
        let target = |one: &Candidate| one.leased.as_ref().map(|l| (l.endpoint, l.notification.tag.clone()));
        if target(&one).is_none() || !found.iter().any(|other| target(other) == target(&one)) {
            found.push(one);
        }
    }
    Ok(found)
}

fn room(slots: Slots, priority: Priority) -> usize {
    match priority {
        Priority::Critical => slots.all,
        Priority::Normal => slots.ordinary.min(slots.all),
        Priority::Bulk => slots.bulk.min(slots.ordinary).min(slots.all),
    }
}

fn take(slots: &mut Slots, priority: Priority) -> bool {
    if room(*slots, priority) == 0 {
        return false;
    }
    slots.all -= 1;
    // What goes first may use what is kept for it and what is not.
    slots.ordinary = slots.ordinary.saturating_sub(usize::from(priority != Priority::Critical)).min(slots.all);
    slots.bulk = slots.bulk.saturating_sub(usize::from(priority == Priority::Bulk)).min(slots.ordinary);
    true
}

/// What a lease took.
#[derive(Default)]
pub(super) struct Lease {
    pub leased: Vec<Leased>,
    /// Deliveries, each with its message, that cannot be read.
    pub broken: Vec<(Bytes, Bytes)>,
    /// Those whose place a newer message takes now.
    pub overtaken: Vec<(Bytes, Bytes)>,
}

/// What waits for an endpoint, also in the hope of another try or for the morning, and would take the place of this newer message.
fn overtaken(connection: &Connection, by: &Leased, seq: i64) -> rusqlite::Result<Vec<(Bytes, Bytes)>> {
    pairs(
        connection,
        "SELECT d.id, d.message FROM delivery d JOIN message m ON m.id = d.message
         WHERE d.endpoint = ?1 AND d.state = 'queued' AND d.seq < ?2 AND m.tag = ?3",
        params![by.endpoint.0.to_bytes(), seq, by.notification.tag],
    )
}

/// What is open of what the user of an endpoint may see; counted once for all who see the same groups, which `seen` keeps.
fn open_at(
    connection: &Connection,
    endpoint: EndpointId,
    seen: &mut Vec<(DeviceScope, OpenAlerts)>,
) -> rusqlite::Result<OpenAlerts> {
    let groups: Option<Option<String>> = connection
        .prepare_cached("SELECT u.groups FROM endpoint e JOIN user u ON u.name = e.user WHERE e.id = ?1")?
        .query_row([endpoint.0.to_bytes()], |row| row.get(0))
        .optional()?;
    // Whose user is gone is told nothing of it.
    let Some(groups) = groups else { return Ok(OpenAlerts::default()) };
    // One damaged row keeps nobody else's messages back.
    let scope = match users::scope(groups) {
        Ok(scope) => scope,
        Err(error) => {
            tracing::warn!(%error, "the groups of a user cannot be read: messages to that user go without a count of open alerts");
            return Ok(OpenAlerts::default());
        }
    };
    if let Some((_, open)) = seen.iter().find(|(known, _)| *known == scope) {
        return Ok(*open);
    }
    let open = alert_rows::open(connection, &scope)?;
    seen.push((scope, open));
    Ok(open)
}

/// Leases what is due as far as there is room.
pub(super) fn lease(connection: &Connection, step: &OutboxStep) -> rusqlite::Result<Lease> {
    let mut free = step.free;
    let mut providers: HashMap<String, Slots> = step.busy.iter().cloned().collect();
    let mut found = Vec::new();
    let mut provider = String::new();
    while let Some(next) = provider_after(connection, &provider)? {
        provider = next;
        let own = *providers.entry(provider.clone()).or_insert(step.per_provider);
        for priority in [Priority::Critical, Priority::Normal, Priority::Bulk] {
            let room = room(own, priority).min(room(free, priority));
            if room > 0 {
                found.extend(due(connection, &provider, priority, room, step.now_us)?);
            }
        }
    }
    found.sort_by_key(|one| (one.priority, one.next_us, one.seq));
    let mut took = Lease::default();
    for one in found {
        let Some(ready) = one.leased else {
            took.broken.push((one.id, one.message));
            continue;
        };
        let own = providers.entry(ready.provider.clone()).or_insert(step.per_provider);
        let same =
            |other: &Leased| other.endpoint == ready.endpoint && other.notification.tag == ready.notification.tag;
        if took.leased.iter().any(same) {
            continue;
        }
        let (mut at_provider, mut all) = (*own, free);
        if take(&mut at_provider, one.priority) && take(&mut all, one.priority) {
            (*own, free) = (at_provider, all);
            took.overtaken.extend(overtaken(connection, &ready, one.seq)?);
            took.leased.push(ready);
        }
    }
    if took.leased.is_empty() {
        return Ok(took);
    }
    let mut seen = Vec::new();
    let mut update = connection
        .prepare_cached("UPDATE delivery SET state = 'sending', attempts = ?2, lease_us = ?3 WHERE id = ?1")?;
    for one in &mut took.leased {
        one.notification.open = open_at(connection, one.endpoint, &mut seen)?;
        one.notification.look = preferences::look(connection, one.endpoint)?;
        update.execute(params![one.notification.delivery.0.to_bytes(), one.attempt, step.lease_until_us])?;
    }
    Ok(took)
}
