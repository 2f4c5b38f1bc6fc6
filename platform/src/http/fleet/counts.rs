//! How many devices there are, and what became of what they sent.

use super::super::State;
use super::super::problem::Problem;
use super::AGE_MAX;
use super::filter::{AlertCounts, Filter, Given};
use actix_web::web;
use pulsewire_core::accounting::Accounting;
use pulsewire_core::presence::Presence;
use pulsewire_core::scope::DeviceScope;
use std::sync::Arc;

/// Of the devices that someone may see.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    pub total: usize,
    pub online: usize,
    pub stale: usize,
    /// Their metrics.
    pub series: usize,
    pub accounting: Accounting,
}

/// Counts as of now for those who see everything, else as of at most [`AGE_MAX`] ago.
pub async fn counts(state: &web::Data<State>, scope: &DeviceScope) -> Result<Arc<Counts>, Problem> {
    let (total, version) = {
        let directory = state.directory.read().map_err(Problem::internal)?;
        (directory.len(), directory.version())
    };
    if scope.is_all() {
        let (online, stale) = state.presence.counts();
        let series = state.catalogue.read().map_err(Problem::internal)?.len();
        return Ok(Arc::new(Counts { total, online, stale, series, accounting: state.ingest.accounts().total() }));
    }
    let filter = Filter::parse(scope, Given::default())?;
    let make = async {
        let place = state.fleet.enter().await?;
        let parts = state.clone();
        place.work(state, move || look(&parts, &filter)).await
    };
    state.fleet.counts.get(scope, version, Some(AGE_MAX), make).await
}

fn look(state: &State, filter: &Filter) -> Result<Counts, Problem> {
    let devices = filter.select(&state.directory, &state.presence, &AlertCounts::new())?;
    let mut counts = Counts { total: devices.len(), ..Counts::default() };
    for (presence, _) in state.presence.of_each(devices.iter().map(|device| device.key)) {
        match presence {
            Presence::Online => counts.online += 1,
            Presence::Stale => counts.stale += 1,
            Presence::Offline => {}
        }
    }
    for some in devices.chunks(super::filter::DEVICES_AT_ONCE) {
        let catalogue = state.catalogue.read().map_err(Problem::internal)?;
        for device in some {
            counts.series += catalogue.metrics_of(device.key);
            counts.accounting.add(&state.ingest.accounts().of(device.key));
        }
    }
    Ok(counts)
}
