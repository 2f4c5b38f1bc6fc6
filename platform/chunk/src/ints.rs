//! Streams of whole numbers: the one coder below timestamps, decimals, runs and indexes.

use pco::ModeSpec;

use crate::wire::{Bytes, put_signed, put_varint, varint_len, zigzag};
use crate::{DecodeError, bits, packed};

const CONSTANT: u8 = 0;
const STEP: u8 = 1;
const VARINTS: u8 = 2;
const DELTA_VARINTS: u8 = 3;
const BITS: u8 = 4;
const DELTA_BITS: u8 = 5;
const PACKED_8: u8 = 6;
const PACKED_16: u8 = 7;
const PACKED_32: u8 = 8;
const PACKED_64: u8 = 9;
const RUNS: u8 = 10;

/// Shorter streams are not worth a pco page: its tables alone take tens of bytes.
const PACKED_FROM: usize = 64;

/// Bytes of the longest varint.
const VARINT_MAX: usize = 10;

/// What a stream looks like, from one pass over it.
struct Shape {
    min: i64,
    max: i64,
    delta_min: i64,
    delta_max: i64,
    /// Places where a number differs from the one before.
    changes: usize,
}

impl Shape {
    fn of(numbers: &[i64], first: i64) -> Self {
        let mut shape = Self { min: first, max: first, delta_min: i64::MAX, delta_max: i64::MIN, changes: 0 };
        let mut before = first;
        for number in numbers.iter().skip(1) {
            let delta = number.wrapping_sub(before);
            shape.min = shape.min.min(*number);
            shape.max = shape.max.max(*number);
            shape.delta_min = shape.delta_min.min(delta);
            shape.delta_max = shape.delta_max.max(delta);
            shape.changes += usize::from(delta != 0);
            before = *number;
        }
        shape
    }

    /// Every number minus the smallest is at most this.
    fn range(&self) -> u64 {
        self.max.wrapping_sub(self.min) as u64
    }

    fn delta_range(&self) -> u64 {
        self.delta_max.wrapping_sub(self.delta_min) as u64
    }
}

/// Appends a stream in the smallest form that was found.
pub fn put(out: &mut Vec<u8>, numbers: &[i64], level: u8) {
    put_stream(out, numbers, Some(level), true);
}

/// As [`put`], but without runs: for lengths and values of runs.
pub fn put_flat(out: &mut Vec<u8>, numbers: &[i64], level: u8) {
    put_stream(out, numbers, Some(level), false);
}

/// As [`put_flat`], but never through pco: for numbers that have a better way into it.
pub fn put_plain(out: &mut Vec<u8>, numbers: &[i64]) {
    put_stream(out, numbers, None, false);
}

/// Bytes that [`put_plain`] would append, or a few more.
pub fn plain_len(numbers: &[i64]) -> usize {
    let Some(first) = numbers.first().copied() else { return 0 };
    let shape = Shape::of(numbers, first);
    if shape.delta_min == shape.delta_max { 1 + 2 * VARINT_MAX } else { Plain::best(numbers, &shape).len }
}

fn put_stream(out: &mut Vec<u8>, numbers: &[i64], level: Option<u8>, runs_allowed: bool) {
    let Some(first) = numbers.first().copied() else { return };
    let shape = Shape::of(numbers, first);
    if shape.changes == 0 {
        out.push(CONSTANT);
        return put_signed(out, first);
    }
    if shape.delta_min == shape.delta_max {
        out.push(STEP);
        put_signed(out, first);
        return put_signed(out, shape.delta_min);
    }
    let start = out.len();
    let mut best = Plain::best(numbers, &shape);
    let runs = shape.changes + 1;
    let mut held = None;
    if let Some(level) = level
        && runs_allowed
        && runs <= numbers.len() / 2
    {
        let mut bytes = vec![RUNS];
        put_varint(&mut bytes, runs as u64);
        let lengths: Vec<i64> = numbers.chunk_by(|a, b| a == b).map(|run| run.len() as i64 - 1).collect();
        let values: Vec<i64> = numbers.chunk_by(|a, b| a == b).filter_map(|run| run.first().copied()).collect();
        put_flat(&mut bytes, &lengths, level);
        put_flat(&mut bytes, &values, level);
        if bytes.len() < best.len {
            best.len = bytes.len();
            held = Some(bytes);
        }
    }
    // Packing a stream of few runs as it is has not won on any recorded data, and costs as much as any other.
    if let Some(level) = level
        && numbers.len() >= PACKED_FROM
        && !(held.is_some() && runs <= numbers.len() / 8)
    {
        put_packed(out, numbers, &shape, level);
        if out.len() - start > 0 && out.len() - start <= best.len {
            return;
        }
        out.truncate(start);
    }
    match held {
        Some(bytes) => out.extend_from_slice(&bytes),
        None => best.put(out, numbers, &shape),
    }
}

/// The forms without any modelling, whose sizes are known before anything is written.
struct Plain {
    tag: u8,
    len: usize,
}

impl Plain {
    fn best(numbers: &[i64], shape: &Shape) -> Self {
        let count = numbers.len();
        let base = varint_len(zigzag(shape.min));
        let first = numbers.first().copied().unwrap_or_default();
        let delta_base = varint_len(zigzag(first)) + varint_len(zigzag(shape.delta_min));
        let mut best = Self { tag: BITS, len: 2 + base + bits::len(count, bits::width(shape.range())) };
        let mut offer = |tag, len| {
            if len < best.len {
                best = Self { tag, len };
            }
        };
        offer(DELTA_BITS, 2 + delta_base + bits::len(count - 1, bits::width(shape.delta_range())));
        // In a long stream varints never beat a packed page and bits both.
        if count < 4 * PACKED_FROM {
            offer(VARINTS, 1 + numbers.iter().map(|number| varint_len(zigzag(*number))).sum::<usize>());
            let deltas = deltas(numbers).map(|delta| varint_len(zigzag(delta))).sum::<usize>();
            offer(DELTA_VARINTS, 1 + varint_len(zigzag(first)) + deltas);
        }
        best
    }

    fn put(&self, out: &mut Vec<u8>, numbers: &[i64], shape: &Shape) {
        let first = numbers.first().copied().unwrap_or_default();
        out.push(self.tag);
        match self.tag {
            VARINTS => numbers.iter().for_each(|number| put_signed(out, *number)),
            DELTA_VARINTS => {
                put_signed(out, first);
                deltas(numbers).for_each(|delta| put_signed(out, delta));
            }
            DELTA_BITS => {
                let width = bits::width(shape.delta_range());
                put_signed(out, first);
                put_signed(out, shape.delta_min);
                out.push(width as u8);
                bits::put(out, deltas(numbers).map(|delta| delta.wrapping_sub(shape.delta_min) as u64), width);
            }
            _ => {
                let width = bits::width(shape.range());
                put_signed(out, shape.min);
                out.push(width as u8);
                bits::put(out, numbers.iter().map(|number| number.wrapping_sub(shape.min) as u64), width);
            }
        }
    }
}

fn deltas(numbers: &[i64]) -> impl Iterator<Item = i64> {
    numbers.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]))
}

/// The numbers above the smallest one, in the narrowest type: narrow types have small tables.
fn put_packed(out: &mut Vec<u8>, numbers: &[i64], shape: &Shape, level: u8) {
    let start = out.len();
    let above = |number: &i64| number.wrapping_sub(shape.min) as u64;
    let range = shape.range();
    let tag = match range {
        0..=0xFF => PACKED_8,
        0x100..=0xFFFF => PACKED_16,
        0x1_0000..=0xFFFF_FFFF => PACKED_32,
        _ => PACKED_64,
    };
    out.push(tag);
    put_signed(out, shape.min);
    let written = match tag {
        PACKED_8 => {
            packed::put(out, &numbers.iter().map(|n| above(n) as u8).collect::<Vec<_>>(), level, ModeSpec::Classic)
        }
        PACKED_16 => {
            packed::put(out, &numbers.iter().map(|n| above(n) as u16).collect::<Vec<_>>(), level, ModeSpec::Auto)
        }
        PACKED_32 => {
            packed::put(out, &numbers.iter().map(|n| above(n) as u32).collect::<Vec<_>>(), level, ModeSpec::Auto)
        }
        _ => packed::put(out, &numbers.iter().map(above).collect::<Vec<_>>(), level, ModeSpec::Auto),
    };
    if !written {
        out.truncate(start);
    }
}

/// What [`put`] wrote for `count` numbers.
pub fn take(bytes: &mut Bytes, count: usize) -> Result<Vec<i64>, DecodeError> {
    take_stream(bytes, count, true)
}

/// What [`put_flat`] wrote for `count` numbers.
pub fn take_flat(bytes: &mut Bytes, count: usize) -> Result<Vec<i64>, DecodeError> {
    take_stream(bytes, count, false)
}

const WHAT: &str = "whole numbers";

fn take_stream(bytes: &mut Bytes, count: usize, runs_allowed: bool) -> Result<Vec<i64>, DecodeError> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let mut numbers = Vec::with_capacity(count);
    let tag = bytes.u8(WHAT)?;
    match tag {
        CONSTANT => numbers.resize(count, bytes.signed(WHAT)?),
        STEP => {
            let (first, step) = (bytes.signed(WHAT)?, bytes.signed(WHAT)?);
            numbers.extend((0..count as i64).map(|index| first.wrapping_add(step.wrapping_mul(index))));
        }
        VARINTS => {
            for _ in 0..count {
                numbers.push(bytes.signed(WHAT)?);
            }
        }
        DELTA_VARINTS => {
            let mut number = bytes.signed(WHAT)?;
            numbers.push(number);
            for _ in 1..count {
                number = number.wrapping_add(bytes.signed(WHAT)?);
                numbers.push(number);
            }
        }
        BITS => {
            let (min, width) = (bytes.signed(WHAT)?, bytes.u8(WHAT)?);
            bits::take(bytes, count, u32::from(width), |above| numbers.push(min.wrapping_add(above as i64)))?;
        }
        DELTA_BITS => {
            let (mut number, min, width) = (bytes.signed(WHAT)?, bytes.signed(WHAT)?, bytes.u8(WHAT)?);
            numbers.push(number);
            bits::take(bytes, count - 1, u32::from(width), |above| {
                number = number.wrapping_add(min.wrapping_add(above as i64));
                numbers.push(number);
            })?;
        }
        PACKED_8 => take_packed::<u8>(bytes, &mut numbers, count)?,
        PACKED_16 => take_packed::<u16>(bytes, &mut numbers, count)?,
        PACKED_32 => take_packed::<u32>(bytes, &mut numbers, count)?,
        PACKED_64 => take_packed::<u64>(bytes, &mut numbers, count)?,
        RUNS if runs_allowed => {
            let runs = bytes.count(count, WHAT)?;
            let lengths = take_flat(bytes, runs)?;
            let values = take_flat(bytes, runs)?;
            for (length, value) in lengths.into_iter().zip(values) {
                let length = run_length(length, count - numbers.len())?;
                numbers.resize(numbers.len() + length, value);
            }
            if numbers.len() != count {
                return Err(DecodeError::Damaged(WHAT));
            }
        }
        _ => return Err(DecodeError::Damaged(WHAT)),
    }
    Ok(numbers)
}

/// Rows of a run that was written as its length minus one, if there is room for them.
pub fn run_length(written: i64, room: usize) -> Result<usize, DecodeError> {
    let length = usize::try_from(written).ok().and_then(|length| length.checked_add(1));
    length.filter(|length| *length <= room).ok_or(DecodeError::Damaged(WHAT))
}

/// A width in which pco keeps numbers above the smallest one.
trait Above: pco::data_types::Number + Default {
    fn widen(self) -> i64;
}

impl Above for u8 {
    fn widen(self) -> i64 {
        i64::from(self)
    }
}
impl Above for u16 {
    fn widen(self) -> i64 {
        i64::from(self)
    }
}
impl Above for u32 {
    fn widen(self) -> i64 {
        i64::from(self)
    }
}
impl Above for u64 {
    fn widen(self) -> i64 {
        self as i64
    }
}

fn take_packed<T: Above>(bytes: &mut Bytes, numbers: &mut Vec<i64>, count: usize) -> Result<(), DecodeError> {
    let min = bytes.signed(WHAT)?;
    let mut above = vec![T::default(); count];
    packed::take(bytes, &mut above)?;
    numbers.extend(above.into_iter().map(|above| min.wrapping_add(above.widen())));
    Ok(())
}
