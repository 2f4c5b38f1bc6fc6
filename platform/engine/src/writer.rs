//! The writer: one transaction, one sync, then the rows are in memory and the caller may acknowledge.

use crate::error::StoreError;
use crate::heads::StreamState;
use crate::journal;
use crate::shared::Shared;
use pulsewire_core::batch::{Batch, OpenedLane, OpenedStream, Receipt, StreamPosition};
use pulsewire_core::ids::{DeviceKey, Fence, Lane, Position, Sequence, SeriesKey, StreamId};
use rusqlite::Connection;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Bytes of records after which the journal is checkpointed.
pub(crate) const CHECKPOINT_BYTES: u64 = 4 << 20;
/// Most that one commit deletes of records that nobody needs any more: four times what it adds, and at least so many bytes
/// and records, so that much to delete makes no commit long, and less is left with each.
const TRIM_BYTES: u64 = 1 << 20;
const TRIM_RECORDS: u64 = 64;
/// Records of fewer bytes together are counted as one among those that are not sealed.
const UNSEALED_BYTES: u64 = 64 << 10;
/// How long an append waits for memory before it is refused.
const ROOM_WAIT: Duration = Duration::from_secs(10);

/// What is asked of the writer.
#[derive(Debug, Clone)]
pub enum Command {
    /// Become the owner of a lane.
    OpenLane(Lane),
    /// Store a batch.
    Append {
        /// Which lane.
        lane: Lane,
        /// As given when it was opened.
        fence: Fence,
        /// What.
        batch: Arc<Batch>,
    },
    /// Make a stream.
    OpenStream(StreamRequest),
    /// Remove what a deleted device has. What is in `data.db` goes bit by bit.
    Forget(DeviceKey),
}

/// A stream to be made.
#[derive(Debug, Clone, Copy)]
pub struct StreamRequest {
    /// Which lane.
    pub lane: Lane,
    /// As given when it was opened.
    pub fence: Fence,
    /// For whom.
    pub device: DeviceKey,
    /// For what was kept while there was no connection.
    pub backlog: bool,
    /// Now.
    pub now_us: i64,
    /// Most streams of a device; one more retires the one unused for longest.
    pub streams_max: usize,
}

/// The answer to one command.
#[derive(Debug)]
pub enum Outcome {
    /// To [`Command::OpenLane`].
    Lane(Box<OpenedLane>),
    /// To [`Command::Append`].
    Appended(Receipt),
    /// To [`Command::OpenStream`].
    Stream(OpenedStream),
    /// To [`Command::Forget`].
    Forgotten,
}

/// Writes the journal. For one thread.
pub struct Writer {
    connection: Connection,
    shared: Arc<Shared>,
    position: Position,
    digests: Vec<(DeviceKey, StreamId, Sequence, u64)>,
    bytes: u64,
    // Records of which something is not sealed, oldest first, with their bytes, and the sum of these. Small neighbours are
    // one entry, under the position of the newest.
    unsealed: VecDeque<(Position, u64)>,
    unsealed_bytes: u64,
}

impl Writer {
    pub(crate) fn new(
        connection: Connection,
        shared: Arc<Shared>,
        position: Position,
        digests: Vec<(DeviceKey, StreamId, Sequence, u64)>,
        unsealed: Vec<(Position, u64)>,
    ) -> Self {
        let bytes = shared.journal_bytes.load(Ordering::Acquire);
        let mut writer =
            Self { connection, shared, position, digests, bytes, unsealed: VecDeque::new(), unsealed_bytes: 0 };
        for (position, bytes) in unsealed {
            writer.note_unsealed(position, bytes);
        }
        writer.count_unsealed(None);
        writer
    }

    /// Runs the commands in one transaction with one sync. An inner error is about its command alone.
    ///
    /// Appends wait while the memory for unsealed rows is full, at most ten seconds.
    ///
    /// # Errors
    /// [`StoreError`]: nothing of any command was stored; after `Stopped` that is unknown, and every later call fails.
    pub fn commit(&mut self, commands: &[Command]) -> Result<Vec<Result<Outcome, StoreError>>, StoreError> {
        if let Some(reason) = self.shared.status().stopped.clone() {
            return Err(StoreError::Stopped(anyhow::anyhow!("{reason}")));
        }
        if commands.iter().any(|command| matches!(command, Command::Append { .. })) {
            self.wait_for_room()?;
        }
        let result = self.run(commands);
        if let Err(StoreError::Stopped(error)) = &result {
            let reason = format!("{error:#}");
            tracing::error!(reason, "the journal stopped: nothing more is acknowledged until a restart");
            self.shared.status().stopped = Some(reason);
        }
        result
    }

    fn wait_for_room(&self) -> Result<(), StoreError> {
        let (started, most) = (Instant::now(), self.shared.options.heads_bytes);
        while self.shared.read().bytes > most {
            let failing = self.shared.status().failing.clone();
            if failing.is_some() || started.elapsed() > ROOM_WAIT {
                let why = failing.unwrap_or_else(|| "sealing is too slow".into());
                return Err(StoreError::Retry(anyhow::anyhow!("the memory for unsealed rows is full: {why}")));
            }
            self.shared.wake();
            self.shared.wait_for_room(Duration::from_millis(20));
        }
        Ok(())
    }

    fn run(&mut self, commands: &[Command]) -> Result<Vec<Result<Outcome, StoreError>>, StoreError> {
        let transaction = self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let (mut position, mut added, mut records) = (self.position, 0, 0);
        let mut outcomes = Vec::with_capacity(commands.len());
        for command in commands {
            outcomes.push(match command {
                Command::OpenLane(lane) => {
                    let fence = journal::raise_fence(&transaction, *lane)?;
                    let opened = open_lane(&transaction, &self.shared, fence, position)?;
                    Ok(Outcome::Lane(Box::new(opened)))
                }
                Command::Append { lane, fence, batch } if journal::fence_holds(&transaction, *lane, *fence)? => {
                    position = Position(position.0 + 1);
                    added += journal::append(&transaction, *lane, position, batch)?;
                    records += 1;
                    Ok(Outcome::Appended(Receipt { position, replaced: Vec::new() }))
                }
                Command::OpenStream(request) if journal::fence_holds(&transaction, request.lane, request.fence)? => {
                    let used = used_at(&self.shared, request.device);
                    Ok(Outcome::Stream(journal::open_stream(&transaction, request, &used)?))
                }
                Command::Append { .. } | Command::OpenStream(_) => Err(StoreError::StaleFence),
                Command::Forget(device) => {
                    journal::forget(&transaction, *device)?;
                    Ok(Outcome::Forgotten)
                }
            });
        }
        let removed = trim(&transaction, &self.shared, self.bytes + added, added, records)?;
        transaction.commit()?;
        let lane = outcomes.iter_mut().find_map(|o| if let Ok(Outcome::Lane(lane)) = o { Some(lane) } else { None });
        if let Some(lane) = lane {
            lane.digests = std::mem::take(&mut self.digests);
        }
        self.position = position;
        self.bytes = (self.bytes + added).saturating_sub(removed);
        self.shared.journal_bytes.store(self.bytes, Ordering::Release);
        self.shared.journal_grew(added, CHECKPOINT_BYTES);
        self.count_unsealed((added > 0).then_some((position, added)));
        self.take_up(commands, &mut outcomes);
        Ok(outcomes)
    }

    /// What is durable now becomes visible.
    fn take_up(&self, commands: &[Command], outcomes: &mut [Result<Outcome, StoreError>]) {
        let options = &self.shared.options;
        let mut heads = self.shared.write();
        for (command, outcome) in commands.iter().zip(outcomes) {
            match (command, outcome) {
                (Command::Append { batch, .. }, Ok(Outcome::Appended(receipt))) => {
                    receipt.replaced = heads.apply(receipt.position, batch, options.chunk_rows);
                    receipt.replaced.append(&mut heads.found);
                }
                (Command::OpenStream(request), Ok(Outcome::Stream(opened))) => {
                    let device = heads.devices.entry(request.device).or_default();
                    device.streams.retain(|s| Some(s.stream) != opened.retired);
                    let state = StreamState { stream: opened.stream, sequence: Sequence(0), used_us: request.now_us };
                    device.streams.push(state);
                }
                (Command::Forget(device), Ok(Outcome::Forgotten)) => {
                    heads.forget(*device);
                    heads.forgotten.push(*device);
                }
                _ => {}
            }
        }
        let busy = !heads.due.is_empty() || !heads.forgotten.is_empty() || heads.bytes > options.heads_bytes / 4 * 3;
        drop(heads);
        if busy || self.unsealed_bytes > options.unsealed_bytes {
            self.shared.wake();
        }
    }

    fn note_unsealed(&mut self, position: Position, bytes: u64) {
        self.unsealed_bytes += bytes;
        match self.unsealed.back_mut() {
            Some(newest) if newest.1 < UNSEALED_BYTES => *newest = (position, newest.1 + bytes),
            _ => self.unsealed.push_back((position, bytes)),
        }
    }

    /// Counts what is not sealed, with the record just written if there is one.
    fn count_unsealed(&mut self, added: Option<(Position, u64)>) -> u64 {
        if let Some((position, bytes)) = added {
            self.note_unsealed(position, bytes);
        }
        let through = self.shared.sealed_through();
        while let Some((_, bytes)) = self.unsealed.pop_front_if(|(position, _)| position.0 <= through) {
            self.unsealed_bytes -= bytes;
        }
        self.shared.unsealed_bytes.store(self.unsealed_bytes, Ordering::Release);
        self.unsealed_bytes
    }
}

fn used_at(shared: &Shared, device: DeviceKey) -> Vec<(StreamId, i64)> {
    let heads = shared.read();
    let streams = heads.devices.get(&device).map(|d| d.streams.iter().map(|s| (s.stream, s.used_us)).collect());
    streams.unwrap_or_default()
}

fn open_lane(
    connection: &Connection,
    shared: &Shared,
    fence: Fence,
    position: Position,
) -> rusqlite::Result<OpenedLane> {
    let heads = shared.read();
    let streams = heads.devices.iter().flat_map(|(device, d)| {
        d.streams.iter().map(|s| StreamPosition { device: *device, stream: s.stream, sequence: s.sequence })
    });
    Ok(OpenedLane {
        fence,
        epoch: journal::value(connection, "epoch")?.cast_unsigned(),
        position,
        series: journal::series(connection)?,
        // In a restored copy data.db may be the newer file, and have series that journal.db knows nothing of.
        next_series: heads
            .next_series()
            .max(SeriesKey(u32::try_from(journal::value(connection, "next_series")?).unwrap_or(u32::MAX))),
        streams: streams.collect(),
        // Given to the first that takes the lane, once that is certain.
        digests: Vec::new(),
        accounting: heads.devices.iter().map(|(device, d)| (*device, d.account)).collect(),
    })
}

/// Deletes records that nobody needs any more while there are too many, as far as one commit may; answers their bytes. The
/// commit itself added so many bytes and records.
fn trim(connection: &Connection, shared: &Shared, bytes: u64, added: u64, records: u64) -> rusqlite::Result<u64> {
    let options = &shared.options;
    let bytes_max = added.saturating_mul(4).max(TRIM_BYTES);
    let records_max = records.saturating_mul(4).max(TRIM_RECORDS);
    let mut removed = 0;
    for _ in 0..records_max {
        let left = bytes.saturating_sub(removed);
        if left <= options.retain_bytes || removed >= bytes_max {
            break;
        }
        let held = if left > options.hold_bytes { u64::MAX } else { shared.held_after.load(Ordering::Acquire) };
        // What is not sealed is nowhere else.
        match journal::delete_oldest(connection, held.min(shared.sealed_through()))? {
            Some(bytes) => removed += bytes,
            None => break,
        }
    }
    Ok(removed)
}
