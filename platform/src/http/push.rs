//! Where messages go, and what became of them.

use super::State;
use super::problem::Problem;
use super::query::{self, Page, time_text};
use super::request::{Body, Caller};
use crate::outbox::OutboxError;
use crate::ports::{Delivery, Endpoint, Message, MessageQuery, PushAddress};
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use pulsewire_core::ids::{AlertId, EndpointId, MessageId, UserName};
use pulsewire_core::push::ChannelKind;
use pulsewire_core::role::Role;
use pulsewire_core::ulid::Ulid;
use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;

/// Test messages that a user may send.
pub(super) const TESTS_PER_MINUTE: NonZeroU32 = NonZeroU32::new(10).unwrap();
/// Longest label of an endpoint.
const LABEL_BYTES_MAX: usize = 64;

/// One channel.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ChannelJson {
    available: bool,
    /// Of Web Push: what a browser subscribes with.
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key: Option<String>,
}

/// Which channels there are.
#[derive(Serialize, utoipa::ToSchema)]
pub struct PushConfigJson {
    webpush: ChannelJson,
    apns: ChannelJson,
    fcm: ChannelJson,
}

/// A place where messages go.
#[derive(Serialize, utoipa::ToSchema)]
pub struct EndpointJson {
    id: String,
    /// `webpush`, `apns` or `fcm`.
    kind: &'static str,
    label: String,
    user: String,
    created: String,
    /// `active` or `removed`.
    state: &'static str,
    removed_reason: Option<String>,
    last_delivered: Option<String>,
}

impl From<Endpoint> for EndpointJson {
    fn from(endpoint: Endpoint) -> Self {
        Self {
            id: endpoint.id.to_string(),
            kind: endpoint.kind.name(),
            label: endpoint.label,
            user: endpoint.user.to_string(),
            created: time_text(endpoint.created_us),
            state: if endpoint.removed.is_some() { "removed" } else { "active" },
            removed_reason: endpoint.removed.map(|(_, reason)| reason),
            last_delivered: endpoint.last_delivered_us.map(time_text),
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

/// Something that happened to a delivery.
#[derive(Serialize, utoipa::ToSchema)]
pub struct DeliveryEventJson {
    time: String,
    /// `sent`, `retry`, `unclear`, `dead`, `dropped`, `withdrawn` or `replayed`.
    event: String,
    /// What the provider answered.
    status: Option<u16>,
    text: String,
}

/// A message on its way to one endpoint.
#[derive(Serialize, utoipa::ToSchema)]
pub struct DeliveryJson {
    id: String,
    endpoint: String,
    endpoint_label: String,
    kind: &'static str,
    /// `queued`, `sending`, `delivered`, `dead`, `dropped` or `withdrawn`.
    state: String,
    attempts: u32,
    reason: String,
    next_attempt: Option<String>,
    provider_id: Option<String>,
    timeline: Vec<DeliveryEventJson>,
}

impl From<Delivery> for DeliveryJson {
    fn from(delivery: Delivery) -> Self {
        let event = |event: crate::ports::DeliveryEvent| DeliveryEventJson {
            time: time_text(event.time_us),
            event: event.event,
            status: event.status,
            text: event.text,
        };
        Self {
            id: delivery.id.to_string(),
            endpoint: delivery.endpoint.to_string(),
            endpoint_label: delivery.label,
            kind: delivery.kind.name(),
            state: delivery.state,
            attempts: delivery.attempts,
            reason: delivery.reason,
            next_attempt: delivery.next_us.map(time_text),
            provider_id: delivery.provider_id,
            timeline: delivery.timeline.into_iter().map(event).collect(),
        }
    }
}

/// A message to one user.
#[derive(Serialize, utoipa::ToSchema)]
pub struct MessageJson {
    id: String,
    user: String,
    /// `firing`, `resolved` or `test`.
    kind: &'static str,
    alert: Option<String>,
    severity: &'static str,
    title: String,
    body: String,
    created: String,
    /// `waiting`, `sending` or `done`.
    state: &'static str,
    /// Why it was not pushed; empty if it was, or is not decided.
    reason: String,
    reason_text: String,
    deliveries: Vec<DeliveryJson>,
}

impl From<Message> for MessageJson {
    fn from(message: Message) -> Self {
        Self {
            id: message.id.to_string(),
            user: message.user.to_string(),
            kind: message.kind.name(),
            alert: message.alert.map(|alert| alert.to_string()),
            severity: message.severity.name(),
            title: message.title,
            body: message.body,
            created: time_text(message.created_us),
            state: message.state.name(),
            reason: message.reason,
            reason_text: message.reason_text,
            deliveries: message.deliveries.into_iter().map(DeliveryJson::from).collect(),
        }
    }
}

impl From<OutboxError> for Problem {
    fn from(error: OutboxError) -> Self {
        match error {
            OutboxError::NotConfigured(_) => {
                Self::new(StatusCode::CONFLICT, "channel_not_configured", error.to_string())
            }
            OutboxError::BadAddress(problem) => {
                let code = if problem.private { "private_address" } else { "bad_endpoint" };
                Self::unprocessable(code, problem.field, &problem.detail)
            }
            OutboxError::TooManyEndpoints(_) => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_endpoints", error.to_string())
            }
            OutboxError::NothingDead => Self::new(StatusCode::CONFLICT, "nothing_dead", error.to_string()),
            OutboxError::AlertOver => Self::new(StatusCode::CONFLICT, "alert_over", error.to_string()),
            OutboxError::TooManyAnnouncements(_) => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_announcements", error.to_string())
            }
            OutboxError::AnnouncementOver(_) => Self::new(StatusCode::CONFLICT, "announcement_over", error.to_string()),
            OutboxError::BadToken => Self::new(StatusCode::UNAUTHORIZED, "bad_token", error.to_string()),
            OutboxError::TokenExpired => Self::new(StatusCode::GONE, "token_expired", error.to_string()),
            OutboxError::TestUnfinished => Self::too_many(error.to_string(), 5),
            OutboxError::Store(error) => error.into(),
        }
    }
}

pub(super) fn random() -> Result<u128, Problem> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(Problem::internal)?;
    Ok(u128::from_be_bytes(bytes))
}

/// Whose things are asked for: one's own, or as an admin another's; `*` is everyone's, where that is allowed.
fn whose<Q>(caller: &Caller<Q>, asked: Option<&str>, everyone: bool) -> Result<Option<UserName>, Problem> {
    let own = &caller.identity.session.user.name;
    let Some(asked) = asked else { return Ok(Some(own.clone())) };
    if asked == "*" && everyone {
        caller.require(Role::Admin)?;
        return Ok(None);
    }
    let user = UserName::parse(asked).map_err(|error| Problem::field("user", error))?;
    if user != *own {
        caller.require(Role::Admin)?;
    }
    Ok(Some(user))
}

/// Refuses whoever is neither the owner nor an admin, as if there were nothing.
fn allow<Q>(caller: &Caller<Q>, owner: &UserName, missing: impl FnOnce() -> Problem) -> Result<(), Problem> {
    let user = &caller.identity.session.user;
    if user.name == *owner || user.role.allows(Role::Admin) { Ok(()) } else { Err(missing()) }
}

async fn own_endpoint(state: &State, caller: &Caller, id: &str) -> Result<Endpoint, Problem> {
    let missing = || Problem::missing("endpoint", id);
    let id = EndpointId::parse(id).map_err(|_| missing())?;
    let endpoint = state.outbox.endpoints().endpoint(id).await?.ok_or_else(missing)?;
    allow(caller, &endpoint.user, missing)?;
    Ok(endpoint)
}

async fn own_message(state: &State, caller: &Caller, id: &str) -> Result<Message, Problem> {
    let missing = || Problem::missing("message", id);
    let id = MessageId::parse(id).map_err(|_| missing())?;
    let message = state.outbox.messages().message(id).await?.ok_or_else(missing)?;
    allow(caller, &message.user, missing)?;
    Ok(message)
}

/// Which channels there are.
#[utoipa::path(get, path = "/push/config", tag = "push", responses((status = 200, body = PushConfigJson)))]
pub async fn config(state: web::Data<State>, _: Caller) -> web::Json<PushConfigJson> {
    let channel = |kind| ChannelJson { available: state.outbox.available(kind), public_key: None };
    web::Json(PushConfigJson {
        webpush: ChannelJson { public_key: state.outbox.public_key(), ..channel(ChannelKind::WebPush) },
        apns: channel(ChannelKind::Apns),
        fcm: channel(ChannelKind::Fcm),
    })
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
pub async fn endpoints(
    state: web::Data<State>,
    caller: Caller<EndpointFilter>,
) -> Result<web::Json<Page<EndpointJson>>, Problem> {
    let user = whose(&caller, caller.query.user.as_deref(), false)?;
    let found = state.outbox.endpoints().endpoints(user).await?;
    Ok(web::Json(Page::whole(found.into_iter().map(EndpointJson::from).collect())))
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
    let label = given.map_or(default, str::trim);
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

/// Which messages.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct MessageFilter {
    /// Another user's, or `*` for everyone's: admins.
    user: Option<String>,
    /// About one alert.
    alert: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
}

/// Messages, the newest first.
#[utoipa::path(get, path = "/push/messages", tag = "push", params(MessageFilter), responses(
    (status = 200, body = Page<MessageJson>), (status = 400, body = Problem), (status = 403, body = Problem)))]
pub async fn messages(
    state: web::Data<State>,
    caller: Caller<MessageFilter>,
) -> Result<web::Json<Page<MessageJson>>, Problem> {
    let asked = &caller.query;
    let limit = query::limit(asked.limit)?;
    let alert = asked.alert.as_deref().map(AlertId::parse).transpose();
    let alert = alert.map_err(|error| Problem::field("alert", error))?;
    let cursor = asked.cursor.as_deref().map(|c| c.parse::<i64>().ok().filter(|c| *c > 0).ok_or(())).transpose();
    let before = cursor.map_err(|()| Problem::field("cursor", "cursor must be the `next` of an earlier answer"))?;
    let user = whose(&caller, asked.user.as_deref(), true)?;
    let query = MessageQuery { user, alert, before, limit: limit + 1 };
    let mut found = state.outbox.messages().messages(query).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|(seq, _)| seq.to_string());
    Ok(web::Json(Page { items: found.into_iter().map(|(_, message)| message.into()).collect(), next }))
}

/// One message.
#[utoipa::path(get, path = "/push/messages/{id}", tag = "push", params(("id" = String, Path)), responses(
    (status = 200, body = MessageJson), (status = 404, body = Problem)))]
pub async fn message(
    state: web::Data<State>,
    caller: Caller,
    path: web::Path<String>,
) -> Result<web::Json<MessageJson>, Problem> {
    Ok(web::Json(own_message(&state, &caller, &path).await?.into()))
}

/// Try the deliveries of a message that were given up or refused anew.
#[utoipa::path(post, path = "/push/messages/{id}/replay", tag = "push", params(("id" = String, Path)), responses(
    (status = 202, body = MessageJson), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub async fn replay(state: web::Data<State>, caller: Caller, path: web::Path<String>) -> Result<HttpResponse, Problem> {
    let message = own_message(&state, &caller, &path).await?;
    let message = state.outbox.replay(message.id).await?;
    Ok(HttpResponse::Accepted().json(MessageJson::from(message)))
}
