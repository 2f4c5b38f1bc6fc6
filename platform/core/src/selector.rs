//! Which series a subscription means. SPEC §9.2.

use crate::ids::{DeviceId, MetricName};
use std::collections::HashSet;

/// Devices and metrics by name; an empty set means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    /// Devices meant.
    pub devices: HashSet<DeviceId>,
    /// Metrics meant.
    pub metrics: HashSet<MetricName>,
}

impl Selector {
    /// True if the device is meant.
    pub fn takes_device(&self, device: &DeviceId) -> bool {
        self.devices.is_empty() || self.devices.contains(device)
    }

    /// True if the metric is meant.
    pub fn takes_metric(&self, metric: &MetricName) -> bool {
        self.metrics.is_empty() || self.metrics.contains(metric)
    }
}
