//! What an SQLite error means for an append.

use crate::ports::JournalError;
use rusqlite::ErrorCode;

/// Sorts an error by what must happen next. A failed read, write or sync of the file leaves unknown what the disk holds:
/// after that no commit may be reported as good (the kernel may have dropped the dirty pages and report the next sync as
/// successful), so everything of that kind stops the journal.
pub fn journal_error(error: rusqlite::Error) -> JournalError {
    match error.sqlite_error_code() {
        Some(ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            JournalError::Stopped(error.into())
        }
        _ => JournalError::Retry(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ffi;

    fn check(code: i32, stops: bool) {
        let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
        assert_eq!(matches!(journal_error(error), JournalError::Stopped(_)), stops, "code {code}");
    }

    #[test]
    fn a_failed_sync_stops_the_journal_and_a_full_disk_does_not() {
        check(ffi::SQLITE_IOERR_FSYNC, true);
        check(ffi::SQLITE_IOERR_WRITE, true);
        check(ffi::SQLITE_CORRUPT, true);
        check(ffi::SQLITE_FULL, false);
        check(ffi::SQLITE_BUSY, false);
        check(ffi::SQLITE_READONLY, false);
    }
}
