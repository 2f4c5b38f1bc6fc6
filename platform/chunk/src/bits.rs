//! Unsigned numbers of one width, side by side: lowest bit first, no gap between them.

use crate::DecodeError;
use crate::wire::Bytes;

/// Bits that the largest of the numbers needs.
pub fn width(max: u64) -> u32 {
    64 - max.leading_zeros()
}

/// Bytes of `count` numbers of `width` bits.
pub fn len(count: usize, width: u32) -> usize {
    (count * width as usize).div_ceil(8)
}

/// Appends the lowest `width` bits (0 to 64) of each number.
pub fn put(out: &mut Vec<u8>, numbers: impl Iterator<Item = u64>, width: u32) {
    let (mut waiting, mut held) = (0u128, 0u32);
    for number in numbers {
        waiting |= u128::from(number) << held;
        held += width;
        while held >= 8 {
            out.push(waiting as u8);
            waiting >>= 8;
            held -= 8;
        }
    }
    if held > 0 {
        out.push(waiting as u8);
    }
}

/// Takes `count` numbers of `width` bits and hands each to `each`.
pub fn take(bytes: &mut Bytes, count: usize, width: u32, mut each: impl FnMut(u64)) -> Result<(), DecodeError> {
    const WHAT: &str = "packed numbers";
    if width > 64 {
        return Err(DecodeError::Damaged(WHAT));
    }
    let packed = bytes.take(len(count, width), WHAT)?;
    let mask = if width == 64 { u64::MAX } else { (1 << width) - 1 };
    for index in 0..count {
        let bit = index * width as usize;
        let from = packed.get(bit / 8..).unwrap_or_default();
        let word = match from.first_chunk::<16>() {
            Some(word) => u128::from_le_bytes(*word),
            None => {
                let mut word = [0; 16];
                word.iter_mut().zip(from).for_each(|(to, byte)| *to = *byte);
                u128::from_le_bytes(word)
            }
        };
        each((word >> (bit % 8)) as u64 & mask);
    }
    Ok(())
}
