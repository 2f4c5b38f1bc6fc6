//! Alerts.

use super::State;
use super::problem::Problem;
use super::query::{self, Page, json_number, parse_time, time_text};
use super::request::Caller;
use super::rules::parse_severity;
use crate::ports::{AlertPage, AlertQuery};
use actix_web::web;
use pulsewire_core::alert::{Alert, AlertStep};
use pulsewire_core::ids::{AlertId, DeviceId, RuleId};
use pulsewire_core::role::Role;
use pulsewire_core::severity::Severity;
use serde::{Deserialize, Serialize};

/// Who has taken note.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct AcknowledgedJson {
    user: String,
    time: String,
}

/// One step of an alert's history.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct AlertStepJson {
    time: String,
    kind: &'static str,
    user: Option<String>,
    text: String,
}

/// An alert.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct AlertJson {
    id: String,
    rule: String,
    rule_name: String,
    device: String,
    device_name: String,
    metric: String,
    unit: String,
    severity: &'static str,
    /// `firing` or `resolved`.
    state: &'static str,
    comparison: &'static str,
    threshold: f64,
    clear: f64,
    value: serde_json::Value,
    text: String,
    started: String,
    fired: String,
    resolved: Option<String>,
    resolved_reason: Option<&'static str>,
    acknowledged: Option<AcknowledgedJson>,
    revision: u64,
    /// Only in the answer about one alert.
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<Vec<AlertStepJson>>,
}

/// Which alerts.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct AlertFilter {
    /// `open` (worst first; the default), `firing` (newest first), `resolved` or `all`.
    state: Option<String>,
    severity: Option<String>,
    device: Option<String>,
    rule: Option<String>,
    /// Alerts that had not ended at this time.
    from: Option<String>,
    /// Alerts that fired before this time.
    to: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
}

fn to_json(alert: &Alert, history: Option<Vec<AlertStep>>) -> AlertJson {
    let step = |step: AlertStep| AlertStepJson {
        time: time_text(step.time_us),
        kind: step.kind.name(),
        user: step.user.map(|user| user.to_string()),
        text: step.text,
    };
    AlertJson {
        id: alert.id.to_string(),
        rule: alert.rule.to_string(),
        rule_name: alert.rule_name.clone(),
        device: alert.device_id.to_string(),
        device_name: alert.device_name.clone(),
        metric: alert.metric.to_string(),
        unit: alert.unit.clone(),
        severity: alert.severity.name(),
        state: if alert.is_open() { "firing" } else { "resolved" },
        comparison: alert.comparison.sign(),
        threshold: alert.threshold,
        clear: alert.clear,
        value: json_number(alert.value),
        text: alert.text.clone(),
        started: time_text(alert.started_us),
        fired: time_text(alert.fired_us),
        resolved: alert.resolved.map(|(time_us, _)| time_text(time_us)),
        resolved_reason: alert.resolved.map(|(_, reason)| reason.name()),
        acknowledged: alert
            .acknowledged
            .as_ref()
            .map(|a| AcknowledgedJson { user: a.user.to_string(), time: time_text(a.time_us) }),
        revision: alert.revision,
        history: history.map(|steps| steps.into_iter().map(step).collect()),
    }
}

fn parse_id(id: &str) -> Result<AlertId, Problem> {
    AlertId::parse(id).map_err(|_| Problem::missing("alert", &id.chars().take(80).collect::<String>()))
}

/// A cursor: severity and number of the last alert.
fn parse_cursor(text: &str) -> Result<AlertPage, Problem> {
    let parts = text.split_once('.').and_then(|(severity, seq)| {
        let severity = Severity::ALL.get(severity.parse::<usize>().ok()?)?;
        Some(AlertPage { severity: *severity, seq: seq.parse().ok()? })
    });
    parts.ok_or_else(|| Problem::field("cursor", "cursor must be the `next` of an earlier answer"))
}

/// Alerts.
#[utoipa::path(get, path = "/alerts", tag = "alerts", params(AlertFilter), responses(
    (status = 200, body = Page<AlertJson>), (status = 400, body = Problem)))]
pub async fn list(state: web::Data<State>, caller: Caller<AlertFilter>) -> Result<web::Json<Page<AlertJson>>, Problem> {
    let filter = caller.query;
    let limit = query::limit(filter.limit)?;
    let (open, worst_first) = match filter.state.as_deref() {
        None | Some("open") => (Some(true), true),
        Some("firing") => (Some(true), false),
        Some("resolved") => (Some(false), false),
        Some("all") => (None, false),
        Some(other) => {
            let detail = format!("state is {other:?}; open, firing, resolved or all is allowed");
            return Err(Problem::field("state", detail));
        }
    };
    let wanted = AlertQuery {
        open,
        severity: filter.severity.as_deref().map(parse_severity).transpose()?,
        device: filter
            .device
            .as_deref()
            .map(|id| DeviceId::parse(id).map_err(|error| Problem::field("device", error)))
            .transpose()?,
        rule: filter
            .rule
            .as_deref()
            .map(|id| RuleId::parse(id).map_err(|error| Problem::field("rule", error)))
            .transpose()?,
        from_us: filter.from.as_deref().map(|t| parse_time("from", t)).transpose()?,
        to_us: filter.to.as_deref().map(|t| parse_time("to", t)).transpose()?,
        worst_first,
        after: filter.cursor.as_deref().map(parse_cursor).transpose()?,
        limit: limit + 1,
    };
    let mut found = state.alerting.store().alerts(wanted).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|(page, _)| format!("{}.{}", page.severity as u8, page.seq));
    Ok(web::Json(Page { items: found.iter().map(|(_, alert)| to_json(alert, None)).collect(), next }))
}

/// One alert with its history.
#[utoipa::path(get, path = "/alerts/{id}", tag = "alerts", params(("id" = String, Path)), responses(
    (status = 200, body = AlertJson), (status = 404, body = Problem)))]
pub async fn show(
    state: web::Data<State>,
    _caller: Caller,
    path: web::Path<String>,
) -> Result<web::Json<AlertJson>, Problem> {
    let id = parse_id(&path)?;
    let found = state.alerting.store().alert(id).await?;
    let (alert, steps) = found.ok_or_else(|| Problem::missing("alert", &path))?;
    Ok(web::Json(to_json(&alert, Some(steps))))
}

/// Take note of an alert: what waits to be pushed about it is withdrawn.
#[utoipa::path(post, path = "/alerts/{id}/acknowledge", tag = "alerts", params(("id" = String, Path)), responses(
    (status = 200, body = AlertJson), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub async fn acknowledge(
    state: web::Data<State>,
    caller: Caller,
    path: web::Path<String>,
) -> Result<web::Json<AlertJson>, Problem> {
    note(&state, caller, &path, false).await
}

/// Take an acknowledgement back.
#[utoipa::path(post, path = "/alerts/{id}/unacknowledge", tag = "alerts", params(("id" = String, Path)), responses(
    (status = 200, body = AlertJson), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub async fn unacknowledge(
    state: web::Data<State>,
    caller: Caller,
    path: web::Path<String>,
) -> Result<web::Json<AlertJson>, Problem> {
    note(&state, caller, &path, true).await
}

async fn note(state: &State, caller: Caller, id: &str, take_back: bool) -> Result<web::Json<AlertJson>, Problem> {
    caller.require(Role::Operator)?;
    let alert = state.alerting.acknowledge(parse_id(id)?, caller.identity.session.user.name, take_back).await?;
    Ok(web::Json(to_json(&alert, None)))
}

/// End an alert by hand. It fires anew once the trouble was over and came back.
#[utoipa::path(post, path = "/alerts/{id}/resolve", tag = "alerts", params(("id" = String, Path)), responses(
    (status = 200, body = AlertJson), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub async fn resolve(
    state: web::Data<State>,
    caller: Caller,
    path: web::Path<String>,
) -> Result<web::Json<AlertJson>, Problem> {
    caller.require(Role::Operator)?;
    let alert = state.alerting.resolve(parse_id(&path)?, caller.identity.session.user.name).await?;
    Ok(web::Json(to_json(&alert, None)))
}
