use async_trait::async_trait;
use pulsewire_core::aggregate::Bucket;
use pulsewire_core::ids::SeriesKey;
use pulsewire_core::sample::Sample;

pub use pulsewire_core::query::{BucketQuery, RangeQuery, Snapshot, SnapshotQuery};

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

    /// The newest sample of each series, in their order; None for one without any. Of many series not all are as of one
    /// moment. Made for a hundred thousand series at once.
    ///
    /// # Errors
    /// [`HistoryError`].
    async fn latest(&self, series: Vec<SeriesKey>) -> Result<Vec<Option<Sample>>, HistoryError>;
}
