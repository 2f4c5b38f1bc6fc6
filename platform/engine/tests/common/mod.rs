//! A store with one device and one series of numbers.
#![allow(dead_code)] // not every test uses all of it

use pulsewire_core::accounting::Accounting;
use pulsewire_core::aggregate::Aggregate;
use pulsewire_core::batch::Batch;
use pulsewire_core::block::{Block, ReportHead, SeriesSet};
use pulsewire_core::ids::{DeviceKey, Fence, Lane, MetricName, Sequence, SeriesKey, StreamId};
use pulsewire_core::sample::{ReportKind, Sample, Series};
use pulsewire_core::value::{Value, ValueType};
use pulsewire_engine::{
    Bucket, BucketQuery, Command, Keeper, Outcome, RangeQuery, Reader, Status, Step, Store, StoreOptions,
    StreamRequest, Writer,
};
use std::sync::Arc;

pub const MINUTE: i64 = 60_000_000;
pub const HOUR: i64 = 60 * MINUTE;
pub const LANE: Lane = Lane(0);
pub const DEVICE: DeviceKey = DeviceKey(1);
pub const SERIES: SeriesKey = SeriesKey(0);

pub struct Bench {
    pub store: Store,
    // Closed first: only a writer's connection can bring the WAL back into its file.
    pub reader: Reader,
    pub writer: Writer,
    pub keeper: Keeper,
    pub fence: Fence,
    pub epoch: u64,
    pub position: u64,
    pub sequence: u64,
    pub stream: StreamId,
    pub noise: bool,
    /// What the device declares.
    pub set: Arc<SeriesSet>,
}

/// Another set with the same series: as a number of single precision.
pub fn other_set() -> Arc<SeriesSet> {
    Arc::new(SeriesSet { device: DEVICE, series: vec![SERIES], types: vec![ValueType::F32] })
}

pub fn set() -> Arc<SeriesSet> {
    Arc::new(SeriesSet { device: DEVICE, series: vec![SERIES], types: vec![ValueType::F64] })
}

pub fn values(samples: &[Sample]) -> Vec<f64> {
    samples.iter().filter_map(|s| s.value.as_f64()).collect()
}

impl Bench {
    pub fn open(options: StoreOptions) -> Self {
        Self::try_open(options).expect("opens")
    }

    pub fn try_open(options: StoreOptions) -> anyhow::Result<Self> {
        let (store, mut writer, keeper) = Store::open(options)?;
        let reader = store.reader()?;
        let Ok(Outcome::Lane(lane)) = writer.commit(&[Command::OpenLane(LANE)])?.remove(0) else {
            anyhow::bail!("no lane");
        };
        let known = lane.streams.iter().find(|s| s.device == DEVICE).copied();
        let fence = lane.fence;
        let (stream, sequence) = match known {
            Some(known) => (known.stream, known.sequence.0),
            None => {
                let request =
                    StreamRequest { lane: LANE, fence, device: DEVICE, backlog: false, now_us: 1, streams_max: 4 };
                let Ok(Outcome::Stream(opened)) = writer.commit(&[Command::OpenStream(request)])?.remove(0) else {
                    anyhow::bail!("no stream");
                };
                (opened.stream, 0)
            }
        };
        if lane.series.is_empty() {
            let metric = MetricName::parse("v")?;
            let series =
                Series { key: SERIES, device: DEVICE, metric, unit: String::new(), value_type: ValueType::F64 };
            let batch = Batch { series: vec![Arc::new(series)], ..Batch::default() };
            writer.commit(&[Command::Append { lane: LANE, fence, batch: Arc::new(batch) }])?.remove(0)?;
        }
        let (epoch, position) = (lane.epoch, lane.position.0);
        Ok(Self { store, writer, keeper, reader, fence, epoch, position, sequence, stream, noise: false, set: set() })
    }

    /// The value at a time.
    pub fn value(&self, time_us: i64) -> f64 {
        if self.noise {
            // SplitMix64, as a number from 1 to 2.
            let mut z = (time_us as u64).wrapping_add(0x9E37_79B9_7F4A_7C15);
            z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
            return f64::from_bits((z ^ z >> 31) >> 12 | 0x3FF << 52);
        }
        ((time_us / 1_000) as f64 / 7_000.0).sin().mul_add(100.0, 0.5).round() / 10.0
    }

    /// A report of some rows.
    pub fn report(&mut self, times: &[i64]) -> Result<u64, pulsewire_engine::StoreError> {
        let mut block = Block::new(self.set.clone());
        for time in times {
            block.rows.begin_row(*time);
            block.rows.push_cell(self.value(*time).to_bits());
        }
        let sequence = self.sequence + 1;
        block.reports.push(ReportHead {
            stream: self.stream,
            sequence: Sequence(sequence),
            digest: sequence,
            kind: ReportKind::Live,
            rows: times.len() as u32,
        });
        let stored = times.len() as u64;
        let account = Accounting { reports: 1, received: stored, stored, ..Accounting::default() };
        let batch =
            Batch { received_us: 1, blocks: vec![block], accounting: vec![(DEVICE, account)], ..Batch::default() };
        self.writer.commit(&[Command::Append { lane: LANE, fence: self.fence, batch: Arc::new(batch) }])?.remove(0)?;
        self.sequence = sequence;
        Ok(sequence)
    }

    /// `count` rows from number `first` on, `step_us` apart, in reports of up to 1,000.
    pub fn append_every(&mut self, step_us: i64, first: i64, count: i64) {
        let times: Vec<i64> = (first..first + count).map(|n| n * step_us).collect();
        for some in times.chunks(1_000) {
            self.report(some).expect("is stored");
        }
    }

    pub fn range(&mut self, from_us: i64, to_us: i64) -> Vec<Sample> {
        let query = RangeQuery { series: SERIES, from_us, to_us, limit: usize::MAX };
        self.reader.range(&query).expect("reads")
    }

    pub fn buckets(&mut self, from_us: i64, to_us: i64, step_us: i64) -> Vec<Bucket> {
        let range = RangeQuery { series: SERIES, from_us, to_us, limit: usize::MAX };
        let aggregates = Aggregate::ALL[..7].to_vec();
        self.reader.buckets(&BucketQuery { range, step_us, aggregates }).expect("reads")
    }

    /// Lets the keeper do what it finds to do at a time of the wall clock.
    pub fn keep_at(&mut self, now_us: i64) {
        // Its looks are minutes apart; so are these.
        for round in 0..4 {
            while self.keeper.step(now_us + round * 100_000_000).expect("keeps") != Step::Nothing {}
        }
    }

    pub fn status(&self) -> Status {
        self.store.status()
    }
}

pub fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}
