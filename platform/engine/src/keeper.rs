//! The keeper: seals heads, and looks after what is sealed. One thread, one small step at a time, so that sealing never
//! waits long for the rest.

use crate::data;
use crate::error::StoreError;
use crate::expire::Expiry;
use crate::heads::Taken;
use crate::seal::{self, Prepared};
use crate::shared::Shared;
use crate::tidy;
use pulsewire_chunk::EncodeError;
use pulsewire_chunk::LEVEL_DEFAULT;
use pulsewire_core::ids::{DeviceKey, Position};
use rusqlite::Connection;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Most devices, and about the most bytes of rows, sealed in one transaction.
const GROUP_DEVICES: usize = 256;
const GROUP_BYTES: usize = 32 << 20;
/// Groups that are sealed before the rest has its turn for one step, however much waits to be sealed.
const SEALS_IN_TURN: usize = 8;
/// How long a device whose rows cannot be encoded waits before it is tried again.
const UNFIT_PAUSE_US: i64 = 60_000_000;
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
    // So many devices are sealed one at a time: they were in a group that failed, and one of them may be why.
    alone: usize,
    // Devices that failed alone because of their rows, and why; they wait until then, so that the others are sealed.
    unfit: HashMap<DeviceKey, String>,
    unfit_until_us: i64,
    // Groups sealed since the rest had its turn.
    seals: usize,
    expiry: Expiry,
    round: tidy::Round,
}

impl Keeper {
    pub(crate) fn new(connection: Connection, shared: Arc<Shared>) -> Self {
        Self {
            connection,
            shared,
            pressing: VecDeque::new(),
            alone: 0,
            unfit: HashMap::new(),
            unfit_until_us: 0,
            seals: 0,
            expiry: Expiry::default(),
            round: tidy::Round::default(),
        }
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
            Ok(_) => self.shared.status().failing = self.unfit.values().next().cloned(),
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
        self.try_unfit(now_us);
        if self.seals >= SEALS_IN_TURN {
            self.seals = 0;
            let step = self.look_after(now_us)?;
            if step != Step::Nothing {
                return Ok(step);
            }
        }
        let group = self.group();
        if !group.is_empty() {
            self.seals += 1;
            return self.seal(group, now_us).map(Step::Sealed).map_err(|error| self.free_space(error, now_us));
        }
        self.seals = 0;
        self.look_after(now_us)
    }

    /// What failed may have failed for want of space: what is too old or too much goes all the same. Answers the error.
    fn free_space(&mut self, error: StoreError, now_us: i64) -> StoreError {
        if !matches!(error, StoreError::Retry(_)) {
            return error;
        }
        match self.expiry.step(&mut self.connection, &self.shared, now_us) {
            Err(stopped @ StoreError::Stopped(_)) => stopped,
            _ => error,
        }
    }

    /// One step of what is done besides sealing.
    fn look_after(&mut self, now_us: i64) -> Result<Step, StoreError> {
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
            self.seal(group, i64::MIN)?;
        }
    }

    /// Takes the heads that are sealed next.
    fn group(&mut self) -> Vec<Taken> {
        let mut heads = self.shared.write();
        let options = &self.shared.options;
        if self.pressing.is_empty() {
            let unsealed = self.shared.unsealed_bytes.load(Ordering::Acquire);
            let much = heads.bytes > options.heads_bytes / 4 * 3;
            // What cannot be sealed holds the journal, and sealing the others early would not change that.
            if much || unsealed > options.unsealed_bytes && self.unfit.is_empty() {
                // Those that wait longest; half of all, so that it does not come to this at every step.
                let mut oldest: Vec<_> =
                    heads.devices.iter().filter_map(|(key, d)| Some((d.unsealed_from?, *key))).collect();
                oldest.retain(|(_, key)| !self.unfit.contains_key(key));
                oldest.sort_unstable();
                let half = oldest.len().div_ceil(2);
                self.pressing.extend(oldest.into_iter().take(half).map(|(_, key)| key));
            }
        }
        let (mut group, mut bytes): (Vec<Taken>, usize) = (Vec::new(), 0);
        let most = if self.alone > 0 { 1 } else { GROUP_DEVICES };
        while group.len() < most && bytes < GROUP_BYTES {
            let Some(next) = heads.due.pop().or_else(|| self.pressing.pop_front()) else { break };
            let unfit = self.unfit.contains_key(&next);
            if unfit && !group.is_empty() {
                heads.due.push(next);
                break;
            }
            if let Some(taken) = heads.take(next) {
                bytes += taken.bytes;
                group.push(taken);
                if unfit {
                    break;
                }
            }
        }
        group
    }

    /// Lets devices whose rows could not be encoded be tried again, each alone, after a while.
    fn try_unfit(&mut self, now_us: i64) {
        if self.unfit.is_empty() || now_us < self.unfit_until_us {
            return;
        }
        self.unfit_until_us = now_us.saturating_add(UNFIT_PAUSE_US);
        let mut heads = self.shared.write();
        self.unfit.retain(|key, _| heads.devices.contains_key(key));
        // At the front, since the last is taken first: after the others.
        heads.due.splice(0..0, self.unfit.keys().copied());
    }

    fn seal(&mut self, group: Vec<Taken>, now_us: i64) -> Result<usize, StoreError> {
        let result = self.write(&group);
        self.alone = self.alone.saturating_sub(1);
        let mut heads = self.shared.write();
        match result {
            Ok((written, through)) => {
                heads.generation += 1;
                let (mut chunks, mut samples) = (0, 0);
                for (taken, (prepared, tables, replaced)) in group.iter().zip(&written) {
                    heads.sealed(taken, tables, *replaced);
                    self.unfit.remove(&taken.device);
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
                if let (StoreError::Retry(source), [taken]) = (&error, &group[..])
                    && source.is::<EncodeError>()
                {
                    // Trying it again at once would not help it.
                    heads.due.retain(|key| *key != taken.device);
                    drop(heads);
                    return Err(self.set_apart(taken.device, source, now_us));
                } else if group.len() > 1 {
                    self.alone = group.len();
                }
                Err(error)
            }
        }
    }

    fn set_apart(&mut self, device: DeviceKey, why: &anyhow::Error, now_us: i64) -> StoreError {
        let reason = format!("rows of device number {device} cannot be sealed: {why:#}");
        self.unfit_until_us = now_us.saturating_add(UNFIT_PAUSE_US);
        if self.unfit.insert(device, reason.clone()).is_none() {
            tracing::error!(reason, "they stay in the journal and in memory, and are tried again");
        }
        // So that it is logged once only.
        self.shared.status().failing = Some(reason.clone());
        StoreError::Retry(anyhow::anyhow!(reason))
    }

    #[allow(clippy::type_complexity)] // one row per device, and how far the store is sealed with them
    fn write(
        &mut self,
        group: &[Taken],
    ) -> Result<(Vec<(Prepared, Vec<crate::heads::SealedTable>, u64)>, Position), StoreError> {
        let mut written = Vec::with_capacity(group.len());
        let pressed = self.shared.read().bytes > self.shared.options.heads_bytes / 2;
        let level = if pressed { seal::LEVEL_PRESSED } else { LEVEL_DEFAULT };
        for taken in group {
            written.push((seal::prepare(taken, level)?, Vec::new(), 0));
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
