use pulsewire_core::ids::Position;
use rusqlite::{ErrorCode, ffi};

/// Why something was not stored, one variant per reaction.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Someone else owns the lane now: stop.
    #[error("the journal lane has a newer owner")]
    StaleFence,
    /// Nothing was stored; the same may be tried again later.
    #[error("the store could not take it; it may be tried again")]
    Retry(#[source] anyhow::Error),
    /// A write or a sync failed, so what the disk holds is unknown until the files are opened anew.
    #[error("the store has stopped after a failed write or sync; restart the server once the disk is well")]
    Stopped(#[source] anyhow::Error),
    /// A record does not match its checksum, or cannot be decoded.
    #[error("the journal record at position {position} is damaged: {problem}")]
    Corrupt {
        /// Which record.
        position: Position,
        /// What is wrong with it.
        problem: String,
    },
}

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// It asks for more than one answer may hold, or took too long.
    #[error("{0}")]
    TooMuch(String),
    /// The store could not be read.
    #[error("reading the store")]
    Failed(#[source] anyhow::Error),
}

impl From<rusqlite::Error> for QueryError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// Sorts an error by what must happen next. A failed read, write or sync leaves unknown what the disk holds: after that no
/// commit may be reported as good (the kernel may have dropped the dirty pages and report the next sync as successful).
impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        // The index of the WAL could not grow: the disk is full. What is synced is as before.
        if matches!(&error, rusqlite::Error::SqliteFailure(e, _) if e.extended_code == ffi::SQLITE_IOERR_SHMSIZE) {
            return Self::Retry(error.into());
        }
        match error.sqlite_error_code() {
            Some(ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Stopped(error.into())
            }
            _ => Self::Retry(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(code: i32, stops: bool) {
        let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
        assert_eq!(matches!(StoreError::from(error), StoreError::Stopped(_)), stops, "code {code}");
    }

    #[test]
    fn a_failed_sync_stops_the_store_and_a_full_disk_does_not() {
        check(ffi::SQLITE_IOERR_FSYNC, true);
        check(ffi::SQLITE_IOERR_WRITE, true);
        check(ffi::SQLITE_CORRUPT, true);
        check(ffi::SQLITE_FULL, false);
        check(ffi::SQLITE_IOERR_SHMSIZE, false);
        check(ffi::SQLITE_BUSY, false);
        check(ffi::SQLITE_READONLY, false);
    }
}
