//! Live values to viewers: views, cursors, the lossless lane, presence. SPEC §9.
//!
//! One task follows the journal's commits (by the bus while it keeps up, else by reading the journal from its cursor) and
//! puts samples into the fan-out; another makes the frames of views when they are due. A viewer takes what it is owed when
//! its socket has room: see [`fanout`] and `docs/live.md`.

mod attention;
mod encode;
pub mod fanout;
mod lane;
mod outbox;
mod past;
mod presence;
mod seat;
mod stats;
mod subscribe;
mod task;
mod viewer;

pub use attention::AttentionTable;
pub use outbox::{Outbox, Step};
pub use presence::{PresenceTable, Seen};
pub use seat::TooManyViewers;
pub use stats::ViewerStatus;
pub use viewer::{Viewer, ViewerClose};

use crate::ports::{Bus, Clock, History, Journal, Topic};
use fanout::{Counts, Fanout, FanoutLimits};
use lane::Lane;
use pulsewire_core::catalogue::Catalogue;
use pulsewire_core::directory::Directory;
use pulsewire_core::ids::{Position, UserName};
use pulsewire_core::scope::DeviceScope;
use seat::{Seat, Seats};
use stats::ViewerStats;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Bounds of the live service; each is a key of `[live]` in the configuration.
#[derive(Debug, Clone)]
#[allow(missing_docs)] // documented with the keys
pub struct LiveOptions {
    pub viewers_max: usize,
    pub viewers_per_user_max: usize,
    pub viewers_per_address_max: usize,
    pub heartbeat_interval: Duration,
    pub interval_min: Duration,
    pub subscriptions_max: usize,
    pub subscriptions_per_user_max: usize,
    pub subscribe_wait: Duration,
    pub resume_records_max: u64,
    pub resumes_max: usize,
    pub events_kept_max: usize,
    pub history_samples_max: usize,
    pub slow_reader_timeout: Duration,
    pub snapshot_reuse: Duration,
    pub stale_after: Duration,
    pub fanout: FanoutLimits,
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

/// Viewers by number, and what wakes each.
type Connected = HashMap<u64, (Arc<ViewerStats>, Arc<fanout::Signal>)>;

/// What the service's tasks and its viewers share.
struct LiveShared {
    options: LiveOptions,
    parts: LiveParts,
    fanout: Mutex<Fanout>,
    lane: Mutex<Lane>,
    // Of the lane, for those who only want to know whether to look.
    lane_position: AtomicU64,
    // A commit was distributed, or passed over.
    applied: tokio::sync::Notify,
    counts: Arc<Counts>,
    presence: Arc<PresenceTable>,
    attention: Arc<AttentionTable>,
    viewers: Mutex<Connected>,
    // Resumes of every sample that may be read for at once.
    resumes: tokio::sync::Semaphore,
    // Wakes the task that ticks when a view is made that is due before the others.
    joined: tokio::sync::Notify,
    epoch: u64,
    started: Instant,
}

impl LiveShared {
    fn fanout(&self) -> MutexGuard<'_, Fanout> {
        // The guarded code does not panic; were it poisoned, its content would still be whole.
        self.fanout.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn lane(&self) -> MutexGuard<'_, Lane> {
        self.lane.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn viewers(&self) -> MutexGuard<'_, Connected> {
        self.viewers.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// µs on a clock that only grows.
    fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// The service at a glance.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // named like the fields of the API
pub struct LiveStatus {
    pub viewers: usize,
    pub views: usize,
    pub series: usize,
    pub subscriptions: usize,
    pub slow: usize,
    pub frames_encoded: u64,
    pub frames_sent: u64,
    pub bytes_sent: u64,
    pub samples_sent: u64,
    pub samples_dropped: u64,
    pub snapshots_encoded: u64,
    pub catch_ups_encoded: u64,
    pub events_lost: u64,
    pub events_position: u64,
}

/// Handle of the live service.
pub struct Live {
    shared: Arc<LiveShared>,
    seats: Arc<Seats>,
    next: AtomicU64,
}

impl Live {
    /// Starts the service's tasks, which end when the bus closes or the handle is aborted.
    pub fn start(
        options: LiveOptions,
        parts: LiveParts,
        presence: Arc<PresenceTable>,
        epoch: u64,
        position: Position,
    ) -> (Self, JoinHandle<()>) {
        let fanout = Fanout::new(options.fanout.clone(), position);
        let attention = Arc::new(AttentionTable::new(parts.clock.clone(), options.heartbeat_interval));
        // Another one at each start, so that nobody goes on in a lane that is gone.
        let lane_epoch = parts.clock.now_us().max(1).cast_unsigned();
        let shared = Arc::new(LiveShared {
            lane: Mutex::new(Lane::new(lane_epoch, options.events_kept_max)),
            lane_position: AtomicU64::new(0),
            applied: tokio::sync::Notify::new(),
            counts: fanout.counts().clone(),
            fanout: Mutex::new(fanout),
            resumes: tokio::sync::Semaphore::new(options.resumes_max),
            options,
            presence,
            attention,
            viewers: Mutex::default(),
            joined: tokio::sync::Notify::new(),
            epoch,
            started: Instant::now(),
            parts,
        });
        let topic = |topic| shared.parts.bus.subscribe(topic);
        let task = task::LiveTask { shared: shared.clone(), cursor: position };
        let running = tokio::spawn(task.run(topic(Topic::Commits), topic(Topic::Devices), topic(Topic::Events)));
        let seats = Arc::new(Seats::new(&shared.options));
        (Self { shared, seats, next: AtomicU64::new(1) }, running)
    }

    /// Lets a viewer in that may see the devices of a scope. Its place is free again when the [`Viewer`] is dropped.
    ///
    /// # Errors
    /// [`TooManyViewers`].
    pub fn connect(
        &self,
        user: &UserName,
        address: Option<IpAddr>,
        scope: DeviceScope,
    ) -> Result<Viewer, TooManyViewers> {
        let seat = Seat::take(&self.seats, user, address)?;
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        Ok(Viewer::new(self.shared.clone(), seat, id, scope))
    }

    /// How many live sockets are open.
    pub fn viewers(&self) -> usize {
        self.seats.taken()
    }

    /// Who has a visible page.
    pub fn attention(&self) -> &Arc<AttentionTable> {
        &self.shared.attention
    }

    /// The bounds in force.
    pub fn options(&self) -> &LiveOptions {
        &self.shared.options
    }

    /// Every viewer, slowest first.
    pub fn viewer_list(&self) -> Vec<ViewerStatus> {
        let now_us = self.shared.now_us();
        let viewers: Vec<_> = self.shared.viewers().values().map(|(stats, _)| stats.clone()).collect();
        let mut list: Vec<_> = viewers.iter().map(|stats| stats.status(now_us)).collect();
        list.sort_by_key(|v| std::cmp::Reverse((v.standing.slow, v.standing.behind_us, v.standing.interval_us)));
        list
    }

    /// The service at a glance.
    pub fn status(&self) -> LiveStatus {
        let list = self.viewer_list();
        let (views, series) = self.shared.fanout().sizes();
        let counts = &self.shared.counts;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        LiveStatus {
            viewers: self.viewers(),
            views,
            series,
            subscriptions: list.iter().map(|v| v.subscriptions).sum(),
            slow: list.iter().filter(|v| v.standing.slow).count(),
            frames_encoded: read(&counts.frames_encoded),
            frames_sent: read(&counts.frames_sent),
            bytes_sent: read(&counts.bytes_sent),
            samples_sent: read(&counts.samples_sent),
            samples_dropped: read(&counts.dropped),
            snapshots_encoded: read(&counts.snapshots_encoded),
            catch_ups_encoded: read(&counts.catch_ups_encoded),
            events_lost: read(&counts.events_lost),
            events_position: self.shared.lane_position.load(Ordering::Relaxed),
        }
    }
}
