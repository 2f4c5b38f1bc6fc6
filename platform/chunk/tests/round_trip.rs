//! What goes into a chunk comes out of it, bit for bit.

use proptest::prelude::*;
use pulsewire_chunk::{ChunkReader, ColumnIn, Kind, LEVEL_DEFAULT, ROWS_MAX, encode};

/// Encodes, decodes and compares everything, at several levels.
fn check(times: &[i64], columns: &[ColumnIn]) {
    for level in [0, 4, LEVEL_DEFAULT] {
        let bytes = encode(times, columns, level).expect("rows that can be encoded");
        let chunk = ChunkReader::open(&bytes).expect("its own chunk");
        assert_eq!(chunk.rows(), times.len());
        assert_eq!((Some(&chunk.first()), Some(&chunk.last())), (times.first(), times.last()));
        assert_eq!(chunk.times().expect("times"), times);
        assert_eq!(chunk.series().len(), columns.len());
        for column in columns {
            check_column(&chunk, column, times.len());
        }
    }
}

fn check_column(chunk: &ChunkReader, column: &ColumnIn, rows: usize) {
    let back = chunk.column(column.series).expect("a column").expect("this column");
    let info = chunk.series().iter().find(|info| info.series == column.series).expect("an entry");
    let is_present = |row: usize| column.present.is_none_or(|present| present[row]);
    let count = (0..rows).filter(|row| is_present(*row)).count();
    assert_eq!((back.kind, info.kind, info.count), (column.kind, column.kind, count));
    assert_eq!(back.cells.len(), rows);
    assert_eq!(back.present.is_none(), count == rows, "a dense column has no presences");
    let (mut min, mut max) = (f64::INFINITY, f64::NEG_INFINITY);
    let mut numbers = 0;
    for row in 0..rows {
        let there = back.present.as_ref().is_none_or(|present| present[row]);
        assert_eq!(there, is_present(row), "row {row}");
        if column.kind == Kind::Text {
            let text = there.then(|| column.texts[column.cells[row] as usize]);
            assert_eq!(back.text(row), text, "row {row}");
        } else {
            assert_eq!(back.cells[row], if there { column.cells[row] } else { 0 }, "row {row}");
            if let Some(number) = column.kind.number_of(column.cells[row]).filter(|number| there && !number.is_nan()) {
                (min, max, numbers) = (min.min(number), max.max(number), numbers + 1);
            }
        }
    }
    match info.bounds {
        None => assert_eq!(numbers, 0),
        Some(bounds) => assert_eq!(bounds, (min, max)),
    }
}

fn seconds(rows: usize) -> Vec<i64> {
    (0..rows as i64).map(|row| 1_700_000_000_000_000 + row * 1_000_000).collect()
}

fn check_numbers(kind: Kind, cells: &[u64]) {
    check(&seconds(cells.len()), &[ColumnIn::numbers(3, kind, cells)]);
}

/// Doubles that are hard to keep.
fn odd_double() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0f64.to_bits()),
        Just((-0f64).to_bits()),
        Just(f64::INFINITY.to_bits()),
        Just(f64::NEG_INFINITY.to_bits()),
        Just(f64::NAN.to_bits()),
        Just(0x7FF0_0000_0000_0001),
        Just(0xFFFF_FFFF_FFFF_FFFF),
        Just(f64::MIN_POSITIVE.to_bits()),
        Just(1),
        Just(f64::MAX.to_bits()),
        Just(f64::from(f32::MAX).to_bits()),
        Just(9_007_199_254_740_993f64.to_bits()),
        any::<u64>(),
    ]
}

fn decimal() -> impl Strategy<Value = u64> {
    (-20_000i64..20_000, 0u32..5).prop_map(|(count, digits)| (count as f64 / 10f64.powi(digits as i32)).to_bits())
}

fn single() -> impl Strategy<Value = u64> {
    prop_oneof![any::<f32>(), (-2_000i16..2_000).prop_map(|count| f32::from(count) / 10.0)]
        .prop_map(|single| f64::from(single).to_bits())
}

fn integer() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => (-100i64..100).prop_map(|number| number as u64),
        1 => any::<i64>().prop_map(|number| number as u64),
        1 => prop_oneof![Just(i64::MIN as u64), Just(i64::MAX as u64), Just(u64::MAX)],
    ]
}

/// Cells of one kind: of one manner throughout, held for a while, or of all manners mixed.
fn cells(kind: Kind, rows: usize) -> BoxedStrategy<Vec<u64>> {
    let one = |cell: BoxedStrategy<u64>| {
        let changing = prop::collection::vec(cell.clone(), rows);
        let holding = prop::collection::vec((cell.clone(), 0..40usize), rows).prop_map(move |runs| {
            let held = runs.into_iter().flat_map(|(cell, length)| std::iter::repeat_n(cell, length + 1));
            held.take(rows).collect()
        });
        let constant = cell.prop_map(move |cell| vec![cell; rows]);
        prop_oneof![3 => changing, 2 => holding, 1 => constant].boxed()
    };
    match kind {
        Kind::F64 | Kind::F32 => prop_oneof![
            one(decimal().boxed()),
            one(single().boxed()),
            one(odd_double().boxed()),
            one(prop_oneof![9 => decimal(), 1 => odd_double()].boxed()),
        ]
        .boxed(),
        Kind::I64 => one(integer().boxed()),
        Kind::Bool => one((0..2u64).boxed()),
        Kind::Text => one((0..TEXTS.len() as u64).boxed()),
    }
}

const TEXTS: [&str; 7] = ["", "on", "off", "größer", "on", "fault 17", "🙂"];

fn kind() -> impl Strategy<Value = Kind> {
    (0..5u8).prop_map(|number| Kind::from_number(number).expect("a kind"))
}

fn rows() -> impl Strategy<Value = usize> {
    prop_oneof![1..5usize, 5..80usize, 80..600usize]
}

fn times(rows: usize) -> BoxedStrategy<Vec<i64>> {
    let from_steps = move |(first, steps): (i64, Vec<i64>)| {
        let mut time = first;
        std::iter::once(first)
            .chain(steps.into_iter().map(move |step| {
                time += step;
                time
            }))
            .collect::<Vec<i64>>()
    };
    let first = -5_000_000_000_000_000..5_000_000_000_000_000i64;
    let steps = |step: BoxedStrategy<i64>| prop::collection::vec(step, rows - 1);
    prop_oneof![
        (first.clone(), steps(Just(1_000_000).boxed())).prop_map(from_steps),
        (first.clone(), steps((900i64..1_100).prop_map(|step| step * 1_000).boxed())).prop_map(from_steps),
        (first.clone(), steps((1i64..5).boxed())).prop_map(from_steps),
        (first.clone(), steps((1i64..4_000_000_000_000).boxed())).prop_map(from_steps),
        (first, prop::collection::vec(0i64..400, rows))
            .prop_map(|(first, late)| { (0i64..).zip(late).map(|(row, late)| first + row * 500 + late).collect() }),
    ]
    .boxed()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_kind_comes_back_bit_for_bit(
        (times, kind, cells, present) in (rows(), kind()).prop_flat_map(|(rows, kind)| {
            let present = prop_oneof![
                Just(None),
                prop::collection::vec(any::<bool>(), rows).prop_map(Some),
                prop::collection::vec(prop::bool::weighted(0.97), rows).prop_map(Some),
                (0..rows).prop_map(move |from| Some((0..rows).map(|row| row >= from).collect())),
                Just(Some(vec![false; rows])),
                Just(Some(vec![true; rows])),
            ];
            (times(rows), Just(kind), cells(kind, rows), present)
        })
    ) {
        let texts: &[&str] = if kind == Kind::Text { &TEXTS } else { &[] };
        check(&times, &[ColumnIn { series: 7, kind, cells: &cells, present: present.as_deref(), texts }]);
    }
}

#[test]
fn a_chunk_of_all_kinds_at_the_row_limit_comes_back() {
    let rows = ROWS_MAX;
    let spread = |row: usize| (row as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
    let doubles: Vec<u64> = (0..rows).map(|row| (spread(row) as f64 / 3.0).to_bits()).collect();
    let decimals: Vec<u64> = (0..rows).map(|row| ((spread(row) % 900) as f64 / 10.0).to_bits()).collect();
    let singles: Vec<u64> = (0..rows).map(|row| f64::from((spread(row) % 99) as f32 / 10.0).to_bits()).collect();
    let integers: Vec<u64> = (0..rows).map(spread).collect();
    let bools: Vec<u64> = (0..rows).map(|row| spread(row / 9) & 1).collect();
    let cells: Vec<u64> = (0..rows as u64).collect();
    let present: Vec<bool> = (0..rows).map(|row| spread(row) % 5 > 0).collect();
    let texts: Vec<String> = (0..rows).map(|row| format!("{row:x}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let times: Vec<i64> = (0..rows).map(|row| row as i64 * 1_000 + (spread(row) % 700) as i64).collect();
    let numbers = |series, kind, cells| ColumnIn { present: Some(&present), ..ColumnIn::numbers(series, kind, cells) };
    check(
        &times,
        &[
            ColumnIn { texts: &texts, ..ColumnIn::numbers(9, Kind::Text, &cells) },
            numbers(1, Kind::F64, &doubles),
            numbers(2, Kind::F64, &decimals),
            numbers(3, Kind::F32, &singles),
            ColumnIn::numbers(4, Kind::F32, &singles),
            numbers(5, Kind::I64, &integers),
            ColumnIn::numbers(0, Kind::I64, &cells),
            numbers(u32::MAX, Kind::Bool, &bools),
        ],
    );
}

#[test]
fn extremes_of_integers_and_times_come_back() {
    check_numbers(Kind::I64, &[i64::MIN as u64, i64::MAX as u64, 0, u64::MAX]);
    let alternating: Vec<u64> =
        (0..500).map(|row| if row % 2 == 0 { i64::MIN as u64 } else { i64::MAX as u64 }).collect();
    check_numbers(Kind::I64, &alternating);
    let cells = [1, 2, 3];
    for times in [
        vec![i64::MIN],
        vec![i64::MAX],
        vec![i64::MIN, i64::MAX],
        vec![i64::MIN, 0, i64::MAX],
        vec![i64::MIN, i64::MAX - 1, i64::MAX],
        vec![-3, -2, i64::MAX],
    ] {
        check(&times, &[ColumnIn::numbers(3, Kind::I64, &cells[..times.len()])]);
    }
}

#[test]
fn signs_of_zero_and_payloads_of_nan_survive_in_long_columns() {
    let mut cells: Vec<u64> = (0..4_096).map(|row| (f64::from(row % 50) / 10.0).to_bits()).collect();
    cells[4_000] = (-0f64).to_bits();
    check_numbers(Kind::F64, &cells);
    cells[17] = 0x7FF0_0000_0000_0001;
    cells[18] = 0xFFF8_0000_0000_BEEF;
    check_numbers(Kind::F64, &cells);
    let mut singles: Vec<u64> = (0..4_096u16).map(|row| f64::from(f32::from(row) * 0.3).to_bits()).collect();
    singles[5] = f64::from(f32::from_bits(0x7FC0_1234)).to_bits();
    check_numbers(Kind::F32, &singles);
    check_numbers(Kind::F32, &vec![f64::NAN.to_bits(); 100]);
}

#[test]
fn a_value_that_a_single_does_not_hold_is_kept_in_a_column_of_singles() {
    let mut singles: Vec<u64> = (0..300u16).map(|row| f64::from(f32::from(row) * 0.3).to_bits()).collect();
    singles[200] = 0.1f64.to_bits();
    check_numbers(Kind::F32, &singles);
}
