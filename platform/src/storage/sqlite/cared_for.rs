//! What becomes of alarms whose alerts are acknowledged or over, in `meta.db`.

use super::digest::put_delivery;
use super::needed::{CARED_FOR_SINCE, ITSELF, OVER};
use super::outbox::{Bytes, end, pairs};
use super::preferences;
use pulsewire_core::ids::MessageId;
use pulsewire_core::notice::acknowledged_id;
use pulsewire_core::notify::acknowledged;
use pulsewire_core::push::Priority;
use pulsewire_core::ulid::Ulid;
use rusqlite::{Connection, OptionalExtension, params};

/// Ends what waits and nobody needs any more, since all its alerts were acknowledged or are over.
pub(super) fn withdraw(connection: &Connection, alert: Bytes, now_us: i64) -> rusqlite::Result<Vec<Bytes>> {
    let mut touched = Vec::new();
    for (filter, which, reason) in [
        (OVER, "d.held IS NOT NULL", "not pushed: the alert was over before it was told"),
        (OVER, "d.held IS NULL", "the alert is over; the message that says so takes its place"),
        (CARED_FOR_SINCE, "m.kind <> 'acknowledged'", "the alert was acknowledged"),
    ] {
        let sql = format!(
            "SELECT d.id, d.message FROM message_alert o JOIN message m ON m.id = o.message JOIN delivery d ON d.message = m.id
             WHERE o.alert = ?1 AND m.kind IN ('firing', 'digest', 'acknowledged') AND m.state = 'sending' AND d.state = 'queued'
                 AND {which} AND {filter}"
        );
        touched.extend(end(connection, &pairs(connection, &sql, [alert])?, now_us, "withdrawn", reason)?);
    }
    Ok(touched)
}

/// Where an alarm is shown of which all alerts are acknowledged or over, and one still fires, another message takes its place.
/// Not where it was acknowledged: there it is gone. To do it twice does it once.
/// Answers how many screens that are.
pub(super) fn tell(connection: &Connection, alert: Bytes, now_us: i64) -> rusqlite::Result<i64> {
    // Of alarms that replace each other an endpoint shows the newest.
    let sql = format!(
        "SELECT m.id, d.endpoint FROM message_alert o JOIN message m ON m.id = o.message JOIN delivery d ON d.message = m.id
         WHERE o.alert = ?1 AND m.kind = 'firing' AND d.state NOT IN ('queued', 'sending') AND {ITSELF}
             AND NOT EXISTS (SELECT 1 FROM delivery_event e WHERE e.delivery = d.id AND e.event = 'acknowledged')
             AND NOT EXISTS (SELECT 1 FROM message n JOIN delivery w ON w.message = n.id
                             WHERE n.grp = m.grp AND n.user = m.user AND n.seq > m.seq AND w.endpoint = d.endpoint
                                 AND n.kind IN ('firing', 'resolved') AND w.state IN ('delivered', 'sending', 'queued'))
             AND {CARED_FOR_SINCE} AND NOT {OVER}"
    );
    let screens = pairs(connection, &sql, [alert])?;
    for (alarm, endpoint) in &screens {
        put(connection, *alarm, *endpoint, now_us)?;
    }
    Ok(i64::try_from(screens.len()).unwrap_or(i64::MAX))
}

fn put(connection: &Connection, alarm: Bytes, endpoint: Bytes, now_us: i64) -> rusqlite::Result<()> {
    let id = acknowledged_id(MessageId(Ulid::from_bytes(alarm)));
    let own = id.0.to_bytes();
    let known: Option<i64> = connection
        .prepare_cached("SELECT seq FROM message WHERE id = ?1")?
        .query_row([own], |row| row.get(0))
        .optional()?;
    let seq = match known {
        Some(seq) => seq,
        None => put_message(connection, alarm, own, now_us)?,
    };
    if put_delivery(connection, id, endpoint, Priority::Normal, seq, now_us)? {
        // One more way to go: it passes the gate again.
        connection
            .prepare_cached("UPDATE message SET state = 'waiting', due_us = ?2 WHERE id = ?1")?
            .execute(params![own, now_us])?;
    }
    Ok(())
}

/// Answers its number.
fn put_message(connection: &Connection, alarm: Bytes, own: Bytes, now_us: i64) -> rusqlite::Result<i64> {
    let (user, title): (String, String) = connection
        .prepare_cached("SELECT user, title FROM message WHERE id = ?1")?
        .query_row([alarm], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (by, at_us): (String, i64) = connection
        .prepare_cached(
            "SELECT a.ack_user, a.ack_us FROM message_alert x JOIN alert a ON a.id = x.alert
             WHERE x.message = ?1 AND a.ack_us IS NOT NULL ORDER BY a.ack_us DESC LIMIT 1",
        )?
        .query_row([alarm], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let language = preferences::of(connection, &user)?.language;
    connection
        .prepare_cached(
            "INSERT INTO message (id, user, kind, alert, severity, title, body, url, tag, created_us, event_us, due_us,
                 expires_us, state, reason, reason_text, grp, cause, left_out)
             SELECT ?2, user, 'acknowledged', alert, severity, ?3, body, url, tag, ?5, ?4, ?5,
                 ?5 + max(expires_us - coalesce(replayed_us, created_us), 0), 'waiting', '', '', grp, '', left_out
             FROM message WHERE id = ?1",
        )?
        .execute(params![alarm, own, acknowledged(language, &by, &title), at_us, now_us])?;
    let seq = connection.last_insert_rowid();
    connection
        .prepare_cached("INSERT INTO message_alert SELECT ?2, place, alert FROM message_alert WHERE message = ?1")?
        .execute(params![alarm, own])?;
    Ok(seq)
}
