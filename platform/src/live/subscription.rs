//! One subscription's state: what it selects, which series it knows, and what waits for it.

use pulsewire_core::ids::{Position, SeriesKey};
use pulsewire_core::selector::Selector;
use pulsewire_core::value::Value;
use std::collections::{HashMap, VecDeque};

/// A sample on its way to a viewer.
#[derive(Debug, Clone, PartialEq)]
pub struct Pending {
    /// The subscription's number for the series.
    pub index: u32,
    /// µs since the Unix epoch.
    pub time_us: i64,
    /// The reading.
    pub value: Value,
    /// The record it came with.
    pub position: Position,
}

/// What a viewer takes at a tick.
#[derive(Debug, Default)]
pub struct Taken {
    /// Series to define first: (index, series).
    pub defined: Vec<(u32, SeriesKey)>,
    /// Samples, oldest first.
    pub samples: Vec<Pending>,
    /// True if a sample was replaced by a newer one.
    pub conflated: bool,
    /// Positions (after the first, up to the second) of which samples were dropped.
    pub gap: Option<(Position, Position)>,
    /// Everything up to here is taken.
    pub position: Position,
}

/// See the module.
#[derive(Debug)]
pub struct Subscription {
    selector: Selector,
    last_only: bool,
    index: HashMap<SeriesKey, u32>,
    series: Vec<SeriesKey>,
    defined: usize,
    queue: VecDeque<Pending>,
    // What `queue` weighs; see `weight`.
    queued: usize,
    // With `last_only` the newest sample of each series instead of the queue.
    newest: HashMap<u32, Pending>,
    conflated: bool,
    dropped: Option<(Position, Position)>,
    // Samples of records up to here came with the history, for the series below `covered`.
    floor: Position,
    covered: u32,
}

impl Subscription {
    /// A subscription that has sent everything up to `floor`.
    pub fn new(selector: Selector, last_only: bool, floor: Position) -> Self {
        Self {
            selector,
            last_only,
            index: HashMap::new(),
            series: Vec::new(),
            defined: 0,
            queue: VecDeque::new(),
            queued: 0,
            newest: HashMap::new(),
            conflated: false,
            dropped: None,
            floor,
            covered: u32::MAX,
        }
    }

    /// What it selects.
    pub fn selector(&self) -> &Selector {
        &self.selector
    }

    /// The number of a series here, given one if it is new and there is room.
    pub fn index_of(&mut self, series: SeriesKey, series_max: usize) -> Option<u32> {
        if let Some(index) = self.index.get(&series) {
            return Some(*index);
        }
        if self.series.len() >= series_max {
            return None;
        }
        let index = u32::try_from(self.series.len()).ok()?;
        self.series.push(series);
        self.index.insert(series, index);
        Some(index)
    }

    /// The number of a series that was given one.
    pub fn known_index(&self, series: SeriesKey) -> Option<u32> {
        self.index.get(&series).copied()
    }

    /// How many series have a number.
    pub fn series_len(&self) -> usize {
        self.series.len()
    }

    /// Everything up to `floor` was sent as history for the series below `covered`: forget what waits of it. Series that
    /// appeared while the history was read are not in it, and what waits of them stays.
    pub fn raise_floor(&mut self, floor: Position, covered: u32) {
        (self.floor, self.covered) = (floor, covered);
        let waits = |p: &Pending| p.position > floor || p.index >= covered;
        self.queue.retain(|p| waits(p));
        self.queued = self.queue.iter().map(weight).sum();
        self.newest.retain(|_, p| waits(p));
        if self.dropped.is_some_and(|(_, to)| to <= floor) {
            self.dropped = None;
        }
    }

    /// Takes the series that have a number and were not defined to the viewer yet.
    pub fn take_defined(&mut self) -> Vec<(u32, SeriesKey)> {
        let first = std::mem::replace(&mut self.defined, self.series.len());
        let number = |i: usize| u32::try_from(first + i).unwrap_or(u32::MAX);
        self.series[first..].iter().enumerate().map(|(i, key)| (number(i), *key)).collect()
    }

    /// Puts a live sample in. Above `pending_max` the oldest goes, and the viewer will be told.
    pub fn push(&mut self, sample: Pending, pending_max: usize) -> bool {
        if sample.position <= self.floor && sample.index < self.covered {
            return true;
        }
        if self.last_only {
            let entry = self.newest.entry(sample.index);
            match entry {
                std::collections::hash_map::Entry::Occupied(mut old) => {
                    self.conflated = true;
                    // A late sample does not take the place of a newer one.
                    if sample.time_us >= old.get().time_us {
                        old.insert(sample);
                    }
                }
                std::collections::hash_map::Entry::Vacant(free) => {
                    free.insert(sample);
                }
            }
            return true;
        }
        self.queued += weight(&sample);
        let mut kept = true;
        while self.queued > pending_max
            && let Some(oldest) = self.queue.pop_front()
        {
            kept = false;
            self.queued -= weight(&oldest);
            self.lose(Position(oldest.position.0.saturating_sub(1)), oldest.position);
        }
        self.queue.push_back(sample);
        kept
    }

    /// Samples of the records after `from` up to `to` are lost; the viewer will be told.
    pub fn lose(&mut self, from: Position, to: Position) {
        let (first, last) = self.dropped.unwrap_or((from, to));
        self.dropped = Some((first.min(from), last.max(to)));
    }

    /// Takes everything that waits. `position` is how far the service has read.
    pub fn take(&mut self, position: Position) -> Taken {
        let defined = self.take_defined();
        self.queued = 0;
        let mut samples: Vec<Pending> = self.queue.drain(..).collect();
        let start = samples.len();
        samples.extend(self.newest.drain().map(|(_, p)| p));
        samples[start..].sort_unstable_by_key(|p| (p.position, p.index));
        // A queue that once was long does not keep its memory.
        self.queue.shrink_to(64);
        Taken {
            defined,
            samples,
            conflated: std::mem::take(&mut self.conflated),
            gap: self.dropped.take(),
            position: position.max(self.floor),
        }
    }
}

/// What a sample counts for in the bound of what may wait: one, and more for long texts.
fn weight(sample: &Pending) -> usize {
    match &sample.value {
        Value::Text(text) => 1 + text.len() / 1024,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(index: u32, position: u64) -> Pending {
        let value = Value::F64(position as f64);
        Pending { index, time_us: position.cast_signed(), value, position: Position(position) }
    }

    #[test]
    fn a_full_queue_drops_the_oldest_and_says_from_where() {
        let mut s = Subscription::new(Selector::default(), false, Position(0));
        for position in 1..=5 {
            s.push(sample(0, position), 3);
        }
        let taken = s.take(Position(5));
        assert_eq!(taken.samples.iter().map(|p| p.position.0).collect::<Vec<_>>(), [3, 4, 5]);
        assert_eq!(taken.gap, Some((Position(0), Position(2))));
        assert_eq!(s.take(Position(5)).gap, None);
    }

    #[test]
    fn samples_that_came_with_the_history_are_not_sent_again() {
        let mut s = Subscription::new(Selector::default(), false, Position(0));
        s.push(sample(0, 4), 10);
        s.push(sample(0, 6), 10);
        // A series that appeared while the history was read is not in it.
        s.push(sample(1, 5), 10);
        s.raise_floor(Position(5), 1);
        s.push(sample(0, 5), 10);
        assert_eq!(s.take(Position(6)).samples, [sample(0, 6), sample(1, 5)]);
    }

    #[test]
    fn last_keeps_one_sample_per_series_and_says_that_it_conflated() {
        let mut s = Subscription::new(Selector::default(), true, Position(0));
        for (index, position) in [(0, 1), (1, 2), (0, 3)] {
            s.push(sample(index, position), 10);
        }
        let taken = s.take(Position(3));
        assert_eq!(taken.samples, [sample(1, 2), sample(0, 3)]);
        assert!(taken.conflated);
    }
}
