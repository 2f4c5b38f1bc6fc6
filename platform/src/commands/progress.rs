//! What devices say while they are at it: as often as they like, and stored once per second.

use pulsewire_core::command::Event;
use pulsewire_core::ids::CommandId;
use std::collections::{BTreeSet, HashMap};

/// Time between two PROGRESSes of one command that are stored and told, µs. Of those in between the newest waits.
const INTERVAL_US: i64 = 1_000_000;

/// PROGRESS of the commands that are in progress. Nothing stays of one that is over.
#[derive(Debug, Default)]
pub(super) struct Progresses {
    // The newest that waits, and until when it does.
    waiting: HashMap<CommandId, (i64, Event)>,
    due: BTreeSet<(i64, CommandId)>,
    // The revision that the newest stored one made.
    stored: HashMap<CommandId, u64>,
}

impl Progresses {
    /// Keeps one until a while after the one before, which was at `last_us`. False if that is over: it counts now.
    pub(super) fn put_off(&mut self, id: CommandId, event: &Event, last_us: i64, now_us: i64) -> bool {
        // A clock that was set back makes nothing wait longer.
        let until_us = last_us.min(now_us).saturating_add(INTERVAL_US);
        if now_us >= until_us {
            return false;
        }
        let waiting = self.waiting.entry(id).or_insert_with(|| (until_us, event.clone()));
        let before_us = waiting.0;
        // What waits already does not wait longer for being replaced.
        *waiting = (before_us.min(until_us), event.clone());
        let due_us = waiting.0;
        self.due.remove(&(before_us, id));
        self.due.insert((due_us, id));
        true
    }

    /// When one is due next, µs since the Unix epoch.
    pub(super) fn next_due_us(&self) -> Option<i64> {
        self.due.first().map(|(at_us, _)| *at_us)
    }

    /// Takes the first that is due.
    pub(super) fn take_due(&mut self, now_us: i64) -> Option<(CommandId, Event)> {
        let (at_us, id) = *self.due.first().filter(|(at_us, _)| *at_us <= now_us)?;
        self.due.remove(&(at_us, id));
        self.waiting.remove(&id).map(|(_, event)| (id, event))
    }

    /// One counts, and makes this revision of its command. Answers the revision before if that was a PROGRESS too: the new
    /// one takes its place in the history.
    pub(super) fn counted(&mut self, id: CommandId, revision: u64) -> Option<u64> {
        self.drop_waiting(id);
        self.stored.insert(id, revision).filter(|before| before + 1 == revision)
    }

    /// The command is over, or not stored as it was thought.
    pub(super) fn forget(&mut self, id: CommandId) {
        self.stored.remove(&id);
        self.drop_waiting(id);
    }

    fn drop_waiting(&mut self, id: CommandId) {
        if let Some((at_us, _)) = self.waiting.remove(&id) {
            self.due.remove(&(at_us, id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulsewire_core::ulid::Ulid;

    #[test]
    fn of_many_the_newest_counts_once_per_second_and_takes_the_place_of_the_one_before() {
        let mut progresses = Progresses::default();
        let id = CommandId(Ulid::from_parts(0, 1));
        let at = |percent| Event::Progress { percent: Some(percent), text: String::new() };
        assert!(!progresses.put_off(id, &at(1), 0, INTERVAL_US));
        assert_eq!(progresses.counted(id, 4), None);
        assert!((2..50).all(|percent| progresses.put_off(id, &at(percent), 10, 10 + i64::from(percent))));
        assert_eq!((progresses.next_due_us(), progresses.take_due(INTERVAL_US + 9)), (Some(INTERVAL_US + 10), None));
        assert_eq!(progresses.take_due(INTERVAL_US + 10), Some((id, at(49))));
        assert_eq!(progresses.counted(id, 5), Some(4));
        assert_eq!(progresses.counted(id, 7), None, "a wish to give it up came between");
        assert!(progresses.put_off(id, &at(50), i64::MAX, 20), "the clock was set back");
        assert_eq!(progresses.next_due_us(), Some(INTERVAL_US + 20));
        progresses.forget(id);
        assert!(progresses.waiting.is_empty() && progresses.due.is_empty() && progresses.stored.is_empty());
    }
}
