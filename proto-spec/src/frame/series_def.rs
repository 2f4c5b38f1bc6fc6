use alloc::{string::String, vec::Vec};

use wincode::{SchemaRead, SchemaWrite};

use super::{
    MetricType,
    layout::{ensure, payload},
};
use crate::{DecodeError, limits};

payload! {
    /// Gives series the numbers that batches use. SPEC §9.4.
    SeriesDef = "SERIES_DEF" {
        /// The viewer's number.
        subscription: u32,
        /// At most 10,000.
        series: Vec<Series>,
    } appended {
        /// Empty, or the labels of each of `series`, in their order: what a result over many devices is of.
        labels: Vec<Vec<SeriesLabel>> = Vec::new(),
    }
}

/// One label of a series. SPEC §9.4.
#[derive(Debug, Clone, PartialEq, Eq, Hash, SchemaRead, SchemaWrite)]
pub struct SeriesLabel {
    /// As in `across` of the SUBSCRIBE.
    pub name: String,
    /// What its devices have there; empty = nothing.
    pub value: String,
}

/// One series. SPEC §9.4.
#[derive(Debug, Clone, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub struct Series {
    /// Number in this subscription.
    pub index: u32,
    /// Device id; empty for a result over many devices.
    pub device: String,
    /// Metric name.
    pub metric: String,
    /// Unit; may be empty.
    pub unit: String,
    /// Type that the device declared.
    pub metric_type: MetricType,
}

impl SeriesDef {
    /// Checks the number of series, and that there are labels for each or for none.
    pub fn validate(&self) -> Result<(), DecodeError> {
        ensure(self.series.len() <= limits::LIVE_LIST, Self::NAME, "series", "at most 10,000 series")?;
        let count_ok = self.labels.is_empty() || self.labels.len() == self.series.len();
        ensure(count_ok, Self::NAME, "labels", "as many as series, or none")?;
        let each_ok = self.labels.iter().all(|labels| labels.len() <= limits::SUBSCRIBE_ACROSS);
        ensure(each_ok, Self::NAME, "labels", "at most 4 labels")
    }
}
