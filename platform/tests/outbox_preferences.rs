//! What people want decides what reaches them: held, gathered, withdrawn, each at its endpoint.
#![allow(clippy::unwrap_used)] // a helper's panic is this test's failure

mod common;
mod outbox;

use common::{alert, told};
use outbox::{World, over, seen, settled, step_at};
use pulsewire::ports::{EndpointChange, EndpointStore, Leased, Message, OutboxStep, OutboxStore, TestMade};
use pulsewire_core::alert::Alert;
use pulsewire_core::ids::{GroupName, MessageId};
use pulsewire_core::push::{EndpointPreferences, Next, Sound};
use pulsewire_core::severity::Severity;
use pulsewire_core::ulid::Ulid;

const S: i64 = 1_000_000;
/// A minute of 1970; messages of these tests live for a second.
const MIN: i64 = 60 * S;
/// From 00:00 to 00:01 UTC.
const QUIET: &str = r#"{"quiet_hours": {"zone": "UTC", "windows": ["daily 00:00-00:01"]}}"#;

fn kinds(leased: &[Leased]) -> Vec<&str> {
    leased.iter().map(|one| one.notification.kind.name()).collect()
}

/// State, reason and what its deliveries are: state, and why they are held.
fn stands(message: &Message) -> (&str, &str, Vec<(&str, Option<&str>)>) {
    let deliveries = message.deliveries.iter().map(|one| (one.state.as_str(), one.held.as_deref())).collect();
    (message.state.name(), &message.reason, deliveries)
}

/// One that began just now.
fn fired(number: u128, severity: Severity, now_us: i64) -> Alert {
    Alert { fired_us: now_us, ..alert(number, severity) }
}

fn warnings<const N: usize>(now_us: i64) -> [Alert; N] {
    std::array::from_fn(|number| fired(number as u128 + 1, Severity::Warning, now_us))
}

#[tokio::test]
async fn quiet_hours_hold_what_is_not_critical_and_their_end_tells_it_as_one_message() {
    let world = World::with_users(&["kim"]).await;
    world.register("kim", "fast", 1).await;
    world.prefer("kim", QUIET, 2).await;
    let now = MIN - S / 2;
    world.commit(warnings::<3>(now).to_vec(), now).await;
    world.commit(vec![fired(9, Severity::Critical, now)], now).await;
    let stepped = world.step(step_at(now + 20)).await;
    assert_eq!(stepped.leased[0].notification.severity, Severity::Critical);
    assert_eq!((stepped.leased.len(), stepped.next_us), (1, Some(now + 80)), "the critical one's lease ends first");
    let critical = vec![settled(&stepped.leased[0], Next::Delivered)];
    let waits = world.step(OutboxStep { settled: critical, ..step_at(now + 21) }).await;
    assert_eq!(waits.next_us, Some(MIN));
    let held = world.messages("kim").await.remove(1);
    assert_eq!(stands(&held), ("sending", "", vec![("queued", Some("quiet_hours"))]));
    assert_eq!(held.deliveries[0].timeline[0].event, "held");
    let digest = world.only(step_at(MIN)).await.notification;
    assert_eq!((digest.kind.name(), digest.url.as_str()), ("digest", "/alerts"));
    assert_eq!(digest.title, "3 alerts");
    assert!(digest.body.starts_with("Boiler: temp 81 °C > 80 °C; Boiler:"), "{}", digest.body);
    let all = world.messages("kim").await;
    assert_eq!((all[0].alerts.len(), all[0].cause.as_str()), (3, "quiet_hours"));
    assert_eq!(stands(&all[2]), ("done", "digested", vec![("digested", None)]));
}

#[tokio::test]
async fn what_was_held_alone_goes_as_itself_and_of_one_group_only_the_newest() {
    let world = World::with_users(&["kim"]).await;
    world.register("kim", "fast", 1).await;
    world.prefer("kim", QUIET, 2).await;
    let now = MIN - S / 2;
    let two = warnings::<2>(now);
    world.commit_together(&two[..1], now).await;
    world.step(step_at(now + 20)).await;
    world.commit_together(&two, now + 30).await;
    world.step(step_at(now + 50)).await;
    let alone = world.only(step_at(MIN)).await;
    let all = world.messages("kim").await;
    assert_eq!((alone.notification.kind.name(), alone.notification.message), ("firing", all[0].id));
    assert_eq!(stands(&all[1]), ("done", "digested", vec![("digested", None)]));
}

#[tokio::test]
async fn what_ends_or_is_acknowledged_while_it_is_held_is_never_told_there() {
    let world = World::with_users(&["kim"]).await;
    let quiet = world.register("kim", "quiet", 1).await;
    world.register("kim", "loud", 2).await;
    world.prefer_at(quiet, QUIET, 3).await;
    let now = MIN - S / 2;
    let two = warnings::<2>(now);
    world.commit(two.to_vec(), now).await;
    assert_eq!(world.deliver(now + 20).await.len(), 2, "at the loud one");
    world.commit(vec![over(&two[0], now + 30)], now + 30).await;
    world.change(&[seen(&two[1], now + 31)], Vec::new(), now + 31).await;
    let told = world.deliver(now + 40).await;
    assert!(told.iter().all(|one| one.provider == "loud") && kinds(&told).contains(&"resolved"), "{:?}", kinds(&told));
    assert!(world.step(step_at(MIN)).await.leased.is_empty());
    let all = world.messages("kim").await;
    let end = all.iter().find(|message| message.kind.name() == "resolved").unwrap();
    let mut states: Vec<_> = end.deliveries.iter().map(|one| (one.state.as_str(), one.reason.as_str())).collect();
    states.sort_unstable();
    assert_eq!(states, [("delivered", ""), ("withdrawn", "not pushed: it was not told here that the alert began")]);
}

#[tokio::test]
async fn new_preferences_let_go_at_once_what_was_held_and_take_back_what_is_not_wanted() {
    let world = World::with_users(&["kim"]).await;
    world.register("kim", "fast", 1).await;
    world.prefer("kim", QUIET, 2).await;
    let now = MIN - S / 2;
    world.commit(vec![fired(1, Severity::Warning, now), fired(2, Severity::Info, now)], now).await;
    assert!(world.step(step_at(now + 20)).await.leased.is_empty());
    world.prefer("kim", r#"{"severities": ["warning"]}"#, now + 30).await;
    let leased = world.only(step_at(now + 30)).await;
    assert_eq!((leased.notification.kind.name(), leased.notification.severity), ("firing", Severity::Warning));
    assert_eq!(stands(&world.messages("kim").await[0]), ("done", "severity_unwanted", vec![("withdrawn", None)]));
}

#[tokio::test]
async fn two_endpoints_of_one_person_each_get_what_is_wanted_there() {
    let world = World::with_users(&["kim"]).await;
    let (work, home) = (world.register("kim", "work", 1).await, world.register("kim", "home", 2).await);
    world.prefer("kim", r#"{"groups": ["north"], "sound": "never"}"#, 3).await;
    world.prefer_at(home, r#"{"groups": null, "severities": ["critical"], "sound": "always"}"#, 4).await;
    let group = |name: &str| Some(GroupName::parse(name).unwrap());
    let north = Alert { group: group("north"), ..alert(1, Severity::Warning) };
    let south = Alert { group: group("south"), ..alert(2, Severity::Critical) };
    world.commit(vec![north, south, alert(3, Severity::Info)], 10).await;
    let leased = world.step(step_at(30)).await.leased;
    let mut got: Vec<_> = leased
        .iter()
        .map(|one| (one.endpoint == work, one.notification.severity, one.notification.look.sound))
        .collect();
    got.sort_by_key(|(at_work, ..)| *at_work);
    assert_eq!(got, [(false, Severity::Critical, Sound::Always), (true, Severity::Warning, Sound::Never)]);
    let all = world.messages("kim").await;
    assert_eq!(all[0].reason, "", "not wanted for two reasons");
    let mut reasons: Vec<&str> = all[0].deliveries.iter().map(|one| one.reason.as_str()).collect();
    reasons.sort_unstable();
    assert_eq!(
        reasons,
        ["not pushed: devices of this group are not wanted here", "not pushed: this severity is not wanted here"]
    );
}

#[tokio::test]
async fn a_message_about_several_alerts_is_wanted_if_one_of_them_is() {
    let world = World::with_users(&["kim"]).await;
    world.register("kim", "fast", 1).await;
    world.prefer("kim", r#"{"groups": ["north"]}"#, 3).await;
    let [first, second, third] = warnings::<3>(10);
    let north = Alert { group: Some(GroupName::parse("north").unwrap()), ..second };
    world.commit_together(&[first, north], 10).await;
    world.commit_together(&[third], 11).await;
    assert_eq!(world.step(step_at(30)).await.leased.len(), 1);
    assert_eq!(world.messages("kim").await[0].reason, "group_unwanted");
}

#[tokio::test]
async fn a_muted_endpoint_gets_tests_only_and_what_waits_for_it_is_withdrawn() {
    let world = World::with_users(&["kim"]).await;
    let endpoint = world.register("kim", "fast", 1).await;
    world.commit(vec![alert(1, Severity::Critical)], 10).await;
    let leased = world.only(step_at(30)).await;
    let retry = vec![settled(&leased, Next::RetryAt(500))];
    world.step(OutboxStep { settled: retry, ..step_at(31) }).await;
    let mute = EndpointChange { muted: Some(true), label: Some("Old phone".into()), ..EndpointChange::default() };
    let muted = world.store.update_endpoint(endpoint, mute, 40).await.unwrap();
    assert!(muted.muted && muted.label == "Old phone");
    assert_eq!(stands(&world.messages("kim").await[0]), ("done", "muted", vec![("withdrawn", None)]));
    world.commit(vec![alert(2, Severity::Critical)], 50).await;
    assert!(world.step(step_at(70)).await.leased.is_empty());
    assert_eq!(world.messages("kim").await[0].reason, "muted");
    let made = world.store.create_test(MessageId(Ulid::from_parts(5, 1)), endpoint, 80, 1_000).await.unwrap();
    assert!(matches!(made, TestMade::Made(_)));
    assert_eq!(kinds(&world.step(step_at(81)).await.leased), ["test"]);
}

#[tokio::test]
async fn what_is_gathered_is_told_at_the_next_interval_also_if_it_would_have_expired_before() {
    let world = World::with_users(&["kim"]).await;
    world.register("kim", "fast", 1).await;
    world.prefer("kim", r#"{"digest": "5m"}"#, 2).await;
    // Their lifetime is a second.
    let now = 10;
    world.commit(warnings::<2>(now).to_vec(), 10).await;
    world.commit(vec![alert(7, Severity::Critical)], 11).await;
    assert_eq!(world.deliver(30).await.len(), 1, "what is critical is not gathered");
    assert!(world.step(step_at(4 * MIN)).await.leased.is_empty());
    let digest = world.only(step_at(5 * MIN)).await;
    assert_eq!((digest.notification.title.as_str(), digest.notification.kind.name()), ("2 alerts", "digest"));
    // Who was told of several at once is told of the ends the same way.
    let done = vec![settled(&digest, Next::Delivered)];
    world.step(OutboxStep { settled: done, ..step_at(5 * MIN + 1) }).await;
    let ended: Vec<Alert> = warnings::<2>(now).iter().map(|alert| over(alert, 5 * MIN + 10)).collect();
    world.commit(ended, 5 * MIN + 10).await;
    assert!(world.step(step_at(5 * MIN + 20)).await.leased.is_empty());
    let digest = world.only(step_at(10 * MIN)).await.notification;
    assert_eq!((digest.title.as_str(), digest.severity), ("2 alerts, all over by now", Severity::Info));
    assert_eq!(digest.body, "Boiler: Too hot (over); Boiler: Too hot (over)");
}

#[tokio::test]
async fn a_storm_of_messages_becomes_one_and_what_is_critical_does_not_wait_for_it() {
    let world = World::with_users(&["kim"]).await;
    world.register("kim", "fast", 1).await;
    world.register("kim", "other", 2).await;
    world.prefer("kim", r#"{"per_minute": 3}"#, 3).await;
    // They live for a second: the minute has to be over soon after.
    world.commit((1..=2).map(|n| alert(n, Severity::Warning)).collect(), 10).await;
    assert_eq!(world.deliver(30).await.len(), 4, "two messages, two endpoints each");
    let now = MIN - S / 4;
    world.commit((3..=9).map(|n| fired(n, Severity::Warning, now)).collect(), now).await;
    assert_eq!(world.deliver(now + 20).await.len(), 2, "there was room for one");
    world.commit(vec![fired(20, Severity::Critical, now + 30)], now + 30).await;
    let critical = world.deliver(now + 50).await;
    assert_eq!((critical.len(), critical[0].notification.severity), (2, Severity::Critical));
    let later = MIN + 30;
    assert!(world.step(step_at(later - 1)).await.leased.is_empty());
    let digests = world.deliver(later).await;
    assert_eq!(kinds(&digests), ["digest", "digest"]);
    assert_eq!(digests[0].notification.message, digests[1].notification.message, "one message, two endpoints");
    assert_eq!(digests[0].notification.title, "6 alerts");
}

#[tokio::test]
async fn what_is_held_survives_a_kill_and_is_told_once() {
    let world = World::with_users(&["kim"]).await;
    world.register("kim", "fast", 1).await;
    world.prefer("kim", QUIET, 2).await;
    let now = MIN - S / 2;
    world.commit(warnings::<3>(now).to_vec(), now).await;
    world.step(step_at(now + 20)).await;
    let world = world.reopened();
    world.store.recover(now + 30).await.unwrap();
    let first = world.only(step_at(MIN)).await;
    let world = world.reopened();
    assert_eq!(world.store.recover(MIN + 1).await.unwrap(), 1);
    let second = world.only(step_at(MIN + 2)).await;
    assert_eq!(first.notification.delivery, second.notification.delivery);
    let digests = world.messages("kim").await.into_iter().filter(|message| message.kind.name() == "digest").count();
    assert_eq!(digests, 1);
}

#[tokio::test]
async fn another_owner_of_an_endpoint_begins_without_its_choices() {
    let world = World::with_users(&["kim", "lee"]).await;
    let endpoint = world.register("kim", "fast", 1).await;
    world.prefer_at(endpoint, r#"{"sound": "never"}"#, 2).await;
    assert_eq!(world.register("kim", "fast", 3).await, endpoint);
    let kept = world.store.endpoint(endpoint).await.unwrap().unwrap();
    assert_eq!(kept.preferences, EndpointPreferences { sound: Some(Sound::Never), ..EndpointPreferences::default() });
    world.register("lee", "fast", 4).await;
    assert_eq!(world.store.endpoint(endpoint).await.unwrap().unwrap().preferences, EndpointPreferences::default());
}

#[tokio::test]
async fn an_end_that_waits_for_quiet_hours_goes_by_itself_since_it_takes_the_place_of_what_is_shown() {
    let world = World::with_users(&["kim"]).await;
    world.register("kim", "fast", 1).await;
    let now = MIN - S / 2;
    let two = warnings::<2>(now);
    world.commit(two.to_vec(), now).await;
    let tags: Vec<String> = world.deliver(now + 20).await.into_iter().map(|one| one.notification.tag).collect();
    world.prefer("kim", QUIET, now + 21).await;
    let ended: Vec<Alert> = two.iter().map(|alert| over(alert, now + 30)).collect();
    let all = ended.iter().map(|one| told(&one.id.to_string(), std::slice::from_ref(one), now + 30)).collect();
    world.change(&ended, all, now + 30).await;
    assert!(world.step(step_at(now + 40)).await.leased.is_empty());
    let ends = world.deliver(MIN).await;
    assert_eq!(kinds(&ends), ["resolved", "resolved"]);
    assert!(ends.iter().all(|one| tags.contains(&one.notification.tag)));
}
