//! Support for the tests in `tests/`: a server as a child process, a client of its HTTP API, a device and a viewer that
//! send what the test wants, right or wrong.
//!
//! Everything here blocks and has a deadline; what does not come in time fails the test and says what was awaited.
#![allow(clippy::unwrap_used)] // a helper that cannot go on fails its test

pub mod api;
pub mod device;
pub mod emulator;
pub mod floors;
pub mod programs;
pub mod recorded;
pub mod server;
pub mod sim;
pub mod viewer;
pub mod wait;
pub mod wire;

pub use api::{Answer, Api};
pub use device::{Device, METRICS, metrics, report};
pub use emulator::PushEmulator;
pub use server::{Server, ServerOptions};
pub use sim::Sim;
pub use viewer::{Viewer, everything};
pub use wait::until;
