//! What every implementation of the Journal and History ports must do. One function per promise, so that the next
//! implementation runs the same ones.
#![allow(clippy::unwrap_used)] // a helper's panic is this test's failure

use pulsewire::ports::{Batch, BucketQuery, History, Journal, JournalError, RangeQuery, SnapshotQuery, StreamKind};
use pulsewire::storage::telemetry::{StoreOptions, TelemetryStore};
use pulsewire_core::accounting::Accounting;
use pulsewire_core::aggregate::{Aggregate, Bucket};
use pulsewire_core::block::{Block, ReportHead, SeriesSet, ValueRef};
use pulsewire_core::ids::{DeviceKey, Fence, Lane, MetricName, Position, Sequence, SeriesKey, StreamId};
use pulsewire_core::sample::{ReportKind, Sample, Series};
use pulsewire_core::value::{Value, ValueType};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const LANE: Lane = Lane(0);
const DEVICE: DeviceKey = DeviceKey(7);

fn open(folder: &Path, retain_bytes: u64) -> TelemetryStore {
    let options = StoreOptions { retain_bytes, unsealed_bytes: 0, ..StoreOptions::new(folder.to_path_buf()) };
    TelemetryStore::open(options, Duration::from_secs(30)).unwrap()
}

fn series(key: u32, name: &str, value_type: ValueType) -> Arc<Series> {
    let metric = MetricName::parse(name).unwrap();
    Arc::new(Series { key: SeriesKey(key), device: DEVICE, metric, unit: "°C".into(), value_type })
}

/// Time, and values by series.
type Row = (i64, Vec<(u32, Value)>);

/// A report of rows that all have the same series.
fn report(stream: StreamId, sequence: u64, rows: Vec<Row>) -> Block {
    let columns = rows.first().map(|(_, values)| values.as_slice()).unwrap_or_default();
    let value_type = |value: &Value| match value {
        Value::F64(_) => ValueType::F64,
        Value::I64(_) => ValueType::I64,
        Value::Bool(_) => ValueType::Bool,
        Value::Text(_) => ValueType::Text,
    };
    let series = columns.iter().map(|(key, _)| SeriesKey(*key)).collect();
    let types = columns.iter().map(|(_, value)| value_type(value)).collect();
    let mut block = Block::new(Arc::new(SeriesSet { device: DEVICE, series, types }));
    let (sequence, digest, count) = (Sequence(sequence), sequence * 3, u32::try_from(rows.len()).unwrap());
    block.reports.push(ReportHead { stream, sequence, digest, kind: ReportKind::Live, rows: count });
    for (time_us, values) in &rows {
        block.rows.begin_row(*time_us);
        for (_, value) in values {
            block.rows.push_value(Some(match value {
                Value::F64(v) => ValueRef::F64(*v),
                Value::I64(v) => ValueRef::I64(*v),
                Value::Bool(v) => ValueRef::Bool(*v),
                Value::Text(v) => ValueRef::Text(v),
            }));
        }
    }
    block
}

fn row(time_us: i64, values: Vec<(u32, Value)>) -> Row {
    (time_us, values)
}

fn batch(series: Vec<Arc<Series>>, blocks: Vec<Block>) -> Arc<Batch> {
    let values = blocks.iter().map(|block| block.rows.count()).sum();
    let account = Accounting { reports: 1, received: values, stored: values, ..Accounting::default() };
    Arc::new(Batch { received_us: 5, blocks, series, accounting: vec![(DEVICE, account)] })
}

async fn new_stream(journal: &TelemetryStore, fence: Fence) -> StreamId {
    journal.open_stream(LANE, fence, DEVICE, StreamKind::Live, 1, 256).await.unwrap().stream
}

fn all(series: u32) -> RangeQuery {
    RangeQuery { series: SeriesKey(series), from_us: i64::MIN, to_us: i64::MAX, limit: usize::MAX }
}

#[tokio::test]
async fn everything_is_there_again_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path(), 1 << 30);
    let lane = journal.open_lane(LANE).await.unwrap();
    let stream = new_stream(&journal, lane.fence).await;
    let rows = vec![row(10, vec![(0, Value::F64(1.5))]), row(20, vec![(0, Value::F64(2.5))])];
    let stored = batch(vec![series(0, "t", ValueType::F32)], vec![report(stream, 1, rows)]);
    let receipt = journal.append(LANE, lane.fence, stored.clone()).await.unwrap();
    assert_eq!(receipt.position, Position(1));
    drop(journal);

    let journal = open(folder.path(), 1 << 30);
    let again = journal.open_lane(LANE).await.unwrap();
    assert_eq!((again.epoch, again.position), (lane.epoch, Position(1)));
    assert!(again.fence > lane.fence);
    assert_eq!(again.series, [(*series(0, "t", ValueType::F32)).clone()]);
    assert_eq!(again.next_series, SeriesKey(1));
    assert_eq!(again.streams[0].sequence, Sequence(1));
    assert_eq!(again.digests, [(DEVICE, stream, Sequence(1), 3)]);
    assert_eq!(again.accounting[0].1.stored, 2);
    let records = journal.read(LANE, Position(0), 10).await.unwrap();
    assert_eq!(records[0].blocks, stored.blocks);
    assert_eq!(journal.range(all(0)).await.unwrap().len(), 2);
}

#[tokio::test]
async fn values_come_back_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path(), 1 << 30);
    let lane = journal.open_lane(LANE).await.unwrap();
    let stream = new_stream(&journal, lane.fence).await;
    let odd_nan = f64::from_bits(0x7ff8_dead_beef_0001);
    let numbers = [
        Value::F64(-0.0),
        Value::F64(3.0),
        Value::F64(odd_nan),
        Value::F64(f64::NEG_INFINITY),
        Value::F64(f64::MIN_POSITIVE / 8.0),
        Value::I64(i64::MIN),
        Value::I64(3),
    ];
    let mut blocks: Vec<_> = numbers
        .iter()
        .enumerate()
        .map(|(i, v)| report(stream, i as u64 + 1, vec![row(i as i64, vec![(0, v.clone())])]))
        .collect();
    let others = vec![(1, Value::Bool(true)), (2, Value::Text("µ\0x".into()))];
    blocks.push(report(stream, 8, vec![row(0, others)]));
    let catalogue =
        vec![series(0, "n", ValueType::F64), series(1, "b", ValueType::Bool), series(2, "s", ValueType::Text)];
    journal.append(LANE, lane.fence, batch(catalogue, blocks)).await.unwrap();
    let back = journal.range(all(0)).await.unwrap();
    for (sample, expected) in back.iter().zip(&numbers) {
        assert!(sample.value.same_bits(expected), "{:?} for {expected:?}", sample.value);
    }
    assert_eq!(back.len(), numbers.len());
    assert_eq!(journal.range(all(1)).await.unwrap()[0].value, Value::Bool(true));
    assert_eq!(journal.range(all(2)).await.unwrap()[0].value, Value::Text("µ\0x".into()));
}

#[tokio::test]
async fn the_last_write_of_one_time_wins_and_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path(), 1 << 30);
    let lane = journal.open_lane(LANE).await.unwrap();
    let stream = new_stream(&journal, lane.fence).await;
    let rows = vec![row(10, vec![(0, Value::F64(1.0))]), row(10, vec![(0, Value::F64(2.0))])];
    let stored = batch(vec![series(0, "t", ValueType::F64)], vec![report(stream, 1, rows)]);
    let receipt = journal.append(LANE, lane.fence, stored).await.unwrap();
    assert_eq!(receipt.replaced, [(DEVICE, 1)]);
    assert_eq!(journal.range(all(0)).await.unwrap(), [Sample { time_us: 10, value: Value::F64(2.0) }]);
}

#[tokio::test]
async fn an_owner_that_was_replaced_can_store_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path(), 1 << 30);
    let old = journal.open_lane(LANE).await.unwrap();
    let new = journal.open_lane(LANE).await.unwrap();
    let refused = journal.append(LANE, old.fence, batch(Vec::new(), Vec::new())).await;
    assert!(matches!(refused, Err(JournalError::StaleFence)));
    let refused = journal.open_stream(LANE, old.fence, DEVICE, StreamKind::Live, 1, 256).await;
    assert!(matches!(refused, Err(JournalError::StaleFence)));
    journal.append(LANE, new.fence, batch(Vec::new(), Vec::new())).await.unwrap();
}

#[tokio::test]
async fn above_the_limit_the_stream_unused_for_longest_is_retired_and_no_id_comes_twice() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path(), 1 << 30);
    let lane = journal.open_lane(LANE).await.unwrap();
    let open_at = |now_us| journal.open_stream(LANE, lane.fence, DEVICE, StreamKind::Live, now_us, 2);
    assert_eq!(open_at(10).await.unwrap().stream, StreamId(1));
    assert_eq!(open_at(20).await.unwrap().retired, None);
    // Stream 1 is used later than stream 2.
    let used = Batch { received_us: 30, ..(*batch(Vec::new(), vec![report(StreamId(1), 1, Vec::new())])).clone() };
    journal.append(LANE, lane.fence, Arc::new(used)).await.unwrap();
    let third = open_at(40).await.unwrap();
    assert_eq!((third.stream, third.retired), (StreamId(3), Some(StreamId(2))));
    assert_eq!(open_at(50).await.unwrap().stream, StreamId(4));
}

#[tokio::test]
async fn old_records_go_when_there_are_too_many_bytes_and_samples_stay() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path(), 4000);
    let lane = journal.open_lane(LANE).await.unwrap();
    let stream = new_stream(&journal, lane.fence).await;
    let mut n = 0u64;
    let records = loop {
        n += 1;
        let rows = vec![row(n.cast_signed(), vec![(0, Value::F64(n as f64))])];
        let known = if n == 1 { vec![series(0, "t", ValueType::F64)] } else { Vec::new() };
        journal.append(LANE, lane.fence, batch(known, vec![report(stream, n, rows)])).await.unwrap();
        // They go once their samples are sealed, which is done beside.
        let records = journal.read(LANE, Position(0), 100_000).await.unwrap();
        if n >= 200 && (records.len() as u64) < n {
            break records;
        }
        assert!(n < 100_000, "no record ever goes");
    };
    assert!(records.len() > 10, "{} records are left", records.len());
    assert_eq!(records.last().unwrap().position, Position(n));
    assert_eq!(journal.range(all(0)).await.unwrap().len() as u64, n);
}

#[tokio::test]
async fn a_forgotten_device_leaves_nothing_and_its_series_numbers_are_not_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path(), 1 << 30);
    let lane = journal.open_lane(LANE).await.unwrap();
    let stream = new_stream(&journal, lane.fence).await;
    let rows = (0..25_000).map(|n| row(n, vec![(4, Value::I64(n))])).collect();
    let stored = batch(vec![series(4, "t", ValueType::I64)], vec![report(stream, 1, rows)]);
    journal.append(LANE, lane.fence, stored).await.unwrap();
    journal.forget_device(DEVICE).await.unwrap();
    assert!(journal.range(all(4)).await.unwrap().is_empty());
    let again = journal.open_lane(LANE).await.unwrap();
    assert!(again.series.is_empty() && again.streams.is_empty() && again.accounting.is_empty());
    assert_eq!(again.next_series, SeriesKey(5));
}

#[tokio::test]
async fn ranges_buckets_and_snapshots_agree() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path(), 1 << 30);
    let lane = journal.open_lane(LANE).await.unwrap();
    let stream = new_stream(&journal, lane.fence).await;
    let rows = (0..100).map(|n| row(n * 10, vec![(0, Value::F64(n as f64)), (1, Value::I64(n))])).collect();
    let known = vec![series(0, "a", ValueType::F64), series(1, "b", ValueType::I64)];
    journal.append(LANE, lane.fence, batch(known, vec![report(stream, 1, rows)])).await.unwrap();

    let part = RangeQuery { from_us: 100, to_us: 200, ..all(0) };
    assert_eq!(journal.range(part).await.unwrap().len(), 10);
    assert_eq!(journal.range(RangeQuery { limit: 3, ..part }).await.unwrap().len(), 3);
    let buckets = BucketQuery { range: part, step_us: 50, aggregates: vec![Aggregate::Max] };
    let buckets = journal.buckets(buckets).await.unwrap();
    let bucket = |start_us, value| Bucket { start_us, values: vec![Some(Value::F64(value))] };
    assert_eq!(buckets, [bucket(100, 14.0), bucket(150, 19.0)]);
    let both = vec![SeriesKey(0), SeriesKey(1)];
    let newest = SnapshotQuery { series: both.clone(), from_us: None, samples_max: 100 };
    let newest = journal.snapshot(newest).await.unwrap();
    assert_eq!(newest.position, Position(1));
    assert_eq!(newest.samples[1].1, [Sample { time_us: 990, value: Value::I64(99) }]);
    let cut = SnapshotQuery { series: both, from_us: Some(500), samples_max: 20 };
    let cut = journal.snapshot(cut).await.unwrap();
    assert!(cut.cut);
    let times: Vec<i64> = cut.samples[0].1.iter().map(|s| s.time_us).collect();
    assert_eq!(times, (90..100).map(|n| n * 10).collect::<Vec<_>>());
}

#[tokio::test]
async fn records_that_a_reader_holds_are_kept_up_to_a_bound_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        retain_bytes: 2_000,
        hold_bytes: 20_000,
        unsealed_bytes: 0,
        ..StoreOptions::new(folder.path().to_path_buf())
    };
    let journal = TelemetryStore::open(options, Duration::from_secs(30)).unwrap();
    let lane = journal.open_lane(LANE).await.unwrap();
    let stream = new_stream(&journal, lane.fence).await;
    let temp = series(1, "temp", ValueType::F64);
    let mut sequence = 0;
    let mut append = async |records: u64| {
        for _ in 0..records {
            sequence += 1;
            let rows =
                (0..50).map(|i| row(i64::try_from(sequence * 100 + i).unwrap(), vec![(1, Value::F64(0.1))])).collect();
            let batch = batch(vec![temp.clone()], vec![report(stream, sequence, rows)]);
            journal.append(LANE, lane.fence, batch).await.unwrap();
        }
    };
    let first = async || journal.read(LANE, Position(0), 1).await.unwrap().first().unwrap().position.0;
    journal.hold(Position(0));
    append(10).await;
    assert_eq!(first().await, 1, "nothing that is held goes while there is room for it");
    journal.hold(Position(5));
    // What the reader has passed goes, once its samples are sealed, and nothing beyond.
    let mut appended = 10;
    while first().await < 6 {
        append(1).await;
        appended += 1;
        assert!(appended < 20, "{appended} records are within the bound");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(first().await, 6);
    // Above the bound of its own it goes all the same.
    while first().await == 6 {
        append(1).await;
        appended += 1;
        assert!(appended < 100_000, "no record ever goes");
    }
}
