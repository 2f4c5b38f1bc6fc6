//! Adapters of the storage ports: what devices sent is in the telemetry engine, everything else in `meta.db`.

pub mod sqlite;
pub mod telemetry;
mod worker;
