//! What a request carries, taken in an order that strangers cannot use: first who asks, then what is asked, and the body
//! only when a handler has checked the role. Extractors run side by side, so a body that is one would be read for anybody.

use super::State;
use super::access::{Identity, identify};
use super::fleet::filter::TAGS_MAX;
use super::problem::{self, Problem};
use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use pulsewire_core::ids::GroupName;
use pulsewire_core::role::Role;
use pulsewire_core::scope::DeviceScope;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::borrow::Cow;
use std::future::{Future, Ready, ready};
use std::marker::PhantomData;
use std::pin::Pin;

/// Routes that show people what they may see and nothing else; on any other, those who do not see every device are refused.
const SCOPED: [&str; 34] = [
    "/tokens",
    "/tokens/{id}",
    "/session",
    "/users/{name}",
    "/devices",
    "/devices/facets",
    "/devices/positions",
    "/devices/bulk",
    "/devices/{id}",
    "/devices/{id}/latest",
    "/devices/{id}/command-set",
    "/devices/{id}/commands",
    "/commands/{id}",
    "/commands/{id}/cancel",
    "/history",
    "/query",
    "/export",
    "/import",
    "/alerts",
    "/alerts/summary",
    "/alerts/bulk",
    "/alerts/{id}",
    "/alerts/{id}/{action}",
    "/push/config",
    "/push/endpoints",
    "/push/endpoints/{id}",
    "/push/endpoints/{id}/test",
    "/push/endpoints/{id}/confirm",
    "/push/endpoints/{id}/confirm/resend",
    "/push/preferences",
    "/overview",
    "/about",
    "/views",
    "/views/{page}/{name}",
];

/// The query of a route that takes none: any parameter is refused.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoParameters {}

/// The one parameter that may come several times.
const SEVERAL: &str = "tag=";

/// Makes one parameter of several `tag=`, with what parts them in a filter.
fn joined(query: &str) -> Cow<'_, str> {
    let mut tags = query.split('&').filter_map(|pair| pair.strip_prefix(SEVERAL));
    let Some(first) = tags.next() else { return query.into() };
    let mut rest = tags.take(TAGS_MAX).peekable();
    if rest.peek().is_none() {
        return query.into();
    }
    // One more than are allowed, so that too many are refused as what they are.
    let mut all = String::with_capacity(query.len().saturating_add(2 * TAGS_MAX));
    for pair in query.split('&').filter(|pair| !pair.starts_with(SEVERAL)) {
        all.push_str(pair);
        all.push('&');
    }
    all.push_str(SEVERAL);
    all.push_str(first);
    for value in rest {
        all.push_str("%1F");
        all.push_str(value);
    }
    all.into()
}

fn query<Q: DeserializeOwned>(request: &HttpRequest) -> Result<Q, Problem> {
    let read = web::Query::<Q>::from_query(&joined(request.query_string())).map_err(|error| problem::query(&error))?;
    Ok(read.into_inner())
}

/// A signed-in user with the query's parameters, none unless `Q` says which.
#[derive(Debug)]
pub struct Caller<Q = NoParameters> {
    /// Who asks.
    pub identity: Identity,
    /// What is asked.
    pub query: Q,
}

impl<Q> Caller<Q> {
    /// Refuses users below a role.
    pub fn require(&self, role: Role) -> Result<(), Problem> {
        self.identity.require(role)
    }

    /// Which devices the caller may see.
    pub fn scope(&self) -> &DeviceScope {
        &self.identity.session.user.scope
    }
}

/// Refuses people who see some devices only on routes that are not known to show them only those.
fn check_scope(request: &HttpRequest, scope: &DeviceScope) -> Result<(), Problem> {
    let pattern = request.match_pattern();
    let path = pattern.as_deref().and_then(|pattern| pattern.strip_prefix("/api/v1")).unwrap_or_default();
    if scope.is_all() || SCOPED.contains(&path) {
        return Ok(());
    }
    let detail = "you see the devices of some groups only, and this is about all of them; ask an admin for it";
    Err(Problem::forbidden(detail))
}

impl<Q> Caller<Q> {
    /// Refuses to put a device where the caller could not see it any more.
    pub fn check_group(&self, group: Option<&GroupName>) -> Result<(), Problem> {
        let DeviceScope::Groups(groups) = self.scope() else { return Ok(()) };
        if self.scope().sees_group(group) {
            return Ok(());
        }
        let names: Vec<&str> = groups.iter().map(GroupName::as_str).collect();
        let given = group.map_or("null".to_owned(), |group| format!("{:?}", group.as_str()));
        let detail = format!("group is {given}; you may see and use {}", names.join(", "));
        Err(Problem::field("group", detail))
    }
}

impl<Q: DeserializeOwned> FromRequest for Caller<Q> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let identity = identify(&request, false).await?;
            let query = query(&request)?;
            check_scope(&request, &identity.session.user.scope)?;
            Ok(Self { identity, query })
        })
    }
}

/// Anybody, on a route without parameters.
#[derive(Debug)]
pub struct Anyone;

impl FromRequest for Anyone {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(query(request).map(|NoParameters {}| Self))
    }
}

/// A JSON body that is not read yet.
pub struct Body<T> {
    request: HttpRequest,
    payload: Payload,
    wanted: PhantomData<T>,
}

impl<T: DeserializeOwned> Body<T> {
    /// Reads the body, `http.body_bytes_max` at most.
    pub async fn read(mut self) -> Result<T, Problem> {
        // Said before the body is read.
        self.check_type()?;
        let bytes = self.bytes().await?;
        parse(&bytes)
    }

    /// Reads the body; an absent one is the default. One that is there is checked like any other.
    pub async fn read_or_default(mut self) -> Result<T, Problem>
    where
        T: Default,
    {
        let bytes = self.bytes().await?;
        if bytes.is_empty() {
            return Ok(T::default());
        }
        self.check_type()?;
        parse(&bytes)
    }

    fn check_type(&self) -> Result<(), Problem> {
        let json =
            |mime: &actix_web::mime::Mime| mime.subtype() == "json" || mime.suffix().is_some_and(|s| s == "json");
        if self.request.mime_type().ok().flatten().as_ref().is_some_and(json) {
            return Ok(());
        }
        Err(problem::wrong_content_type())
    }

    async fn bytes(&mut self) -> Result<web::Bytes, Problem> {
        // Its limit is the one of the application's `PayloadConfig`.
        web::Bytes::from_request(&self.request, &mut self.payload).await.map_err(|error| {
            match error.as_error::<PayloadError>() {
                Some(PayloadError::Overflow) => {
                    let state = self.request.app_data::<web::Data<State>>();
                    problem::body_too_large(state.map_or(0, |state| state.config.body_bytes_max))
                }
                _ => Problem::bad_request("unreadable_body", format!("the body cannot be read: {error}")),
            }
        })
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| problem::json(&error))?;
    reader.end().map_err(|error| Problem::bad_request("malformed_json", format!("the body is not JSON: {error}")))?;
    Ok(value)
}

impl<T> FromRequest for Body<T> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        ready(Ok(Self { request: request.clone(), payload: payload.take(), wanted: PhantomData }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_many_tags_one_more_than_are_allowed_is_read() {
        let many = vec!["tag=a:b"; 100_000].join("&");
        let read = joined(&many);
        assert_eq!(read.split("%1F").count(), TAGS_MAX + 1, "and so they are refused");
    }

    #[test]
    fn several_tags_become_one_parameter_and_the_rest_stays() {
        for (given, wanted) in [
            ("", ""),
            ("tag=a:b", "tag=a:b"),
            ("q=x&tag=a:b&limit=1", "q=x&tag=a:b&limit=1"),
            ("tag=a:b&q=x&tag=c%3Ad", "q=x&tag=a:b%1Fc%3Ad"),
            ("tag=a&tag=b&tag=c", "tag=a%1Fb%1Fc"),
            ("q=1&q=2", "q=1&q=2"),
        ] {
            assert_eq!(joined(given), wanted, "{given}");
        }
    }
}
