//! A small fleet at random work, and a plain map that says what must be stored.
#![allow(dead_code)] // not every test uses all of it

use pulsewire_core::accounting::Accounting;
use pulsewire_core::batch::Batch;
use pulsewire_core::block::{Block, ReportHead, SeriesSet, ValueRef};
use pulsewire_core::ids::{DeviceKey, Fence, Lane, MetricName, Position, Sequence, SeriesKey, StreamId};
use pulsewire_core::sample::{ReportKind, Series};
use pulsewire_core::value::{Value, ValueType};
use pulsewire_engine::{
    Command, Keeper, OpenedLane, Outcome, RangeQuery, Reader, Step, Store, StoreError, StoreOptions, StreamRequest,
    Writer,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub const LANE: Lane = Lane(0);
pub const SECOND: i64 = 1_000_000;
pub const HOUR: i64 = 3_600 * SECOND;
const STREAMS_MAX: usize = 3;
/// Series of a device, and how its metric sets are made of them: some series are in two sets.
const SERIES: u32 = 7;
const SETS: [&[u32]; 4] = [&[0, 1, 2, 3, 4], &[0, 4], &[5, 2], &[6]];
const TYPES: [ValueType; 7] =
    [ValueType::F64, ValueType::F32, ValueType::I64, ValueType::Bool, ValueType::Text, ValueType::F64, ValueType::F32];

/// Xorshift: the same seed, the same run.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n.max(1)
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}

/// What must be stored.
#[derive(Debug, Clone, Default)]
pub struct Model {
    pub head: Head,
    pub samples: BTreeMap<(u32, i64), Value>,
}

/// A commit that is under way: what would be stored with it.
struct After {
    head: Head,
    // None = removed.
    writes: BTreeMap<(u32, i64), Option<Value>>,
}

/// All but the samples.
#[derive(Debug, Clone, Default)]
pub struct Head {
    pub position: u64,
    pub devices: BTreeMap<u32, ModelDevice>,
    pub forgotten: BTreeSet<u32>,
    pub series: BTreeSet<u32>,
    pub next_series: u32,
    now_us: i64,
}

#[derive(Debug, Clone, Default)]
pub struct ModelDevice {
    /// By stream: sequence, and when it was used last.
    pub streams: BTreeMap<u32, (u64, i64)>,
    pub account: Accounting,
    first_series: u32,
    declared: bool,
    clock_us: i64,
}

impl Model {
    fn begin(&self) -> After {
        After { head: self.head.clone(), writes: BTreeMap::new() }
    }

    fn take(&mut self, after: After) {
        self.head = after.head;
        for (at, value) in after.writes {
            match value {
                Some(value) => drop(self.samples.insert(at, value)),
                None => drop(self.samples.remove(&at)),
            }
        }
    }
}

/// An open store and the model of what it has acknowledged.
pub struct World {
    pub store: Store,
    pub reader: Reader,
    pub writer: Writer,
    pub keeper: Keeper,
    pub fence: Fence,
    pub epoch: u64,
    pub model: Model,
    /// What would be stored too if the commit that failed last was durable after all.
    pub doubt: Option<Model>,
    pub random: Random,
    /// Samples older than this may be gone.
    pub kept_from_us: i64,
    /// Rows are this far apart.
    pub step_us: i64,
    /// Most rows of a block.
    pub rows_max: u64,
    /// Late and repeated times occur, and values of one series in two metric sets.
    pub disorder: bool,
}

pub struct Opened {
    store: Store,
    reader: Reader,
    writer: Writer,
    keeper: Keeper,
    lane: OpenedLane,
}

/// Opens a store and takes its lane.
pub fn open(options: StoreOptions) -> anyhow::Result<Opened> {
    let (store, mut writer, keeper) = Store::open(options)?;
    let reader = store.reader()?;
    let Outcome::Lane(lane) = writer.commit(&[Command::OpenLane(LANE)])?.remove(0)? else {
        anyhow::bail!("no lane");
    };
    Ok(Opened { store, reader, writer, keeper, lane: *lane })
}

impl World {
    pub fn open(options: StoreOptions, seed: u64) -> anyhow::Result<Self> {
        let Opened { store, reader, writer, keeper, lane } = open(options)?;
        let mut world = Self {
            store,
            reader,
            writer,
            keeper,
            fence: lane.fence,
            epoch: lane.epoch,
            model: Model {
                head: Head { now_us: 1_000, position: lane.position.0, ..Head::default() },
                ..Model::default()
            },
            doubt: None,
            random: Random::new(seed),
            kept_from_us: i64::MIN,
            step_us: SECOND,
            rows_max: 40,
            disorder: true,
        };
        for _ in 0..3 {
            world.add_device()?;
        }
        Ok(world)
    }

    /// What is left to go on with after the files were closed.
    pub fn close(self) -> Closed {
        let Self { model, doubt, random, epoch, kept_from_us, step_us, rows_max, disorder, .. } = self;
        Closed { model, doubt, random, epoch, kept_from_us, step_us, rows_max, disorder }
    }

    /// Runs commands; the model follows if they are acknowledged, and is in doubt if not.
    fn commit(&mut self, commands: &[Command], after: After) -> Result<(), StoreError> {
        match self.writer.commit(commands) {
            Ok(outcomes) => {
                for (command, outcome) in commands.iter().zip(outcomes) {
                    match (command, outcome.expect("the fence holds")) {
                        (Command::OpenStream(request), Outcome::Stream(opened)) => {
                            let streams = &after.head.devices[&request.device.0].streams;
                            assert!(streams.contains_key(&opened.stream.0), "{opened:?} is not what the model expects");
                        }
                        (Command::Append { .. }, Outcome::Appended(receipt)) => {
                            let range = self.model.head.position + 1..=after.head.position;
                            assert!(range.contains(&receipt.position.0), "{receipt:?}");
                        }
                        _ => {}
                    }
                }
                self.model.take(after);
                Ok(())
            }
            Err(error) => {
                let mut doubt = self.model.clone();
                doubt.take(after);
                self.doubt = Some(doubt);
                Err(error)
            }
        }
    }

    fn add_device(&mut self) -> Result<(), StoreError> {
        let mut after = self.model.begin();
        let known = after.head.devices.keys().chain(&after.head.forgotten).max().copied().unwrap_or(0);
        let first_series = after.head.devices.values().map(|d| d.first_series + SERIES).max().unwrap_or(0);
        let first_series = first_series.max(after.head.next_series);
        // Clocks differ between devices.
        let clock_us = 1_700_000_000 * SECOND + i64::from(known) * 17 * SECOND;
        let device = ModelDevice { first_series, clock_us, ..ModelDevice::default() };
        after.head.devices.insert(known + 1, device);
        let command = self.stream_command(&mut after, known + 1);
        self.commit(&[command], after)
    }

    fn stream_command(&mut self, after: &mut After, device: u32) -> Command {
        after.head.now_us += 1;
        let now_us = after.head.now_us;
        let streams = &mut after.head.devices.get_mut(&device).expect("is there").streams;
        let next = streams.keys().max().copied().unwrap_or(0) + 1;
        if streams.len() >= STREAMS_MAX {
            let oldest = streams.iter().map(|(id, (_, used_us))| (*used_us, *id)).min().expect("some").1;
            streams.remove(&oldest);
        }
        streams.insert(next, (0, now_us));
        Command::OpenStream(StreamRequest {
            lane: LANE,
            fence: self.fence,
            device: DeviceKey(device),
            backlog: false,
            now_us,
            streams_max: STREAMS_MAX,
        })
    }

    /// A batch for some devices, and what the model is with it.
    fn batch(&mut self, after: &mut After) -> Command {
        after.head.now_us += 1;
        after.head.position += 1;
        let mut batch = Batch { received_us: after.head.now_us, ..Batch::default() };
        let devices: Vec<u32> = after.head.devices.keys().copied().collect();
        for _ in 0..=self.random.below(3) {
            let device = self.random.one_of(&devices);
            self.block(after, device, &mut batch);
        }
        Command::Append { lane: LANE, fence: self.fence, batch: Arc::new(batch) }
    }

    fn block(&mut self, after: &mut After, key: u32, batch: &mut Batch) {
        let random = &mut self.random;
        let head = &mut after.head;
        let device = head.devices.get_mut(&key).expect("is there");
        let sets: &[&[u32]] = if self.disorder { &SETS } else { &SETS[2..] };
        let columns = random.one_of(sets);
        let series: Vec<SeriesKey> = columns.iter().map(|n| SeriesKey(device.first_series + n)).collect();
        let types: Vec<ValueType> = columns.iter().map(|n| TYPES[*n as usize]).collect();
        if !device.declared {
            device.declared = true;
            for n in 0..SERIES {
                let key_of = device.first_series + n;
                let metric = MetricName::parse(&format!("m{n}")).expect("valid");
                let (device, value_type) = (DeviceKey(key), TYPES[n as usize]);
                let one = Series { key: SeriesKey(key_of), device, metric, unit: "x".into(), value_type };
                batch.series.push(Arc::new(one));
                head.series.insert(key_of);
                head.next_series = head.next_series.max(key_of + 1);
            }
        }
        let set = Arc::new(SeriesSet { device: DeviceKey(key), series: series.clone(), types: types.clone() });
        let mut block = Block::new(set);
        let rows = 1 + random.below(self.rows_max);
        let (mut stored, mut values) = (0, Vec::new());
        for _ in 0..rows {
            let time_us = match random.below(10) {
                0 if self.disorder => device.clock_us - random.below(300).cast_signed() * self.step_us,
                1 if self.disorder => device.clock_us,
                _ => {
                    device.clock_us += self.step_us;
                    device.clock_us
                }
            };
            block.rows.begin_row(time_us);
            for (series, value_type) in series.iter().zip(&types) {
                let value = (random.below(6) > 0).then(|| value(*value_type, random));
                block.rows.push_value(value.as_ref().map(as_ref));
                if let Some(value) = value {
                    stored += 1;
                    values.push(((series.0, time_us), value));
                }
            }
        }
        let stream = random.one_of(&device.streams.keys().copied().collect::<Vec<_>>());
        let (sequence, used_us) = device.streams.get_mut(&stream).expect("is there");
        *sequence += 1;
        *used_us = head.now_us;
        let (stream, sequence) = (StreamId(stream), Sequence(*sequence));
        let digest = 1 + random.below(1 << 40);
        block.reports.push(ReportHead { stream, sequence, digest, kind: ReportKind::Live, rows: rows as u32 });
        let account = Accounting { reports: 1, received: stored + 2, stored, duplicate: 2, ..Accounting::default() };
        device.account.add(&account);
        for (at, value) in values {
            let known = after.writes.insert(at, Some(value)).is_some() || self.model.samples.contains_key(&at);
            device.account.replaced += u64::from(known);
        }
        batch.blocks.push(block);
        batch.accounting.push((DeviceKey(key), account));
    }

    /// Some batches in one commit.
    pub fn append(&mut self) -> Result<(), StoreError> {
        let mut after = self.model.begin();
        let commands: Vec<Command> = (0..=self.random.below(3)).map(|_| self.batch(&mut after)).collect();
        self.commit(&commands, after)
    }

    pub fn open_stream(&mut self) -> Result<(), StoreError> {
        let mut after = self.model.begin();
        let devices: Vec<u32> = after.head.devices.keys().copied().collect();
        let device = self.random.one_of(&devices);
        let command = self.stream_command(&mut after, device);
        self.commit(&[command], after)
    }

    /// A device goes and another comes.
    pub fn forget(&mut self) -> Result<(), StoreError> {
        let mut after = self.model.begin();
        let devices: Vec<u32> = after.head.devices.keys().copied().collect();
        let key = self.random.one_of(&devices);
        let device = after.head.devices.remove(&key).expect("is there");
        after.head.forgotten.insert(key);
        let mine = device.first_series..device.first_series + SERIES;
        let samples = self.model.samples.range((mine.start, i64::MIN)..(mine.end, i64::MIN));
        after.writes.extend(samples.map(|(at, _)| (*at, None)));
        after.head.series.retain(|series| !mine.contains(series));
        self.commit(&[Command::Forget(DeviceKey(key))], after)?;
        self.add_device()
    }

    /// Some of whatever a server does.
    pub fn work(&mut self) -> Result<(), StoreError> {
        match self.random.below(40) {
            0 => self.forget(),
            1 | 2 => self.open_stream(),
            3..=5 => self.keeper.seal_all(),
            6..=9 => {
                for _ in 0..self.random.below(6) {
                    self.step()?;
                }
                Ok(())
            }
            _ => self.append(),
        }
    }

    /// The wall clock as the keeper sees it: with the devices' own, and moving on with every call.
    pub fn wall_us(&mut self) -> i64 {
        self.model.head.now_us += 1;
        let devices = self.model.head.devices.values().map(|d| d.clock_us).max().unwrap_or(0);
        devices + self.model.head.now_us * 7 * SECOND
    }

    pub fn step(&mut self) -> Result<Step, StoreError> {
        let now_us = self.wall_us();
        self.keeper.step(now_us)
    }

    /// Seals and tidies until nothing is left to do.
    pub fn settle(&mut self) -> Result<(), StoreError> {
        self.keeper.seal_all()?;
        for _ in 0..3 {
            while self.step()? != Step::Nothing {}
            self.model.head.now_us += 20;
        }
        Ok(())
    }

    /// Every sample, sealed or not, and every account once all is sealed.
    pub fn verify(&mut self) -> Result<(), String> {
        let model = std::mem::take(&mut self.model);
        let found = verify_samples(&model, &mut self.reader, self.kept_from_us);
        self.model = model;
        found
    }
}

/// A world whose files are closed.
pub struct Closed {
    pub model: Model,
    pub doubt: Option<Model>,
    random: Random,
    pub epoch: u64,
    pub kept_from_us: i64,
    step_us: i64,
    rows_max: u64,
    disorder: bool,
}

impl Closed {
    /// Opens the files again and compares: what is there is what was acknowledged, or that and the one commit that failed.
    pub fn reopen(self, options: StoreOptions) -> Result<World, String> {
        let Opened { store, mut reader, writer, keeper, lane } =
            open(options).map_err(|error| format!("does not open again: {error:#}"))?;
        if lane.epoch != self.epoch {
            return Err("the epoch changed".into());
        }
        let check = |model: &Model, reader: &mut Reader| {
            verify_lane(model, &lane)?;
            verify_records(model, reader)?;
            verify_samples(model, reader, self.kept_from_us)
        };
        let model = match check(&self.model, &mut reader) {
            Ok(()) => self.model,
            Err(problem) => match self.doubt {
                Some(doubt) => match check(&doubt, &mut reader) {
                    Ok(()) => doubt,
                    Err(other) => return Err(format!("{problem}; nor with what was in doubt: {other}")),
                },
                None => return Err(problem),
            },
        };
        let Self { random, kept_from_us, step_us, rows_max, disorder, .. } = self;
        Ok(World {
            store,
            reader,
            writer,
            keeper,
            fence: lane.fence,
            epoch: lane.epoch,
            model,
            doubt: None,
            random,
            kept_from_us,
            step_us,
            rows_max,
            disorder,
        })
    }
}

fn verify_lane(model: &Model, lane: &OpenedLane) -> Result<(), String> {
    if lane.position.0 != model.head.position {
        return Err(format!("the newest record is {}, not {}", lane.position, model.head.position));
    }
    let found: BTreeSet<u32> = lane.series.iter().map(|series| series.key.0).collect();
    if found != model.head.series || lane.next_series.0 != model.head.next_series {
        return Err(format!("series are {found:?}, next {}, not {:?}", lane.next_series.0, model.head.series));
    }
    let found: BTreeSet<(u32, u32, u64)> =
        lane.streams.iter().map(|s| (s.device.0, s.stream.0, s.sequence.0)).collect();
    let streams = model.head.devices.iter().flat_map(|(key, device)| {
        device.streams.iter().map(|(stream, (sequence, _))| (*key, *stream, *sequence)).collect::<Vec<_>>()
    });
    let expected: BTreeSet<(u32, u32, u64)> = streams.collect();
    if found != expected {
        return Err(format!("streams are {found:?}, not {expected:?}"));
    }
    for (device, account) in &lane.accounting {
        let Some(expected) = model.head.devices.get(&device.0) else {
            return Err(format!("device {device} was forgotten and has an account"));
        };
        if !account.balances() {
            return Err(format!("the account of device {device} does not balance: {account:?}"));
        }
        // Replaced values are found when they are sealed.
        let (found, expected) =
            (Accounting { replaced: 0, ..*account }, Accounting { replaced: 0, ..expected.account });
        if found != expected {
            return Err(format!("the account of device {device} is {found:?}, not {expected:?}"));
        }
    }
    let accounts: BTreeSet<u32> = lane.accounting.iter().map(|(device, _)| device.0).collect();
    let missing = model.head.devices.iter().find(|(key, d)| !d.account.is_empty() && !accounts.contains(key));
    missing.map_or(Ok(()), |(key, _)| Err(format!("device {key} has no account")))
}

/// What is left of the journal is whole, and each report is in it once.
fn verify_records(model: &Model, reader: &Reader) -> Result<(), String> {
    let mut after = Position(0);
    let mut seen: BTreeSet<(u32, u32, u64)> = BTreeSet::new();
    loop {
        let records = reader.records(LANE, after, 100).map_err(|error| error.to_string())?;
        let Some(last) = records.last() else { break };
        if last.position <= after {
            return Err("positions do not grow".into());
        }
        after = last.position;
        for block in records.iter().flat_map(|record| &record.blocks) {
            for report in &block.reports {
                if !seen.insert((block.device().0, report.stream.0, report.sequence.0)) {
                    return Err(format!("report {} of stream {} is there twice", report.sequence, report.stream));
                }
            }
        }
    }
    if after.0 != model.head.position && model.head.position > 0 {
        return Err(format!("the journal ends at {after}, not at {}", model.head.position));
    }
    Ok(())
}

fn verify_samples(model: &Model, reader: &mut Reader, kept_from_us: i64) -> Result<(), String> {
    for series in 0..model.head.next_series {
        let query = RangeQuery { series: SeriesKey(series), from_us: i64::MIN, to_us: i64::MAX, limit: usize::MAX };
        let found = reader.range(&query).map_err(|error| format!("{error:?}"))?;
        if !found.is_sorted_by(|a, b| a.time_us < b.time_us) {
            return Err(format!("series {series}: times do not grow"));
        }
        let mut left = 0;
        for sample in &found {
            match model.samples.get(&(series, sample.time_us)) {
                Some(value) if value.same_bits(&sample.value) => left += usize::from(sample.time_us >= kept_from_us),
                other => return Err(format!("series {series}: {sample:?} is stored, {other:?} was sent")),
            }
        }
        let expected = model.samples.range((series, kept_from_us)..=(series, i64::MAX)).count();
        if left != expected {
            return Err(format!("series {series}: {left} samples are stored, {expected} were sent"));
        }
    }
    Ok(())
}

/// Accounts after everything was sealed: exactly as many values were replaced as are missing.
pub fn verify_accounts(model: &Model, lane: &OpenedLane) -> Result<(), String> {
    for (device, account) in &lane.accounting {
        let expected = model.head.devices.get(&device.0).map(|d| d.account).unwrap_or_default();
        if *account != expected {
            return Err(format!("the account of device {device} is {account:?}, not {expected:?}"));
        }
    }
    Ok(())
}

/// The account of every device, from a lane taken anew.
pub fn lane_of(world: &mut World) -> Result<OpenedLane, String> {
    let mut outcomes = world.writer.commit(&[Command::OpenLane(LANE)]).map_err(|error| error.to_string())?;
    match outcomes.remove(0) {
        Ok(Outcome::Lane(lane)) => {
            world.fence = lane.fence;
            Ok(*lane)
        }
        other => Err(format!("{other:?}")),
    }
}

fn value(value_type: ValueType, random: &mut Random) -> Value {
    let any = random.below(u64::MAX);
    match value_type {
        ValueType::F64 if any.is_multiple_of(4) => Value::F64(f64::from_bits(any)),
        ValueType::F64 => Value::F64((any % 1_000) as f64 / 10.0),
        ValueType::F32 => Value::F64(f64::from((any % 500) as f32 / 8.0)),
        ValueType::I64 => Value::I64((any % 1_000).cast_signed() - 500),
        ValueType::Bool => Value::Bool(any.is_multiple_of(2)),
        ValueType::Text => Value::Text(format!("t{}", any % 30).into()),
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
