//! Users and their sign-ins in `meta.db`.

use super::columns::damaged;
use super::meta::{Failure, SqliteMeta, exists_or};
use super::tokens;
use crate::ports::{MetaError, SessionRecord, User, UserStore};
use async_trait::async_trait;
use pulsewire_core::ids::{GroupName, UserName};
use pulsewire_core::role::Role;
use pulsewire_core::scope::DeviceScope;
use rusqlite::{Connection, OptionalExtension, Row, params};

pub(super) fn user(row: &Row<'_>) -> rusqlite::Result<User> {
    let name: String = row.get("name")?;
    let role: String = row.get("role")?;
    Ok(User {
        name: UserName::parse(&name).map_err(damaged)?,
        role: self::role(&role)?,
        scope: scope(row.get("groups")?)?,
        created_us: row.get("created_us")?,
    })
}

pub(super) fn role(name: &str) -> rusqlite::Result<Role> {
    Role::from_name(name).ok_or_else(|| damaged(format!("there is no role {name:?}")))
}

/// No list is everything.
pub(super) fn scope(groups: Option<String>) -> rusqlite::Result<DeviceScope> {
    let Some(text) = groups else { return Ok(DeviceScope::All) };
    let names: Vec<String> = serde_json::from_str(&text).map_err(damaged)?;
    let groups = names.iter().map(|name| GroupName::parse(name)).collect::<Result<_, _>>().map_err(damaged)?;
    Ok(DeviceScope::Groups(groups))
}

fn scope_text(scope: &DeviceScope) -> Option<String> {
    match scope {
        DeviceScope::All => None,
        DeviceScope::Groups(groups) => Some(
            groups
                .iter()
                .map(|group| serde_json::Value::from(group.as_str()))
                .collect::<serde_json::Value>()
                .to_string(),
        ),
    }
}

fn find(connection: &Connection, name: &UserName) -> Result<Option<(User, String)>, Failure> {
    let found = connection
        .prepare_cached("SELECT name, role, created_us, groups, password_hash FROM user WHERE name = ?1")?
        .query_row([name.as_str()], |row| Ok((user(row)?, row.get("password_hash")?)))
        .optional()?;
    Ok(found)
}

fn require(connection: &Connection, name: &UserName) -> Result<User, Failure> {
    let found = find(connection, name)?;
    found.map(|(user, _)| user).ok_or_else(|| MetaError::Missing { what: "user", name: name.to_string() }.into())
}

fn keep_an_admin(connection: &Connection, name: &UserName) -> Result<(), Failure> {
    let admins: i64 = connection.query_row("SELECT count(*) FROM user WHERE role = 'admin'", [], |row| row.get(0))?;
    if admins == 0 { Err(MetaError::LastAdmin(name.clone()).into()) } else { Ok(()) }
}

fn check_scope(user: &User) -> Result<(), Failure> {
    if user.role == Role::Admin && !user.scope.is_all() {
        return Err(MetaError::RestrictedAdmin(user.name.clone()).into());
    }
    Ok(())
}

#[async_trait]
impl UserStore for SqliteMeta {
    async fn users(&self) -> Result<Vec<User>, MetaError> {
        self.read(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT name, role, created_us, groups FROM user ORDER BY name")?;
            let users = statement.query_map([], user)?.collect::<Result<_, _>>()?;
            Ok(users)
        })
        .await
    }

    async fn user(&self, name: &UserName) -> Result<Option<(User, String)>, MetaError> {
        let name = name.clone();
        self.read(move |connection| find(connection, &name)).await
    }

    async fn create_user(&self, user: User, password_hash: String) -> Result<(), MetaError> {
        self.write(move |connection| {
            check_scope(&user)?;
            connection
                .execute(
                    "INSERT INTO user (name, role, password_hash, created_us, groups) VALUES (?1, ?2, ?3, ?4, ?5)",
                    params![
                        user.name.as_str(),
                        user.role.name(),
                        password_hash,
                        user.created_us,
                        scope_text(&user.scope)
                    ],
                )
                .map_err(exists_or("user", user.name.as_str()))?;
            Ok(())
        })
        .await
    }

    async fn update_user(
        &self,
        name: &UserName,
        role: Option<Role>,
        scope: Option<DeviceScope>,
        password_hash: Option<String>,
        keep: Option<[u8; 32]>,
    ) -> Result<User, MetaError> {
        let name = name.clone();
        self.write(move |connection| {
            require(connection, &name)?;
            connection.execute(
                "UPDATE user SET role = coalesce(?2, role), password_hash = coalesce(?3, password_hash),
                     groups = CASE WHEN ?4 THEN ?5 ELSE groups END
                 WHERE name = ?1",
                params![
                    name.as_str(),
                    role.map(Role::name),
                    password_hash,
                    scope.is_some(),
                    scope.as_ref().and_then(scope_text)
                ],
            )?;
            keep_an_admin(connection, &name)?;
            check_scope(&require(connection, &name)?)?;
            connection.execute(
                "DELETE FROM session WHERE user = ?1 AND token_hash IS NOT ?2",
                params![name.as_str(), keep],
            )?;
            require(connection, &name)
        })
        .await
    }

    async fn delete_user(&self, name: &UserName) -> Result<(), MetaError> {
        let name = name.clone();
        self.write(move |connection| {
            require(connection, &name)?;
            for what in ["user WHERE name", "endpoint WHERE user", "message WHERE user", "preference WHERE user"] {
                connection.execute(&format!("DELETE FROM {what} = ?1"), [name.as_str()])?;
            }
            keep_an_admin(connection, &name)
        })
        .await
    }

    async fn create_session(&self, session: SessionRecord, per_user_max: usize) -> Result<(), MetaError> {
        let per_user_max = i64::try_from(per_user_max).unwrap_or(i64::MAX);
        self.write(move |connection| {
            let user = session.user.name.as_str();
            connection
                .prepare_cached("INSERT INTO session (token_hash, user, expires_us) VALUES (?1, ?2, ?3)")?
                .execute(params![session.token_hash, user, session.expires_us])?;
            connection
                .prepare_cached(
                    "DELETE FROM session WHERE user = ?1 AND token_hash IN
                         (SELECT token_hash FROM session WHERE user = ?1 ORDER BY expires_us DESC LIMIT -1 OFFSET ?2)",
                )?
                .execute(params![user, per_user_max])?;
            Ok(())
        })
        .await
    }

    async fn session(&self, token_hash: [u8; 32], now_us: i64) -> Result<Option<SessionRecord>, MetaError> {
        self.read(move |connection| {
            let found = connection
                .prepare_cached(
                    "SELECT u.name, u.role, u.created_us, u.groups, s.expires_us FROM session s JOIN user u ON u.name = s.user
                     WHERE s.token_hash = ?1 AND s.expires_us > ?2",
                )?
                .query_row(params![token_hash, now_us], |row| {
                    Ok(SessionRecord { user: user(row)?, token_hash, expires_us: row.get("expires_us")?, token: None })
                })
                .optional()?;
            if found.is_none() {
                return tokens::as_session(connection, token_hash, now_us);
            }
            Ok(found)
        })
        .await
    }

    async fn delete_session(&self, token_hash: [u8; 32]) -> Result<(), MetaError> {
        self.write(move |connection| {
            connection.execute("DELETE FROM session WHERE token_hash = ?1", [token_hash])?;
            Ok(())
        })
        .await
    }

    async fn prune_sessions(&self, now_us: i64) -> Result<(), MetaError> {
        self.write(move |connection| {
            connection.execute("DELETE FROM session WHERE expires_us <= ?1", [now_us])?;
            Ok(())
        })
        .await
    }
}
