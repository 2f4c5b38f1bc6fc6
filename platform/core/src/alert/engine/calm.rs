//! Rules of thresholds over one metric, taken together while nothing happens.

use crate::alert::compiled::{Compiled, Simple};
use crate::alert::condition::NEVER;
use crate::alert::held::{Held, Newest};
use crate::ids::MetricName;
use std::sync::Arc;

/// The rules of a device that are thresholds over one metric, without lateness.
#[derive(Debug, PartialEq)]
pub(super) struct Family {
    metric: MetricName,
    /// Places in the device's list of states.
    pub held: Vec<usize>,
    /// One of them asks what silence means.
    pub no_data: bool,
}

/// Those of a device; shared by all devices with the same rules.
pub(super) type Families = Arc<[Family]>;

/// The families of these rules.
pub(super) fn families<'a>(rules: impl Iterator<Item = Option<&'a Compiled>>) -> Families {
    let mut families: Vec<Family> = Vec::new();
    for (held, rule) in rules.enumerate() {
        let Some(rule) = rule.filter(|rule| rule.simple.is_some() && rule.rule.lateness_us == 0) else { continue };
        let Some(metric) = rule.program.metrics().first() else { continue };
        let known = families.iter().position(|family| family.metric == *metric);
        let place = known.unwrap_or_else(|| {
            families.push(Family { metric: metric.clone(), held: Vec::new(), no_data: false });
            families.len() - 1
        });
        families[place].held.push(held);
        families[place].no_data |= rule.rule.no_data.is_some();
    }
    families.into()
}

/// What the newest sample left on a family of which nothing fires, is pending or silent.
#[derive(Debug, Clone)]
pub(super) struct Calm {
    pub newest: Newest,
    /// False: each state speaks for itself.
    pub holds: bool,
}

impl Default for Calm {
    fn default() -> Self {
        let newest = Newest { last_us: NEVER, arrival_us: NEVER, offset_us: 0, value: f64::NAN, is_f32: false };
        Self { newest, holds: false }
    }
}

impl Calm {
    /// Writes it into the states.
    pub fn settle(&self, family: &Family, held: &mut [Held]) {
        if !self.holds {
            return;
        }
        for place in &family.held {
            if let Some(held) = held.get_mut(*place) {
                held.set_newest(&self.newest);
            }
        }
    }

    /// Looks whether all states of a family are quiet and have seen the same.
    pub fn look(&mut self, family: &Family, held: &[Held]) {
        self.holds = false;
        let mut states = family.held.iter().filter_map(|place| held.get(*place));
        let Some(first) = states.next().filter(|held| held.is_quiet()) else { return };
        self.newest = first.newest();
        self.holds = states.all(|held| held.is_quiet() && held.newest() == self.newest);
    }
}

/// The values of which nothing follows for any rule of a family.
#[derive(Debug, Clone, Copy)]
pub(super) struct Band {
    is_f32: bool,
    // The nearest of `>`, `>=`, `<` and `<=`.
    above: f64,
    at_least: f64,
    below: f64,
    at_most: f64,
}

impl Band {
    /// Every value, of a column of this type.
    pub fn new(is_f32: bool) -> Self {
        let (far, low) = (f64::NAN, f64::NAN);
        Self { is_f32, above: far, at_least: far, below: low, at_most: low }
    }

    /// Without those that a rule asks an alert for.
    pub fn add(&mut self, simple: &Simple) {
        use crate::alert::Comparison;
        for threshold in simple.thresholds() {
            let value = if self.is_f32 { threshold.value_f32 } else { threshold.value };
            // `min` and `max` pass over NaN, which stands for none.
            match threshold.comparison {
                Comparison::Above => self.above = self.above.min(value),
                Comparison::AtLeast => self.at_least = self.at_least.min(value),
                Comparison::Below => self.below = self.below.max(value),
                Comparison::AtMost => self.at_most = self.at_most.max(value),
            }
        }
    }

    /// True if a rule asks for an alert. Never so for NaN, and for thresholds that there are not.
    #[inline]
    pub fn any_holds(&self, value: f64) -> bool {
        (value > self.above) | (value >= self.at_least) | (value < self.below) | (value <= self.at_most)
    }

    /// Of a column of this type.
    pub fn is_f32(&self) -> bool {
        self.is_f32
    }
}
