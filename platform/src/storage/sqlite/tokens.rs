//! Tokens for programs in `meta.db`.

use super::columns::damaged;
use super::meta::{Failure, SqliteMeta};
use super::users::{role, user};
use crate::ports::{ApiToken, MetaError, SessionRecord, TokenStore, TokenUse};
use async_trait::async_trait;
use pulsewire_core::ids::UserName;
use pulsewire_core::role::Role;
use pulsewire_core::ulid::Ulid;
use rusqlite::{Connection, OptionalExtension, Row, params};

fn token(row: &Row<'_>) -> rusqlite::Result<ApiToken> {
    let owner: String = row.get("user")?;
    Ok(ApiToken {
        id: Ulid::from_bytes(row.get("id")?),
        user: UserName::parse(&owner).map_err(damaged)?,
        label: row.get("label")?,
        role: role(&row.get::<_, String>("role")?)?,
        created_us: row.get("created_us")?,
        used_us: row.get("used_us")?,
        expires_us: row.get("expires_us")?,
    })
}

/// The token with this hash as a sign-in, if it is still good: it may do no more than it and its user may.
pub(super) fn as_session(
    connection: &Connection,
    token_hash: [u8; 32],
    now_us: i64,
) -> Result<Option<SessionRecord>, Failure> {
    let found = connection
        .prepare_cached(
            "SELECT u.name, u.role, u.created_us, u.groups, t.role AS token_role, t.id, t.used_us, t.expires_us
             FROM api_token t JOIN user u ON u.name = t.user
             WHERE t.token_hash = ?1 AND (t.expires_us IS NULL OR t.expires_us > ?2)",
        )?
        .query_row(params![token_hash, now_us], |row| {
            let mut user = user(row)?;
            user.role = user.role.min(role(&row.get::<_, String>("token_role")?)?);
            let token = Some(TokenUse { id: Ulid::from_bytes(row.get("id")?), used_us: row.get("used_us")? });
            let expires_us = row.get::<_, Option<i64>>("expires_us")?.unwrap_or(i64::MAX);
            Ok(SessionRecord { user, token_hash, expires_us, token })
        })
        .optional()?;
    Ok(found)
}

#[async_trait]
impl TokenStore for SqliteMeta {
    async fn tokens(&self, user: &UserName) -> Result<Vec<ApiToken>, MetaError> {
        let user = user.clone();
        self.read(move |connection| {
            let mut statement = connection
                .prepare_cached("SELECT * FROM api_token WHERE user = ?1 ORDER BY created_us DESC, id DESC")?;
            let tokens = statement.query_map([user.as_str()], token)?.collect::<Result<_, _>>()?;
            Ok(tokens)
        })
        .await
    }

    async fn create_token(&self, token: ApiToken, hash: [u8; 32], most: usize) -> Result<bool, MetaError> {
        self.write(move |connection| {
            let user = token.user.as_str();
            let count: i64 =
                connection.query_row("SELECT count(*) FROM api_token WHERE user = ?1", [user], |row| row.get(0))?;
            if usize::try_from(count).map_err(damaged)? >= most {
                return Ok(false);
            }
            connection.execute(
                "INSERT INTO api_token (id, token_hash, user, label, role, created_us, used_us, expires_us)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                params![
                    token.id.to_bytes(),
                    hash,
                    user,
                    token.label,
                    Role::name(token.role),
                    token.created_us,
                    token.used_us,
                    token.expires_us
                ],
            )?;
            Ok(true)
        })
        .await
    }

    async fn delete_token(&self, user: &UserName, id: Ulid) -> Result<(), MetaError> {
        let user = user.clone();
        self.write(move |connection| {
            let gone = connection
                .execute("DELETE FROM api_token WHERE user = ?1 AND id = ?2", params![user.as_str(), id.to_bytes()])?;
            if gone == 0 {
                return Err(Failure::Known(MetaError::Missing { what: "token", name: id.to_string() }));
            }
            Ok(())
        })
        .await
    }

    async fn token_used(&self, id: Ulid, used_us: i64) -> Result<(), MetaError> {
        self.write(move |connection| {
            connection
                .prepare_cached("UPDATE api_token SET used_us = ?2 WHERE id = ?1")?
                .execute(params![id.to_bytes(), used_us])?;
            Ok(())
        })
        .await
    }
}
