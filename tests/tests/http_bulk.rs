//! Many devices at once, where they are, and what people keep of the pages about them.

use pulsewire_proto::frame::{Aggregate, StreamKind, Subscribe};
use pulsewire_proto::{MetricType, Value};
use pulsewire_tests::device::{Device, now_us, set_of, sparse_report};
use pulsewire_tests::{Api, Server, Viewer};
use serde_json::json;

const BULK: &str = "/api/v1/devices/bulk";
const POSITIONS: &str = "/api/v1/devices/positions";

fn fleet(admin: &Api, count: usize) -> Vec<String> {
    let ids: Vec<String> = (0..count).map(|number| format!("d{number:03}")).collect();
    for (number, id) in ids.iter().enumerate() {
        let site = if number % 2 == 0 { "north" } else { "south" };
        admin.post("/api/v1/devices", &json!({"id": id, "tags": {"site": site}})).expect(201);
    }
    ids
}

fn ids(api: &Api, query: &str) -> Vec<String> {
    let list = api.get(&format!("/api/v1/devices?{query}")).expect(200);
    list["items"].as_array().expect("items").iter().map(|d| d["id"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn many_devices_are_changed_by_id_or_filter_and_each_failure_is_named() {
    let server = Server::start();
    let admin = server.admin();
    let all = fleet(admin, 6);
    let done = admin.post(BULK, &json!({"action": "set_group", "ids": ["d000", "d001", "d000", "gone"], "group": "g"}));
    let done = done.expect(200);
    assert_eq!((&done["matched"], &done["changed"]), (&json!(2), &json!(2)));
    assert_eq!(done["failed"], json!([{"id": "gone", "detail": "there is no such device"}]));
    assert_eq!(ids(admin, "group=g"), ["d000", "d001"]);
    // What is so already is no change.
    let again = admin.post(BULK, &json!({"action": "set_group", "filter": {"group": "g"}, "group": "g"})).expect(200);
    assert_eq!(again, json!({"matched": 2, "changed": 0, "failed": []}));
    let done = admin.post(BULK, &json!({"action": "set_group", "filter": {"all": true}, "group": null})).expect(200);
    assert_eq!((&done["matched"], &done["changed"]), (&json!(6), &json!(2)));

    admin.post(BULK, &json!({"action": "set_profile", "filter": {"tag": "site:north"}, "profile": "P"})).expect(200);
    assert_eq!(ids(admin, "profile=P"), ["d000", "d002", "d004"]);
    let filter = json!({"tag": ["site:north", "site:south"], "q": "d00", "profile": "P"});
    admin.post(BULK, &json!({"action": "add_tag", "filter": filter, "key": "hall", "value": "7"})).expect(200);
    assert_eq!(ids(admin, "tag=hall:7"), ["d000", "d002", "d004"]);
    admin.post(BULK, &json!({"action": "remove_tag", "ids": ["d002"], "key": "hall"})).expect(200);
    assert_eq!(ids(admin, "tag=hall:7"), ["d000", "d004"]);
    // A device has 32 tags at most; the others are changed all the same.
    let tags: serde_json::Map<_, _> = (0..32).map(|n| (format!("t{n}"), json!("x"))).collect();
    admin.patch("/api/v1/devices/d001", &json!({"tags": tags})).expect(200);
    let done = admin.post(BULK, &json!({"action": "add_tag", "ids": all, "key": "one", "value": "more"})).expect(200);
    assert_eq!((&done["matched"], &done["changed"]), (&json!(6), &json!(5)));
    assert_eq!(done["failed"][0]["id"], "d001");
    assert!(done["failed"][0]["detail"].as_str().expect("a text").contains("at most 32"), "{done}");
}

#[test]
fn disabled_devices_are_sent_away_and_deleted_ones_leave_nothing() {
    let server = Server::start();
    let admin = server.admin();
    let mut devices = [server.device("a"), server.device("b")];
    for device in &mut devices {
        let (stream, set) = device.prepare();
        device.send(&pulsewire_tests::report(&set, stream, 1, &[(now_us(), 1.0)]));
        device.expect_ack(stream, 1);
    }
    let done = admin.post(BULK, &json!({"action": "disable", "ids": ["a"]})).expect(200);
    assert_eq!(done["changed"], 1);
    assert_eq!(devices[0].expect_close().code, 4017, "revoked");
    assert_eq!(admin.device("a")["enabled"], false);
    let done = admin.post(BULK, &json!({"action": "delete", "filter": {"all": true}})).expect(200);
    assert_eq!((&done["matched"], &done["changed"]), (&json!(2), &json!(2)));
    assert_eq!(ids(admin, ""), Vec::<String>::new());
    let secret = server.create_device("b");
    let device = Device::login(server.device, "b", &secret);
    assert!(device.welcome.streams.is_empty(), "streams are gone");
    assert_eq!(admin.history("b", "temp"), []);
}

/// As many events as this would be too many for a bus of 16, if each device were one.
const MANY: usize = 3_000;

#[test]
fn a_change_of_very_many_devices_ends_no_session_and_reaches_subscriptions_by_group() {
    let server = Server::with("live.bus_events", 16);
    let admin = server.admin();
    let mut device = server.device("pump");
    let (stream, set) = device.prepare();
    device.send(&pulsewire_tests::report(&set, stream, 1, &[(now_us(), 21.5)]));
    device.expect_ack(stream, 1);
    let create = |from: usize| {
        let numbers = (from..MANY).step_by(4);
        numbers.for_each(|n| drop(admin.post("/api/v1/devices", &json!({"id": format!("d{n:04}")})).expect(201)));
    };
    std::thread::scope(|scope| (0..4).for_each(|from| drop(scope.spawn(move || create(from)))));
    let mut viewer = Viewer::connect(server.http, admin.token());
    let by_group = |subscription, aggregate| Subscribe {
        subscription,
        groups: vec!["moved".to_owned()],
        interval_ms: 50,
        aggregate,
        ..Subscribe::default()
    };
    viewer.subscribe(&by_group(1, Aggregate::Last));
    let lost = server.log().matches("events were lost").count();

    let done = admin.post(BULK, &json!({"action": "set_group", "filter": {"all": true}, "group": "moved"})).expect(200);
    assert_eq!((&done["matched"], &done["changed"]), (&json!(MANY + 1), &json!(MANY + 1)));
    viewer.until("the device that came to match", |v| (!v.values("pump", "temp").is_empty()).then_some(()));
    let done = admin.post(BULK, &json!({"action": "add_tag", "filter": {"all": true}, "key": "k", "value": "v"}));
    assert_eq!(done.expect(200)["changed"], MANY + 1);
    // The session is the one from before all that.
    device.send(&pulsewire_tests::report(&set, stream, 2, &[(now_us(), 22.5)]));
    device.expect_ack(stream, 2);
    viewer.until("the next sample", |v| v.values("pump", "temp").iter().any(|(_, value)| *value == 22.5).then_some(()));
    assert_eq!(server.log().matches("events were lost").count(), lost, "{}", server.log());

    let filter = json!({"group": "moved"});
    admin.post(BULK, &json!({"action": "disable", "filter": filter})).expect(200);
    assert_eq!(device.expect_close().code, 4017, "revoked");
}

#[test]
fn a_command_for_many_is_stored_for_each_and_refused_where_one_would_be() {
    let server = Server::start();
    let admin = server.admin();
    fleet(admin, 3);
    admin.patch("/api/v1/devices/d001", &json!({"enabled": false})).expect(200);
    let command = json!({"name": "reboot", "arguments": {"now": true}, "ttl": "1h"});
    let done = admin.post(BULK, &json!({"action": "command", "filter": {"all": true}, "command": command})).expect(200);
    assert_eq!((&done["matched"], &done["changed"]), (&json!(3), &json!(2)));
    assert_eq!(done["failed"][0]["id"], "d001");
    for (id, count) in [("d000", 1), ("d001", 0), ("d002", 1)] {
        let queued = admin.get(&format!("/api/v1/devices/{id}/commands")).expect(200);
        assert_eq!(queued["items"].as_array().expect("items").len(), count, "{id}");
    }
}

#[test]
fn what_may_be_done_with_one_device_may_be_done_with_many() {
    let server = Server::start();
    let admin = server.admin();
    fleet(admin, 1);
    let (viewer, operator) = (admin.create_user("vera", "viewer"), admin.create_user("otto", "operator"));
    for (body, for_operator) in [
        (json!({"action": "set_group", "filter": {"all": true}, "group": "g"}), 200),
        (json!({"action": "add_tag", "filter": {"all": true}, "key": "k", "value": "v"}), 200),
        (json!({"action": "command", "filter": {"all": true}, "command": {"name": "x"}}), 200),
        (json!({"action": "disable", "filter": {"all": true}}), 403),
        (json!({"action": "delete", "filter": {"all": true}}), 403),
    ] {
        assert_eq!(viewer.post(BULK, &body).status, 403, "{body}");
        assert_eq!(operator.post(BULK, &body).status, for_operator, "{body}");
    }
    for (body, field) in [
        (json!({"action": "explode", "filter": {"all": true}}), "action"),
        (json!({"action": "enable"}), "ids"),
        (json!({"action": "enable", "ids": [], "filter": {"all": true}}), "ids"),
        (json!({"action": "enable", "ids": vec!["a"; 1001]}), "ids"),
        (json!({"action": "enable", "filter": {"all": true}, "group": "g"}), "group"),
        (json!({"action": "set_group", "filter": {"all": true}}), "group"),
        (json!({"action": "set_group", "filter": {"all": true}, "group": " g"}), "group"),
        (json!({"action": "add_tag", "filter": {"all": true}, "key": "k"}), "value"),
        (json!({"action": "add_tag", "filter": {"all": true}, "key": "k k", "value": "v"}), "value"),
        (json!({"action": "set_profile", "filter": {"presence": "away"}, "profile": null}), "presence"),
        (json!({"action": "delete", "filter": {}}), "filter"),
        (json!({"action": "delete", "filter": {"q": ""}}), "filter"),
        (json!({"action": "delete", "filter": {"tag": null}}), "filter"),
        (json!({"action": "delete", "filter": {"tag": []}}), "tag"),
        (json!({"action": "delete", "filter": {"tag": ""}}), "tag"),
        (json!({"action": "delete", "filter": {"tag": [""]}}), "tag"),
        (json!({"action": "delete", "filter": {"all": true, "group": "g"}}), "all"),
        (
            json!({"action": "command", "filter": {"all": true}, "command": {"name": "x", "id": "01KAJ3V8Q5M7T2X9R4C6B8D0EF"}}),
            "command.id",
        ),
    ] {
        let problem = admin.post(BULK, &body).expect_problem(400, "invalid_field", "");
        assert_eq!(problem["errors"][0]["field"], field, "{body}");
    }
}

/// A device that sends where it is.
fn at(server: &Server, id: &str, names: [&str; 2], place: [f64; 2]) -> Device {
    let mut device = server.device(id);
    let stream = device.open_stream(StreamKind::Live);
    let set = set_of(0, &[(names[0], MetricType::F64), (names[1], MetricType::F64)]);
    device.declare(&set);
    let rows = [(now_us(), place.map(|degrees| Some(Value::F64(degrees))).to_vec())];
    device.send(&sparse_report(&set, stream, 1, &rows));
    assert_eq!(device.expect_ack(stream, 1), []);
    device
}

#[test]
fn devices_are_where_they_say_and_a_box_leaves_out_the_others() {
    let server = Server::start();
    let admin = server.admin();
    let _devices = [
        at(&server, "berlin", ["latitude", "longitude"], [52.5, 13.4]),
        at(&server, "fiji", ["lat", "lng"], [-17.7, 178.0]),
        at(&server, "nowhere", ["lat", "lon"], [152.5, 13.4]),
        server.device("silent"),
    ];
    let all = admin.get(POSITIONS).expect(200);
    assert_eq!((&all["total"], &all["cut"]), (&json!(2), &json!(false)));
    let berlin = &all["items"][0];
    assert_eq!(
        (&berlin["device"], &berlin["latitude"], &berlin["longitude"]),
        (&json!("berlin"), &json!(52.5), &json!(13.4))
    );
    assert_eq!((&berlin["presence"], &berlin["severity"]), (&json!("online"), &json!(null)));
    assert!(berlin["time"].is_string() && berlin["name"] == "berlin");
    for (query, found) in [("bbox=0,40,20,60", 1), ("bbox=170,-50,-170,0", 1), ("bbox=0,0,1,1", 0), ("q=fi", 1)] {
        assert_eq!(admin.get(&format!("{POSITIONS}?{query}")).expect(200)["total"], found, "{query}");
    }
    for wrong in ["bbox=1,2,3", "bbox=0,10,1,0", "bbox=a,b,c,d", "presence=away"] {
        admin.get(&format!("{POSITIONS}?{wrong}")).expect_problem(400, "invalid_field", "");
    }
}

#[test]
fn the_server_says_what_it_is_and_how_it_is() {
    let server = Server::start();
    let _device = at(&server, "berlin", ["latitude", "longitude"], [52.5, 13.4]);
    let about = server.admin().get("/api/v1/about").expect(200);
    assert_eq!((&about["devices"], &about["series"], &about["sessions"]), (&json!(1), &json!(2), &json!(1)));
    assert_eq!(about["data_dir"].as_str(), server.data_dir().to_str());
    assert_eq!((&about["os"], &about["channels"]["webhook"]), (&json!("linux"), &json!(true)));
    assert!(about["process"]["rss_bytes"].as_u64().is_some_and(|bytes| bytes > 1 << 20), "{about}");
    let health = about["health"].as_array().expect("checks");
    let names: Vec<_> = health.iter().filter_map(|check| check["name"].as_str()).collect();
    assert_eq!(names, ["journal", "store", "disk", "clock", "push", "tls", "viewers", "files"]);
    for name in ["journal", "store", "clock", "push", "tls", "viewers"] {
        let check = health.iter().find(|check| check["name"] == name).expect("a check");
        assert_eq!(check["state"], "ok", "{check}");
    }
    let viewer = server.admin().create_user("vera", "viewer");
    assert_eq!(viewer.get("/api/v1/about").expect(200)["data_dir"], json!(null));
    server.api().get("/api/v1/about").expect(401);
}

#[test]
fn views_are_kept_for_oneself_and_shared_with_all() {
    let server = Server::start();
    let admin = server.admin();
    let vera = admin.create_user("vera", "viewer");
    let view = json!({"query": "sort=name&group=pumps", "shared": true});
    let kept = admin.put("/api/v1/views/devices/All%20pumps", &view).expect(200);
    assert_eq!((&kept["name"], &kept["owner"], &kept["shared"]), (&json!("All pumps"), &json!("admin"), &json!(true)));
    vera.put("/api/v1/views/devices/mine", &json!({"query": ""})).expect(200);
    vera.put("/api/v1/views/overview/pins", &json!({"query": "chart=a:b"})).expect(200);
    let names = |api: &Api, page: &str| {
        let list = api.get(&format!("/api/v1/views{page}")).expect(200);
        let names = list["items"].as_array().expect("items").iter();
        names.map(|view| view["name"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&vera, "?page=devices"), ["mine", "All pumps"]);
    assert_eq!(names(&vera, ""), ["mine", "pins", "All pumps"]);
    assert_eq!(names(admin, ""), ["All pumps"]);
    // Sharing is for those who may change things, and nobody changes another's.
    vera.put("/api/v1/views/devices/x", &json!({"query": "", "shared": true})).expect_problem(
        403,
        "forbidden",
        "operator",
    );
    vera.delete("/api/v1/views/devices/All%20pumps").expect_problem(404, "not_found", "All pumps");
    admin.put("/api/v1/views/devices/All%20pumps", &json!({"query": "q=1"})).expect(200);
    assert_eq!(names(&vera, "?page=devices"), ["mine"], "it is not shared any more");
    assert_eq!(vera.delete("/api/v1/views/devices/mine").status, 204);
    assert_eq!(names(&vera, "?page=devices"), Vec::<String>::new());
    for (path, body, field) in [
        ("/api/v1/views/cars/x", json!({"query": ""}), "page"),
        ("/api/v1/views/devices/%20x", json!({"query": ""}), "name"),
        ("/api/v1/views/devices/x", json!({"query": "a".repeat(4097)}), "query"),
    ] {
        let problem = vera.put(path, &body).expect_problem(400, "invalid_field", "");
        assert_eq!(problem["errors"][0]["field"], field, "{path}");
    }
    for number in 0..99 {
        vera.put(&format!("/api/v1/views/map/{number}"), &json!({"query": ""})).expect(200);
    }
    vera.put("/api/v1/views/map/one%20more", &json!({"query": ""})).expect_problem(429, "too_many_views", "100 views");
    vera.put("/api/v1/views/map/7", &json!({"query": "again"})).expect(200);
    // They go with their user.
    assert_eq!(admin.delete("/api/v1/users/vera").status, 204);
    let vera = admin.create_user("vera", "viewer");
    assert_eq!(names(&vera, ""), Vec::<String>::new());
}
