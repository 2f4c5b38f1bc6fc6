//! One device's connection: connects, logs in, sends what its [`Source`] has, passes commands on to it, and comes back
//! after every failure.

mod backoff;
mod commands;
mod run;
mod source;
mod spool;
mod stats;
mod target;
mod transport;

pub use commands::Answer;
pub use run::{ClientOptions, DeviceClient};
pub use source::{Next, Source};
pub use spool::Spool;
pub use stats::ClientStats;
pub use target::Target;
