//! A day of a fleet, driven by a virtual clock: memory, journal and disk stay within their bounds.

use pulsewire_core::accounting::Accounting;
use pulsewire_core::batch::Batch;
use pulsewire_core::block::{Block, ReportHead, SeriesSet};
use pulsewire_core::ids::{DeviceKey, Fence, Lane, MetricName, Sequence, SeriesKey, StreamId};
use pulsewire_core::sample::{ReportKind, Series};
use pulsewire_core::value::ValueType;
use pulsewire_engine::{
    Command, Keep, Keeper, Outcome, Policy, RangeQuery, Step, Store, StoreOptions, StreamRequest, Synchronous, Writer,
};
use std::sync::Arc;
use std::time::Instant;

const LANE: Lane = Lane(0);
const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const METRICS: u32 = 10;
/// How often devices report: most seldom, a few every second.
const RATES_S: [i64; 8] = [300, 300, 60, 60, 60, 30, 10, 1];
/// A report of a fast device has the rows of so long.
const REPORT_S: i64 = 10;
const RAW_KEPT: i64 = 2 * HOUR;

struct Keeps;

impl Policy for Keeps {
    fn keep(&self, _: DeviceKey, _: SeriesKey) -> Keep {
        Keep { raw_us: Some(RAW_KEPT), minute_us: Some(RAW_KEPT), hour_us: Some(RAW_KEPT) }
    }
}

struct Device {
    set: Arc<SeriesSet>,
    rate_us: i64,
    next_us: i64,
    stream: StreamId,
    sequence: u64,
}

struct Fleet {
    writer: Writer,
    keeper: Keeper,
    store: Store,
    fence: Fence,
    devices: Vec<Device>,
    rows: u64,
    largest_batch: u64,
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

/// A value that moves as measurements do: slowly, with a little noise.
fn value(series: u32, time_us: i64) -> f64 {
    let noise = (time_us / SECOND * 2_654_435_761).rem_euclid(97) as f64 / 100.0;
    ((time_us / SECOND) as f64 / (600.0 + f64::from(series % 13) * 40.0))
        .sin()
        .mul_add(20.0, noise)
        .mul_add(10.0, 0.0)
        .round()
        / 10.0
}

impl Fleet {
    fn new(options: StoreOptions, count: u32) -> Self {
        let (store, mut writer, keeper) = Store::open(options).expect("opens");
        let Ok(Outcome::Lane(lane)) = writer.commit(&[Command::OpenLane(LANE)]).expect("commits").remove(0) else {
            panic!("a lane");
        };
        let fence = lane.fence;
        let mut devices = Vec::new();
        for n in 0..count {
            let device = DeviceKey(n + 1);
            let request = StreamRequest { lane: LANE, fence, device, backlog: false, now_us: 1, streams_max: 4 };
            let opened = writer.commit(&[Command::OpenStream(request)]).expect("commits").remove(0);
            let Ok(Outcome::Stream(opened)) = opened else { panic!("a stream") };
            let series: Vec<SeriesKey> = (n * METRICS..(n + 1) * METRICS).map(SeriesKey).collect();
            let declared = series.iter().map(|key| {
                let metric = MetricName::parse(&format!("m{key}")).expect("valid");
                Arc::new(Series { key: *key, device, metric, unit: String::new(), value_type: ValueType::F32 })
            });
            let batch = Batch { series: declared.collect(), ..Batch::default() };
            let append = Command::Append { lane: LANE, fence, batch: Arc::new(batch) };
            writer.commit(&[append]).expect("commits").remove(0).expect("is stored");
            let rate_us = RATES_S[n as usize % RATES_S.len()] * SECOND;
            let types = vec![ValueType::F32; METRICS as usize];
            devices.push(Device {
                set: Arc::new(SeriesSet { device, series, types }),
                rate_us,
                next_us: i64::from(n) * 1_013 % rate_us,
                stream: opened.stream,
                sequence: 0,
            });
        }
        Self { writer, keeper, store, fence, devices, rows: 0, largest_batch: 0 }
    }

    /// Everything that the devices report in a while, in one commit.
    fn pass(&mut self, from_us: i64, to_us: i64) {
        let mut batch = Batch { received_us: to_us, ..Batch::default() };
        let mut bytes = 0;
        for device in &mut self.devices {
            let mut block = Block::new(device.set.clone());
            while device.next_us < to_us {
                let time_us = device.next_us;
                let cells = device.set.series.iter().map(|s| f64::from(value(s.0, time_us) as f32).to_bits());
                block.rows.push_dense(time_us, cells);
                device.next_us += device.rate_us;
            }
            if block.rows.is_empty() {
                continue;
            }
            let per_report = (REPORT_S * SECOND / device.rate_us).max(1) as usize;
            for first in (0..block.rows.len()).step_by(per_report) {
                device.sequence += 1;
                let rows = per_report.min(block.rows.len() - first) as u32;
                let (stream, sequence) = (device.stream, Sequence(device.sequence));
                block.reports.push(ReportHead { stream, sequence, digest: 1, kind: ReportKind::Live, rows });
            }
            let stored = block.rows.count();
            let reports = block.reports.len() as u64;
            self.rows += block.rows.len() as u64;
            bytes += block.rows.bytes() as u64;
            batch
                .accounting
                .push((device.set.device, Accounting { reports, received: stored, stored, ..Accounting::default() }));
            batch.blocks.push(block);
        }
        assert!(from_us < to_us);
        self.largest_batch = self.largest_batch.max(bytes);
        let append = Command::Append { lane: LANE, fence: self.fence, batch: Arc::new(batch) };
        self.writer.commit(&[append]).expect("commits").remove(0).expect("is stored");
    }

    /// The keeper's turn.
    fn keep(&mut self, now_us: i64) {
        while self.keeper.step(now_us).expect("keeps") != Step::Nothing {}
    }
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    heads: u64,
    journal: u64,
    disk: u64,
    resident: u64,
}

/// Of everything seen in a part of the run.
fn most(seen: &[Seen], of: impl Fn(&Seen) -> u64) -> u64 {
    seen.iter().map(of).max().unwrap_or(0)
}

#[test]
fn a_day_of_a_fleet_stays_within_its_bounds() {
    let long = std::env::var_os("PULSEWIRE_LONG").is_some();
    let devices = if long { 300 } else { 32 };
    let heads_bytes = if long { 4 << 20 } else { 2 << 20 };
    let folder = tempfile::tempdir().expect("a folder");
    let (retain_bytes, unsealed_bytes) = (1 << 20, 8 << 20);
    let options = StoreOptions {
        heads_bytes,
        retain_bytes,
        unsealed_bytes,
        policy: Arc::new(Keeps),
        // Bounds are looked at here, not durability.
        synchronous: Synchronous::Off,
        ..StoreOptions::new(folder.path().into())
    };
    let mut fleet = Fleet::new(options, devices);
    let began = Instant::now();
    let mut seen: Vec<Seen> = Vec::new();
    let slice = MINUTE;
    for n in 0..24 * HOUR / slice {
        let (from_us, to_us) = (n * slice, (n + 1) * slice);
        fleet.pass(from_us, to_us);
        let heads = fleet.store.status().heads_bytes;
        fleet.keep(to_us);
        let status = fleet.store.status();
        let (journal, disk) = (status.journal_bytes, status.disk_bytes);
        seen.push(Seen { heads, journal, disk, resident: resident_bytes() });
    }
    println!("{devices} devices, {METRICS} metrics, 24 h in {:.1?}: {} rows", began.elapsed(), fleet.rows);
    println!("{:>10} {:>10} {:>10} {:>10} {:>10}", "quarter", "heads KB", "journal KB", "disk KB", "RSS KB");
    let quarters: Vec<&[Seen]> = seen.chunks(seen.len() / 4).collect();
    let row = |of: &dyn Fn(&Seen) -> u64| quarters.iter().map(|quarter| most(quarter, of)).collect::<Vec<_>>();
    let (heads, journal) = (row(&|s| s.heads), row(&|s| s.journal));
    let (disk, resident) = (row(&|s| s.disk), row(&|s| s.resident));
    for n in 0..4 {
        let kb = |bytes: u64| bytes / 1024;
        println!(
            "{:>10} {:>10} {:>10} {:>10} {:>10}",
            n + 1,
            kb(heads[n]),
            kb(journal[n]),
            kb(disk[n]),
            kb(resident[n])
        );
    }
    let budget = heads_bytes as u64 + fleet.largest_batch;
    assert!(heads.iter().all(|bytes| *bytes <= budget), "heads take {heads:?}, the budget is {budget}");
    let budget = retain_bytes + unsealed_bytes + 2 * fleet.largest_batch;
    assert!(journal.iter().all(|bytes| *bytes <= budget), "the journal takes {journal:?}, the budget is {budget}");
    assert!(disk[3] <= disk[1] * 5 / 4, "the disk grows though old samples go: {disk:?}");
    assert!(resident[3] <= resident[1] * 13 / 10, "memory grows: {resident:?}");
    // And the newest hour is all there.
    let mut reader = fleet.store.reader().expect("opens");
    for device in &fleet.devices {
        let series = device.set.series[3];
        let (from_us, to_us) = (23 * HOUR, 24 * HOUR);
        let query = RangeQuery { series, from_us, to_us, limit: usize::MAX };
        let found = reader.range(&query).expect("reads");
        assert_eq!(found.len() as i64, HOUR / device.rate_us, "series {series}");
        let right =
            |s: &pulsewire_core::sample::Sample| s.value.as_f64() == Some(f64::from(value(series.0, s.time_us) as f32));
        assert!(found.iter().all(right), "series {series}");
    }
}
