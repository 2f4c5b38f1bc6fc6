//! The series that exist, and which name they go by: pure bookkeeping, filled from the store at start.

use crate::ids::{DeviceKey, MetricName, SeriesKey};
use crate::sample::{MetricDeclaration, RejectReason, Series};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Every series, by number and by device.
#[derive(Debug, Default)]
pub struct Catalogue {
    by_key: HashMap<SeriesKey, Arc<Series>>,
    by_device: HashMap<DeviceKey, BTreeMap<MetricName, Arc<Series>>>,
    next: u32,
}

/// How many series there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeriesLimits {
    /// In the whole store.
    pub in_all: usize,
    /// Of one device, so that one device that makes up names cannot take the room of all.
    pub per_device: usize,
}

/// What [`Catalogue::resolve`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved {
    /// The series exists as declared.
    Known(SeriesKey),
    /// The series is new, or its unit or type within its class changed; store it before its samples.
    Write(Arc<Series>),
    /// Its values cannot be stored.
    Rejected(RejectReason),
}

impl Catalogue {
    /// `next` is the lowest number never used; numbers of deleted series are not used again.
    pub fn new(series: Vec<Series>, next: SeriesKey) -> Self {
        let mut catalogue = Self { next: next.0, ..Self::default() };
        for one in series {
            catalogue.insert(Arc::new(one));
        }
        catalogue
    }

    /// How many series there are.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// The series with this number.
    pub fn get(&self, key: SeriesKey) -> Option<&Arc<Series>> {
        self.by_key.get(&key)
    }

    /// The series of one device by metric.
    pub fn find(&self, device: DeviceKey, metric: &MetricName) -> Option<&Arc<Series>> {
        self.by_device.get(&device)?.get(metric)
    }

    /// All series of a device, by metric name.
    pub fn of_device(&self, device: DeviceKey) -> impl Iterator<Item = &Arc<Series>> {
        self.by_device.get(&device).into_iter().flat_map(BTreeMap::values)
    }

    /// How many metrics a device has.
    pub fn metrics_of(&self, device: DeviceKey) -> usize {
        self.by_device.get(&device).map_or(0, BTreeMap::len)
    }

    /// Says which series a declared metric is, and makes it if there is room within `limits`.
    pub fn resolve(&mut self, device: DeviceKey, metric: &MetricDeclaration, limits: SeriesLimits) -> Resolved {
        if let Some(known) = self.find(device, &metric.name) {
            if known.value_type.class() != metric.value_type.class() {
                return Resolved::Rejected(RejectReason::TypeMismatch);
            }
            if known.value_type == metric.value_type && known.unit == metric.unit {
                return Resolved::Known(known.key);
            }
            let changed = Series { unit: metric.unit.clone(), value_type: metric.value_type, ..(**known).clone() };
            return Resolved::Write(self.insert(Arc::new(changed)));
        }
        let full = self.by_key.len() >= limits.in_all || self.metrics_of(device) >= limits.per_device;
        if full || self.next == u32::MAX {
            return Resolved::Rejected(RejectReason::Other);
        }
        let series = Series {
            key: SeriesKey(self.next),
            device,
            metric: metric.name.clone(),
            unit: metric.unit.clone(),
            value_type: metric.value_type,
        };
        self.next += 1;
        Resolved::Write(self.insert(Arc::new(series)))
    }

    /// Forgets a device's series.
    pub fn remove_device(&mut self, device: DeviceKey) {
        for series in self.by_device.remove(&device).into_iter().flat_map(BTreeMap::into_values) {
            self.by_key.remove(&series.key);
        }
    }

    fn insert(&mut self, series: Arc<Series>) -> Arc<Series> {
        self.next = self.next.max(series.key.0.saturating_add(1));
        self.by_key.insert(series.key, series.clone());
        self.by_device.entry(series.device).or_default().insert(series.metric.clone(), series.clone());
        series
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::ValueType;

    fn declaration(name: &str, value_type: ValueType) -> MetricDeclaration {
        MetricDeclaration { name: MetricName::parse(name).expect("a valid name"), unit: String::new(), value_type }
    }

    fn limits(in_all: usize) -> SeriesLimits {
        SeriesLimits { in_all, per_device: 3 }
    }

    #[test]
    fn one_device_cannot_take_the_room_of_all() {
        let mut c = Catalogue::new(Vec::new(), SeriesKey(0));
        for name in ["a", "b", "c"] {
            assert!(matches!(
                c.resolve(DeviceKey(1), &declaration(name, ValueType::F64), limits(10)),
                Resolved::Write(_)
            ));
        }
        let fourth = c.resolve(DeviceKey(1), &declaration("d", ValueType::F64), limits(10));
        assert_eq!(fourth, Resolved::Rejected(RejectReason::Other));
        assert!(matches!(c.resolve(DeviceKey(2), &declaration("d", ValueType::F64), limits(10)), Resolved::Write(_)));
    }

    #[test]
    fn a_metric_keeps_its_class_but_may_change_its_type_within_it() {
        let mut c = Catalogue::new(Vec::new(), SeriesKey(5));
        let device = DeviceKey(1);
        let Resolved::Write(series) = c.resolve(device, &declaration("t", ValueType::F32), limits(10)) else {
            panic!("a new metric is written");
        };
        assert_eq!(series.key, SeriesKey(5));
        assert_eq!(c.resolve(device, &declaration("t", ValueType::F32), limits(10)), Resolved::Known(SeriesKey(5)));
        assert!(matches!(c.resolve(device, &declaration("t", ValueType::I64), limits(10)), Resolved::Write(_)));
        assert_eq!(
            c.resolve(device, &declaration("t", ValueType::Text), limits(10)),
            Resolved::Rejected(RejectReason::TypeMismatch)
        );
    }

    #[test]
    fn no_series_is_made_above_the_limit_and_no_number_is_used_twice() {
        let mut c = Catalogue::new(Vec::new(), SeriesKey(0));
        assert!(matches!(c.resolve(DeviceKey(1), &declaration("a", ValueType::F64), limits(1)), Resolved::Write(_)));
        assert_eq!(
            c.resolve(DeviceKey(1), &declaration("b", ValueType::F64), limits(1)),
            Resolved::Rejected(RejectReason::Other)
        );
        c.remove_device(DeviceKey(1));
        let Resolved::Write(series) = c.resolve(DeviceKey(2), &declaration("a", ValueType::F64), limits(1)) else {
            panic!("there is room again");
        };
        assert_eq!(series.key, SeriesKey(1));
    }
}
