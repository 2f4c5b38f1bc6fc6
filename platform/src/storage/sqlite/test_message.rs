//! Messages that show whether an endpoint is reached, in `meta.db`.

use super::columns::damaged;
use super::digest::put_delivery;
use super::meta::Failure;
use super::outbox::Bytes;
use super::{messages, preferences};
use crate::ports::TestMade;
use pulsewire_core::ids::{EndpointId, MessageId};
use pulsewire_core::notice::delivery_id;
use pulsewire_core::notify::test_words;
use pulsewire_core::push::{Language, Priority};
use pulsewire_core::severity::Severity;
use rusqlite::{Connection, OptionalExtension, params};

/// The user of an endpoint that is in use, what it is called, and the user's language.
pub(super) fn target(
    connection: &Connection,
    endpoint: EndpointId,
    confirmed: bool,
) -> rusqlite::Result<Option<(String, String, Language)>> {
    let found: Option<(String, String)> = connection
        .prepare_cached("SELECT user, label FROM endpoint WHERE id = ?1 AND removed_us IS NULL AND confirmed = ?2")?
        .query_row(params![endpoint.0.to_bytes(), confirmed], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((user, label)) = found else { return Ok(None) };
    let language = preferences::of(connection, &user)?.language;
    Ok(Some((user, label, language)))
}

pub(super) fn create(
    connection: &Connection,
    id: MessageId,
    endpoint: EndpointId,
    now_us: i64,
    expires_us: i64,
) -> Result<TestMade, Failure> {
    let Some((user, label, language)) = target(connection, endpoint, true)? else { return Ok(TestMade::NoEndpoint) };
    let unfinished: bool = connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM delivery d JOIN message m ON m.id = d.message
                 WHERE d.endpoint = ?1 AND d.state IN ('queued', 'sending') AND m.kind = 'test')",
        )?
        .query_row([endpoint.0.to_bytes()], |row| row.get(0))?;
    if unfinished {
        return Ok(TestMade::Unfinished);
    }
    let (title, body) = test_words(language, &label);
    put(connection, id, &user, (&title, &body, ""), endpoint, (now_us, expires_us))?;
    let made = messages::find(connection, id)?.ok_or_else(|| damaged("a message just written is not there"))?;
    Ok(TestMade::Made(Box::new(made)))
}

/// Writes a test message to one endpoint: title, body and cause; when it is made, and when it expires.
pub(super) fn put(
    connection: &Connection,
    id: MessageId,
    user: &str,
    (title, body, cause): (&str, &str, &str),
    endpoint: EndpointId,
    (now_us, expires_us): (i64, i64),
) -> rusqlite::Result<()> {
    let own: Bytes = id.0.to_bytes();
    // Its tag is its own, so that no alarm is replaced by it.
    let tag = hex::encode(delivery_id(id, endpoint).0.to_bytes());
    connection.execute(
        "INSERT INTO message (id, user, kind, alert, severity, title, body, url, tag, created_us, event_us, due_us,
             expires_us, state, reason, reason_text, cause)
         VALUES (?1, ?2, 'test', NULL, ?3, ?4, ?5, '/', ?6, ?7, ?7, ?7, ?8, 'waiting', '', '', ?9)",
        params![own, user, Severity::Warning as u8, title, body, tag, now_us, expires_us, cause],
    )?;
    let seq = connection.last_insert_rowid();
    put_delivery(connection, id, endpoint.0.to_bytes(), Priority::Normal, seq, now_us)?;
    Ok(())
}
