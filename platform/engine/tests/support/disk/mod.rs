//! A file layer for SQLite whose disk fails as disks do.
//!
//! It passes everything through to the system's layer and keeps, per file, a log of the writes since the file's last sync
//! with the bytes they covered. After [`Disk::power_off`] nothing can be accessed any more; [`Disk::settle`] then leaves
//! the files as the disk holds them: with all that was written (the process was killed), or without a random part of what
//! was not synced, writes torn at sectors (the power failed). Besides, it fails syncs, runs full and becomes read-only.
#![allow(unsafe_code)] // SQLite's file layer is a C interface
#![allow(clippy::unwrap_used, dead_code)]

mod vfs;

use rusqlite::ffi;
use std::collections::HashMap;
use std::ffi::{CString, c_int};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard};
use vfs::{Context, Shim, access, delete, full_pathname, open};

const SECTOR: usize = 512;

/// Which file an operation is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    Journal,
    JournalWal,
    Data,
    DataWal,
    Other,
}

impl Part {
    pub const ALL: [Self; 5] = [Self::Journal, Self::JournalWal, Self::Data, Self::DataWal, Self::Other];

    fn of(path: &Path) -> Self {
        match path.file_name().and_then(|name| name.to_str()).unwrap_or_default() {
            "journal.db" => Self::Journal,
            "journal.db-wal" => Self::JournalWal,
            "data.db" => Self::Data,
            "data.db-wal" => Self::DataWal,
            _ => Self::Other,
        }
    }
}

/// What is done to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    Write,
    Sync,
}

/// Where something goes wrong: at the `nth` (from 1) matching operation from now on.
#[derive(Debug, Clone)]
pub struct At {
    pub parts: Vec<Part>,
    /// None = both.
    pub operation: Option<Operation>,
    pub nth: u64,
    /// The operation itself is still done.
    pub after: bool,
}

impl At {
    pub fn nth(parts: &[Part], nth: u64) -> Self {
        Self { parts: parts.to_vec(), operation: None, nth, after: false }
    }

    pub fn only(self, operation: Operation) -> Self {
        Self { operation: Some(operation), ..self }
    }

    pub fn after(self) -> Self {
        Self { after: true, ..self }
    }

    fn passed(&mut self, part: Part, operation: Operation) -> bool {
        if !self.parts.contains(&part) || self.operation.is_some_and(|only| only != operation) {
            return false;
        }
        self.nth = self.nth.saturating_sub(1);
        self.nth == 0
    }
}

/// What a failed sync leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Afterwards {
    /// Later operations seem to work; what the failed sync was for is lost at a power failure all the same.
    Works,
    /// Every later write and sync of the file fails.
    Fails,
    /// Some do, some do not.
    Varies,
}

struct Change {
    offset: u64,
    // What was there before; shorter than `new` if the file ended there.
    old: Vec<u8>,
    new: Vec<u8>,
    old_size: u64,
    truncated: bool,
    // A sync of it failed: a later one does not make it durable.
    doomed: bool,
}

#[derive(Default)]
struct State {
    files: HashMap<PathBuf, Vec<Change>>,
    counts: HashMap<(Part, Operation), u64>,
    crash: Option<At>,
    crashed: bool,
    // Which one, and what then.
    failing_sync: Option<(At, Afterwards)>,
    ill: HashMap<PathBuf, Afterwards>,
    coin: u64,
    // Bytes by which these files may still grow.
    space: Option<(Vec<Part>, u64)>,
    regions: HashMap<PathBuf, c_int>,
    read_only: bool,
}

enum Verdict {
    Go,
    // Do it, then the machine is gone.
    Last,
    // Nothing of it, or a part of it.
    Fail,
}

impl State {
    fn heads(&mut self) -> bool {
        self.coin = self.coin.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.coin >> 40 & 1 == 0
    }

    fn is_ill(&mut self, path: &Path) -> bool {
        match self.ill.get(path) {
            None | Some(Afterwards::Works) => false,
            Some(Afterwards::Fails) => true,
            Some(Afterwards::Varies) => self.heads(),
        }
    }

    /// Counts an operation and says what becomes of it.
    fn verdict(&mut self, path: &Path, operation: Operation) -> Verdict {
        if self.crashed {
            return Verdict::Fail;
        }
        let part = Part::of(path);
        *self.counts.entry((part, operation)).or_default() += 1;
        if self.crash.as_mut().is_some_and(|at| at.passed(part, operation)) {
            self.crashed = true;
            let after = self.crash.as_ref().is_some_and(|at| at.after);
            return if after { Verdict::Last } else { Verdict::Fail };
        }
        if self.read_only || self.is_ill(path) { Verdict::Fail } else { Verdict::Go }
    }

    fn note(&mut self, path: &Path, change: Change) {
        self.files.entry(path.to_owned()).or_default().push(change);
    }
}

/// A disk on which files opened with [`Disk::vfs_name`] live.
#[derive(Clone)]
pub struct Disk {
    state: Arc<Mutex<State>>,
    name: Arc<CString>,
}

impl Disk {
    /// Registers a file layer of this name. Names must differ within the process; it stays registered to its end.
    pub fn register(name: &str) -> Self {
        let disk = Self { state: Arc::default(), name: Arc::new(CString::new(name).unwrap()) };
        // SAFETY: the base layer lives as long as the process; the new one, its name and its state are leaked and so do too.
        unsafe {
            let base = ffi::sqlite3_vfs_find(ptr::null());
            let context = Box::into_raw(Box::new(Context { base, state: disk.state.clone() }));
            let name = CString::into_raw((*disk.name).clone());
            let mut vfs = *base;
            vfs.szOsFile = (size_of::<Shim>() as c_int) + (*base).szOsFile;
            vfs.zName = name;
            vfs.pAppData = context.cast();
            vfs.pNext = ptr::null_mut();
            vfs.xOpen = Some(open);
            vfs.xDelete = Some(delete);
            vfs.xAccess = Some(access);
            vfs.xFullPathname = Some(full_pathname);
            assert_eq!(ffi::sqlite3_vfs_register(Box::into_raw(Box::new(vfs)), 0), ffi::SQLITE_OK);
        }
        disk
    }

    pub fn vfs_name(&self) -> String {
        self.name.to_str().unwrap().to_owned()
    }

    /// How often that was done so far.
    pub fn count(&self, part: Part, operation: Operation) -> u64 {
        lock(&self.state).counts.get(&(part, operation)).copied().unwrap_or(0)
    }

    /// The machine will be gone there.
    pub fn crash_at(&self, at: At) {
        lock(&self.state).crash = Some(at);
    }

    /// True once it is gone.
    pub fn crashed(&self) -> bool {
        lock(&self.state).crashed
    }

    /// It is gone now, if it was not before.
    pub fn power_off(&self) {
        lock(&self.state).crashed = true;
    }

    /// A sync fails there.
    pub fn fail_sync_at(&self, at: At, afterwards: Afterwards) {
        lock(&self.state).failing_sync = Some((at, afterwards));
    }

    /// These files may grow by so many bytes and no more; None = there is space again.
    pub fn space(&self, space: Option<(&[Part], u64)>) {
        lock(&self.state).space = space.map(|(parts, bytes)| (parts.to_vec(), bytes));
    }

    /// Nothing can be written, and nothing be opened for writing.
    pub fn read_only(&self, read_only: bool) {
        lock(&self.state).read_only = read_only;
    }

    /// Leaves the files as the disk holds them after [`power_off`](Self::power_off), and lets the machine start again.
    /// `random` answers a number below its argument; None = only the process was killed, so all that was written is there.
    /// Every connection must be closed.
    pub fn settle(&self, random: Option<&mut dyn FnMut(u64) -> u64>) {
        let mut state = lock(&self.state);
        assert!(state.crashed, "power off first");
        let files = std::mem::take(&mut state.files);
        if let Some(random) = random {
            for (path, changes) in files {
                lose(&path, &changes, random);
            }
        }
        *state = State { counts: std::mem::take(&mut state.counts), ..State::default() };
    }
}

/// Takes unsynced writes back, then puts a random part of them in again.
fn lose(path: &Path, changes: &[Change], random: &mut dyn FnMut(u64) -> u64) {
    if changes.is_empty() {
        return;
    }
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).unwrap();
    for change in changes.iter().rev() {
        file.write_all_at(&change.old, change.offset).unwrap();
        file.set_len(change.old_size).unwrap();
    }
    // Half of the failures lose everything unsynced, the others a random part.
    if random(2) == 0 {
        return;
    }
    for change in changes.iter().filter(|change| !change.truncated) {
        match random(3) {
            0 => {}
            1 => file.write_all_at(&change.new, change.offset).unwrap(),
            _ => {
                let sectors = change.new.len().div_ceil(SECTOR) as u64;
                let kept = (random(sectors + 1) as usize * SECTOR).min(change.new.len());
                file.write_all_at(&change.new[..kept], change.offset).unwrap();
            }
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
