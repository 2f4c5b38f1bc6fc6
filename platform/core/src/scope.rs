//! Which devices a person may see.

use crate::device::Device;
use crate::ids::GroupName;
use std::collections::BTreeSet;

/// Most groups that a user may be given.
pub const SCOPE_GROUPS_MAX: usize = 64;

/// The devices that a user may see: deny first, so that a device in no group is seen only by who may see all.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum DeviceScope {
    /// Every device.
    #[default]
    All,
    /// The devices of these groups.
    Groups(BTreeSet<GroupName>),
}

impl DeviceScope {
    /// Whether the device may be seen.
    pub fn sees(&self, device: &Device) -> bool {
        self.sees_group(device.group.as_ref())
    }

    /// Whether devices of this group may be seen; `None` stands for those in no group.
    pub fn sees_group(&self, group: Option<&GroupName>) -> bool {
        match self {
            Self::All => true,
            Self::Groups(groups) => group.is_some_and(|group| groups.contains(group)),
        }
    }

    /// Whether an alert may be seen: it was of a group that may be, and so is its device now, if it has one that still exists.
    pub fn sees_alert(&self, group: Option<&GroupName>, device: Option<&Device>) -> bool {
        self.is_all() || self.sees_group(group) && device.is_none_or(|device| self.sees(device))
    }

    /// Whether nothing is hidden.
    pub fn is_all(&self) -> bool {
        matches!(self, Self::All)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{DeviceId, DeviceKey};

    #[test]
    fn a_device_without_a_group_is_seen_only_by_who_may_see_all() {
        let group = |name: &str| GroupName::parse(name).expect("valid");
        let mut device = Device::named(DeviceKey(1), DeviceId::parse("pump").expect("valid"));
        let north = DeviceScope::Groups([group("north")].into());
        assert!(DeviceScope::All.sees(&device) && !north.sees(&device));
        device.group = Some(group("north"));
        assert!(north.sees(&device));
        device.group = Some(group("south"));
        assert!(!north.sees(&device));
        assert!(!DeviceScope::Groups(BTreeSet::new()).sees(&device));
    }
}
