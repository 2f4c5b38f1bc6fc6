//! What the store of rules and alerts promises: one unit of work, repeats without effect, and bounds on all that is kept.
#![allow(clippy::unwrap_used)] // a helper's panic is this test's failure

mod common;

use common::{alert, change, name, told};
use pulsewire::ports::{
    AlertCommit, AlertPage, AlertQuery, AlertStore, AlertingState, Cursor, RuleChangeKind, RuleWrite, Told, User,
    UserStore,
};
use pulsewire::storage::sqlite::SqliteMeta;
use pulsewire_core::alert::{
    Acknowledgement, Alert, AlertKind, AlertStep, Authorship, ResolvedReason, Rule, RuleDocument, Snooze, StepKind,
};
use pulsewire_core::ids::{AlertId, DeviceKey, GroupName, Position, RuleId, SilenceId, UserName};
use pulsewire_core::notify::{Matcher, Reason, Recipients, Silence, SilenceKind, Suppressed};
use pulsewire_core::role::Role;
use pulsewire_core::scope::DeviceScope;
use pulsewire_core::severity::Severity;
use pulsewire_core::ulid::Ulid;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

fn open(folder: &Path) -> SqliteMeta {
    SqliteMeta::open(&folder.join("meta.db")).unwrap()
}

/// The file, beside the store.
fn file(folder: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(folder.join("meta.db")).unwrap()
}

fn count(folder: &Path, table: &str) -> i64 {
    file(folder).query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

async fn add_user(store: &SqliteMeta, user: &str, role: Role) {
    let user = User { name: name(user), role, scope: DeviceScope::All, created_us: 1 };
    store.create_user(user, "hash".into()).await.unwrap();
}

fn rule_of(id: &str, json: &str) -> Rule {
    let document: RuleDocument = serde_json::from_str(json).unwrap();
    let by = Authorship {
        id: RuleId::parse(id).unwrap(),
        version: 1,
        created_us: 1,
        updated_us: 2,
        updated_by: name("kim"),
    };
    document.rule(by).unwrap()
}

fn rule(id: &str) -> Rule {
    rule_of(id, r#"{"name": "Too hot", "when": "temp >= 0.1", "severity": "critical"}"#)
}

async fn write(store: &SqliteMeta, write: RuleWrite, keep: usize) {
    let commit = AlertCommit { now_us: 9, rule: Some(write), rule_versions_max: keep, ..AlertCommit::default() };
    store.commit(Arc::new(commit)).await.unwrap();
}

/// An alert and a message about it, each alert its own group.
fn commit_of(alert: &Alert) -> AlertCommit {
    let told = told(&alert.id.to_string(), std::slice::from_ref(alert), 9);
    AlertCommit { now_us: 9, changes: vec![change(alert, 9)], told: vec![told], ..AlertCommit::default() }
}

async fn tell(store: &SqliteMeta, told: Vec<Told>) {
    store.commit(Arc::new(AlertCommit { now_us: 9, told, ..AlertCommit::default() })).await.unwrap();
}

fn silence(number: u128, starts_us: i64, ends_us: i64) -> Silence {
    Silence {
        id: SilenceId(Ulid::from_parts(0, number)),
        kind: SilenceKind::Maintenance,
        matchers: [r"name=a\*b", "group!=lab", "rule=*warm*"].map(|text| Matcher::parse(text).unwrap()).into(),
        starts_us,
        ends_us,
        reason: "Défrosting.".into(),
        created_by: name("kim"),
        created_us: starts_us,
        updated_us: starts_us,
        ended_early_us: None,
    }
}

async fn silenced(store: &SqliteMeta, silence: &Silence, now_us: i64) {
    let silence = Some(silence.clone());
    store.commit(Arc::new(AlertCommit { now_us, silence, ..AlertCommit::default() })).await.unwrap();
}

fn messages(folder: &Path) -> Vec<(String, String)> {
    let connection = file(folder);
    let mut statement = connection.prepare("SELECT user, kind FROM message ORDER BY seq").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

#[tokio::test]
async fn rules_states_groups_and_cursor_are_there_again_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let rules = [
        rule("r0"),
        rule_of(
            "r1",
            r#"{"name": "T", "metric": "temp", "comparison": "<", "threshold": 1e-7, "clear": 0.1, "scope": {"devices": ["a", "b"]}}"#,
        ),
        rule_of(
            "r2",
            r#"{"name": "Öffne ein Fenster", "scope": {"tag": "site:a:\"b\""}, "for": "90s", "lateness": "30s", "labels": {"team": "a"},
                "levels": [{"severity": "critical", "when": "avg(temp, 5m) > 90", "clear": "temp < 80"},
                           {"severity": "warning", "when": "temp > 80 and humidity < 0.1"}],
                "no_data": {"after": "5m", "then": "fire", "severity": "critical"}, "message": "{{ value }} in {{ tag.room }}",
                "schedule": {"zone": "Europe/Berlin", "windows": ["mon-fri 08:00-18:00"]}, "runbook": "https://example.com/1",
                "notify": {"group_by": ["rule", "group"], "to": ["user:kim"], "escalation": [{"after": "5m", "to": ["role:admin"]}]}}"#,
        ),
        rule_of(
            "r3",
            r#"{"name": "R", "when": "`room temp` > 1", "scope": {"group": "Räume"}, "enabled": false, "count": {"at_least": 2, "of": 3}}"#,
        ),
    ];
    for one in &rules {
        write(&store, RuleWrite::Create(one.clone()), 0).await;
    }
    let cursor = Cursor { epoch: u64::MAX - 3, position: Position(44) };
    let first = AlertCommit {
        cursor: Some(cursor),
        states: (1..4).map(|device| (DeviceKey(device), Some(vec![0; 9]))).collect(),
        groups: vec![("one".into(), Some(vec![1])), ("two".into(), Some(vec![2]))],
        ..AlertCommit::default()
    };
    store.commit(Arc::new(first)).await.unwrap();
    let second = AlertCommit {
        states: vec![(DeviceKey(2), None), (DeviceKey(3), Some(vec![255, 0]))],
        groups: vec![("one".into(), None), ("two".into(), Some(Vec::new()))],
        ..AlertCommit::default()
    };
    store.commit(Arc::new(second)).await.unwrap();
    drop(store);
    let state = open(folder.path()).load().await.unwrap();
    assert_eq!((state.rules, state.cursor), (rules.to_vec(), Some(cursor)));
    assert_eq!(state.states, [(DeviceKey(1), vec![0; 9]), (DeviceKey(3), vec![255, 0])]);
    assert_eq!((state.groups, state.damaged), (vec![("two".into(), Vec::new())], Vec::<String>::new()));
}

#[tokio::test]
async fn everything_about_an_alert_that_can_change_while_it_fires_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let first = Alert { threshold: None, device: None, device_id: String::new(), ..alert(1, Severity::Info) };
    store.commit(Arc::new(commit_of(&first))).await.unwrap();
    assert_eq!(store.load().await.unwrap().open, std::slice::from_ref(&first));
    let changed = Alert {
        revision: 2,
        rule_name: "Much too hot".into(),
        kind: AlertKind::Group,
        device_name: "Cellar".into(),
        group: Some(GroupName::parse("Räume").unwrap()),
        unit: "K".into(),
        severity: Severity::Warning,
        severity_max: Severity::Critical,
        condition: "temp > 90".into(),
        threshold: alert(1, Severity::Info).threshold,
        hold_us: 5,
        value: -0.1,
        text: "Öffne ein Fenster.".into(),
        runbook: "https://example.com".into(),
        labels: BTreeMap::from([("tag.room".into(), "\"1\"".into())]),
        started_us: 15,
        fired_us: 16,
        reopened: 1,
        stale: true,
        recovering: true,
        flapping: true,
        parent: Some(AlertId(Ulid::from_parts(9, 9))),
        members: 12,
        acknowledged: Some(Acknowledgement { user: name("lee"), time_us: 17 }),
        assigned: Some(name("kim")),
        snoozed: Some(Snooze { user: name("lee"), until_us: None, reason: "later".into() }),
        ..first.clone()
    };
    store.commit(Arc::new(commit_of(&changed))).await.unwrap();
    assert_eq!(store.load().await.unwrap().open, std::slice::from_ref(&changed));
    let ended = Alert { revision: 3, resolved: Some((18, ResolvedReason::DataBack)), snoozed: None, ..changed };
    store.commit(Arc::new(commit_of(&ended))).await.unwrap();
    assert_eq!(store.alert(first.id).await.unwrap().unwrap().0, ended);
    assert!(store.load().await.unwrap().open.is_empty());
    // It fires again under its id; a value that is no number stays one.
    let again = Alert { revision: 4, value: f64::NAN, reopened: 2, ..first.clone() };
    store.commit(Arc::new(commit_of(&again))).await.unwrap();
    assert!(store.load().await.unwrap().open[0].value.is_nan());
}

#[tokio::test]
async fn alerts_are_found_by_what_they_are_about_page_by_page() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let (cold, hall) = (RuleId::parse("cold").unwrap(), GroupName::parse("hall").unwrap());
    let alerts = [
        alert(0, Severity::Info),
        Alert { rule: cold.clone(), device_id: "fridge".into(), ..alert(1, Severity::Critical) },
        Alert { group: Some(hall.clone()), ..alert(2, Severity::Warning) },
        Alert { acknowledged: Some(Acknowledgement { user: name("kim"), time_us: 7 }), ..alert(3, Severity::Critical) },
        Alert { fired_us: 50, resolved: Some((60, ResolvedReason::Cleared)), ..alert(4, Severity::Info) },
    ];
    for one in &alerts {
        store.commit(Arc::new(commit_of(one))).await.unwrap();
    }
    let any = || AlertQuery { limit: 10, ..AlertQuery::default() };
    for (query, wanted) in [
        (any(), vec![4, 3, 2, 1, 0]),
        (AlertQuery { open: Some(true), worst_first: true, ..any() }, vec![3, 1, 2, 0]),
        (AlertQuery { open: Some(false), ..any() }, vec![4]),
        (AlertQuery { severity: Some(Severity::Info), ..any() }, vec![4, 0]),
        (AlertQuery { device: Some(pulsewire_core::ids::DeviceId::parse("fridge").unwrap()), ..any() }, vec![1]),
        (AlertQuery { rule: Some(cold), ..any() }, vec![1]),
        (AlertQuery { group: Some(hall), ..any() }, vec![2]),
        (AlertQuery { acknowledged: Some(true), ..any() }, vec![3]),
        (AlertQuery { acknowledged: Some(false), ..any() }, vec![4, 2, 1, 0]),
        (AlertQuery { to_us: Some(50), ..any() }, vec![3, 2, 1, 0]),
        (AlertQuery { from_us: Some(61), open: Some(false), ..any() }, vec![]),
        (AlertQuery { after: Some(AlertPage { severity: Severity::Info, seq: 4 }), limit: 2, ..any() }, vec![2, 1]),
    ] {
        let found = store.alerts(query.clone()).await.unwrap();
        let found: Vec<AlertId> = found.into_iter().map(|(_, alert)| alert.id).collect();
        assert_eq!(found, wanted.iter().map(|n| alerts[*n].id).collect::<Vec<_>>(), "{query:?}");
    }
}

#[tokio::test]
async fn an_alert_its_step_and_its_messages_are_written_once_however_often_it_is_tried() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    add_user(&store, "kim", Role::Operator).await;
    add_user(&store, "lee", Role::Operator).await;
    let fired = alert(1, Severity::Warning);
    for _ in 0..3 {
        store.commit(Arc::new(commit_of(&fired))).await.unwrap();
    }
    let resolved = Alert { revision: 2, resolved: Some((9, ResolvedReason::Cleared)), ..fired.clone() };
    for _ in 0..2 {
        store.commit(Arc::new(commit_of(&resolved))).await.unwrap();
    }
    // What comes late changes nothing.
    store.commit(Arc::new(commit_of(&fired))).await.unwrap();
    let (shown, steps) = store.alert(resolved.id).await.unwrap().unwrap();
    assert_eq!(shown, resolved);
    assert_eq!(steps.iter().map(|s| s.kind).collect::<Vec<_>>(), [StepKind::Fired, StepKind::Resolved]);
    let message = |user: &str, kind: &str| (user.to_owned(), kind.to_owned());
    let wanted = [("kim", "firing"), ("lee", "firing"), ("kim", "resolved"), ("lee", "resolved")];
    assert_eq!(messages(folder.path()), wanted.map(|(user, kind)| message(user, kind)));
    let views = store.told(Some(fired.id), None, 10).await.unwrap();
    assert_eq!(views.iter().map(|(_, view)| view.messages).collect::<Vec<_>>(), [2, 2]);
}

/// Every part of a commit.
fn whole(rule: Rule) -> AlertCommit {
    AlertCommit {
        cursor: Some(Cursor { epoch: 1, position: Position(2) }),
        states: vec![(DeviceKey(1), Some(vec![1]))],
        rule: Some(RuleWrite::Create(rule)),
        groups: vec![("one".into(), Some(vec![1]))],
        silence: Some(silence(1, 5, 500)),
        ..commit_of(&alert(1, Severity::Info))
    }
}

fn is_empty(state: &AlertingState) -> bool {
    state.cursor.is_none()
        && state.states.is_empty()
        && state.open.is_empty()
        && state.groups.is_empty()
        && state.silences.is_empty()
}

#[tokio::test]
async fn a_commit_that_fails_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    add_user(&store, "kim", Role::Admin).await;
    write(&store, RuleWrite::Create(rule("hot")), 0).await;
    let error = store.commit(Arc::new(whole(rule("hot")))).await.unwrap_err();
    assert_eq!(error.to_string(), "rule \"hot\" exists already");
    // Whatever part cannot be written, even the last.
    let parts = ["rule_version", "alert_state", "cursor", "alert", "alert_step", "alert_changed", "silence"];
    let last = ["notify_group", "told", "told_alert", "message", "message_alert"];
    for part in parts.into_iter().chain(last) {
        let trigger = format!("CREATE TRIGGER broken BEFORE INSERT ON {part} BEGIN SELECT raise(ABORT, 'full'); END;");
        file(folder.path()).execute_batch(&trigger).unwrap();
        store.commit(Arc::new(whole(rule("cold")))).await.unwrap_err();
        file(folder.path()).execute_batch("DROP TRIGGER broken;").unwrap();
        let state = store.load().await.unwrap();
        assert!(is_empty(&state) && state.rules.len() == 1, "{part}: {state:?}");
        assert_eq!((count(folder.path(), "message"), count(folder.path(), "told")), (0, 0), "{part}");
        assert!(store.rule_versions(RuleId::parse("cold").unwrap()).await.unwrap().is_empty(), "{part}");
    }
    // The same commit once more.
    store.commit(Arc::new(whole(rule("cold")))).await.unwrap();
    assert!(!is_empty(&store.load().await.unwrap()) && count(folder.path(), "message") == 1);
}

#[tokio::test]
async fn a_message_goes_once_to_each_user_whom_the_decision_names_by_name_or_role() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for (user, role) in [("ann", Role::Admin), ("bob", Role::Operator), ("cyd", Role::Viewer), ("dan", Role::Viewer)] {
        add_user(&store, user, role).await;
    }
    file(folder.path()).execute("UPDATE user SET role = 'emperor' WHERE name = 'dan'", []).unwrap();
    let users = |names: &[&str]| Recipients::Users(names.iter().map(|user| name(user)).collect());
    for (number, (to, also_to, wanted)) in [
        (Recipients::Everyone, vec![], vec!["ann", "bob", "cyd", "dan"]),
        (Recipients::Role(Role::Admin), vec![], vec!["ann"]),
        (Recipients::Role(Role::Operator), vec![], vec!["ann", "bob"]),
        (Recipients::Role(Role::Viewer), vec![], vec!["ann", "bob", "cyd"]),
        (users(&["cyd", "gone"]), vec![], vec!["cyd"]),
        (
            users(&["cyd"]),
            vec![Recipients::Role(Role::Operator), users(&["bob", "dan"])],
            vec!["ann", "bob", "cyd", "dan"],
        ),
        (users(&[]), vec![], vec![]),
    ]
    .into_iter()
    .enumerate()
    {
        let mut one = told(&format!("group {number}"), &[alert(1, Severity::Info)], 9);
        (one.decision.to, one.decision.also_to) = (to, also_to);
        let before = messages(folder.path()).len();
        tell(&store, vec![one.clone(), one.clone()]).await;
        let got: Vec<String> = messages(folder.path()).split_off(before).into_iter().map(|(user, _)| user).collect();
        assert_eq!(got, wanted, "{:?}", one.decision);
        let view = store.told(None, None, 1).await.unwrap().remove(0).1;
        assert_eq!((view.told.decision, view.messages), (one.decision, wanted.len() as u64));
    }
}

#[tokio::test]
async fn versions_of_a_rule_are_kept_up_to_a_bound_and_go_on_after_its_deletion() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = RuleId::parse("hot").unwrap();
    let all = async || store.rule_versions(id.clone()).await.unwrap();
    let at = |version: u32, when: &str| {
        let made = rule_of("hot", &format!(r#"{{"name": "Hot", "when": "{when}"}}"#));
        Rule { version, updated_us: i64::from(version), ..made }
    };
    write(&store, RuleWrite::Create(at(1, "temp > 1")), 4).await;
    for version in 2..7 {
        let kind = if version == 3 { RuleChangeKind::Paused } else { RuleChangeKind::Edited };
        write(&store, RuleWrite::Update(at(version, &format!("temp > {version}")), kind), 4).await;
    }
    let kept: Vec<_> = all().await.into_iter().map(|v| (v.version, v.change.name(), v.time_us)).collect();
    assert_eq!(kept, [(6, "edited", 6), (5, "edited", 5), (4, "edited", 4), (3, "paused", 3)]);
    assert_eq!(all().await[3].document, RuleDocument::from(&at(3, "temp > 3")));
    // Twice, as a commit that is tried again.
    for _ in 0..2 {
        write(&store, RuleWrite::Delete { rule: at(6, "temp > 6"), user: name("lee") }, 4).await;
    }
    assert!(store.load().await.unwrap().rules.is_empty());
    let last = all().await.remove(0);
    assert_eq!((last.version, last.change, last.user, last.time_us), (7, RuleChangeKind::Deleted, name("lee"), 9));
    write(&store, RuleWrite::Create(at(1, "temp > 8")), 0).await;
    let versions: Vec<u32> = all().await.into_iter().map(|v| v.version).collect();
    assert_eq!((versions, store.load().await.unwrap().rules[0].version), (vec![8, 7, 6, 5, 4], 8));
    // Whoever counts on from another number does not make one twice; a write that is tried again is one version.
    for _ in 0..2 {
        write(&store, RuleWrite::Update(at(2, "temp > 9"), RuleChangeKind::Edited), 0).await;
    }
    let newest: Vec<u32> = all().await.into_iter().take(2).map(|v| v.version).collect();
    assert_eq!((newest, store.load().await.unwrap().rules[0].version), (vec![9, 8], 9));
    for version in 10..80 {
        write(&store, RuleWrite::Update(at(version, "temp > 1"), RuleChangeKind::Edited), 0).await;
    }
    assert_eq!(all().await.len(), 50, "unless the commit says how many");
}

#[tokio::test]
async fn versions_of_a_thousand_deleted_rules_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    write(&store, RuleWrite::Create(rule("live")), 0).await;
    file(folder.path())
        .execute_batch(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1005)
             INSERT INTO rule_version SELECT 'r' || i, v, iif(v = 1, 'created', 'deleted'), -i, 'kim', '{}'
             FROM n, (SELECT 1 AS v UNION ALL SELECT 2);
             INSERT INTO rule_version VALUES ('live', 9, 'deleted', -9999, 'kim', '{}');",
        )
        .unwrap();
    write(&store, RuleWrite::Create(rule("hot")), 0).await;
    write(&store, RuleWrite::Delete { rule: rule("hot"), user: name("kim") }, 0).await;
    let versions = async |id: &str| store.rule_versions(RuleId::parse(id).unwrap()).await.unwrap().len();
    assert_eq!((versions("hot").await, versions("r999").await, versions("r1000").await), (2, 2, 0));
    assert_eq!(versions("live").await, 2, "a rule that is there keeps its history");
    assert_eq!(count(folder.path(), "rule_version"), 2002);
}

#[tokio::test]
async fn only_resolved_alerts_are_pruned_the_oldest_first() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for number in 0..6 {
        let ended = (number % 2 == 0).then_some((9, ResolvedReason::Cleared));
        let one = Alert { resolved: ended, ..alert(number, Severity::Info) };
        store.commit(Arc::new(commit_of(&one))).await.unwrap();
    }
    assert_eq!(store.prune_alerts(1, 10).await.unwrap(), 2);
    let left = store.alerts(AlertQuery { limit: 10, ..AlertQuery::default() }).await.unwrap();
    let left: Vec<_> = left.iter().map(|(_, alert)| alert.id).collect();
    assert_eq!(left, [5, 4, 3, 1].map(|n| alert(n, Severity::Info).id));
    assert_eq!(store.prune_alerts(1, 10).await.unwrap(), 0);
}

#[tokio::test]
async fn decisions_are_kept_up_to_a_bound_and_found_by_each_of_their_alerts() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let alerts: Vec<Alert> = (0..300).map(|number| alert(number, Severity::Info)).collect();
    let mut one = told("group", &alerts[..2], 9);
    one.decision.suppressed = vec![(alerts[2].id, Suppressed::Silenced)];
    one.decision.flapping = vec![alerts[3].id];
    one.decision.stale = vec![alerts[4].id];
    one.decision.resolved = vec![alerts[5].id];
    (one.decision.delayed, one.decision.more, one.decision.reason) = (true, 3, Reason::Escalation);
    let nobody = Told { notice: None, about: None, ..told("quiet", &alerts[1..2], 10) };
    let many = told("many", &alerts, 11);
    tell(&store, vec![one.clone(), nobody.clone(), many.clone()]).await;
    for (number, about) in alerts.iter().enumerate().take(6) {
        let found = store.told(Some(about.id), None, 10).await.unwrap();
        let (seq, oldest) = found.last().unwrap();
        assert_eq!((*seq, &oldest.told), (1, &Told { notice: None, ..one.clone() }), "{number}");
        assert_eq!(found.len(), if number == 1 { 3 } else { 2 });
    }
    let all = store.told(None, None, 10).await.unwrap();
    assert_eq!((all[1].1.told.clone(), all[1].1.messages), (nobody, 0));
    assert_eq!(all[0].1.told.decision.firing, many.decision.firing[..200], "of a long list the first are kept");
    assert!(store.told(Some(alerts[250].id), None, 10).await.unwrap().is_empty());
    let page = store.told(None, Some(3), 1).await.unwrap();
    assert_eq!(page.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [2]);
    store.prune_alerts(100, 1).await.unwrap();
    assert_eq!((count(folder.path(), "told"), count(folder.path(), "told_alert")), (1, 200));
    assert_eq!(store.told(None, None, 10).await.unwrap()[0].0, 3);
}

#[tokio::test]
async fn silences_are_kept_and_those_that_are_over_only_while_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let (first, second) = (silence(1, 10, 500), silence(2, 20, 600));
    silenced(&store, &first, 10).await;
    silenced(&store, &second, 20).await;
    assert_eq!(store.load().await.unwrap().silences, [first.clone(), second.clone()]);
    let ended = Silence { updated_us: 30, ended_early_us: Some(30), ..first.clone() };
    silenced(&store, &ended, 30).await;
    let planned = Silence { created_us: 5, updated_us: 5, ended_early_us: Some(7), ..silence(3, 40, 700) };
    silenced(&store, &planned, 31).await;
    let live = store.load().await.unwrap().silences;
    assert_eq!(live, std::slice::from_ref(&second), "what someone ended is not gone on with");
    assert_eq!(store.silence(first.id).await.unwrap(), Some(ended.clone()));
    assert_eq!(store.silences().await.unwrap(), [second.clone(), ended, planned]);
    assert_eq!(store.silence(SilenceId(Ulid::from_parts(0, 9))).await.unwrap(), None);
    file(folder.path())
        .execute_batch(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 998)
             INSERT INTO silence SELECT randomblob(16), kind, matchers, 100 + i, 5000, reason, created_by, 100, 100, NULL, 5000
             FROM n, silence WHERE starts_us = 20;",
        )
        .unwrap();
    silenced(&store, &silence(4, 50, 900), 50).await;
    let kept = store.silences().await.unwrap();
    assert_eq!(kept.len(), 1000);
    let has = |number: u128| kept.iter().any(|one| one.id == silence(number, 0, 1).id);
    assert_eq!([has(1), has(2), has(3), has(4)], [false, true, false, true], "all that may be live stay");
}

#[tokio::test]
async fn one_damaged_row_of_each_kind_is_named_and_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for id in ["a", "b", "c"] {
        write(&store, RuleWrite::Create(rule(id)), 0).await;
    }
    for number in 1..3 {
        store.commit(Arc::new(commit_of(&alert(number, Severity::Info)))).await.unwrap();
        silenced(&store, &silence(number, 5, 500), 5).await;
    }
    file(folder.path())
        .execute_batch(
            "UPDATE rule SET document = '{' WHERE id = 'a';
             UPDATE rule SET document = '{\"name\": \"x\", \"when\": \"temp >\"}' WHERE id = 'c';
             UPDATE alert SET severity = 7 WHERE seq = 1;
             UPDATE silence SET matchers = '[\"x\"]' WHERE id = (SELECT min(id) FROM silence);",
        )
        .unwrap();
    let state = store.load().await.unwrap();
    assert_eq!(state.rules.iter().map(|rule| rule.id.as_str()).collect::<Vec<_>>(), ["b"]);
    assert_eq!((state.open.len(), state.silences.len()), (1, 1));
    let begins = ["rule a: ", "rule c: ", "alert #1: there is no severity 7", "silence 0000"];
    assert_eq!(state.damaged.len(), begins.len(), "{:?}", state.damaged);
    for (line, begin) in state.damaged.iter().zip(begins) {
        assert!(line.starts_with(begin), "{line}");
    }
}

#[tokio::test]
async fn an_alert_has_its_first_step_and_the_newest_ones() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for revision in 1..150 {
        let one = Alert { revision, ..alert(1, Severity::Info) };
        let mut changed = change(&one, 9);
        let user: Option<UserName> = (revision == 149).then(|| name("kim"));
        changed.step = AlertStep { time_us: 9, kind: StepKind::Commented, user, text: revision.to_string() };
        let commit = AlertCommit { now_us: 9, changes: vec![changed], ..AlertCommit::default() };
        store.commit(Arc::new(commit)).await.unwrap();
    }
    let (_, steps) = store.alert(alert(1, Severity::Info).id).await.unwrap().unwrap();
    let texts: Vec<&str> = steps.iter().map(|step| step.text.as_str()).collect();
    assert_eq!((texts.len(), texts[0], texts[1], texts[100]), (101, "1", "50", "149"));
    assert_eq!(steps[100].user, Some(name("kim")));
}
