//! The list of devices in any order and with what is known of each, and how many have what.

use pulsewire_proto::frame::StreamKind;
use pulsewire_proto::{MetricType, Value};
use pulsewire_tests::api::encode;
use pulsewire_tests::device::{now_us, set_of, sparse_report};
use pulsewire_tests::wait::until;
use pulsewire_tests::{Api, Server};
use serde_json::json;

const DEVICES: &str = "/api/v1/devices";

fn ids(api: &Api, query: &str) -> Vec<String> {
    let list = api.get(&format!("{DEVICES}?{query}")).expect(200);
    let items = list["items"].as_array().expect("items");
    items.iter().map(|device| device["id"].as_str().expect("an id").to_owned()).collect()
}

/// Four devices that differ in everything.
fn fleet(admin: &Api) {
    for (id, name, site, group, profile) in [
        ("a", "Zeta", "north", Some("pumps"), Some("P-100")),
        ("b", "alpha", "south", Some("pumps"), Some("P-200")),
        ("c", "Mid", "north", Some("fans"), None),
        ("d", "beta", "west", None, Some("P-100")),
    ] {
        let body = json!({"id": id, "name": name, "tags": {"site": site}, "group": group, "profile": profile});
        admin.post(DEVICES, &body).expect(201);
    }
}

/// Connects a device and stores one value of `temp` and one text.
fn sends(server: &Server, id: &str, temp: f64) -> pulsewire_tests::device::Device {
    let secret = server.admin().post(&format!("{DEVICES}/{id}/secret"), &json!({})).expect(200);
    let secret = pulsewire_tests::api::secret(&secret["secret"]);
    let mut device = pulsewire_tests::device::Device::login(server.device, id, &secret);
    let stream = device.open_stream(StreamKind::Live);
    let set = set_of(0, &[("temp", MetricType::F64), ("mode", MetricType::Text)]);
    device.declare(&set);
    let rows = [(now_us(), vec![Some(Value::F64(temp)), Some(Value::Text("auto"))])];
    device.send(&sparse_report(&set, stream, 1, &rows));
    assert_eq!(device.expect_ack(stream, 1), []);
    device
}

#[test]
fn devices_are_sorted_by_what_is_known_of_them() {
    let server = Server::start();
    let admin = server.admin();
    fleet(admin);
    for (query, order) in [
        ("", "abcd"),
        ("order=desc", "dcba"),
        ("sort=name", "bdca"),
        ("sort=name&order=desc", "acdb"),
        ("sort=group", "cabd"),
        ("sort=group&order=desc", "abcd"),
        ("sort=profile", "adbc"),
        ("sort=presence", "abcd"),
        ("sort=last_seen", "abcd"),
        ("sort=alerts&order=desc", "abcd"),
    ] {
        assert_eq!(ids(admin, query).concat(), order, "{query}");
    }
    let _online = [sends(&server, "c", 7.5), sends(&server, "d", -3.0), sends(&server, "b", 20.0)];
    // What is sorted by values may be two seconds old.
    for (query, order) in [
        ("sort=metric:temp", "dcba"),
        ("sort=metric:temp&order=desc", "bcda"),
        ("sort=metric:mode", "bcda"),
        ("sort=metric:none", "abcd"),
        ("sort=presence", "bcda"),
        ("sort=presence&order=desc", "abcd"),
        ("sort=last_seen", "cdba"),
        ("presence=online&sort=last_seen&order=desc", "bdc"),
    ] {
        until(query, || (ids(admin, query).concat() == order).then_some(()));
    }
}

#[test]
fn several_tags_profile_and_group_narrow_the_list_and_its_total() {
    let server = Server::start();
    let admin = server.admin();
    fleet(admin);
    for (query, found) in [
        ("profile=P-100", "ad"),
        ("group=pumps&profile=P-100", "a"),
        ("tag=site:north&tag=site:west", "acd"),
        ("tag=site:", "abcd"),
        ("tag=site:north&tag=floor:", ""),
        ("q=ET", "ad"),
    ] {
        assert_eq!(ids(admin, query).concat(), found, "{query}");
        let page = admin.get(&format!("{DEVICES}?limit=1&{query}")).expect(200);
        assert_eq!(page["total"], found.len(), "{query}");
    }
    // What was just changed is in the next answer.
    admin.patch(&format!("{DEVICES}/d"), &json!({"profile": null, "group": "fans"})).expect(200);
    assert_eq!(admin.device("d")["profile"], json!(null));
    assert_eq!((ids(admin, "profile=P-100").concat(), ids(admin, "group=fans").concat()), ("a".into(), "cd".into()));
    assert_eq!(admin.delete(&format!("{DEVICES}/c")).status, 204);
    assert_eq!(ids(admin, "group=fans").concat(), "d");
}

#[test]
fn pages_go_on_by_cursor_or_offset_in_every_order() {
    let server = Server::start();
    let admin = server.admin();
    fleet(admin);
    for (sort, order) in [("sort=id", "abcd"), ("sort=id&order=desc", "dcba"), ("sort=name", "bdca")] {
        let (mut seen, mut cursor) = (String::new(), String::new());
        loop {
            let page = admin.get(&format!("{DEVICES}?limit=3&{sort}{cursor}")).expect(200);
            seen.extend(page["items"].as_array().expect("items").iter().map(|d| d["id"].as_str().expect("an id")));
            assert_eq!(page["total"], 4);
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={}", encode(next)),
                None => break,
            }
        }
        assert_eq!(seen, order, "{sort}");
        assert_eq!(ids(admin, &format!("{sort}&offset=1&limit=2")).concat(), order[1..3], "{sort}");
        assert_eq!(ids(admin, &format!("{sort}&offset=9")), Vec::<String>::new());
    }
}

#[test]
fn newest_values_come_with_the_list_if_they_are_asked_for() {
    let server = Server::start();
    let admin = server.admin();
    fleet(admin);
    let _device = sends(&server, "b", 20.5);
    let list = admin.get(&format!("{DEVICES}?metrics=temp,mode,none")).expect(200);
    let latest = |at: usize| &list["items"][at]["latest"];
    assert_eq!(latest(0), &json!({}));
    assert_eq!((&latest(1)["temp"]["value"], &latest(1)["temp"]["unit"]), (&json!(20.5), &json!("")));
    assert_eq!(latest(1)["mode"]["value"], "auto");
    assert!(latest(1).get("none").is_none() && latest(1)["temp"]["time"].is_string());
    let plain = admin.get(DEVICES).expect(200);
    assert!(plain["items"][1].get("latest").is_none());
    assert_eq!(plain["items"][1]["alerts"], json!({"critical": 0, "warning": 0, "info": 0}));
}

#[test]
fn open_alerts_are_counted_filtered_and_sorted_by() {
    let server = Server::start();
    let admin = server.admin();
    fleet(admin);
    let rule = |id: &str, severity: &str, when: &str| {
        let levels = json!([{"severity": severity, "when": when}]);
        admin
            .post("/api/v1/rules", &json!({"id": id, "name": id, "levels": levels, "allow_unknown_metric": true}))
            .expect(201);
    };
    rule("hot", "critical", "temp > 50");
    rule("warm", "info", "temp > 20");
    let _devices = [sends(&server, "b", 30.0), sends(&server, "c", 60.0), sends(&server, "d", 1.0)];
    until("the alerts", || (ids(admin, "severity=any").concat() == "bc").then_some(()));
    until("the critical one", || (ids(admin, "severity=critical").concat() == "c").then_some(()));
    assert_eq!(ids(admin, "severity=warning").concat(), "");
    until("the order", || (ids(admin, "sort=alerts&order=desc").concat() == "cbad").then_some(()));
    let counts = json!({"critical": 1, "warning": 0, "info": 1});
    until("both alerts", || (admin.device("c")["alerts"] == counts).then_some(()));
    until("the count", || (admin.get("/api/v1/devices/facets").expect(200)["alerting"] == 2).then_some(()));
}

#[test]
fn facets_say_how_many_devices_have_what() {
    let server = Server::start();
    let admin = server.admin();
    fleet(admin);
    let _devices = [sends(&server, "b", 1.0), sends(&server, "c", 1.0)];
    let wanted = json!({
        "total": 4, "presence": {"online": 2, "stale": 0, "offline": 2}, "alerting": 0,
        "groups": [{"name": "pumps", "count": 2}, {"name": "fans", "count": 1}],
        "profiles": [{"name": "P-100", "count": 2}, {"name": "P-200", "count": 1}],
        "tags": [{"key": "site", "values":
            [{"value": "north", "count": 2}, {"value": "south", "count": 1}, {"value": "west", "count": 1}]}],
        "metrics": [{"name": "mode", "unit": "", "type": "text", "devices": 2},
                    {"name": "temp", "unit": "", "type": "f64", "devices": 2}],
        "cut": false,
    });
    assert_eq!(admin.get("/api/v1/devices/facets").expect(200), wanted);
    let pumps = admin.get("/api/v1/devices/facets?group=pumps&tag=site:south").expect(200);
    assert_eq!((&pumps["total"], &pumps["presence"]["online"]), (&json!(1), &json!(1)));
    assert_eq!(pumps["profiles"], json!([{"name": "P-200", "count": 1}]));
}

#[test]
fn facets_of_a_tag_with_many_values_are_cut_and_say_so() {
    let server = Server::start();
    let admin = server.admin();
    for number in 0..60 {
        let body = json!({"id": format!("d{number}"), "tags": {"serial": number.to_string(), "site": "one"}});
        admin.post(DEVICES, &body).expect(201);
    }
    let facets = admin.get("/api/v1/devices/facets").expect(200);
    assert_eq!((&facets["cut"], &facets["total"]), (&json!(true), &json!(60)));
    assert_eq!(facets["tags"][0]["values"].as_array().expect("values").len(), 50);
    assert_eq!(facets["tags"][1]["values"], json!([{"value": "one", "count": 60}]));
}

#[test]
fn what_cannot_be_asked_of_the_list_is_told_with_what_can() {
    let server = Server::start();
    let admin = server.admin();
    for (query, field, fragment) in [
        ("sort=colour", "sort", "metric:NAME"),
        ("sort=metric:", "sort", "metric name"),
        ("order=up", "order", "asc or desc"),
        ("offset=1000001", "offset", "0 to 1000000"),
        ("offset=1&cursor=a", "offset", "not both"),
        ("sort=name&cursor=a", "cursor", "the `next` of an earlier answer"),
        ("cursor=@x", "cursor", "the `next` of an earlier answer"),
        ("severity=bad", "severity", "critical, warning, info or any"),
        ("presence=away", "presence", "online, stale or offline"),
        ("tag=site", "tag", "key:value"),
        ("tag=a:b&tag=site", "tag", "key:value"),
        ("metrics=a,b,c,d,e,f,g,h,i", "metrics", "at most 8"),
        ("metrics=", "metrics", "metric name"),
        ("limit=501", "limit", "1 to 500"),
    ] {
        let answer = admin.get(&format!("{DEVICES}?{query}"));
        let problem = answer.expect_problem(400, "invalid_field", fragment);
        assert_eq!(problem["errors"][0]["field"], field, "{query}");
    }
    let many = vec!["tag=a:b"; 65].join("&");
    admin.get(&format!("{DEVICES}?{many}")).expect_problem(400, "invalid_field", "more than 64");
    admin.get("/api/v1/devices/facets?sort=id").expect(400);
    let long = json!({"id": "x", "profile": "y".repeat(65)});
    admin.post(DEVICES, &long).expect_problem(400, "invalid_field", "1-64 bytes");
    admin.post(DEVICES, &json!({"id": "facets"})).expect_problem(400, "invalid_field", "facets");
}
