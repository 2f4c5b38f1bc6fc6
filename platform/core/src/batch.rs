//! What becomes durable together, and what a journal answers.

use crate::accounting::Accounting;
use crate::block::Block;
use crate::ids::{DeviceKey, Fence, Position, Sequence, SeriesKey, StreamId};
use crate::sample::Series;
use std::sync::Arc;

/// Blocks of reports on their way to the journal.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// When the server took it, µs since the Unix epoch.
    pub received_us: i64,
    /// The reports, each already judged fresh. A skip stands in a block of its own that has no columns.
    pub blocks: Vec<Block>,
    /// Series that are new or changed; written before the samples.
    pub series: Vec<Arc<Series>>,
    /// What to add to the devices' accounts.
    pub accounting: Vec<(DeviceKey, Accounting)>,
}

/// What became of a batch.
#[derive(Debug, Clone, Default)]
pub struct Receipt {
    /// Where its record stands.
    pub position: Position,
    /// Per device: stored values that took the place of one with the same time, found by this append or by sealing since
    /// the one before.
    pub replaced: Vec<(DeviceKey, u64)>,
}

/// A stream and how far it is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamPosition {
    /// Whose.
    pub device: DeviceKey,
    /// Which.
    pub stream: StreamId,
    /// Highest durable sequence; 0 = none yet.
    pub sequence: Sequence,
}

/// A lane taken into ownership, with everything needed to go on where the last owner stopped.
#[derive(Debug)]
pub struct OpenedLane {
    /// To be given with every append.
    pub fence: Fence,
    /// Changes when positions start anew. SPEC §9.
    pub epoch: u64,
    /// The newest record.
    pub position: Position,
    /// Every series.
    pub series: Vec<Series>,
    /// The lowest series number never used.
    pub next_series: SeriesKey,
    /// Every stream.
    pub streams: Vec<StreamPosition>,
    /// Digests of the newest reports, in any order.
    pub digests: Vec<(DeviceKey, StreamId, Sequence, u64)>,
    /// Every device's account.
    pub accounting: Vec<(DeviceKey, Accounting)>,
}

/// A stream just made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenedStream {
    /// Its id.
    pub stream: StreamId,
    /// The stream that had to go because the device held too many.
    pub retired: Option<StreamId>,
}
