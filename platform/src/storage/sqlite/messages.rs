//! Messages as people read them.

use super::announcements;
use super::columns::{alert_id, channel_kind, damaged, notice_kind, severity};
use super::confirmation;
use crate::ports::{Delivery, DeliveryEvent, Message, MessageQuery, MessageState};
use pulsewire_core::ids::{AlertId, DeliveryId, EndpointId, MessageId, UserName};
use pulsewire_core::notice::NoticeKind;
use pulsewire_core::ulid::Ulid;
use rusqlite::{Connection, OptionalExtension, Row, params};

const COLUMNS: &str =
    "seq, id, user, kind, cause, alert, severity, title, body, created_us, state, reason, reason_text, opened_us, dismissed_us,
     announcement";

fn message(row: &Row<'_>) -> rusqlite::Result<(i64, Message)> {
    let text = |name: &str| row.get::<_, String>(name);
    let (state, cause) = (text("state")?, text("cause")?);
    let message = Message {
        id: MessageId(Ulid::from_bytes(row.get("id")?)),
        user: UserName::parse(&text("user")?).map_err(damaged)?,
        kind: notice_kind(&text("kind")?)?,
        cause: cause.clone(),
        alert: row.get::<_, Option<[u8; 16]>>("alert")?.map(alert_id),
        alerts: Vec::new(),
        severity: severity(row.get("severity")?)?,
        title: match cause == confirmation::CAUSE {
            // Who registers a mailbox must not read here what only its owner can.
            true => text("title")?.replace(|c: char| c.is_ascii_digit(), "•"),
            false => text("title")?,
        },
        body: text("body")?,
        created_us: row.get("created_us")?,
        state: MessageState::from_name(&state).ok_or_else(|| damaged(format!("there is no state {state:?}")))?,
        reason: text("reason")?,
        reason_text: text("reason_text")?,
        opened_us: row.get("opened_us")?,
        dismissed_us: row.get("dismissed_us")?,
        announcement: row.get::<_, Option<[u8; 16]>>("announcement")?.map(Ulid::from_bytes),
        deliveries: Vec::new(),
    };
    Ok((row.get("seq")?, message))
}

fn deliveries(connection: &Connection, message: MessageId) -> rusqlite::Result<Vec<Delivery>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, endpoint, kind, label, state, attempts, next_us, held, reason, provider_id FROM delivery
         WHERE message = ?1 ORDER BY kind DESC, id",
    )?;
    let found = statement.query_map([message.0.to_bytes()], |row| {
        let (state, next_us): (String, i64) = (row.get("state")?, row.get("next_us")?);
        Ok(Delivery {
            id: DeliveryId(Ulid::from_bytes(row.get("id")?)),
            endpoint: EndpointId(Ulid::from_bytes(row.get("endpoint")?)),
            label: row.get("label")?,
            kind: channel_kind(&row.get::<_, String>("kind")?)?,
            next_us: (state == "queued" && next_us < announcements::PAUSED_US).then_some(next_us),
            held: row.get("held")?,
            state,
            attempts: row.get("attempts")?,
            reason: row.get("reason")?,
            provider_id: row.get("provider_id")?,
            timeline: Vec::new(),
        })
    })?;
    let mut found: Vec<Delivery> = found.collect::<Result<_, _>>()?;
    for delivery in &mut found {
        delivery.timeline = timeline(connection, delivery.id)?;
    }
    Ok(found)
}

fn alerts(connection: &Connection, message: MessageId) -> rusqlite::Result<Vec<AlertId>> {
    let mut statement =
        connection.prepare_cached("SELECT alert FROM message_alert WHERE message = ?1 ORDER BY place")?;
    let found = statement.query_map([message.0.to_bytes()], |row| Ok(alert_id(row.get(0)?)))?;
    found.collect()
}

/// What is kept beside the message.
fn complete(connection: &Connection, message: &mut Message) -> rusqlite::Result<()> {
    message.alerts = alerts(connection, message.id)?;
    message.deliveries = deliveries(connection, message.id)?;
    Ok(())
}

fn timeline(connection: &Connection, delivery: DeliveryId) -> rusqlite::Result<Vec<DeliveryEvent>> {
    let mut statement = connection
        .prepare_cached("SELECT time_us, event, status, text FROM delivery_event WHERE delivery = ?1 ORDER BY step")?;
    let events = statement.query_map([delivery.0.to_bytes()], |row| {
        Ok(DeliveryEvent { time_us: row.get(0)?, event: row.get(1)?, status: row.get(2)?, text: row.get(3)? })
    })?;
    events.collect()
}

/// One message with everything about it.
pub(super) fn find(connection: &Connection, id: MessageId) -> rusqlite::Result<Option<Message>> {
    let sql = format!("SELECT {COLUMNS} FROM message WHERE id = ?1");
    let found = connection.prepare_cached(&sql)?.query_row([id.0.to_bytes()], message).optional()?;
    let Some((_, mut found)) = found else { return Ok(None) };
    complete(connection, &mut found)?;
    Ok(Some(found))
}

/// A page of messages, the newest first.
pub(super) fn page(connection: &Connection, query: &MessageQuery) -> rusqlite::Result<Vec<(i64, Message)>> {
    let user = query.user.as_ref().map(UserName::as_str);
    let alert = query.alert.map(|alert| alert.0.to_bytes());
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    // Each has its index: of one alert there are few, of one user at most the history, else the whole table by number.
    let filter = match (user, alert) {
        (_, Some(_)) => "id IN (SELECT message FROM message_alert WHERE alert = ?2) AND (?1 IS NULL OR user = ?1)",
        (Some(_), None) => "user = ?1 AND ?2 IS NULL",
        (None, None) => "?1 IS NULL AND ?2 IS NULL",
    };
    let sql = format!(
        "SELECT {COLUMNS} FROM message WHERE {filter} AND seq < coalesce(?3, 9223372036854775807)
             AND (?5 IS NULL OR kind = ?5) AND (?6 IS NULL OR state = ?6) AND (?7 IS NULL OR reason = ?7)
         ORDER BY seq DESC LIMIT ?4"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let (kind, state) = (query.kind.map(NoticeKind::name), query.state.map(MessageState::name));
    let found = statement.query_map(params![user, alert, query.before, limit, kind, state, query.reason], message)?;
    let mut found: Vec<_> = found.collect::<Result<_, _>>()?;
    for (_, message) in &mut found {
        complete(connection, message)?;
    }
    Ok(found)
}
