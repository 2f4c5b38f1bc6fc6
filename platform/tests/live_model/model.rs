//! What is true, written from SPEC §9 alone: every sample that was stored, in order, and every change of the lossless lane. No
//! tick, no view, no ring: whatever a viewer may be told follows from this list.

use pulsewire_core::ids::{DeviceKey, SeriesKey};
use pulsewire_proto::frame::Aggregate;
use std::collections::{BTreeMap, BTreeSet};

/// A sample. Its value on the wire is its number, so that whoever sees it knows which one it is.
#[derive(Debug, Clone)]
pub struct Told {
    pub number: u64,
    pub position: u64,
    pub series: SeriesKey,
    pub time_us: i64,
    pub live: bool,
    /// How often its device had changed when it was stored.
    pub changes: u64,
}

/// A device as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Known {
    pub id: String,
    pub group: Option<String>,
    pub tags: BTreeMap<String, String>,
    /// How often it was edited.
    pub changes: u64,
    pub gone: bool,
}

/// What a viewer asks for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Selection {
    pub devices: Vec<String>,
    pub metrics: Vec<String>,
    pub groups: Vec<String>,
    pub tags: Vec<(String, String)>,
}

/// What one subscription asks for.
#[derive(Debug, Clone)]
pub struct Wish {
    pub selection: Selection,
    pub aggregate: Aggregate,
    pub interval_ms: u32,
    pub history_ms: u32,
    pub across: Option<Vec<String>>,
}

/// A change of the lossless lane that every viewer is to be told, or those that select the device.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Id and revision.
    pub id: (u128, u64),
    /// None: an alert.
    pub device: Option<String>,
}

/// Whose value a series of a subscription is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Output {
    pub device: String,
    pub metric: String,
    pub labels: Vec<(String, String)>,
}

#[derive(Debug, Default)]
pub struct Truth {
    pub told: Vec<Told>,
    pub position: u64,
    pub devices: BTreeMap<DeviceKey, Known>,
    pub series: BTreeMap<SeriesKey, (DeviceKey, String)>,
    pub lane: Vec<Change>,
    /// Positions at which some device was added, edited or removed.
    pub edited: BTreeSet<u64>,
}

/// The metric that is text; the others are numbers.
pub const TEXT: &str = "state";

impl Selection {
    pub fn takes_device(&self, device: &Known) -> bool {
        // SPEC §9.2: for each key that is named, one of the values named with it; an empty one is any.
        let tag_fits = |key: &str| {
            let Some(has) = device.tags.get(key) else { return false };
            self.tags.iter().any(|(named, value)| named == key && (value.is_empty() || value == has))
        };
        !device.gone
            && (self.devices.is_empty() || self.devices.contains(&device.id))
            && (self.groups.is_empty() || device.group.as_ref().is_some_and(|group| self.groups.contains(group)))
            && self.tags.iter().all(|(key, _)| tag_fits(key))
    }

    pub fn takes_metric(&self, metric: &str) -> bool {
        self.metrics.is_empty() || self.metrics.iter().any(|named| named == metric)
    }
}

impl Truth {
    /// The samples stored after one position, up to another.
    pub fn between(&self, after: u64, up_to: u64) -> &[Told] {
        let first = self.told.partition_point(|told| told.position <= after);
        let end = self.told.partition_point(|told| told.position <= up_to);
        &self.told[first..end.max(first)]
    }

    pub fn by_number(&self, number: u64) -> Option<&Told> {
        self.told.get(usize::try_from(number).ok()?.checked_sub(1)?)
    }

    pub fn metric(&self, series: SeriesKey) -> &str {
        self.series.get(&series).map_or("", |(_, metric)| metric)
    }

    pub fn device(&self, series: SeriesKey) -> Option<(&DeviceKey, &Known)> {
        let (key, _) = self.series.get(&series)?;
        self.devices.get_key_value(key)
    }

    /// Whether a viewer must be told this sample: its device is selected, and has been as it is since the sample was stored.
    pub fn is_due(&self, selection: &Selection, told: &Told) -> bool {
        let Some((_, device)) = self.device(told.series) else { return false };
        device.changes == told.changes
            && selection.takes_device(device)
            && selection.takes_metric(self.metric(told.series))
    }

    /// The number of the newest sample by time of this series that a viewer knows of who has a snapshot up to one position
    /// and what was live up to another.
    pub fn newest(&self, series: SeriesKey, snapshot: u64, up_to: u64) -> Option<&Told> {
        let known =
            |told: &&Told| told.series == series && told.position <= up_to && (told.live || told.position <= snapshot);
        self.told.iter().filter(known).max_by_key(|told| (told.time_us, told.number))
    }

    /// Whether this may be the newest that a viewer has of a series: the newest, but for what was backfilled while others watched
    /// it, which is stored and not in memory.
    pub fn may_have(&self, series: SeriesKey, snapshot: u64, up_to: u64, has: Option<f64>) -> bool {
        let newest = self.newest(series, snapshot, up_to);
        let live = self.newest(series, 0, up_to);
        let has = has.and_then(|number| self.by_number(number as u64));
        let beside = has.map_or(live.is_none(), |has| live.is_none_or(|live| has.time_us >= live.time_us));
        has.map(|has| has.number) == newest.map(|newest| newest.number) || newest.is_some_and(|n| !n.live) && beside
    }

    /// The series that exist and are selected.
    pub fn selected<'a>(&'a self, selection: &'a Selection) -> impl Iterator<Item = (SeriesKey, &'a Known, &'a str)> {
        self.series.iter().filter_map(move |(series, (device, metric))| {
            let device = self.devices.get(device)?;
            let takes = selection.takes_device(device) && selection.takes_metric(metric);
            takes.then_some((*series, device, metric.as_str()))
        })
    }

    /// The result across devices of one metric and these labels, as of a position.
    pub fn across(
        &self,
        selection: &Selection,
        output: &Output,
        aggregate: Aggregate,
        up_to: u64,
        oldest_us: i64,
    ) -> Option<f64> {
        let of_output = |(_, device, metric): &(SeriesKey, &Known, &str)| {
            *metric == output.metric && *metric != TEXT && labels(device, &output.labels) == output.labels
        };
        let newest = |(series, _, _): (SeriesKey, &Known, &str)| {
            let told = self.newest(series, up_to, up_to)?;
            (told.time_us >= oldest_us).then_some(told.number as f64)
        };
        fold(aggregate, self.selected(selection).filter(of_output).filter_map(newest).collect())
    }
}

/// What a device has for these labels.
pub fn labels(device: &Known, wanted: &[(String, String)]) -> Vec<(String, String)> {
    let value = |name: &str| match name.strip_prefix("tag:") {
        Some(key) => device.tags.get(key).cloned(),
        None => device.group.clone(),
    };
    wanted.iter().map(|(name, _)| (name.clone(), value(name).unwrap_or_default())).collect()
}

/// SPEC §9.2: one result over some numbers.
pub fn fold(aggregate: Aggregate, mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (first, last) = (*values.first()?, *values.last()?);
    let (sum, count) = (values.iter().sum::<f64>(), values.len() as f64);
    Some(match aggregate {
        Aggregate::Min => first,
        Aggregate::Max | Aggregate::Last | Aggregate::Every => last,
        Aggregate::Avg => sum / count,
        Aggregate::Sum => sum,
        Aggregate::Count => count,
        // The least value that at least 95 % of them do not exceed.
        Aggregate::P95 => {
            *values.iter().find(|value| values.iter().filter(|v| v <= value).count() as f64 >= 0.95 * count)?
        }
    })
}
