//! Which series a subscription means. SPEC §9.2.

use crate::device::Device;
use crate::ids::{DeviceId, GroupName, MetricName};
use crate::scope::DeviceScope;
use std::collections::{BTreeMap, BTreeSet};

/// Devices and metrics by what they are called and labelled; an empty part means all. Equal selectors mean the same series,
/// in whatever order they were asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Selector {
    /// What who asks may see.
    pub scope: DeviceScope,
    /// Devices meant.
    pub devices: BTreeSet<DeviceId>,
    /// Metrics meant.
    pub metrics: BTreeSet<MetricName>,
    /// Groups meant.
    pub groups: BTreeSet<GroupName>,
    /// Profiles meant.
    pub profiles: BTreeSet<String>,
    /// For each key the values of which a device has one; an empty value stands for any.
    pub tags: BTreeMap<String, BTreeSet<String>>,
}

impl Selector {
    /// True if the device is meant and may be seen.
    pub fn takes(&self, device: &Device) -> bool {
        self.takes_every_device() || self.fits(device)
    }

    /// True if every device is meant, whatever it is.
    pub fn takes_every_device(&self) -> bool {
        self.scope.is_all()
            && self.devices.is_empty()
            && self.groups.is_empty()
            && self.profiles.is_empty()
            && self.tags.is_empty()
    }

    fn fits(&self, device: &Device) -> bool {
        let group_ok = || device.group.as_ref().is_some_and(|group| self.groups.contains(group));
        let tag_ok = |(key, values): (&String, &BTreeSet<String>)| {
            device.tags.get(key).is_some_and(|value| values.contains("") || values.contains(value))
        };
        let profile_ok = || device.profile.as_ref().is_some_and(|profile| self.profiles.contains(profile.as_str()));
        (self.devices.is_empty() || self.devices.contains(&device.id))
            && (self.groups.is_empty() || group_ok())
            && (self.profiles.is_empty() || profile_ok())
            && self.tags.iter().all(tag_ok)
            && self.scope.sees(device)
    }

    /// True if the metric is meant.
    pub fn takes_metric(&self, metric: &MetricName) -> bool {
        self.metrics.is_empty() || self.metrics.contains(metric)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::DeviceKey;

    fn device() -> Device {
        let mut device = Device::named(DeviceKey(1), DeviceId::parse("pump").expect("valid"));
        device.group = Some(group("north"));
        device.tags = [("site", "a"), ("kind", "c1")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        device
    }

    fn group(name: &str) -> GroupName {
        GroupName::parse(name).expect("valid")
    }

    fn tags(wanted: &[(&str, &[&str])]) -> Selector {
        let values = |values: &[&str]| values.iter().map(|v| (*v).to_owned()).collect();
        let tags = wanted.iter().map(|(key, of_key)| ((*key).to_owned(), values(of_key))).collect();
        Selector { tags, ..Selector::default() }
    }

    #[test]
    fn a_device_has_one_of_the_values_named_for_every_key() {
        assert!(tags(&[("site", &["b", "a"])]).takes(&device()));
        assert!(tags(&[("site", &["a"]), ("kind", &[""])]).takes(&device()), "an empty value is any");
        assert!(!tags(&[("site", &["a"]), ("kind", &["c2"])]).takes(&device()), "every key counts");
        assert!(!tags(&[("owner", &[""])]).takes(&device()), "a key that it does not have");
    }

    #[test]
    fn every_part_that_is_given_must_hold_and_what_is_hidden_is_never_taken() {
        let north = || Selector { groups: [group("north")].into(), ..Selector::default() };
        assert!(north().takes(&device()));
        let named = DeviceId::parse("other").expect("valid");
        assert!(!Selector { devices: [named].into(), ..north() }.takes(&device()));
        let hidden = DeviceScope::Groups([group("south")].into());
        assert!(!Selector { scope: hidden.clone(), ..north() }.takes(&device()));
        assert!(!Selector { scope: hidden, ..Selector::default() }.takes(&device()));
        assert!(Selector::default().takes_every_device() && !north().takes_every_device());
    }
}
