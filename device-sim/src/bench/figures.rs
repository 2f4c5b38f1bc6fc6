//! Percentiles.

use serde::Serialize;

/// A distribution of times, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Latency {
    /// Half are at most this.
    pub p50: f64,
    /// 99 of 100 are at most this.
    pub p99: f64,
    /// All are at most this.
    pub max: f64,
    /// How many there are.
    pub count: usize,
}

impl Latency {
    /// Of times in microseconds; None of none. Every value is kept, so no bucket rounds them.
    pub fn of_us(mut times: Vec<i64>) -> Option<Latency> {
        times.sort_unstable();
        // The smallest value that so many of all do not exceed.
        let rank = |share: f64| ((times.len() as f64 * share).ceil() as usize).saturating_sub(1);
        let ms = |index: usize| times.get(index).map(|us| *us as f64 / 1000.0);
        Some(Latency {
            p50: ms(rank(0.5))?,
            p99: ms(rank(0.99))?,
            max: ms(times.len().checked_sub(1)?)?,
            count: times.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_smallest_value_that_so_many_do_not_exceed() {
        let latency = Latency::of_us((1..=100).map(|ms| ms * 1000).rev().collect());
        assert_eq!(latency, Some(Latency { p50: 50.0, p99: 99.0, max: 100.0, count: 100 }));
        assert_eq!(Latency::of_us(vec![7]).map(|l| (l.p50, l.p99, l.max)), Some((0.007, 0.007, 0.007)));
        assert_eq!(Latency::of_us(Vec::new()), None);
    }
}
