//! How long a start and one-series queries take: ten million samples of ten thousand devices, one of which has a month at 1 Hz.
//!
//! `cargo run --release -p pulsewire-engine --example queries`. Times are of the engine alone, without HTTP; medians of 200.

use pulsewire_core::accounting::Accounting;
use pulsewire_core::aggregate::{Aggregate, HOUR_US};
use pulsewire_core::batch::Batch;
use pulsewire_core::block::{Block, ReportHead, SeriesSet};
use pulsewire_core::ids::{DeviceKey, Lane, MetricName, Sequence, SeriesKey, StreamId};
use pulsewire_core::sample::{ReportKind, Series};
use pulsewire_core::value::ValueType;
use pulsewire_engine::{BucketQuery, Command, Outcome, RangeQuery, Step, Store, StoreOptions};
use std::sync::Arc;
use std::time::{Duration, Instant};

type Failure = Box<dyn std::error::Error>;

const DEVICES: u32 = 10_000;
const DAYS: i64 = 30;
const SECOND: i64 = 1_000_000;

fn main() -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    fill(StoreOptions::new(folder.path().into()))?;
    let started = Instant::now();
    let (store, mut writer, _keeper) = Store::open(StoreOptions::new(folder.path().into()))?;
    writer.commit(&[Command::OpenLane(Lane(0))])?.remove(0)?;
    let start = started.elapsed();
    let mut reader = store.reader()?;
    let disk: u64 =
        ["data.db", "journal.db"].iter().map(|file| folder.path().join(file).metadata().map_or(0, |m| m.len())).sum();
    println!("start: {start:.0?}; {disk} bytes on disk");
    let end_us = DAYS * 24 * HOUR_US;
    let range = |from_us, to_us| RangeQuery { series: SeriesKey(0), from_us, to_us, limit: usize::MAX };
    let mut hour = 0;
    let raw = median(|| {
        hour = (hour + 37) % (DAYS * 24);
        Ok(reader.range(&range(hour * HOUR_US, (hour + 1) * HOUR_US))?.len())
    })?;
    println!("one hour at 1 Hz, samples: {}", shown(raw));
    for (name, step_us) in [("1 h", HOUR_US), ("44 min", 44 * 60 * SECOND), ("2592 s", 2_592 * SECOND)] {
        let aggregates = vec![Aggregate::Avg, Aggregate::Min, Aggregate::Max];
        let query = BucketQuery { range: range(0, end_us), step_us, aggregates };
        let time = median(|| Ok(reader.buckets(&query)?.len()))?;
        println!("{DAYS} days in buckets of {name}: {}", shown(time));
    }
    Ok(())
}

fn shown((p50, p99, rows): (Duration, Duration, usize)) -> String {
    format!("p50 {p50:.2?}, p99 {p99:.2?} ({rows} rows)")
}

fn median(mut run: impl FnMut() -> Result<usize, Failure>) -> Result<(Duration, Duration, usize), Failure> {
    let mut times = Vec::new();
    let mut rows = 0;
    for _ in 0..200 {
        let started = Instant::now();
        rows = run()?;
        times.push(started.elapsed());
    }
    times.sort();
    Ok((times[100], times[197], rows))
}

fn fill(options: StoreOptions) -> Result<(), Failure> {
    let lane = Lane(0);
    let (_store, mut writer, mut keeper) = Store::open(options)?;
    let Ok(Outcome::Lane(opened)) = writer.commit(&[Command::OpenLane(lane)])?.remove(0) else {
        return Err("no lane".into());
    };
    let mut send = |device: u32, first: i64, rows: i64| -> Result<(), Failure> {
        let key = DeviceKey(device + 1);
        let set = SeriesSet { device: key, series: vec![SeriesKey(device)], types: vec![ValueType::F64] };
        let mut block = Block::new(Arc::new(set));
        for row in first..first + rows {
            block.rows.begin_row(row * SECOND);
            let value = ((row as f64 / 600.0).sin() * 100.0 + f64::from(device % 7)).round() / 10.0;
            block.rows.push_cell(value.to_bits());
        }
        let head = ReportHead {
            stream: StreamId(1),
            sequence: Sequence(first.unsigned_abs() + 1),
            digest: 1,
            kind: ReportKind::Live,
            rows: u32::try_from(rows)?,
        };
        block.reports.push(head);
        let stored = rows.unsigned_abs();
        let account = Accounting { reports: 1, received: stored, stored, ..Accounting::default() };
        let metric = MetricName::parse("temperature")?;
        let series =
            Series { key: SeriesKey(device), device: key, metric, unit: "°C".into(), value_type: ValueType::F64 };
        let series = if first == 0 { vec![Arc::new(series)] } else { Vec::new() };
        let batch = Batch { received_us: 1, blocks: vec![block], series, accounting: vec![(key, account)] };
        writer.commit(&[Command::Append { lane, fence: opened.fence, batch: Arc::new(batch) }])?.remove(0)?;
        while let Step::Sealed(_) = keeper.step(0)? {}
        Ok(())
    };
    for part in 0..DAYS * 24 {
        send(0, part * 3_600, 3_600)?;
    }
    for device in 1..DEVICES {
        send(device, 0, 740)?;
    }
    keeper.seal_all()?;
    for round in 0..3 {
        while keeper.step(round * 100_000_000)? != Step::Nothing {}
    }
    Ok(())
}
