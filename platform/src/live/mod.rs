//! Live values to viewers: subscriptions, their samples, presence. SPEC §9.
//!
//! One task follows the journal's commits (by the bus while it keeps up, else by reading the journal from its cursor) and
//! puts each live sample where a subscription wants it. A viewer takes what gathered at its own interval; what it cannot
//! take in time is dropped oldest first, up to a bound, and it is told of the gap.

mod attention;
mod encode;
mod events;
mod fanout;
mod presence;
mod subscription;
mod task;
mod viewer;

pub use attention::AttentionTable;
pub use presence::{PresenceTable, Seen};
pub use viewer::{Viewer, ViewerClose};

use crate::ports::{Bus, Clock, History, Journal, Topic};
use crate::telemetry::names;
use fanout::Fanout;
use pulsewire_core::catalogue::Catalogue;
use pulsewire_core::directory::Directory;
use pulsewire_core::ids::{Position, UserName};
use pulsewire_core::scope::DeviceScope;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;
use tokio::task::JoinHandle;

/// Bounds of the live service; each is a key of `[live]` in the configuration.
#[derive(Debug, Clone)]
#[allow(missing_docs)] // documented with the keys
pub struct LiveOptions {
    pub viewers_max: usize,
    pub viewers_per_user_max: usize,
    pub heartbeat_interval: Duration,
    pub interval_min: Duration,
    pub subscriptions_max: usize,
    pub series_max: usize,
    pub pending_samples_max: usize,
    pub pending_events_max: usize,
    pub history_samples_max: usize,
    pub slow_reader_timeout: Duration,
    pub stale_after: Duration,
}

/// What the service works with.
#[derive(Clone)]
#[allow(missing_docs)]
pub struct LiveParts {
    pub journal: Arc<dyn Journal>,
    pub history: Arc<dyn History>,
    pub bus: Arc<dyn Bus>,
    pub clock: Arc<dyn Clock>,
    pub catalogue: Arc<RwLock<Catalogue>>,
    pub directory: Arc<RwLock<Directory>>,
}

/// Why a viewer is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooManyViewers {
    /// In all.
    #[error("the server has as many live sockets as it may; try again later")]
    InAll,
    /// Of one user.
    #[error("this user has as many live sockets as allowed; close other pages")]
    OfUser,
}

/// Handle of the live service.
pub struct Live {
    options: LiveOptions,
    parts: LiveParts,
    fanout: Arc<Mutex<Fanout>>,
    presence: Arc<PresenceTable>,
    attention: Arc<AttentionTable>,
    viewers: Arc<Mutex<HashMap<UserName, usize>>>,
    epoch: u64,
}

impl Live {
    /// Starts the service's task, which ends when the bus closes or it is aborted.
    pub fn start(
        options: LiveOptions,
        parts: LiveParts,
        presence: Arc<PresenceTable>,
        epoch: u64,
        position: Position,
    ) -> (Self, JoinHandle<()>) {
        let fanout = Arc::new(Mutex::new(Fanout::new(position)));
        let task = task::LiveTask {
            parts: parts.clone(),
            fanout: fanout.clone(),
            presence: presence.clone(),
            stale_after: options.stale_after,
            series_max: options.series_max,
            pending_max: options.pending_samples_max,
            events_max: options.pending_events_max,
            cursor: position,
        };
        let topic = |topic| parts.bus.subscribe(topic);
        let running = tokio::spawn(task.run(topic(Topic::Commits), topic(Topic::Devices), topic(Topic::Events)));
        let attention = Arc::new(AttentionTable::new(parts.clock.clone(), options.heartbeat_interval));
        (Self { options, parts, fanout, presence, attention, viewers: Arc::default(), epoch }, running)
    }

    /// Lets a viewer in. Its place is free again when the [`Viewer`] is dropped.
    ///
    /// # Errors
    /// [`TooManyViewers`].
    pub fn connect(&self, user: &UserName, scope: DeviceScope) -> Result<Viewer, TooManyViewers> {
        let seat = Seat::take(&self.viewers, user, scope, &self.options)?;
        Ok(Viewer::new(
            self.options.clone(),
            self.parts.clone(),
            self.fanout.clone(),
            self.presence.clone(),
            self.attention.clone(),
            self.epoch,
            seat,
        ))
    }

    /// How many live sockets are open.
    pub fn viewers(&self) -> usize {
        self.viewers.lock().map(|v| v.values().sum()).unwrap_or(0)
    }

    /// Who has a visible page.
    pub fn attention(&self) -> &Arc<AttentionTable> {
        &self.attention
    }

    /// The bounds in force.
    pub fn options(&self) -> &LiveOptions {
        &self.options
    }
}

/// A viewer's place within the limits.
struct Seat {
    viewers: Arc<Mutex<HashMap<UserName, usize>>>,
    user: UserName,
    // What the user may see.
    scope: DeviceScope,
}

impl Seat {
    fn take(
        viewers: &Arc<Mutex<HashMap<UserName, usize>>>,
        user: &UserName,
        scope: DeviceScope,
        options: &LiveOptions,
    ) -> Result<Self, TooManyViewers> {
        let Ok(mut counts) = viewers.lock() else { return Err(TooManyViewers::InAll) };
        if counts.values().sum::<usize>() >= options.viewers_max {
            return Err(TooManyViewers::InAll);
        }
        let count = counts.entry(user.clone()).or_default();
        if *count >= options.viewers_per_user_max {
            return Err(TooManyViewers::OfUser);
        }
        *count += 1;
        metrics::gauge!(names::VIEWERS).increment(1.0);
        Ok(Self { viewers: viewers.clone(), user: user.clone(), scope })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        metrics::gauge!(names::VIEWERS).decrement(1.0);
        if let Ok(mut counts) = self.viewers.lock()
            && let Some(count) = counts.get_mut(&self.user)
        {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.user);
            }
        }
    }
}
