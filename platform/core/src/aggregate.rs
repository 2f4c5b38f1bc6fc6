//! Buckets of samples: what one point of a chart over a long range stands for.

use crate::sample::Sample;
use crate::value::{Value, ValueClass};

/// How a bucket becomes one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
}

impl Aggregate {
    /// Every aggregate.
    pub const ALL: [Self; 7] = [Self::Min, Self::Max, Self::Avg, Self::Sum, Self::Count, Self::First, Self::Last];

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
}

/// Gathers samples in time order into buckets of `step_us` that begin at multiples of the step since the Unix epoch, so
/// that the same bucket has the same bounds whatever range is asked.
///
/// NaN takes part in `count`, `first` and `last` only.
#[derive(Debug)]
pub struct Buckets {
    step_us: i64,
    aggregate: Aggregate,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    start_us: i64,
    count: u64,
    numbers: u64,
    min: f64,
    max: f64,
    sum: f64,
    first: Value,
    last: Value,
}

impl Buckets {
    /// `step_us` must be positive; a smaller one is taken as 1.
    pub fn new(step_us: i64, aggregate: Aggregate) -> Self {
        Self { step_us: step_us.max(1), aggregate, open: None }
    }

    /// Takes the next sample; answers the bucket that ended before it, if any.
    pub fn push(&mut self, sample: Sample) -> Option<Sample> {
        let start_us = sample.time_us.div_euclid(self.step_us) * self.step_us;
        let done = match &self.open {
            Some(open) if open.start_us != start_us => self.finish(),
            _ => None,
        };
        let number = sample.value.as_f64().filter(|v| !v.is_nan());
        let open = self.open.get_or_insert_with(|| Open {
            start_us,
            count: 0,
            numbers: 0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            sum: 0.0,
            first: sample.value.clone(),
            last: sample.value.clone(),
        });
        open.count += 1;
        if let Some(v) = number {
            open.numbers += 1;
            open.min = open.min.min(v);
            open.max = open.max.max(v);
            open.sum += v;
        }
        open.last = sample.value;
        done
    }

    /// Ends the open bucket. A bucket in which the aggregate has no value (only NaN) is left out.
    pub fn finish(&mut self) -> Option<Sample> {
        let open = self.open.take()?;
        let number = |v: f64| (open.numbers > 0).then_some(Value::F64(v));
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_wrap)]
        let value = match self.aggregate {
            Aggregate::Min => number(open.min),
            Aggregate::Max => number(open.max),
            Aggregate::Sum => number(open.sum),
            Aggregate::Avg => number(open.sum / open.numbers as f64),
            Aggregate::Count => Some(Value::I64(open.count as i64)),
            Aggregate::First => Some(open.first),
            Aggregate::Last => Some(open.last),
        };
        value.map(|value| Sample { time_us: open.start_us, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(aggregate: Aggregate, samples: &[(i64, f64)], expected: &[(i64, Value)]) {
        let mut buckets = Buckets::new(10, aggregate);
        let mut out: Vec<Sample> =
            samples.iter().filter_map(|&(time_us, v)| buckets.push(Sample { time_us, value: Value::F64(v) })).collect();
        out.extend(buckets.finish());
        let out: Vec<(i64, Value)> = out.into_iter().map(|s| (s.time_us, s.value)).collect();
        assert_eq!(out, expected);
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
}
