//! The general coder: [`pco`], wrapped, one page per stream.
//!
//! pco's own header is left out: version 1 of this layout means pco's format 4.1, as a test checks.

use pco::data_types::Number;
use pco::metadata::DeltaEncoding;
use pco::wrapped::{FileCompressor, FileDecompressor};
use pco::{ChunkConfig, DeltaSpec, ModeSpec};

use crate::{DecodeError, LEVEL_MAX};

/// The pco format of layout version 1.
const FORMAT: [u8; 2] = [4, 1];
/// pco's number for a mode with a dictionary, which we never write and whose declared size no data has to back.
const MODE_DICTIONARY: u8 = 4;
/// pco may look back this many values at most: chunks are not longer.
const WINDOW_LOG_MAX: u32 = 16;

/// Appends the numbers; false, and nothing appended, if pco refuses them.
pub fn put<T: Number>(out: &mut Vec<u8>, numbers: &[T], level: u8, mode: ModeSpec) -> bool {
    let config = ChunkConfig::default()
        .with_compression_level(usize::from(level.min(LEVEL_MAX)))
        .with_mode_spec(mode)
        .with_delta_spec(DeltaSpec::Auto)
        .with_enable_8_bit(true);
    let start = out.len();
    let Ok(mut chunk) = FileCompressor::default().chunk_compressor(numbers, &config) else { return false };
    let written = chunk.write_meta(&mut *out).and_then(|out| chunk.write_page(0, out)).is_ok();
    if !written {
        out.truncate(start);
    }
    written
}

/// Takes `numbers.len()` numbers off the front of the bytes.
pub fn take<T: Number>(bytes: &mut crate::wire::Bytes, numbers: &mut [T]) -> Result<(), DecodeError> {
    const WHAT: &str = "packed values";
    let damaged = |_| DecodeError::Damaged(WHAT);
    if bytes.0.first().is_none_or(|first| first & 0x0F == MODE_DICTIONARY) {
        return Err(DecodeError::Damaged(WHAT));
    }
    let (file, _) = FileDecompressor::new(&FORMAT[..]).map_err(damaged)?;
    let (mut chunk, rest) = file.chunk_decompressor::<T, _>(bytes.0).map_err(damaged)?;
    if let DeltaEncoding::Lookback { config, .. } = &chunk.meta().delta_encoding
        && config.window_n_log > WINDOW_LOG_MAX
    {
        return Err(DecodeError::Damaged(WHAT));
    }
    let mut page = chunk.page_decompressor(rest, numbers.len()).map_err(damaged)?;
    let progress = page.read(numbers).map_err(damaged)?;
    if !progress.finished || progress.n_processed != numbers.len() {
        return Err(DecodeError::Damaged(WHAT));
    }
    bytes.0 = page.into_src();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pco_still_writes_the_format_that_version_1_stands_for() {
        let header = FileCompressor::default().write_header(Vec::new()).unwrap();
        assert_eq!(header, FORMAT, "another pco format needs another layout version");
    }

    #[test]
    fn a_dictionary_is_refused_before_pco_reserves_room_for_it() {
        let numbers: Vec<u64> = (0..4_096).map(|i| (i % 7) << 50).collect();
        let config = ChunkConfig::default().with_mode_spec(ModeSpec::TryDict).with_delta_spec(DeltaSpec::NoOp);
        let mut chunk = FileCompressor::default().chunk_compressor(&numbers, &config).unwrap();
        let mut bytes = chunk.write_meta(Vec::new()).unwrap();
        bytes = chunk.write_page(0, bytes).unwrap();
        assert_eq!(bytes[0] & 0x0F, MODE_DICTIONARY);
        let refused = take(&mut crate::wire::Bytes(&bytes), &mut vec![0u64; numbers.len()]);
        assert_eq!(refused, Err(DecodeError::Damaged("packed values")));
    }
}
