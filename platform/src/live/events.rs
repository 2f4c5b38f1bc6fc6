//! What a viewer is told of besides samples and presence: how alerts and commands stand. A queue keeps the newest state of each, so
//! a slow viewer misses steps between, never the outcome; what does not fit is counted, and the viewer asks anew.

use crate::ports::ShownAlert;
use pulsewire_core::command::Command;
use pulsewire_core::ids::{AlertId, CommandId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One viewer's queue.
#[derive(Debug, Default)]
pub struct Events {
    // By id, so the oldest alert goes first.
    alerts: BTreeMap<AlertId, ShownAlert>,
    commands: BTreeMap<CommandId, Arc<Command>>,
    lost: u64,
}

/// What is taken out of a queue.
#[derive(Debug, Default, PartialEq)]
pub struct TakenEvents {
    /// Alerts.
    pub alerts: Vec<ShownAlert>,
    /// Commands.
    pub commands: Vec<Arc<Command>>,
    /// Changes that are missing.
    pub lost: u64,
}

impl Events {
    /// Adds how an alert stands; at the bound it counts as lost.
    pub fn push_alert(&mut self, alert: &ShownAlert, pending_max: usize) {
        if self.alerts.len() >= pending_max && !self.alerts.contains_key(&alert.alert.id) {
            self.lost += 1;
            return;
        }
        let newest = self.alerts.entry(alert.alert.id).or_insert_with(|| alert.clone());
        if newest.alert.revision <= alert.alert.revision {
            *newest = alert.clone();
        }
    }

    /// Adds how a command stands; at the bound it counts as lost.
    pub fn push_command(&mut self, command: &Arc<Command>, pending_max: usize) {
        if self.commands.len() >= pending_max && !self.commands.contains_key(&command.id) {
            self.lost += 1;
            return;
        }
        let newest = self.commands.entry(command.id).or_insert_with(|| command.clone());
        if newest.revision < command.revision {
            *newest = command.clone();
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
            commands: std::mem::take(&mut self.commands).into_values().collect(),
            lost: std::mem::take(&mut self.lost),
        }
    }
}
