//! What devices do for their people without signing in: the token of a message is the right.

use super::State;
use super::problem::Problem;
use super::request::{Anyone, Body};
use super::session::peer;
use crate::alerting::{AlertingError, OpenFilter};
use crate::outbox::{Action, OutboxError};
use crate::ports::ActedOn;
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, web};
use pulsewire_core::alert::Operation;
use pulsewire_core::role::Role;
use pulsewire_core::scope::DeviceScope;
use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;
use std::time::Duration;

/// Requests with one message's token: a device says what became of a message, and a person presses a button again. They are not
/// counted by address: behind one there may be a whole company's browsers.
pub(super) const PER_MINUTE: NonZeroU32 = NonZeroU32::new(30).unwrap();
/// Requests per address with what is no token.
pub(super) const BAD_PER_MINUTE: NonZeroU32 = NonZeroU32::new(60).unwrap();
/// How long `silence` lasts.
const SILENCE_US: i64 = 3_600_000_000;
/// Why, for the alert's history.
const SILENCE_REASON: &str = "from a notification";

/// What is asked for.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ActionJson {
    /// The message's `token`.
    token: String,
    /// `acknowledge`, `silence` (for an hour), `shown`, `opened` or `dismissed`.
    action: String,
}

/// What came of it.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ActedJson {
    done: bool,
    /// For people.
    text: String,
}

/// Do what a message offers: no sign-in is needed, the message's token is the right. To repeat it does nothing more.
#[utoipa::path(post, path = "/push/actions", tag = "push", request_body = ActionJson, security(()), responses(
    (status = 200, body = ActedJson), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 409, body = Problem), (status = 410, body = Problem), (status = 429, body = Problem)))]
pub async fn act(
    state: web::Data<State>,
    request: HttpRequest,
    _: Anyone,
    body: Body<ActionJson>,
) -> Result<web::Json<ActedJson>, Problem> {
    let ActionJson { token, action: name } = body.read().await?;
    let Some(action) = Action::from_name(&name) else {
        let allowed = Action::ALL.map(Action::name).join(", ");
        let given: String = name.chars().take(80).collect();
        return Err(Problem::field("action", format!("action is {given:?}; {allowed} are allowed")));
    };
    // One signature, before the store is asked for anything.
    let delivery = match state.outbox.delivery_of(&token) {
        Err(OutboxError::BadToken) => {
            limit(state.bad_tokens.check(peer(&request)))?;
            return Err(OutboxError::BadToken.into());
        }
        found => found?,
    };
    limit(state.push_actions.check(&delivery))?;
    let mut on = state.outbox.acted_on(delivery).await?;
    let operation = match action {
        Action::Acknowledge => Some(Operation::Acknowledge),
        Action::Silence => {
            let until_us = Some(state.clock.now_us().saturating_add(SILENCE_US));
            Some(Operation::Silence { until_us, reason: SILENCE_REASON.into() })
        }
        Action::Shown | Action::Opened | Action::Dismissed => None,
    };
    let Some(operation) = operation else {
        state.outbox.note(delivery, action.event(), "").await?;
        return Ok(web::Json(ActedJson { done: true, text: "noted".into() }));
    };
    let scope = require(&state, &on, action).await?;
    if !scope.is_all() {
        // What the person does not see any more is over for them.
        let filter = OpenFilter { ids: Some(on.alerts.clone()), scope, ..OpenFilter::default() };
        on.alerts = state.alerting.open(filter).await?.into_iter().map(|open| open.alert.id).collect();
    }
    // First, so that what is then told to the person's other devices does not come back to this one.
    state.outbox.note(delivery, action.event(), "").await?;
    let text = match operate(&state, &on, action, &operation).await {
        Ok(text) => text,
        Err(problem) => {
            state.outbox.note(delivery, "refused", &problem.detail).await?;
            return Err(problem);
        }
    };
    Ok(web::Json(ActedJson { done: true, text }))
}

fn limit(checked: Result<(), Duration>) -> Result<(), Problem> {
    checked.map_err(|wait| Problem::too_many("too many actions; wait a moment".to_owned(), wait.as_secs() + 1))
}

/// Refuses if the person whom the message was for may not do so any more.
async fn require(state: &State, on: &ActedOn, action: Action) -> Result<DeviceScope, Problem> {
    if let Some((user, _)) = state.users.user(&on.user).await?
        && user.role.allows(Role::Operator)
    {
        return Ok(user.scope);
    }
    let detail = format!("{} may not {} alerts", on.user, action.name());
    Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", detail))
}

/// In the name of the person whom the message was for.
async fn operate(state: &State, on: &ActedOn, action: Action, operation: &Operation) -> Result<String, Problem> {
    let mut done = 0_usize;
    for alert in &on.alerts {
        match state.alerting.operate(*alert, operation.clone(), on.user.clone()).await {
            Ok(_) => done += 1,
            Err(AlertingError::Resolved(_) | AlertingError::NoAlert(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if done == 0 {
        return Err(Problem::new(StatusCode::CONFLICT, "alert_over", "the alert is over".to_owned()));
    }
    let alerts = if done == 1 { "1 alert".to_owned() } else { format!("{done} alerts") };
    let rest = if on.more { "; there are more than the message names" } else { "" };
    Ok(match action {
        Action::Acknowledge => format!("{alerts} acknowledged{rest}"),
        _ => format!("{alerts} silenced for an hour{rest}"),
    })
}
