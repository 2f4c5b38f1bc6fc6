use alloc::string::String;

use super::layout::{clip_text, ensure, payload};
use crate::{DecodeError, limits};

payload! {
    /// A SUBSCRIBE was not accepted; the socket stays open. SPEC §9.11.
    Refused = "REFUSED" {
        /// The viewer's number.
        subscription: u32,
        /// [`RefusedCode`], or one of a later version.
        code: u16,
        /// For a human, at most 512 bytes.
        text: String,
    }
}

/// Why a subscription was refused. SPEC §9.11.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum RefusedCode {
    /// `subscriptions_max` is reached.
    TooManySubscriptions = 1,
    /// The number is in use on this socket.
    InUse = 2,
    /// A limit of §9.2 is broken; the text says which.
    Invalid = 3,
    /// The selection matches more series than a subscription may have.
    TooManySeries = 4,
    /// It cannot be served now; the same wish may be sent again.
    Unavailable = 5,
}

impl Refused {
    /// A refusal; `text` is cut to 512 bytes.
    pub fn new(subscription: u32, code: RefusedCode, text: &str) -> Refused {
        Refused { subscription, code: code as u16, text: clip_text(text, limits::REASON_BYTES).into() }
    }

    /// Checks the length of the text.
    pub fn validate(&self) -> Result<(), DecodeError> {
        ensure(self.text.len() <= limits::REASON_BYTES, Self::NAME, "text", "at most 512 bytes")
    }
}
