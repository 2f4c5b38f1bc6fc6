//! What the store of messages promises: nothing holds up another provider, no message reaches who should not get it, and the
//! history keeps what decisions depend on.
#![allow(clippy::unwrap_used)] // a helper's panic is this test's failure

use pulsewire::ports::{
    AlertChange, AlertCommit, AlertStore, Attention, EndpointStore, Leased, Message, MessageQuery, NewEndpoint,
    OutboxStep, OutboxStore, PushAddress, Registered, Replayed, Settled, Slots, Stepped, TestMade, User, UserStore,
};
use pulsewire::storage::sqlite::SqliteMeta;
use pulsewire_core::alert::{Alert, AlertStep, Comparison, ResolvedReason, StepKind};
use pulsewire_core::ids::{
    AlertId, DeliveryId, DeviceId, DeviceKey, EndpointId, MessageId, MetricName, RuleId, UserName,
};
use pulsewire_core::notice::NoticePolicy;
use pulsewire_core::push::Next;
use pulsewire_core::role::Role;
use pulsewire_core::severity::Severity;
use pulsewire_core::ulid::Ulid;
use std::sync::Arc;

const POLICY: NoticePolicy = NoticePolicy { grace_us: 10, ttl_us: [1_000_000; 3] };
const ROOM: Slots = Slots { all: 16, ordinary: 12 };

struct Nobody;

impl Attention for Nobody {
    fn last_visible_us(&self, _: &UserName) -> Option<i64> {
        None
    }
}

struct World {
    store: SqliteMeta,
    folder: tempfile::TempDir,
}

fn name(text: &str) -> UserName {
    UserName::parse(text).unwrap()
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

fn step_at(now_us: i64) -> OutboxStep {
    OutboxStep {
        now_us,
        settled: Vec::new(),
        in_flight: Vec::new(),
        attention: Arc::new(Nobody),
        lease_until_us: now_us + 60,
        free: Slots { all: 64, ordinary: 48 },
        busy: Vec::new(),
        per_provider: ROOM,
        history_per_user: 10,
    }
}

fn settled(leased: &Leased, next: Next) -> Settled {
    Settled {
        delivery: leased.notification.delivery,
        endpoint: leased.endpoint,
        registered_us: leased.registered_us,
        next,
        status: Some(500),
        provider_id: None,
        text: "busy".into(),
        unclear: false,
    }
}

impl World {
    async fn with_users(users: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteMeta::open(&folder.path().join("meta.db")).unwrap();
        for user in users {
            let user = User { name: name(user), role: Role::Operator, created_us: 1 };
            store.create_user(user, "hash".into()).await.unwrap();
        }
        Self { store, folder }
    }

    async fn register(&self, user: &str, provider: &str, now_us: i64) -> EndpointId {
        let new = NewEndpoint {
            id: EndpointId(Ulid::from_parts(now_us, u128::from(provider.as_bytes()[0]))),
            user: name(user),
            label: "phone".into(),
            address: PushAddress::Fcm { token: format!("token-of-{provider}") },
            provider: provider.into(),
            now_us,
            per_user_max: 9,
        };
        match self.store.register(new).await.unwrap() {
            Registered::Created(endpoint) | Registered::Updated(endpoint) => endpoint.id,
            Registered::TooMany => panic!("room for nine"),
        }
    }

    async fn commit(&self, alerts: Vec<Alert>, now_us: i64) {
        let change = |alert: Alert| {
            let kind = if alert.resolved.is_some() { StepKind::Resolved } else { StepKind::Fired };
            let step = AlertStep { time_us: now_us, kind, user: None, text: String::new() };
            let notice = Some(POLICY.notice(&alert, now_us));
            AlertChange { alert: Arc::new(alert), step, notice }
        };
        let changes = alerts.into_iter().map(change).collect();
        self.store.commit(Arc::new(AlertCommit { now_us, changes, ..AlertCommit::default() })).await.unwrap();
    }

    /// Steps until nothing is left that could be done at once.
    async fn step(&self, step: OutboxStep) -> Stepped {
        let mut all = self.store.step(step.clone()).await.unwrap();
        for _ in 0..20 {
            if all.next_us != Some(step.now_us) {
                return all;
            }
            let more = self.store.step(OutboxStep { settled: Vec::new(), ..step.clone() }).await.unwrap();
            all.leased.extend(more.leased);
            all.next_us = more.next_us;
        }
        panic!("a step that never ends");
    }

    async fn only(&self, step: OutboxStep) -> Leased {
        let mut leased = self.step(step).await.leased;
        assert_eq!(leased.len(), 1);
        leased.remove(0)
    }

    async fn messages(&self, user: &str) -> Vec<Message> {
        let query = MessageQuery { user: Some(name(user)), alert: None, before: None, limit: 1000 };
        self.store.messages(query).await.unwrap().into_iter().map(|(_, message)| message).collect()
    }

    async fn states(&self, user: &str) -> Vec<String> {
        self.messages(user).await.into_iter().flat_map(|m| m.deliveries).map(|d| d.state).collect()
    }
}

fn providers(leased: &[Leased]) -> Vec<&str> {
    let mut names: Vec<_> = leased.iter().map(|one| one.provider.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[tokio::test]
async fn a_provider_without_room_and_a_long_queue_does_not_hold_up_another() {
    let world = World::with_users(&["kim", "lee"]).await;
    world.register("kim", "slow", 1).await;
    world.commit((0..700).map(|n| alert(n, Severity::Warning)).collect(), 10).await;
    world.register("lee", "fast", 11).await;
    world.commit((700..705).map(|n| alert(n, Severity::Warning)).collect(), 12).await;
    let full = |ordinary| vec![("slow".to_owned(), Slots { all: 4, ordinary })];
    let stepped = world.step(OutboxStep { busy: full(0), ..step_at(30) }).await;
    assert_eq!((providers(&stepped.leased), stepped.leased.len()), (vec!["fast"], 5));
    world.commit(vec![alert(800, Severity::Critical)], 31).await;
    let stepped = world.step(OutboxStep { busy: full(0), ..step_at(50) }).await;
    assert_eq!(providers(&stepped.leased), ["fast", "slow"], "room is kept for what is critical");
    assert!(stepped.leased.iter().all(|one| one.notification.severity == Severity::Critical));
    let next = world.step(OutboxStep { busy: full(3), ..step_at(51) }).await;
    assert_eq!((providers(&next.leased), next.leased.len()), (vec!["slow"], 3));
}

#[tokio::test]
async fn what_is_on_its_way_is_not_repeated_to_an_endpoint_that_is_gone_or_anothers() {
    let world = World::with_users(&["kim", "lee"]).await;
    let endpoint = world.register("kim", "fast", 1).await;
    world.commit(vec![alert(1, Severity::Warning)], 10).await;
    let leased = world.only(step_at(30)).await;
    // The same phone signs in as Lee.
    assert_eq!(world.register("lee", "fast", 31).await, endpoint);
    let retry = vec![settled(&leased, Next::RetryAt(40))];
    let stepped = world.step(OutboxStep { settled: retry, ..step_at(35) }).await;
    assert!(stepped.leased.is_empty() && world.step(step_at(60)).await.leased.is_empty());
    assert_eq!(world.states("kim").await, ["withdrawn"]);
    let Some(message) = world.messages("kim").await.into_iter().next() else { panic!("a message") };
    assert_eq!(world.store.replay(message.id, 61).await.unwrap(), Replayed::NothingDead);
    // A lease that ended without a word.
    world.commit(vec![alert(2, Severity::Warning)], 70).await;
    world.only(step_at(90)).await;
    world.store.delete_endpoint(endpoint, 91).await.unwrap();
    assert!(world.step(step_at(500)).await.leased.is_empty());
    assert_eq!(world.states("lee").await, ["withdrawn"]);
}

#[tokio::test]
async fn a_lease_is_given_back_only_if_its_attempt_is_not_running() {
    let world = World::with_users(&["kim"]).await;
    world.register("kim", "fast", 1).await;
    world.commit(vec![alert(1, Severity::Warning)], 10).await;
    let first = world.only(step_at(30)).await;
    // The clock was set forward by more than the lease.
    let in_flight: Vec<DeliveryId> = vec![first.notification.delivery];
    let stepped = world.step(OutboxStep { in_flight, ..step_at(1_000) }).await;
    assert!(stepped.leased.is_empty() && stepped.next_us.is_none());
    assert_eq!(world.only(step_at(1_001)).await.attempt, 2);
}

#[tokio::test]
async fn an_alarm_that_went_back_into_the_queue_after_its_alert_ended_is_withdrawn() {
    let world = World::with_users(&["kim"]).await;
    world.register("kim", "fast", 1).await;
    world.commit(vec![alert(1, Severity::Warning)], 10).await;
    let leased = world.only(step_at(30)).await;
    let over = Alert { revision: 2, resolved: Some((31, ResolvedReason::Cleared)), ..alert(1, Severity::Warning) };
    world.commit(vec![over], 31).await;
    let waiting = world.step(OutboxStep { in_flight: vec![leased.notification.delivery], ..step_at(32) }).await;
    assert!(waiting.leased.is_empty(), "the end does not overtake the alarm");
    let retry = vec![settled(&leased, Next::RetryAt(900))];
    let end = world.only(OutboxStep { settled: retry, ..step_at(33) }).await;
    assert_eq!(end.notification.kind.name(), "resolved");
    assert_eq!(world.states("kim").await, ["sending", "withdrawn"]);
    let alarm = world.messages("kim").await.remove(1);
    assert_eq!(world.store.replay(alarm.id, 50).await.unwrap(), Replayed::AlertOver);
}

#[tokio::test]
async fn a_replay_has_the_lifetime_of_the_message_however_often_and_an_acknowledgement_ends_it() {
    let world = World::with_users(&["kim"]).await;
    world.register("kim", "fast", 1).await;
    world.commit(vec![alert(1, Severity::Warning)], 10).await;
    let mut leased = world.only(step_at(30)).await;
    for (round, next) in [Next::Dead("given up".into()), refused()].into_iter().cycle().take(4).enumerate() {
        let now = 1_000 * i64::try_from(round).unwrap() + 1_000;
        world.step(OutboxStep { settled: vec![settled(&leased, next)], ..step_at(now) }).await;
        assert_eq!(world.store.replay(leased.notification.message, now).await.unwrap(), Replayed::Queued(1));
        leased = world.only(step_at(now + 1)).await;
        assert_eq!((leased.notification.expires_us, leased.attempt), (now + 1_000_000, 1));
    }
    let seen = pulsewire_core::alert::Acknowledgement { user: name("kim"), time_us: 6_000 };
    let seen = Alert { revision: 2, acknowledged: Some(seen), ..alert(1, Severity::Warning) };
    let step = AlertStep { time_us: 6_000, kind: StepKind::Acknowledged, user: Some(name("kim")), text: String::new() };
    let changes = vec![AlertChange { alert: Arc::new(seen), step, notice: None }];
    world.store.commit(Arc::new(AlertCommit { now_us: 6_000, changes, ..AlertCommit::default() })).await.unwrap();
    let retry = vec![settled(&leased, Next::RetryAt(6_010))];
    assert!(world.step(OutboxStep { settled: retry, ..step_at(6_001) }).await.leased.is_empty());
    assert_eq!(world.states("kim").await, ["withdrawn"]);
}

fn refused() -> Next {
    Next::Dropped { reason: "no".into(), remove_endpoint: false }
}

#[tokio::test]
async fn the_history_is_bounded_and_keeps_alarms_on_which_a_decision_depends() {
    let world = World::with_users(&["kim", "lee"]).await;
    world.register("kim", "fast", 1).await;
    world.commit(vec![alert(0, Severity::Warning)], 10).await;
    let first = world.only(step_at(30)).await;
    world.step(OutboxStep { settled: vec![settled(&first, Next::Delivered)], ..step_at(31) }).await;
    for number in 1..40 {
        let now = 100 * i64::try_from(number).unwrap();
        let over = Alert { resolved: Some((now, ResolvedReason::Cleared)), ..alert(number, Severity::Warning) };
        world.commit(vec![over], now).await;
        world.step(step_at(now + 50)).await;
    }
    assert_eq!(world.messages("lee").await.len(), 10, "who has no endpoint has a bounded history, too");
    let kept = world.messages("kim").await;
    assert_eq!((kept.len(), kept[10].kind.name()), (11, "firing"));
    let over = Alert { revision: 2, resolved: Some((9_000, ResolvedReason::Cleared)), ..alert(0, Severity::Warning) };
    world.commit(vec![over], 9_000).await;
    assert_eq!(world.only(step_at(9_001)).await.notification.kind.name(), "resolved");
}

#[tokio::test]
async fn one_test_at_a_time_goes_to_an_endpoint() {
    let world = World::with_users(&["kim"]).await;
    let endpoint = world.register("kim", "fast", 1).await;
    let test = |seed| world.store.create_test(MessageId(Ulid::from_parts(5, seed)), endpoint, 5, 1_000);
    assert!(matches!(test(1).await.unwrap(), TestMade::Made(_)));
    assert_eq!(test(2).await.unwrap(), TestMade::Unfinished);
    let sent = world.only(step_at(6)).await;
    assert_eq!(test(3).await.unwrap(), TestMade::Unfinished);
    world.step(OutboxStep { settled: vec![settled(&sent, Next::Delivered)], ..step_at(7) }).await;
    assert!(matches!(test(4).await.unwrap(), TestMade::Made(_)));
}

#[tokio::test]
async fn a_message_that_cannot_be_read_does_not_hold_up_the_others() {
    let world = World::with_users(&["kim"]).await;
    world.register("kim", "bad", 1).await;
    world.register("kim", "fast", 2).await;
    let path = world.folder.path().join("meta.db");
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.execute("UPDATE endpoint SET address = 'nonsense' WHERE provider = 'bad'", []).unwrap();
    world.commit(vec![alert(1, Severity::Warning)], 10).await;
    assert_eq!(world.only(step_at(30)).await.provider, "fast");
    let mut states = world.states("kim").await;
    states.sort();
    assert_eq!(states, ["dead", "sending"]);
}
