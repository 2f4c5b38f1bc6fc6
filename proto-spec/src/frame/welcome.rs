use alloc::vec::Vec;

use wincode::{SchemaRead, SchemaWrite};

use super::layout::{ensure, payload};
use crate::{DecodeError, limits};

payload! {
    /// The login is accepted. SPEC §4.4. Nothing in it may be used before `server_proof` is verified.
    Welcome = "WELCOME" {
        /// HMAC(ServerKey, T ‖ PROOF frame ‖ rest); zero after a token login.
        server_proof: [u8; 32],
        /// Grows with every session of this device.
        session_epoch: u64,
        /// The server's clock, µs since 1970.
        server_time_us: i64,
        /// A device that has sent nothing for this long sends PING. §4.5.
        heartbeat_interval_ms: u32,
        /// Largest payload that the server takes.
        frame_bytes_max: u32,
        /// Most reports in flight.
        window_frames: u32,
        /// Most report payload bytes in flight.
        window_bytes: u32,
        /// The streams of HELLO that the server knows.
        streams: Vec<StreamPosition>,
        /// How the server's twin relates to the device's.
        twin: TwinStatus,
    }
}

/// How far a stream is stored. SPEC §4.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub struct StreamPosition {
    /// Stream id.
    pub stream: u32,
    /// Highest durable sequence; 0 = none yet.
    pub sequence: u64,
}

/// Twin status. SPEC §4.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub enum TwinStatus {
    /// The server holds no twin.
    None,
    /// The device is up to date.
    Same,
    /// A delta follows.
    Delta,
    /// The whole document follows.
    Full,
}

impl Welcome {
    /// Bytes of the payload that the server's proof does not cover: the proof itself, which is the first field.
    pub const PROOF_BYTES: usize = 32;

    /// Checks that no more streams are named than a HELLO can name, and that the window lets anything through.
    pub fn validate(&self) -> Result<(), DecodeError> {
        ensure(self.heartbeat_interval_ms > 0, Self::NAME, "heartbeat_interval_ms", "at least 1")?;
        ensure(self.window_frames > 0, Self::NAME, "window_frames", "at least 1")?;
        ensure(self.streams.len() <= limits::HELLO_STREAMS, Self::NAME, "streams", "at most 64 streams")?;
        let sequences_ok = self.streams.iter().all(|position| position.sequence <= limits::SEQUENCE_MAX);
        ensure(sequences_ok, Self::NAME, "streams", "a sequence is at most 2^63-1")
    }
}
