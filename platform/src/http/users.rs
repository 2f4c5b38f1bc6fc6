//! Users.

use super::State;
use super::access::Identity;
use super::password::PasswordError;
use super::problem::Problem;
use super::query::{Page, time_text};
use crate::ports::User;
use actix_web::{HttpResponse, delete, get, patch, post, web};
use pulsewire_core::ids::UserName;
use pulsewire_core::role::Role;
use serde::{Deserialize, Serialize};

/// A user.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct UserDetail {
    name: String,
    role: &'static str,
    created: String,
}

impl From<&User> for UserDetail {
    fn from(user: &User) -> Self {
        Self { name: user.name.to_string(), role: user.role.name(), created: time_text(user.created_us) }
    }
}

/// A user to be made.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    name: String,
    password: String,
    role: String,
}

/// What to change.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserChange {
    password: Option<String>,
    role: Option<String>,
}

fn parse_role(text: &str) -> Result<Role, Problem> {
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

/// All users.
#[utoipa::path(tag = "users", responses((status = 200, body = Page<UserDetail>), (status = 403, body = Problem)))]
#[get("/users")]
pub async fn list(state: web::Data<State>, identity: Identity) -> Result<web::Json<Page<UserDetail>>, Problem> {
    identity.require(Role::Admin)?;
    let users = state.users.users().await?;
    Ok(web::Json(Page::whole(users.iter().map(UserDetail::from).collect())))
}

/// Make a user.
#[utoipa::path(tag = "users", request_body = NewUser, responses(
    (status = 201, body = UserDetail), (status = 400, body = Problem), (status = 409, body = Problem)))]
#[post("/users")]
pub async fn create(
    state: web::Data<State>,
    identity: Identity,
    body: web::Json<NewUser>,
) -> Result<HttpResponse, Problem> {
    identity.require(Role::Admin)?;
    let NewUser { name, password, role } = body.into_inner();
    let user = User { name: parse_name(&name)?, role: parse_role(&role)?, created_us: state.clock.now_us() };
    let password_hash = hash(&state, password).await?;
    state.users.create_user(user.clone(), password_hash).await?;
    Ok(HttpResponse::Created().json(UserDetail::from(&user)))
}

/// Change a user's role or password.
#[utoipa::path(tag = "users", request_body = UserChange, params(("name" = String, Path)), responses(
    (status = 200, body = UserDetail), (status = 403, body = Problem), (status = 409, body = Problem)))]
#[patch("/users/{name}")]
pub async fn update(
    state: web::Data<State>,
    identity: Identity,
    path: web::Path<String>,
    body: web::Json<UserChange>,
) -> Result<web::Json<UserDetail>, Problem> {
    let name = parse_name(&path)?;
    let UserChange { password, role } = body.into_inner();
    let oneself = identity.session.user.name == name;
    if !oneself || role.is_some() {
        identity.require(Role::Admin)?;
    }
    let role = role.as_deref().map(parse_role).transpose()?;
    let password_hash = match password {
        Some(password) => Some(hash(&state, password).await?),
        None => None,
    };
    let user = state.users.update_user(&name, role, password_hash).await?;
    let keep = oneself.then_some(identity.session.token_hash);
    state.users.delete_sessions_of(&name, keep).await?;
    Ok(web::Json(UserDetail::from(&user)))
}

/// Delete a user.
#[utoipa::path(tag = "users", params(("name" = String, Path)), responses(
    (status = 204), (status = 404, body = Problem), (status = 409, body = Problem)))]
#[delete("/users/{name}")]
pub async fn delete(
    state: web::Data<State>,
    identity: Identity,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    identity.require(Role::Admin)?;
    state.users.delete_user(&parse_name(&path)?).await?;
    Ok(HttpResponse::NoContent().finish())
}
