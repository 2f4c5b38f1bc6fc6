//! Percentiles, and the figures of a server under load.

use std::fmt;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::children::Usage;
use super::generator::Outcome;

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
    /// Of a histogram of microseconds; None if it is empty.
    pub fn of_histogram(times: &Histogram<u64>) -> Option<Latency> {
        let ms = |us: u64| us as f64 / 1000.0;
        (!times.is_empty()).then(|| Latency {
            p50: ms(times.value_at_quantile(0.5)),
            p99: ms(times.value_at_quantile(0.99)),
            max: ms(times.max()),
            count: usize::try_from(times.len()).unwrap_or(usize::MAX),
        })
    }

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

/// What is said of every server under load.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)] // DESIGN-level names, the same for every measurement
pub struct Figures {
    pub seconds: f64,
    pub messages: u64,
    pub messages_per_s: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub samples_per_s: Option<f64>,
    pub latency_ms: Option<Latency>,
    pub server_cpu_us_per_message: Option<f64>,
    pub server_rss_bytes: Option<u64>,
    pub server_rss_peak_bytes: Option<u64>,
    pub generator_cpu_us_per_message: Option<f64>,
    pub errors: u64,
    pub missing: u64,
    pub doubled: u64,
    /// With a rate: due and not sent in time, because the window was full.
    pub unsent: u64,
    /// The first error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl Figures {
    /// `samples`: how many a message has; None where a message is just bytes.
    pub(super) fn of(
        outcome: &Outcome,
        samples: Option<usize>,
        before: Option<Usage>,
        after: Option<Usage>,
    ) -> Figures {
        let messages = outcome.acked_measured;
        let cpu_us = before.zip(after).map(|(b, a)| (a.cpu_ms.saturating_sub(b.cpu_ms) * 1000) as f64);
        Figures {
            seconds: outcome.measured.as_secs_f64(),
            messages,
            messages_per_s: outcome.per_second(),
            samples_per_s: samples.map(|samples| outcome.per_second() * samples as f64),
            latency_ms: Latency::of_histogram(&outcome.times),
            server_cpu_us_per_message: cpu_us.filter(|_| messages > 0).map(|us| us / messages as f64),
            server_rss_bytes: after.map(|usage| usage.rss_bytes),
            server_rss_peak_bytes: after.and_then(|usage| usage.rss_peak_bytes),
            generator_cpu_us_per_message: outcome.cpu_us_per_message(),
            errors: outcome.errors,
            missing: outcome.missing,
            doubled: outcome.doubled,
            unsent: outcome.unsent,
            problem: outcome.problem.clone(),
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} messages/s", self.messages_per_s)?;
        if let Some(l) = &self.latency_ms {
            write!(f, ", acknowledged after p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms", l.p50, l.p99, l.max)?;
        }
        if let (Some(cpu), Some(rss)) = (self.server_cpu_us_per_message, self.server_rss_bytes) {
            write!(f, "; {cpu:.2} µs of the server's processor time each, {:.0} MB resident", rss as f64 / 1e6)?;
        }
        write!(f, "; {} errors, {} missing, {} doubled", self.errors, self.missing, self.doubled)?;
        if self.unsent > 0 {
            write!(f, "; {} were due and not sent in time, as the window was full", self.unsent)?;
        }
        if let Some(problem) = &self.problem {
            write!(f, " (first problem: {problem})")?;
        }
        Ok(())
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
