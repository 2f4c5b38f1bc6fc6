//! Latest values and history.

use super::State;
use super::devices::find;
use super::problem::Problem;
use super::query::{self, Page, json_value, parse_step, parse_time, time_text};
use super::request::Caller;
use crate::ports::{BucketQuery, RangeQuery, SnapshotQuery};
use actix_web::web;
use pulsewire_core::aggregate::{Aggregate, Bucket};
use pulsewire_core::ids::MetricName;
use pulsewire_core::sample::{Sample, Series};
use pulsewire_core::scope::DeviceScope;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;

/// Most samples or buckets in one answer.
const ITEMS_MAX: u32 = 10_000;
const ITEMS_DEFAULT: u32 = 1_000;

/// The newest value of a metric.
#[derive(Serialize, utoipa::ToSchema)]
pub struct LatestJson {
    metric: String,
    unit: String,
    #[serde(rename = "type")]
    value_type: &'static str,
    time: String,
    value: serde_json::Value,
}

/// Which samples.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct HistoryQuery {
    device: String,
    metric: String,
    /// Inclusive; the beginning if absent.
    from: Option<String>,
    /// Exclusive; the end if absent.
    to: Option<String>,
    /// Width of buckets: `10s`, `5m`, `1h`, `1d`.
    step: Option<String>,
    /// How a bucket becomes one value: min, max, avg, sum, count, first, last; avg if absent (last for text).
    agg: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
}

/// Samples of one series.
#[derive(Serialize, utoipa::ToSchema)]
pub struct HistoryJson {
    device: String,
    metric: String,
    unit: String,
    #[serde(rename = "type")]
    value_type: &'static str,
    items: Vec<SampleJson>,
    next: Option<String>,
}

/// One sample, or one bucket by its start.
#[derive(Serialize, utoipa::ToSchema)]
pub struct SampleJson {
    time: String,
    value: serde_json::Value,
}

impl From<&Sample> for SampleJson {
    fn from(sample: &Sample) -> Self {
        Self { time: time_text(sample.time_us), value: json_value(&sample.value) }
    }
}

/// The newest value of each metric of a device.
#[utoipa::path(get, path = "/devices/{id}/latest", tag = "history", params(("id" = String, Path)), responses(
    (status = 200, body = Page<LatestJson>), (status = 404, body = Problem)))]
pub async fn latest(
    state: web::Data<State>,
    caller: Caller,
    path: web::Path<String>,
) -> Result<web::Json<Page<LatestJson>>, Problem> {
    let device = find(&state, caller.scope(), &path)?;
    let series: Vec<Arc<Series>> =
        state.catalogue.read().map_err(Problem::internal)?.of_device(device.key).cloned().collect();
    let keys = series.iter().map(|s| s.key).collect();
    let query = SnapshotQuery { series: keys, from_us: None, samples_max: usize::MAX };
    let snapshot = state.history.snapshot(query).await?;
    let samples: HashMap<_, _> = snapshot.samples.into_iter().collect();
    let items = series.iter().filter_map(|series| {
        let newest = samples.get(&series.key)?.last()?;
        Some(LatestJson {
            metric: series.metric.to_string(),
            unit: series.unit.clone(),
            value_type: series.value_type.name(),
            time: time_text(newest.time_us),
            value: json_value(&newest.value),
        })
    });
    Ok(web::Json(Page::whole(items.collect())))
}

/// Samples of one metric of one device, raw or in buckets.
#[utoipa::path(get, path = "/history", tag = "history", params(HistoryQuery), responses(
    (status = 200, body = HistoryJson), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub async fn history(state: web::Data<State>, caller: Caller<HistoryQuery>) -> Result<web::Json<HistoryJson>, Problem> {
    let asked = &caller.query;
    let series = find_series(&state, caller.scope(), &asked.device, &asked.metric)?;
    let limit = query::limit_within(asked.limit, ITEMS_DEFAULT, ITEMS_MAX)?;
    let from_us = asked.from.as_deref().map_or(Ok(i64::MIN), |t| parse_time("from", t))?;
    let to_us = asked.to.as_deref().map_or(Ok(i64::MAX), |t| parse_time("to", t))?;
    if from_us >= to_us {
        return Err(Problem::field("from", "from must be before to"));
    }
    let from_us = asked.cursor.as_deref().map_or(Ok(from_us), |t| parse_time("cursor", t))?;
    let range = RangeQuery { series: series.key, from_us, to_us, limit: limit + 1 };
    let mut samples = match &asked.step {
        Some(step) => {
            let step_us = parse_step(step)?;
            let aggregate = aggregate(asked.agg.as_deref(), &series)?;
            let buckets = state.history.buckets(BucketQuery { range, step_us, aggregates: vec![aggregate] }).await?;
            let sample = |bucket: Bucket| {
                let value = bucket.values.into_iter().next().flatten()?;
                Some(Sample { time_us: bucket.start_us, value })
            };
            buckets.into_iter().filter_map(sample).collect()
        }
        None if asked.agg.is_some() => {
            return Err(Problem::field("agg", "agg needs a step"));
        }
        None => state.history.range(range).await?,
    };
    let more = samples.len() > limit;
    let next = samples.get(limit).filter(|_| more).map(|s| time_text(s.time_us));
    samples.truncate(limit);
    Ok(web::Json(HistoryJson {
        device: asked.device.clone(),
        metric: series.metric.to_string(),
        unit: series.unit.clone(),
        value_type: series.value_type.name(),
        items: samples.iter().map(SampleJson::from).collect(),
        next,
    }))
}

fn find_series(state: &State, scope: &DeviceScope, device: &str, metric: &str) -> Result<Arc<Series>, Problem> {
    let device = find(state, scope, device)?;
    let name = MetricName::parse(metric).map_err(|error| Problem::field("metric", error))?;
    let catalogue = state.catalogue.read().map_err(Problem::internal)?;
    catalogue
        .find(device.key, &name)
        .cloned()
        .ok_or_else(|| Problem::missing("metric", &format!("{}/{}", device.id, name)))
}

fn aggregate(given: Option<&str>, series: &Series) -> Result<Aggregate, Problem> {
    let class = series.value_type.class();
    let Some(name) = given else {
        return Ok(if Aggregate::Avg.applies_to(class) { Aggregate::Avg } else { Aggregate::Last });
    };
    let found = Aggregate::from_name(name).ok_or_else(|| {
        let names = Aggregate::ALL.map(Aggregate::name).join(", ");
        Problem::field("agg", format!("agg is {:?}; one of {names} is allowed", query::clip(name)))
    })?;
    if !found.applies_to(class) {
        return Err(Problem::field("agg", format!("{name} has no meaning for text; count, first and last do")));
    }
    Ok(found)
}
