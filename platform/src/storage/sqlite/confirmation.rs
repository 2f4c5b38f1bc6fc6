//! Codes that show who can read what is sent to an endpoint, in `meta.db`.

use super::endpoints;
use super::meta::Failure;
use super::test_message::{put, target};
use crate::ports::{CodeMade, Confirmed, MetaError, NewCode};
use pulsewire_core::ids::EndpointId;
use pulsewire_core::notify::code_words;
use rusqlite::{Connection, OptionalExtension, params};

/// Wrong codes that may be given; then a new one is needed.
const TRIES_MAX: i64 = 5;
/// A further code is sent after this at the earliest: the mailbox may be a stranger's.
const APART_US: i64 = 60_000_000;
/// The cause of messages that carry a code. What they say is for the endpoint alone.
pub(super) const CAUSE: &str = "confirmation";

pub(super) fn create(connection: &Connection, new: &NewCode) -> rusqlite::Result<CodeMade> {
    let Some((user, _, language)) = target(connection, new.endpoint, false)? else { return Ok(CodeMade::NotWanted) };
    let endpoint = new.endpoint.0.to_bytes();
    let last: Option<i64> = connection
        .prepare_cached(
            "SELECT max(m.created_us) FROM message m JOIN delivery d ON d.message = m.id WHERE d.endpoint = ?1 AND m.cause = ?2",
        )?
        .query_row(params![endpoint, CAUSE], |row| row.get(0))?;
    if last.is_some_and(|last| (0..APART_US).contains(&new.now_us.saturating_sub(last))) {
        return Ok(CodeMade::TooSoon);
    }
    connection
        .prepare_cached(
            "INSERT INTO confirmation (endpoint, code_hash, expires_us, tries) VALUES (?1, ?2, ?3, 0)
             ON CONFLICT (endpoint) DO UPDATE SET code_hash = excluded.code_hash, expires_us = excluded.expires_us, tries = 0",
        )?
        .execute(params![endpoint, new.hash, new.expires_us])?;
    let (title, body) = code_words(language, &new.code);
    put(connection, new.message, &user, (&title, &body, CAUSE), new.endpoint, (new.now_us, new.expires_us))?;
    Ok(CodeMade::Made)
}

pub(super) fn confirm(
    connection: &Connection,
    id: EndpointId,
    hash: [u8; 32],
    now_us: i64,
) -> Result<Confirmed, Failure> {
    let missing = || MetaError::Missing { what: "endpoint in use", name: id.to_string() };
    let endpoint = endpoints::find(connection, id)?.filter(|one| one.removed.is_none()).ok_or_else(missing)?;
    if endpoint.confirmed {
        return Ok(Confirmed::Done(Box::new(endpoint)));
    }
    let own = id.0.to_bytes();
    let known: Option<([u8; 32], i64, i64)> = connection
        .prepare_cached("SELECT code_hash, expires_us, tries FROM confirmation WHERE endpoint = ?1")?
        .query_row([own], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    match known {
        Some((_, expires_us, tries)) if now_us >= expires_us || tries >= TRIES_MAX => Ok(Confirmed::Expired),
        None => Ok(Confirmed::Expired),
        Some((wanted, ..)) if wanted != hash => {
            connection.execute("UPDATE confirmation SET tries = tries + 1 WHERE endpoint = ?1", [own])?;
            Ok(Confirmed::Wrong)
        }
        Some(_) => {
            connection.execute("DELETE FROM confirmation WHERE endpoint = ?1", [own])?;
            connection.execute("UPDATE endpoint SET confirmed = 1 WHERE id = ?1", [own])?;
            Ok(Confirmed::Done(Box::new(endpoints::find(connection, id)?.ok_or_else(missing)?)))
        }
    }
}
