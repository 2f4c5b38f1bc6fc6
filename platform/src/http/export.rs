//! Samples to take away, as CSV or NDJSON.
//!
//! The answer is streamed, a page of a series at a time, so that its size costs no memory. What goes wrong with the first
//! page is a problem document; afterwards the answer breaks off, so that the client sees an incomplete body.

use super::State;
use super::choose::{Chosen, Wanted, choose};
use super::problem::Problem;
use super::query::{clip, json_value, parse_time, time_text};
use super::query_many::{PAGES_WAITING, Part, streamed};
use super::request::Caller;
use crate::ports::{HistoryError, RangeQuery};
use actix_web::{HttpResponse, web};
use pulsewire_core::sample::Sample;
use pulsewire_core::value::ValueClass;
use serde::Deserialize;
use tokio::sync::mpsc;

/// Most series in one export.
const SERIES_MAX: usize = 100_000;
/// Samples that are read at once; of text, which may have 4 KiB each, fewer.
const PAGE_SAMPLES: usize = 10_000;
const PAGE_TEXTS: usize = 1_000;
/// A part of the answer is sent when it has this many bytes, or when its page ends.
const PART_BYTES: usize = 1 << 20;

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
    /// Only devices of this profile.
    profile: Option<String>,
    /// Only devices with this tag, `key:value`, or `key:` for any value; several as in the list of devices.
    tag: Option<String>,
    /// Metric names, separated by commas, or one name that has commas itself; every metric if absent.
    metric: Option<String>,
    /// Inclusive; the beginning if absent.
    from: Option<String>,
    /// Exclusive; the end if absent.
    to: Option<String>,
}

#[derive(Clone, Copy, PartialEq)]
enum Format {
    Csv,
    Ndjson,
}

/// All samples of the chosen series, oldest first, one series after the other.
#[utoipa::path(get, path = "/export", tag = "history", params(Export), responses(
    (status = 200, description = "CSV (time,device,metric,value,unit,type) or NDJSON; streamed", body = String),
    (status = 400, body = Problem), (status = 404, body = Problem), (status = 503, body = Problem)))]
pub async fn export(state: web::Data<State>, caller: Caller<Export>) -> Result<HttpResponse, Problem> {
    let place = state.places.exports.enter()?;
    let asked = &caller.query;
    let format = match asked.format.as_deref() {
        None | Some("csv") => Format::Csv,
        Some("ndjson") => Format::Ndjson,
        Some(other) => {
            return Err(Problem::field("format", format!("format is {:?}; csv or ndjson is allowed", clip(other))));
        }
    };
    let from_us = asked.from.as_deref().map_or(Ok(i64::MIN), |t| parse_time("from", t))?;
    let to_us = asked.to.as_deref().map_or(Ok(i64::MAX), |t| parse_time("to", t))?;
    if from_us >= to_us {
        return Err(Problem::field("from", "from must be before to"));
    }
    let wanted = Wanted {
        scope: caller.scope(),
        device: asked.device.as_deref(),
        group: asked.group.as_deref(),
        profile: asked.profile.as_deref(),
        tag: asked.tag.as_deref(),
        metric: asked.metric.as_deref(),
    };
    let chosen = choose(&state, &wanted, SERIES_MAX)?;
    // A store that cannot be read shows here, while the status can still say so.
    let mut first = match chosen.first() {
        Some(one) => Some(read(&state, one, from_us, to_us).await?),
        None => None,
    };
    let (sender, receiver) = mpsc::channel::<Part>(PAGES_WAITING);
    actix_web::rt::spawn(async move {
        let _place = place;
        if format == Format::Csv && sender.send(Ok("time,device,metric,value,unit,type\n".into())).await.is_err() {
            return;
        }
        for one in chosen {
            let mut from_us = from_us;
            loop {
                let page = match first.take() {
                    Some(page) => Ok(page),
                    None => read(&state, &one, from_us, to_us).await,
                };
                let page = match page {
                    Ok(page) => page,
                    Err(error) => {
                        tracing::warn!(%error, "an export broke off");
                        let _ = sender.send(Err(std::io::Error::other("the store could not be read"))).await;
                        return;
                    }
                };
                let Some(last) = page.last().map(|sample| sample.time_us) else { break };
                let mut rest = &page[..];
                while !rest.is_empty() {
                    let part;
                    (part, rest) = written(format, &one, rest);
                    // The reader may be gone; then nothing more is read for it.
                    if sender.send(Ok(part.into())).await.is_err() {
                        return;
                    }
                }
                if page.len() < samples_at_once(&one) {
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

fn samples_at_once(one: &Chosen) -> usize {
    if one.series.value_type.class() == ValueClass::Text { PAGE_TEXTS } else { PAGE_SAMPLES }
}

async fn read(state: &State, one: &Chosen, from_us: i64, to_us: i64) -> Result<Vec<Sample>, HistoryError> {
    let limit = samples_at_once(one);
    state.history.range(RangeQuery { series: one.series.key, from_us, to_us, limit }).await
}

/// The lines of the first samples, up to [`PART_BYTES`] and at least one, and the other samples.
fn written<'a>(format: Format, one: &Chosen, samples: &'a [Sample]) -> (String, &'a [Sample]) {
    let mut out = String::with_capacity((samples.len() * 64).min(PART_BYTES));
    let (device, metric) = (one.device.to_string(), one.series.metric.to_string());
    // With them an import into another server makes the same series.
    let (unit, kind) = (&one.series.unit, one.series.value_type.name());
    let (device_cell, metric_cell, unit_cell) = (quoted(&device), quoted(&metric), quoted(unit));
    for (n, sample) in samples.iter().enumerate() {
        if out.len() >= PART_BYTES {
            return (out, samples.get(n..).unwrap_or_default());
        }
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
    (out, &[])
}

/// A field of CSV, RFC 4180.
fn quoted(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulsewire_core::ids::{DeviceId, DeviceKey, MetricName, SeriesKey};
    use pulsewire_core::sample::Series;
    use pulsewire_core::value::{Value, ValueType};

    #[test]
    fn a_page_of_long_texts_is_sent_in_parts_and_nothing_is_lost() {
        let series = Series {
            key: SeriesKey(1),
            device: DeviceKey(1),
            metric: MetricName::parse("log").expect("a name"),
            unit: String::new(),
            value_type: ValueType::Text,
        };
        let one = Chosen { device: DeviceId::parse("pump").expect("an id"), series: series.into() };
        let sample = |time_us| Sample { time_us, value: Value::Text("x".repeat(4096).into()) };
        let samples: Vec<_> = (0..1_000).map(sample).collect();
        let (mut rest, mut parts) = (&samples[..], Vec::new());
        while !rest.is_empty() {
            let part;
            (part, rest) = written(Format::Csv, &one, rest);
            assert!(part.len() < PART_BYTES + 5_000, "{} bytes", part.len());
            parts.push(part);
        }
        assert!(parts.len() > 3, "{} parts", parts.len());
        assert_eq!(parts.concat().lines().count(), 1_000);
    }

    #[test]
    fn fields_of_csv_are_quoted_where_they_must_be() {
        assert_eq!(quoted("plain 1"), "plain 1");
        assert_eq!(quoted("a,\"b\"\n"), "\"a,\"\"b\"\"\n\"");
    }
}
