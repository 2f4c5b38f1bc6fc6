//! Damaged bytes: refused by the checksum, and harmless even when the checksum has been mended.

use proptest::prelude::*;
use pulsewire_chunk::{ChunkReader, ColumnIn, Kind, LEVEL_DEFAULT, encode};
use xxhash_rust::xxh3::xxh3_64;

/// A chunk that uses many of the codecs; `seed` varies which.
fn sample(rows: usize, seed: u64) -> Vec<u8> {
    let spread = |row: usize| (row as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15 ^ seed).rotate_left(23);
    let times: Vec<i64> = (0..rows).map(|row| row as i64 * 1_000 + (spread(row) % 900) as i64).collect();
    let noise: Vec<u64> = (0..rows).map(|row| (1.0 / (spread(row) as f64 + 1.0)).to_bits()).collect();
    let few: Vec<u64> = (0..rows).map(|row| (1.0 / ((spread(row) % 9) as f64 + 3.0)).to_bits()).collect();
    let held: Vec<u64> = (0..rows).map(|row| (1.0 / (spread(row / 20) as f64 + 1.0)).to_bits()).collect();
    let decimals: Vec<u64> = (0..rows).map(|row| ((spread(row) % 900) as f64 / 10.0).to_bits()).collect();
    let singles: Vec<u64> = (0..rows).map(|row| f64::from(spread(row) as f32).to_bits()).collect();
    let repeating: Vec<u64> = (0..rows).map(|row| spread(row % 37)).collect();
    let wide: Vec<u64> = (0..rows).map(spread).collect();
    let bools: Vec<u64> = (0..rows).map(|row| spread(row / 30) & 1).collect();
    let words: Vec<u64> = (0..rows).map(|row| spread(row / 5) % 3).collect();
    let present: Vec<bool> = (0..rows).map(|row| spread(row / 50) % 3 > 0).collect();
    let numbers = ColumnIn::numbers;
    let columns = [
        numbers(1, Kind::F64, &noise),
        numbers(2, Kind::F64, &few),
        numbers(3, Kind::F64, &held),
        ColumnIn { present: Some(&present), ..numbers(4, Kind::F64, &decimals) },
        numbers(5, Kind::F32, &singles),
        numbers(6, Kind::I64, &repeating),
        numbers(7, Kind::I64, &wide),
        numbers(8, Kind::Bool, &bools),
        ColumnIn { texts: &["idle", "on", "fault"], ..numbers(9, Kind::Text, &words) },
    ];
    encode(&times, &columns, LEVEL_DEFAULT).expect("rows that can be encoded")
}

/// Reads everything there is to read; what matters is that this returns.
fn read_all(bytes: &[u8]) {
    let Ok(chunk) = ChunkReader::open(bytes) else { return };
    if let Ok(times) = chunk.times() {
        assert_eq!(times.len(), chunk.rows());
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "times that are given out ascend");
    }
    for info in chunk.series() {
        if let Ok(column) = chunk.column(info.series) {
            let column = column.expect("a series of the directory");
            assert_eq!(column.cells.len(), chunk.rows());
            assert!(column.present.is_none_or(|present| present.len() == chunk.rows()));
        }
    }
    let first = chunk.series().first().map(|info| info.series).unwrap_or_default();
    if let Some(less) = chunk.without(&[first]) {
        ChunkReader::open(&less).expect("what is written can be opened");
    }
}

fn mend(bytes: &mut [u8]) {
    if let Some((content, sum)) = bytes.split_last_chunk_mut::<8>() {
        *sum = xxh3_64(content).to_le_bytes();
    }
}

#[test]
fn any_flipped_bit_and_any_cut_is_noticed() {
    let bytes = sample(40, 0);
    assert!(ChunkReader::open(&bytes).is_ok());
    for index in 0..bytes.len() {
        for bit in 0..8 {
            let mut other = bytes.clone();
            other[index] ^= 1 << bit;
            assert!(ChunkReader::open(&other).is_err(), "bit {bit} of byte {index}");
        }
        assert!(ChunkReader::open(&bytes[..index]).is_err(), "cut at {index}");
    }
    assert!(ChunkReader::open(&[&bytes[..], &[0]].concat()).is_err(), "one byte too many");
}

#[test]
fn every_single_changed_byte_under_a_mended_checksum_is_harmless() {
    for (rows, seed) in [(30, 0), (300, 1)] {
        let bytes = sample(rows, seed);
        for index in 3..bytes.len() - 8 {
            // All values in the small chunk, the telling ones in the large one.
            let all: Vec<u8> =
                if rows < 100 { (0..=255).collect() } else { (0..8).map(|bit| bytes[index] ^ (1 << bit)).collect() };
            for value in all {
                let mut other = bytes.clone();
                other[index] = value;
                mend(&mut other);
                read_all(&other);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn damage_under_a_mended_checksum_is_harmless(
        rows in prop_oneof![1..40usize, 100..600usize],
        seed in any::<u64>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = sample(rows, seed);
        for (index, value) in changes {
            let index = index.index(bytes.len());
            bytes[index] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()) + 8);
        }
        bytes.splice(..3, [0xC5, 0x4B, 1]);
        mend(&mut bytes);
        read_all(&bytes);
    }

    #[test]
    fn arbitrary_bytes_behind_a_right_beginning_are_harmless(
        tail in prop::collection::vec(any::<u8>(), 8..400)
    ) {
        let mut bytes = vec![0xC5, 0x4B, 1];
        bytes.extend(tail);
        mend(&mut bytes);
        read_all(&bytes);
    }
}

#[test]
fn counts_that_no_bytes_back_are_refused() {
    // 65,536 rows and 8,192 columns said, none there.
    let mut bytes = vec![0xC5, 0x4B, 1, 0x80, 0x80, 0x04, 0, 0, 0x80, 0x40, 0];
    bytes.extend([0; 8]);
    mend(&mut bytes);
    assert!(ChunkReader::open(&bytes).is_err());
    // A row more than the limit.
    let mut bytes = vec![0xC5, 0x4B, 1, 0x81, 0x80, 0x04, 0, 0, 1, 0];
    bytes.extend([0; 8]);
    mend(&mut bytes);
    assert!(ChunkReader::open(&bytes).is_err());
}
