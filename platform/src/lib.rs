//! The Pulsewire server. `ARCHITECTURE.md` at the root of the repository maps it.

pub mod bus;
pub mod config;
pub mod hub;
pub mod ingest;
pub mod live;
pub mod ports;
pub mod storage;
pub mod telemetry;
