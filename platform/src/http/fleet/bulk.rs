//! The same with many devices: in pieces, between which others have their turn.

use super::super::State;
use super::super::commands::{NewCommandJson, parse_new};
use super::super::devices::{forget, parse_group, parse_profile};
use super::super::problem::Problem;
use super::super::query::clip;
use super::super::request::{Body, Caller};
use super::Fleet;
use super::filter::{Filter, Given, SEPARATOR};
use super::order::{Asked, Sort};
use crate::commands::NewCommand;
use crate::ports::BusEvent;
use actix_web::web;
use pulsewire_core::device::{self, Device};
use pulsewire_core::ids::{DeviceId, DeviceKey, GroupName, ProfileName};
use pulsewire_core::role::Role;
use pulsewire_core::scope::DeviceScope;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::sync::Arc;

/// Most devices that are named one by one.
const IDS_MAX: usize = 1_000;
/// Devices that are changed in one transaction and told by one event; edits of single devices wait for no more than these. So
/// 100,000 devices are 500 events, about half of what the bus keeps by default for one who takes none meanwhile.
const PIECE: usize = 200;
/// Failures that are named; the others are counted by what is left of `matched`.
const FAILED_MAX: usize = 100;
/// The actions.
const ACTIONS: &str = "enable, disable, delete, set_group, set_profile, add_tag, remove_tag or command";

/// What to do, and with which devices.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceBulkJson {
    /// `enable`, `disable`, `delete`, `set_group`, `set_profile`, `add_tag`, `remove_tag` or `command`.
    action: String,
    /// These, at most 1,000.
    ids: Option<Vec<String>>,
    /// Or all that fit.
    filter: Option<DeviceBulkFilterJson>,
    /// Of `set_group`; null takes devices out of theirs.
    #[serde(default, deserialize_with = "super::super::devices::present")]
    #[schema(value_type = Option<String>)]
    group: Option<Option<String>>,
    /// Of `set_profile`; null takes it away.
    #[serde(default, deserialize_with = "super::super::devices::present")]
    #[schema(value_type = Option<String>)]
    profile: Option<Option<String>>,
    /// Of `add_tag` and `remove_tag`.
    key: Option<String>,
    /// Of `add_tag`.
    value: Option<String>,
    /// Of `command`: as for one device, without `id`.
    command: Option<NewCommandJson>,
}

/// Which devices: as in the list.
#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeviceBulkFilterJson {
    q: Option<String>,
    group: Option<String>,
    profile: Option<String>,
    /// One `key:value`, or a list of them.
    #[schema(value_type = Option<String>)]
    tag: Option<OneOrMany>,
    presence: Option<String>,
    severity: Option<String>,
    /// Every device; then, and only then, nothing else is given.
    all: bool,
}

impl DeviceBulkFilterJson {
    /// Checks it. A filter that leaves everything in has to say so: one that was to be filled in and is empty by mistake
    /// would be every device.
    fn parse(&self, scope: &DeviceScope) -> Result<Filter, Problem> {
        let tags = match &self.tag {
            None => None,
            Some(OneOrMany::One(tag)) => Some(tag.clone()),
            Some(OneOrMany::Many(tags)) if tags.is_empty() => {
                return Err(Problem::field("tag", "tag is an empty list; give key:value, or leave tag out"));
            }
            Some(OneOrMany::Many(tags)) => Some(tags.join(&SEPARATOR.to_string())),
        };
        let given = Given {
            q: self.q.as_deref().filter(|q| !q.is_empty()),
            group: self.group.as_deref(),
            profile: self.profile.as_deref(),
            tag: tags.as_deref(),
            presence: self.presence.as_deref(),
            severity: self.severity.as_deref(),
        };
        match (given == Given::default(), self.all) {
            (true, false) => {
                let detail = "the filter says nothing; for every device give \"filter\": {\"all\": true}";
                Err(Problem::field("filter", detail))
            }
            (false, true) => Err(Problem::field("all", "all is every device; leave it out, or everything else")),
            _ => Filter::parse(scope, given),
        }
    }
}

/// A text or several.
#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// What became of it.
#[derive(Debug, Default, Serialize, utoipa::ToSchema)]
pub struct BulkDone {
    /// Devices that were meant.
    matched: usize,
    /// Devices that are another now, or got the command; the rest was so already, or failed.
    changed: usize,
    /// At most 100.
    failed: Vec<BulkFailure>,
}

/// A device with which it could not be done.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct BulkFailure {
    id: String,
    detail: String,
}

impl BulkDone {
    fn fail(&mut self, id: &str, detail: impl Into<String>) {
        if self.failed.len() < FAILED_MAX {
            self.failed.push(BulkFailure { id: clip(id), detail: detail.into() });
        }
    }
}

/// What is done with each.
enum Action {
    Enable(bool),
    Delete,
    Group(Option<GroupName>),
    Profile(Option<ProfileName>),
    AddTag(String, String),
    RemoveTag(String),
    Command(Box<NewCommand>),
}

impl Action {
    /// Reads the action, for which a body has what it needs and nothing else.
    fn parse(body: &mut DeviceBulkJson, caller: &Caller) -> Result<Self, Problem> {
        let given = [
            ("group", body.group.is_some()),
            ("profile", body.profile.is_some()),
            ("key", body.key.is_some()),
            ("value", body.value.is_some()),
            ("command", body.command.is_some()),
        ];
        let takes: &[&str] = match body.action.as_str() {
            "enable" | "disable" | "delete" => &[],
            "set_group" => &["group"],
            "set_profile" => &["profile"],
            "add_tag" => &["key", "value"],
            "remove_tag" => &["key"],
            "command" => &["command"],
            other => {
                return Err(Problem::field(
                    "action",
                    format!("action is {:?}; one of {ACTIONS} is wanted", clip(other)),
                ));
            }
        };
        for (field, given) in given {
            match (given, takes.contains(&field)) {
                (true, false) => {
                    return Err(Problem::field(field, format!("{field} means nothing to {}", body.action)));
                }
                (false, true) => {
                    return Err(Problem::field(field, format!("{field} is missing; {} wants it", body.action)));
                }
                _ => {}
            }
        }
        let key = body.key.take().unwrap_or_default();
        Ok(match body.action.as_str() {
            "enable" => Self::Enable(true),
            "disable" => Self::Enable(false),
            "delete" => Self::Delete,
            "set_group" => {
                let group = parse_group(body.group.take().flatten().as_deref())?;
                caller.check_group(group.as_ref())?;
                Self::Group(group)
            }
            "set_profile" => Self::Profile(parse_profile(body.profile.take().flatten().as_deref())?),
            "add_tag" => {
                let value = body.value.take().unwrap_or_default();
                let tag = [(key.clone(), value.clone())].into();
                device::check_tags(&tag).map_err(|error| Problem::field("value", error))?;
                Self::AddTag(key, value)
            }
            "remove_tag" => {
                let tag = [(key.clone(), "-".to_owned())].into();
                device::check_tags(&tag).map_err(|error| Problem::field("key", error))?;
                Self::RemoveTag(key)
            }
            _ => {
                let Some(command) = body.command.take() else { return Err(Problem::field("command", "is missing")) };
                if command.has_id() {
                    let detail = "command.id means nothing here: each device gets a command of its own";
                    return Err(Problem::field("command.id", detail));
                }
                Self::Command(Box::new(parse_new(command, caller)?))
            }
        })
    }

    fn role(&self) -> Role {
        match self {
            Self::Enable(_) | Self::Delete => Role::Admin,
            _ => Role::Operator,
        }
    }

    /// The device as it is afterwards; None if it is so already.
    fn apply(&self, known: &Device) -> Result<Option<Device>, String> {
        let mut device = known.clone();
        match self {
            Self::Enable(enabled) => device.enabled = *enabled,
            Self::Group(group) => device.group.clone_from(group),
            Self::Profile(profile) => device.profile.clone_from(profile),
            Self::AddTag(key, value) => {
                device.tags.insert(key.clone(), value.clone());
                device::check_tags(&device.tags).map_err(|error| error.to_string())?;
            }
            Self::RemoveTag(key) => drop(device.tags.remove(key)),
            Self::Delete | Self::Command(_) => {}
        }
        Ok((device != *known).then_some(device))
    }
}

/// Do the same with many devices.
#[utoipa::path(post, path = "/devices/bulk", tag = "devices", request_body = DeviceBulkJson, responses(
    (status = 200, body = BulkDone), (status = 400, body = Problem), (status = 403, body = Problem),
    (status = 503, body = Problem)))]
pub async fn bulk(
    state: web::Data<State>,
    caller: Caller,
    body: Body<DeviceBulkJson>,
) -> Result<web::Json<BulkDone>, Problem> {
    caller.require(Role::Operator)?;
    let mut body = body.read().await?;
    let action = Action::parse(&mut body, &caller)?;
    caller.require(action.role())?;
    let mut done = BulkDone::default();
    let (keys, filter) = match (body.ids, body.filter) {
        (Some(ids), None) => {
            // Whatever they are, as long as they may be seen.
            (named(&state, caller.scope(), &ids, &mut done)?, Filter::parse(caller.scope(), Given::default())?)
        }
        (None, Some(filter)) => fitting(&state, caller.scope(), &filter).await?,
        _ => return Err(Problem::field("ids", "exactly one of ids and filter is wanted")),
    };
    done.matched = keys.len();
    let place = state.places.bulks.enter()?;
    let parts = state.clone();
    let work = async move {
        let _place = place;
        for piece in keys.chunks(PIECE) {
            match &action {
                Action::Delete => delete(&parts, &filter, piece, &mut done).await?,
                Action::Command(command) => order(&parts, &filter, piece, command, &mut done).await?,
                action => change(&parts, &filter, piece, action, &mut done).await?,
            }
            tokio::task::yield_now().await;
        }
        Ok(done)
    };
    Ok(web::Json(state.complete(work).await?))
}

/// The devices of these ids; what does not exist is a failure.
fn named(state: &State, scope: &DeviceScope, ids: &[String], done: &mut BulkDone) -> Result<Vec<DeviceKey>, Problem> {
    if ids.len() > IDS_MAX {
        let detail = format!("ids has {} entries; at most {IDS_MAX} are allowed, or a filter", ids.len());
        return Err(Problem::field("ids", detail));
    }
    let (mut keys, mut seen) = (Vec::new(), HashSet::new());
    let directory = state.directory.read().map_err(Problem::internal)?;
    for text in ids.iter().filter(|id| seen.insert(id.as_str())) {
        let id = DeviceId::parse(text).ok();
        let found = id.and_then(|id| directory.by_id(&id)).filter(|device| scope.sees(device));
        match found {
            Some(device) => keys.push(device.key),
            None => done.fail(text, "there is no such device"),
        }
    }
    Ok(keys)
}

async fn fitting(
    state: &web::Data<State>,
    scope: &DeviceScope,
    filter: &DeviceBulkFilterJson,
) -> Result<(Vec<DeviceKey>, Filter), Problem> {
    let filter = filter.parse(scope)?;
    let devices = Asked { filter: filter.clone(), sort: Sort::Id, descending: false }.devices(state).await?;
    Ok((devices.iter().map(|device| device.key).collect(), filter))
}

/// Those of a piece that are still meant: what was found may be two seconds old, and earlier pieces took their time.
async fn known(state: &State, filter: &Filter, piece: &[DeviceKey]) -> Result<Vec<Arc<Device>>, Problem> {
    let alerts = match filter.needs_alerts() {
        true => Fleet::alerts(state, filter.scope()).await?,
        false => Arc::default(),
    };
    let mut known: Vec<_> = {
        let directory = state.directory.read().map_err(Problem::internal)?;
        piece.iter().filter_map(|key| directory.by_key(*key)).cloned().collect()
    };
    filter.keep(&mut known, &state.presence, &alerts);
    Ok(known)
}

async fn change(
    state: &State,
    filter: &Filter,
    piece: &[DeviceKey],
    action: &Action,
    done: &mut BulkDone,
) -> Result<(), Problem> {
    let _editing = state.device_edits.lock().await;
    let mut changed = Vec::new();
    for known in known(state, filter, piece).await? {
        match action.apply(&known) {
            Ok(Some(device)) => changed.push(device),
            Ok(None) => {}
            Err(detail) => done.fail(known.id.as_str(), detail),
        }
    }
    if changed.is_empty() {
        return Ok(());
    }
    if let Err(error) = state.devices.update_devices(changed.clone()).await {
        return fail_all(done, &changed.iter().map(|device| &device.id).collect::<Vec<_>>(), error);
    }
    done.changed += changed.len();
    let devices: Arc<[DeviceKey]> = changed.iter().map(|device| device.key).collect();
    {
        let mut directory = state.directory.write().map_err(Problem::internal)?;
        changed.into_iter().for_each(|device| directory.put(Arc::new(device)));
    }
    state.bus.publish(BusEvent::DevicesChanged { devices, revoke: matches!(action, Action::Enable(false)) });
    Ok(())
}

/// A piece that could not be stored is told device by device, and the next ones are tried.
fn fail_all(done: &mut BulkDone, ids: &[&DeviceId], error: crate::ports::MetaError) -> Result<(), Problem> {
    let problem = Problem::from(error);
    ids.iter().for_each(|id| done.fail(id.as_str(), problem.detail.clone()));
    Ok(())
}

async fn delete(state: &State, filter: &Filter, piece: &[DeviceKey], done: &mut BulkDone) -> Result<(), Problem> {
    let editing = state.device_edits.lock().await;
    let known = known(state, filter, piece).await?;
    let keys: Vec<DeviceKey> = known.iter().map(|device| device.key).collect();
    if let Err(error) = state.devices.delete_devices(keys.clone()).await {
        return fail_all(done, &known.iter().map(|device| &device.id).collect::<Vec<_>>(), error);
    }
    {
        let mut directory = state.directory.write().map_err(Problem::internal)?;
        keys.iter().for_each(|key| drop(directory.remove(*key)));
    }
    // Of none there is nothing to tell.
    if !keys.is_empty() {
        state.bus.publish(BusEvent::DevicesDeleted { devices: keys.as_slice().into() });
    }
    drop(editing);
    done.changed += keys.len();
    for device in keys {
        // It is gone from people's sight; what it stored goes now, or with the next start.
        if let Err(problem) = forget(state, device).await {
            tracing::warn!(%device, problem = problem.detail, "what a deleted device stored stays until the next start");
        }
    }
    Ok(())
}

async fn order(
    state: &State,
    filter: &Filter,
    piece: &[DeviceKey],
    command: &NewCommand,
    done: &mut BulkDone,
) -> Result<(), Problem> {
    let known = known(state, filter, piece).await?;
    // Asked at once, they are decided on together and stored in a few transactions.
    let asked = known.iter().map(|device| state.commands.submit(device, command.clone()));
    for (device, answer) in known.iter().zip(futures_util::future::join_all(asked).await) {
        match answer {
            Ok(_) => done.changed += 1,
            Err(error) => done.fail(device.id.as_str(), error.to_string()),
        }
    }
    Ok(())
}
