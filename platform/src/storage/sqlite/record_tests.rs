use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

fn batch(blocks: Vec<Block>, accounting: Vec<(DeviceKey, Accounting)>) -> Batch {
    Batch { blocks, accounting, ..Batch::default() }
}

fn back(blob: &[u8]) -> (Vec<Block>, Vec<(DeviceKey, Accounting)>) {
    let (record, accounts) = decode(9, 5, checksum(blob), blob).expect("decodes");
    assert_eq!((record.position, record.received_us), (Position(9), 5));
    (record.blocks, accounts)
}

fn value_types() -> impl Strategy<Value = Vec<ValueType>> {
    let any_type = proptest::sample::select(ValueType::ALL.to_vec());
    prop_oneof![
        vec(any_type, 1..70),
        (proptest::sample::select(ValueType::ALL.to_vec()), 1usize..70).prop_map(|(one, n)| vec![one; n]),
    ]
}

/// A cell of a type, or none; `odd` makes an f32 that is none.
fn push(rows: &mut Rows, value_type: ValueType, bits: u64, odd: bool) {
    match value_type {
        ValueType::F32 if !odd => rows.push_cell(f64::from(f32::from_bits(bits as u32)).to_bits()),
        ValueType::F32 | ValueType::F64 | ValueType::I64 => rows.push_cell(bits),
        ValueType::Bool => rows.push_cell(bits & 1),
        ValueType::Text => rows.push_text(&format!("µ{bits}")),
    }
}

prop_compose! {
    fn block()(types in value_types())(
        device in any::<u32>(),
        keys in vec(any::<u32>(), types.len()),
        reports in vec((any::<(u32, u64, u64, bool)>(), vec((any::<i64>(), vec(any::<(u64, u8)>(), types.len())), 0..4)), 0..5),
        gaps in any::<bool>(),
        odd in any::<bool>(),
        types in Just(types),
    ) -> Block {
        let series = keys.into_iter().map(SeriesKey).collect();
        let mut block = Block::new(Arc::new(SeriesSet { device: DeviceKey(device), series, types }));
        for ((stream, sequence, digest, backfill), rows) in reports {
            let kind = if backfill { ReportKind::Backfill } else { ReportKind::Live };
            let (stream, sequence, count) = (StreamId(stream), Sequence(sequence), rows.len() as u32);
            block.reports.push(ReportHead { stream, sequence, digest, kind, rows: count });
            for (time_us, cells) in rows {
                block.rows.begin_row(time_us);
                for ((bits, chance), value_type) in cells.into_iter().zip(&block.set.types) {
                    match gaps && chance < 100 {
                        true => block.rows.push_absent(),
                        false => push(&mut block.rows, *value_type, bits, odd),
                    }
                }
            }
        }
        block
    }
}

/// What a block says, which is more than how its texts are numbered.
fn said(block: &Block) -> impl PartialEq + std::fmt::Debug {
    let value = |one: pulsewire_core::block::ValueRef<'_>| match one {
        pulsewire_core::block::ValueRef::F64(v) => format!("{:x}", v.to_bits()),
        other => format!("{other:?}"),
    };
    let rows = block.reports().flat_map(|report| report.rows());
    let rows = rows.map(|row| (row.time_us(), row.values().map(|(key, v)| (key, value(v))).collect::<Vec<_>>()));
    (block.set.clone(), block.reports.clone(), rows.collect::<Vec<_>>())
}

proptest! {
    #[test]
    fn a_record_reads_back_as_written(
        blocks in vec(block(), 0..4), accounts in vec((any::<u32>(), vec(any::<u64>(), Accounting::COUNTS)), 0..4),
    ) {
        let account = |(device, counts): &(u32, Vec<u64>)| (DeviceKey(*device), Accounting::from_counts(counts));
        let written = batch(blocks, accounts.iter().map(account).collect());
        let (blocks, accounts) = back(&encode(&written));
        prop_assert!(blocks.iter().map(said).eq(written.blocks.iter().map(said)));
        prop_assert_eq!(accounts, written.accounting);
    }

    #[test]
    fn damaged_bytes_are_refused_or_read_but_never_more_than_they_are(
        blocks in vec(block(), 1..3), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>(),
    ) {
        let mut blob = encode(&batch(blocks, vec![(DeviceKey(1), Accounting::default())]));
        let shorter = &blob[..cut.index(blob.len())];
        prop_assert!(read(shorter).is_err(), "every byte counts");
        let at = at.index(blob.len());
        blob[at] = byte;
        if let Ok((blocks, _)) = read(&blob) {
            // A cell of 8 bytes may stand for one presence bit, no more.
            let held: usize = blocks.iter().map(|block| block.rows.bytes()).sum();
            prop_assert!(held <= 256 + blob.len() * 2 * 64, "{held} bytes from {}", blob.len());
        }
    }

    #[test]
    fn no_bytes_make_it_panic(mut blob in vec(any::<u8>(), 0..300)) {
        let _ = read(&blob);
        if let Some(first) = blob.first_mut() {
            *first = VERSION;
        }
        let _ = read(&blob);
    }

    #[test]
    fn every_f32_fits_its_four_bytes(bits in any::<u32>()) {
        let cell = f64::from(f32::from_bits(bits)).to_bits();
        prop_assert_eq!(widened(narrowed(cell)), cell);
    }
}

fn floats(reports: u32) -> Block {
    let (series, types) = ((0..10).map(SeriesKey).collect(), vec![ValueType::F32; 10]);
    let mut block = Block::new(Arc::new(SeriesSet { device: DeviceKey(7), series, types }));
    for n in 0..reports {
        let (stream, sequence, digest) = (StreamId(1), Sequence(u64::from(n)), 3);
        block.reports.push(ReportHead { stream, sequence, digest, kind: ReportKind::Live, rows: 1 });
        block.rows.push_dense(i64::from(n), (0..10).map(|m| f64::from(m as f32 * 0.1 + n as f32).to_bits()));
    }
    block
}

#[test]
fn a_report_of_ten_f32_takes_73_bytes() {
    let bytes = |reports| encode(&batch(vec![floats(reports)], Vec::new())).len();
    assert_eq!(bytes(101) - bytes(1), 7300);
}

#[test]
fn a_flipped_bit_is_noticed() {
    let mut blob = encode(&batch(vec![floats(3)], Vec::new()));
    let sum = checksum(&blob);
    blob[40] ^= 1;
    assert!(matches!(decode(9, 5, sum, &blob), Err(JournalError::Corrupt { position: Position(9), .. })));
}

#[test]
fn lengths_that_no_blob_has_are_refused_before_any_memory_is_taken() {
    let huge = u32::MAX.to_le_bytes();
    let block = |part: &[u8]| [&[VERSION, 1, 0, 0, 0, 0, 0, 0, 0], part].concat();
    for blob in [
        [&[VERSION], &huge[..]].concat(),
        block(&huge),
        block(&[&[0; 4], &huge[..]].concat()),
        block(&[&[0; 8], &huge[..]].concat()),
    ] {
        assert!(read(&blob).is_err(), "{blob:?}");
    }
}

/// Not a check: how fast it is, for whoever asks (`--ignored --nocapture`, in a release build).
#[test]
#[ignore = "measures"]
fn speed() {
    let batch = batch((0..500).map(|_| floats(16)).collect(), Vec::new());
    let started = std::time::Instant::now();
    let mut bytes = 0;
    for _ in 0..200 {
        bytes += std::hint::black_box(encode(&batch)).len();
    }
    let encoded = started.elapsed();
    let blob = encode(&batch);
    let started = std::time::Instant::now();
    for _ in 0..200 {
        std::hint::black_box(read(&blob).expect("reads"));
    }
    let rate = |elapsed: std::time::Duration| bytes as f64 / elapsed.as_secs_f64() / 1e9;
    println!("encode {:.2} GB/s, decode {:.2} GB/s", rate(encoded), rate(started.elapsed()));
}
