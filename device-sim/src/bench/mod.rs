//! Measurements against a running server. Open loop: what is sent when is decided beforehand, and time counts from the moment
//! at which something was to be sent, not from when it was.

mod children;
mod figures;
pub mod push;

pub use figures::Latency;
