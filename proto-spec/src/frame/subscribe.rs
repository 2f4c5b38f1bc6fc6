use alloc::{string::String, vec::Vec};

use wincode::{SchemaRead, SchemaWrite};

use super::layout::{ensure, payload};
use crate::{DecodeError, limits, names};

payload! {
    /// A viewer asks for series. SPEC §9.2.
    Subscribe = "SUBSCRIBE" {
        /// Chosen by the viewer, not in use on this socket.
        subscription: u32,
        /// Device ids; empty = every device that the viewer may see.
        devices: Vec<String>,
        /// Metric names; empty = every metric.
        metrics: Vec<String>,
        /// Time between batches, at most 60,000.
        interval_ms: u32,
        /// Which samples of an interval to send.
        aggregate: Aggregate,
        /// History to send first, at most 86,400,000; 0 = only the latest values.
        history_ms: u32,
        /// Go on after this position.
        resume: Option<Resume>,
    }
}

/// Which samples of an interval to send. SPEC §9.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, SchemaRead, SchemaWrite)]
pub enum Aggregate {
    /// Each sample.
    Every,
    /// The newest sample per series and interval.
    Last,
}

/// Where a viewer stopped. SPEC §9.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub struct Resume {
    /// Epoch of the position.
    pub epoch: u64,
    /// Last position received.
    pub position: u64,
}

impl Subscribe {
    /// Nothing: a SUBSCRIBE with well-formed fields is decoded, and one that breaks a limit is answered with REFUSED,
    /// which needs its number. See [`check_limits`](Self::check_limits).
    pub fn validate(&self) -> Result<(), DecodeError> {
        Ok(())
    }

    /// Checks the limits of SPEC §9.2. An error is answered with REFUSED 3; the socket stays open.
    pub fn check_limits(&self) -> Result<(), DecodeError> {
        ensure(self.devices.len() <= limits::SUBSCRIBE_NAMES, Self::NAME, "devices", "at most 1,024 devices")?;
        ensure(self.metrics.len() <= limits::SUBSCRIBE_NAMES, Self::NAME, "metrics", "at most 1,024 metrics")?;
        let devices_ok = self.devices.iter().all(|id| names::is_device_id(id));
        ensure(devices_ok, Self::NAME, "devices", names::DEVICE_ID_RULE)?;
        let metrics_ok = self.metrics.iter().all(|name| names::is_metric_name(name));
        ensure(metrics_ok, Self::NAME, "metrics", names::METRIC_NAME_RULE)?;
        let interval_ok = self.interval_ms <= limits::SUBSCRIBE_INTERVAL_MS;
        ensure(interval_ok, Self::NAME, "interval_ms", "at most 60,000 ms")?;
        let history_ok = self.history_ms <= limits::SUBSCRIBE_HISTORY_MS;
        ensure(history_ok, Self::NAME, "history_ms", "at most 86,400,000 ms")
    }
}
