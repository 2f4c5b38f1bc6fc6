//! Which devices a rule looks at.

use crate::device::Device;
use crate::ids::{DeviceId, GroupName};

/// Most devices that a scope names one by one.
pub const SCOPE_DEVICES_MAX: usize = 1000;

/// Which devices a rule looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Every device.
    All,
    /// These, by id; they need not exist yet.
    Devices(Vec<DeviceId>),
    /// Those with this tag.
    Tag {
        /// Its key.
        key: String,
        /// Its value.
        value: String,
    },
    /// Those of a group.
    Group(GroupName),
}

impl Scope {
    /// True if the rule looks at this device.
    pub fn takes(&self, device: &Device) -> bool {
        match self {
            Self::All => true,
            Self::Devices(ids) => ids.contains(&device.id),
            Self::Tag { key, value } => device.tags.get(key).is_some_and(|own| own == value),
            Self::Group(group) => device.group.as_ref() == Some(group),
        }
    }
}
