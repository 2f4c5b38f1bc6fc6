//! Alerts.

use super::State;
use super::devices::present;
use super::problem::Problem;
use super::query::{self, Page, json_number, parse_duration, parse_time, time_text};
use super::request::{Body, Caller};
use super::rules::parse_severity;
use crate::alerting::{OpenFilter, Quiet};
use crate::ports::{AlertPage, AlertQuery};
use actix_web::web;
use pulsewire_core::alert::{Alert, AlertStep, COMMENT_BYTES_MAX, Operation};
use pulsewire_core::ids::{AlertId, DeviceId, GroupName, RuleId, UserName};
use pulsewire_core::role::Role;
use pulsewire_core::scope::DeviceScope;
use pulsewire_core::severity::Severity;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};

/// Rules in a summary; the worst come first.
const RULES_LISTED: usize = 100;
/// Stored alerts read at a time when only some of them are wanted.
const SILENCED_SCAN: usize = 1000;
/// Alerts that a bulk operation names one by one.
const BULK_IDS_MAX: usize = 1000;
/// Longest silence of one alert, µs: 30 days.
const SILENCE_US_MAX: i64 = 30 * 86_400_000_000;

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

/// Why an alert is not told of now.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct SilencedJson {
    /// Null: until it resolves.
    until: Option<String>,
    by: String,
    reason: String,
    /// The silence, if it is one.
    silence: Option<String>,
}

/// An alert.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct AlertJson {
    id: String,
    rule: String,
    rule_name: String,
    /// `condition`, `no_data`, `group` or `overflow`.
    kind: &'static str,
    /// Empty for an alert about several.
    device: String,
    device_name: String,
    group: Option<String>,
    metric: String,
    unit: String,
    severity: &'static str,
    severity_max: &'static str,
    /// `firing` or `resolved`.
    state: &'static str,
    stale: bool,
    recovering: bool,
    flapping: bool,
    condition: String,
    comparison: Option<&'static str>,
    threshold: Option<f64>,
    clear: Option<f64>,
    value: serde_json::Value,
    text: String,
    labels: BTreeMap<String, String>,
    runbook: String,
    started: String,
    fired: String,
    resolved: Option<String>,
    resolved_reason: Option<&'static str>,
    reopened: u32,
    acknowledged: Option<AcknowledgedJson>,
    assigned: Option<String>,
    silenced: Option<SilencedJson>,
    parent: Option<String>,
    members: u32,
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
    group: Option<String>,
    /// Only those that a silence keeps quiet now, or only the others.
    silenced: Option<bool>,
    acknowledged: Option<bool>,
    /// Alerts that had not ended at this time.
    from: Option<String>,
    /// Alerts that fired before this time.
    to: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
}

fn quiet_json(quiet: &Quiet) -> SilencedJson {
    SilencedJson {
        until: quiet.until_us.map(time_text),
        by: quiet.by.to_string(),
        reason: quiet.reason.clone(),
        silence: quiet.silence.map(|id| id.to_string()),
    }
}

pub(super) fn to_json(alert: &Alert, quiet: Option<&Quiet>, history: Option<Vec<AlertStep>>) -> AlertJson {
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
        kind: alert.kind.name(),
        device: alert.device_id.clone(),
        device_name: alert.device_name.clone(),
        group: alert.group.as_ref().map(ToString::to_string),
        metric: alert.metric.to_string(),
        unit: alert.unit.clone(),
        severity: alert.severity.name(),
        severity_max: alert.severity_max.name(),
        state: if alert.is_open() { "firing" } else { "resolved" },
        stale: alert.stale,
        recovering: alert.recovering,
        flapping: alert.flapping,
        condition: alert.condition.clone(),
        comparison: alert.threshold.map(|t| t.comparison.sign()),
        threshold: alert.threshold.map(|t| t.value),
        clear: alert.threshold.and_then(|t| t.clear),
        value: json_number(alert.value),
        text: alert.text.clone(),
        labels: alert.labels.clone(),
        runbook: alert.runbook.clone(),
        started: time_text(alert.started_us),
        fired: time_text(alert.fired_us),
        resolved: alert.resolved.map(|(time_us, _)| time_text(time_us)),
        resolved_reason: alert.resolved.map(|(_, reason)| reason.name()),
        reopened: alert.reopened,
        acknowledged: alert
            .acknowledged
            .as_ref()
            .map(|a| AcknowledgedJson { user: a.user.to_string(), time: time_text(a.time_us) }),
        assigned: alert.assigned.as_ref().map(ToString::to_string),
        silenced: quiet.map(quiet_json),
        parent: alert.parent.map(|id| id.to_string()),
        members: alert.members,
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

/// The stored alerts, with what the running service knows of those that are open.
async fn with_quiet(state: &State, alerts: Vec<Alert>) -> Result<Vec<AlertJson>, Problem> {
    let open: Vec<AlertId> = alerts.iter().filter(|alert| alert.is_open()).map(|alert| alert.id).collect();
    let mut quiet = HashMap::new();
    if !open.is_empty() {
        for one in state.alerting.open(OpenFilter { ids: Some(open), ..OpenFilter::default() }).await? {
            quiet.insert(one.alert.id, one.quiet);
        }
    }
    let find = |alert: &Alert| quiet.get(&alert.id).and_then(Option::as_ref);
    Ok(alerts.iter().map(|alert| to_json(alert, find(alert), None)).collect())
}

fn parse_device(id: &str) -> Result<DeviceId, Problem> {
    DeviceId::parse(id).map_err(|error| Problem::field("device", error))
}

fn parse_rule(id: &str) -> Result<RuleId, Problem> {
    RuleId::parse(id).map_err(|error| Problem::field("rule", error))
}

fn parse_group(name: &str) -> Result<GroupName, Problem> {
    GroupName::parse(name).map_err(|error| Problem::field("group", error))
}

/// Alerts.
#[utoipa::path(get, path = "/alerts", tag = "alerts", params(AlertFilter), responses(
    (status = 200, body = Page<AlertJson>), (status = 400, body = Problem)))]
pub async fn list(state: web::Data<State>, caller: Caller<AlertFilter>) -> Result<web::Json<Page<AlertJson>>, Problem> {
    let filter = &caller.query;
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
    if filter.silenced.is_some() && (open != Some(true) || filter.from.is_some() || filter.to.is_some()) {
        let detail = "silenced asks what is silenced now: only open alerts are, and without from and to";
        return Err(Problem::field("silenced", detail));
    }
    let wanted = AlertQuery {
        scope: caller.scope().clone(),
        open,
        severity: filter.severity.as_deref().map(parse_severity).transpose()?,
        device: filter.device.as_deref().map(parse_device).transpose()?,
        rule: filter.rule.as_deref().map(parse_rule).transpose()?,
        group: filter.group.as_deref().map(parse_group).transpose()?,
        acknowledged: filter.acknowledged,
        from_us: filter.from.as_deref().map(|t| parse_time("from", t)).transpose()?,
        to_us: filter.to.as_deref().map(|t| parse_time("to", t)).transpose()?,
        worst_first,
        after: filter.cursor.as_deref().map(parse_cursor).transpose()?,
        limit: limit + 1,
    };
    let Some(silenced) = filter.silenced else {
        let mut found = state.alerting.store().alerts(wanted).await?;
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|(page, _)| format!("{}.{}", page.severity as u8, page.seq));
        let items = with_quiet(&state, found.into_iter().map(|(_, alert)| alert).collect()).await?;
        return Ok(web::Json(Page { items, next }));
    };
    Ok(web::Json(list_silenced(&state, wanted, limit, silenced).await?))
}

/// Open alerts that are silenced now, or those that are not. What is silenced changes with the clock and is not stored, so stored
/// pages are read until one is full.
async fn list_silenced(
    state: &State,
    wanted: AlertQuery,
    limit: usize,
    silenced: bool,
) -> Result<Page<AlertJson>, Problem> {
    let quiet: HashMap<AlertId, Quiet> = state
        .alerting
        .open(OpenFilter { silenced: Some(true), scope: wanted.scope.clone(), ..OpenFilter::default() })
        .await?
        .into_iter()
        .filter_map(|open| Some((open.alert.id, open.quiet?)))
        .collect();
    let (mut items, mut after) = (Vec::new(), wanted.after);
    loop {
        let page = state.alerting.store().alerts(AlertQuery { after, limit: SILENCED_SCAN, ..wanted.clone() }).await?;
        let last = page.len() < SILENCED_SCAN;
        for (at, alert) in page {
            let is_quiet = quiet.get(&alert.id);
            if is_quiet.is_some() == silenced {
                if items.len() == limit {
                    let next = after.map(|page: AlertPage| format!("{}.{}", page.severity as u8, page.seq));
                    return Ok(Page { items, next });
                }
                items.push(to_json(&alert, is_quiet, None));
            }
            after = Some(at);
        }
        if last {
            return Ok(Page { items, next: None });
        }
    }
}

/// How many alerts are open, and by which rules.
#[utoipa::path(get, path = "/alerts/summary", tag = "alerts", responses((status = 200, body = Object)))]
pub async fn summary(state: web::Data<State>, caller: Caller) -> Result<web::Json<serde_json::Value>, Problem> {
    struct OfRule {
        name: String,
        severity: Severity,
        open: usize,
        devices: std::collections::HashSet<String>,
    }
    let filter = OpenFilter { scope: caller.scope().clone(), ..OpenFilter::default() };
    let open = state.alerting.open(filter).await?;
    let count = |severity| open.iter().filter(|one| one.alert.severity == severity).count();
    let mut rules: BTreeMap<RuleId, OfRule> = BTreeMap::new();
    for one in &open {
        let alert = &one.alert;
        let of = rules.entry(alert.rule.clone()).or_insert_with(|| OfRule {
            name: alert.rule_name.clone(),
            severity: alert.severity,
            open: 0,
            devices: std::collections::HashSet::new(),
        });
        of.severity = of.severity.max(alert.severity);
        of.open += 1;
        of.devices.insert(alert.device_id.clone());
    }
    let mut rules: Vec<_> = rules.into_iter().collect();
    rules.sort_by(|(a, x), (b, y)| (y.severity, y.open, a).cmp(&(x.severity, x.open, b)));
    let by_rule = |(rule, of): &(RuleId, OfRule)| json!({ "rule": rule.as_str(), "rule_name": of.name, "severity": of.severity.name(), "open": of.open, "devices": of.devices.len() });
    Ok(web::Json(json!({
        "open": { "critical": count(Severity::Critical), "warning": count(Severity::Warning), "info": count(Severity::Info) },
        "silenced": open.iter().filter(|one| one.quiet.is_some()).count(),
        "acknowledged": open.iter().filter(|one| one.alert.acknowledged.is_some()).count(),
        "by_rule": rules.iter().take(RULES_LISTED).map(by_rule).collect::<Vec<_>>(),
    })))
}

/// A stored alert; one of a device outside the scope is as if it did not exist.
async fn find(state: &State, scope: &DeviceScope, id: AlertId) -> Result<(Alert, Vec<AlertStep>), Problem> {
    let missing = || Problem::missing("alert", &id.to_string());
    let found = state.alerting.store().alert(id).await?.ok_or_else(missing)?;
    let directory = state.directory.read().map_err(Problem::internal)?;
    if crate::alerting::sees(scope, &found.0, &directory) { Ok(found) } else { Err(missing()) }
}

/// One alert with its history.
#[utoipa::path(get, path = "/alerts/{id}", tag = "alerts", params(("id" = String, Path)), responses(
    (status = 200, body = AlertJson), (status = 404, body = Problem)))]
pub async fn show(
    state: web::Data<State>,
    caller: Caller,
    path: web::Path<String>,
) -> Result<web::Json<AlertJson>, Problem> {
    let id = parse_id(&path)?;
    let (alert, steps) = find(&state, caller.scope(), id).await?;
    let open = state.alerting.open(OpenFilter { ids: Some(vec![id]), ..OpenFilter::default() }).await?;
    let quiet = open.first().and_then(|open| open.quiet.as_ref());
    Ok(web::Json(to_json(&alert, quiet, Some(steps))))
}

/// What to do with one alert, or many.
#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OperationJson {
    /// Silence: how long; absent: until it resolves.
    #[serde(rename = "for")]
    hold: Option<String>,
    /// Silence: why.
    reason: Option<String>,
    /// Assign: to whom; null: nobody.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    user: Option<Option<String>>,
    /// Comment: what.
    text: Option<String>,
}

/// The actions, as their paths and `action` name them.
const ACTIONS: [&str; 7] = ["acknowledge", "unacknowledge", "resolve", "silence", "unsilence", "assign", "comment"];

async fn operation(state: &State, action: &str, body: OperationJson) -> Result<Operation, Problem> {
    let OperationJson { hold, reason, user, text } = body;
    let given =
        [("for", hold.is_some()), ("reason", reason.is_some()), ("user", user.is_some()), ("text", text.is_some())];
    let takes: &[&str] = match action {
        "silence" => &["for", "reason"],
        "assign" => &["user"],
        "comment" => &["text"],
        _ => &[],
    };
    if let Some((field, _)) = given.into_iter().find(|(field, given)| *given && !takes.contains(field)) {
        return Err(Problem::field(field, format!("{field} means nothing to {action}")));
    }
    Ok(match action {
        "acknowledge" => Operation::Acknowledge,
        "unacknowledge" => Operation::Unacknowledge,
        "resolve" => Operation::Resolve,
        "unsilence" => Operation::Unsilence,
        "silence" => {
            let reason = reason.unwrap_or_default();
            check_text("reason", &reason, 0)?;
            let for_us = hold.as_deref().map(|t| parse_duration("for", t, 1_000_000, SILENCE_US_MAX)).transpose()?;
            Operation::Silence { until_us: for_us.map(|us| state.clock.now_us().saturating_add(us)), reason }
        }
        "assign" => match user {
            None => return Err(Problem::field("user", "user is missing; a user's name or null is wanted")),
            Some(None) => Operation::Assign(None),
            Some(Some(name)) => {
                let user = UserName::parse(&name).map_err(|error| Problem::field("user", error))?;
                if state.users.user(&user).await?.is_none() {
                    return Err(Problem::field("user", format!("there is no user {user}")));
                }
                Operation::Assign(Some(user))
            }
        },
        "comment" => {
            let text = text.unwrap_or_default();
            check_text("text", &text, 1)?;
            Operation::Comment(text)
        }
        other => {
            let given: String = other.chars().take(80).collect();
            return Err(Problem::field(
                "action",
                format!("action is {given:?}; one of {} is wanted", ACTIONS.join(", ")),
            ));
        }
    })
}

fn check_text(field: &str, text: &str, min: usize) -> Result<(), Problem> {
    let control = text.chars().any(|c| c.is_control() && c != '\n');
    if text.trim().len() < min || text.len() > COMMENT_BYTES_MAX || control {
        let detail = format!(
            "{field} wants {min}-{COMMENT_BYTES_MAX} bytes without control characters; {} were given",
            text.len()
        );
        return Err(Problem::field(field, detail));
    }
    Ok(())
}

/// Do something with one alert: `acknowledge`, `unacknowledge`, `resolve`, `silence`, `unsilence`, `assign` or `comment`.
#[utoipa::path(post, path = "/alerts/{id}/{action}", tag = "alerts", request_body = OperationJson,
    params(("id" = String, Path), ("action" = String, Path)), responses(
    (status = 200, body = AlertJson), (status = 400, body = Problem), (status = 404, body = Problem),
    (status = 409, body = Problem)))]
pub async fn operate(
    state: web::Data<State>,
    caller: Caller,
    path: web::Path<(String, String)>,
    body: Body<OperationJson>,
) -> Result<web::Json<AlertJson>, Problem> {
    caller.require(Role::Operator)?;
    let (id, action) = path.into_inner();
    if !ACTIONS.contains(&action.as_str()) {
        return Err(Problem::missing("action", &action.chars().take(80).collect::<String>()));
    }
    let id = parse_id(&id)?;
    let operation = operation(&state, &action, body.read_or_default().await?).await?;
    if !caller.scope().is_all() {
        find(&state, caller.scope(), id).await?;
    }
    let open = state.alerting.operate(id, operation, caller.identity.session.user.name).await?;
    Ok(web::Json(to_json(&open.alert, open.quiet.as_ref(), None)))
}

/// The same for many alerts.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkJson {
    /// As the paths of one alert are called.
    action: String,
    /// These, at most 1,000.
    #[serde(default)]
    ids: Option<Vec<String>>,
    /// Or all open ones that fit.
    #[serde(default)]
    filter: Option<BulkFilterJson>,
    #[serde(default, rename = "for")]
    hold: Option<String>,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    user: Option<Option<String>>,
    #[serde(default)]
    text: Option<String>,
}

/// Which open alerts.
#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BulkFilterJson {
    severity: Option<String>,
    rule: Option<String>,
    device: Option<String>,
    group: Option<String>,
    silenced: Option<bool>,
    acknowledged: Option<bool>,
}

/// Do something with many alerts.
#[utoipa::path(post, path = "/alerts/bulk", tag = "alerts", request_body = BulkJson, responses(
    (status = 200, body = Object), (status = 400, body = Problem)))]
pub async fn bulk(
    state: web::Data<State>,
    caller: Caller,
    body: Body<BulkJson>,
) -> Result<web::Json<serde_json::Value>, Problem> {
    caller.require(Role::Operator)?;
    let BulkJson { action, ids, filter, hold, reason, user, text } = body.read().await?;
    let filter = match (ids, filter) {
        (Some(ids), None) if ids.len() <= BULK_IDS_MAX => OpenFilter {
            ids: Some(ids.iter().map(|id| parse_id(id)).collect::<Result<_, _>>()?),
            scope: caller.scope().clone(),
            ..OpenFilter::default()
        },
        (Some(ids), None) => {
            let detail = format!("ids has {} entries; at most {BULK_IDS_MAX} are allowed, or a filter", ids.len());
            return Err(Problem::field("ids", detail));
        }
        (None, Some(filter)) => OpenFilter {
            ids: None,
            scope: caller.scope().clone(),
            severity: filter.severity.as_deref().map(parse_severity).transpose()?,
            rule: filter.rule.as_deref().map(parse_rule).transpose()?,
            device: filter.device.as_deref().map(parse_device).transpose()?,
            group: filter.group.as_deref().map(parse_group).transpose()?,
            silenced: filter.silenced,
            acknowledged: filter.acknowledged,
        },
        _ => return Err(Problem::field("ids", "exactly one of ids and filter is wanted")),
    };
    let operation = operation(&state, &action, OperationJson { hold, reason, user, text }).await?;
    let bulk = state.alerting.bulk(filter, operation, caller.identity.session.user.name).await?;
    Ok(web::Json(json!({ "matched": bulk.matched, "changed": bulk.changed })))
}
