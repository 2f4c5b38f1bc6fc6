//! This server: what it is, what it runs on and how it is.

mod health;
mod process;

pub use health::Doors;

use super::State;
use super::fleet::{self, Fleet};
use super::live_status::LiveJson;
use super::overview::StoreJson;
use super::problem::Problem;
use super::query::time_text;
use super::request::Caller;
use actix_web::web;
use health::{HealthJson, Trouble};
use process::ProcessJson;
use pulsewire_core::push::ChannelKind;
use pulsewire_core::role::Role;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What the server was started with, as far as people are told.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The data folder.
    pub data_dir: PathBuf,
    /// How the doors are guarded.
    pub doors: Doors,
}

/// This server.
#[derive(Serialize, utoipa::ToSchema)]
pub struct AboutJson {
    name: String,
    version: &'static str,
    started: String,
    uptime_s: u64,
    os: &'static str,
    cpus: usize,
    process: ProcessJson,
    /// For admins; else null.
    data_dir: Option<String>,
    /// Null for who sees some groups only, as `live`.
    store: Option<StoreJson>,
    live: Option<LiveJson>,
    devices: usize,
    /// Metrics of all devices.
    series: usize,
    /// Logged-in devices.
    sessions: usize,
    /// Ways by which people are told, and whether they are set up.
    channels: BTreeMap<&'static str, bool>,
    health: Vec<HealthJson>,
}

/// This server: what it is, what it runs on and how it is.
#[utoipa::path(get, path = "/about", tag = "service", responses((status = 200, body = AboutJson)))]
pub async fn about(state: web::Data<State>, caller: Caller) -> Result<web::Json<AboutJson>, Problem> {
    let admin = caller.require(Role::Admin).is_ok();
    let scope = caller.scope();
    // What is of the whole says something of the devices that are not seen.
    let whole = scope.is_all();
    let status = state.journal.status();
    let troubles = troubles(&state, admin).await?;
    let data_dir = state.facts.data_dir.clone();
    let look = move || Ok((ProcessJson::read(), free_bytes(&data_dir)));
    let (process, free_bytes) = Fleet::work(&state, look).await?;
    let counts = fleet::counts(&state, scope).await?;
    let (now_us, elapsed) = (state.clock.now_us(), state.started.elapsed());
    let live = state.live.status();
    let of_whole = |check: HealthJson| if whole { check } else { check.without_figures() };
    let health = vec![
        of_whole(health::journal(&status)),
        of_whole(health::store(&status)),
        health::disk(free_bytes),
        health::clock(state.started_us, now_us, elapsed),
        health::push(&troubles),
        health::tls(&state.facts.doors),
        of_whole(health::viewers(live.viewers, live.slow)),
        health::files(&process),
    ];
    let channels =
        [ChannelKind::WebPush, ChannelKind::Apns, ChannelKind::Fcm, ChannelKind::Email, ChannelKind::Webhook];
    Ok(web::Json(AboutJson {
        name: state.name.clone(),
        version: env!("CARGO_PKG_VERSION"),
        started: time_text(state.started_us),
        uptime_s: elapsed.as_secs(),
        os: std::env::consts::OS,
        cpus: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        process,
        data_dir: admin.then(|| state.facts.data_dir.display().to_string()),
        store: whole.then(|| status.into()),
        live: whole.then(|| live.into()),
        devices: counts.total,
        series: counts.series,
        sessions: counts.online + counts.stale,
        channels: channels.into_iter().map(|kind| (kind.name(), state.outbox.available(kind))).collect(),
        health,
    }))
}

/// Providers in trouble; whose they are is for admins.
async fn troubles(state: &State, admin: bool) -> Result<Vec<Trouble>, Problem> {
    let all = state.outbox.providers().await?;
    let trouble = |one: crate::outbox::ProviderState| {
        let refuses = one.refuses.is_some();
        let reason = one.refuses.or_else(|| (!one.view.down.is_empty()).then_some(one.view.down))?;
        Some(match admin {
            true => Trouble { provider: one.view.provider, refuses, reason },
            false => Trouble { provider: "a provider".into(), refuses, reason: "admins are told why".into() },
        })
    };
    Ok(all.into_iter().filter_map(|(one, _)| trouble(one)).collect())
}

/// What is free where the data is.
fn free_bytes(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}
