//! The telemetry engine: an acknowledgement means synced, each sample is stored once, a sample costs about a byte.
//!
//! ```text
//! Batch ── Writer ── journal.db (one record, one sync) ── ack
//!              └──── Heads (rows in memory, by device and metric set)
//!                      └── Keeper ── data.db: chunks, then rollups; merges, retention
//! Reader ── Heads + data.db ── samples, buckets
//! ```
//!
//! A record stays in the journal until every device in it is *sealed* through it: its rows are in chunks, and its streams
//! and account are in `data.db`, all written in one transaction that also says how far it goes. After a crash the journal
//! is read again, and each device takes up only what comes after its own seal. So each sample is in exactly one place.
//!
//! Everything is synchronous and is called by threads that its user owns: [`Writer`] and [`Keeper`] by one thread each,
//! [`Reader`]s by any number.

mod backup;
mod check;
mod checkpoint;
mod data;
mod error;
mod expire;
mod file;
mod heads;
mod journal;
mod keeper;
mod merge;
mod options;
mod query;
mod record;
mod resolve;
mod rolled;
mod rollup;
mod seal;
mod shared;
mod store;
mod tidy;
mod writer;

pub use backup::{adopt, copy};
pub use check::{Finding, Report, check};
pub use checkpoint::Checkpointer;
pub use error::{QueryError, StoreError};
pub use keeper::{Keeper, Step};
pub use options::{Keep, Policy, StoreOptions, Synchronous};
pub use pulsewire_core::batch::{OpenedLane, OpenedStream, Receipt, StreamPosition};
pub use query::{Bucket, BucketQuery, RangeQuery, Reader, Snapshot, SnapshotQuery};
pub use shared::{Status, Waker};
pub use store::Store;
pub use writer::{Command, Outcome, StreamRequest, Writer};
