use alloc::string::String;

use super::layout::{clip_text, ensure, payload};
use crate::{CloseCode, DecodeError, limits};

payload! {
    /// The last frame of its sender. SPEC §4.7.
    Close = "CLOSE" {
        /// §10; [`CloseCode::from_u16`] names it if this version knows it.
        code: u16,
        /// For a human: what happened and what to do, at most 512 bytes.
        text: String,
        /// Whether trying again can help.
        reconnect: bool,
        /// Wait at least this long before it; 0 = the sender's own back-off.
        retry_after_ms: u32,
    }
}

impl Close {
    /// A CLOSE with the code's own advice on reconnecting; `text` is cut to 512 bytes.
    pub fn new(code: CloseCode, text: &str) -> Close {
        Close {
            code: code.as_u16(),
            text: clip_text(text, limits::REASON_BYTES).into(),
            reconnect: code.reconnect(),
            retry_after_ms: 0,
        }
    }

    /// The same, asking to wait `retry_after_ms` before reconnecting.
    pub fn with_retry_after_ms(mut self, retry_after_ms: u32) -> Close {
        self.retry_after_ms = retry_after_ms;
        self
    }

    /// Whether to connect again, by code and field. SPEC §10.
    pub fn should_reconnect(&self) -> bool {
        CloseCode::reconnect_after(self.code, self.reconnect)
    }

    /// Checks the length of the text.
    pub fn validate(&self) -> Result<(), DecodeError> {
        ensure(self.text.len() <= limits::REASON_BYTES, Self::NAME, "text", "at most 512 bytes")
    }
}
