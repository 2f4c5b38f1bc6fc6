//! What a viewer is told of besides samples and presence: how alerts stand. A queue keeps the newest state of each, so
//! a slow viewer misses steps between, never the outcome; what does not fit is counted, and the viewer asks anew.

use pulsewire_core::alert::Alert;
use pulsewire_core::ids::AlertId;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One viewer's queue.
#[derive(Debug, Default)]
pub struct Events {
    // By id, so the oldest alert goes first.
    alerts: BTreeMap<AlertId, Arc<Alert>>,
    lost: u64,
}

/// What is taken out of a queue.
#[derive(Debug, Default, PartialEq)]
pub struct TakenEvents {
    /// Alerts.
    pub alerts: Vec<Arc<Alert>>,
    /// Changes that are missing.
    pub lost: u64,
}

impl Events {
    /// Adds how an alert stands; at the bound it counts as lost.
    pub fn push_alert(&mut self, alert: &Arc<Alert>, pending_max: usize) {
        if self.alerts.len() >= pending_max && !self.alerts.contains_key(&alert.id) {
            self.lost += 1;
            return;
        }
        let newest = self.alerts.entry(alert.id).or_insert_with(|| alert.clone());
        if newest.revision < alert.revision {
            *newest = alert.clone();
        }
    }

    /// Events were lost before they came here.
    pub fn lose(&mut self, count: u64) {
        self.lost += count;
    }

    /// Takes everything.
    pub fn take(&mut self) -> TakenEvents {
        TakenEvents {
            alerts: std::mem::take(&mut self.alerts).into_values().collect(),
            lost: std::mem::take(&mut self.lost),
        }
    }
}
