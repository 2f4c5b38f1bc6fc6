//! The whole at a glance.

use super::State;
use super::devices::AccountingJson;
use super::fleet::{self, Counts};
use super::problem::Problem;
use super::request::Caller;
use crate::ports::StoreStatus;
use actix_web::web;
use serde::Serialize;

/// Devices by presence.
#[derive(Serialize, utoipa::ToSchema)]
pub struct DeviceCounts {
    total: usize,
    online: usize,
    stale: usize,
    offline: usize,
}

/// How the store of telemetry is doing.
#[derive(Serialize, utoipa::ToSchema)]
pub struct StoreJson {
    /// Why nothing is acknowledged until a restart; null if all is well.
    stopped: Option<String>,
    /// Why samples cannot be sealed now, for example a full disk; null if all is well.
    failing: Option<String>,
    journal_bytes: u64,
    /// Memory for samples that are not sealed yet.
    heads_bytes: u64,
    disk_bytes: u64,
    /// Bytes that telemetry may take on disk; 0 = no limit.
    size_bytes_max: u64,
    /// More than 80 % of it is in use.
    nearly_full: bool,
    /// What was found damaged since the start, at most 100 entries.
    damaged: Vec<String>,
}

impl From<StoreStatus> for StoreJson {
    fn from(status: StoreStatus) -> Self {
        Self {
            nearly_full: status.is_nearly_full(),
            stopped: status.stopped,
            failing: status.failing,
            journal_bytes: status.journal_bytes,
            heads_bytes: status.heads_bytes,
            disk_bytes: status.disk_bytes,
            size_bytes_max: status.size_bytes_max,
            damaged: status.damaged,
        }
    }
}

/// The whole at a glance.
#[derive(Serialize, utoipa::ToSchema)]
pub struct OverviewJson {
    devices: DeviceCounts,
    /// Values stored per second by all devices, averaged over ten seconds; null for who sees some groups only.
    samples_per_s: Option<f64>,
    /// Values stored; those of deleted devices count until the next start.
    samples_stored: u64,
    /// What became of everything that devices sent; that of deleted devices counts until the next start.
    accounting: AccountingJson,
    /// Null for who sees some groups only.
    store: Option<StoreJson>,
    /// Open live sockets; null for who sees some groups only.
    viewers: Option<usize>,
    /// Logged-in devices.
    sessions: usize,
    uptime_s: u64,
}

/// Counts for the first page.
#[utoipa::path(get, path = "/overview", tag = "service", responses((status = 200, body = OverviewJson)))]
pub async fn overview(state: web::Data<State>, caller: Caller) -> Result<web::Json<OverviewJson>, Problem> {
    let counts = fleet::counts(&state, caller.scope()).await?;
    // What is of the whole says something of the devices that are not seen.
    let whole = caller.scope().is_all();
    let Counts { total, online, stale, accounting, .. } = *counts;
    Ok(web::Json(OverviewJson {
        devices: DeviceCounts { total, online, stale, offline: total.saturating_sub(online + stale) },
        samples_per_s: whole.then(|| state.ingest.accounts().values_per_s(state.clock.now_us())),
        samples_stored: accounting.stored,
        accounting: AccountingJson::new(&accounting),
        store: whole.then(|| state.journal.status().into()),
        viewers: whole.then(|| state.live.viewers()),
        sessions: online + stale,
        uptime_s: state.started.elapsed().as_secs(),
    }))
}
