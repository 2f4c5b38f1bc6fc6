//! Devices and their credentials.

use super::State;
use super::access::token_hash;
use super::fleet::Fleet;
use super::fleet::filter::AlertCounts;
use super::problem::Problem;
use super::query::{json_value, time_text};
use super::request::{Body, Caller};
use crate::ports::{BusEvent, DeviceVerifier, NewDevice};
use actix_web::{HttpResponse, web};
use pulsewire_core::accounting::{Accounting, DropReason};
use pulsewire_core::device::{self, Device};
use pulsewire_core::ids::{DeviceId, DeviceKey, GroupName, ProfileName};
use pulsewire_core::role::Role;
use pulsewire_core::sample::{RejectReason, Sample};
use pulsewire_core::scope::DeviceScope;
use pulsewire_proto::auth::Verifier;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How long a replaced secret still works.
const OVERLAP_US: i64 = 24 * 3_600_000_000;

/// Ids that no new device may have: their paths are taken.
const RESERVED_IDS: [&str; 3] = ["bulk", "facets", "positions"];

/// A device.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct DeviceJson {
    id: String,
    name: String,
    tags: BTreeMap<String, String>,
    group: Option<String>,
    profile: Option<String>,
    enabled: bool,
    created: String,
    presence: &'static str,
    last_seen: Option<String>,
    firmware: Option<String>,
    metrics: usize,
    alerts: OpenAlertsJson,
    /// Newest values by metric, of those that were asked for; only in a list that asked for any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) latest: Option<BTreeMap<String, LatestValueJson>>,
    accounting: AccountingJson,
}

/// How many alerts are open, at most a second ago.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct OpenAlertsJson {
    critical: u32,
    warning: u32,
    info: u32,
}

/// The newest value of a metric.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct LatestValueJson {
    time: String,
    value: serde_json::Value,
    unit: String,
}

impl LatestValueJson {
    pub(super) fn new(sample: &Sample, unit: String) -> Self {
        Self { time: time_text(sample.time_us), value: json_value(&sample.value), unit }
    }
}

/// What became of what was sent; see `docs/http-api.md`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct AccountingJson {
    /// Reports accepted, without repeats.
    reports: u64,
    /// Reports that a device declared as lost.
    skipped: u64,
    /// Values that arrived: `stored + duplicate + rejected + dropped`.
    received: u64,
    /// Values stored.
    stored: u64,
    /// Values of reports that came again.
    duplicate: u64,
    /// Stored live values that were older than the newest of their device when they came.
    late: u64,
    /// Stored values that took the place of one with the same time.
    replaced: u64,
    /// Values not stored and never to be.
    rejected: u64,
    /// The same by reason; only reasons that occurred.
    rejected_by: BTreeMap<String, u64>,
    /// Values neither stored nor acknowledged.
    dropped: u64,
    /// The same by reason; only reasons that occurred.
    dropped_by: BTreeMap<String, u64>,
}

impl AccountingJson {
    /// An account for people to read.
    pub fn new(account: &Accounting) -> Self {
        let by = |reasons: &[(&'static str, u64)]| {
            reasons.iter().filter(|(_, n)| *n > 0).map(|(name, n)| ((*name).to_owned(), *n)).collect()
        };
        Self {
            reports: account.reports,
            skipped: account.skipped,
            received: account.received,
            stored: account.stored,
            duplicate: account.duplicate,
            late: account.late,
            replaced: account.replaced,
            rejected: account.rejected_in_all(),
            rejected_by: by(&RejectReason::ALL.map(|reason| (reason.name(), account.rejected[reason as usize]))),
            dropped: account.dropped_in_all(),
            dropped_by: by(&DropReason::ALL.map(|reason| (reason.name(), account.dropped[reason as usize]))),
        }
    }
}

/// A device to be made.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDeviceJson {
    id: String,
    name: Option<String>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    group: Option<String>,
    profile: Option<String>,
}

/// What to change. `"group": null` takes the device out of its group; `profile` likewise.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceChange {
    name: Option<String>,
    tags: Option<BTreeMap<String, String>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    group: Option<Option<String>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    profile: Option<Option<String>>,
    enabled: Option<bool>,
}

/// Tells `null` from absent.
pub(super) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(from).map(Some)
}

/// A new device with its secret, shown once.
#[derive(Serialize, utoipa::ToSchema)]
pub struct CreatedDevice {
    device: DeviceJson,
    /// 64 hex digits.
    secret: String,
}

/// How to replace a secret.
#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretChange {
    /// End the old secret, and a session made with it, at once.
    #[serde(default)]
    revoke_previous: bool,
}

/// A new secret, shown once.
#[derive(Serialize, utoipa::ToSchema)]
pub struct NewSecret {
    secret: String,
    previous_valid_until: Option<String>,
}

/// A new bearer token, shown once.
#[derive(Serialize, utoipa::ToSchema)]
pub struct NewToken {
    token: String,
}

pub(super) fn parse_group(group: Option<&str>) -> Result<Option<GroupName>, Problem> {
    group.map(GroupName::parse).transpose().map_err(|error| Problem::field("group", error))
}

pub(super) fn parse_profile(profile: Option<&str>) -> Result<Option<ProfileName>, Problem> {
    profile.map(ProfileName::parse).transpose().map_err(|error| Problem::field("profile", error))
}

/// A device as it is shown, with the open alerts as they are known.
pub(super) fn to_json(state: &State, device: &Device, alerts: &AlertCounts) -> DeviceJson {
    let [info, warning, critical] = alerts.get(&device.key).copied().unwrap_or_default();
    let seen = state.presence.get(device.key);
    let account = state.ingest.accounts().of(device.key);
    let metrics = state.catalogue.read().map(|c| c.metrics_of(device.key)).unwrap_or(0);
    DeviceJson {
        id: device.id.to_string(),
        name: device.name.clone(),
        tags: device.tags.clone(),
        group: device.group.as_ref().map(ToString::to_string),
        profile: device.profile.as_ref().map(ToString::to_string),
        enabled: device.enabled,
        created: time_text(device.created_us),
        presence: seen.presence.name(),
        last_seen: seen.last_seen_us.map(time_text),
        firmware: seen.firmware,
        metrics,
        alerts: OpenAlertsJson { critical, warning, info },
        latest: None,
        accounting: AccountingJson::new(&account),
    }
}

/// The device a path names; one outside the scope is as if it did not exist.
pub fn find(state: &State, scope: &DeviceScope, id: &str) -> Result<Arc<Device>, Problem> {
    let missing = || Problem::missing("device", &id.chars().take(80).collect::<String>());
    let id = DeviceId::parse(id).map_err(|_| missing())?;
    let directory = state.directory.read().map_err(Problem::internal)?;
    directory.by_id(&id).filter(|device| scope.sees(device)).cloned().ok_or_else(missing)
}

fn new_secret() -> Result<(String, DeviceVerifier), Problem> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(Problem::internal)?;
    let Verifier { stored_key, server_key } = Verifier::from_secret(&secret);
    Ok((hex::encode(secret), DeviceVerifier { stored_key: stored_key.0, server_key: server_key.0 }))
}

/// Make a device. Its secret is shown once.
#[utoipa::path(post, path = "/devices", tag = "devices", request_body = NewDeviceJson, responses(
    (status = 201, body = CreatedDevice), (status = 400, body = Problem), (status = 409, body = Problem)))]
pub async fn create(
    state: web::Data<State>,
    caller: Caller,
    body: Body<NewDeviceJson>,
) -> Result<HttpResponse, Problem> {
    caller.require(Role::Admin)?;
    let NewDeviceJson { id, name, tags, group, profile } = body.read().await?;
    let id = DeviceId::parse(&id).map_err(|error| Problem::field("id", error))?;
    if RESERVED_IDS.contains(&id.as_str()) {
        let detail = format!("id is {:?}, which is a path of its own; give another", id.as_str());
        return Err(Problem::field("id", detail));
    }
    let name = name.unwrap_or_else(|| id.to_string());
    device::check_name(&name).map_err(|error| Problem::field("name", error))?;
    device::check_tags(&tags).map_err(|error| Problem::field("tags", error))?;
    let group = parse_group(group.as_deref())?;
    caller.check_group(group.as_ref())?;
    let profile = parse_profile(profile.as_deref())?;
    let (secret, verifier) = new_secret()?;
    let new = NewDevice { id, name, tags, group, profile, verifier, created_us: state.clock.now_us() };
    let parts = state.clone();
    let device = state
        .complete(async move {
            let device = parts.devices.create_device(new).await?;
            parts.directory.write().map_err(Problem::internal)?.put(Arc::new(device.clone()));
            parts.bus.publish(BusEvent::device_changed(device.key, false));
            Ok(device)
        })
        .await?;
    Ok(HttpResponse::Created().json(CreatedDevice { device: to_json(&state, &device, &AlertCounts::new()), secret }))
}

/// One device.
#[utoipa::path(get, path = "/devices/{id}", tag = "devices", params(("id" = String, Path)), responses(
    (status = 200, body = DeviceJson), (status = 404, body = Problem)))]
pub async fn show(
    state: web::Data<State>,
    caller: Caller,
    path: web::Path<String>,
) -> Result<web::Json<DeviceJson>, Problem> {
    let device = find(&state, caller.scope(), &path)?;
    Ok(web::Json(to_json(&state, &device, &*Fleet::alerts(&state, caller.scope()).await?)))
}

/// Edit a device.
#[utoipa::path(patch, path = "/devices/{id}", tag = "devices", request_body = DeviceChange,
    params(("id" = String, Path)), responses(
    (status = 200, body = DeviceJson), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub async fn update(
    state: web::Data<State>,
    caller: Caller,
    path: web::Path<String>,
    body: Body<DeviceChange>,
) -> Result<web::Json<DeviceJson>, Problem> {
    caller.require(Role::Operator)?;
    let change = body.read().await?;
    if change.enabled.is_some() {
        caller.require(Role::Admin)?;
    }
    if let Some(group) = &change.group {
        caller.check_group(parse_group(group.as_deref())?.as_ref())?;
    }
    let (parts, scope) = (state.clone(), caller.scope().clone());
    let device = state.complete(async move { edit(&parts, &scope, &path, change).await }).await?;
    Ok(web::Json(to_json(&state, &device, &*Fleet::alerts(&state, caller.scope()).await?)))
}

async fn edit(state: &State, scope: &DeviceScope, id: &str, change: DeviceChange) -> Result<Arc<Device>, Problem> {
    let _editing = state.device_edits.lock().await;
    let known = find(state, scope, id)?;
    // A device that is disabled once more is published once more, so that the hub looks again; nothing at all is not.
    if matches!(change, DeviceChange { name: None, tags: None, group: None, profile: None, enabled: None }) {
        return Ok(known);
    }
    let DeviceChange { name, tags, group, profile, enabled } = change;
    let mut device = (*known).clone();
    if let Some(name) = name {
        device::check_name(&name).map_err(|error| Problem::field("name", error))?;
        device.name = name;
    }
    if let Some(tags) = tags {
        device::check_tags(&tags).map_err(|error| Problem::field("tags", error))?;
        device.tags = tags;
    }
    if let Some(group) = group {
        device.group = parse_group(group.as_deref())?;
    }
    if let Some(profile) = profile {
        device.profile = parse_profile(profile.as_deref())?;
    }
    device.enabled = enabled.unwrap_or(device.enabled);
    state.devices.update_device(device.clone()).await?;
    let device = Arc::new(device);
    state.directory.write().map_err(Problem::internal)?.put(device.clone());
    state.bus.publish(BusEvent::device_changed(device.key, !device.enabled));
    Ok(device)
}

/// Delete a device with everything it sent.
#[utoipa::path(delete, path = "/devices/{id}", tag = "devices", params(("id" = String, Path)), responses(
    (status = 204), (status = 404, body = Problem)))]
pub async fn delete(state: web::Data<State>, caller: Caller, path: web::Path<String>) -> Result<HttpResponse, Problem> {
    caller.require(Role::Admin)?;
    let (parts, scope) = (state.clone(), caller.scope().clone());
    // After a stop or a crash the next start finishes it.
    let delete = async move {
        let editing = parts.device_edits.lock().await;
        let device = find(&parts, &scope, &path)?;
        parts.devices.delete_device(device.key).await?;
        parts.directory.write().map_err(Problem::internal)?.remove(device.key);
        parts.bus.publish(BusEvent::device_deleted(device.key));
        drop(editing);
        forget(&parts, device.key).await
    };
    state.complete(delete).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Removes what a device stored.
pub(super) async fn forget(state: &State, device: DeviceKey) -> Result<(), Problem> {
    state.ingest.forget(device).await.map_err(Problem::internal)?;
    state.journal.forget_device(device).await.map_err(Problem::internal)
}

/// Replace a device's secret. The new one is shown once; the old one works 24 h longer unless revoked.
#[utoipa::path(post, path = "/devices/{id}/secret", tag = "devices", request_body = Option<SecretChange>,
    params(("id" = String, Path)), responses(
    (status = 200, body = NewSecret), (status = 404, body = Problem)))]
pub async fn replace_secret(
    state: web::Data<State>,
    caller: Caller,
    path: web::Path<String>,
    body: Body<SecretChange>,
) -> Result<web::Json<NewSecret>, Problem> {
    caller.require(Role::Admin)?;
    let SecretChange { revoke_previous: revoke } = body.read_or_default().await?;
    let device = find(&state, caller.scope(), &path)?;
    let (secret, verifier) = new_secret()?;
    let until_us = (!revoke).then(|| state.clock.now_us() + OVERLAP_US);
    let parts = state.clone();
    state
        .complete(async move {
            parts.devices.replace_secret(device.key, verifier, until_us).await?;
            if revoke {
                parts.bus.publish(BusEvent::device_changed(device.key, revoke));
            }
            Ok(())
        })
        .await?;
    Ok(web::Json(NewSecret { secret, previous_valid_until: until_us.map(time_text) }))
}

/// Make a bearer token for a device that cannot compute the login proof. It replaces an earlier one.
#[utoipa::path(post, path = "/devices/{id}/token", tag = "devices", params(("id" = String, Path)), responses(
    (status = 201, body = NewToken), (status = 404, body = Problem)))]
pub async fn create_token(
    state: web::Data<State>,
    caller: Caller,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    caller.require(Role::Admin)?;
    let device = find(&state, caller.scope(), &path)?;
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(Problem::internal)?;
    let token = format!("pwd_{}", hex::encode(bytes));
    let hash = token_hash(&token);
    state.devices.set_token(device.key, hash).await?;
    state.bus.publish(BusEvent::device_changed(device.key, true));
    Ok(HttpResponse::Created().json(NewToken { token }))
}
