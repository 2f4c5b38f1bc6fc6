//! Reading and writing of the integers of SPEC §3 on borrowed bytes, for the messages drawn byte by byte.

use alloc::vec::Vec;

use crate::error::Problem;

/// Reads a payload front to back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    #[inline]
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Cursor { rest: bytes }
    }

    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8, Problem> {
        let (&first, rest) = self.rest.split_first().ok_or(Problem::Truncated)?;
        self.rest = rest;
        Ok(first)
    }

    #[inline]
    pub(crate) fn bytes(&mut self, length: usize) -> Result<&'a [u8], Problem> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Problem::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(Problem::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// A varint in a u64 field.
    #[inline]
    pub(crate) fn varint_u64(&mut self) -> Result<u64, Problem> {
        match self.u8()? {
            byte @ 0..=250 => Ok(u64::from(byte)),
            251 => Ok(u64::from(u16::from_le_bytes(self.array()?))),
            252 => Ok(u64::from(u32::from_le_bytes(self.array()?))),
            253 => Ok(u64::from_le_bytes(self.array()?)),
            _ => Err(Problem::InvalidTag),
        }
    }

    /// A varint in a u32 field, where the eight-byte form is malformed.
    #[inline]
    pub(crate) fn varint_u32(&mut self) -> Result<u32, Problem> {
        match self.u8()? {
            byte @ 0..=250 => Ok(u32::from(byte)),
            251 => Ok(u32::from(u16::from_le_bytes(self.array()?))),
            252 => Ok(u32::from_le_bytes(self.array()?)),
            _ => Err(Problem::InvalidTag),
        }
    }

    #[inline]
    pub(crate) fn zigzag_i64(&mut self) -> Result<i64, Problem> {
        let raw = self.varint_u64()?;
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }
}

#[inline]
pub(crate) fn put_varint(out: &mut Vec<u8>, value: u64) {
    if value < 251 {
        out.push(value as u8);
    } else if let Ok(short) = u16::try_from(value) {
        out.push(251);
        out.extend_from_slice(&short.to_le_bytes());
    } else if let Ok(middle) = u32::try_from(value) {
        out.push(252);
        out.extend_from_slice(&middle.to_le_bytes());
    } else {
        out.push(253);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

#[inline]
pub(crate) fn put_zigzag(out: &mut Vec<u8>, value: i64) {
    put_varint(out, ((value << 1) ^ (value >> 63)) as u64);
}
