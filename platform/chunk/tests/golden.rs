//! Chunks in hex: the layout of FORMAT.md cannot change unnoticed.
//!
//! A chunk of layout version 1 that was written once must be readable for ever. A test that fails here asks for a new version,
//! not for new vectors.

use pulsewire_chunk::{ChunkReader, ColumnIn, Kind, LEVEL_DEFAULT, encode};

const START: i64 = 1_700_000_000_000_000;

/// Written and read: forms that do not go through pco, whose choices may differ from release to release.
fn check(hex: &str, times: &[i64], columns: &[ColumnIn]) {
    let bytes = encode(times, columns, LEVEL_DEFAULT).expect("rows that can be encoded");
    assert_eq!(hex::encode(bytes), hex);
    check_read(hex, times, columns);
}

/// Only read.
fn check_read(hex: &str, times: &[i64], columns: &[ColumnIn]) {
    let bytes = hex::decode(hex).expect("hex");
    let chunk = ChunkReader::open(&bytes).expect("a chunk");
    assert_eq!(chunk.times().expect("times"), times);
    assert_eq!(chunk.series().len(), columns.len());
    for column in columns {
        let back = chunk.column(column.series).expect("a column").expect("this column");
        assert_eq!(back.present.as_deref(), column.present);
        for (row, cell) in column.cells.iter().enumerate().filter(|(row, _)| column.present.is_none_or(|p| p[*row])) {
            match column.kind {
                Kind::Text => assert_eq!(back.text(row), column.texts.get(*cell as usize).copied()),
                _ => assert_eq!(back.cells[row], *cell, "row {row}"),
            }
        }
    }
}

fn every_second(rows: i64) -> Vec<i64> {
    (0..rows).map(|row| START + row * 1_000_000).collect()
}

fn doubles(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn one_row() {
    check(
        "c54b01018080f28183898506000100073001ae0305000100ae033df5418b275fbc29",
        &[START],
        &[ColumnIn::numbers(7, Kind::F64, &doubles(&[21.5]))],
    );
}

#[test]
fn a_constant_and_a_counter_every_second() {
    let (constant, counter) = (doubles(&[-0.0; 100]), (0..100).map(|row| 7 + 3 * row).collect::<Vec<u64>>());
    let columns = [ColumnIn::numbers(1, Kind::F64, &constant), ColumnIn::numbers(300, Kind::I64, &counter)];
    check(
        concat!(
            "c54b01648080f28183898506c0bd9a2f02060130ff00000000000000800bab0212000e00e00403c0843d0000020601020080",
            "808080100000010e06f52fca83882dc511"
        ),
        &every_second(100),
        &columns,
    );
}

#[test]
fn decimals_in_a_few_bits_and_times_around_a_line() {
    let times: Vec<i64> =
        (0..6).zip([0, 3, 1, 0, 2, 1]).map(|(row, late)| START + 1_000 * (row * 500 + late)).collect();
    let divided = doubles(&[21.5, 21.6, 21.4, 21.9, 21.5, 21.7]);
    let single: Vec<f64> = [1.25f32, 1.3, 1.2, 1.1, 0.9, 1.15].into_iter().map(f64::from).collect();
    let single = doubles(&single);
    let multiplied: Vec<f64> =
        [33_352, 33_353, 33_360, 33_347, 33_352, 33_356].map(|count| f64::from(count) * 1e-3).into();
    assert!(multiplied.iter().any(|value| format!("{value}").len() > 8), "no decimal of three digits: {multiplied:?}");
    let multiplied = doubles(&multiplied);
    let columns = [
        ColumnIn::numbers(1, Kind::F64, &divided),
        ColumnIn::numbers(2, Kind::F32, &single),
        ColumnIn::numbers(3, Kind::F64, &multiplied),
    ];
    check(
        "c54b01068080f2818389850688d39801030a011001ac0301b6030901112112211a0a0110038689040290340ae80701f4030400028701000104ac0303119a01002203fa010a1313273200130486890404650d954a529fdb1b38aed4",
        &times,
        &columns,
    );
}

#[test]
fn raw_doubles_and_singles_and_wide_integers() {
    let raw = [0x7FF0_0000_0000_0001, 0xFFFF_FFFF_FFFF_FFFF, 0x3FF1_2345_6789_ABCD];
    let singles = doubles(&[f64::from(f32::MAX), f64::from(f32::MIN_POSITIVE), f64::from(1.0f32 / 3.0)]);
    let wide = [i64::MIN as u64, i64::MAX as u64, 0];
    let near = [1_000, 1_005, 1_003];
    let columns = [
        ColumnIn::numbers(1, Kind::F64, &raw),
        ColumnIn::numbers(2, Kind::F32, &singles),
        ColumnIn::numbers(3, Kind::I64, &wide),
        ColumnIn::numbers(4, Kind::I64, &near),
    ];
    check(
        concat!(
            "c54b01038080f2818389850680897a04060130ffcdab89674523f13f160111ff0000000000001038ff000000e0ffffef4710",
            "0112ff000000000000e0c3ff000000000000e04316011200d00f00da0f05c0843d000002010282808080808080f0ff01019a",
            "afcdf8acd191f17f0202fefffff70f80808008d6aad5ea0702ffffffffffffffffff01feffffffffffffffff010003d00f0a",
            "030efef2e85454808f"
        ),
        &every_second(3),
        &columns,
    );
}

#[test]
fn runs_absent_rows_flags_and_texts() {
    let rows = 40;
    let held: Vec<u64> = (0..rows).map(|row| (1.0 / (3.0 + (row / 10) as f64)).to_bits()).collect();
    let steps: Vec<u64> = (0..rows as u64).map(|row| row / 13).collect();
    let flags: Vec<u64> = (0..rows as u64).map(|row| u64::from(row >= 33)).collect();
    let words: Vec<u64> = (0..rows as u64).map(|row| u64::from(row % 20 == 7)).collect();
    let present: Vec<bool> = (0..rows).map(|row| row % 3 > 0).collect();
    let columns = [
        ColumnIn::numbers(1, Kind::F64, &held),
        ColumnIn { present: Some(&present), ..ColumnIn::numbers(2, Kind::I64, &steps) },
        ColumnIn::numbers(3, Kind::Bool, &flags),
        ColumnIn { texts: &["fault", "idle"], ..ColumnIn::numbers(4, Kind::Text, &words) },
    ];
    check(
        concat!(
            "c54b01288080f28183898506c0afcc1204060110ff555555555555c53fff555555555555d53f27011a1a000000040e011300",
            "00000205010414c0843d000002050400120103aad5aad5aad5aad57fa9d5aad5aad5aa05cb99b3e6cc99b3068991a2c48891",
            "a20402b66ddbb66d0500000180000100030201403302056661756c740469646c650400018000000800077f8f887a165d9e"
        ),
        &every_second(rows as i64),
        &columns,
    );
}

#[test]
fn a_chunk_through_pco_is_read() {
    let spread = |row: u64| row.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
    let decimal: Vec<u64> = (0..64).map(|row| ((spread(row) % 500) as f64 / 10.0).to_bits()).collect();
    let noise: Vec<u64> = (0..64).map(|row| (spread(row % 40) as f64 / 3e18).to_bits()).collect();
    let columns = [ColumnIn::numbers(1, Kind::F64, &decimal), ColumnIn::numbers(2, Kind::F64, &noise)];
    check_read(
        concat!(
            "c54b01408080f28183898506c09b851e02060110000001e0073c01100000ff7b2aaa1d9c751840a402c0843d000002000107",
            "001061080081c60f108c7ee038f503c7bf1f005000810008089a4d4050cd030200004a93dc3131aff2ca088196e32cb4a89a",
            "dcac5f8a6a0900032005d800000900000000bc02000000e04201000000ec00c050c88cc52caf44ffd902ce6458e0916bfe3f",
            "40b1fb6e0b3c72cdff1710ea978674f412fbff6048f7dd1678e49aff9fe002000000000000000418eeaad164699a04803ee7",
            "890f0000000000000080cb9b652dafd42f1e1c8007807f80be33b969d634d173860ef88e540a00fc43d5c34153a00bcf73fb",
            "2fef82b26959b60034445f93a569120017d984d1c33002000000000000000000000000000000e4fc5d8d87b0ab0254bfba9f",
            "a5b7136b5580e21344f5da37f4c1457498180000000000c65a15a0f8045168dd798bafdc813422fd78ff3255958d51617a21",
            "6eed68cf5262ca91b52a40f109a20100000000007a98180000000000c65a15a0f804d15490c13e1936384e259feb7782a984",
            "f304771433c1bb"
        ),
        &every_second(64),
        &columns,
    );
}
