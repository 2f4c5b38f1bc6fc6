//! Any order within the lateness, any repeats, backfill and kills: the same alerts. And what runs live is what a trial finds.

use super::*;
use crate::alert::Event;
use crate::alert::compiled::Compiled;
use crate::alert::trial::{Logged, Trial, TrialLimits};
use proptest::prelude::*;

/// Rules of every kind but silence, which goes by arrival.
fn documents() -> Vec<(&'static str, RuleDocument)> {
    let when = |text: &str| RuleDocument { when: Some(text.into()), ..RuleDocument::default() };
    let some = |text: &str| Some(text.to_owned());
    vec![
        ("plain", RuleDocument { hold: some("3s"), ..when("temp > 60") }),
        (
            "cleared",
            RuleDocument {
                clear: Some(crate::alert::ClearDocument::Expression("temp < 30".into())),
                ..when("temp > 70")
            },
        ),
        ("kept", RuleDocument { keep_firing_for: some("7s"), reopen_window: some("20s"), ..when("temp > 50") }),
        ("two", RuleDocument { staleness: some("8s"), ..when("temp > 50 && humidity < 60") }),
        ("average", when("avg(temp, 10s) > 50 || max(humidity, 6s) > 90")),
        (
            "counted",
            RuleDocument { count: Some(crate::alert::CountDocument { at_least: 2, of: 3 }), ..when("temp > 50") },
        ),
        (
            "door",
            RuleDocument { mode: some("on_change"), hold: some("6s"), keep_firing_for: some("4s"), ..when("door") },
        ),
        ("missing", RuleDocument { hold: some("2s"), ..when("missing(humidity, 9s)") }),
        ("changed", when("changed(door, 5s) && temp > 20")),
    ]
}

fn rules(lateness: &str, flapping: bool) -> Vec<Rule> {
    let rule = |(id, document): (&str, RuleDocument)| {
        rule(id, &RuleDocument { lateness: Some(lateness.into()), flapping: Some(flapping), ..document })
    };
    documents().into_iter().map(rule).collect()
}

/// (device, second, metric, value), each (device, second, metric) once, by time.
type Samples = Vec<(u32, i64, usize, f64)>;

fn samples() -> impl Strategy<Value = Samples> {
    proptest::collection::btree_map((0i64..120, 1u32..3, 0usize..3), 0u8..=10, 1..150).prop_map(|samples| {
        let value = |place: usize, value: u8| if place == 2 { f64::from(value % 2) } else { f64::from(value) * 10.0 };
        samples.into_iter().map(|((at, device, place), v)| (device, at, place, value(place, v))).collect()
    })
}

/// A change without ids, revision and the server's time.
fn shown(change: &Change) -> Option<(String, String)> {
    let alert = &change.alert;
    let (kind, severity, value) = (change.step.kind, alert.severity.name(), alert.value);
    let text = match kind {
        StepKind::Fired | StepKind::Reopened => {
            let kind = if kind == StepKind::Fired { "fired" } else { "reopened" };
            format!("{kind} {} {severity} {}", alert.kind.name(), alert.fired_us)
        }
        StepKind::Level => format!("level {severity}"),
        StepKind::Resolved => format!("resolved {:?}", alert.resolved),
        other => other.name().to_owned(),
    };
    alert.device?;
    Some((format!("{} {}", alert.rule, alert.device_id), format!("{text} {}", value.to_bits())))
}

/// By rule and device, in order.
fn by_condition(changes: &[Change]) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (of, text) in changes.iter().filter_map(shown) {
        all.entry(of).or_default().push(text);
    }
    all
}

/// Gives samples with their arrival, in seconds; woken once a second, and at the end long after.
fn run(rules: &[Rule], arrivals: &[(i64, Block)]) -> Vec<Change> {
    let mut site = Site::new(2);
    let mut engine = site.engine(rules);
    let (mut all, mut now) = (Vec::new(), -1);
    for (position, (arrival, block)) in arrivals.iter().enumerate() {
        while now < arrival - 1 {
            now += 1;
            all.extend(site.wake(&mut engine, now * S));
        }
        let mut changes = Vec::new();
        site.with(arrival * S, |world| {
            engine.apply(Position(position as u64 + 1), arrival * S, std::slice::from_ref(block), world, &mut changes)
        });
        all.extend(changes);
    }
    all.extend(site.wake(&mut engine, (now + 1_000) * S));
    all
}

fn block(sample: &(u32, i64, usize, f64), kind: ReportKind) -> Block {
    let (device, at, place, value) = sample;
    report(*device, at * S, &[(*place, *value)], kind)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_order_of_arrival_within_the_lateness_has_the_same_outcome(
        samples in samples(),
        delays in proptest::collection::vec(0i64..=10, 150),
        flapping: bool,
    ) {
        let rules = rules("10s", flapping);
        let in_order: Vec<_> = samples.iter().map(|s| (s.1, block(s, ReportKind::Live))).collect();
        let mut delayed: Vec<_> =
            samples.iter().zip(&delays).map(|(s, delay)| (s.1 + delay, block(s, ReportKind::Live))).collect();
        delayed.sort_by_key(|(arrival, _)| *arrival);
        prop_assert_eq!(by_condition(&run(&rules, &in_order)), by_condition(&run(&rules, &delayed)));
    }

    #[test]
    fn reports_that_come_twice_change_nothing(
        samples in samples(),
        again in proptest::collection::vec(proptest::option::of(0usize..5), 150),
        patient: bool,
    ) {
        let rules = rules(if patient { "10s" } else { "0s" }, true);
        let once: Vec<_> = samples.iter().map(|s| (s.1, block(s, ReportKind::Live))).collect();
        let mut twice = Vec::new();
        for (at, (arrival, block)) in once.iter().enumerate() {
            twice.push((*arrival, block.clone()));
            // It, or one before it, once more.
            if let Some(back) = again[at] {
                twice.push((*arrival, once[at.saturating_sub(back)].1.clone()));
            }
        }
        prop_assert_eq!(by_condition(&run(&rules, &once)), by_condition(&run(&rules, &twice)));
    }

    #[test]
    fn a_week_of_backfill_decides_nothing_and_does_not_disturb_what_is_live(
        samples in samples(),
        backfill in proptest::collection::vec((1u32..3, 0i64..604_800, 0usize..3, 0.0..100.0f64), 1..200),
    ) {
        let rules = rules("0s", true);
        let week = 604_800;
        let live: Vec<_> = samples.iter().map(|(device, at, place, value)| {
            (week + at, block(&(*device, week + at, *place, *value), ReportKind::Live))
        }).collect();
        let filled = |at: usize| (week, block(&backfill[at % backfill.len()], ReportKind::Backfill));
        let alone: Vec<_> = (0..backfill.len()).map(filled).collect();
        prop_assert_eq!(run(&rules, &alone), vec![]);
        let mut mixed = Vec::new();
        for (at, (arrival, block)) in live.iter().enumerate() {
            mixed.push((*arrival, filled(at).1));
            mixed.push((*arrival, block.clone()));
        }
        prop_assert_eq!(by_condition(&run(&rules, &live)), by_condition(&run(&rules, &mixed)));
    }

    #[test]
    fn what_runs_live_is_what_a_trial_finds(samples in samples(), patient: bool, flapping: bool) {
        let mut rules = rules(if patient { "10s" } else { "0s" }, flapping);
        let then = |then: &str| NoDataDocument { after: Some("13s".into()), then: Some(then.into()), severity: None };
        for name in ["hold", "fire", "clear"] {
            let document = RuleDocument { no_data: Some(then(name)), ..hot() };
            rules.push(rule(name, &RuleDocument { when: Some("temp > 50".into()), ..document }));
        }
        let arrivals: Vec<_> = samples.iter().map(|s| (s.1, block(s, ReportKind::Live))).collect();
        let live = by_condition(&run(&rules, &arrivals));
        let mut found = BTreeMap::new();
        let site = Site::new(2);
        for rule in &rules {
            let compiled = Compiled::new(rule.clone(), LIMITS.gap_max_us).expect("compiles");
            for device in site.directory.after(None) {
                let mut trial = Trial::new(&compiled, device, 0, TrialLimits::new(&LIMITS, 10_000, 10_000));
                for (of, at, place, value) in samples.iter().filter(|(of, ..)| DeviceKey(*of) == device.key) {
                    let (name, value_type) = METRICS[*place];
                    let Some(input) = compiled.program.metrics().iter().position(|m| m.as_str() == name) else { continue };
                    let value = match value_type {
                        ValueType::Bool => ValueRef::Bool(*value != 0.0),
                        _ => ValueRef::F64(*value),
                    };
                    let input = u16::try_from(input).expect("few");
                    trial.sample(at * S, at * S, &[(input, value, value_type == ValueType::F32)]);
                    prop_assert_eq!(*of, device.key.0);
                }
                let end = samples.last().map_or(0, |(_, at, ..)| *at) + 1_000;
                let (findings, _) = trial.finish(end * S);
                let lines = as_steps(&findings.log);
                if !lines.is_empty() {
                    found.insert(format!("{} {}", rule.id, device.id), lines);
                }
            }
        }
        prop_assert_eq!(live, found);
    }
}

/// The lines that [`shown`] makes of the changes which these events are.
fn as_steps(log: &[Logged]) -> Vec<String> {
    let mut severity = None;
    // An alert shows the value of its last change; silence and flapping do not change it.
    let mut shown_value = f64::NAN;
    let mut lines = Vec::new();
    for Logged { event, value } in log {
        let text = match event {
            Event::Fired { severity: fired, at_us, reopened, .. } => {
                (severity, shown_value) = (Some(*fired), *value);
                let kind = if *reopened { "reopened" } else { "fired" };
                format!("{kind} condition {} {at_us}", fired.name())
            }
            Event::NoData { severity: fired, at_us, .. } => {
                shown_value = *value;
                format!("fired no_data {} {at_us}", fired.name())
            }
            Event::Level { to, .. } if severity == Some(*to) => continue,
            Event::Level { to, .. } => {
                (severity, shown_value) = (Some(*to), *value);
                format!("level {}", to.name())
            }
            Event::Recovering { begins, .. } => {
                shown_value = *value;
                String::from(if *begins { "recovering" } else { "relapsed" })
            }
            Event::Silent { begins, .. } => String::from(if *begins { "stale" } else { "fresh" }),
            Event::Flapping { begins, .. } => String::from(if *begins { "flapping" } else { "settled" }),
            Event::Resolved { reason, at_us, .. } => {
                shown_value = *value;
                format!("resolved {:?}", Some((*at_us, *reason)))
            }
        };
        lines.push(format!("{text} {}", shown_value.to_bits()));
    }
    lines
}

/// How a run is disturbed after a record.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Then {
    /// Alerts and the states of their devices are stored.
    Commit,
    /// All states that changed are stored as well, and the cursor moves.
    Flush,
    /// Killed before the alerts are stored.
    KillBefore,
    /// Killed after the alerts and the states of their devices are stored.
    KillAfter,
}

/// What was stored, in the order in which it was.
fn killed(rules: &[Rule], records: &[(i64, Vec<Block>)], then: &[Then]) -> (Vec<Change>, Site, Engine) {
    let mut site = Site::new(2);
    let (mut stored, mut cursor, mut told) = (Stored::default(), 0, Vec::new());
    let mut engine = site.engine(rules);
    let mut at = 0;
    let mut kills = then.iter().copied();
    while at < records.len() {
        let (arrival, blocks) = &records[at];
        let position = at as u64 + 1;
        let (_, changes) = site.give(&mut engine, position, arrival * S, blocks);
        at += 1;
        let then = kills.next().unwrap_or(Then::Commit);
        if then != Then::KillBefore {
            stored.write(engine.states_of(&changes), &changes);
            told.extend(changes);
        }
        match then {
            Then::Commit => {}
            Then::Flush => {
                let keys = engine.take_dirty();
                stored.write(engine.states(&keys), &[]);
                cursor = at;
            }
            Then::KillBefore | Then::KillAfter => {
                let (again, changes) = stored.restore(&mut site, rules, arrival * S);
                assert_eq!(changes, [], "nothing is left to be made up for");
                (engine, at) = (again, cursor);
            }
        }
    }
    let end = (records.last().map_or(0, |(arrival, _)| *arrival) + 1_000) * S;
    told.extend(site.wake(&mut engine, end));
    (told, site, engine)
}

/// An alert that ended before a kill begins as a new one.
fn anew(mut all: BTreeMap<String, Vec<String>>) -> BTreeMap<String, Vec<String>> {
    all.values_mut().flatten().for_each(|line| *line = line.replace("reopened", "fired"));
    all
}

/// As text: a state without a value has NaN, which equals nothing.
fn held_of(engine: &Engine) -> BTreeMap<DeviceKey, Vec<String>> {
    let text = |held: &Held| format!("{:?}", held.anonymous());
    engine.devices.iter().map(|(key, watched)| (*key, watched.settled().iter().map(text).collect())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_run_that_is_killed_at_any_moment_decides_as_one_that_is_not(
        samples in samples(),
        then in proptest::collection::vec(
            prop_oneof![Just(Then::Commit), Just(Then::Flush), Just(Then::KillBefore), Just(Then::KillAfter)], 200),
        each in 1usize..6,
        patient: bool,
        flapping: bool,
    ) {
        // What asks for time alone waits after a start whether the device still sends.
        let mut rules = rules(if patient { "10s" } else { "0s" }, flapping);
        rules.retain(|rule| rule.id.as_str() != "missing");
        let records: Vec<(i64, Vec<Block>)> = samples.chunks(each).map(|samples| {
            let blocks = samples.iter().map(|s| block(s, ReportKind::Live)).collect();
            (samples.iter().map(|s| s.1).max().unwrap_or(0), blocks)
        }).collect();
        let (calm, _, one) = killed(&rules, &records, &[]);
        let (killed, _, other) = killed(&rules, &records, &then);
        prop_assert_eq!(anew(by_condition(&calm)), anew(by_condition(&killed)));
        prop_assert!(held_of(&one) == held_of(&other), "states differ");
        prop_assert_eq!(one.open(), other.open());
    }

    #[test]
    fn rows_that_come_in_one_block_decide_as_if_each_came_alone(
        samples in samples(),
        each in 1usize..30,
        lateness in 0usize..3,
        flapping: bool,
    ) {
        let mut rules = rules(["0s", "3s", "10s"][lateness], flapping);
        // Thresholds on one metric are taken together while nothing fires.
        for (id, when) in [("warm", "temp > 40"), ("cold", "temp < 20"), ("dry", "humidity < 10")] {
            rules.push(rule(id, &RuleDocument { when: Some(when.into()), ..hot() }));
        }
        for rule in &mut rules {
            let text: Vec<_> = rule.metrics().iter().map(|m| format!("{{{{ metric.{m} }}}}")).collect();
            rule.message = crate::alert::Template::parse(&text.join(" "), &rule.metrics()).expect("a message");
        }
        // By device and time, and so many times in a block.
        let mut rows: BTreeMap<u32, BTreeMap<i64, Vec<(usize, f64)>>> = BTreeMap::new();
        for (device, at, place, value) in samples {
            rows.entry(device).or_default().entry(at).or_default().push((place, value));
        }
        let [mut together, mut alone] = [const { Vec::new() }; 2];
        for (device, rows) in rows {
            let rows: Vec<_> = rows.into_iter().collect();
            for rows in rows.chunks(each) {
                let arrival = rows.last().map_or(0, |(at, _)| *at);
                together.push((arrival, many_rows(device, rows)));
                alone.extend(rows.chunks(1).map(|row| (arrival, many_rows(device, row))));
            }
        }
        for arrivals in [&mut together, &mut alone] {
            arrivals.sort_by_key(|(arrival, _)| *arrival);
        }
        let [together, alone] = [run(&rules, &together), run(&rules, &alone)];
        prop_assert_eq!(by_condition(&together), by_condition(&alone));
        let texts = |changes: &[Change]| {
            let mut texts: Vec<_> = changes.iter().map(|c| (c.alert.rule.clone(), c.alert.fired_us, c.alert.text.clone())).collect();
            texts.sort();
            texts
        };
        prop_assert_eq!(texts(&together), texts(&alone));
    }
}

/// A block of a device with these rows; what is not given has no value.
fn many_rows(device: u32, rows: &[(i64, Vec<(usize, f64)>)]) -> Block {
    let every: Vec<_> = (0..METRICS.len()).map(|place| (place, 0.0)).collect();
    let Block { set, .. } = report(device, 0, &every, ReportKind::Live);
    let mut block = Block::new(set);
    let head = ReportHead { stream: StreamId(1), sequence: Sequence(1), digest: 0, kind: ReportKind::Live, rows: 0 };
    block.reports.push(ReportHead { rows: u32::try_from(rows.len()).expect("few"), ..head });
    for (at, values) in rows {
        block.rows.begin_row(at * S);
        for (place, (_, value_type)) in METRICS.iter().enumerate() {
            let value = values.iter().find(|(given, _)| *given == place).map(|(_, value)| *value);
            block.rows.push_value(value.map(|value| match value_type {
                ValueType::Bool => ValueRef::Bool(value != 0.0),
                _ => ValueRef::F64(value),
            }));
        }
    }
    block
}
