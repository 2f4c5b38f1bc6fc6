//! The live service as it stands: how much it sends, and to whom it cannot send as fast as was asked.

use super::State;
use super::problem::Problem;
use super::query::time_text;
use super::request::Caller;
use crate::live::{LiveStatus, ViewerStatus};
use actix_web::web;
use pulsewire_core::role::Role;
use serde::Serialize;

/// Most viewers in one answer.
const VIEWERS_MAX: usize = 1_000;

/// The live service at a glance. Counts are since the start of the server.
#[derive(Serialize, utoipa::ToSchema)]
pub struct LiveJson {
    /// Open live sockets.
    viewers: usize,
    /// Different subscriptions; equal ones share a view.
    views: usize,
    /// Series whose newest sample is kept for viewers.
    series: usize,
    /// Subscriptions of all viewers.
    subscriptions: usize,
    /// Viewers that cannot take what they asked for as fast as they asked.
    slow: usize,
    /// Frames made by ticks, each once for all who share a view.
    frames_encoded: u64,
    frames_sent: u64,
    bytes_sent: u64,
    samples_sent: u64,
    /// Samples that a viewer of every sample was too slow for; it was told.
    samples_dropped: u64,
    snapshots_encoded: u64,
    catch_ups_encoded: u64,
    /// Times that a viewer was told that changes of alerts, commands or presence are missing.
    events_lost: u64,
    /// Position of the lossless lane.
    events_position: u64,
}

impl From<LiveStatus> for LiveJson {
    fn from(status: LiveStatus) -> Self {
        Self {
            viewers: status.viewers,
            views: status.views,
            series: status.series,
            subscriptions: status.subscriptions,
            slow: status.slow,
            frames_encoded: status.frames_encoded,
            frames_sent: status.frames_sent,
            bytes_sent: status.bytes_sent,
            samples_sent: status.samples_sent,
            samples_dropped: status.samples_dropped,
            snapshots_encoded: status.snapshots_encoded,
            catch_ups_encoded: status.catch_ups_encoded,
            events_lost: status.events_lost,
            events_position: status.events_position,
        }
    }
}

/// One live socket.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ViewerJson {
    id: u64,
    user: String,
    address: Option<String>,
    /// When it came.
    since: String,
    subscriptions: usize,
    /// Interval at which the subscription that is furthest behind is served now.
    interval_ms: u64,
    /// Age of the oldest frame that it has not got.
    behind_ms: u64,
    /// Journal records between what it has and what there is for it.
    behind_positions: u64,
    /// Frames that it has not got.
    behind_frames: u64,
    /// It is served less often than it asked for, or is late.
    slow: bool,
    /// Frames it was sent.
    frames: u64,
}

impl From<ViewerStatus> for ViewerJson {
    fn from(viewer: ViewerStatus) -> Self {
        Self {
            id: viewer.id,
            user: viewer.user.to_string(),
            address: viewer.address.map(|address| address.to_string()),
            since: time_text(viewer.since_us),
            subscriptions: viewer.subscriptions,
            interval_ms: viewer.standing.interval_us / 1000,
            behind_ms: viewer.standing.behind_us / 1000,
            behind_positions: viewer.standing.positions,
            behind_frames: viewer.standing.frames,
            slow: viewer.standing.slow,
            frames: viewer.frames,
        }
    }
}

/// The live service at a glance.
#[utoipa::path(get, path = "/live", tag = "service", responses((status = 200, body = LiveJson)))]
pub async fn live(state: web::Data<State>, _caller: Caller) -> Result<web::Json<LiveJson>, Problem> {
    Ok(web::Json(state.live.status().into()))
}

/// Live sockets, slowest first.
#[utoipa::path(get, path = "/live/viewers", tag = "service", responses((status = 200, body = [ViewerJson])))]
pub async fn viewers(state: web::Data<State>, caller: Caller) -> Result<web::Json<Vec<ViewerJson>>, Problem> {
    caller.identity.require(Role::Admin)?;
    let viewers = state.live.viewer_list();
    Ok(web::Json(viewers.into_iter().take(VIEWERS_MAX).map(ViewerJson::from).collect()))
}
