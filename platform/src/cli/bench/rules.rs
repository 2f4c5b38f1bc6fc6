//! What judging costs, on one thread and without a disk.

use pulsewire_core::alert::{
    Authorship, Change, Engine, EngineLimits, NoDataDocument, Rule, RuleDocument, StepKind, World,
};
use pulsewire_core::block::{Block, ReportHead, SeriesSet, ValueRef};
use pulsewire_core::catalogue::Catalogue;
use pulsewire_core::device::Device;
use pulsewire_core::directory::Directory;
use pulsewire_core::ids::{
    AlertId, DeviceId, DeviceKey, MetricName, Position, RuleId, Sequence, SeriesKey, StreamId, UserName,
};
use pulsewire_core::sample::{ReportKind, Series};
use pulsewire_core::ulid::Ulid;
use pulsewire_core::value::ValueType;
use std::sync::Arc;
use std::time::Duration;

const S: i64 = 1_000_000;
/// Blocks that are given to the engine at once, as a journal record of a busy server has them.
const RECORD_BLOCKS: usize = 1_000;
/// Samples above the threshold come so many after each other.
const RUN_SAMPLES: i64 = 20;

/// What the rules look at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Shape {
    /// Each at a metric of its own; a row has all of them.
    MetricEach,
    /// All at the same metric; a row has one value.
    OneMetric,
}

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub shape: Shape,
    pub devices: u32,
    pub rules: u32,
    pub rows_per_block: i64,
    /// Of a thousand samples, so many are above the threshold.
    pub firing_permille: i64,
    pub time: Duration,
}

/// What came out.
#[derive(Debug, Clone)]
pub(super) struct Measured {
    pub samples: u64,
    pub judgements: u64,
    pub blocks: u64,
    pub changes: u64,
    pub seconds: f64,
    pub bytes_per_state: f64,
    pub states: usize,
}

struct Site {
    directory: Directory,
    catalogue: Catalogue,
    sets: Vec<Arc<SeriesSet>>,
    next: u128,
}

impl Site {
    fn new(devices: u32, metrics: u32) -> anyhow::Result<Self> {
        let id = |key: u32| DeviceId::parse(&format!("device-{key}"));
        let device = |key: u32| Ok(Device { name: format!("Device {key}"), ..Device::named(DeviceKey(key), id(key)?) });
        let names =
            (0..metrics).map(|metric| MetricName::parse(&format!("m{metric}"))).collect::<Result<Vec<_>, _>>()?;
        let series = |key: u32, (metric, name): (u32, &MetricName)| Series {
            key: SeriesKey(key * metrics + metric),
            device: DeviceKey(key),
            metric: name.clone(),
            unit: String::new(),
            value_type: ValueType::F64,
        };
        let all = (0..devices).flat_map(|key| (0..).zip(&names).map(move |metric| series(key, metric)));
        let set = |key: u32| {
            Arc::new(SeriesSet {
                device: DeviceKey(key),
                series: (0..metrics).map(|metric| SeriesKey(key * metrics + metric)).collect(),
                types: vec![ValueType::F64; metrics as usize],
            })
        };
        let devices_known = (0..devices).map(device).collect::<anyhow::Result<Vec<_>>>()?;
        Ok(Self {
            catalogue: Catalogue::new(all.collect(), SeriesKey(devices * metrics)),
            directory: Directory::new(devices_known),
            sets: (0..devices).map(set).collect(),
            next: 0,
        })
    }

    fn with<R>(&mut self, now_us: i64, act: impl FnOnce(&mut World<'_>) -> R) -> R {
        let next = &mut self.next;
        let mut new_id = || {
            *next += 1;
            AlertId(Ulid::from_bytes(next.to_be_bytes()))
        };
        let (directory, catalogue) = (&self.directory, &self.catalogue);
        act(&mut World { directory, catalogue, now_us, new_id: &mut new_id })
    }

    /// A block of a device; row n of it is its sample number `first + n`, one each second.
    fn block(&self, device: u32, first: i64, plan: &Plan, start_us: i64) -> Block {
        let set = &self.sets[device as usize];
        let width = set.series.len() as i64;
        let mut block = Block::new(set.clone());
        let rows = plan.rows_per_block;
        let head = ReportHead {
            stream: StreamId(1),
            sequence: Sequence(1),
            digest: 0,
            kind: ReportKind::Live,
            rows: u32::try_from(rows).unwrap_or(0),
        };
        block.reports.push(head);
        block.rows.reserve(rows as usize);
        for row in first..first + rows {
            block.rows.begin_row(start_us + row * S);
            for metric in 0..width {
                // Runs of high samples, at other times on each device and metric.
                let period =
                    if plan.firing_permille == 0 { i64::MAX } else { RUN_SAMPLES * 1000 / plan.firing_permille };
                let phase = (row + i64::from(device) * 7919 + metric * 104_729) % period;
                let high = plan.firing_permille > 0 && phase < RUN_SAMPLES;
                let value = if high { 90.0 } else { 20.0 + ((row * 31 + i64::from(device)) % 50) as f64 };
                block.rows.push_value(Some(ValueRef::F64(value)));
            }
        }
        block
    }
}

const LIMITS: EngineLimits = EngineLimits {
    gap_max_us: 900 * S,
    lateness_max_us: 3600 * S,
    ahead_max_us: 60 * S,
    alerts_per_rule_max: 1_000_000,
    group_silence_share: 0.5,
    group_silence_window_us: 60 * S,
};

fn rule(number: u32, metric: u32, threshold: f64, no_data: Option<&str>) -> anyhow::Result<Rule> {
    let document = RuleDocument {
        name: format!("Rule {number}"),
        when: Some(format!("m{metric} > {threshold}")),
        no_data: no_data.map(|after| NoDataDocument {
            after: Some(after.into()),
            then: Some("fire".into()),
            severity: None,
        }),
        ..RuleDocument::default()
    };
    let by = Authorship {
        id: RuleId::parse(&format!("rule-{number}"))?,
        version: 1,
        created_us: 0,
        updated_us: 0,
        updated_by: UserName::parse("bench")?,
    };
    Ok(document.rule(by)?)
}

/// Judges samples for a while.
pub(super) fn measure(plan: &Plan) -> anyhow::Result<Measured> {
    let metrics = if plan.shape == Shape::MetricEach { plan.rules } else { 1 };
    let mut site = Site::new(plan.devices, metrics)?;
    let rules: Vec<_> = (0..plan.rules)
        .map(|number| {
            let metric = if plan.shape == Shape::MetricEach { number } else { 0 };
            rule(number, metric, 80.0 + f64::from(number) / 10.0, None)
        })
        .collect::<anyhow::Result<_>>()?;
    let start_us = 1_000_000 * S;
    let mut engine = site.with(start_us, |world| Engine::restore(LIMITS, rules, Vec::new(), Vec::new(), world).0);
    let (mut position, mut first) = (0, 0);
    let mut changes: Vec<Change> = Vec::new();
    let (mut samples, mut blocks_given, mut changed, mut spent) = (0, 0, 0, Duration::ZERO);
    while spent < plan.time || first < 2 * plan.rows_per_block {
        // The first round makes the states.
        let warm = first >= plan.rows_per_block;
        for from in (0..plan.devices).step_by(RECORD_BLOCKS) {
            let to = (from + RECORD_BLOCKS as u32).min(plan.devices);
            let blocks: Vec<Block> = (from..to).map(|device| site.block(device, first, plan, start_us)).collect();
            let now_us = start_us + (first + plan.rows_per_block) * S;
            position += 1;
            let begun = cpu();
            let judged =
                site.with(now_us, |world| engine.apply(Position(position), now_us, &blocks, world, &mut changes));
            let took = cpu().saturating_sub(begun);
            if warm {
                spent += took;
                samples += judged.samples;
                blocks_given += blocks.len() as u64;
                changed += changes.len() as u64;
            }
            changes.clear();
        }
        first += plan.rows_per_block;
    }
    let (_, states, bytes) = engine.size();
    let of_sample = if plan.shape == Shape::MetricEach { 1 } else { u64::from(plan.rules) };
    Ok(Measured {
        samples: samples / of_sample,
        judgements: samples,
        blocks: blocks_given,
        changes: changed,
        seconds: spent.as_secs_f64(),
        bytes_per_state: bytes as f64 / states as f64,
        states,
    })
}

/// How late silence is noticed, in the server's time, and what noticing it costs.
#[derive(Debug, Clone)]
pub(super) struct Timers {
    pub noticed: usize,
    pub late_p50_us: i64,
    pub late_p99_us: i64,
    pub late_max_us: i64,
    pub ns_per_device: f64,
    pub ns_per_idle_wake: f64,
}

/// Silence of so many devices, in virtual time.
pub(super) fn timers(devices: u32) -> anyhow::Result<Timers> {
    let mut site = Site::new(devices, 1)?;
    let rules = vec![rule(0, 0, 80.0, Some("60s"))?];
    let start_us = 1_000_000 * S;
    let mut engine = site.with(start_us, |world| Engine::restore(LIMITS, rules, Vec::new(), Vec::new(), world).0);
    let plan = Plan {
        shape: Shape::OneMetric,
        devices,
        rules: 1,
        rows_per_block: 1,
        firing_permille: 0,
        time: Duration::ZERO,
    };
    let mut changes = Vec::new();
    // One after the other, spread over a second.
    for device in 0..devices {
        let at_us = start_us + i64::from(device) * S / i64::from(devices);
        let block = site.block(device, 0, &plan, at_us);
        site.with(at_us, |world| engine.apply(Position(u64::from(device) + 1), at_us, &[block], world, &mut changes));
    }
    changes.clear();
    let mut lates = Vec::with_capacity(devices as usize);
    let mut spent = Duration::ZERO;
    let (mut idle, mut idle_spent) = (0u32, Duration::ZERO);
    // As the server: it looks every ten milliseconds, or when something is due.
    let mut now_us = start_us;
    while lates.len() < devices as usize && now_us < start_us + 100 * S {
        now_us += 10_000;
        let begun = cpu();
        site.with(now_us, |world| while engine.wake(1_000, world, &mut changes) {});
        let took = cpu().saturating_sub(begun);
        if changes.is_empty() {
            idle += 1;
            idle_spent += took;
            continue;
        }
        spent += took;
        for change in changes.drain(..).filter(|change| change.step.kind == StepKind::Fired) {
            lates.push(change.step.time_us - change.alert.fired_us);
        }
    }
    lates.sort_unstable();
    let at = |share: f64| lates.get(((lates.len() as f64 - 1.0) * share) as usize).copied().unwrap_or(0);
    Ok(Timers {
        noticed: lates.len(),
        late_p50_us: at(0.5),
        late_p99_us: at(0.99),
        late_max_us: at(1.0),
        ns_per_device: spent.as_nanos() as f64 / f64::from(devices),
        ns_per_idle_wake: idle_spent.as_nanos() as f64 / f64::from(idle.max(1)),
    })
}

/// The processor time that this thread took.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
