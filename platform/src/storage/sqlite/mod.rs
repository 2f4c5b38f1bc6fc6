//! The embedded store: two SQLite files in the data folder, each with one writer thread.
//!
//! `journal.db` holds what devices sent, `meta.db` everything else. They are apart so that no long metadata transaction
//! delays an acknowledgement. Both run in WAL mode with `synchronous=FULL`: a commit returns after its WAL frames are
//! synced. Reads have connections and threads of their own and see committed data only.

mod alerts;
mod checks;
mod columns;
mod commands;
mod endpoints;
mod folder;
mod history;
mod journal;
mod journal_write;
mod lease;
mod messages;
mod meta;
mod notices;
mod outbox;
mod record;
mod schema;
mod scope;
mod secrets;
mod users;
mod worker;

pub use folder::{DataFolder, FolderError};
pub use journal::{JournalOptions, SqliteJournal, Synchronous};
pub use meta::SqliteMeta;
