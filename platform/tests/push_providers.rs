//! The outbox and its channels against providers that behave, and that do not: real TLS, real HTTP/2, a real store.

mod world;

use pulsewire::ports::{Clock, Delivery, Endpoint, PushAddress};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::Write;
use std::process::{Command, Stdio};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use world::{KINDS, PUSH, Wall, World, kim};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_channel_delivers_and_every_check_of_the_provider_passes() {
    let world = World::start().await;
    for kind in KINDS {
        let endpoint = world.endpoint(kind).await;
        let sent = world.settled(world.send(&endpoint).await).await;
        assert_eq!((sent.state.as_str(), sent.attempts), ("delivered", 1), "{kind}: {sent:?}");
        assert_eq!(sent.provider_id.is_some(), PUSH.contains(&kind), "{kind}");
        let seen = world.outbox.endpoints().endpoint(endpoint.id).await.expect("read").expect("there");
        assert!(seen.last_delivered_us.is_some());
    }
    let arrived = world.arrived().await;
    assert_eq!(arrived.len(), KINDS.len());
    for message in arrived {
        let wrong: Vec<_> =
            message["checks"].as_array().expect("checks").iter().filter(|check| check["ok"] != true).collect();
        assert!(wrong.is_empty(), "{}: {wrong:?}", message["provider"]);
        let over = if message["provider"] == "email" { "SMTP" } else { "HTTP/2.0" };
        assert_eq!((message["http"].as_str(), message["kind"].as_str()), (Some(over), Some("test")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_answer_is_tried_again_under_the_same_id_and_removes_nothing() {
    let world = World::start().await;
    for kind in KINDS {
        let endpoint = world.endpoint(kind).await;
        for fault in [
            json!({ "provider": kind, "kind": "reset", "count": 1 }),
            json!({ "provider": kind, "kind": "nonsense", "status": 500, "count": 1 }),
            json!({ "provider": kind, "kind": "huge", "status": 500, "count": 1 }),
            json!({ "provider": kind, "kind": "status", "status": if kind == "email" { 450 } else { 302 }, "count": 1 }),
            json!({ "provider": kind, "kind": "delay", "delay_ms": 4000, "count": 1 }),
            json!({ "provider": kind, "kind": "stall" }),
            json!({ "provider": kind, "kind": "status", "status": if kind == "email" { 451 } else { 503 }, "count": 1,
                "body": "" }),
        ] {
            world.page("DELETE", "/api/messages", None).await;
            world.fault(fault.clone()).await;
            let sent = world.settled(world.send(&endpoint).await).await;
            assert_eq!(sent.state, "delivered", "{kind} {fault}: {sent:?}");
            assert!(sent.attempts >= 2 && !sent.timeline[0].text.is_empty(), "{kind} {fault}: {sent:?}");
            let arrived = world.arrived().await;
            // A mail server that refuses the mailbox sees no mail.
            let ids = arrived.iter().filter(|message| message["id"] != "").map(|message| message["id"].clone());
            let ids: Vec<_> = ids.collect();
            assert!(
                ids.len() >= if kind == "email" { 1 } else { 2 } && ids.iter().all(|id| *id == ids[0]),
                "{kind} {fault}: {ids:?}"
            );
        }
        assert_eq!(world.removed(&endpoint).await, None, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_providers_word_removes_an_endpoint_and_only_that_one() {
    let world = World::start().await;
    for kind in KINDS {
        let (lost, kept) = (world.endpoint(kind).await, world.endpoint(kind).await);
        if kind == "email" {
            // Before anything was delivered, a refused mailbox could as well be the mistake of this server.
            assert_eq!(world.settled(world.send(&lost).await).await.state, "delivered");
        }
        let targets = world.page("GET", "/api/state", None).await;
        let targets = targets["targets"].as_array().expect("targets");
        let id = targets[targets.len() - 2]["id"].as_str().expect("an id").to_owned();
        world.page("DELETE", &format!("/api/apps/{id}"), None).await;
        let sent = world.settled(world.send(&lost).await).await;
        assert_eq!(sent.state, "dropped", "{kind}: {sent:?}");
        assert!(world.removed(&lost).await.expect("removed").contains(if kind == "email" {
            "answered 550 5.1.1"
        } else {
            "answered 4"
        }));
        assert_eq!(world.settled(world.send(&kept).await).await.state, "delivered");
        assert_eq!(world.removed(&kept).await, None);
        assert!(world.outbox.test(lost.id, 1).await.is_err(), "nothing is sent to what is gone");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_registered_again_after_the_time_of_the_refusal_stays() {
    let world = World::start().await;
    let endpoint = world.endpoint("apns").await;
    let refuse = |since_ms: i64| {
        let body = json!({ "reason": "Unregistered", "timestamp": since_ms }).to_string();
        json!({ "provider": "apns", "kind": "status", "status": 410, "body": body, "count": 1 })
    };
    world.fault(refuse(Wall.now_us() / 1000 - 60_000)).await;
    assert_eq!(world.settled(world.send(&endpoint).await).await.state, "dropped");
    assert_eq!(world.removed(&endpoint).await, None);
    world.fault(refuse(Wall.now_us() / 1000 + 1)).await;
    assert_eq!(world.settled(world.send(&endpoint).await).await.state, "dropped");
    assert!(world.removed(&endpoint).await.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retry_after_is_honoured_in_seconds_and_as_a_date() {
    let world = World::start().await;
    let date = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(90);
    let date = date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    for (after, least_s) in [("40", 40), (date.as_str(), 80)] {
        for kind in KINDS.into_iter().filter(|kind| *kind != "email") {
            let endpoint = world.endpoint(kind).await;
            let fault = json!({ "provider": kind, "kind": "status", "status": 429, "retry_after": after, "count": 1,
                "body": r#"{"reason":"TooManyRequests","error":{"status":"RESOURCE_EXHAUSTED","message":"m"}}"# });
            world.fault(fault).await;
            // On a busy machine an attempt may time out before the one that is refused.
            let refused = |delivery: &Delivery| {
                let last = delivery.timeline.last().filter(|event| event.status == Some(429));
                last.filter(|_| delivery.state == "queued").map(|event| event.time_us)
            };
            let tried = world.until(world.send(&endpoint).await, |delivery| refused(delivery).is_some()).await;
            let wait_us = tried.next_us.expect("queued") - refused(&tried).expect("refused");
            assert!(wait_us >= least_s * 1_000_000, "{kind} {after}: {wait_us} µs");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_announce_their_end_lose_nothing() {
    let world = World::start().await;
    for kind in KINDS {
        world.page("DELETE", "/api/messages", None).await;
        world.fault(json!({ "provider": kind, "kind": "goaway", "delay_ms": 5, "count": 5 })).await;
        let mut sent = Vec::new();
        for _ in 0..60 {
            let endpoint = world.endpoint(kind).await;
            sent.push(world.send(&endpoint).await);
        }
        for id in sent {
            assert_eq!(world.settled(id).await.state, "delivered", "{kind}");
        }
        let mut by_target: HashMap<String, Vec<Value>> = HashMap::new();
        // A mail server that closes at the mailbox sees no mail.
        for message in world.arrived().await.into_iter().filter(|message| message["id"] != "") {
            by_target.entry(message["target_id"].to_string()).or_default().push(message["id"].clone());
        }
        assert_eq!(by_target.len(), 60, "{kind}");
        assert!(by_target.values().all(|ids| ids.iter().all(|id| *id == ids[0])), "{kind}: a repeat has the same id");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_messages_share_one_access_token_and_a_refused_one_is_replaced() {
    let world = World::start().await;
    let mut sent = Vec::new();
    for _ in 0..40 {
        let endpoint = world.endpoint("fcm").await;
        sent.push(world.send(&endpoint).await);
    }
    for id in sent {
        assert_eq!(world.settled(id).await.state, "delivered");
    }
    let asked = |state: Value| state["token_requests"].as_u64().expect("a number");
    assert_eq!(asked(world.page("GET", "/api/state", None).await), 1);
    world.fault(json!({ "provider": "fcm", "kind": "status", "status": 401, "body": "{}", "count": 1 })).await;
    let endpoint = world.endpoint("fcm").await;
    assert_eq!(world.settled(world.send(&endpoint).await).await.state, "delivered");
    assert_eq!(asked(world.page("GET", "/api/state", None).await), 2);
}

/// Runs a Python program with this input; None if there is no Python.
fn python(program: &str, input: &Value) -> Option<String> {
    let mut command = Command::new("python3");
    command.args(["-c", program]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().ok()?;
    child.stdin.take().expect("piped").write_all(input.to_string().as_bytes()).expect("written");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{output:?}");
    Some(String::from_utf8(output.stdout).expect("text"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_check_of_a_webhook_takes_what_is_sent_and_refuses_what_was_changed() {
    let documented = include_str!("../../docs/push.md");
    let example = documented.split("```python\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let world = World::start().await;
    let made = world.emulator.hook("Hook").expect("room");
    let address = PushAddress::Webhook { url: made.url, secret: made.secret.clone() };
    let endpoint = world.register(address).await;
    assert_eq!(world.settled(world.send(&endpoint).await).await.state, "delivered");
    let arrived = world.arrived().await;
    let (raw, headers) = (&arrived[0]["raw"], &arrived[0]["headers"]);
    let program = format!(
        "{example}\nimport sys\nask = json.load(sys.stdin)\nheaders = dict(ask['headers'])\n\
         body = base64.b64decode(ask['raw'])\nfound = verified(ask['secret'], headers, body)\n\
         late = dict(headers, **{{'webhook-timestamp': '1'}})\n\
         print(found['type'], verified(ask['secret'], headers, body + b' '), verified(ask['secret'], late, body),\n\
         verified('whsec_' + 'A' * 44, headers, body))"
    );
    let said = python(&program, &json!({ "secret": made.secret, "headers": headers, "raw": raw }));
    match said {
        Some(said) => assert_eq!(said.trim(), "test None None None"),
        None => eprintln!("skipped: there is no python3"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_button_on_the_emulators_page_gives_the_messages_token_back() {
    let world = World::start().await;
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    world.emulator.set_server(&format!("http://{}/", server.local_addr().expect("bound")));
    let asked = tokio::spawn(async move {
        let mut bodies = Vec::new();
        for _ in PUSH {
            let (mut stream, _) = server.accept().await.expect("a connection");
            let (mut text, mut piece) = (String::new(), [0; 4096]);
            while !text.ends_with('}') {
                let read = stream.read(&mut piece).await.expect("read");
                text.push_str(std::str::from_utf8(&piece[..read]).expect("text"));
            }
            assert!(text.starts_with("POST /api/v1/push/actions HTTP/1.1"), "{text}");
            let answer =
                "HTTP/1.1 409 Conflict\r\ncontent-length: 20\r\nconnection: close\r\n\r\n{\"detail\":\"is over\"}";
            stream.write_all(answer.as_bytes()).await.expect("written");
            bodies.push(serde_json::from_str::<Value>(&text[text.find('{').expect("a body")..]).expect("JSON"));
        }
        bodies
    });
    for kind in PUSH {
        let endpoint = world.endpoint(kind).await;
        assert_eq!(world.settled(world.send(&endpoint).await).await.state, "delivered");
    }
    let mut tokens = Vec::new();
    for message in world.arrived().await {
        let payload = &message["payload"];
        let data = if payload["data"].is_object() { &payload["data"] } else { payload };
        tokens.push(json!({ "token": data["token"], "action": "shown" }));
        let act = json!({ "seq": message["seq"], "action": "shown" });
        let said = world.page("POST", "/api/actions", Some(act)).await;
        assert_eq!(said, json!({ "status": 409, "answer": { "detail": "is over" } }));
    }
    assert_eq!(asked.await.expect("asked"), tokens);
    assert!(tokens.iter().all(|body| body["token"].as_str().is_some_and(|token| token.len() == 75)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_stalls_does_not_delay_the_others() {
    let world = World::start().await;
    world.fault(json!({ "provider": "apns", "kind": "delay", "delay_ms": 60_000, "count": 1000 })).await;
    for _ in 0..40 {
        let endpoint = world.endpoint("apns").await;
        world.send(&endpoint).await;
    }
    let browser = world.endpoint("webpush").await;
    let sent = world.settled(world.send(&browser).await).await;
    assert_eq!(sent.state, "delivered");
    let took_us = sent.timeline[0].time_us - world.message_created(&browser).await;
    assert!(took_us < 1_500_000, "{took_us} µs, while the stalled provider takes 2 s until it is given up");
}

impl World {
    async fn message_created(&self, endpoint: &Endpoint) -> i64 {
        let query = pulsewire::ports::MessageQuery { user: Some(kim()), limit: 500, ..Default::default() };
        let all = self.outbox.messages().messages(query).await.expect("read");
        let found = all.iter().find(|(_, message)| message.deliveries.iter().any(|d| d.endpoint == endpoint.id));
        found.expect("there").1.created_us
    }
}
