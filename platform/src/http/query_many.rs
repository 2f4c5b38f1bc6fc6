//! Many series at once: as JSON in buckets or raw, and as CSV or NDJSON to take away.
//!
//! Answers are streamed, one page of one series at a time, so that their size costs no memory. What goes wrong before the
//! first byte is a problem document; afterwards an export breaks off (the client sees an incomplete body) and a query ends
//! with an `error`.

use super::State;
use super::problem::Problem;
use super::query::{self, json_value, parse_step, parse_time, time_text};
use super::request::Caller;
use crate::ports::{BucketQuery, HistoryError, RangeQuery};
use actix_web::{HttpResponse, web};
use futures_util::stream;
use pulsewire_core::aggregate::Aggregate;
use pulsewire_core::device::Device;
use pulsewire_core::ids::{DeviceId, MetricName};
use pulsewire_core::sample::{Sample, Series};
use pulsewire_core::value::Value;
use serde::Deserialize;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Most series in one answer.
const SERIES_MAX: usize = 1_000;
/// Most samples or buckets per series, and how many if none are asked for.
const LIMIT_MAX: u32 = 100_000;
const LIMIT_DEFAULT: u32 = 10_000;
/// Most points that `max_points` may ask for.
const POINTS_MAX: u32 = 10_000;
/// Samples of an export that are read at once.
const PAGE_SAMPLES: usize = 10_000;
/// Pages that wait for a slow reader; then the store is not read.
const PAGES_WAITING: usize = 2;

/// Which series, and how.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct QueryMany {
    /// Device ids, separated by commas.
    device: Option<String>,
    /// Only devices of this group.
    group: Option<String>,
    /// Only devices with this tag, `key:value`.
    tag: Option<String>,
    /// Metric names, separated by commas; every metric if absent.
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

/// Which series to take away.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// `csv` or `ndjson`; csv if absent.
    format: Option<String>,
    /// Device ids, separated by commas.
    device: Option<String>,
    /// Only devices of this group.
    group: Option<String>,
    /// Only devices with this tag, `key:value`.
    tag: Option<String>,
    /// Metric names, separated by commas; every metric if absent.
    metric: Option<String>,
    /// Inclusive; the beginning if absent.
    from: Option<String>,
    /// Exclusive; the end if absent.
    to: Option<String>,
}

/// A series with its device's id.
struct Chosen {
    device: DeviceId,
    series: Arc<Series>,
}

struct Wanted<'a> {
    device: Option<&'a str>,
    group: Option<&'a str>,
    tag: Option<&'a str>,
    metric: Option<&'a str>,
}

fn choose(state: &State, wanted: &Wanted<'_>, most: usize) -> Result<Vec<Chosen>, Problem> {
    let metrics: Option<Vec<MetricName>> = wanted
        .metric
        .map(|names| names.split(',').map(MetricName::parse).collect::<Result<_, _>>())
        .transpose()
        .map_err(|error| Problem::field("metric", error))?;
    let tag = match wanted.tag.map(|tag| tag.split_once(':').ok_or(tag)) {
        None => None,
        Some(Ok(tag)) => Some(tag),
        Some(Err(tag)) => return Err(Problem::field("tag", format!("tag is {tag:?}; key:value is wanted"))),
    };
    let directory = state.directory.read().map_err(Problem::internal)?;
    let fits = |device: &&Arc<Device>| {
        wanted.group.is_none_or(|group| device.group.as_ref().is_some_and(|g| g.as_str() == group))
            && tag.is_none_or(|(key, value)| device.tags.get(key).is_some_and(|found| found == value))
    };
    let devices: Vec<&Arc<Device>> = match wanted.device {
        Some(ids) => {
            let find = |id: &str| {
                let id = DeviceId::parse(id).map_err(|error| Problem::field("device", error))?;
                directory.by_id(&id).ok_or_else(|| Problem::missing("device", &id.to_string()))
            };
            ids.split(',').map(find).collect::<Result<Vec<_>, _>>()?.into_iter().filter(fits).collect()
        }
        None => directory.after(None).filter(fits).collect(),
    };
    let catalogue = state.catalogue.read().map_err(Problem::internal)?;
    let mut chosen = Vec::new();
    for device in devices {
        let takes = |series: &&Arc<Series>| metrics.as_ref().is_none_or(|m| m.contains(&series.metric));
        for series in catalogue.of_device(device.key).filter(takes) {
            if chosen.len() == most {
                let detail = format!("more than {most} series fit; name devices, a group, a tag or metrics");
                return Err(Problem::bad_request("too_many_series", detail));
            }
            chosen.push(Chosen { device: device.id.clone(), series: series.clone() });
        }
    }
    Ok(chosen)
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
            Some(names) => Some(names.split(',').map(aggregate).collect::<Result<_, _>>()?),
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

fn aggregate(name: &str) -> Result<Aggregate, Problem> {
    Aggregate::from_name(name).ok_or_else(|| {
        let names = Aggregate::ALL.map(Aggregate::name).join(", ");
        Problem::field("agg", format!("agg is {name:?}; of {names} one or more are allowed"))
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

type Part = Result<web::Bytes, std::io::Error>;

fn streamed(content_type: &str, file: Option<&str>, receiver: mpsc::Receiver<Part>) -> HttpResponse {
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
    (status = 400, body = Problem), (status = 404, body = Problem)))]
pub async fn query_many(state: web::Data<State>, caller: Caller<QueryMany>) -> Result<HttpResponse, Problem> {
    let asked = caller.query;
    let shape = Shape::read(&asked, state.clock.now_us())?;
    let wanted = Wanted {
        device: asked.device.as_deref(),
        group: asked.group.as_deref(),
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

#[derive(Clone, Copy, PartialEq)]
enum Format {
    Csv,
    Ndjson,
}

/// All samples of the chosen series, oldest first, one series after the other.
#[utoipa::path(get, path = "/export", tag = "history", params(Export), responses(
    (status = 200, description = "CSV (time,device,metric,value,unit,type) or NDJSON; streamed", body = String),
    (status = 400, body = Problem), (status = 404, body = Problem)))]
pub async fn export(state: web::Data<State>, caller: Caller<Export>) -> Result<HttpResponse, Problem> {
    let asked = caller.query;
    let format = match asked.format.as_deref() {
        None | Some("csv") => Format::Csv,
        Some("ndjson") => Format::Ndjson,
        Some(other) => {
            return Err(Problem::field("format", format!("format is {other:?}; csv or ndjson is allowed")));
        }
    };
    let from_us = asked.from.as_deref().map_or(Ok(i64::MIN), |t| parse_time("from", t))?;
    let to_us = asked.to.as_deref().map_or(Ok(i64::MAX), |t| parse_time("to", t))?;
    if from_us >= to_us {
        return Err(Problem::field("from", "from must be before to"));
    }
    let wanted = Wanted {
        device: asked.device.as_deref(),
        group: asked.group.as_deref(),
        tag: asked.tag.as_deref(),
        metric: asked.metric.as_deref(),
    };
    let chosen = choose(&state, &wanted, usize::MAX)?;
    let (sender, receiver) = mpsc::channel::<Part>(PAGES_WAITING);
    actix_web::rt::spawn(async move {
        if format == Format::Csv && sender.send(Ok("time,device,metric,value,unit,type\n".into())).await.is_err() {
            return;
        }
        for one in chosen {
            let mut from_us = from_us;
            loop {
                let range = RangeQuery { series: one.series.key, from_us, to_us, limit: PAGE_SAMPLES };
                let part = match state.history.range(range).await {
                    Ok(samples) => samples,
                    Err(error) => {
                        tracing::warn!(%error, "an export broke off");
                        let _ = sender.send(Err(std::io::Error::other("the store could not be read"))).await;
                        return;
                    }
                };
                let Some(last) = part.last().map(|sample| sample.time_us) else { break };
                if sender.send(Ok(page(format, &one, &part).into())).await.is_err() {
                    return;
                }
                if part.len() < PAGE_SAMPLES {
                    break;
                }
                from_us = last.saturating_add(1);
            }
        }
    });
    let (kind, file) = match format {
        Format::Csv => ("text/csv; charset=utf-8", "pulsewire.csv"),
        Format::Ndjson => ("application/x-ndjson", "pulsewire.ndjson"),
    };
    Ok(streamed(kind, Some(file), receiver))
}

fn page(format: Format, one: &Chosen, samples: &[Sample]) -> String {
    let mut out = String::with_capacity(samples.len() * 64);
    let (device, metric) = (one.device.to_string(), one.series.metric.to_string());
    // With them an import into another server makes the same series.
    let (unit, kind) = (&one.series.unit, one.series.value_type.name());
    let (device_cell, metric_cell, unit_cell) = (quoted(&device), quoted(&metric), quoted(unit));
    for sample in samples {
        let (time, value) = (time_text(sample.time_us), json_value(&sample.value));
        match format {
            Format::Csv => {
                let value = match value {
                    // An empty cell would be no value.
                    serde_json::Value::String(text) if text.is_empty() => "\"\"".into(),
                    serde_json::Value::String(text) => quoted(&text),
                    other => other.to_string(),
                };
                out.push_str(&format!("{time},{device_cell},{metric_cell},{value},{unit_cell},{kind}\n"));
            }
            Format::Ndjson => {
                let line = serde_json::json!({"time": time, "device": device, "metric": metric,
                    "value": value, "unit": unit, "type": kind});
                out.push_str(&line.to_string());
                out.push('\n');
            }
        }
    }
    out
}

/// A field of CSV, RFC 4180.
fn quoted(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.into() }
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

    #[test]
    fn fields_of_csv_are_quoted_where_they_must_be() {
        assert_eq!(quoted("plain 1"), "plain 1");
        assert_eq!(quoted("a,\"b\"\n"), "\"a,\"\"b\"\"\n\"");
    }
}
