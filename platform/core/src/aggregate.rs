//! Buckets of samples: what one point of a chart over a long range stands for.
//!
//! Sums of floating-point numbers depend on the order of adding, and rollups add in another order than samples do. So the
//! order is part of the definition: a bucket whose step is whole hours is the fold of its hours, an hour the fold of its
//! minutes, a minute the fold of its samples, each in order of time; a bucket of whole minutes is the fold of its minutes.
//! Whatever comes from rollups and whatever from samples, the answer is the same bit for bit.

use crate::block::ValueRef;
use crate::value::{Value, ValueClass};

/// A minute, in µs.
pub const MINUTE_US: i64 = 60_000_000;
/// An hour, in µs.
pub const HOUR_US: i64 = 60 * MINUTE_US;

/// How a bucket becomes one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Aggregate {
    /// Smallest.
    Min,
    /// Largest.
    Max,
    /// Arithmetic mean.
    Avg,
    /// Sum.
    Sum,
    /// Number of samples.
    Count,
    /// Value of the earliest sample.
    First,
    /// Value of the latest sample.
    Last,
    /// The smallest value that at least half of the values do not exceed.
    P50,
    /// The same for 95 of 100.
    P95,
    /// The same for 99 of 100.
    P99,
}

impl Aggregate {
    /// Every aggregate.
    pub const ALL: [Self; 10] = [
        Self::Min,
        Self::Max,
        Self::Avg,
        Self::Sum,
        Self::Count,
        Self::First,
        Self::Last,
        Self::P50,
        Self::P95,
        Self::P99,
    ];

    /// The name used in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Min => "min",
            Self::Max => "max",
            Self::Avg => "avg",
            Self::Sum => "sum",
            Self::Count => "count",
            Self::First => "first",
            Self::Last => "last",
            Self::P50 => "p50",
            Self::P95 => "p95",
            Self::P99 => "p99",
        }
    }

    /// The aggregate with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.name() == name)
    }

    /// True if it has a meaning for this class: text has neither order nor sum.
    pub fn applies_to(self, class: ValueClass) -> bool {
        class != ValueClass::Text || matches!(self, Self::Count | Self::First | Self::Last)
    }

    /// The part of the values that a percentile is not exceeded by, of 100. Percentiles need every sample.
    pub fn percent(self) -> Option<usize> {
        match self {
            Self::P50 => Some(50),
            Self::P95 => Some(95),
            Self::P99 => Some(99),
            _ => None,
        }
    }
}

/// What some samples of one series amount to. NaN takes part in `count`, `first` and `last` only.
#[derive(Debug, Clone, PartialEq)]
pub struct Partial {
    /// How many samples.
    pub count: u64,
    /// How many of them are numbers.
    pub numbers: u64,
    /// Smallest number; infinity without any.
    pub min: f64,
    /// Largest number; minus infinity without any.
    pub max: f64,
    /// Sum of the numbers.
    pub sum: f64,
    /// Earliest value.
    pub first: Value,
    /// Latest value.
    pub last: Value,
}

impl Partial {
    /// One sample.
    pub fn of(value: ValueRef<'_>) -> Self {
        let mut partial = Self {
            count: 0,
            numbers: 0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            sum: 0.0,
            first: value.to_value(),
            last: value.to_value(),
        };
        partial.push(value);
        partial
    }

    /// Takes the next sample.
    pub fn push(&mut self, value: ValueRef<'_>) {
        self.count += 1;
        if let Some(v) = value.as_f64().filter(|v| !v.is_nan()) {
            self.numbers += 1;
            self.min = self.min.min(v);
            self.max = self.max.max(v);
            self.sum += v;
        }
        match (&mut self.last, value) {
            // No allocation for each text of a bucket that has the same.
            (Value::Text(last), ValueRef::Text(text)) if **last == *text => {}
            (last, value) => *last = value.to_value(),
        }
    }

    /// Takes what comes after.
    pub fn fold(&mut self, next: &Self) {
        self.count += next.count;
        self.numbers += next.numbers;
        self.min = self.min.min(next.min);
        self.max = self.max.max(next.max);
        self.sum += next.sum;
        self.last.clone_from(&next.last);
    }

    /// Its value by an aggregate; None if it has none: only NaN or text, or a percentile.
    pub fn get(&self, aggregate: Aggregate) -> Option<Value> {
        let number = |v: f64| (self.numbers > 0).then_some(Value::F64(v));
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_wrap)]
        match aggregate {
            Aggregate::Min => number(self.min),
            Aggregate::Max => number(self.max),
            Aggregate::Sum => number(self.sum),
            Aggregate::Avg => number(self.sum / self.numbers as f64),
            Aggregate::Count => Some(Value::I64(self.count as i64)),
            Aggregate::First => Some(self.first.clone()),
            Aggregate::Last => Some(self.last.clone()),
            Aggregate::P50 | Aggregate::P95 | Aggregate::P99 => None,
        }
    }
}

/// A bucket that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Bucket {
    /// Its beginning, µs since the Unix epoch.
    pub start_us: i64,
    /// One value per aggregate asked; None where it has none.
    pub values: Vec<Option<Value>>,
}

/// Gathers samples and partials of one series, in order of time, into buckets of `step_us` that begin at multiples of the
/// step since the Unix epoch, so that the same bucket has the same bounds whatever range is asked.
#[derive(Debug)]
pub struct Buckets {
    // From the finest to the bucket itself.
    levels: Vec<Level>,
    aggregates: Vec<Aggregate>,
    // Numbers of the open bucket, if a percentile is asked.
    numbers: Option<Vec<f64>>,
    done: Vec<Bucket>,
}

#[derive(Debug)]
struct Level {
    unit_us: i64,
    open: Option<(i64, Partial)>,
}

impl Buckets {
    /// `step_us` must be positive; a smaller one is taken as 1.
    pub fn new(step_us: i64, aggregates: &[Aggregate]) -> Self {
        let step_us = step_us.max(1);
        let mut units = vec![step_us];
        if step_us % MINUTE_US == 0 {
            units.push(MINUTE_US);
        }
        if step_us % HOUR_US == 0 {
            units.push(HOUR_US);
        }
        units.sort_unstable();
        units.dedup();
        let percentiles = aggregates.iter().any(|a| a.percent().is_some());
        Self {
            levels: units.into_iter().map(|unit_us| Level { unit_us, open: None }).collect(),
            aggregates: aggregates.to_vec(),
            numbers: percentiles.then(Vec::new),
            done: Vec::new(),
        }
    }

    /// The units in which partials may be given, besides samples; coarsest first.
    pub fn units(&self) -> Vec<i64> {
        let coarse = self.levels.iter().rev().map(|level| level.unit_us);
        coarse.filter(|unit| (*unit == MINUTE_US || *unit == HOUR_US) && self.numbers.is_none()).collect()
    }

    /// Takes the next sample.
    pub fn push(&mut self, time_us: i64, value: ValueRef<'_>) {
        let start_us = floor(time_us, self.levels[0].unit_us);
        if self.levels[0].open.as_ref().is_some_and(|(start, _)| *start != start_us) {
            self.close(0);
        }
        if let Some(numbers) = &mut self.numbers {
            let bucket = self.levels.last().map_or(1, |level| level.unit_us);
            let before =
                self.levels.iter().find_map(|level| level.open.as_ref()).map(|(start, _)| floor(*start, bucket));
            if before.is_some_and(|before| before != floor(time_us, bucket)) {
                self.close_all();
                return self.push(time_us, value);
            }
            numbers.extend(value.as_f64().filter(|v| !v.is_nan()));
        }
        match &mut self.levels[0].open {
            Some((_, partial)) => partial.push(value),
            open => *open = Some((start_us, Partial::of(value))),
        }
    }

    /// Takes the whole of the next `unit_us` (one of [`units`](Self::units)) that has samples.
    pub fn push_partial(&mut self, unit_us: i64, start_us: i64, partial: &Partial) {
        let Some(at) = self.levels.iter().position(|level| level.unit_us == unit_us) else { return };
        (0..=at).for_each(|level| self.close(level));
        self.up(at, start_us, partial.clone());
    }

    // `partial` is the whole of a unit of level `at`.
    fn up(&mut self, at: usize, start_us: i64, partial: Partial) {
        let Some(above) = self.levels.get(at + 1) else {
            self.emit(start_us, &partial);
            return;
        };
        let start = floor(start_us, above.unit_us);
        if above.open.as_ref().is_some_and(|(open, _)| *open != start) {
            self.close(at + 1);
        }
        match &mut self.levels[at + 1].open {
            Some((_, open)) => open.fold(&partial),
            open => *open = Some((start, partial)),
        }
    }

    fn close(&mut self, at: usize) {
        if let Some((start_us, partial)) = self.levels[at].open.take() {
            self.up(at, start_us, partial);
        }
    }

    fn close_all(&mut self) {
        (0..self.levels.len()).for_each(|level| self.close(level));
    }

    fn emit(&mut self, start_us: i64, partial: &Partial) {
        let mut numbers = self.numbers.as_mut().map(std::mem::take).unwrap_or_default();
        numbers.sort_unstable_by(f64::total_cmp);
        let value = |aggregate: &Aggregate| match aggregate.percent() {
            // Nearest rank: a value that was measured.
            Some(percent) => {
                let rank = (numbers.len() * percent).div_ceil(100).max(1);
                numbers.get(rank - 1).map(|v| Value::F64(*v))
            }
            None => partial.get(*aggregate),
        };
        let values = self.aggregates.iter().map(value).collect();
        self.done.push(Bucket { start_us, values });
    }

    /// Takes the buckets that have ended.
    pub fn take(&mut self) -> Vec<Bucket> {
        std::mem::take(&mut self.done)
    }

    /// How many buckets have ended and were not taken.
    pub fn ended(&self) -> usize {
        self.done.len()
    }

    /// Ends the open bucket and takes the rest.
    pub fn finish(mut self) -> Vec<Bucket> {
        self.close_all();
        self.take()
    }
}

/// The largest multiple of `unit` that is not above `time`.
pub fn floor(time: i64, unit: i64) -> i64 {
    time.div_euclid(unit).saturating_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(aggregate: Aggregate, samples: &[(i64, f64)], expected: &[(i64, Value)]) {
        let mut buckets = Buckets::new(10, &[aggregate]);
        samples.iter().for_each(|(time_us, v)| buckets.push(*time_us, ValueRef::F64(*v)));
        let found: Vec<(i64, Value)> =
            buckets.finish().into_iter().filter_map(|b| Some((b.start_us, b.values[0].clone()?))).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn buckets_begin_at_multiples_of_the_step() {
        let samples = [(7, 1.0), (9, 3.0), (10, 5.0), (31, 7.0)];
        check(Aggregate::Avg, &samples, &[(0, Value::F64(2.0)), (10, Value::F64(5.0)), (30, Value::F64(7.0))]);
        check(Aggregate::Count, &samples, &[(0, Value::I64(2)), (10, Value::I64(1)), (30, Value::I64(1))]);
        check(Aggregate::Last, &samples[..2], &[(0, Value::F64(3.0))]);
    }

    #[test]
    fn not_a_number_counts_but_does_not_spoil_the_sum() {
        check(Aggregate::Sum, &[(1, 1.0), (2, f64::NAN), (3, 2.0)], &[(0, Value::F64(3.0))]);
        check(Aggregate::Max, &[(1, f64::NAN)], &[]);
        check(Aggregate::Count, &[(1, f64::NAN)], &[(0, Value::I64(1))]);
    }

    #[test]
    fn a_percentile_is_a_value_that_was_measured() {
        let hundred: Vec<(i64, f64)> = (0..10).map(|n| (n, f64::from(10 - n as i32))).collect();
        check(Aggregate::P50, &hundred, &[(0, Value::F64(5.0))]);
        check(Aggregate::P95, &hundred, &[(0, Value::F64(10.0))]);
        check(Aggregate::P50, &[(1, 3.0), (11, 4.0)], &[(0, Value::F64(3.0)), (10, Value::F64(4.0))]);
    }

    proptest! {
        /// Any mixture of samples, minutes and hours gives the same buckets, bit for bit.
        #[test]
        fn rollups_change_no_bit(
            samples in proptest::collection::btree_map(0i64..5 * 3600, -1e9f64..1e9, 1..300),
            step_minutes in proptest::sample::select(vec![1i64, 7, 60, 120]),
            ways in proptest::collection::vec(0u8..3, 5),
        ) {
            let samples: Vec<(i64, f64)> = samples.into_iter().map(|(s, v)| (s * 1_000_000, v)).collect();
            let step = step_minutes * MINUTE_US;
            let mut plain = Buckets::new(step, &Aggregate::ALL[..7]);
            samples.iter().for_each(|(t, v)| plain.push(*t, ValueRef::F64(*v)));
            let mut mixed = Buckets::new(step, &Aggregate::ALL[..7]);
            let units = mixed.units();
            for hour in 0..5 {
                let inside: Vec<_> = samples.iter().filter(|(t, _)| floor(*t, HOUR_US) == hour * HOUR_US).collect();
                let way = ways[hour as usize];
                if way == 0 || !units.contains(&HOUR_US) && way == 2 {
                    inside.iter().for_each(|(t, v)| mixed.push(*t, ValueRef::F64(*v)));
                    continue;
                }
                let minutes = fold(inside.iter().map(|(t, v)| (floor(*t, MINUTE_US), Partial::of(ValueRef::F64(*v)))), true);
                if way == 1 {
                    minutes.iter().for_each(|(t, p)| mixed.push_partial(MINUTE_US, *t, p));
                } else {
                    let hours = fold(minutes.into_iter().map(|(t, p)| (floor(t, HOUR_US), p)), false);
                    hours.iter().for_each(|(t, p)| mixed.push_partial(HOUR_US, *t, p));
                }
            }
            let bits = |buckets: Vec<Bucket>| format!("{buckets:?}");
            prop_assert_eq!(bits(plain.finish()), bits(mixed.finish()));
        }
    }

    fn fold(parts: impl Iterator<Item = (i64, Partial)>, samples: bool) -> Vec<(i64, Partial)> {
        let mut out: Vec<(i64, Partial)> = Vec::new();
        for (start, partial) in parts {
            match out.last_mut().filter(|(last, _)| *last == start) {
                Some((_, open)) if samples => open.push(match partial.first {
                    Value::F64(v) => ValueRef::F64(v),
                    _ => unreachable!("numbers only"),
                }),
                Some((_, open)) => open.fold(&partial),
                None => out.push((start, partial)),
            }
        }
        out
    }
}
