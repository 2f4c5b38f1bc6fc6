//! Yes or no per row: which rows have a value, and columns of booleans.

use crate::wire::{Bytes, put_varint};
use crate::{DecodeError, bits, ints};

const NO: u8 = 0;
const YES: u8 = 1;
const BITMAP: u8 = 2;
const RUNS_FROM_NO: u8 = 3;
const RUNS_FROM_YES: u8 = 4;

/// Appends the flags: nothing but a tag if all are the same, else runs or a bitmap, whichever is smaller.
pub fn put(out: &mut Vec<u8>, flags: &[bool], level: u8) {
    let Some(first) = flags.first() else { return };
    let changes = flags.windows(2).filter(|pair| pair[0] != pair[1]).count();
    if changes == 0 {
        return out.push(if *first { YES } else { NO });
    }
    let start = out.len();
    // A run takes a bit at the very least; below that the bitmap wins unseen.
    if changes < flags.len() / 2 {
        out.push(if *first { RUNS_FROM_YES } else { RUNS_FROM_NO });
        put_varint(out, changes as u64 + 1);
        let lengths: Vec<i64> = flags.chunk_by(|a, b| a == b).map(|run| run.len() as i64 - 1).collect();
        ints::put_flat(out, &lengths, level);
        if out.len() - start <= 1 + bits::len(flags.len(), 1) {
            return;
        }
        out.truncate(start);
    }
    out.push(BITMAP);
    bits::put(out, flags.iter().map(|flag| u64::from(*flag)), 1);
}

/// What [`put`] wrote for `count` flags.
pub fn take(bytes: &mut Bytes, count: usize) -> Result<Vec<bool>, DecodeError> {
    const WHAT: &str = "flags";
    if count == 0 {
        return Ok(Vec::new());
    }
    let tag = bytes.u8(WHAT)?;
    let mut flags = Vec::with_capacity(count);
    match tag {
        NO | YES => flags.resize(count, tag == YES),
        BITMAP => bits::take(bytes, count, 1, |bit| flags.push(bit == 1))?,
        RUNS_FROM_NO | RUNS_FROM_YES => {
            let runs = bytes.count(count, WHAT)?;
            let mut value = tag == RUNS_FROM_YES;
            for length in ints::take_flat(bytes, runs)? {
                let length = ints::run_length(length, count - flags.len())?;
                flags.resize(flags.len() + length, value);
                value = !value;
            }
            if flags.len() != count {
                return Err(DecodeError::Damaged(WHAT));
            }
        }
        _ => return Err(DecodeError::Damaged(WHAT)),
    }
    Ok(flags)
}
