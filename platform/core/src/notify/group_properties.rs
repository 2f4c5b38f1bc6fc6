//! What holds of a group whatever happens to its alerts.

use super::group::Group;
use super::group_tests::{HOUR, MIN, S, firing, id};
use super::*;
use crate::role::Role;
use crate::severity::Severity;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// What happens: time passes, then an alert is so.
#[derive(Debug, Clone)]
struct Event {
    after_us: i64,
    member: Member,
    /// Acknowledged now.
    acknowledge: bool,
}

fn event() -> impl Strategy<Value = Event> {
    let mute = prop_oneof![
        6 => Just(None),
        1 => Just(Some(Mute::Silenced)),
        1 => Just(Some(Mute::Maintenance)),
        1 => Just(Some(Mute::Inhibited)),
    ];
    let after = prop_oneof![0..15 * S, 0..2 * MIN, 0..3 * HOUR];
    let flags =
        (any::<bool>(), proptest::bool::weighted(0.2), proptest::bool::weighted(0.2), proptest::bool::weighted(0.2));
    (after, 0u8..6, 0usize..3, mute, flags).prop_map(|(after_us, number, severity, mute, flags)| {
        let (is_firing, stale, flapping, acknowledge) = flags;
        let severity = Severity::ALL[severity];
        let member = Member { severity, firing: is_firing, mute, stale, flapping, ..firing(number) };
        Event { after_us, member, acknowledge }
    })
}

fn any_policy() -> impl Strategy<Value = GroupPolicy> {
    (any::<[bool; 5]>(), 0..30 * S, S..5 * MIN).prop_map(|(flags, wait_us, interval_us)| {
        let [send_resolved, resolved_when_quiet, tell_stale, times_out, escalates] = flags;
        let step =
            EscalationStep { after_us: 10 * MIN, to: Recipients::Role(Role::Admin), times: 3, every_us: 10 * MIN };
        GroupPolicy {
            wait_us,
            interval_us,
            send_resolved,
            resolved_when_quiet,
            tell_stale,
            ack_timeout_us: times_out.then_some(HOUR),
            escalation: if escalates { vec![step] } else { Vec::new() },
            ..GroupPolicy::default()
        }
    })
}

/// A decision, when it was made, and whether nothing was open before it.
#[derive(Debug, Clone, PartialEq)]
struct Told {
    at_us: i64,
    anew: bool,
    decision: Decision,
}

/// Runs events; at each moment that the group asks for, and at each event, it is asked. Returns all decisions with their times.
/// `stored`: between any two steps the group is written and read back, and each decision is lost once.
fn run(events: &[Event], policy: &GroupPolicy, stored: bool) -> (Group, Vec<Told>) {
    let (mut group, mut now, mut decisions, mut anew) = (Group::default(), 1_000_000_000 * S, Vec::new(), true);
    let last = Event { after_us: 0, member: firing(0), acknowledge: false };
    for (i, event) in events.iter().chain([&last]).enumerate() {
        let next = now + event.after_us;
        while let Some(due) = group.due_us(policy).filter(|due| *due <= next) {
            let at = due.max(now);
            if stored {
                group = Group::decode(&group.encode().expect("fits")).expect("own bytes");
                let _ = group.clone().decide(at, policy);
            }
            let mut asked = 0;
            while let Some(decision) = group.decide(at, policy) {
                decisions.push(Told { at_us: at, anew, decision });
                anew = group.is_idle();
                asked += 1;
                assert!(asked <= 2, "a message and an escalation at most");
            }
            assert!(group.due_us(policy).is_none_or(|due| due > at), "asked, and nothing came of it");
            now = at;
        }
        now = next;
        if i < events.len() {
            let member = Member { acknowledged_us: event.acknowledge.then_some(now), ..event.member };
            group.put(member, now, policy);
            anew |= group.is_idle();
            let once = group.clone();
            group.put(member, now, policy);
            assert_eq!(once, group, "the same again changes nothing");
        }
    }
    (group, decisions)
}

/// Alertmanager's `needsUpdate`, put down from its own text: what its log knows of the last notification against what is.
/// Looked at once a minute, as its dispatcher does.
#[derive(Default)]
struct Alertmanager {
    /// What the last notification said: firing, resolved, and when.
    entry: Option<(BTreeSet<u8>, BTreeSet<u8>, i64)>,
    /// Alerts of the group, and whether they fire.
    alerts: BTreeMap<u8, bool>,
}

impl Alertmanager {
    fn flush(&mut self, now_us: i64, policy: &GroupPolicy) -> Option<Reason> {
        let with = |is_firing: bool| self.alerts.iter().filter(|(_, f)| **f == is_firing).map(|(n, _)| *n).collect();
        let (firing, resolved): (BTreeSet<u8>, BTreeSet<u8>) = (with(true), with(false));
        let reason = match &self.entry {
            None => (!firing.is_empty()).then_some(Reason::First),
            Some((told, _, _)) if !firing.is_subset(told) && told.is_empty() => Some(Reason::First),
            Some((told, _, _)) if !firing.is_subset(told) => Some(Reason::NewAlerts),
            Some((told, _, _)) if firing.is_empty() => (!told.is_empty()).then_some(Reason::AllResolved),
            Some((_, told, _)) if policy.send_resolved && !resolved.is_subset(told) => Some(Reason::SomeResolved),
            // Theirs is "more than", ours "not less".
            Some((_, _, at)) => (now_us - at >= policy.repeat_us).then_some(Reason::Repeat),
        };
        if reason.is_some() {
            self.entry = Some((firing, resolved, now_us));
        }
        self.alerts.retain(|_, is_firing| *is_firing);
        // A later stage of theirs sends nothing then.
        reason.filter(|reason| policy.send_resolved || *reason != Reason::AllResolved)
    }
}

fn in_lists(decision: &Decision) -> usize {
    decision.firing.len() + decision.resolved.len() + decision.flapping.len() + decision.suppressed.len()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn stored_or_not_the_same_decisions_follow(events in proptest::collection::vec(event(), 0..60), policy in any_policy()) {
        let (group, decisions) = run(&events, &policy, false);
        prop_assert_eq!(run(&events, &policy, true), (group, decisions));
    }

    #[test]
    fn messages_keep_the_interval_and_their_number_is_bounded(
        events in proptest::collection::vec(event(), 0..60),
        policy in any_policy(),
    ) {
        let (_, decisions) = run(&events, &policy, false);
        let mut last: Option<i64> = None;
        for Told { at_us: at, anew, decision } in &decisions {
            prop_assert!(decision.due_us <= *at && !decision.delayed, "{:?}", decision);
            if decision.reason == Reason::Escalation {
                prop_assert!(!decision.firing.is_empty());
                continue;
            }
            // A rise in level need not wait. After all was over, the group begins anew.
            let may_follow = last.is_none_or(|last| at - last >= policy.interval_us);
            prop_assert!(may_follow || *anew || decision.reason == Reason::LevelUp, "{:?}", decision);
            prop_assert!(!anew || matches!(decision.reason, Reason::First | Reason::Flapping), "{:?}", decision);
            last = Some(*at);
        }
        // Each event may cause a message at its begin, its silence's or acknowledgement's end; each message one run of escalation.
        let length: i64 = events.iter().map(|event| event.after_us).sum();
        let repeats = usize::try_from(length / policy.repeat_us).expect("positive");
        prop_assert!(decisions.len() <= (2 * events.len() + repeats) * 4, "{} of {}", decisions.len(), events.len());
    }

    #[test]
    fn each_alert_is_told_as_it_is_and_no_end_without_a_begin(
        events in proptest::collection::vec(event(), 0..60),
        policy in any_policy(),
    ) {
        let (_, decisions) = run(&events, &policy, false);
        let mut known = BTreeMap::new();
        let mut sequence = 0;
        for Told { decision, .. } in &decisions {
            prop_assert!(decision.sequence > sequence);
            sequence = decision.sequence;
            let told = decision.firing.iter().chain(&decision.resolved).chain(&decision.flapping);
            let mut told: Vec<_> = told.chain(decision.suppressed.iter().map(|(alert, _)| alert)).collect();
            told.sort();
            told.dedup();
            prop_assert_eq!(told.len(), in_lists(decision), "an alert is in one list only");
            for alert in &decision.about {
                let lists = [&decision.firing, &decision.resolved, &decision.flapping, &decision.stale];
                prop_assert!(lists.iter().any(|list| list.contains(alert)));
            }
            for alert in decision.firing.iter().chain(&decision.flapping) {
                known.insert(*alert, ());
            }
            for alert in &decision.resolved {
                prop_assert!(known.remove(alert).is_some(), "the end of {} was told, its begin never", alert);
            }
        }
    }

    #[test]
    fn a_group_whose_alerts_all_ended_becomes_idle(
        events in proptest::collection::vec(event(), 0..60),
        policy in any_policy(),
    ) {
        let all_end = (0u8..6).map(|number| Event {
            after_us: S,
            member: Member { firing: false, ..firing(number) },
            acknowledge: false,
        });
        let ask = Event { after_us: HOUR, member: Member { firing: false, ..firing(0) }, acknowledge: false };
        let events: Vec<Event> = events.into_iter().chain(all_end).chain([ask]).collect();
        let (group, _) = run(&events, &policy, false);
        prop_assert!(group.is_idle(), "{:?}", group);
        prop_assert_eq!(group.due_us(&policy), None);
    }

    #[test]
    fn plain_groups_decide_as_alertmanager_does(
        minutes in proptest::collection::vec(proptest::collection::btree_set(0u8..5, 0..3), 1..80),
        repeat_minutes in 2i64..10,
        send_resolved: bool,
    ) {
        let policy = GroupPolicy {
            wait_us: 0,
            interval_us: MIN,
            repeat_us: repeat_minutes * MIN,
            send_resolved,
            ..GroupPolicy::default()
        };
        let (mut ours, mut theirs) = (Group::default(), Alertmanager::default());
        for (minute, toggled) in minutes.iter().enumerate() {
            let now = minute as i64 * MIN;
            let fires = |number: &u8| !theirs.alerts.get(number).copied().unwrap_or(false);
            // They see a minute's changes at once. We would see the last end before the next begin, and begin anew.
            let (begin, end): (Vec<u8>, Vec<u8>) = toggled.iter().partition(|number| fires(number));
            for (number, fires) in begin.iter().map(|n| (n, true)).chain(end.iter().map(|n| (n, false))) {
                theirs.alerts.insert(*number, fires);
                ours.put(Member { firing: fires, ..firing(*number) }, now, &policy);
            }
            let decision = ours.decide(now, &policy);
            prop_assert_eq!(decision.as_ref().map(|d| d.reason), theirs.flush(now, &policy), "minute {}", minute);
            if let (Some(decision), Some((told, _, _))) = (decision, &theirs.entry) {
                let firing: Vec<_> = told.iter().map(|number| id(*number)).collect();
                prop_assert_eq!(decision.firing, firing);
            }
            prop_assert_eq!(ours.decide(now, &policy), None);
        }
    }

    #[test]
    fn what_only_repeats_repeats_exactly(
        repeat_us in 2 * MIN..HOUR,
        delays in proptest::collection::vec(0..30 * S, 1..20),
    ) {
        let policy = GroupPolicy { repeat_us, wait_us: 0, ..GroupPolicy::default() };
        let mut group = Group::default();
        group.put(firing(1), 0, &policy);
        group.decide(0, &policy).expect("first");
        for (n, delay) in delays.iter().enumerate() {
            let due = repeat_us * (n as i64 + 1);
            prop_assert_eq!(group.due_us(&policy), Some(due));
            prop_assert_eq!(group.decide(due - 1, &policy), None);
            let decision = group.decide(due + delay, &policy).expect("due");
            prop_assert_eq!((decision.reason, decision.due_us), (Reason::Repeat, due));
            prop_assert_eq!(group.decide(due + delay, &policy), None);
        }
    }

    #[test]
    fn an_alert_that_needs_no_decision_is_explained(
        events in proptest::collection::vec(event(), 1..60),
        policy in any_policy(),
    ) {
        let (group, _) = run(&events, &policy, false);
        for number in 0..6 {
            let why = group.why(id(number), &policy);
            if why.is_none() && group.due_us(&policy).is_none() {
                // Not held: it is over, or was never there.
                let mut other = group.clone();
                let end = Member { firing: false, ..firing(number) };
                prop_assert_eq!(other.put(end, i64::MAX, &policy), Some(Suppressed::ResolvedBeforeWait));
            }
        }
    }

    #[test]
    fn damaged_bytes_are_refused_or_read_but_never_panic(
        events in proptest::collection::vec(event(), 0..20),
        at: prop::sample::Index,
        byte: u8,
        policy in any_policy(),
    ) {
        let (group, _) = run(&events, &policy, false);
        let mut bytes = group.encode().expect("fits");
        let cut = at.index(bytes.len());
        prop_assert!(Group::decode(&bytes[..cut]).is_err());
        bytes[cut] = byte;
        if let Ok(mut read) = Group::decode(&bytes) {
            let due = read.due_us(&policy);
            let _ = read.decide(due.unwrap_or(0), &policy);
        }
        let long = [group.encode().expect("fits"), vec![0]].concat();
        prop_assert!(Group::decode(&long).is_err());
    }
}
