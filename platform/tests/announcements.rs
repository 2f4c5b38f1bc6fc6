//! What the store of announcements promises: they go out in pieces, each person gets one once, nothing else waits for them, and
//! their progress adds up whatever happens to them.
#![allow(clippy::unwrap_used)] // a helper's panic is this test's failure

mod common;

use common::{LIFETIME_US, alert, change, name, told};
use pulsewire::ports::{
    Acted, AlertCommit, AlertStore, Announced, AnnouncementStore, Attention, EndpointStore, Leased, NewEndpoint,
    OutboxStep, OutboxStore, PushAddress, Settled, Slots, Stepped, User, UserStore,
};
use pulsewire::storage::sqlite::SqliteMeta;
use pulsewire_core::ids::{AnnouncementId, EndpointId, UserName};
use pulsewire_core::notify::Recipients;
use pulsewire_core::push::{Addressees, Announcement, AnnouncementAct, AnnouncementState, Next, Priority, Progress};
use pulsewire_core::role::Role;
use pulsewire_core::scope::DeviceScope;
use pulsewire_core::severity::Severity;
use pulsewire_core::ulid::Ulid;
use std::collections::HashSet;
use std::sync::Arc;

const HOUR_US: i64 = 3_600_000_000;
const ROOM: Slots = Slots { all: 64, ordinary: 48, bulk: 32 };

struct Nobody;

impl Attention for Nobody {
    fn last_visible_us(&self, _: &UserName) -> Option<i64> {
        None
    }
}

struct World {
    store: SqliteMeta,
    _folder: tempfile::TempDir,
    now_us: i64,
    queue_max: usize,
}

fn announcement(to: Recipients, not_before_us: i64) -> Announcement {
    Announcement {
        id: AnnouncementId(Ulid::from_parts(1, 7)),
        title: "Maintenance".into(),
        body: "Tonight.".into(),
        url: "/".into(),
        image: None,
        severity: Severity::Info,
        to: Addressees::People(to),
        created_us: 1,
        created_by: name("ada"),
        not_before_us,
        expires_us: not_before_us + HOUR_US,
        state: AnnouncementState::Scheduled,
        progress: Progress::default(),
    }
}

impl World {
    async fn with(people: usize, endpoints: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteMeta::open(&folder.path().join("meta.db")).unwrap();
        let mut world = Self { store, _folder: folder, now_us: 1000, queue_max: 10_000 };
        for person in 0..people {
            world.person(&format!("user{person:06}"), Role::Viewer, endpoints).await;
        }
        world.now_us += 1;
        world
    }

    async fn person(&self, user: &str, role: Role, endpoints: usize) {
        let new = User { name: name(user), role, scope: DeviceScope::All, created_us: 1 };
        self.store.create_user(new, "hash".into()).await.unwrap();
        for number in 0..endpoints {
            let token = format!("{user}-{number}");
            let new = NewEndpoint {
                id: EndpointId(Ulid::from_parts(self.now_us, rand(&token))),
                user: name(user),
                label: "phone".into(),
                address: PushAddress::Fcm { token },
                provider: "fcm".into(),
                now_us: self.now_us,
                per_user_max: 99,
            };
            self.store.register(new).await.unwrap();
        }
    }

    async fn step(&mut self, settled: Vec<Settled>) -> Stepped {
        self.now_us += 1;
        let step = OutboxStep {
            now_us: self.now_us,
            settled,
            in_flight: Vec::new(),
            attention: Arc::new(Nobody),
            lease_until_us: self.now_us + HOUR_US,
            free: ROOM,
            busy: Vec::new(),
            per_provider: ROOM,
            history_per_user: 10,
            bulk_queue_max: self.queue_max,
            notices: Vec::new(),
        };
        self.store.step(step).await.unwrap()
    }

    /// Steps until nothing is due; answers the users of what was delivered.
    async fn drain(&mut self) -> Vec<String> {
        let (mut settled, mut users) = (Vec::new(), Vec::new());
        loop {
            let stepped = self.step(settled).await;
            let more = stepped.next_us.is_some_and(|at| at <= self.now_us);
            users.extend(stepped.leased.iter().map(token));
            settled = stepped.leased.iter().map(|leased| end(leased, Next::Delivered)).collect();
            if settled.is_empty() && !more {
                return users;
            }
        }
    }

    async fn progress(&self) -> (AnnouncementState, Progress) {
        let one = self.store.announcement(AnnouncementId(Ulid::from_parts(1, 7))).await.unwrap().unwrap();
        (one.state, one.progress)
    }

    async fn act(&self, act: AnnouncementAct) -> Acted {
        self.store.act_on_announcement(AnnouncementId(Ulid::from_parts(1, 7)), act, self.now_us).await.unwrap()
    }
}

fn rand(text: &str) -> u128 {
    text.bytes()
        .fold(7, |hash: u128, byte| hash.wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b) ^ u128::from(byte))
}

fn token(leased: &Leased) -> String {
    match &leased.address {
        PushAddress::Fcm { token } => token.clone(),
        _ => panic!("an app"),
    }
}

fn end(leased: &Leased, next: Next) -> Settled {
    Settled {
        delivery: leased.notification.delivery,
        endpoint: leased.endpoint,
        registered_us: leased.registered_us,
        next,
        status: Some(200),
        provider_id: None,
        text: String::new(),
        unclear: false,
    }
}

fn counts(people: u64, endpoints: u64, delivered: u64, failed: u64, withdrawn: u64) -> Progress {
    Progress { people, endpoints, delivered, failed, withdrawn }
}

#[tokio::test]
async fn everyone_gets_it_once_and_the_queue_stays_short() {
    let mut world = World::with(300, 2).await;
    world.person("nobody-home", Role::Viewer, 0).await;
    world.queue_max = 100;
    assert_eq!(world.store.announce(announcement(Recipients::Everyone, 0)).await.unwrap(), Announced::Made);
    let stepped = world.step(Vec::new()).await;
    assert_eq!(stepped.leased.len(), ROOM.bulk, "half of the room is for others");
    let (state, progress) = world.progress().await;
    assert!(
        state == AnnouncementState::Running && progress.waiting() <= 101,
        "the last person's are not parted: {progress:?}"
    );
    let settled = stepped.leased.iter().map(|leased| end(leased, Next::Delivered)).collect();
    let mut users: Vec<String> = stepped.leased.iter().map(token).collect();
    let next = world.step(settled).await;
    users.extend(next.leased.iter().map(token));
    let settled = next.leased.iter().map(|leased| end(leased, Next::Delivered)).collect();
    let more = world.step(settled).await;
    users.extend(more.leased.iter().map(token));
    // A restart in between: what was leased comes again.
    world.store.recover(world.now_us).await.unwrap();
    users.extend(world.drain().await);
    assert_eq!(users.iter().collect::<HashSet<_>>().len(), 600);
    assert_eq!(users.len(), 600 + more.leased.len(), "only what was on its way at the restart came twice");
    assert_eq!(world.progress().await, (AnnouncementState::Done, counts(300, 600, 600, 0, 0)));
}

#[tokio::test]
async fn it_waits_for_its_time_and_goes_to_whom_it_is_for() {
    let mut world = World::with(3, 1).await;
    world.person("kim", Role::Operator, 1).await;
    world.person("lee", Role::Admin, 1).await;
    let later = world.now_us + 100;
    world.store.announce(announcement(Recipients::Role(Role::Operator), later)).await.unwrap();
    let stepped = world.step(Vec::new()).await;
    assert_eq!((stepped.leased.len(), stepped.next_us), (0, Some(later)));
    world.now_us = later;
    let users: HashSet<String> = world.drain().await.into_iter().collect();
    assert_eq!(users, HashSet::from(["kim-0".to_owned(), "lee-0".to_owned()]));
    assert_eq!(world.progress().await, (AnnouncementState::Done, counts(2, 2, 2, 0, 0)));
}

#[tokio::test]
async fn pausing_holds_what_waits_and_going_on_sends_it_and_cancelling_ends_it() {
    let mut world = World::with(100, 1).await;
    world.store.announce(announcement(Recipients::Everyone, 0)).await.unwrap();
    let first = world.step(Vec::new()).await.leased;
    assert!(
        matches!(world.act(AnnouncementAct::Pause).await, Acted::Done(one) if one.state == AnnouncementState::Paused)
    );
    let settled = first.iter().map(|leased| end(leased, Next::Delivered)).collect();
    let paused = world.step(settled).await;
    assert!(paused.leased.is_empty() && world.step(Vec::new()).await.leased.is_empty());
    assert_eq!(world.progress().await, (AnnouncementState::Paused, counts(100, 100, 32, 0, 0)));
    world.act(AnnouncementAct::Resume).await;
    let second = world.step(Vec::new()).await.leased;
    assert_eq!(second.len(), ROOM.bulk);
    world.act(AnnouncementAct::Cancel).await;
    let settled = vec![end(&second[0], Next::Dead("x".into())), end(&second[1], Next::Delivered)];
    assert!(world.step(settled).await.leased.is_empty());
    let (state, progress) = world.progress().await;
    assert_eq!((state, progress), (AnnouncementState::Canceled, counts(100, 100, 33, 1, 36)));
    assert_eq!(progress.waiting(), 30, "these are on their way to a provider");
    assert_eq!(world.act(AnnouncementAct::Resume).await, Acted::Over(AnnouncementState::Canceled));
}

#[tokio::test]
async fn what_a_provider_gives_back_waits_while_it_is_paused_and_goes_when_it_is_cancelled() {
    let mut world = World::with(100, 1).await;
    world.store.announce(announcement(Recipients::Everyone, 0)).await.unwrap();
    let leased = world.step(Vec::new()).await.leased;
    world.act(AnnouncementAct::Pause).await;
    let now_us = world.now_us;
    let again = |leased: &[Leased]| leased.iter().map(|one| end(one, Next::RetryAt(now_us))).collect::<Vec<_>>();
    assert!(world.step(again(&leased[..16])).await.leased.is_empty(), "it is paused");
    assert!(world.step(Vec::new()).await.leased.is_empty());
    world.act(AnnouncementAct::Cancel).await;
    assert!(world.step(again(&leased[16..])).await.leased.is_empty(), "it is cancelled");
    assert_eq!(world.progress().await, (AnnouncementState::Canceled, counts(100, 100, 0, 0, 100)));
}

#[tokio::test]
async fn one_that_waits_keeps_no_other_waiting() {
    let mut world = World::with(100, 1).await;
    world.queue_max = 50;
    world.store.announce(announcement(Recipients::Everyone, 0)).await.unwrap();
    let first = world.step(Vec::new()).await.leased;
    world.act(AnnouncementAct::Pause).await;
    let other = AnnouncementId(Ulid::from_parts(2, 8));
    world.store.announce(Announcement { id: other, ..announcement(Recipients::Everyone, 0) }).await.unwrap();
    let mut settled: Vec<Settled> = first.iter().map(|leased| end(leased, Next::Delivered)).collect();
    for _ in 0..20 {
        settled = world.step(settled).await.leased.iter().map(|leased| end(leased, Next::Delivered)).collect();
    }
    let other = world.store.announcement(other).await.unwrap().unwrap();
    assert_eq!((other.state, other.progress), (AnnouncementState::Done, counts(100, 100, 100, 0, 0)));
    assert_eq!(world.progress().await.0, AnnouncementState::Paused);
}

#[tokio::test]
async fn an_alert_goes_before_an_announcement_that_was_there_first() {
    let mut world = World::with(100, 1).await;
    world.store.announce(announcement(Recipients::Everyone, 0)).await.unwrap();
    let first = world.step(Vec::new()).await.leased;
    assert!(first.iter().all(|leased| leased.priority == Priority::Bulk));
    let alerts = [alert(1, Severity::Warning)];
    let changes = alerts.iter().map(|alert| change(alert, world.now_us)).collect();
    let told = vec![told("all", &alerts, world.now_us)];
    let commit = AlertCommit { now_us: world.now_us, changes, told, ..AlertCommit::default() };
    world.store.commit(Arc::new(commit)).await.unwrap();
    world.now_us += LIFETIME_US / 2;
    let settled = first.iter().map(|leased| end(leased, Next::Delivered)).collect();
    let next = world.step(settled).await.leased;
    let bulk = next.iter().filter(|leased| leased.priority == Priority::Bulk).count();
    assert_eq!((next.len() - bulk, next[0].priority), (48 - bulk, Priority::Normal), "{bulk} of {}", next.len());
}

#[tokio::test]
async fn a_deleted_user_and_a_time_that_is_over_leave_nothing_waiting() {
    let mut world = World::with(40, 1).await;
    world.person("zoe", Role::Admin, 0).await;
    world.store.announce(announcement(Recipients::Everyone, 0)).await.unwrap();
    world.queue_max = 38;
    let first = world.step(Vec::new()).await.leased;
    world.store.delete_user(&name("user000037")).await.unwrap();
    let settled = first.iter().map(|leased| end(leased, Next::Delivered)).collect();
    world.queue_max = 0;
    world.now_us += 2 * HOUR_US;
    world.step(settled).await;
    world.drain().await;
    let (state, progress) = world.progress().await;
    assert_eq!((state, progress.waiting()), (AnnouncementState::Done, 0), "{progress:?}");
    assert_eq!((progress.delivered, progress.withdrawn, progress.failed), (32, 1, 5));
}

/// `PULSEWIRE_LONG=1` takes 100,000 endpoints, else 4,000.
#[tokio::test]
async fn a_hundred_thousand_endpoints_are_reached_with_a_bounded_queue() {
    let people = if std::env::var_os("PULSEWIRE_LONG").is_some() { 5_000 } else { 200 };
    let mut world = World::with(people, 20).await;
    let started = std::time::Instant::now();
    world.store.announce(announcement(Recipients::Everyone, 0)).await.unwrap();
    let (mut settled, mut most) = (Vec::new(), 0);
    loop {
        let stepped = world.step(settled).await;
        let (state, progress) = world.progress().await;
        most = most.max(progress.waiting());
        if state == AnnouncementState::Done {
            break;
        }
        settled = stepped.leased.iter().map(|leased| end(leased, Next::Delivered)).collect();
    }
    let all = u64::try_from(people * 20).unwrap();
    assert_eq!(world.progress().await.1, counts(all / 20, all, all, 0, 0));
    assert!(most <= 10_000 + 20, "{most} waited at once");
    println!("{all} deliveries through the store in {:.1} s, at most {most} waiting", started.elapsed().as_secs_f64());
}
