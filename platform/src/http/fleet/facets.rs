//! How many devices have what: what a page offers to narrow a list by.

use super::super::State;
use super::super::problem::Problem;
use super::super::request::Caller;
use super::filter::{AlertCounts, DEVICES_AT_ONCE, Filter, Given};
use super::order::{Asked, Ordered, Sort};
use super::{FACETS_AGE_MAX, Fleet};
use actix_web::{HttpResponse, web};
use pulsewire_core::presence::Presence;
use pulsewire_core::sample::Series;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

/// Most groups, profiles, keys of tags and metrics.
const NAMES_MAX: usize = 200;
/// Most values of one tag.
const VALUES_MAX: usize = 50;
/// Units and types of one metric that are told apart.
const KINDS_MAX: usize = 8;

/// Of which devices.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct FacetFilter {
    /// Part of id or name.
    q: Option<String>,
    group: Option<String>,
    profile: Option<String>,
    /// As in the list of devices.
    tag: Option<String>,
    presence: Option<String>,
    severity: Option<String>,
}

/// Devices by presence.
#[derive(Debug, Default, Serialize, utoipa::ToSchema)]
pub struct ByPresence {
    online: usize,
    stale: usize,
    offline: usize,
}

/// A name and how many devices have it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct NameCount {
    name: String,
    count: usize,
}

/// A tag's value and how many devices have it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ValueCount {
    value: String,
    count: usize,
}

/// A tag's values.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct TagFacet {
    key: String,
    values: Vec<ValueCount>,
}

/// A metric; unit and type are those that most devices have.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct MetricFacet {
    name: String,
    unit: String,
    #[serde(rename = "type")]
    value_type: &'static str,
    devices: usize,
}

/// How many devices have what, the most frequent first.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct FacetsJson {
    total: usize,
    presence: ByPresence,
    /// Devices with an open alert.
    alerting: usize,
    groups: Vec<NameCount>,
    profiles: Vec<NameCount>,
    tags: Vec<TagFacet>,
    metrics: Vec<MetricFacet>,
    /// There are more groups, profiles, tags, values or metrics than are listed.
    cut: bool,
}

/// How many devices have what.
#[utoipa::path(get, path = "/devices/facets", tag = "devices", params(FacetFilter), responses(
    (status = 200, body = FacetsJson), (status = 400, body = Problem)))]
pub async fn facets(state: web::Data<State>, caller: Caller<FacetFilter>) -> Result<HttpResponse, Problem> {
    let asked = &caller.query;
    let given = Given {
        q: asked.q.as_deref(),
        group: asked.group.as_deref(),
        profile: asked.profile.as_deref(),
        tag: asked.tag.as_deref(),
        presence: asked.presence.as_deref(),
        severity: asked.severity.as_deref(),
    };
    let filter = Filter::parse(caller.scope(), given)?;
    let version = state.directory.read().map_err(Problem::internal)?.version();
    let make = Box::pin(make(&state, filter.clone()));
    let facets = state.fleet.facets.get(&filter, version, Some(FACETS_AGE_MAX), make).await?;
    Ok(HttpResponse::Ok().json(&*facets))
}

async fn make(state: &web::Data<State>, filter: Filter) -> Result<FacetsJson, Problem> {
    let alerts = Fleet::alerts(state, filter.scope()).await?;
    let devices = Asked { filter, sort: Sort::Id, descending: false }.devices(state).await?;
    let place = state.fleet.enter().await?;
    let parts = state.clone();
    place.work(state, move || count(&parts, &devices, &alerts)).await
}

/// Counts of one thing, and the most frequent of it.
struct Counts<K>(HashMap<K, usize>);

impl<K: Hash + Ord + Clone> Counts<K> {
    fn add(&mut self, key: &K) {
        match self.0.get_mut(key) {
            Some(count) => *count += 1,
            None => drop(self.0.insert(key.clone(), 1)),
        }
    }

    /// The most frequent first, equals by name; notes if there are more than `max`.
    fn top(self, max: usize, cut: &mut bool) -> Vec<(K, usize)> {
        *cut |= self.0.len() > max;
        let mut all: Vec<_> = self.0.into_iter().collect();
        all.sort_unstable_by(|(a, many), (b, few)| few.cmp(many).then_with(|| a.cmp(b)));
        all.truncate(max);
        all
    }
}

fn count(state: &State, devices: &Ordered, alerts: &AlertCounts) -> Result<FacetsJson, Problem> {
    let mut presence = ByPresence::default();
    for (seen, _) in state.presence.of_each(devices.iter().map(|device| device.key)) {
        match seen {
            Presence::Online => presence.online += 1,
            Presence::Stale => presence.stale += 1,
            Presence::Offline => presence.offline += 1,
        }
    }
    let (mut groups, mut profiles) = (Counts(HashMap::new()), Counts(HashMap::new()));
    let mut tags: HashMap<String, (usize, Counts<String>)> = HashMap::new();
    for device in devices {
        device.group.iter().for_each(|group| groups.add(group));
        device.profile.iter().for_each(|profile| profiles.add(profile));
        for (key, value) in &device.tags {
            if !tags.contains_key(key) {
                tags.insert(key.clone(), (0, Counts(HashMap::new())));
            }
            if let Some((devices, values)) = tags.get_mut(key) {
                *devices += 1;
                values.add(value);
            }
        }
    }
    let mut cut = false;
    let metrics = metrics(state, devices, &mut cut)?;
    let names = |(name, count): (String, usize)| NameCount { name, count };
    let mut tags: Vec<_> = tags.into_iter().collect();
    tags.sort_unstable_by(|(a, (many, _)), (b, (few, _))| few.cmp(many).then_with(|| a.cmp(b)));
    cut |= tags.len() > NAMES_MAX;
    tags.truncate(NAMES_MAX);
    let tags = tags.into_iter().map(|(key, (_, values))| {
        let values = values.top(VALUES_MAX, &mut cut).into_iter();
        TagFacet { key, values: values.map(|(value, count)| ValueCount { value, count }).collect() }
    });
    let tags = tags.collect();
    let groups = groups.top(NAMES_MAX, &mut cut).into_iter().map(|(name, count)| names((name.to_string(), count)));
    let groups = groups.collect();
    let profiles = profiles.top(NAMES_MAX, &mut cut).into_iter().map(|(name, count)| names((name.to_string(), count)));
    let profiles = profiles.collect();
    Ok(FacetsJson {
        total: devices.len(),
        presence,
        alerting: devices.iter().filter(|device| alerts.contains_key(&device.key)).count(),
        groups,
        profiles,
        tags,
        metrics,
        cut,
    })
}

/// A metric's units and types, and how many devices have each.
struct Kinds(Vec<(Arc<Series>, usize)>);

fn metrics(state: &State, devices: &Ordered, cut: &mut bool) -> Result<Vec<MetricFacet>, Problem> {
    let mut found: HashMap<_, (usize, Kinds)> = HashMap::new();
    for some in devices.chunks(DEVICES_AT_ONCE) {
        // Not held for longer: ingest waits for this lock when it learns of a new series.
        let catalogue = state.catalogue.read().map_err(Problem::internal)?;
        for series in some.iter().flat_map(|device| catalogue.of_device(device.key)) {
            if !found.contains_key(&series.metric) {
                found.insert(series.metric.clone(), (0, Kinds(Vec::new())));
            }
            let Some((devices, Kinds(kinds))) = found.get_mut(&series.metric) else { continue };
            *devices += 1;
            let same =
                |kind: &(Arc<Series>, usize)| kind.0.unit == series.unit && kind.0.value_type == series.value_type;
            match kinds.iter_mut().find(|kind| same(kind)) {
                Some((_, count)) => *count += 1,
                None => {
                    if kinds.len() < KINDS_MAX {
                        kinds.push((series.clone(), 1));
                    }
                }
            }
        }
    }
    let mut found: Vec<_> = found.into_iter().collect();
    found.sort_unstable_by(|(a, (many, _)), (b, (few, _))| few.cmp(many).then_with(|| a.cmp(b)));
    *cut |= found.len() > NAMES_MAX;
    found.truncate(NAMES_MAX);
    let facets = found.into_iter().filter_map(|(name, (devices, Kinds(kinds)))| {
        // Of equals the first.
        let (kind, _) = kinds.into_iter().rev().max_by_key(|(_, count)| *count)?;
        Some(MetricFacet {
            name: name.to_string(),
            unit: kind.unit.clone(),
            value_type: kind.value_type.name(),
            devices,
        })
    });
    Ok(facets.collect())
}
