//! One rule over the history of many devices: what it would have done.
//!
//! Devices are given one after the other, each as one [`Trial`], so that memory does not grow with their samples. What is told
//! to people is worked out at the end, from the changes of all alerts in the order of time.

mod merged;
mod told;

pub use merged::{MERGED_MAX, Merged};
pub use told::{PersonTold, Told, follow, label_of, member_of};

use super::compiled::Compiled;
use super::engine::{EngineLimits, Standing};
use super::held::Event;
use super::trial::{Span, Trial, TrialLimits};
use crate::device::Device;
use crate::ids::{DeviceId, UserName};
use crate::role::Role;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Devices that are listed, those with the most alerts first.
pub const NOISIEST_MAX: usize = 50;
/// Spans of one device that are listed.
pub const DEVICE_SPANS_MAX: usize = 200;
/// Changes of alerts that notifications are worked out from: 500,000, about 40 MB. What comes after it is not told to anybody,
/// and [`Told::cut`] says so.
pub const CHANGES_MAX: usize = 500_000;
/// Changes of one device's alerts, so that one device cannot take the room of all.
const DEVICE_CHANGES_MAX: usize = 50_000;

const DAY_US: i64 = 24 * 3_600_000_000;

/// Someone who may be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Who.
    pub user: UserName,
    /// What they may do; a policy may tell everyone with a role.
    pub role: Role,
}

/// What happened on one day, by UTC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DayCount {
    /// Alerts that began.
    pub alerts: u64,
    /// Messages that people were told, each counted once for each of them.
    pub notifications: u64,
}

/// What happened on one device.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceResult {
    /// Its id.
    pub device: DeviceId,
    /// Its name.
    pub name: String,
    /// Alerts that began.
    pub alerts: u64,
    /// How long they fired, µs.
    pub firing_us: i64,
    /// The first [`DEVICE_SPANS_MAX`].
    pub spans: Vec<Span>,
}

/// What the rule would have done.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BacktestResult {
    /// Devices that were given.
    pub devices: usize,
    /// Times of samples that were judged.
    pub samples: u64,
    /// Times of samples that were late.
    pub late: u64,
    /// Alerts that began.
    pub alerts: u64,
    /// How long they fired, µs, all devices together.
    pub firing_us: i64,
    /// How often an alert began to flap.
    pub flapping: u64,
    /// How often an alert became worse or milder.
    pub level_changes: u64,
    /// By the day's beginning, µs; days on which nothing happened are left out.
    pub days: BTreeMap<i64, DayCount>,
    /// At most [`NOISIEST_MAX`], those with the most alerts first, then those that fired longest. Devices without an alert are left
    /// out.
    pub by_device: Vec<DeviceResult>,
    /// A device has more spans than are listed.
    pub spans_cut: bool,
    /// On how many devices the rule stands how at the end.
    pub standing: Standing,
    /// What people would have been told.
    pub told: Told,
}

/// A change of an alert, for what is told of it.
struct Change {
    at_us: i64,
    device: u32,
    event: Event,
}

/// See the module.
pub struct Backtest<'a> {
    rule: &'a Compiled,
    limits: TrialLimits,
    from_us: i64,
    to_us: i64,
    result: BacktestResult,
    // The devices that have a change, for the labels of their alerts.
    devices: Vec<Arc<Device>>,
    changes: Vec<Change>,
    changes_cut: bool,
}

impl<'a> Backtest<'a> {
    /// The rule from one time to another, µs. What is known before `from_us` is nothing: a rule with `for` or windows needs samples
    /// from before to be judged right at the beginning, which is for the caller to choose.
    pub fn new(rule: &'a Compiled, limits: &EngineLimits, from_us: i64, to_us: i64) -> Self {
        Self {
            rule,
            limits: TrialLimits::new(limits, DEVICE_CHANGES_MAX, DEVICE_SPANS_MAX),
            from_us,
            to_us,
            result: BacktestResult::default(),
            devices: Vec::new(),
            changes: Vec::new(),
            changes_cut: false,
        }
    }

    /// Begins a device. Give it its rows, with their times as their arrival, and then give it back.
    pub fn begin<'d>(&self, device: &'d Device) -> Trial<'d>
    where
        'a: 'd,
    {
        Trial::new(self.rule, device, self.from_us, self.limits)
    }

    /// A device's rows are over.
    pub fn end(&mut self, device: &Arc<Device>, trial: Trial<'_>) {
        let (findings, held) = trial.finish(self.to_us);
        let result = &mut self.result;
        result.devices += 1;
        result.samples += findings.samples;
        result.late += findings.late;
        result.alerts += findings.alerts;
        result.firing_us = result.firing_us.saturating_add(findings.firing_us);
        result.flapping += findings.flapping;
        result.level_changes += findings.level_changes;
        result.spans_cut |= findings.fired > findings.spans.len() as u64;
        result.standing.count(&held);
        self.changes_cut |= findings.cut && findings.log.len() >= DEVICE_CHANGES_MAX;
        if findings.log.is_empty() {
            return;
        }
        let number = u32::try_from(self.devices.len()).unwrap_or(u32::MAX);
        self.devices.push(device.clone());
        for logged in &findings.log {
            let at_us = at_us(&logged.event);
            if let Event::Fired { reopened: false, .. } | Event::NoData { .. } = logged.event {
                result.days.entry(day_of(at_us)).or_default().alerts += 1;
            }
            if self.changes.len() < CHANGES_MAX {
                self.changes.push(Change { at_us, device: number, event: logged.event });
            } else {
                self.changes_cut = true;
            }
        }
        if findings.alerts > 0 {
            self.list(DeviceResult {
                device: device.id.clone(),
                name: device.name.clone(),
                alerts: findings.alerts,
                firing_us: findings.firing_us,
                spans: findings.spans,
            });
        }
    }

    fn list(&mut self, device: DeviceResult) {
        let noisier = |a: &DeviceResult, b: &DeviceResult| {
            (b.alerts, b.firing_us).cmp(&(a.alerts, a.firing_us)).then_with(|| a.device.cmp(&b.device))
        };
        let listed = &mut self.result.by_device;
        let place = listed.partition_point(|other| noisier(other, &device).is_lt());
        if place < NOISIEST_MAX {
            listed.insert(place, device);
            listed.truncate(NOISIEST_MAX);
        }
    }

    /// What was found so far, without what people are told.
    pub fn so_far(&self) -> &BacktestResult {
        &self.result
    }

    /// All devices were given: works out what these people would have been told.
    pub fn finish(mut self, people: &[Person]) -> BacktestResult {
        // Stable: the changes of one device stay in their order.
        self.changes.sort_by_key(|change| change.at_us);
        let mut told = told::tell(self.rule, &self.devices, &self.changes, people, self.to_us);
        told.cut |= self.changes_cut;
        for (at_us, count) in std::mem::take(&mut told.days) {
            self.result.days.entry(at_us).or_default().notifications += count;
        }
        self.result.told = told;
        self.result
    }
}

fn day_of(at_us: i64) -> i64 {
    at_us.div_euclid(DAY_US).saturating_mul(DAY_US)
}

fn at_us(event: &Event) -> i64 {
    match event {
        Event::Fired { at_us, .. }
        | Event::Level { at_us, .. }
        | Event::Recovering { at_us, .. }
        | Event::Resolved { at_us, .. }
        | Event::Silent { at_us, .. }
        | Event::NoData { at_us, .. }
        | Event::Flapping { at_us, .. } => *at_us,
    }
}

#[cfg(test)]
mod tests;
