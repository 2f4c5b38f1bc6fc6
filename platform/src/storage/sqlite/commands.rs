//! Commands and command sets in `meta.db`.

use super::columns::damaged;
use super::meta::{Failure, SqliteMeta};
use crate::ports::{CommandCommit, CommandPage, CommandStore, CommandWrite, MetaError, Written};
use async_trait::async_trait;
use pulsewire_core::command::{ArgumentDef, ArgumentType, Command, CommandDef, CommandSet, State, Step, Value, Values};
use pulsewire_core::ids::{CommandId, CommandName, DeviceId, DeviceKey, UserName};
use pulsewire_core::ulid::Ulid;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Most steps kept of one command; the newest stay.
const STEPS_MAX: i64 = 50;
/// First state, by number, that is finished. Where an index is meant, SQL has it as a literal.
const FINISHED: u8 = State::Succeeded as u8;
/// How long after its deadline and its end a command is kept: so long its caller may ask again, and its device answer late.
const KNOWN_US: i64 = 86_400_000_000;
/// How many times what a device keeps there may be of finished commands that are not so old.
const YOUNG_FACTOR: i64 = 10;

fn unwritable(error: serde_json::Error) -> Failure {
    Failure::Known(MetaError::Failed(error.into()))
}

/// Whole numbers and others stay apart in JSON: an f64 is written with a point or an exponent.
fn values_text(values: &Values) -> Result<String, Failure> {
    let json = |value: &Value| match value {
        Value::Bool(value) => serde_json::Value::from(*value),
        Value::I64(value) => (*value).into(),
        Value::F64(value) => (*value).into(),
        Value::Text(value) => value.as_ref().into(),
    };
    let map: serde_json::Map<_, _> = values.iter().map(|(name, value)| (name.to_string(), json(value))).collect();
    serde_json::to_string(&map).map_err(unwritable)
}

fn read_values(text: &str) -> rusqlite::Result<Values> {
    let map: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).map_err(damaged)?;
    let value = |json: serde_json::Value| match json {
        serde_json::Value::Bool(value) => Ok(Value::Bool(value)),
        serde_json::Value::String(value) => Ok(Value::Text(value.into())),
        serde_json::Value::Number(value) => {
            value.as_i64().map(Value::I64).or(value.as_f64().map(Value::F64)).ok_or_else(|| damaged("a number"))
        }
        _ => Err(damaged("a value that is none of a command's")),
    };
    map.into_iter().map(|(name, json)| Ok((CommandName::parse(&name).map_err(damaged)?, value(json)?))).collect()
}

#[derive(Serialize, Deserialize)]
struct StoredDef {
    name: String,
    title: String,
    arguments: Vec<StoredArgument>,
}

#[derive(Serialize, Deserialize)]
struct StoredArgument {
    name: String,
    r#type: String,
    required: bool,
    min: Option<f64>,
    max: Option<f64>,
    unit: String,
}

fn set_text(set: &CommandSet) -> Result<String, Failure> {
    let argument = |def: &ArgumentDef| StoredArgument {
        name: def.name.to_string(),
        r#type: def.argument_type.name().to_owned(),
        required: def.required,
        min: def.min,
        max: def.max,
        unit: def.unit.clone(),
    };
    let stored: Vec<_> = set
        .commands
        .iter()
        .map(|def| StoredDef {
            name: def.name.to_string(),
            title: def.title.clone(),
            arguments: def.arguments.iter().map(argument).collect(),
        })
        .collect();
    serde_json::to_string(&stored).map_err(unwritable)
}

fn read_set(text: &str) -> rusqlite::Result<CommandSet> {
    let stored: Vec<StoredDef> = serde_json::from_str(text).map_err(damaged)?;
    let argument = |stored: StoredArgument| -> rusqlite::Result<ArgumentDef> {
        let unknown = || damaged(format!("there is no type {:?}", stored.r#type));
        Ok(ArgumentDef {
            name: CommandName::parse(&stored.name).map_err(damaged)?,
            argument_type: ArgumentType::from_name(&stored.r#type).ok_or_else(unknown)?,
            required: stored.required,
            min: stored.min,
            max: stored.max,
            unit: stored.unit,
        })
    };
    let command = |stored: StoredDef| -> rusqlite::Result<CommandDef> {
        Ok(CommandDef {
            name: CommandName::parse(&stored.name).map_err(damaged)?,
            title: stored.title,
            arguments: stored.arguments.into_iter().map(argument).collect::<Result<_, _>>()?,
        })
    };
    Ok(CommandSet { commands: stored.into_iter().map(command).collect::<Result<_, _>>()? })
}

fn state(number: u8) -> rusqlite::Result<State> {
    State::from_number(number).ok_or_else(|| damaged(format!("there is no state {number}")))
}

fn command(row: &Row<'_>) -> rusqlite::Result<Command> {
    let text = |name: &str| row.get::<_, String>(name);
    let key: Option<String> = row.get("supersede_key")?;
    Ok(Command {
        id: CommandId(Ulid::from_bytes(row.get("id")?)),
        device: DeviceKey(row.get("device")?),
        device_id: DeviceId::parse(&text("device_id")?).map_err(damaged)?,
        name: CommandName::parse(&text("name")?).map_err(damaged)?,
        arguments: read_values(&text("arguments")?)?,
        state: state(row.get("state")?)?,
        attempt: row.get("attempt")?,
        percent: row.get("percent")?,
        code: row.get("code")?,
        text: row.get("text")?,
        values: read_values(&text("result")?)?,
        cancel_requested: row.get("cancel_requested")?,
        answered: row.get("answered")?,
        supersede_key: key.as_deref().map(CommandName::parse).transpose().map_err(damaged)?,
        created_by: UserName::parse(&text("created_by")?).map_err(damaged)?,
        created_us: row.get("created_us")?,
        changed_us: row.get("changed_us")?,
        since_us: row.get("since_us")?,
        deadline_us: row.get("deadline_us")?,
        timeout_us: row.get("timeout_us")?,
        revision: row.get::<_, i64>("revision")?.unsigned_abs(),
    })
}

fn find(connection: &Connection, id: CommandId) -> rusqlite::Result<Option<(i64, Command)>> {
    connection
        .prepare_cached("SELECT * FROM command WHERE id = ?1")?
        .query_row([id.0.to_bytes()], |row| Ok((row.get("seq")?, command(row)?)))
        .optional()
}

fn device_exists(connection: &Connection, device: DeviceKey) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM device WHERE device = ?1")?.exists([device.0])
}

fn create(connection: &Connection, command: &Command, step: &Step) -> Result<Written, Failure> {
    if !device_exists(connection, command.device)? {
        return Ok(Written::Gone);
    }
    let created = connection
        .prepare_cached(
            "INSERT INTO command (id, device, device_id, name, arguments, state, attempt, percent, code, text, result,
                 cancel_requested, answered, supersede_key, created_by, created_us, changed_us, since_us, deadline_us,
                 timeout_us, revision)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)
             ON CONFLICT (id) DO NOTHING",
        )?
        .execute(params![
            command.id.0.to_bytes(),
            command.device.0,
            command.device_id.as_str(),
            command.name.as_str(),
            values_text(&command.arguments)?,
            command.state.number(),
            command.attempt,
            command.percent,
            command.code,
            command.text,
            values_text(&command.values)?,
            command.cancel_requested,
            command.answered,
            command.supersede_key.as_ref().map(CommandName::as_str),
            command.created_by.as_str(),
            command.created_us,
            command.changed_us,
            command.since_us,
            command.deadline_us,
            command.timeout_us,
            command.revision.cast_signed(),
        ])?;
    if created == 0 {
        return Ok(Written::Exists);
    }
    put_step(connection, connection.last_insert_rowid(), command, step)?;
    Ok(Written::Stored)
}

fn change(connection: &Connection, command: &Command, step: &Step, renew: bool) -> Result<Written, Failure> {
    let revision = command.revision.cast_signed();
    let seq: Option<i64> = connection
        .prepare_cached(
            "UPDATE command SET state = ?3, attempt = ?4, percent = ?5, code = ?6, text = ?7, result = ?8,
                 cancel_requested = ?9, answered = ?10, changed_us = ?11, since_us = ?12, revision = ?13
             WHERE id = ?1 AND revision = ?2 RETURNING seq",
        )?
        .query_row(
            params![
                command.id.0.to_bytes(),
                revision - 1,
                command.state.number(),
                command.attempt,
                command.percent,
                command.code,
                command.text,
                values_text(&command.values)?,
                command.cancel_requested,
                command.answered,
                command.changed_us,
                command.since_us,
                revision,
            ],
            |row| row.get(0),
        )
        .optional()?;
    let Some(seq) = seq else { return Ok(Written::Gone) };
    if renew {
        connection
            .prepare_cached("DELETE FROM command_step WHERE command = ?1 AND step = ?2")?
            .execute([seq, revision - 1])?;
    }
    put_step(connection, seq, command, step)?;
    Ok(Written::Stored)
}

/// A step has the number of the revision that it made.
fn put_step(connection: &Connection, seq: i64, command: &Command, step: &Step) -> Result<(), Failure> {
    let number = command.revision.cast_signed();
    connection
        .prepare_cached("INSERT INTO command_step (command, step, time_us, state, text) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![seq, number, step.time_us, step.state.number(), step.text])?;
    connection
        .prepare_cached(
            "DELETE FROM command_step WHERE command = ?1 AND step <=
                 (SELECT step FROM command_step WHERE command = ?1 ORDER BY step DESC LIMIT 1 OFFSET ?2)",
        )?
        .execute([seq, STEPS_MAX])?;
    Ok(())
}

fn put_set(connection: &Connection, device: DeviceKey, set: &CommandSet) -> Result<(), Failure> {
    if device_exists(connection, device)? {
        connection
            .prepare_cached(
                "INSERT INTO command_set (device, declared) VALUES (?1, ?2)
                 ON CONFLICT (device) DO UPDATE SET declared = excluded.declared WHERE declared != excluded.declared",
            )?
            .execute(params![device.0, set_text(set)?])?;
    }
    Ok(())
}

/// Deletes the oldest finished commands of a device: those of which nobody will speak any more, and what is far too much.
fn prune(connection: &Connection, device: DeviceKey, keep: usize, now_us: i64) -> Result<(), Failure> {
    let keep = i64::try_from(keep).unwrap_or(i64::MAX);
    let finished: i64 = connection
        .prepare_cached("SELECT count(*) FROM command WHERE device = ?1 AND state >= 4")?
        .query_row([device.0], |row| row.get(0))?;
    if finished <= keep {
        return Ok(());
    }
    let old = connection
        .prepare_cached(
            "DELETE FROM command WHERE device = ?1 AND state >= 4 AND max(deadline_us, changed_us) < ?3 AND seq <=
                 (SELECT seq FROM command WHERE device = ?1 AND state >= 4 ORDER BY seq DESC LIMIT 1 OFFSET ?2)",
        )?
        .execute([device.0.into(), keep, now_us.saturating_sub(KNOWN_US)])?;
    let most = keep.saturating_mul(YOUNG_FACTOR);
    if finished - i64::try_from(old).unwrap_or(0) > most {
        connection
            .prepare_cached(
                "DELETE FROM command WHERE seq IN (SELECT seq FROM command WHERE device = ?1 AND state >= 4
                     ORDER BY answered = 0 AND attempt > 0 DESC, seq DESC LIMIT -1 OFFSET ?2)",
            )?
            .execute([device.0.into(), most])?;
    }
    Ok(())
}

#[async_trait]
impl CommandStore for SqliteMeta {
    async fn open_commands(&self) -> Result<Vec<Command>, MetaError> {
        self.read(|connection| {
            let mut statement = connection.prepare("SELECT * FROM command WHERE state < 4 ORDER BY seq")?;
            let commands = statement.query_map([], command)?.collect::<Result<_, _>>()?;
            Ok(commands)
        })
        .await
    }

    async fn commit_commands(&self, commit: CommandCommit) -> Result<Vec<Written>, MetaError> {
        self.write(move |connection| {
            let mut written = Vec::with_capacity(commit.writes.len());
            let mut finished = BTreeSet::new();
            for write in &commit.writes {
                written.push(match write {
                    CommandWrite::Create(command, step) => create(connection, command, step)?,
                    CommandWrite::Change(command, step) => change(connection, command, step, false)?,
                    CommandWrite::Renew(command, step) => change(connection, command, step, true)?,
                });
                if !write.command().state.is_open() {
                    finished.insert(write.command().device);
                }
            }
            for device in finished {
                prune(connection, device, commit.history_per_device, commit.now_us)?;
            }
            for (device, set) in &commit.sets {
                put_set(connection, *device, set)?;
            }
            Ok(written)
        })
        .await
    }

    async fn commands(&self, ids: Vec<CommandId>) -> Result<Vec<Command>, MetaError> {
        self.read(move |connection| {
            let mut found = Vec::new();
            for id in ids {
                found.extend(find(connection, id)?.map(|(_, command)| command));
            }
            Ok(found)
        })
        .await
    }

    async fn given_up(&self, devices: Vec<DeviceKey>, limit: usize) -> Result<Vec<Command>, MetaError> {
        self.read(move |connection| {
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let mut found = Vec::new();
            let mut statement = connection.prepare_cached(
                "SELECT * FROM command WHERE device = ?1
                     AND state >= 4 AND answered = 0 AND attempt > 0 AND (state = 9 OR cancel_requested = 1)
                 ORDER BY seq DESC LIMIT ?2",
            )?;
            for device in devices {
                for one in statement.query_map([device.0.into(), limit], command)? {
                    found.push(one?);
                }
            }
            Ok(found)
        })
        .await
    }

    async fn command(&self, id: CommandId) -> Result<Option<(Command, Vec<Step>)>, MetaError> {
        self.read(move |connection| {
            let Some((seq, command)) = find(connection, id)? else { return Ok(None) };
            let mut statement = connection
                .prepare_cached("SELECT state, time_us, text FROM command_step WHERE command = ?1 ORDER BY step")?;
            let steps = statement
                .query_map([seq], |row| {
                    Ok(Step { state: state(row.get(0)?)?, time_us: row.get(1)?, text: row.get(2)? })
                })?
                .collect::<Result<_, _>>()?;
            Ok(Some((command, steps)))
        })
        .await
    }

    async fn commands_of(
        &self,
        device: DeviceKey,
        open: bool,
        before: Option<i64>,
        limit: usize,
    ) -> Result<CommandPage, MetaError> {
        self.read(move |connection| {
            let below = if open { FINISHED } else { u8::MAX };
            // One more than asked for tells whether there is a next page.
            let wanted = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
            let mut statement = connection.prepare_cached(
                "SELECT * FROM command WHERE device = ?1 AND seq < ?2 AND state < ?3 ORDER BY seq DESC LIMIT ?4",
            )?;
            let mut found: Vec<(i64, Command)> = statement
                .query_map(params![device.0, before.unwrap_or(i64::MAX), below, wanted], |row| {
                    Ok((row.get("seq")?, command(row)?))
                })?
                .collect::<Result<_, _>>()?;
            let more = found.len() > limit;
            found.truncate(limit);
            let next = found.last().filter(|_| more).map(|(seq, _)| *seq);
            Ok(CommandPage { commands: found.into_iter().map(|(_, command)| command).collect(), next })
        })
        .await
    }

    async fn command_set(&self, device: DeviceKey) -> Result<Option<CommandSet>, MetaError> {
        self.read(move |connection| {
            let declared: Option<String> = connection
                .prepare_cached("SELECT declared FROM command_set WHERE device = ?1")?
                .query_row([device.0], |row| row.get(0))
                .optional()?;
            Ok(declared.as_deref().map(read_set).transpose()?)
        })
        .await
    }
}
