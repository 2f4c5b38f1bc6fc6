//! What metrics and log say of the store.

use crate::ports::StoreStatus;
use crate::telemetry::names;

/// Tells metrics and log how the store is doing.
#[derive(Default)]
pub struct StoreWatch {
    warned: bool,
    chunks: u64,
    sealed: u64,
    damaged: u64,
}

impl StoreWatch {
    #[allow(clippy::cast_precision_loss)] // gauges are doubles
    /// Looks once.
    pub fn look(&mut self, status: &StoreStatus) {
        metrics::gauge!(names::STORE_JOURNAL_BYTES).set(status.journal_bytes as f64);
        metrics::gauge!(names::STORE_HEADS_BYTES).set(status.heads_bytes as f64);
        metrics::gauge!(names::STORE_DISK_BYTES).set(status.disk_bytes as f64);
        let damaged = status.damaged.len() as u64;
        metrics::counter!(names::STORE_DAMAGED).increment(damaged.saturating_sub(self.damaged));
        metrics::gauge!(names::STORE_FAILING).set(f64::from(u8::from(status.failing.is_some())));
        metrics::counter!(names::STORE_CHUNKS).increment(status.chunks.saturating_sub(self.chunks));
        metrics::counter!(names::STORE_SEALED).increment(status.sealed.saturating_sub(self.sealed));
        (self.chunks, self.sealed, self.damaged) = (status.chunks, status.sealed, damaged);
        let limit = status.size_bytes_max;
        if status.is_nearly_full() && !self.warned {
            self.warned = true;
            tracing::warn!(
                bytes = status.disk_bytes,
                limit,
                "telemetry takes more than 80 % of store.size_bytes_max; at the whole of it the oldest samples go"
            );
        }
        // Not at 80 % already: what is removed and what comes would have it warn again and again.
        self.warned &= limit > 0 && status.disk_bytes >= limit / 4 * 3;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_stays_near_its_limit_is_warned_of_once() {
        let mut watch = StoreWatch::default();
        let mut warned = |percent: u64| {
            watch.look(&StoreStatus { disk_bytes: percent * 1000, size_bytes_max: 100_000, ..StoreStatus::default() });
            watch.warned
        };
        let found = [50, 81, 79, 81, 76, 74, 79, 81].map(&mut warned);
        assert_eq!(found, [false, true, true, true, true, false, false, true]);
    }
}
