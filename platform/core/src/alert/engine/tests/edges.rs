//! Restarts, edits and storms at the moments at which they hurt.

use super::*;
use crate::alert::document::LevelDocument;

fn saved(engine: &mut Engine, stored: &mut Stored, changes: &[Change]) {
    let keys = engine.take_dirty();
    stored.write(engine.states(&keys), changes);
}

fn edit(site: &mut Site, engine: &mut Engine, second: i64, document: &RuleDocument) -> Vec<Change> {
    let version = engine.rules().map(|rule| rule.version).max().unwrap_or(0) + 1;
    let edited = Rule { version, ..rule("hot", document) };
    let mut changes = Vec::new();
    site.with(second * S, |world| engine.put_rule(edited, world, &mut changes)).expect("compiles");
    changes
}

fn steps(changes: &[Change]) -> Vec<StepKind> {
    changes.iter().map(|change| change.step.kind).collect()
}

#[test]
fn an_alert_that_ended_before_a_restart_is_not_opened_again_but_begins_as_a_new_one() {
    let mut site = Site::new(1);
    let rules = [rule("hot", &RuleDocument { reopen_window: Some("1h".into()), ..hot() })];
    let mut engine = site.engine(&rules);
    let mut stored = Stored::default();
    for (second, temp) in [(1, 90.0), (2, 20.0)] {
        let (_, changes) = site.give(&mut engine, second as u64, second * S, &[live(1, second, temp)]);
        saved(&mut engine, &mut stored, &changes);
    }
    let (mut engine, _) = stored.restore(&mut site, &rules, 3 * S);
    let (_, changes) = site.give(&mut engine, 3, 4 * S, &[live(1, 4, 90.0)]);
    let old = AlertId(Ulid::from_bytes(1u128.to_be_bytes()));
    let alert = &changes[0].alert;
    assert_eq!((steps(&changes), alert.revision, alert.reopened), (vec![StepKind::Fired], 1, 0));
    assert_ne!(alert.id, old);
    // From then on it is opened again under its new id.
    let (_, ended) = site.give(&mut engine, 4, 5 * S, &[live(1, 5, 20.0)]);
    assert_eq!((steps(&ended), ended[0].alert.id), (vec![StepKind::Resolved], alert.id));
    let (_, again) = site.give(&mut engine, 5, 6 * S, &[live(1, 6, 90.0)]);
    assert_eq!((steps(&again), again[0].alert.id, again[0].alert.revision), (vec![StepKind::Reopened], alert.id, 3));
}

#[test]
fn a_silence_with_an_end_outlives_the_end_of_its_alert() {
    for (until, kept) in [(Some(100 * S), true), (Some(3 * S), false), (None, false)] {
        let mut site = Site::new(1);
        let mut engine = site.engine(&[rule("hot", &RuleDocument { reopen_window: Some("1h".into()), ..hot() })]);
        let (_, changes) = site.give(&mut engine, 1, S, &[live(1, 1, 90.0)]);
        let silence = Operation::Silence { until_us: until, reason: String::new() };
        let user = crate::ids::UserName::parse("ann").expect("valid");
        let planned = engine.plan(changes[0].alert.id, &silence, &user, 2 * S).expect("a change");
        engine.operated(&planned, &mut Vec::new());
        site.give(&mut engine, 2, 3 * S, &[live(1, 3, 20.0)]);
        let (_, changes) = site.give(&mut engine, 3, 4 * S, &[live(1, 4, 90.0)]);
        assert_eq!((steps(&changes), changes[0].alert.snoozed.is_some()), (vec![StepKind::Reopened], kept));
    }
}

#[test]
fn an_alert_that_comes_back_while_it_is_kept_says_so() {
    let mut site = Site::new(1);
    let level =
        |severity: &str, when: &str| LevelDocument { severity: severity.into(), when: when.into(), clear: None };
    let levels = vec![level("warning", "temp > 60"), level("critical", "temp > 80")];
    let document = RuleDocument { when: None, levels: Some(levels), keep_firing_for: Some("60s".into()), ..hot() };
    let mut engine = site.engine(&[rule("hot", &document)]);
    for (second, temp) in [(1, 70.0), (2, 20.0)] {
        site.give(&mut engine, second as u64, second * S, &[live(1, second, temp)]);
    }
    assert!(engine.alerts().all(|alert| alert.recovering));
    let (_, changes) = site.give(&mut engine, 3, 3 * S, &[live(1, 3, 90.0)]);
    assert_eq!((steps(&changes), changes[0].alert.recovering), (vec![StepKind::Level], false));
}

#[test]
fn samples_that_wait_are_judged_by_the_rule_under_which_they_came_when_it_is_edited() {
    let mut site = Site::new(1);
    let patient = |lateness: &str| RuleDocument { lateness: Some(lateness.into()), ..hot() };
    let mut engine = site.engine(&[rule("hot", &patient("10s"))]);
    let (_, changes) = site.give(&mut engine, 1, S, &[live(1, 1, 90.0)]);
    assert_eq!(changes, []);
    let changes = edit(&mut site, &mut engine, 2, &patient("0s"));
    assert_eq!(steps(&changes), [StepKind::Fired]);
    assert_eq!(site.wake(&mut engine, 1_000 * S), []);
    assert_eq!(engine.next_wake_us(), None, "nothing wakes it again");
}

#[test]
fn an_alert_that_flaps_ends_if_the_rule_does_not_look_for_that_any_more() {
    for (last, open) in [(20.0, 0), (90.0, 1)] {
        let mut site = Site::new(1);
        let mut engine = site.engine(&[rule("hot", &RuleDocument { flapping: Some(true), ..hot() })]);
        for second in 0..40 {
            let temp = if second % 2 == 0 { 90.0 } else { 20.0 };
            site.give(&mut engine, second as u64 + 1, second * S, &[live(1, second, temp)]);
        }
        site.give(&mut engine, 50, 40 * S, &[live(1, 40, last)]);
        assert!(engine.alerts().all(|alert| alert.flapping) && engine.open() == 1);
        let changes = edit(&mut site, &mut engine, 41, &hot());
        assert_eq!(steps(&changes)[..1], [StepKind::Settled]);
        assert_eq!(engine.open(), open);
    }
}

#[test]
fn a_door_that_flapped_settles_though_it_says_nothing_more() {
    let mut site = Site::new(1);
    let door =
        RuleDocument { when: Some("temp > 80".into()), mode: Some("on_change".into()), flapping: Some(true), ..hot() };
    let mut engine = site.engine(&[rule("hot", &door)]);
    for second in 0..40 {
        let temp = if second % 2 == 0 { 90.0 } else { 20.0 };
        site.give(&mut engine, second as u64 + 1, second * S, &[live(1, second, temp)]);
    }
    assert!(engine.alerts().all(|alert| alert.flapping) && engine.open() == 1);
    assert_eq!(site.wake(&mut engine, 338 * S), []);
    assert_eq!(steps(&site.wake(&mut engine, 340 * S)), [StepKind::Settled, StepKind::Resolved]);
}

#[test]
fn an_alert_about_silence_ends_if_the_rule_looks_at_another_metric_or_does_not_ask_any_more() {
    let other = RuleDocument { when: Some("humidity > 80".into()), ..silent("60s") };
    for document in [other, hot()] {
        let mut site = Site::new(1);
        let mut engine = site.engine(&[rule("hot", &silent("60s"))]);
        site.give(&mut engine, 1, S, &[live(1, 1, 20.0)]);
        assert_eq!(steps(&site.wake(&mut engine, 70 * S)), [StepKind::Fired]);
        let changes = edit(&mut site, &mut engine, 80, &document);
        assert_eq!(changes[0].alert.resolved.map(|(_, reason)| reason), Some(ResolvedReason::RuleChanged));
        assert!(changes[0].alert.resolved.is_some_and(|(at_us, _)| at_us >= changes[0].alert.fired_us));
        assert_eq!(engine.open(), 0);
    }
}

#[test]
fn another_severity_of_what_fires_does_not_end_it() {
    let mut site = Site::new(1);
    let with = |severity: &str| RuleDocument { severity: Some(severity.into()), hold: Some("60s".into()), ..hot() };
    let mut engine = site.engine(&[rule("hot", &with("warning"))]);
    for second in [1, 30, 61] {
        site.give(&mut engine, second as u64, second * S, &[live(1, second, 90.0)]);
    }
    assert_eq!(engine.open(), 1);
    for severity in ["critical", "info"] {
        let changes = edit(&mut site, &mut engine, 62, &with(severity));
        assert_eq!((steps(&changes), changes[0].alert.severity.name()), (vec![StepKind::Level], severity));
    }
}

#[test]
fn what_silence_cleared_does_not_begin_by_time_alone() {
    let mut site = Site::new(1);
    let no_data = NoDataDocument { after: Some("60s".into()), then: Some("clear".into()), severity: None };
    let document =
        RuleDocument { mode: Some("on_change".into()), hold: Some("100s".into()), no_data: Some(no_data), ..hot() };
    let mut engine = site.engine(&[rule("hot", &document)]);
    site.give(&mut engine, 1, S, &[live(1, 1, 90.0)]);
    assert_eq!(site.wake(&mut engine, 1_000 * S), []);
    site.give(&mut engine, 2, 1_001 * S, &[live(1, 1_001, 90.0)]);
    assert_eq!(site.wake(&mut engine, 1_050 * S), []);
}

#[test]
fn an_alert_ends_when_its_rule_looks_at_the_device_no_more_though_nobody_said_that_the_device_changed() {
    for woken in [false, true] {
        let mut site = Site::new(2);
        let scope = ScopeDocument { group: Some("cellar".into()), ..ScopeDocument::default() };
        let document = RuleDocument { scope: Some(scope), hold: None, ..silent("60s") };
        let mut engine = site.engine(&[rule("hot", &document), rule("other", &hot())]);
        site.give(&mut engine, 1, S, &[live(1, 1, 90.0)]);
        assert_eq!(engine.open(), 2);
        let device = site.directory.by_key(DeviceKey(1)).expect("there").clone();
        site.directory.put(Arc::new(Device { group: None, ..(*device).clone() }));
        // Any edit makes devices find their rules anew.
        let mut changes = Vec::new();
        site.with(2 * S, |world| engine.put_rule(rule("new", &hot()), world, &mut changes)).expect("compiles");
        changes.extend(match woken {
            false => site.give(&mut engine, 2, 3 * S, &[live(1, 3, 90.0)]).1,
            true => site.wake(&mut engine, 100 * S),
        });
        let ended: Vec<_> = changes.iter().filter_map(|c| c.alert.resolved.map(|(_, reason)| reason)).collect();
        assert_eq!(ended, [ResolvedReason::ScopeChanged]);
    }
}

#[test]
fn a_clock_that_is_ahead_by_about_as_much_as_is_believed_makes_no_sample_late() {
    let mut site = Site::new(1);
    let mut engine = site.engine(&[rule("hot", &hot())]);
    for (position, ahead) in [59, 61, 59, 62, 60].into_iter().enumerate() {
        let second = position as i64 + 1;
        let (judged, _) = site.give(&mut engine, position as u64 + 1, second * S, &[live(1, second + ahead, 20.0)]);
        assert_eq!((judged.samples, judged.late), (1, 0), "at {second}");
    }
}

#[test]
fn a_rule_that_waits_longer_than_the_limit_for_late_samples_gets_them() {
    let mut site = Site::new(1);
    let limits = EngineLimits { lateness_max_us: 5 * S, ..LIMITS };
    let patient = rule("hot", &RuleDocument { lateness: Some("60s".into()), ..hot() });
    let mut engine = site.with(0, |world| Engine::restore(limits, vec![patient], Vec::new(), Vec::new(), world).0);
    site.give(&mut engine, 1, 100 * S, &[live(1, 100, 20.0)]);
    let (judged, _) = site.give(&mut engine, 2, 101 * S, &[live(1, 50, 90.0)]);
    assert_eq!((judged.samples, judged.late), (1, 0));
}

fn crowd(rules: &[Rule], alerts_per_rule_max: usize) -> (Site, Engine) {
    let mut site = Site::new(10);
    let limits = EngineLimits { alerts_per_rule_max, ..LIMITS };
    let engine = site.with(0, |world| Engine::restore(limits, rules.to_vec(), Vec::new(), Vec::new(), world).0);
    (site, engine)
}

fn all(temp: f64, second: i64) -> Vec<Block> {
    (1..=10).map(|device| live(device, second, temp)).collect()
}

#[test]
fn how_many_an_alert_stands_for_is_counted_anew_after_a_restart() {
    let rules = [rule("hot", &hot())];
    let (mut site, mut engine) = crowd(&rules, 3);
    let (_, changes) = site.give(&mut engine, 1, S, &all(90.0, 1));
    let mut stored = Stored::default();
    saved(&mut engine, &mut stored, &changes);
    let (engine, _) = stored.restore(&mut site, &rules, 2 * S);
    let members = |engine: &Engine, kind| engine.alerts().find(|a| a.kind == kind).map(|a| a.members);
    assert_eq!(members(&engine, AlertKind::Overflow), Some(7));
    // One that stands for nobody ends.
    let mut lost = stored.clone();
    lost.states.retain(|key, _| key.0 <= 3);
    let (engine, changes) = lost.restore(&mut site, &rules, 2 * S);
    assert_eq!((members(&engine, AlertKind::Overflow), changes.len()), (None, 1));
    assert_eq!(changes[0].alert.resolved.map(|(_, reason)| reason), Some(ResolvedReason::Cleared));
}

#[test]
fn what_was_folded_into_an_alert_that_is_gone_begins_anew_after_a_restart() {
    let rules = [rule("hot", &hot())];
    let (mut site, mut engine) = crowd(&rules, 3);
    let (_, changes) = site.give(&mut engine, 1, S, &all(90.0, 1));
    let mut stored = Stored::default();
    saved(&mut engine, &mut stored, &changes);
    let overflow = engine.alerts().find(|alert| alert.kind == AlertKind::Overflow).expect("one").id;
    let user = crate::ids::UserName::parse("ann").expect("valid");
    let planned = engine.plan(overflow, &Operation::Resolve, &user, 2 * S).expect("a change");
    engine.operated(&planned, &mut Vec::new());
    // Nothing is counted down in an alert that came later.
    site.give(&mut engine, 2, 3 * S, &all(20.0, 3));
    assert_eq!(engine.open(), 0);
    stored.write(Vec::new(), &[planned]);
    let (mut engine, changes) = stored.restore(&mut site, &rules, 4 * S);
    assert_eq!((changes, engine.open()), (vec![], 3));
    site.give(&mut engine, 2, 5 * S, &all(90.0, 5));
    assert_eq!(engine.open(), 10);
}

#[test]
fn an_alert_that_stands_for_others_is_as_bad_as_the_mildest_of_them() {
    let level =
        |severity: &str, when: &str| LevelDocument { severity: severity.into(), when: when.into(), clear: None };
    let levels = vec![level("info", "temp > 60"), level("warning", "temp > 70"), level("critical", "temp > 80")];
    let rules = [rule("hot", &RuleDocument { when: None, levels: Some(levels), ..hot() })];
    let (mut site, mut engine) = crowd(&rules, 1);
    for (device, temp, expected) in [(2, 90.0, "critical"), (3, 75.0, "warning"), (4, 90.0, "warning")] {
        site.give(&mut engine, device.into(), S, &[live(1, 1, 90.0), live(device, 1, temp)]);
        let overflow = engine.alerts().find(|alert| alert.kind == AlertKind::Overflow).expect("one");
        assert_eq!(overflow.severity.name(), expected);
    }
}

#[test]
fn only_devices_that_a_rule_looks_at_make_a_group_of_silent_ones() {
    let mut site = Site::new(11);
    // Three of the six in the cellar.
    let ids = ["d1", "d3", "d5"];
    for id in ids {
        let device = site.directory.by_id(&DeviceId::parse(id).expect("valid")).expect("there").clone();
        let tags = BTreeMap::from([("kind".to_owned(), "pump".to_owned())]);
        site.directory.put(Arc::new(Device { tags, ..(*device).clone() }));
    }
    let scope = ScopeDocument { tag: Some("kind:pump".into()), ..ScopeDocument::default() };
    let mut engine = site.engine(&[rule("silent", &RuleDocument { scope: Some(scope), ..silent("60s") })]);
    let blocks: Vec<_> = [1, 3, 5].into_iter().map(|device| live(device, 1, 20.0)).collect();
    site.give(&mut engine, 1, S, &blocks);
    site.wake(&mut engine, 100 * S);
    let group = engine.alerts().find(|alert| alert.kind == AlertKind::Group).expect("all of them are silent");
    assert!(group.text.starts_with("3 of 3 devices"), "{}", group.text);
}

#[test]
fn what_asks_for_time_alone_waits_after_a_start_whether_the_device_still_sends() {
    let missing = |when: &str| [rule("hot", &RuleDocument { when: Some(when.into()), ..hot() })];
    for (when, fires) in [("missing(temp, 30s)", 60), ("missing(temp, 5m)", 300), ("age(temp) > 90", 90)] {
        let (mut site, rules) = (Site::new(2), missing(when));
        let mut engine = site.engine(&rules);
        let (_, changes) = site.give(&mut engine, 1, S, &[live(1, 1, 20.0), live(2, 1, 20.0)]);
        let mut stored = Stored::default();
        saved(&mut engine, &mut stored, &changes);
        // Down for an hour.
        let start = 3_600;
        let (mut engine, changes) = stored.restore(&mut site, &rules, start * S);
        assert_eq!(changes, []);
        let (_, changes) = site.give(&mut engine, 2, (start + 10) * S, &[live(1, start + 10, 20.0)]);
        assert_eq!(changes, [], "{when}: it sends");
        assert_eq!(
            site.wake(&mut engine, (start + fires - 1) * S).iter().filter(|c| c.alert.device_id == "d2").count(),
            0
        );
        let changes = site.wake(&mut engine, (start + fires + 1) * S);
        assert!(changes.iter().any(|c| c.alert.device_id == "d2"), "{when}: it is silent indeed");
    }
}
