//! What the engine keeps whatever happens: kills, backfill, clocks that are wrong, edits while nothing ran.

use super::engine::*;
use super::record::{Alert, ResolvedReason};
use super::rule::Rule;
use super::rule::tests::rule;
use super::rule::{Comparison, Scope};
use super::track::Track;
use crate::block::{Block, ReportHead, SeriesSet, ValueRef};
use crate::catalogue::Catalogue;
use crate::device::Device;
use crate::directory::Directory;
use crate::ids::{AlertId, DeviceKey, RuleId, SeriesKey};
use crate::ids::{DeviceId, MetricName, Sequence, StreamId};
use crate::sample::{ReportKind, Series};
use crate::ulid::Ulid;
use crate::value::ValueType;
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

const SECOND: i64 = 1_000_000;
const LIMITS: EngineLimits =
    EngineLimits { gap_max_us: 900 * SECOND, lateness_max_us: 60 * SECOND, ahead_max_us: 60 * SECOND };

/// Two devices, each with one metric.
struct Bench {
    directory: Directory,
    catalogue: Catalogue,
    next: u128,
}

impl Bench {
    fn new() -> Self {
        let device = |key: u32| Device {
            key: DeviceKey(key),
            id: DeviceId::parse(&format!("d{key}")).expect("valid"),
            name: format!("Device {key}"),
            tags: BTreeMap::new(),
            group: None,
            enabled: true,
            created_us: 0,
            last_seen_us: None,
            firmware: None,
        };
        let series = |key: u32| Series {
            key: SeriesKey(key),
            device: DeviceKey(key),
            metric: MetricName::parse("temp").expect("valid"),
            unit: "°C".into(),
            value_type: ValueType::F64,
        };
        let catalogue = Catalogue::new(vec![series(1), series(2)], SeriesKey(3));
        Self { directory: Directory::new(vec![device(1), device(2)]), catalogue, next: 0 }
    }

    /// Ids are numbers in the order in which they are asked for.
    fn with<R>(&mut self, act: impl FnOnce(&mut World<'_>) -> R) -> R {
        let next = &mut self.next;
        let mut new_id = || {
            *next += 1;
            AlertId(Ulid::from_bytes(next.to_be_bytes()))
        };
        let (directory, catalogue) = (&self.directory, &self.catalogue);
        act(&mut World { directory, catalogue, now_us: 0, new_id: &mut new_id })
    }
}

fn report(device: u32, time_us: i64, value: f64, kind: ReportKind) -> Block {
    let (device, series, types) = (DeviceKey(device), vec![SeriesKey(device)], vec![ValueType::F64]);
    let mut block = Block::new(Arc::new(SeriesSet { device, series, types }));
    block.reports.push(ReportHead { stream: StreamId(1), sequence: Sequence(1), digest: 0, kind, rows: 1 });
    block.rows.begin_row(time_us);
    block.rows.push_value(Some(ValueRef::F64(value)));
    block
}

/// What is stored of an engine.
#[derive(Clone, Default)]
struct Stored {
    tracks: HashMap<(RuleId, DeviceKey), Track<AlertId>>,
    watermarks: HashMap<DeviceKey, i64>,
    open: HashMap<AlertId, Alert>,
}

impl Stored {
    fn commit(&mut self, engine: &mut Engine, changes: &[Change]) {
        let dirty = engine.take_dirty();
        for (rule, device, track) in dirty.tracks {
            match track {
                Some(track) => self.tracks.insert((rule, device), track),
                None => self.tracks.remove(&(rule, device)),
            };
        }
        self.watermarks.extend(dirty.watermarks);
        for change in changes {
            match change.alert.is_open() {
                true => self.open.insert(change.alert.id, (*change.alert).clone()),
                false => self.open.remove(&change.alert.id),
            };
        }
    }

    fn restore(&self, rules: &[Rule], bench: &mut Bench) -> (Engine, Vec<Change>) {
        let tracks = self.tracks.iter().map(|((rule, device), track)| (rule.clone(), *device, *track)).collect();
        let watermarks = self.watermarks.iter().map(|(device, us)| (*device, *us)).collect();
        let open = self.open.values().cloned().collect();
        bench.with(|world| Engine::restore(LIMITS, rules.to_vec(), tracks, watermarks, open, world))
    }
}

/// Device, event time, end, bits of the value.
type Shown = (DeviceKey, i64, Option<(i64, ResolvedReason)>, u64);

/// A change without the ids, which differ between runs by how often an engine was killed.
fn shown(change: &Change) -> Shown {
    let alert = &change.alert;
    (alert.device, alert.fired_us, alert.resolved, alert.value.to_bits())
}

/// Judges reports in batches of one, killed (`true`: before its commit) as the schedule says.
fn run(rules: &[Rule], reports: &[Block], kills: &[bool]) -> Vec<Shown> {
    let (mut bench, mut stored, mut all) = (Bench::new(), Stored::default(), Vec::new());
    let (mut engine, _) = stored.restore(rules, &mut bench);
    for (i, one) in reports.iter().enumerate() {
        let killed = kills.get(i).copied().unwrap_or(false);
        for attempt in 0..=u8::from(killed) {
            let mut changes = Vec::new();
            bench.with(|world| engine.apply(one_arrival(one), std::slice::from_ref(one), world, &mut changes));
            if killed && attempt == 0 {
                let (again, made_up_for) = stored.restore(rules, &mut bench);
                assert!(made_up_for.is_empty(), "nothing is left to be made up for");
                engine = again;
                continue;
            }
            stored.commit(&mut engine, &changes);
            all.extend(changes.iter().map(shown));
        }
    }
    all
}

fn one_arrival(report: &Block) -> i64 {
    report.rows.times().first().copied().unwrap_or(0)
}

fn rules() -> Vec<Rule> {
    let mut second = rule(Comparison::Below, 65.0, 70.0, 0);
    second.id = RuleId::parse("low").expect("valid");
    vec![rule(Comparison::Above, 80.0, 75.0, 3 * SECOND), second]
}

proptest! {
    #[test]
    fn a_run_that_is_killed_at_any_moment_decides_as_one_that_is_not(
        samples in proptest::collection::vec((1u32..3, -5i64..5, 60.0..90.0f64), 1..80),
        kills in proptest::collection::vec(any::<bool>(), 80),
    ) {
        let mut now = 1000;
        let reports: Vec<_> = samples.iter().map(|(device, step, value)| {
            now += step;
            report(*device, now * SECOND, *value, ReportKind::Live)
        }).collect();
        prop_assert_eq!(run(&rules(), &reports, &[]), run(&rules(), &reports, &kills));
    }

    #[test]
    fn backfill_decides_nothing(samples in proptest::collection::vec((1u32..3, 0i64..100_000, 0.0..200.0f64), 1..80)) {
        let reports: Vec<_> = samples
            .iter()
            .map(|(device, second, value)| report(*device, second * SECOND, *value, ReportKind::Backfill))
            .collect();
        prop_assert_eq!(run(&rules(), &reports, &[]), vec![]);
    }
}

#[test]
fn a_sample_from_the_future_is_judged_as_of_its_arrival_and_does_not_make_the_present_late() {
    let (mut bench, mut changes) = (Bench::new(), Vec::new());
    let (mut engine, _) = Stored::default().restore(&[rule(Comparison::Above, 80.0, 80.0, 0)], &mut bench);
    let mut send = |engine: &mut Engine, time_us: i64, value: f64| {
        let reports = [report(1, time_us, value, ReportKind::Live)];
        bench.with(|world| engine.apply(1000 * SECOND, &reports, world, &mut changes)).late
    };
    assert_eq!(send(&mut engine, 50_000 * SECOND, 90.0), 0);
    assert_eq!(send(&mut engine, 1000 * SECOND, 70.0), 1, "the clamped time is 60 s ahead, and series never go back");
    assert_eq!(send(&mut engine, 1061 * SECOND, 70.0), 0);
    assert_eq!(changes.len(), 2);
}

#[test]
fn what_changed_while_nothing_ran_is_made_up_for_at_the_start() {
    let (mut bench, mut stored) = (Bench::new(), Stored::default());
    let only = |id: &str| Rule {
        scope: Scope::Devices(vec![DeviceId::parse(id).expect("valid")]),
        ..rule(Comparison::Above, 80.0, 80.0, 0)
    };
    let (mut engine, _) = stored.restore(&[only("d1")], &mut bench);
    let mut changes = Vec::new();
    let reports = [report(1, SECOND, 90.0, ReportKind::Live)];
    bench.with(|world| engine.apply(SECOND, &reports, world, &mut changes));
    stored.commit(&mut engine, &changes);
    let reasons = |rules: &[Rule], bench: &mut Bench| {
        let (_, changes) = stored.restore(rules, bench);
        changes.iter().map(|c| c.alert.resolved.map(|(_, reason)| reason)).collect::<Vec<_>>()
    };
    assert_eq!(reasons(&[only("d1")], &mut bench), []);
    assert_eq!(reasons(&[only("d2")], &mut bench), [Some(ResolvedReason::ScopeChanged)]);
    assert_eq!(reasons(&[Rule { enabled: false, ..only("d1") }], &mut bench), [Some(ResolvedReason::RuleDisabled)]);
    assert_eq!(
        reasons(&[Rule { threshold: 95.0, clear: 95.0, ..only("d1") }], &mut bench),
        [Some(ResolvedReason::RuleChanged)]
    );
    assert_eq!(reasons(&[], &mut bench), [Some(ResolvedReason::RuleDeleted)]);
    bench.directory.remove(DeviceKey(1));
    assert_eq!(reasons(&[only("d1")], &mut bench), [Some(ResolvedReason::DeviceDeleted)]);
}

#[test]
fn a_metric_that_becomes_an_f32_is_compared_as_one_from_then_on() {
    let (mut bench, mut changes) = (Bench::new(), Vec::new());
    let (mut engine, _) = Stored::default().restore(&[rule(Comparison::Above, 21.7, 21.7, 0)], &mut bench);
    let sent = f64::from(21.7_f32);
    let mut send = |engine: &mut Engine, bench: &mut Bench, second: i64| {
        let reports = [report(1, second * SECOND, sent, ReportKind::Live)];
        bench.with(|world| engine.apply(second * SECOND, &reports, world, &mut changes));
        changes.len()
    };
    assert_eq!(send(&mut engine, &mut bench, 1), 1, "as an f64 it is a little more than 21.7");
    let metric = MetricName::parse("temp").expect("valid");
    let series =
        Series { key: SeriesKey(1), device: DeviceKey(1), metric, unit: String::new(), value_type: ValueType::F32 };
    bench.catalogue = Catalogue::new(vec![series], SeriesKey(3));
    assert_eq!(send(&mut engine, &mut bench, 2), 2, "as an f32 it is not");
}
