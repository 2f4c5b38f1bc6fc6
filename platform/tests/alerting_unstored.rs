//! A store that fails under alerting: no alert is lost, none comes twice, and it goes on by itself, also when nothing more
//! is sent.

mod hooked;

use hooked::{Hook, Hooked};
use pulsewire::alerting::{Alerting, AlertingError, AlertingOptions, AlertingParts};
use pulsewire::bus::in_process::InProcessBus;
use pulsewire::ports::{
    AlertQuery, AlertStore, Batch, Bus, BusEvent, Clock, Committed, Cursor, Journal, MetaError, RuleChangeKind, Topic,
};
use pulsewire::storage::sqlite::SqliteMeta;
use pulsewire::storage::telemetry::{StoreOptions, TelemetryStore};
use pulsewire_core::alert::{Authorship, EngineLimits, Operation, Rule, RuleDocument};
use pulsewire_core::block::{Block, ReportHead, SeriesSet};
use pulsewire_core::catalogue::Catalogue;
use pulsewire_core::device::Device;
use pulsewire_core::directory::Directory;
use pulsewire_core::ids::{
    DeviceId, DeviceKey, Fence, Lane, MetricName, Position, RuleId, Sequence, SeriesKey, StreamId, UserName,
};
use pulsewire_core::notice::NoticePolicy;
use pulsewire_core::sample::{ReportKind, Series};
use pulsewire_core::value::ValueType;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

struct SystemClock;

impl Clock for SystemClock {
    fn now_us(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        i64::try_from(since.as_micros()).expect("before 294000")
    }
}

/// The disk is full when told so.
struct Full {
    full: AtomicBool,
    refused: AtomicU64,
}

impl Hook for Full {
    fn before(&self) -> Result<(), MetaError> {
        if self.full.load(Ordering::SeqCst) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Err(MetaError::Failed(anyhow::anyhow!("the disk is full")));
        }
        Ok(())
    }
}

fn device() -> Device {
    Device { name: "Boiler".into(), ..Device::named(DeviceKey(1), DeviceId::parse("boiler").expect("valid")) }
}

fn above(threshold: f64) -> Rule {
    let document = RuleDocument {
        name: "Too hot".into(),
        when: Some(format!("temp > {threshold}")),
        flapping: Some(false),
        ..RuleDocument::default()
    };
    let by = Authorship {
        id: RuleId::parse("hot").expect("valid"),
        version: 1,
        created_us: 0,
        updated_us: 0,
        updated_by: UserName::parse("kim").expect("valid"),
    };
    document.rule(by).expect("a rule")
}

fn rule() -> Rule {
    above(80.0)
}

struct World {
    store: Arc<Hooked<Full>>,
    journal: Arc<TelemetryStore>,
    bus: Arc<InProcessBus>,
    alerting: Alerting,
    fence: Fence,
    sequence: u64,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let meta = SqliteMeta::open(&folder.path().join("meta.db")).expect("a store");
        let journal = TelemetryStore::open(StoreOptions::new(folder.path().to_path_buf()), Duration::from_secs(30))
            .expect("a journal");
        let journal = Arc::new(journal);
        let lane = journal.open_lane(Lane(0)).await.expect("a lane");
        let store = Arc::new(Hooked { meta, hook: Full { full: AtomicBool::new(false), refused: AtomicU64::new(0) } });
        let bus = Arc::new(InProcessBus::new(16));
        let metric = MetricName::parse("temp").expect("valid");
        let (unit, value_type) = (String::new(), ValueType::F64);
        let series = Series { key: SeriesKey(1), device: DeviceKey(1), metric, unit, value_type };
        let parts = AlertingParts {
            journal: journal.clone(),
            store: store.clone(),
            bus: bus.clone(),
            clock: Arc::new(SystemClock),
            catalogue: Arc::new(RwLock::new(Catalogue::new(vec![series], SeriesKey(2)))),
            directory: Arc::new(RwLock::new(Directory::new(vec![device()]))),
        };
        let options = AlertingOptions {
            rules_max: 10,
            limits: EngineLimits {
                gap_max_us: 1 << 40,
                lateness_max_us: 1 << 40,
                ahead_max_us: 1 << 40,
                alerts_per_rule_max: 1000,
                group_silence_share: 0.5,
                group_silence_window_us: 60_000_000,
            },
            policy: NoticePolicy { grace_us: 0, ttl_us: [1 << 40; 3] },
            history_alerts: 1000,
            rule_versions_max: 10,
            notifications_max: 1000,
        };
        let newest = Cursor { epoch: lane.epoch, position: Position(0) };
        let (alerting, _task) = Alerting::start(options, parts, newest).await.expect("starts");
        alerting.create_rule(rule()).await.expect("stored");
        Self { store, journal, bus, alerting, fence: lane.fence, sequence: 0, _folder: folder }
    }

    /// A value is stored in the journal, and the bus says so.
    async fn send(&mut self, value: f64) {
        self.sequence += 1;
        let time_us = i64::try_from(self.sequence).expect("small");
        let (device, series, types) = (DeviceKey(1), vec![SeriesKey(1)], vec![ValueType::F64]);
        let mut block = Block::new(Arc::new(SeriesSet { device, series, types }));
        let (stream, sequence, digest) = (StreamId(1), Sequence(self.sequence), self.sequence);
        block.reports.push(ReportHead { stream, sequence, digest, kind: ReportKind::Live, rows: 1 });
        block.rows.push_dense(time_us, std::iter::once(value.to_bits()));
        let batch = Arc::new(Batch { received_us: time_us, blocks: vec![block], ..Batch::default() });
        let receipt = self.journal.append(Lane(0), self.fence, batch.clone()).await.expect("stored");
        self.bus.publish(BusEvent::Committed(Arc::new(Committed { position: receipt.position, batch })));
    }

    fn fill(&self, full: bool) {
        self.store.hook.full.store(full, Ordering::SeqCst);
    }

    async fn refused(&self) {
        let before = self.store.hook.refused.load(Ordering::SeqCst);
        while self.store.hook.refused.load(Ordering::SeqCst) == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Event times of beginning and end of all alerts, oldest first, once there are so many.
    async fn spans(&self, wanted: usize) -> Vec<(i64, Option<i64>)> {
        let limit = Duration::from_secs(20);
        let reached = async {
            loop {
                let query = AlertQuery { limit: 1000, ..AlertQuery::default() };
                let found = self.store.alerts(query).await.expect("read");
                if found.len() >= wanted {
                    return found.iter().rev().map(|(_, a)| (a.fired_us, a.resolved.map(|(us, _)| us))).collect();
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(limit, reached).await.expect("the alerts come by themselves")
    }
}

#[tokio::test]
async fn what_came_while_the_store_was_full_is_judged_afterwards_without_another_word_from_the_device() {
    let mut world = World::new().await;
    let mut events = world.bus.subscribe(Topic::Events);
    world.send(90.0).await;
    assert_eq!(world.spans(1).await, [(1, None)]);
    world.fill(true);
    // More than the bus holds: what is missed is read from the journal.
    for value in [70.0, 91.0, 60.0].into_iter().chain([50.0; 40]).chain([95.0]) {
        world.send(value).await;
    }
    world.refused().await;
    world.fill(false);
    assert_eq!(world.spans(3).await, [(1, Some(2)), (3, Some(4)), (45, None)]);
    let mut told = Vec::new();
    while told.len() < 5 {
        if let Ok(Some(BusEvent::AlertChanged(alert))) = events.next().await {
            told.push((alert.alert.fired_us, alert.alert.is_open()));
        }
    }
    assert_eq!(told, [(1, true), (1, false), (3, true), (3, false), (45, true)], "each once, in order");
}

#[tokio::test]
async fn people_are_told_what_was_not_stored_and_nothing_of_it_stays() {
    let mut world = World::new().await;
    world.send(90.0).await;
    world.spans(1).await;
    let query = AlertQuery { limit: 1, ..AlertQuery::default() };
    let id = world.store.alerts(query).await.expect("read")[0].1.id;
    let kim = UserName::parse("kim").expect("valid");
    world.fill(true);
    let refused = |result: Result<_, AlertingError>| matches!(result, Err(AlertingError::Store(_)));
    assert!(refused(world.alerting.operate(id, Operation::Acknowledge, kim.clone()).await.map(drop)));
    assert!(refused(world.alerting.operate(id, Operation::Resolve, kim.clone()).await.map(drop)));
    assert!(refused(world.alerting.update_rule(above(99.0), RuleChangeKind::Edited).await.map(drop)));
    assert!(refused(world.alerting.delete_rule(rule(), kim.clone()).await.map(drop)));
    world.fill(false);
    assert_eq!(world.alerting.rule(rule().id).await.expect("answers").expect("there").rule, rule());
    let acknowledged = world.alerting.operate(id, Operation::Acknowledge, kim.clone()).await.expect("stored");
    assert_eq!(acknowledged.alert.revision, 2, "what was refused has left no trace");
    world.alerting.operate(id, Operation::Resolve, kim).await.expect("stored");
    // Resolved by hand it stays quiet until the trouble was over.
    for value in [91.0, 70.0, 92.0] {
        world.send(value).await;
    }
    let spans = world.spans(2).await;
    assert_eq!((spans.len(), spans[1]), (2, (4, None)));
}
