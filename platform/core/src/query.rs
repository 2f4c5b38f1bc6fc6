//! What may be asked of stored samples.

use crate::aggregate::Aggregate;
use crate::ids::{Position, SeriesKey};
use crate::sample::Sample;

/// Raw samples of one series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RangeQuery {
    /// Which series.
    pub series: SeriesKey,
    /// Inclusive, µs since the Unix epoch.
    pub from_us: i64,
    /// Exclusive.
    pub to_us: i64,
    /// Most samples to answer.
    pub limit: usize,
}

/// Samples of one series in buckets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketQuery {
    /// Range and most buckets to answer.
    pub range: RangeQuery,
    /// Width of a bucket.
    pub step_us: i64,
    /// How a bucket becomes values.
    pub aggregates: Vec<Aggregate>,
}

/// Many series as they stood at one journal position.
#[derive(Debug, Clone)]
pub struct SnapshotQuery {
    /// Which series.
    pub series: Vec<SeriesKey>,
    /// Samples from this time on; None means only the newest of each.
    pub from_us: Option<i64>,
    /// Most samples in all; each series gets an equal share, its newest.
    pub samples_max: usize,
}

/// Answer to [`SnapshotQuery`].
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Everything up to this record is in the answer, and nothing after it.
    pub position: Position,
    /// Samples in time order, per series that has any.
    pub samples: Vec<(SeriesKey, Vec<Sample>)>,
    /// True if older samples in the range were left out.
    pub cut: bool,
}
