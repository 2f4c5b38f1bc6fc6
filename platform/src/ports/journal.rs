use async_trait::async_trait;
use pulsewire_core::ids::{DeviceKey, Fence, Lane, Position};
use pulsewire_core::sample::JournalRecord;
use std::sync::Arc;

pub use pulsewire_core::batch::{Batch, OpenedLane, OpenedStream, Receipt, StreamPosition};

/// What a stream is for. SPEC §5.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamKind {
    /// Reports as they are made.
    Live,
    /// Reports kept while there was no connection.
    Backlog,
}

/// How the store is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreStatus {
    /// Why appends are refused until a restart, if they are.
    pub stopped: Option<String>,
    /// Why samples stay in memory and in the journal instead of being sealed, if they do: for example a full disk.
    pub failing: Option<String>,
    /// Bytes of journal records.
    pub journal_bytes: u64,
    /// Bytes of memory for samples that are not sealed.
    pub heads_bytes: u64,
    /// Bytes that the telemetry takes on disk.
    pub disk_bytes: u64,
    /// Bytes that it may take; 0 = no limit.
    pub size_bytes_max: u64,
    /// Chunks written since the start.
    pub chunks: u64,
    /// Samples in them.
    pub sealed: u64,
    /// What was found damaged since the start, in words; at most 100 entries.
    pub damaged: Vec<String>,
}

impl StoreStatus {
    /// More than 80 % of the allowed size is in use.
    pub fn is_nearly_full(&self) -> bool {
        self.size_bytes_max > 0 && self.disk_bytes / 4 > self.size_bytes_max / 5
    }
}

/// One variant per reaction.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Someone else owns the lane now: stop.
    #[error("the journal lane has a newer owner")]
    StaleFence,
    /// Nothing was stored; the same batch may be appended later.
    #[error("the journal could not store the batch; it may be tried again")]
    Retry(#[source] anyhow::Error),
    /// A sync failed, so what the disk holds is unknown: nothing more is acknowledged until the process starts anew and
    /// recovers what is there.
    #[error("the journal has stopped after a failed write or sync; restart the server once the disk is well")]
    Stopped(#[source] anyhow::Error),
    /// A record does not match its checksum, or cannot be decoded.
    #[error("the journal record at position {position} is damaged: {problem}")]
    Corrupt {
        /// Which record.
        position: Position,
        /// What is wrong with it.
        problem: String,
    },
}

/// The durable, ordered log of what devices sent.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Becomes the owner of a lane; earlier owners' appends are refused from now on.
    ///
    /// # Errors
    /// [`JournalError`].
    async fn open_lane(&self, lane: Lane) -> Result<OpenedLane, JournalError>;

    /// Stores a batch. Resolves when it is synced to disk; all of it is stored, or nothing. Not cancel safe: a dropped
    /// call may still store.
    ///
    /// # Errors
    /// [`JournalError`]; after any of them nothing of the batch is stored, except after `Stopped`, when it is unknown.
    async fn append(&self, lane: Lane, fence: Fence, batch: Arc<Batch>) -> Result<Receipt, JournalError>;

    /// Makes a stream for a device. Resolves when it is synced to disk. `streams_max` is how many a device may hold.
    ///
    /// # Errors
    /// [`JournalError`].
    async fn open_stream(
        &self,
        lane: Lane,
        fence: Fence,
        device: DeviceKey,
        kind: StreamKind,
        now_us: i64,
        streams_max: usize,
    ) -> Result<OpenedStream, JournalError>;

    /// Records after `after`, oldest first, at most `limit` and a few MiB. None at all means the end. If `after` is older than
    /// what the journal keeps, the first record answered has a position above `after + 1`.
    ///
    /// # Errors
    /// [`JournalError`].
    async fn read(&self, lane: Lane, after: Position, limit: usize) -> Result<Vec<JournalRecord>, JournalError>;

    /// Forgets a deleted device. What it stored goes bit by bit afterwards, in steps that let appends through.
    ///
    /// # Errors
    /// [`JournalError`].
    async fn forget_device(&self, device: DeviceKey) -> Result<(), JournalError>;

    /// Keeps records after this position for a reader that has not read them yet, within the journal's own bound for it;
    /// earlier ones may go. The newest call counts. Without any, nothing is held.
    fn hold(&self, after: Position);

    /// How the store is doing.
    fn status(&self) -> StoreStatus;
}
