use alloc::string::String;

use super::layout::{ensure, payload};
use crate::{DecodeError, limits};

payload! {
    /// The wish that a command be given up. SPEC §7.7.
    Cancel = "CANCEL", at most limits::COMMAND_BYTES_MAX {
        /// Command id.
        id: [u8; 16],
        /// For a human, at most 256 bytes.
        text: String,
    }
}

impl Cancel {
    /// Checks the length of the text.
    pub fn validate(&self) -> Result<(), DecodeError> {
        ensure(self.text.len() <= limits::CANCEL_TEXT_BYTES, Self::NAME, "text", "at most 256 bytes")
    }
}
