//! What simulated devices measure: pure functions of seed, device and time, so that a fleet behaves the same in every
//! run and at every interval; and what commands make of it.

mod cold;
mod machine;
mod noise;
mod profile;

pub use cold::ColdRoom;
pub use machine::{Answers, Condition, Machine};
pub use noise::Signal;
pub use profile::Profile;

use pulsewire_proto::Value;

/// One simulated device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behaviour {
    /// What kind of device it is.
    pub profile: Profile,
    signal: Signal,
}

impl Behaviour {
    /// Device `index` of the fleet with this seed. Profiles take turns.
    pub fn new(seed: u64, index: u32) -> Behaviour {
        let profile = Profile::ALL[index as usize % Profile::ALL.len()];
        Behaviour { profile, signal: Signal::new(seed, index) }
    }

    /// The metrics' values at `time_us` (µs since 1970), in the profile's order. `None`: the sensor gave nothing.
    pub fn values(&self, time_us: i64) -> Vec<Option<Value<'static>>> {
        self.values_in(time_us, &Condition::default())
    }

    /// The same for a device in a condition that commands brought it into.
    pub fn values_in(&self, time_us: i64, condition: &Condition) -> Vec<Option<Value<'static>>> {
        let time_s = time_us as f64 / 1e6;
        let values = self.profile.values(&self.signal, time_us, condition);
        let mut values: Vec<_> = values.into_iter().map(Some).collect();
        for (metric, value) in values.iter_mut().enumerate() {
            if self.signal.sensor_is_out(metric as u64, time_s) {
                *value = None;
            }
        }
        values
    }

    /// Whether the device says nothing at all at this time, for some tens of seconds a few times per day.
    pub fn is_silent(&self, time_us: i64) -> bool {
        self.signal.is_silent(time_us as f64 / 1e6)
    }

    /// What a cold room holds unless it is told otherwise, in °C.
    pub fn setpoint(&self) -> f64 {
        profile::setpoint(&self.signal)
    }

    /// Whether a cold room's door would be open at this time.
    pub fn door_is_open(&self, time_us: i64) -> bool {
        profile::door(&self.signal, time_us as f64 / 1e6).is_some()
    }

    /// Whether a vehicle is driven at this time.
    pub fn is_driving(&self, time_us: i64) -> bool {
        profile::vehicle_speed(&self.signal, time_us as f64 / 1e6) > 0.0
    }

    /// Where the device stands: a site name for its tags.
    pub fn site(&self) -> &'static str {
        const SITES: [&str; 5] = ["north", "south", "harbour", "depot", "campus"];
        SITES[(self.signal.constant(1) * SITES.len() as f64) as usize % SITES.len()]
    }
}

#[cfg(test)]
mod tests {
    use pulsewire_proto::frame::MetricClass;

    use super::*;

    const NOON: i64 = 1_763_726_400_000_000;
    const HOUR: i64 = 3_600_000_000;

    fn number(value: Option<Value<'_>>) -> Option<f64> {
        match value? {
            Value::F64(value) => Some(value),
            Value::F32(value) => Some(f64::from(value)),
            Value::I64(value) => Some(value as f64),
            Value::Bool(_) | Value::Text(_) => None,
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_values_and_another_seed_does_not() {
        for index in 0..10 {
            let values = |seed| Behaviour::new(seed, index).values(NOON + 123_456);
            assert_eq!(values(7), values(7));
            assert_ne!(values(7), values(8));
        }
        assert_ne!(Behaviour::new(7, 0).values(NOON), Behaviour::new(7, 5).values(NOON), "same profile, other device");
    }

    #[test]
    fn values_have_the_types_that_the_profile_declares() {
        for index in 0..Profile::ALL.len() as u32 {
            let behaviour = Behaviour::new(1, index);
            let set = behaviour.profile.metric_set();
            set.validate().expect("a sound metric set");
            let values = behaviour.values(NOON);
            assert_eq!(values.len(), set.metrics.len());
            for (metric, value) in set.metrics.iter().zip(&values) {
                if let Some(value) = value {
                    assert_eq!(value.metric_type(), metric.metric_type, "{}", metric.name);
                }
            }
        }
    }

    #[test]
    fn a_week_of_values_is_believable() {
        for index in 0..20 {
            let behaviour = Behaviour::new(3, index);
            let set = behaviour.profile.metric_set();
            for (at, metric) in set.metrics.iter().enumerate() {
                if metric.metric_type.class() != MetricClass::Number {
                    continue;
                }
                let series: Vec<f64> =
                    (0..7 * 24 * 6).filter_map(|step| number(behaviour.values(NOON + step * HOUR / 6)[at])).collect();
                let (low, high) = behaviour.profile.plausible(&metric.name);
                assert!(series.len() > 900, "{} drops out too much: {}", metric.name, series.len());
                assert!(
                    series.iter().all(|value| (low..=high).contains(value)),
                    "{} of {:?} leaves {low}..{high}: {:?}",
                    metric.name,
                    behaviour.profile,
                    series.iter().copied().fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(v), h.max(v)))
                );
                let distinct = series.windows(2).filter(|pair| pair[0] != pair[1]).count();
                assert!(distinct > 10 || metric.name == "rain", "{} stands still", metric.name);
            }
        }
    }

    #[test]
    fn neighbouring_seconds_differ_little() {
        // A cold room's temperature does not jump by degrees within a second, but for its rare spikes.
        let behaviour = Behaviour::new(1, 0);
        let jumps = (0..3600)
            .filter_map(|second| {
                let at = |offset: i64| number(behaviour.values(NOON + (second + offset) * 1_000_000)[0]);
                Some((at(1)? - at(0)?).abs())
            })
            .filter(|jump| *jump > 1.0)
            .count();
        assert!(jumps < 20, "{jumps} jumps in an hour");
    }

    #[test]
    fn drop_outs_and_silence_happen_and_are_rare() {
        let (mut missing, mut silent, mut all) = (0, 0, 0);
        for index in 0..50 {
            let behaviour = Behaviour::new(9, index);
            for step in 0..24 * 60 {
                let time_us = NOON + step * HOUR / 60;
                all += 1;
                missing += i32::from(behaviour.values(time_us).iter().any(Option::is_none));
                silent += i32::from(behaviour.is_silent(time_us));
            }
        }
        assert!((1..all / 20).contains(&missing), "{missing} of {all}");
        assert!((1..all / 50).contains(&silent), "{silent} of {all}");
    }
}
