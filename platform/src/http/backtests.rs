//! Backtests: what a rule would have done.

use super::State;
use super::problem::Problem;
use super::query::{parse_time, time_text};
use super::request::{Body, Caller};
use super::rules;
use crate::alerting::{BacktestError, Job, JobState};
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use pulsewire_core::alert::BacktestResult;
use pulsewire_core::ulid::Ulid;
use serde::Deserialize;
use serde_json::{Value, json};

/// Longest time that a backtest looks at, µs: ten years.
const SPAN_US_MAX: i64 = 3_660 * 86_400_000_000;

/// What to try.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BacktestJson {
    /// A rule as for POST /rules.
    #[schema(value_type = Object)]
    rule: Value,
    from: String,
    to: String,
    /// Also judge by the stored version of the rule with this id, if there is one.
    #[serde(default = "yes")]
    compare: bool,
}

fn yes() -> bool {
    true
}

fn seconds(us: i64) -> f64 {
    // Parts of a millisecond are nobody's business here.
    #[allow(clippy::cast_precision_loss)]
    let seconds = (us / 1000) as f64 / 1000.0;
    seconds
}

fn summary(job: &Job, result: &BacktestResult) -> Value {
    let days = seconds(job.to_us.saturating_sub(job.from_us)) / 86_400.0;
    #[allow(clippy::cast_precision_loss)] // counts
    let per_day = |count: u64| if days > 0.0 { (count as f64 / days * 100.0).round() / 100.0 } else { 0.0 };
    let by_device = result.by_device.iter().map(|device| {
        let spans = device.spans.iter().map(|span| {
            json!({
                "from": time_text(span.from_us),
                "to": span.to_us.map(time_text),
                "severity": span.severity_max.name(),
                "kind": span.kind.name(),
            })
        });
        json!({
            "device": device.device.as_str(),
            "name": device.name,
            "alerts": device.alerts,
            "firing_s": seconds(device.firing_us),
            "spans": spans.collect::<Vec<_>>(),
        })
    });
    let per_person =
        result.told.per_person.iter().map(
            |person| json!({ "user": person.user.as_str(), "total": person.total, "per_day": per_day(person.total) }),
        );
    let by_day = result.days.iter().map(|(day_us, count)| {
        json!({ "day": time_text(*day_us), "alerts": count.alerts, "notifications": count.notifications })
    });
    json!({
        "alerts": result.alerts,
        "alerts_per_day": per_day(result.alerts),
        "firing_s": seconds(result.firing_us),
        "flapping": result.flapping,
        "level_changes": result.level_changes,
        "by_device": by_device.collect::<Vec<_>>(),
        "by_day": by_day.collect::<Vec<_>>(),
        "spans_cut": result.spans_cut,
        "notifications": {
            "total": result.told.total,
            "per_person": per_person.collect::<Vec<_>>(),
        },
    })
}

fn to_json(job: &Job) -> Value {
    let (devices_done, samples) = job.progress();
    let (state, error, result) = match job.state() {
        JobState::Running => ("running", Value::Null, Value::Null),
        JobState::Canceled => ("canceled", Value::Null, Value::Null),
        JobState::Failed(code, text) => ("failed", json!({ "code": code, "detail": text }), Value::Null),
        JobState::Done { candidate, current, took } => {
            let standing = &candidate.standing;
            let result = json!({
                "from": time_text(job.from_us),
                "to": time_text(job.to_us),
                "devices": candidate.devices,
                "samples": candidate.samples,
                "took_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
                "now": { "firing": standing.firing, "pending": standing.pending, "stale": standing.stale },
                "candidate": summary(job, &candidate),
                "current": current.map(|current| summary(job, &current)),
            });
            ("done", Value::Null, result)
        }
    };
    json!({
        "id": job.id.to_string(),
        "state": state,
        "progress": { "devices": job.devices, "devices_done": devices_done, "samples": samples },
        "error": error,
        "result": result,
    })
}

/// Try a rule on what is stored.
#[utoipa::path(post, path = "/rules/backtest", tag = "alerts", request_body = BacktestJson, responses(
    (status = 202, body = Object), (status = 400, body = Problem), (status = 422, body = Problem),
    (status = 429, body = Problem)))]
pub async fn start(state: web::Data<State>, caller: Caller, body: Body<BacktestJson>) -> Result<HttpResponse, Problem> {
    let asked = body.read().await?;
    let (from_us, to_us) = (parse_time("from", &asked.from)?, parse_time("to", &asked.to)?);
    if from_us >= to_us || to_us.saturating_sub(from_us) > SPAN_US_MAX {
        let detail =
            format!("from is {} and to is {}; to must be after from, by at most ten years", asked.from, asked.to);
        return Err(Problem::field("to", detail));
    }
    let rule = rules::build(&state, asked.rule, &caller)?;
    let current = if asked.compare { state.alerting.rule(rule.id.clone()).await?.map(|view| view.rule) } else { None };
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(Problem::internal)?;
    let id = Ulid::from_parts(state.clock.now_us(), u128::from_be_bytes(bytes));
    // On the server's own runtime: that of this request's thread has no threads to block.
    let _on_it = state.runtime.enter();
    let job = state.backtests.start(id, rule, current, from_us, to_us).map_err(|error| match &error {
        BacktestError::TooMany(_) => {
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_backtests", error.to_string())
        }
        BacktestError::Rule(rule) => rules::rule_problem(rule),
    })?;
    Ok(HttpResponse::Accepted().json(to_json(&job)))
}

fn find(state: &State, id: &str) -> Result<std::sync::Arc<Job>, Problem> {
    let missing = || Problem::missing("backtest", &id.chars().take(80).collect::<String>());
    let id = Ulid::parse(id).map_err(|_| missing())?;
    state.backtests.job(id).ok_or_else(missing)
}

/// How a backtest is doing.
#[utoipa::path(get, path = "/rules/backtest/{id}", tag = "alerts", params(("id" = String, Path)), responses(
    (status = 200, body = Object), (status = 404, body = Problem)))]
pub async fn show(
    state: web::Data<State>,
    _caller: Caller,
    path: web::Path<String>,
) -> Result<web::Json<Value>, Problem> {
    Ok(web::Json(to_json(&*find(&state, &path)?)))
}

/// Stop a backtest.
#[utoipa::path(delete, path = "/rules/backtest/{id}", tag = "alerts", params(("id" = String, Path)), responses(
    (status = 204), (status = 404, body = Problem)))]
pub async fn cancel(
    state: web::Data<State>,
    _caller: Caller,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let job = find(&state, &path)?;
    state.backtests.cancel(job.id);
    Ok(HttpResponse::NoContent().finish())
}
