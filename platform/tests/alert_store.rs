//! What the store of rules and alerts promises: one unit of work, repeats without effect, and stores of the first version
//! that go on with everything they hold.
#![allow(clippy::unwrap_used)] // a helper's panic is this test's failure

use pulsewire::ports::{
    AlertChange, AlertCommit, AlertQuery, AlertStore, Cursor, DeviceStore, RuleWrite, User, UserStore,
};
use pulsewire::storage::sqlite::SqliteMeta;
use pulsewire_core::alert::{Alert, AlertStep, Comparison, Phase, ResolvedReason, Rule, Scope, StepKind, Track};
use pulsewire_core::ids::{AlertId, DeviceId, DeviceKey, GroupName, MetricName, Position, RuleId, UserName};
use pulsewire_core::notice::NoticePolicy;
use pulsewire_core::role::Role;
use pulsewire_core::severity::Severity;
use pulsewire_core::ulid::Ulid;
use std::path::Path;
use std::sync::Arc;

const POLICY: NoticePolicy = NoticePolicy { grace_us: 10, ttl_us: [100, 200, 300] };

fn open(folder: &Path) -> SqliteMeta {
    SqliteMeta::open(&folder.join("meta.db")).unwrap()
}

fn name(text: &str) -> UserName {
    UserName::parse(text).unwrap()
}

async fn add_user(store: &SqliteMeta, user: &str) {
    let user = User { name: name(user), role: Role::Operator, created_us: 1 };
    store.create_user(user, "hash".into()).await.unwrap();
}

fn rule(id: &str, scope: Scope) -> Rule {
    Rule {
        id: RuleId::parse(id).unwrap(),
        name: "Too hot".into(),
        enabled: true,
        metric: MetricName::parse("temp").unwrap(),
        comparison: Comparison::AtLeast,
        threshold: 0.1,
        clear: -0.0,
        hold_us: 5,
        severity: Severity::Critical,
        scope,
        message: "Öffne ein Fenster.".into(),
        version: 3,
        created_us: 1,
        updated_us: 2,
        updated_by: name("kim"),
    }
}

fn alert(number: u128, severity: Severity) -> Alert {
    Alert {
        id: AlertId(Ulid::from_parts(1_000, number)),
        revision: 1,
        rule: RuleId::parse("hot").unwrap(),
        rule_name: "Too hot".into(),
        device: DeviceKey(7),
        device_id: DeviceId::parse("boiler").unwrap(),
        device_name: "Boiler".into(),
        metric: MetricName::parse("temp").unwrap(),
        unit: "°C".into(),
        severity,
        comparison: Comparison::Above,
        threshold: 80.0,
        clear: 75.0,
        hold_us: 0,
        value: 81.0,
        text: String::new(),
        started_us: 5,
        fired_us: 6,
        resolved: None,
        acknowledged: None,
    }
}

fn commit_of(alert: Alert, kind: StepKind) -> Arc<AlertCommit> {
    let step = AlertStep { time_us: 9, kind, user: None, text: "text".into() };
    let notice = Some(POLICY.notice(&alert, 9));
    let changes = vec![AlertChange { alert: Arc::new(alert), step, notice }];
    let cursor = Some(Cursor { epoch: u64::MAX - 3, position: Position(44) });
    Arc::new(AlertCommit { now_us: 9, cursor, changes, ..AlertCommit::default() })
}

fn messages(folder: &Path) -> Vec<(String, String)> {
    let connection = rusqlite::Connection::open(folder.join("meta.db")).unwrap();
    let mut statement = connection.prepare("SELECT user, kind FROM message ORDER BY seq").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

#[tokio::test]
async fn rules_tracks_watermarks_and_cursor_are_there_again_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let scopes = [
        Scope::All,
        Scope::Devices(vec![DeviceId::parse("a").unwrap(), DeviceId::parse("b").unwrap()]),
        Scope::Tag { key: "site".into(), value: "a:\"b\"".into() },
        Scope::Group(GroupName::parse("Räume").unwrap()),
    ];
    let rules: Vec<_> = scopes.into_iter().enumerate().map(|(i, scope)| rule(&format!("r{i}"), scope)).collect();
    for one in &rules {
        let rule = Some(RuleWrite::Create(one.clone()));
        store.commit(Arc::new(AlertCommit { rule, ..AlertCommit::default() })).await.unwrap();
    }
    let id = AlertId(Ulid::from_parts(5, 6));
    let phases = [Phase::Normal, Phase::Pending { since_us: 4 }, Phase::Firing { alert: id }, Phase::Muted];
    let tracks: Vec<_> = rules
        .iter()
        .zip(phases)
        .map(|(rule, phase)| (rule.id.clone(), DeviceKey(1), Track { last_us: -5, value: 0.1, phase }))
        .collect();
    let cursor = Cursor { epoch: u64::MAX - 3, position: Position(44) };
    let watermarks = vec![(DeviceKey(1), i64::MAX)];
    let commit = AlertCommit { cursor: Some(cursor), tracks: tracks.clone(), watermarks, ..AlertCommit::default() };
    store.commit(Arc::new(commit)).await.unwrap();
    drop(store);
    let state = open(folder.path()).load().await.unwrap();
    assert_eq!((state.rules, state.cursor), (rules, Some(cursor)));
    assert_eq!((state.tracks, state.watermarks), (tracks, vec![(DeviceKey(1), i64::MAX)]));
}

#[tokio::test]
async fn an_alert_its_step_and_its_messages_are_written_once_however_often_it_is_tried() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    add_user(&store, "kim").await;
    add_user(&store, "lee").await;
    let fired = alert(1, Severity::Warning);
    for _ in 0..3 {
        store.commit(commit_of(fired.clone(), StepKind::Fired)).await.unwrap();
    }
    let resolved = Alert { revision: 2, resolved: Some((9, ResolvedReason::Cleared)), ..fired.clone() };
    for _ in 0..2 {
        store.commit(commit_of(resolved.clone(), StepKind::Resolved)).await.unwrap();
    }
    // What comes late changes nothing.
    store.commit(commit_of(fired, StepKind::Fired)).await.unwrap();
    let (shown, steps) = store.alert(resolved.id).await.unwrap().unwrap();
    assert_eq!(shown, resolved);
    assert_eq!(steps.iter().map(|s| s.kind).collect::<Vec<_>>(), [StepKind::Fired, StepKind::Resolved]);
    let message = |user: &str, kind: &str| (user.to_owned(), kind.to_owned());
    let wanted = [("kim", "firing"), ("lee", "firing"), ("kim", "resolved"), ("lee", "resolved")];
    assert_eq!(messages(folder.path()), wanted.map(|(user, kind)| message(user, kind)));
}

#[tokio::test]
async fn a_commit_that_fails_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    add_user(&store, "kim").await;
    let create = || Some(RuleWrite::Create(rule("hot", Scope::All)));
    store.commit(Arc::new(AlertCommit { rule: create(), ..AlertCommit::default() })).await.unwrap();
    let both = AlertCommit { rule: create(), ..(*commit_of(alert(1, Severity::Info), StepKind::Fired)).clone() };
    let error = store.commit(Arc::new(both)).await.unwrap_err();
    assert_eq!(error.to_string(), "rule \"hot\" exists already");
    let state = store.load().await.unwrap();
    assert_eq!((state.cursor, state.open.len(), messages(folder.path()).len()), (None, 0, 0));
}

#[tokio::test]
async fn a_rule_that_looks_at_another_metric_loses_its_tracks_with_the_edit() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let hot = rule("hot", Scope::All);
    let track = Track { last_us: 5, value: 0.1, phase: Phase::Pending { since_us: 4 } };
    let made = AlertCommit {
        rule: Some(RuleWrite::Create(hot.clone())),
        tracks: vec![(hot.id.clone(), DeviceKey(1), track)],
        ..AlertCommit::default()
    };
    store.commit(Arc::new(made)).await.unwrap();
    let update = async |rule: Rule| {
        let rule = Some(RuleWrite::Update(rule));
        store.commit(Arc::new(AlertCommit { rule, ..AlertCommit::default() })).await.unwrap();
        store.load().await.unwrap().tracks.len()
    };
    assert_eq!(update(Rule { threshold: 7.0, ..hot.clone() }).await, 1);
    assert_eq!(update(Rule { metric: MetricName::parse("humidity").unwrap(), ..hot }).await, 0);
}

#[tokio::test]
async fn only_resolved_alerts_are_pruned_the_oldest_first() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for number in 0..6 {
        let ended = (number % 2 == 0).then_some((9, ResolvedReason::Cleared));
        store
            .commit(commit_of(Alert { resolved: ended, ..alert(number, Severity::Info) }, StepKind::Fired))
            .await
            .unwrap();
    }
    assert_eq!(store.prune_alerts(1).await.unwrap(), 2);
    let left = store.alerts(AlertQuery { limit: 10, ..AlertQuery::default() }).await.unwrap();
    let left: Vec<_> = left.iter().map(|(_, alert)| alert.id).collect();
    assert_eq!(left, [5, 4, 3, 1].map(|n| alert(n, Severity::Info).id));
    assert_eq!(store.prune_alerts(1).await.unwrap(), 0);
}

#[tokio::test]
async fn a_store_of_the_first_version_goes_on_with_what_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let connection = rusqlite::Connection::open(folder.path().join("meta.db")).unwrap();
    // As version 1 made it.
    connection
        .execute_batch(
            "CREATE TABLE store (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
             CREATE TABLE device (device INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL,
                 tags TEXT NOT NULL, grp TEXT, enabled INTEGER NOT NULL, created_us INTEGER NOT NULL,
                 last_seen_us INTEGER, firmware TEXT, stored_key BLOB NOT NULL, server_key BLOB NOT NULL,
                 previous_stored_key BLOB, previous_server_key BLOB, previous_until_us INTEGER, token_hash BLOB) STRICT;
             CREATE TABLE user (name TEXT PRIMARY KEY, role TEXT NOT NULL, password_hash TEXT NOT NULL,
                 created_us INTEGER NOT NULL) STRICT, WITHOUT ROWID;
             CREATE TABLE session (token_hash BLOB PRIMARY KEY,
                 user TEXT NOT NULL REFERENCES user (name) ON DELETE CASCADE, expires_us INTEGER NOT NULL)
                 STRICT, WITHOUT ROWID;
             CREATE INDEX session_user ON session (user, expires_us);
             INSERT INTO device (id, name, tags, enabled, created_us, stored_key, server_key)
                 VALUES ('pump-7', 'Pump 7', '{}', 1, 5, zeroblob(32), zeroblob(32));
             INSERT INTO user VALUES ('admin', 'admin', 'hash', 5);
             PRAGMA user_version = 1;",
        )
        .unwrap();
    drop(connection);
    for _ in 0..2 {
        let store = open(folder.path());
        assert_eq!(store.devices().await.unwrap()[0].id.as_str(), "pump-7");
        assert_eq!(store.users().await.unwrap().len(), 1);
        store.commit(commit_of(alert(1, Severity::Info), StepKind::Fired)).await.unwrap();
    }
    assert_eq!(messages(folder.path()).len(), 1);
}
