//! What writer, keeper and readers share.

use crate::data::ChunkRow;
use crate::heads::Heads;
use crate::options::StoreOptions;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

/// How the store is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Why nothing is taken until a restart, if so.
    pub stopped: Option<String>,
    /// Why heads cannot be sealed now, if so.
    pub failing: Option<String>,
    /// Bytes of journal records.
    pub journal_bytes: u64,
    /// Bytes of rows in memory that are not sealed.
    pub heads_bytes: u64,
    /// Bytes in use in `data.db` and of journal records, as of the keeper's last look, at most some seconds ago. Free space in
    /// the files and their logs are not counted.
    pub disk_bytes: u64,
    /// What was found damaged, in words.
    pub damaged: Vec<String>,
    /// Damaged chunks that were met and not set aside yet.
    pub(crate) damaged_chunks: Vec<i64>,
    /// Chunks written since the start.
    pub chunks: u64,
    /// Samples in them.
    pub sealed: u64,
}

/// Most damaged chunks that are listed.
pub(crate) const DAMAGED_LISTED: usize = 100;

pub(crate) struct Shared {
    pub options: StoreOptions,
    heads: RwLock<Heads>,
    /// Journal records up to this one are in `data.db`.
    pub sealed_through: AtomicU64,
    /// Records after this one are held for a reader; `u64::MAX` = none.
    pub held_after: AtomicU64,
    pub journal_bytes: AtomicU64,
    /// Of these, bytes of records of which something is not sealed, as of the last commit.
    pub unsealed_bytes: AtomicU64,
    pub status: Mutex<Status>,
    wake: Mutex<bool>,
    wakes: Condvar,
    room: Mutex<()>,
    rooms: Condvar,
    // Bytes written to the journal since its last checkpoint.
    unchecked: Mutex<u64>,
    checks: Condvar,
}

/// Wakes the keeper from its pause, from any thread.
#[derive(Clone)]
pub struct Waker(pub(crate) std::sync::Arc<Shared>);

impl Waker {
    /// There is something to do.
    pub fn wake(&self) {
        self.0.wake();
    }
}

impl Shared {
    pub fn new(options: StoreOptions, heads: Heads, sealed_through: u64, journal_bytes: u64) -> Self {
        Self {
            options,
            heads: RwLock::new(heads),
            sealed_through: sealed_through.into(),
            held_after: u64::MAX.into(),
            journal_bytes: journal_bytes.into(),
            unsealed_bytes: 0.into(),
            status: Mutex::default(),
            wake: Mutex::default(),
            wakes: Condvar::new(),
            room: Mutex::default(),
            rooms: Condvar::new(),
            unchecked: Mutex::default(),
            checks: Condvar::new(),
        }
    }

    /// The journal has grown.
    pub fn journal_grew(&self, bytes: u64, enough: u64) {
        let mut unchecked = self.unchecked.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *unchecked += bytes;
        if *unchecked >= enough {
            self.checks.notify_one();
        }
    }

    /// Waits until the journal has grown by so much, at most so long; if it has, answers by how much, and counts from 0 again.
    pub fn wait_for_growth(&self, enough: u64, longest: Duration) -> Option<u64> {
        let unchecked = self.unchecked.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let waited = self.checks.wait_timeout_while(unchecked, longest, |unchecked| *unchecked < enough);
        let mut unchecked = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        (*unchecked >= enough).then(|| std::mem::take(&mut *unchecked))
    }

    // A thread that panicked while it held a lock left heads that are whole: each change is a few appends. Going on is
    // better than a store that answers nothing any more.
    pub fn read(&self) -> RwLockReadGuard<'_, Heads> {
        self.heads.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub fn write(&self) -> RwLockWriteGuard<'_, Heads> {
        self.heads.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A damaged chunk is logged once and passed over; the keeper sets it aside. While a hundred wait for that, more are only
    /// passed over.
    pub fn report_damaged(&self, chunk: &ChunkRow, problem: &str) {
        let mut status = self.status();
        if !status.damaged_chunks.contains(&chunk.chunk) && status.damaged_chunks.len() < DAMAGED_LISTED {
            tracing::error!(
                chunk = chunk.chunk,
                table = chunk.table.0,
                from_us = chunk.from_us,
                to_us = chunk.to_us,
                rows = chunk.rows,
                problem,
                "a chunk is damaged; its samples cannot be read"
            );
            status.damaged_chunks.push(chunk.chunk);
            drop(status);
            self.wake();
        }
    }

    pub fn wake(&self) {
        *self.wake.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = true;
        self.wakes.notify_one();
    }

    /// Waits until someone wakes the keeper, at most so long.
    pub fn wait_for_work(&self, longest: Duration) {
        let woken = self.wake.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let waited = self.wakes.wait_timeout_while(woken, longest, |woken| !*woken);
        *waited.unwrap_or_else(std::sync::PoisonError::into_inner).0 = false;
    }

    /// Memory was freed.
    pub fn has_room(&self) {
        let _held = self.room.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.rooms.notify_all();
    }

    /// Waits until memory may have been freed, at most so long.
    pub fn wait_for_room(&self, longest: Duration) {
        let held = self.room.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let _ = self.rooms.wait_timeout(held, longest);
    }

    pub fn sealed_through(&self) -> u64 {
        self.sealed_through.load(Ordering::Acquire)
    }
}
