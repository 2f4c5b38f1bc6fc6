//! A client of the HTTP API.

use crate::wait::DEADLINE;
use serde_json::{Value, json};
use std::time::Duration;
use ureq::Agent;
use ureq::http::{HeaderMap, Method, Request};

/// An answer of any status.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// The body as text.
    pub text: String,
}

impl Answer {
    /// The body as JSON; null if it is empty.
    pub fn json(&self) -> Value {
        if self.text.is_empty() {
            return Value::Null;
        }
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e} in {:?}", self.text))
    }

    /// A header as text; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Fails unless the status is this; answers the JSON.
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.json()
    }

    /// Fails unless this is a problem document with these; `fragment` is part of its detail.
    pub fn expect_problem(&self, status: u16, code: &str, fragment: &str) -> Value {
        let problem = self.expect(status);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(problem["status"], status, "{problem}");
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["type"], "about:blank", "{problem}");
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(fragment), "{detail:?} does not say {fragment:?}");
        problem
    }
}

/// A client with or without a sign-in.
#[derive(Debug, Clone)]
pub struct Api {
    base: String,
    headers: Vec<(String, String)>,
    agent: Agent,
}

impl Api {
    /// Not signed in.
    pub fn new(base: &str) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(DEADLINE))
            // A server that was restarted has closed what an earlier request left open.
            .max_idle_connections(0)
            .max_idle_age(Duration::ZERO)
            .build();
        Self { base: base.to_owned(), headers: Vec::new(), agent: config.into() }
    }

    /// The same with one more header on every request.
    pub fn with_header(&self, name: &str, value: &str) -> Self {
        let mut api = self.clone();
        api.headers.retain(|(known, _)| known != name);
        api.headers.push((name.to_owned(), value.to_owned()));
        api
    }

    /// Signs in and uses the bearer token.
    pub fn signed_in(&self, user: &str, password: &str) -> Self {
        let answer = self.post("/api/v1/session", &json!({"user": user, "password": password})).expect(200);
        let token = answer["token"].as_str().expect("a token");
        self.with_header("authorization", &format!("Bearer {token}"))
    }

    /// The bearer token.
    pub fn token(&self) -> &str {
        let header = self.headers.iter().find(|(name, _)| name == "authorization");
        header.and_then(|(_, value)| value.strip_prefix("Bearer ")).expect("signed in")
    }

    /// Sends a request with a body of any type.
    pub fn send(&self, method: &str, path: &str, content_type: Option<&str>, body: &[u8]) -> Answer {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let mut answer = if content_type.is_none() && body.is_empty() {
            self.agent.run(request.body(()).expect("a request"))
        } else {
            self.agent.run(request.body(body).expect("a request"))
        }
        .unwrap_or_else(|error| panic!("{path}: {error}"));
        let text = answer.body_mut().with_config().limit(64 << 20).read_to_string().expect("a body of text");
        Answer { status: answer.status().as_u16(), headers: answer.headers().clone(), text }
    }

    /// GET.
    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, None, b"")
    }

    /// DELETE.
    pub fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, None, b"")
    }

    /// POST of JSON.
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, Some("application/json"), body.to_string().as_bytes())
    }

    /// PATCH of JSON.
    pub fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send("PATCH", path, Some("application/json"), body.to_string().as_bytes())
    }

    /// PUT of JSON.
    pub fn put(&self, path: &str, body: &Value) -> Answer {
        self.send("PUT", path, Some("application/json"), body.to_string().as_bytes())
    }

    /// Makes a device; answers its secret.
    pub fn create_device(&self, id: &str) -> [u8; 32] {
        let made = self.post("/api/v1/devices", &json!({"id": id})).expect(201);
        secret(&made["secret"])
    }

    /// Makes a user and answers a client signed in as them.
    pub fn create_user(&self, name: &str, role: &str) -> Self {
        let password = format!("password of {name}");
        let user = json!({"name": name, "password": password, "role": role});
        self.post("/api/v1/users", &user).expect(201);
        let signed_out = Self { headers: Vec::new(), ..self.clone() };
        signed_out.signed_in(name, &password)
    }

    /// A device as the API shows it.
    pub fn device(&self, id: &str) -> Value {
        self.get(&format!("/api/v1/devices/{id}")).expect(200)
    }

    /// Every sample of a series with its time in µs, over all pages. A series that does not exist has none.
    pub fn history(&self, device: &str, metric: &str) -> Vec<(i64, Value)> {
        let base = format!("/api/v1/history?device={}&metric={}&limit=10000", encode(device), encode(metric));
        let (mut path, mut samples) = (base.clone(), Vec::new());
        loop {
            let answer = self.get(&path);
            if answer.status == 404 {
                return samples;
            }
            let page = answer.expect(200);
            let items = page["items"].as_array().expect("items");
            samples.extend(items.iter().map(|item| (time_us(&item["time"]), item["value"].clone())));
            match page["next"].as_str() {
                Some(next) => path = format!("{base}&cursor={}", encode(next)),
                None => return samples,
            }
        }
    }
}

/// A device's secret as the API shows it.
pub fn secret(value: &Value) -> [u8; 32] {
    let text = value.as_str().expect("a secret");
    let byte = |i: usize| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).expect("hex digits");
    assert_eq!(text.len(), 64);
    std::array::from_fn(byte)
}

/// RFC 3339 to µs.
pub fn time_us(value: &Value) -> i64 {
    let text = value.as_str().expect("a time");
    text.parse::<jiff::Timestamp>().expect("RFC 3339").as_microsecond()
}

/// RFC 3339 from µs.
pub fn time_text(time_us: i64) -> String {
    jiff::Timestamp::from_microsecond(time_us).expect("in range").to_string()
}

/// Percent-encodes a query value.
pub fn encode(text: &str) -> String {
    let byte = |b: u8| match b {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(b).to_string(),
        _ => format!("%{b:02X}"),
    };
    text.bytes().map(byte).collect()
}
