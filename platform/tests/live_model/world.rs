//! What the fan-out lives in: a journal and a history in memory, the server's own bus, and a clock that goes only when told.

use async_trait::async_trait;
use pulsewire::ports::{
    Batch, Clock, History, HistoryError, Journal, JournalError, OpenedLane, OpenedStream, RangeQuery, Receipt,
    Snapshot, SnapshotQuery, StoreStatus, StreamKind,
};
use pulsewire_core::aggregate::Bucket;
use pulsewire_core::ids::{DeviceKey, Fence, Lane, Position, SeriesKey};
use pulsewire_core::query::BucketQuery;
use pulsewire_core::sample::{JournalRecord, Sample};
use pulsewire_core::value::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::time::Instant;

/// When the schedule begins, µs since 1970.
pub const START_US: i64 = 1_700_000_000_000_000;

/// Follows the runtime's time, which is paused.
pub struct VirtualClock(pub Instant);

impl Clock for VirtualClock {
    fn now_us(&self) -> i64 {
        START_US + i64::try_from(self.0.elapsed().as_micros()).expect("a short schedule")
    }
}

/// Everything that was stored, in the plainest form.
#[derive(Default)]
pub struct Store(Mutex<Stored>);

#[derive(Default)]
struct Stored {
    records: Vec<JournalRecord>,
    samples: BTreeMap<SeriesKey, BTreeMap<i64, Value>>,
}

impl Store {
    pub fn append_now(&self, batch: &Batch) -> Position {
        let mut stored = self.0.lock().expect("no panic");
        let position = Position(stored.records.len() as u64 + 1);
        for block in &batch.blocks {
            for row in block.reports().flat_map(|report| report.rows().collect::<Vec<_>>()) {
                for (series, value) in row.values() {
                    stored.samples.entry(series).or_default().insert(row.time_us(), value.to_value());
                }
            }
        }
        stored.records.push(JournalRecord { position, received_us: batch.received_us, blocks: batch.blocks.clone() });
        position
    }
}

fn elsewhere() -> JournalError {
    JournalError::Retry(std::io::Error::other("the fan-out does not ask for this").into())
}

#[async_trait]
impl Journal for Store {
    async fn open_lane(&self, _: Lane) -> Result<OpenedLane, JournalError> {
        Err(elsewhere())
    }

    async fn append(&self, _: Lane, _: Fence, _: Arc<Batch>) -> Result<Receipt, JournalError> {
        Err(elsewhere())
    }

    async fn open_stream(
        &self,
        _: Lane,
        _: Fence,
        _: DeviceKey,
        _: StreamKind,
        _: i64,
        _: usize,
    ) -> Result<OpenedStream, JournalError> {
        Err(elsewhere())
    }

    async fn read(&self, _: Lane, after: Position, limit: usize) -> Result<Vec<JournalRecord>, JournalError> {
        // A disk takes its time: others go on meanwhile.
        tokio::task::yield_now().await;
        let stored = self.0.lock().expect("no panic");
        let first = usize::try_from(after.0).unwrap_or(usize::MAX).min(stored.records.len());
        Ok(stored.records[first..].iter().take(limit).cloned().collect())
    }

    async fn forget_device(&self, _: DeviceKey) -> Result<(), JournalError> {
        Ok(())
    }

    fn hold(&self, _: Position) {}

    fn status(&self) -> StoreStatus {
        StoreStatus::default()
    }
}

#[async_trait]
impl History for Store {
    async fn range(&self, query: RangeQuery) -> Result<Vec<Sample>, HistoryError> {
        tokio::task::yield_now().await;
        let stored = self.0.lock().expect("no panic");
        let of_series = stored.samples.get(&query.series);
        let in_range = of_series.into_iter().flat_map(|samples| samples.range(query.from_us..query.to_us));
        Ok(in_range
            .take(query.limit)
            .map(|(time_us, value)| Sample { time_us: *time_us, value: value.clone() })
            .collect())
    }

    async fn buckets(&self, _: BucketQuery) -> Result<Vec<Bucket>, HistoryError> {
        Err(HistoryError::TooMuch("the fan-out does not ask for buckets".into()))
    }

    async fn latest(&self, series: Vec<SeriesKey>) -> Result<Vec<Option<Sample>>, HistoryError> {
        tokio::task::yield_now().await;
        let stored = self.0.lock().expect("no panic");
        let newest = |key: &SeriesKey| stored.samples.get(key)?.iter().next_back().map(sample);
        Ok(series.iter().map(newest).collect())
    }

    async fn snapshot(&self, query: SnapshotQuery) -> Result<Snapshot, HistoryError> {
        tokio::task::yield_now().await;
        let stored = self.0.lock().expect("no panic");
        let share = (query.samples_max / query.series.len().max(1)).max(1);
        let mut snapshot = Snapshot { position: Position(stored.records.len() as u64), ..Snapshot::default() };
        for key in &query.series {
            let Some(all) = stored.samples.get(key) else { continue };
            let found: Vec<Sample> = match query.from_us {
                None => all.iter().next_back().into_iter().map(sample).collect(),
                Some(from_us) => {
                    let found: Vec<Sample> = all.range(from_us..).map(sample).collect();
                    snapshot.cut |= found.len() > share;
                    found[found.len().saturating_sub(share)..].to_vec()
                }
            };
            if !found.is_empty() {
                snapshot.samples.push((*key, found));
            }
        }
        Ok(snapshot)
    }
}

fn sample((time_us, value): (&i64, &Value)) -> Sample {
    Sample { time_us: *time_us, value: value.clone() }
}
