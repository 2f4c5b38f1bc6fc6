//! What devices say of messages, and what admins are told of providers: what the store keeps of it.
#![allow(clippy::unwrap_used)] // a helper's panic is this test's failure

mod common;

use common::{LIFETIME_US, alert, change, name, told};
use pulsewire::ports::{
    AlertCommit, AlertStore, Attention, EndpointStore, Message, MessageQuery, NewEndpoint, OperatorNotice, OutboxStep,
    OutboxStore, PushAddress, Registered, Slots, Stepped, Trouble, User, UserStore,
};
use pulsewire::storage::sqlite::SqliteMeta;
use pulsewire_core::ids::{EndpointId, UserName};
use pulsewire_core::notice::NoticeKind;
use pulsewire_core::push::Priority;
use pulsewire_core::role::Role;
use pulsewire_core::scope::DeviceScope;
use pulsewire_core::severity::Severity;
use pulsewire_core::ulid::Ulid;
use std::sync::Arc;

struct Nobody;

impl Attention for Nobody {
    fn last_visible_us(&self, _: &UserName) -> Option<i64> {
        None
    }
}

const ROOM: Slots = Slots { all: 16, ordinary: 12, bulk: 8 };

async fn store(users: &[(&str, Role)]) -> (SqliteMeta, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteMeta::open(&folder.path().join("meta.db")).unwrap();
    for (user, role) in users {
        let user = User { name: name(user), role: *role, scope: DeviceScope::All, created_us: 1 };
        store.create_user(user, "hash".into()).await.unwrap();
    }
    (store, folder)
}

async fn register(store: &SqliteMeta, user: &str) -> EndpointId {
    let new = NewEndpoint {
        id: EndpointId(Ulid::from_parts(1, u128::from(user.as_bytes()[0]))),
        user: name(user),
        label: "phone".into(),
        address: PushAddress::Fcm { token: format!("token-of-{user}") },
        provider: "fcm".into(),
        now_us: 1,
        per_user_max: 9,
    };
    match store.register(new).await.unwrap() {
        Registered::Created(endpoint) | Registered::Updated(endpoint) => endpoint.id,
        Registered::TooMany => panic!("room for nine"),
    }
}

async fn step(store: &SqliteMeta, now_us: i64, notices: Vec<OperatorNotice>) -> Stepped {
    let step = OutboxStep {
        now_us,
        settled: Vec::new(),
        in_flight: Vec::new(),
        attention: Arc::new(Nobody),
        lease_until_us: now_us + 60,
        free: ROOM,
        busy: Vec::new(),
        per_provider: ROOM,
        history_per_user: 10,
        bulk_queue_max: 100,
        notices,
    };
    store.step(step).await.unwrap()
}

async fn messages(store: &SqliteMeta, user: &str) -> Vec<Message> {
    let query = MessageQuery { user: Some(name(user)), limit: 100, ..MessageQuery::default() };
    store.messages(query).await.unwrap().into_iter().map(|(_, message)| message).collect()
}

#[tokio::test]
async fn what_a_device_says_is_noted_once_and_names_the_alerts() {
    let (store, _folder) = store(&[("kim", Role::Operator), ("lee", Role::Operator)]).await;
    let endpoint = register(&store, "kim").await;
    let alerts = [alert(1, Severity::Critical), alert(2, Severity::Warning)];
    let changes = alerts.iter().map(|alert| change(alert, 100)).collect();
    let all = told("all", &alerts, 100);
    let commit = AlertCommit { now_us: 100, changes, told: vec![all], ..AlertCommit::default() };
    store.commit(Arc::new(commit)).await.unwrap();
    let leased = step(&store, 100 + LIFETIME_US / 2, Vec::new()).await.leased;
    let delivery = leased[0].notification.delivery;
    assert_eq!(leased[0].priority, Priority::Critical);

    let on = store.acted_on(delivery).await.unwrap().expect("it is in the history");
    assert_eq!((on.user, on.alerts, on.more), (name("kim"), vec![alerts[0].id, alerts[1].id], false));
    for event in ["shown", "opened", "opened", "dismissed", "acknowledged"] {
        store.act(delivery, event, String::new(), 200).await.unwrap();
    }
    let message = messages(&store, "kim").await.remove(0);
    let events: Vec<_> = message.deliveries[0].timeline.iter().map(|event| event.event.as_str()).collect();
    assert_eq!(events, ["shown", "opened", "dismissed", "acknowledged"]);

    // An endpoint that is another person's now acts for nobody.
    let new = NewEndpoint {
        id: endpoint,
        user: name("lee"),
        label: "phone".into(),
        address: PushAddress::Fcm { token: "token-of-kim".into() },
        provider: "fcm".into(),
        now_us: 300,
        per_user_max: 9,
    };
    store.register(new).await.unwrap();
    assert_eq!(store.acted_on(delivery).await.unwrap(), None);
}

#[tokio::test]
async fn each_admin_is_told_once_of_a_trouble() {
    let (store, _folder) = store(&[("ada", Role::Admin), ("kim", Role::Operator)]).await;
    register(&store, "ada").await;
    register(&store, "kim").await;
    let reason = "403 InvalidProviderToken".to_owned();
    let notice = OperatorNotice { provider: "apns".into(), trouble: Trouble::Refuses, reason, time_us: 100 };
    let leased = step(&store, 100, vec![notice.clone()]).await.leased;
    assert_eq!(leased.len(), 1, "it goes out at once");
    assert_eq!(leased[0].notification.kind, NoticeKind::Operator);
    // A step that was not known to be stored is made again.
    assert!(step(&store, 101, vec![notice.clone()]).await.leased.is_empty());
    let told = messages(&store, "ada").await;
    assert_eq!(told.len(), 1);
    assert!(told[0].title.contains("apns") && told[0].body.contains("InvalidProviderToken"), "{:?}", told[0]);
    assert!(messages(&store, "kim").await.is_empty(), "it is for admins");
    assert_eq!(store.queued().await.unwrap(), [], "it is on its way");
}
