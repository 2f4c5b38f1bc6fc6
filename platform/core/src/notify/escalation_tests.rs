//! Who is told if nobody takes care, in virtual time.

use super::group_tests::{HOUR, MIN, S, Scene, ended, firing, policy};
use super::*;
use crate::ids::UserName;
use crate::role::Role;

fn escalating() -> GroupPolicy {
    let kim = UserName::parse("kim").expect("valid");
    GroupPolicy {
        to: Recipients::Users(vec![kim]),
        escalation: vec![
            EscalationStep { after_us: 5 * MIN, to: Recipients::Role(Role::Operator), times: 2, every_us: 5 * MIN },
            EscalationStep { after_us: 30 * MIN, to: Recipients::Role(Role::Admin), times: 1, every_us: 0 },
        ],
        ..policy()
    }
}

#[test]
fn escalation_runs_its_steps_and_then_stops_and_whoever_was_told_hears_of_the_end() {
    let mut scene = Scene::new(escalating());
    scene.at(0, firing(1));
    scene.until(14_000);
    assert_eq!(scene.take(), ["10 first 1/", "310 escalation 1/", "610 escalation 1/", "1810 escalation 1/"]);
    let to: Vec<_> = scene.decisions.iter().map(|d| d.to.clone()).collect();
    let (operators, admins) = (Recipients::Role(Role::Operator), Recipients::Role(Role::Admin));
    assert_eq!(to[1..], [operators.clone(), operators.clone(), admins.clone()]);
    assert_eq!(scene.group.due_us(&scene.policy), Some(14_410 * S), "escalation does not shift the repeat");
    scene.at(14_100, ended(1));
    scene.until(14_200);
    assert_eq!(scene.decisions.last().expect("told").also_to, [operators, admins]);
}

#[test]
fn escalation_is_stopped_by_acknowledging_silencing_and_ending() {
    let stops = [
        Member { acknowledged_us: Some(100 * S), ..firing(1) },
        Member { mute: Some(Mute::Silenced), ..firing(1) },
        ended(1),
    ];
    for stop in stops {
        let mut scene = Scene::new(escalating());
        scene.at(0, firing(1));
        scene.at(100, stop);
        scene.until(100_000);
        assert!(!scene.log.iter().any(|line| line.contains("escalation")), "{:?}", scene.log);
    }
}

#[test]
fn an_alert_that_is_back_before_its_end_was_told_is_not_escalated_for_the_time_of_peace() {
    let mut scene = Scene::new(GroupPolicy { send_resolved: false, ..escalating() });
    scene.at(0, firing(1));
    scene.at(0, Member { acknowledged_us: Some(0), ..firing(2) });
    scene.at(100, ended(1));
    scene.at(5000, firing(1));
    scene.until(5400);
    assert_eq!(scene.take(), ["10 first 1/", "5300 escalation 1/"]);
}

#[test]
fn escalation_begins_anew_when_an_acknowledgement_runs_out() {
    let mut scene = Scene::new(GroupPolicy { ack_timeout_us: Some(HOUR), ..escalating() });
    scene.at(0, firing(1));
    scene.at(400, Member { acknowledged_us: Some(400 * S), ..firing(1) });
    scene.until(5_000);
    let expected = ["10 first 1/", "310 escalation 1/", "4000 repeat 1/", "4300 escalation 1/", "4600 escalation 1/"];
    assert_eq!(scene.take(), expected);
}

#[test]
fn escalation_that_was_missed_is_made_up_for_once_to_all_its_people() {
    let mut scene = Scene::new(escalating());
    scene.at(0, firing(1));
    scene.until(10);
    scene.ask(7200 * S);
    assert_eq!(scene.take(), ["10 first 1/", "7200 escalation 1/ late"]);
    let decision = scene.decisions.last().expect("told");
    assert_eq!(
        (&decision.to, &decision.also_to[..]),
        (&Recipients::Role(Role::Admin), &[Recipients::Role(Role::Operator)][..])
    );
}
