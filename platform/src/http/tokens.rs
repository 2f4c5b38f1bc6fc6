//! Tokens by which programs act for a user.

use super::State;
use super::access::token_hash;
use super::problem::Problem;
use super::push::random;
use super::query::{Page, clip, parse_duration, time_text};
use super::request::{Body, Caller};
use super::users::parse_role;
use crate::ports::ApiToken;
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use pulsewire_core::role::Role;
use pulsewire_core::ulid::Ulid;
use serde::{Deserialize, Serialize};

/// Most tokens of one user.
const TOKENS_MAX: usize = 50;
/// Most characters of a label.
const LABEL_CHARS_MAX: usize = 80;
/// How soon and how late a token may end, µs: a minute to ten years.
const EXPIRES_US: [i64; 2] = [60_000_000, 3_650 * 86_400_000_000];

/// A token, without what it is.
#[derive(Serialize, utoipa::ToSchema)]
pub struct TokenJson {
    id: String,
    label: String,
    /// The most that it may do; what its user may do bounds it too.
    role: &'static str,
    created: String,
    /// To the minute.
    last_used: Option<String>,
    /// Null: never.
    expires: Option<String>,
    /// What a program sends as `Authorization: Bearer`. Only in the answer that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

impl TokenJson {
    fn new(token: ApiToken, secret: Option<String>) -> Self {
        Self {
            id: token.id.to_string(),
            label: token.label,
            role: token.role.name(),
            created: time_text(token.created_us),
            last_used: token.used_us.map(time_text),
            expires: token.expires_us.map(time_text),
            token: secret,
        }
    }
}

/// A token to be made.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTokenJson {
    /// What it is for, 1 to 80 characters.
    label: String,
    /// At most one's own; viewer unless given.
    role: Option<String>,
    /// After how long it ends, like `30d`: `1m` to `3650d`; null or absent: never.
    expires: Option<String>,
}

/// One's own tokens.
#[utoipa::path(get, path = "/tokens", tag = "users", responses((status = 200, body = Page<TokenJson>)))]
pub async fn list(state: web::Data<State>, caller: Caller) -> Result<web::Json<Page<TokenJson>>, Problem> {
    let tokens = state.tokens.tokens(&caller.identity.session.user.name).await?;
    Ok(web::Json(Page::whole(tokens.into_iter().map(|token| TokenJson::new(token, None)).collect())))
}

/// Make a token. It is shown once.
#[utoipa::path(post, path = "/tokens", tag = "users", request_body = NewTokenJson, responses(
    (status = 201, body = TokenJson), (status = 400, body = Problem), (status = 403, body = Problem),
    (status = 429, body = Problem)))]
pub async fn create(
    state: web::Data<State>,
    caller: Caller,
    body: Body<NewTokenJson>,
) -> Result<HttpResponse, Problem> {
    let session = &caller.identity.session;
    if session.token.is_some() {
        return Err(Problem::forbidden("a token makes no tokens: sign in with name and password"));
    }
    let NewTokenJson { label, role, expires } = body.read().await?;
    let chars = label.chars().count();
    if label.trim() != label || !(1..=LABEL_CHARS_MAX).contains(&chars) || label.chars().any(char::is_control) {
        let detail = format!(
            "label is {:?}; 1-{LABEL_CHARS_MAX} characters are wanted, no control characters and no white space at the ends",
            clip(&label)
        );
        return Err(Problem::field("label", detail));
    }
    let role = role.as_deref().map_or(Ok(Role::Viewer), parse_role)?;
    if role > session.user.role {
        let detail = format!("role is {}; at most your own, {}, is allowed", role.name(), session.user.role.name());
        return Err(Problem::field("role", detail));
    }
    let now_us = state.clock.now_us();
    let [least, most] = EXPIRES_US;
    let expires_us = expires.as_deref().map(|text| parse_duration("expires", text, least, most)).transpose()?;
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(Problem::internal)?;
    let secret = format!("pwt_{}", hex::encode(bytes));
    let token = ApiToken {
        id: Ulid::from_parts(now_us, random()?),
        user: session.user.name.clone(),
        label,
        role,
        created_us: now_us,
        used_us: None,
        expires_us: expires_us.map(|us| now_us.saturating_add(us)),
    };
    if !state.tokens.create_token(token.clone(), token_hash(&secret), TOKENS_MAX).await? {
        let detail = format!("there are {TOKENS_MAX} tokens of yours already, as many as may be; delete one first");
        return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_tokens", detail));
    }
    Ok(HttpResponse::Created().json(TokenJson::new(token, Some(secret))))
}

/// End one of one's own tokens.
#[utoipa::path(delete, path = "/tokens/{id}", tag = "users", params(("id" = String, Path)), responses(
    (status = 204), (status = 404, body = Problem)))]
pub async fn delete(state: web::Data<State>, caller: Caller, path: web::Path<String>) -> Result<HttpResponse, Problem> {
    let id = Ulid::parse(&path).map_err(|_| Problem::missing("token", &clip(&path)))?;
    state.tokens.delete_token(&caller.identity.session.user.name, id).await?;
    Ok(HttpResponse::NoContent().finish())
}
