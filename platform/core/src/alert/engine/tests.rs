//! What the engine keeps whatever happens: kills, backfill, clocks that are wrong, edits while nothing ran, storms.

mod edges;
mod properties;

use super::*;
use crate::alert::document::tests::authorship;
use crate::alert::document::{NoDataDocument, RuleDocument, ScopeDocument};
use crate::alert::{AlertKind, ResolvedReason, StepKind};
use crate::block::{ReportHead, SeriesSet, ValueRef};
use crate::ids::{DeviceId, GroupName, MetricName, Sequence, SeriesKey, StreamId};
use crate::sample::{ReportKind, Series};
use crate::ulid::Ulid;
use crate::value::ValueType;
use std::collections::BTreeMap;

pub(super) const S: i64 = 1_000_000;

pub(super) const LIMITS: EngineLimits = EngineLimits {
    gap_max_us: 900 * S,
    lateness_max_us: 3600 * S,
    ahead_max_us: 60 * S,
    alerts_per_rule_max: 1_000,
    group_silence_share: 0.5,
    group_silence_window_us: 60 * S,
};

/// The metrics of every device.
pub(super) const METRICS: [(&str, ValueType); 3] =
    [("temp", ValueType::F64), ("humidity", ValueType::F32), ("door", ValueType::Bool)];

/// Devices d1, d2, … with the same metrics; the odd ones in group `cellar`.
pub(super) struct Site {
    pub directory: Directory,
    pub catalogue: Catalogue,
    next: u128,
}

impl Site {
    pub fn new(devices: u32) -> Self {
        let device = |key: u32| Device {
            key: DeviceKey(key),
            id: DeviceId::parse(&format!("d{key}")).expect("valid"),
            name: format!("Device {key}"),
            tags: BTreeMap::new(),
            group: (key % 2 == 1).then(|| GroupName::parse("cellar").expect("valid")),
            profile: None,
            enabled: true,
            created_us: 0,
            last_seen_us: None,
            firmware: None,
        };
        let series = |key: u32, place: usize| Series {
            key: SeriesKey(key * 10 + place as u32),
            device: DeviceKey(key),
            metric: MetricName::parse(METRICS[place].0).expect("valid"),
            unit: String::new(),
            value_type: METRICS[place].1,
        };
        let all = (1..=devices).flat_map(|key| (0..METRICS.len()).map(move |place| series(key, place)));
        let catalogue = Catalogue::new(all.collect(), SeriesKey(devices * 10 + 10));
        Self { directory: Directory::new((1..=devices).map(device).collect()), catalogue, next: 0 }
    }

    /// Ids are numbers in the order in which they are asked for.
    pub fn with<R>(&mut self, now_us: i64, act: impl FnOnce(&mut World<'_>) -> R) -> R {
        let next = &mut self.next;
        let mut new_id = || {
            *next += 1;
            AlertId(Ulid::from_bytes(next.to_be_bytes()))
        };
        let (directory, catalogue) = (&self.directory, &self.catalogue);
        act(&mut World { directory, catalogue, now_us, new_id: &mut new_id })
    }

    pub fn engine(&mut self, rules: &[Rule]) -> Engine {
        self.with(0, |world| Engine::restore(LIMITS, rules.to_vec(), Vec::new(), Vec::new(), world).0)
    }

    /// Gives a record, and wakes the engine.
    pub fn give(&mut self, engine: &mut Engine, position: u64, now_us: i64, blocks: &[Block]) -> (Judged, Vec<Change>) {
        let mut changes = Vec::new();
        let judged = self.with(now_us, |world| {
            let judged = engine.apply(Position(position), now_us, blocks, world, &mut changes);
            while engine.wake(1_000, world, &mut changes) {}
            judged
        });
        (judged, changes)
    }

    pub fn wake(&mut self, engine: &mut Engine, now_us: i64) -> Vec<Change> {
        let mut changes = Vec::new();
        self.with(now_us, |world| while engine.wake(1_000, world, &mut changes) {});
        changes
    }
}

pub(super) fn rule(id: &str, document: &RuleDocument) -> Rule {
    let id = RuleId::parse(id).expect("valid");
    let document = RuleDocument { name: "Rule".into(), ..document.clone() };
    document.rule(crate::alert::Authorship { id, ..authorship() }).expect("a rule")
}

pub(super) fn hot() -> RuleDocument {
    RuleDocument { when: Some("temp > 80".into()), flapping: Some(false), ..RuleDocument::default() }
}

/// A report of one row: values by their place in [`METRICS`].
pub(super) fn report(device: u32, time_us: i64, values: &[(usize, f64)], kind: ReportKind) -> Block {
    let series = values.iter().map(|(place, _)| SeriesKey(device * 10 + *place as u32)).collect();
    let types: Vec<_> = values.iter().map(|(place, _)| METRICS[*place].1).collect();
    let mut block = Block::new(Arc::new(SeriesSet { device: DeviceKey(device), series, types: types.clone() }));
    block.reports.push(ReportHead { stream: StreamId(1), sequence: Sequence(1), digest: 0, kind, rows: 1 });
    block.rows.begin_row(time_us);
    for ((_, value), value_type) in values.iter().zip(types) {
        block.rows.push_value(Some(match value_type {
            ValueType::Bool => ValueRef::Bool(*value != 0.0),
            _ => ValueRef::F64(*value),
        }));
    }
    block
}

fn live(device: u32, second: i64, temp: f64) -> Block {
    report(device, second * S, &[(0, temp)], ReportKind::Live)
}

#[test]
fn a_sample_from_the_future_is_judged_as_of_its_arrival_and_does_not_make_the_present_late() {
    let mut site = Site::new(1);
    let mut engine = site.engine(&[rule("hot", &hot())]);
    let (_, changes) = site.give(&mut engine, 1, 1000 * S, &[live(1, 50_000, 90.0)]);
    assert_eq!((changes.len(), changes[0].alert.fired_us), (1, 1000 * S));
    let (judged, changes) = site.give(&mut engine, 2, 1001 * S, &[live(1, 1001, 70.0)]);
    assert_eq!((judged.late, changes.len()), (0, 1));
}

#[test]
fn what_is_too_far_behind_is_late_for_every_rule() {
    let mut site = Site::new(1);
    let mut engine =
        site.engine(&[rule("hot", &hot()), rule("patient", &RuleDocument { lateness: Some("10s".into()), ..hot() })]);
    site.give(&mut engine, 1, 10_000 * S, &[live(1, 10_000, 20.0)]);
    let (judged, changes) = site.give(&mut engine, 2, 10_001 * S, &[live(1, 6_399, 90.0)]);
    assert_eq!((judged, changes.len()), (Judged { samples: 2, late: 2 }, 0));
}

#[test]
fn a_record_that_is_given_again_is_not_judged_again() {
    let mut site = Site::new(1);
    let mut engine = site.engine(&[rule("hot", &hot())]);
    let record = [live(1, 1, 20.0), live(1, 2, 90.0)];
    assert_eq!(site.give(&mut engine, 5, 2 * S, &record).0.samples, 2, "both blocks of a record are judged");
    assert_eq!(site.give(&mut engine, 5, 2 * S, &record).0, Judged::default());
}

#[test]
fn a_journal_that_begins_anew_is_judged_from_its_first_record() {
    let mut site = Site::new(1);
    let rules = [rule("hot", &hot())];
    let mut engine = site.engine(&rules);
    let (_, changes) = site.give(&mut engine, 500, S, &[live(1, 1, 20.0)]);
    let mut stored = Stored::default();
    let keys = engine.take_dirty();
    stored.write(engine.states(&keys), &changes);
    let (mut engine, _) = stored.restore(&mut site, &rules, 2 * S);
    let keys = engine.take_dirty();
    engine.states(&keys);
    engine.positions_begin_anew();
    assert_eq!(engine.dirty(), 1);
    let (judged, changes) = site.give(&mut engine, 1, 3 * S, &[live(1, 3, 90.0)]);
    assert_eq!((judged.samples, changes.len()), (1, 1));
}

#[test]
fn what_begins_and_ends_within_one_report_is_an_alert() {
    let mut site = Site::new(1);
    let mut engine = site.engine(&[rule("hot", &hot())]);
    let mut block = live(1, 1, 20.0);
    for (second, temp) in [(2, 90.0), (3, 20.0), (4, 90.0)] {
        block.rows.begin_row(second * S);
        block.rows.push_value(Some(ValueRef::F64(temp)));
    }
    block.reports[0].rows = 4;
    let (_, changes) = site.give(&mut engine, 1, 4 * S, &[block]);
    let steps: Vec<_> = changes.iter().map(|change| change.step.kind).collect();
    assert_eq!(steps, [StepKind::Fired, StepKind::Resolved, StepKind::Fired]);
    assert_eq!((changes[0].alert.id, engine.open()), (changes[1].alert.id, 1));
}

#[test]
fn a_metric_that_becomes_an_f32_is_compared_as_one_from_then_on() {
    let mut site = Site::new(1);
    let humid = RuleDocument { when: Some("humidity > 21.7".into()), ..hot() };
    let mut engine = site.engine(&[rule("humid", &humid)]);
    let sent = f64::from(21.7_f32);
    let mut block = report(1, S, &[(1, sent)], ReportKind::Live);
    let set = SeriesSet { types: vec![ValueType::F64], ..(*block.set).clone() };
    block.set = Arc::new(set);
    assert_eq!(site.give(&mut engine, 1, S, &[block]).1.len(), 1, "as an f64 it is a little more than 21.7");
    let (_, changes) = site.give(&mut engine, 2, 2 * S, &[report(1, 2 * S, &[(1, sent)], ReportKind::Live)]);
    assert_eq!(changes[0].step.kind, StepKind::Resolved, "as an f32 it is not");
}

/// What is stored of an engine: as a store would keep it.
#[derive(Clone, Default)]
pub(super) struct Stored {
    pub states: BTreeMap<DeviceKey, Vec<u8>>,
    pub open: BTreeMap<AlertId, Alert>,
}

impl Stored {
    pub fn write(&mut self, states: Vec<DeviceState>, changes: &[Change]) {
        for (key, state) in states {
            match state {
                Some(bytes) => self.states.insert(key, bytes),
                None => self.states.remove(&key),
            };
        }
        for change in changes {
            match change.alert.is_open() {
                true => self.open.insert(change.alert.id, (*change.alert).clone()),
                false => self.open.remove(&change.alert.id),
            };
        }
    }

    pub fn restore(&self, site: &mut Site, rules: &[Rule], now_us: i64) -> (Engine, Vec<Change>) {
        let states = self.states.iter().map(|(key, bytes)| (*key, bytes.clone())).collect();
        let open = self.open.values().cloned().collect();
        let (engine, changes, damaged) =
            site.with(now_us, |world| Engine::restore(LIMITS, rules.to_vec(), states, open, world));
        assert_eq!(damaged, []);
        (engine, changes)
    }
}

#[test]
fn what_changed_while_nothing_ran_is_made_up_for_at_the_start() {
    let mut site = Site::new(2);
    let only = |id: &str| ScopeDocument { device: Some(id.into()), ..ScopeDocument::default() };
    let of = |document: &RuleDocument, version: u32| Rule { version, ..rule("hot", document) };
    let on = |id: &str| RuleDocument { scope: Some(only(id)), ..hot() };
    let mut engine = site.engine(&[of(&on("d1"), 1)]);
    let (_, changes) = site.give(&mut engine, 1, S, &[live(1, 1, 90.0)]);
    let mut stored = Stored::default();
    let keys = engine.take_dirty();
    stored.write(engine.states(&keys), &changes);
    let reasons = |site: &mut Site, rules: &[Rule]| {
        let (engine, changes) = stored.restore(site, rules, 10 * S);
        let left = engine.open();
        (changes.iter().map(|c| c.alert.resolved.map(|(_, reason)| reason)).collect::<Vec<_>>(), left)
    };
    assert_eq!(reasons(&mut site, &[of(&on("d1"), 1)]), (vec![], 1));
    assert_eq!(reasons(&mut site, &[of(&on("d2"), 2)]), (vec![Some(ResolvedReason::ScopeChanged)], 0));
    let disabled = RuleDocument { enabled: Some(false), ..on("d1") };
    assert_eq!(reasons(&mut site, &[of(&disabled, 2)]), (vec![Some(ResolvedReason::RuleDisabled)], 0));
    let higher = RuleDocument { when: Some("temp > 95".into()), ..on("d1") };
    assert_eq!(reasons(&mut site, &[of(&higher, 2)]), (vec![Some(ResolvedReason::RuleChanged)], 0));
    assert_eq!(reasons(&mut site, &[]), (vec![Some(ResolvedReason::RuleDeleted)], 0));
    site.directory.remove(DeviceKey(1));
    assert_eq!(reasons(&mut site, &[of(&on("d1"), 1)]), (vec![Some(ResolvedReason::DeviceDeleted)], 0));
}

fn silent(after: &str) -> RuleDocument {
    let no_data = NoDataDocument { after: Some(after.into()), then: Some("fire".into()), severity: None };
    RuleDocument { no_data: Some(no_data), ..hot() }
}

#[test]
fn devices_of_a_group_that_go_silent_together_are_told_as_one() {
    let mut site = Site::new(11);
    let mut engine = site.engine(&[rule("silent", &silent("60s"))]);
    // Six of the eleven are in the cellar; the others go on.
    for second in (0..=120).step_by(10) {
        let devices: Vec<u32> = (1..=11).filter(|device| device % 2 == 0 || second == 0).collect();
        let blocks: Vec<_> = devices.iter().map(|device| live(*device, second, 20.0)).collect();
        site.give(&mut engine, second as u64 + 1, second * S, &blocks);
    }
    let groups: Vec<_> = engine.alerts().filter(|alert| alert.kind == AlertKind::Group).cloned().collect();
    let [group] = &groups[..] else { panic!("{groups:?}") };
    assert_eq!((group.members, group.group.as_ref().map(GroupName::as_str)), (6, Some("cellar")));
    let members = engine.alerts().filter(|alert| alert.kind == AlertKind::NoData);
    assert_eq!(members.filter(|alert| alert.parent == Some(group.id)).count(), 6);
    // They come back one by one; the last one ends it.
    let mut ended = Vec::new();
    for (n, device) in [1, 3, 5, 7, 9, 11].into_iter().enumerate() {
        let (_, changes) = site.give(&mut engine, 200 + n as u64, 130 * S, &[live(device, 130, 20.0)]);
        ended.extend(changes.iter().filter(|c| !c.alert.is_open()).map(|c| (device, c.alert.kind)));
    }
    assert_eq!(
        ended.iter().filter(|(_, kind)| *kind == AlertKind::Group).collect::<Vec<_>>(),
        [&(11, AlertKind::Group)]
    );
    assert_eq!(engine.open(), 0);
}

#[test]
fn a_device_that_goes_silent_again_and_again_is_not_a_group() {
    let mut site = Site::new(3);
    let mut engine = site.engine(&[rule("silent", &silent("5s"))]);
    for (position, second) in [0, 10, 20, 30, 40].into_iter().enumerate() {
        site.give(&mut engine, position as u64 + 1, second * S, &[live(1, second, 20.0)]);
        site.wake(&mut engine, (second + 6) * S);
    }
    assert!(engine.alerts().all(|alert| alert.kind == AlertKind::NoData && alert.parent.is_none()));
    assert_eq!(engine.open(), 1);
}

#[test]
fn more_alerts_than_a_rule_may_have_are_counted_in_one_and_what_is_open_stays() {
    let mut site = Site::new(10);
    let limits = EngineLimits { alerts_per_rule_max: 3, ..LIMITS };
    let mut engine =
        site.with(0, |world| Engine::restore(limits, vec![rule("hot", &hot())], Vec::new(), Vec::new(), world).0);
    let all = |temp: f64, second: i64| (1..=10).map(|device| live(device, second, temp)).collect::<Vec<_>>();
    site.give(&mut engine, 1, S, &all(90.0, 1));
    let count = |engine: &Engine, kind| engine.alerts().filter(|alert| alert.kind == kind).count();
    assert_eq!((count(&engine, AlertKind::Condition), count(&engine, AlertKind::Overflow)), (3, 1));
    let overflow = engine.alerts().find(|alert| alert.kind == AlertKind::Overflow).cloned().expect("one");
    assert_eq!(overflow.members, 7);
    assert_eq!(engine.standings().values().map(|s| s.firing).sum::<usize>(), 10);
    site.give(&mut engine, 2, 2 * S, &all(20.0, 2));
    assert_eq!(engine.open(), 0);
    // There is room again.
    site.give(&mut engine, 3, 3 * S, &[live(9, 3, 90.0)]);
    assert_eq!((count(&engine, AlertKind::Condition), count(&engine, AlertKind::Overflow)), (1, 0));
}

#[test]
fn a_deadline_is_met_at_most_one_slot_late() {
    let mut site = Site::new(50);
    let mut engine = site.engine(&[rule("silent", &silent("60s"))]);
    for device in 1..=50u32 {
        let at_us = i64::from(device) * 37_123;
        site.give(&mut engine, u64::from(device), at_us, &[report(device, at_us, &[(0, 20.0)], ReportKind::Live)]);
    }
    let mut noticed = 0;
    while let Some(next_us) = engine.next_wake_us() {
        for change in site
            .wake(&mut engine, next_us)
            .iter()
            .filter(|c| c.step.kind == StepKind::Fired && c.alert.device.is_some())
        {
            let late_us = change.step.time_us - change.alert.fired_us;
            assert!((0..SLOT_US).contains(&late_us), "{late_us} µs late");
            assert_eq!(change.alert.fired_us - change.alert.started_us, 60 * S);
            noticed += 1;
        }
    }
    assert_eq!(noticed, 50);
}

#[test]
fn there_is_no_storm_of_silence_after_the_server_was_down() {
    let mut site = Site::new(20);
    let rules = [rule("silent", &silent("60s"))];
    let mut engine = site.engine(&rules);
    let all = |second: i64| (1..=20).map(|device| live(device, second, 20.0)).collect::<Vec<_>>();
    let (_, changes) = site.give(&mut engine, 1, S, &all(1));
    let mut stored = Stored::default();
    let keys = engine.take_dirty();
    stored.write(engine.states(&keys), &changes);
    // Down for an hour.
    let (mut engine, changes) = stored.restore(&mut site, &rules, 3600 * S);
    assert_eq!(changes, []);
    assert_eq!(site.wake(&mut engine, 3659 * S), []);
    let (_, changes) = site.give(&mut engine, 2, 3659 * S, &all(3659)[..19]);
    assert_eq!(changes, []);
    let silent: Vec<_> = site.wake(&mut engine, 3661 * S).iter().map(|c| c.alert.device_id.clone()).collect();
    assert_eq!(silent, ["d20"], "one is silent indeed");
}

#[test]
fn an_edit_while_it_runs_keeps_what_holds_and_a_deleted_rule_ends_its_alerts() {
    let mut site = Site::new(2);
    let mut engine = site.engine(&[rule("hot", &hot())]);
    site.give(&mut engine, 1, S, &[live(1, 1, 90.0), live(2, 1, 99.0)]);
    let higher = RuleDocument { when: Some("temp > 95".into()), ..hot() };
    let mut changes = Vec::new();
    let edited = Rule { version: 2, ..rule("hot", &higher) };
    site.with(2 * S, |world| engine.put_rule(edited, world, &mut changes)).expect("compiles");
    let ended: Vec<_> =
        changes.iter().map(|c| (c.alert.device_id.as_str(), c.alert.resolved.map(|(_, r)| r))).collect();
    assert_eq!(ended, [("d1", Some(ResolvedReason::RuleChanged))]);
    changes.clear();
    engine.delete_rule(&RuleId::parse("hot").expect("valid"), 3 * S, &mut changes);
    assert_eq!(changes[0].alert.resolved.map(|(_, reason)| reason), Some(ResolvedReason::RuleDeleted));
    assert_eq!((engine.open(), engine.rules().count()), (0, 0));
}

#[test]
fn a_message_has_the_values_at_the_moment_of_firing_also_of_samples_that_came_at_once() {
    let mut site = Site::new(1);
    let document = RuleDocument {
        when: Some("temp > 80 && humidity < 50".into()),
        message: "{{ value }} at {{ metric.humidity }} %".into(),
        flapping: Some(false),
        ..RuleDocument::default()
    };
    let mut engine = site.engine(&[rule("r", &document)]);
    let mut block = report(1, S, &[(0, 90.0), (1, 20.0)], ReportKind::Live);
    block.reports[0].rows = 3;
    for (at, temp, humidity) in [(2, 95.0, 30.0), (3, 10.0, 99.0)] {
        block.rows.begin_row(at * S);
        block.rows.push_value(Some(ValueRef::F64(temp)));
        block.rows.push_value(Some(ValueRef::F64(humidity)));
    }
    let (_, changes) = site.give(&mut engine, 1, 3 * S, &[block]);
    let kinds: Vec<_> = changes.iter().map(|change| change.step.kind).collect();
    assert_eq!(kinds, [StepKind::Fired, StepKind::Resolved]);
    assert!(changes.iter().all(|change| change.alert.text == "90 at 20 %"), "{:?}", changes[0].alert.text);
}
