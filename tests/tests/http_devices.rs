//! The HTTP API: devices, their credentials, latest values and history.

use pulsewire_proto::frame::StreamKind;
use pulsewire_proto::{CloseCode, MetricType, Value};
use pulsewire_tests::api::{encode, secret, time_text};
use pulsewire_tests::device::{Device, now_us, set_of, sparse_report};
use pulsewire_tests::wire::{Transport, Wire};
use pulsewire_tests::{Api, Server};
use serde_json::json;

const DEVICES: &str = "/api/v1/devices";

fn ids(api: &Api, query: &str) -> Vec<String> {
    let list = api.get(&format!("{DEVICES}{query}")).expect(200);
    let items = list["items"].as_array().expect("items");
    items.iter().map(|device| device["id"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn a_device_is_made_shown_edited_and_deleted() {
    let server = Server::start();
    let admin = server.admin();
    let body = json!({"id": "pump-7", "name": "Pump 7", "tags": {"site": "north"}, "group": "pumps"});
    let made = admin.post(DEVICES, &body).expect(201);
    let device = &made["device"];
    for (field, value) in body.as_object().expect("fields") {
        assert_eq!(&device[field], value, "{field}");
    }
    assert_eq!((&device["enabled"], &device["presence"]), (&json!(true), &json!("offline")));
    assert_eq!((&device["last_seen"], &device["firmware"]), (&json!(null), &json!(null)));
    assert_eq!(device["accounting"]["received"], 0);
    assert_eq!(&admin.device("pump-7"), device);
    assert!(admin.device("pump-7").get("secret").is_none(), "the secret is shown once");

    let path = "/api/v1/devices/pump-7";
    let change = json!({"name": "Pump seven", "tags": {"site": "south", "floor": "2"}, "group": null});
    let edited = admin.patch(path, &change).expect(200);
    assert_eq!((&edited["name"], &edited["tags"]), (&change["name"], &change["tags"]));
    assert_eq!(edited["group"], json!(null));
    assert_eq!(admin.patch(path, &json!({})).expect(200), edited, "what is absent stays");

    assert_eq!(admin.delete(path).status, 204);
    admin.get(path).expect_problem(404, "not_found", "pump-7");
    admin.delete(path).expect_problem(404, "not_found", "pump-7");
    admin.patch(path, &json!({"name": "x"})).expect_problem(404, "not_found", "pump-7");
}

#[test]
fn a_deleted_device_leaves_nothing_to_its_successor() {
    let server = Server::start();
    server.assert_serves();
    assert_eq!(server.admin().delete("/api/v1/devices/probe-0").status, 204);
    let secret = server.create_device("probe-0");
    let mut device = Device::login_over(Transport::Tcp, server.device, "probe-0", &secret, &[1]);
    assert!(device.welcome.streams.is_empty(), "streams are gone");
    assert_eq!(server.admin().history("probe-0", "temp"), []);
    assert_eq!(server.admin().device("probe-0")["accounting"]["stored"], 0);
    // The metric may now be of another class.
    let stream = device.open_stream(StreamKind::Live);
    let set = set_of(0, &[("temp", MetricType::Text)]);
    device.declare(&set);
    device.send(&sparse_report(&set, stream, 1, &[(now_us(), vec![Some(Value::Text("warm"))])]));
    assert_eq!(device.expect_ack(stream, 1), []);
}

#[test]
fn lists_are_filtered_by_part_group_tag_and_presence() {
    let server = Server::start();
    let admin = server.admin();
    for (id, name, site, group) in [
        ("pump-1", "North pump", "north", Some("pumps")),
        ("pump-2", "South pump", "south", Some("pumps")),
        ("fan-1", "North fan", "north", None),
    ] {
        let body = json!({"id": id, "name": name, "tags": {"site": site}, "group": group});
        admin.post(DEVICES, &body).expect(201);
    }
    assert_eq!(ids(admin, ""), ["fan-1", "pump-1", "pump-2"]);
    assert_eq!(ids(admin, "?q=PUMP"), ["pump-1", "pump-2"]);
    assert_eq!(ids(admin, "?q=north"), ["fan-1", "pump-1"]);
    assert_eq!(ids(admin, "?group=pumps&tag=site:south"), ["pump-2"]);
    assert_eq!(ids(admin, "?tag=site:west"), Vec::<String>::new());
    let online = server.device("now");
    assert_eq!(ids(admin, "?presence=online"), ["now"]);
    assert_eq!(ids(admin, "?presence=offline&q=fan"), ["fan-1"]);
    drop(online);
    let overview = admin.get("/api/v1/overview").expect(200);
    assert_eq!(overview["devices"]["total"], 4);
}

#[test]
fn pages_hold_every_device_once_whatever_the_limit() {
    let server = Server::start();
    let admin = server.admin();
    let all: Vec<String> = (0..7).map(|i| format!("d{i}")).collect();
    for id in &all {
        admin.create_device(id);
    }
    for limit in [1, 3, 7, 500] {
        let (mut seen, mut query) = (Vec::new(), format!("?limit={limit}"));
        loop {
            let page = admin.get(&format!("{DEVICES}{query}")).expect(200);
            let items = page["items"].as_array().expect("items");
            assert!(items.len() <= limit);
            seen.extend(items.iter().map(|device| device["id"].as_str().expect("an id").to_owned()));
            match page["next"].as_str() {
                Some(next) => query = format!("?limit={limit}&cursor={}", encode(next)),
                None => break,
            }
        }
        assert_eq!(seen, all, "limit {limit}");
    }
}

#[test]
fn a_replaced_secret_works_on_until_it_is_revoked() {
    let server = Server::start();
    let first = server.create_device("pump");
    let path = "/api/v1/devices/pump/secret";
    let mut session = Device::login(server.device, "pump", &first);

    let answer = server.admin().post(path, &json!({})).expect(200);
    let second = secret(&answer["secret"]);
    assert_ne!(first, second);
    let until = pulsewire_tests::api::time_us(&answer["previous_valid_until"]);
    assert!((until - now_us() - 86_400_000_000).abs() < 60_000_000, "24 hours of overlap");
    // Nothing happened to the session; both secrets log in.
    session.open_stream(StreamKind::Live);
    Device::login(server.device, "pump", &first).leave();
    let mut session = Device::login(server.device, "pump", &second);

    let answer = server.admin().post(path, &json!({"revoke_previous": true})).expect(200);
    assert_eq!(answer["previous_valid_until"], json!(null));
    let third = secret(&answer["secret"]);
    let close = session.expect_close();
    server.assert_close_text(&close, CloseCode::Revoked, "its secret replaced");
    for old in [first, second] {
        let refused = Device::try_login(Wire::connect(server.device, Transport::Tcp), "pump", &old, &[]);
        assert_eq!(refused.err().expect("refused").1.code, 4003);
    }
    Device::login(server.device, "pump", &third);
}

#[test]
fn a_token_logs_in_over_loopback_and_a_new_one_replaces_it() {
    let server = Server::start();
    server.create_device("simple");
    let make = || {
        let answer = server.admin().post("/api/v1/devices/simple/token", &json!({})).expect(201);
        answer["token"].as_str().expect("a token").to_owned()
    };
    let first = make();
    let mut device = Device::login_with_token(server.device, "simple", &first).expect("accepted");
    assert_eq!(device.welcome.server_proof, [0; 32], "it proves nothing");
    let (stream, set) = device.prepare();
    device.send(&pulsewire_tests::report(&set, stream, 1, &[(now_us(), 1.0)]));
    assert_eq!(device.expect_ack(stream, 1), []);
    let second = make();
    assert_eq!(device.expect_close().code, 4017, "the session made with the old token ends");
    assert_eq!(Device::login_with_token(server.device, "simple", &first).err().expect("refused").code, 4003);
    Device::login_with_token(server.device, "simple", &second).expect("accepted");
}

/// A device with one series of 100 samples, one per second from `start`, valued 0, 1, 2, ….
fn series(server: &Server, start: i64) {
    let mut device = server.device("s");
    let stream = device.open_stream(StreamKind::Live);
    let set = set_of(0, &[("v", MetricType::F64), ("t", MetricType::Text), ("b", MetricType::Bool)]);
    device.declare(&set);
    let rows: Vec<_> = (0..100_i64)
        .map(|n| {
            let values = vec![Some(Value::F64(n as f64)), Some(Value::Text("word")), Some(Value::Bool(n % 2 == 0))];
            (start + n * 1_000_000, values)
        })
        .collect();
    device.send(&sparse_report(&set, stream, 1, &rows));
    assert_eq!(device.expect_ack(stream, 1), []);
}

#[test]
fn history_takes_a_range_and_pages_through_it() {
    let server = Server::start();
    let start = 1_600_000_000_000_000;
    series(&server, start);
    let get = |query: &str| server.admin().get(&format!("/api/v1/history?device=s&metric=v{query}")).expect(200);
    let at = |n: i64| encode(&time_text(start + n * 1_000_000));

    let all = get("");
    assert_eq!((&all["type"], &all["device"], &all["metric"]), (&json!("f64"), &json!("s"), &json!("v")));
    assert_eq!(all["items"].as_array().expect("items").len(), 100);
    assert_eq!(all["next"], json!(null));
    // From inclusive, to exclusive.
    let part = get(&format!("&from={}&to={}", at(10), at(20)));
    let values: Vec<_> = part["items"].as_array().expect("items").iter().map(|i| i["value"].clone()).collect();
    assert_eq!(values, (10..20).map(|n| json!(f64::from(n))).collect::<Vec<_>>());
    assert_eq!(part["items"][0]["time"], time_text(start + 10_000_000));

    let (mut query, mut seen) = ("&limit=7".to_owned(), Vec::new());
    loop {
        let page = get(&query);
        seen.extend(page["items"].as_array().expect("items").iter().map(|i| i["value"].as_f64().expect("a number")));
        match page["next"].as_str() {
            Some(next) => query = format!("&limit=7&cursor={}", encode(next)),
            None => break,
        }
    }
    assert_eq!(seen, (0..100).map(f64::from).collect::<Vec<_>>());
    assert_eq!(get(&format!("&from={}", at(1000)))["items"], json!([]));
}

#[test]
fn history_in_steps_has_one_item_per_bucket() {
    let server = Server::start();
    // On a whole ten seconds, as buckets are.
    let start = 1_600_000_000_000_000;
    series(&server, start);
    let get = |metric: &str, query: &str| {
        let answer = server.admin().get(&format!("/api/v1/history?device=s&metric={metric}&step=10s{query}"));
        let page = answer.expect(200);
        page["items"].as_array().expect("items").clone()
    };
    for (aggregate, expected) in [
        ("", 34.5),
        ("&agg=avg", 34.5),
        ("&agg=min", 30.0),
        ("&agg=max", 39.0),
        ("&agg=sum", 345.0),
        ("&agg=count", 10.0),
        ("&agg=first", 30.0),
        ("&agg=last", 39.0),
    ] {
        let items = get("v", aggregate);
        assert_eq!(items.len(), 10, "{aggregate}");
        assert_eq!(items[3]["time"], time_text(start + 30_000_000), "{aggregate}");
        assert_eq!(items[3]["value"].as_f64(), Some(expected), "{aggregate}");
    }
    assert_eq!(get("t", "")[0]["value"], "word");
    assert_eq!(get("t", "&agg=count")[0]["value"].as_f64(), Some(10.0));
    let refused = server.admin().get("/api/v1/history?device=s&metric=t&step=10s&agg=avg");
    refused.expect_problem(400, "invalid_field", "no meaning for text");
}

#[test]
fn the_latest_value_of_each_metric_is_the_newest_by_time() {
    let server = Server::start();
    let start = 1_600_000_000_000_000;
    series(&server, start);
    let latest = server.admin().get("/api/v1/devices/s/latest").expect(200);
    let newest = time_text(start + 99_000_000);
    let wanted = json!([
        {"metric": "b", "unit": "", "type": "bool", "time": newest, "value": false},
        {"metric": "t", "unit": "", "type": "text", "time": newest, "value": "word"},
        {"metric": "v", "unit": "", "type": "f64", "time": newest, "value": 99.0},
    ]);
    assert_eq!(latest, json!({"items": wanted, "next": null}));
}

#[test]
fn of_two_samples_with_one_time_the_one_stored_last_stays() {
    let server = Server::start();
    let mut device = server.device("twice");
    let (stream, set) = device.prepare();
    let now = now_us();
    device.send(&pulsewire_tests::report(&set, stream, 1, &[(now, 1.0), (now, 2.0)]));
    device.expect_ack(stream, 1);
    assert_eq!(server.admin().history("twice", "temp"), [(now, json!(2.0))]);
    device.send(&pulsewire_tests::report(&set, stream, 2, &[(now, 3.0)]));
    device.expect_ack(stream, 2);
    assert_eq!(server.admin().history("twice", "temp"), [(now, json!(3.0))]);
    let accounting = &server.admin().device("twice")["accounting"];
    assert_eq!((&accounting["received"], &accounting["stored"]), (&json!(3), &json!(3)));
    assert_eq!(accounting["replaced"], 2);
}

#[test]
fn values_that_json_lacks_are_words() {
    let server = Server::start();
    let mut device = server.device("odd");
    let (stream, set) = device.prepare();
    let now = now_us();
    let rows = [(now, f64::NAN), (now + 1, f64::INFINITY), (now + 2, f64::NEG_INFINITY), (now + 3, -0.0)];
    device.send(&pulsewire_tests::report(&set, stream, 1, &rows));
    device.expect_ack(stream, 1);
    let values: Vec<_> = server.admin().history("odd", "temp").into_iter().map(|(_, value)| value).collect();
    assert_eq!(values[..3], [json!("NaN"), json!("Infinity"), json!("-Infinity")]);
    assert_eq!(values[3].as_f64().map(f64::to_bits), Some((-0.0_f64).to_bits()));
}
