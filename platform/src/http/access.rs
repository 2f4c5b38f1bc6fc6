//! Who asks, and whether they may.

use super::State;
use super::problem::Problem;
use crate::ports::SessionRecord;
use actix_web::http::header::{AUTHORIZATION, HOST, ORIGIN};
use actix_web::{HttpRequest, web};
use pulsewire_core::role::Role;
use sha2::{Digest, Sha256};

/// The cookie that browsers hold.
pub const COOKIE: &str = "pulsewire_session";

/// How exactly the use of a token is noted, µs.
const MINUTE_US: i64 = 60_000_000;

/// A signed-in user.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The sign-in.
    pub session: SessionRecord,
}

impl Identity {
    /// Refuses users below a role.
    pub fn require(&self, role: Role) -> Result<(), Problem> {
        if self.session.user.role.allows(role) {
            return Ok(());
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
    let header = request.headers().get(AUTHORIZATION);
    if let Some(token) = header.and_then(|header| bearer(header.to_str().ok()?)) {
        return Ok(Presented::Bearer(token.to_owned()));
    }
    // Another scheme is for someone else, such as a proxy on the way, and does not hide the cookie.
    match request.cookie(COOKIE) {
        Some(cookie) => Ok(Presented::Cookie(cookie.value().to_owned())),
        None if header.is_some() => {
            Err(Problem::bad_request("wrong_authorization", "the Authorization header must be `Bearer TOKEN`"))
        }
        None => Err(Problem::unauthorized()),
    }
}

/// The token of a Bearer header. The name of a scheme has no case (RFC 9110 §11.1).
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
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
    let now_us = state.clock.now_us();
    let session = state.users.session(token_hash(&token), now_us).await?.ok_or_else(Problem::unauthorized)?;
    let minute_us = now_us - now_us.rem_euclid(MINUTE_US);
    if let Some(token) = session.token.filter(|token| token.used_us.is_none_or(|used_us| used_us < minute_us)) {
        let tokens = state.tokens.clone();
        // Nobody waits for it.
        state.runtime.spawn(async move {
            if let Err(error) = tokens.token_used(token.id, minute_us).await {
                tracing::warn!(%error, "the use of a token could not be noted");
            }
        });
    }
    Ok(Identity { session })
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

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::cookie::Cookie;
    use actix_web::test::TestRequest;

    fn check(header: Option<&str>, cookie: Option<&str>) -> Result<String, &'static str> {
        let mut request = TestRequest::default();
        if let Some(header) = header {
            request = request.insert_header((AUTHORIZATION, header));
        }
        if let Some(cookie) = cookie {
            request = request.cookie(Cookie::new(COOKIE, cookie));
        }
        match presented(&request.to_http_request()) {
            Ok(Presented::Bearer(token)) => Ok(format!("bearer {token}")),
            Ok(Presented::Cookie(token)) => Ok(format!("cookie {token}")),
            Err(problem) => Err(problem.code),
        }
    }

    #[test]
    fn a_bearer_token_goes_before_a_cookie_whatever_the_case_of_the_scheme() {
        for header in ["Bearer t", "bearer t", "BEARER  t"] {
            assert_eq!(check(Some(header), Some("c")), Ok("bearer t".into()), "{header}");
        }
    }

    #[test]
    fn another_scheme_does_not_hide_the_cookie() {
        assert_eq!(check(Some("Basic YTpi"), Some("c")), Ok("cookie c".into()));
        assert_eq!(check(None, Some("c")), Ok("cookie c".into()));
    }

    #[test]
    fn without_a_cookie_another_scheme_is_told_the_right_one() {
        assert_eq!(check(Some("Basic YTpi"), None), Err("wrong_authorization"));
        assert_eq!(check(Some("Bearer"), None), Err("wrong_authorization"));
        assert_eq!(check(None, None), Err("signed_out"));
    }
}
