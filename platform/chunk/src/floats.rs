//! Columns of floating-point numbers, given as the bits of doubles.

use pco::ModeSpec;

use crate::wire::{Bytes, put_varint};
use crate::{DecodeError, ints, packed};

const DECIMAL: u8 = 0;
const BITS_64: u8 = 1;
const BITS_32: u8 = 2;
const PACKED_64: u8 = 3;
const PACKED_32: u8 = 4;
const RUNS: u8 = 5;
const DICTIONARY: u8 = 6;

/// Shorter columns are not worth a pco page.
const PACKED_FROM: usize = 64;
/// Digits after the point that are tried.
const DIGITS_MAX: u8 = 12;
/// Values that a scale is tried on before it is tried on all.
const PROBES: usize = 24;
/// Bytes per cell below which a column of repeated values is small enough.
const ENOUGH_BYTES: usize = 2;
/// A dictionary is worth trying up to this many values.
const DICTIONARY_MAX: usize = 4_096;

const POWERS: [f64; 13] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12];
const INVERSE: [f64; 13] = [1e0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-11, 1e-12];
/// Added and taken away again it rounds to a whole number, for magnitudes below 2^51.
const ROUNDER: f64 = 6_755_399_441_055_744.0;
/// Whole numbers below this are exact as doubles.
const COUNT_MAX: f64 = 2_251_799_813_685_248.0;

/// How a whole number becomes a double.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// k / 10^n: what parsing a decimal text gives.
    Divide,
    /// k · 10^-n: what a sensor driver computes that multiplies by its resolution.
    Multiply,
    /// k / 10^n rounded to a single.
    Single,
}

/// A way and its number of digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    way: Way,
    digits: u8,
}

impl Scale {
    /// Digits in the low nibble, the way in the high one.
    pub fn byte(self) -> u8 {
        self.digits | (self.way as u8) << 4
    }

    /// The reverse of [`byte`](Self::byte).
    pub fn from_byte(byte: u8) -> Option<Self> {
        let way = match byte >> 4 {
            0 => Way::Divide,
            1 => Way::Multiply,
            2 => Way::Single,
            _ => return None,
        };
        Some(Self { way, digits: byte & 0x0F }).filter(|scale| scale.digits <= DIGITS_MAX)
    }

    fn power(self) -> f64 {
        POWERS.get(usize::from(self.digits)).copied().unwrap_or(1.0)
    }

    fn inverse(self) -> f64 {
        INVERSE.get(usize::from(self.digits)).copied().unwrap_or(1.0)
    }

    /// The double that stands for a whole number.
    pub fn value(self, count: i64) -> f64 {
        let count = count as f64;
        match self.way {
            Way::Divide => count / self.power(),
            Way::Multiply => count * self.inverse(),
            Way::Single => f64::from((count / self.power()) as f32),
        }
    }

    /// The whole number that stands for a double; None if there is none that gives back its very bits.
    fn count(self, value: f64) -> Option<i64> {
        let count = (value * self.power() + ROUNDER) - ROUNDER;
        let exact = count.abs() < COUNT_MAX && self.value(count as i64).to_bits() == value.to_bits();
        exact.then_some(count as i64)
    }

    /// The whole numbers of all cells, or the index of the first cell that has none.
    fn counts(self, cells: &[u64]) -> Result<Vec<i64>, usize> {
        // The way is decided outside the loop, so that each loop is straight.
        let (power, inverse) = (self.power(), self.inverse());
        match self.way {
            Way::Divide => all(cells, power, |count| count / power),
            Way::Multiply => all(cells, power, |count| count * inverse),
            Way::Single => all(cells, power, |count| f64::from((count / power) as f32)),
        }
    }

    /// All doubles of a stream of whole numbers.
    fn cells(self, counts: Vec<i64>) -> Vec<u64> {
        let (power, inverse) = (self.power(), self.inverse());
        let mut cells = Vec::with_capacity(counts.len());
        let counts = counts.into_iter().map(|count| count as f64);
        match self.way {
            Way::Divide => cells.extend(counts.map(|count| (count / power).to_bits())),
            Way::Multiply => cells.extend(counts.map(|count| (count * inverse).to_bits())),
            Way::Single => cells.extend(counts.map(|count| f64::from((count / power) as f32).to_bits())),
        }
        cells
    }
}

fn all(cells: &[u64], power: f64, value: impl Fn(f64) -> f64) -> Result<Vec<i64>, usize> {
    const BLOCK: usize = 128;
    let mut counts = Vec::with_capacity(cells.len());
    for (block, cells) in cells.chunks(BLOCK).enumerate() {
        let mut exact = true;
        counts.extend(cells.iter().map(|cell| {
            let count = (f64::from_bits(*cell) * power + ROUNDER) - ROUNDER;
            exact &= count.abs() < COUNT_MAX && value(count).to_bits() == *cell;
            count as i64
        }));
        if !exact {
            return Err(block * BLOCK);
        }
    }
    Ok(counts)
}

/// Looks for scales.
pub struct Scaled;

impl Scaled {
    /// The first scale that fits one double, and its whole number.
    pub fn of(value: f64) -> Option<(Scale, i64)> {
        scales().find_map(|scale| scale.count(value).map(|count| (scale, count)))
    }

    /// A scale that fits every cell, and the whole numbers.
    fn of_all(cells: &[u64]) -> Option<(Scale, Vec<i64>)> {
        let step = (cells.len() / PROBES).max(1);
        let mut probes: Vec<f64> = cells.iter().step_by(step).map(|cell| f64::from_bits(*cell)).collect();
        for scale in scales() {
            if probes.iter().any(|probe| scale.count(*probe).is_none()) {
                continue;
            }
            match scale.counts(cells) {
                Ok(counts) => return Some((scale, counts)),
                // What did not fit is the first thing to try next.
                Err(from) => {
                    let odd = cells.iter().skip(from).map(|cell| f64::from_bits(*cell));
                    probes.extend(odd.take(128).find(|value| scale.count(*value).is_none()));
                    let last = probes.len() - 1;
                    probes.swap(0, last);
                }
            }
        }
        None
    }
}

fn scales() -> impl Iterator<Item = Scale> {
    let ways = [Way::Divide, Way::Single, Way::Multiply];
    ways.into_iter().flat_map(|way| (0..=DIGITS_MAX).map(move |digits| Scale { way, digits }))
}

/// Appends a column.
pub fn put(out: &mut Vec<u8>, cells: &[u64], level: u8) {
    if cells.is_empty() {
        return;
    }
    if let Some((scale, counts)) = Scaled::of_all(cells) {
        out.push(DECIMAL);
        out.push(scale.byte());
        return ints::put(out, &counts, level);
    }
    let mut best = dictionary(cells, level);
    let mut len = best.as_ref().map_or(usize::MAX, Vec::len);
    let mut offer = |bytes: Vec<u8>| {
        if best.as_ref().is_none_or(|best| bytes.len() < best.len()) {
            best = Some(bytes);
        }
        best.as_ref().map_or(usize::MAX, Vec::len)
    };
    let runs = 1 + cells.windows(2).filter(|pair| pair[0] != pair[1]).count();
    if runs > 1 && runs <= cells.len() / 2 {
        let mut bytes = vec![RUNS];
        put_varint(&mut bytes, runs as u64);
        let lengths: Vec<i64> = cells.chunk_by(|a, b| a == b).map(|run| run.len() as i64 - 1).collect();
        let values: Vec<u64> = cells.chunk_by(|a, b| a == b).filter_map(|run| run.first().copied()).collect();
        ints::put_flat(&mut bytes, &lengths, level);
        bytes.extend_from_slice(&flat(&values, level));
        len = offer(bytes);
    }
    // Numbers that are no decimals take more than this as they are: what repeats so well need not be tried again.
    if len > cells.len() * ENOUGH_BYTES {
        offer(flat(cells, level));
    }
    out.extend_from_slice(&best.unwrap_or_default());
}

/// A column without runs or a dictionary.
fn flat(cells: &[u64], level: u8) -> Vec<u8> {
    let singles: Option<Vec<f32>> = cells.iter().map(|cell| narrow(*cell)).collect();
    let bits: Vec<i64> = match &singles {
        Some(singles) => singles.iter().map(|single| i64::from(single.to_bits())).collect(),
        None => cells.iter().map(|cell| *cell as i64).collect(),
    };
    let mut best = Vec::new();
    if cells.len() >= PACKED_FROM {
        let written = match &singles {
            Some(singles) => {
                best.push(PACKED_32);
                packed::put(&mut best, singles, level, ModeSpec::Auto)
            }
            None => {
                best.push(PACKED_64);
                let doubles: Vec<f64> = cells.iter().map(|cell| f64::from_bits(*cell)).collect();
                packed::put(&mut best, &doubles, level, ModeSpec::Auto)
            }
        };
        if written && best.len() <= 1 + ints::plain_len(&bits) {
            return best;
        }
        best.clear();
    }
    best.push(if singles.is_some() { BITS_32 } else { BITS_64 });
    ints::put_plain(&mut best, &bits);
    best
}

/// The single with exactly this value. Not for NaN: conversions may change its payload.
fn narrow(cell: u64) -> Option<f32> {
    let single = f64::from_bits(cell) as f32;
    (!single.is_nan() && f64::from(single).to_bits() == cell).then_some(single)
}

/// The different cells in order, and where each row's cell stands; None if there are too many of them.
fn dictionary(cells: &[u64], level: u8) -> Option<Vec<u8>> {
    let mut known = Distinct::of(cells)?;
    let mut values = known.values.clone();
    values.sort_unstable();
    // From the order of first appearance to that of size, in which neighbours in time are mostly neighbours.
    let rank = |value: &u64| values.partition_point(|other| other < value) as i64;
    let ranks: Vec<i64> = known.values.iter().map(rank).collect();
    for index in &mut known.indexes {
        *index = usize::try_from(*index).ok().and_then(|index| ranks.get(index)).copied().unwrap_or_default();
    }
    let mut bytes = vec![DICTIONARY];
    put_varint(&mut bytes, values.len() as u64);
    bytes.extend_from_slice(&flat(&values, level));
    ints::put(&mut bytes, &known.indexes, level);
    Some(bytes)
}

/// The different cells in the order of first appearance, and for each cell which of them it is.
struct Distinct {
    values: Vec<u64>,
    indexes: Vec<i64>,
}

impl Distinct {
    /// None when there are too many different cells, or when they fall too badly into the table.
    fn of(cells: &[u64]) -> Option<Self> {
        const PROBES_MAX: usize = 64;
        let most = (cells.len() / 3).min(DICTIONARY_MAX);
        let slots = (most * 2).next_power_of_two().max(8);
        let shift = 64 - slots.trailing_zeros();
        // 0 is free; else one more than the index of the value.
        let mut table = vec![0u16; slots];
        let (mut values, mut indexes) = (Vec::new(), Vec::with_capacity(cells.len()));
        'cells: for cell in cells {
            let hash = (cell ^ (cell >> 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let home = (hash >> shift) as usize;
            for probe in 0..PROBES_MAX {
                let slot = table.get_mut((home + probe) & (slots - 1))?;
                let index = usize::from(*slot);
                if index == 0 {
                    values.push(*cell);
                    if values.len() > most {
                        return None;
                    }
                    *slot = values.len() as u16;
                    indexes.push(values.len() as i64 - 1);
                    continue 'cells;
                }
                if values.get(index - 1) == Some(cell) {
                    indexes.push(index as i64 - 1);
                    continue 'cells;
                }
            }
            return None;
        }
        Some(Self { values, indexes })
    }
}

const WHAT: &str = "floating-point values";

/// What [`put`] wrote for `count` cells.
pub fn take(bytes: &mut Bytes, count: usize) -> Result<Vec<u64>, DecodeError> {
    if count == 0 {
        return Ok(Vec::new());
    }
    match bytes.u8(WHAT)? {
        DECIMAL => {
            let scale = Scale::from_byte(bytes.u8(WHAT)?).ok_or(DecodeError::Damaged(WHAT))?;
            Ok(scale.cells(ints::take(bytes, count)?))
        }
        RUNS => {
            let runs = bytes.count(count, WHAT)?;
            let lengths = ints::take_flat(bytes, runs)?;
            let values = take_flat(bytes, runs)?;
            let mut cells = Vec::with_capacity(count);
            for (length, value) in lengths.into_iter().zip(values) {
                let length = ints::run_length(length, count - cells.len())?;
                cells.resize(cells.len() + length, value);
            }
            if cells.len() == count { Ok(cells) } else { Err(DecodeError::Damaged(WHAT)) }
        }
        DICTIONARY => {
            let known = bytes.count(count, WHAT)?;
            let values = take_flat(bytes, known)?;
            let indexes = ints::take(bytes, count)?;
            let value = |index: i64| usize::try_from(index).ok().and_then(|index| values.get(index)).copied();
            indexes.into_iter().map(value).collect::<Option<_>>().ok_or(DecodeError::Damaged(WHAT))
        }
        tag => take_tagged(bytes, tag, count),
    }
}

fn take_flat(bytes: &mut Bytes, count: usize) -> Result<Vec<u64>, DecodeError> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let tag = bytes.u8(WHAT)?;
    take_tagged(bytes, tag, count)
}

fn take_tagged(bytes: &mut Bytes, tag: u8, count: usize) -> Result<Vec<u64>, DecodeError> {
    match tag {
        BITS_64 => Ok(ints::take(bytes, count)?.into_iter().map(|bits| bits as u64).collect()),
        BITS_32 => {
            let single = |bits: i64| u32::try_from(bits).ok().map(|bits| f64::from(f32::from_bits(bits)).to_bits());
            let cells: Option<_> = ints::take(bytes, count)?.into_iter().map(single).collect();
            cells.ok_or(DecodeError::Damaged(WHAT))
        }
        PACKED_64 => {
            let mut doubles = vec![0f64; count];
            packed::take(bytes, &mut doubles)?;
            Ok(doubles.into_iter().map(f64::to_bits).collect())
        }
        PACKED_32 => {
            let mut singles = vec![0f32; count];
            packed::take(bytes, &mut singles)?;
            Ok(singles.into_iter().map(|single| f64::from(single).to_bits()).collect())
        }
        _ => Err(DecodeError::Damaged(WHAT)),
    }
}
