//! Timestamps: strictly ascending microseconds, whose first and last stand in the chunk's header.

use crate::wire::{Bytes, put_varint};
use crate::{DecodeError, ints};

const STEPS: u8 = 0;
const AROUND_A_LINE: u8 = 1;

/// Appends the times after the first. The caller has checked that they ascend.
pub fn put(out: &mut Vec<u8>, times: &[i64], level: u8) {
    let (Some(first), Some(last)) = (times.first(), times.last()) else { return };
    if times.len() == 1 {
        return;
    }
    let mut steps: Vec<i64> = times.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
    let unit = common_unit(&steps);
    put_varint(out, unit);
    if unit > 1 {
        steps.iter_mut().for_each(|step| *step = divide(*step as u64, unit) as i64);
    }
    // A clock that reads late now and then wanders around a line; its steps show each error twice.
    let rows = times.len() as u64;
    let slope = (last.wrapping_sub(*first) as u64 / unit / (rows - 1)) as i64;
    let mut late = 0i64;
    let mut errors = Vec::with_capacity(steps.len());
    errors.extend(steps.iter().map(|step| {
        late = late.wrapping_add(step.wrapping_sub(slope));
        late
    }));
    if spread(&errors) < spread(&steps) {
        out.push(AROUND_A_LINE);
        put_varint(out, slope as u64);
        ints::put(out, &errors, level);
    } else {
        out.push(STEPS);
        ints::put(out, &steps, level);
    }
}

/// The largest number of microseconds of which every step is a multiple: mostly a second or a millisecond.
fn common_unit(steps: &[i64]) -> u64 {
    let (mut unit, mut before) = (0, 0);
    for step in steps {
        // Most steps are like the one before.
        if *step == before {
            continue;
        }
        before = *step;
        unit = gcd(*step as u64, unit);
        if unit == 1 {
            break;
        }
    }
    unit
}

/// Narrow divisions are several times faster, and nearly all are narrow.
fn divide(a: u64, b: u64) -> u64 {
    match (u32::try_from(a), u32::try_from(b)) {
        (Ok(a), Ok(b)) => u64::from(a / b),
        _ => a / b,
    }
}

/// Sum of distances from the mean: what decides between two forms of the same times.
fn spread(numbers: &[i64]) -> f64 {
    let mean = numbers.iter().map(|number| *number as f64).sum::<f64>() / numbers.len() as f64;
    numbers.iter().map(|number| (*number as f64 - mean).abs()).sum()
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a - divide(a, b) * b);
    }
    a
}

/// What [`put`] wrote; the bytes end with it. Fails unless the times ascend strictly from `first` to `last`.
pub fn take(mut bytes: Bytes, rows: usize, first: i64, last: i64) -> Result<Vec<i64>, DecodeError> {
    const WHAT: &str = "timestamps";
    let damaged = || DecodeError::Damaged(WHAT);
    if rows <= 1 {
        bytes.end(WHAT)?;
        return Ok(vec![first; rows]);
    }
    let unit = bytes.varint(WHAT)? as i64;
    let form = bytes.u8(WHAT)?;
    let slope = if form == AROUND_A_LINE { bytes.varint(WHAT)? as i64 } else { 0 };
    let mut numbers = ints::take(&mut bytes, rows - 1)?;
    bytes.end(WHAT)?;
    let mut times = Vec::with_capacity(rows);
    times.push(first);
    match form {
        STEPS => {
            let mut offset = 0i64;
            for number in &mut numbers {
                offset = offset.wrapping_add(*number);
                *number = offset;
            }
        }
        AROUND_A_LINE => {
            let mut base = 0i64;
            for number in &mut numbers {
                base = base.wrapping_add(slope);
                *number = number.wrapping_add(base);
            }
        }
        _ => return Err(damaged()),
    }
    // Times half the range of i64 apart come back by wrapping, as they were written.
    times.extend(numbers.into_iter().map(|offset| first.wrapping_add(offset.wrapping_mul(unit))));
    let ascending = times.windows(2).fold(true, |ascending, pair| ascending & (pair[0] < pair[1]));
    if ascending && times.last() == Some(&last) { Ok(times) } else { Err(damaged()) }
}
