use super::*;
use crate::alert::compiled::Compiled;
use crate::alert::document::tests::authorship;
use crate::alert::document::{NotifyDocument, RuleDocument};
use crate::block::ValueRef;
use crate::ids::{DeviceKey, GroupName};
use crate::severity::Severity;

const S: i64 = 1_000_000;

const LIMITS: EngineLimits = EngineLimits {
    gap_max_us: 900 * S,
    lateness_max_us: 60 * S,
    ahead_max_us: 60 * S,
    alerts_per_rule_max: 1_000,
    group_silence_share: 0.5,
    group_silence_window_us: 60 * S,
};

fn device(key: u32) -> Arc<Device> {
    Arc::new(Device {
        key: DeviceKey(key),
        id: DeviceId::parse(&format!("d{key}")).expect("valid"),
        name: format!("Device {key}"),
        tags: BTreeMap::new(),
        group: Some(GroupName::parse(if key.is_multiple_of(2) { "even" } else { "odd" }).expect("valid")),
        profile: None,
        enabled: true,
        created_us: 0,
        last_seen_us: None,
        firmware: None,
    })
}

fn hot(notify: NotifyDocument) -> Compiled {
    let document = RuleDocument {
        name: "hot".into(),
        when: Some("temp > 80".into()),
        flapping: Some(false),
        notify: Some(notify),
        ..RuleDocument::default()
    };
    Compiled::new(document.rule(authorship()).expect("a rule"), LIMITS.gap_max_us).expect("compiles")
}

fn people() -> Vec<Person> {
    let person = |name: &str, role| Person { user: UserName::parse(name).expect("valid"), role };
    vec![person("ada", Role::Admin), person("kim", Role::Operator), person("vic", Role::Viewer)]
}

/// Each device is hot for ten seconds at each of these times.
fn run(rule: &Compiled, to_us: i64, devices: &[(u32, &[i64])]) -> BacktestResult {
    let mut backtest = Backtest::new(rule, &LIMITS, 0, to_us);
    for (key, times) in devices {
        let device = device(*key);
        let mut trial = backtest.begin(&device);
        for time in *times {
            for (after, temp) in [(0, 90.0), (10, 20.0)] {
                let at_us = (time + after) * S;
                trial.sample(at_us, at_us, &[(0, ValueRef::F64(temp), false)]);
            }
        }
        backtest.end(&device, trial);
    }
    backtest.finish(&people())
}

#[test]
fn totals_days_and_the_noisiest_devices_are_counted() {
    let day = 86_400;
    let rule = hot(NotifyDocument::default());
    let result = run(&rule, 3 * day * S, &[(1, &[100]), (2, &[100, 200, day + 5]), (3, &[]), (4, &[3 * day - 5])]);
    assert_eq!((result.devices, result.alerts, result.samples), (4, 5, 10));
    let alerts: Vec<_> = result.days.iter().map(|(at_us, count)| (at_us / S / day, count.alerts)).collect();
    assert_eq!(alerts, [(0, 3), (1, 1), (2, 1)]);
    let noisiest: Vec<_> = result.by_device.iter().map(|d| (d.device.as_str(), d.alerts, d.firing_us / S)).collect();
    assert_eq!(noisiest, [("d2", 3, 30), ("d1", 1, 10), ("d4", 1, 10)]);
    let first = result.by_device[0].spans[0];
    assert_eq!((first.from_us, first.to_us, first.severity_max), (100 * S, Some(110 * S), Severity::Warning));
    assert!(!result.spans_cut && !result.told.cut);
}

#[test]
fn what_fires_at_the_end_is_counted_up_to_it() {
    let rule = hot(NotifyDocument::default());
    let mut backtest = Backtest::new(&rule, &LIMITS, 0, 100 * S);
    let device = device(1);
    let mut trial = backtest.begin(&device);
    trial.sample(40 * S, 40 * S, &[(0, ValueRef::F64(90.0), false)]);
    backtest.end(&device, trial);
    let result = backtest.finish(&people());
    assert_eq!((result.standing.firing, result.firing_us), (1, 60 * S));
    assert_eq!(result.by_device[0].spans[0].to_us, None);
}

#[test]
fn people_are_counted_by_who_is_told_and_alerts_of_one_group_are_one_message() {
    let rule = hot(NotifyDocument {
        group_by: Some(vec!["group".into()]),
        wait: Some("30s".into()),
        to: Some(vec!["role:operator".into()]),
        ..NotifyDocument::default()
    });
    // Both even devices begin within the wait, and end before it is over again; the odd one is told by itself. Each group hears of
    // the beginning only if it still fires after the wait: these are over after ten seconds.
    let short = run(&rule, 7_200 * S, &[(2, &[100]), (4, &[105]), (1, &[100])]);
    assert_eq!((short.alerts, short.told.total), (3, 0), "over before anybody was told");
    let rule = hot(NotifyDocument {
        group_by: Some(vec!["group".into()]),
        wait: Some("5s".into()),
        to: Some(vec!["role:operator".into()]),
        ..NotifyDocument::default()
    });
    let told = run(&rule, 7_200 * S, &[(2, &[100]), (4, &[101]), (1, &[100])]).told;
    // The beginning and the end of each of the two groups.
    assert_eq!((told.messages, told.total), (4, 8));
    let per_person: Vec<_> = told.per_person.iter().map(|one| (one.user.as_str(), one.total)).collect();
    assert_eq!(per_person, [("ada", 4), ("kim", 4)]);
}

#[test]
fn what_goes_on_is_repeated_and_counted_by_day() {
    let rule = hot(NotifyDocument { repeat: Some("4h".into()), ..NotifyDocument::default() });
    let mut backtest = Backtest::new(&rule, &LIMITS, 0, 2 * DAY_US);
    let device = device(1);
    let mut trial = backtest.begin(&device);
    trial.sample(0, 0, &[(0, ValueRef::F64(90.0), false)]);
    backtest.end(&device, trial);
    let result = backtest.finish(&people());
    // At the beginning and every four hours after.
    assert_eq!(result.told.messages, 12);
    let by_day: Vec<_> = result.days.values().map(|count| count.notifications).collect();
    assert_eq!(by_day, [6 * 3, 6 * 3]);
}

#[test]
fn lists_are_bounded_and_counts_are_not() {
    let rule = hot(NotifyDocument::default());
    let times: Vec<i64> = (0..300).map(|n| n * 100).collect();
    let many: Vec<(u32, &[i64])> = (1..=60).map(|key| (key, &times[..])).collect();
    let result = run(&rule, 40_000 * S, &many);
    assert_eq!((result.alerts, result.by_device.len(), result.by_device[0].spans.len()), (18_000, 50, 200));
    assert!(result.spans_cut);
    assert_eq!(result.by_device[0].alerts, 300);
}
