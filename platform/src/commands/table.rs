//! The commands that are not finished: by device in the order in which they were stored, and by what is due next.

use pulsewire_core::command::{Command, State};
use pulsewire_core::ids::{CommandId, DeviceKey};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Most commands that a device has and has not finished; it is sent no further one while it has so many. SPEC §7.3.
pub const UNFINISHED_MAX: usize = 64;

/// Where a command stands in its device's order, and the command.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    place: u64,
    /// The command.
    pub command: Command,
}

/// See the module.
#[derive(Debug)]
pub struct Table {
    lease_us: i64,
    next_place: u64,
    commands: HashMap<CommandId, Entry>,
    queues: HashMap<DeviceKey, BTreeMap<u64, CommandId>>,
    timers: BTreeSet<(i64, CommandId)>,
}

impl Table {
    /// An empty table; `lease_us` decides when a sent command is due.
    pub fn new(lease_us: i64) -> Self {
        Self { lease_us, next_place: 0, commands: HashMap::new(), queues: HashMap::new(), timers: BTreeSet::new() }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    /// One of them.
    pub fn get(&self, id: CommandId) -> Option<&Command> {
        self.commands.get(&id).map(|entry| &entry.command)
    }

    /// A device's, in order.
    pub fn of(&self, device: DeviceKey) -> impl Iterator<Item = &Command> {
        self.queues.get(&device).into_iter().flat_map(|queue| queue.values()).filter_map(|id| self.get(*id))
    }

    /// Devices that have any.
    pub fn devices(&self) -> impl Iterator<Item = DeviceKey> {
        self.queues.keys().copied()
    }

    /// Takes a command as it is now; a finished one leaves. Answers what was there, for [`Table::restore`].
    pub fn put(&mut self, command: Command) -> Option<Entry> {
        let before = self.take(command.id);
        if command.state.is_open() {
            let place = before.as_ref().map_or(self.next_place, |entry| entry.place);
            self.next_place = self.next_place.max(place + 1);
            self.insert(Entry { place, command });
        }
        before
    }

    /// Back to what was there.
    pub fn restore(&mut self, id: CommandId, before: Option<Entry>) {
        self.take(id);
        if let Some(entry) = before {
            self.insert(entry);
        }
    }

    /// Removes a command.
    pub fn take(&mut self, id: CommandId) -> Option<Entry> {
        let entry = self.commands.remove(&id)?;
        if let Some((at_us, _)) = entry.command.next_deadline(self.lease_us) {
            self.timers.remove(&(at_us, id));
        }
        if let Some(queue) = self.queues.get_mut(&entry.command.device) {
            queue.remove(&entry.place);
            if queue.is_empty() {
                self.queues.remove(&entry.command.device);
            }
        }
        Some(entry)
    }

    fn insert(&mut self, entry: Entry) {
        let Entry { place, command } = &entry;
        if let Some((at_us, _)) = command.next_deadline(self.lease_us) {
            self.timers.insert((at_us, command.id));
        }
        self.queues.entry(command.device).or_default().insert(*place, command.id);
        self.commands.insert(command.id, entry);
    }

    /// Removes everything of a device.
    pub fn forget(&mut self, device: DeviceKey) {
        let ids: Vec<_> = self.of(device).map(|command| command.id).collect();
        ids.into_iter().for_each(|id| drop(self.take(id)));
    }

    /// When something is due next, µs since the Unix epoch.
    pub fn next_due_us(&self) -> Option<i64> {
        self.timers.first().map(|(at_us, _)| *at_us)
    }

    /// The first that is due, if it is.
    pub fn due(&self, now_us: i64) -> Option<&Command> {
        self.timers.first().filter(|(at_us, _)| *at_us <= now_us).and_then(|(_, id)| self.get(*id))
    }

    /// The command that a connected device is to be sent now: the first that waits, unless another is on its way, or the
    /// device has as much to do as it can be expected to remember.
    pub fn next_to_send(&self, device: DeviceKey, attempts_max: u32) -> Option<&Command> {
        let has = |command: &&Command| matches!(command.state, State::Delivered | State::InProgress);
        if self.of(device).any(|command| command.state == State::Sent)
            || self.of(device).filter(has).count() >= UNFINISHED_MAX
        {
            return None;
        }
        self.of(device).find(|command| command.state == State::Queued && command.attempt < attempts_max)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use pulsewire_core::command::{Event, Values};
    use pulsewire_core::ids::{CommandName, DeviceId, UserName};
    use pulsewire_core::ulid::Ulid;

    pub(in crate::commands) fn command(number: u128, device: u32) -> Command {
        Command {
            id: CommandId(Ulid::from_parts(0, number)),
            device: DeviceKey(device),
            device_id: DeviceId::parse("d").expect("an id"),
            name: CommandName::parse("c").expect("a name"),
            arguments: Values::new(),
            state: State::Queued,
            attempt: 0,
            percent: None,
            code: String::new(),
            text: String::new(),
            values: Values::new(),
            cancel_requested: false,
            answered: false,
            supersede_key: None,
            created_by: UserName::parse("kim").expect("a name"),
            created_us: 0,
            changed_us: 0,
            since_us: 0,
            deadline_us: 1000,
            timeout_us: 50,
            revision: 1,
        }
    }

    fn apply(table: &mut Table, id: CommandId, event: Event, now_us: i64) -> Option<Entry> {
        let after = table.get(id).expect("there").apply(event, now_us, 9).expect("legal").expect("a change").command;
        table.put(after)
    }

    #[test]
    fn a_device_is_sent_one_command_at_a_time_in_the_order_in_which_they_came() {
        let mut table = Table::new(10);
        let (first, second) = (command(2, 1), command(1, 1));
        table.put(first.clone());
        table.put(second.clone());
        assert_eq!(table.next_to_send(DeviceKey(1), 9).map(|c| c.id), Some(first.id));
        apply(&mut table, first.id, Event::Sent, 1);
        assert_eq!(table.next_to_send(DeviceKey(1), 9), None);
        apply(&mut table, first.id, Event::LeaseExpired, 11);
        assert_eq!(table.next_to_send(DeviceKey(1), 9).map(|c| c.id), Some(first.id), "it keeps its place");
        apply(&mut table, first.id, Event::Delivered, 12);
        assert_eq!(table.next_to_send(DeviceKey(1), 9).map(|c| c.id), Some(second.id));
    }

    #[test]
    fn a_device_is_sent_no_more_than_it_remembers() {
        let mut table = Table::new(10);
        let next = |table: &Table| table.next_to_send(DeviceKey(1), 9).map(|command| command.id);
        for number in 0..=64 {
            table.put(command(number, 1));
        }
        let mut taken = Vec::new();
        while let Some(id) = next(&table) {
            apply(&mut table, id, Event::Sent, 1);
            apply(&mut table, id, Event::Delivered, 2);
            taken.push(id);
        }
        assert_eq!(taken.len(), UNFINISHED_MAX);
        apply(&mut table, taken[9], Event::TimeoutPassed, 90);
        assert_eq!(next(&table), Some(command(64, 1).id));
    }

    #[test]
    fn what_is_due_follows_each_change_and_each_step_back() {
        let mut table = Table::new(10);
        let one = command(1, 1);
        table.put(one.clone());
        assert_eq!(table.next_due_us(), Some(1000));
        let before = apply(&mut table, one.id, Event::Sent, 5);
        assert_eq!((table.next_due_us(), table.due(14), table.due(15).map(|c| c.id)), (Some(15), None, Some(one.id)));
        table.restore(one.id, before);
        assert_eq!((table.next_due_us(), table.get(one.id)), (Some(1000), Some(&one)));
        table.forget(DeviceKey(1));
        assert_eq!((table.next_due_us(), table.len(), table.devices().count()), (None, 0, 0));
    }
}
