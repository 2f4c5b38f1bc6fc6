//! Users.

use super::State;
use super::devices::present;
use super::password::PasswordError;
use super::problem::Problem;
use super::query::{self, Page, time_text};
use super::request::{Body, Caller};
use super::session::allow_attempt;
use crate::ports::User;
use actix_web::{HttpRequest, HttpResponse, web};
use pulsewire_core::ids::{GroupName, UserName};
use pulsewire_core::role::Role;
use pulsewire_core::scope::{DeviceScope, SCOPE_GROUPS_MAX};
use serde::{Deserialize, Serialize};

/// A user.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct UserDetail {
    name: String,
    role: &'static str,
    /// Device groups that the user may see; null: every device.
    groups: Option<Vec<String>>,
    created: String,
}

/// The names of a scope's groups; none for everything.
pub(super) fn group_names(scope: &DeviceScope) -> Option<Vec<String>> {
    match scope {
        DeviceScope::All => None,
        DeviceScope::Groups(groups) => Some(groups.iter().map(ToString::to_string).collect()),
    }
}

fn parse_scope(groups: Option<Vec<String>>) -> Result<DeviceScope, Problem> {
    let Some(names) = groups else { return Ok(DeviceScope::All) };
    if names.len() > SCOPE_GROUPS_MAX {
        let detail =
            format!("groups has {} names; at most {SCOPE_GROUPS_MAX} are allowed, or null for all", names.len());
        return Err(Problem::field("groups", detail));
    }
    let groups = names.iter().map(|name| GroupName::parse(name)).collect::<Result<_, _>>();
    groups.map(DeviceScope::Groups).map_err(|error| Problem::field("groups", error))
}

impl From<&User> for UserDetail {
    fn from(user: &User) -> Self {
        Self {
            name: user.name.to_string(),
            role: user.role.name(),
            groups: group_names(&user.scope),
            created: time_text(user.created_us),
        }
    }
}

/// Which users.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct UserFilter {
    limit: Option<u32>,
    cursor: Option<String>,
}

/// A user to be made.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    name: String,
    password: String,
    role: String,
    /// Device groups that the user may see; null or absent: every device.
    groups: Option<Vec<String>>,
}

/// What to change.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserChange {
    password: Option<String>,
    role: Option<String>,
    /// Device groups that the user may see; null: every device.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Vec<String>>)]
    groups: Option<Option<Vec<String>>>,
}

pub(super) fn parse_role(text: &str) -> Result<Role, Problem> {
    Role::from_name(text)
        .ok_or_else(|| Problem::field("role", format!("role is {text:?}; viewer, operator or admin is allowed")))
}

fn parse_name(text: &str) -> Result<UserName, Problem> {
    UserName::parse(text).map_err(|error| Problem::field("name", error))
}

async fn hash(state: &State, password: String) -> Result<String, Problem> {
    state.passwords.hash(password).await.map_err(|error| match error {
        PasswordError::Length(_) => Problem::field("password", error),
        PasswordError::Failed(_) => Problem::internal(error),
    })
}

/// Users by name.
#[utoipa::path(get, path = "/users", tag = "users", params(UserFilter), responses(
    (status = 200, body = Page<UserDetail>), (status = 400, body = Problem), (status = 403, body = Problem)))]
pub async fn list(state: web::Data<State>, caller: Caller<UserFilter>) -> Result<web::Json<Page<UserDetail>>, Problem> {
    caller.require(Role::Admin)?;
    let limit = query::limit(caller.query.limit)?;
    let cursor = caller.query.cursor.as_deref().map(UserName::parse).transpose();
    let cursor = cursor.map_err(|_| Problem::field("cursor", "cursor must be the `next` of an earlier answer"))?;
    let users = state.users.users().await?;
    let begin = cursor.map_or(0, |cursor| users.partition_point(|user| user.name.as_str() <= cursor.as_str()));
    let (page, rest) = users[begin..].split_at(limit.min(users.len() - begin));
    let next = page.last().filter(|_| !rest.is_empty()).map(|user| user.name.to_string());
    Ok(web::Json(Page { items: page.iter().map(UserDetail::from).collect(), next }))
}

/// Make a user.
#[utoipa::path(post, path = "/users", tag = "users", request_body = NewUser, responses(
    (status = 201, body = UserDetail), (status = 400, body = Problem), (status = 409, body = Problem)))]
pub async fn create(state: web::Data<State>, caller: Caller, body: Body<NewUser>) -> Result<HttpResponse, Problem> {
    caller.require(Role::Admin)?;
    let NewUser { name, password, role, groups } = body.read().await?;
    let user = User {
        name: parse_name(&name)?,
        role: parse_role(&role)?,
        scope: parse_scope(groups)?,
        created_us: state.clock.now_us(),
    };
    let password_hash = hash(&state, password).await?;
    state.users.create_user(user.clone(), password_hash).await?;
    Ok(HttpResponse::Created().json(UserDetail::from(&user)))
}

/// Change a user's role, device groups or password.
#[utoipa::path(patch, path = "/users/{name}", tag = "users", request_body = UserChange,
    params(("name" = String, Path)), responses(
    (status = 200, body = UserDetail), (status = 403, body = Problem), (status = 409, body = Problem)))]
pub async fn update(
    request: HttpRequest,
    state: web::Data<State>,
    caller: Caller,
    path: web::Path<String>,
    body: Body<UserChange>,
) -> Result<web::Json<UserDetail>, Problem> {
    let name = parse_name(&path)?;
    let oneself = caller.identity.session.user.name == name;
    if !oneself {
        caller.require(Role::Admin)?;
    }
    let UserChange { password, role, groups } = body.read().await?;
    if oneself && password.is_some() && caller.identity.session.token.is_some() {
        return Err(Problem::forbidden("a token does not change its user's password: sign in with name and password"));
    }
    if role.is_some() || groups.is_some() {
        caller.require(Role::Admin)?;
    }
    let role = role.as_deref().map(parse_role).transpose()?;
    let scope = groups.map(parse_scope).transpose()?;
    let known = state.users.user(&name).await?;
    let (known, _) = known.ok_or_else(|| Problem::missing("user", name.as_str()))?;
    if role.is_none() && scope.is_none() && password.is_none() {
        return Ok(web::Json(UserDetail::from(&known)));
    }
    let password_hash = match password {
        Some(password) => {
            allow_attempt(&state, &request)?;
            Some(hash(&state, password).await?)
        }
        None => None,
    };
    let keep = oneself.then_some(caller.identity.session.token_hash);
    let user = state.users.update_user(&name, role, scope, password_hash, keep).await?;
    Ok(web::Json(UserDetail::from(&user)))
}

/// Delete a user.
#[utoipa::path(delete, path = "/users/{name}", tag = "users", params(("name" = String, Path)), responses(
    (status = 204), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub async fn delete(state: web::Data<State>, caller: Caller, path: web::Path<String>) -> Result<HttpResponse, Problem> {
    caller.require(Role::Admin)?;
    state.users.delete_user(&parse_name(&path)?).await?;
    Ok(HttpResponse::NoContent().finish())
}
