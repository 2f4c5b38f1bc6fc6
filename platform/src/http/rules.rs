//! Rules.

use super::State;
use super::devices::present;
use super::problem::Problem;
use super::query::{self, Page, duration_text, parse_duration, time_text};
use super::request::{Body, Caller};
use crate::alerting::{AlertingError, RuleView};
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use pulsewire_core::alert::{Comparison, HOLD_US_MAX, Rule, RuleError, Scope};
use pulsewire_core::ids::{DeviceId, GroupName, MetricName, RuleId, UserName};
use pulsewire_core::role::Role;
use pulsewire_core::severity::Severity;
use pulsewire_core::ulid::Ulid;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Most metric names that an error lists.
const NAMES_LISTED: usize = 12;

/// Which devices a rule looks at: exactly one of these.
#[derive(Debug, Clone, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScopeJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    devices: Option<Vec<String>>,
    /// `key:value`.
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    /// Only `true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    all: Option<bool>,
}

/// A rule.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct RuleJson {
    id: String,
    name: String,
    enabled: bool,
    metric: String,
    comparison: &'static str,
    threshold: f64,
    clear: f64,
    #[serde(rename = "for")]
    hold: String,
    severity: &'static str,
    scope: ScopeJson,
    message: String,
    version: u32,
    created: String,
    updated: String,
    updated_by: String,
    /// On how many devices it looks now.
    devices: usize,
    /// How many of its alerts fire.
    firing: usize,
}

/// A rule to be made.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRuleJson {
    id: Option<String>,
    name: String,
    metric: String,
    /// `>`, `>=`, `<` or `<=`.
    comparison: String,
    threshold: f64,
    /// The threshold if absent.
    clear: Option<f64>,
    /// `0s` if absent.
    #[serde(rename = "for")]
    hold: Option<String>,
    /// `warning` if absent.
    severity: Option<String>,
    /// All devices if absent.
    scope: Option<ScopeJson>,
    #[serde(default)]
    message: String,
    enabled: Option<bool>,
    /// Take a metric that no device in scope has yet.
    #[serde(default)]
    allow_unknown_metric: bool,
}

/// What to change; `"clear": null` makes it the threshold again.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleChange {
    name: Option<String>,
    metric: Option<String>,
    comparison: Option<String>,
    threshold: Option<f64>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<f64>)]
    clear: Option<Option<f64>>,
    #[serde(rename = "for")]
    hold: Option<String>,
    severity: Option<String>,
    scope: Option<ScopeJson>,
    message: Option<String>,
    enabled: Option<bool>,
    #[serde(default)]
    allow_unknown_metric: bool,
}

/// Which rules.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct RuleFilter {
    /// Those that look at this device.
    device: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
}

impl From<AlertingError> for Problem {
    fn from(error: AlertingError) -> Self {
        let detail = error.to_string();
        match error {
            AlertingError::RuleExists(_) => Self::new(StatusCode::CONFLICT, "exists", detail),
            AlertingError::NoRule(id) => Self::missing("rule", id.as_str()),
            AlertingError::NoAlert(id) => Self::missing("alert", &id.to_string()),
            AlertingError::TooManyRules(_) => Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_rules", detail),
            AlertingError::Resolved(_) => Self::new(StatusCode::CONFLICT, "resolved", detail),
            AlertingError::Store(cause) => {
                tracing::error!(%cause, "rules or alerts could not be stored");
                Self::unavailable(detail)
            }
            AlertingError::Stopping => Self::unavailable(detail),
        }
    }
}

fn rule_problem(error: &RuleError) -> Problem {
    match error {
        RuleError::Threshold { field, problem } => impossible(field, problem),
        other => Problem::field(other.field(), other),
    }
}

fn impossible(field: &str, problem: &str) -> Problem {
    Problem::unprocessable("impossible_threshold", field, problem)
}

fn parse_scope(json: &ScopeJson) -> Result<Scope, Problem> {
    let wrong = |detail: String| Problem::field("scope", detail);
    let device = |id: &String| DeviceId::parse(id).map_err(|error| Problem::field("scope.device", error));
    match json {
        ScopeJson { device: Some(id), devices: None, tag: None, group: None, all: None } => {
            Ok(Scope::Devices(vec![device(id)?]))
        }
        ScopeJson { device: None, devices: Some(ids), tag: None, group: None, all: None } => {
            Ok(Scope::Devices(ids.iter().map(device).collect::<Result<_, _>>()?))
        }
        ScopeJson { device: None, devices: None, tag: Some(tag), group: None, all: None } => {
            let (key, value) = tag
                .split_once(':')
                .ok_or_else(|| Problem::field("scope.tag", format!("scope.tag is {tag:?}; key:value is wanted")))?;
            Ok(Scope::Tag { key: key.to_owned(), value: value.to_owned() })
        }
        ScopeJson { device: None, devices: None, tag: None, group: Some(group), all: None } => {
            let group = GroupName::parse(group).map_err(|error| Problem::field("scope.group", error))?;
            Ok(Scope::Group(group))
        }
        ScopeJson { device: None, devices: None, tag: None, group: None, all: Some(true) } => Ok(Scope::All),
        _ => Err(wrong("scope wants exactly one of device, devices, tag, group or \"all\": true".into())),
    }
}

fn scope_json(scope: &Scope) -> ScopeJson {
    let empty = ScopeJson::default();
    match scope {
        Scope::All => ScopeJson { all: Some(true), ..empty },
        Scope::Devices(ids) if ids.len() == 1 => ScopeJson { device: ids.first().map(ToString::to_string), ..empty },
        Scope::Devices(ids) => ScopeJson { devices: Some(ids.iter().map(ToString::to_string).collect()), ..empty },
        Scope::Tag { key, value } => ScopeJson { tag: Some(format!("{key}:{value}")), ..empty },
        Scope::Group(group) => ScopeJson { group: Some(group.to_string()), ..empty },
    }
}

fn parse_comparison(sign: &str) -> Result<Comparison, Problem> {
    let wrong = || Problem::field("comparison", format!("comparison is {sign:?}; >, >=, < or <= is allowed"));
    Comparison::from_sign(sign).ok_or_else(wrong)
}

pub(super) fn parse_severity(name: &str) -> Result<Severity, Problem> {
    let wrong = || Problem::field("severity", format!("severity is {name:?}; info, warning or critical is allowed"));
    Severity::from_name(name).ok_or_else(wrong)
}

fn parse_hold(text: &str) -> Result<i64, Problem> {
    parse_duration("for", text, 0, HOLD_US_MAX)
}

fn parse_metric(name: &str) -> Result<MetricName, Problem> {
    MetricName::parse(name).map_err(|error| Problem::field("metric", error))
}

/// Checks a rule against what the devices in scope have: at least one must have the metric, in a type with which the rule
/// can both fire and stop. One odd device among good ones is no reason to refuse the rule for the others.
fn check_devices(state: &State, rule: &Rule, allow_unknown_metric: bool) -> Result<(), Problem> {
    let directory = state.directory.read().map_err(Problem::internal)?;
    let catalogue = state.catalogue.read().map_err(Problem::internal)?;
    let in_scope = || directory.after(None).filter(|device| rule.scope.takes(device));
    let mut unfit = None;
    for device in in_scope() {
        let Some(series) = catalogue.find(device.key, &rule.metric) else { continue };
        match rule.check_type(series.value_type) {
            Ok(()) => return Ok(()),
            Err(error) => drop(unfit.get_or_insert((device.id.clone(), error))),
        }
    }
    if let Some((device, error)) = unfit {
        return Err(impossible(error.field(), &format!("{error} (on {device}, and no device in scope fits better)")));
    }
    if allow_unknown_metric {
        return Ok(());
    }
    let names: BTreeSet<&str> =
        in_scope().flat_map(|device| catalogue.of_device(device.key)).map(|s| s.metric.as_str()).collect();
    let mut listed = names.iter().take(NAMES_LISTED).copied().collect::<Vec<_>>().join(", ");
    if names.len() > NAMES_LISTED {
        listed.push_str(", …");
    }
    let metrics = if names.is_empty() { "they have none yet".into() } else { format!("they have: {listed}") };
    let detail = format!(
        "no device in scope has the metric {:?} ({metrics}); give \"allow_unknown_metric\": true to wait for one",
        rule.metric.as_str()
    );
    Err(Problem::unprocessable("unknown_metric", "metric", &detail))
}

/// On how many devices a rule looks now.
fn devices_of(state: &State, rule: &Rule) -> usize {
    let (Ok(directory), Ok(catalogue)) = (state.directory.read(), state.catalogue.read()) else { return 0 };
    let has = |key| catalogue.find(key, &rule.metric).is_some();
    match &rule.scope {
        _ if !rule.enabled => 0,
        Scope::Devices(ids) => ids.iter().filter_map(|id| directory.by_id(id)).filter(|d| has(d.key)).count(),
        scope => directory.after(None).filter(|device| scope.takes(device) && has(device.key)).count(),
    }
}

fn to_json(state: &State, view: &RuleView) -> RuleJson {
    let rule = &view.rule;
    RuleJson {
        id: rule.id.to_string(),
        name: rule.name.clone(),
        enabled: rule.enabled,
        metric: rule.metric.to_string(),
        comparison: rule.comparison.sign(),
        threshold: rule.threshold,
        clear: rule.clear,
        hold: duration_text(rule.hold_us),
        severity: rule.severity.name(),
        scope: scope_json(&rule.scope),
        message: rule.message.clone(),
        version: rule.version,
        created: time_text(rule.created_us),
        updated: time_text(rule.updated_us),
        updated_by: rule.updated_by.to_string(),
        devices: devices_of(state, rule),
        firing: view.firing,
    }
}

fn new_id(now_us: i64) -> Result<RuleId, Problem> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(Problem::internal)?;
    let ulid = Ulid::from_parts(now_us, u128::from_be_bytes(bytes));
    RuleId::parse(&ulid.to_string()).map_err(Problem::internal)
}

fn build(new: NewRuleJson, now_us: i64, by: UserName) -> Result<Rule, Problem> {
    let id = match &new.id {
        Some(id) => RuleId::parse(id).map_err(|error| Problem::field("id", error))?,
        None => new_id(now_us)?,
    };
    Ok(Rule {
        id,
        name: new.name,
        enabled: new.enabled.unwrap_or(true),
        metric: parse_metric(&new.metric)?,
        comparison: parse_comparison(&new.comparison)?,
        threshold: new.threshold,
        clear: new.clear.unwrap_or(new.threshold),
        hold_us: new.hold.as_deref().map_or(Ok(0), parse_hold)?,
        severity: new.severity.as_deref().map_or(Ok(Severity::Warning), parse_severity)?,
        scope: new.scope.as_ref().map_or(Ok(Scope::All), parse_scope)?,
        message: new.message,
        version: 1,
        created_us: now_us,
        updated_us: now_us,
        updated_by: by,
    })
}

fn edited(old: &Rule, change: RuleChange, now_us: i64, by: UserName) -> Result<Rule, Problem> {
    let mut rule = old.clone();
    if let Some(name) = change.name {
        rule.name = name;
    }
    if let Some(metric) = &change.metric {
        rule.metric = parse_metric(metric)?;
    }
    if let Some(sign) = &change.comparison {
        rule.comparison = parse_comparison(sign)?;
    }
    if let Some(threshold) = change.threshold {
        // A rule without hysteresis stays one.
        if rule.clear == rule.threshold {
            rule.clear = threshold;
        }
        rule.threshold = threshold;
    }
    if let Some(clear) = change.clear {
        rule.clear = clear.unwrap_or(rule.threshold);
    }
    if let Some(hold) = &change.hold {
        rule.hold_us = parse_hold(hold)?;
    }
    if let Some(severity) = &change.severity {
        rule.severity = parse_severity(severity)?;
    }
    if let Some(scope) = &change.scope {
        rule.scope = parse_scope(scope)?;
    }
    if let Some(message) = change.message {
        rule.message = message;
    }
    rule.enabled = change.enabled.unwrap_or(rule.enabled);
    if rule != *old {
        rule.version += 1;
        rule.updated_us = now_us;
        rule.updated_by = by;
    }
    Ok(rule)
}

fn judges_differently(new: &Rule, old: &Rule) -> bool {
    let what = |rule: &Rule| (rule.metric.clone(), rule.comparison, rule.threshold, rule.clear, rule.scope.clone());
    what(new) != what(old)
}

async fn find(state: &State, id: &str) -> Result<RuleView, Problem> {
    let missing = || Problem::missing("rule", &id.chars().take(80).collect::<String>());
    let id = RuleId::parse(id).map_err(|_| missing())?;
    state.alerting.rule(id).await?.ok_or_else(missing)
}

/// Rules by id.
#[utoipa::path(get, path = "/rules", tag = "alerts", params(RuleFilter), responses(
    (status = 200, body = Page<RuleJson>), (status = 400, body = Problem)))]
pub async fn list(state: web::Data<State>, caller: Caller<RuleFilter>) -> Result<web::Json<Page<RuleJson>>, Problem> {
    let filter = caller.query;
    let limit = query::limit(filter.limit)?;
    let device = filter.device.as_deref().map(|id| super::devices::find(&state, id)).transpose()?;
    let views = state.alerting.rules().await?;
    let wanted = |view: &&RuleView| {
        filter.cursor.as_deref().is_none_or(|cursor| view.rule.id.as_str() > cursor)
            && device.as_ref().is_none_or(|device| view.rule.scope.takes(device))
    };
    let mut found: Vec<_> = views.iter().filter(wanted).take(limit + 1).collect();
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|view| view.rule.id.to_string());
    Ok(web::Json(Page { items: found.into_iter().map(|view| to_json(&state, view)).collect(), next }))
}

/// Make a rule.
#[utoipa::path(post, path = "/rules", tag = "alerts", request_body = NewRuleJson, responses(
    (status = 201, body = RuleJson), (status = 400, body = Problem), (status = 409, body = Problem),
    (status = 422, body = Problem)))]
pub async fn create(state: web::Data<State>, caller: Caller, body: Body<NewRuleJson>) -> Result<HttpResponse, Problem> {
    caller.require(Role::Operator)?;
    let new = body.read().await?;
    let allow_unknown_metric = new.allow_unknown_metric;
    let rule = build(new, state.clock.now_us(), caller.identity.session.user.name)?;
    rule.check().map_err(|error| rule_problem(&error))?;
    check_devices(&state, &rule, allow_unknown_metric)?;
    let view = state.alerting.create_rule(rule).await?;
    Ok(HttpResponse::Created().json(to_json(&state, &view)))
}

/// One rule.
#[utoipa::path(get, path = "/rules/{id}", tag = "alerts", params(("id" = String, Path)), responses(
    (status = 200, body = RuleJson), (status = 404, body = Problem)))]
pub async fn show(
    state: web::Data<State>,
    _caller: Caller,
    path: web::Path<String>,
) -> Result<web::Json<RuleJson>, Problem> {
    Ok(web::Json(to_json(&state, &find(&state, &path).await?)))
}

/// Edit a rule. Alerts that still hold go on, the others end.
#[utoipa::path(patch, path = "/rules/{id}", tag = "alerts", request_body = RuleChange,
    params(("id" = String, Path)), responses(
    (status = 200, body = RuleJson), (status = 400, body = Problem), (status = 404, body = Problem),
    (status = 422, body = Problem)))]
pub async fn update(
    state: web::Data<State>,
    caller: Caller,
    path: web::Path<String>,
    body: Body<RuleChange>,
) -> Result<web::Json<RuleJson>, Problem> {
    caller.require(Role::Operator)?;
    let change = body.read().await?;
    let (parts, by) = (state.clone(), caller.identity.session.user.name);
    let view = state
        .complete(async move {
            let _editing = parts.rule_edits.lock().await;
            let found = find(&parts, &path).await?;
            let switched_on = change.enabled == Some(true) && !found.rule.enabled;
            let allow_unknown_metric = change.allow_unknown_metric || (change.metric.is_none() && !switched_on);
            let rule = edited(&found.rule, change, parts.clock.now_us(), by)?;
            if rule == found.rule {
                return Ok(found);
            }
            rule.check().map_err(|error| rule_problem(&error))?;
            // A name can be mended, and a rule switched off, whatever the devices have become.
            if rule.enabled && (switched_on || judges_differently(&rule, &found.rule)) {
                check_devices(&parts, &rule, allow_unknown_metric)?;
            }
            Ok(parts.alerting.update_rule(rule).await?)
        })
        .await?;
    Ok(web::Json(to_json(&state, &view)))
}

/// Delete a rule; its alerts end.
#[utoipa::path(delete, path = "/rules/{id}", tag = "alerts", params(("id" = String, Path)), responses(
    (status = 204), (status = 404, body = Problem)))]
pub async fn delete(state: web::Data<State>, caller: Caller, path: web::Path<String>) -> Result<HttpResponse, Problem> {
    caller.require(Role::Operator)?;
    let parts = state.clone();
    let delete = async move {
        let _editing = parts.rule_edits.lock().await;
        let found = find(&parts, &path).await?;
        Ok(parts.alerting.delete_rule(found.rule.id).await?)
    };
    state.complete(delete).await?;
    Ok(HttpResponse::NoContent().finish())
}
