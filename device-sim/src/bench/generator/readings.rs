//! What devices measure: decimal random walks, at the device's own rate, with a jitter of up to a millisecond.

/// Most metrics of a device.
pub(in super::super) const METRICS_MAX: usize = 64;
/// Values are hundredths from 0 to this.
const TOP: i32 = 10_000;
const JITTER_MAX_US: i64 = 1_000;

/// One row of a device.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Reading<'a> {
    /// µs since 1970; grows from row to row.
    pub time_us: i64,
    /// With a rate: when it was to be sent, µs since 1970; without one the same as `time_us`.
    pub due_us: i64,
    /// f32, little-endian, one per metric.
    pub values: &'a [u8],
}

/// One device's readings.
#[derive(Debug, Clone)]
pub(super) struct Walk {
    hundredths: Vec<i32>,
    random: u64,
    last_us: i64,
    bytes: Vec<u8>,
}

/// A stretch of time that a group of rows is spread over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    from_us: i64,
    length_us: i64,
    rows: i64,
}

impl Walk {
    pub fn new(metrics: usize, seed: u64, start_us: i64) -> Walk {
        // Zero is the one state that xorshift does not leave.
        let random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        Walk { hundredths: vec![TOP / 2; metrics], random, last_us: start_us, bytes: vec![0; 4 * metrics] }
    }

    /// The rows of this moment: they fill the time since the last ones evenly.
    pub fn span(&mut self, now_us: i64, rows: u64) -> Span {
        let rows = i64::try_from(rows).unwrap_or(i64::MAX).max(1);
        // At least a microsecond each: two rows of one time would be one.
        let span = Span { from_us: self.last_us, length_us: (now_us - self.last_us).max(rows), rows };
        self.last_us = span.from_us + span.length_us;
        span
    }

    /// Row `index` of the span, from 0.
    pub fn read(&mut self, span: Span, index: u64) -> Reading<'_> {
        let due = span.from_us + span.length_us * (index as i64 + 1) / span.rows;
        let jitter_max = (span.length_us / span.rows).clamp(1, JITTER_MAX_US);
        let jitter = (self.random() >> 33) as i64 % jitter_max;
        for first in (0..self.hundredths.len()).step_by(8) {
            let mut random = self.random();
            let last = (first + 8).min(self.hundredths.len());
            for (value, bytes) in
                self.hundredths[first..last].iter_mut().zip(self.bytes[4 * first..].chunks_exact_mut(4))
            {
                // The difference of two even draws: no drift, small steps more often than large ones.
                let step = (random & 15) as i32 - (random >> 4 & 15) as i32;
                random >>= 8;
                *value = (*value + step).clamp(0, TOP);
                bytes.copy_from_slice(&(*value as f32 / 100.0).to_le_bytes());
            }
        }
        Reading { time_us: due - jitter, due_us: due - jitter, values: &self.bytes }
    }

    /// Xorshift64: cheap, and good enough for readings.
    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_grow_by_the_devices_rate_with_at_most_a_millisecond_of_jitter() {
        let mut walk = Walk::new(10, 7, 1_000_000);
        let (mut last, mut jitters) = (1_000_000, 0);
        for round in 1..=100_i64 {
            let now = 1_000_000 + round * 100_000;
            let span = walk.span(now, 20);
            for row in 0..20 {
                let time = walk.read(span, row).time_us;
                let due = now - 100_000 + (row as i64 + 1) * 5_000;
                assert!(time > last && (due - 999..=due).contains(&time), "{time} after {last}, due {due}");
                (last, jitters) = (time, jitters + i64::from(time != due));
            }
        }
        assert!(jitters > 1900, "{jitters}");
    }

    #[test]
    fn more_rows_than_microseconds_still_have_times_of_their_own() {
        let mut walk = Walk::new(1, 1, 0);
        let mut last = 0;
        for _ in 0..3 {
            let span = walk.span(5, 100);
            for row in 0..100 {
                let time = walk.read(span, row).time_us;
                assert!(time > last);
                last = time;
            }
        }
        assert_eq!(last, 300);
    }

    #[test]
    fn values_are_decimal_and_wander() {
        let mut walk = Walk::new(10, 3, 0);
        let mut seen = std::collections::BTreeSet::new();
        for round in 1..=1000 {
            let span = walk.span(round * 1000, 1);
            let reading = walk.read(span, 0);
            assert_eq!(reading.values.len(), 40);
            for bytes in reading.values.chunks_exact(4) {
                let value = f32::from_le_bytes(bytes.try_into().expect("four bytes"));
                assert!((0.0..=100.0).contains(&value));
                assert_eq!((value * 100.0).round() / 100.0, value);
                seen.insert(value.to_bits());
            }
        }
        assert!(seen.len() > 100, "{}", seen.len());
    }
}
