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
    }
}

/// One series. SPEC §9.4.
#[derive(Debug, Clone, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub struct Series {
    /// Number in this subscription.
    pub index: u32,
    /// Device id.
    pub device: String,
    /// Metric name.
    pub metric: String,
    /// Unit; may be empty.
    pub unit: String,
    /// Type that the device declared.
    pub metric_type: MetricType,
}

impl SeriesDef {
    /// Checks the number of series.
    pub fn validate(&self) -> Result<(), DecodeError> {
        ensure(self.series.len() <= limits::LIVE_LIST, Self::NAME, "series", "at most 10,000 series")
    }
}
