//! A file layer for SQLite that loses, at a crash, what was not synced.
//!
//! It passes everything through to the system's layer and keeps, per file, a log of the writes since the file's last sync
//! with the bytes they covered. [`Disk::crash`] stops all further access, takes every unsynced write back and then puts a
//! random part of them in again, whole or torn at a sector: what a disk may hold after the power fails.
#![allow(unsafe_code)] // SQLite's file layer is a C interface
#![allow(clippy::unwrap_used, dead_code)]

use rusqlite::ffi;
use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard};

const SECTOR: usize = 512;

struct Change {
    offset: u64,
    // What was there before; shorter than `new` if the file ended there.
    old: Vec<u8>,
    new: Vec<u8>,
    old_size: u64,
    // For a truncation: the new size; `old` then holds what was cut off.
    truncated_to: Option<u64>,
}

#[derive(Default)]
struct State {
    files: HashMap<PathBuf, Vec<Change>>,
    operations: u64,
    crash_at: Option<u64>,
    crashed: bool,
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

    /// Crashes by itself when so many writes and syncs have been made from now on.
    pub fn crash_after(&self, operations: u64) {
        let mut state = lock(&self.state);
        state.crash_at = Some(state.operations + operations);
    }

    /// Crashes now (if that has not happened yet), and leaves the files as the disk holds them. `random` answers a number
    /// below its argument.
    pub fn crash(&self, random: &mut dyn FnMut(u64) -> u64) {
        let mut state = lock(&self.state);
        state.crashed = true;
        for (path, changes) in std::mem::take(&mut state.files) {
            if changes.is_empty() {
                continue;
            }
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).unwrap();
            for change in changes.iter().rev() {
                file.write_all_at(&change.old, change.offset).unwrap();
                file.set_len(change.old_size).unwrap();
            }
            // Half of the crashes lose everything unsynced, the others a random part.
            if random(2) == 0 {
                continue;
            }
            for change in changes.iter().filter(|change| change.truncated_to.is_none()) {
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
    }

    /// The machine starts again with what the disk holds.
    pub fn restart(&self) {
        let mut state = lock(&self.state);
        assert!(state.files.values().all(Vec::is_empty), "restart without crash");
        (state.crashed, state.crash_at) = (false, None);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

struct Context {
    base: *mut ffi::sqlite3_vfs,
    state: Arc<Mutex<State>>,
}

/// One open file: SQLite's part first, then ours, then the base layer's own file behind it.
#[repr(C)]
struct Shim {
    head: ffi::sqlite3_file,
    context: *const Context,
    path: *mut PathBuf,
}

unsafe fn context<'a>(vfs: *mut ffi::sqlite3_vfs) -> &'a Context {
    // SAFETY: `register` put it there and leaked it.
    unsafe { &*(*vfs).pAppData.cast::<Context>() }
}

unsafe fn shim<'a>(file: *mut ffi::sqlite3_file) -> &'a mut Shim {
    // SAFETY: SQLite hands back the files that `open` filled.
    unsafe { &mut *file.cast::<Shim>() }
}

unsafe fn base(file: *mut ffi::sqlite3_file) -> *mut ffi::sqlite3_file {
    // SAFETY: `szOsFile` reserves room for the base's file behind the shim.
    unsafe { file.cast::<Shim>().add(1).cast() }
}

/// Calls a method of the base's file.
macro_rules! forward {
    ($file:expr, $method:ident $(, $argument:expr)*) => {{
        let below = base($file);
        ((*(*below).pMethods).$method.unwrap())(below $(, $argument)*)
    }};
}

unsafe extern "C" fn open(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: SQLite gives memory of `szOsFile` bytes and a valid or null name.
    unsafe {
        let context = context(vfs);
        (*file).pMethods = ptr::null();
        if lock(&context.state).crashed {
            return ffi::SQLITE_IOERR;
        }
        let result = ((*context.base).xOpen.unwrap())(context.base, name, base(file), flags, out_flags);
        if result == ffi::SQLITE_OK {
            let path = if name.is_null() { String::new() } else { CStr::from_ptr(name).to_string_lossy().into() };
            let shim = shim(file);
            shim.context = context;
            shim.path = Box::into_raw(Box::new(PathBuf::from(path)));
            shim.head.pMethods = &METHODS;
        }
        result
    }
}

unsafe extern "C" fn delete(vfs: *mut ffi::sqlite3_vfs, name: *const c_char, sync: c_int) -> c_int {
    // SAFETY: as SQLite calls it.
    unsafe {
        let context = context(vfs);
        let mut state = lock(&context.state);
        if state.crashed {
            return ffi::SQLITE_IOERR_DELETE;
        }
        // Taken as durable: the files deleted here (rollback journals of the first start) are not the subject.
        state.files.remove(&PathBuf::from(CStr::from_ptr(name).to_string_lossy().into_owned()));
        drop(state);
        ((*context.base).xDelete.unwrap())(context.base, name, sync)
    }
}

unsafe extern "C" fn access(vfs: *mut ffi::sqlite3_vfs, name: *const c_char, flags: c_int, out: *mut c_int) -> c_int {
    // SAFETY: as SQLite calls it.
    unsafe {
        let context = context(vfs);
        ((*context.base).xAccess.unwrap())(context.base, name, flags, out)
    }
}

unsafe extern "C" fn full_pathname(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    bytes: c_int,
    out: *mut c_char,
) -> c_int {
    // SAFETY: as SQLite calls it.
    unsafe {
        let context = context(vfs);
        ((*context.base).xFullPathname.unwrap())(context.base, name, bytes, out)
    }
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock_file),
    xUnlock: Some(unlock_file),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

/// Counts an operation; true if the disk is gone.
fn gone(state: &mut State) -> bool {
    state.operations += 1;
    if state.crash_at.is_some_and(|at| state.operations >= at) {
        state.crashed = true;
    }
    state.crashed
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite closes a file once.
    unsafe {
        drop(Box::from_raw(shim(file).path));
        forward!(file, xClose)
    }
}

unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    out: *mut c_void,
    bytes: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: as SQLite calls it.
    unsafe {
        if lock(&(*shim(file).context).state).crashed {
            return ffi::SQLITE_IOERR_READ;
        }
        forward!(file, xRead, out, bytes, offset)
    }
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    data: *const c_void,
    bytes: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: `data` holds `bytes` bytes; the state's lock is held, so no other connection writes in between.
    unsafe {
        let shim = shim(file);
        let mut state = lock(&(*shim.context).state);
        if gone(&mut state) {
            return ffi::SQLITE_IOERR_WRITE;
        }
        let mut size = 0;
        forward!(file, xFileSize, &raw mut size);
        let new = std::slice::from_raw_parts(data.cast::<u8>(), bytes as usize).to_vec();
        let mut old = vec![0; usize::try_from((size - offset).clamp(0, bytes.into())).unwrap()];
        if !old.is_empty() {
            forward!(file, xRead, old.as_mut_ptr().cast(), old.len() as c_int, offset);
        }
        let change =
            Change { offset: offset.unsigned_abs(), old, new, old_size: size.unsigned_abs(), truncated_to: None };
        state.files.entry((*shim.path).clone()).or_default().push(change);
        forward!(file, xWrite, data, bytes, offset)
    }
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, to: ffi::sqlite3_int64) -> c_int {
    // SAFETY: as above.
    unsafe {
        let shim = shim(file);
        let mut state = lock(&(*shim.context).state);
        if gone(&mut state) {
            return ffi::SQLITE_IOERR_TRUNCATE;
        }
        let mut size = 0;
        forward!(file, xFileSize, &raw mut size);
        let mut old = vec![0; usize::try_from((size - to).max(0)).unwrap()];
        if !old.is_empty() {
            forward!(file, xRead, old.as_mut_ptr().cast(), old.len() as c_int, to);
        }
        let to_size = Some(to.unsigned_abs());
        let change = Change {
            offset: to.unsigned_abs(),
            old,
            new: Vec::new(),
            old_size: size.unsigned_abs(),
            truncated_to: to_size,
        };
        state.files.entry((*shim.path).clone()).or_default().push(change);
        forward!(file, xTruncate, to)
    }
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _flags: c_int) -> c_int {
    // SAFETY: as above.
    unsafe {
        let shim = shim(file);
        let mut state = lock(&(*shim.context).state);
        if gone(&mut state) {
            return ffi::SQLITE_IOERR_FSYNC;
        }
        // This is the sync: what was written is durable from here on. The real one would only cost time.
        state.files.remove(&*shim.path);
        ffi::SQLITE_OK
    }
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, out: *mut ffi::sqlite3_int64) -> c_int {
    // SAFETY: as SQLite calls it.
    unsafe { forward!(file, xFileSize, out) }
}

unsafe extern "C" fn lock_file(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: as SQLite calls it.
    unsafe { forward!(file, xLock, level) }
}

unsafe extern "C" fn unlock_file(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: as SQLite calls it.
    unsafe { forward!(file, xUnlock, level) }
}

unsafe extern "C" fn check_reserved_lock(file: *mut ffi::sqlite3_file, out: *mut c_int) -> c_int {
    // SAFETY: as SQLite calls it.
    unsafe { forward!(file, xCheckReservedLock, out) }
}

unsafe extern "C" fn file_control(file: *mut ffi::sqlite3_file, operation: c_int, argument: *mut c_void) -> c_int {
    // SAFETY: as SQLite calls it.
    unsafe { forward!(file, xFileControl, operation, argument) }
}

unsafe extern "C" fn sector_size(file: *mut ffi::sqlite3_file) -> c_int {
    let _ = file;
    SECTOR as c_int
}

unsafe extern "C" fn device_characteristics(file: *mut ffi::sqlite3_file) -> c_int {
    // Nothing is promised: no atomic writes, no powersafe overwrite.
    let _ = file;
    0
}

unsafe extern "C" fn shm_map(
    file: *mut ffi::sqlite3_file,
    region: c_int,
    size: c_int,
    extend: c_int,
    out: *mut *mut c_void,
) -> c_int {
    // SAFETY: as SQLite calls it.
    unsafe { forward!(file, xShmMap, region, size, extend, out) }
}

unsafe extern "C" fn shm_lock(file: *mut ffi::sqlite3_file, offset: c_int, n: c_int, flags: c_int) -> c_int {
    // SAFETY: as SQLite calls it.
    unsafe { forward!(file, xShmLock, offset, n, flags) }
}

unsafe extern "C" fn shm_barrier(file: *mut ffi::sqlite3_file) {
    // SAFETY: as SQLite calls it.
    unsafe { forward!(file, xShmBarrier) }
}

unsafe extern "C" fn shm_unmap(file: *mut ffi::sqlite3_file, delete: c_int) -> c_int {
    // SAFETY: as SQLite calls it.
    unsafe { forward!(file, xShmUnmap, delete) }
}
