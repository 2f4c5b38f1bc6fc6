//! Where devices are, for a map.

use super::super::State;
use super::super::problem::Problem;
use super::super::query::{clip, time_text};
use super::super::request::Caller;
use super::filter::{AlertCounts, Filter, Given};
use super::order::{self, Asked, Sort};
use super::{AGE_MAX, Fleet};
use actix_web::{HttpResponse, web};
use pulsewire_core::device::Device;
use pulsewire_core::ids::MetricName;
use pulsewire_core::sample::Sample;
use pulsewire_core::severity::Severity;
use pulsewire_core::value::Value;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Most positions in one answer.
const POSITIONS_MAX: usize = 20_000;
/// Metrics that are a latitude and those that are a longitude; of each the first that a device has.
const LATITUDES: [&str; 2] = ["latitude", "lat"];
const LONGITUDES: [&str; 3] = ["longitude", "lon", "lng"];

/// Of which devices.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct PositionFilter {
    /// Part of id or name.
    q: Option<String>,
    group: Option<String>,
    profile: Option<String>,
    /// As in the list of devices.
    tag: Option<String>,
    presence: Option<String>,
    severity: Option<String>,
    /// `west,south,east,north` in degrees; a west above east goes across 180°.
    bbox: Option<String>,
}

/// Where a device is.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct PositionJson {
    device: String,
    name: String,
    presence: &'static str,
    /// The worst of its open alerts.
    severity: Option<&'static str>,
    latitude: f64,
    longitude: f64,
    /// Of the older of the two values.
    time: String,
}

/// Where devices are.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct PositionsJson {
    /// By id.
    items: Vec<PositionJson>,
    /// How many devices with a position are in the box.
    total: usize,
    /// There are more than were listed.
    cut: bool,
}

/// A device that said where it is.
pub struct Place {
    device: Arc<Device>,
    latitude: f64,
    longitude: f64,
    time_us: i64,
}

/// A part of the map.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bounds {
    west: f64,
    south: f64,
    east: f64,
    north: f64,
}

impl Bounds {
    fn parse(text: &str) -> Result<Self, Problem> {
        let wrong = || {
            let detail = format!(
                "bbox is {:?}; west,south,east,north in degrees is wanted: longitudes from -180 to 180, latitudes from -90 to \
                 90, south not above north",
                clip(text)
            );
            Problem::field("bbox", detail)
        };
        let numbers: Vec<f64> = text.split(',').map_while(|part| part.trim().parse().ok()).collect();
        let (4, [west, south, east, north]) = (text.split(',').count(), &numbers[..]) else { return Err(wrong()) };
        let bounds = Self { west: *west, south: *south, east: *east, north: *north };
        let sound = [*west, *east].iter().all(|x| (-180.0..=180.0).contains(x))
            && [*south, *north].iter().all(|y| (-90.0..=90.0).contains(y))
            && south <= north;
        if sound { Ok(bounds) } else { Err(wrong()) }
    }

    fn has(&self, place: &Place) -> bool {
        let (x, y) = (place.longitude, place.latitude);
        let across = self.west > self.east;
        let within = if across { x >= self.west || x <= self.east } else { (self.west..=self.east).contains(&x) };
        within && (self.south..=self.north).contains(&y)
    }
}

/// Where devices are that send latitude and longitude.
#[utoipa::path(get, path = "/devices/positions", tag = "devices", params(PositionFilter), responses(
    (status = 200, body = PositionsJson), (status = 400, body = Problem)))]
pub async fn positions(state: web::Data<State>, caller: Caller<PositionFilter>) -> Result<HttpResponse, Problem> {
    let asked = &caller.query;
    let bounds = asked.bbox.as_deref().map(Bounds::parse).transpose()?;
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
    let places = state.fleet.places.get(&filter, version, Some(AGE_MAX), make).await?;
    let alerts = Fleet::alerts(&state, caller.scope()).await?;
    let parts = state.clone();
    let text = Fleet::work(&state, move || answer(&parts, &places, &alerts, bounds)).await?;
    Ok(HttpResponse::Ok().content_type("application/json").body(text))
}

async fn make(state: &web::Data<State>, filter: Filter) -> Result<Vec<Place>, Problem> {
    let devices = Asked { filter, sort: Sort::Id, descending: false }.devices(state).await?;
    let place = state.fleet.enter().await?;
    let names: Result<Vec<_>, _> = LATITUDES.iter().chain(&LONGITUDES).map(|name| MetricName::parse(name)).collect();
    let names = names.map_err(Problem::internal)?;
    let (parts, known) = (state.clone(), devices.clone());
    let keys = place.work(state, move || order::series(&parts, &known, &names)).await?;
    let each = LATITUDES.len() + LONGITUDES.len();
    // Of each device the first of its latitudes and the first of its longitudes.
    let mut wanted = Vec::new();
    for (device, keys) in devices.iter().zip(keys.chunks(each)) {
        let (latitudes, longitudes) = keys.split_at(LATITUDES.len());
        let first = |keys: &[Option<_>]| keys.iter().copied().flatten().next();
        if let (Some(latitude), Some(longitude)) = (first(latitudes), first(longitudes)) {
            wanted.push((device.clone(), [latitude, longitude]));
        }
    }
    let newest = state.history.latest(wanted.iter().flat_map(|(_, keys)| *keys).collect()).await?;
    let places = wanted.into_iter().zip(newest.chunks(2)).filter_map(|((device, _), newest)| {
        let [Some(latitude), Some(longitude)] = newest else { return None };
        let time_us = latitude.time_us.min(longitude.time_us);
        let (latitude, longitude) = (degrees(latitude, 90.0)?, degrees(longitude, 180.0)?);
        Some(Place { device, latitude, longitude, time_us })
    });
    Ok(places.collect())
}

/// A number of degrees; None for what is none.
fn degrees(sample: &Sample, most: f64) -> Option<f64> {
    let degrees = match &sample.value {
        Value::F64(degrees) => *degrees,
        #[allow(clippy::cast_precision_loss)] // only small ones are degrees
        Value::I64(degrees) => *degrees as f64,
        Value::Bool(_) | Value::Text(_) => return None,
    };
    (-most..=most).contains(&degrees).then_some(degrees)
}

fn answer(state: &State, places: &[Place], alerts: &AlertCounts, bounds: Option<Bounds>) -> Result<String, Problem> {
    let inside: Vec<&Place> = places.iter().filter(|place| bounds.is_none_or(|bounds| bounds.has(place))).collect();
    let listed = inside.get(..POSITIONS_MAX.min(inside.len())).unwrap_or_default();
    let seen = state.presence.of_each(listed.iter().map(|place| place.device.key));
    let items = listed.iter().zip(seen).map(|(place, (presence, _))| {
        let counts = alerts.get(&place.device.key).copied().unwrap_or_default();
        let worst = Severity::ALL.into_iter().rev().find(|severity| counts[*severity as usize] > 0);
        PositionJson {
            device: place.device.id.to_string(),
            name: place.device.name.clone(),
            presence: presence.name(),
            severity: worst.map(Severity::name),
            latitude: place.latitude,
            longitude: place.longitude,
            time: time_text(place.time_us),
        }
    });
    let answer = PositionsJson { items: items.collect(), total: inside.len(), cut: inside.len() > listed.len() };
    serde_json::to_string(&answer).map_err(Problem::internal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulsewire_core::ids::{DeviceId, DeviceKey};

    fn has(bounds: &str, longitude: f64, latitude: f64) -> bool {
        let device = Arc::new(Device::named(DeviceKey(1), DeviceId::parse("a").expect("valid")));
        Bounds::parse(bounds).expect("valid").has(&Place { device, latitude, longitude, time_us: 0 })
    }

    #[test]
    fn a_box_may_go_across_the_date_line() {
        assert!(has("5,45,15,55", 10.0, 50.0) && !has("5,45,15,55", 20.0, 50.0) && !has("5,45,15,55", 10.0, 60.0));
        assert!(has("170,-50,-170,0", 179.0, -20.0) && has("170,-50,-170,0", -175.0, -20.0));
        assert!(!has("170,-50,-170,0", 0.0, -20.0));
        assert!(has("-180,-90,180,90", 180.0, 90.0));
    }

    #[test]
    fn a_box_that_is_none_is_refused() {
        for wrong in ["", "1,2,3", "1,2,3,4,5", "a,b,c,d", "1,2,,4", "181,0,1,1", "0,0,0,91", "0,10,1,0", "NaN,0,1,1"] {
            assert!(Bounds::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
