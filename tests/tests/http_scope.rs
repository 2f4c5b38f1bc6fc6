//! People who see the devices of some groups only: for them all others do not exist, whatever they ask.

use pulsewire_proto::CloseCode;
use pulsewire_tests::device::now_us;
use pulsewire_tests::viewer::Viewer;
use pulsewire_tests::wait::until;
use pulsewire_tests::{Api, Server};
use serde_json::{Value, json};

const SECRET: &str = "secretdevice";
const OPEN: &str = "opendevice";

/// A device of each group that sends a value that is too high, a rule that says so, and a user who sees one of the groups.
struct Scene {
    server: Server,
    otto: Api,
    _devices: Vec<pulsewire_tests::device::Device>,
    hidden_alert: String,
    hidden_command: String,
}

fn scene(role: &str) -> Scene {
    let server = Server::start();
    let admin = server.admin();
    let body = json!({"name": "otto", "password": "password of otto", "role": role, "groups": ["north"]});
    assert_eq!(admin.post("/api/v1/users", &body).expect(201)["groups"], json!(["north"]));
    let otto = server.api().signed_in("otto", "password of otto");
    let mut devices = Vec::new();
    for (id, group) in [(OPEN, json!("north")), (SECRET, json!("south")), ("secretdevice2", Value::Null)] {
        let mut device = server.device(id);
        let place = json!({"group": group, "profile": format!("profile of {id}"), "tags": {"of": id}});
        admin.patch(&format!("/api/v1/devices/{id}"), &place).expect(200);
        let (stream, set) = device.prepare();
        device.send(&pulsewire_tests::report(&set, stream, 1, &[(now_us(), 1.0)]));
        device.expect_ack(stream, 1);
        devices.push((device, stream, set));
    }
    let rule = json!({"id": "hot", "name": "Hot", "levels": [{"severity": "critical", "when": "temp > 50"}]});
    admin.post("/api/v1/rules", &rule).expect(201);
    for (device, stream, set) in &mut devices {
        device.send(&pulsewire_tests::report(set, *stream, 2, &[(now_us(), 99.0)]));
        device.expect_ack(*stream, 2);
    }
    let alerts = until("three alerts", || {
        let list = admin.get("/api/v1/alerts").expect(200);
        let items = list["items"].as_array().expect("items").clone();
        (items.len() == 3).then_some(items)
    });
    let hidden = alerts.iter().find(|alert| alert["device"] == SECRET).expect("its alert");
    let command = admin.post(&format!("/api/v1/devices/{SECRET}/commands"), &json!({"name": "x"})).expect(202);
    admin.put("/api/v1/views/devices/theirs", &json!({"query": format!("q={SECRET}"), "shared": true})).expect(200);
    Scene {
        otto,
        hidden_alert: hidden["id"].as_str().expect("an id").to_owned(),
        hidden_command: command["id"].as_str().expect("an id").to_owned(),
        _devices: devices.into_iter().map(|(device, ..)| device).collect(),
        server,
    }
}

/// Values for the parameters of a path: what is hidden.
fn paths(scene: &Scene, path: &str) -> String {
    let id = match path {
        path if path.starts_with("/devices/") => SECRET,
        path if path.starts_with("/alerts/") => &scene.hidden_alert,
        path if path.starts_with("/commands/") => &scene.hidden_command,
        path if path.starts_with("/rules/") => "hot",
        _ => "01KAJ3V8Q5M7T2X9R4C6B8D0EF",
    };
    let path = path.replace("{id}", id).replace("{action}", "comment").replace("{act}", "pause");
    path.replace("{page}", "devices").replace("{name}", "x")
}

#[test]
fn no_route_answers_anything_about_a_device_outside_the_groups() {
    let scene = scene("operator");
    let admin = scene.server.admin();
    let document = admin.get("/api/v1/openapi.json").expect(200);
    let (mut asked, mut shown) = (0, 0);
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for method in methods.as_object().expect("methods").keys() {
            if path == "/session" && method == "delete" {
                continue;
            }
            let place = paths(&scene, path);
            // What a route may need or narrow by; those that take none refuse it, which is asked for too.
            let queries = [
                String::new(),
                format!("?device={SECRET}"),
                format!("?device={SECRET}&metric=temp"),
                format!("?device={SECRET},{OPEN}"),
                "?group=south".into(),
                format!("?tag=of:{SECRET}"),
                "?metrics=temp&sort=metric:temp&order=desc".into(),
                "?state=all".into(),
                format!("?q={SECRET}"),
            ];
            for query in queries {
                let bodies = match method.as_str() {
                    "get" => vec![],
                    _ => vec![
                        json!({}),
                        json!({"action": "comment", "filter": {}, "text": "hello"}),
                        json!({"action": "add_tag", "filter": {"all": true}, "key": "seen", "value": "yes"}),
                        json!({"action": "set_group", "ids": [SECRET, OPEN], "group": "north"}),
                        json!({"action": "command", "filter": {"all": true}, "command": {"name": "y"}}),
                        json!({"name": "y"}),
                        json!({"text": "hello"}),
                        json!({"query": ""}),
                    ],
                };
                let method = method.to_uppercase();
                let target = format!("/api/v1{place}{query}");
                let mut answers = Vec::new();
                match bodies.as_slice() {
                    [] => answers.push(scene.otto.send(&method, &target, None, b"")),
                    bodies => answers.extend(bodies.iter().map(|body| {
                        scene.otto.send(&method, &target, Some("application/json"), body.to_string().as_bytes())
                    })),
                }
                if path == "/import" {
                    let csv = format!("time,device,metric,value\n1700000000,{SECRET},temp,1\n");
                    answers.push(scene.otto.send("POST", &target, Some("text/csv"), csv.as_bytes()));
                }
                for answer in answers {
                    asked += 1;
                    shown += usize::from(answer.status == 200);
                    // What was asked for comes back in a refusal, and nothing else does.
                    let told = answer.status < 300 || !target.contains(SECRET) && !path.ends_with("/bulk");
                    let told = told && path != "/import" && path != "/devices/bulk";
                    assert!(!told || !answer.text.contains(SECRET), "{method} {target}: {}", answer.text);
                    assert!(answer.status != 500, "{method} {target}: {}", answer.text);
                    assert!(!answer.text.contains("profile of secret"), "{method} {target}: {}", answer.text);
                }
            }
        }
    }
    assert!(asked > 2_000 && shown > 30, "{asked} asked, {shown} answered");
    // And nothing of it was changed.
    let device = admin.device(SECRET);
    assert_eq!((&device["tags"], &device["group"]), (&json!({"of": SECRET}), &json!("south")));
    assert_eq!(device["accounting"]["stored"], 2);
    let alert = admin.get(&format!("/api/v1/alerts/{}", scene.hidden_alert)).expect(200);
    assert!(!alert["history"].to_string().contains("hello"), "{alert}");
    let commands = admin.get(&format!("/api/v1/devices/{SECRET}/commands")).expect(200);
    assert_eq!(commands["items"].as_array().expect("items").len(), 1);
}

#[test]
fn a_device_outside_the_groups_is_as_if_it_did_not_exist() {
    let scene = scene("operator");
    let otto = &scene.otto;
    let same = |hidden: &str, none: &str| {
        let (hidden, none) = (otto.get(hidden), otto.get(none));
        let text = hidden.text.replace(SECRET, "nothing").replace(&scene.hidden_alert, "01KAJ3V8Q5M7T2X9R4C6B8D0EF");
        let text = text.replace(&scene.hidden_command, "01KAJ3V8Q5M7T2X9R4C6B8D0EF");
        assert_eq!((hidden.status, text), (none.status, none.text));
    };
    for path in ["", "/latest", "/command-set", "/commands"] {
        same(&format!("/api/v1/devices/{SECRET}{path}"), &format!("/api/v1/devices/nothing{path}"));
    }
    for path in ["history", "query", "export"] {
        same(
            &format!("/api/v1/{path}?device={SECRET}&metric=temp"),
            &format!("/api/v1/{path}?device=nothing&metric=temp"),
        );
    }
    let none = "01KAJ3V8Q5M7T2X9R4C6B8D0EF";
    same(&format!("/api/v1/alerts/{}", scene.hidden_alert), &format!("/api/v1/alerts/{none}"));
    same(&format!("/api/v1/commands/{}", scene.hidden_command), &format!("/api/v1/commands/{none}"));
    // What is theirs is all there.
    let list = otto.get("/api/v1/devices?metrics=temp").expect(200);
    assert_eq!((&list["total"], &list["items"][0]["id"]), (&json!(1), &json!(OPEN)));
    assert_eq!(list["items"][0]["latest"]["temp"]["value"], 99.0);
    assert_eq!(otto.get("/api/v1/alerts").expect(200)["items"].as_array().expect("items").len(), 1);
    assert_eq!(otto.get("/api/v1/alerts/summary").expect(200)["open"]["critical"], 1);
    let facets = until("the alert is counted", || {
        let facets = otto.get("/api/v1/devices/facets").expect(200);
        (facets["alerting"] == 1).then_some(facets)
    });
    let groups = json!([{"name": "north", "count": 1}]);
    assert_eq!((&facets["total"], &facets["groups"]), (&json!(1), &groups));
    let overview = otto.get("/api/v1/overview").expect(200);
    assert_eq!((&overview["devices"]["total"], &overview["samples_stored"]), (&json!(1), &json!(2)));
    let about = otto.get("/api/v1/about").expect(200);
    assert_eq!((&about["devices"], &about["series"]), (&json!(1), &json!(2)));
    for (answer, of_whole) in [(&overview, vec!["samples_per_s", "store", "viewers"]), (&about, vec!["store", "live"])]
    {
        for field in of_whole {
            assert_eq!(answer.get(field), Some(&Value::Null), "{field}: {answer}");
        }
    }
    let checks = about["health"].as_array().expect("checks");
    for name in ["journal", "store", "viewers"] {
        let check = checks.iter().find(|check| check["name"] == name).expect("a check");
        assert_eq!((&check["state"], &check["detail"]), (&json!("ok"), &json!("well")));
    }
    let series = otto.get("/api/v1/query?metric=temp").expect(200);
    assert_eq!(series["series"].as_array().expect("series").len(), 1);
    for path in ["/api/v1/rules", "/api/v1/silences", "/api/v1/notifications", "/api/v1/push/messages"] {
        otto.get(path).expect_problem(403, "forbidden", "some groups only");
    }
    // What fired elsewhere is not counted with a device that came to them later. Counts are at most a second old.
    scene.server.admin().patch(&format!("/api/v1/devices/{SECRET}"), &json!({"group": "north"})).expect(200);
    until("the admin sees its alert", || {
        (scene.server.admin().device(SECRET)["alerts"]["critical"] == 1).then_some(())
    });
    let critical = |id: &str| otto.get(&format!("/api/v1/devices/{id}")).expect(200)["alerts"]["critical"].clone();
    until("they see the alert of their own", || (critical(OPEN) == 1).then_some(()));
    assert_eq!(critical(SECRET), 0);
    assert_eq!(otto.get(&format!("/api/v1/devices?severity=any&q={SECRET}")).expect(200)["total"], 0);
    scene.server.admin().patch(&format!("/api/v1/devices/{SECRET}"), &json!({"group": "south"})).expect(200);
    // Nothing can be moved to where they would not see it.
    let refused = otto.patch(&format!("/api/v1/devices/{OPEN}"), &json!({"group": "south"}));
    refused.expect_problem(400, "invalid_field", "you may see and use north");
    otto.patch(&format!("/api/v1/devices/{OPEN}"), &json!({"group": null})).expect(400);
    otto.patch(&format!("/api/v1/devices/{OPEN}"), &json!({"group": "north", "name": "Mine"})).expect(200);
    // A device that leaves the group is gone with its alert, though that fired when it was theirs.
    scene.server.admin().patch(&format!("/api/v1/devices/{OPEN}"), &json!({"group": "south"})).expect(200);
    assert_eq!(otto.get("/api/v1/devices").expect(200)["total"], 0);
    assert_eq!(otto.get("/api/v1/alerts?state=all").expect(200)["items"], json!([]));
}

#[test]
fn groups_are_given_by_admins_and_end_sign_ins() {
    let server = Server::with("live.heartbeat_interval", "300ms");
    let admin = server.admin();
    let vera = admin.create_user("vera", "viewer");
    let mut viewer = Viewer::connect(server.http, vera.token());
    let user = "/api/v1/users/vera";
    assert_eq!(vera.get("/api/v1/session").expect(200)["user"]["groups"], json!(null));
    vera.patch(user, &json!({"groups": ["a"]})).expect_problem(403, "forbidden", "role");
    assert_eq!(admin.patch(user, &json!({"groups": ["b", "a", "a"]})).expect(200)["groups"], json!(["a", "b"]));
    vera.get("/api/v1/session").expect(401);
    server.assert_closed(&viewer.expect_close(), CloseCode::Revoked, "sign in again");
    let vera = server.api().signed_in("vera", "password of vera");
    assert_eq!(vera.get("/api/v1/session").expect(200)["user"]["groups"], json!(["a", "b"]));
    let restricted = "restricted_admin";
    admin.patch(user, &json!({"role": "admin"})).expect_problem(409, restricted, "sees every device");
    admin.patch("/api/v1/users/admin", &json!({"groups": []})).expect_problem(409, restricted, "sees every device");
    admin.patch(user, &json!({"groups": [" a"]})).expect_problem(400, "invalid_field", "group");
    admin.patch(user, &json!({"groups": vec!["a"; 65]})).expect_problem(400, "invalid_field", "at most 64");
    assert_eq!(admin.patch(user, &json!({"role": "admin", "groups": null})).expect(200)["groups"], json!(null));
}
