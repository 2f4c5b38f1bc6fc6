//! What devices and people did with messages that reached them.

use super::columns::damaged;
use super::outbox::{self, Bytes};
use crate::ports::ActedOn;
use pulsewire_core::ids::{AlertId, DeliveryId, UserName};
use pulsewire_core::ulid::Ulid;
use rusqlite::{Connection, OptionalExtension, params};

/// What a delivery is about, if its endpoint is still in use and its user's.
pub(super) fn acted_on(connection: &Connection, delivery: DeliveryId) -> rusqlite::Result<Option<ActedOn>> {
    let found: Option<(Bytes, String, bool)> = connection
        .prepare_cached(
            "SELECT m.id, m.user, m.left_out > 0 FROM delivery d JOIN message m ON m.id = d.message
                 JOIN endpoint e ON e.id = d.endpoint
             WHERE d.id = ?1 AND e.user = m.user AND e.removed_us IS NULL",
        )?
        .query_row([delivery.0.to_bytes()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((message, user, more)) = found else { return Ok(None) };
    let mut alerts = connection.prepare_cached("SELECT alert FROM message_alert WHERE message = ?1 ORDER BY place")?;
    let alerts = alerts.query_map([message], |row| Ok(AlertId(Ulid::from_bytes(row.get(0)?))))?;
    let alerts = alerts.collect::<Result<_, _>>()?;
    Ok(Some(ActedOn { user: UserName::parse(&user).map_err(damaged)?, alerts, more }))
}

/// Notes an event, once per delivery and kind.
pub(super) fn act(
    connection: &Connection,
    delivery: DeliveryId,
    event: &str,
    text: &str,
    now_us: i64,
) -> rusqlite::Result<()> {
    let id = delivery.0.to_bytes();
    let found: Option<(Bytes, Bytes)> = connection
        .prepare_cached(
            "SELECT d.message, d.endpoint FROM delivery d WHERE d.id = ?1
             AND NOT EXISTS (SELECT 1 FROM delivery_event e WHERE e.delivery = ?1 AND e.event = ?2)",
        )?
        .query_row(params![id, event], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((message, endpoint)) = found else { return Ok(()) };
    outbox::note(connection, id, now_us, event, None, text)?;
    match event {
        "dismissed" => count(connection, "dismissed", message, endpoint, now_us),
        // Whoever acts on it has seen it, too.
        "opened" | "acknowledged" | "silenced" => count(connection, "opened", message, endpoint, now_us),
        _ => Ok(()),
    }
}

/// Counts a message once, at the endpoint where that happened first.
fn count(connection: &Connection, column: &str, message: Bytes, endpoint: Bytes, now_us: i64) -> rusqlite::Result<()> {
    let first = connection
        .prepare_cached(&format!("UPDATE message SET {column}_us = ?2 WHERE id = ?1 AND {column}_us IS NULL"))?
        .execute(params![message, now_us])?;
    if first > 0 {
        let sql = format!("UPDATE endpoint SET {column} = {column} + 1 WHERE id = ?1");
        connection.prepare_cached(&sql)?.execute([endpoint])?;
    }
    Ok(())
}

/// How many deliveries wait, by provider.
pub(super) fn queued(connection: &Connection) -> rusqlite::Result<Vec<(String, u64)>> {
    connection
        .prepare_cached(
            "SELECT provider, count(*) FROM delivery INDEXED BY delivery_lane WHERE state = 'queued' GROUP BY provider",
        )?
        .query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs())))?
        .collect()
}
