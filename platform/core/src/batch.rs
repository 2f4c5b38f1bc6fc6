//! What becomes durable together.

use crate::accounting::Accounting;
use crate::block::Block;
use crate::ids::DeviceKey;
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
