//! Commands between a session and the service: the wire's words and the platform's.

use super::session::Connection;
use crate::commands::{FromDevice, ToDevice};
use pulsewire_core::command::{
    ArgumentDef, ArgumentType, Command, CommandDef, CommandSet, ResultStatus, Value, Values,
};
use pulsewire_core::ids::{CommandId, CommandName, InvalidName};
use pulsewire_core::ulid::Ulid;
use pulsewire_proto::CloseCode;
use pulsewire_proto::frame::{self as wire, Close, CommandValue, NamedValue};

/// Most COMMAND_SETs of one session. SPEC §11.
const SETS_MAX: usize = 256;

impl Connection {
    /// The device has a command.
    pub(super) async fn on_delivered(&mut self, delivered: wire::Delivered) {
        self.say(FromDevice::Delivered(command_id(delivered.id))).await;
    }

    /// The device is at it.
    pub(super) async fn on_progress(&mut self, progress: wire::Progress) {
        let wire::Progress { id, percent, text } = progress;
        self.say(FromDevice::Progress { id: command_id(id), percent, text }).await;
    }

    /// The device is done with it.
    pub(super) async fn on_result(&mut self, result: wire::CommandResult) {
        let wire::CommandResult { id, status, code, text, values } = result;
        let status = match status {
            wire::ResultStatus::Succeeded => ResultStatus::Succeeded,
            wire::ResultStatus::Failed => ResultStatus::Failed,
            wire::ResultStatus::Rejected => ResultStatus::Rejected,
            wire::ResultStatus::Canceled => ResultStatus::Canceled,
        };
        match read_values(values) {
            Ok(values) => self.say(FromDevice::Result { id: command_id(id), status, code, text, values }).await,
            Err(error) => self.session.close(CloseCode::Malformed, &format!("RESULT: {error}")),
        }
    }

    /// What the device knows.
    pub(super) async fn on_command_set(&mut self, set: wire::CommandSet) {
        if self.command_sets == SETS_MAX {
            let text = format!("a session may declare its commands {SETS_MAX} times; declare them when they change");
            return self.session.close(CloseCode::TooManyDeclared, &text);
        }
        self.command_sets += 1;
        match read_set(set) {
            Ok(set) => self.say(FromDevice::Set(set)).await,
            Err(error) => self.session.close(CloseCode::Malformed, &format!("COMMAND_SET: {error}")),
        }
    }

    async fn say(&mut self, message: FromDevice) {
        if let Some(login) = &self.login {
            self.shared.parts.commands.said(login.device.key, message).await;
        }
    }

    /// Hands the session the command that waits for it. False if there is none. Only when everything before it is written:
    /// what waits in the mailbox can still be called back, and its deadline may pass.
    pub(super) fn on_next_command(&mut self) -> bool {
        let command = self.outgoing.try_take_command(self.shared.parts.clock.now_us());
        command.is_some_and(|command| {
            self.session.command(frame_of(&command));
            true
        })
    }

    /// Takes out what the service has answered, so that it does not gather while a long message is handled.
    pub(super) fn on_outgoing(&mut self) {
        while let Some(message) = self.outgoing.try_take() {
            self.on_to_device(message);
        }
    }

    /// Passes on what the service has for the device.
    fn on_to_device(&mut self, message: ToDevice) {
        match message {
            ToDevice::Cancel { id, text } => self.session.cancel(wire::Cancel { id: id.0.to_bytes(), text }),
            ToDevice::ResultAck(id) => self.session.result_ack(id.0.to_bytes()),
            ToDevice::Unavailable => {
                let text = "the server cannot store now; what was said of commands and not acknowledged is not stored";
                let close = Close::new(CloseCode::StorageUnavailable, text);
                self.session.close_with(close.with_retry_after_ms(super::session::RETRY_AFTER_MS));
            }
        }
    }
}

fn command_id(bytes: [u8; 16]) -> CommandId {
    CommandId(Ulid::from_bytes(bytes))
}

fn frame_of(command: &Command) -> wire::Command {
    let value = |value: &Value| match value {
        Value::Bool(value) => CommandValue::Bool(*value),
        Value::I64(value) => CommandValue::I64(*value),
        Value::F64(value) => CommandValue::F64(*value),
        Value::Text(value) => CommandValue::Text(value.to_string()),
    };
    let named = |(name, one): (&CommandName, &Value)| NamedValue { name: name.to_string(), value: value(one) };
    wire::Command {
        id: command.id.0.to_bytes(),
        name: command.name.to_string(),
        arguments: command.arguments.iter().map(named).collect(),
        deadline_us: command.deadline_us,
        timeout_ms: u32::try_from(command.timeout_us / 1000).unwrap_or(u32::MAX),
        attempt: command.attempt,
    }
}

// The codec has checked names and numbers of elements; that the platform's rules are the same is not taken for granted.

fn read_values(values: Vec<NamedValue>) -> Result<Values, InvalidName> {
    let value = |value| match value {
        CommandValue::Bool(value) => Value::Bool(value),
        CommandValue::I64(value) => Value::I64(value),
        CommandValue::F64(value) => Value::F64(value),
        CommandValue::Text(value) => Value::Text(value.into()),
    };
    values.into_iter().map(|named| Ok((CommandName::parse(&named.name)?, value(named.value)))).collect()
}

fn read_set(set: wire::CommandSet) -> Result<CommandSet, InvalidName> {
    let argument = |def: wire::ArgumentDef| -> Result<ArgumentDef, InvalidName> {
        Ok(ArgumentDef {
            name: CommandName::parse(&def.name)?,
            argument_type: match def.argument_type {
                wire::ArgumentType::Bool => ArgumentType::Bool,
                wire::ArgumentType::I64 => ArgumentType::I64,
                wire::ArgumentType::F64 => ArgumentType::F64,
                wire::ArgumentType::Text => ArgumentType::Text,
            },
            required: def.required,
            min: def.min,
            max: def.max,
            unit: def.unit,
        })
    };
    let command = |def: wire::CommandDef| -> Result<CommandDef, InvalidName> {
        Ok(CommandDef {
            name: CommandName::parse(&def.name)?,
            title: def.title,
            arguments: def.arguments.into_iter().map(argument).collect::<Result<_, _>>()?,
        })
    };
    Ok(CommandSet { commands: set.commands.into_iter().map(command).collect::<Result<_, _>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulsewire_core::command::{WIRE_BYTES_MAX, wire_bytes};
    use pulsewire_proto::limits;

    #[test]
    fn what_the_platform_takes_as_small_enough_is_small_enough_for_a_frame() {
        let name = |text: String| CommandName::parse(&text).expect("a name");
        let mut values = Values::new();
        let text = |bytes| Value::Text("x".repeat(bytes).into());
        for (at, value) in [text(4096), text(250), text(0), Value::I64(i64::MIN), Value::F64(1.0), Value::Bool(true)]
            .into_iter()
            .enumerate()
        {
            values.insert(name(format!("{at}{}", "n".repeat(60))), value);
            let wire = wire::Command {
                id: [0xFF; 16],
                name: "c".repeat(64),
                arguments: values
                    .iter()
                    .map(|(name, value)| NamedValue {
                        name: name.to_string(),
                        value: match value {
                            Value::Bool(value) => CommandValue::Bool(*value),
                            Value::I64(value) => CommandValue::I64(*value),
                            Value::F64(value) => CommandValue::F64(*value),
                            Value::Text(value) => CommandValue::Text(value.to_string()),
                        },
                    })
                    .collect(),
                deadline_us: i64::MIN,
                timeout_ms: u32::MAX,
                attempt: u32::MAX,
            };
            let mut payload = Vec::new();
            wire.encode_payload(&mut payload);
            let estimate = wire_bytes(&name("c".repeat(64)), &values);
            assert!((payload.len()..payload.len() + 64).contains(&estimate), "{} of {estimate}", payload.len());
            assert_eq!(read_values(wire.arguments), Ok(values.clone()));
        }
        assert_eq!(WIRE_BYTES_MAX, limits::COMMAND_BYTES_MAX);
        assert_eq!(crate::commands::UNFINISHED_MAX, limits::COMMANDS_REMEMBERED);
    }
}
