//! Signing in and out.

use super::State;
use super::access::{COOKIE, token_hash};
use super::problem::Problem;
use super::query::time_text;
use super::request::{Anyone, Body, Caller};
use crate::config::MapTiles;
use crate::ports::{SessionRecord, User};
use actix_web::cookie::time::Duration as CookieDuration;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use pulsewire_core::ids::UserName;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};

/// A user as others see it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct UserJson {
    name: String,
    role: &'static str,
    /// Device groups that the user may see; null: every device.
    groups: Option<Vec<String>>,
}

impl From<&User> for UserJson {
    fn from(user: &User) -> Self {
        Self { name: user.name.to_string(), role: user.role.name(), groups: super::users::group_names(&user.scope) }
    }
}

/// Name and password.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    user: String,
    password: String,
}

/// A sign-in link's code.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignInByLink {
    code: String,
}

/// A new sign-in.
#[derive(Serialize, utoipa::ToSchema)]
pub struct SignedIn {
    token: String,
    user: UserJson,
    expires: String,
}

/// The present sign-in.
#[derive(Serialize, utoipa::ToSchema)]
pub struct SessionJson {
    user: UserJson,
    /// Null for a token that never ends.
    expires: Option<String>,
    server: ServerJson,
}

/// What serves.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ServerJson {
    name: String,
    version: &'static str,
    demo: bool,
    /// Where devices connect, on this server's host.
    device_port: u16,
    /// Page of the push emulator, in a demonstration.
    emulator_url: Option<String>,
    /// Where the map's tiles are; null: there are none.
    map_tiles: Option<MapTilesJson>,
}

/// Tiles for the map: Web Mercator, 256 pixels.
#[derive(Serialize, utoipa::ToSchema)]
pub struct MapTilesJson {
    /// With `{z}`, `{x}` and `{y}` to be filled in.
    url: String,
    /// Whom they are from: plain text, perhaps empty.
    attribution: String,
    /// Deepest zoom that there is.
    zoom_max: u8,
}

impl From<MapTiles> for MapTilesJson {
    fn from(MapTiles { url, attribution, zoom_max, .. }: MapTiles) -> Self {
        Self { url, attribution, zoom_max }
    }
}

pub(super) fn peer(request: &HttpRequest) -> IpAddr {
    request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip().to_canonical())
}

/// Counts a sign-in or a change of a password before anything expensive is done for it.
pub fn allow_attempt(state: &State, request: &HttpRequest) -> Result<(), Problem> {
    state.attempts.check(peer(request)).map_err(|wait| {
        let detail = "too many sign-in attempts or password changes from this address; wait a moment";
        Problem::too_many(detail, wait.as_secs() + 1)
    })
}

/// Sign in with name and password.
#[utoipa::path(post, path = "/session", tag = "session", request_body = SignIn, responses(
    (status = 200, body = SignedIn), (status = 401, body = Problem), (status = 429, body = Problem)))]
pub async fn sign_in(
    request: HttpRequest,
    state: web::Data<State>,
    _: Anyone,
    body: Body<SignIn>,
) -> Result<HttpResponse, Problem> {
    allow_attempt(&state, &request)?;
    let SignIn { user, password } = body.read().await?;
    let found = match UserName::parse(&user) {
        Ok(name) => state.users.user(&name).await?,
        Err(_) => None,
    };
    let (known, stored) = found.unzip();
    let right = state.passwords.verify(password, stored).await.map_err(Problem::internal)?;
    match known.filter(|_| right) {
        Some(user) => start(&state, user).await,
        None => {
            tracing::info!(peer = %peer(&request), "sign-in refused");
            let detail = "user name or password is not right";
            Err(Problem::new(StatusCode::UNAUTHORIZED, "bad_credentials", detail))
        }
    }
}

/// Sign in with a single-use link.
#[utoipa::path(post, path = "/session/link", tag = "session", request_body = SignInByLink, responses(
    (status = 200, body = SignedIn), (status = 401, body = Problem), (status = 429, body = Problem)))]
pub async fn sign_in_by_link(
    request: HttpRequest,
    state: web::Data<State>,
    _: Anyone,
    body: Body<SignInByLink>,
) -> Result<HttpResponse, Problem> {
    allow_attempt(&state, &request)?;
    let bad = || {
        let detail = "this sign-in link was used already or is too old; start the server again for a new one, or sign in \
                      with name and password";
        Problem::new(StatusCode::UNAUTHORIZED, "bad_link", detail)
    };
    let SignInByLink { code } = body.read().await?;
    let name = state.links.redeem(&code, state.clock.now_us()).ok_or_else(bad)?;
    let (user, _) = state.users.user(&name).await?.ok_or_else(bad)?;
    start(&state, user).await
}

async fn start(state: &State, user: User) -> Result<HttpResponse, Problem> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(Problem::internal)?;
    let token = format!("pws_{}", hex::encode(bytes));
    let ttl = state.config.session_ttl;
    let now_us = state.clock.now_us();
    let expires_us = now_us.saturating_add(i64::try_from(ttl.as_micros()).unwrap_or(i64::MAX));
    state.users.prune_sessions(now_us).await?;
    let answer = SignedIn { token: token.clone(), user: (&user).into(), expires: time_text(expires_us) };
    let record = SessionRecord { user, token_hash: token_hash(&token), expires_us, token: None };
    state.users.create_session(record, state.config.sessions_per_user_max).await?;
    let age = CookieDuration::seconds(i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX));
    Ok(HttpResponse::Ok().cookie(cookie(state, token, age)).json(answer))
}

fn cookie(state: &State, value: String, age: CookieDuration) -> Cookie<'static> {
    let secure = state.config.public_url.as_deref().is_some_and(|url| url.starts_with("https://"));
    Cookie::build(COOKIE, value)
        .path("/")
        .http_only(true)
        .same_site(SameSite::Strict)
        .secure(secure)
        .max_age(age)
        .finish()
}

/// Who am I?
#[utoipa::path(get, path = "/session", tag = "session", responses(
    (status = 200, body = SessionJson), (status = 401, body = Problem)))]
pub async fn show(state: web::Data<State>, Caller { identity, .. }: Caller) -> web::Json<SessionJson> {
    web::Json(SessionJson {
        user: (&identity.session.user).into(),
        expires: (identity.session.expires_us < i64::MAX).then(|| time_text(identity.session.expires_us)),
        server: ServerJson {
            name: state.name.clone(),
            version: env!("CARGO_PKG_VERSION"),
            demo: state.demo,
            device_port: state.device_port,
            emulator_url: state.emulator_url.clone(),
            map_tiles: state.config.map_tiles.clone().map(Into::into),
        },
    })
}

/// Sign out.
#[utoipa::path(delete, path = "/session", tag = "session", responses((status = 204), (status = 401, body = Problem)))]
pub async fn sign_out(state: web::Data<State>, Caller { identity, .. }: Caller) -> Result<HttpResponse, Problem> {
    if let Some(token) = identity.session.token {
        return Err(Problem::forbidden(format!(
            "this is no sign-in but the token {0}; DELETE /api/v1/tokens/{0} ends it",
            token.id
        )));
    }
    state.users.delete_session(identity.session.token_hash).await?;
    let gone = cookie(&state, String::new(), CookieDuration::ZERO);
    Ok(HttpResponse::NoContent().cookie(gone).finish())
}
