//! What the measuring process and the processes that hold its subscribers say to each other: one JSON document per line.

use std::net::SocketAddr;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::super::generator::histogram;
use crate::SimError;

/// What subscribers speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Speaks {
    /// Frames of SPEC §9.
    Pulsewire,
    /// A WebSocket that brings a message of time and counter, then zeros.
    Ws,
    /// The same as messages of NATS.
    Nats,
}

/// What a process of subscribers is to do; its first line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    pub speaks: Speaks,
    pub address: SocketAddr,
    /// Bearer token.
    pub token: String,
    /// Numbers of its subscribers; the view of each is its number modulo the views.
    pub first: u32,
    pub count: u32,
    /// Devices of each view. What does not speak Pulsewire has one without a name.
    pub views: Vec<Vec<String>>,
    pub series_per_device: u32,
    /// Each sample is wanted, instead of the newest per interval.
    pub every: bool,
    pub interval_ms: u32,
    /// Time between two samples of a series.
    pub period_us: u64,
    /// How many loopback addresses to connect from; 0 leaves the address to the system.
    pub sources: u32,
    /// What arrives repeats itself and is only counted.
    pub unchecked: bool,
}

/// A later line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Order {
    /// Count from now on.
    Begin,
    /// Answer what was counted.
    End,
    /// Answer whose newest value of a series is not this one, per view and device, when this time is over or nobody's is.
    Newest { counters: Vec<Vec<u64>>, patience_ms: u64 },
    /// Read nothing any more.
    Stall,
    /// Lose all connections, and make each again at a random moment within this time.
    Storm { within_ms: u64, seed: u64, resume: bool },
}

/// What a process says: first [`Answer::Live`], then one per order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Answer {
    /// All are connected and have what is there.
    Live,
    /// To `Begin` and `Stall`.
    Done,
    /// To `End`.
    Tally(Tally),
    /// To `Newest`: pairs of subscriber and series that do not have the newest value.
    Checked { missing: u64 },
    /// To `Storm`.
    Stormed(Storm),
    /// It cannot go on.
    Failed { problem: String },
}

/// What subscribers counted.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Tally {
    pub frames: u64,
    pub updates: u64,
    pub bytes: u64,
    /// Samples that were left out for a newer one, where only the newest is wanted.
    pub conflated: u64,
    /// Samples that never came, where each is wanted.
    pub missing: u64,
    /// Samples that came again, or after a newer one.
    pub doubled: u64,
    /// Frames that do not follow the one before.
    pub broken: u64,
    pub gaps: u64,
    pub errors: u64,
    pub problem: Option<String>,
    /// Microseconds from sample to subscriber, and how many took that long.
    pub times: Vec<(u64, u64)>,
}

/// What came of a reconnect storm.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Storm {
    /// Are live again.
    pub live: u64,
    /// Answers that are no upgrade, and REFUSED.
    pub refused: u64,
    /// Connections that were not made or ended early.
    pub failed: u64,
    /// GAP frames: what was missed is not all there.
    pub gaps: u64,
    pub problem: Option<String>,
    /// When the last was live again, µs after all were cut.
    pub last_us: u64,
    /// µs from the moment at which each was to connect until it was live, and how many took that long.
    pub times: Vec<(u64, u64)>,
}

/// The buckets of a histogram that are not empty.
pub fn buckets(times: &Histogram<u64>) -> Vec<(u64, u64)> {
    times.iter_recorded().map(|bucket| (bucket.value_iterated_to(), bucket.count_at_value())).collect()
}

/// A histogram of all these buckets.
pub fn joined<'a>(parts: impl Iterator<Item = &'a Vec<(u64, u64)>>) -> Result<Histogram<u64>, SimError> {
    let mut sum = histogram()?;
    for (value, count) in parts.flatten() {
        sum.saturating_record_n(*value, *count);
    }
    Ok(sum)
}

impl Tally {
    /// The sum, but for the times.
    pub fn add(&mut self, other: &Tally) {
        self.frames += other.frames;
        self.updates += other.updates;
        self.bytes += other.bytes;
        self.conflated += other.conflated;
        self.missing += other.missing;
        self.doubled += other.doubled;
        self.broken += other.broken;
        self.gaps += other.gaps;
        self.errors += other.errors;
        if self.problem.is_none() {
            self.problem.clone_from(&other.problem);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_survives_the_way_between_processes() {
        let mut times = histogram().expect("a histogram");
        for value in [1, 1, 50, 99_000, 5_000_000] {
            times.record(value).expect("within bounds");
        }
        let (one, none) = (buckets(&times), Vec::new());
        let both = joined([&one, &none, &one].into_iter()).expect("a histogram");
        assert_eq!((both.len(), both.count_at(1)), (10, 4));
        for quantile in [0.5, 0.9, 1.0] {
            assert_eq!(both.value_at_quantile(quantile), times.value_at_quantile(quantile));
        }
    }
}
