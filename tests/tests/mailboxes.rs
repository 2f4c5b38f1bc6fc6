//! Mailboxes and webhooks as places where messages go: what is asked before anything is sent there, and what arrives.

use pulsewire_tests::device::{Device, now_us, report};
use pulsewire_tests::{Api, PushEmulator, Server, until};
use serde_json::{Value, json};

const ENDPOINTS: &str = "/api/v1/push/endpoints";

fn arrived(emulator: &PushEmulator, made: &Value) -> Vec<Value> {
    emulator.arrived().into_iter().filter(|message| message["target_id"] == made["id"]).collect()
}

/// The code of the newest mail.
fn code(emulator: &PushEmulator, mailbox: &Value) -> String {
    let mails = until("a code arrives", || Some(arrived(emulator, mailbox)).filter(|mails| !mails.is_empty()));
    let newest = mails.last().expect("one");
    assert_eq!(newest["kind"], "test", "{newest}");
    let title = newest["payload"]["title"].as_str().expect("a subject").to_owned();
    let code = title.strip_prefix("Your code: ").expect("a code").to_owned();
    assert!(code.len() == 6 && code.bytes().all(|b| b.is_ascii_digit()), "{title}");
    code
}

/// A device whose first sample fires an alarm.
fn alarm(server: &Server, name: &str) {
    let secret = server.admin().create_device(name);
    let rule = json!({ "id": name, "name": format!("{name} too warm"), "metric": "temp", "comparison": ">", "threshold": 10.0,
        "severity": "warning", "allow_unknown_metric": true, "scope": { "device": name },
        "notify": { "group_by": ["alert"], "wait": "0s", "interval": "1s" } });
    server.admin().post("/api/v1/rules", &rule).expect(201);
    let mut device = Device::login(server.device, name, &secret);
    let (stream, set) = device.prepare();
    device.send(&report(&set, stream, 1, &[(now_us(), 11.0)]));
    device.expect_ack(stream, 1);
}

fn done(user: &Api, filter: &str, count: usize) -> Vec<Value> {
    until("the messages are done", || {
        let all = user.get(&format!("/api/v1/push/messages?state=done&kind=firing{filter}")).expect(200);
        Some(all["items"].as_array().expect("items").clone()).filter(|found| found.len() == count)
    })
}

fn path(endpoint: &Value, rest: &str) -> String {
    format!("{ENDPOINTS}/{}{rest}", endpoint["id"].as_str().expect("an id"))
}

#[test]
fn nothing_but_a_code_is_sent_to_a_mailbox_until_it_is_confirmed() {
    let emulator = PushEmulator::start();
    let server = emulator.server().start();
    let kim = server.admin().create_user("kim", "operator");
    let mailbox = emulator.page().post("/api/mailboxes", &json!({ "label": "Kim" })).expect(201);
    let address = json!({ "kind": "email", "mailbox": mailbox["mailbox"], "label": "Kim's mailbox" });
    let endpoint = kim.post(ENDPOINTS, &address).expect(201);
    assert_eq!((&endpoint["state"], &endpoint["kind"]), (&json!("unconfirmed"), &json!("email")));
    let code = code(&emulator, &mailbox);
    // Whoever typed the address does not read the code here.
    let messages = kim.get("/api/v1/push/messages").text;
    assert!(messages.contains("Your code: ••••••") && !messages.contains(&code), "{messages}");
    alarm(&server, "one");
    assert_eq!(done(&kim, "", 1)[0]["reason"], "no_endpoint");
    kim.post(&path(&endpoint, "/test"), &json!({})).expect_problem(404, "not_found", "endpoint");
    kim.post(&path(&endpoint, "/confirm/resend"), &json!({})).expect_problem(429, "rate_limited", "minute");
    assert_eq!(kim.post(ENDPOINTS, &address).expect(200)["state"], "unconfirmed", "twice is once");
    let confirm = |code: &str| kim.post(&path(&endpoint, "/confirm"), &json!({ "code": code }));
    confirm("no code").expect_problem(422, "wrong_code", "code");
    let lee = server.admin().create_user("lee", "operator");
    lee.post(&path(&endpoint, "/confirm"), &json!({ "code": code })).expect_problem(404, "not_found", "endpoint");
    assert_eq!(confirm(&code).expect(200)["state"], "active");
    assert_eq!(confirm("anything").expect(200)["state"], "active");
    kim.post(&path(&endpoint, "/confirm/resend"), &json!({})).expect_problem(409, "no_code_wanted", "confirmed");
    alarm(&server, "two");
    done(&kim, "", 2);
    let mails = arrived(&emulator, &mailbox);
    assert_eq!(mails.iter().map(|mail| mail["kind"].as_str()).collect::<Vec<_>>(), [Some("test"), Some("firing")]);
    for check in mails.iter().flat_map(|mail| mail["checks"].as_array().expect("checks")) {
        assert_eq!(check["ok"], true, "{check}");
    }
}

#[test]
fn after_five_wrong_codes_not_even_the_right_one_is_good() {
    let emulator = PushEmulator::start();
    let server = emulator.server().start();
    let kim = server.admin().create_user("kim", "operator");
    let mailbox = emulator.page().post("/api/mailboxes", &json!({ "label": "Kim" })).expect(201);
    let endpoint = kim.post(ENDPOINTS, &json!({ "kind": "email", "mailbox": mailbox["mailbox"] })).expect(201);
    let code = code(&emulator, &mailbox);
    for _ in 0..5 {
        let confirm = kim.post(&path(&endpoint, "/confirm"), &json!({ "code": "1" }));
        confirm.expect_problem(422, "wrong_code", "code");
    }
    let confirm = kim.post(&path(&endpoint, "/confirm"), &json!({ "code": code }));
    let problem = confirm.expect_problem(422, "code_expired", "new one");
    assert_eq!(problem["errors"][0]["field"], "code");
    // Another person's mailbox of the same address is another endpoint.
    let lee = server.admin().create_user("lee", "operator");
    let other = lee.post(ENDPOINTS, &json!({ "kind": "email", "mailbox": mailbox["mailbox"] })).expect(201);
    assert_ne!(other["id"], endpoint["id"]);
}

#[test]
fn a_webhook_gets_signed_messages_and_a_secret_that_is_said_once() {
    let emulator = PushEmulator::start();
    let server = emulator.server().start();
    let kim = server.admin().create_user("kim", "operator");
    let config = kim.get("/api/v1/push/config").expect(200);
    assert_eq!((&config["email"]["available"], &config["webhook"]["available"]), (&json!(true), &json!(true)));
    let hook = emulator.page().post("/api/webhooks", &json!({ "label": "Ours" })).expect(201);
    let given = kim.post(ENDPOINTS, &json!({ "kind": "webhook", "url": hook["url"], "secret": hook["secret"] }));
    let given = given.expect(201);
    assert_eq!((&given["state"], &given["secret"]), (&json!("active"), &Value::Null));
    alarm(&server, "one");
    done(&kim, "", 1);
    let got = arrived(&emulator, &hook);
    assert_eq!(got.len(), 1);
    for check in got[0]["checks"].as_array().expect("checks") {
        assert_eq!(check["ok"], true, "{check}");
    }
    let other = emulator.page().post("/api/webhooks", &json!({ "label": "Other" })).expect(201);
    let made = kim.post(ENDPOINTS, &json!({ "kind": "webhook", "url": other["url"] })).expect(201);
    let secret = made["secret"].as_str().expect("a secret");
    assert!(secret.starts_with("whsec_") && secret.len() == 6 + 44, "{secret}");
    let listed = kim.get(ENDPOINTS).text;
    assert!(!listed.contains("whsec_") && !listed.contains("/hook/"), "{listed}");
    for (body, field, words) in [
        (json!({ "kind": "webhook", "url": other["url"], "secret": "short" }), "secret", "whsec_"),
        (json!({ "kind": "webhook" }), "url", "needs url"),
        (json!({ "kind": "email", "mailbox": "nobody" }), "mailbox", "name@example.org"),
        (json!({ "kind": "email", "mailbox": "a@b.example", "token": "x" }), "token", "has no token"),
        (json!({ "kind": "smoke" }), "kind", "webpush, apns, fcm, email, webhook"),
    ] {
        let problem = kim.post(ENDPOINTS, &body).expect_problem(422, "bad_endpoint", words);
        assert_eq!(problem["errors"][0]["field"], field, "{body}");
    }
}
