//! From a sample to a phone: rules, the outbox and providers, through public doors only.
//!
//! `PULSEWIRE_LONG=1` makes fifty kills instead of five.

use pulsewire_tests::device::{Device, now_us, report};
use pulsewire_tests::emulator::Phone;
use pulsewire_tests::recorded::Random;
use pulsewire_tests::{Api, PushEmulator, Server, Viewer, programs, until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const PROVIDERS: [&str; 3] = ["webpush", "apns", "fcm"];

/// A device with a rule: critical above 10.
struct Room {
    secret: [u8; 32],
}

impl Room {
    fn make(server: &Server) -> Self {
        let secret = server.admin().create_device("room");
        let rule = json!({ "id": "warm", "name": "Room too warm", "metric": "temp", "comparison": ">", "threshold": 10.0,
            "severity": "critical", "message": "Close the door.", "allow_unknown_metric": true,
            "flapping": false, "notify": { "group_by": ["alert"], "wait": "0s", "interval": "1s" } });
        server.admin().post("/api/v1/rules", &rule).expect(201);
        Self { secret }
    }

    /// One sample, which is stored when this returns.
    fn send(&self, server: &Server, value: f64) {
        let mut device = Device::login(server.device, "room", &self.secret);
        let (stream, set) = device.prepare();
        device.send(&report(&set, stream, 1, &[(now_us(), value)]));
        device.expect_ack(stream, 1);
    }
}

fn items(api: &Api, path: &str) -> Vec<Value> {
    api.get(path).expect(200)["items"].as_array().expect("items").clone()
}

/// A user's newest message, once it is done.
fn done(user: &Api, kind: &str, count: usize) -> Value {
    until("the message is done", || {
        let all = items(user, "/api/v1/push/messages?limit=500");
        let of_kind: Vec<_> = all.into_iter().filter(|message| message["kind"] == kind).collect();
        (of_kind.len() == count && of_kind[0]["state"] == "done").then(|| of_kind[0].clone())
    })
}

#[test]
fn an_alert_reaches_browser_and_apps_and_its_end_takes_its_place() {
    let emulator = PushEmulator::start();
    let server = emulator.server().start();
    let kim = server.admin().create_user("kim", "operator");
    emulator.equip(&kim);
    let room = Room::make(&server);
    room.send(&server, 11.0);
    let firing = done(&kim, "firing", 1);
    for delivery in firing["deliveries"].as_array().expect("deliveries") {
        assert_eq!((&delivery["state"], &delivery["attempts"]), (&json!("delivered"), &json!(1)), "{firing}");
    }
    room.send(&server, 9.0);
    done(&kim, "resolved", 1);
    let arrived = emulator.arrived();
    for provider in PROVIDERS {
        let of: Vec<_> = arrived.iter().filter(|message| message["provider"] == provider).collect();
        let kinds: Vec<_> = of.iter().map(|message| message["kind"].as_str()).collect();
        assert_eq!(kinds, [Some("firing"), Some("resolved")], "{provider}");
        assert_eq!(of[0]["collapse_key"], of[1]["collapse_key"], "{provider}: the end replaces the alarm");
        assert_ne!(of[0]["id"], of[1]["id"]);
        assert!(of[0]["payload"].to_string().contains("Room too warm"), "{}", of[0]["payload"]);
        for check in of.iter().flat_map(|message| message["checks"].as_array().expect("checks")) {
            assert_eq!(check["ok"], true, "{provider}: {check}");
        }
    }
    // The admin has no endpoint, and is told so.
    let unsent = done(server.admin(), "firing", 1);
    assert_eq!(unsent["reason"], "no_endpoint");
}

#[test]
fn who_watches_is_not_pushed_and_the_history_says_why() {
    let emulator = PushEmulator::start();
    let server = emulator.server().start();
    let kim = server.admin().create_user("kim", "operator");
    emulator.equip(&kim);
    let room = Room::make(&server);
    let mut page = Viewer::connect(server.http, kim.token());
    page.look();
    room.send(&server, 11.0);
    let seen = done(&kim, "firing", 1);
    assert_eq!(seen["reason"], "watching", "{seen}");
    assert!(seen["reason_text"].as_str().is_some_and(|text| text.contains("kim had a visible page at")), "{seen}");
    room.send(&server, 9.0);
    assert_eq!(done(&kim, "resolved", 1)["reason"], "never_told");
    assert_eq!(emulator.arrived(), Vec::<Value>::new());
}

#[test]
fn an_acknowledged_alert_is_not_pushed_and_one_that_waits_for_a_provider_is_withdrawn() {
    let emulator = PushEmulator::start();
    let server = emulator.server().set("push.grace", "2s").start();
    let kim = server.admin().create_user("kim", "operator");
    emulator.equip(&kim);
    let room = Room::make(&server);
    let acknowledge = || {
        let alert = until("an alert fires", || items(&kim, "/api/v1/alerts").first().cloned());
        let path = format!("/api/v1/alerts/{}/acknowledge", alert["id"].as_str().expect("an id"));
        kim.post(&path, &json!({})).expect(200);
    };
    room.send(&server, 11.0);
    acknowledge();
    assert_eq!(done(&kim, "firing", 1)["reason"], "acknowledged");
    assert_eq!(emulator.arrived(), Vec::<Value>::new());
    room.send(&server, 9.0);
    done(&kim, "resolved", 1);
    for provider in PROVIDERS {
        emulator
            .fault(&json!({ "provider": provider, "kind": "status", "status": 503, "retry_after": "600", "count": 9 }));
    }
    room.send(&server, 12.0);
    until("every provider has refused once", || (emulator.arrived().len() == 3).then_some(()));
    acknowledge();
    let withdrawn = done(&kim, "firing", 2);
    for delivery in withdrawn["deliveries"].as_array().expect("deliveries") {
        assert_eq!(delivery["state"], "withdrawn", "{withdrawn}");
    }
}

#[test]
fn what_is_no_endpoint_is_refused_with_its_reason() {
    let emulator = PushEmulator::start();
    let server = Server::start();
    let post = |body: Value| server.admin().post("/api/v1/push/endpoints", &body);
    let made = emulator.page().post("/api/subscriptions", &json!({})).expect(201);
    let browser = |url: &str, keys: Value| json!({ "kind": "webpush", "url": url, "keys": keys });
    for url in ["https://127.0.0.1:7443/x", "https://169.254.169.254/x", "https://[::1]/x", "https://localhost/x"] {
        post(browser(url, made["keys"].clone())).expect_problem(422, "private_address", "private");
    }
    post(browser("http://push.example.org/x", made["keys"].clone())).expect_problem(422, "bad_endpoint", "https://");
    let short = json!({ "p256dh": "AAAA", "auth": made["keys"]["auth"] });
    let problem = post(browser("https://push.example.org/x", short)).expect_problem(422, "bad_endpoint", "P-256");
    assert_eq!(problem["errors"][0]["field"], "keys.p256dh");
    post(json!({ "kind": "apns", "token": "ab" })).expect_problem(409, "channel_not_configured", "apns");
    post(json!({ "kind": "smoke", "token": "ab" })).expect_problem(
        422,
        "bad_endpoint",
        "webpush, apns, fcm, email, webhook",
    );
    let good = browser("https://push.example.org/x", made["keys"].clone());
    let first = post(good.clone()).expect(201);
    assert_eq!(post(good).expect(200)["id"], first["id"], "the same address again updates it");
    assert!(!server.log().contains("push.example.org/x"), "addresses are secrets");
    let kim = server.admin().create_user("kim", "operator");
    let path = format!("/api/v1/push/endpoints/{}", first["id"].as_str().expect("an id"));
    kim.delete(&path).expect_problem(404, "not_found", "endpoint");
    kim.get("/api/v1/push/endpoints?user=admin").expect_problem(403, "forbidden", "admin");
    server.admin().delete(&path).expect(204);
}

/// What arrived per target and id.
fn ids_by_target(emulator: &PushEmulator, kind: &str) -> BTreeMap<String, Vec<String>> {
    let mut by_target: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for message in emulator.arrived().iter().filter(|message| message["kind"] == kind) {
        let text = |name: &str| message[name].as_str().expect("a text").to_owned();
        by_target.entry(text("target_id")).or_default().push(text("id"));
    }
    by_target
}

#[test]
fn each_message_arrives_over_kills_between_alert_and_provider_and_a_repeat_has_the_same_id() {
    let kills = if std::env::var_os("PULSEWIRE_LONG").is_some() { 50 } else { 5 };
    let mut random = Random::printed();
    let emulator = PushEmulator::start();
    let mut server = emulator.server().start();
    let kim = server.admin().create_user("kim", "operator");
    // More alarms a minute than people want by themselves.
    kim.put("/api/v1/push/preferences", &json!({ "per_minute": 60 })).expect(200);
    let phone: Phone = emulator.equip(&kim);
    let room = Room::make(&server);
    let mut repeats = 0;
    for kill in 1..=kills {
        // Answers that take a while: more moments to be killed at.
        for provider in PROVIDERS {
            emulator
                .fault(&json!({ "provider": provider, "kind": "delay", "delay_ms": random.below(150), "count": 1 }));
        }
        room.send(&server, 11.0 + f64::from(kill));
        // The grace is 200 ms; then the requests.
        std::thread::sleep(Duration::from_millis(random.below(450)));
        server.kill9();
        server.restart();
        let kim = server.api().signed_in("kim", "password of kim");
        done(&kim, "firing", usize::try_from(kill).expect("small"));
        let arrived = ids_by_target(&emulator, "firing");
        repeats = 0;
        for target in &phone.targets {
            let mut ids = arrived.get(target).cloned().unwrap_or_default();
            let all = ids.len();
            ids.sort();
            ids.dedup();
            assert_eq!(
                ids.len(),
                usize::try_from(kill).expect("small"),
                "kill {kill}: a message is missing or has two ids"
            );
            repeats += all - ids.len();
        }
        emulator.page().delete("/api/faults").expect(204);
        room.send(&server, 9.0);
        done(&kim, "resolved", usize::try_from(kill).expect("small"));
    }
    println!("{kills} kills, {} messages, {repeats} repeats", kills * 3);
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

#[test]
fn the_measurement_of_push_counts_what_it_sent_and_what_arrived() {
    let mut bench = programs::command(programs::pulsewire_sim());
    let output = programs::run(bench.args(["bench", "push", "--seconds", "2", "--devices", "4", "--json"]));
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    assert!(output.status.success(), "{report}");
    assert_eq!(
        (&report["samples"], &report["messages"], &report["missing"]),
        (&json!(8), &json!(24), &json!(0)),
        "{report}"
    );
    let latency = |name: &str| report["latency_ms"][name].as_f64().expect("a number");
    assert!(latency("p50") > 0.0 && latency("p50") <= latency("p99") && latency("p99") <= latency("max"), "{report}");
    assert!(report["server_rss_bytes"].as_u64() > Some(1 << 20), "{report}");
}
