use super::*;
use crate::alert::document::tests::authorship;
use crate::alert::document::{
    ClearDocument, CountDocument, LevelDocument, NoDataDocument, RuleDocument, ScheduleDocument, WindowDocument,
};
use crate::alert::trial::{Logged, Trial, TrialLimits};
use crate::device::Device;
use crate::ids::{DeviceId, DeviceKey};
use crate::ulid::Ulid;

const S: i64 = 1_000_000;

impl Held {
    /// Without the ids of alerts, which differ between runs.
    pub(crate) fn anonymous(&self) -> Self {
        let mut held = self.clone();
        held.alert = held.alert.map(|_| [0; 16]);
        if let Some(more) = &mut held.more {
            more.silent = more.silent.map(|_| [0; 16]);
            more.ended = more.ended.map(|(_, at_us)| ([0; 16], at_us));
        }
        held
    }
}

fn device() -> Device {
    Device { name: "d".into(), ..Device::named(DeviceKey(1), DeviceId::parse("d").expect("valid")) }
}

fn hot() -> RuleDocument {
    RuleDocument {
        name: "hot".into(),
        when: Some("temp > 80".into()),
        flapping: Some(false),
        ..RuleDocument::default()
    }
}

fn no_data(then: &str) -> Option<NoDataDocument> {
    Some(NoDataDocument { after: Some("60s".into()), then: Some(then.into()), severity: None })
}

fn compiled(document: &RuleDocument, version: u32) -> Compiled {
    let rule = document.rule(crate::alert::Authorship { version, ..authorship() }).expect("a rule");
    Compiled::new(rule, 900 * S).expect("compiles")
}

const LIMITS: TrialLimits = TrialLimits {
    lateness_max_us: 3600 * S,
    ahead_max_us: 60 * S,
    log_max: 1_000,
    spans_max: 1_000,
    wakes_max: 100_000,
};

fn shown(Logged { event, .. }: &Logged) -> String {
    let at = |at_us: &i64| at_us / S;
    match event {
        Event::Fired { severity, at_us, reopened, .. } => {
            format!("{} {} {}", at(at_us), if *reopened { "reopened" } else { "fired" }, severity.name())
        }
        Event::Level { from, to, at_us, .. } => format!("{} {} to {}", at(at_us), from.name(), to.name()),
        Event::Recovering { begins, at_us, .. } => {
            format!("{} {}", at(at_us), if *begins { "recovering" } else { "relapsed" })
        }
        Event::Resolved { reason, at_us, .. } => format!("{} resolved {}", at(at_us), reason.name()),
        Event::Silent { begins, at_us, .. } => format!("{} {}", at(at_us), if *begins { "stale" } else { "fresh" }),
        Event::NoData { severity, at_us, .. } => format!("{} no data {}", at(at_us), severity.name()),
        Event::Flapping { begins, at_us, .. } => {
            format!("{} {}", at(at_us), if *begins { "flapping" } else { "settled" })
        }
    }
}

/// Samples of the first metric, (time, arrival, value) in seconds, and what was said up to `to` seconds.
fn arrived(document: &RuleDocument, samples: &[(i64, i64, f64)], to: i64) -> Vec<String> {
    let (rule, device) = (compiled(document, 1), device());
    let mut trial = Trial::new(&rule, &device, 0, LIMITS);
    for (time, arrival, value) in samples {
        trial.sample(time * S, arrival * S, &[(0, ValueRef::F64(*value), false)]);
    }
    trial.finish(to * S).0.log.iter().map(shown).collect()
}

fn said(document: &RuleDocument, samples: &[(i64, f64)], to: i64) -> Vec<String> {
    let samples: Vec<_> = samples.iter().map(|(time, value)| (*time, *time, *value)).collect();
    arrived(document, &samples, to)
}

const NOTHING: [&str; 0] = [];

#[test]
fn silence_is_an_alert_of_its_own_until_the_device_sends_again() {
    let rule = RuleDocument { no_data: no_data("fire"), ..hot() };
    let said = said(&rule, &[(0, 20.0), (59, 20.0), (200, 20.0)], 250);
    assert_eq!(said, ["119 no data warning", "200 resolved data_back"]);
}

#[test]
fn silence_does_not_take_the_place_of_what_fires_and_data_that_are_still_bad_tell_nothing_new() {
    for then in ["fire", "hold"] {
        let rule = RuleDocument { no_data: no_data(then), ..hot() };
        let said = said(&rule, &[(0, 90.0), (100, 90.0), (110, 20.0)], 120);
        assert_eq!(said, ["0 fired warning", "60 stale", "100 fresh", "110 resolved cleared"], "{then}");
    }
}

#[test]
fn a_rule_may_say_that_silence_ends_its_alert() {
    let rule = RuleDocument { no_data: no_data("clear"), ..hot() };
    let said = said(&rule, &[(0, 90.0), (100, 90.0)], 120);
    assert_eq!(said, ["0 fired warning", "60 resolved no_data", "100 fired warning"]);
}

#[test]
fn silence_that_nobody_asked_about_means_nothing_and_a_device_that_never_sent_is_not_silent() {
    assert_eq!(said(&hot(), &[(0, 20.0)], 1_000_000), NOTHING);
    let rule = RuleDocument { no_data: no_data("fire"), ..hot() };
    assert_eq!(said(&rule, &[], 1_000_000), NOTHING);
}

#[test]
fn silence_while_the_server_was_down_is_not_counted() {
    let (rule, device) = (compiled(&RuleDocument { no_data: no_data("fire"), ..hot() }, 1), device());
    let mut held = Held::new(&rule);
    let (mut events, mut new_id) = (Vec::new(), || AlertId(Ulid::from_bytes([1; 16])));
    let mut hand = Hand {
        rule: &rule,
        device: &device,
        new_id: &mut new_id,
        resumed_us: 0,
        seen: &mut Vec::new(),
        events: &mut events,
    };
    held.sample(0, 0, &[(0, ValueRef::F64(20.0), false)], &mut hand);
    let resumed_us = 10_000 * S;
    hand.resumed_us = resumed_us;
    assert_eq!(held.deadline_us(&rule, &device, resumed_us), Some(resumed_us + 60 * S));
    held.wake(resumed_us + 59 * S, &mut hand);
    assert!(hand.events.is_empty());
    held.wake(resumed_us + 60 * S, &mut hand);
    assert!(matches!(events[..], [(Event::NoData { .. }, _)]));
}

#[test]
fn a_device_whose_clock_stands_still_or_is_wrong_is_alive() {
    let rule = RuleDocument { no_data: no_data("fire"), ..hot() };
    let stuck: Vec<_> = (0..20).map(|n| (1000 - n, 1000 + n * 30, 20.0)).collect();
    assert_eq!(arrived(&rule, &stuck, 1600), NOTHING);
    let not_numbers: Vec<_> = (0..20).map(|n| (n * 30, if n == 0 { 20.0 } else { f64::NAN })).collect();
    assert_eq!(said(&rule, &not_numbers, 600), NOTHING);
}

/// The value is bad at every second sample.
fn every_second(count: i64) -> Vec<(i64, f64)> {
    (0..count).map(|n| (n, if n % 2 == 0 { 90.0 } else { 20.0 })).collect()
}

#[test]
fn an_alert_that_comes_and_goes_stays_one_and_ends_when_it_has_settled() {
    let rule = RuleDocument { flapping: Some(true), ..hot() };
    let mut samples = every_second(41);
    samples.extend((41..100).map(|n| (n, 20.0)));
    let said = said(&rule, &samples, 100);
    let from = said.iter().position(|line| line.contains("flapping")).expect("it flaps");
    assert!(from < 12, "{said:?}");
    assert_eq!(said[from..].iter().map(|l| l.split_once(' ').expect("time and what").1).collect::<Vec<_>>(), {
        // What comes and goes in between is the same alert at the same level.
        let between = said.len() - from - 3;
        [vec!["flapping"], vec!["warning to warning"; between], vec!["settled", "resolved cleared"]].concat()
    });
}

#[test]
fn what_calmed_down_needs_no_more_memory_than_what_never_fired() {
    let (rule, device) = (compiled(&RuleDocument { flapping: Some(true), ..hot() }, 1), device());
    let mut trial = Trial::new(&rule, &device, 0, LIMITS);
    trial.sample(0, 0, &[(0, ValueRef::F64(20.0), false)]);
    let bytes = trial.held().bytes();
    trial.sample(S, S, &[(0, ValueRef::F64(90.0), false)]);
    assert!(trial.held().bytes() > bytes);
    for second in 2..30 {
        trial.sample(second * S, second * S, &[(0, ValueRef::F64(20.0), false)]);
    }
    assert!(trial.held().is_quiet());
    assert_eq!(trial.held().bytes(), bytes);
}

#[test]
fn within_the_reopen_window_it_is_the_same_alert() {
    let rule = RuleDocument { reopen_window: Some("30s".into()), ..hot() };
    let samples = [(0, 90.0), (10, 20.0), (40, 90.0), (50, 20.0), (81, 90.0)];
    let (compiled, device) = (compiled(&rule, 1), device());
    let mut trial = Trial::new(&compiled, &device, 0, LIMITS);
    for (time, value) in samples {
        trial.sample(time * S, time * S, &[(0, ValueRef::F64(value), false)]);
    }
    let (findings, _) = trial.finish(100 * S);
    let lines: Vec<_> = findings.log.iter().map(shown).collect();
    let cleared = |second: i64| format!("{second} resolved cleared");
    let expected = ["0 fired warning", &cleared(10), "40 reopened warning", &cleared(50), "81 fired warning"];
    assert_eq!(lines, expected);
    let [one, two, three] = &findings.spans[..] else { panic!("{:?}", findings.spans) };
    assert!(one.alert == two.alert && two.alert != three.alert);
    assert_eq!((findings.alerts, findings.fired, findings.firing_us), (2, 3, (10 + 10 + 19) * S));
}

fn on_change() -> RuleDocument {
    RuleDocument { mode: Some("on_change".into()), hold: Some("60s".into()), ..hot() }
}

#[test]
fn a_value_that_holds_until_it_changes_fires_in_time_without_a_sample() {
    assert_eq!(said(&on_change(), &[(5, 90.0)], 64), NOTHING);
    assert_eq!(said(&on_change(), &[(5, 90.0)], 65), ["65 fired warning"]);
    assert_eq!(said(&on_change(), &[(5, 90.0), (65, 20.0)], 100), NOTHING, "the sample of the same time comes first");
    let hold = RuleDocument { mode: None, ..on_change() };
    assert_eq!(said(&hold, &[(5, 90.0)], 1000), NOTHING, "a sampled one needs a sample that says so");
}

#[test]
fn what_time_does_between_samples_does_not_depend_on_who_wakes_it() {
    // Nobody wakes it before the samples of the next minutes come together.
    let keep = RuleDocument { keep_firing_for: Some("30s".into()), ..on_change() };
    let samples = [(0, 90.0), (70, 20.0), (200, 90.0), (300, 90.0)];
    let expected = ["60 fired warning", "70 recovering", "100 resolved cleared", "260 fired warning"];
    assert_eq!(said(&keep, &samples, 400), expected);
    let (rule, device) = (compiled(&keep, 1), device());
    let mut held = Held::new(&rule);
    let (mut events, mut next) = (Vec::new(), 0);
    let mut new_id = || {
        next += 1;
        AlertId(Ulid::from_bytes([next; 16]))
    };
    let mut hand = Hand {
        rule: &rule,
        device: &device,
        new_id: &mut new_id,
        resumed_us: 0,
        seen: &mut Vec::new(),
        events: &mut events,
    };
    for (time, value) in samples {
        held.sample(time * S, 400 * S, &[(0, ValueRef::F64(value), false)], &mut hand);
    }
    let lines: Vec<_> = events.iter().map(|(event, value)| shown(&Logged { event: *event, value: *value })).collect();
    assert_eq!(lines, expected);
}

#[test]
fn a_duplicate_does_not_hold_up_the_clock_of_a_device() {
    let samples = [(0, 0, 90.0), (0, 50, 90.0), (-5, 55, 90.0)];
    assert_eq!(arrived(&on_change(), &samples, 59), NOTHING);
    assert_eq!(arrived(&on_change(), &samples, 60), ["60 fired warning"]);
}

#[test]
fn a_timer_that_has_spoken_is_not_due_again() {
    let rule = RuleDocument { when: Some("missing(temp, 60s)".into()), ..hot() };
    let (rule, device) = (compiled(&rule, 1), device());
    let mut trial = Trial::new(&rule, &device, 0, LIMITS);
    trial.sample(0, 0, &[(0, ValueRef::F64(1.0), false)]);
    trial.advance(1_000 * S);
    assert_eq!(trial.held().deadline_us(&rule, &device, 0), None, "nothing is left that time could change");
}

#[test]
fn missing_is_judged_by_time_and_ends_with_a_sample() {
    let rule = RuleDocument { when: Some("missing(temp, 60s)".into()), hold: Some("30s".into()), ..hot() };
    let said = said(&rule, &[(0, 1.0), (50, 1.0), (200, 1.0)], 300);
    assert_eq!(said, ["140 fired warning", "200 resolved cleared", "290 fired warning"]);
}

#[test]
fn a_rule_over_two_metrics_joins_their_newest_values() {
    let rule = RuleDocument { when: Some("temp > 80 && humidity < 20".into()), staleness: Some("60s".into()), ..hot() };
    let (rule, device) = (compiled(&rule, 1), device());
    let mut trial = Trial::new(&rule, &device, 0, LIMITS);
    let rows: [(i64, u16, f64); 6] =
        [(0, 0, 90.0), (10, 1, 10.0), (20, 1, 30.0), (30, 1, 10.0), (200, 1, 10.0), (201, 1, 30.0)];
    for (time, input, value) in rows {
        trial.sample(time * S, time * S, &[(input, ValueRef::F64(value), false)]);
    }
    let lines: Vec<_> = trial.finish(300 * S).0.log.iter().map(shown).collect();
    // At 200 the temperature is too old to say anything: the alert goes on.
    assert_eq!(lines, ["10 fired warning", "20 resolved cleared", "30 fired warning", "201 resolved cleared"]);
}

#[test]
fn within_its_schedule_only_a_rule_begins_to_fire() {
    let schedule =
        ScheduleDocument { zone: "UTC".into(), windows: vec![WindowDocument::Text("mon-sun 08:00-18:00".into())] };
    let rule = RuleDocument { schedule: Some(schedule), ..hot() };
    let hour = 3600;
    let each_hour: Vec<_> = (5..=20).map(|n| (n * hour, 90.0)).chain([(21 * hour, 20.0)]).collect();
    let lines = said(&rule, &each_hour, 24 * hour);
    assert_eq!(lines, [format!("{} fired warning", 8 * hour), format!("{} resolved cleared", 21 * hour)]);
    // A door that was opened before and says nothing since.
    let rule = RuleDocument { mode: Some("on_change".into()), hold: Some("60s".into()), ..rule };
    let lines = said(&rule, &[(5 * hour, 90.0)], 24 * hour);
    assert_eq!(lines, [format!("{} fired warning", 8 * hour + 60)]);
}

#[test]
fn levels_rise_at_once_and_fall_by_their_own_clear() {
    let level = |severity: &str, when: &str, clear: &str| LevelDocument {
        severity: severity.into(),
        when: when.into(),
        clear: Some(clear.into()),
    };
    let levels = vec![level("warning", "temp > 60", "temp < 50"), level("critical", "temp > 80", "temp < 70")];
    let rule = RuleDocument { when: None, levels: Some(levels), ..hot() };
    let samples = [(0, 65.0), (1, 85.0), (2, 75.0), (3, 65.0), (4, 55.0), (5, 45.0)];
    let expected = ["0 fired warning", "1 warning to critical", "3 critical to warning", "5 resolved cleared"];
    assert_eq!(said(&rule, &samples, 10), expected);
}

#[test]
fn count_looks_at_samples_and_not_at_time() {
    let rule = RuleDocument { count: Some(CountDocument { at_least: 2, of: 3 }), ..hot() };
    let said = said(&rule, &[(0, 90.0), (1, 20.0), (500, 90.0), (501, 20.0)], 600);
    assert_eq!(said, ["500 fired warning", "501 resolved cleared"]);
}

#[test]
fn nan_says_nothing() {
    assert_eq!(said(&hot(), &[(0, 90.0), (1, f64::NAN), (2, 90.0), (3, f64::NAN)], 10), ["0 fired warning"]);
    let either = RuleDocument { when: Some("temp > 80 || humidity > 80".into()), ..hot() };
    assert_eq!(said(&either, &[(0, f64::NAN), (1, 90.0), (2, f64::NAN)], 10), ["1 fired warning"]);
}

#[test]
fn within_the_lateness_any_order_of_arrival_has_one_outcome_and_what_is_older_is_late() {
    let rule = RuleDocument { lateness: Some("10s".into()), hold: Some("20s".into()), ..hot() };
    let in_order: Vec<_> = (0..60).map(|n| (n, n, if n == 15 { 20.0 } else { 90.0 })).collect();
    let expected = ["36 fired warning"];
    assert_eq!(arrived(&rule, &in_order, 100), expected);
    let mut shuffled = in_order.clone();
    shuffled.sort_by_key(|(time, ..)| time + (time * 7) % 10);
    let arriving: Vec<_> = shuffled.iter().map(|(time, _, value)| (*time, time + (time * 7) % 10, *value)).collect();
    assert_eq!(arrived(&rule, &arriving, 100), expected);
    // The one good value comes too late to be heard.
    let mut late: Vec<_> = in_order.iter().copied().filter(|(time, ..)| *time != 15).collect();
    late.insert(30, (15, 31, 20.0));
    assert_eq!(arrived(&rule, &late, 100), ["20 fired warning"]);
}

/// The rule is edited at a time; what happened by then and after.
fn edited(before: &RuleDocument, after: &RuleDocument, samples: &[(i64, f64)]) -> (Held, Vec<String>) {
    let (before, after, device) = (compiled(before, 1), compiled(after, 2), device());
    let mut held = Held::new(&before);
    let (mut events, mut next) = (Vec::new(), 0);
    let mut new_id = || {
        next += 1;
        AlertId(Ulid::from_bytes([next; 16]))
    };
    let mut hand = Hand {
        rule: &before,
        device: &device,
        new_id: &mut new_id,
        resumed_us: 0,
        seen: &mut Vec::new(),
        events: &mut events,
    };
    for (time, value) in samples {
        held.sample(time * S, time * S, &[(0, ValueRef::F64(*value), false)], &mut hand);
    }
    hand.events.clear();
    hand.rule = &after;
    held.reconsider(&mut hand);
    let lines = events.iter().map(|(event, value)| shown(&Logged { event: *event, value: *value })).collect();
    (held, lines)
}

#[test]
fn an_edit_keeps_what_holds_and_ends_what_does_not() {
    let when = |when: &str| RuleDocument { when: Some(when.into()), ..hot() };
    let (held, lines) = edited(&hot(), &when("temp > 85"), &[(0, 90.0)]);
    assert_eq!(lines, NOTHING);
    assert_eq!(held.alert(), Some(AlertId(Ulid::from_bytes([1; 16]))), "the same alert");
    assert_eq!(edited(&hot(), &when("temp > 95"), &[(0, 90.0)]).1, ["0 resolved rule_changed"]);
    assert_eq!(edited(&hot(), &when("humidity > 80"), &[(0, 90.0)]).1, ["0 resolved rule_changed"]);
    let (_, lines) = edited(&when("temp > 95"), &hot(), &[(0, 90.0)]);
    assert_eq!(lines, ["0 fired warning"], "what it knows already holds");
    // A clear that the value has not passed yet keeps it.
    let kept = RuleDocument { clear: Some(ClearDocument::Expression("temp < 50".into())), ..when("temp > 95") };
    assert_eq!(edited(&hot(), &kept, &[(0, 90.0)]).1, NOTHING);
}

#[test]
fn for_that_has_begun_goes_on_through_an_edit() {
    let hold = |hold: &str| RuleDocument { hold: Some(hold.into()), ..hot() };
    let (held, lines) = edited(&hold("60s"), &hold("90s"), &[(0, 90.0), (50, 90.0)]);
    assert_eq!((lines.len(), held.pending()), (0, Some((Severity::Warning, 0))));
    assert_eq!(edited(&hold("60s"), &hold("30s"), &[(0, 90.0), (50, 90.0)]).1, ["50 fired warning"]);
}

#[test]
fn resolved_by_hand_fires_anew_after_it_was_over() {
    let (rule, device) = (compiled(&RuleDocument { flapping: Some(true), ..hot() }, 1), device());
    let mut held = Held::new(&rule);
    let (mut events, mut next) = (Vec::new(), 0);
    let mut new_id = || {
        next += 1;
        AlertId(Ulid::from_bytes([next; 16]))
    };
    let mut hand = Hand {
        rule: &rule,
        device: &device,
        new_id: &mut new_id,
        resumed_us: 0,
        seen: &mut Vec::new(),
        events: &mut events,
    };
    let give = |held: &mut Held, time: i64, value: f64, hand: &mut Hand<'_>| {
        held.sample(time * S, time * S, &[(0, ValueRef::F64(value), false)], hand);
        std::mem::take(hand.events).len()
    };
    assert_eq!(give(&mut held, 0, 90.0, &mut hand), 1);
    held.resolved_by_hand(AlertId(Ulid::from_bytes([1; 16])));
    assert_eq!(held.alert(), None);
    assert_eq!(give(&mut held, 1, 95.0, &mut hand), 0);
    assert_eq!(give(&mut held, 2, 20.0, &mut hand), 0);
    assert_eq!(give(&mut held, 3, 90.0, &mut hand), 1);
    assert_eq!(held.alert(), Some(AlertId(Ulid::from_bytes([2; 16]))));
}

#[test]
fn a_stored_state_goes_on_as_if_nothing_had_been() {
    let document = RuleDocument {
        when: Some("avg(temp, 30s) > 50 && temp > 20".into()),
        lateness: Some("5s".into()),
        hold: Some("2s".into()),
        flapping: Some(true),
        ..on_change()
    };
    let (rule, device) = (compiled(&document, 1), device());
    let (mut one, mut other) = (Held::new(&rule), Held::new(&rule));
    let (mut events, mut others) = (Vec::new(), Vec::new());
    for n in 0..400i64 {
        let value = ((n / 7 * 37) % 100) as f64;
        let mut new_id = || AlertId(Ulid::from_bytes([u8::try_from(n % 200).expect("small"); 16]));
        let mut hand = Hand {
            rule: &rule,
            device: &device,
            new_id: &mut new_id,
            resumed_us: 0,
            seen: &mut Vec::new(),
            events: &mut events,
        };
        one.sample(n * S, n * S, &[(0, ValueRef::F64(value), false)], &mut hand);
        let mut hand = Hand {
            rule: &rule,
            device: &device,
            new_id: &mut new_id,
            resumed_us: 0,
            seen: &mut Vec::new(),
            events: &mut others,
        };
        other.sample(n * S, n * S, &[(0, ValueRef::F64(value), false)], &mut hand);
        let bytes = wincode::serialize(&other).expect("written");
        other = wincode::deserialize(&bytes).expect("read");
        other.refit(&rule);
    }
    assert!(!events.is_empty());
    assert_eq!(events, others);
    assert_eq!(one, other);
}
