//! Where messages go, in `meta.db`.

use super::columns::{channel_kind, damaged};
use super::meta::{Failure, SqliteMeta};
use super::{confirmation, outbox, preferences};
use crate::ports::{
    Confirmed, Endpoint, EndpointChange, EndpointStore, MetaError, NewEndpoint, PushAddress, Registered,
};
use async_trait::async_trait;
use pulsewire_core::ids::{EndpointId, UserName};
use pulsewire_core::push::{ChannelKind, EndpointPreferencesDocument, Preferences, Unwanted};
use pulsewire_core::ulid::Ulid;
use rusqlite::{Connection, OptionalExtension, Row, params};
use sha2::{Digest, Sha256};

const COLUMNS: &str =
    "id, user, kind, label, created_us, removed_us, removed_reason, last_delivered_us, confirmed, muted,
     preferences, opened, dismissed";

fn endpoint(row: &Row<'_>) -> rusqlite::Result<Endpoint> {
    let user: String = row.get("user")?;
    let removed_us: Option<i64> = row.get("removed_us")?;
    let reason: Option<String> = row.get("removed_reason")?;
    Ok(Endpoint {
        id: EndpointId(Ulid::from_bytes(row.get("id")?)),
        user: UserName::parse(&user).map_err(damaged)?,
        kind: channel_kind(&row.get::<_, String>("kind")?)?,
        label: row.get("label")?,
        created_us: row.get("created_us")?,
        removed: removed_us.map(|at| (at, reason.unwrap_or_default())),
        last_delivered_us: row.get("last_delivered_us")?,
        confirmed: row.get("confirmed")?,
        muted: row.get("muted")?,
        preferences: preferences::of_endpoint(&row.get::<_, String>("preferences")?),
        opened: row.get::<_, i64>("opened")?.unsigned_abs(),
        dismissed: row.get::<_, i64>("dismissed")?.unsigned_abs(),
    })
}

pub(super) fn find(connection: &Connection, id: EndpointId) -> rusqlite::Result<Option<Endpoint>> {
    let sql = format!("SELECT {COLUMNS} FROM endpoint WHERE id = ?1");
    connection.prepare_cached(&sql)?.query_row([id.0.to_bytes()], endpoint).optional()
}

/// One place is one endpoint, however its keys change. Who has a subscription or a token has the device; a mailbox or a service may
/// be several people's.
fn hash(address: &PushAddress, user: &UserName) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(address.kind().name().as_bytes());
    hasher.update([0]);
    hasher.update(address.place().as_bytes());
    if matches!(address.kind(), ChannelKind::Email | ChannelKind::Webhook) {
        hasher.update([0]);
        hasher.update(user.as_str().as_bytes());
    }
    hasher.finalize().into()
}

fn register(connection: &Connection, new: &NewEndpoint) -> Result<Registered, Failure> {
    let (user, hash) = (new.user.as_str(), hash(&new.address, &new.user));
    // Whoever types a mailbox has to show that they read it.
    let confirmed = new.address.kind() != ChannelKind::Email;
    let known: Option<(EndpointId, String)> = connection
        .prepare_cached("SELECT id, user FROM endpoint WHERE address_hash = ?1")?
        .query_row([hash], |row| Ok((EndpointId(Ulid::from_bytes(row.get(0)?)), row.get(1)?)))
        .optional()?;
    let id = known.as_ref().map_or(new.id, |(id, _)| *id);
    let others: i64 = connection
        .prepare_cached("SELECT count(*) FROM endpoint WHERE user = ?1 AND removed_us IS NULL AND id <> ?2")?
        .query_row(params![user, id.0.to_bytes()], |row| row.get(0))?;
    if usize::try_from(others).unwrap_or(usize::MAX) >= new.per_user_max {
        return Ok(Registered::TooMany);
    }
    let address = serde_json::to_string(&new.address).map_err(|error| MetaError::Failed(error.into()))?;
    if known.as_ref().is_some_and(|(_, owner)| owner != user) {
        // What was on its way to the former owner must not arrive on another person's screen.
        outbox::withdraw_endpoint(connection, id, new.now_us, "the endpoint belongs to another user now")?;
    }
    connection
        .prepare_cached(
            "INSERT INTO endpoint (id, user, kind, label, address, address_hash, provider, created_us, registered_us,
                 confirmed)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8, ?9)
             ON CONFLICT (address_hash) DO UPDATE SET
                 created_us = iif(user = excluded.user, created_us, excluded.created_us),
                 last_delivered_us = iif(user = excluded.user, last_delivered_us, NULL),
                 preferences = iif(user = excluded.user, preferences, '{}'), muted = iif(user = excluded.user, muted, 0),
                 opened = iif(user = excluded.user, opened, 0), dismissed = iif(user = excluded.user, dismissed, 0),
                 confirmed = iif(user = excluded.user AND removed_us IS NULL, confirmed, excluded.confirmed),
                 user = excluded.user, label = excluded.label, address = excluded.address, provider = excluded.provider,
                 registered_us = excluded.registered_us, removed_us = NULL, removed_reason = NULL",
        )?
        .execute(params![
            id.0.to_bytes(),
            user,
            new.address.kind().name(),
            new.label,
            address,
            hash,
            new.provider,
            new.now_us,
            confirmed,
        ])?;
    let stored = find(connection, id)?.ok_or_else(|| damaged("an endpoint just written is not there"))?;
    Ok(if known.is_some() { Registered::Updated(stored) } else { Registered::Created(stored) })
}

#[async_trait]
impl EndpointStore for SqliteMeta {
    async fn register(&self, new: NewEndpoint) -> Result<Registered, MetaError> {
        self.write(move |connection| register(connection, &new)).await
    }

    async fn endpoints(&self, user: Option<UserName>) -> Result<Vec<Endpoint>, MetaError> {
        self.read(move |connection| {
            let sql = format!("SELECT {COLUMNS} FROM endpoint WHERE ?1 IS NULL OR user = ?1 ORDER BY created_us, id");
            let mut statement = connection.prepare_cached(&sql)?;
            let found = statement.query_map([user.as_ref().map(UserName::as_str)], endpoint)?;
            Ok(found.collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn endpoint(&self, id: EndpointId) -> Result<Option<Endpoint>, MetaError> {
        self.read(move |connection| Ok(find(connection, id)?)).await
    }

    async fn update_endpoint(
        &self,
        id: EndpointId,
        change: EndpointChange,
        now_us: i64,
    ) -> Result<Endpoint, MetaError> {
        self.write(move |connection| {
            let own = change.preferences.as_ref().map(EndpointPreferencesDocument::from);
            let own = own.map(|own| serde_json::to_string(&own)).transpose().map_err(damaged)?;
            let changed = connection.execute(
                "UPDATE endpoint SET label = coalesce(?2, label), muted = coalesce(?3, muted), preferences = coalesce(?4, preferences)
                 WHERE id = ?1 AND removed_us IS NULL",
                params![id.0.to_bytes(), change.label, change.muted, own],
            )?;
            if changed == 0 {
                return Err(MetaError::Missing { what: "endpoint in use", name: id.to_string() }.into());
            }
            if change.muted == Some(true) {
                outbox::withdraw_endpoint(connection, id, now_us, Unwanted::Muted.text())?;
            }
            preferences::look_again(connection, "endpoint = ?2", id.0.to_bytes(), now_us)?;
            Ok(find(connection, id)?.ok_or_else(|| damaged("an endpoint just written is not there"))?)
        })
        .await
    }

    async fn preferences(&self, user: &UserName) -> Result<Preferences, MetaError> {
        let user = user.clone();
        self.read(move |connection| Ok(preferences::of(connection, user.as_str())?)).await
    }

    async fn put_preferences(&self, user: UserName, preferences: Preferences, now_us: i64) -> Result<(), MetaError> {
        self.write(move |connection| preferences::put(connection, &user, &preferences, now_us)).await
    }

    async fn confirm(&self, id: EndpointId, hash: [u8; 32], now_us: i64) -> Result<Confirmed, MetaError> {
        self.write(move |connection| confirmation::confirm(connection, id, hash, now_us)).await
    }

    async fn remove_idle(&self, before_us: i64, now_us: i64) -> Result<usize, MetaError> {
        self.write(move |connection| {
            let idle: Vec<[u8; 16]> = connection
                .prepare_cached(
                    "UPDATE endpoint SET removed_us = ?2, removed_reason = 'stale'
                     WHERE removed_us IS NULL AND kind IN ('webpush', 'apns', 'fcm')
                         AND max(registered_us, coalesce(last_delivered_us, 0)) < ?1 RETURNING id",
                )?
                .query_map(params![before_us, now_us], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            for id in &idle {
                let why = "the endpoint was not used for too long";
                outbox::withdraw_endpoint(connection, EndpointId(Ulid::from_bytes(*id)), now_us, why)?;
            }
            Ok(idle.len())
        })
        .await
    }

    async fn delete_endpoint(&self, id: EndpointId, now_us: i64) -> Result<(), MetaError> {
        self.write(move |connection| {
            if connection.execute("DELETE FROM endpoint WHERE id = ?1", [id.0.to_bytes()])? == 0 {
                return Err(MetaError::Missing { what: "endpoint", name: id.to_string() }.into());
            }
            outbox::withdraw_endpoint(connection, id, now_us, "the endpoint was deleted")?;
            Ok(())
        })
        .await
    }
}
