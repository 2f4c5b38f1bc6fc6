use alloc::string::String;

use wincode::{SchemaRead, SchemaWrite};

use super::layout::{ensure, payload};
use crate::{DecodeError, limits};

payload! {
    /// The reports `from`–`to` will never come. SPEC §6.7.
    Skip = "SKIP" {
        /// Stream id.
        stream: u32,
        /// First sequence left out: the next expected one.
        from: u64,
        /// Last sequence left out.
        to: u64,
        /// Why they are lost.
        reason: SkipReason,
        /// For a human, at most 512 bytes.
        text: String,
    }
}

/// Why reports are lost. SPEC §6.7.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, SchemaRead, SchemaWrite)]
pub enum SkipReason {
    /// See the text.
    Other,
    /// The device's spool had no room.
    SpoolFull,
    /// The device's spool could not be read.
    SpoolDamaged,
    /// Too old to be of use.
    Expired,
}

impl Skip {
    /// Checks the range and the length of the text.
    pub fn validate(&self) -> Result<(), DecodeError> {
        ensure(self.from >= 1, Self::NAME, "from", "sequences start at 1")?;
        ensure(self.from <= self.to, Self::NAME, "to", "must not be below from")?;
        ensure(self.to <= limits::SEQUENCE_MAX, Self::NAME, "to", "a sequence is 1 to 2^63-1")?;
        ensure(self.text.len() <= limits::REASON_BYTES, Self::NAME, "text", "at most 512 bytes")
    }
}
