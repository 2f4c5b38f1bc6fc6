//! What people choose to be told, where and when, through public doors only.

use pulsewire_tests::device::{Device, now_us, report};
use pulsewire_tests::{Api, PushEmulator, Server, until};
use serde_json::{Value, json};

const PREFERENCES: &str = "/api/v1/push/preferences";

/// A device with a rule: a warning above 10. Told at once, each device by itself.
fn room(server: &Server, name: &str, group: Option<&str>) -> [u8; 32] {
    let secret = server.admin().create_device(name);
    server.admin().patch(&format!("/api/v1/devices/{name}"), &json!({ "group": group })).expect(200);
    let rule = json!({ "id": format!("warm-{name}"), "name": format!("{name} too warm"), "metric": "temp", "comparison": ">",
        "threshold": 10.0, "severity": "warning", "allow_unknown_metric": true, "flapping": false,
        "scope": { "device": name }, "notify": { "group_by": ["alert"], "wait": "0s", "interval": "1s" } });
    server.admin().post("/api/v1/rules", &rule).expect(201);
    secret
}

fn send(server: &Server, name: &str, secret: &[u8; 32], value: f64) {
    let mut device = Device::login(server.device, name, secret);
    let (stream, set) = device.prepare();
    device.send(&report(&set, stream, 1, &[(now_us(), value)]));
    device.expect_ack(stream, 1);
}

fn messages(user: &Api, filter: &str) -> Vec<Value> {
    let all = user.get(&format!("/api/v1/push/messages?limit=500{filter}")).expect(200);
    all["items"].as_array().expect("items").clone()
}

/// Waits for so many messages that have come as far.
fn come(user: &Api, filter: &str, count: usize) -> Vec<Value> {
    until("the messages are there", || Some(messages(user, filter)).filter(|found| found.len() == count))
}

fn arrived(emulator: &PushEmulator, target: &str) -> Vec<Value> {
    emulator.arrived().into_iter().filter(|message| message["target_id"] == target).collect()
}

/// From an hour ago for three hours.
fn quiet_now() -> Value {
    let minute = now_us() / 60_000_000;
    let clock = |minute: i64| format!("{:02}:{:02}", minute / 60 % 24, minute % 60);
    let window = format!("daily {}-{}", clock(minute - 60), clock(minute + 120));
    json!({ "zone": "UTC", "windows": [window], "critical_passes": true })
}

#[test]
fn preferences_are_whole_when_they_are_read_and_wrong_ones_are_refused_with_their_field() {
    let server = Server::start();
    let kim = server.admin().create_user("kim", "viewer");
    let defaults = json!({ "severities": ["info", "warning", "critical"], "groups": null, "resolved": true, "quiet_hours": null,
        "digest": null, "per_minute": 10, "sound": "auto", "require_interaction": "critical", "language": "en" });
    assert_eq!(kim.get(PREFERENCES).expect(200), defaults);
    let mut chosen = defaults.clone();
    chosen["quiet_hours"] =
        json!({ "zone": "Europe/Berlin", "windows": ["mon-fri 22:00-06:00"], "critical_passes": false });
    chosen["groups"] = json!(["Kühlräume 🧊", "שלום"]);
    assert_eq!(kim.put(PREFERENCES, &chosen).expect(200), chosen);
    assert_eq!(kim.get(PREFERENCES).expect(200), chosen);
    for (body, field, words) in [
        (json!({ "colour": "red" }), Some("colour"), "unknown field"),
        (json!({ "severities": [] }), Some("severities"), "at least one"),
        (json!({ "severities": ["loud"] }), Some("severities"), "info, warning, critical"),
        (json!({ "resolved": "yes" }), Some("resolved"), "boolean"),
        (
            json!({ "quiet_hours": { "zone": "Mars/Base", "windows": ["daily 00:00-01:00"] } }),
            Some("quiet_hours.zone"),
            "Mars/Base",
        ),
        (json!({ "quiet_hours": { "zone": "UTC", "windows": ["often"] } }), Some("quiet_hours.windows"), "window 1"),
        (json!({ "quiet_hours": { "windows": [] } }), Some("zone"), "missing field"),
        (json!({ "digest": "1s" }), Some("digest"), "from 5m to 24h"),
        (json!({ "per_minute": 61 }), Some("per_minute"), "1 to 60"),
        (json!({ "per_minute": -1 }), Some("per_minute"), "-1"),
        (json!({ "language": "fr" }), Some("language"), "en, de"),
        (json!([]), None, "object"),
    ] {
        let problem = kim.put(PREFERENCES, &body).expect_problem(422, "bad_preferences", words);
        let named = problem["errors"].as_array().expect("errors").first().map(|one| one["field"].clone());
        assert_eq!(named, field.map(Value::from), "{body}: {problem}");
    }
    assert_eq!(kim.get(PREFERENCES).expect(200), chosen, "nothing of them counts");
    // Others' are for admins.
    kim.get(&format!("{PREFERENCES}?user=admin")).expect_problem(403, "forbidden", "admin");
    kim.put(&format!("{PREFERENCES}?user=admin"), &defaults).expect(403);
    let of_kim = format!("{PREFERENCES}?user=kim");
    assert_eq!(server.admin().get(&of_kim).expect(200), chosen);
    assert_eq!(server.admin().put(&of_kim, &json!({ "language": "de" })).expect(200)["language"], "de");
    assert_eq!(kim.get(PREFERENCES).expect(200)["groups"], Value::Null, "what is absent takes its default");
    server.admin().put(&format!("{PREFERENCES}?user=nobody"), &defaults).expect_problem(404, "not_found", "nobody");
    // They go with the user.
    server.admin().delete("/api/v1/users/kim").expect(204);
    let kim = server.admin().create_user("kim", "viewer");
    assert_eq!(kim.get(PREFERENCES).expect(200), defaults);
}

#[test]
fn quiet_hours_hold_and_a_digest_tells_what_still_fires_with_every_word_whole() {
    let emulator = PushEmulator::start();
    let server = emulator.server().start();
    let kim = server.admin().create_user("kim", "operator");
    let phone = emulator.equip(&kim);
    kim.put(PREFERENCES, &json!({ "quiet_hours": quiet_now() })).expect(200);
    let rooms: Vec<_> = ["one", "two", "three"].map(|name| (name, room(&server, name, None))).into();
    let named = json!({ "name": "🥶 חדר קר — غرفة باردة 👩‍🔬" });
    server.admin().patch("/api/v1/devices/one", &named).expect(200);
    for (name, secret) in &rooms {
        send(&server, name, secret, 11.0);
    }
    let held = until("all wait", || {
        let all = messages(&kim, "&kind=firing&state=sending");
        let wait = |one: &&Value| one["deliveries"][0]["held"] == "quiet_hours";
        Some(all).filter(|all| all.iter().filter(wait).count() == 3)
    });
    assert_eq!(held[0]["deliveries"][0]["timeline"][0]["event"], "held");
    assert!(held[0]["deliveries"][0]["next_attempt"].is_string());
    // One of them is over before anyone is told.
    send(&server, "two", &rooms[1].1, 9.0);
    let over = come(&kim, "&kind=resolved&state=done", 1);
    assert_eq!(over[0]["reason"], "never_told");
    assert_eq!(emulator.arrived(), Vec::<Value>::new());
    kim.put(PREFERENCES, &json!({ "language": "de" })).expect(200);
    let digest = come(&kim, "&kind=digest&state=done", 1).remove(0);
    assert_eq!((&digest["title"], &digest["cause"]), (&json!("2 Alarme"), &json!("quiet_hours")));
    assert_eq!(messages(&kim, "&kind=firing&reason=digested").len(), 2);
    for target in &phone.targets {
        let got = arrived(&emulator, target);
        assert_eq!(got.len(), 1, "{got:?}");
        assert!(got[0]["payload"].to_string().contains("🥶 חדר קר — غرفة باردة 👩‍🔬"), "{}", got[0]["payload"]);
        for check in got[0]["checks"].as_array().expect("checks") {
            assert_eq!(check["ok"], true, "{check}");
        }
    }
}

#[test]
fn each_endpoint_gets_what_is_wanted_there() {
    let emulator = PushEmulator::start();
    let server = emulator.server().start();
    let kim = server.admin().create_user("kim", "operator");
    let phone = emulator.equip(&kim);
    let path = |index: usize| format!("/api/v1/push/endpoints/{}", phone.endpoints[index]);
    // The browser wants the north, the first app nothing, the second one everything.
    kim.put(PREFERENCES, &json!({ "groups": ["north"] })).expect(200);
    let muted = kim.patch(&path(1), &json!({ "muted": true, "label": "  Old tablet " })).expect(200);
    assert_eq!(
        (&muted["muted"], &muted["label"], &muted["preferences"]),
        (&json!(true), &json!("Old tablet"), &json!({}))
    );
    let own = json!({ "groups": null, "sound": "always", "quiet_hours": null });
    assert_eq!(kim.patch(&path(2), &json!({ "preferences": own })).expect(200)["preferences"], own);
    let (north, south) = (room(&server, "one", Some("north")), room(&server, "two", Some("south")));
    send(&server, "one", &north, 11.0);
    send(&server, "two", &south, 11.0);
    let all = come(&kim, "&kind=firing&state=done", 2);
    let got: Vec<usize> = phone.targets.iter().map(|target| arrived(&emulator, target).len()).collect();
    assert_eq!(got, [1, 0, 2], "{all:?}");
    // A muted endpoint can still be tested.
    kim.post(&format!("{}/test", path(1)), &json!({})).expect(202);
    until("the test arrives", || (arrived(&emulator, &phone.targets[1]).len() == 1).then_some(()));
    // What is wrong is said with its field, and others' endpoints are nobody's business.
    let problem = kim.patch(&path(2), &json!({ "preferences": { "per_minute": 3 } }));
    let problem = problem.expect_problem(422, "bad_preferences", "unknown field");
    assert_eq!(problem["errors"][0]["field"], "preferences.per_minute");
    kim.patch(&path(2), &json!({ "label": "" })).expect_problem(400, "invalid_field", "label");
    let lee = server.admin().create_user("lee", "operator");
    lee.patch(&path(2), &json!({ "muted": true })).expect_problem(404, "not_found", "endpoint");
    server.admin().patch(&path(2), &json!({ "muted": true })).expect(200);
    kim.delete(&path(2)).expect(204);
    kim.patch(&path(2), &json!({ "muted": false })).expect_problem(404, "not_found", "endpoint");
}

#[test]
fn a_subscription_that_another_user_takes_over_begins_without_choices_and_who_has_none_is_told_so() {
    let emulator = PushEmulator::start();
    let server = emulator.server().start();
    let (kim, lee) = (server.admin().create_user("kim", "operator"), server.admin().create_user("lee", "operator"));
    let made = emulator.page().post("/api/subscriptions", &json!({ "label": "Browser" })).expect(201);
    let address = json!({ "kind": "webpush", "url": made["endpoint"], "keys": made["keys"], "label": "Browser" });
    let first = kim.post("/api/v1/push/endpoints", &address).expect(201);
    let path = format!("/api/v1/push/endpoints/{}", first["id"].as_str().expect("an id"));
    kim.patch(&path, &json!({ "muted": true, "preferences": { "sound": "never" } })).expect(200);
    let again = kim.post("/api/v1/push/endpoints", &address).expect(200);
    assert_eq!(
        (&again["id"], &again["muted"]),
        (&first["id"], &json!(true)),
        "twice is once, and what was chosen stays"
    );
    let taken = lee.post("/api/v1/push/endpoints", &address).expect(200);
    assert_eq!((&taken["id"], &taken["muted"], &taken["preferences"]), (&first["id"], &json!(false), &json!({})));
    let secret = room(&server, "one", None);
    send(&server, "one", &secret, 11.0);
    assert_eq!(come(&kim, "&kind=firing&state=done", 1)[0]["reason"], "no_endpoint");
    assert_eq!(come(&lee, "&kind=firing&state=done", 1)[0]["deliveries"][0]["state"], "delivered");
}

#[test]
fn the_history_pages_through_everything_that_is_kept_and_can_be_filtered() {
    let server = Server::start();
    let kim = server.admin().create_user("kim", "operator");
    let secret = room(&server, "one", None);
    for round in 0..8 {
        send(&server, "one", &secret, 11.0 + f64::from(round));
        come(&kim, "&kind=firing", round as usize + 1);
        send(&server, "one", &secret, 9.0);
        come(&kim, "&kind=resolved", round as usize + 1);
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = kim.get(&format!("/api/v1/push/messages?limit=3{cursor}")).expect(200);
        let items = page["items"].as_array().expect("items");
        seen.extend(items.iter().map(|one| one["id"].as_str().expect("an id").to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 16);
    assert_eq!(messages(&kim, "&reason=no_endpoint&kind=resolved").len(), 8);
    kim.get("/api/v1/push/messages?kind=smoke").expect_problem(400, "invalid_field", "firing");
    kim.get("/api/v1/push/messages?state=gone").expect_problem(400, "invalid_field", "waiting");
}

#[test]
fn acknowledging_takes_the_alarms_place_on_every_screen_in_the_persons_language() {
    let emulator = PushEmulator::start();
    let server = emulator.server().start();
    let kim = server.admin().create_user("kim", "operator");
    let phone = emulator.equip(&kim);
    kim.put(PREFERENCES, &json!({ "language": "de" })).expect(200);
    let secret = room(&server, "one", None);
    send(&server, "one", &secret, 11.0);
    come(&kim, "&kind=firing&state=done", 1);
    let alerts = kim.get("/api/v1/alerts").expect(200);
    let path = format!("/api/v1/alerts/{}/acknowledge", alerts["items"][0]["id"].as_str().expect("an id"));
    kim.post(&path, &json!({})).expect(200);
    let told = come(&kim, "&kind=acknowledged&state=done", 1).remove(0);
    assert_eq!(told["title"], "Quittiert von kim: one too warm");
    send(&server, "one", &secret, 9.0);
    let over = come(&kim, "&kind=resolved&state=done", 1).remove(0);
    assert_eq!(over["title"], "Entwarnung: one too warm");
    assert_eq!(over["body"], "one: wieder normal; Dauer: weniger als eine Minute");
    for target in &phone.targets {
        let got = arrived(&emulator, target);
        let kinds: Vec<_> = got.iter().map(|one| one["kind"].as_str().expect("a kind")).collect();
        assert_eq!(kinds, ["firing", "acknowledged", "resolved"]);
        assert_eq!(
            (&got[0]["collapse_key"], &got[1]["collapse_key"]),
            (&got[1]["collapse_key"], &got[2]["collapse_key"])
        );
    }
}
