//! Devices page by page, in the order that was asked for.

use super::super::State;
use super::super::devices::{DeviceJson, LatestValueJson, to_json};
use super::super::problem::Problem;
use super::super::query::{self, clip};
use super::super::request::Caller;
use super::Fleet;
use super::filter::{Filter, Given};
use super::order::{self, Asked, Ordered, Sort};
use actix_web::web;
use pulsewire_core::device::Device;
use pulsewire_core::ids::{DeviceId, MetricName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Furthest offset.
const OFFSET_MAX: u32 = 1_000_000;
/// Most metrics of which the newest value is shown.
const METRICS_MAX: usize = 8;
/// Begins a cursor that is a place and not an id, which no id can.
const PLACE: char = '@';

/// Which devices.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct DeviceFilter {
    /// Part of id or name.
    q: Option<String>,
    group: Option<String>,
    profile: Option<String>,
    /// `key:value`, or `key:` for any value. Several of one key are alternatives; of several keys all are wanted.
    tag: Option<String>,
    /// `online`, `stale` or `offline`.
    presence: Option<String>,
    /// Has an open alert: `critical`, `warning`, `info` or `any`.
    severity: Option<String>,
    /// `id`, `name`, `group`, `profile`, `presence`, `last_seen`, `alerts` or `metric:NAME`; id if absent.
    sort: Option<String>,
    /// `asc` or `desc`; asc if absent.
    order: Option<String>,
    /// How many to pass over, at most 1,000,000.
    offset: Option<u32>,
    /// Show the newest values of these metrics, at most 8, separated by commas.
    metrics: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
}

/// A page of devices.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct DevicePage {
    items: Vec<DeviceJson>,
    /// Pass it as `cursor` to go on; null at the end.
    next: Option<String>,
    /// How many devices fit in all.
    total: usize,
}

/// Where a page begins.
enum Begin {
    At(usize),
    After(DeviceId),
}

fn begin(asked: &DeviceFilter, by_id: bool) -> Result<Begin, Problem> {
    let wrong = || Problem::field("cursor", "cursor must be the `next` of an earlier answer in the same order");
    match (asked.offset, asked.cursor.as_deref()) {
        (Some(_), Some(_)) => Err(Problem::field("offset", "give offset or cursor, not both")),
        (None, None) => Ok(Begin::At(0)),
        (Some(offset), None) if offset <= OFFSET_MAX => Ok(Begin::At(offset as usize)),
        (Some(offset), None) => {
            Err(Problem::field("offset", format!("offset is {offset}; 0 to {OFFSET_MAX} is allowed; narrow the list")))
        }
        (None, Some(cursor)) => match cursor.strip_prefix(PLACE) {
            Some(place) => Ok(Begin::At(place.parse().map_err(|_| wrong())?)),
            None if by_id => Ok(Begin::After(DeviceId::parse(cursor).map_err(|_| wrong())?)),
            None => Err(wrong()),
        },
    }
}

fn metrics(list: Option<&str>) -> Result<Vec<MetricName>, Problem> {
    let Some(list) = list else { return Ok(Vec::new()) };
    let mut names: Vec<MetricName> = Vec::new();
    for name in list.split(',') {
        let name = MetricName::parse(name).map_err(|error| Problem::field("metrics", error))?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.len() > METRICS_MAX {
        let detail = format!("metrics lists {} names; at most {METRICS_MAX} are allowed", names.len());
        return Err(Problem::field("metrics", detail));
    }
    Ok(names)
}

/// Devices, by id or in another order.
#[utoipa::path(get, path = "/devices", tag = "devices", params(DeviceFilter), responses(
    (status = 200, body = DevicePage), (status = 400, body = Problem)))]
pub async fn list(state: web::Data<State>, caller: Caller<DeviceFilter>) -> Result<web::Json<DevicePage>, Problem> {
    let asked = &caller.query;
    let limit = query::limit(asked.limit)?;
    let sort = asked.sort.as_deref().map_or(Ok(Sort::Id), Sort::parse)?;
    let descending = match asked.order.as_deref() {
        None | Some("asc") => false,
        Some("desc") => true,
        Some(other) => {
            return Err(Problem::field("order", format!("order is {:?}; asc or desc is allowed", clip(other))));
        }
    };
    let by_id = sort == Sort::Id;
    let (begin, metrics) = (begin(asked, by_id)?, metrics(asked.metrics.as_deref())?);
    let given = Given {
        q: asked.q.as_deref(),
        group: asked.group.as_deref(),
        profile: asked.profile.as_deref(),
        tag: asked.tag.as_deref(),
        presence: asked.presence.as_deref(),
        severity: asked.severity.as_deref(),
    };
    let filter = Filter::parse(caller.scope(), given)?;
    let ordered = Asked { filter: filter.clone(), sort, descending }.devices(&state).await?;
    let total = ordered.len();
    let first = match begin {
        Begin::At(place) => place.min(total),
        Begin::After(id) if descending => ordered.partition_point(|device| device.id >= id),
        Begin::After(id) => ordered.partition_point(|device| device.id <= id),
    };
    let end = first.saturating_add(limit).min(total);
    let next = match ordered.get(end.wrapping_sub(1)).filter(|_| end < total) {
        Some(last) if by_id => Some(last.id.to_string()),
        Some(_) => Some(format!("{PLACE}{end}")),
        None => None,
    };
    // What is shown is as it is now; a device that went meanwhile is not.
    let page: Ordered = {
        let directory = state.directory.read().map_err(Problem::internal)?;
        let known = ordered.get(first..end).unwrap_or_default();
        known.iter().filter_map(|device| directory.by_key(device.key)).filter(|d| filter.fits(d)).cloned().collect()
    };
    let latest = latest(&state, &page, &metrics).await?;
    let alerts = Fleet::alerts(&state, caller.scope()).await?;
    let with = |(device, latest): (&Arc<Device>, _)| {
        let mut json = to_json(&state, device, &alerts);
        json.latest = latest;
        json
    };
    Ok(web::Json(DevicePage { items: page.iter().zip(latest).map(with).collect(), next, total }))
}

/// The newest values of some metrics of each device; None if none are wanted.
async fn latest(
    state: &State,
    page: &[Arc<Device>],
    metrics: &[MetricName],
) -> Result<Vec<Option<BTreeMap<String, LatestValueJson>>>, Problem> {
    if metrics.is_empty() {
        return Ok(page.iter().map(|_| None).collect());
    }
    let keys = order::series(state, page, metrics)?;
    let known: Vec<_> = keys.iter().copied().flatten().collect();
    let mut newest = state.history.latest(known).await?.into_iter();
    let catalogue = state.catalogue.read().map_err(Problem::internal)?;
    let mut of_page = Vec::with_capacity(page.len());
    for keys in keys.chunks(metrics.len()) {
        let mut values = BTreeMap::new();
        for (metric, key) in metrics.iter().zip(keys) {
            let Some(key) = key else { continue };
            if let Some(sample) = newest.next().flatten() {
                let unit = catalogue.get(*key).map(|series| series.unit.clone()).unwrap_or_default();
                values.insert(metric.to_string(), LatestValueJson::new(&sample, unit));
            }
        }
        of_page.push(Some(values));
    }
    Ok(of_page)
}
