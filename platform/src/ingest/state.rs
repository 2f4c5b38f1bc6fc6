//! What the lane remembers of its devices between rounds.

use crate::ports::StreamPosition;
use foldhash::HashMap;
use pulsewire_core::ids::{DeviceKey, Sequence, StreamId};
use pulsewire_core::sequence::StreamProgress;

/// Streams, and how far each device's time has come.
#[derive(Default)]
pub(super) struct LaneState {
    streams: HashMap<(DeviceKey, StreamId), StreamProgress>,
    newest: HashMap<DeviceKey, Newest>,
}

/// Time of the newest live row of a device since the start.
#[derive(Clone, Copy)]
struct Newest {
    taken_us: i64,
    durable_us: i64,
}

impl LaneState {
    /// As the journal knows it.
    pub(super) fn recover(positions: &[StreamPosition], digests: &[(DeviceKey, StreamId, Sequence, u64)]) -> Self {
        let mut state = Self::default();
        for p in positions {
            state.streams.insert((p.device, p.stream), StreamProgress::recovered(p.sequence));
        }
        for (device, stream, sequence, digest) in digests {
            if let Some(progress) = state.streams.get_mut(&(*device, *stream)) {
                progress.remember(*sequence, *digest);
            }
        }
        state
    }

    pub(super) fn stream_mut(&mut self, device: DeviceKey, stream: StreamId) -> Option<&mut StreamProgress> {
        self.streams.get_mut(&(device, stream))
    }

    /// How far a stream is stored and synced.
    pub(super) fn durable(&self, device: DeviceKey, stream: StreamId) -> Option<Sequence> {
        self.streams.get(&(device, stream)).map(StreamProgress::durable)
    }

    pub(super) fn open_stream(&mut self, device: DeviceKey, stream: StreamId) {
        self.streams.insert((device, stream), StreamProgress::default());
    }

    pub(super) fn close_stream(&mut self, device: DeviceKey, stream: StreamId) {
        self.streams.remove(&(device, stream));
    }

    /// Time of the newest live row of a device that was taken; `i64::MIN` without one since the start.
    pub(super) fn newest_us(&self, device: DeviceKey) -> i64 {
        self.newest.get(&device).map_or(i64::MIN, |newest| newest.taken_us)
    }

    pub(super) fn set_newest_us(&mut self, device: DeviceKey, taken_us: i64) {
        self.newest.entry(device).or_insert(Newest { taken_us, durable_us: i64::MIN }).taken_us = taken_us;
    }

    /// What was taken of these streams is stored and synced.
    pub(super) fn commit(&mut self, touched: &[(DeviceKey, StreamId)]) {
        for key in touched {
            if let Some(progress) = self.streams.get_mut(key) {
                progress.commit();
            }
            if let Some(newest) = self.newest.get_mut(&key.0) {
                newest.durable_us = newest.taken_us;
            }
        }
    }

    /// What was taken of these streams was not stored, and comes again.
    pub(super) fn roll_back(&mut self, touched: &[(DeviceKey, StreamId)]) {
        for key in touched {
            if let Some(progress) = self.streams.get_mut(key) {
                progress.roll_back();
            }
            if let Some(newest) = self.newest.get_mut(&key.0) {
                newest.taken_us = newest.durable_us;
            }
        }
    }

    pub(super) fn forget(&mut self, device: DeviceKey) {
        self.streams.retain(|(owner, _), _| *owner != device);
        self.newest.remove(&device);
    }
}
