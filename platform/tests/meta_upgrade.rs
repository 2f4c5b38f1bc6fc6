//! Stores that older versions made go on with everything they hold.
#![allow(clippy::unwrap_used)] // a helper's panic is this test's failure

mod common;

use common::{alert, change, name, told};
use pulsewire::ports::{
    AlertCommit, AlertQuery, AlertStore, Attention, DeviceStore, MessageQuery, OutboxStep, OutboxStore, RuleChangeKind,
    Slots, UserStore,
};
use pulsewire::storage::sqlite::SqliteMeta;
use pulsewire_core::alert::{Alert, AlertThreshold, Comparison, Hold, ResolvedReason, Scope, StepKind};
use pulsewire_core::ids::{DeviceId, RuleId, UserName};
use pulsewire_core::scope::DeviceScope;
use pulsewire_core::severity::Severity;
use std::path::Path;
use std::sync::Arc;

fn file(folder: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(folder.join("meta.db")).unwrap()
}

fn open(folder: &Path) -> SqliteMeta {
    SqliteMeta::open(&folder.join("meta.db")).unwrap()
}

struct Nobody;

impl Attention for Nobody {
    fn last_visible_us(&self, _: &UserName) -> Option<i64> {
        None
    }
}

#[tokio::test]
async fn a_store_of_the_first_version_goes_on_with_what_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    // As version 1 made it.
    file(folder.path())
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
    for _ in 0..2 {
        let store = open(folder.path());
        assert_eq!(store.devices().await.unwrap()[0].id.as_str(), "pump-7");
        assert_eq!(store.users().await.unwrap().len(), 1);
        let one = alert(1, Severity::Info);
        let (changes, told) = (vec![change(&one, 9)], vec![told("group", &[one], 9)]);
        store.commit(Arc::new(AlertCommit { now_us: 9, changes, told, ..AlertCommit::default() })).await.unwrap();
    }
    let messages: i64 = file(folder.path()).query_row("SELECT count(*) FROM message", [], |row| row.get(0)).unwrap();
    assert_eq!(messages, 1);
}

/// Rules, an alert that fires and one that does not, with what was told of them.
const SECOND: &str = "
INSERT INTO user VALUES ('kim', 'admin', 'hash', 5);
INSERT INTO rule VALUES
    ('cold', 'Too cold', 0, 'room temp', 3, -0.5, 0.1, 90000000, 0, '{\"devices\": [\"a\", \"b\"]}', 'See {{ manual }}', 4, 1, 2, 'kim'),
    ('hot', 'Too hot', 1, 'temp', 0, 1e300, 1e300, 0, 2, '\"all\"', '', 1, 1, 1, 'kim'),
    ('odd', 'Odd', 1, 'temp', 9, 1, 1, 0, 2, '\"all\"', '', 1, 1, 1, 'kim'),
    ('wide', 'Wide', 1, 'temp', 0, 1, 1, 0, 1, '{\"devices\": []}', '', 1, 1, 1, 'kim');
INSERT INTO track VALUES ('hot', 7, 5, 81.0, 2, NULL, x'01010101010101010101010101010101');
INSERT INTO watermark VALUES (7, 5);
INSERT INTO cursor VALUES ('alerting', 3, 44);
INSERT INTO alert VALUES
    (11, x'01010101010101010101010101010101', 1, 'hot', 'Too hot', 7, 'boiler', 'Boiler', 'temp', '°C', 2, 0, 80.5, 75.0, 0,
     81.0, 'Open a window', 5, 6, NULL, NULL, NULL, NULL),
    (12, x'02020202020202020202020202020202', 3, 'hot', 'Too hot', 8, 'pump', 'Pump', 'temp', '°C', 2, 2, 80.0, 80.0, 0,
     NULL, '', 5, 6, 9, 'cleared', 'kim', 8);
INSERT INTO alert_step VALUES
    (x'01010101010101010101010101010101', 1, 6, 'fired', NULL, 'temp 81'),
    (x'02020202020202020202020202020202', 1, 6, 'fired', NULL, 'temp 81'),
    (x'02020202020202020202020202020202', 2, 9, 'resolved', NULL, 'back to normal');
INSERT INTO endpoint VALUES
    (x'05050505050505050505050505050505', 'kim', 'fcm', 'phone', '{}', x'05', 'fcm', 1, 1, NULL, NULL, NULL);
INSERT INTO message VALUES
    (21, x'11111111111111111111111111111111', 'kim', 'firing', x'01010101010101010101010101010101', 2, 'Too hot', 'Boiler',
     '/alerts', 'tag', 6, 6, 16, 9999, 'sending', '', '', NULL),
    (22, x'12121212121212121212121212121212', 'kim', 'test', NULL, 1, 'Test', '', '/', 'tag 2', 6, 6, 6, 9999, 'done', '', '', NULL);
INSERT INTO delivery VALUES
    (x'21212121212121212121212121212121', x'11111111111111111111111111111111', x'05050505050505050505050505050505', 'fcm',
     'phone', 'queued', 1, 500, NULL, '', NULL, 'fcm', 1, 21, 9999);
";

fn second(folder: &Path) {
    let connection = file(folder);
    connection.execute_batch(include_str!("stores/meta_2.sql")).unwrap();
    connection.execute_batch(SECOND).unwrap();
}

#[tokio::test]
async fn threshold_rules_of_the_second_version_become_documents_that_mean_the_same() {
    let folder = tempfile::tempdir().unwrap();
    second(folder.path());
    let store = open(folder.path());
    let state = store.load().await.unwrap();
    let [cold, hot] = &state.rules[..] else { panic!("{:?}", state.rules) };
    assert_eq!((cold.name.as_str(), cold.enabled, cold.hold), ("Too cold", false, Hold::For(90_000_000)));
    let level = &cold.levels[0];
    assert_eq!((level.severity, level.when.text()), (Severity::Info, "`room temp` <= -0.5"));
    assert_eq!(level.clear.as_ref().unwrap().text(), "`room temp` > 0.1");
    assert_eq!(cold.scope, Scope::Devices(["a", "b"].map(|id| DeviceId::parse(id).unwrap()).into()));
    assert_eq!(cold.message.text(), "See { { manual }}", "what was no field is none");
    assert_eq!((cold.version, cold.created_us, cold.updated_us, cold.updated_by.as_str()), (4, 1, 2, "kim"));
    let (metric, comparison, value) = hot.levels[0].when.threshold().unwrap();
    assert_eq!((metric.as_str(), comparison, value), ("temp", Comparison::Above, 1e300));
    assert_eq!((hot.levels[0].severity, hot.levels[0].clear.is_none()), (Severity::Critical, true));
    // One that means nothing is kept and named at each start, one that cannot be read is left out.
    assert_eq!(state.damaged.len(), 1);
    assert!(state.damaged[0].starts_with("rule wide: scope names 0 devices"), "{:?}", state.damaged);
    let versions = async |id: &str| store.rule_versions(RuleId::parse(id).unwrap()).await.unwrap();
    let version = versions("cold").await.remove(0);
    assert_eq!((version.version, version.change, version.user), (4, RuleChangeKind::Edited, name("kim")));
    assert_eq!(versions("hot").await[0].change, RuleChangeKind::Created);
    assert_eq!(versions("wide").await.len(), 1);
}

#[tokio::test]
async fn alerts_of_the_second_version_stay_and_those_that_fire_end_with_what_waits_to_be_told_of_them() {
    let folder = tempfile::tempdir().unwrap();
    second(folder.path());
    let store = open(folder.path());
    let state = store.load().await.unwrap();
    assert_eq!(state.cursor.map(|cursor| (cursor.epoch, cursor.position.0)), Some((3, 44)));
    assert!(state.open.is_empty() && state.states.is_empty());
    let alerts = store.alerts(AlertQuery { limit: 10, ..AlertQuery::default() }).await.unwrap();
    let [(newer, over), (older, ended)] = &alerts[..] else { panic!("{alerts:?}") };
    assert_eq!((newer.seq, older.seq), (12, 11));
    assert_eq!((over.revision, over.resolved), (3, Some((9, ResolvedReason::Cleared))));
    assert_eq!((over.condition.as_str(), over.value.is_nan()), ("temp < 80", true));
    assert_eq!(over.threshold, Some(AlertThreshold { comparison: Comparison::Below, value: 80.0, clear: None }));
    assert_eq!(over.acknowledged.as_ref().map(|a| a.time_us), Some(8));
    assert_eq!((ended.revision, ended.condition.as_str(), ended.text.as_str()), (2, "temp > 80.5", "Open a window"));
    assert!(ended.resolved.is_some_and(|(at, reason)| at > 6 && reason == ResolvedReason::RuleChanged));
    assert_eq!((ended.label("device"), ended.label("kind")), (Some("boiler"), Some("condition")));
    for (id, count) in [(ended.id, 2), (over.id, 2)] {
        let (_, steps) = store.alert(id).await.unwrap().unwrap();
        assert_eq!((steps.len(), steps[0].kind, steps[1].kind), (count, StepKind::Fired, StepKind::Resolved));
    }
    // Numbers go on.
    let one = Alert { resolved: None, ..alert(1, Severity::Info) };
    let commit = AlertCommit { changes: vec![change(&one, 9)], ..AlertCommit::default() };
    store.commit(Arc::new(commit)).await.unwrap();
    let newest = store.alerts(AlertQuery { limit: 1, ..AlertQuery::default() }).await.unwrap();
    assert_eq!(newest[0].0.seq, 13);
    let step = OutboxStep {
        now_us: 100,
        settled: Vec::new(),
        in_flight: Vec::new(),
        attention: Arc::new(Nobody),
        lease_until_us: 200,
        free: Slots { all: 9, ordinary: 9, bulk: 9 },
        busy: Vec::new(),
        per_provider: Slots { all: 9, ordinary: 9, bulk: 9 },
        history_per_user: 10,
        bulk_queue_max: 9,
        notices: Vec::new(),
    };
    store.step(step).await.unwrap();
    let query = MessageQuery { alert: Some(ended.id), limit: 9, ..MessageQuery::default() };
    let message = store.messages(query).await.unwrap().remove(0).1;
    assert_eq!((message.cause.as_str(), &message.alerts[..]), ("first", &[ended.id][..]));
    assert_eq!(message.deliveries[0].state, "withdrawn");
    let broken: i64 =
        file(folder.path()).query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get(0)).unwrap();
    assert_eq!(broken, 0);
}

#[tokio::test]
async fn devices_users_and_sign_ins_of_the_fourth_version_stay_and_everyone_sees_everything() {
    let folder = tempfile::tempdir().unwrap();
    let connection = file(folder.path());
    connection.execute_batch(include_str!("stores/meta_4.sql")).unwrap();
    connection
        .execute_batch(
            "INSERT INTO user VALUES ('kim', 'operator', 'hash', 5);
             INSERT INTO session VALUES (zeroblob(32), 'kim', 9000);
             INSERT INTO device (id, name, tags, grp, enabled, created_us, stored_key, server_key)
                 VALUES ('pump-7', 'Pump 7', '{\"site\":\"north\"}', 'pumps', 1, 5, zeroblob(32), zeroblob(32));",
        )
        .unwrap();
    drop(connection);
    for _ in 0..2 {
        let store = open(folder.path());
        let [device] = &store.devices().await.unwrap()[..] else { panic!("one device") };
        let group = device.group.as_ref().map(|group| group.as_str());
        assert_eq!((group, &device.profile, device.tags["site"].as_str()), (Some("pumps"), &None, "north"));
        let session = store.session([0; 32], 8000).await.unwrap().unwrap();
        assert_eq!((session.user.name, session.user.scope), (name("kim"), DeviceScope::All));
    }
    let broken: i64 =
        file(folder.path()).query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get(0)).unwrap();
    assert_eq!(broken, 0);
}
