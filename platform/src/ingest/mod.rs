//! From a session to the journal: dedup, checks, one commit for all, then the acknowledgement.
//!
//! A *lane* is one task with the dedup state of its devices. It takes everything that waits, judges it, appends it to the
//! journal as one batch and answers when that is durable. While an append is under way the next batch gathers in the
//! queue: that is the group commit. Only when many devices are at work does it pause between two (`PACE`). A full queue makes sessions wait, which stops their sockets from
//! being read.

mod accounts;
mod check;
mod import;
mod lane;
mod mailbox;
mod report;
mod round;
mod state;

pub use accounts::Accounts;
pub use mailbox::{IngestReply, Mailbox, Refusal, Rejected};
pub use report::{IncomingBlock, MetricSetRef, Submission};

use crate::ports::{Bus, Clock, Journal, JournalError};
use pulsewire_core::catalogue::Catalogue;
use pulsewire_core::ids::{DeviceKey, Lane, Position, Sequence, StreamId};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

/// Bounds of ingest; each is a key of `[ingest]` in the configuration.
#[derive(Debug, Clone)]
pub struct IngestOptions {
    /// Most submissions that wait for a commit; above it sessions wait.
    pub queue_reports: usize,
    /// Most bytes of read reports that wait for a commit; above it sessions wait.
    pub queue_bytes: usize,
    /// Most series in the store; values of further ones are rejected.
    pub series_max: usize,
    /// Most series of one device; values of further ones are rejected.
    pub series_per_device_max: usize,
    /// Most streams a device may hold; opening one more retires the one unused for longest.
    pub streams_per_device_max: usize,
    /// How far ahead of the server's clock a row may be, in µs.
    pub time_ahead_max_us: i64,
}

/// Where ingest's requests go.
pub(crate) enum Request {
    Submit(Submission, OwnedSemaphorePermit),
    Positions { device: DeviceKey, streams: Vec<StreamId>, reply: oneshot::Sender<Vec<(StreamId, Sequence)>> },
    Forget { device: DeviceKey, reply: oneshot::Sender<()> },
}

/// A part of the allowance of `ingest.queue_bytes`; given back when what it was taken for is stored or refused.
#[derive(Debug)]
pub struct Reserved(OwnedSemaphorePermit);

/// The lane has ended: the server is stopping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server is stopping")]
pub struct Stopping;

/// Handle of the ingest service.
pub struct Ingest {
    sender: mpsc::Sender<Request>,
    bytes: Arc<Semaphore>,
    queue_bytes: usize,
    busy: Arc<AtomicBool>,
    accounts: Arc<Accounts>,
    epoch: u64,
    started_at: Position,
    devices: HashSet<DeviceKey>,
}

impl Ingest {
    /// Takes the lane over and starts its task. The task ends when every handle is dropped and the queue is empty.
    ///
    /// # Errors
    /// [`JournalError`] if the lane cannot be opened.
    pub async fn start(
        options: IngestOptions,
        journal: Arc<dyn Journal>,
        bus: Arc<dyn Bus>,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Arc<RwLock<Catalogue>>, JoinHandle<()>), JournalError> {
        let lane = Lane(0);
        let opened = journal.open_lane(lane).await?;
        let devices = opened.series.iter().map(|s| s.device);
        let devices = devices.chain(opened.streams.iter().map(|s| s.device));
        let devices = devices.chain(opened.accounting.iter().map(|(device, _)| *device)).collect();
        let catalogue = Arc::new(RwLock::new(Catalogue::new(opened.series, opened.next_series)));
        let accounts = Arc::new(Accounts::new(opened.accounting));
        let (sender, receiver) = mpsc::channel(options.queue_reports.max(1));
        let queue_bytes = options.queue_bytes.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        let busy = Arc::new(AtomicBool::new(false));
        let task = lane::LaneTask {
            lane,
            fence: opened.fence,
            options,
            journal,
            bus,
            clock,
            catalogue: catalogue.clone(),
            accounts: accounts.clone(),
            state: state::LaneState::recover(&opened.streams, &opened.digests),
            busy: busy.clone(),
            unwritten: lane::Unwritten::default(),
            forgotten: HashSet::new(),
        };
        let handle = Self {
            sender,
            bytes: Arc::new(Semaphore::new(queue_bytes)),
            queue_bytes,
            busy,
            accounts,
            epoch: opened.epoch,
            started_at: opened.position,
            devices,
        };
        Ok((handle, catalogue, tokio::spawn(task.run(receiver))))
    }

    /// Many devices are at work, so that commits are paced: whoever has just submitted may as well wait for the answer before
    /// it reads more.
    pub fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed)
    }

    /// Takes so many bytes of the queue's allowance; waits while there are too few. To be given to
    /// [`submit_reserved`](Self::submit_reserved). Cancel safe.
    ///
    /// # Errors
    /// [`Stopping`].
    pub async fn reserve(&self, bytes: usize) -> Result<Reserved, Stopping> {
        // What is larger than the whole allowance may go when it is alone.
        let bytes = u32::try_from(bytes.clamp(1, self.queue_bytes)).unwrap_or(u32::MAX);
        let permit = self.bytes.clone().acquire_many_owned(bytes).await.map_err(|_| Stopping)?;
        Ok(Reserved(permit))
    }

    /// Hands something to the lane; waits while the queue is full. The answers come to the submission's mailbox.
    ///
    /// # Errors
    /// [`Stopping`].
    pub async fn submit(&self, submission: Submission, bytes: usize) -> Result<(), Stopping> {
        self.submit_reserved(submission, self.reserve(bytes).await?).await
    }

    /// [`submit`](Self::submit) with bytes that were reserved before.
    ///
    /// # Errors
    /// [`Stopping`].
    pub async fn submit_reserved(&self, submission: Submission, reserved: Reserved) -> Result<(), Stopping> {
        self.sender.send(Request::Submit(submission, reserved.0)).await.map_err(|_| Stopping)
    }

    /// The highest durable sequence of those of the device's streams that exist.
    ///
    /// # Errors
    /// [`Stopping`].
    pub async fn positions(
        &self,
        device: DeviceKey,
        streams: Vec<StreamId>,
    ) -> Result<Vec<(StreamId, Sequence)>, Stopping> {
        let (reply, answer) = oneshot::channel();
        self.sender.send(Request::Positions { device, streams, reply }).await.map_err(|_| Stopping)?;
        answer.await.map_err(|_| Stopping)
    }

    /// Drops what is known of a deleted device, before the journal forgets it.
    ///
    /// # Errors
    /// [`Stopping`].
    pub async fn forget(&self, device: DeviceKey) -> Result<(), Stopping> {
        let (reply, answer) = oneshot::channel();
        self.sender.send(Request::Forget { device, reply }).await.map_err(|_| Stopping)?;
        answer.await.map_err(|_| Stopping)
    }

    /// The devices of which the journal had anything when the lane was opened.
    pub fn devices_at_start(&self) -> &HashSet<DeviceKey> {
        &self.devices
    }

    /// What became of what devices sent.
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// Changes when positions start anew. SPEC §9.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The newest record when the lane was opened.
    pub fn started_at(&self) -> Position {
        self.started_at
    }
}
