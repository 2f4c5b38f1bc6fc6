//! Which series a query or an export is about.

use super::State;
use super::fleet::filter::{DEVICES_AT_ONCE, Tags};
use super::problem::Problem;
use pulsewire_core::device::Device;
use pulsewire_core::ids::{DeviceId, MetricName};
use pulsewire_core::sample::Series;
use pulsewire_core::scope::DeviceScope;
use std::collections::HashSet;
use std::sync::Arc;

/// Most names in a list `device=` or `metric=`.
const NAMES_MAX: usize = 1_000;

/// A series with its device's id.
pub struct Chosen {
    pub device: DeviceId,
    pub series: Arc<Series>,
}

/// What was asked for, of what the caller may see; what is absent leaves everything in.
pub struct Wanted<'a> {
    pub scope: &'a DeviceScope,
    pub device: Option<&'a str>,
    pub group: Option<&'a str>,
    pub profile: Option<&'a str>,
    pub tag: Option<&'a str>,
    pub metric: Option<&'a str>,
}

/// The series that fit, by device in the order asked for (else by id) and by metric; more than `most` are refused.
pub fn choose(state: &State, wanted: &Wanted<'_>, most: usize) -> Result<Vec<Chosen>, Problem> {
    let devices = devices(state, wanted)?;
    let metrics = wanted.metric.map(|text| metrics(state, text, &devices)).transpose()?;
    let takes = |series: &&Arc<Series>| metrics.as_ref().is_none_or(|m| m.contains(&series.metric));
    let mut chosen = Vec::new();
    for device in devices {
        // Held for one device at a time: ingest waits for this lock when it learns of a new series.
        let catalogue = state.catalogue.read().map_err(Problem::internal)?;
        for series in catalogue.of_device(device.key).filter(takes) {
            if chosen.len() == most {
                let detail = format!("more than {most} series fit; name devices, a group, a profile, a tag or metrics");
                return Err(Problem::bad_request("too_many_series", detail));
            }
            chosen.push(Chosen { device: device.id.clone(), series: series.clone() });
        }
    }
    Ok(chosen)
}

fn devices(state: &State, wanted: &Wanted<'_>) -> Result<Vec<Arc<Device>>, Problem> {
    let tags = Tags::parse(wanted.tag)?;
    let fits = |device: &Arc<Device>| {
        wanted.scope.sees(device)
            && wanted.group.is_none_or(|group| device.group.as_ref().is_some_and(|g| g.as_str() == group))
            && wanted.profile.is_none_or(|profile| device.profile.as_ref().is_some_and(|p| p.as_str() == profile))
            && tags.fit(device)
    };
    let mut devices = Vec::new();
    if let Some(ids) = wanted.device {
        let mut listed = HashSet::new();
        for id in names("device", ids)? {
            let id = DeviceId::parse(id).map_err(|error| Problem::field("device", error))?;
            if !listed.insert(id.clone()) {
                continue;
            }
            let found = state.directory.read().map_err(Problem::internal)?.by_id(&id).cloned();
            let found = found.filter(|device| wanted.scope.sees(device));
            let device = found.ok_or_else(|| Problem::missing("device", id.as_str()))?;
            if fits(&device) {
                devices.push(device);
            }
        }
        return Ok(devices);
    }
    let mut after: Option<DeviceId> = None;
    loop {
        let page: Vec<Arc<Device>> = {
            let directory = state.directory.read().map_err(Problem::internal)?;
            directory.after(after.as_ref()).take(DEVICES_AT_ONCE).cloned().collect()
        };
        let Some(last) = page.last() else { return Ok(devices) };
        after = Some(last.id.clone());
        devices.extend(page.into_iter().filter(fits));
    }
}

/// The metrics that a text means: itself, if one of the devices has a metric of exactly this name, else those of a list.
fn metrics(state: &State, text: &str, devices: &[Arc<Device>]) -> Result<HashSet<MetricName>, Problem> {
    if let Some(whole) = MetricName::parse(text).ok().filter(|_| text.contains(',')) {
        for some in devices.chunks(DEVICES_AT_ONCE) {
            let catalogue = state.catalogue.read().map_err(Problem::internal)?;
            if some.iter().any(|device| catalogue.find(device.key, &whole).is_some()) {
                return Ok(HashSet::from([whole]));
            }
        }
    }
    let metric = |name| MetricName::parse(name).map_err(|error| Problem::field("metric", error));
    names("metric", text)?.map(metric).collect()
}

fn names<'a>(field: &str, list: &'a str) -> Result<impl Iterator<Item = &'a str>, Problem> {
    let names = list.split(',');
    let count = names.clone().count();
    if count > NAMES_MAX {
        return Err(Problem::field(field, format!("{field} lists {count} names; at most {NAMES_MAX} are allowed")));
    }
    Ok(names)
}
