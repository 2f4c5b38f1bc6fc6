//! One wheel for the timers of all devices.
//!
//! A device is in it at most once, under its earliest deadline or before it: a deadline that moves away is not followed, the
//! device is woken, finds that nothing is due and is put in again. So a device that reports every second costs one entry per
//! deadline, not one per report.

use crate::ids::DeviceKey;
use std::collections::BTreeMap;

/// Width of a slot, µs. Deadlines of one slot are served together, at its end.
pub const SLOT_US: i64 = 50_000;

/// See the module.
#[derive(Debug, Default)]
pub struct Wheel {
    // By the end of the slot.
    slots: BTreeMap<i64, Vec<DeviceKey>>,
}

/// The end of the slot in which a deadline lies: never before it.
fn end_of(deadline_us: i64) -> i64 {
    let slot = deadline_us.div_euclid(SLOT_US) + i64::from(deadline_us.rem_euclid(SLOT_US) > 0);
    slot.saturating_mul(SLOT_US)
}

impl Wheel {
    /// Puts a device in; answers when it will be woken.
    pub fn arm(&mut self, device: DeviceKey, deadline_us: i64) -> i64 {
        let end_us = end_of(deadline_us);
        self.slots.entry(end_us).or_default().push(device);
        end_us
    }

    /// When there is something to do next.
    pub fn next_us(&self) -> Option<i64> {
        self.slots.first_key_value().map(|(end_us, _)| *end_us)
    }

    /// Takes out the devices of the earliest slot that is over, with its end.
    pub fn take(&mut self, now_us: i64) -> Option<(i64, Vec<DeviceKey>)> {
        self.slots.first_key_value().filter(|(end_us, _)| **end_us <= now_us)?;
        self.slots.pop_first()
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.slots.values().map(Vec::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_served_at_the_end_of_its_slot_and_never_before() {
        let mut wheel = Wheel::default();
        assert_eq!(wheel.arm(DeviceKey(1), SLOT_US), SLOT_US);
        assert_eq!(wheel.arm(DeviceKey(2), SLOT_US + 1), 2 * SLOT_US);
        assert_eq!(wheel.arm(DeviceKey(3), -1), 0);
        assert_eq!(wheel.take(-1), None);
        assert_eq!(wheel.take(SLOT_US), Some((0, vec![DeviceKey(3)])));
        assert_eq!(wheel.take(SLOT_US), Some((SLOT_US, vec![DeviceKey(1)])));
        assert_eq!((wheel.take(SLOT_US), wheel.next_us(), wheel.len()), (None, Some(2 * SLOT_US), 1));
    }
}
