//! Words of an admin to many, through public doors only.

use pulsewire_tests::{Api, PushEmulator, until};
use serde_json::{Value, json};

const PATH: &str = "/api/v1/push/announcements";

fn state(admin: &Api, id: &str, wanted: &str) -> Value {
    until("the announcement is in its state", || {
        let one = admin.get(&format!("{PATH}/{id}")).expect(200);
        (one["state"] == wanted).then_some(one)
    })
}

fn id(announcement: &Value) -> String {
    announcement["id"].as_str().expect("an id").to_owned()
}

#[test]
fn an_announcement_reaches_those_it_is_for_and_says_how_far_it_came() {
    let emulator = PushEmulator::start();
    let server = emulator.server().start();
    let admin = server.admin();
    let (kim, lee) = (admin.create_user("kim", "operator"), admin.create_user("lee", "viewer"));
    emulator.equip(&kim);
    emulator.equip(&lee);
    let new =
        json!({ "title": "Maintenance 🛠", "body": "صيانة الليلة at 22:00", "to": ["role:operator"], "ttl": "2h" });
    let made = admin.post(PATH, &new).expect(202);
    let done = state(admin, &id(&made), "done");
    // The admin is an operator, too, but without any endpoint.
    assert_eq!(
        done["progress"],
        json!({ "people": 1, "endpoints": 3, "delivered": 3, "failed": 0, "withdrawn": 0, "waiting": 0 })
    );
    let arrived = emulator.arrived();
    assert_eq!(arrived.len(), 3, "lee is a viewer");
    for message in &arrived {
        assert!(message["payload"].to_string().contains("صيانة الليلة"), "{message}");
        assert!(message["checks"].as_array().expect("checks").iter().all(|check| check["ok"] == true), "{message}");
    }
    let listed = admin.get(PATH).expect(200);
    assert_eq!(listed["items"][0]["id"], made["id"]);
    let told = kim.get("/api/v1/push/messages").expect(200);
    assert_eq!((&told["items"][0]["kind"], &told["items"][0]["state"]), (&json!("announcement"), &json!("done")));
}

#[test]
fn one_that_is_planned_can_be_paused_resumed_and_cancelled() {
    let emulator = PushEmulator::start();
    let server = emulator.server().start();
    let admin = server.admin();
    emulator.equip(admin);
    let made = admin.post(PATH, &json!({ "title": "Later", "not_before": "2099-01-01T00:00:00Z" }));
    assert_eq!(made.expect(400)["errors"][0]["field"], "not_before");
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * 30);
    let made = admin.post(PATH, &json!({ "title": "Later", "not_before": soon.to_string() })).expect(202);
    let path = format!("{PATH}/{}", id(&made));
    assert_eq!(made["state"], "scheduled");
    for (act, wanted) in [("pause", "paused"), ("resume", "scheduled"), ("cancel", "canceled")] {
        assert_eq!(admin.post(&format!("{path}/{act}"), &json!({})).expect(200)["state"], wanted);
    }
    assert_eq!(admin.post(&format!("{path}/resume"), &json!({})).expect(409)["code"], "announcement_over");
    admin.post(&format!("{path}/shout"), &json!({})).expect(404);
    assert!(emulator.arrived().is_empty());
}

#[test]
fn only_admins_announce_and_what_cannot_be_said_names_its_field() {
    let server = PushEmulator::start().server().start();
    let kim = server.admin().create_user("kim", "operator");
    for refused in [kim.get(PATH), kim.post(PATH, &json!({ "title": "Hi" }))] {
        refused.expect(403);
    }
    for (field, value) in [
        ("title", json!("")),
        ("body", json!("x".repeat(1001))),
        ("url", json!("https://elsewhere.example/")),
        ("image", json!("http://x.example/a.png")),
        ("severity", json!("loud")),
        ("to", json!(["role:king"])),
        ("ttl", json!("1s")),
    ] {
        let mut new = json!({ "title": "Hi" });
        new[field] = value;
        let problem = server.admin().post(PATH, &new).expect(400);
        assert_eq!(problem["errors"][0]["field"], field, "{problem}");
    }
    server.admin().get(&format!("{PATH}/nonsense")).expect(404);
}

#[test]
fn one_for_a_device_group_goes_where_its_alerts_go() {
    let emulator = PushEmulator::start();
    let server = emulator.server().start();
    let admin = server.admin();
    let (kim, lee) = (admin.create_user("kim", "viewer"), admin.create_user("lee", "viewer"));
    emulator.equip(&kim);
    emulator.equip(&lee);
    let mut wishes = lee.get("/api/v1/push/preferences").expect(200);
    wishes["groups"] = json!(["south"]);
    lee.put("/api/v1/push/preferences", &wishes).expect(200);
    let endpoints = kim.get("/api/v1/push/endpoints").expect(200);
    let first = endpoints["items"][0]["id"].as_str().expect("an id").to_owned();
    let own = json!({ "preferences": { "groups": ["south"] } });
    kim.patch(&format!("/api/v1/push/endpoints/{first}"), &own).expect(200);
    let new = json!({ "title": "North is being painted", "group": "north" });
    let made = admin.post(PATH, &new).expect(202);
    let done = state(admin, &id(&made), "done");
    assert_eq!((&done["progress"]["people"], &done["progress"]["delivered"]), (&json!(1), &json!(2)), "{done}");
    assert_eq!(emulator.arrived().len(), 2, "two of kim's three endpoints");
    let both = json!({ "title": "Hi", "group": "north", "to": ["everyone"] });
    assert_eq!(admin.post(PATH, &both).expect(400)["errors"][0]["field"], "group");
}
