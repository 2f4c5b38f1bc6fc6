//! Brings the journal's log back into its file, beside the writer, so that no acknowledgement waits for it.

use crate::error::StoreError;
use crate::shared::Shared;
use crate::writer::CHECKPOINT_BYTES;
use rusqlite::Connection;
use std::sync::Arc;
use std::time::Duration;

/// Checkpoints the journal. For one thread. Without one the writer does it itself, some milliseconds at a time.
pub struct Checkpointer {
    connection: Connection,
    shared: Arc<Shared>,
    // The last attempt failed, and that was told.
    failing: bool,
}

impl Checkpointer {
    pub(crate) fn new(connection: Connection, shared: Arc<Shared>) -> Self {
        Self { connection, shared, failing: false }
    }

    /// Waits until there is enough to do, at most so long, and does it.
    ///
    /// # Errors
    /// [`StoreError::Retry`] if the log could not be brought back now: it stays where it is, and the next call tries again.
    /// `Stopped` after a failed read, write or sync: what the files hold is unknown, so the writer takes nothing more until
    /// the store is opened anew. Both were logged.
    pub fn step(&mut self, longest: Duration) -> Result<(), StoreError> {
        if let Some(reason) = self.shared.status().stopped.clone() {
            return Err(StoreError::Stopped(anyhow::anyhow!("{reason}")));
        }
        let Some(grown) = self.shared.wait_for_growth(CHECKPOINT_BYTES, longest) else { return Ok(()) };
        let result = self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        let Err(error) = result.map_err(StoreError::from) else {
            self.failing = false;
            return Ok(());
        };
        self.shared.journal_grew(grown, CHECKPOINT_BYTES);
        match &error {
            StoreError::Stopped(source) => {
                let reason = format!("{source:#}");
                tracing::error!(reason, "the journal's log cannot be written back: nothing more is acknowledged");
                self.shared.status().stopped = Some(reason);
            }
            StoreError::Retry(source) if !self.failing => {
                self.failing = true;
                tracing::warn!(reason = format!("{source:#}"), "the journal's log stays for now; it is tried again");
            }
            _ => {}
        }
        Err(error)
    }
}
