//! Brings the journal's log back into its file, beside the writer, so that no acknowledgement waits for it.

use crate::shared::Shared;
use crate::writer::CHECKPOINT_BYTES;
use rusqlite::Connection;
use std::sync::Arc;
use std::time::Duration;

/// Checkpoints the journal. For one thread. Without one the writer does it itself, some milliseconds at a time.
pub struct Checkpointer {
    connection: Connection,
    shared: Arc<Shared>,
}

impl Checkpointer {
    pub(crate) fn new(connection: Connection, shared: Arc<Shared>) -> Self {
        Self { connection, shared }
    }

    /// Waits until there is enough to do, at most so long, and does it.
    ///
    /// # Errors
    /// If the log could not be brought back now; it stays where it is, and the next call tries again. What a failed sync of
    /// the file means for what is acknowledged is for the writer to find out, which has its own.
    pub fn step(&mut self, longest: Duration) -> anyhow::Result<()> {
        if self.shared.wait_for_growth(CHECKPOINT_BYTES, longest) {
            self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
        }
        Ok(())
    }
}
