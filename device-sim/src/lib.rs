//! Devices for Pulsewire, as a library: simulated fleets, recorded data, and this machine itself.
//!
//! Everything talks to a server through its public doors only: the device protocol of `proto-spec/SPEC.md` and the HTTP
//! API. The binary `pulsewire-sim` is a thin layer over this crate, and `pulsewire demo` runs [`fleet`] and [`host`]
//! inside its own process.
//!
//! * [`fleet`], [`host`], [`replay`]: what there is to run
//! * [`client`]: one device's connection, with back-off, resend and window
//! * [`provision`]: devices and their secrets, through the HTTP API and a side file
//! * [`behaviour`]: what simulated devices measure, as pure functions of seed, device and time

#![warn(missing_docs)]

pub mod api;
pub mod behaviour;
pub mod bench;
pub mod client;
mod error;
mod files;
pub mod fleet;
pub mod host;
pub mod provision;
pub mod replay;
mod secrets;
mod shutdown;
mod summary;

pub use api::ApiOptions;
pub use client::{DeviceClient, Target};
pub use error::SimError;
pub use provision::Provisioner;
pub use secrets::SecretStore;
pub use shutdown::{Shutdown, ShutdownTrigger};
pub use summary::{Failed, Summary};
