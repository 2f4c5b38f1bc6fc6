//! Rules.

use super::State;
use super::problem::{self, FieldProblem, Problem};
use super::query::{self, Page, time_text};
use super::request::{Body, Caller};
use crate::alerting::{AlertingError, RuleView};
use crate::ports::RuleChangeKind;
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use pulsewire_core::alert::{
    Authorship, ClearDocument, Comparison, LevelDocument, Rule, RuleDocument, RuleError, RuleProblem, Scope,
};
use pulsewire_core::expr::Expr;
use pulsewire_core::ids::{MetricName, RuleId};
use pulsewire_core::role::Role;
use pulsewire_core::severity::Severity;
use pulsewire_core::ulid::Ulid;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Most metric names that an error lists.
const NAMES_LISTED: usize = 12;
/// Most metrics that a check answers.
const METRICS_LISTED: usize = 200;
/// The fields by which a rule of one level is written without `levels`.
const SHORTHAND: [&str; 6] = ["when", "clear", "severity", "metric", "comparison", "threshold"];
/// Those of them that make it a threshold.
const THRESHOLD: [&str; 3] = ["metric", "comparison", "threshold"];

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

/// A version of a rule.
#[derive(Serialize, utoipa::ToSchema)]
pub struct RuleVersionJson {
    version: u32,
    /// `created`, `edited`, `paused`, `resumed` or `deleted`.
    change: &'static str,
    time: String,
    user: String,
    /// The rule as it was then.
    #[schema(value_type = Object)]
    rule: Value,
}

impl From<AlertingError> for Problem {
    fn from(error: AlertingError) -> Self {
        let detail = error.to_string();
        match error {
            AlertingError::RuleExists(_) => Self::new(StatusCode::CONFLICT, "exists", detail),
            AlertingError::NoRule(id) => Self::missing("rule", id.as_str()),
            AlertingError::NoAlert(id) => Self::missing("alert", &id.to_string()),
            AlertingError::NoSilence(id) => Self::missing("silence", &id.to_string()),
            AlertingError::Rule(error) => rule_problem(&error),
            AlertingError::TooManyRules(_) => Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_rules", detail),
            AlertingError::Silence(error) => super::silences::silence_problem(&error),
            AlertingError::Resolved(_) => Self::new(StatusCode::CONFLICT, "resolved", detail),
            AlertingError::SilenceEnded(_) => Self::new(StatusCode::CONFLICT, "ended", detail),
            AlertingError::Store(cause) => {
                tracing::error!(%cause, "rules or alerts could not be stored");
                Self::unavailable(detail)
            }
            AlertingError::Stopping => Self::unavailable(detail),
        }
    }
}

pub(super) fn rule_problem(error: &RuleError) -> Problem {
    let code = match error.kind {
        RuleProblem::Field => return Problem::field(&error.field, error),
        RuleProblem::Expression => "expression",
        RuleProblem::Template => "template",
        RuleProblem::Schedule => "schedule",
        RuleProblem::Threshold => "impossible_threshold",
        RuleProblem::Everything => "matches_everything",
    };
    let mut problem = Problem::unprocessable(code, &error.field, &error.to_string());
    let at = error.at.as_ref().map(|at| [at.start, at.end]);
    problem.errors = vec![FieldProblem {
        at,
        problem: Some(error.problem.clone()),
        remedy: (!error.remedy.is_empty()).then(|| error.remedy.clone()),
        ..FieldProblem::new(&error.field, &error.to_string())
    }];
    problem
}

pub(super) fn parse_severity(name: &str) -> Result<Severity, Problem> {
    let wrong = || Problem::field("severity", format!("severity is {name:?}; info, warning or critical is allowed"));
    Severity::from_name(name).ok_or_else(wrong)
}

/// A rule's document, and whether it may look at metrics that no device has yet.
pub(super) fn read_document(body: Value) -> Result<(RuleDocument, bool), Problem> {
    let Value::Object(mut fields) = body else {
        return Err(Problem::bad_request("malformed_json", "a rule is a JSON object"));
    };
    let allow = match fields.remove("allow_unknown_metric") {
        None => false,
        Some(Value::Bool(allow)) => allow,
        Some(other) => {
            let detail = format!("allow_unknown_metric is {other}; true or false is wanted");
            return Err(Problem::field("allow_unknown_metric", detail));
        }
    };
    let document = serde_path_to_error::deserialize(Value::Object(fields)).map_err(|error| problem::json(&error))?;
    Ok((document, allow))
}

/// Checks a rule against what the devices in scope have: at least one must have all its metrics, in types with which it can
/// both fire and stop. One odd device among good ones is no reason to refuse the rule for the others.
fn check_devices(state: &State, rule: &Rule, allow_unknown_metric: bool) -> Result<(), Problem> {
    let directory = state.directory.read().map_err(Problem::internal)?;
    let catalogue = state.catalogue.read().map_err(Problem::internal)?;
    let in_scope = || directory.after(None).filter(|device| rule.scope.takes(device));
    let metrics = rule.metrics();
    let (mut unfit, mut unknown) = (None, None);
    for device in in_scope() {
        let types: Vec<_> = metrics.iter().map(|m| catalogue.find(device.key, m).map(|s| s.value_type)).collect();
        if let Some(missing) = types.iter().position(Option::is_none) {
            unknown.get_or_insert(missing);
            continue;
        }
        match rule.check_types(&types) {
            Ok(()) => return Ok(()),
            Err(error) => drop(unfit.get_or_insert((device.id.clone(), error))),
        }
    }
    if let Some((device, error)) = unfit {
        let problem = format!("{} (on {device}, and no device in scope fits better)", error.problem);
        return Err(rule_problem(&RuleError { problem, ..error }));
    }
    if allow_unknown_metric {
        return Ok(());
    }
    let Some(unknown) = unknown else {
        let detail = "no device is in the scope, so the rule would never fire; give \"allow_unknown_metric\": true to wait for one";
        return Err(Problem::unprocessable("matches_nothing", "scope", detail));
    };
    let names: BTreeSet<&str> =
        in_scope().flat_map(|device| catalogue.of_device(device.key)).map(|s| s.metric.as_str()).collect();
    let mut listed = names.iter().take(NAMES_LISTED).copied().collect::<Vec<_>>().join(", ");
    if names.len() > NAMES_LISTED {
        listed.push_str(", …");
    }
    let have = if names.is_empty() { "they have none yet".into() } else { format!("they have: {listed}") };
    let detail = format!(
        "no device in scope has the metric {:?} ({have}); give \"allow_unknown_metric\": true to wait for one",
        metrics[unknown].as_str()
    );
    Err(Problem::unprocessable("unknown_metric", "metric", &detail))
}

/// On how many devices a rule looks now: those in scope that have its first metric.
fn devices_of(state: &State, rule: &Rule) -> usize {
    let (Ok(directory), Ok(catalogue)) = (state.directory.read(), state.catalogue.read()) else { return 0 };
    let metrics = rule.metrics();
    let has = |key| metrics.iter().any(|metric| catalogue.find(key, metric).is_some());
    match &rule.scope {
        _ if !rule.enabled => 0,
        Scope::Devices(ids) => ids.iter().filter_map(|id| directory.by_id(id)).filter(|d| has(d.key)).count(),
        scope => directory.after(None).filter(|device| scope.takes(device) && has(device.key)).count(),
    }
}

fn threshold_json(expr: &Expr) -> Value {
    match expr.threshold() {
        Some((metric, comparison, value)) => {
            json!({ "metric": metric.as_str(), "comparison": comparison.sign(), "value": value })
        }
        None => Value::Null,
    }
}

/// A rule's document with every field, and the thresholds that its levels are.
fn document_json(rule: &Rule) -> Result<Map<String, Value>, Problem> {
    let document = serde_json::to_value(RuleDocument::from(rule)).map_err(Problem::internal)?;
    let Value::Object(mut fields) = document else { return Ok(Map::new()) };
    let level = |level: &pulsewire_core::alert::Level| {
        json!({
            "severity": level.severity.name(),
            "when": level.when.text(),
            "clear": level.clear.as_ref().map(Expr::text),
            "threshold": threshold_json(&level.when),
            "clear_threshold": level.clear.as_ref().map_or(Value::Null, threshold_json),
        })
    };
    fields.insert("levels".into(), rule.levels.iter().map(level).collect());
    fields.insert("metrics".into(), rule.metrics().iter().map(MetricName::as_str).collect());
    for field in ["for", "count", "staleness", "no_data", "schedule"] {
        fields.entry(field).or_insert(Value::Null);
    }
    fields.entry("labels").or_insert_with(|| json!({}));
    for field in ["message", "runbook"] {
        fields.entry(field).or_insert_with(|| json!(""));
    }
    Ok(fields)
}

fn to_json(state: &State, view: &RuleView) -> Result<Value, Problem> {
    let rule = &view.rule;
    let mut fields = document_json(rule)?;
    let more = [
        ("version", json!(rule.version)),
        ("created", json!(time_text(rule.created_us))),
        ("updated", json!(time_text(rule.updated_us))),
        ("updated_by", json!(rule.updated_by.as_str())),
        ("devices", json!(devices_of(state, rule))),
        ("firing", json!(view.standing.firing)),
        ("pending", json!(view.standing.pending)),
        ("stale", json!(view.standing.stale)),
    ];
    fields.extend(more.map(|(name, value)| (name.to_owned(), value)));
    Ok(Value::Object(fields))
}

fn new_id(now_us: i64) -> Result<RuleId, Problem> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(Problem::internal)?;
    let ulid = Ulid::from_parts(now_us, u128::from_be_bytes(bytes));
    RuleId::parse(&ulid.to_string()).map_err(Problem::internal)
}

/// A rule that is new, checked.
pub(super) fn build(state: &State, body: Value, caller: &Caller) -> Result<Rule, Problem> {
    let (document, allow_unknown_metric) = read_document(body)?;
    let now_us = state.clock.now_us();
    let id = match &document.id {
        Some(id) => RuleId::parse(id).map_err(|error| Problem::field("id", error))?,
        None => new_id(now_us)?,
    };
    let updated_by = caller.identity.session.user.name.clone();
    let by = Authorship { id, version: 1, created_us: now_us, updated_us: now_us, updated_by };
    let rule = document.rule(by).map_err(|error| rule_problem(&error))?;
    check_devices(state, &rule, allow_unknown_metric)?;
    Ok(rule)
}

/// The document as it would be written if a patch of shorthand fields was to be put on it.
fn for_patch(mut document: RuleDocument, patch: &Map<String, Value>) -> Result<RuleDocument, Problem> {
    let touches = |fields: &[&str]| fields.iter().any(|field| patch.contains_key(*field));
    if patch.contains_key("levels") || !touches(&SHORTHAND) {
        return Ok(document);
    }
    let level = match document.levels.take().as_deref() {
        Some([level]) => level.clone(),
        _ => {
            let detail = "the rule has several levels; give all of them as levels";
            return Err(Problem::field("levels", detail));
        }
    };
    document.severity = Some(level.severity.clone());
    let number = patch.get("clear").is_some_and(|clear| clear.is_number());
    let threshold = (touches(&THRESHOLD) || number) && !patch.contains_key("when");
    match as_threshold(&level).filter(|_| threshold) {
        Some((metric, comparison, value, clear)) => {
            document.metric = Some(metric.to_string());
            document.comparison = Some(comparison.sign().to_owned());
            document.threshold = Some(value);
            document.clear = clear.map(ClearDocument::Number);
        }
        // A whole threshold in place of an expression.
        None if threshold => {}
        None => {
            document.when = Some(level.when);
            document.clear = level.clear.map(ClearDocument::Expression);
        }
    }
    Ok(document)
}

/// A level as the fields of a threshold, if it can be written so.
fn as_threshold(level: &LevelDocument) -> Option<(MetricName, Comparison, f64, Option<f64>)> {
    let (metric, comparison, value) = Expr::parse(&level.when).ok()?.threshold()?;
    let clear = match &level.clear {
        None => None,
        Some(clear) => match Expr::parse(clear).ok()?.threshold()? {
            (of, clears, clear) if of == metric && clears == comparison.opposite() => Some(clear),
            _ => return None,
        },
    };
    Some((metric, comparison, value, clear))
}

/// RFC 7396.
fn merge(target: &mut Value, patch: Value) {
    match patch {
        Value::Object(fields) => {
            if !target.is_object() {
                *target = Value::Object(Map::new());
            }
            let Value::Object(own) = target else { return };
            for (name, value) in fields {
                if value.is_null() {
                    own.remove(&name);
                } else {
                    merge(own.entry(name).or_insert(Value::Null), value);
                }
            }
        }
        other => *target = other,
    }
}

fn edited(state: &State, old: &Rule, patch: Value, caller: &Caller) -> Result<Rule, Problem> {
    let Value::Object(mut patch) = patch else {
        return Err(Problem::bad_request("malformed_json", "what to change is a JSON object"));
    };
    if patch.contains_key("id") {
        return Err(Problem::field("id", "the id of a rule cannot be changed; make a new rule"));
    }
    let allow = patch.remove("allow_unknown_metric").unwrap_or(Value::Bool(false));
    // One of these takes the place of the other; whole values, not parts of them.
    let document = for_patch(RuleDocument::from(old), &patch)?;
    let mut whole = serde_json::to_value(document).map_err(Problem::internal)?;
    if let Value::Object(fields) = &mut whole {
        for field in ["scope", "levels", "schedule"].into_iter().filter(|field| patch.contains_key(*field)) {
            fields.remove(field);
        }
        if patch.get("count").is_some_and(|count| !count.is_null()) {
            fields.remove("for");
        }
        if patch.get("for").is_some_and(|hold| !hold.is_null()) {
            fields.remove("count");
        }
        // Labels are a map of the user's: a patch of one adds or removes it.
    }
    merge(&mut whole, Value::Object(patch));
    if let Value::Object(fields) = &mut whole {
        fields.remove("id");
        fields.insert("allow_unknown_metric".into(), allow);
    }
    let (document, allow_unknown_metric) = read_document(whole)?;
    let by = Authorship {
        id: old.id.clone(),
        version: old.version,
        created_us: old.created_us,
        updated_us: old.updated_us,
        updated_by: old.updated_by.clone(),
    };
    let mut rule = document.rule(by).map_err(|error| rule_problem(&error))?;
    if rule == *old {
        return Ok(rule);
    }
    // A name can be mended, and a rule switched off, whatever the devices have become.
    let switched_on = rule.enabled && !old.enabled;
    if rule.enabled && (switched_on || rule.levels != old.levels || rule.scope != old.scope) {
        let same_metrics = rule.metrics() == old.metrics();
        check_devices(state, &rule, allow_unknown_metric || (same_metrics && !switched_on))?;
    }
    rule.version = old.version + 1;
    rule.updated_us = state.clock.now_us();
    rule.updated_by = caller.identity.session.user.name.clone();
    Ok(rule)
}

async fn find(state: &State, id: &str) -> Result<RuleView, Problem> {
    let missing = || Problem::missing("rule", &id.chars().take(80).collect::<String>());
    let id = RuleId::parse(id).map_err(|_| missing())?;
    state.alerting.rule(id).await?.ok_or_else(missing)
}

/// Rules by id.
#[utoipa::path(get, path = "/rules", tag = "alerts", params(RuleFilter), responses(
    (status = 200, body = Object, description = "`items`: rules as docs/http-api.md has them, `next`"),
    (status = 400, body = Problem)))]
pub async fn list(state: web::Data<State>, caller: Caller<RuleFilter>) -> Result<web::Json<Page<Value>>, Problem> {
    let filter = &caller.query;
    let limit = query::limit(filter.limit)?;
    let device = filter.device.as_deref().map(|id| super::devices::find(&state, caller.scope(), id)).transpose()?;
    let views = state.alerting.rules().await?;
    let wanted = |view: &&RuleView| {
        filter.cursor.as_deref().is_none_or(|cursor| view.rule.id.as_str() > cursor)
            && device.as_ref().is_none_or(|device| view.rule.scope.takes(device))
    };
    let mut found: Vec<_> = views.iter().filter(wanted).take(limit + 1).collect();
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|view| view.rule.id.to_string());
    let items = found.into_iter().map(|view| to_json(&state, view)).collect::<Result<_, _>>()?;
    Ok(web::Json(Page { items, next }))
}

/// Make a rule.
#[utoipa::path(post, path = "/rules", tag = "alerts",
    request_body(content = Object, description = "a rule as docs/http-api.md has it"), responses(
    (status = 201, body = Object), (status = 400, body = Problem), (status = 409, body = Problem),
    (status = 422, body = Problem)))]
pub async fn create(state: web::Data<State>, caller: Caller, body: Body<Value>) -> Result<HttpResponse, Problem> {
    caller.require(Role::Operator)?;
    let rule = build(&state, body.read().await?, &caller)?;
    let view = state.alerting.create_rule(rule).await?;
    Ok(HttpResponse::Created().json(to_json(&state, &view)?))
}

/// Check a rule without making it.
#[utoipa::path(post, path = "/rules/check", tag = "alerts",
    request_body(content = Object, description = "a rule as for POST /rules"), responses(
    (status = 200, body = Object), (status = 400, body = Problem), (status = 422, body = Problem)))]
pub async fn check(state: web::Data<State>, caller: Caller, body: Body<Value>) -> Result<web::Json<Value>, Problem> {
    let rule = build(&state, body.read().await?, &caller)?;
    let metrics = {
        let directory = state.directory.read().map_err(Problem::internal)?;
        let catalogue = state.catalogue.read().map_err(Problem::internal)?;
        let mut metrics: BTreeMap<&str, (&str, usize)> = BTreeMap::new();
        for device in directory.after(None).filter(|device| rule.scope.takes(device)) {
            for series in catalogue.of_device(device.key) {
                metrics.entry(series.metric.as_str()).or_insert((&series.unit, 0)).1 += 1;
            }
        }
        let one = |(name, (unit, devices)): (&&str, &(&str, usize))| json!({ "name": name, "unit": unit, "devices": devices });
        metrics.iter().take(METRICS_LISTED).map(one).collect::<Vec<_>>()
    };
    let devices = devices_of(&state, &rule);
    let rule = Value::Object(document_json(&rule)?);
    Ok(web::Json(json!({ "ok": true, "rule": rule, "devices": devices, "metrics": metrics })))
}

/// One rule.
#[utoipa::path(get, path = "/rules/{id}", tag = "alerts", params(("id" = String, Path)), responses(
    (status = 200, body = Object), (status = 404, body = Problem)))]
pub async fn show(
    state: web::Data<State>,
    _caller: Caller,
    path: web::Path<String>,
) -> Result<web::Json<Value>, Problem> {
    Ok(web::Json(to_json(&state, &find(&state, &path).await?)?))
}

/// Edit a rule. Alerts that still hold go on, the others end.
#[utoipa::path(patch, path = "/rules/{id}", tag = "alerts",
    request_body(content = Object, description = "a merge patch (RFC 7396) of the fields of POST"),
    params(("id" = String, Path)), responses(
    (status = 200, body = Object), (status = 400, body = Problem), (status = 404, body = Problem),
    (status = 422, body = Problem)))]
pub async fn update(
    state: web::Data<State>,
    caller: Caller,
    path: web::Path<String>,
    body: Body<Value>,
) -> Result<web::Json<Value>, Problem> {
    caller.require(Role::Operator)?;
    let change = body.read().await?;
    let parts = state.clone();
    let view = state
        .complete(async move {
            let _editing = parts.rule_edits.lock().await;
            let found = find(&parts, &path).await?;
            let rule = edited(&parts, &found.rule, change, &caller)?;
            if rule == found.rule {
                return Ok(found);
            }
            let kind = match (found.rule.enabled, rule.enabled) {
                (true, false) => RuleChangeKind::Paused,
                (false, true) => RuleChangeKind::Resumed,
                _ => RuleChangeKind::Edited,
            };
            Ok(parts.alerting.update_rule(rule, kind).await?)
        })
        .await?;
    Ok(web::Json(to_json(&state, &view)?))
}

/// Delete a rule; its alerts end.
#[utoipa::path(delete, path = "/rules/{id}", tag = "alerts", params(("id" = String, Path)), responses(
    (status = 204), (status = 404, body = Problem)))]
pub async fn delete(state: web::Data<State>, caller: Caller, path: web::Path<String>) -> Result<HttpResponse, Problem> {
    caller.require(Role::Operator)?;
    let parts = state.clone();
    let user = caller.identity.session.user.name;
    let delete = async move {
        let _editing = parts.rule_edits.lock().await;
        let found = find(&parts, &path).await?;
        Ok(parts.alerting.delete_rule(found.rule, user).await?)
    };
    state.complete(delete).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// What a rule was before, the newest first.
#[utoipa::path(get, path = "/rules/{id}/versions", tag = "alerts", params(("id" = String, Path)), responses(
    (status = 200, body = Page<RuleVersionJson>), (status = 404, body = Problem)))]
pub async fn versions(
    state: web::Data<State>,
    _caller: Caller,
    path: web::Path<String>,
) -> Result<web::Json<Page<RuleVersionJson>>, Problem> {
    let missing = || Problem::missing("rule", &path.chars().take(80).collect::<String>());
    let id = RuleId::parse(&path).map_err(|_| missing())?;
    let found = state.alerting.store().rule_versions(id).await?;
    if found.is_empty() {
        return Err(missing());
    }
    let one = |version: crate::ports::RuleVersion| {
        Ok(RuleVersionJson {
            version: version.version,
            change: version.change.name(),
            time: time_text(version.time_us),
            user: version.user.to_string(),
            rule: serde_json::to_value(&version.document).map_err(Problem::internal)?,
        })
    };
    let items = found.into_iter().map(one).collect::<Result<_, Problem>>()?;
    Ok(web::Json(Page { items, next: None }))
}
