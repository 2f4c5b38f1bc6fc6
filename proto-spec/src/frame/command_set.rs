use alloc::{collections::BTreeSet, string::String, vec::Vec};

use wincode::{SchemaRead, SchemaWrite};

use super::layout::{ensure, payload};
use crate::{DecodeError, limits, names};

payload! {
    /// The commands that the device knows; the newest one counts, also while the device is away. SPEC §7.2.
    CommandSet = "COMMAND_SET", at most limits::COMMAND_BYTES_MAX {
        /// At most 64 with distinct names.
        commands: Vec<CommandDef>,
    }
}

/// One command that a device knows. SPEC §7.2.
#[derive(Debug, Clone, PartialEq, SchemaRead, SchemaWrite)]
pub struct CommandDef {
    /// Its name.
    pub name: String,
    /// For people, at most 64 bytes.
    pub title: String,
    /// At most 32 with distinct names.
    pub arguments: Vec<ArgumentDef>,
}

/// One argument that a command takes. SPEC §7.2.
#[derive(Debug, Clone, PartialEq, SchemaRead, SchemaWrite)]
pub struct ArgumentDef {
    /// Its name.
    pub name: String,
    /// Type of its value.
    pub argument_type: ArgumentType,
    /// Whether the command needs it.
    pub required: bool,
    /// Least number allowed.
    pub min: Option<f64>,
    /// Greatest number allowed.
    pub max: Option<f64>,
    /// Unit, §3.1; may be empty.
    pub unit: String,
}

/// Type of an argument. SPEC §7.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, SchemaRead, SchemaWrite)]
pub enum ArgumentType {
    /// True or false.
    Bool,
    /// A whole number.
    I64,
    /// A finite number.
    F64,
    /// At most 4,096 bytes.
    Text,
}

impl CommandSet {
    /// Checks the limits of SPEC §7.1 and §7.2.
    pub fn validate(&self) -> Result<(), DecodeError> {
        ensure(self.commands.len() <= limits::COMMANDS_PER_SET, Self::NAME, "commands", "at most 64 commands")?;
        let mut seen = BTreeSet::new();
        for command in &self.commands {
            let name_ok = names::is_command_name(&command.name);
            ensure(name_ok, Self::NAME, "commands.name", names::COMMAND_NAME_RULE)?;
            let distinct = seen.insert(command.name.as_str());
            ensure(distinct, Self::NAME, "commands.name", "names must be distinct in a set")?;
            let title_ok = command.title.len() <= limits::COMMAND_TITLE_BYTES;
            ensure(title_ok, Self::NAME, "commands.title", "at most 64 bytes")?;
            check_arguments(&command.arguments)?;
        }
        Ok(())
    }
}

fn check_arguments(arguments: &[ArgumentDef]) -> Result<(), DecodeError> {
    let fits = arguments.len() <= limits::ARGUMENTS_PER_COMMAND;
    ensure(fits, CommandSet::NAME, "commands.arguments", "at most 32 arguments")?;
    let mut seen = BTreeSet::new();
    for argument in arguments {
        let name_ok = names::is_command_name(&argument.name);
        ensure(name_ok, CommandSet::NAME, "commands.arguments.name", names::COMMAND_NAME_RULE)?;
        let distinct = seen.insert(argument.name.as_str());
        ensure(distinct, CommandSet::NAME, "commands.arguments.name", "names must be distinct in a command")?;
        let finite = argument.min.is_none_or(f64::is_finite) && argument.max.is_none_or(f64::is_finite);
        ensure(finite, CommandSet::NAME, "commands.arguments.min", "min and max must be finite")?;
        let ordered = argument.min.zip(argument.max).is_none_or(|(min, max)| min <= max);
        ensure(ordered, CommandSet::NAME, "commands.arguments.max", "must not be below min")?;
        ensure(names::is_unit(&argument.unit), CommandSet::NAME, "commands.arguments.unit", names::UNIT_RULE)?;
    }
    Ok(())
}
