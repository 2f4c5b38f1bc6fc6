//! Browsers and apps that nobody uses any more.

use super::OutboxParts;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

/// How often they are looked for.
const EVERY: Duration = Duration::from_secs(3600);

/// Removes them at the start and once an hour, until the service stops.
pub(super) async fn remove_regularly(parts: OutboxParts, idle_max: Duration, mut stopped: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let idle_max_us = i64::try_from(idle_max.as_micros()).unwrap_or(i64::MAX);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stopped.changed() => return,
        }
        let now_us = parts.clock.now_us();
        match parts.endpoints.remove_idle(now_us.saturating_sub(idle_max_us), now_us).await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "endpoints that were not used for too long were removed"),
            Err(error) => tracing::warn!(%error, "endpoints that nobody uses could not be looked for"),
        }
    }
}
