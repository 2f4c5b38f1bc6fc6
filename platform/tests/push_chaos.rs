//! Providers that fail and stall by chance, for a while. PULSEWIRE_LONG=1 makes it ten minutes.

mod world;

use pulsewire::ports::{Clock, Endpoint};
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use world::{KINDS, Wall, World};

/// Endpoints of each kind.
const ENDPOINTS: usize = 12;
/// What ends a delivery, in its timeline.
const ENDS: [&str; 4] = ["sent", "dead", "dropped", "withdrawn"];
/// How much memory may grow from the first quarter of the long round to its end.
const GROWTH_MAX_KB: u64 = 48 * 1024;

fn length() -> (Duration, bool) {
    let long = std::env::var("PULSEWIRE_LONG").is_ok_and(|value| value == "1");
    (Duration::from_secs(if long { 600 } else { 20 }), long)
}

/// Memory of this process, that is of server and emulator together. None where the system does not say.
fn rss_kb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix(" kB")?.trim().parse().ok()
}

/// Sends one message after the other to an endpoint until the time is over; answers how each ended.
async fn keep_sending(world: Arc<World>, endpoint: Endpoint, until: Instant) -> Vec<(String, u32)> {
    let mut ends = Vec::new();
    while Instant::now() < until {
        let sent = world.ended(world.send(&endpoint).await).await;
        let terminal = sent.timeline.iter().filter(|event| ENDS.contains(&event.event.as_str())).count();
        assert_eq!(terminal, 1, "exactly one end: {sent:?}");
        let last = sent.timeline.last().map_or("", |event| event.event.as_str());
        assert_eq!(if last == "sent" { "delivered" } else { last }, sent.state, "{sent:?}");
        assert!(sent.next_us.is_none(), "nothing is due after the end: {sent:?}");
        ends.push((sent.state, sent.attempts));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ends
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_delivery_ends_once_while_all_providers_fail_and_stall_by_chance() {
    let (time, long) = length();
    let world = Arc::new(World::start().await);
    for kind in KINDS {
        let seconds = time.as_secs() + 60;
        let status = if kind == "email" { 451 } else { 500 };
        for fault in [
            json!({ "provider": kind, "kind": "status", "status": status, "share": 0.1, "seconds": seconds }),
            json!({ "provider": kind, "kind": "stall", "share": 0.05, "seconds": seconds }),
        ] {
            world.fault(fault).await;
        }
    }
    let (begin, mut tasks) = (Instant::now(), tokio::task::JoinSet::new());
    for kind in KINDS {
        for _ in 0..ENDPOINTS {
            let endpoint = world.endpoint(kind).await;
            let (world, until) = (world.clone(), begin + time);
            tasks.spawn(async move { (kind, keep_sending(world, endpoint, until).await) });
        }
    }
    tokio::time::sleep(time / 4).await;
    let early_kb = rss_kb();
    tokio::time::sleep((begin + time).saturating_duration_since(Instant::now())).await;
    let late_kb = rss_kb();
    world.page("DELETE", "/api/faults", None).await;
    let mut ends: HashMap<(&str, String), (usize, u32)> = HashMap::new();
    while let Some(ended) = tasks.join_next().await {
        let (kind, of_endpoint) = ended.expect("no check failed");
        for (state, attempts) in of_endpoint {
            let seen = ends.entry((kind, state)).or_default();
            *seen = (seen.0 + 1, seen.1 + attempts);
        }
    }
    let mut rows: Vec<_> = ends.iter().collect();
    rows.sort();
    for ((kind, state), (count, attempts)) in rows {
        println!("{kind} {state}: {count} in {attempts} attempts");
    }
    println!("memory after a quarter: {early_kb:?} kB, at the end: {late_kb:?} kB");
    for kind in KINDS {
        let of = |wanted: &str| ends.iter().filter(|((k, s), _)| *k == kind && s == wanted).map(|(_, n)| n.0).sum();
        let (delivered, removed): (usize, usize) = (of("delivered"), of("dropped"));
        assert!(delivered >= ENDPOINTS, "{kind}: {delivered}");
        assert_eq!(removed, 0, "{kind}: no error of these says that an endpoint is gone");
    }
    if let (Some(early), Some(late), true) = (early_kb, late_kb, long) {
        assert!(late < early + GROWTH_MAX_KB, "memory grew from {early} kB to {late} kB");
    }
}

/// Time from a message's making to its delivery, the 99th of a hundred, while these endpoints are sent to.
async fn p99(world: &World, browsers: &[Endpoint], rounds: usize) -> Duration {
    let mut took_us = Vec::new();
    for _ in 0..rounds {
        let mut sent = Vec::new();
        for browser in browsers {
            sent.push((world.send(browser).await, Wall.now_us()));
        }
        for (id, made_us) in sent {
            let delivery = world.ended(id).await;
            assert_eq!(delivery.state, "delivered");
            took_us.push(delivery.timeline.last().expect("an end").time_us - made_us);
        }
    }
    took_us.sort_unstable();
    Duration::from_micros(took_us[took_us.len() * 99 / 100].max(0).unsigned_abs())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_apple_does_not_delay_browsers() {
    let (_, long) = length();
    let world = Arc::new(World::start().await);
    let mut browsers = Vec::new();
    for _ in 0..10 {
        browsers.push(world.endpoint("webpush").await);
    }
    let rounds = if long { 200 } else { 20 };
    let healthy = p99(&world, &browsers, rounds).await;
    world.fault(json!({ "provider": "apns", "kind": "stall", "seconds": 3600 })).await;
    for _ in 0..100 {
        let phone = world.endpoint("apns").await;
        world.send(&phone).await;
    }
    let beside = p99(&world, &browsers, rounds).await;
    println!("Web Push, p99 from made to delivered: {healthy:?} alone, {beside:?} beside an APNs that never answers");
    // A request that stalls is given up after 2 s; what waited for one would take that long.
    assert!(beside < healthy + Duration::from_millis(1000), "{healthy:?} became {beside:?}");
}
