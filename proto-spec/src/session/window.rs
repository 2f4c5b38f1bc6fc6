//! Reports in flight, counted alike on both sides. SPEC §6.5.

use alloc::{collections::VecDeque, vec::Vec};

/// Entries that a queue without reports in flight may keep room for.
const IDLE_ENTRIES: usize = 16;

#[derive(Debug)]
pub(crate) struct Window {
    frames_max: u32,
    bytes_max: u32,
    frames: u32,
    bytes: u64,
    /// The streams of this session; few, so a scan is fastest. A server closes a session that names streams which do not
    /// exist, so there are at most as many as a device may hold and as are in flight.
    streams: Vec<StreamFlight>,
}

#[derive(Debug)]
struct StreamFlight {
    stream: u32,
    /// Everything up to here is done: said by WELCOME or an ACK.
    done: u64,
    /// Sequence and payload bytes in the order of sending.
    reports: VecDeque<(u64, u32)>,
}

impl Window {
    pub(crate) fn new(frames_max: u32, bytes_max: u32) -> Self {
        Window { frames_max, bytes_max, frames: 0, bytes: 0, streams: Vec::new() }
    }

    /// Whether one more report of so many payload bytes fits. One larger than the window may go alone.
    pub(crate) fn has_room(&self, bytes: u32) -> bool {
        self.frames == 0
            || (self.frames < self.frames_max && self.bytes + u64::from(bytes) <= u64::from(self.bytes_max))
    }

    /// Counts a report if it fits; whether it did. A repeat of what is done is not in flight and always fits: no ACK
    /// would say when this one copy was dealt with.
    pub(crate) fn take(&mut self, stream: u32, sequence: u64, bytes: u32) -> bool {
        let at = self.streams.iter().position(|flight| flight.stream == stream);
        if at.is_some_and(|at| sequence <= self.streams[at].done) {
            return true;
        }
        if !self.has_room(bytes) {
            return false;
        }
        self.frames += 1;
        self.bytes += u64::from(bytes);
        let entry = (sequence, bytes);
        match at {
            Some(at) => self.streams[at].reports.push_back(entry),
            None => self.streams.push(StreamFlight { stream, done: 0, reports: VecDeque::from([entry]) }),
        }
        true
    }

    /// What WELCOME or an ACK covers is done.
    pub(crate) fn release(&mut self, stream: u32, sequence: u64) {
        let Some(flight) = self.streams.iter_mut().find(|flight| flight.stream == stream) else {
            self.streams.push(StreamFlight { stream, done: sequence, reports: VecDeque::new() });
            return;
        };
        flight.done = flight.done.max(sequence);
        while let Some(&(first, bytes)) = flight.reports.front()
            && first <= sequence
        {
            flight.reports.pop_front();
            self.frames -= 1;
            self.bytes -= u64::from(bytes);
        }
        if flight.reports.is_empty() && flight.reports.capacity() > IDLE_ENTRIES {
            flight.reports = VecDeque::new();
        }
    }

    pub(crate) fn frames(&self) -> u32 {
        self.frames
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}
