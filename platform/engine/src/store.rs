//! Opening a store: what `data.db` says, then what the journal has beyond it.

use crate::checkpoint::Checkpointer;
use crate::data;
use crate::error::StoreError;
use crate::file::{self, File};
use crate::heads::{Heads, StreamState};
use crate::journal;
use crate::keeper::Keeper;
use crate::options::StoreOptions;
use crate::query::Reader;
use crate::shared::{Shared, Status, Waker};
use crate::writer::Writer;
use anyhow::Context;
use pulsewire_core::batch::Batch;
use pulsewire_core::ids::{DeviceKey, Position, Sequence, StreamId};
use rusqlite::Connection;
use std::collections::{HashSet, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Most digests of reports remembered across a restart; they only serve to notice two devices with one identity.
const DIGESTS_MAX: usize = 200_000;

type Digest = (DeviceKey, StreamId, Sequence, u64);

/// An open store. Cheap to clone; the files stay open while any writer, keeper or reader lives.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

impl Store {
    /// Opens or makes the files of a folder, and reads again what was not sealed.
    ///
    /// # Errors
    /// If they cannot be used, or were made by another version.
    pub fn open(options: StoreOptions) -> anyhow::Result<(Self, Writer, Keeper)> {
        let journal = file::open_writer(&options, File::Journal)?;
        let data = file::open_writer(&options, File::Data)?;
        belong_together(&journal, &data, &options.folder)?;
        journal::ensure_epoch(&journal)?;
        let mut heads = data::load(&data).context("reading data.db")?;
        let mut status = Status::default();
        let digests = replay(&journal, &data, &mut heads, &options, &mut status).context("reading journal.db")?;
        let position = heads.applied;
        let (through, bytes) = (heads.sealed_through(), journal::bytes(&journal)?);
        data::set_sealed_through(&data, through).context("writing data.db")?;
        let shared = Arc::new(Shared::new(options, heads, through.0, bytes));
        *shared.status() = status;
        let unsealed = journal::sizes_after(&journal, through.0)?;
        let writer = Writer::new(journal, shared.clone(), position, digests, unsealed);
        let keeper = Keeper::new(data, shared.clone());
        Ok((Self { shared }, writer, keeper))
    }

    /// A reader with connections of its own.
    ///
    /// # Errors
    /// If the files cannot be opened.
    pub fn reader(&self) -> anyhow::Result<Reader> {
        let options = &self.shared.options;
        let data = file::open_reader(&options.folder, options.vfs.as_deref(), File::Data)?;
        let journal = file::open_reader(&options.folder, options.vfs.as_deref(), File::Journal)?;
        Ok(Reader::new(data, journal, self.shared.clone()))
    }

    /// Brings the journal's log back into its file, with a connection of its own.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn checkpointer(&self) -> anyhow::Result<Checkpointer> {
        let connection = file::open_again(&self.shared.options, File::Journal)?;
        Ok(Checkpointer::new(connection, self.shared.clone()))
    }

    /// Keeps records after this position for a reader that has not read them yet, within `hold_bytes`.
    pub fn hold(&self, after: Position) {
        self.shared.held_after.store(after.0, Ordering::Release);
    }

    /// How it is doing.
    pub fn status(&self) -> Status {
        let mut status = self.shared.status().clone();
        status.journal_bytes = self.shared.journal_bytes.load(Ordering::Acquire);
        status.heads_bytes = self.shared.read().bytes as u64;
        status
    }

    /// Wakes the keeper.
    pub fn waker(&self) -> Waker {
        Waker(self.shared.clone())
    }
}

/// Each file is of no use without the other. One that is missing, or comes from an older copy, must not look like a store
/// that is merely empty.
fn belong_together(journal: &Connection, data: &Connection, folder: &Path) -> anyhow::Result<()> {
    let folder = folder.display();
    if journal::value(journal, "epoch")? == 0 && data::has_devices(data)? {
        anyhow::bail!(
            "{folder} has data.db but not the journal.db that belongs to it, which has the names of its series and the \
             reports not yet in data.db; put that journal.db back, or restore both files from one backup, or give \
             another --data-dir"
        );
    }
    let (first, through) = (journal::first(journal)?, data::sealed_through(data)?);
    if let (Some(first), Some(through)) = (first, through)
        && first.0 > through + 1
    {
        anyhow::bail!(
            "data.db in {folder} is missing or older than the journal.db beside it: reports {} to {} were moved from \
             journal.db to a newer data.db; put that data.db back, or restore both files from one backup, or give \
             another --data-dir",
            through + 1,
            first.0 - 1
        );
    }
    Ok(())
}

fn replay(
    journal: &Connection,
    data: &Connection,
    heads: &mut Heads,
    options: &StoreOptions,
    status: &mut Status,
) -> Result<Vec<Digest>, StoreError> {
    let exist = forget_again(journal, heads)?;
    take_streams(journal, data, heads)?;
    for series in journal::series(journal)? {
        heads.set_device_of(series.key, Some(series.device));
    }
    let mut digests: VecDeque<Digest> = VecDeque::new();
    journal::for_each(journal, |position, received_us, record| {
        let record = match record {
            Ok(record) => record,
            Err(problem) => {
                tracing::error!(%position, problem, "a journal record is damaged; what of it was not sealed is lost");
                status.damaged.push(format!("journal record {position}: {problem}"));
                heads.applied = heads.applied.max(position);
                return;
            }
        };
        for block in &record.blocks {
            let reports = block.reports.iter().filter(|report| report.digest != 0);
            digests.extend(reports.map(|r| (block.device(), r.stream, r.sequence, r.digest)));
        }
        while digests.len() > DIGESTS_MAX {
            digests.pop_front();
        }
        let mut batch = Batch { received_us, blocks: record.blocks, series: Vec::new(), accounting: record.accounting };
        let sealed = |device: &DeviceKey| heads.devices.get(device).is_some_and(|d| position <= d.position);
        let wanted = |device: &DeviceKey| exist.contains(device) && !sealed(device);
        batch.blocks.retain(|block| wanted(&block.device()));
        batch.accounting.retain(|(device, _)| wanted(device));
        let newest = heads.applied.max(position);
        heads.apply(position, &batch, options.chunk_rows);
        heads.applied = newest;
    })?;
    heads.found.clear();
    Ok(digests.into())
}

/// A device exists while `journal.db` has a stream or a series of it. What there is of others was deleted before the stop:
/// it does not come back, and the keeper removes what is left. Answers the devices that exist.
fn forget_again(journal: &Connection, heads: &mut Heads) -> Result<HashSet<DeviceKey>, StoreError> {
    let mut exist: HashSet<DeviceKey> = journal::streams(journal)?.into_iter().map(|(device, _, _)| device).collect();
    exist.extend(journal::series(journal)?.into_iter().map(|series| series.device));
    heads.forgotten = heads.devices.keys().filter(|device| !exist.contains(device)).copied().collect();
    heads.devices.retain(|device, _| exist.contains(device));
    Ok(exist)
}

/// Streams exist as `journal.db` says; `data.db` says how far they had come.
fn take_streams(journal: &Connection, data: &Connection, heads: &mut Heads) -> Result<(), StoreError> {
    let streams = journal::streams(journal)?;
    let known: HashSet<(DeviceKey, StreamId)> = streams.iter().map(|(device, stream, _)| (*device, *stream)).collect();
    let mut gone = data.prepare("DELETE FROM stream WHERE device = ?1 AND stream = ?2")?;
    for (key, device) in &mut heads.devices {
        let (kept, retired) = device.streams.iter().partition(|s| known.contains(&(*key, s.stream)));
        let retired: Vec<StreamState> = retired;
        device.streams = kept;
        for stream in retired {
            gone.execute([key.0, stream.stream.0])?;
        }
    }
    for (device, stream, opened_us) in streams {
        let device = heads.devices.entry(device).or_default();
        if !device.streams.iter().any(|s| s.stream == stream) {
            device.streams.push(StreamState { stream, sequence: Sequence(0), used_us: opened_us });
        }
    }
    Ok(())
}
