//! Rules as expressions, through public doors: what is refused and why, edits and versions, silences, bulk operations, backtests.

use pulsewire_proto::frame::StreamKind;
use pulsewire_proto::{MetricType, Value};
use pulsewire_tests::api::time_text;
use pulsewire_tests::device::{Device, now_us, set_of, sparse_report};
use pulsewire_tests::{Server, until};
use serde_json::{Value as Json, json};

/// A device with some metrics that are all known to the server.
struct Station {
    device: Device,
    stream: u32,
    set: pulsewire_proto::MetricSet,
    sequence: u64,
}

const METRICS: [(&str, MetricType); 3] =
    [("temp", MetricType::F64), ("humidity", MetricType::F64), ("mode", MetricType::Text)];

impl Station {
    fn new(server: &Server, id: &str) -> Self {
        let mut device = server.device(id);
        let stream = device.open_stream(StreamKind::Live);
        let set = set_of(0, &METRICS);
        device.declare(&set);
        Self { device, stream, set, sequence: 0 }
    }

    fn send(&mut self, time_us: i64, temp: f64, humidity: f64) {
        self.sequence += 1;
        let row = vec![Some(Value::F64(temp)), Some(Value::F64(humidity)), Some(Value::Text("eco"))];
        self.device.send(&sparse_report(&self.set, self.stream, self.sequence, &[(time_us, row)]));
        self.device.expect_ack(self.stream, self.sequence);
    }
}

fn items(server: &Server, path: &str) -> Vec<Json> {
    server.admin().get(path).expect(200)["items"].as_array().expect("a list").clone()
}

fn alerts(server: &Server, query: &str, wanted: usize) -> Vec<Json> {
    until("the alerts", || {
        let found = items(server, &format!("/api/v1/alerts?{query}"));
        (found.len() == wanted).then_some(found)
    })
}

#[test]
fn what_is_wrong_with_a_rule_is_said_with_place_and_remedy() {
    let server = Server::start();
    Station::new(&server, "d1").send(now_us(), 20.0, 40.0);
    let admin = server.admin();
    let check = |change: Json, status: u16, code: &str, field: &str, fragment: &str| {
        let mut body = json!({"id": "r", "name": "R", "when": "temp > 1"});
        for (key, value) in change.as_object().expect("an object") {
            body[key] = value.clone();
        }
        for path in ["/api/v1/rules", "/api/v1/rules/check"] {
            let problem = admin.post(path, &body).expect_problem(status, code, fragment);
            assert_eq!(problem["errors"][0]["field"], field, "{problem}");
        }
    };
    check(json!({"when": "temp > "}), 422, "expression", "levels[0].when", "value is missing");
    check(json!({"when": "temp + 1"}), 422, "expression", "levels[0].when", "at ");
    check(json!({"when": "avrage(temp, 5m) > 1"}), 422, "expression", "levels[0].when", "avg");
    check(json!({"when": "temp / 0 > 1"}), 422, "expression", "levels[0].when", "0");
    check(json!({"when": "mode > 3"}), 422, "impossible_threshold", "levels[0].when", "text");
    check(json!({"when": "tmep > 3"}), 422, "unknown_metric", "metric", "they have: humidity, mode, temp");
    check(json!({"scope": {"group": "none"}}), 422, "matches_nothing", "scope", "allow_unknown_metric");
    check(json!({"when": "1 < 2"}), 422, "expression", "levels[0].when", "always");
    check(json!({"when": "tag(\"a\") == \"b\""}), 422, "matches_everything", "levels[0].when", "no metric");
    check(
        json!({"schedule": {"zone": "Mars/Base", "windows": ["daily 08:00-18:00"]}}),
        422,
        "schedule",
        "schedule",
        "Mars/Base",
    );
    check(json!({"message": "{{ valeu }}"}), 422, "template", "message", "device.name");
    check(json!({"count": {"at_least": 9, "of": 5}}), 400, "invalid_field", "count", "of up to 64");
    check(json!({"notify": {"to": ["boss"]}}), 400, "invalid_field", "notify.to", "role:admin");
    check(json!({"levels": [{"severity": "info", "when": "temp > 2"}]}), 400, "invalid_field", "levels", "one of them");
    let problem =
        admin.post("/api/v1/rules", &json!({"name": "R", "when": "temp > 3 &&"})).expect_problem(422, "expression", "");
    assert_eq!(problem["errors"][0]["at"], json!([11, 11]), "{problem}");
    let checked =
        admin.post("/api/v1/rules/check", &json!({"name": "R", "when": "temp > 3 && humidity < 50"})).expect(200);
    assert_eq!((&checked["ok"], &checked["devices"]), (&json!(true), &json!(1)));
    assert!(items(&server, "/api/v1/rules").is_empty(), "a check makes nothing");
}

#[test]
fn an_edit_is_a_version_keeps_what_still_holds_and_takes_parts_of_a_rule() {
    let server = Server::start();
    let mut station = Station::new(&server, "d1");
    let start = now_us();
    station.send(start, 95.0, 20.0);
    let admin = server.admin();
    let made = admin
        .post(
            "/api/v1/rules",
            &json!({"id": "hot", "name": "Hot", "when": "temp > 80 && humidity < 30", "severity": "info"}),
        )
        .expect(201);
    assert_eq!((&made["version"], &made["levels"][0]["threshold"]), (&json!(1), &Json::Null));
    station.send(start + 1_000_000, 96.0, 20.0);
    let id = alerts(&server, "state=open", 1)[0]["id"].clone();
    let worse =
        json!({"levels": [{"severity": "info", "when": "temp > 80"}, {"severity": "critical", "when": "temp > 90"}]});
    let edited = admin.patch("/api/v1/rules/hot", &worse).expect(200);
    assert_eq!(edited["version"], 2);
    let open = until("it gets worse", || {
        let open = items(&server, "/api/v1/alerts");
        (open[0]["severity"] == "critical").then_some(open)
    });
    assert_eq!((open.len(), &open[0]["id"]), (1, &id), "one alert, under its id");
    admin.patch("/api/v1/rules/hot", &json!({"threshold": 200.0})).expect_problem(400, "invalid_field", "levels");
    admin.patch("/api/v1/rules/hot", &json!({"enabled": false})).expect(200);
    assert_eq!(alerts(&server, "state=resolved", 1)[0]["resolved_reason"], "rule_disabled");
    admin.patch("/api/v1/rules/hot", &json!({"enabled": true, "when": "temp > 500"})).expect_problem(
        400,
        "invalid_field",
        "levels",
    );
    admin.patch("/api/v1/rules/hot", &json!({"enabled": true, "levels": null, "when": "temp > 500"})).expect(200);
    admin.delete("/api/v1/rules/hot").expect(204);
    let versions = items(&server, "/api/v1/rules/hot/versions");
    let changes: Vec<_> = versions.iter().map(|v| v["change"].as_str().expect("a word")).collect();
    assert_eq!(changes, ["deleted", "resumed", "paused", "edited", "created"]);
    assert!(versions.iter().all(|v| v["user"] == "admin"));
    let again = admin.post("/api/v1/rules", &json!({"id": "hot", "name": "Hot", "when": "temp > 1"})).expect(201);
    assert!(again["version"].as_u64().expect("a number") > 4, "its history goes on: {again}");
}

#[test]
fn thousands_are_silenced_at_once_and_a_silence_by_matchers_says_what_it_hides() {
    let server = Server::start();
    let admin = server.admin();
    let mut stations: Vec<Station> = (0..12).map(|n| Station::new(&server, &format!("d{n}"))).collect();
    let start = now_us();
    admin
        .post("/api/v1/rules", &json!({"id": "hot", "name": "Hot", "when": "temp > 80", "allow_unknown_metric": true}))
        .expect(201);
    for station in &mut stations {
        station.send(start, 90.0, 1.0);
    }
    alerts(&server, "limit=100", 12);
    let summary = admin.get("/api/v1/alerts/summary").expect(200);
    assert_eq!((&summary["open"]["warning"], &summary["by_rule"][0]["open"]), (&json!(12), &json!(12)));
    let bulk = |body: Json| admin.post("/api/v1/alerts/bulk", &body).expect(200);
    let silenced = bulk(json!({"action": "silence", "filter": {"rule": "hot"}, "for": "1h", "reason": "known"}));
    assert_eq!(silenced, json!({"matched": 12, "changed": 12}));
    assert_eq!(alerts(&server, "silenced=true&limit=100", 12)[0]["silenced"]["by"], "admin");
    assert_eq!(bulk(json!({"action": "unsilence", "filter": {"silenced": true}}))["changed"], 12);
    let preview = admin.post("/api/v1/silences/preview", &json!({"matchers": ["device=~d1*"]})).expect(200);
    assert_eq!(preview["hides"], 3);
    let wide = json!({"matchers": ["device=~*"], "for": "1h", "reason": "all"});
    admin.post("/api/v1/silences", &wide).expect_problem(422, "matches_everything", "everything");
    let made = admin
        .post("/api/v1/silences", &json!({"matchers": ["device=~d1*"], "for": "1h", "reason": "works"}))
        .expect(201);
    assert_eq!((&made["state"], &made["hides"]), (&json!("active"), &json!(3)));
    let hidden = alerts(&server, "silenced=true&limit=100", 3);
    assert!(hidden.iter().all(|alert| alert["silenced"]["silence"] == made["id"]));
    let path = format!("/api/v1/silences/{}", made["id"].as_str().expect("an id"));
    assert_eq!(admin.delete(&path).expect(200)["state"], "ended");
    admin.delete(&path).expect_problem(409, "ended", "");
    alerts(&server, "silenced=true&limit=100", 0);
    let viewer = admin.create_user("vi", "viewer");
    viewer.post("/api/v1/alerts/bulk", &json!({"action": "resolve", "filter": {}})).expect_problem(
        403,
        "forbidden",
        "operator",
    );
    viewer.post("/api/v1/silences", &wide).expect_problem(403, "forbidden", "operator");
    let acknowledged = bulk(json!({"action": "acknowledge", "filter": {"severity": "warning"}}));
    assert_eq!(acknowledged["changed"], 12);
    assert_eq!(bulk(json!({"action": "acknowledge", "filter": {}}))["changed"], 0, "twice changes nothing");
    assert_eq!(bulk(json!({"action": "resolve", "filter": {}}))["changed"], 12);
    alerts(&server, "state=open", 0);
}

#[test]
fn a_backtest_finds_the_spans_that_the_live_rule_found() {
    let server = Server::start();
    let admin = server.admin();
    let mut station = Station::new(&server, "d1");
    let start = now_us() - 30_000_000;
    station.send(start, 50.0, 50.0);
    let rule = json!({"id": "hot", "name": "Hot", "when": "avg(temp, 3s) > 70 && humidity < 60", "for": "2s",
        "clear": "temp < 60", "keep_firing_for": "1s"});
    admin.post("/api/v1/rules", &rule).expect(201);
    for (second, temp) in [80, 90, 91, 92, 65, 59, 58, 80, 81, 95, 94, 20, 20, 20].into_iter().enumerate() {
        station.send(start + (second as i64 + 1) * 1_000_000, f64::from(temp), 40.0);
    }
    let live = until("the second alert ends", || {
        let all = items(&server, "/api/v1/alerts?state=resolved");
        (all.len() == 2).then_some(all)
    });
    let mut live: Vec<_> = live.iter().map(|a| (a["fired"].clone(), a["resolved"].clone())).collect();
    live.reverse();
    let time = time_text;
    let body = json!({"rule": rule, "from": time(start + 500_000), "to": time(start + 60_000_000)});
    let job = admin.post("/api/v1/rules/backtest", &body).expect(202);
    let path = format!("/api/v1/rules/backtest/{}", job["id"].as_str().expect("an id"));
    let done = until("the backtest", || {
        let job = admin.get(&path).expect(200);
        (job["state"] == "done").then_some(job)
    });
    let result = &done["result"];
    let spans: Vec<_> = result["candidate"]["by_device"][0]["spans"]
        .as_array()
        .expect("spans")
        .iter()
        .map(|span| (span["from"].clone(), span["to"].clone()))
        .collect();
    assert_eq!(spans, live, "{result}");
    assert_eq!(result["candidate"]["alerts"], result["current"]["alerts"], "the stored version is the same");
    let narrow = json!({"rule": {"name": "x", "when": "temp >"}, "from": time(start), "to": time(start + 1)});
    admin.post("/api/v1/rules/backtest", &narrow).expect_problem(422, "expression", "");
    admin
        .post("/api/v1/rules/backtest", &json!({"rule": rule, "from": time(start), "to": time(start)}))
        .expect_problem(400, "invalid_field", "after");
    admin.delete(&path).expect(204);
    admin.get("/api/v1/rules/backtest/01ARZ3NDEKTSV4RRFFQ69G5FAV").expect_problem(404, "not_found", "");
}

#[test]
fn a_device_that_goes_silent_is_an_alert_that_ends_when_it_comes_back_and_is_no_second_one_of_what_fires() {
    let server = Server::start();
    let admin = server.admin();
    let mut station = Station::new(&server, "d1");
    let rule = json!({"id": "hot", "name": "Hot", "when": "temp > 80", "no_data": {"after": "1s", "then": "fire", "severity": "critical"},
        "notify": {"wait": "0s", "interval": "1s"}, "allow_unknown_metric": true});
    admin.post("/api/v1/rules", &rule).expect(201);
    station.send(now_us(), 20.0, 1.0);
    let silent = alerts(&server, "", 1);
    assert_eq!((&silent[0]["kind"], &silent[0]["severity"]), (&json!("no_data"), &json!("critical")));
    station.send(now_us(), 90.0, 1.0);
    let ended = alerts(&server, "state=resolved", 1);
    assert_eq!(ended[0]["resolved_reason"], "data_back");
    let firing = alerts(&server, "", 1);
    assert_eq!(firing[0]["kind"], "condition");
    let stale = until("it goes stale", || {
        let open = items(&server, "/api/v1/alerts");
        (open[0]["stale"] == true).then_some(open)
    });
    assert_eq!((stale.len(), &stale[0]["id"]), (1, &firing[0]["id"]));
    station.send(now_us(), 91.0, 1.0);
    until("it is fresh", || (items(&server, "/api/v1/alerts")[0]["stale"] == false).then_some(()));
    let told = until("both alerts are told", || {
        let told = items(&server, "/api/v1/notifications?limit=50");
        let knows = |id: &Json| told.iter().any(|t| t["firing"].as_array().expect("ids").contains(id));
        (knows(&firing[0]["id"]) && knows(&silent[0]["id"])).then_some(told)
    });
    let of = |id: &Json| told.iter().filter(|t| t["firing"].as_array().expect("ids").contains(id)).count();
    assert_eq!(of(&firing[0]["id"]), 1, "nobody is told a second time: {told:?}");
}
