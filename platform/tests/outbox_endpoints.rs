//! Endpoints that nobody uses, and those that wait to be confirmed.
#![allow(clippy::unwrap_used)] // a helper's panic is this test's failure

mod common;
mod outbox;

use common::{alert, name};
use outbox::{World, step_at};
use pulsewire::ports::{
    CodeMade, Confirmed, EndpointStore, NewCode, NewEndpoint, OutboxStore, PushAddress, Registered,
};
use pulsewire_core::ids::{EndpointId, MessageId};
use pulsewire_core::severity::Severity;
use pulsewire_core::ulid::Ulid;

const MIN: i64 = 60_000_000;

#[tokio::test]
async fn what_is_neither_registered_nor_delivered_to_for_long_is_removed_and_comes_back_with_a_registration() {
    let world = World::with_users(&["kim"]).await;
    let idle = world.register("kim", "idle", 10).await;
    let used = world.register("kim", "used", 11).await;
    let renewed = world.register("kim", "renewed", 12).await;
    world.commit(vec![alert(1, Severity::Warning)], 20).await;
    // One is reached, one is registered again.
    for one in world.step(step_at(40)).await.leased {
        let next = match one.endpoint == used {
            true => pulsewire_core::push::Next::Delivered,
            false => pulsewire_core::push::Next::RetryAt(900),
        };
        let settled = vec![outbox::settled(&one, next)];
        world.step(pulsewire::ports::OutboxStep { settled, ..step_at(41) }).await;
    }
    world.register("kim", "renewed", 50).await;
    assert_eq!(world.store.remove_idle(30, 60).await.unwrap(), 1);
    let removed = world.store.endpoint(idle).await.unwrap().unwrap();
    assert_eq!(removed.removed, Some((60, "stale".to_owned())));
    for kept in [used, renewed] {
        assert_eq!(world.store.endpoint(kept).await.unwrap().unwrap().removed, None);
    }
    let mut states = world.states("kim").await;
    states.sort();
    assert_eq!(states, ["delivered", "queued", "withdrawn"]);
    assert_eq!(world.store.remove_idle(30, 61).await.unwrap(), 0);
    assert_eq!(world.register("kim", "idle", 70).await, idle);
    assert_eq!(world.store.endpoint(idle).await.unwrap().unwrap().removed, None);
}

async fn mailbox(world: &World, user: &str, seed: u128) -> EndpointId {
    let new = NewEndpoint {
        id: EndpointId(Ulid::from_parts(1, seed)),
        user: name(user),
        label: "mailbox".into(),
        address: PushAddress::Email { mailbox: "kim@example.org".into() },
        provider: "email".into(),
        now_us: 1,
        per_user_max: 9,
    };
    match world.store.register(new).await.unwrap() {
        Registered::Created(endpoint) => {
            assert!(!endpoint.confirmed);
            endpoint.id
        }
        other => panic!("{other:?}"),
    }
}

fn code(endpoint: EndpointId, seed: u128, now_us: i64) -> NewCode {
    NewCode {
        message: MessageId(Ulid::from_parts(now_us, seed)),
        endpoint,
        code: "123456".into(),
        hash: [7; 32],
        now_us,
        expires_us: now_us + 15 * MIN,
    }
}

#[tokio::test]
async fn a_code_is_good_for_its_time_and_five_tries_and_a_new_one_begins_anew() {
    let world = World::with_users(&["kim"]).await;
    let endpoint = mailbox(&world, "kim", 1).await;
    let confirm = |hash: u8, now_us| world.store.confirm(endpoint, [hash; 32], now_us);
    assert_eq!(confirm(7, 5).await.unwrap(), Confirmed::Expired, "none was sent");
    assert_eq!(world.store.create_code(code(endpoint, 1, 10)).await.unwrap(), CodeMade::Made);
    assert_eq!(world.store.create_code(code(endpoint, 2, 11)).await.unwrap(), CodeMade::TooSoon);
    let sent = world.only(step_at(12)).await;
    assert_eq!((sent.endpoint, sent.notification.title.as_str()), (endpoint, "Your code: 123456"));
    assert_eq!(confirm(7, 10 + 15 * MIN).await.unwrap(), Confirmed::Expired);
    for _ in 0..5 {
        assert_eq!(confirm(8, 20).await.unwrap(), Confirmed::Wrong);
    }
    assert_eq!(confirm(7, 21).await.unwrap(), Confirmed::Expired);
    assert_eq!(world.store.create_code(code(endpoint, 3, 2 * MIN)).await.unwrap(), CodeMade::Made);
    assert!(matches!(confirm(7, 2 * MIN + 1).await.unwrap(), Confirmed::Done(one) if one.confirmed));
    assert_eq!(world.store.create_code(code(endpoint, 4, 9 * MIN)).await.unwrap(), CodeMade::NotWanted);
}

#[tokio::test]
async fn an_unconfirmed_endpoint_is_told_of_nothing() {
    let world = World::with_users(&["kim"]).await;
    mailbox(&world, "kim", 1).await;
    world.commit(vec![alert(1, Severity::Critical)], 10).await;
    assert!(world.step(step_at(30)).await.leased.is_empty());
    assert_eq!(world.messages("kim").await[0].reason, "no_endpoint");
}
