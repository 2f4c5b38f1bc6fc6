use alloc::{string::String, vec::Vec};

use wincode::{SchemaRead, SchemaWrite};

use super::layout::{ensure, payload};
use crate::{DecodeError, limits};

payload! {
    /// How commands stand. SPEC §9.13.
    CommandState = "COMMAND_STATE" {
        /// At most 1,000.
        commands: Vec<CommandInfo>,
    } appended {
        /// Position of this change in the lossless lane; 0 = not part of it. SPEC §9.14.
        position: u64 = 0,
        /// Position of the frame of the lane before.
        previous: u64 = 0,
    }
}

/// One command. SPEC §9.13.
#[derive(Debug, Clone, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub struct CommandInfo {
    /// A ULID's 128 bits, most significant byte first.
    pub id: [u8; 16],
    /// Grows with each change of this command.
    pub revision: u64,
    /// Device id.
    pub device: String,
    /// Name of the command.
    pub name: String,
    /// How it stands.
    pub state: CommandStatus,
    /// How often it was sent.
    pub attempt: u32,
    /// 0–100, if the device said so.
    pub percent: Option<u8>,
    /// Code of the result, or why it ended; at most 64 bytes.
    pub code: String,
    /// For a human, at most 512 bytes.
    pub text: String,
    /// When it came to stand so, µs since 1970.
    pub changed_us: i64,
    /// A user asked for it to be given up.
    pub cancel_requested: bool,
}

/// How a command stands. SPEC §9.13.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, SchemaRead, SchemaWrite)]
pub enum CommandStatus {
    /// Stored; waits for the device, or for its turn.
    Queued,
    /// Written to the device's session.
    Sent,
    /// The device has it.
    Delivered,
    /// The device reported progress.
    InProgress,
    /// The device's result.
    Succeeded,
    /// The device's result.
    Failed,
    /// The device's result.
    Rejected,
    /// The deadline passed before the device had it.
    Expired,
    /// No result in time.
    TimedOut,
    /// Given up.
    Canceled,
    /// Sent too often without an answer.
    Dead,
}

impl CommandState {
    /// Checks the number of commands, and percent, code and text of each.
    pub fn validate(&self) -> Result<(), DecodeError> {
        ensure(self.commands.len() <= limits::EVENT_LIST, Self::NAME, "commands", "at most 1,000 commands")?;
        for command in &self.commands {
            let percent_ok = command.percent.is_none_or(|percent| percent <= 100);
            ensure(percent_ok, Self::NAME, "commands.percent", "0 to 100")?;
            let code_ok = command.code.len() <= limits::RESULT_CODE_BYTES;
            ensure(code_ok, Self::NAME, "commands.code", "at most 64 bytes")?;
            ensure(command.text.len() <= limits::REASON_BYTES, Self::NAME, "commands.text", "at most 512 bytes")?;
        }
        Ok(())
    }
}
