//! The keeper: seals heads, and looks after what is sealed. One thread, one small step at a time, so that sealing never
//! waits long for the rest.

use crate::data;
use crate::error::StoreError;
use crate::expire::Expiry;
use crate::heads::Taken;
use crate::seal::{self, Prepared};
use crate::shared::{Shared, Waker};
use crate::tidy;
use pulsewire_core::ids::{DeviceKey, Position};
use rusqlite::Connection;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Most devices, and about the most bytes of rows, sealed in one transaction.
const GROUP_DEVICES: usize = 256;
const GROUP_BYTES: usize = 32 << 20;
/// Chunks of a deleted device that are removed in one transaction.
const FORGET_CHUNKS: i64 = 256;
/// Free pages given back to the system in one step.
const VACUUM_PAGES: i64 = 512;
/// Free pages that are kept for what comes next: a twentieth of the file, and at least so many.
const SPARE_PAGES: i64 = 64;

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Sealed so many devices.
    Sealed(usize),
    /// Removed some of what a deleted device had.
    Forgot,
    /// Set a damaged chunk aside.
    Quarantined,
    /// Made a block of rollups, or found that none is worth making.
    Rolled,
    /// Merged small chunks of a table.
    Merged,
    /// Removed what was too old or too much.
    Expired,
    /// Gave free space back.
    Vacuumed,
    /// There was nothing to do.
    Nothing,
}

/// Looks after `data.db`. For one thread.
pub struct Keeper {
    connection: Connection,
    shared: Arc<Shared>,
    // Devices to be sealed before their tables are full.
    pressing: VecDeque<DeviceKey>,
    expiry: Expiry,
    round: tidy::Round,
}

impl Keeper {
    pub(crate) fn new(connection: Connection, shared: Arc<Shared>) -> Self {
        Self { connection, shared, pressing: VecDeque::new(), expiry: Expiry::default(), round: tidy::Round::default() }
    }

    /// Wakes [`wait`](Self::wait).
    pub fn waker(&self) -> Waker {
        Waker(self.shared.clone())
    }

    /// Waits until there may be something to seal, at most so long.
    pub fn wait(&self, longest: Duration) {
        self.shared.wait_for_work(longest);
    }

    /// Does the next thing, if there is one. `now_us` is the wall clock.
    ///
    /// # Errors
    /// [`StoreError::Retry`] if it could not be done now, for example because the disk is full: call again later.
    /// `Stopped` after a failed sync: nothing is taken any more until the store is opened anew.
    pub fn step(&mut self, now_us: i64) -> Result<Step, StoreError> {
        self.tell(|keeper| keeper.next(now_us))
    }

    /// Does something, and lets the status say how that went.
    fn tell<T>(&mut self, what: impl FnOnce(&mut Self) -> Result<T, StoreError>) -> Result<T, StoreError> {
        if let Some(reason) = self.shared.status().stopped.clone() {
            return Err(StoreError::Stopped(anyhow::anyhow!("{reason}")));
        }
        let result = what(self);
        match &result {
            // Also when there was nothing to do: what could not be sealed stays due, so nothing fails any more.
            Ok(_) => self.shared.status().failing = None,
            Err(StoreError::Stopped(error)) => {
                let reason = format!("{error:#}");
                tracing::error!(reason, "data.db cannot be written: nothing more is acknowledged until a restart");
                self.shared.status().stopped = Some(reason);
            }
            Err(StoreError::Retry(error)) => {
                let reason = format!("{error:#}");
                let mut status = self.shared.status();
                if status.failing.as_ref() != Some(&reason) {
                    tracing::warn!(reason, "data.db could not be written; it is tried again");
                }
                status.failing = Some(reason);
            }
            Err(_) => {}
        }
        result
    }

    fn next(&mut self, now_us: i64) -> Result<Step, StoreError> {
        if self.quarantine()? {
            return Ok(Step::Quarantined);
        }
        let group = self.group();
        if !group.is_empty() {
            return self.seal(group).map(Step::Sealed);
        }
        if self.forget()? {
            return Ok(Step::Forgot);
        }
        let (connection, shared) = (&mut self.connection, &*self.shared);
        if self.expiry.step(connection, shared, now_us)? {
            return Ok(Step::Expired);
        }
        match self.round.step(connection, shared, now_us)? {
            Some(step) => return Ok(step),
            None if self.vacuum()? => return Ok(Step::Vacuumed),
            None => {}
        }
        Ok(Step::Nothing)
    }

    /// Seals everything there is; for a test, or before a long pause.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn seal_all(&mut self) -> Result<(), StoreError> {
        self.tell(Self::seal_every_device)
    }

    fn seal_every_device(&mut self) -> Result<(), StoreError> {
        let all: Vec<DeviceKey> = {
            let heads = self.shared.read();
            heads.devices.iter().filter(|(_, d)| d.unsealed_from.is_some()).map(|(key, _)| *key).collect()
        };
        self.pressing.extend(all);
        loop {
            let group = self.group();
            if group.is_empty() {
                return Ok(());
            }
            self.seal(group)?;
        }
    }

    /// Takes the heads that are sealed next.
    fn group(&mut self) -> Vec<Taken> {
        let mut heads = self.shared.write();
        let options = &self.shared.options;
        if self.pressing.is_empty() {
            let unsealed = self.shared.unsealed_bytes.load(Ordering::Acquire);
            let much = heads.bytes > options.heads_bytes / 4 * 3;
            if much || unsealed > options.unsealed_bytes {
                // Those that wait longest; half of all, so that it does not come to this at every step.
                let mut oldest: Vec<_> =
                    heads.devices.iter().filter_map(|(key, d)| Some((d.unsealed_from?, *key))).collect();
                oldest.sort_unstable();
                let half = oldest.len().div_ceil(2);
                self.pressing.extend(oldest.into_iter().take(half).map(|(_, key)| key));
            }
        }
        let (mut group, mut bytes): (Vec<Taken>, usize) = (Vec::new(), 0);
        while group.len() < GROUP_DEVICES && bytes < GROUP_BYTES {
            let Some(next) = heads.due.pop().or_else(|| self.pressing.pop_front()) else { break };
            if let Some(taken) = heads.take(next) {
                bytes += taken.bytes;
                group.push(taken);
            }
        }
        group
    }

    fn seal(&mut self, group: Vec<Taken>) -> Result<usize, StoreError> {
        let result = self.write(&group);
        let mut heads = self.shared.write();
        match result {
            Ok((written, through)) => {
                heads.generation += 1;
                let (mut chunks, mut samples) = (0, 0);
                for (taken, (prepared, tables, replaced)) in group.iter().zip(&written) {
                    heads.sealed(taken, tables, *replaced);
                    let size = seal::size(taken, prepared);
                    chunks += size.0;
                    samples += size.1;
                }
                // Not more than data.db says of itself: the next start compares.
                self.shared.sealed_through.fetch_max(through.0, Ordering::AcqRel);
                drop(heads);
                let mut status = self.shared.status();
                status.chunks += chunks;
                status.sealed += samples;
                drop(status);
                self.shared.has_room();
                Ok(group.len())
            }
            Err(error) => {
                group.iter().for_each(|taken| heads.put_back(taken));
                Err(error)
            }
        }
    }

    #[allow(clippy::type_complexity)] // one row per device, and how far the store is sealed with them
    fn write(
        &mut self,
        group: &[Taken],
    ) -> Result<(Vec<(Prepared, Vec<crate::heads::SealedTable>, u64)>, Position), StoreError> {
        let mut written = Vec::with_capacity(group.len());
        for taken in group {
            written.push((seal::prepare(taken)?, Vec::new(), 0));
        }
        let transaction = self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        for (taken, (prepared, tables, replaced)) in group.iter().zip(&mut written) {
            (*tables, *replaced) = seal::write(&transaction, &self.shared, taken, prepared)?;
        }
        let through = self.shared.read().sealed_through_with_taken();
        data::set_sealed_through(&transaction, through)?;
        data::next_generation(&transaction)?;
        transaction.commit()?;
        Ok((written, through))
    }

    fn forget(&mut self) -> Result<bool, StoreError> {
        let next = self.shared.read().forgotten.last().copied();
        let Some(device) = next else { return Ok(false) };
        let transaction = self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let more = data::forget_step(&transaction, device, FORGET_CHUNKS)?;
        transaction.commit()?;
        if !more {
            let mut heads = self.shared.write();
            heads.forgotten.retain(|forgotten| *forgotten != device);
        }
        Ok(true)
    }

    /// Sets damaged chunks aside, so that no query meets them again; `check` still finds them.
    fn quarantine(&mut self) -> Result<bool, StoreError> {
        let Some(chunk) = self.shared.status().damaged_chunks.last().copied() else { return Ok(false) };
        let transaction = self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let what = data::set_aside(&transaction, chunk)?;
        transaction.commit()?;
        let mut status = self.shared.status();
        status.damaged_chunks.retain(|damaged| *damaged != chunk);
        if status.damaged.len() < crate::shared::DAMAGED_LISTED {
            status.damaged.extend(what);
        }
        Ok(true)
    }

    fn vacuum(&mut self) -> Result<bool, StoreError> {
        let pages: i64 = self.connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
        let free: i64 = self.connection.pragma_query_value(None, "freelist_count", |row| row.get(0))?;
        if free <= SPARE_PAGES.max(pages / 20) {
            return Ok(false);
        }
        let mut statement = self.connection.prepare_cached(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES})"))?;
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
        Ok(true)
    }
}
