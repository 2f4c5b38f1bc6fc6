use alloc::{string::String, vec::Vec};

use wincode::{SchemaRead, SchemaWrite};

use super::{
    command::{NamedValue, check_map},
    layout::{ensure, payload, unlimited},
};
use crate::{DecodeError, limits};

payload! {
    /// How a command ended; kept and repeated by the device until RESULT_ACK. SPEC §7.6.
    CommandResult = "RESULT", at most limits::COMMAND_BYTES_MAX {
        /// Command id.
        id: [u8; 16],
        /// How it ended.
        status: ResultStatus,
        /// For programs, at most 64 bytes.
        code: String,
        /// For a human, at most 512 bytes.
        text: String,
        /// At most 64 with distinct names.
        values: Vec<NamedValue>,
    }
}

/// How a command ended. SPEC §7.6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, SchemaRead, SchemaWrite)]
pub enum ResultStatus {
    /// Done.
    Succeeded,
    /// It was tried.
    Failed,
    /// It was not begun, and trying again as it is will not help.
    Rejected,
    /// Given up because of CANCEL.
    Canceled,
}

payload! {
    /// The result is stored, or the server does not know the id: the device may forget it. SPEC §7.6.
    ResultAck = "RESULT_ACK" {
        /// Command id.
        id: [u8; 16],
    }
}

impl CommandResult {
    /// Checks the lengths of code and text, and the map.
    pub fn validate(&self) -> Result<(), DecodeError> {
        ensure(self.code.len() <= limits::RESULT_CODE_BYTES, Self::NAME, "code", "at most 64 bytes")?;
        ensure(self.text.len() <= limits::REASON_BYTES, Self::NAME, "text", "at most 512 bytes")?;
        check_map(&self.values, Self::NAME, "values")
    }
}

unlimited!(ResultAck);
