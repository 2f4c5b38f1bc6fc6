//! The lossless lane: changes of alerts, commands and presence, each once and in order. SPEC §9.14.
//!
//! One bounded ring for all; a viewer is a position in it. Pure.

use super::encode;
use crate::ports::ShownAlert;
use pulsewire_core::command::Command;
use pulsewire_core::device::Device;
use pulsewire_core::ids::DeviceKey;
use pulsewire_core::presence::Presence;
use pulsewire_core::scope::DeviceScope;
use std::collections::VecDeque;
use std::sync::Arc;

/// Changes per frame.
const CHANGES_PER_FRAME: usize = 1000;
/// Changes looked at for one viewer at a time.
const CHANGES_PER_STEP: usize = 4096;

/// One change.
#[derive(Debug, Clone)]
pub enum Change {
    /// How an alert stands, and its device.
    Alert(ShownAlert, Option<Arc<Device>>),
    /// How a command stands, and its device.
    Command(Arc<Command>, Option<Arc<Device>>),
    /// How a device's presence stands.
    Presence {
        /// Which device.
        device: Arc<Device>,
        /// Its state.
        presence: Presence,
        /// µs since the Unix epoch.
        last_seen_us: Option<i64>,
    },
    /// So many changes did not come here.
    Lost(u64),
}

/// See the module.
#[derive(Debug)]
pub struct Lane {
    epoch: u64,
    newest: u64,
    ring: VecDeque<Change>,
    kept_max: usize,
}

/// Who reads the lane.
pub trait Reader {
    /// What it may see.
    fn scope(&self) -> &DeviceScope;
    /// Whether it wants commands and presence of a device.
    fn selects(&self, device: DeviceKey) -> bool;
}

/// Where a viewer stands in the lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneCursor {
    /// Changes up to here were looked at.
    looked: u64,
    /// Changes up to here it was told of, or they are not for it.
    told: u64,
}

impl LaneCursor {
    /// Changes up to here were looked at.
    pub fn looked(&self) -> u64 {
        self.looked
    }
}

/// What a viewer is told next.
#[derive(Debug, Default)]
pub struct Told {
    /// Frames, in order.
    pub frames: Vec<Vec<u8>>,
    /// Changes are missing: presence of what it selects is to be sent anew.
    pub lost: bool,
    /// There is more.
    pub more: bool,
}

impl Lane {
    /// `epoch`: another one at each start. `kept_max`: changes that are kept.
    pub fn new(epoch: u64, kept_max: usize) -> Self {
        Self { epoch, newest: 0, ring: VecDeque::new(), kept_max: kept_max.max(1) }
    }

    /// Its epoch.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Position of the newest change; 0 = none yet.
    pub fn position(&self) -> u64 {
        self.newest
    }

    /// Adds a change. At the bound the oldest goes.
    pub fn push(&mut self, change: Change) {
        if self.ring.len() >= self.kept_max {
            self.ring.pop_front();
        }
        self.ring.push_back(change);
        self.newest += 1;
    }

    /// Position before the oldest change that is kept.
    fn floor(&self) -> u64 {
        self.newest - self.ring.len() as u64
    }

    /// A viewer that begins now.
    pub fn join(&self) -> LaneCursor {
        LaneCursor { looked: self.newest, told: self.newest }
    }

    /// A viewer that goes on; None if it cannot.
    pub fn resume(&self, epoch: u64, position: u64) -> Option<LaneCursor> {
        let kept = epoch == self.epoch && (self.floor()..=self.newest).contains(&position);
        kept.then_some(LaneCursor { looked: position, told: position })
    }

    /// EVENTS_LOST for one that cannot go on, and where it goes on instead. `told` is what it has.
    pub fn lost(&self, told: u64, count: u64) -> (LaneCursor, Vec<u8>) {
        (self.join(), encode::events_lost(count, self.newest, told))
    }

    /// What a viewer is told of what came since. It is told in full before it is asked for again.
    pub fn next(&self, cursor: &mut LaneCursor, reader: &impl Reader) -> Told {
        let mut told = Told::default();
        if cursor.looked < self.floor() {
            let (next, frame) = self.lost(cursor.told, self.newest - cursor.looked);
            *cursor = next;
            told.frames.push(frame);
            told.lost = true;
            return told;
        }
        let skip = usize::try_from(cursor.looked - self.floor()).unwrap_or(usize::MAX);
        let mut run = RunOf::default();
        for change in self.ring.iter().skip(skip).take(CHANGES_PER_STEP) {
            cursor.looked += 1;
            match change {
                Change::Lost(count) => {
                    run.flush(cursor, &mut told.frames);
                    told.frames.push(encode::events_lost(*count, cursor.looked, cursor.told));
                    cursor.told = cursor.looked;
                    told.lost = true;
                }
                change if concerns(change, reader) => run.add(change, cursor, &mut told.frames),
                _ => {}
            }
        }
        run.flush(cursor, &mut told.frames);
        told.more = cursor.looked < self.newest;
        told
    }
}

fn concerns(change: &Change, reader: &impl Reader) -> bool {
    match change {
        Change::Alert(shown, device) => reader.scope().sees_alert(shown.alert.group.as_ref(), device.as_deref()),
        Change::Command(command, device) => {
            let seen = reader.scope().is_all() || device.as_ref().is_some_and(|d| reader.scope().sees(d));
            seen && reader.selects(command.device)
        }
        Change::Presence { device, .. } => reader.scope().sees(device) && reader.selects(device.key),
        Change::Lost(_) => true,
    }
}

/// Changes of one kind that follow each other: they share a frame.
#[derive(Default)]
struct RunOf {
    alerts: Vec<ShownAlert>,
    commands: Vec<Arc<Command>>,
    presence: Vec<encode::Present>,
    position: u64,
}

impl RunOf {
    fn add(&mut self, change: &Change, cursor: &mut LaneCursor, out: &mut Vec<Vec<u8>>) {
        let others = match change {
            Change::Alert(..) => self.commands.len() + self.presence.len(),
            Change::Command(..) => self.alerts.len() + self.presence.len(),
            Change::Presence { .. } | Change::Lost(_) => self.alerts.len() + self.commands.len(),
        };
        let all = self.alerts.len() + self.commands.len() + self.presence.len();
        if others > 0 || all >= CHANGES_PER_FRAME {
            self.flush(cursor, out);
        }
        match change {
            Change::Alert(alert, _) => self.alerts.push(alert.clone()),
            Change::Command(command, _) => self.commands.push(command.clone()),
            Change::Presence { device, presence, last_seen_us } => {
                self.presence.push(encode::device_presence(device.id.as_str(), *presence, *last_seen_us));
            }
            Change::Lost(_) => {}
        }
        self.position = cursor.looked;
    }

    fn flush(&mut self, cursor: &mut LaneCursor, out: &mut Vec<Vec<u8>>) {
        let (position, previous) = (self.position, cursor.told);
        if !self.alerts.is_empty() {
            out.push(encode::alerts(&std::mem::take(&mut self.alerts), position, previous));
        } else if !self.commands.is_empty() {
            out.push(encode::commands(&std::mem::take(&mut self.commands), position, previous));
        } else if !self.presence.is_empty() {
            out.push(encode::presence(std::mem::take(&mut self.presence), position, previous));
        } else {
            return;
        }
        cursor.told = position;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulsewire_core::ids::{DeviceId, GroupName};

    struct Who(DeviceScope, Vec<u32>);

    impl Reader for Who {
        fn scope(&self) -> &DeviceScope {
            &self.0
        }

        fn selects(&self, device: DeviceKey) -> bool {
            self.1.contains(&device.0)
        }
    }

    fn change(key: u32, group: &str, seen_us: i64) -> Change {
        let mut device = Device::named(DeviceKey(key), DeviceId::parse(&format!("d{key}")).expect("valid"));
        device.group = GroupName::parse(group).ok();
        Change::Presence { device: Arc::new(device), presence: Presence::Online, last_seen_us: Some(seen_us) }
    }

    /// Device, time, and the positions of its frame.
    fn read(told: &Told) -> Vec<(String, i64, u64, u64)> {
        told.frames.iter().flat_map(|bytes| encode::shown::lane(bytes)).collect()
    }

    #[test]
    fn each_change_comes_once_in_order_to_those_it_concerns_and_names_the_one_before() {
        let mut lane = Lane::new(1, 100);
        let (all, north) = (Who(DeviceScope::All, vec![1, 2]), {
            let groups = [GroupName::parse("north").expect("valid")];
            Who(DeviceScope::Groups(groups.into()), vec![1, 2])
        });
        let (mut a, mut n) = (lane.join(), lane.join());
        for (key, group) in [(1, "north"), (3, "north"), (2, "south")] {
            lane.push(change(key, group, i64::from(key)));
        }
        assert_eq!(read(&lane.next(&mut a, &all)), [("d1".into(), 1, 0, 3), ("d2".into(), 2, 0, 3)]);
        assert_eq!(read(&lane.next(&mut n, &north)), [("d1".into(), 1, 0, 1)], "what is hidden is never told");
        lane.push(change(1, "north", 9));
        assert_eq!(read(&lane.next(&mut a, &all)), [("d1".into(), 9, 3, 4)]);
        assert_eq!(read(&lane.next(&mut n, &north)), [("d1".into(), 9, 1, 4)]);
        assert!(lane.next(&mut a, &all).frames.is_empty());
    }

    #[test]
    fn who_resumes_gets_what_came_after_and_who_fell_off_is_told() {
        let mut lane = Lane::new(7, 2);
        let who = Who(DeviceScope::All, vec![1]);
        let mut slow = lane.join();
        for n in 1..=3 {
            lane.push(change(1, "", n));
        }
        assert_eq!(lane.resume(6, 3), None, "another epoch");
        assert_eq!(lane.resume(7, 0), None, "no longer kept");
        assert_eq!(lane.resume(7, 4), None, "not there yet");
        let mut resumed = lane.resume(7, 2).expect("kept");
        assert_eq!(read(&lane.next(&mut resumed, &who)), [("d1".into(), 3, 2, 3)]);
        let told = lane.next(&mut slow, &who);
        assert_eq!((read(&told), told.lost), (vec![("lost".into(), 3, 0, 3)], true));
        lane.push(change(1, "", 4));
        assert_eq!(read(&lane.next(&mut slow, &who)), [("d1".into(), 4, 3, 4)]);
        lane.push(Change::Lost(5));
        assert_eq!(read(&lane.next(&mut slow, &who)), [("lost".into(), 5, 4, 5)]);
    }
}
