//! What people want to be told, in `meta.db`.

use super::columns::damaged;
use super::meta::Failure;
use crate::ports::MetaError;
use pulsewire_core::ids::{EndpointId, UserName};
use pulsewire_core::push::{
    EndpointPreferences, EndpointPreferencesDocument, Look, Preferences, PreferencesDocument, PreferencesError,
};
use rusqlite::{Connection, OptionalExtension, ToSql, params};
use serde::de::DeserializeOwned;

/// Reads a stored document. One that is damaged counts as none: better told too much than nothing.
fn read<D: DeserializeOwned, P: Default>(text: &str, check: fn(&D) -> Result<P, PreferencesError>) -> P {
    let document = serde_json::from_str(text).map_err(|error| error.to_string());
    document.and_then(|document| check(&document).map_err(|error| error.to_string())).unwrap_or_else(|error| {
        tracing::error!(error, "stored preferences are damaged and do not count");
        P::default()
    })
}

/// Where an endpoint differs, as its row says it.
pub(super) fn of_endpoint(text: &str) -> EndpointPreferences {
    // Of most.
    if text == "{}" {
        return EndpointPreferences::default();
    }
    read(text, EndpointPreferencesDocument::preferences)
}

/// What a user wants.
pub(super) fn of(connection: &Connection, user: &str) -> rusqlite::Result<Preferences> {
    let found: Option<String> = connection
        .prepare_cached("SELECT document FROM preference WHERE user = ?1")?
        .query_row([user], |row| row.get(0))
        .optional()?;
    Ok(found.map_or_else(Preferences::default, |text| read(&text, PreferencesDocument::preferences)))
}

/// How messages look at an endpoint.
pub(super) fn look(connection: &Connection, endpoint: EndpointId) -> rusqlite::Result<Look> {
    let found: Option<(String, String)> = connection
        .prepare_cached("SELECT user, preferences FROM endpoint WHERE id = ?1")?
        .query_row([endpoint.0.to_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((user, own)) = found else { return Ok(Look::default()) };
    let Preferences { language, sound, stay, .. } = of(connection, &user)?.at(&of_endpoint(&own));
    Ok(Look { language, sound, stay })
}

pub(super) fn put(
    connection: &Connection,
    user: &UserName,
    preferences: &Preferences,
    now_us: i64,
) -> Result<(), Failure> {
    let known: bool = connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM user WHERE name = ?1)")?
        .query_row([user.as_str()], |row| row.get(0))?;
    if !known {
        return Err(MetaError::Missing { what: "user", name: user.to_string() }.into());
    }
    let document = serde_json::to_string(&PreferencesDocument::from(preferences)).map_err(damaged)?;
    connection.execute(
        "INSERT INTO preference (user, document, updated_us) VALUES (?1, ?2, ?3)
         ON CONFLICT (user) DO UPDATE SET document = excluded.document, updated_us = excluded.updated_us",
        params![user.as_str(), document, now_us],
    )?;
    look_again(connection, "endpoint IN (SELECT id FROM endpoint WHERE user = ?2)", user.as_str(), now_us)?;
    Ok(())
}

/// The next step looks at what is held for these endpoints; `whose` has one parameter, ?2.
pub(super) fn look_again(
    connection: &Connection,
    whose: &str,
    parameter: impl ToSql,
    now_us: i64,
) -> rusqlite::Result<()> {
    let sql = format!(
        "UPDATE delivery SET next_us = min(next_us, ?1)
         WHERE state = 'queued' AND held IS NOT NULL AND held <> 'paused' AND {whose}"
    );
    connection.prepare_cached(&sql)?.execute(params![now_us, parameter])?;
    Ok(())
}
