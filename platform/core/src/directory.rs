//! The devices that exist, in the order people list them: pure bookkeeping, filled from the store at start.

use crate::device::Device;
use crate::ids::{DeviceId, DeviceKey};
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

/// Every device, by id and by number.
#[derive(Debug, Default)]
pub struct Directory {
    by_id: BTreeMap<DeviceId, Arc<Device>>,
    by_key: HashMap<DeviceKey, Arc<Device>>,
    version: u64,
}

impl Directory {
    /// A directory of these devices.
    pub fn new(devices: Vec<Device>) -> Self {
        let mut directory = Self::default();
        for device in devices {
            directory.put(Arc::new(device));
        }
        directory
    }

    /// How many devices there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Grows with every change: what was made of the directory holds for as long as this stays.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The device with this id.
    pub fn by_id(&self, id: &DeviceId) -> Option<&Arc<Device>> {
        self.by_id.get(id)
    }

    /// The device with this number.
    pub fn by_key(&self, key: DeviceKey) -> Option<&Arc<Device>> {
        self.by_key.get(&key)
    }

    /// Devices by id, beginning after `after`.
    pub fn after(&self, after: Option<&DeviceId>) -> impl Iterator<Item = &Arc<Device>> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.by_id.range((start, Bound::Unbounded)).map(|(_, device)| device)
    }

    /// Adds a device, or replaces what is known of it.
    pub fn put(&mut self, device: Arc<Device>) {
        self.version += 1;
        self.by_key.insert(device.key, device.clone());
        self.by_id.insert(device.id.clone(), device);
    }

    /// Forgets a device.
    pub fn remove(&mut self, key: DeviceKey) -> Option<Arc<Device>> {
        let device = self.by_key.remove(&key)?;
        self.version += 1;
        // The id may be another device's by now.
        if self.by_id.get(&device.id).is_some_and(|of_id| of_id.key == key) {
            self.by_id.remove(&device.id);
        }
        Some(device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(key: u32, id: &str) -> Arc<Device> {
        Arc::new(Device::named(DeviceKey(key), DeviceId::parse(id).expect("valid")))
    }

    #[test]
    fn a_device_that_took_over_an_id_stays_when_the_older_one_is_removed() {
        let mut directory = Directory::default();
        directory.put(device(1, "pump"));
        directory.put(device(2, "pump"));
        directory.remove(DeviceKey(1)).expect("known");
        let id = DeviceId::parse("pump").expect("valid");
        assert_eq!(directory.by_id(&id).expect("the newer one").key, DeviceKey(2));
        directory.remove(DeviceKey(2)).expect("known");
        assert!(directory.is_empty());
    }
}
