//! What the keeper does besides sealing, as its users see it.

mod common;

use common::{Bench, HOUR, MINUTE, SERIES, values};
use pulsewire_core::ids::{DeviceKey, SeriesKey};
use pulsewire_engine::{Keep, Policy, StoreOptions, adopt, check, copy};
use std::sync::Arc;

struct Same(Keep);

impl Policy for Same {
    fn keep(&self, _: DeviceKey, _: SeriesKey) -> Keep {
        self.0
    }
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
    let keep = Keep { raw_us: Some(12 * HOUR), minute_us: Some(40 * HOUR), hour_us: None };
    let options = StoreOptions { policy: Arc::new(Same(keep)), ..StoreOptions::new(folder.path().into()) };
    let mut bench = Bench::open(options);
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
    // The next commit releases the records of what is sealed.
    bench.append_every(1_000_000, 200_000, 1);
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
