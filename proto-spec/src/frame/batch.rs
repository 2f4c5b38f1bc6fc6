//! BATCH, drawn byte by byte in SPEC §9.5: columns that a browser reads as typed arrays without copying.

use alloc::vec::Vec;
use core::fmt;

use crate::{DecodeError, error::Problem, limits};

const NAME: &str = "BATCH";
const HEAD_BYTES: usize = 40;
const HISTORY: u32 = 1;
const CONFLATED: u32 = 2;
const SHORT_SERIES: u32 = 4;
const TIME_RUNS: u32 = 8;
const SHORT_VALUES: u32 = 16;
/// How many runs there are, and padding.
const RUNS_HEAD_BYTES: usize = 8;

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
    /// Appends the payload: 40 bytes, and per sample at most 16 and padding. Each column takes its short form where that says
    /// the same and is shorter. On an error nothing was appended.
    pub fn encode_payload(&self, out: &mut Vec<u8>) -> Result<(), ColumnsError> {
        let count = self.series.len();
        if self.offsets_us.len() != count || self.values.len() != count {
            return Err(ColumnsError::UnequalLengths);
        }
        if count > limits::BATCH_SAMPLES {
            return Err(ColumnsError::TooManySamples);
        }
        let is_shorter = |short: usize, long: usize| padded(short) < padded(long);
        let short_series =
            is_shorter(2 * count, 4 * count) && self.series.iter().all(|series| u16::try_from(*series).is_ok());
        let short_values = is_shorter(4 * count, 8 * count) && self.values.iter().copied().all(fits_f32);
        let runs = self.offsets_us.chunk_by(|one, next| one == next);
        let run_count = runs.clone().count();
        let time_runs = RUNS_HEAD_BYTES + 2 * padded(4 * run_count) < padded(4 * count);
        let flags = [
            (self.history, HISTORY),
            (self.conflated, CONFLATED),
            (short_series, SHORT_SERIES),
            (time_runs, TIME_RUNS),
            (short_values, SHORT_VALUES),
        ];
        let flags = flags.iter().filter(|(is_set, _)| *is_set).fold(0, |flags, (_, flag)| flags | flag);
        out.reserve(HEAD_BYTES + 2 * padded(4 * count) + 8 * count);
        put_head(out, self.subscription, count as u32, self.position, self.previous, self.base_us, flags);
        match short_series {
            // None is left out: each fits.
            true => put_column(out, self.series.iter().map(|series| (*series as u16).to_le_bytes())),
            false => put_column(out, self.series.iter().map(|series| series.to_le_bytes())),
        }
        match time_runs {
            true => {
                put_column(out, core::iter::once((run_count as u32).to_le_bytes()));
                // A run has at least one sample.
                put_column(out, runs.clone().map(|run| run.first().copied().unwrap_or(0).to_le_bytes()));
                put_column(out, runs.map(|run| (run.len() as u32).to_le_bytes()));
            }
            false => put_column(out, self.offsets_us.iter().map(|offset| offset.to_le_bytes())),
        }
        match short_values {
            true => put_column(out, self.values.iter().map(|value| (*value as f32).to_le_bytes())),
            false => put_column(out, self.values.iter().map(|value| value.to_le_bytes())),
        }
        Ok(())
    }
}

/// Whether it is the same as an f32, to the bit.
fn fits_f32(value: f64) -> bool {
    f64::from(value as f32).to_bits() == value.to_bits()
}

/// A column as it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column<'a, const LONG: usize, const SHORT: usize> {
    Long(&'a [[u8; LONG]]),
    Short(&'a [[u8; SHORT]]),
}

/// Times as they were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Times<'a> {
    Each(&'a [[u8; 4]]),
    Runs { offsets: &'a [[u8; 4]], lengths: &'a [[u8; 4]] },
}

impl<'a, const LONG: usize, const SHORT: usize> Column<'a, LONG, SHORT> {
    fn bytes(&self) -> &'a [u8] {
        match self {
            Column::Long(values) => values.as_flattened(),
            Column::Short(values) => values.as_flattened(),
        }
    }
}

/// What is left of a payload.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    /// A column and its padding.
    fn column<const BYTES: usize>(
        &mut self,
        count: u64,
        field: &'static str,
    ) -> Result<&'a [[u8; BYTES]], DecodeError> {
        let truncated = DecodeError::new(NAME, field, Problem::Truncated);
        // At most 2^32 elements of 8 bytes, so it cannot overflow; what fits in memory fits usize.
        let (bytes, whole) = (BYTES as u64 * count, (BYTES as u64 * count).next_multiple_of(8));
        if whole > self.0.len() as u64 {
            return Err(truncated);
        }
        let (column, rest) = self.0.split_at(whole as usize);
        self.0 = rest;
        Ok(column[..bytes as usize].as_chunks().0)
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
    count: u32,
    series: Column<'a, 4, 2>,
    times: Times<'a>,
    values: Column<'a, 8, 4>,
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
        let truncated = DecodeError::new(NAME, "head", Problem::Truncated);
        let (head, columns) = payload.split_at_checked(HEAD_BYTES).ok_or(truncated)?;
        let (count, flags, base_us) = (u32_at(head, 4), u32_at(head, 32), i64_at(head, 24));
        let (mut rest, long) = (Rest(columns), u64::from(count));
        let series = match flags & SHORT_SERIES {
            0 => Column::Long(rest.column(long, "series")?),
            _ => Column::Short(rest.column(long, "series")?),
        };
        let times = match flags & TIME_RUNS {
            0 => Times::Each(rest.column(long, "offsets")?),
            _ => runs(&mut rest, count)?,
        };
        let values = match flags & SHORT_VALUES {
            0 => Column::Long(rest.column(long, "values")?),
            _ => Column::Short(rest.column(long, "values")?),
        };
        let (Times::Each(offsets) | Times::Runs { offsets, .. }) = times;
        let last_us = offsets.iter().map(|bytes| u32::from_le_bytes(*bytes)).max().unwrap_or(0);
        if base_us.checked_add(i64::from(last_us)).is_none() {
            return Err(DecodeError::new(NAME, "base_us", Problem::NotAllowed("a sample's time must fit i64")));
        }
        Ok(Batch {
            subscription: u32_at(head, 0),
            position: i64_at(head, 8) as u64,
            previous: i64_at(head, 16) as u64,
            base_us,
            flags,
            count,
            series,
            times,
            values,
        })
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there are no samples: such a batch only moves the position.
    pub fn is_empty(&self) -> bool {
        self.count == 0
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
    pub fn samples(&self) -> BatchSamples<'a> {
        BatchSamples { batch: *self, at: 0, run: 0, left: 0 }
    }

    /// Appends the payload, each column in the form it came in.
    pub fn encode_payload(&self, out: &mut Vec<u8>) {
        put_head(out, self.subscription, self.count, self.position, self.previous, self.base_us, self.flags);
        let mut put = |bytes: &[u8]| {
            out.extend_from_slice(bytes);
            pad(out, bytes.len());
        };
        put(self.series.bytes());
        match self.times {
            Times::Each(offsets) => put(offsets.as_flattened()),
            Times::Runs { offsets, lengths } => {
                put(&(offsets.len() as u32).to_le_bytes());
                put(offsets.as_flattened());
                put(lengths.as_flattened());
            }
        }
        put(self.values.bytes());
    }
}

/// The samples of a BATCH.
#[derive(Debug, Clone)]
pub struct BatchSamples<'a> {
    batch: Batch<'a>,
    at: usize,
    /// The run of times that comes next, and how many samples of the one before it are left.
    run: usize,
    left: u32,
}

impl Iterator for BatchSamples<'_> {
    type Item = BatchSample;

    fn next(&mut self) -> Option<BatchSample> {
        let at = self.at;
        let series = match self.batch.series {
            Column::Long(series) => u32::from_le_bytes(*series.get(at)?),
            Column::Short(series) => u32::from(u16::from_le_bytes(*series.get(at)?)),
        };
        let offset = match self.batch.times {
            Times::Each(offsets) => u32::from_le_bytes(*offsets.get(at)?),
            Times::Runs { offsets, lengths } => {
                if self.left == 0 {
                    self.left = u32::from_le_bytes(*lengths.get(self.run)?);
                    self.run += 1;
                }
                self.left -= 1;
                u32::from_le_bytes(*offsets.get(self.run - 1)?)
            }
        };
        let value = match self.batch.values {
            Column::Long(values) => f64::from_le_bytes(*values.get(at)?),
            Column::Short(values) => f64::from(f32::from_le_bytes(*values.get(at)?)),
        };
        self.at += 1;
        Some(BatchSample { series, time_us: self.batch.base_us + i64::from(offset), value })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.batch.len() - self.at;
        (left, Some(left))
    }
}

impl ExactSizeIterator for BatchSamples<'_> {}

/// Runs of at least one sample each, together `count`.
fn runs<'a>(rest: &mut Rest<'a>, count: u32) -> Result<Times<'a>, DecodeError> {
    let [run_count] = rest.column(1, "runs")? else {
        return Err(DecodeError::new(NAME, "runs", Problem::Truncated));
    };
    let run_count = u64::from(u32::from_le_bytes(*run_count));
    let offsets = rest.column(run_count, "offsets")?;
    let lengths: &[[u8; 4]] = rest.column(run_count, "lengths")?;
    let lengths_of = || lengths.iter().map(|bytes| u32::from_le_bytes(*bytes));
    if lengths_of().any(|length| length == 0) || lengths_of().map(u64::from).sum::<u64>() != u64::from(count) {
        let allowed = Problem::NotAllowed("runs of at least one sample, together as many as there are samples");
        return Err(DecodeError::new(NAME, "lengths", allowed));
    }
    Ok(Times::Runs { offsets, lengths })
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

fn put_column<const BYTES: usize>(out: &mut Vec<u8>, values: impl Iterator<Item = [u8; BYTES]>) {
    let before = out.len();
    out.extend(values.flatten());
    pad(out, out.len() - before);
}

/// Zero bytes after a column of so many.
fn pad(out: &mut Vec<u8>, bytes: usize) {
    out.resize(out.len() + padded(bytes) - bytes, 0);
}

fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(8)
}

fn u32_at(head: &[u8], at: usize) -> u32 {
    head[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn i64_at(head: &[u8], at: usize) -> i64 {
    head[at..].first_chunk().map_or(0, |bytes| i64::from_le_bytes(*bytes))
}
