//! Scenarios in virtual time.

use super::group::{Group, MEMBERS_MAX};
use super::*;
use crate::ids::AlertId;
use crate::severity::Severity;
use crate::ulid::Ulid;

pub(super) const S: i64 = 1_000_000;
pub(super) const MIN: i64 = 60 * S;
pub(super) const HOUR: i64 = 60 * MIN;

pub(super) fn id(number: u8) -> AlertId {
    AlertId(Ulid::from_parts(0, u128::from(number)))
}

pub(super) fn firing(number: u8) -> Member {
    Member {
        alert: id(number),
        severity: Severity::Warning,
        firing: true,
        acknowledged_us: None,
        mute: None,
        stale: false,
        flapping: false,
    }
}

pub(super) fn ended(number: u8) -> Member {
    Member { firing: false, ..firing(number) }
}

fn numbers(alerts: &[AlertId]) -> String {
    let low = |alert: &AlertId| alert.0.to_bytes()[15].to_string();
    alerts.iter().map(low).collect::<Vec<_>>().join(",")
}

/// A group that is asked whenever it wants to be.
pub(super) struct Scene {
    pub(super) group: Group,
    pub(super) policy: GroupPolicy,
    pub(super) log: Vec<String>,
    pub(super) times_us: Vec<i64>,
    pub(super) decisions: Vec<Decision>,
}

impl Scene {
    pub(super) fn new(policy: GroupPolicy) -> Self {
        policy.check().expect("valid");
        Self { group: Group::default(), policy, log: Vec::new(), times_us: Vec::new(), decisions: Vec::new() }
    }

    /// Asks at `now`, and notes what is decided as `time reason firing/resolved`.
    pub(super) fn ask(&mut self, now_us: i64) {
        while let Some(decision) = self.group.decide(now_us, &self.policy) {
            let (firing, resolved) = (numbers(&decision.firing), numbers(&decision.resolved));
            let late = if decision.delayed { " late" } else { "" };
            self.log.push(format!("{} {} {firing}/{resolved}{late}", now_us / S, decision.reason.name()));
            self.times_us.push(now_us);
            self.decisions.push(decision);
        }
    }

    /// Lets time pass up to and including a second.
    pub(super) fn until(&mut self, second: i64) {
        while let Some(due) = self.group.due_us(&self.policy).filter(|due| *due <= second * S) {
            self.ask(due);
        }
    }

    pub(super) fn at(&mut self, second: i64, member: Member) -> Option<Suppressed> {
        self.until(second);
        self.group.put(member, second * S, &self.policy)
    }

    pub(super) fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }
}

pub(super) fn policy() -> GroupPolicy {
    GroupPolicy::default()
}

fn put_all(group: &mut Group, alerts: &[u8], now_us: i64, as_it_is: fn(u8) -> Member, policy: &GroupPolicy) {
    for number in alerts {
        group.put(as_it_is(*number), now_us, policy);
    }
}

/// What `needsUpdate` of Alertmanager answers, row by row of its own table test. `entry`: what was told as firing and as
/// resolved, so many minutes ago.
#[test]
fn alertmanagers_needs_update_table() {
    struct Row {
        what: &'static str,
        entry: Option<(&'static [u8], &'static [u8], i64)>,
        firing: &'static [u8],
        resolved: &'static [u8],
        send_resolved: bool,
        told: Option<Reason>,
    }
    let row =
        |what, entry, firing, resolved, send_resolved, told| Row { what, entry, firing, resolved, send_resolved, told };
    let rows = [
        row("no entry and alerts fire", None, &[2, 3, 4], &[], true, Some(Reason::First)),
        row("no entry and no alert fires", None, &[], &[2, 3, 4], true, None),
        row("another set fires", Some((&[1, 2, 3], &[], 5)), &[2, 3, 4], &[1], true, Some(Reason::NewAlerts)),
        row("told in 1970", Some((&[1, 2, 3], &[], 29_500_000)), &[1, 2, 3], &[], true, Some(Reason::Repeat)),
        row("the same set before the repeat", Some((&[1, 2, 3], &[], 9)), &[1, 2, 3], &[], true, None),
        row("the same set after the repeat", Some((&[1, 2, 3], &[], 11)), &[1, 2, 3], &[], true, Some(Reason::Repeat)),
        row("only other ends", Some((&[], &[1, 2, 3], 11)), &[], &[3, 4, 5], true, None),
        row("ends that are not wanted", Some((&[1, 2], &[3], 9)), &[1], &[2, 3], false, None),
        row("ends that are wanted", Some((&[1, 2], &[3], 9)), &[1], &[2, 3], true, Some(Reason::SomeResolved)),
        // Alertmanager updates its log here and its next stage sends nothing: so nothing is told, and a next one is the first.
        row("all ended, not wanted", Some((&[1, 2], &[3], 9)), &[], &[1, 2, 3], false, None),
        row("all ended", Some((&[1, 2], &[3], 9)), &[], &[1, 2, 3], true, Some(Reason::AllResolved)),
        row("first again after all ended", Some((&[], &[1, 2], 9)), &[1], &[], true, Some(Reason::First)),
    ];
    for row in rows {
        let policy = GroupPolicy { wait_us: 0, repeat_us: 10 * MIN, send_resolved: row.send_resolved, ..policy() };
        let mut group = Group::default();
        let now = 29_500_000 * MIN;
        if let Some((was_firing, was_resolved, minutes)) = row.entry {
            let then = now - minutes * MIN;
            let entry_policy = GroupPolicy { send_resolved: true, ..policy.clone() };
            // What had ended by then fired before.
            let before = if was_resolved.is_empty() { then } else { then - 2 * MIN };
            put_all(&mut group, was_firing, before, firing, &entry_policy);
            put_all(&mut group, was_resolved, before, firing, &entry_policy);
            while group.decide(before, &entry_policy).is_some() {}
            put_all(&mut group, was_resolved, then, ended, &entry_policy);
            while group.decide(then, &entry_policy).is_some() {}
        }
        put_all(&mut group, row.resolved, now, ended, &policy);
        put_all(&mut group, row.firing, now, firing, &policy);
        let decision = group.decide(now, &policy);
        assert_eq!(decision.map(|d| d.reason), row.told, "{}", row.what);
        if row.firing.is_empty() {
            assert!(group.is_idle(), "{}", row.what);
        }
    }
}

#[test]
fn alerts_that_come_together_are_told_together_and_later_ones_after_the_interval() {
    let mut scene = Scene::new(policy());
    scene.at(0, firing(1));
    scene.at(4, firing(2));
    scene.at(12, firing(3));
    scene.at(30, firing(4));
    scene.until(200);
    assert_eq!(scene.take(), ["10 first 1,2/", "70 new_alerts 1,2,3,4/"]);
    assert_eq!(numbers(&scene.decisions[1].about), "3,4");
    // Long after the last message, a change waits for others only.
    scene.at(1000, firing(5));
    scene.until(2000);
    assert_eq!(scene.take(), ["1010 new_alerts 1,2,3,4,5/"]);
}

#[test]
fn an_alert_that_ends_within_the_wait_is_never_told() {
    let mut scene = Scene::new(policy());
    assert_eq!(scene.at(0, firing(1)), None);
    assert_eq!(scene.at(9, ended(1)), Some(Suppressed::ResolvedBeforeWait));
    assert!(scene.group.is_idle());
    scene.until(10_000);
    assert!(scene.take().is_empty());
}

#[test]
fn repeats_are_exact_and_a_late_decision_does_not_shift_them() {
    let mut scene = Scene::new(policy());
    scene.at(0, firing(1));
    scene.until(10);
    let hours = |n: i64| (10 + n * 4 * 3600) * S;
    assert_eq!(scene.group.due_us(&scene.policy), Some(hours(1)));
    scene.ask(hours(1) - 1);
    assert_eq!(scene.take(), ["10 first 1/"]);
    scene.ask(hours(1) + 3 * S);
    assert_eq!(scene.group.due_us(&scene.policy), Some(hours(2)), "on the beat");
    // A day without a decision: one repeat, late, and the beat begins anew.
    scene.take();
    scene.ask(hours(8) + 77 * S);
    assert_eq!(scene.log.len(), 1);
    assert!(scene.decisions.last().is_some_and(|d| d.delayed && d.reason == Reason::Repeat));
    assert_eq!(scene.group.due_us(&scene.policy), Some(hours(9) + 77 * S));
}

#[test]
fn what_was_due_while_the_server_was_down_is_told_once_late() {
    let mut scene = Scene::new(policy());
    scene.at(0, firing(1));
    scene.group = Group::decode(&scene.group.encode().expect("small")).expect("own bytes");
    scene.ask(3600 * S);
    assert_eq!(scene.take(), ["3600 first 1/ late"]);
    assert_eq!(scene.decisions[0].due_us, 10 * S);
    // An end that was decided late is told, too.
    scene.group.put(ended(1), 3700 * S, &scene.policy);
    scene.ask(9000 * S);
    assert_eq!(scene.take(), ["9000 all_resolved /1 late"]);
}

#[test]
fn acknowledging_stops_repeats_but_not_the_end() {
    let mut scene = Scene::new(policy());
    scene.at(0, firing(1));
    scene.at(0, firing(2));
    let acknowledged = |n| Member { acknowledged_us: Some(60 * S), ..firing(n) };
    assert_eq!(scene.at(60, acknowledged(1)), Some(Suppressed::Acknowledged));
    scene.until(14_410);
    assert_eq!(scene.take(), ["10 first 1,2/", "14410 repeat 2/"]);
    assert_eq!(scene.decisions[1].suppressed, [(id(1), Suppressed::Acknowledged)]);
    scene.at(20_000, Member { acknowledged_us: Some(20_000 * S), ..firing(2) });
    scene.until(100_000);
    assert!(scene.take().is_empty());
    scene.at(100_000, Member { firing: false, ..acknowledged(1) });
    scene.until(100_100);
    assert_eq!(scene.take(), ["100010 some_resolved /1"]);
}

#[test]
fn an_acknowledgement_ends_when_it_gets_worse_or_its_time_is_over() {
    let mut scene = Scene::new(GroupPolicy { ack_timeout_us: Some(HOUR), ..policy() });
    scene.at(0, firing(1));
    let acknowledged = Member { acknowledged_us: Some(60 * S), ..firing(1) };
    scene.at(60, acknowledged);
    let worse = Member { severity: Severity::Critical, ..acknowledged };
    assert_eq!(scene.at(120, worse), None);
    scene.until(3000);
    assert_eq!(scene.take(), ["10 first 1/", "130 level_up 1/"]);
    scene.at(3000, Member { acknowledged_us: Some(3000 * S), ..worse });
    scene.until(6599);
    assert!(scene.take().is_empty());
    scene.until(20_000);
    assert_eq!(scene.take(), ["6600 repeat 1/"], "an hour after it was given, at once");
    scene.until(21_001);
    assert_eq!(scene.take(), ["21000 repeat 1/"]);
    // Taken back by hand: told again.
    scene.at(22_000, Member { acknowledged_us: Some(22_000 * S), ..worse });
    assert_eq!(scene.at(22_100, Member { acknowledged_us: None, ..worse }), None);
    scene.until(22_200);
    assert_eq!(scene.take(), ["22110 repeat 1/"]);
}

#[test]
fn worse_is_meant_against_the_level_at_which_it_was_acknowledged() {
    for stays in [true, false] {
        let mut scene = Scene::new(policy());
        let critical = Member { severity: Severity::Critical, ..firing(1) };
        scene.at(0, critical);
        scene.at(100, firing(1));
        let acknowledged = Member { acknowledged_us: Some(200 * S), ..firing(1) };
        scene.at(200, acknowledged);
        // People were told "critical" before, but whoever acknowledged took care of a warning.
        scene.at(300, Member { severity: Severity::Critical, ..acknowledged });
        if !stays {
            scene.at(305, acknowledged);
        }
        scene.until(400);
        let told = if stays { "310 level_up 1/" } else { "310 repeat 1/" };
        assert_eq!(scene.take(), ["10 first 1/", told]);
    }
}

#[test]
fn an_alert_acknowledged_before_it_was_told_is_not_told_unless_that_runs_out() {
    let mut scene = Scene::new(GroupPolicy { ack_timeout_us: Some(HOUR), ..policy() });
    scene.at(0, firing(1));
    assert_eq!(scene.at(5, Member { acknowledged_us: Some(5 * S), ..firing(1) }), Some(Suppressed::Acknowledged));
    scene.until(3604);
    assert!(scene.take().is_empty());
    scene.until(3605);
    assert_eq!(scene.take(), ["3605 first 1/"]);
}

#[test]
fn getting_worse_does_not_wait_for_the_interval_and_getting_milder_is_not_told() {
    let mut scene = Scene::new(GroupPolicy { interval_us: HOUR, ..policy() });
    scene.at(0, firing(1));
    scene.at(20, Member { severity: Severity::Critical, ..firing(1) });
    scene.at(40, Member { severity: Severity::Info, ..firing(1) });
    scene.at(50, Member { severity: Severity::Critical, ..firing(1) });
    scene.until(14_000);
    assert_eq!(scene.take(), ["10 first 1/", "30 level_up 1/"]);
}

#[test]
fn a_silence_that_ends_tells_what_still_fires() {
    for mute in [Mute::Silenced, Mute::Maintenance] {
        let mut scene = Scene::new(policy());
        let quiet = |n| Member { mute: Some(mute), ..firing(n) };
        assert_eq!(scene.at(0, quiet(1)), Some(mute.into()));
        scene.until(900);
        assert!(scene.take().is_empty());
        assert_eq!(scene.at(1000, firing(1)), None);
        scene.until(1100);
        assert_eq!(scene.take(), ["1010 first 1/"]);
        // One that was told before is told again.
        scene.at(2000, quiet(1));
        scene.at(9000, firing(1));
        scene.until(9100);
        assert_eq!(scene.take(), ["9010 repeat 1/"]);
        // While it is silenced, its end is told; it was told that it fires.
        scene.at(9200, quiet(1));
        scene.at(9300, Member { firing: false, ..quiet(1) });
        scene.until(9400);
        assert_eq!(scene.take(), ["9310 all_resolved /1"]);
        assert!(scene.group.is_idle());
    }
}

#[test]
fn ends_of_quiet_alerts_can_be_left_out() {
    let mut scene = Scene::new(GroupPolicy { resolved_when_quiet: false, ..policy() });
    scene.at(0, firing(1));
    scene.at(0, firing(2));
    scene.at(100, Member { mute: Some(Mute::Silenced), ..firing(1) });
    let end = Member { firing: false, mute: Some(Mute::Silenced), ..firing(1) };
    assert_eq!(scene.at(200, end), Some(Suppressed::Silenced));
    scene.at(300, ended(2));
    scene.until(400);
    assert_eq!(scene.take(), ["10 first 1,2/", "310 all_resolved /2"]);
    assert_eq!(scene.decisions[1].suppressed, [(id(1), Suppressed::Silenced)]);
    assert!(scene.group.is_idle());
}

#[test]
fn an_inhibited_alert_that_comes_back_tells_only_what_is_not_known() {
    let mut scene = Scene::new(policy());
    let inhibited = Member { mute: Some(Mute::Inhibited), ..firing(1) };
    scene.at(0, firing(1));
    for second in [100, 200, 300] {
        assert_eq!(scene.at(second, inhibited), Some(Suppressed::Inhibited));
        assert_eq!(scene.at(second + 50, firing(1)), Some(Suppressed::NotDue));
    }
    scene.until(14_000);
    assert_eq!(scene.take(), ["10 first 1/"]);
    // The repeat that it missed is made up for when it comes back, and is not called late.
    scene.at(14_000, inhibited);
    scene.at(20_000, firing(1));
    scene.until(20_000);
    assert_eq!(scene.take(), ["20000 repeat 1/"]);
}

#[test]
fn a_reopened_alert_is_told_anew_only_if_its_end_was_told() {
    let mut scene = Scene::new(policy());
    scene.at(0, firing(1));
    scene.at(0, firing(2));
    scene.at(100, ended(1));
    assert_eq!(scene.at(105, firing(1)), Some(Suppressed::NotDue));
    scene.at(300, ended(1));
    scene.at(400, firing(1));
    scene.until(500);
    assert_eq!(scene.take(), ["10 first 1,2/", "310 some_resolved 2/1", "410 new_alerts 1,2/"]);
}

#[test]
fn without_ends_a_group_is_over_after_the_interval_and_an_alert_that_is_back_before_is_known() {
    let mut scene = Scene::new(GroupPolicy { send_resolved: false, ..policy() });
    scene.at(0, firing(1));
    assert_eq!(scene.at(20, ended(1)), Some(Suppressed::ResolvedNotAsked));
    assert_eq!(scene.at(40, firing(1)), Some(Suppressed::NotDue));
    scene.at(60, ended(1));
    assert_eq!(scene.group.due_us(&scene.policy), Some(70 * S));
    scene.until(70);
    assert!(scene.group.is_idle());
    scene.at(80, firing(1));
    scene.until(100);
    assert_eq!(scene.take(), ["10 first 1/", "90 first 1/"]);
}

#[test]
fn flapping_is_told_once_and_then_how_it_settled() {
    for settles_firing in [true, false] {
        let mut scene = Scene::new(policy());
        scene.at(0, firing(1));
        scene.at(20, ended(1));
        scene.at(25, Member { flapping: true, ..ended(1) });
        for second in (80..2000).step_by(10) {
            let member = Member { firing: second % 20 == 0, flapping: true, ..firing(1) };
            scene.at(second, member);
        }
        scene.at(2000, Member { firing: settles_firing, ..firing(1) });
        scene.until(3000);
        let settled = if settles_firing { "2010 settled 1/" } else { "2010 settled /1" };
        assert_eq!(scene.take(), ["10 first 1/", "70 flapping /", settled]);
        assert_eq!(numbers(&scene.decisions[1].flapping), "1");
        assert_eq!(scene.group.is_idle(), !settles_firing);
    }
}

#[test]
fn flapping_that_is_over_before_it_was_told_is_not_told() {
    let mut scene = Scene::new(policy());
    scene.at(0, Member { flapping: true, ..firing(1) });
    scene.at(5, firing(1));
    scene.until(100);
    assert_eq!(scene.take(), ["10 first 1/"]);
}

#[test]
fn stale_is_told_once_if_asked_and_data_that_return_bad_tell_nothing() {
    for tell_stale in [true, false] {
        let mut scene = Scene::new(GroupPolicy { tell_stale, ..policy() });
        scene.at(0, firing(1));
        for second in [100, 300, 500] {
            scene.at(second, Member { stale: true, ..firing(1) });
            scene.at(second + 100, firing(1));
        }
        scene.until(1000);
        let told = scene.take();
        let expected: &[&str] = if tell_stale { &["10 first 1/", "110 stale 1/"] } else { &["10 first 1/"] };
        assert_eq!(told, expected);
    }
}

#[test]
fn stale_is_told_again_of_a_new_firing() {
    let mut scene = Scene::new(GroupPolicy { tell_stale: true, ..policy() });
    scene.at(0, firing(1));
    scene.at(100, Member { stale: true, ..firing(1) });
    scene.at(200, ended(1));
    scene.at(205, firing(1));
    scene.at(300, Member { stale: true, ..firing(1) });
    scene.until(400);
    assert_eq!(scene.take(), ["10 first 1/", "110 stale 1/", "310 stale 1/"]);
}

#[test]
fn a_decision_that_was_not_stored_is_made_again() {
    let policy = policy();
    let mut group = Group::default();
    group.put(firing(1), 0, &policy);
    let mut lost = group.clone();
    let first = lost.decide(10 * S, &policy).expect("due");
    assert_eq!(lost.decide(10 * S, &policy), None);
    let mut stored = group.clone();
    assert_eq!(stored.decide(10 * S, &policy), Some(first));
}

#[test]
fn numbers_of_messages_grow_even_if_the_group_is_forgotten_in_between() {
    let policy = policy();
    let (mut now, mut last) = (1_700_000_000 * S, 0);
    for _ in 0..5 {
        let mut group = Group::default();
        for member in [firing(1), ended(1)] {
            group.put(member, now, &policy);
            now += 100 * S;
            let decision = group.decide(now, &policy).expect("due");
            assert!(decision.sequence > last);
            last = decision.sequence;
        }
        assert!(group.is_idle());
    }
}

#[test]
fn a_full_group_keeps_what_it_holds_and_counts_the_rest() {
    let policy = policy();
    let mut group = Group::default();
    let nth = |n: usize| Member { alert: AlertId(Ulid::from_parts(0, n as u128)), ..firing(0) };
    for n in 0..MEMBERS_MAX {
        assert_eq!(group.put(nth(n), 0, &policy), None);
    }
    assert_eq!(group.put(nth(MEMBERS_MAX), 0, &policy), Some(Suppressed::GroupFull));
    assert_eq!(group.put(nth(MEMBERS_MAX + 1), 0, &policy), Some(Suppressed::GroupFull));
    let decision = group.decide(10 * S, &policy).expect("due");
    assert_eq!((decision.firing.len(), decision.more), (MEMBERS_MAX, 2));
    let bytes = group.encode().expect("fits");
    assert!(bytes.len() < 64 + 66 * MEMBERS_MAX, "{}", bytes.len());
    assert_eq!(Group::decode(&bytes), Ok(group.clone()));
    group.put(Member { firing: false, ..nth(3) }, 20 * S, &policy);
    group.decide(100 * S, &policy).expect("the end is told");
    assert_eq!(group.put(nth(MEMBERS_MAX), 200 * S, &policy), None, "room again");
}

#[test]
fn while_an_alert_without_room_fires_nobody_is_told_that_all_are_over() {
    let policy = policy();
    let mut group = Group::default();
    let nth = |n: usize| Member { alert: AlertId(Ulid::from_parts(0, n as u128)), ..firing(0) };
    let over = |n: usize| Member { firing: false, ..nth(n) };
    for n in 0..=MEMBERS_MAX {
        group.put(nth(n), 0, &policy);
    }
    group.decide(10 * S, &policy).expect("due");
    for n in 0..MEMBERS_MAX {
        group.put(over(n), 20 * S, &policy);
    }
    let stored = Group::decode(&group.encode().expect("fits")).expect("read");
    assert_eq!(stored, group);
    assert_eq!(group.decide(1_000 * S, &policy).map(|decision| decision.reason), Some(Reason::SomeResolved));
    assert!(!group.is_idle(), "one still fires");
    assert_eq!(group.alerts().collect::<Vec<_>>(), [nth(MEMBERS_MAX).alert], "its end is asked for after a start");
    group.put(over(MEMBERS_MAX), 1_001 * S, &policy);
    assert!(group.is_idle());
}

#[test]
fn an_alert_without_room_is_counted_when_people_are_to_hear_of_it_and_not_at_each_change() {
    let policy = policy();
    let mut group = Group::default();
    let nth = |n: usize| Member { alert: AlertId(Ulid::from_parts(0, n as u128)), ..firing(0) };
    for n in 0..MEMBERS_MAX {
        group.put(nth(n), 0, &policy);
    }
    let one = Member { severity: Severity::Warning, ..nth(MEMBERS_MAX) };
    let muted = Member { mute: Some(Mute::Silenced), ..nth(MEMBERS_MAX + 1) };
    for member in [one, Member { stale: true, ..one }, muted, muted] {
        group.put(member, S, &policy);
    }
    assert_eq!(group.decide(20 * S, &policy).map(|decision| decision.more), Some(1));
    group.put(Member { severity: Severity::Critical, ..one }, 21 * S, &policy);
    group.put(Member { mute: None, ..muted }, 21 * S, &policy);
    assert_eq!(group.decide(1_000 * S, &policy).map(|decision| decision.more), Some(2));
}

#[test]
fn a_group_that_was_stored_before_alerts_without_room_were_remembered_is_read() {
    let mut group = Group::default();
    group.put(firing(1), 0, &policy());
    let mut bytes = group.encode().expect("fits");
    bytes[0] = 1;
    bytes.truncate(bytes.len() - 8);
    assert_eq!(Group::decode(&bytes), Ok(group));
}

#[test]
fn a_groups_id_depends_on_its_labels_and_not_on_their_order() {
    let one = group_id([("group", "lab"), ("rule", "warm")]);
    assert_eq!(one, group_id([("rule", "warm"), ("group", "lab")]));
    assert_ne!(one, group_id([("rule", "lab"), ("group", "warm")]));
    assert_ne!(group_id([("a", "bc")]), group_id([("ab", "c")]));
    assert_eq!(one.to_string(), "0443J7JDMD524T8ET789TFRBDG", "stored ids have to stay the same");
}
