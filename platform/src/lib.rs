//! The Pulsewire server. `ARCHITECTURE.md` at the root of the repository maps it.

pub mod alerting;
pub mod app;
pub mod bus;
pub mod channels;
pub mod cli;
pub mod commands;
pub mod config;
pub mod http;
pub mod hub;
pub mod ingest;
pub mod live;
pub mod outbox;
pub mod ports;
pub mod storage;
pub mod telemetry;
