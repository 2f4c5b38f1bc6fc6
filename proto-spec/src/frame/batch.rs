//! BATCH, drawn byte by byte in SPEC §9.5: columns that a browser reads as typed arrays without copying.

use alloc::vec::Vec;
use core::fmt;

use crate::{DecodeError, error::Problem, limits};

const NAME: &str = "BATCH";
const HEAD_BYTES: usize = 40;
const HISTORY: u32 = 1;
const CONFLATED: u32 = 2;

/// What a sender puts into a BATCH. SPEC §9.5.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchColumns<'a> {
    /// The viewer's number.
    pub subscription: u32,
    /// Every sample up to here was sent, conflated or reported as a gap.
    pub position: u64,
    /// Position of the previous frame of this subscription; 0 for the first.
    pub previous: u64,
    /// µs since 1970 that the offsets count from.
    pub base_us: i64,
    /// Samples from before the subscription.
    pub history: bool,
    /// A sample was replaced by a newer one.
    pub conflated: bool,
    /// Series index of each sample.
    pub series: &'a [u32],
    /// µs after `base_us` of each sample.
    pub offsets_us: &'a [u32],
    /// Value of each sample.
    pub values: &'a [f64],
}

/// Columns that do not make a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnsError {
    /// The columns differ in length.
    UnequalLengths,
    /// More than [`limits::BATCH_SAMPLES`] samples.
    TooManySamples,
}

impl BatchColumns<'_> {
    /// Appends the payload: 40 + 16 bytes per sample, and padding. On an error nothing was appended.
    pub fn encode_payload(&self, out: &mut Vec<u8>) -> Result<(), ColumnsError> {
        let count = self.series.len();
        if self.offsets_us.len() != count || self.values.len() != count {
            return Err(ColumnsError::UnequalLengths);
        }
        if count > limits::BATCH_SAMPLES {
            return Err(ColumnsError::TooManySamples);
        }
        let flags = if self.history { HISTORY } else { 0 } | if self.conflated { CONFLATED } else { 0 };
        out.reserve(HEAD_BYTES + 2 * padded(4 * count) + 8 * count);
        put_head(out, self.subscription, count as u32, self.position, self.previous, self.base_us, flags);
        put_u32_column(out, self.series.iter().copied());
        put_u32_column(out, self.offsets_us.iter().copied());
        out.extend(self.values.iter().flat_map(|value| value.to_le_bytes()));
        Ok(())
    }
}

/// A BATCH whose columns are known to be whole. SPEC §9.5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch<'a> {
    /// The viewer's number.
    pub subscription: u32,
    /// Every sample up to here was sent, conflated or reported as a gap.
    pub position: u64,
    /// Position of the previous frame of this subscription; 0 for the first.
    pub previous: u64,
    /// µs since 1970 that the offsets count from.
    pub base_us: i64,
    flags: u32,
    series: &'a [[u8; 4]],
    offsets: &'a [[u8; 4]],
    values: &'a [[u8; 8]],
}

/// One sample of a BATCH.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchSample {
    /// Series index in the subscription.
    pub series: u32,
    /// µs since 1970.
    pub time_us: i64,
    /// The value as a number.
    pub value: f64,
}

impl<'a> Batch<'a> {
    /// Checks that the payload holds the columns it announces.
    pub fn decode(payload: &'a [u8]) -> Result<Batch<'a>, DecodeError> {
        let truncated = |field| DecodeError::new(NAME, field, Problem::Truncated);
        let (head, columns) = payload.split_at_checked(HEAD_BYTES).ok_or(truncated("head"))?;
        let count = u64::from(u32_at(head, 4));
        let column_bytes = padded_u64(4 * count);
        let available = columns.len() as u64;
        if column_bytes > available {
            return Err(truncated("series"));
        }
        if 2 * column_bytes > available {
            return Err(truncated("offsets"));
        }
        if 2 * column_bytes + 8 * count > available {
            return Err(truncated("values"));
        }
        // What fits in memory fits usize, so these casts are exact.
        let (count, column_bytes) = (count as usize, column_bytes as usize);
        let (series, rest) = columns.split_at(column_bytes);
        let (offsets, values) = rest.split_at(column_bytes);
        let base_us = i64_at(head, 24);
        let batch = Batch {
            subscription: u32_at(head, 0),
            position: i64_at(head, 8) as u64,
            previous: i64_at(head, 16) as u64,
            base_us,
            flags: u32_at(head, 32),
            series: &series.as_chunks().0[..count],
            offsets: &offsets.as_chunks().0[..count],
            values: &values.as_chunks().0[..count],
        };
        let last_us = batch.offsets.iter().map(|bytes| u32::from_le_bytes(*bytes)).max().unwrap_or(0);
        if base_us.checked_add(i64::from(last_us)).is_none() {
            return Err(DecodeError::new(NAME, "base_us", Problem::NotAllowed("a sample's time must fit i64")));
        }
        Ok(batch)
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// Whether there are no samples: such a batch only moves the position.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Whether the samples are from before the subscription.
    pub fn history(&self) -> bool {
        self.flags & HISTORY != 0
    }

    /// Whether a sample was replaced by a newer one.
    pub fn conflated(&self) -> bool {
        self.flags & CONFLATED != 0
    }

    /// The samples in their order.
    pub fn samples(&self) -> impl ExactSizeIterator<Item = BatchSample> + 'a {
        let base_us = self.base_us;
        self.series.iter().zip(self.offsets).zip(self.values).map(move |((series, offset), value)| BatchSample {
            series: u32::from_le_bytes(*series),
            time_us: base_us + i64::from(u32::from_le_bytes(*offset)),
            value: f64::from_le_bytes(*value),
        })
    }

    /// Appends the payload.
    pub fn encode_payload(&self, out: &mut Vec<u8>) {
        let count = self.len() as u32;
        put_head(out, self.subscription, count, self.position, self.previous, self.base_us, self.flags);
        put_u32_column(out, self.series.iter().map(|bytes| u32::from_le_bytes(*bytes)));
        put_u32_column(out, self.offsets.iter().map(|bytes| u32::from_le_bytes(*bytes)));
        out.extend(self.values.iter().flatten());
    }
}

impl fmt::Display for ColumnsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ColumnsError::UnequalLengths => "the columns of a batch differ in length",
            ColumnsError::TooManySamples => "a batch has at most 65,000 samples",
        })
    }
}

impl core::error::Error for ColumnsError {}

fn put_head(out: &mut Vec<u8>, subscription: u32, count: u32, position: u64, previous: u64, base_us: i64, flags: u32) {
    out.extend_from_slice(&subscription.to_le_bytes());
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&position.to_le_bytes());
    out.extend_from_slice(&previous.to_le_bytes());
    out.extend_from_slice(&base_us.to_le_bytes());
    out.extend_from_slice(&flags.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
}

fn put_u32_column(out: &mut Vec<u8>, values: impl ExactSizeIterator<Item = u32>) {
    let odd = values.len() % 2 == 1;
    out.extend(values.flat_map(u32::to_le_bytes));
    if odd {
        out.extend_from_slice(&[0; 4]);
    }
}

fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(8)
}

fn padded_u64(bytes: u64) -> u64 {
    bytes.next_multiple_of(8)
}

fn u32_at(head: &[u8], at: usize) -> u32 {
    head[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn i64_at(head: &[u8], at: usize) -> i64 {
    head[at..].first_chunk().map_or(0, |bytes| i64::from_le_bytes(*bytes))
}
