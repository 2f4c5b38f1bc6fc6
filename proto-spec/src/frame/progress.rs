use alloc::string::String;

use super::layout::{ensure, payload};
use crate::{DecodeError, limits};

payload! {
    /// How far a command is; the newest counts. SPEC §7.5.
    Progress = "PROGRESS", at most limits::COMMAND_BYTES_MAX {
        /// Command id.
        id: [u8; 16],
        /// 0–100, if the device can tell.
        percent: Option<u8>,
        /// For a human, at most 256 bytes.
        text: String,
    }
}

impl Progress {
    /// Checks percent and the length of the text.
    pub fn validate(&self) -> Result<(), DecodeError> {
        ensure(self.percent.is_none_or(|percent| percent <= 100), Self::NAME, "percent", "0 to 100")?;
        ensure(self.text.len() <= limits::PROGRESS_TEXT_BYTES, Self::NAME, "text", "at most 256 bytes")
    }
}
