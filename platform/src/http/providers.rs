//! How the push providers are.

use super::State;
use super::problem::Problem;
use super::query::{Page, time_text};
use super::request::Caller;
use crate::outbox::ProviderState;
use actix_web::web;
use pulsewire_core::role::Role;
use serde::Serialize;

/// A provider.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ProviderJson {
    /// `apns`, `fcm`, `email`, or the host of a browser's push service or of a webhook.
    provider: String,
    /// `ok`, `down` (left alone until `until`) or `refuses` (key, clock or configuration of this server need a human).
    state: &'static str,
    until: Option<String>,
    /// What it said.
    reason: Option<String>,
    /// `on`, or `frozen` while it calls so many endpoints gone that none is removed.
    pruning: &'static str,
    in_flight: usize,
    queued: u64,
    /// Since the server's start, as are the following.
    delivered: u64,
    retried: u64,
    dead: u64,
    dropped: u64,
}

impl ProviderJson {
    fn of((one, queued): (ProviderState, u64)) -> Self {
        let ProviderState { view, refuses, frozen } = one;
        let down = (!view.down.is_empty()).then_some(view.down);
        Self {
            provider: view.provider,
            state: match (&refuses, &down) {
                (Some(_), _) => "refuses",
                (None, Some(_)) => "down",
                (None, None) => "ok",
            },
            until: view.paused_until_us.map(time_text),
            reason: refuses.or(down),
            pruning: if frozen { "frozen" } else { "on" },
            in_flight: view.in_flight,
            queued,
            delivered: view.counts.delivered,
            retried: view.counts.retried,
            dead: view.counts.dead,
            dropped: view.counts.dropped,
        }
    }
}

/// Providers to which something was sent since the start, or waits: for admins.
#[utoipa::path(get, path = "/push/providers", tag = "push", responses(
    (status = 200, body = Page<ProviderJson>), (status = 403, body = Problem)))]
pub async fn list(state: web::Data<State>, caller: Caller) -> Result<web::Json<Page<ProviderJson>>, Problem> {
    caller.require(Role::Admin)?;
    let all = state.outbox.providers().await?;
    Ok(web::Json(Page::whole(all.into_iter().map(ProviderJson::of).collect())))
}
