//! Devices in the order that was asked for.

use super::super::State;
use super::super::problem::Problem;
use super::super::query::clip;
use super::filter::{AlertCounts, DEVICES_AT_ONCE, Filter};
use super::{Fleet, Look};
use actix_web::web;
use pulsewire_core::device::Device;
use pulsewire_core::ids::{MetricName, SeriesKey};
use pulsewire_core::presence::Presence;
use pulsewire_core::sample::Sample;
use pulsewire_core::value::Value;
use std::cmp::Ordering;
use std::sync::Arc;

/// By what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sort {
    Id,
    Name,
    Group,
    Profile,
    Presence,
    LastSeen,
    Alerts,
    /// The newest value of this metric.
    Metric(MetricName),
}

impl Sort {
    /// Reads its name.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        Ok(match text {
            "id" => Self::Id,
            "name" => Self::Name,
            "group" => Self::Group,
            "profile" => Self::Profile,
            "presence" => Self::Presence,
            "last_seen" => Self::LastSeen,
            "alerts" => Self::Alerts,
            other => {
                let Some(metric) = other.strip_prefix("metric:") else {
                    let detail = format!(
                        "sort is {:?}; id, name, group, profile, presence, last_seen, alerts or metric:NAME is allowed",
                        clip(other)
                    );
                    return Err(Problem::field("sort", detail));
                };
                Self::Metric(MetricName::parse(metric).map_err(|error| Problem::field("sort", error))?)
            }
        })
    }

    fn is_volatile(&self) -> bool {
        matches!(self, Self::Presence | Self::LastSeen | Self::Alerts | Self::Metric(_))
    }
}

/// Which devices, and in which order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub filter: Filter,
    pub sort: Sort,
    pub descending: bool,
}

/// Devices in their order.
pub type Ordered = Vec<Arc<Device>>;

impl Asked {
    /// The devices that fit, in their order; at most [`super::AGE_MAX`] old where presence, alerts or values decide, else as
    /// the directory is now.
    pub async fn devices(self, state: &web::Data<State>) -> Result<Arc<Ordered>, Problem> {
        let version = state.directory.read().map_err(Problem::internal)?.version();
        let volatile = self.filter.is_volatile() || self.sort.is_volatile();
        let age_max = volatile.then_some(super::AGE_MAX);
        state.fleet.orders.get(&self, version, age_max, Box::pin(self.clone().make(state))).await
    }

    async fn make(self, state: &web::Data<State>) -> Result<Ordered, Problem> {
        let place = state.fleet.enter().await?;
        let alerts = match self.filter.needs_alerts() || self.sort == Sort::Alerts {
            true => Fleet::alerts(state, self.filter.scope()).await?,
            false => Arc::default(),
        };
        let (parts, filter, counts) = (state.clone(), self.filter.clone(), alerts.clone());
        let found = place.work(state, move || filter.select(&parts.directory, &parts.presence, &counts)).await?;
        if self.sort == Sort::Id && !self.descending {
            return Ok(found);
        }
        let (found, values) = match &self.sort {
            Sort::Metric(metric) => values(state, &place, found, metric.clone()).await?,
            _ => (found, Vec::new()),
        };
        let parts = state.clone();
        place.work(state, move || Ok(self.sorted(&parts, found, values, &alerts))).await
    }

    fn sorted(&self, state: &State, found: Ordered, values: Vec<Option<Sample>>, alerts: &AlertCounts) -> Ordered {
        let seen = || state.presence.of_each(found.iter().map(|device| device.key));
        let down = self.descending;
        match self.sort {
            Sort::Id => {
                let mut found = found;
                found.reverse();
                found
            }
            Sort::Name => {
                let keys = found.iter().map(|device| Some(device.name.to_lowercase())).collect();
                in_order(found, keys, down)
            }
            Sort::Group => {
                let keys = found.iter().map(|device| device.group.clone()).collect();
                in_order(found, keys, down)
            }
            Sort::Profile => {
                let keys = found.iter().map(|device| device.profile.clone()).collect();
                in_order(found, keys, down)
            }
            Sort::Presence => {
                let rank = |presence| match presence {
                    Presence::Online => 0,
                    Presence::Stale => 1,
                    Presence::Offline => 2,
                };
                let keys = seen().into_iter().map(|(presence, _)| Some(rank(presence))).collect();
                in_order(found, keys, down)
            }
            Sort::LastSeen => {
                let keys = seen().into_iter().map(|(_, last_seen_us)| last_seen_us).collect();
                in_order(found, keys, down)
            }
            Sort::Alerts => {
                let counts = |device: &Arc<Device>| alerts.get(&device.key).copied().unwrap_or_default();
                // The worst severity counts first.
                let keys = found.iter().map(counts).map(|[info, warning, critical]| Some([critical, warning, info]));
                let keys = keys.collect();
                in_order(found, keys, down)
            }
            Sort::Metric(_) => {
                let keys = values.into_iter().map(|sample| sample.and_then(|sample| Rank::of(sample.value))).collect();
                in_order(found, keys, down)
            }
        }
    }
}

/// The newest value of a metric of each device that has it.
async fn values(
    state: &web::Data<State>,
    place: &Look,
    found: Ordered,
    metric: MetricName,
) -> Result<(Ordered, Vec<Option<Sample>>), Problem> {
    let parts = state.clone();
    let look = move || {
        let keys = series(&parts, &found, std::slice::from_ref(&metric))?;
        Ok((found, keys))
    };
    let (found, keys) = place.work(state, look).await?;
    let known: Vec<SeriesKey> = keys.iter().copied().flatten().collect();
    let mut newest = state.history.latest(known).await?.into_iter();
    let values = keys.into_iter().map(|key| key.and_then(|_| newest.next().flatten())).collect();
    Ok((found, values))
}

/// The series of each device by metric: for each device as many entries as there are metrics.
pub fn series(
    state: &State,
    devices: &[Arc<Device>],
    metrics: &[MetricName],
) -> Result<Vec<Option<SeriesKey>>, Problem> {
    let mut keys = Vec::with_capacity(devices.len() * metrics.len());
    for some in devices.chunks(DEVICES_AT_ONCE) {
        // Not held for longer: ingest waits for this lock when it learns of a new series.
        let catalogue = state.catalogue.read().map_err(Problem::internal)?;
        for device in some {
            keys.extend(metrics.iter().map(|metric| catalogue.find(device.key, metric).map(|series| series.key)));
        }
    }
    Ok(keys)
}

/// A value as it is sorted: numbers (bools are 0 and 1) before texts.
#[derive(Debug, Clone, PartialEq)]
enum Rank {
    Number(f64),
    Text(Box<str>),
}

impl Rank {
    /// What is no number has no place.
    fn of(value: Value) -> Option<Self> {
        match value {
            Value::F64(number) => (!number.is_nan()).then_some(Self::Number(number)),
            #[allow(clippy::cast_precision_loss)] // whole numbers above 2^53 that differ by one count as equal
            Value::I64(number) => Some(Self::Number(number as f64)),
            Value::Bool(yes) => Some(Self::Number(f64::from(u8::from(yes)))),
            Value::Text(text) => Some(Self::Text(text)),
        }
    }
}

impl Eq for Rank {}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Rank {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.total_cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Number(_), Self::Text(_)) => Ordering::Less,
            (Self::Text(_), Self::Number(_)) => Ordering::Greater,
        }
    }
}

/// Devices, which come by id, by their keys; those without one are last whatever the direction, and equals stay by id.
fn in_order<K: Ord>(devices: Ordered, keys: Vec<Option<K>>, descending: bool) -> Ordered {
    let mut places: Vec<(Option<K>, u32)> = keys.into_iter().zip(0..).collect();
    places.sort_unstable_by(|(a, first), (b, second)| {
        let by_key = match (a, b) {
            (Some(a), Some(b)) if descending => b.cmp(a),
            (Some(a), Some(b)) => a.cmp(b),
            (a, b) => b.is_some().cmp(&a.is_some()),
        };
        by_key.then(first.cmp(second))
    });
    places.into_iter().filter_map(|(_, at)| devices.get(at as usize).cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulsewire_core::ids::{DeviceId, DeviceKey};

    fn devices(count: u32) -> Ordered {
        let device = |key: u32| Device::named(DeviceKey(key), DeviceId::parse(&format!("d{key}")).expect("valid"));
        (0..count).map(|key| Arc::new(device(key))).collect()
    }

    fn keys(ordered: &Ordered) -> Vec<u32> {
        ordered.iter().map(|device| device.key.0).collect()
    }

    #[test]
    fn what_has_no_value_is_last_in_both_directions_and_equals_stay_by_id() {
        let values = || vec![Some(2), None, Some(1), Some(2), None];
        assert_eq!(keys(&in_order(devices(5), values(), false)), [2, 0, 3, 1, 4]);
        assert_eq!(keys(&in_order(devices(5), values(), true)), [0, 3, 2, 1, 4]);
    }

    #[test]
    fn numbers_of_all_types_are_compared_and_come_before_texts() {
        let text = |text: &str| Value::Text(text.into());
        let values = [text("b"), Value::F64(-1.5), Value::Bool(true), Value::I64(7), Value::F64(f64::NAN), text("a")];
        let ranks = values.map(Rank::of).into();
        assert_eq!(keys(&in_order(devices(6), ranks, false)), [1, 2, 3, 5, 0, 4]);
    }

    #[test]
    fn a_sort_says_what_is_allowed() {
        assert_eq!(Sort::parse("metric:a,b").expect("valid"), Sort::Metric(MetricName::parse("a,b").expect("valid")));
        for wrong in ["", "ID", "metric", "metric:", "temperature"] {
            assert!(Sort::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
