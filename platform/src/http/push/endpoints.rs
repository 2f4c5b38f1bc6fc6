//! Where messages go.

use super::super::State;
use super::super::problem::Problem;
use super::super::query::{Page, time_text};
use super::super::request::{Body, Caller};
use super::messages::MessageJson;
use super::preferences::read_own;
use super::{TESTS_PER_MINUTE, allow, random, whose};
use crate::ports::{Endpoint, EndpointChange, PushAddress};
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use pulsewire_core::ids::EndpointId;
use pulsewire_core::push::{ChannelKind, EndpointPreferencesDocument};
use pulsewire_core::ulid::Ulid;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Longest label of an endpoint.
const LABEL_BYTES_MAX: usize = 64;

/// A place where messages go.
#[derive(Serialize, utoipa::ToSchema)]
pub struct EndpointJson {
    id: String,
    /// `webpush`, `apns` or `fcm`.
    kind: &'static str,
    label: String,
    user: String,
    created: String,
    /// `active`, `unconfirmed` or `removed`.
    state: &'static str,
    removed_reason: Option<String>,
    last_delivered: Option<String>,
    /// Nothing but tests is sent there.
    muted: bool,
    /// Where it differs from what its user wants; empty if nowhere.
    #[schema(value_type = Object)]
    preferences: EndpointPreferencesDocument,
    /// Messages that were opened there, as far as the device says so.
    opened: u64,
    /// Messages that were dismissed there.
    dismissed: u64,
}

impl From<Endpoint> for EndpointJson {
    fn from(endpoint: Endpoint) -> Self {
        Self {
            id: endpoint.id.to_string(),
            kind: endpoint.kind.name(),
            label: endpoint.label,
            user: endpoint.user.to_string(),
            created: time_text(endpoint.created_us),
            state: match (&endpoint.removed, endpoint.confirmed) {
                (Some(_), _) => "removed",
                (None, false) => "unconfirmed",
                (None, true) => "active",
            },
            preferences: EndpointPreferencesDocument::from(&endpoint.preferences),
            removed_reason: endpoint.removed.map(|(_, reason)| reason),
            last_delivered: endpoint.last_delivered_us.map(time_text),
            muted: endpoint.muted,
            opened: endpoint.opened,
            dismissed: endpoint.dismissed,
        }
    }
}

/// A browser's keys.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeysJson {
    /// Uncompressed point of P-256, base64url.
    p256dh: String,
    /// 16 bytes, base64url.
    auth: String,
}

/// An endpoint to be registered.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewEndpointJson {
    /// `webpush`, `apns` or `fcm`.
    kind: String,
    /// Of Web Push.
    url: Option<String>,
    /// Of Web Push.
    keys: Option<KeysJson>,
    /// Of APNs and FCM.
    token: Option<String>,
    /// Of APNs: the app's bundle id, if it is not the configured one.
    topic: Option<String>,
    label: Option<String>,
    /// Whose; only admins may name another user.
    user: Option<String>,
}

async fn own_endpoint(state: &State, caller: &Caller, id: &str) -> Result<Endpoint, Problem> {
    let missing = || Problem::missing("endpoint", id);
    let id = EndpointId::parse(id).map_err(|_| missing())?;
    let endpoint = state.outbox.endpoints().endpoint(id).await?.ok_or_else(missing)?;
    allow(caller, &endpoint.user, missing)?;
    Ok(endpoint)
}

/// Which endpoints.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct EndpointFilter {
    /// Another user's: admins.
    user: Option<String>,
}

/// Endpoints, the oldest first.
#[utoipa::path(get, path = "/push/endpoints", tag = "push", params(EndpointFilter), responses(
    (status = 200, body = Page<EndpointJson>), (status = 403, body = Problem)))]
pub async fn list(
    state: web::Data<State>,
    caller: Caller<EndpointFilter>,
) -> Result<web::Json<Page<EndpointJson>>, Problem> {
    let user = whose(&caller, caller.query.user.as_deref(), false)?;
    let found = state.outbox.endpoints().endpoints(user).await?;
    Ok(web::Json(Page::whole(found.into_iter().map(EndpointJson::from).collect())))
}

/// What to change of an endpoint.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndpointChangeJson {
    label: Option<String>,
    muted: Option<bool>,
    /// In place of all that was; `{}`: as its user has it.
    #[schema(value_type = Object)]
    preferences: Option<Value>,
}

fn address(new: NewEndpointJson) -> Result<PushAddress, Problem> {
    let missing = |field: &'static str| {
        let detail = format!("an endpoint of kind {} needs {field}", new.kind);
        Problem::unprocessable("bad_endpoint", field, &detail)
    };
    let foreign = |field: &'static str, given: bool| {
        let detail = format!("an endpoint of kind {} has no {field}", new.kind);
        if given { Err(Problem::unprocessable("bad_endpoint", field, &detail)) } else { Ok(()) }
    };
    match ChannelKind::from_name(&new.kind) {
        Some(ChannelKind::WebPush) => {
            foreign("token", new.token.is_some())?;
            foreign("topic", new.topic.is_some())?;
            let url = new.url.ok_or_else(|| missing("url"))?;
            let keys = new.keys.ok_or_else(|| missing("keys"))?;
            Ok(PushAddress::WebPush { url, p256dh: keys.p256dh, auth: keys.auth })
        }
        Some(kind @ (ChannelKind::Apns | ChannelKind::Fcm)) => {
            foreign("url", new.url.is_some())?;
            foreign("keys", new.keys.is_some())?;
            foreign("topic", kind == ChannelKind::Fcm && new.topic.is_some())?;
            let token = new.token.ok_or_else(|| missing("token"))?;
            Ok(match kind {
                ChannelKind::Fcm => PushAddress::Fcm { token },
                _ => PushAddress::Apns { token, topic: new.topic },
            })
        }
        Some(ChannelKind::Email | ChannelKind::Webhook) | None => {
            let detail = format!("kind is {:?}; webpush, apns or fcm is allowed", new.kind);
            Err(Problem::unprocessable("bad_endpoint", "kind", &detail))
        }
    }
}

fn label(given: Option<&str>, kind: &str) -> Result<String, Problem> {
    let default = match kind {
        "webpush" => "Browser",
        "apns" => "Apple app",
        _ => "Android app",
    };
    checked_label(given.unwrap_or(default))
}

fn checked_label(given: &str) -> Result<String, Problem> {
    let label = given.trim();
    if label.is_empty() || label.len() > LABEL_BYTES_MAX || label.chars().any(char::is_control) {
        return Err(Problem::field("label", "label must be 1-64 bytes without control characters"));
    }
    Ok(label.to_owned())
}

/// Register an endpoint. The same address again updates it.
#[utoipa::path(post, path = "/push/endpoints", tag = "push", request_body = NewEndpointJson, responses(
    (status = 201, body = EndpointJson), (status = 200, body = EndpointJson), (status = 409, body = Problem),
    (status = 422, body = Problem), (status = 429, body = Problem)))]
pub async fn register(
    state: web::Data<State>,
    caller: Caller,
    body: Body<NewEndpointJson>,
) -> Result<HttpResponse, Problem> {
    let new = body.read().await?;
    let own = caller.identity.session.user.name.clone();
    let user = whose(&caller, new.user.as_deref(), false)?.unwrap_or_else(|| own.clone());
    if user != own && state.users.user(&user).await?.is_none() {
        return Err(Problem::missing("user", user.as_str()));
    }
    let label = label(new.label.as_deref(), &new.kind)?;
    let address = address(new)?;
    let id = EndpointId(Ulid::from_parts(state.clock.now_us(), random()?));
    let (endpoint, created) = state.outbox.register(id, user, label, address).await?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(HttpResponse::build(status).json(EndpointJson::from(endpoint)))
}

/// Name an endpoint, mute it, or choose what is told there.
#[utoipa::path(patch, path = "/push/endpoints/{id}", tag = "push", params(("id" = String, Path)),
    request_body = EndpointChangeJson, responses((status = 200, body = EndpointJson), (status = 404, body = Problem),
    (status = 422, body = Problem)))]
pub async fn update(
    state: web::Data<State>,
    caller: Caller,
    path: web::Path<String>,
    body: Body<EndpointChangeJson>,
) -> Result<web::Json<EndpointJson>, Problem> {
    let endpoint = own_endpoint(&state, &caller, &path).await?;
    let asked = body.read().await?;
    let change = EndpointChange {
        label: asked.label.as_deref().map(checked_label).transpose()?,
        muted: asked.muted,
        preferences: asked.preferences.map(read_own).transpose()?,
    };
    Ok(web::Json(state.outbox.update_endpoint(endpoint.id, change).await?.into()))
}

/// Delete an endpoint; what waits for it is withdrawn.
#[utoipa::path(delete, path = "/push/endpoints/{id}", tag = "push", params(("id" = String, Path)), responses(
    (status = 204), (status = 404, body = Problem)))]
pub async fn delete(state: web::Data<State>, caller: Caller, path: web::Path<String>) -> Result<HttpResponse, Problem> {
    let endpoint = own_endpoint(&state, &caller, &path).await?;
    state.outbox.endpoints().delete_endpoint(endpoint.id, state.clock.now_us()).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Send a test message, whether or not a page is visible.
#[utoipa::path(post, path = "/push/endpoints/{id}/test", tag = "push", params(("id" = String, Path)), responses(
    (status = 202, body = MessageJson), (status = 404, body = Problem), (status = 429, body = Problem)))]
pub async fn test(state: web::Data<State>, caller: Caller, path: web::Path<String>) -> Result<HttpResponse, Problem> {
    let endpoint = own_endpoint(&state, &caller, &path).await?;
    state.push_tests.check(&caller.identity.session.user.name).map_err(|wait| {
        Problem::too_many(format!("no more than {TESTS_PER_MINUTE} test messages per minute"), wait.as_secs() + 1)
    })?;
    let message = state.outbox.test(endpoint.id, random()?).await?;
    Ok(HttpResponse::Accepted().json(MessageJson::from(message)))
}
