//! Commands to devices, and what devices know.

use super::State;
use super::devices;
use super::problem::Problem;
use super::query::{self, Page, duration_text, parse_duration, time_text};
use super::request::{Body, Caller};
use crate::commands::{CommandsError, NewCommand};
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use pulsewire_core::command::{
    ArgumentDef, ArgumentError, Command, CommandDef, Step, TIMEOUT_US, TTL_US, Value, Values,
};
use pulsewire_core::ids::{CommandId, CommandName};
use pulsewire_core::role::Role;
use pulsewire_core::scope::DeviceScope;
use serde::{Deserialize, Serialize};

/// How long a command may wait to be begun, and how long its result is waited for, unless the caller says otherwise.
const TTL_DEFAULT: &str = "24h";
const TIMEOUT_DEFAULT: &str = "30s";

type Json = serde_json::Map<String, serde_json::Value>;

/// A command.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct CommandJson {
    id: String,
    device: String,
    name: String,
    #[schema(value_type = Object)]
    arguments: Json,
    /// `queued`, `sent`, `delivered`, `in_progress`, `succeeded`, `failed`, `rejected`, `expired`, `timed_out`,
    /// `canceled` or `dead`.
    state: &'static str,
    attempt: u32,
    percent: Option<u8>,
    code: String,
    text: String,
    #[schema(value_type = Object)]
    values: Json,
    cancel_requested: bool,
    supersede_key: Option<String>,
    created_by: String,
    created: String,
    changed: String,
    deadline: String,
    timeout: String,
    revision: u64,
    /// Only in the answer about one command: the newest 50 steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<Vec<StepJson>>,
}

/// One step of a command's history.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct StepJson {
    state: &'static str,
    time: String,
    text: String,
}

/// A command to be given.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCommandJson {
    name: String,
    /// Booleans, numbers and strings.
    #[serde(default)]
    #[schema(value_type = Object)]
    arguments: Json,
    /// A ULID of the caller's: the same request again does nothing twice.
    id: Option<String>,
    /// How long it may wait to be begun: `1s` to `30d`, `24h` unless given.
    ttl: Option<String>,
    /// How long to wait for its result: `1s` to `24h`, `30s` unless given.
    timeout: Option<String>,
    /// Takes the place of a queued command with the same key.
    supersede_key: Option<String>,
}

impl NewCommandJson {
    /// The caller chose its id.
    pub(super) fn has_id(&self) -> bool {
        self.id.is_some()
    }
}

/// What a device knows.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct CommandSetJson {
    /// False for a device that never said.
    declared: bool,
    commands: Vec<CommandDefJson>,
}

/// One command that a device knows.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct CommandDefJson {
    name: String,
    title: String,
    arguments: Vec<ArgumentDefJson>,
}

/// One argument that it takes.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ArgumentDefJson {
    name: String,
    /// `bool`, `i64`, `f64` or `text`.
    r#type: &'static str,
    required: bool,
    min: Option<f64>,
    max: Option<f64>,
    unit: String,
}

/// Which commands.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct CommandFilter {
    /// `open` or `all` (the default).
    state: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
}

impl From<CommandsError> for Problem {
    fn from(error: CommandsError) -> Self {
        let detail = error.to_string();
        match error {
            CommandsError::Arguments(ArgumentError::UnknownCommand { .. }) => {
                Self::unprocessable("unknown_command", "name", &detail)
            }
            CommandsError::Arguments(ArgumentError::BadArgument { argument, .. }) => {
                Self::unprocessable("bad_argument", &format!("arguments.{argument}"), &detail)
            }
            CommandsError::TooLarge(_) => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "command_too_large", detail),
            CommandsError::TooMany { .. } => Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_commands", detail),
            CommandsError::Exists(_) => Self::new(StatusCode::CONFLICT, "exists", detail),
            CommandsError::Disabled(_) => Self::new(StatusCode::CONFLICT, "device_disabled", detail),
            CommandsError::NoDevice => Self::new(StatusCode::NOT_FOUND, "no_such_device", detail),
            CommandsError::NoCommand(id) => Self::missing("command", &id.to_string()),
            CommandsError::Finished(_) => Self::new(StatusCode::CONFLICT, "finished", detail),
            CommandsError::NoChance => Self::internal(error),
            CommandsError::Store(cause) => {
                tracing::error!(%cause, "a command could not be looked up or stored");
                Self::unavailable(detail)
            }
            CommandsError::Unstored | CommandsError::Stopping => Self::unavailable(detail),
        }
    }
}

fn values_json(values: &Values) -> Json {
    let value = |value: &Value| match value {
        Value::Bool(value) => serde_json::Value::from(*value),
        Value::I64(value) => (*value).into(),
        Value::F64(value) => (*value).into(),
        Value::Text(value) => value.as_ref().into(),
    };
    values.iter().map(|(name, one)| (name.to_string(), value(one))).collect()
}

fn to_json(command: &Command, history: Option<Vec<Step>>) -> CommandJson {
    let step = |step: Step| StepJson { state: step.state.name(), time: time_text(step.time_us), text: step.text };
    CommandJson {
        id: command.id.to_string(),
        device: command.device_id.to_string(),
        name: command.name.to_string(),
        arguments: values_json(&command.arguments),
        state: command.state.name(),
        attempt: command.attempt,
        percent: command.percent,
        code: command.code.clone(),
        text: command.text.clone(),
        values: values_json(&command.values),
        cancel_requested: command.cancel_requested,
        supersede_key: command.supersede_key.as_ref().map(ToString::to_string),
        created_by: command.created_by.to_string(),
        created: time_text(command.created_us),
        changed: time_text(command.changed_us),
        deadline: time_text(command.deadline_us),
        timeout: duration_text(command.timeout_us),
        revision: command.revision,
        history: history.map(|steps| steps.into_iter().map(step).collect()),
    }
}

fn definition(command: CommandDef) -> CommandDefJson {
    let argument = |def: ArgumentDef| ArgumentDefJson {
        name: def.name.to_string(),
        r#type: def.argument_type.name(),
        required: def.required,
        min: def.min,
        max: def.max,
        unit: def.unit,
    };
    CommandDefJson {
        name: command.name.to_string(),
        title: command.title,
        arguments: command.arguments.into_iter().map(argument).collect(),
    }
}

fn parse_id(id: &str) -> Result<CommandId, Problem> {
    CommandId::parse(id).map_err(|_| Problem::missing("command", &id.chars().take(80).collect::<String>()))
}

fn parse_values(json: Json) -> Result<Values, Problem> {
    json.into_iter().map(|(name, value)| Ok((parse_name("arguments", &name)?, parse_value(&name, value)?))).collect()
}

fn parse_name(field: &str, text: &str) -> Result<CommandName, Problem> {
    CommandName::parse(text).map_err(|error| Problem::field(field, error))
}

fn parse_value(name: &str, json: serde_json::Value) -> Result<Value, Problem> {
    let bad = |detail: &str| {
        let detail = format!("{name}: {detail}");
        Problem::unprocessable("bad_argument", &format!("arguments.{name}"), &detail)
    };
    match json {
        serde_json::Value::Bool(value) => Ok(Value::Bool(value)),
        serde_json::Value::String(value) => Ok(Value::Text(value.into())),
        serde_json::Value::Number(number) if number.is_f64() => {
            number.as_f64().map(Value::F64).ok_or_else(|| bad("a finite number is wanted"))
        }
        serde_json::Value::Number(number) => {
            number.as_i64().map(Value::I64).ok_or_else(|| bad("a whole number is at most 9223372036854775807"))
        }
        _ => Err(bad("a boolean, a number or a string is wanted")),
    }
}

/// Checks a command that someone wants to give.
pub(super) fn parse_new(json: NewCommandJson, caller: &Caller) -> Result<NewCommand, Problem> {
    let time = |field, text: Option<String>, default: &str, range: std::ops::RangeInclusive<i64>| {
        parse_duration(field, text.as_deref().unwrap_or(default), *range.start(), *range.end())
    };
    Ok(NewCommand {
        id: json
            .id
            .as_deref()
            .map(|id| CommandId::parse(id).map_err(|error| Problem::field("id", error)))
            .transpose()?,
        name: parse_name("name", &json.name)?,
        arguments: parse_values(json.arguments)?,
        ttl_us: time("ttl", json.ttl, TTL_DEFAULT, TTL_US)?,
        timeout_us: time("timeout", json.timeout, TIMEOUT_DEFAULT, TIMEOUT_US)?,
        supersede_key: json.supersede_key.as_deref().map(|key| parse_name("supersede_key", key)).transpose()?,
        user: caller.identity.session.user.name.clone(),
    })
}

/// What a device said that it knows, also while it is away.
#[utoipa::path(get, path = "/devices/{id}/command-set", tag = "commands", params(("id" = String, Path)), responses(
    (status = 200, body = CommandSetJson), (status = 404, body = Problem)))]
pub async fn command_set(
    state: web::Data<State>,
    caller: Caller,
    path: web::Path<String>,
) -> Result<web::Json<CommandSetJson>, Problem> {
    let device = devices::find(&state, caller.scope(), &path)?;
    let set = state.commands.command_set(device.key).await?;
    let declared = set.is_some();
    let commands = set.unwrap_or_default().commands.into_iter().map(definition).collect();
    Ok(web::Json(CommandSetJson { declared, commands }))
}

/// Give a device a command. It is stored when this answers, and waits for the device.
#[utoipa::path(post, path = "/devices/{id}/commands", tag = "commands", request_body = NewCommandJson,
    params(("id" = String, Path)), responses(
    (status = 202, body = CommandJson), (status = 200, body = CommandJson, description = "It was there already."),
    (status = 400, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem),
    (status = 413, body = Problem), (status = 422, body = Problem), (status = 429, body = Problem)))]
pub async fn create(
    state: web::Data<State>,
    caller: Caller,
    path: web::Path<String>,
    body: Body<NewCommandJson>,
) -> Result<HttpResponse, Problem> {
    caller.require(Role::Operator)?;
    let new = parse_new(body.read().await?, &caller)?;
    let device = devices::find(&state, caller.scope(), &path)
        .map_err(|missing| Problem::new(StatusCode::NOT_FOUND, "no_such_device", missing.detail))?;
    let parts = state.clone();
    let submitted =
        state.complete(async move { parts.commands.submit(&device, new).await.map_err(Problem::from) }).await?;
    let json = to_json(&submitted.command, None);
    Ok(if submitted.created { HttpResponse::Accepted().json(json) } else { HttpResponse::Ok().json(json) })
}

/// A device's commands, newest first.
#[utoipa::path(get, path = "/devices/{id}/commands", tag = "commands",
    params(("id" = String, Path), CommandFilter), responses(
    (status = 200, body = Page<CommandJson>), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub async fn list(
    state: web::Data<State>,
    caller: Caller<CommandFilter>,
    path: web::Path<String>,
) -> Result<web::Json<Page<CommandJson>>, Problem> {
    let filter = &caller.query;
    let limit = query::limit(filter.limit)?;
    let open = match filter.state.as_deref() {
        Some("open") => true,
        None | Some("all") => false,
        Some(other) => return Err(Problem::field("state", format!("state is {other:?}; open or all is allowed"))),
    };
    let wrong = |_| Problem::field("cursor", "cursor must be the `next` of an earlier answer");
    let before = filter.cursor.as_deref().map(|cursor| cursor.parse().map_err(wrong)).transpose()?;
    let device = devices::find(&state, caller.scope(), &path)?;
    let page = state.commands.commands_of(device.key, open, before, limit).await?;
    let items = page.commands.iter().map(|command| to_json(command, None)).collect();
    Ok(web::Json(Page { items, next: page.next.map(|seq| seq.to_string()) }))
}

/// The command a path names; one of a device outside the scope is as if it did not exist.
async fn find(state: &State, scope: &DeviceScope, id: &str) -> Result<(Command, Vec<Step>), Problem> {
    let id = parse_id(id)?;
    let found = state.commands.command(id).await?;
    let directory = state.directory.read().map_err(Problem::internal)?;
    let seen = scope.is_all() || directory.by_id(&found.0.device_id).is_some_and(|device| scope.sees(device));
    if seen { Ok(found) } else { Err(CommandsError::NoCommand(id).into()) }
}

/// One command with its history.
#[utoipa::path(get, path = "/commands/{id}", tag = "commands", params(("id" = String, Path)), responses(
    (status = 200, body = CommandJson), (status = 404, body = Problem)))]
pub async fn show(
    state: web::Data<State>,
    caller: Caller,
    path: web::Path<String>,
) -> Result<web::Json<CommandJson>, Problem> {
    let (command, steps) = find(&state, caller.scope(), &path).await?;
    Ok(web::Json(to_json(&command, Some(steps))))
}

/// Give a command up: a queued one at once, another one if the device can still stop.
#[utoipa::path(post, path = "/commands/{id}/cancel", tag = "commands", params(("id" = String, Path)), responses(
    (status = 200, body = CommandJson), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub async fn cancel(
    state: web::Data<State>,
    caller: Caller,
    path: web::Path<String>,
) -> Result<web::Json<CommandJson>, Problem> {
    caller.require(Role::Operator)?;
    find(&state, caller.scope(), &path).await?;
    let (id, user) = (parse_id(&path)?, caller.identity.session.user.name.clone());
    let parts = state.clone();
    let command = state.complete(async move { parts.commands.cancel(id, user).await.map_err(Problem::from) }).await?;
    Ok(web::Json(to_json(&command, None)))
}
