//! `docs/notifications.md` says what the code does.

use super::group_tests::{HOUR, MIN, Scene, firing};
use super::*;
use crate::role::Role;
use crate::severity::Severity;

const DOC: &str = include_str!("../../../../docs/notifications.md");

#[test]
fn the_document_has_every_reason_in_its_words() {
    let rows: Vec<Vec<&str>> = DOC.lines().map(|line| line.split('|').map(str::trim).collect()).collect();
    let reasons = Reason::ALL.iter().map(|reason| (reason.name(), reason.text()));
    let suppressed = Suppressed::ALL.iter().map(|reason| (reason.name(), reason.text()));
    for (name, text) in reasons.chain(suppressed) {
        let quoted = format!("`{name}`");
        let found = rows.iter().any(|row| row.get(1) == Some(&quoted.as_str()) && row.get(2) == Some(&text));
        assert!(found, "{name}: {text}");
    }
    let (_, listed) = DOC.split_once("## Why a message goes out").expect("the list");
    let order: Vec<usize> =
        Reason::ALL.iter().filter_map(|reason| listed.find(&format!("\n| `{}` |", reason.name()))).collect();
    assert!(
        order.len() == Reason::ALL.len() && order.is_sorted(),
        "the document lists reasons in the order that counts"
    );
}

#[test]
fn the_example_is_what_happens() {
    let to_admins = EscalationStep { after_us: 15 * MIN, to: Recipients::Role(Role::Admin), times: 1, every_us: 0 };
    let policy = GroupPolicy { ack_timeout_us: Some(HOUR), escalation: vec![to_admins], ..GroupPolicy::default() };
    let mut scene = Scene::new(policy);
    let at = |hour: i64, minute: i64, second: i64| (hour * 60 + minute) * 60 + second;
    let critical = Member { severity: Severity::Critical, ..firing(1) };
    let acknowledged = Member { acknowledged_us: Some(9 * HOUR + 5 * MIN), ..critical };
    let again = Some(10 * HOUR + 14 * MIN);
    let events = [
        (at(9, 0, 0), firing(1)),
        (at(9, 0, 4), firing(2)),
        (at(9, 0, 30), firing(3)),
        (at(9, 1, 20), critical),
        (at(9, 5, 0), acknowledged),
        (at(9, 10, 0), Member { firing: false, ..firing(2) }),
        (at(9, 20, 0), Member { mute: Some(Mute::Silenced), ..firing(3) }),
        (at(10, 0, 0), firing(3)),
        (at(10, 14, 0), Member { acknowledged_us: again, ..critical }),
        (at(10, 14, 0), Member { acknowledged_us: again, ..firing(3) }),
        (at(10, 30, 0), Member { firing: false, acknowledged_us: again, ..critical }),
        (at(10, 40, 0), Member { firing: false, acknowledged_us: again, ..firing(3) }),
    ];
    for (second, member) in events {
        scene.at(second, member);
    }
    scene.until(at(20, 0, 0));
    let names = |alerts: &[crate::ids::AlertId], verb: &str| {
        let name = |alert: &crate::ids::AlertId| format!("fridge-{}", alert.0.to_bytes()[15]);
        let names: Vec<String> = alerts.iter().map(name).collect();
        (!names.is_empty()).then(|| format!("{} {verb}", names.join(", ")))
    };
    let happened: Vec<String> = scene
        .times_us
        .iter()
        .zip(&scene.decisions)
        .map(|(time_us, decision)| {
            let second = time_us / 1_000_000;
            let lists = [names(&decision.firing, "fire"), names(&decision.resolved, "ended")];
            let lists: Vec<String> = lists.into_iter().flatten().collect();
            let (h, m, s) = (second / 3600, second / 60 % 60, second % 60);
            format!("{h:02}:{m:02}:{s:02}  -> {}: {}", decision.reason.name(), lists.join("; "))
        })
        .collect();
    let written: Vec<&str> = DOC.lines().filter(|line| line.contains("  -> ")).collect();
    assert_eq!(written, happened);
}
