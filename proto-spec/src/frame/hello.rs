use alloc::{string::String, vec::Vec};
use core::fmt;

use wincode::{SchemaRead, SchemaWrite};

use super::layout::{ensure, payload};
use crate::{DecodeError, limits, names};

payload! {
    /// A device introduces itself. SPEC §4.1.
    Hello = "HELLO" {
        /// Device id, §3.1.
        device: String,
        /// Lowest protocol version that the device speaks.
        version_min: u8,
        /// Highest protocol version that the device speaks.
        version_max: u8,
        /// Fresh random bytes.
        nonce: [u8; 32],
        /// How the device proves who it is.
        login: Login,
        /// Free text for operators, at most 64 bytes.
        firmware: String,
        /// Streams that the device still holds, at most 64.
        streams: Vec<u32>,
        /// Highest twin version that the device has applied; 0 = none.
        desired_version: u64,
    }
}

/// Kinds of login. SPEC §4.1.
#[derive(Clone, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub enum Login {
    /// Challenge and proof, §4.3.
    Proof,
    /// A bearer token, for devices that cannot compute the proof.
    Token {
        /// At most 256 bytes. A secret: `Debug` hides it.
        token: String,
    },
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Login::Proof => "Proof",
            Login::Token { .. } => "Token(hidden)",
        })
    }
}

impl Hello {
    /// Checks the limits of SPEC §3.1 and §4.1.
    pub fn validate(&self) -> Result<(), DecodeError> {
        ensure(names::is_device_id(&self.device), Self::NAME, "device", names::DEVICE_ID_RULE)?;
        ensure(self.version_min <= self.version_max, Self::NAME, "version_max", "must not be below version_min")?;
        if let Login::Token { token } = &self.login {
            let ok = (1..=limits::TOKEN_BYTES).contains(&token.len());
            ensure(ok, Self::NAME, "login.token", "a token is 1 to 256 bytes")?;
        }
        ensure(self.firmware.len() <= limits::FIRMWARE_BYTES, Self::NAME, "firmware", "at most 64 bytes")?;
        ensure(self.streams.len() <= limits::HELLO_STREAMS, Self::NAME, "streams", "at most 64 streams")
    }
}
