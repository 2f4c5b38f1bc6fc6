//! Who asks, and whether they may.

use super::State;
use super::problem::Problem;
use crate::ports::SessionRecord;
use actix_web::dev::Payload;
use actix_web::http::header::{AUTHORIZATION, HOST, ORIGIN};
use actix_web::{FromRequest, HttpRequest, web};
use pulsewire_core::role::Role;
use sha2::{Digest, Sha256};
use std::future::Future;
use std::pin::Pin;

/// The cookie that browsers hold.
pub const COOKIE: &str = "pulsewire_session";

/// A signed-in user.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The sign-in.
    pub session: SessionRecord,
}

impl Identity {
    /// Refuses users below a role.
    pub fn require(&self, role: Role) -> Result<&Self, Problem> {
        if self.session.user.role.allows(role) {
            return Ok(self);
        }
        let (is, needed) = (self.session.user.role.name(), role.name());
        Err(Problem::forbidden(format!("this needs the role {needed}; you are signed in as {is}")))
    }
}

enum Presented {
    Bearer(String),
    Cookie(String),
}

fn presented(request: &HttpRequest) -> Result<Presented, Problem> {
    if let Some(header) = request.headers().get(AUTHORIZATION) {
        let token = header.to_str().ok().and_then(|h| h.strip_prefix("Bearer "));
        let wrong = || Problem::bad_request("wrong_authorization", "the Authorization header must be `Bearer TOKEN`");
        return Ok(Presented::Bearer(token.ok_or_else(wrong)?.trim().to_owned()));
    }
    let cookie = request.cookie(COOKIE).ok_or_else(Problem::unauthorized)?;
    Ok(Presented::Cookie(cookie.value().to_owned()))
}

/// The hash under which a token is stored.
pub fn token_hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Looks the caller up; `strict_origin` also asks a browser's safe requests where they come from.
pub async fn identify(request: &HttpRequest, strict_origin: bool) -> Result<Identity, Problem> {
    let state: &State = request.app_data::<web::Data<State>>().ok_or_else(Problem::unauthorized)?;
    let token = match presented(request)? {
        Presented::Bearer(token) => token,
        Presented::Cookie(token) => {
            // The cookie is SameSite=Strict; the check of the origin stands beside it, since a sibling host of one
            // domain counts as the same site.
            if strict_origin || !request.method().is_safe() {
                check_origin(request, state.config.public_url.as_deref())?;
            }
            token
        }
    };
    let found = state.users.session(token_hash(&token), state.clock.now_us()).await?;
    found.map(|session| Identity { session }).ok_or_else(Problem::unauthorized)
}

/// Refuses a browser's request from another origin.
pub fn check_origin(request: &HttpRequest, public_url: Option<&str>) -> Result<(), Problem> {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let wrong = |detail: String| Problem::new(actix_web::http::StatusCode::FORBIDDEN, "wrong_origin", detail);
    let Some(origin) = header(ORIGIN) else {
        return Err(wrong("a browser's request must carry its Origin; scripts use a bearer token".into()));
    };
    let host = origin.split_once("://").map(|(_, host)| host);
    let own_host = host.is_some() && host == header(HOST);
    if own_host || public_url.is_some_and(|url| url == origin) {
        return Ok(());
    }
    Err(wrong(format!(
        "requests from {origin} are not accepted; set http.public_url if a proxy stands before the server"
    )))
}

impl FromRequest for Identity {
    type Error = actix_web::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Self::Error>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { Ok(identify(&request, false).await?) })
    }
}
