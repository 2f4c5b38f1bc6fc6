//! Someone takes care: what other screens show says so.
#![allow(clippy::unwrap_used)] // a helper's panic is this test's failure

mod common;
mod outbox;

use common::{alert, name};
use outbox::{World, over, seen, settled, step_at};
use pulsewire::ports::{Leased, OutboxStep, OutboxStore, User, UserStore};
use pulsewire_core::alert::Alert;
use pulsewire_core::ids::GroupName;
use pulsewire_core::push::{Next, OpenAlerts};
use pulsewire_core::role::Role;
use pulsewire_core::scope::DeviceScope;
use pulsewire_core::severity::Severity;

impl World {
    async fn told_as(&self, user: &str, kind: &str) -> usize {
        self.messages(user).await.iter().filter(|message| message.kind.name() == kind).count()
    }
}

#[tokio::test]
async fn acknowledging_replaces_the_alarm_where_it_was_delivered_and_nowhere_else() {
    let world = World::with_users(&["kim", "lee", "ray"]).await;
    let phone = world.register("kim", "phone", 1).await;
    world.register("kim", "tablet", 2).await;
    world.register("lee", "other", 3).await;
    let one = alert(1, Severity::Critical);
    world.commit(vec![one.clone()], 10).await;
    let alarms = world.step(step_at(30)).await.leased;
    let (lost, taken): (Vec<&Leased>, Vec<&Leased>) = alarms.iter().partition(|one| one.provider == "other");
    let mut done: Vec<_> = taken.iter().map(|one| settled(one, Next::Delivered)).collect();
    done.extend(lost.iter().map(|one| settled(one, Next::Dead("gone".into()))));
    world.step(OutboxStep { settled: done, ..step_at(31) }).await;
    // At the phone, with a button of the notification.
    let there = alarms.iter().find(|one| one.endpoint == phone).unwrap();
    world.store.act(there.notification.delivery, "acknowledged", String::new(), 40).await.unwrap();
    world.change(&[seen(&one, 41)], Vec::new(), 41).await;
    let told = world.deliver(42).await;
    assert_eq!(told.len(), 1, "the tablet: the phone knows, and Lee was never told");
    let notification = &told[0].notification;
    assert_eq!((told[0].provider.as_str(), notification.kind.name()), ("tablet", "acknowledged"));
    assert_eq!(notification.title, "Acknowledged by kim: Too hot");
    assert_eq!(notification.tag, there.notification.tag, "it takes the alarm's place");
    assert!(!notification.rings() && !notification.stays());
    // Once.
    world.change(&[Alert { revision: 3, ..seen(&one, 41) }], Vec::new(), 50).await;
    assert!(world.deliver(51).await.is_empty());
    assert_eq!(world.told_as("kim", "acknowledged").await, 1);
    // Its end comes all the same.
    world.commit(vec![Alert { revision: 4, ..over(&one, 60) }], 60).await;
    assert_eq!(world.deliver(61).await.len(), 2);
}

#[tokio::test]
async fn a_message_about_several_alerts_is_replaced_when_all_are_cared_for_and_one_still_fires() {
    let world = World::with_users(&["kim"]).await;
    world.register("kim", "fast", 1).await;
    let two = [1, 2].map(|number| alert(number, Severity::Warning));
    world.commit_together(&two, 10).await;
    world.deliver(30).await;
    world.change(&[seen(&two[0], 31)], Vec::new(), 31).await;
    assert!(world.deliver(32).await.is_empty(), "nobody cares for the second");
    world.change(&[over(&two[1], 33)], Vec::new(), 33).await;
    let told = world.deliver(34).await;
    assert_eq!((told.len(), told[0].notification.kind.name()), (1, "acknowledged"));
}

#[tokio::test]
async fn an_alarm_that_arrives_after_it_was_acknowledged_is_replaced_and_a_kill_loses_nothing() {
    let world = World::with_users(&["kim"]).await;
    world.register("kim", "fast", 1).await;
    let one = alert(1, Severity::Warning);
    world.commit(vec![one.clone()], 10).await;
    let alarm = world.only(step_at(30)).await;
    world.change(&[seen(&one, 31)], Vec::new(), 31).await;
    let busy = world.step(OutboxStep { in_flight: vec![alarm.notification.delivery], ..step_at(32) }).await;
    assert!(busy.leased.is_empty());
    // The process ends with the answer; the next one knows neither.
    let world = world.reopened();
    world.store.recover(33).await.unwrap();
    let told = world.deliver(34).await;
    assert_eq!((told.len(), told[0].notification.kind.name()), (1, "acknowledged"), "the alarm may have arrived");
    let world = world.reopened();
    world.store.recover(35).await.unwrap();
    assert!(world.deliver(36).await.is_empty());
    assert_eq!(world.told_as("kim", "acknowledged").await, 1);
}

#[tokio::test]
async fn whoever_speaks_german_reads_it_in_german_and_what_is_over_first_needs_no_replacement() {
    let world = World::with_users(&["kim"]).await;
    world.register("kim", "fast", 1).await;
    world.prefer("kim", r#"{"language": "de"}"#, 2).await;
    let two = [1, 2].map(|number| alert(number, Severity::Warning));
    world.commit(two.to_vec(), 10).await;
    world.deliver(30).await;
    world.change(&[seen(&two[0], 31), over(&two[1], 31)], Vec::new(), 31).await;
    let told = world.deliver(32).await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].notification.title, format!("Quittiert von {}: Too hot", name("kim")));
}

#[tokio::test]
async fn how_many_alerts_are_open_is_told_of_what_the_user_may_see() {
    let world = World::with_users(&["kim", "lee"]).await;
    let north = GroupName::parse("north").unwrap();
    let scope = DeviceScope::Groups([north.clone()].into());
    let ray = User { name: name("ray"), role: Role::Operator, scope, created_us: 1 };
    world.store.create_user(ray, "hash".into()).await.unwrap();
    for user in ["kim", "lee", "ray"] {
        world.register(user, &format!("of-{user}"), 1).await;
    }
    let theirs = Alert { group: Some(north), device: None, ..alert(1, Severity::Warning) };
    let hidden = Alert { group: None, device: None, ..alert(2, Severity::Critical) };
    world.commit(vec![hidden, theirs], 10).await;
    let leased = world.step(step_at(30)).await.leased;
    let open = |provider: &str| leased.iter().find(|one| one.provider == provider).unwrap().notification.open;
    for user in ["of-kim", "of-lee"] {
        assert_eq!(open(user), OpenAlerts { count: 2, worst: Some(Severity::Critical) });
    }
    assert_eq!(open("of-ray"), OpenAlerts { count: 1, worst: Some(Severity::Warning) });
}
