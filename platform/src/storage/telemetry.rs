//! The telemetry engine behind the ports: its writer, its keeper and its readers, each on threads of their own.
//!
//! The writer takes every request that waits, runs them in one transaction and answers all after the commit: that is the
//! group commit, which costs one sync for however many requests came while the one before was under way, and no wait when
//! none did.

use super::worker::{QUEUE_JOBS, Worker, WorkerGone};
use crate::ports::{
    Batch, BucketQuery, History, HistoryError, Journal, JournalError, OpenedLane, OpenedStream, RangeQuery, Receipt,
    Snapshot, SnapshotQuery, StoreStatus, StreamKind,
};
use anyhow::Context;
use async_trait::async_trait;
use pulsewire_core::aggregate::Bucket;
use pulsewire_core::ids::{DeviceKey, Fence, Lane, Position, SeriesKey};
use pulsewire_core::sample::{JournalRecord, Sample};
use pulsewire_engine::{
    Checkpointer, Command, Keeper, Outcome, QueryError, Reader, Step, Store, StoreError, StreamRequest, Writer,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, oneshot};

pub use pulsewire_engine::{Keep, Policy, StoreOptions, Synchronous, adopt, check, copy};

/// Most requests that share one commit.
const GROUP_REQUESTS_MAX: usize = 4096;
/// How long the keeper pauses when there is nothing to do, and after it could not do it.
const KEEPER_PAUSE: Duration = Duration::from_secs(1);
/// How long the journal's checkpointer waits before it looks whether it should end.
const CHECKPOINT_PAUSE: Duration = Duration::from_millis(200);
/// How much the keeper lets other threads go first, as in nice(1).
const KEEPER_NICE: i32 = 5;
/// Threads that answer queries.
const READERS: usize = 2;

struct Request {
    command: Command,
    reply: oneshot::Sender<Result<Outcome, StoreError>>,
}

/// The telemetry of one data folder.
pub struct TelemetryStore {
    store: Store,
    sender: Option<mpsc::Sender<Request>>,
    writer: Option<JoinHandle<()>>,
    keeper: Option<JoinHandle<()>>,
    checkpointer: Option<JoinHandle<()>>,
    stopping: Arc<AtomicBool>,
    keeping: Arc<AtomicBool>,
    readers: Vec<Worker<Reader>>,
    next_reader: AtomicUsize,
    query_time_max: Duration,
    size_bytes: u64,
}

impl TelemetryStore {
    /// Opens or makes the files, reads again what was not sealed, and starts the threads. Queries that take longer than
    /// `query_time_max` end with an error.
    ///
    /// # Errors
    /// If the files cannot be used, or were made by another version.
    pub fn open(options: StoreOptions, query_time_max: Duration) -> anyhow::Result<Self> {
        let store = Self::open_unkept(options, query_time_max)?;
        store.keep();
        Ok(store)
    }

    /// [`open`](Self::open), but nothing is sealed and nothing expires before [`keep`](Self::keep): for a policy that needs to
    /// know what the store holds.
    ///
    /// # Errors
    /// As `open`.
    pub fn open_unkept(options: StoreOptions, query_time_max: Duration) -> anyhow::Result<Self> {
        let size_bytes = options.size_bytes;
        let (store, writer, keeper) = Store::open(options)?;
        let readers = (0..READERS).map(|n| {
            Worker::start(&format!("telemetry-read-{n}"), store.reader()?).context("starting a reader thread")
        });
        let readers = readers.collect::<anyhow::Result<_>>()?;
        let (sender, receiver) = mpsc::channel(QUEUE_JOBS);
        let writer = thread("journal-write", move || write(writer, receiver))?;
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = stopping.clone();
        let keeping = Arc::new(AtomicBool::new(false));
        let may_keep = keeping.clone();
        let keeper = thread("telemetry-keep", move || keep(keeper, &may_keep, &stop))?;
        let (checkpointer, stop) = (store.checkpointer()?, stopping.clone());
        let checkpointer = thread("journal-check", move || checkpoint(checkpointer, &stop))?;
        Ok(Self {
            store,
            sender: Some(sender),
            writer: Some(writer),
            keeper: Some(keeper),
            checkpointer: Some(checkpointer),
            stopping,
            keeping,
            readers,
            next_reader: 0.into(),
            query_time_max,
            size_bytes,
        })
    }

    /// Begins to seal, to roll up and to remove what is too old.
    pub fn keep(&self) {
        self.keeping.store(true, Ordering::Release);
        self.store.waker().wake();
    }

    async fn request(&self, command: Command) -> Result<Outcome, JournalError> {
        let gone = || JournalError::Stopped(WorkerGone.into());
        let (reply, answer) = oneshot::channel();
        self.sender.as_ref().ok_or_else(gone)?.send(Request { command, reply }).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?.map_err(journal_error)
    }

    fn reader(&self) -> &Worker<Reader> {
        let turn = self.next_reader.fetch_add(1, Ordering::Relaxed);
        &self.readers[turn % self.readers.len()]
    }

    async fn query<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Reader) -> Result<R, QueryError> + Send + 'static,
    ) -> Result<R, HistoryError> {
        // What a query waits for its reader counts too.
        let deadline = Instant::now().checked_add(self.query_time_max);
        let job = move |reader: &mut Reader| {
            reader.give_up_at(deadline);
            job(reader)
        };
        let answer = self.reader().call(job).await.map_err(|gone| HistoryError::Failed(gone.into()))?;
        answer.map_err(|error| match error {
            QueryError::TooMuch(what) => HistoryError::TooMuch(what),
            QueryError::Failed(source) => HistoryError::Failed(source),
        })
    }
}

impl Drop for TelemetryStore {
    fn drop(&mut self) {
        // The writers close last: only they can bring their WAL back into its file.
        self.readers.clear();
        drop(self.sender.take());
        self.stopping.store(true, Ordering::Release);
        self.store.waker().wake();
        for thread in [self.checkpointer.take(), self.writer.take(), self.keeper.take()].into_iter().flatten() {
            let _ = thread.join();
        }
    }
}

fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> anyhow::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.into()).spawn(run).with_context(|| format!("starting the thread {name}"))
}

fn write(mut writer: Writer, mut receiver: mpsc::Receiver<Request>) {
    let mut group = Vec::new();
    while receiver.blocking_recv_many(&mut group, GROUP_REQUESTS_MAX) > 0 {
        let (commands, replies): (Vec<_>, Vec<_>) = group.drain(..).map(|r: Request| (r.command, r.reply)).unzip();
        // A caller that is gone does not need its answer.
        match writer.commit(&commands) {
            Ok(outcomes) => {
                for (reply, outcome) in replies.into_iter().zip(outcomes) {
                    let _ = reply.send(outcome);
                }
            }
            Err(error) => {
                let stopped = matches!(error, StoreError::Stopped(_));
                let reason = match &error {
                    StoreError::Stopped(source) | StoreError::Retry(source) => format!("{source:#}"),
                    other => other.to_string(),
                };
                if !stopped {
                    tracing::warn!(reason, requests = replies.len(), "a commit failed; nothing of it was stored");
                }
                for reply in replies {
                    let source = anyhow::anyhow!("{reason}");
                    let error = if stopped { StoreError::Stopped(source) } else { StoreError::Retry(source) };
                    let _ = reply.send(Err(error));
                }
            }
        }
    }
}

fn keep(mut keeper: Keeper, keeping: &AtomicBool, stopping: &AtomicBool) {
    // Acknowledgements come first. Where that is not allowed it costs them some milliseconds on a busy machine.
    let _ = rustix::process::nice(KEEPER_NICE);
    while !stopping.load(Ordering::Acquire) {
        if !keeping.load(Ordering::Acquire) {
            keeper.wait(KEEPER_PAUSE);
            continue;
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let step = keeper.step(i64::try_from(since.as_micros()).unwrap_or(i64::MAX));
        // Failures were told by the keeper itself.
        if matches!(step, Ok(Step::Nothing) | Err(_)) {
            keeper.wait(KEEPER_PAUSE);
        }
    }
}

fn checkpoint(mut checkpointer: Checkpointer, stopping: &AtomicBool) {
    while !stopping.load(Ordering::Acquire) {
        // Failures were told by the checkpointer itself.
        if checkpointer.step(CHECKPOINT_PAUSE).is_err() {
            // A step after a failure may end at once; without a rest this loop would keep a processor busy.
            std::thread::sleep(CHECKPOINT_PAUSE);
        }
    }
}

fn journal_error(error: StoreError) -> JournalError {
    match error {
        StoreError::StaleFence => JournalError::StaleFence,
        StoreError::Retry(source) => JournalError::Retry(source),
        StoreError::Stopped(source) => JournalError::Stopped(source),
        StoreError::Corrupt { position, problem } => JournalError::Corrupt { position, problem },
    }
}

/// Outcomes fit their commands; another one would be a mistake of the engine.
fn unfit() -> JournalError {
    JournalError::Stopped(anyhow::anyhow!("the engine answered something else than it was asked"))
}

#[async_trait]
impl Journal for TelemetryStore {
    async fn open_lane(&self, lane: Lane) -> Result<OpenedLane, JournalError> {
        let Outcome::Lane(opened) = self.request(Command::OpenLane(lane)).await? else { return Err(unfit()) };
        Ok(*opened)
    }

    async fn append(&self, lane: Lane, fence: Fence, batch: Arc<Batch>) -> Result<Receipt, JournalError> {
        let Outcome::Appended(receipt) = self.request(Command::Append { lane, fence, batch }).await? else {
            return Err(unfit());
        };
        Ok(receipt)
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
        let backlog = kind == StreamKind::Backlog;
        let request = StreamRequest { lane, fence, device, backlog, now_us, streams_max };
        let Outcome::Stream(opened) = self.request(Command::OpenStream(request)).await? else { return Err(unfit()) };
        Ok(opened)
    }

    async fn read(&self, lane: Lane, after: Position, limit: usize) -> Result<Vec<JournalRecord>, JournalError> {
        let job = move |reader: &mut Reader| reader.records(lane, after, limit);
        self.reader().call(job).await.map_err(|gone| JournalError::Stopped(gone.into()))?.map_err(journal_error)
    }

    async fn forget_device(&self, device: DeviceKey) -> Result<(), JournalError> {
        self.request(Command::Forget(device)).await.map(drop)
    }

    fn hold(&self, after: Position) {
        self.store.hold(after);
    }

    fn status(&self) -> StoreStatus {
        let status = self.store.status();
        let ended = |thread: &Option<JoinHandle<()>>| thread.as_ref().is_none_or(JoinHandle::is_finished);
        // Threads end when the store is dropped; before that only by a mistake, and no one starts them again.
        let failing = if ended(&self.keeper) {
            Some("its keeper thread has ended: nothing is sealed until a restart".into())
        } else if ended(&self.checkpointer) {
            Some(
                "its checkpointer thread has ended: the writer does its work, and commits take longer, until a restart"
                    .into(),
            )
        } else {
            status.failing
        };
        StoreStatus {
            stopped: if ended(&self.writer) { Some("its writer thread has ended".into()) } else { status.stopped },
            failing,
            journal_bytes: status.journal_bytes,
            heads_bytes: status.heads_bytes,
            disk_bytes: status.disk_bytes,
            size_bytes_max: self.size_bytes,
            chunks: status.chunks,
            sealed: status.sealed,
            damaged: status.damaged,
        }
    }
}

#[async_trait]
impl History for TelemetryStore {
    async fn range(&self, query: RangeQuery) -> Result<Vec<Sample>, HistoryError> {
        self.query(move |reader| reader.range(&query)).await
    }

    async fn buckets(&self, query: BucketQuery) -> Result<Vec<Bucket>, HistoryError> {
        self.query(move |reader| reader.buckets(&query)).await
    }

    async fn snapshot(&self, query: SnapshotQuery) -> Result<Snapshot, HistoryError> {
        self.query(move |reader| reader.snapshot(&query)).await
    }

    async fn latest(&self, series: Vec<SeriesKey>) -> Result<Vec<Option<Sample>>, HistoryError> {
        self.query(move |reader| reader.latest(&series)).await
    }
}
