//! Rules and alerts: thresholds over the samples' own time, and what people do with alerts.

use pulsewire_proto::frame::{AlertState, MetricSet, MetricType, StreamKind};
use pulsewire_proto::{MessageType, Value};
use pulsewire_tests::device::{Device, now_us, report, set_of, sparse_report};
use pulsewire_tests::recorded::Recording;
use pulsewire_tests::wire::raw_frame;
use pulsewire_tests::{Api, METRICS, Server, Sim, Viewer, until};
use serde_json::{Value as Json, json};

const SECOND: i64 = 1_000_000;

/// A device with a stream, and a clock that the test turns.
struct Probe {
    device: Device,
    stream: u32,
    set: MetricSet,
    sequence: u64,
    start_us: i64,
}

impl Probe {
    fn new(server: &Server, id: &str) -> Self {
        Self::of(server.device(id))
    }

    fn of(mut device: Device) -> Self {
        let (stream, set) = device.prepare();
        Self { device, stream, set, sequence: 0, start_us: now_us() - 3600 * SECOND }
    }

    /// Sends a value as of so many seconds after the start, and waits until it is stored.
    fn send(&mut self, second: i64, value: f64) {
        self.sequence += 1;
        let rows = [(self.start_us + second * SECOND, value)];
        self.device.send(&report(&self.set, self.stream, self.sequence, &rows));
        self.device.expect_ack(self.stream, self.sequence);
    }
}

fn rule(server: &Server, more: &Json) -> Json {
    let mut body = json!({"id": "hot", "name": "Too hot", "metric": METRICS[0], "comparison": ">", "threshold": 80.0,
        "clear": 75.0, "severity": "critical", "message": "Open a window.", "allow_unknown_metric": true});
    for (key, value) in more.as_object().expect("an object") {
        body[key] = value.clone();
    }
    server.admin().post("/api/v1/rules", &body).expect(201)
}

fn alerts(api: &Api, query: &str) -> Vec<Json> {
    let page = api.get(&format!("/api/v1/alerts?{query}")).expect(200);
    page["items"].as_array().expect("items").clone()
}

/// Waits until the list of all alerts, newest first, is in these states.
fn expect_states(server: &Server, wanted: &[&str]) -> Vec<Json> {
    let mut last = Vec::new();
    until(&format!("alerts in states {wanted:?}"), || {
        last = alerts(server.admin(), "state=all");
        let states: Vec<_> = last.iter().map(|a| a["state"].as_str().unwrap_or_default()).collect();
        (states == wanted).then_some(())
    });
    last
}

/// Waits until the rules have judged everything that is stored: a device of its own fires, last of all.
fn settle(server: &Server) {
    Probe::new(server, "marker").send(0, 1e6);
    until("the marker's alert", || (!alerts(server.admin(), "state=all&device=marker").is_empty()).then_some(()));
}

#[test]
fn an_alert_fires_is_acknowledged_and_clears_and_viewers_see_each_step() {
    let server = Server::start();
    let made = rule(&server, &json!({"for": "30s"}));
    assert_eq!((&made["version"], &made["for"], &made["devices"]), (&json!(1), &json!("30s"), &json!(0)));
    let mut viewer = Viewer::connect(server.http, server.admin().token());
    let mut probe = Probe::new(&server, "boiler");
    probe.send(0, 81.0);
    probe.send(29, 82.0);
    probe.send(30, 83.0);
    viewer.until("ALERT", |v| (v.alerts.len() == 1).then_some(()));
    let fired = viewer.alerts[0].clone();
    assert_eq!((fired.device.as_str(), fired.metric.as_str(), fired.value), ("boiler", METRICS[0], 83.0));
    assert_eq!((fired.started_us, fired.fired_us), (probe.start_us, probe.start_us + 30 * SECOND));
    assert_eq!((fired.state, fired.revision), (AlertState::Firing, 1));

    let open = alerts(server.admin(), "");
    let id = open[0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(open[0]["text"], "Open a window.");
    let kim = server.admin().create_user("kim", "operator");
    let path = |action: &str| format!("/api/v1/alerts/{id}/{action}");
    let noted = kim.post(&path("acknowledge"), &json!({})).expect(200);
    assert_eq!(noted["acknowledged"]["user"], "kim");
    // Twice changes nothing.
    assert_eq!(kim.post(&path("acknowledge"), &json!({})).expect(200)["revision"], noted["revision"]);
    viewer.until("the acknowledgement", |v| v.alerts.iter().find(|a| a.acknowledged.is_some()).map(|_| ()));
    assert_eq!(kim.post(&path("unacknowledge"), &json!({})).expect(200)["acknowledged"], Json::Null);

    // 76 is between the thresholds: it neither fires nor clears.
    probe.send(40, 76.0);
    probe.send(50, 75.0);
    viewer.until("the end", |v| v.alerts.iter().find(|a| a.state == AlertState::Resolved).map(|_| ()));
    let shown = server.admin().get(&path("")[..path("").len() - 1]).expect(200);
    assert_eq!((&shown["state"], &shown["resolved_reason"]), (&json!("resolved"), &json!("cleared")));
    let kinds: Vec<_> = shown["history"].as_array().expect("steps").iter().map(|s| s["kind"].clone()).collect();
    assert_eq!(kinds, ["fired", "acknowledged", "unacknowledged", "resolved"]);
    assert_eq!(shown["history"][0]["text"], "temp 83 > 80 for 30 s");
    kim.post(&path("acknowledge"), &json!({})).expect_problem(409, "resolved", &id);
    kim.post(&path("resolve"), &json!({})).expect_problem(409, "resolved", &id);
    assert!(alerts(server.admin(), "").is_empty(), "nothing is open");
    assert!(viewer.alerts.windows(2).all(|pair| pair[0].revision < pair[1].revision));
}

#[test]
fn late_samples_and_backfill_never_alarm() {
    let server = Server::start();
    rule(&server, &json!({}));
    let mut probe = Probe::new(&server, "boiler");
    probe.send(600, 20.0);
    probe.send(599, 99.0);
    // The backlog of an older time in a stream of its own is late, too: it is judged against its device's newest sample.
    let backlog = probe.device.open_stream(StreamKind::Backlog);
    let late = report(&probe.set, backlog, 1, &[(probe.start_us, 99.0), (probe.start_us + SECOND, 99.0)]);
    probe.device.send(&late);
    probe.device.expect_ack(backlog, 1);
    // The same bytes as BACKFILL, and as of now: stored, and never judged.
    let telemetry = report(&probe.set, backlog, 2, &[(probe.start_us + 700 * SECOND, 99.0)]);
    let backfill = raw_frame(MessageType::Backfill, &telemetry[8..]);
    probe.device.send(&backfill);
    probe.device.expect_ack(backlog, 2);
    settle(&server);
    assert!(alerts(server.admin(), "state=all&device=boiler").is_empty());
    assert_eq!(server.metric("pulsewire_alerting_late_samples_total"), 3.0);
    assert_eq!(server.admin().history("boiler", METRICS[0]).len(), 5, "all of it is stored");
    probe.send(601, 99.0);
    expect_states(&server, &["firing", "firing"]);
}

#[test]
fn pending_time_open_alerts_and_the_cursor_survive_kill_9() {
    let mut server = Server::start();
    rule(&server, &json!({"for": "60s"}));
    let secret = server.create_device("boiler");
    let mut probe = Probe::of(Device::login(server.device, "boiler", &secret));
    let start_us = probe.start_us;
    // A marker of each round: killed at once after the acknowledgement, whatever alerting has done by then.
    let script = [(0, 81.0), (30, 82.0), (59, 83.0), (60, 84.0), (61, 80.0), (70, 70.0), (71, 90.0), (131, 90.0)];
    for (second, value) in script {
        probe.send(second, value);
        drop(probe);
        server.kill9();
        server.restart();
        probe = Probe::of(Device::login(server.device, "boiler", &secret));
        probe.start_us = start_us;
    }
    let all = expect_states(&server, &["firing", "resolved"]);
    let times = |alert: &Json| {
        ["started", "fired", "resolved"].map(|k| {
            alert[k].as_str().map(|_| pulsewire_tests::api::time_us(&alert[k]) - start_us).map(|us| us / SECOND)
        })
    };
    assert_eq!(times(&all[1]), [Some(0), Some(60), Some(70)], "as if nothing had been killed");
    assert_eq!(times(&all[0]), [Some(71), Some(131), None]);
    assert_eq!(server.metric("pulsewire_alerting_lost_records_total"), 0.0);
}

#[test]
fn edits_of_rules_and_devices_end_the_alerts_that_do_not_hold_any_more_and_no_others() {
    let server = Server::start();
    rule(&server, &json!({"scope": {"tag": "site:north"}}));
    let admin = server.admin();
    let mut probes = Vec::new();
    for id in ["a", "b", "c"] {
        let mut probe = Probe::new(&server, id);
        admin.patch(&format!("/api/v1/devices/{id}"), &json!({"tags": {"site": "north"}})).expect(200);
        probe.send(0, if id == "a" { 81.0 } else { 95.0 });
        probes.push(probe);
    }
    let elsewhere = Probe::new(&server, "elsewhere").send_once(99.0);
    drop(elsewhere);
    expect_states(&server, &["firing", "firing", "firing"]);
    let reason = |device: &str| {
        until("the alert has ended", || {
            let of_device = alerts(admin, &format!("state=resolved&device={device}"));
            of_device.first().and_then(|a| a["resolved_reason"].as_str().map(str::to_owned))
        })
    };
    let before: Vec<_> = alerts(admin, "device=b").iter().map(|a| a["id"].clone()).collect();
    let edited = admin.patch("/api/v1/rules/hot", &json!({"threshold": 90.0, "clear": 90.0})).expect(200);
    assert_eq!((&edited["version"], &edited["firing"]), (&json!(2), &json!(2)));
    assert_eq!(reason("a"), "rule_changed");
    assert_eq!(alerts(admin, "device=b").iter().map(|a| a["id"].clone()).collect::<Vec<_>>(), before, "same id");
    admin.patch("/api/v1/devices/b", &json!({"tags": {"site": "south"}})).expect(200);
    assert_eq!(reason("b"), "scope_changed");
    admin.delete("/api/v1/devices/c").expect(204);
    assert_eq!(reason("c"), "device_deleted");
    probes[0].send(1, 95.0);
    expect_states(&server, &["firing", "resolved", "resolved", "resolved"]);
    admin.patch("/api/v1/rules/hot", &json!({"enabled": false})).expect(200);
    assert_eq!(reason("a"), "rule_disabled");
    admin.patch("/api/v1/rules/hot", &json!({"enabled": true})).expect(200);
    probes[0].send(2, 95.0);
    expect_states(&server, &["firing", "resolved", "resolved", "resolved", "resolved"]);
    admin.delete("/api/v1/rules/hot").expect(204);
    assert_eq!(reason("a"), "rule_deleted");
    admin.get("/api/v1/rules/hot").expect_problem(404, "not_found", "hot");
}

impl Probe {
    fn send_once(mut self, value: f64) -> Self {
        self.send(0, value);
        self
    }
}

#[test]
fn an_alert_resolved_by_hand_stays_quiet_until_the_trouble_was_over() {
    let server = Server::start();
    rule(&server, &json!({}));
    let mut probe = Probe::new(&server, "boiler");
    probe.send(0, 90.0);
    let open = expect_states(&server, &["firing"]);
    let id = open[0]["id"].as_str().expect("an id");
    let ended = server.admin().post(&format!("/api/v1/alerts/{id}/resolve"), &json!({})).expect(200);
    assert_eq!((&ended["state"], &ended["resolved_reason"]), (&json!("resolved"), &json!("by_hand")));
    probe.send(1, 91.0);
    probe.send(2, 60.0);
    probe.send(3, 92.0);
    let all = expect_states(&server, &["firing", "resolved"]);
    assert_eq!(all[0]["value"], 92.0, "the sample after the trouble was over, not the one before");
}

#[test]
fn lists_of_alerts_are_worst_first_and_page() {
    let server = Server::start();
    for (id, severity) in [("i", "info"), ("c", "critical"), ("w", "warning")] {
        rule(&server, &json!({"id": id, "severity": severity}));
    }
    for device in ["a", "b"] {
        let _ = Probe::new(&server, device).send_once(99.0);
    }
    expect_states(&server, &["firing"; 6]);
    let (mut severities, mut path) = (Vec::new(), "/api/v1/alerts?limit=4".to_owned());
    loop {
        let page = server.admin().get(&path).expect(200);
        severities.extend(page["items"].as_array().expect("items").iter().map(|a| a["severity"].clone()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/v1/alerts?limit=4&cursor={next}");
    }
    assert_eq!(severities, ["critical", "critical", "warning", "warning", "info", "info"]);
    assert_eq!(alerts(server.admin(), "severity=info&device=a").len(), 1);
    assert_eq!(alerts(server.admin(), "rule=w&state=all").len(), 2);
    assert_eq!(alerts(server.admin(), "state=all&to=2020-01-01T00:00:00Z").len(), 0);
}

#[test]
fn bad_rules_are_refused_with_the_field_and_what_is_allowed() {
    let server = Server::start();
    let admin = server.admin();
    let mut device = server.device("boiler");
    let stream = device.open_stream(StreamKind::Live);
    let set = set_of(0, &[("temp", MetricType::F64), ("door", MetricType::Bool), ("mode", MetricType::Text)]);
    device.declare(&set);
    let values = vec![Some(Value::F64(1.0)), Some(Value::Bool(true)), Some(Value::Text("eco"))];
    device.send(&sparse_report(&set, stream, 1, &[(now_us(), values)]));
    device.expect_ack(stream, 1);

    let good = json!({"id": "r", "name": "R", "metric": "temp", "comparison": ">", "threshold": 1.0});
    let check = |change: Json, status: u16, code: &str, field: &str, fragment: &str| {
        let mut body = good.clone();
        for (key, value) in change.as_object().expect("an object") {
            body[key] = value.clone();
        }
        let problem = admin.post("/api/v1/rules", &body).expect_problem(status, code, fragment);
        if !field.is_empty() {
            assert_eq!(problem["errors"][0]["field"], field, "{problem}");
        }
    };
    check(json!({"metric": "tmep"}), 422, "unknown_metric", "metric", "they have: door, mode, temp");
    check(json!({"scope": {"group": "none"}}), 422, "matches_nothing", "scope", "allow_unknown_metric");
    check(json!({"clear": 2.0}), 422, "impossible_threshold", "clear", "at or below");
    check(json!({"comparison": "<=", "clear": 0.5}), 422, "impossible_threshold", "clear", "at or above");
    check(json!({"metric": "door", "threshold": 1.0}), 422, "impossible_threshold", "levels[0].when", "never so");
    check(json!({"metric": "mode"}), 422, "impossible_threshold", "levels[0].when", "text");
    check(json!({"comparison": "=="}), 400, "invalid_field", "comparison", ">, >=, < or <=");
    check(json!({"for": "25h"}), 400, "invalid_field", "for", "1d");
    check(json!({"for": "soon"}), 400, "invalid_field", "for", "30s");
    check(json!({"severity": "bad"}), 400, "invalid_field", "levels[0].severity", "critical");
    check(json!({"scope": {}}), 400, "invalid_field", "scope", "exactly one of");
    check(json!({"scope": {"all": true, "group": "x"}}), 400, "invalid_field", "scope", "exactly one of");
    check(json!({"scope": {"tag": "north"}}), 400, "invalid_field", "scope.tag", "key:value");
    check(json!({"name": ""}), 400, "invalid_field", "name", "1-128 bytes");
    check(json!({"message": "x".repeat(2049)}), 422, "template", "message", "2048");
    check(json!({"message": "{{ nothing }}"}), 422, "template", "message", "device.name");
    check(json!({"id": "a b"}), 400, "invalid_field", "id", "1-64 characters");
    check(json!({"threshold": "hot"}), 400, "invalid_field", "threshold", "expected f64");
    check(json!({"colour": 1}), 400, "unknown_field", "colour", "");
    admin.post("/api/v1/rules", &good).expect(201);
    check(json!({}), 409, "exists", "", "exists already");
    admin.patch("/api/v1/rules/none", &json!({})).expect_problem(404, "not_found", "none");
    admin.get("/api/v1/alerts/none").expect_problem(404, "not_found", "none");
    admin.get("/api/v1/alerts?state=loud").expect_problem(400, "invalid_field", "open, firing, resolved or all");
    admin.get("/api/v1/alerts?cursor=7").expect_problem(400, "invalid_field", "next");
    let viewer = admin.create_user("vic", "viewer");
    viewer.get("/api/v1/rules").expect(200);
    viewer.post("/api/v1/rules", &good).expect_problem(403, "forbidden", "operator");
    viewer.delete("/api/v1/rules/r").expect_problem(403, "forbidden", "operator");
    server.assert_serves();
}

#[test]
fn there_is_room_for_so_many_rules() {
    let server = Server::with("alerting.rules_max", 1);
    rule(&server, &json!({}));
    let second = json!({"name": "R", "metric": "m", "comparison": ">", "threshold": 1, "allow_unknown_metric": true});
    server.admin().post("/api/v1/rules", &second).expect_problem(429, "too_many_rules", "alerting.rules_max");
}

#[test]
fn values_of_f32_are_compared_as_f32() {
    let server = Server::start();
    rule(&server, &json!({"threshold": 21.7, "clear": 21.7}));
    rule(&server, &json!({"id": "low", "comparison": ">=", "threshold": 0.7, "clear": 0.7}));
    let mut device = server.device("sensor");
    let stream = device.open_stream(StreamKind::Live);
    let set = set_of(0, &[(METRICS[0], MetricType::F32)]);
    device.declare(&set);
    let start = now_us();
    for (n, value) in [(1_u32, 30.0), (2, 21.7), (3, 0.7), (4, 0.6)] {
        let rows = [(start + i64::from(n), vec![Some(Value::F32(value))])];
        device.send(&sparse_report(&set, stream, n.into(), &rows));
        device.expect_ack(stream, n.into());
    }
    settle(&server);
    let ended = |rule: &str| {
        let all = alerts(server.admin(), &format!("state=all&device=sensor&rule={rule}"));
        all.iter()
            .map(|a| a["resolved"].as_str().map(|_| pulsewire_tests::api::time_us(&a["resolved"]) - start))
            .collect::<Vec<_>>()
    };
    assert_eq!(ended("hot"), [Some(2)], "21.7 is not above 21.7");
    assert_eq!(ended("low"), [Some(4)], "0.7 is at least 0.7");
}

#[test]
fn one_device_of_another_type_neither_blocks_a_rule_nor_its_edits() {
    let server = Server::start();
    let _ = Probe::new(&server, "good").send_once(20.0);
    let mut odd = server.device("odd");
    let stream = odd.open_stream(StreamKind::Live);
    let set = set_of(0, &[(METRICS[0], MetricType::Text)]);
    odd.declare(&set);
    odd.send(&sparse_report(&set, stream, 1, &[(now_us(), vec![Some(Value::Text("warm"))])]));
    odd.expect_ack(stream, 1);
    let made = rule(&server, &json!({}));
    assert_eq!(made["devices"], 2);
    let path = "/api/v1/rules/hot";
    server.admin().patch(path, &json!({"threshold": 90.0})).expect(200);
    let only = json!({"scope": {"device": "odd"}});
    server.admin().patch(path, &only).expect_problem(422, "impossible_threshold", "odd");
    server.admin().delete("/api/v1/devices/good").expect(204);
    server.admin().patch(path, &json!({"enabled": false, "name": "Still mine"})).expect(200);
    // What was let pass while it was off is looked at when it is switched on.
    server.admin().patch(path, &json!({"metric": "tmep"})).expect(200);
    server.admin().patch(path, &json!({"enabled": true})).expect_problem(422, "unknown_metric", "tmep");
}

/// Replays the recording against a server with a rule, and answers how often it fired on each device.
fn fired_on(recording: &Recording, hold: &str, backfill: bool) -> Vec<(String, usize)> {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start();
    rule(
        &server,
        &json!({"id": "cold", "comparison": "<", "threshold": 10.0, "clear": 10.0, "for": hold,
        "notify": {"wait": "0s"}}),
    );
    let file = recording.path.to_string_lossy().into_owned();
    let arguments: &[&str] = if backfill { &["--backfill", &file] } else { &[&file] };
    Sim::start(&server, folder.path(), "replay", arguments).wait().expect_success();
    // A sample that fires, sent last, tells that everything before it was judged.
    let mut marker = Probe::new(&server, "marker");
    marker.send(0, -1.0);
    marker.send(31, -1.0);
    until("the marker's alert", || (alerts(server.admin(), "state=all&device=marker").len() == 1).then_some(()));
    if backfill {
        let messages = server.admin().get("/api/v1/push/messages?limit=100").expect(200);
        let bodies: Vec<_> =
            messages["items"].as_array().expect("items").iter().map(|m| m["body"].to_string()).collect();
        assert!(!bodies.is_empty() && bodies.iter().all(|body| body.contains("marker")), "{bodies:?}");
    }
    let fired = recording.rows_of.keys().map(|id| {
        let of_device = alerts(server.admin(), &format!("state=all&device={id}"));
        assert!(of_device.iter().all(|a| a["state"] == "resolved"), "each glitch was over with the next sample");
        (id.clone(), of_device.len())
    });
    fired.collect()
}

#[test]
fn single_glitches_of_a_sensor_fire_only_without_a_hold_and_never_as_backfill() {
    let folder = tempfile::tempdir().expect("a folder");
    let recording = Recording::of_environment(folder.path());
    let glitches: Vec<(String, usize)> = recording
        .rows_of
        .keys()
        .map(|id| {
            let temp = &recording.expected[&(id.clone(), "temp".to_owned())];
            (id.clone(), temp.values().filter(|v| v.as_f64().is_some_and(|v| v < 10.0)).count())
        })
        .collect();
    assert!(glitches.iter().any(|(_, count)| *count > 0), "the recording has glitches below 10 °C");
    let none: Vec<_> = glitches.iter().map(|(id, _)| (id.clone(), 0)).collect();
    assert_eq!(fired_on(&recording, "0s", false), glitches);
    assert_eq!(fired_on(&recording, "30s", false), none);
    assert_eq!(fired_on(&recording, "0s", true), none);
}
