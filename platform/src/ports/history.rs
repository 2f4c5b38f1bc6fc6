use async_trait::async_trait;
use pulsewire_core::aggregate::{Aggregate, Bucket};
use pulsewire_core::ids::{Position, SeriesKey};
use pulsewire_core::sample::Sample;

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

/// One variant per reaction.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The query asks for more than one answer may hold.
    #[error("{0}")]
    TooMuch(String),
    /// The store could not answer.
    #[error("reading the store")]
    Failed(#[source] anyhow::Error),
}

/// What devices sent, by series and time. Every acknowledged sample is visible.
#[async_trait]
pub trait History: Send + Sync {
    /// Samples in time order.
    ///
    /// # Errors
    /// [`HistoryError`].
    async fn range(&self, query: RangeQuery) -> Result<Vec<Sample>, HistoryError>;

    /// One row per bucket that has any sample, in time order, with one value per aggregate. The answer is the same bit for
    /// bit whether samples or rollups gave it.
    ///
    /// # Errors
    /// [`HistoryError`].
    async fn buckets(&self, query: BucketQuery) -> Result<Vec<Bucket>, HistoryError>;

    /// Many series at one position.
    ///
    /// # Errors
    /// [`HistoryError`].
    async fn snapshot(&self, query: SnapshotQuery) -> Result<Snapshot, HistoryError>;
}
