//! Adapters of the [`Bus`](crate::ports::Bus) port.
pub mod in_process;
