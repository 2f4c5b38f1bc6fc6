//! The functions that SQLite calls.

use super::{Change, Operation, Part, SECTOR, State, Verdict, lock};
use rusqlite::ffi;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::PathBuf;
use std::ptr;
use std::sync::{Arc, Mutex};

pub(super) struct Context {
    pub base: *mut ffi::sqlite3_vfs,
    pub state: Arc<Mutex<State>>,
}

/// One open file: SQLite's part first, then ours, then the base layer's own file behind it.
#[repr(C)]
pub(super) struct Shim {
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

pub(super) unsafe extern "C" fn open(
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
        let (crashed, read_only) = {
            let state = lock(&context.state);
            (state.crashed, state.read_only)
        };
        if crashed {
            return ffi::SQLITE_IOERR;
        }
        let mut flags = flags;
        if read_only {
            flags &= !(ffi::SQLITE_OPEN_READWRITE | ffi::SQLITE_OPEN_CREATE);
            flags |= ffi::SQLITE_OPEN_READONLY;
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

pub(super) unsafe extern "C" fn delete(vfs: *mut ffi::sqlite3_vfs, name: *const c_char, sync: c_int) -> c_int {
    // SAFETY: as SQLite calls it.
    unsafe {
        let context = context(vfs);
        let mut state = lock(&context.state);
        if state.crashed || state.read_only {
            return ffi::SQLITE_IOERR_DELETE;
        }
        // Taken as durable: the files deleted here (rollback journals of the first start) are not the subject.
        state.files.remove(&PathBuf::from(CStr::from_ptr(name).to_string_lossy().into_owned()));
        drop(state);
        ((*context.base).xDelete.unwrap())(context.base, name, sync)
    }
}

pub(super) unsafe extern "C" fn access(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    // SAFETY: as SQLite calls it.
    unsafe {
        let context = context(vfs);
        ((*context.base).xAccess.unwrap())(context.base, name, flags, out)
    }
}

pub(super) unsafe extern "C" fn full_pathname(
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
        let path = &*shim.path;
        let mut state = lock(&(*shim.context).state);
        let (was_gone, verdict) = (state.crashed, state.verdict(path, Operation::Write));
        let mut size = 0;
        forward!(file, xFileSize, &raw mut size);
        let end = offset + ffi::sqlite3_int64::from(bytes);
        let (mut result, mut written) = (ffi::SQLITE_OK, bytes);
        match verdict {
            Verdict::Go | Verdict::Last => {}
            // The last write may have come through in part.
            Verdict::Fail if state.crashed && !was_gone => {
                result = ffi::SQLITE_IOERR_WRITE;
                written = if state.heads() { 0 } else { bytes / 2 };
            }
            Verdict::Fail => return ffi::SQLITE_IOERR_WRITE,
        }
        if let Some((parts, left)) = &mut state.space
            && parts.contains(&Part::of(path))
            && end > size
        {
            let growth = (end - size).unsigned_abs();
            if growth > *left {
                result = ffi::SQLITE_FULL;
                written = (i64::from(written) - i64::try_from(growth - *left).unwrap()).max(0) as c_int;
                *left = 0;
            } else {
                *left -= growth;
            }
        }
        if written == 0 {
            return result;
        }
        let new = std::slice::from_raw_parts(data.cast::<u8>(), written as usize).to_vec();
        let mut old = vec![0; usize::try_from((size - offset).clamp(0, written.into())).unwrap()];
        if !old.is_empty() {
            forward!(file, xRead, old.as_mut_ptr().cast(), old.len() as c_int, offset);
        }
        let (offset_bytes, old_size) = (offset.unsigned_abs(), size.unsigned_abs());
        state.note(path, Change { offset: offset_bytes, old, new, old_size, truncated: false, doomed: false });
        match forward!(file, xWrite, data, written, offset) {
            ffi::SQLITE_OK => result,
            failed => failed,
        }
    }
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, to: ffi::sqlite3_int64) -> c_int {
    // SAFETY: as above.
    unsafe {
        let shim = shim(file);
        let mut state = lock(&(*shim.context).state);
        if let Verdict::Fail = state.verdict(&*shim.path, Operation::Write) {
            return ffi::SQLITE_IOERR_TRUNCATE;
        }
        let mut size = 0;
        forward!(file, xFileSize, &raw mut size);
        let mut old = vec![0; usize::try_from((size - to).max(0)).unwrap()];
        if !old.is_empty() {
            forward!(file, xRead, old.as_mut_ptr().cast(), old.len() as c_int, to);
        }
        let (offset, old_size) = (to.unsigned_abs(), size.unsigned_abs());
        state.note(&*shim.path, Change { offset, old, new: Vec::new(), old_size, truncated: true, doomed: false });
        forward!(file, xTruncate, to)
    }
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _flags: c_int) -> c_int {
    // SAFETY: as above.
    unsafe {
        let shim = shim(file);
        let path = &*shim.path;
        let mut state = lock(&(*shim.context).state);
        if let Verdict::Fail = state.verdict(path, Operation::Sync) {
            return ffi::SQLITE_IOERR_FSYNC;
        }
        if state.failing_sync.as_mut().is_some_and(|(at, _)| at.passed(Part::of(path), Operation::Sync))
            && let Some((_, afterwards)) = state.failing_sync.take()
        {
            state.ill.insert(path.clone(), afterwards);
            // The kernel drops such pages, and the next sync knows nothing of them.
            state.files.entry(path.clone()).or_default().iter_mut().for_each(|change| change.doomed = true);
            return ffi::SQLITE_IOERR_FSYNC;
        }
        // This is the sync: what was written is durable from here on. The real one would only cost time.
        if let Some(changes) = state.files.remove(path) {
            let (doomed, durable): (Vec<Change>, Vec<Change>) = changes.into_iter().partition(|change| change.doomed);
            // What was written over since is durable; lengths only ever come from what is.
            let over = |a: &Change, b: &Change| {
                a.offset < b.offset + b.new.len() as u64 && b.offset < a.offset + a.new.len() as u64
            };
            let doomed = doomed.into_iter().filter(|change| !durable.iter().any(|d| over(change, d))).map(|change| {
                let mut old = change.old;
                old.resize(change.new.len(), 0);
                let mut size = 0;
                forward!(file, xFileSize, &raw mut size);
                Change { old, old_size: size.unsigned_abs(), ..change }
            });
            let doomed: Vec<Change> = doomed.collect();
            if !doomed.is_empty() {
                state.files.insert(path.clone(), doomed);
            }
        }
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
    unsafe {
        let shim = shim(file);
        let mut state = lock(&(*shim.context).state);
        let full =
            state.space.as_ref().is_some_and(|(parts, left)| *left == 0 && parts.contains(&Part::of(&*shim.path)));
        let known = state.regions.entry((*shim.path).clone()).or_insert(-1);
        if region > *known && extend != 0 {
            if full {
                return ffi::SQLITE_IOERR_SHMSIZE;
            }
            *known = region;
        }
        drop(state);
        forward!(file, xShmMap, region, size, extend, out)
    }
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
