use alloc::{collections::BTreeSet, string::String, vec::Vec};

use wincode::{SchemaRead, SchemaWrite};

use super::layout::{ensure, payload};
use crate::{DecodeError, limits, names};

payload! {
    /// Something for the device to do, at most once however often it comes. SPEC §7.3.
    Command = "COMMAND", at most limits::COMMAND_BYTES_MAX {
        /// A ULID's 128 bits, most significant byte first.
        id: [u8; 16],
        /// What to do.
        name: String,
        /// At most 64 with distinct names.
        arguments: Vec<NamedValue>,
        /// The server's clock; the device must not begin it later.
        deadline_us: i64,
        /// How long the server waits from DELIVERED, or the newest PROGRESS.
        timeout_ms: u32,
        /// 1 for the first sending.
        attempt: u32,
    }
}

/// One entry of a map. SPEC §7.1.
#[derive(Debug, Clone, PartialEq, SchemaRead, SchemaWrite)]
pub struct NamedValue {
    /// Name of the argument or result.
    pub name: String,
    /// Its value.
    pub value: CommandValue,
}

/// A value of an argument or a result. SPEC §7.1.
#[derive(Debug, Clone, PartialEq, SchemaRead, SchemaWrite)]
pub enum CommandValue {
    /// True or false.
    Bool(bool),
    /// A whole number.
    I64(i64),
    /// A finite number.
    F64(f64),
    /// At most 4,096 bytes.
    Text(String),
}

impl Command {
    /// Checks the limits of SPEC §7.1.
    pub fn validate(&self) -> Result<(), DecodeError> {
        ensure(names::is_command_name(&self.name), Self::NAME, "name", names::COMMAND_NAME_RULE)?;
        check_map(&self.arguments, Self::NAME, "arguments")
    }
}

/// Checks a map: how many entries, distinct names, finite numbers, length of texts. SPEC §7.1.
pub(crate) fn check_map(map: &[NamedValue], message: &'static str, field: &'static str) -> Result<(), DecodeError> {
    ensure(map.len() <= limits::COMMAND_VALUES, message, field, "at most 64 entries")?;
    let mut seen = BTreeSet::new();
    for NamedValue { name, value } in map {
        ensure(names::is_command_name(name), message, field, names::COMMAND_NAME_RULE)?;
        ensure(seen.insert(name.as_str()), message, field, "names must be distinct in a map")?;
        match value {
            CommandValue::F64(value) => ensure(value.is_finite(), message, field, "an f64 must be finite")?,
            CommandValue::Text(text) => {
                let fits = text.len() <= limits::TEXT_VALUE_BYTES;
                ensure(fits, message, field, "a text is at most 4,096 bytes")?;
            }
            CommandValue::Bool(_) | CommandValue::I64(_) => {}
        }
    }
    Ok(())
}
