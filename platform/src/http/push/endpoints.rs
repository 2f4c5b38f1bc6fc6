//! Where messages go.

use super::super::State;
use super::super::problem::Problem;
use super::super::query::{Page, clip, time_text};
use super::super::request::{Body, Caller};
use super::messages::MessageJson;
use super::preferences::read_own;
use super::{CODES_PER_HOUR, TESTS_PER_MINUTE, allow, random, whose};
use crate::ports::{Endpoint, EndpointChange, PushAddress};
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
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
    /// Of a webhook without one: the secret that was made for it. Said once.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
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
            secret: None,
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
    /// `webpush`, `apns`, `fcm`, `email` or `webhook`.
    kind: String,
    /// Of Web Push, and of a webhook.
    url: Option<String>,
    /// Of Web Push.
    keys: Option<KeysJson>,
    /// Of APNs and FCM.
    token: Option<String>,
    /// Of APNs: the app's bundle id, if it is not the configured one.
    topic: Option<String>,
    /// Of e-mail: `name@example.org`.
    mailbox: Option<String>,
    /// Of a webhook: `whsec_` and 24 to 64 bytes in base64. One is made if it is absent.
    secret: Option<String>,
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

/// Fields that only some kinds have, by name, and whether they are given.
fn given(new: &NewEndpointJson) -> [(&'static str, bool); 6] {
    [
        ("url", new.url.is_some()),
        ("keys", new.keys.is_some()),
        ("token", new.token.is_some()),
        ("topic", new.topic.is_some()),
        ("mailbox", new.mailbox.is_some()),
        ("secret", new.secret.is_some()),
    ]
}

/// The address, and the secret that was made for it.
fn address(new: NewEndpointJson) -> Result<(PushAddress, Option<String>), Problem> {
    let Some(kind) = ChannelKind::from_name(&new.kind) else {
        let allowed = ChannelKind::ALL.map(ChannelKind::name).join(", ");
        let detail = format!("kind is {:?}; {allowed} is allowed", clip(&new.kind));
        return Err(Problem::unprocessable("bad_endpoint", "kind", &detail));
    };
    let (needed, optional): (&[&str], &[&str]) = match kind {
        ChannelKind::WebPush => (&["url", "keys"], &[]),
        ChannelKind::Apns => (&["token"], &["topic"]),
        ChannelKind::Fcm => (&["token"], &[]),
        ChannelKind::Email => (&["mailbox"], &[]),
        ChannelKind::Webhook => (&["url"], &["secret"]),
    };
    for (field, is_given) in given(&new) {
        let detail = match (needed.contains(&field), optional.contains(&field)) {
            (true, _) if !is_given => format!("an endpoint of kind {} needs {field}", kind.name()),
            (false, false) if is_given => format!("an endpoint of kind {} has no {field}", kind.name()),
            _ => continue,
        };
        return Err(Problem::unprocessable("bad_endpoint", field, &detail));
    }
    let NewEndpointJson { url, keys, token, topic, mailbox, secret, .. } = new;
    // What is needed is there.
    let (url, token) = (url.unwrap_or_default(), token.unwrap_or_default());
    Ok(match kind {
        ChannelKind::WebPush => {
            let KeysJson { p256dh, auth } = keys.unwrap_or(KeysJson { p256dh: String::new(), auth: String::new() });
            (PushAddress::WebPush { url, p256dh, auth }, None)
        }
        ChannelKind::Apns => (PushAddress::Apns { token, topic }, None),
        ChannelKind::Fcm => (PushAddress::Fcm { token }, None),
        ChannelKind::Email => (PushAddress::Email { mailbox: mailbox.unwrap_or_default() }, None),
        ChannelKind::Webhook => match secret {
            Some(secret) => (PushAddress::Webhook { url, secret }, None),
            None => {
                let made = new_secret()?;
                (PushAddress::Webhook { url, secret: made.clone() }, Some(made))
            }
        },
    })
}

/// As the Standard Webhooks specification has it.
fn new_secret() -> Result<String, Problem> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(Problem::internal)?;
    Ok(format!("whsec_{}", STANDARD.encode(bytes)))
}

fn label(given: Option<&str>, kind: &str) -> Result<String, Problem> {
    let default = match kind {
        "webpush" => "Browser",
        "apns" => "Apple app",
        "email" => "Mailbox",
        "webhook" => "Webhook",
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
    let (address, secret) = address(new)?;
    if address.kind() == ChannelKind::Email {
        // A code goes to a mailbox that may be a stranger's.
        check_codes(&state, &caller)?;
    }
    let id = EndpointId(Ulid::from_parts(state.clock.now_us(), random()?));
    let (endpoint, created) = state.outbox.register(id, user, label, address).await?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(HttpResponse::build(status).json(EndpointJson { secret, ..EndpointJson::from(endpoint) }))
}

fn check_codes(state: &State, caller: &Caller) -> Result<(), Problem> {
    state.push_codes.check(&caller.identity.session.user.name).map_err(|wait| {
        Problem::too_many(format!("no more than {CODES_PER_HOUR} codes to mailboxes per hour"), wait.as_secs() + 1)
    })
}

fn check_rate(state: &State, caller: &Caller) -> Result<(), Problem> {
    state.push_tests.check(&caller.identity.session.user.name).map_err(|wait| {
        let detail = format!("no more than {TESTS_PER_MINUTE} test messages and codes per minute");
        Problem::too_many(detail, wait.as_secs() + 1)
    })
}

/// The code that was sent.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CodeJson {
    /// Six digits.
    code: String,
}

/// Confirm a mailbox by the code that was sent to it.
#[utoipa::path(post, path = "/push/endpoints/{id}/confirm", tag = "push", params(("id" = String, Path)),
    request_body = CodeJson, responses((status = 200, body = EndpointJson), (status = 404, body = Problem),
    (status = 422, body = Problem)))]
pub async fn confirm(
    state: web::Data<State>,
    caller: Caller,
    path: web::Path<String>,
    body: Body<CodeJson>,
) -> Result<web::Json<EndpointJson>, Problem> {
    let endpoint = own_endpoint(&state, &caller, &path).await?;
    let asked = body.read().await?;
    Ok(web::Json(state.outbox.confirm(endpoint.id, &asked.code).await?.into()))
}

/// Send another code to a mailbox that waits to be confirmed.
#[utoipa::path(post, path = "/push/endpoints/{id}/confirm/resend", tag = "push", params(("id" = String, Path)), responses(
    (status = 202), (status = 404, body = Problem), (status = 409, body = Problem), (status = 429, body = Problem)))]
pub async fn resend(state: web::Data<State>, caller: Caller, path: web::Path<String>) -> Result<HttpResponse, Problem> {
    let endpoint = own_endpoint(&state, &caller, &path).await?;
    check_codes(&state, &caller)?;
    state.outbox.send_code(endpoint.id).await?;
    Ok(HttpResponse::Accepted().json(EndpointJson::from(endpoint)))
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
    check_rate(&state, &caller)?;
    let message = state.outbox.test(endpoint.id, random()?).await?;
    Ok(HttpResponse::Accepted().json(MessageJson::from(message)))
}
