//! The journal in `journal.db`.
//!
//! One writer thread. It takes every request that waits, runs them in one transaction and answers all after the commit:
//! that is the group commit, which costs one sync for however many requests came while the one before was under way, and
//! no wait when none did. A record, its samples, the streams' high-water marks and the accounts are written in that same
//! transaction, so that after any crash they agree.

use super::checks::journal_error;
use super::schema::{self, File};
use super::worker::{QUEUE_JOBS, Worker, WorkerGone};
use super::{history, record};
use crate::ports::{
    Batch, BucketQuery, History, HistoryError, Journal, JournalError, OpenedLane, OpenedStream, RangeQuery, Receipt,
    Snapshot, SnapshotQuery, StreamKind,
};
use anyhow::Context;
use async_trait::async_trait;
use pulsewire_core::ids::{DeviceKey, Fence, Lane, Position};
use pulsewire_core::sample::{JournalRecord, Sample};
use rusqlite::Connection;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

use super::journal_write as write;

/// Most requests that share one commit.
const GROUP_REQUESTS_MAX: usize = 4096;

/// When a commit returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Synchronous {
    /// After its data are synced. The only right choice for a server.
    Full,
    /// Before. Exists so that a test can show that it would notice.
    Off,
}

/// Bytes of records after which an answer to a reader ends.
const READ_BYTES: usize = 4 << 20;

/// How the journal is kept.
#[derive(Debug, Clone)]
pub struct JournalOptions {
    /// The file.
    pub path: PathBuf,
    /// Bytes of records kept for readers that are behind; older ones are deleted as new ones come.
    pub retain_bytes: u64,
    /// Bytes of records kept at most for the reader that holds them ([`Journal::hold`]).
    pub hold_bytes: u64,
    /// Another file layer, for tests.
    pub vfs: Option<String>,
    /// When a commit returns.
    pub synchronous: Synchronous,
}

impl JournalOptions {
    /// The default for a file: 256 MiB are retained, and 1 GiB if a reader holds them.
    pub fn new(path: PathBuf) -> Self {
        Self { path, retain_bytes: 256 << 20, hold_bytes: 1 << 30, vfs: None, synchronous: Synchronous::Full }
    }
}

enum Request {
    Append { lane: Lane, fence: Fence, batch: Arc<Batch>, reply: oneshot::Sender<Result<Receipt, JournalError>> },
    OpenStream { request: write::StreamRequest, reply: oneshot::Sender<Result<OpenedStream, JournalError>> },
    OpenLane { lane: Lane, reply: oneshot::Sender<Result<OpenedLane, JournalError>> },
    Forget { device: DeviceKey, reply: oneshot::Sender<Result<bool, JournalError>> },
}

/// The journal and the history of one data folder.
pub struct SqliteJournal {
    sender: Option<mpsc::Sender<Request>>,
    writer: Option<JoinHandle<()>>,
    readers: Vec<Worker>,
    next_reader: std::sync::atomic::AtomicUsize,
    stopped: Arc<Mutex<Option<String>>>,
    held_after: Arc<AtomicU64>,
}

impl SqliteJournal {
    /// Opens or makes the file and starts its threads: one writer, two readers.
    ///
    /// # Errors
    /// If the file cannot be used, or was made by a newer version.
    pub fn open(options: JournalOptions) -> anyhow::Result<Self> {
        let synchronous = match options.synchronous {
            Synchronous::Full => "FULL",
            Synchronous::Off => "OFF",
        };
        let vfs = options.vfs.as_deref();
        let connection = schema::open_writer(&options.path, File::Journal, vfs, synchronous)?;
        write::ensure_epoch(&connection)?;
        let reader = |name: &str| -> anyhow::Result<Worker> {
            let connection = schema::open_reader(&options.path, vfs)?;
            Worker::start(name, connection).context("starting a reader thread")
        };
        let readers = vec![reader("journal-read-0")?, reader("journal-read-1")?];
        let (sender, receiver) = mpsc::channel(QUEUE_JOBS);
        let stopped = Arc::new(Mutex::new(None));
        let held_after = Arc::new(AtomicU64::new(u64::MAX));
        let retention = write::Retention {
            retain_bytes: options.retain_bytes,
            hold_bytes: options.hold_bytes,
            held_after: held_after.clone(),
        };
        let writer = Writer { connection, retention, stopped: stopped.clone() };
        let thread = std::thread::Builder::new()
            .name("journal-write".into())
            .spawn(move || writer.run(receiver))
            .context("starting the journal's writer thread")?;
        Ok(Self { sender: Some(sender), writer: Some(thread), readers, next_reader: 0.into(), stopped, held_after })
    }

    async fn request<R>(
        &self,
        make: impl FnOnce(oneshot::Sender<Result<R, JournalError>>) -> Request,
    ) -> Result<R, JournalError> {
        let gone = || JournalError::Stopped(WorkerGone.into());
        let (reply, answer) = oneshot::channel();
        self.sender.as_ref().ok_or_else(gone)?.send(make(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    fn reader(&self) -> &Worker {
        let turn = self.next_reader.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        &self.readers[turn % self.readers.len()]
    }

    async fn query<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<R, HistoryError> + Send + 'static,
    ) -> Result<R, HistoryError> {
        self.reader().call(job).await.map_err(|gone| HistoryError::Failed(gone.into()))?
    }
}

impl Drop for SqliteJournal {
    fn drop(&mut self) {
        // The writer closes last: only it can bring the WAL back into the file.
        self.readers.clear();
        drop(self.sender.take());
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

struct Writer {
    connection: Connection,
    retention: write::Retention,
    stopped: Arc<Mutex<Option<String>>>,
}

impl Writer {
    fn run(mut self, mut receiver: mpsc::Receiver<Request>) {
        let mut group = Vec::new();
        let mut trim = write::Trim::measure(&self.connection, self.retention.clone());
        while receiver.blocking_recv_many(&mut group, GROUP_REQUESTS_MAX) > 0 {
            let stopped = self.stopped.lock().ok().and_then(|s| s.clone());
            match stopped {
                Some(reason) => group.drain(..).for_each(|r| r.refuse(&reason)),
                None => self.commit(&mut group, &mut trim),
            }
        }
    }

    fn commit(&mut self, group: &mut Vec<Request>, trim: &mut write::Trim) {
        let result = self.transaction(group, trim);
        match result {
            Ok(answers) => answers.into_iter().for_each(|answer| answer()),
            Err(JournalError::Stopped(error)) => {
                let reason = format!("{error:#}");
                tracing::error!(reason, "journal stopped: nothing more is acknowledged until a restart");
                if let Ok(mut stopped) = self.stopped.lock() {
                    *stopped = Some(reason.clone());
                }
                group.drain(..).for_each(|r| r.refuse(&reason));
            }
            Err(error) => {
                let reason = match &error {
                    JournalError::Retry(source) => format!("{source:#}"),
                    other => other.to_string(),
                };
                tracing::warn!(reason, requests = group.len(), "journal commit failed; nothing of it was stored");
                group.drain(..).for_each(|r| r.retry_later(&reason));
            }
        }
    }

    /// Runs the group in one transaction. The answers are closures to be called after the commit; on an error the group is
    /// left as it was, nothing is stored, and every request gets that error.
    fn transaction(
        &mut self,
        group: &mut Vec<Request>,
        trim: &mut write::Trim,
    ) -> Result<Vec<Box<dyn FnOnce()>>, JournalError> {
        trim.begin();
        let mut transaction = self
            .connection
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
            .map_err(journal_error)?;
        let mut outcomes = Vec::with_capacity(group.len());
        for request in group.iter() {
            // What fails for this request alone is undone and answered alone.
            let savepoint = transaction.savepoint().map_err(journal_error)?;
            let before = trim.added;
            match request.perform(&savepoint, trim) {
                Ok(outcome) => {
                    savepoint.commit().map_err(journal_error)?;
                    outcomes.push(outcome);
                }
                // After a full disk SQLite has rolled the whole transaction back already.
                Err(error) if savepoint.is_autocommit() || matches!(error, JournalError::Stopped(_)) => {
                    return Err(error);
                }
                Err(error) => {
                    trim.added = before;
                    drop(savepoint);
                    outcomes.push(Outcome::Failed(error));
                }
            }
        }
        trim.run(&transaction)?;
        transaction.commit().map_err(journal_error)?;
        trim.committed();
        Ok(group.drain(..).zip(outcomes).map(|(request, outcome)| request.answer(outcome)).collect())
    }
}

enum Outcome {
    Failed(JournalError),
    Append(Result<Receipt, JournalError>),
    OpenStream(Result<OpenedStream, JournalError>),
    OpenLane(Box<OpenedLane>),
    Forget(bool),
}

impl Request {
    /// Does what is asked within a transaction. An error undoes it; what is wrong without having written anything is part
    /// of the outcome.
    fn perform(&self, connection: &Connection, trim: &mut write::Trim) -> Result<Outcome, JournalError> {
        Ok(match self {
            Self::Append { lane, fence, batch, .. } => {
                Outcome::Append(write::append(connection, *lane, *fence, batch, trim)?)
            }
            Self::OpenStream { request, .. } => Outcome::OpenStream(write::open_stream(connection, request)?),
            Self::OpenLane { lane, .. } => Outcome::OpenLane(Box::new(write::open_lane(connection, *lane)?)),
            Self::Forget { device, .. } => Outcome::Forget(write::forget_step(connection, *device)?),
        })
    }

    fn answer(self, outcome: Outcome) -> Box<dyn FnOnce()> {
        // A caller that is gone does not need its answer.
        match (self, outcome) {
            (request, Outcome::Failed(error)) => Box::new(move || request.fail_with(error)),
            (Self::Append { reply, .. }, Outcome::Append(r)) => Box::new(move || drop(reply.send(r))),
            (Self::OpenStream { reply, .. }, Outcome::OpenStream(r)) => Box::new(move || drop(reply.send(r))),
            (Self::OpenLane { reply, .. }, Outcome::OpenLane(r)) => Box::new(move || drop(reply.send(Ok(*r)))),
            (Self::Forget { reply, .. }, Outcome::Forget(r)) => Box::new(move || drop(reply.send(Ok(r)))),
            // Outcomes are made in the order of requests, one each; a mismatch drops the reply, which the caller sees as
            // a stopped journal.
            _ => Box::new(|| ()),
        }
    }

    fn fail_with(self, error: JournalError) {
        match self {
            Self::Append { reply, .. } => drop(reply.send(Err(error))),
            Self::OpenStream { reply, .. } => drop(reply.send(Err(error))),
            Self::OpenLane { reply, .. } => drop(reply.send(Err(error))),
            Self::Forget { reply, .. } => drop(reply.send(Err(error))),
        }
    }

    fn refuse(self, reason: &str) {
        self.fail_with(JournalError::Stopped(anyhow::anyhow!("{reason}")));
    }

    fn retry_later(self, reason: &str) {
        self.fail_with(JournalError::Retry(anyhow::anyhow!("{reason}")));
    }
}

#[async_trait]
impl Journal for SqliteJournal {
    async fn open_lane(&self, lane: Lane) -> Result<OpenedLane, JournalError> {
        self.request(|reply| Request::OpenLane { lane, reply }).await
    }

    async fn append(&self, lane: Lane, fence: Fence, batch: Arc<Batch>) -> Result<Receipt, JournalError> {
        self.request(|reply| Request::Append { lane, fence, batch, reply }).await
    }

    async fn open_stream(
        &self,
        lane: Lane,
        fence: Fence,
        device: DeviceKey,
        kind: StreamKind,
        now_us: i64,
        streams_max: usize,
    ) -> Result<OpenedStream, JournalError> {
        let request = write::StreamRequest { lane, fence, device, kind, now_us, streams_max };
        self.request(|reply| Request::OpenStream { request, reply }).await
    }

    async fn read(&self, lane: Lane, after: Position, limit: usize) -> Result<Vec<JournalRecord>, JournalError> {
        self.reader()
            .call(move |connection| read_records(connection, lane, after, limit))
            .await
            .map_err(|gone| JournalError::Stopped(gone.into()))?
    }

    async fn forget_device(&self, device: DeviceKey) -> Result<(), JournalError> {
        while self.request(|reply| Request::Forget { device, reply }).await? {}
        Ok(())
    }

    fn hold(&self, after: Position) {
        self.held_after.store(after.0, Ordering::Release);
    }

    fn stopped(&self) -> Option<String> {
        if self.writer.as_ref().is_none_or(JoinHandle::is_finished) {
            return Some("its writer thread has ended".into());
        }
        self.stopped.lock().ok().and_then(|s| s.clone())
    }
}

#[async_trait]
impl History for SqliteJournal {
    async fn range(&self, query: RangeQuery) -> Result<Vec<Sample>, HistoryError> {
        self.query(move |connection| history::range(connection, query)).await
    }

    async fn buckets(&self, query: BucketQuery) -> Result<Vec<Sample>, HistoryError> {
        self.query(move |connection| history::buckets(connection, query)).await
    }

    async fn snapshot(&self, query: SnapshotQuery) -> Result<Snapshot, HistoryError> {
        self.query(move |connection| history::snapshot(connection, &query)).await
    }
}

fn read_records(
    connection: &Connection,
    lane: Lane,
    after: Position,
    limit: usize,
) -> Result<Vec<JournalRecord>, JournalError> {
    let retry = |error: rusqlite::Error| JournalError::Retry(error.into());
    let mut statement = connection
        .prepare_cached(
            "SELECT position, received_us, checksum, record FROM journal
             WHERE position > ?1 AND lane = ?2 ORDER BY position LIMIT ?3",
        )
        .map_err(retry)?;
    let after = i64::try_from(after.0).unwrap_or(i64::MAX);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = statement.query((after, lane.0, limit)).map_err(retry)?;
    let (mut records, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next().map_err(retry)? {
        let blob = row.get_ref(3).map_err(retry)?;
        let blob = blob.as_blob().map_err(|error| JournalError::Retry(error.into()))?;
        let column = |i| row.get::<_, i64>(i).map_err(retry);
        match record::decode(column(0)?, column(1)?, column(2)?, blob) {
            Ok((record, _)) => records.push(record),
            // The reader first gets what is whole; the next call meets the damage first.
            Err(_) if !records.is_empty() => break,
            Err(error) => return Err(error),
        }
        bytes += blob.len();
        if bytes > READ_BYTES {
            break;
        }
    }
    Ok(records)
}
