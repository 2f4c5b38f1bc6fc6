//! Adapters of the storage ports.
pub mod sqlite;
