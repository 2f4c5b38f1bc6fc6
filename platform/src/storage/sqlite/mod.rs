//! `meta.db`: everything but telemetry.
//!
//! It has a writer thread and a file of its own, so that no long transaction of it delays an acknowledgement. WAL mode with
//! `synchronous=FULL`: a commit returns after its WAL frames are synced. Reads have a connection and a thread of their own
//! and see committed data only.

mod alert_rows;
mod alerts;
mod announcements;
mod cared_for;
mod columns;
mod commands;
mod confirmation;
mod digest;
mod endpoints;
mod folder;
mod judge;
mod lease;
mod messages;
mod meta;
mod needed;
mod notices;
mod operator;
mod outbox;
mod preferences;
mod receipts;
mod rules;
mod schema;
mod schema_3;
mod schema_4;
mod schema_5;
mod secrets;
mod silences;
mod states;
mod test_message;
mod tokens;
mod told;
mod users;
mod views;

pub use folder::{DataFolder, FolderError};
pub use meta::SqliteMeta;
pub use schema::{check, copy, device_ids};
