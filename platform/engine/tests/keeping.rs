//! What the keeper does besides sealing, as its users see it.

mod common;

use common::{Bench, HOUR, MINUTE, SERIES, values};
use pulsewire_core::batch::Batch;
use pulsewire_core::block::{Block, ReportHead, SeriesSet};
use pulsewire_core::ids::{DeviceKey, Sequence, SeriesKey};
use pulsewire_core::sample::ReportKind;
use pulsewire_core::value::ValueType;
use pulsewire_engine::{Command, Keep, Outcome, Policy, Step, StoreOptions, adopt, check, copy};
use std::path::Path;
use std::sync::Arc;

struct Same(Keep);

impl Policy for Same {
    fn keep(&self, _: DeviceKey, _: SeriesKey) -> Keep {
        self.0
    }
}

fn keeping(folder: &Path, keep: Keep) -> Bench {
    Bench::open(StoreOptions { policy: Arc::new(Same(keep)), ..StoreOptions::new(folder.into()) })
}

#[test]
fn a_copy_made_while_the_store_is_written_reads_like_the_store() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::open(StoreOptions::new(folder.path().into()));
    bench.append_every(1_000_000, 0, 6_000);
    bench.keeper.seal_all().expect("seals");
    bench.append_every(1_000_000, 6_000, 500);
    let target = tempfile::tempdir().expect("a folder");
    copy(folder.path(), target.path()).expect("copies");
    let before = bench.range(i64::MIN, i64::MAX);
    // What comes after the copy is not in it.
    bench.append_every(1_000_000, 6_500, 500);
    adopt(target.path()).expect("is a store of its own");
    let report = check(target.path(), &mut |_, _| {}).expect("checks");
    assert_eq!((report.problems, report.rows), (0, 6_000), "{report:?}");
    let mut restored = Bench::open(StoreOptions::new(target.path().into()));
    assert_eq!(restored.range(i64::MIN, i64::MAX), before);
    assert_ne!(restored.epoch, bench.epoch);
    assert!(restored.position >= 7, "positions go on");
}

#[test]
fn buckets_stay_the_same_when_samples_are_gone_and_rollups_are_left() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bench = keeping(folder.path(), Keep { raw_us: Some(12 * HOUR), minute_us: Some(40 * HOUR), hour_us: None });
    bench.append_every(10_000_000, 0, 60 * 360);
    bench.keeper.seal_all().expect("seals");
    let (minutes, hours) = (bench.buckets(0, 60 * HOUR, 10 * MINUTE), bench.buckets(0, 60 * HOUR, HOUR));
    let raw = bench.range(0, 60 * HOUR).len();
    bench.keep_at(60 * HOUR);
    assert!(bench.range(0, 45 * HOUR).is_empty(), "older than twelve hours and rolled up");
    assert!(bench.range(0, 60 * HOUR).len() < raw);
    assert_eq!(bench.buckets(0, 60 * HOUR, HOUR), hours);
    // Minutes older than their retention stay until their hours are whole, which takes eight days.
    assert_eq!(bench.buckets(0, 60 * HOUR, 10 * MINUTE), minutes);
    bench.append_every(60_000_000, 60 * 60, 60 * 240);
    bench.keeper.seal_all().expect("seals");
    bench.keep_at(300 * HOUR);
    assert!(bench.buckets(0, 60 * HOUR, 10 * MINUTE).len() < minutes.len());
    assert_eq!(bench.buckets(0, 60 * HOUR, HOUR), hours);
}

#[test]
fn a_store_above_its_size_gives_up_its_oldest_samples_and_returns_the_space() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = StoreOptions { retain_bytes: 10_000, ..StoreOptions::new(folder.path().into()) };
    let mut bench = Bench::open(options.clone());
    bench.noise = true;
    bench.append_every(1_000_000, 0, 200_000);
    bench.keeper.seal_all().expect("seals");
    // The next commits release the records of what is sealed, some with each.
    for row in 0..5 {
        bench.append_every(1_000_000, 200_000 + row, 1);
    }
    bench.keep_at(300_000_000_000);
    let full = bench.status().disk_bytes;
    drop(bench);
    let size = |folder: &std::path::Path| folder.join("data.db").metadata().expect("is there").len();
    let before = size(folder.path());
    let mut bench = Bench::open(StoreOptions { size_bytes: full / 2, ..options });
    bench.keep_at(300_000_000_000);
    assert!(bench.status().disk_bytes <= full / 2, "{} of {full}", bench.status().disk_bytes);
    assert!(bench.range(0, 50_000_000_000).is_empty(), "the oldest go first");
    assert!(!bench.range(190_000_000_000, 200_000_000_000).is_empty(), "the newest stay");
    drop(bench);
    let after = size(folder.path());
    assert!(after < before * 3 / 4, "{after} of {before} bytes are left on disk");
}

#[test]
fn a_damaged_chunk_is_set_aside_and_the_rest_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::open(StoreOptions::new(folder.path().into()));
    bench.append_every(1_000_000, 0, 20_000);
    bench.keeper.seal_all().expect("seals");
    let before = bench.range(0, i64::MAX).len();
    drop(bench);
    let connection = rusqlite::Connection::open(folder.path().join("data.db")).expect("opens");
    let changed = connection
        .execute(
            "UPDATE chunk_data SET data = CAST(substr(data, 1, 100) || x'00ff' || substr(data, 103) AS BLOB)
             WHERE chunk = (SELECT min(chunk) FROM chunk)",
            [],
        )
        .expect("damages");
    assert_eq!(changed, 1);
    drop(connection);
    let report = check(folder.path(), &mut |_, _| {}).expect("checks");
    assert_eq!(report.problems, 1, "{report:?}");
    let finding = &report.findings[0];
    assert_eq!((finding.device, finding.series.clone()), (Some(DeviceKey(1)), vec![SERIES]));
    assert!(finding.lost_rows > 0 && finding.range_us.is_some(), "{finding:?}");
    let mut bench = Bench::open(StoreOptions::new(folder.path().into()));
    let left = bench.range(0, i64::MAX).len();
    assert_eq!(before - left, usize::try_from(finding.lost_rows).expect("few"));
    bench.keep_at(1_000_000_000_000);
    assert_eq!(bench.status().damaged.len(), 1, "{:?}", bench.status());
    assert_eq!(bench.range(0, i64::MAX).len(), left);
}

#[test]
fn values_that_share_a_table_are_merged_out_of_small_chunks() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::open(StoreOptions::new(folder.path().into()));
    for part in 0..40 {
        bench.append_every(60_000_000, part * 30, 30);
        bench.keeper.seal_all().expect("seals");
    }
    let before = bench.range(0, i64::MAX);
    bench.keep_at(1_000);
    assert_eq!(bench.range(0, i64::MAX), before);
    assert_eq!(values(&before).len(), 1_200);
    drop(bench);
    let report = check(folder.path(), &mut |_, _| {}).expect("checks");
    assert!(report.chunks < 10 && report.problems == 0, "{report:?}");
}

#[test]
fn hours_whose_minutes_are_gone_survive_late_samples_in_their_block() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bench =
        keeping(folder.path(), Keep { raw_us: Some(72 * HOUR), minute_us: Some(120 * HOUR), hour_us: None });
    // A block of hours is eight days; a day more, so that it is complete.
    bench.append_every(60_000_000, 0, 60 * 216);
    bench.keeper.seal_all().expect("seals");
    bench.keep_at(216 * HOUR);
    assert!(bench.range(0, 130 * HOUR).is_empty(), "samples are gone");
    assert!(bench.buckets(0, 90 * HOUR, MINUTE).is_empty(), "and so are minutes");
    let hours = bench.buckets(0, 90 * HOUR, HOUR);
    assert_eq!(hours.len(), 90);
    // Late, but to a time whose samples are there.
    let late = 180 * HOUR + 30_000_000;
    bench.report(&[late]).expect("is stored");
    assert_eq!(bench.buckets(0, 90 * HOUR, HOUR), hours, "while it is in memory");
    bench.keeper.seal_all().expect("seals");
    assert_eq!(bench.buckets(0, 90 * HOUR, HOUR), hours, "while the block is out of date");
    bench.keep_at(217 * HOUR);
    assert_eq!(bench.buckets(0, 90 * HOUR, HOUR), hours, "when it is made again");
    let count = |buckets: &[pulsewire_engine::Bucket]| -> f64 {
        let column =
            pulsewire_core::aggregate::Aggregate::ALL.iter().position(|a| a.name() == "count").expect("is one");
        buckets.iter().filter_map(|b| b.values[column].as_ref()).map(common::number).sum()
    };
    let found = bench.buckets(180 * HOUR, 181 * HOUR, HOUR);
    assert!((count(&found) - 61.0).abs() < 0.5, "{found:?}");
}

#[test]
fn minutes_are_right_when_late_samples_come_twice_before_they_are_rolled_up_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::open(StoreOptions::new(folder.path().into()));
    // A minute that is worth a block, and a value long after it, so that hours are rolled up too.
    bench.append_every(1_000_000, 0, 60);
    bench.report(&[400 * HOUR]).expect("is stored");
    bench.keeper.seal_all().expect("seals");
    bench.keep_at(1_000 * HOUR);
    // The first takes away the hours of its eight days and leaves the minutes of the first six hours, the second comes to these.
    for late_us in [47 * HOUR, HOUR] {
        bench.report(&[late_us]).expect("is stored");
        bench.keeper.seal_all().expect("seals");
    }
    let starts = |bench: &mut Bench| -> Vec<i64> {
        bench.buckets(0, 500 * HOUR, 10 * MINUTE).iter().map(|bucket| bucket.start_us).collect()
    };
    let expected = [0, HOUR, 47 * HOUR, 400 * HOUR];
    assert_eq!(starts(&mut bench), expected, "before they are rolled up again");
    bench.keep_at(1_001 * HOUR);
    assert_eq!(starts(&mut bench), expected, "after it");
}

#[test]
fn a_device_that_comes_back_after_its_last_block_was_rolled_up_early_is_in_the_rollups() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bench = keeping(folder.path(), Keep { raw_us: Some(12 * HOUR), minute_us: None, hour_us: None });
    // Until ten o'clock, in the middle of a block of six hours.
    bench.append_every(1_000_000, 0, 10 * 3_600);
    bench.keeper.seal_all().expect("seals");
    bench.keep_at(30 * HOUR);
    assert!(bench.range(0, 10 * HOUR).is_empty(), "its samples are too old");
    let before = bench.buckets(0, 10 * HOUR, HOUR);
    assert_eq!(before.len(), 10);
    // It kept what it measured after that.
    bench.append_every(1_000_000, 10 * 3_600, 8 * 3_600);
    let all = bench.buckets(0, 18 * HOUR, HOUR);
    assert_eq!(all[..before.len()], before, "while it is in memory");
    assert_eq!(all.len(), 18, "while it is in memory");
    bench.keeper.seal_all().expect("seals");
    assert_eq!(bench.buckets(0, 18 * HOUR, HOUR), all, "when it is sealed");
    bench.keep_at(60 * HOUR);
    assert_eq!(bench.buckets(0, 18 * HOUR, HOUR), all, "when its samples are gone too");
}

#[test]
fn a_device_that_comes_back_while_its_last_block_is_rolled_up_early_is_in_the_rollups() {
    for pause in 1..=4 {
        let folder = tempfile::tempdir().expect("a folder");
        let mut bench = keeping(folder.path(), Keep { raw_us: Some(12 * HOUR), minute_us: None, hour_us: None });
        bench.append_every(MINUTE, 0, 10 * 60);
        bench.keeper.seal_all().expect("seals");
        for _ in 0..pause {
            bench.keeper.step(30 * HOUR).expect("keeps");
        }
        bench.append_every(MINUTE, 10 * 60, 60);
        bench.keeper.seal_all().expect("seals");
        let expected: Vec<i64> = (0..11).map(|hour| hour * HOUR).collect();
        let starts = |buckets: Vec<pulsewire_engine::Bucket>| buckets.iter().map(|b| b.start_us).collect::<Vec<_>>();
        assert_eq!(starts(bench.buckets(0, 24 * HOUR, HOUR)), expected, "{pause} steps");
        bench.keep_at(60 * HOUR);
        assert_eq!(starts(bench.buckets(0, 24 * HOUR, HOUR)), expected, "{pause} steps, and all is gone");
    }
}

#[test]
fn a_restored_journal_that_is_older_than_its_data_gives_no_series_number_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::open(StoreOptions::new(folder.path().into()));
    bench.append_every(1_000_000, 0, 10);
    drop(bench);
    let journal = std::fs::read(folder.path().join("journal.db")).expect("reads");
    let mut bench = Bench::open(StoreOptions::new(folder.path().into()));
    let types = vec![ValueType::F64; 2];
    let set = Arc::new(SeriesSet { device: common::DEVICE, series: vec![SERIES, SeriesKey(1)], types });
    let mut block = Block::new(set);
    block.rows.push_dense(1, [0, 0].into_iter());
    block.reports.push(ReportHead {
        stream: bench.stream,
        sequence: Sequence(bench.sequence + 1),
        digest: 1,
        kind: ReportKind::Live,
        rows: 1,
    });
    let batch = Arc::new(Batch { blocks: vec![block], ..Batch::default() });
    let append = Command::Append { lane: common::LANE, fence: bench.fence, batch };
    bench.writer.commit(&[append]).expect("commits").remove(0).expect("is stored");
    bench.keeper.seal_all().expect("seals");
    drop(bench);
    std::fs::write(folder.path().join("journal.db"), journal).expect("writes");
    let mut bench = Bench::open(StoreOptions::new(folder.path().into()));
    let open = bench.writer.commit(&[Command::OpenLane(common::LANE)]).expect("commits").remove(0);
    let Ok(Outcome::Lane(lane)) = open else { panic!("a lane") };
    assert_eq!(lane.next_series, SeriesKey(2));
    bench.fence = lane.fence;
    bench.report(&[1_000_000_000]).expect("is stored");
    drop(bench);
    let report = check(folder.path(), &mut |_, _| {}).expect("checks");
    let gaps = report.findings.iter().filter(|finding| finding.problem.contains("does not follow"));
    assert_eq!(gaps.count(), 0, "data.db has what is missing: {report:?}");
}

/// One row of some numbers of any device, in a table of its own.
fn append(bench: &mut Bench, device: DeviceKey, columns: &[(SeriesKey, ValueType, u64)], time_us: i64) {
    let (series, types) = columns.iter().map(|(series, value_type, _)| (*series, *value_type)).unzip();
    let mut block = Block::new(Arc::new(SeriesSet { device, series, types }));
    block.rows.push_dense(time_us, columns.iter().map(|(_, _, cell)| *cell));
    block.reports.push(ReportHead {
        stream: bench.stream,
        sequence: Sequence(bench.sequence + 1),
        digest: 1,
        kind: ReportKind::Live,
        rows: 1,
    });
    bench.sequence += 1;
    let batch = Arc::new(Batch { blocks: vec![block], ..Batch::default() });
    let append = Command::Append { lane: common::LANE, fence: bench.fence, batch };
    bench.writer.commit(&[append]).expect("commits").remove(0).expect("is stored");
}

#[test]
fn a_device_whose_rows_cannot_be_encoded_keeps_no_other_from_being_sealed() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::open(StoreOptions::new(folder.path().into()));
    let bad = DeviceKey(2);
    // A boolean is 0 or 1.
    append(&mut bench, bad, &[(SeriesKey(1), ValueType::Bool, 7)], 1);
    bench.append_every(1_000_000, 0, 100);
    for device in 3..10 {
        append(&mut bench, DeviceKey(device), &[(SeriesKey(device), ValueType::F64, 0)], 1);
    }
    assert!(bench.keeper.seal_all().is_err(), "all are in one group");
    for step in 0..20 {
        let _ = bench.keeper.step(step);
    }
    let status = bench.status();
    assert_eq!(status.sealed, 107, "{status:?}");
    assert!(status.failing.is_some_and(|reason| reason.contains("device number 2")));
    bench.append_every(1_000_000, 100, 5_000);
    let _ = bench.keeper.step(30);
    assert_eq!(bench.status().sealed, 5_107);
    // It is tried again, and does not go in the way of the others.
    assert!(bench.keeper.step(100_000_000).is_err());
    assert_eq!(bench.keeper.step(100_000_001).expect("goes on"), Step::Nothing);
    assert_eq!(bench.range(0, i64::MAX).len(), 5_100);
}

#[test]
fn small_chunks_are_merged_while_there_is_always_something_to_seal() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = StoreOptions { chunk_rows: 16, ..StoreOptions::new(folder.path().into()) };
    let mut bench = Bench::open(options);
    let mut steps = Vec::new();
    for part in 0..40 {
        bench.append_every(1_000_000, part * 16, 16);
        steps.push(bench.keeper.step(1_000 + part * 10_000_000).expect("keeps"));
        while bench.status().heads_bytes > 0 {
            steps.push(bench.keeper.step(1_000 + part * 10_000_000).expect("keeps"));
        }
    }
    assert!(steps.contains(&Step::Merged), "{steps:?}");
    assert!(!steps.contains(&Step::Nothing), "{steps:?}");
    assert_eq!(bench.range(0, i64::MAX).len(), 640);
}

#[test]
fn small_chunks_beside_a_conflict_are_merged() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::open(StoreOptions::new(folder.path().into()));
    let number = |value: f64| value.to_bits();
    for part in 0..30 {
        bench.append_every(60_000_000, part * 30, 30);
        bench.keeper.seal_all().expect("seals");
        if part == 4 {
            // Of another table, in the time of the third chunk, and written between the chunks there are.
            let columns = [(SERIES, ValueType::F64, number(-1.0)), (SeriesKey(1), ValueType::F64, number(2.0))];
            append(&mut bench, common::DEVICE, &columns, 70 * 60_000_000);
            bench.keeper.seal_all().expect("seals");
        }
    }
    // The conflict itself: later than what is in the other table.
    bench.report(&[70 * 60_000_000]).expect("is stored");
    bench.keeper.seal_all().expect("seals");
    let before = bench.range(i64::MIN, i64::MAX);
    bench.keep_at(1_000);
    assert_eq!(bench.range(i64::MIN, i64::MAX), before);
    drop(bench);
    let report = check(folder.path(), &mut |_, _| {}).expect("checks");
    assert!(report.chunks < 12 && report.problems <= 1, "{report:?}");
}

#[test]
fn late_values_count_as_replacing_where_there_is_one_and_not_beside_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::open(StoreOptions { chunk_rows: 64, ..StoreOptions::new(folder.path().into()) });
    for part in 0..20 {
        bench.append_every(1_000_000, part * 64, 64);
        bench.keeper.seal_all().expect("seals");
    }
    // Two that are there, far apart, one between two rows, and one in order.
    bench.report(&[3_000_000, 700_000_000, 700_000_001, 5_000_000_000]).expect("is stored");
    bench.keeper.seal_all().expect("seals");
    let append = |batch| Command::Append { lane: common::LANE, fence: bench.fence, batch };
    let outcome = bench.writer.commit(&[append(Arc::new(Batch::default()))]).expect("commits").remove(0);
    let Ok(Outcome::Appended(receipt)) = outcome else { panic!("a receipt") };
    assert_eq!(receipt.replaced, [(common::DEVICE, 2)]);
}

#[test]
fn much_that_is_sealed_leaves_the_journal_some_with_each_commit() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = StoreOptions { retain_bytes: 1_000, ..StoreOptions::new(folder.path().into()) };
    let mut bench = Bench::open(options);
    for row in 0..200 {
        bench.append_every(1_000_000, row, 1);
    }
    bench.keeper.seal_all().expect("seals");
    let mut sizes = vec![bench.status().journal_bytes];
    for row in 200..206 {
        bench.append_every(1_000_000, row, 1);
        sizes.push(bench.status().journal_bytes);
    }
    let record = sizes[0] / 200;
    assert!(sizes[1] > sizes[0] - 80 * record, "{sizes:?}");
    assert!(sizes[6] <= 2_000, "{sizes:?}");
}

#[test]
fn a_series_that_moves_to_another_metric_set_keeps_its_rollups() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bench = keeping(folder.path(), Keep { raw_us: Some(HOUR), minute_us: None, hour_us: None });
    // An hour and a half into a block of six hours the device declares another set.
    bench.append_every(1_000_000, 0, 5_400);
    bench.set = common::other_set();
    bench.append_every(1_000_000, 5_400, 86_400);
    let (minutes, hours) = (bench.buckets(0, 24 * HOUR, MINUTE), bench.buckets(0, 24 * HOUR, HOUR));
    assert_eq!(hours.len(), 24);
    bench.keeper.seal_all().expect("seals");
    assert_eq!(bench.buckets(0, 24 * HOUR, MINUTE), minutes);
    bench.keep_at(26 * HOUR);
    assert!(bench.range(0, 12 * HOUR).is_empty(), "samples are gone");
    assert_eq!(bench.buckets(0, 24 * HOUR, MINUTE), minutes);
    assert_eq!(bench.buckets(0, 24 * HOUR, HOUR), hours);
}
