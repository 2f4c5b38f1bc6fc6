//! Variable-length integers, zigzag, numbers with few digits, and a reader that checks every length.

use crate::DecodeError;
use crate::floats::{Scale, Scaled};

/// Small magnitudes become small unsigned numbers: 0, -1, 1, -2 → 0, 1, 2, 3.
pub fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The reverse of [`zigzag`].
pub fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Bytes that [`put_varint`] writes.
pub fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// LEB128: seven bits per byte, lowest first, the highest bit set on all bytes but the last.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A zigzag number as a varint.
pub fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_varint(out, zigzag(value));
}

/// Tag of a number written as its eight bytes.
const NUMBER_BITS: u8 = 0xFF;

/// A number of the directory: few bytes when it has few digits.
pub fn put_number(out: &mut Vec<u8>, value: f64) {
    match Scaled::of(value) {
        Some((scale, count)) if varint_len(zigzag(count)) < 8 => {
            out.push(scale.byte());
            put_signed(out, count);
        }
        _ => {
            out.push(NUMBER_BITS);
            out.extend_from_slice(&value.to_bits().to_le_bytes());
        }
    }
}

/// Takes fields off the front of some bytes. Every method fails instead of reading past the end.
#[derive(Debug, Clone, Copy)]
pub struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    pub fn u8(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        let (first, rest) = self.0.split_first().ok_or(DecodeError::Short(what))?;
        self.0 = rest;
        Ok(*first)
    }

    pub fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(DecodeError::Short(what))?;
        self.0 = rest;
        Ok(taken)
    }

    pub fn u64_le(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        let (taken, rest) = self.0.split_first_chunk::<8>().ok_or(DecodeError::Short(what))?;
        self.0 = rest;
        Ok(u64::from_le_bytes(*taken))
    }

    pub fn varint(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8(what)?;
            let bits = u64::from(byte & 0x7F);
            if shift == 63 && bits > 1 {
                return Err(DecodeError::Damaged(what));
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(DecodeError::Damaged(what))
    }

    pub fn signed(&mut self, what: &'static str) -> Result<i64, DecodeError> {
        self.varint(what).map(unzigzag)
    }

    /// A count of things of which there can be at most `max`.
    pub fn count(&mut self, max: usize, what: &'static str) -> Result<usize, DecodeError> {
        let value = self.varint(what)?;
        usize::try_from(value).ok().filter(|count| *count <= max).ok_or(DecodeError::Damaged(what))
    }

    /// What [`put_number`] wrote.
    pub fn number(&mut self, what: &'static str) -> Result<f64, DecodeError> {
        match self.u8(what)? {
            NUMBER_BITS => Ok(f64::from_bits(self.u64_le(what)?)),
            scale => {
                let scale = Scale::from_byte(scale).ok_or(DecodeError::Damaged(what))?;
                Ok(scale.value(self.signed(what)?))
            }
        }
    }

    /// Nothing may be left.
    pub fn end(self, what: &'static str) -> Result<(), DecodeError> {
        if self.0.is_empty() { Ok(()) } else { Err(DecodeError::Damaged(what)) }
    }
}
