//! Random histories against a plain map: whatever is appended in whatever order, sealed, merged, rolled up, and however often
//! the store is opened anew, every query answers what the map answers, bit for bit.

use proptest::prelude::*;
use pulsewire_core::accounting::Accounting;
use pulsewire_core::aggregate::{Aggregate, Buckets, HOUR_US, MINUTE_US};
use pulsewire_core::batch::Batch;
use pulsewire_core::block::{Block, ReportHead, SeriesSet, ValueRef};
use pulsewire_core::ids::{DeviceKey, Fence, Lane, MetricName, Sequence, SeriesKey, StreamId};
use pulsewire_core::sample::{ReportKind, Series};
use pulsewire_core::value::{Value, ValueType};
use pulsewire_engine::{
    BucketQuery, Command, Keeper, Outcome, RangeQuery, Reader, SnapshotQuery, Step, Store, StoreOptions, StreamRequest,
    Synchronous, Writer,
};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

const LANE: Lane = Lane(0);

/// Metric sets: two devices; the first declares its metrics in three sets that share some.
fn sets() -> Vec<Arc<SeriesSet>> {
    let set = |device, series: &[u32]| {
        let types = [ValueType::F64, ValueType::F32, ValueType::I64, ValueType::Bool, ValueType::Text, ValueType::F64];
        Arc::new(SeriesSet {
            device: DeviceKey(device),
            series: series.iter().map(|s| SeriesKey(*s)).collect(),
            types: series.iter().map(|s| types[*s as usize % types.len()]).collect(),
        })
    };
    vec![set(1, &[0, 1, 2, 3, 4]), set(1, &[0, 4]), set(1, &[5, 2]), set(2, &[6, 7])]
}

const SERIES: u32 = 8;

/// One write: which set, then rows of (time step, cells).
type Rows = Vec<(i64, Vec<Option<u64>>)>;

#[derive(Debug, Clone)]
enum Act {
    Append {
        set: usize,
        scale: i64,
        rows: Rows,
    },
    Seal,
    /// The keeper's own steps, at a wall clock far ahead so that everything is due.
    Keep(u8),
    Reopen,
    Check {
        series: u32,
        from: i64,
        to: i64,
        step: i64,
        limit: usize,
    },
    Snapshot {
        from: Option<i64>,
        most: usize,
    },
}

fn cell() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![6 => (0u64..50).prop_map(Some), 1 => any::<u64>().prop_map(Some), 2 => Just(None)]
}

fn act() -> impl Strategy<Value = Act> {
    let rows = proptest::collection::vec((0i64..400, proptest::collection::vec(cell(), 5)), 1..25);
    let scale = proptest::sample::select(vec![1i64, 1_000, 1_000_000, 30 * MINUTE_US, 5 * HOUR_US]);
    let step = proptest::sample::select(vec![7i64, 900_000, MINUTE_US, 10 * MINUTE_US, HOUR_US, 24 * HOUR_US]);
    let check = (0..SERIES, 0i64..400, 0i64..400, step, prop_oneof![Just(1usize), Just(7), Just(100_000)]);
    prop_oneof![
        8 => (0usize..4, scale, rows).prop_map(|(set, scale, rows)| Act::Append { set, scale, rows }),
        2 => Just(Act::Seal),
        2 => (1u8..20).prop_map(Act::Keep),
        1 => Just(Act::Reopen),
        3 => check.prop_map(|(series, from, to, step, limit)| Act::Check { series, from, to, step, limit }),
        1 => (proptest::option::of(0i64..400), 1usize..60).prop_map(|(from, most)| Act::Snapshot { from, most }),
    ]
}

struct World {
    writer: Writer,
    keeper: Keeper,
    reader: Reader,
    fence: Fence,
    sequences: HashMap<u32, u64>,
    streams: HashMap<u32, StreamId>,
    now_us: i64,
    samples: BTreeMap<(u32, i64), Value>,
    accounts: HashMap<u32, Accounting>,
    replaced: u64,
}

fn options(folder: &Path) -> StoreOptions {
    // Small enough that all of it happens.
    // And without syncs: what a crash leaves is another test's subject.
    let synchronous = Synchronous::Off;
    let options = StoreOptions::new(folder.into());
    StoreOptions { chunk_rows: 64, retain_bytes: 2_000, unsealed_bytes: 20_000, synchronous, ..options }
}

fn open(folder: &Path) -> (Writer, Keeper, Reader, Fence, pulsewire_engine::OpenedLane) {
    let (store, mut writer, keeper) = Store::open(options(folder)).expect("opens");
    let reader = store.reader().expect("opens");
    let Ok(Outcome::Lane(lane)) = writer.commit(&[Command::OpenLane(LANE)]).expect("commits").remove(0) else {
        panic!("a lane");
    };
    (writer, keeper, reader, lane.fence, *lane)
}

impl World {
    fn new(folder: &Path) -> Self {
        let (mut writer, keeper, reader, fence, lane) = open(folder);
        assert_eq!(lane.position.0, 0);
        let mut streams = HashMap::new();
        for device in [1, 2] {
            let request = StreamRequest {
                lane: LANE,
                fence,
                device: DeviceKey(device),
                backlog: false,
                now_us: 1,
                streams_max: 4,
            };
            let Ok(Outcome::Stream(opened)) =
                writer.commit(&[Command::OpenStream(request)]).expect("commits").remove(0)
            else {
                panic!("a stream");
            };
            streams.insert(device, opened.stream);
        }
        let sets = sets();
        let series = sets.iter().flat_map(|set| {
            let columns = set.series.iter().zip(&set.types);
            let all: Vec<_> = columns
                .map(|(key, value_type)| {
                    let metric = MetricName::parse(&format!("m{key}")).expect("valid");
                    let (device, unit) = (set.device, String::new());
                    Arc::new(Series { key: *key, device, metric, unit, value_type: *value_type })
                })
                .collect();
            all
        });
        let batch = Batch { series: series.collect(), ..Batch::default() };
        writer.commit(&[Command::Append { lane: LANE, fence, batch: Arc::new(batch) }]).expect("commits");
        Self {
            writer,
            keeper,
            reader,
            fence,
            sequences: HashMap::new(),
            streams,
            now_us: 1_000,
            samples: BTreeMap::new(),
            accounts: HashMap::new(),
            replaced: 0,
        }
    }

    fn append(&mut self, set: usize, scale: i64, rows: &Rows) {
        let set = sets()[set].clone();
        let mut block = Block::new(set.clone());
        let sequence = self.sequences.entry(set.device.0).or_default();
        *sequence += 1;
        let mut stored = 0;
        for (time, cells) in rows {
            let time_us = time * scale;
            block.rows.begin_row(time_us);
            for (column, value_type) in set.types.iter().enumerate() {
                let value = cells[column % cells.len()].map(|cell| value_of(*value_type, cell));
                block.rows.push_value(value.as_ref().map(as_ref));
                if let Some(value) = value {
                    stored += 1;
                    if self.samples.insert((set.series[column].0, time_us), value).is_some() {
                        self.replaced += 1;
                    }
                }
            }
        }
        block.reports.push(ReportHead {
            stream: self.streams[&set.device.0],
            sequence: Sequence(*sequence),
            digest: *sequence,
            kind: ReportKind::Live,
            rows: rows.len() as u32,
        });
        let account = Accounting { reports: 1, received: stored, stored, ..Accounting::default() };
        self.accounts.entry(set.device.0).or_default().add(&account);
        self.now_us += 1;
        let batch = Batch {
            received_us: self.now_us,
            blocks: vec![block],
            series: Vec::new(),
            accounting: vec![(set.device, account)],
        };
        let append = Command::Append { lane: LANE, fence: self.fence, batch: Arc::new(batch) };
        self.writer.commit(&[append]).expect("commits").remove(0).expect("is stored");
    }

    fn reopen(&mut self, folder: &Path) {
        // The old ones go first: a file has one writer.
        let scratch = tempfile::tempdir().expect("a folder");
        let (writer, keeper, reader, _, _) = open(scratch.path());
        drop(std::mem::replace(&mut self.reader, reader));
        drop(std::mem::replace(&mut self.writer, writer));
        drop(std::mem::replace(&mut self.keeper, keeper));
        let (writer, keeper, reader, fence, lane) = open(folder);
        for position in lane.streams {
            let expected = self.sequences.get(&position.device.0).copied().unwrap_or(0);
            assert_eq!(position.sequence.0, expected, "device {}", position.device);
        }
        for (device, account) in lane.accounting {
            let expected = self.accounts.get(&device.0).copied().unwrap_or_default();
            let found = Accounting { replaced: 0, ..account };
            assert_eq!(found, expected, "device {device}");
        }
        (self.writer, self.keeper, self.reader, self.fence) = (writer, keeper, reader, fence);
    }

    fn check(&mut self, series: u32, from_us: i64, to_us: i64, step_us: i64, limit: usize) {
        let range = RangeQuery { series: SeriesKey(series), from_us, to_us, limit };
        let expected: Vec<(i64, &Value)> = if from_us < to_us {
            self.samples.range((series, from_us)..(series, to_us)).map(|((_, time), value)| (*time, value)).collect()
        } else {
            Vec::new()
        };
        let found = self.reader.range(&range).expect("reads");
        assert_eq!(found.len(), expected.len().min(limit), "series {series} from {from_us} to {to_us}");
        for (sample, (time, value)) in found.iter().zip(&expected) {
            assert!(sample.time_us == *time && sample.value.same_bits(value), "{sample:?} is {value:?} at {time}");
        }
        let aggregates = if step_us % 7 == 0 { Aggregate::ALL.to_vec() } else { Aggregate::ALL[..7].to_vec() };
        let mut model = Buckets::new(step_us, &aggregates);
        expected.iter().for_each(|(time, value)| model.push(*time, as_ref(value)));
        let mut model = model.finish();
        model.truncate(limit);
        let found = self.reader.buckets(&BucketQuery { range, step_us, aggregates }).expect("reads");
        assert_eq!(bits(&found), bits(&model), "series {series} from {from_us} to {to_us} by {step_us}");
    }

    fn snapshot(&mut self, from_us: Option<i64>, most: usize) {
        let series: Vec<SeriesKey> = (0..SERIES).map(SeriesKey).collect();
        let latest = self.reader.latest(&series).expect("reads");
        for (series, found) in (0..SERIES).zip(latest) {
            let newest = self.samples.range((series, i64::MIN)..=(series, i64::MAX)).next_back();
            let same = match (&found, newest) {
                (Some(found), Some(((_, time), value))) => found.time_us == *time && found.value.same_bits(value),
                (None, None) => true,
                _ => false,
            };
            assert!(same, "series {series}: {found:?} is {newest:?}");
        }
        let query = SnapshotQuery { series, from_us, samples_max: most };
        let found: HashMap<u32, Vec<_>> =
            self.reader.snapshot(&query).expect("reads").samples.into_iter().map(|(s, all)| (s.0, all)).collect();
        let share = (most / SERIES as usize).max(1);
        for series in 0..SERIES {
            let from = from_us.unwrap_or(i64::MIN);
            let all: Vec<_> = self.samples.range((series, from)..=(series, i64::MAX)).collect();
            let count = if from_us.is_some() { share } else { 1 };
            let newest = &all[all.len().saturating_sub(count)..];
            let found = found.get(&series).map_or(&[][..], |all| all);
            assert_eq!(found.len(), newest.len(), "series {series} from {from_us:?}");
            for (sample, ((_, time), value)) in found.iter().zip(newest) {
                assert!(sample.time_us == *time && sample.value.same_bits(value), "{sample:?} is {value:?} at {time}");
            }
        }
    }
}

fn value_of(value_type: ValueType, cell: u64) -> Value {
    match value_type {
        ValueType::F64 => Value::F64(f64::from_bits(if cell < 50 { (cell as f64 / 10.0).to_bits() } else { cell })),
        ValueType::F32 => Value::F64(f64::from(cell as f32)),
        ValueType::I64 => Value::I64(cell.cast_signed()),
        ValueType::Bool => Value::Bool(cell % 2 == 1),
        ValueType::Text => Value::Text(format!("t{}", cell % 100).into()),
    }
}

fn as_ref(value: &Value) -> ValueRef<'_> {
    match value {
        Value::F64(v) => ValueRef::F64(*v),
        Value::I64(v) => ValueRef::I64(*v),
        Value::Bool(v) => ValueRef::Bool(*v),
        Value::Text(v) => ValueRef::Text(v),
    }
}

fn bits(buckets: &[pulsewire_engine::Bucket]) -> Vec<(i64, Vec<String>)> {
    let text = |value: &Option<Value>| match value {
        // A NaN that came out of adding has no defined bits.
        Some(Value::F64(v)) if v.is_nan() => "nan".to_owned(),
        Some(Value::F64(v)) => format!("{:x}", v.to_bits()),
        other => format!("{other:?}"),
    };
    buckets.iter().map(|bucket| (bucket.start_us, bucket.values.iter().map(text).collect())).collect()
}

fn run(acts: &[Act]) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut world = World::new(folder.path());
    let far = 400 * 24 * HOUR_US;
    let mut scales = vec![1];
    for act in acts {
        match act {
            Act::Append { set, scale, rows } => {
                scales.push(*scale);
                world.append(*set, *scale, rows);
            }
            Act::Seal => world.keeper.seal_all().expect("seals"),
            Act::Keep(steps) => {
                for n in 0..*steps {
                    let step = world.keeper.step(far + i64::from(n) * 100_000_000).expect("keeps");
                    if step == Step::Nothing {
                        break;
                    }
                }
            }
            Act::Reopen => world.reopen(folder.path()),
            Act::Check { series, from, to, step, limit } => {
                for scale in scales.clone() {
                    world.check(*series, from * scale, to * scale, *step, *limit);
                }
            }
            Act::Snapshot { from, most } => world.snapshot(from.map(|from| from * scales[scales.len() - 1]), *most),
        }
    }
    for series in 0..SERIES {
        world.check(series, i64::MIN, i64::MAX, HOUR_US, usize::MAX);
    }
    world.keeper.seal_all().expect("seals");
    while world.keeper.step(far).expect("keeps") != Step::Nothing {}
    world.reopen(folder.path());
    for series in 0..SERIES {
        world.check(series, i64::MIN, i64::MAX, 10 * MINUTE_US, usize::MAX);
        world.check(series, i64::MIN, i64::MAX, HOUR_US, usize::MAX);
    }
    world.snapshot(None, 1);
}

/// A minute of a debug build; `PROPTEST_CASES` says otherwise.
fn cases() -> u32 {
    let default = ProptestConfig::default().cases;
    if std::env::var_os("PROPTEST_CASES").is_some() { default } else { 128 }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn every_query_answers_what_a_plain_map_answers(acts in proptest::collection::vec(act(), 1..40)) {
        run(&acts);
    }
}
