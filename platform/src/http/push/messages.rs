//! What became of messages.

use super::super::State;
use super::super::problem::Problem;
use super::super::query::{self, Page, time_text};
use super::super::request::Caller;
use super::{allow, whose};
use crate::ports::{Delivery, DeliveryEvent, Message, MessageQuery, MessageState};
use actix_web::{HttpResponse, web};
use pulsewire_core::ids::{AlertId, MessageId};
use pulsewire_core::notice::NoticeKind;
use serde::{Deserialize, Serialize};

/// Something that happened to a delivery.
#[derive(Serialize, utoipa::ToSchema)]
pub struct DeliveryEventJson {
    time: String,
    /// `held`, `sent`, `retry`, `unclear`, `dead`, `dropped`, `withdrawn`, `digested`, `replayed`, `shown`, `opened`, `dismissed`,
    /// `acknowledged` or `silenced`.
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
    /// `queued`, `sending`, `delivered`, `dead`, `dropped`, `withdrawn` or `digested`.
    state: String,
    /// Why it waits although its message passed: `quiet_hours`, `digest`, `storm` or `paused`.
    held: Option<String>,
    attempts: u32,
    reason: String,
    next_attempt: Option<String>,
    provider_id: Option<String>,
    timeline: Vec<DeliveryEventJson>,
}

impl From<Delivery> for DeliveryJson {
    fn from(delivery: Delivery) -> Self {
        let event = |event: DeliveryEvent| DeliveryEventJson {
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
            held: delivery.held,
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
    /// `firing`, `resolved`, `acknowledged`, `digest`, `announcement`, `operator` or `test`.
    kind: &'static str,
    /// Why it was made: the reason of a decision; of a digest why its messages waited.
    cause: String,
    alert: Option<String>,
    announcement: Option<String>,
    severity: &'static str,
    title: String,
    body: String,
    created: String,
    /// `waiting`, `sending` or `done`.
    state: &'static str,
    /// Why it was not pushed; empty if it was, or is not decided.
    reason: String,
    reason_text: String,
    /// When it was first opened at a device, as far as that says so.
    opened: Option<String>,
    /// When it was first dismissed there.
    dismissed: Option<String>,
    deliveries: Vec<DeliveryJson>,
}

impl From<Message> for MessageJson {
    fn from(message: Message) -> Self {
        Self {
            id: message.id.to_string(),
            user: message.user.to_string(),
            kind: message.kind.name(),
            cause: message.cause,
            announcement: message.announcement.map(|id| id.to_string()),
            alert: message.alert.map(|alert| alert.to_string()),
            severity: message.severity.name(),
            title: message.title,
            body: message.body,
            created: time_text(message.created_us),
            state: message.state.name(),
            reason: message.reason,
            reason_text: message.reason_text,
            opened: message.opened_us.map(time_text),
            dismissed: message.dismissed_us.map(time_text),
            deliveries: message.deliveries.into_iter().map(DeliveryJson::from).collect(),
        }
    }
}

async fn own_message(state: &State, caller: &Caller, id: &str) -> Result<Message, Problem> {
    let missing = || Problem::missing("message", id);
    let id = MessageId::parse(id).map_err(|_| missing())?;
    let message = state.outbox.messages().message(id).await?.ok_or_else(missing)?;
    allow(caller, &message.user, missing)?;
    Ok(message)
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
    /// Of one kind.
    kind: Option<String>,
    /// `waiting`, `sending` or `done`.
    state: Option<String>,
    /// Those that were not pushed for this reason.
    reason: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
}

fn kind(name: &str) -> Result<NoticeKind, Problem> {
    NoticeKind::from_name(name).ok_or_else(|| {
        let allowed = NoticeKind::ALL.map(NoticeKind::name).join(", ");
        Problem::field("kind", format!("kind is {:?}; {allowed} is allowed", query::clip(name)))
    })
}

fn standing(name: &str) -> Result<MessageState, Problem> {
    MessageState::from_name(name).ok_or_else(|| {
        let allowed = MessageState::ALL.map(MessageState::name).join(", ");
        Problem::field("state", format!("state is {:?}; {allowed} is allowed", query::clip(name)))
    })
}

/// Messages, the newest first.
#[utoipa::path(get, path = "/push/messages", tag = "push", params(MessageFilter), responses(
    (status = 200, body = Page<MessageJson>), (status = 400, body = Problem), (status = 403, body = Problem)))]
pub async fn list(
    state: web::Data<State>,
    caller: Caller<MessageFilter>,
) -> Result<web::Json<Page<MessageJson>>, Problem> {
    let asked = &caller.query;
    let limit = query::limit(asked.limit)?;
    let alert = asked.alert.as_deref().map(AlertId::parse).transpose();
    let alert = alert.map_err(|error| Problem::field("alert", error))?;
    let kind = asked.kind.as_deref().map(kind).transpose()?;
    let standing = asked.state.as_deref().map(standing).transpose()?;
    let cursor = asked.cursor.as_deref().map(|c| c.parse::<i64>().ok().filter(|c| *c > 0).ok_or(())).transpose();
    let before = cursor.map_err(|()| Problem::field("cursor", "cursor must be the `next` of an earlier answer"))?;
    let user = whose(&caller, asked.user.as_deref(), true)?;
    let reason = asked.reason.clone();
    let query = MessageQuery { user, alert, kind, state: standing, reason, before, limit: limit + 1 };
    let mut found = state.outbox.messages().messages(query).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|(seq, _)| seq.to_string());
    Ok(web::Json(Page { items: found.into_iter().map(|(_, message)| message.into()).collect(), next }))
}

/// One message.
#[utoipa::path(get, path = "/push/messages/{id}", tag = "push", params(("id" = String, Path)), responses(
    (status = 200, body = MessageJson), (status = 404, body = Problem)))]
pub async fn show(
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
