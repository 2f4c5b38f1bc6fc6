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
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

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

/// A place among those who look. Whoever asked may go away; the thread that looks has a share in the place until it is done.
struct Look(Arc<OwnedSemaphorePermit>);

impl Look {
    /// As [`Fleet::work`].
    async fn work<R: Send + 'static>(
        &self,
        state: &web::Data<State>,
        work: impl FnOnce() -> Result<R, Problem> + Send + 'static,
    ) -> Result<R, Problem> {
        Fleet::work(state, self.held(work)).await
    }

    /// The work with its share in the place.
    fn held<R, W: FnOnce() -> R>(&self, work: W) -> impl FnOnce() -> R + use<R, W> {
        let place = self.0.clone();
        move || {
            let done = work();
            drop(place);
            done
        }
    }
}

/// What was found of late.
pub struct Fleet {
    orders: Cache<Asked, Ordered>,
    facets: Cache<Filter, FacetsJson>,
    places: Cache<Filter, Vec<Place>>,
    counts: Cache<DeviceScope, Counts>,
    alerts: Cache<DeviceScope, AlertCounts>,
    looks: Arc<Semaphore>,
}

impl Default for Fleet {
    fn default() -> Self {
        Self {
            orders: Cache::new(ORDERS_MAX),
            facets: Cache::new(FACETS_MAX),
            places: Cache::new(PLACES_MAX),
            counts: Cache::new(COUNTS_MAX),
            alerts: Cache::new(COUNTS_MAX),
            looks: Arc::new(Semaphore::new(LOOKS_MAX)),
        }
    }
}

impl Fleet {
    /// Open alerts by device: those that fired in a group that may be seen.
    pub async fn alerts(state: &State, scope: &DeviceScope) -> Result<Arc<AlertCounts>, Problem> {
        let make = async { Ok(state.alerting.open_by_device(scope.clone()).await?) };
        state.fleet.alerts.get(scope, 0, Some(ALERTS_AGE_MAX), Box::pin(make)).await
    }

    /// Waits for a place to look at all devices.
    async fn enter(&self) -> Result<Look, Problem> {
        let permit = self.looks.clone().acquire_owned().await.map_err(Problem::internal)?;
        Ok(Look(Arc::new(permit)))
    }

    /// Runs what takes long on a thread that may be blocked.
    pub async fn work<R: Send + 'static>(
        state: &web::Data<State>,
        work: impl FnOnce() -> Result<R, Problem> + Send + 'static,
    ) -> Result<R, Problem> {
        state.runtime.spawn_blocking(work).await.map_err(Problem::internal)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_place_is_taken_until_the_work_is_done_though_nobody_waits_for_it() {
        let fleet = Fleet::default();
        let look = fleet.enter().await.expect("a place");
        let work = look.held(|| fleet.looks.available_permits());
        drop(look);
        assert_eq!(fleet.looks.available_permits(), LOOKS_MAX - 1);
        assert_eq!(work(), LOOKS_MAX - 1);
        assert_eq!(fleet.looks.available_permits(), LOOKS_MAX);
    }
}
