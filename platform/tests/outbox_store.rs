//! What the store of messages promises: nothing holds up another provider, no message reaches who should not get it, and the
//! history keeps what decisions depend on.
#![allow(clippy::unwrap_used)] // a helper's panic is this test's failure

mod common;
mod outbox;

use common::{LIFETIME_US, alert, name, told};
use outbox::{World, over, providers, refused, seen, settled, step_at};
use pulsewire::ports::{
    EndpointStore, MESSAGE_ALERTS_MAX, MessageQuery, MessageState, OutboxStep, OutboxStore, Replayed, Slots, TestMade,
};
use pulsewire_core::alert::Alert;
use pulsewire_core::ids::{DeliveryId, MessageId};
use pulsewire_core::push::Next;
use pulsewire_core::severity::Severity;
use pulsewire_core::ulid::Ulid;

#[tokio::test]
async fn a_provider_without_room_and_a_long_queue_does_not_hold_up_another() {
    let many: Vec<String> = (0..12).map(|n| format!("kim{n}")).collect();
    let users: Vec<&str> = many.iter().map(String::as_str).chain(["lee"]).collect();
    let world = World::with_users(&users).await;
    for user in &many {
        world.prefer(user, r#"{"per_minute": 60}"#, 1).await;
        world.register_at(user, "slow", &format!("token of {user}"), 1).await;
    }
    world.commit((0..60).map(|n| alert(n, Severity::Warning)).collect(), 10).await;
    world.register("lee", "fast", 11).await;
    world.commit((60..65).map(|n| alert(n, Severity::Warning)).collect(), 12).await;
    let full = |ordinary| vec![("slow".to_owned(), Slots { all: 12, ordinary, bulk: 0 })];
    let stepped = world.step(OutboxStep { busy: full(0), ..step_at(30) }).await;
    assert_eq!((providers(&stepped.leased), stepped.leased.len()), (vec!["fast"], 5));
    world.commit(vec![alert(80, Severity::Critical)], 31).await;
    let stepped = world.step(OutboxStep { busy: full(0), ..step_at(50) }).await;
    assert_eq!(providers(&stepped.leased), ["fast", "slow"], "room is kept for what is critical");
    assert!(stepped.leased.iter().all(|one| one.notification.severity == Severity::Critical));
    assert_eq!(stepped.leased.len(), 13);
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
    world.commit(vec![over(&alert(1, Severity::Warning), 31)], 31).await;
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
        assert_eq!((leased.notification.expires_us, leased.attempt), (now + LIFETIME_US, 1));
    }
    world.change(&[seen(&alert(1, Severity::Warning), 6_000)], Vec::new(), 6_000).await;
    let retry = vec![settled(&leased, Next::RetryAt(6_010))];
    assert!(world.step(OutboxStep { settled: retry, ..step_at(6_001) }).await.leased.is_empty());
    assert_eq!(world.states("kim").await, ["withdrawn"]);
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
        world.commit(vec![over(&alert(number, Severity::Warning), now)], now).await;
        world.step(step_at(now + 50)).await;
    }
    assert_eq!(world.messages("lee").await.len(), 10, "who has no endpoint has a bounded history, too");
    let kept = world.messages("kim").await;
    assert_eq!((kept.len(), kept[10].kind.name()), (11, "firing"));
    world.commit(vec![over(&alert(0, Severity::Warning), 9_000)], 9_000).await;
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

#[tokio::test]
async fn a_message_about_several_alerts_is_withdrawn_only_when_all_of_them_are_over_or_acknowledged() {
    let world = World::with_users(&["kim"]).await;
    world.register("kim", "fast", 1).await;
    let three = [1, 2, 3].map(|number| alert(number, Severity::Warning));
    world.commit_together(&three, 10).await;
    let leased = world.only(step_at(30)).await;
    assert_eq!(leased.notification.url, "/alerts");
    let retry = vec![settled(&leased, Next::RetryAt(1_000))];
    world.change(&[seen(&three[0], 31)], Vec::new(), 31).await;
    world.step(OutboxStep { settled: retry, ..step_at(32) }).await;
    world.change(&[over(&three[1], 33)], Vec::new(), 33).await;
    world.step(step_at(34)).await;
    assert_eq!(world.states("kim").await, ["queued"], "the third still fires");
    world.change(&[over(&three[2], 35)], Vec::new(), 35).await;
    world.step(step_at(36)).await;
    assert_eq!(world.states("kim").await, ["withdrawn"]);
}

#[tokio::test]
async fn a_message_about_several_alerts_is_not_pushed_if_all_are_over_before_it_is_due() {
    let world = World::with_users(&["kim"]).await;
    world.register("kim", "fast", 1).await;
    let two = [1, 2].map(|number| alert(number, Severity::Warning));
    world.commit_together(&two, 10).await;
    world.change(&[over(&two[0], 11)], Vec::new(), 11).await;
    world.step(step_at(12)).await;
    assert_eq!(world.messages("kim").await[0].state, MessageState::Waiting, "the second still fires");
    world.change(&[seen(&two[1], 13)], Vec::new(), 13).await;
    world.step(step_at(14)).await;
    let message = world.messages("kim").await.remove(0);
    assert_eq!((message.state, message.reason.as_str()), (MessageState::Done, "acknowledged"));
    let ended = over(&Alert { id: alert(3, Severity::Info).id, ..two[0].clone() }, 20);
    world.commit_together(&[alert(3, Severity::Info)], 15).await;
    world.change(&[ended], Vec::new(), 20).await;
    world.step(step_at(21)).await;
    assert_eq!(world.messages("kim").await[0].reason, "resolved_in_grace");
}

#[tokio::test]
async fn a_message_about_more_alerts_than_are_kept_with_it_is_sent_whatever_becomes_of_those() {
    let world = World::with_users(&["kim"]).await;
    world.register("kim", "fast", 1).await;
    let many: Vec<Alert> = (0..70).map(|number| alert(number, Severity::Warning)).collect();
    world.commit_together(&many, 10).await;
    let kept = world.messages("kim").await.remove(0).alerts;
    assert_eq!(kept, many[..MESSAGE_ALERTS_MAX].iter().map(|alert| alert.id).collect::<Vec<_>>());
    let ended: Vec<Alert> = many[..MESSAGE_ALERTS_MAX].iter().map(|alert| over(alert, 11)).collect();
    world.change(&ended, Vec::new(), 11).await;
    let leased = world.only(step_at(30)).await;
    world.step(OutboxStep { settled: vec![settled(&leased, refused())], ..step_at(31) }).await;
    assert_eq!(world.store.replay(leased.notification.message, 32).await.unwrap(), Replayed::Queued(1));
}

#[tokio::test]
async fn an_end_goes_to_whom_an_alarm_of_that_alert_went_and_a_replay_needs_an_alert_that_fires() {
    let world = World::with_users(&["kim"]).await;
    world.register("kim", "fast", 1).await;
    let [first, second, third] = [1, 2, 3].map(|number| alert(number, Severity::Warning));
    world.commit_together(&[first.clone(), second.clone()], 10).await;
    let alarm = world.only(step_at(30)).await;
    world.step(OutboxStep { settled: vec![settled(&alarm, refused())], ..step_at(31) }).await;
    world.commit_together(&[over(&first, 32)], 32).await;
    world.step(step_at(33)).await;
    assert_eq!(world.messages("kim").await[0].reason, "never_told");
    assert_eq!(world.store.replay(alarm.notification.message, 34).await.unwrap(), Replayed::Queued(1));
    let alarm = world.only(step_at(35)).await;
    world.step(OutboxStep { settled: vec![settled(&alarm, Next::Delivered)], ..step_at(36) }).await;
    world.commit_together(&[over(&second, 37)], 37).await;
    assert_eq!(world.only(step_at(38)).await.notification.kind.name(), "resolved");
    assert_eq!(world.store.replay(alarm.notification.message, 39).await.unwrap(), Replayed::AlertOver);
    // The group goes on with an alert that nobody was told of.
    world.commit_together(std::slice::from_ref(&third), 100).await;
    world.commit_together(&[over(&third, 101)], 101).await;
    world.step(step_at(102)).await;
    let reasons: Vec<String> = world.messages("kim").await.into_iter().take(2).map(|m| m.reason).collect();
    assert_eq!(reasons, ["never_told", "resolved_in_grace"]);
}

#[tokio::test]
async fn an_alert_that_is_told_again_and_again_does_not_grow_the_history_without_bound() {
    let world = World::with_users(&["kim"]).await;
    world.register("kim", "fast", 1).await;
    world.prefer("kim", r#"{"per_minute": 60}"#, 2).await;
    let one = alert(1, Severity::Warning);
    for round in 0..30 {
        let now = 10 + 100 * round;
        let repeat = vec![told("all", std::slice::from_ref(&one), now)];
        world.change(if round == 0 { std::slice::from_ref(&one) } else { &[] }, repeat, now).await;
        let leased = world.only(step_at(now + 20)).await;
        // Only the fifth arrives.
        let next = if round == 4 { Next::Delivered } else { refused() };
        world.step(OutboxStep { settled: vec![settled(&leased, next)], ..step_at(now + 21) }).await;
    }
    let kept = world.messages("kim").await;
    assert_eq!(kept.len(), 11, "ten, and the one that was told");
    assert_eq!(kept[10].deliveries[0].state, "delivered");
    world.commit_together(&[over(&one, 5_000)], 5_000).await;
    assert_eq!(world.only(step_at(5_001)).await.notification.kind.name(), "resolved");
}

#[tokio::test]
async fn the_history_of_an_alert_has_every_message_that_tells_of_it() {
    let world = World::with_users(&["kim", "lee"]).await;
    let [first, second] = [1, 2].map(|number| alert(number, Severity::Warning));
    world.commit_together(&[first.clone(), second.clone()], 10).await;
    world.commit_together(&[over(&first, 20)], 20).await;
    let of = async |alert: &Alert, user: Option<&str>| {
        let query = MessageQuery { user: user.map(name), alert: Some(alert.id), limit: 10, ..MessageQuery::default() };
        let found = world.store.messages(query).await.unwrap();
        found.into_iter().map(|(_, m)| (m.cause, m.alerts.len())).collect::<Vec<_>>()
    };
    let (end, alarm) = (("all_resolved".to_owned(), 1), ("first".to_owned(), 2));
    assert_eq!(of(&first, Some("lee")).await, [end.clone(), alarm.clone()]);
    assert_eq!(of(&second, Some("lee")).await, std::slice::from_ref(&alarm));
    assert_eq!(of(&second, None).await, [alarm.clone(), alarm]);
    let endpoint = world.register("kim", "fast", 30).await;
    world.store.create_test(MessageId(Ulid::from_parts(5, 1)), endpoint, 30, 1_000).await.unwrap();
    let test = world.messages("kim").await.remove(0);
    assert_eq!((test.cause.as_str(), test.alerts.len(), test.alert), ("", 0, None));
}

#[tokio::test]
async fn an_end_of_more_alerts_than_are_kept_with_it_goes_to_whom_any_alarm_of_the_group_went() {
    let world = World::with_users(&["kim"]).await;
    world.register("kim", "fast", 1).await;
    let many: Vec<Alert> = (0..70).map(|number| alert(number, Severity::Warning)).collect();
    world.commit_together(&many[66..], 10).await;
    let alarm = world.only(step_at(30)).await;
    world.step(OutboxStep { settled: vec![settled(&alarm, Next::Delivered)], ..step_at(31) }).await;
    let ended: Vec<Alert> = many.iter().map(|alert| over(alert, 32)).collect();
    world.commit_together(&ended, 32).await;
    assert_eq!(world.only(step_at(33)).await.notification.kind.name(), "resolved");
}

#[tokio::test]
async fn who_replays_an_alarm_of_an_acknowledged_alert_gets_it_until_someone_acknowledges_again() {
    let world = World::with_users(&["kim"]).await;
    world.register("kim", "fast", 1).await;
    let one = alert(1, Severity::Warning);
    world.commit(vec![one.clone()], 10).await;
    let leased = world.only(step_at(30)).await;
    world.step(OutboxStep { settled: vec![settled(&leased, refused())], ..step_at(31) }).await;
    world.change(&[seen(&one, 32)], Vec::new(), 32).await;
    world.step(step_at(33)).await;
    assert_eq!(world.store.replay(leased.notification.message, 40).await.unwrap(), Replayed::Queued(1));
    // It is looked at again, as whenever something about it changes.
    world.change(&[Alert { revision: 3, ..seen(&one, 32) }], Vec::new(), 41).await;
    let leased = world.only(step_at(42)).await;
    world.change(&[Alert { revision: 4, ..seen(&one, 50) }], Vec::new(), 50).await;
    world.step(OutboxStep { settled: vec![settled(&leased, Next::RetryAt(60))], ..step_at(51) }).await;
    assert_eq!(world.states("kim").await, ["withdrawn"]);
}

#[tokio::test]
async fn what_is_tried_again_never_takes_the_place_of_what_is_newer() {
    let world = World::with_users(&["kim"]).await;
    world.register("kim", "phone", 1).await;
    let first = [alert(1, Severity::Warning)];
    world.commit_together(&first, 100).await;
    let leased = world.store.step(step_at(100 + LIFETIME_US / 4)).await.unwrap().leased;
    let now_us = 200 + LIFETIME_US / 4;
    let again = settled(&leased[0], Next::RetryAt(now_us + 1000));
    world.store.step(OutboxStep { settled: vec![again], ..step_at(now_us) }).await.unwrap();
    // The group gets worse while the first message waits for another try.
    let worse = [alert(2, Severity::Critical), first[0].clone()];
    world.commit_together(&worse, now_us).await;
    let newer = world.store.step(step_at(now_us + LIFETIME_US / 4)).await.unwrap().leased;
    assert_eq!(newer.len(), 1);
    let late_us = now_us + LIFETIME_US / 4 + 2000;
    let done = settled(&newer[0], Next::Delivered);
    let stepped = world.store.step(OutboxStep { settled: vec![done], ..step_at(late_us) }).await.unwrap();
    assert!(stepped.leased.is_empty(), "the older one is not sent any more");
    let query = MessageQuery { limit: 10, ..MessageQuery::default() };
    let told: Vec<_> = world.store.messages(query).await.unwrap().into_iter().map(|(_, one)| one).collect();
    assert_eq!(told[1].deliveries[0].state, "withdrawn");
    assert!(told[1].deliveries[0].reason.contains("newer"), "{:?}", told[1].deliveries[0]);
    assert_eq!(told[0].deliveries[0].state, "delivered");
}
