//! The Pulsewire wire protocol, version 1. `SPEC.md` beside this crate is the source; each type cites its section.
//!
//! Nothing here does IO, reads a clock or draws random numbers. Bytes and the present time go in, frames and events come
//! out, so the same code runs in the server, in devices, in tests under virtual time and under the fuzzer. Nothing
//! panics on bytes from outside, and nothing allocates more than the bytes that arrived account for, up to a constant.
//!
//! * [`codec`]: header, [`FrameReader`], [`Message`]
//! * [`frame`]: one module per message
//! * [`auth`]: keys, transcript and proofs of the login
//! * [`session`]: the two sides of a device's session as state machines

#![no_std]
#![warn(missing_docs)]

extern crate alloc;

pub mod auth;
pub mod close_code;
pub mod codec;
pub mod error;
pub mod frame;
pub mod limits;
pub mod names;
pub mod session;
mod varint;

pub use close_code::CloseCode;
pub use codec::{FrameReader, Header, HeaderError, Message, MessageType, RawFrame, encode_frame};
pub use error::DecodeError;
pub use frame::{Metric, MetricSet, MetricType, Report, ReportBuilder, Value};
