//! Many series at once, as JSON, in buckets or raw.
//!
//! The answer is streamed, one series at a time, so that its size costs no memory. What goes wrong before the first byte is
//! a problem document; afterwards the answer ends with an `error`.

use super::State;
use super::choose::{Chosen, Wanted, choose};
use super::problem::Problem;
use super::query::{self, clip, json_value, parse_step, parse_time, time_text};
use super::request::Caller;
use crate::ports::{BucketQuery, HistoryError, RangeQuery};
use actix_web::{HttpResponse, web};
use futures_util::stream;
use pulsewire_core::aggregate::Aggregate;
use pulsewire_core::sample::Series;
use pulsewire_core::value::Value;
use serde::Deserialize;
use tokio::sync::mpsc;

/// Most series in one answer.
const SERIES_MAX: usize = 1_000;
/// Most samples or buckets per series, and how many if none are asked for.
const LIMIT_MAX: u32 = 100_000;
const LIMIT_DEFAULT: u32 = 10_000;
/// Most points that `max_points` may ask for.
const POINTS_MAX: u32 = 10_000;
/// Pages that wait for a slow reader; then the store is not read.
pub(super) const PAGES_WAITING: usize = 2;

/// Which series, and how.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct QueryMany {
    /// Device ids, separated by commas.
    device: Option<String>,
    /// Only devices of this group.
    group: Option<String>,
    /// Only devices of this profile.
    profile: Option<String>,
    /// Only devices with this tag, `key:value`, or `key:` for any value; several as in the list of devices.
    tag: Option<String>,
    /// Metric names, separated by commas, or one name that has commas itself; every metric if absent.
    metric: Option<String>,
    /// Inclusive; the beginning if absent.
    from: Option<String>,
    /// Exclusive; now if absent.
    to: Option<String>,
    /// Width of buckets: `10s`, `5m`, `1h`, `1d`.
    step: Option<String>,
    /// In place of `step`: a round width that gives at most so many buckets. Needs `from`.
    max_points: Option<u32>,
    /// Aggregates, separated by commas: min, max, avg, sum, count, first, last, p50, p95, p99. avg if absent (last for text).
    agg: Option<String>,
    /// Most samples or buckets per series.
    limit: Option<u32>,
}

/// Widths of buckets that people read easily, in µs.
const ROUND_STEPS_US: [i64; 26] = [
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    15_000_000,
    30_000_000,
    60_000_000,
    120_000_000,
    300_000_000,
    600_000_000,
    900_000_000,
    1_800_000_000,
    3_600_000_000,
    10_800_000_000,
    21_600_000_000,
    43_200_000_000,
    86_400_000_000,
];

/// The smallest round step by which a range has at most `points` buckets.
fn step_for(from_us: i64, to_us: i64, points: u32) -> i64 {
    let buckets = |step: i64| (to_us - 1).div_euclid(step).saturating_sub(from_us.div_euclid(step)) + 1;
    let day = 86_400_000_000;
    let round = ROUND_STEPS_US.into_iter().find(|step| buckets(*step) <= i64::from(points));
    round.unwrap_or_else(|| {
        let mut step = (to_us.saturating_sub(from_us) / i64::from(points).max(1) / day + 1) * day;
        // A range that begins within a bucket takes one more. One that holds 1970 has two however wide they are.
        while buckets(step) > i64::from(points).max(2) {
            step = step.saturating_mul(2);
        }
        step
    })
}

/// How samples become points.
#[derive(Clone)]
struct Shape {
    step_us: Option<i64>,
    aggregates: Option<Vec<Aggregate>>,
    from_us: i64,
    to_us: i64,
    limit: usize,
}

impl Shape {
    fn read(asked: &QueryMany, now_us: i64) -> Result<Self, Problem> {
        let from_us = asked.from.as_deref().map(|t| parse_time("from", t)).transpose()?;
        let to_us = asked.to.as_deref().map_or(Ok(now_us), |t| parse_time("to", t))?;
        if from_us.is_some_and(|from_us| from_us >= to_us) {
            return Err(Problem::field("from", "from must be before to"));
        }
        let step_us = match (&asked.step, asked.max_points, from_us) {
            (Some(_), Some(_), _) => return Err(Problem::field("max_points", "give step or max_points, not both")),
            (Some(step), None, _) => Some(parse_step(step)?),
            (None, Some(_), None) => return Err(Problem::field("from", "max_points needs from")),
            (None, Some(points), Some(from_us)) if (1..=POINTS_MAX).contains(&points) => {
                Some(step_for(from_us, to_us, points))
            }
            (None, Some(points), Some(_)) => {
                let detail = format!("max_points is {points}; 1 to {POINTS_MAX} is allowed");
                return Err(Problem::field("max_points", detail));
            }
            (None, None, _) => None,
        };
        let aggregates = match &asked.agg {
            None => None,
            Some(_) if step_us.is_none() => return Err(Problem::field("agg", "agg needs step or max_points")),
            Some(names) => Some(aggregates(names)?),
        };
        let limit = query::limit_within(asked.limit, LIMIT_DEFAULT, LIMIT_MAX)?;
        Ok(Self { step_us, aggregates, from_us: from_us.unwrap_or(i64::MIN), to_us, limit })
    }

    fn aggregates_for(&self, series: &Series) -> Vec<Aggregate> {
        let class = series.value_type.class();
        match &self.aggregates {
            Some(aggregates) => aggregates.clone(),
            None if Aggregate::Avg.applies_to(class) => vec![Aggregate::Avg],
            None => vec![Aggregate::Last],
        }
    }
}

fn aggregates(names: &str) -> Result<Vec<Aggregate>, Problem> {
    let mut aggregates = Vec::new();
    for name in names.split(',') {
        let aggregate = aggregate(name)?;
        // So there are never more than there are aggregates.
        if aggregates.contains(&aggregate) {
            return Err(Problem::field("agg", format!("agg names {name} twice")));
        }
        aggregates.push(aggregate);
    }
    Ok(aggregates)
}

fn aggregate(name: &str) -> Result<Aggregate, Problem> {
    Aggregate::from_name(name).ok_or_else(|| {
        let names = Aggregate::ALL.map(Aggregate::name).join(", ");
        Problem::field("agg", format!("agg is {:?}; of {names} one or more are allowed", clip(name)))
    })
}

/// Points of one series in columns: times, and one list per aggregate (`value` for samples).
async fn points(state: &State, chosen: &Chosen, shape: &Shape) -> Result<serde_json::Value, HistoryError> {
    let series = &chosen.series;
    let (from_us, to_us, limit) = (shape.from_us, shape.to_us, shape.limit + 1);
    let range = RangeQuery { series: series.key, from_us, to_us, limit };
    let mut values = serde_json::Map::new();
    let mut times;
    let list = |values: &mut dyn Iterator<Item = Option<&Value>>| -> serde_json::Value {
        values.take(shape.limit).map(|value| value.map_or(serde_json::Value::Null, json_value)).collect()
    };
    match shape.step_us {
        Some(step_us) => {
            let aggregates = shape.aggregates_for(series);
            let buckets = BucketQuery { range, step_us, aggregates: aggregates.clone() };
            let buckets = state.history.buckets(buckets).await?;
            times = buckets.iter().map(|bucket| bucket.start_us).collect::<Vec<_>>();
            for (n, aggregate) in aggregates.iter().enumerate() {
                let column = list(&mut buckets.iter().map(|bucket| bucket.values.get(n).and_then(Option::as_ref)));
                values.insert(aggregate.name().into(), column);
            }
        }
        None => {
            let samples = state.history.range(range).await?;
            times = samples.iter().map(|sample| sample.time_us).collect();
            values.insert("value".into(), list(&mut samples.iter().map(|sample| Some(&sample.value))));
        }
    }
    let more = times.len() > shape.limit;
    times.truncate(shape.limit);
    Ok(serde_json::json!({
        "device": chosen.device.to_string(),
        "metric": series.metric.to_string(),
        "unit": series.unit,
        "type": series.value_type.name(),
        "times": times.into_iter().map(time_text).collect::<Vec<_>>(),
        "values": values,
        "more": more,
    }))
}

/// A part of a streamed answer; an error breaks it off.
pub(super) type Part = Result<web::Bytes, std::io::Error>;

/// An answer of which parts come as they are ready.
pub(super) fn streamed(content_type: &str, file: Option<&str>, receiver: mpsc::Receiver<Part>) -> HttpResponse {
    let parts = stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) });
    let mut response = HttpResponse::Ok();
    response.content_type(content_type).insert_header(("cache-control", "no-store"));
    if let Some(file) = file {
        response.insert_header(("content-disposition", format!("attachment; filename=\"{file}\"")));
    }
    response.streaming(parts)
}

/// Samples or buckets of many series.
#[utoipa::path(get, path = "/query", tag = "history", params(QueryMany), responses(
    (status = 200, description = "one entry per series; streamed", body = serde_json::Value),
    (status = 400, body = Problem), (status = 404, body = Problem), (status = 503, body = Problem)))]
pub async fn query_many(state: web::Data<State>, caller: Caller<QueryMany>) -> Result<HttpResponse, Problem> {
    let place = state.places.queries.enter()?;
    let asked = &caller.query;
    let shape = Shape::read(asked, state.clock.now_us())?;
    let wanted = Wanted {
        scope: caller.scope(),
        device: asked.device.as_deref(),
        group: asked.group.as_deref(),
        profile: asked.profile.as_deref(),
        tag: asked.tag.as_deref(),
        metric: asked.metric.as_deref(),
    };
    let chosen = choose(&state, &wanted, SERIES_MAX)?;
    for aggregate in shape.aggregates.iter().flatten() {
        if let Some(text) = chosen.iter().find(|c| !aggregate.applies_to(c.series.value_type.class())) {
            let (name, metric) = (aggregate.name(), &text.series.metric);
            let detail = format!("{name} has no meaning for text, and {metric} is text; count, first and last do");
            return Err(Problem::field("agg", detail));
        }
    }
    let mut head =
        serde_json::json!({ "from": null, "to": time_text(shape.to_us), "step_us": shape.step_us }).to_string();
    if shape.from_us != i64::MIN {
        head = head.replacen("\"from\":null", &format!("\"from\":\"{}\"", time_text(shape.from_us)), 1);
    }
    head.truncate(head.len() - 1);
    // What is wrong with the question shows at the first series.
    let mut chosen = chosen.into_iter();
    let first = match chosen.next() {
        Some(one) => points(&state, &one, &shape).await?.to_string(),
        None => String::new(),
    };
    let (sender, receiver) = mpsc::channel::<Part>(PAGES_WAITING);
    actix_web::rt::spawn(async move {
        let _place = place;
        let mut text = format!("{head},\"series\":[{first}");
        for one in chosen {
            match points(&state, &one, &shape).await {
                Ok(points) => text.push_str(&format!(",{points}")),
                Err(error) => {
                    let error = serde_json::json!({"device": one.device.to_string(),
                        "metric": one.series.metric.to_string(), "detail": error.to_string()});
                    text.push_str(&format!("],\"error\":{error}}}"));
                    let _ = sender.send(Ok(text.into())).await;
                    return;
                }
            }
            // The reader may be gone; then nothing more is read for it.
            if sender.send(Ok(std::mem::take(&mut text).into())).await.is_err() {
                return;
            }
        }
        text.push_str("]}");
        let _ = sender.send(Ok(text.into())).await;
    });
    Ok(streamed("application/json", None, receiver))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_for_points_is_round_and_gives_no_more_buckets_than_asked() {
        let day = 86_400_000_000;
        assert_eq!(step_for(0, 30 * day, 1000), 3_600_000_000);
        assert_eq!(step_for(0, 3_600_000_000, 1000), 5_000_000);
        for (from, to) in [(0, 1), (7, 12_345_678), (1, 400 * day + 3), (-5 * day, 90_000 * day)] {
            for points in [1, 2, 10, 999] {
                let step = step_for(from, to, points);
                let buckets = (to - 1).div_euclid(step) - from.div_euclid(step) + 1;
                assert!(buckets <= i64::from(points).max(2), "{from}..{to} in {points} by {step}: {buckets}");
            }
        }
    }
}
