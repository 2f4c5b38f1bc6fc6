//! The edges of the HTTP API: wrong methods, bodies that are not to be read, parameters nobody knows, pages.
#![allow(clippy::unwrap_used)] // a helper's panic is this test's failure

use pulsewire::app::{App, StartOptions};
use pulsewire::config::{Config, Overrides};
use pulsewire_proto::frame::{Aggregate, Subscribe};
use pulsewire_proto::{CloseCode, MessageType, RawFrame};
use serde_json::{Value, json};
use std::net::TcpStream;
use std::time::Duration;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};
use ureq::http::{HeaderMap, Method, Request};

const PASSWORD: &str = "a password for tests";
const JSON: Option<&str> = Some("application/json");

struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {:?}", self.text))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Fails unless this is a problem with these; answers the fields it names.
    fn expect_problem(&self, status: u16, code: &str) -> Vec<String> {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["code"], code, "{problem}");
        let errors = problem["errors"].as_array().unwrap();
        errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect()
    }
}

/// A caller of a running server.
#[derive(Clone)]
struct Api {
    base: String,
    token: Option<String>,
}

impl Api {
    fn send(&self, method: &str, path: &str, content_type: Option<&str>, body: &str) -> Answer {
        let config = ureq::Agent::config_builder().http_status_as_error(false).build();
        let mut request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let agent = ureq::Agent::new_with_config(config);
        let sent = match body {
            "" => agent.run(request.body(()).unwrap()),
            body => agent.run(request.body(body).unwrap()),
        };
        let mut answer = sent.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let text = answer.body_mut().read_to_string().unwrap();
        Answer { status: answer.status().as_u16(), headers: answer.headers().clone(), text }
    }

    fn get(&self, path: &str) -> Answer {
        self.send("GET", path, None, "")
    }

    fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, JSON, &body.to_string())
    }

    fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send("PATCH", path, JSON, &body.to_string())
    }

    fn signed_out(&self) -> Self {
        Self { token: None, ..self.clone() }
    }

    fn signed_in(&self, user: &str, password: &str) -> Self {
        let answer = self.signed_out().post("/api/v1/session", &json!({"user": user, "password": password}));
        assert_eq!(answer.status, 200, "{}", answer.text);
        Self { token: answer.json()["token"].as_str().map(str::to_owned), ..self.clone() }
    }

    fn create_user(&self, name: &str, role: &str) -> Self {
        let password = format!("password of {name}");
        let made = self.post("/api/v1/users", &json!({"name": name, "password": password, "role": role}));
        assert_eq!(made.status, 201, "{}", made.text);
        self.signed_in(name, &password)
    }
}

/// Opens `/live` as this caller.
fn live(api: &Api) -> WebSocket<TcpStream> {
    let address = api.base.strip_prefix("http://").unwrap();
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut request = format!("ws://{address}/live").into_client_request().unwrap();
    let bearer = format!("Bearer {}", api.token.as_deref().unwrap());
    request.headers_mut().insert("authorization", bearer.parse().unwrap());
    tungstenite::client(request, stream).unwrap().0
}

/// A frame of a WebSocket message that goes on after it unless it is the last one.
fn part(bytes: &[u8], data: Data, last: bool) -> Message {
    Message::Frame(Frame::message(bytes.to_vec(), OpCode::Data(data), last))
}

/// Reads to the first frame of this type; panics at the end of the connection.
fn await_frame(socket: &mut WebSocket<TcpStream>, wanted: MessageType) {
    loop {
        let message = socket.read().unwrap();
        let Message::Binary(bytes) = message else { continue };
        let (frame, _) = RawFrame::split(&bytes, u32::MAX).unwrap().unwrap();
        if frame.message_type() == wanted as u8 {
            return;
        }
    }
}

/// Runs a server and lets an admin call it, off the async threads.
async fn with_server(settings: &[(&'static str, &str)], calls: impl FnOnce(Api) + Send + 'static) {
    let folder = tempfile::tempdir().unwrap();
    let mut flags = vec![
        ("data_dir", folder.path().to_str().unwrap().to_owned()),
        ("http.listen", "127.0.0.1:0".to_owned()),
        ("device.listen", "127.0.0.1:0".to_owned()),
    ];
    flags.extend(settings.iter().map(|(key, value)| (*key, (*value).to_owned())));
    let config = Config::read("", &Overrides { environment: Vec::new(), flags }).unwrap();
    let start = StartOptions { admin_password: Some(PASSWORD.into()), ..StartOptions::default() };
    let app = App::start(config, start).await.unwrap();
    let anyone = Api { base: format!("http://{}", app.http_address()), token: None };
    let called = tokio::task::spawn_blocking(move || calls(anyone.signed_in("admin", PASSWORD))).await;
    app.stop().await;
    called.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_is_replaced_only_if_what_was_asked_is_understood() {
    with_server(&[], |admin| {
        let secret = admin.post("/api/v1/devices", &json!({"id": "pump"})).json()["secret"].clone();
        let path = "/api/v1/devices/pump/secret";
        let revoke = r#"{"revoke_previous": true}"#;
        admin.send("POST", path, Some("text/plain"), revoke).expect_problem(415, "wrong_content_type");
        admin.send("POST", path, None, revoke).expect_problem(415, "wrong_content_type");
        admin.post(path, &json!({"revoke_previous": "true"})).expect_problem(400, "invalid_field");
        assert_eq!(admin.post(path, &json!({"revoke": true})).expect_problem(400, "unknown_field"), ["revoke"]);
        admin.send("POST", path, JSON, "{").expect_problem(400, "malformed_json");
        // Nothing was asked: the old secret works on for a while.
        for answer in [admin.send("POST", path, None, ""), admin.post(path, &json!({}))] {
            assert_eq!(answer.status, 200, "{}", answer.text);
            assert_ne!(answer.json()["secret"], secret);
            assert!(answer.json()["previous_valid_until"].is_string(), "{}", answer.text);
        }
        let answer = admin.send("POST", path, JSON, revoke);
        assert_eq!(answer.json()["previous_valid_until"], Value::Null, "{}", answer.text);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_and_reads_answer_head_as_they_answer_get() {
    with_server(&[], |admin| {
        for path in ["/healthz", "/readyz", "/metrics", "/", "/api/v1/overview", "/api/v1/devices?limit=1"] {
            let (get, head) = (admin.get(path), admin.send("HEAD", path, None, ""));
            assert_eq!((head.status, head.text.as_str()), (200, ""), "{path}");
            assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
        }
        let head = admin.signed_out().send("HEAD", "/api/v1/overview", None, "");
        assert_eq!(head.status, 401);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_method_that_a_path_does_not_take_is_405_with_those_it_takes() {
    with_server(&[], |admin| {
        for (method, path, allow) in [
            ("PUT", "/api/v1/devices/pump", "GET, HEAD, PATCH, DELETE"),
            ("DELETE", "/api/v1/devices", "GET, HEAD, POST"),
            ("GET", "/api/v1/session/link", "POST"),
            ("HEAD", "/api/v1/devices/pump/secret", "POST"),
            ("POST", "/api/v1/history", "GET, HEAD"),
            ("POST", "/readyz", "GET, HEAD"),
            ("HEAD", "/live", "GET"),
            ("POST", "/some/page", "GET, HEAD"),
        ] {
            let answer = admin.send(method, path, None, "");
            assert_eq!((answer.status, answer.header("allow")), (405, allow), "{method} {path}");
            if method != "HEAD" {
                answer.expect_problem(405, "method_not_allowed");
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_index_page_answers_pages_and_no_service_path() {
    with_server(&[], |admin| {
        assert_eq!(admin.get("/devices/pump").header("content-type"), admin.get("/").header("content-type"));
        for path in ["/readyz/", "/healthz/x", "/metrics/", "/live/", "/api", "/api/v2/devices", "/assets/none.js"] {
            for method in ["GET", "HEAD", "POST"] {
                let answer = admin.send(method, path, None, "");
                assert_eq!(answer.status, 404, "{method} {path}");
            }
            admin.get(path).expect_problem(404, "no_such_route");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_and_their_role_come_before_what_they_send() {
    with_server(&[], |admin| {
        let viewer = admin.create_user("vera", "viewer");
        admin.post("/api/v1/devices", &json!({"id": "pump"}));
        for (method, path) in [
            ("POST", "/api/v1/users"),
            ("PATCH", "/api/v1/users/admin"),
            ("POST", "/api/v1/devices"),
            ("PATCH", "/api/v1/devices/pump"),
            ("POST", "/api/v1/devices/pump/secret"),
        ] {
            for (content_type, body) in [(JSON, "{"), (Some("text/plain"), "x"), (JSON, r#"{"colour": 1}"#)] {
                admin.signed_out().send(method, path, content_type, body).expect_problem(401, "signed_out");
                viewer.send(method, path, content_type, body).expect_problem(403, "forbidden");
            }
        }
        admin.signed_out().get("/api/v1/devices?colour=red").expect_problem(401, "signed_out");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parameter_that_a_route_does_not_know_is_refused_on_every_route() {
    with_server(&[], |admin| {
        admin.post("/api/v1/devices", &json!({"id": "pump"}));
        for (method, path) in [
            ("GET", "/api/v1/session"),
            ("DELETE", "/api/v1/session"),
            ("POST", "/api/v1/session"),
            ("POST", "/api/v1/session/link"),
            ("GET", "/api/v1/users"),
            ("POST", "/api/v1/users"),
            ("PATCH", "/api/v1/users/admin"),
            ("DELETE", "/api/v1/users/admin"),
            ("GET", "/api/v1/devices"),
            ("POST", "/api/v1/devices"),
            ("GET", "/api/v1/devices/pump"),
            ("PATCH", "/api/v1/devices/pump"),
            ("DELETE", "/api/v1/devices/pump"),
            ("POST", "/api/v1/devices/pump/secret"),
            ("POST", "/api/v1/devices/pump/token"),
            ("GET", "/api/v1/devices/pump/latest"),
            ("GET", "/api/v1/overview"),
            ("GET", "/api/v1/openapi.json"),
        ] {
            let answer = admin.send(method, &format!("{path}?colour=red"), None, "");
            assert_eq!(answer.expect_problem(400, "unknown_field"), ["colour"], "{method} {path}");
        }
        let fields = admin.get("/api/v1/history?device=pump").expect_problem(400, "missing_field");
        assert_eq!(fields, ["metric"]);
        assert_eq!(admin.get("/api/v1/devices/pump").status, 200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_are_listed_in_pages() {
    with_server(&[], |admin| {
        for name in ["bea", "ada", "zoe"] {
            admin.create_user(name, "viewer");
        }
        let mut path = "/api/v1/users?limit=2".to_owned();
        let mut pages = Vec::new();
        loop {
            let page = admin.get(&path).json();
            let items = page["items"].as_array().unwrap();
            pages.push(items.iter().map(|user| user["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>());
            match page["next"].as_str() {
                Some(next) => path = format!("/api/v1/users?limit=2&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(pages, [["ada", "admin"], ["bea", "zoe"]]);
        assert_eq!(admin.get("/api/v1/users?limit=0").expect_problem(400, "invalid_field"), ["limit"]);
        assert_eq!(admin.get("/api/v1/users?cursor=%00").expect_problem(400, "invalid_field"), ["cursor"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_nothing_changes_nothing_and_ends_no_sign_in() {
    with_server(&[], |admin| {
        let viewer = admin.create_user("vera", "viewer");
        let again = viewer.signed_in("vera", "password of vera");
        for (caller, path) in [(&admin, "/api/v1/users/vera"), (&viewer, "/api/v1/users/vera")] {
            let answer = caller.patch(path, &json!({}));
            assert_eq!((answer.status, answer.json()["name"].as_str()), (200, Some("vera")), "{}", answer.text);
        }
        for caller in [&viewer, &again] {
            assert_eq!(caller.get("/api/v1/session").status, 200);
        }
        admin.patch("/api/v1/users/nobody", &json!({})).expect_problem(404, "not_found");
        let made = admin.post("/api/v1/devices", &json!({"id": "pump", "group": "pumps"})).json();
        assert_eq!(admin.patch("/api/v1/devices/pump", &json!({})).json(), made["device"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_password_ends_the_other_sign_ins_at_once() {
    with_server(&[], |admin| {
        let (viewer, other) = (admin.create_user("vera", "viewer"), admin.signed_in("vera", "password of vera"));
        assert_eq!(viewer.patch("/api/v1/users/vera", &json!({"password": "a better password"})).status, 200);
        assert_eq!(viewer.get("/api/v1/session").status, 200);
        assert_eq!(other.get("/api/v1/session").status, 401);
        // For another the admin ends them all.
        assert_eq!(admin.patch("/api/v1/users/vera", &json!({"role": "operator"})).status, 200);
        assert_eq!(viewer.get("/api/v1/session").status, 401);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_passwords_count_with_the_sign_ins() {
    // The admin's sign-in is the first of the two.
    with_server(&[("http.sign_ins_per_minute", "2")], |admin| {
        let change = json!({"password": "a better password"});
        // Who may not, or changes nothing that takes a hash, is not counted.
        assert_eq!(admin.patch("/api/v1/users/admin", &json!({"role": "admin"})).status, 200);
        admin.patch("/api/v1/users/nobody", &change).expect_problem(404, "not_found");
        assert_eq!(admin.patch("/api/v1/users/admin", &change).status, 200);
        let answer = admin.patch("/api/v1/users/admin", &change);
        answer.expect_problem(429, "rate_limited");
        assert!(answer.header("retry-after").parse::<u32>().unwrap() > 0);
        admin
            .signed_out()
            .post("/api/v1/session", &json!({"user": "a", "password": "b"}))
            .expect_problem(429, "rate_limited");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewers_message_may_be_split_and_a_ping_may_stand_between_its_parts() {
    with_server(&[], |admin| {
        let mut socket = live(&admin);
        let everything =
            Subscribe { subscription: 7, interval_ms: 50, aggregate: Aggregate::Every, ..Subscribe::default() };
        let mut bytes = Vec::new();
        pulsewire_proto::Message::Subscribe(everything).encode(&mut bytes);
        let (head, rest) = bytes.split_at(3);
        let (middle, tail) = rest.split_at(9);
        socket.send(part(head, Data::Binary, false)).unwrap();
        socket.send(Message::Ping("between".into())).unwrap();
        socket.send(part(middle, Data::Continue, false)).unwrap();
        socket.send(part(&[], Data::Continue, false)).unwrap();
        socket.send(part(tail, Data::Continue, true)).unwrap();
        await_frame(&mut socket, MessageType::SnapshotEnd);
        // The next one begins anew; its number is taken.
        socket.send(Message::binary(bytes)).unwrap();
        await_frame(&mut socket, MessageType::Refused);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_split_message_is_bounded_like_any_other() {
    with_server(&[], |admin| {
        let mut socket = live(&admin);
        let half = vec![0; 40 * 1024];
        socket.send(part(&half, Data::Binary, false)).unwrap();
        socket.send(part(&half, Data::Continue, false)).unwrap();
        let close = loop {
            if let Message::Close(Some(close)) = socket.read().unwrap() {
                break close;
            }
        };
        assert_eq!(u16::from(close.code), CloseCode::FrameTooLarge.as_u16(), "{}", close.reason);
    })
    .await;
}
