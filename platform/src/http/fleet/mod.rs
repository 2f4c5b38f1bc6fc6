//! Many devices at once: chosen, ordered, counted, on a map.
//!
//! What looks at every device runs on threads of its own, and not more than a few at a time. What was found is kept for
//! [`AGE_MAX`] at most, so that a page that is asked for by many, or scrolled through, costs one such look.

pub mod bulk;
mod cache;
mod counts;
pub mod facets;
pub mod filter;
pub mod list;
mod order;
pub mod positions;

pub use counts::{Counts, counts};

use super::State;
use super::problem::Problem;
use actix_web::web;
use cache::Cache;
use facets::FacetsJson;
use filter::{AlertCounts, Filter};
use order::{Asked, Ordered};
use positions::Place;
use pulsewire_core::scope::DeviceScope;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};

/// How old what was found may be where presence, alerts or values decide. Otherwise it holds until a device is made, edited
/// or deleted.
pub const AGE_MAX: Duration = Duration::from_secs(2);
/// How old counts of open alerts may be.
const ALERTS_AGE_MAX: Duration = Duration::from_secs(1);
/// How old facets may be.
const FACETS_AGE_MAX: Duration = Duration::from_secs(5);
/// Orders that are kept, each with 8 bytes per device.
const ORDERS_MAX: usize = 16;
/// Facets that are kept.
const FACETS_MAX: usize = 8;
/// Positions that are kept, each with 40 bytes per device.
const PLACES_MAX: usize = 4;
/// Counts of what people with some groups see that are kept.
const COUNTS_MAX: usize = 16;
/// Looks at all devices at the same time; further ones wait.
const LOOKS_MAX: usize = 2;

/// What was found of late.
pub struct Fleet {
    orders: Cache<Asked, Ordered>,
    facets: Cache<Filter, FacetsJson>,
    places: Cache<Filter, Vec<Place>>,
    counts: Cache<DeviceScope, Counts>,
    alerts: Cache<(), AlertCounts>,
    looks: Semaphore,
}

impl Default for Fleet {
    fn default() -> Self {
        Self {
            orders: Cache::new(ORDERS_MAX),
            facets: Cache::new(FACETS_MAX),
            places: Cache::new(PLACES_MAX),
            counts: Cache::new(COUNTS_MAX),
            alerts: Cache::new(1),
            looks: Semaphore::new(LOOKS_MAX),
        }
    }
}

impl Fleet {
    /// Open alerts by device.
    pub async fn alerts(state: &State) -> Result<Arc<AlertCounts>, Problem> {
        let make = async { Ok(state.alerting.open_by_device().await?) };
        state.fleet.alerts.get(&(), 0, Some(ALERTS_AGE_MAX), Box::pin(make)).await
    }

    async fn enter(&self) -> Result<SemaphorePermit<'_>, Problem> {
        self.looks.acquire().await.map_err(Problem::internal)
    }

    /// Runs what takes long on a thread that may be blocked.
    pub async fn work<R: Send + 'static>(
        state: &web::Data<State>,
        work: impl FnOnce() -> Result<R, Problem> + Send + 'static,
    ) -> Result<R, Problem> {
        state.runtime.spawn_blocking(work).await.map_err(Problem::internal)?
    }
}
