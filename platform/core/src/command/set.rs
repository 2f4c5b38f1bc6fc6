//! What commands a device says it knows, and whether one fits them.

use crate::ids::CommandName;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Most arguments or results of one command. SPEC §7.1.
pub const ARGUMENTS_MAX: usize = 64;
/// Longest text among them in bytes. SPEC §7.1.
pub const TEXT_BYTES_MAX: usize = 4096;
/// Most commands named in an error.
const NAMED_MAX: usize = 10;

/// An argument's or a result's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// True or false.
    Bool(bool),
    /// A whole number.
    I64(i64),
    /// A finite number.
    F64(f64),
    /// Text.
    Text(Arc<str>),
}

/// Arguments or results by name.
pub type Values = BTreeMap<CommandName, Value>;

impl Value {
    /// Its type.
    pub fn argument_type(&self) -> ArgumentType {
        match self {
            Self::Bool(_) => ArgumentType::Bool,
            Self::I64(_) => ArgumentType::I64,
            Self::F64(_) => ArgumentType::F64,
            Self::Text(_) => ArgumentType::Text,
        }
    }
}

/// Type of an argument. SPEC §7.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ArgumentType {
    /// True or false.
    Bool,
    /// A whole number.
    I64,
    /// A finite number.
    F64,
    /// Text.
    Text,
}

impl ArgumentType {
    /// Every type.
    pub const ALL: [Self; 4] = [Self::Bool, Self::I64, Self::F64, Self::Text];

    /// The name used in JSON and in texts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::I64 => "i64",
            Self::F64 => "f64",
            Self::Text => "text",
        }
    }

    /// The type with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    fn wanted(self) -> &'static str {
        match self {
            Self::Bool => "true or false",
            Self::I64 => "a whole number",
            Self::F64 => "a number",
            Self::Text => "a text",
        }
    }
}

/// One argument of a command. SPEC §7.2.
#[derive(Debug, Clone, PartialEq)]
pub struct ArgumentDef {
    /// Its name.
    pub name: CommandName,
    /// Its type.
    pub argument_type: ArgumentType,
    /// Whether the command needs it.
    pub required: bool,
    /// Least number allowed.
    pub min: Option<f64>,
    /// Greatest number allowed.
    pub max: Option<f64>,
    /// Unit; may be empty.
    pub unit: String,
}

/// One command that a device knows. SPEC §7.2.
#[derive(Debug, Clone, PartialEq)]
pub struct CommandDef {
    /// Its name.
    pub name: CommandName,
    /// For people; may be empty.
    pub title: String,
    /// What it takes.
    pub arguments: Vec<ArgumentDef>,
}

/// The commands that a device knows. SPEC §7.2.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CommandSet {
    /// In the device's order.
    pub commands: Vec<CommandDef>,
}

/// Why arguments do not fit.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ArgumentError {
    /// The device does not know the command.
    #[error("the device does not know the command {name}; {known}")]
    UnknownCommand {
        /// What was asked for.
        name: CommandName,
        /// What it knows, in words.
        known: String,
    },
    /// An argument is missing, unknown, of another type or out of range.
    #[error("{argument}: {detail}")]
    BadArgument {
        /// Which.
        argument: String,
        /// What is wrong and what is allowed.
        detail: String,
    },
}

fn bad(argument: impl fmt::Display, detail: impl Into<String>) -> ArgumentError {
    ArgumentError::BadArgument { argument: argument.to_string(), detail: detail.into() }
}

/// Checks a command against what the device declared (`None`: nothing ever; then only the limits count). Answers the
/// arguments as they are to be sent: a whole number becomes an f64 where one is declared.
///
/// # Errors
/// [`ArgumentError`], for the first mistake.
pub fn check_arguments(
    set: Option<&CommandSet>,
    name: &CommandName,
    mut arguments: Values,
) -> Result<Values, ArgumentError> {
    if arguments.len() > ARGUMENTS_MAX {
        return Err(bad("arguments", format!("{} are given; at most {ARGUMENTS_MAX} are allowed", arguments.len())));
    }
    for (name, value) in &arguments {
        match value {
            Value::Text(text) if text.len() > TEXT_BYTES_MAX => {
                let detail = format!("a text of {} bytes; at most {TEXT_BYTES_MAX} bytes are allowed", text.len());
                return Err(bad(name, detail));
            }
            Value::F64(number) if !number.is_finite() => return Err(bad(name, "a finite number is wanted")),
            _ => {}
        }
    }
    let Some(set) = set else { return Ok(arguments) };
    let Some(command) = set.commands.iter().find(|command| command.name == *name) else {
        return Err(ArgumentError::UnknownCommand { name: name.clone(), known: known(set) });
    };
    if let Some(unknown) = arguments.keys().find(|given| command.arguments.iter().all(|def| def.name != **given)) {
        let names: Vec<_> = command.arguments.iter().map(|def| def.name.as_str()).collect();
        let takes = if names.is_empty() { "no arguments".to_owned() } else { names.join(", ") };
        return Err(bad(unknown, format!("{name} does not take it; it takes {takes}")));
    }
    for def in &command.arguments {
        match arguments.get_mut(&def.name) {
            Some(value) => check_value(def, value)?,
            None if def.required => {
                return Err(bad(&def.name, format!("{name} needs it: {} is wanted", def.argument_type.wanted())));
            }
            None => {}
        }
    }
    Ok(arguments)
}

fn known(set: &CommandSet) -> String {
    let names: Vec<_> = set.commands.iter().take(NAMED_MAX).map(|command| command.name.as_str()).collect();
    match (names.is_empty(), set.commands.len() > NAMED_MAX) {
        (true, _) => "it takes no commands".to_owned(),
        (_, false) => format!("it knows {}", names.join(", ")),
        (_, true) => format!("it knows {}, …", names.join(", ")),
    }
}

fn check_value(def: &ArgumentDef, value: &mut Value) -> Result<(), ArgumentError> {
    if let (ArgumentType::F64, Value::I64(whole)) = (def.argument_type, &*value) {
        // Exact or refused: a number that silently becomes its neighbour is worse.
        let number = *whole as f64;
        if number as i64 != *whole || *whole == i64::MAX {
            return Err(bad(&def.name, format!("{whole} has no exact f64; give it with fewer digits")));
        }
        *value = Value::F64(number);
    }
    if value.argument_type() != def.argument_type {
        let (wanted, is) = (def.argument_type.wanted(), value.argument_type().wanted());
        return Err(bad(&def.name, format!("{wanted} is wanted, {is} was given")));
    }
    let number = match value {
        Value::F64(number) => *number,
        Value::I64(number) => *number as f64,
        _ => return Ok(()),
    };
    let fits = def.min.is_none_or(|min| number >= min) && def.max.is_none_or(|max| number <= max);
    if fits { Ok(()) } else { Err(bad(&def.name, format!("{number} is given; {} is allowed", range(def)))) }
}

fn range(def: &ArgumentDef) -> String {
    let unit = if def.unit.is_empty() { String::new() } else { format!(" {}", def.unit) };
    match (def.min, def.max) {
        (Some(min), Some(max)) => format!("{min} to {max}{unit}"),
        (Some(min), None) => format!("{min}{unit} or more"),
        (None, Some(max)) => format!("{max}{unit} or less"),
        (None, None) => "any number".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> CommandName {
        CommandName::parse(text).expect("a name")
    }

    fn set() -> CommandSet {
        let argument = |text: &str, argument_type, required, min, max, unit: &str| ArgumentDef {
            name: name(text),
            argument_type,
            required,
            min,
            max,
            unit: unit.into(),
        };
        let arguments = vec![
            argument("celsius", ArgumentType::F64, true, Some(-40.0), Some(10.0), "°C"),
            argument("seconds", ArgumentType::I64, false, Some(1.0), None, "s"),
            argument("why", ArgumentType::Text, false, None, None, ""),
        ];
        let command = |text: &str, arguments| CommandDef { name: name(text), title: String::new(), arguments };
        CommandSet { commands: vec![command("set_target", arguments), command("stop", vec![])] }
    }

    fn values(given: &[(&str, Value)]) -> Values {
        given.iter().map(|(text, value)| (name(text), value.clone())).collect()
    }

    fn check(command: &str, given: &[(&str, Value)]) -> Result<Values, String> {
        check_arguments(Some(&set()), &name(command), values(given)).map_err(|error| error.to_string())
    }

    #[test]
    fn what_does_not_fit_is_refused_with_what_would() {
        let refused = |command: &str, given: &[(&str, Value)]| check(command, given).expect_err("refused");
        let cold = ("celsius", Value::F64(-22.5));
        assert_eq!(refused("fly", &[]), "the device does not know the command fly; it knows set_target, stop");
        assert_eq!(refused("set_target", &[]), "celsius: set_target needs it: a number is wanted");
        assert_eq!(refused("stop", &[("now", Value::Bool(true))]), "now: stop does not take it; it takes no arguments");
        assert_eq!(
            refused("set_target", &[("celsius", Value::Text("cold".into()))]),
            "celsius: a number is wanted, a text was given"
        );
        assert_eq!(
            refused("set_target", &[cold.clone(), ("seconds", Value::F64(1.5))]),
            "seconds: a whole number is wanted, a number was given"
        );
        assert_eq!(
            refused("set_target", &[("celsius", Value::I64(-41))]),
            "celsius: -41 is given; -40 to 10 °C is allowed"
        );
        assert_eq!(
            refused("set_target", &[cold.clone(), ("seconds", Value::I64(0))]),
            "seconds: 0 is given; 1 s or more is allowed"
        );
        let long = Value::Text("x".repeat(TEXT_BYTES_MAX + 1).into());
        assert_eq!(
            refused("set_target", &[cold, ("why", long)]),
            "why: a text of 4097 bytes; at most 4096 bytes are allowed"
        );
        assert!(check("set_target", &[("celsius", Value::F64(f64::NAN))]).is_err());
        let empty = check_arguments(Some(&CommandSet::default()), &name("stop"), values(&[])).expect_err("refused");
        assert_eq!(empty.to_string(), "the device does not know the command stop; it takes no commands");
    }

    #[test]
    fn a_whole_number_stands_for_an_f64_only_if_it_is_the_same_number() {
        let sent = check("set_target", &[("celsius", Value::I64(-20))]).expect("fits");
        assert_eq!(sent, values(&[("celsius", Value::F64(-20.0))]));
        let mut wide = set();
        wide.commands[0].arguments[0].min = None;
        wide.commands[0].arguments[0].max = None;
        let given = |number| values(&[("celsius", Value::I64(number))]);
        for exact in [1 << 53, i64::MIN, -(1 << 60)] {
            assert!(check_arguments(Some(&wide), &name("set_target"), given(exact)).is_ok(), "{exact}");
        }
        for rounded in [(1 << 53) + 1, i64::MAX, i64::MIN + 1] {
            assert!(check_arguments(Some(&wide), &name("set_target"), given(rounded)).is_err(), "{rounded}");
        }
    }

    #[test]
    fn a_device_that_declared_nothing_is_asked_itself() {
        let given = values(&[("anything", Value::Bool(true))]);
        assert_eq!(check_arguments(None, &name("fly"), given.clone()), Ok(given));
    }
}
