//! Reports in flight, counted alike on both sides. SPEC §6.5.

use alloc::{collections::VecDeque, vec::Vec};

/// Queues of streams without reports in flight that are kept for reuse; more are freed.
const IDLE_STREAMS: usize = 2;
/// Entries that a kept queue may have room for.
const IDLE_ENTRIES: usize = 16;

#[derive(Debug)]
pub(crate) struct Window {
    frames_max: u32,
    bytes_max: u32,
    frames: u32,
    bytes: u64,
    streams: Vec<StreamFlight>,
}

#[derive(Debug)]
struct StreamFlight {
    stream: u32,
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

    /// Counts a report if it fits; whether it did.
    pub(crate) fn take(&mut self, stream: u32, sequence: u64, bytes: u32) -> bool {
        if !self.has_room(bytes) {
            return false;
        }
        self.frames += 1;
        self.bytes += u64::from(bytes);
        let entry = (sequence, bytes);
        match self.streams.iter_mut().find(|flight| flight.stream == stream) {
            Some(flight) => flight.reports.push_back(entry),
            None => self.streams.push(StreamFlight { stream, reports: VecDeque::from([entry]) }),
        }
        true
    }

    /// Releases what an ACK covers.
    pub(crate) fn release(&mut self, stream: u32, sequence: u64) {
        let Some(at) = self.streams.iter().position(|flight| flight.stream == stream) else {
            return;
        };
        let reports = &mut self.streams[at].reports;
        while let Some(&(first, bytes)) = reports.front()
            && first <= sequence
        {
            reports.pop_front();
            self.frames -= 1;
            self.bytes -= u64::from(bytes);
        }
        if !reports.is_empty() {
            return;
        }
        let is_large = reports.capacity() > IDLE_ENTRIES;
        if self.streams.len() > IDLE_STREAMS {
            self.streams.swap_remove(at);
        } else if is_large {
            self.streams[at].reports = VecDeque::new();
        }
    }

    pub(crate) fn frames(&self) -> u32 {
        self.frames
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}
