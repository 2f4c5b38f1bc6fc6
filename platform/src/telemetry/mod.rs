//! Logs and metrics: where they go and what they are called.

pub mod names;
