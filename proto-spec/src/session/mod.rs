//! The two sides of a device's session as state machines. SPEC §4–§7.
//!
//! Frames and the present time go in; events come back from the call that caused them, and what is to be sent waits
//! in the machine:
//!
//! ```text
//! while let Some(frame) = reader.next_frame(&mut input)? {
//!     if let Some(event) = session.handle_frame(now, frame) { … }
//!     while let Some(output) = session.poll_output() { … }
//! }
//! let wake_at = session.next_deadline();   // then on_time(now)
//! ```
//!
//! `now` is the time since an origin of the caller's choice that never goes backwards. A caller takes all output after
//! each call, and stops reading while it cannot write: that bounds what a machine holds.

pub mod device;
mod output;
pub mod server;
mod server_event;
mod window;

pub use device::{DeviceConfig, DeviceEvent, DeviceLogin, DeviceSession, SendError};
pub use output::{Closed, ClosedBy, Output};
pub use server::{ServerConfig, ServerSession, Transport, WelcomeParams};
pub use server_event::{Candidate, Candidates, ReportEvent, ServerEvent};
