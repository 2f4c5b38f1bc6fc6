//! Measurements against a running server. Open loop: what is sent when is decided beforehand, and time counts from the moment
//! at which something was to be sent, not from when it was.

mod children;
mod device;
pub mod fanout;
mod figures;
mod generator;
pub mod ingest;
mod noop;
mod peers;
pub mod push;
mod socket;
mod throughput;
mod viewers;

pub use figures::{Figures, Latency};
pub use peers::{Broadcast, Peer, PeerReport};
