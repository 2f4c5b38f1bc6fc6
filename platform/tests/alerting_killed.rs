//! kill -9 before and after every commit of alerting: what alerts, their steps, decisions and messages become is what they
//! become without a kill.
//!
//! The test runs itself as the process that is killed. Everything that a run depends on but the samples is fixed: the clock stands
//! still while they are judged and then goes on by steps, so that the outcomes can be compared word for word.
//! `PULSEWIRE_LONG=1` kills at every commit on both sides; else each commit is killed on one of them.

mod hooked;

use hooked::{Hook, Hooked};
use pulsewire::alerting::{Alerting, AlertingOptions, AlertingParts};
use pulsewire::bus::in_process::InProcessBus;
use pulsewire::ports::{
    AlertCommit, AlertQuery, AlertStore, Batch, Clock, Cursor, EndpointStore, Journal, MessageQuery, MetaError,
    NewEndpoint, OutboxStore, PushAddress, RuleWrite, User, UserStore,
};
use pulsewire::storage::sqlite::SqliteMeta;
use pulsewire::storage::telemetry::{StoreOptions, TelemetryStore};
use pulsewire_core::alert::{Authorship, EngineLimits, Rule, RuleDocument};
use pulsewire_core::block::{Block, ReportHead, SeriesSet};
use pulsewire_core::catalogue::Catalogue;
use pulsewire_core::device::Device;
use pulsewire_core::directory::Directory;
use pulsewire_core::ids::{
    AlertId, DeviceId, DeviceKey, EndpointId, Lane, MetricName, Position, RuleId, Sequence, SeriesKey, StreamId,
    UserName,
};
use pulsewire_core::notice::NoticePolicy;
use pulsewire_core::role::Role;
use pulsewire_core::sample::{ReportKind, Series};
use pulsewire_core::scope::DeviceScope;
use pulsewire_core::ulid::Ulid;
use pulsewire_core::value::ValueType;
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

const S: i64 = 1_000_000;
/// When everything was sent, and where the clock stands.
const START_US: i64 = 1_700_000_000 * S;
/// Where the clock goes on to: past the groups' wait, and past their interval.
const PHASES: [i64; 3] = [0, 11 * S, 120 * S];
const DEVICES: u32 = 3;
const MARKER: u32 = 4;
// The journal is read in pieces, each of which is a commit.
const RECORDS: i64 = 2_400;

/// Stands still until it is told to go on.
struct Steps(AtomicI64);

impl Clock for Steps {
    fn now_us(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Before,
    After,
}

/// The process ends at the n-th commit.
struct Deadly {
    at: Option<(usize, Side)>,
    commits: AtomicUsize,
}

fn kill() {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
}

impl Hook for Deadly {
    fn before(&self) -> Result<(), MetaError> {
        if self.at == Some((self.commits.fetch_add(1, Ordering::SeqCst) + 1, Side::Before)) {
            kill();
        }
        Ok(())
    }

    fn after(&self) {
        if self.at == Some((self.commits.load(Ordering::SeqCst), Side::After)) {
            kill();
        }
    }
}

fn user(name: &str) -> UserName {
    UserName::parse(name).expect("valid")
}

fn rule(id: &str, when: &str, change: impl FnOnce(&mut RuleDocument)) -> Rule {
    let mut document = RuleDocument { name: id.into(), when: Some(when.into()), ..RuleDocument::default() };
    change(&mut document);
    let by = Authorship {
        id: RuleId::parse(id).expect("valid"),
        version: 1,
        created_us: 0,
        updated_us: 0,
        updated_by: user("kim"),
    };
    document.rule(by).expect("a rule")
}

fn rules() -> Vec<Rule> {
    vec![
        rule("hot", "temp > 80", |d| {
            d.hold = Some("2s".into());
            d.clear = Some(pulsewire_core::alert::ClearDocument::Expression("temp < 70".into()));
        }),
        rule("mean", "avg(temp, 10s) > 60", |d| d.keep_firing_for = Some("3s".into())),
        rule("often", "temp > 75", |d| {
            d.count = Some(pulsewire_core::alert::CountDocument { at_least: 3, of: 5 });
            d.lateness = Some("2s".into());
        }),
        rule("marker", "temp < -50", |_| {}),
    ]
}

fn device(key: u32) -> Device {
    Device {
        name: format!("Device {key}"),
        ..Device::named(DeviceKey(key), DeviceId::parse(&format!("d{key}")).expect("valid"))
    }
}

fn report(key: u32, time_us: i64, value: f64, sequence: u64) -> Block {
    let (device, series, types) = (DeviceKey(key), vec![SeriesKey(key)], vec![ValueType::F64]);
    let mut block = Block::new(Arc::new(SeriesSet { device, series, types }));
    let (stream, sequence, digest) = (StreamId(key), Sequence(sequence), sequence);
    block.reports.push(ReportHead { stream, sequence, digest, kind: ReportKind::Live, rows: 1 });
    block.rows.push_dense(time_us, std::iter::once(value.to_bits()));
    block
}

/// Rises and falls, a little apart on each device, with one sample that comes too late and one twice.
fn value(key: u32, second: i64) -> f64 {
    let phase = f64::from(u32::try_from(second).expect("small")) / 9.0 + f64::from(key) * 1.3;
    60.0 + 35.0 * phase.sin()
}

fn store_options(folder: &Path) -> StoreOptions {
    StoreOptions { retain_bytes: 1 << 30, ..StoreOptions::new(folder.to_path_buf()) }
}

/// A folder with the rules, a user with a phone, and everything that was sent.
async fn prepare(folder: &Path) {
    let meta = SqliteMeta::open(&folder.join("meta.db")).expect("a store");
    let kim = User { name: user("kim"), role: Role::Operator, scope: DeviceScope::All, created_us: 0 };
    meta.create_user(kim, String::new()).await.expect("stored");
    let endpoint = NewEndpoint {
        id: EndpointId(Ulid::from_parts(0, 7)),
        user: user("kim"),
        label: "phone".into(),
        address: PushAddress::Fcm { token: "token".into() },
        provider: "fcm".into(),
        now_us: 0,
        per_user_max: 9,
    };
    meta.register(endpoint).await.expect("stored");
    let journal = TelemetryStore::open(store_options(folder), Duration::from_secs(30)).expect("a journal");
    let lane = journal.open_lane(Lane(0)).await.expect("a lane");
    let cursor = Some(Cursor { epoch: lane.epoch, position: Position(0) });
    for rule in rules() {
        let commit = AlertCommit { cursor, rule: Some(RuleWrite::Create(rule)), ..AlertCommit::default() };
        meta.commit(Arc::new(commit)).await.expect("stored");
    }
    let before_us = START_US - RECORDS * S;
    for second in 0..RECORDS {
        let time_us = before_us + second * S;
        let sequence = second.unsigned_abs() + 1;
        let mut blocks: Vec<Block> =
            (1..=DEVICES).map(|key| report(key, time_us, value(key, second), sequence)).collect();
        if second % 13 == 5 {
            // One that is late by a second, and one that comes twice.
            blocks.push(report(1, time_us - S, value(1, second - 1), sequence));
            blocks.push(report(2, time_us, value(2, second), sequence));
        }
        if second == RECORDS - 1 {
            blocks.push(report(MARKER, time_us, -60.0, 1));
        }
        let batch = Arc::new(Batch { received_us: time_us, blocks, ..Batch::default() });
        journal.append(Lane(0), lane.fence, batch).await.expect("stored");
    }
}

/// One life of the process: judges what is left, lets the clock go on, and ends by itself unless it is killed.
async fn live(folder: &Path, at: Option<(usize, Side)>) -> usize {
    let meta = SqliteMeta::open(&folder.join("meta.db")).expect("a store");
    let journal = Arc::new(TelemetryStore::open(store_options(folder), Duration::from_secs(30)).expect("a journal"));
    let lane = journal.open_lane(Lane(0)).await.expect("a lane");
    let series = |key: u32| Series {
        key: SeriesKey(key),
        device: DeviceKey(key),
        metric: MetricName::parse("temp").expect("valid"),
        unit: String::new(),
        value_type: ValueType::F64,
    };
    let phase_file = folder.join("phase");
    let phase: usize = std::fs::read_to_string(&phase_file).map_or(0, |text| text.parse().expect("a number"));
    let clock = Arc::new(Steps(AtomicI64::new(START_US + PHASES[phase])));
    let store = Arc::new(Hooked { meta, hook: Deadly { at, commits: AtomicUsize::new(0) } });
    let bus = Arc::new(InProcessBus::new(16));
    let parts = AlertingParts {
        journal: journal.clone(),
        store: store.clone(),
        bus: bus.clone(),
        clock: clock.clone(),
        catalogue: Arc::new(RwLock::new(Catalogue::new((1..=MARKER).map(series).collect(), SeriesKey(9)))),
        directory: Arc::new(RwLock::new(Directory::new((1..=MARKER).map(device).collect()))),
    };
    let options = AlertingOptions {
        rules_max: 10,
        limits: EngineLimits {
            gap_max_us: 900 * S,
            lateness_max_us: 60 * S,
            ahead_max_us: 60 * S,
            alerts_per_rule_max: 100,
            group_silence_share: 0.5,
            group_silence_window_us: 60 * S,
        },
        policy: NoticePolicy { grace_us: 0, ttl_us: [3600 * S; 3] },
        history_alerts: 1000,
        rule_versions_max: 10,
        notifications_max: 1000,
    };
    let newest = Cursor { epoch: lane.epoch, position: lane.position };
    let (alerting, task) = Alerting::start(options, parts, newest).await.expect("starts");
    let marker = AlertQuery { device: Some(DeviceId::parse("d4").expect("valid")), limit: 1, ..AlertQuery::default() };
    let judged = async {
        while store.alerts(marker.clone()).await.expect("read").is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), judged).await.expect("everything is judged");
    for (phase, offset_us) in PHASES.iter().enumerate().skip(phase) {
        std::fs::write(&phase_file, phase.to_string()).expect("written");
        clock.0.store(START_US + offset_us, Ordering::SeqCst);
        // Longer than the task sleeps at most before it looks at the clock.
        tokio::time::sleep(Duration::from_millis(if *offset_us == 0 { 0 } else { 1_300 })).await;
    }
    drop(alerting);
    drop(bus);
    tokio::time::timeout(Duration::from_secs(10), task).await.expect("ends").expect("without a panic");
    store.hook.commits.load(Ordering::SeqCst)
}

/// What is left of it all, without ids, which are made of chance.
async fn outcome(folder: &Path) -> Vec<String> {
    let meta = SqliteMeta::open(&folder.join("meta.db")).expect("a store");
    let mut lines = Vec::new();
    let mut names = BTreeMap::new();
    let all = meta.alerts(AlertQuery { limit: 1000, ..AlertQuery::default() }).await.expect("read");
    for (_, alert) in all {
        let name = format!("{} {} {}", alert.device_id, alert.rule, alert.fired_us - START_US);
        let (alert, steps) = meta.alert(alert.id).await.expect("read").expect("there");
        let steps: Vec<_> = steps.iter().map(|s| format!("{} {}", s.kind.name(), s.text)).collect();
        lines.push(format!("{name} {:?} {} {} {steps:?}", alert.resolved, alert.value, alert.revision));
        names.insert(alert.id, name);
    }
    let named = |ids: &[AlertId]| {
        let mut named: Vec<_> = ids.iter().map(|id| names[id].clone()).collect();
        named.sort();
        named.join(", ")
    };
    for (_, view) in meta.told(None, None, 1000).await.expect("read") {
        let decision = &view.told.decision;
        lines.push(format!(
            "told {} {} firing [{}] resolved [{}] messages {}",
            view.told.group,
            decision.reason.name(),
            named(&decision.firing),
            named(&decision.resolved),
            view.messages
        ));
    }
    let query = MessageQuery { limit: 1000, ..MessageQuery::default() };
    for (_, message) in meta.messages(query).await.expect("read") {
        lines.push(format!(
            "message {} {} {} {} [{}] {}",
            message.user,
            message.kind.name(),
            message.title,
            // As with the decisions: what is told after a kill may be told late, and says so.
            message.body.replace(" (told late: the server was down or busy)", ""),
            named(&message.alerts),
            message.deliveries.len()
        ));
    }
    lines.sort();
    lines
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("listed") {
        let entry = entry.expect("listed");
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
    }
}

const CHILD: &str = "PULSEWIRE_TEST_KILLED";

/// Not a test by itself: what the other one starts.
#[test]
fn the_process_that_is_killed() {
    let Ok(wish) = std::env::var(CHILD) else { return };
    let parts: Vec<&str> = wish.split('|').collect();
    let at = parts[1].parse().ok().map(|n| (n, if parts[2] == "before" { Side::Before } else { Side::After }));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let commits = runtime.block_on(live(Path::new(parts[0]), at));
    std::fs::write(Path::new(parts[0]).join("commits"), commits.to_string()).expect("written");
}

/// Runs a life in a process of its own; answers whether it was killed.
fn run(folder: &Path, at: Option<(usize, Side)>) -> bool {
    let (n, side) = match at {
        Some((n, Side::Before)) => (n.to_string(), "before"),
        Some((n, Side::After)) => (n.to_string(), "after"),
        None => (String::from("-"), "-"),
    };
    let output = Command::new(std::env::current_exe().expect("known"))
        .args(["--exact", "the_process_that_is_killed", "--nocapture"])
        .env(CHILD, format!("{}|{n}|{side}", folder.display()))
        .output()
        .expect("started");
    let killed = output.status.signal() == Some(9);
    assert!(killed || output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    killed
}

#[test]
fn a_kill_at_any_commit_changes_nothing_of_what_becomes_of_alerts_and_messages() {
    if std::env::var(CHILD).is_ok() {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let prepared = tempfile::tempdir().expect("a folder");
    runtime.block_on(prepare(prepared.path()));
    let whole = tempfile::tempdir().expect("a folder");
    copy(prepared.path(), whole.path());
    assert!(!run(whole.path(), None), "nobody kills it");
    let commits: usize =
        std::fs::read_to_string(whole.path().join("commits")).expect("read").parse().expect("a number");
    let expected = runtime.block_on(outcome(whole.path()));
    let told = expected.iter().filter(|line| line.starts_with("told")).count();
    let messages = expected.iter().filter(|line| line.starts_with("message")).count();
    assert!(told >= 2 && messages >= 2 && expected.len() > told + messages + 5, "{expected:#?}");
    let long = std::env::var_os("PULSEWIRE_LONG").is_some();
    let points: Vec<(usize, Side)> = (1..=commits)
        .flat_map(|n| [(n, Side::Before), (n, Side::After)])
        .filter(|(n, side)| long || (*side == Side::Before) == n.is_multiple_of(2))
        .collect();
    let (left, killed) = (Mutex::new(points.clone()), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        // A life mostly sleeps.
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let Some(point) = left.lock().expect("no panic").pop() else { break };
                    let folder = tempfile::tempdir().expect("a folder");
                    copy(prepared.path(), folder.path());
                    if run(folder.path(), Some(point)) {
                        killed.fetch_add(1, Ordering::SeqCst);
                        assert!(!run(folder.path(), None), "the second life ends by itself");
                    }
                    let found = tokio::runtime::Runtime::new().expect("a runtime").block_on(outcome(folder.path()));
                    let side = if point.1 == Side::Before { "before" } else { "after" };
                    assert_eq!(found, expected, "killed {side} commit {}", point.0);
                }
            });
        }
    });
    let killed = killed.into_inner();
    println!("{commits} commits, {killed} of {} lives were killed", points.len());
    assert!(killed * 10 >= points.len() * 8, "{killed} of {} kill points were reached", points.len());
}
