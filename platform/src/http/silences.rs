//! Silences, and what was told.

use super::State;
use super::alerts::{AlertJson, to_json};
use super::problem::Problem;
use super::query::{self, Page, parse_duration, parse_time, time_text};
use super::request::{Body, Caller};
use crate::ports::ToldView;
use actix_web::{HttpResponse, web};
use pulsewire_core::ids::{AlertId, SilenceId};
use pulsewire_core::notify::{Matcher, Silence, SilenceError, SilenceKind, SilenceState};
use pulsewire_core::role::Role;
use pulsewire_core::ulid::Ulid;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Alerts that a preview shows.
const PREVIEW_ALERTS: usize = 20;
/// Longest silence, µs: 366 days.
const SILENCE_US_MAX: i64 = 366 * 86_400_000_000;

/// A silence.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct SilenceJson {
    id: String,
    /// `silence` or `maintenance`.
    kind: &'static str,
    matchers: Vec<String>,
    starts: String,
    ends: String,
    reason: String,
    created_by: String,
    created: String,
    updated: String,
    /// `active`, `planned` or `ended`.
    state: &'static str,
    /// Open alerts that fit it.
    hides: usize,
}

/// A silence to be made.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSilenceJson {
    /// `label=value`, `label!=value`, `label=~glob` or `label!~glob`; all have to fit.
    matchers: Vec<String>,
    /// Now if absent.
    starts: Option<String>,
    /// Either this or `for`.
    ends: Option<String>,
    #[serde(rename = "for")]
    hold: Option<String>,
    #[serde(default)]
    reason: String,
    /// `silence` if absent, or `maintenance`.
    kind: Option<String>,
    /// It is meant to fit every alert.
    #[serde(default)]
    everything: bool,
}

/// What to change.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SilenceChange {
    ends: Option<String>,
    reason: Option<String>,
}

/// Which silences.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct SilenceFilter {
    /// `active`, `planned`, `ended` or `all` (the default).
    state: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
}

pub(super) fn silence_problem(error: &SilenceError) -> Problem {
    match error {
        SilenceError::Everything { .. } => {
            let detail = format!("{error}; give \"everything\": true if that is meant");
            Problem::unprocessable("matches_everything", "matchers", &detail)
        }
        SilenceError::Full => {
            Problem::new(actix_web::http::StatusCode::TOO_MANY_REQUESTS, "too_many_silences", error.to_string())
        }
        other => Problem::field(other.field(), other),
    }
}

async fn json_of(state: &State, silence: &Silence) -> Result<SilenceJson, Problem> {
    let counts = state.alerting.hide_counts(vec![silence.clone()]).await?;
    Ok(to_silence_json(silence, counts.first().copied().unwrap_or(0), state.clock.now_us()))
}

fn to_silence_json(silence: &Silence, fits: usize, now_us: i64) -> SilenceJson {
    let over = silence.state(now_us) == SilenceState::Ended;
    let hides = if over { 0 } else { fits };
    SilenceJson {
        id: silence.id.to_string(),
        kind: silence.kind.name(),
        matchers: silence.matchers.iter().map(ToString::to_string).collect(),
        starts: time_text(silence.starts_us),
        ends: time_text(silence.over_us()),
        reason: silence.reason.clone(),
        created_by: silence.created_by.to_string(),
        created: time_text(silence.created_us),
        updated: time_text(silence.updated_us),
        state: silence.state(now_us).name(),
        hides,
    }
}

fn build(state: &State, new: &NewSilenceJson, caller: &Caller) -> Result<Silence, Problem> {
    let now_us = state.clock.now_us();
    let starts_us = new.starts.as_deref().map_or(Ok(now_us), |t| parse_time("starts", t))?;
    let ends_us = match (&new.ends, &new.hold) {
        (Some(ends), None) => parse_time("ends", ends)?,
        (None, Some(hold)) => starts_us.saturating_add(parse_duration("for", hold, 1_000_000, SILENCE_US_MAX)?),
        _ => return Err(Problem::field("ends", "exactly one of ends and for is wanted")),
    };
    if ends_us <= now_us {
        return Err(Problem::field(
            "ends",
            format!("ends is {}, which is over; a time to come is wanted", time_text(ends_us)),
        ));
    }
    let matcher = |(index, text): (usize, &String)| {
        Matcher::parse(text).map_err(|error| Problem::field(&format!("matchers[{index}]"), error))
    };
    let kind = match new.kind.as_deref() {
        None => SilenceKind::Silence,
        Some(name) => SilenceKind::from_name(name)
            .ok_or_else(|| Problem::field("kind", format!("kind is {name:?}; silence or maintenance is allowed")))?,
    };
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(Problem::internal)?;
    let silence = Silence {
        id: SilenceId(Ulid::from_parts(now_us, u128::from_be_bytes(bytes))),
        kind,
        matchers: new.matchers.iter().enumerate().map(matcher).collect::<Result<_, _>>()?,
        starts_us,
        ends_us,
        reason: new.reason.clone(),
        created_by: caller.identity.session.user.name.clone(),
        created_us: now_us,
        updated_us: now_us,
        ended_early_us: None,
    };
    silence.check(new.everything).map_err(|error| silence_problem(&error))?;
    Ok(silence)
}

async fn find(state: &State, id: &str) -> Result<Silence, Problem> {
    let missing = || Problem::missing("silence", &id.chars().take(80).collect::<String>());
    let id = SilenceId::parse(id).map_err(|_| missing())?;
    state.alerting.store().silence(id).await?.ok_or_else(missing)
}

/// Silences: active ones first, then planned, then ended.
#[utoipa::path(get, path = "/silences", tag = "alerts", params(SilenceFilter), responses(
    (status = 200, body = Page<SilenceJson>), (status = 400, body = Problem)))]
pub async fn list(
    state: web::Data<State>,
    caller: Caller<SilenceFilter>,
) -> Result<web::Json<Page<SilenceJson>>, Problem> {
    let filter = caller.query;
    let limit = query::limit(filter.limit)?;
    let now_us = state.clock.now_us();
    let wanted = match filter.state.as_deref() {
        None | Some("all") => None,
        Some(name) => {
            let known = [SilenceState::Active, SilenceState::Planned, SilenceState::Ended];
            let found = known.into_iter().find(|state| state.name() == name);
            let wrong =
                || Problem::field("state", format!("state is {name:?}; active, planned, ended or all is allowed"));
            Some(found.ok_or_else(wrong)?)
        }
    };
    let from = match filter.cursor.as_deref() {
        None => 0,
        Some(cursor) => cursor
            .parse::<usize>()
            .map_err(|_| Problem::field("cursor", "cursor must be the `next` of an earlier answer"))?,
    };
    let mut all = state.alerting.store().silences().await?;
    all.retain(|silence| wanted.is_none_or(|wanted| silence.state(now_us) == wanted));
    let order = |silence: &Silence| match silence.state(now_us) {
        SilenceState::Active => 0,
        SilenceState::Planned => 1,
        SilenceState::Ended => 2,
    };
    all.sort_by_key(order);
    let next = (all.len() > from + limit).then(|| (from + limit).to_string());
    let page: Vec<Silence> = all.into_iter().skip(from).take(limit).collect();
    let counts = state.alerting.hide_counts(page.clone()).await?;
    let items = page.iter().zip(counts).map(|(silence, fits)| to_silence_json(silence, fits, now_us)).collect();
    Ok(web::Json(Page { items, next }))
}

/// Make a silence.
#[utoipa::path(post, path = "/silences", tag = "alerts", request_body = NewSilenceJson, responses(
    (status = 201, body = SilenceJson), (status = 400, body = Problem), (status = 422, body = Problem)))]
pub async fn create(
    state: web::Data<State>,
    caller: Caller,
    body: Body<NewSilenceJson>,
) -> Result<HttpResponse, Problem> {
    caller.require(Role::Operator)?;
    let silence = build(&state, &body.read().await?, &caller)?;
    let stored = state.alerting.put_silence(silence).await?;
    Ok(HttpResponse::Created().json(json_of(&state, &stored).await?))
}

/// What a silence would hide now.
#[utoipa::path(post, path = "/silences/preview", tag = "alerts", request_body = NewSilenceJson, responses(
    (status = 200, body = Object), (status = 400, body = Problem), (status = 422, body = Problem)))]
pub async fn preview(
    state: web::Data<State>,
    caller: Caller,
    body: Body<NewSilenceJson>,
) -> Result<web::Json<serde_json::Value>, Problem> {
    let mut new = body.read().await?;
    // What it hides is asked before anyone has given a reason.
    if new.reason.trim().is_empty() {
        new.reason = "preview".into();
    }
    if new.ends.is_none() && new.hold.is_none() {
        new.hold = Some("1h".into());
    }
    let hidden = state.alerting.hides(build(&state, &new, &caller)?).await?;
    let alerts: Vec<AlertJson> = hidden.iter().take(PREVIEW_ALERTS).map(|alert| to_json(alert, None, None)).collect();
    Ok(web::Json(json!({ "hides": hidden.len(), "alerts": alerts })))
}

/// One silence.
#[utoipa::path(get, path = "/silences/{id}", tag = "alerts", params(("id" = String, Path)), responses(
    (status = 200, body = SilenceJson), (status = 404, body = Problem)))]
pub async fn show(
    state: web::Data<State>,
    _caller: Caller,
    path: web::Path<String>,
) -> Result<web::Json<SilenceJson>, Problem> {
    let silence = find(&state, &path).await?;
    Ok(web::Json(json_of(&state, &silence).await?))
}

/// Make a silence last longer or shorter, or say why anew.
#[utoipa::path(patch, path = "/silences/{id}", tag = "alerts", request_body = SilenceChange,
    params(("id" = String, Path)), responses(
    (status = 200, body = SilenceJson), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub async fn update(
    state: web::Data<State>,
    caller: Caller,
    path: web::Path<String>,
    body: Body<SilenceChange>,
) -> Result<web::Json<SilenceJson>, Problem> {
    caller.require(Role::Operator)?;
    let change = body.read().await?;
    // Of two edits at once neither is lost.
    let _editing = state.silence_edits.lock().await;
    let mut silence = open(&state, &path).await?;
    if let Some(ends) = &change.ends {
        silence.ends_us = parse_time("ends", ends)?;
        if silence.ends_us <= state.clock.now_us() {
            return Err(Problem::field("ends", "ends is over; DELETE ends a silence now"));
        }
    }
    if let Some(reason) = change.reason {
        silence.reason = reason;
    }
    silence.updated_us = state.clock.now_us();
    // What it fits was accepted when it was made.
    silence.check(true).map_err(|error| silence_problem(&error))?;
    let stored = state.alerting.put_silence(silence).await?;
    Ok(web::Json(json_of(&state, &stored).await?))
}

async fn open(state: &State, id: &str) -> Result<Silence, Problem> {
    let silence = find(state, id).await?;
    if silence.state(state.clock.now_us()) == SilenceState::Ended {
        return Err(crate::alerting::AlertingError::SilenceEnded(silence.id).into());
    }
    Ok(silence)
}

/// End a silence now.
#[utoipa::path(delete, path = "/silences/{id}", tag = "alerts", params(("id" = String, Path)), responses(
    (status = 200, body = SilenceJson), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub async fn end(
    state: web::Data<State>,
    caller: Caller,
    path: web::Path<String>,
) -> Result<web::Json<SilenceJson>, Problem> {
    caller.require(Role::Operator)?;
    let _editing = state.silence_edits.lock().await;
    let mut silence = open(&state, &path).await?;
    let now_us = state.clock.now_us();
    (silence.ended_early_us, silence.updated_us) = (Some(now_us), now_us);
    let stored = state.alerting.put_silence(silence).await?;
    Ok(web::Json(json_of(&state, &stored).await?))
}

/// Which decisions.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ToldFilter {
    /// About this alert.
    alert: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
}

fn told_json(view: &ToldView) -> serde_json::Value {
    let (told, decision) = (&view.told, &view.told.decision);
    let ids = |ids: &[AlertId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    let to: Vec<String> = std::iter::once(&decision.to).chain(&decision.also_to).flat_map(|to| to.texts()).collect();
    json!({
        "id": told.id.to_string(),
        "time": time_text(told.time_us),
        "group": told.group,
        "reason": decision.reason.name(),
        "reason_text": decision.reason.text(),
        "firing": ids(&decision.firing),
        "resolved": ids(&decision.resolved),
        "flapping": ids(&decision.flapping),
        "suppressed": decision.suppressed.iter().map(|(alert, why)| json!({
            "alert": alert.to_string(), "why": why.name(), "why_text": why.text(),
        })).collect::<Vec<_>>(),
        "to": to,
        "messages": view.messages,
        "delayed": decision.delayed,
    })
}

/// What was decided to be told, or not, and why; the newest first.
#[utoipa::path(get, path = "/notifications", tag = "alerts", params(ToldFilter), responses(
    (status = 200, body = Object), (status = 400, body = Problem)))]
pub async fn notifications(
    state: web::Data<State>,
    caller: Caller<ToldFilter>,
) -> Result<web::Json<Page<serde_json::Value>>, Problem> {
    let filter = caller.query;
    let limit = query::limit(filter.limit)?;
    let alert = match filter.alert.as_deref() {
        None => None,
        Some(id) => Some(AlertId::parse(id).map_err(|error| Problem::field("alert", error))?),
    };
    let wrong = || Problem::field("cursor", "cursor must be the `next` of an earlier answer");
    let before = filter.cursor.as_deref().map(|c| c.parse::<i64>().map_err(|_| wrong())).transpose()?;
    let mut found = state.alerting.store().told(alert, before, limit + 1).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|(seq, _)| seq.to_string());
    Ok(web::Json(Page { items: found.iter().map(|(_, view)| told_json(view)).collect(), next }))
}
