use alloc::{string::String, vec::Vec};

use wincode::{SchemaRead, SchemaWrite};

use super::layout::{ensure, payload};
use crate::{DecodeError, limits};

payload! {
    /// Which devices are there. SPEC §9.7.
    Presence = "PRESENCE" {
        /// At most 10,000.
        devices: Vec<DevicePresence>,
    } appended {
        /// Position of this change in the lossless lane; 0 = not part of it. SPEC §9.14.
        position: u64 = 0,
        /// Position of the frame of the lane before.
        previous: u64 = 0,
    }
}

/// One device. SPEC §9.7.
#[derive(Debug, Clone, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub struct DevicePresence {
    /// Device id.
    pub device: String,
    /// Its state.
    pub state: PresenceState,
    /// µs since 1970; 0 = never.
    pub last_seen_us: i64,
}

/// Whether a device is there. SPEC §9.7.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, SchemaRead, SchemaWrite)]
pub enum PresenceState {
    /// No session.
    Offline,
    /// A session.
    Online,
    /// A session without telemetry for a while.
    Stale,
}

impl Presence {
    /// Checks the number of devices.
    pub fn validate(&self) -> Result<(), DecodeError> {
        ensure(self.devices.len() <= limits::LIVE_LIST, Self::NAME, "devices", "at most 10,000 devices")
    }
}
