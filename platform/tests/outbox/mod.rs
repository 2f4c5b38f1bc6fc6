//! A store with people in it, stepped in virtual time.
#![allow(dead_code)] // each test uses its part
#![allow(clippy::unwrap_used)] // a helper's panic is the test's failure

use crate::common::{change, name, told};
use pulsewire::ports::{
    AlertCommit, AlertStore, Attention, EndpointChange, EndpointStore, Leased, Message, MessageQuery, NewEndpoint,
    OutboxStep, OutboxStore, PushAddress, Registered, Settled, Slots, Stepped, Told, User, UserStore,
};
use pulsewire::storage::sqlite::SqliteMeta;
use pulsewire_core::alert::{Acknowledgement, Alert, ResolvedReason};
use pulsewire_core::ids::{EndpointId, UserName};
use pulsewire_core::push::{EndpointPreferencesDocument, Next, PreferencesDocument};
use pulsewire_core::role::Role;
use pulsewire_core::scope::DeviceScope;
use pulsewire_core::ulid::Ulid;
use std::sync::Arc;

pub const ROOM: Slots = Slots { all: 16, ordinary: 12, bulk: 8 };

struct Nobody;

impl Attention for Nobody {
    fn last_visible_us(&self, _: &UserName) -> Option<i64> {
        None
    }
}

pub struct World {
    pub store: SqliteMeta,
    pub folder: tempfile::TempDir,
}

pub fn over(alert: &Alert, now_us: i64) -> Alert {
    Alert { revision: 2, resolved: Some((now_us, ResolvedReason::Cleared)), ..alert.clone() }
}

pub fn seen(alert: &Alert, now_us: i64) -> Alert {
    let acknowledged = Some(Acknowledgement { user: name("kim"), time_us: now_us });
    Alert { revision: 2, acknowledged, ..alert.clone() }
}

pub fn step_at(now_us: i64) -> OutboxStep {
    OutboxStep {
        now_us,
        settled: Vec::new(),
        in_flight: Vec::new(),
        attention: Arc::new(Nobody),
        lease_until_us: now_us + 60,
        free: Slots { all: 64, ordinary: 48, bulk: 32 },
        busy: Vec::new(),
        per_provider: ROOM,
        history_per_user: 10,
        bulk_queue_max: 100,
        notices: Vec::new(),
    }
}

pub fn settled(leased: &Leased, next: Next) -> Settled {
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
    pub async fn with_users(users: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteMeta::open(&folder.path().join("meta.db")).unwrap();
        for user in users {
            let user = User { name: name(user), role: Role::Operator, scope: DeviceScope::All, created_us: 1 };
            store.create_user(user, "hash".into()).await.unwrap();
        }
        Self { store, folder }
    }

    pub async fn register(&self, user: &str, provider: &str, now_us: i64) -> EndpointId {
        self.register_at(user, provider, &format!("token-of-{provider}"), now_us).await
    }

    /// One endpoint per token.
    pub async fn register_at(&self, user: &str, provider: &str, token: &str, now_us: i64) -> EndpointId {
        let seed = token.bytes().fold(0_u128, |seed, byte| (seed << 5) ^ (seed >> 70) ^ u128::from(byte));
        let new = NewEndpoint {
            id: EndpointId(Ulid::from_parts(now_us, seed)),
            user: name(user),
            label: "phone".into(),
            address: PushAddress::Fcm { token: token.into() },
            provider: provider.into(),
            now_us,
            per_user_max: 9,
        };
        match self.store.register(new).await.unwrap() {
            Registered::Created(endpoint) | Registered::Updated(endpoint) => endpoint.id,
            Registered::TooMany => panic!("room for nine"),
        }
    }

    /// What a user wants, as JSON.
    pub async fn prefer(&self, user: &str, document: &str, now_us: i64) {
        let document: PreferencesDocument = serde_json::from_str(document).unwrap();
        self.store.put_preferences(name(user), document.preferences().unwrap(), now_us).await.unwrap();
    }

    /// Where an endpoint differs, as JSON.
    pub async fn prefer_at(&self, endpoint: EndpointId, document: &str, now_us: i64) {
        let document: EndpointPreferencesDocument = serde_json::from_str(document).unwrap();
        let change = EndpointChange { preferences: Some(document.preferences().unwrap()), ..EndpointChange::default() };
        self.store.update_endpoint(endpoint, change, now_us).await.unwrap();
    }

    /// The same store, opened anew.
    pub fn reopened(self) -> Self {
        let Self { store, folder } = self;
        drop(store);
        let store = SqliteMeta::open(&folder.path().join("meta.db")).unwrap();
        Self { store, folder }
    }

    /// Everything that is leased at a time arrives.
    pub async fn deliver(&self, now_us: i64) -> Vec<Leased> {
        let leased = self.step(step_at(now_us)).await.leased;
        let settled = leased.iter().map(|one| settled(one, Next::Delivered)).collect();
        self.step(OutboxStep { settled, ..step_at(now_us) }).await;
        leased
    }

    /// Each alert is its own group.
    pub async fn commit(&self, alerts: Vec<Alert>, now_us: i64) {
        let all: Vec<Told> =
            alerts.iter().map(|one| told(&one.id.to_string(), std::slice::from_ref(one), now_us)).collect();
        self.change(&alerts, all, now_us).await;
    }

    /// All of them are told in one message.
    pub async fn commit_together(&self, alerts: &[Alert], now_us: i64) {
        self.change(alerts, vec![told("all", alerts, now_us)], now_us).await;
    }

    pub async fn change(&self, alerts: &[Alert], told: Vec<Told>, now_us: i64) {
        let changes = alerts.iter().map(|one| change(one, now_us)).collect();
        self.store.commit(Arc::new(AlertCommit { now_us, changes, told, ..AlertCommit::default() })).await.unwrap();
    }

    /// Steps until nothing is left that could be done at once.
    pub async fn step(&self, step: OutboxStep) -> Stepped {
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

    pub async fn only(&self, step: OutboxStep) -> Leased {
        let mut leased = self.step(step).await.leased;
        assert_eq!(leased.len(), 1);
        leased.remove(0)
    }

    pub async fn messages(&self, user: &str) -> Vec<Message> {
        let query = MessageQuery { user: Some(name(user)), limit: 1000, ..MessageQuery::default() };
        self.store.messages(query).await.unwrap().into_iter().map(|(_, message)| message).collect()
    }

    pub async fn states(&self, user: &str) -> Vec<String> {
        self.messages(user).await.into_iter().flat_map(|m| m.deliveries).map(|d| d.state).collect()
    }
}

pub fn providers(leased: &[Leased]) -> Vec<&str> {
    let mut names: Vec<_> = leased.iter().map(|one| one.provider.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

pub fn refused() -> Next {
    Next::Dropped { reason: "no".into(), remove_endpoint: false }
}
