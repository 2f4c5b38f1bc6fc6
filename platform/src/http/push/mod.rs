//! Where messages go, what people want to be told, and what became of it.

pub(super) mod endpoints;
pub(super) mod messages;
pub(super) mod preferences;

use super::State;
use super::problem::Problem;
use super::request::Caller;
use crate::outbox::OutboxError;
use actix_web::http::StatusCode;
use actix_web::web;
use pulsewire_core::ids::UserName;
use pulsewire_core::push::ChannelKind;
use pulsewire_core::role::Role;
use serde::Serialize;
use std::num::NonZeroU32;

/// Test messages that a user may send.
pub(super) const TESTS_PER_MINUTE: NonZeroU32 = NonZeroU32::new(10).unwrap();
/// Codes that a user may have sent to mailboxes, which may be strangers'; with five tries for each nobody guesses one in a life.
pub(super) const CODES_PER_HOUR: NonZeroU32 = NonZeroU32::new(10).unwrap();

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
    email: ChannelJson,
    webhook: ChannelJson,
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
            OutboxError::WrongCode => Self::unprocessable("wrong_code", "code", &error.to_string()),
            OutboxError::CodeExpired => Self::unprocessable("code_expired", "code", &error.to_string()),
            OutboxError::CodeTooSoon => Self::too_many(error.to_string(), 60),
            OutboxError::NoCodeWanted => Self::new(StatusCode::CONFLICT, "no_code_wanted", error.to_string()),
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

/// Which channels there are.
#[utoipa::path(get, path = "/push/config", tag = "push", responses((status = 200, body = PushConfigJson)))]
pub async fn config(state: web::Data<State>, _: Caller) -> web::Json<PushConfigJson> {
    let channel = |kind| ChannelJson { available: state.outbox.available(kind), public_key: None };
    web::Json(PushConfigJson {
        webpush: ChannelJson { public_key: state.outbox.public_key(), ..channel(ChannelKind::WebPush) },
        apns: channel(ChannelKind::Apns),
        fcm: channel(ChannelKind::Fcm),
        email: channel(ChannelKind::Email),
        webhook: channel(ChannelKind::Webhook),
    })
}
