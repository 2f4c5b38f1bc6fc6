//! What a chunk says of itself, what encode refuses, and chunks with fewer columns.

use pulsewire_chunk::{
    COLUMNS_MAX, ChunkReader, ColumnIn, DecodeError, EncodeError, Kind, LEVEL_DEFAULT, ROWS_MAX, TEXT_BYTES_MAX, encode,
};

const TIMES: [i64; 4] = [10, 20, 30, 45];

fn doubles(values: [f64; 4]) -> [u64; 4] {
    values.map(f64::to_bits)
}

#[test]
fn the_directory_tells_counts_and_bounds_without_decoding() {
    let temperature = doubles([21.5, f64::NAN, -3.0, 40.0]);
    let nan = doubles([f64::NAN; 4]);
    let infinite = doubles([f64::INFINITY, f64::NEG_INFINITY, 0.0, 1.0]);
    let chosen = [0, 1, 1, 0];
    let columns = [
        ColumnIn { texts: &["a", "b"], ..ColumnIn::numbers(40, Kind::Text, &chosen) },
        ColumnIn { present: Some(&[true, true, true, false]), ..ColumnIn::numbers(7, Kind::F64, &temperature) },
        ColumnIn::numbers(8, Kind::F64, &nan),
        ColumnIn::numbers(9, Kind::F32, &infinite),
        ColumnIn { present: Some(&[false; 4]), ..ColumnIn::numbers(10, Kind::I64, &chosen) },
        ColumnIn::numbers(11, Kind::Bool, &chosen),
        ColumnIn::numbers(12, Kind::I64, &[5, u64::MAX, 5, 5]),
    ];
    let bytes = encode(&TIMES, &columns, LEVEL_DEFAULT).unwrap();
    let chunk = ChunkReader::open(&bytes).unwrap();
    assert_eq!((chunk.rows(), chunk.first(), chunk.last()), (4, 10, 45));
    let said: Vec<_> = chunk.series().iter().map(|info| (info.series, info.kind, info.count, info.bounds)).collect();
    assert_eq!(
        said,
        [
            (7, Kind::F64, 3, Some((-3.0, 21.5))),
            (8, Kind::F64, 4, None),
            (9, Kind::F32, 4, Some((f64::NEG_INFINITY, f64::INFINITY))),
            (10, Kind::I64, 0, None),
            (11, Kind::Bool, 4, Some((0.0, 1.0))),
            (12, Kind::I64, 4, Some((-1.0, 5.0))),
            (40, Kind::Text, 4, None),
        ]
    );
    assert_eq!(chunk.column(13), Ok(None));
    let sparse = chunk.column(7).unwrap().unwrap();
    assert_eq!(sparse.present, Some(vec![true, true, true, false]));
    assert_eq!(sparse.cells, [temperature[0], temperature[1], temperature[2], 0]);
    let texts = chunk.column(40).unwrap().unwrap();
    assert_eq!(
        (0..5).map(|row| texts.text(row)).collect::<Vec<_>>(),
        [Some("a"), Some("b"), Some("b"), Some("a"), None]
    );
}

#[test]
fn a_chunk_without_some_columns_keeps_the_others_and_the_times() {
    let (first, second) = (doubles([1.0, 2.5, 3.0, 4.0]), [1, 0, 1, 1]);
    let columns = [ColumnIn::numbers(5, Kind::F64, &first), ColumnIn::numbers(900, Kind::Bool, &second)];
    let bytes = encode(&TIMES, &columns, LEVEL_DEFAULT).unwrap();
    let chunk = ChunkReader::open(&bytes).unwrap();
    assert_eq!(chunk.without(&[5, 900]), None);
    assert_eq!(chunk.without(&[1]).as_ref(), Some(&bytes), "nothing to leave out");
    for (dropped, left) in [(5, 1), (900, 0)] {
        let less = chunk.without(&[dropped, 77]).unwrap();
        assert_eq!(
            less,
            encode(&TIMES, &columns[left..=left], LEVEL_DEFAULT).unwrap(),
            "as if it had never been there"
        );
        let chunk = ChunkReader::open(&less).unwrap();
        assert_eq!(chunk.times().unwrap(), TIMES);
        assert_eq!(chunk.column(dropped), Ok(None));
        assert_eq!(chunk.column(columns[left].series).unwrap().unwrap().cells, columns[left].cells);
    }
}

#[test]
fn mistakes_of_the_caller_are_named() {
    let cells = [0, 1, 0, 1];
    let column = ColumnIn::numbers(5, Kind::I64, &cells);
    let refused = |times: &[i64], columns: &[ColumnIn]| encode(times, columns, LEVEL_DEFAULT).unwrap_err();
    assert_eq!(refused(&[], &[column]), EncodeError::Rows(0));
    let many: Vec<i64> = (0..=ROWS_MAX as i64).collect();
    assert_eq!(refused(&many, &[column]), EncodeError::Rows(ROWS_MAX + 1));
    assert_eq!(refused(&TIMES, &[]), EncodeError::Columns(0));
    assert_eq!(refused(&TIMES, &vec![column; COLUMNS_MAX + 1]), EncodeError::Columns(COLUMNS_MAX + 1));
    assert_eq!(refused(&[1, 2, 2, 3], &[column]), EncodeError::NotAscending(2));
    assert_eq!(refused(&[1, 2, 3, 0], &[column]), EncodeError::NotAscending(3));
    assert_eq!(refused(&TIMES[..3], &[column]), EncodeError::Length { series: 5, got: 4, rows: 3 });
    let short = ColumnIn { present: Some(&[true; 3]), ..column };
    assert_eq!(refused(&TIMES, &[short]), EncodeError::Length { series: 5, got: 3, rows: 4 });
    assert_eq!(refused(&TIMES, &[column, column]), EncodeError::Twice(5));
    let bools = ColumnIn::numbers(5, Kind::Bool, &[0, 1, 2, 9]);
    assert_eq!(refused(&TIMES, &[bools]), EncodeError::Cell { series: 5, row: 2 });
    let text = ColumnIn { texts: &["a"], ..ColumnIn::numbers(5, Kind::Text, &cells) };
    assert_eq!(refused(&TIMES, &[text]), EncodeError::Cell { series: 5, row: 1 });
    let (long, limit) = ("x".repeat(TEXT_BYTES_MAX + 1), "y".repeat(TEXT_BYTES_MAX));
    let text = ColumnIn { texts: &[&limit, &long], ..ColumnIn::numbers(5, Kind::Text, &cells) };
    assert_eq!(refused(&TIMES, &[text]), EncodeError::Text { series: 5, bytes: TEXT_BYTES_MAX + 1 });
}

#[test]
fn what_stands_in_absent_rows_does_not_matter() {
    let bools = ColumnIn {
        present: Some(&[true, true, false, false]),
        ..ColumnIn::numbers(5, Kind::Bool, &[0, 1, 2, u64::MAX])
    };
    let bytes = encode(&TIMES, &[bools], LEVEL_DEFAULT).unwrap();
    assert_eq!(ChunkReader::open(&bytes).unwrap().column(5).unwrap().unwrap().cells, [0, 1, 0, 0]);
}

#[test]
fn other_bytes_are_told_from_chunks() {
    let bytes = encode(&TIMES, &[ColumnIn::numbers(5, Kind::I64, &[1, 2, 3, 4])], LEVEL_DEFAULT).unwrap();
    let with = |index: usize, byte: u8| {
        let mut other = bytes.clone();
        other[index] = byte;
        ChunkReader::open(&other).map(|_| ()).unwrap_err()
    };
    assert_eq!(with(0, 0), DecodeError::Magic);
    assert_eq!(with(2, 2), DecodeError::Version(2));
    assert_eq!(with(5, 99), DecodeError::Checksum);
    assert_eq!(ChunkReader::open(&[]).map(|_| ()), Err(DecodeError::Short("magic")));
}
