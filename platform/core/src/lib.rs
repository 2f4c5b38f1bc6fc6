//! Pulsewire's decisions, without any IO.
//!
//! Everything here is a value or a pure function: `now` is an argument, nothing is async, nothing reads a clock, a random
//! source, the environment or a socket. The server, its tests and later its backtests run the same code.

pub mod accounting;
pub mod aggregate;
pub mod alert;
pub mod batch;
pub mod block;
pub mod catalogue;
pub mod command;
pub mod device;
pub mod directory;
pub mod expr;
pub mod ids;
pub mod notice;
pub mod notify;
pub mod presence;
pub mod push;
pub mod query;
pub mod retention;
pub mod role;
pub mod sample;
pub mod schedule;
pub mod scope;
pub mod selector;
pub mod sequence;
pub mod severity;
pub mod span;
pub mod ulid;
pub mod value;
