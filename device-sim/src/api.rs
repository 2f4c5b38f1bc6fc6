//! The part of the HTTP API that a device operator's tools need. Blocking: call it where blocking is allowed.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{SimError, secrets::parse_secret};

const REQUEST_LIMIT: Duration = Duration::from_secs(30);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Devices per page of a list.
const PAGE: usize = 500;

/// How to sign in.
#[derive(Clone)]
pub struct ApiOptions {
    /// Base address, such as `http://127.0.0.1:8080`.
    pub url: String,
    /// User name.
    pub user: String,
    /// Password; `Debug` hides it.
    pub password: String,
}

/// A signed-in client. No proxy is used: the server is reached directly.
#[derive(Clone)]
pub struct ApiClient {
    agent: ureq::Agent,
    url: String,
    token: String,
}

/// What a device is created with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DeviceSpec {
    /// Device id, SPEC §3.1.
    pub id: String,
    /// Shown to people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Free labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// What the server counts per device; see `docs/http-api.md`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Accounting {
    pub reports: u64,
    pub duplicate: u64,
    pub skipped: u64,
    pub received: u64,
    pub stored: u64,
    pub rejected: u64,
    pub replaced: u64,
    #[serde(default)]
    pub dropped: u64,
}

impl Accounting {
    fn add(&mut self, other: &Accounting) {
        self.reports += other.reports;
        self.duplicate += other.duplicate;
        self.skipped += other.skipped;
        self.received += other.received;
        self.stored += other.stored;
        self.rejected += other.rejected;
        self.replaced += other.replaced;
        self.dropped += other.dropped;
    }
}

#[derive(Deserialize)]
struct Device {
    id: String,
    created: String,
    accounting: Accounting,
}

#[derive(Deserialize)]
struct Page {
    items: Vec<Device>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Session {
    token: String,
}

#[derive(Deserialize)]
struct WithSecret {
    secret: String,
}

#[derive(Deserialize, Default)]
struct Problem {
    #[serde(default)]
    code: String,
    #[serde(default)]
    detail: String,
}

/// A call that did not succeed, before it is put into words.
struct Refusal {
    status: u16,
    problem: Problem,
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .proxy(None)
        .http_status_as_error(false)
        .timeout_connect(Some(CONNECT_LIMIT))
        .timeout_global(Some(REQUEST_LIMIT))
        .build()
        .new_agent()
}

impl ApiClient {
    /// Signs in.
    pub fn sign_in(options: &ApiOptions) -> Result<ApiClient, SimError> {
        let mut client = ApiClient::open(&options.url);
        let body = serde_json::json!({ "user": options.user, "password": options.password });
        match client.call::<Session>("POST", "/api/v1/session", Some(&body))? {
            Ok(session) => {
                client.token = session.token;
                Ok(client)
            }
            Err(Refusal { status: 401 | 403, problem }) => {
                Err(SimError::SignIn { url: client.url, user: options.user.clone(), detail: problem.detail })
            }
            Err(refusal) => Err(refusal.error("POST /api/v1/session")),
        }
    }

    /// Ends the sign-in.
    pub fn sign_out(&self) -> Result<(), SimError> {
        self.delete("/api/v1/session")
    }

    /// A client of something that asks for no sign-in.
    pub fn open(url: &str) -> ApiClient {
        ApiClient { agent: agent(), url: url.trim_end_matches('/').to_owned(), token: String::new() }
    }

    /// Reads anything.
    pub fn get(&self, path: &str) -> Result<serde_json::Value, SimError> {
        self.call("GET", path, None)?.map_err(|refusal| refusal.error(&format!("GET {path}")))
    }

    /// Reads a page that is not JSON.
    pub fn text(&self, path: &str) -> Result<String, SimError> {
        let response = self.agent.get(&format!("{}{path}", self.url)).header("authorization", &self.bearer()).call();
        let unreachable =
            |error: ureq::Error| SimError::ApiUnreachable { url: self.url.clone(), reason: reason(&error) };
        let mut response = response.map_err(unreachable)?;
        let status = response.status().as_u16();
        if !response.status().is_success() {
            let problem = response.body_mut().read_json().unwrap_or_default();
            return Err(Refusal { status, problem }.error(&format!("GET {path}")));
        }
        response.body_mut().read_to_string().map_err(unreachable)
    }

    /// Sends anything.
    pub fn post(&self, path: &str, body: &serde_json::Value) -> Result<serde_json::Value, SimError> {
        self.call("POST", path, Some(body))?.map_err(|refusal| refusal.error(&format!("POST {path}")))
    }

    /// Replaces anything.
    pub fn put(&self, path: &str, body: &serde_json::Value) -> Result<serde_json::Value, SimError> {
        self.call("PUT", path, Some(body))?.map_err(|refusal| refusal.error(&format!("PUT {path}")))
    }

    /// Changes anything by a merge patch.
    pub fn patch(&self, path: &str, body: &serde_json::Value) -> Result<serde_json::Value, SimError> {
        self.call("PATCH", path, Some(body))?.map_err(|refusal| refusal.error(&format!("PATCH {path}")))
    }

    /// Deletes anything.
    pub fn delete(&self, path: &str) -> Result<(), SimError> {
        let response = self.agent.delete(&format!("{}{path}", self.url)).header("authorization", &self.bearer()).call();
        self.no_content("DELETE", path, response)
    }

    /// Sends a file to be imported, as a stream; answers what the server says of it. Takes as long as the server does.
    pub fn import(
        &self,
        device: Option<&str>,
        content_type: &str,
        file: &mut dyn std::io::Read,
    ) -> Result<serde_json::Value, SimError> {
        let path = match device {
            Some(device) => format!("/api/v1/import?device={}", path_segment(device)),
            None => "/api/v1/import".to_owned(),
        };
        let request = self.agent.post(format!("{}{path}", self.url)).config().timeout_global(None).build();
        let request = request.header("authorization", format!("Bearer {}", self.token));
        let sent = request.header("content-type", content_type).send(ureq::SendBody::from_reader(file));
        self.answer("POST", &path, sent)?.map_err(|refusal| refusal.error(&format!("POST {path}")))
    }

    /// A device's accounting; `None` if there is no such device.
    pub fn accounting(&self, device: &str) -> Result<Option<Accounting>, SimError> {
        Ok(self.device(device)?.map(|device| device.accounting))
    }

    /// When a device was created, as the server says it: tells one from another that has its id, on whatever server.
    pub fn created(&self, device: &str) -> Result<Option<String>, SimError> {
        Ok(self.device(device)?.map(|device| device.created))
    }

    fn device(&self, device: &str) -> Result<Option<Device>, SimError> {
        let path = format!("/api/v1/devices/{}", path_segment(device));
        match self.call::<Device>("GET", &path, None)? {
            Ok(device) => Ok(Some(device)),
            Err(Refusal { status: 404, .. }) => Ok(None),
            Err(refusal) => Err(refusal.error(&format!("GET {path}"))),
        }
    }

    /// The ids of all devices whose id or name contains `part`.
    pub fn device_ids(&self, part: &str) -> Result<Vec<String>, SimError> {
        Ok(self.devices(part)?.into_iter().map(|device| device.id).collect())
    }

    /// The accounting of all devices whose id or name contains `part`.
    pub fn accounting_of_all(&self, part: &str) -> Result<Accounting, SimError> {
        let mut sum = Accounting::default();
        self.devices(part)?.iter().for_each(|device| sum.add(&device.accounting));
        Ok(sum)
    }

    /// The bearer token of this sign-in.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    fn devices(&self, part: &str) -> Result<Vec<Device>, SimError> {
        let mut devices = Vec::new();
        let mut cursor = None::<String>;
        loop {
            let mut path = format!("/api/v1/devices?limit={PAGE}&q={}", path_segment(part));
            if let Some(cursor) = &cursor {
                path += &format!("&cursor={}", path_segment(cursor));
            }
            let page =
                self.call::<Page>("GET", &path, None)?.map_err(|refusal| refusal.error("GET /api/v1/devices"))?;
            devices.extend(page.items);
            cursor = page.next;
            if cursor.is_none() {
                return Ok(devices);
            }
        }
    }

    /// Creates a device and returns its secret; `None` if the id exists.
    pub fn create_device(&self, spec: &DeviceSpec) -> Result<Option<[u8; 32]>, SimError> {
        let what = || format!("creating device {:?}", spec.id);
        let body = serde_json::to_value(spec).map_err(|error| SimError::Task(error.to_string()))?;
        match self.call::<WithSecret>("POST", "/api/v1/devices", Some(&body))? {
            Ok(answer) => secret(&answer.secret, &what()).map(Some),
            Err(Refusal { status: 409, .. }) => Ok(None),
            Err(refusal) => Err(refusal.error(&what())),
        }
    }

    /// Replaces a device's secret; the old one stays valid for a day.
    pub fn replace_secret(&self, device: &str) -> Result<[u8; 32], SimError> {
        let path = format!("/api/v1/devices/{}/secret", path_segment(device));
        let what = format!("POST {path}");
        let body = serde_json::json!({});
        let answer = self.call::<WithSecret>("POST", &path, Some(&body))?.map_err(|refusal| refusal.error(&what))?;
        secret(&answer.secret, &what)
    }

    fn call<T: for<'de> Deserialize<'de>>(
        &self,
        method: &'static str,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<Result<T, Refusal>, SimError> {
        let url = format!("{}{path}", self.url);
        let bearer = self.bearer();
        let response = match (method, body) {
            ("GET", _) => self.agent.get(&url).header("authorization", &bearer).call(),
            ("PATCH", Some(body)) => self.agent.patch(&url).header("authorization", &bearer).send_json(body),
            ("PUT", Some(body)) => self.agent.put(&url).header("authorization", &bearer).send_json(body),
            (_, Some(body)) if self.token.is_empty() => self.agent.post(&url).send_json(body),
            (_, Some(body)) => self.agent.post(&url).header("authorization", &bearer).send_json(body),
            (_, None) => self.agent.post(&url).header("authorization", &bearer).send_empty(),
        };
        self.answer(method, path, response)
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.token)
    }

    /// An answer without a body.
    fn no_content(
        &self,
        method: &'static str,
        path: &str,
        response: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<(), SimError> {
        let unreachable =
            |error: ureq::Error| SimError::ApiUnreachable { url: self.url.clone(), reason: reason(&error) };
        let mut response = response.map_err(unreachable)?;
        if response.status().is_success() {
            return Ok(());
        }
        let status = response.status().as_u16();
        let problem = response.body_mut().read_json().unwrap_or_default();
        Err(Refusal { status, problem }.error(&format!("{method} {path}")))
    }

    fn answer<T: for<'de> Deserialize<'de>>(
        &self,
        method: &'static str,
        path: &str,
        response: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<Result<T, Refusal>, SimError> {
        let unreachable =
            |error: ureq::Error| SimError::ApiUnreachable { url: self.url.clone(), reason: reason(&error) };
        let mut response = response.map_err(unreachable)?;
        let status = response.status().as_u16();
        if response.status().is_success() {
            return match response.body_mut().read_json() {
                Ok(answer) => Ok(Ok(answer)),
                Err(error) => Err(SimError::Api {
                    call: format!("{method} {path}"),
                    status,
                    detail: format!("the answer is not what docs/http-api.md says: {error}"),
                }),
            };
        }
        let problem = response.body_mut().read_json().unwrap_or_default();
        Ok(Err(Refusal { status, problem }))
    }
}

impl Refusal {
    fn error(self, call: &str) -> SimError {
        let Problem { code, detail } = self.problem;
        let detail = if code.is_empty() { detail } else { format!("{code}: {detail}") };
        SimError::Api { call: call.to_owned(), status: self.status, detail }
    }
}

impl fmt::Debug for ApiOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiOptions({} at {})", self.user, self.url)
    }
}

impl fmt::Debug for ApiClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiClient({})", self.url)
    }
}

fn secret(digits: &str, what: &str) -> Result<[u8; 32], SimError> {
    parse_secret(digits).ok_or_else(|| SimError::Api {
        call: what.to_owned(),
        status: 200,
        detail: "the answer's secret is not 64 hex digits".into(),
    })
}

fn reason(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}

/// Percent-encodes everything but letters, digits and `-._~`.
pub fn path_segment(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded += &format!("%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_safe_in_paths() {
        assert_eq!(path_segment("a:b c/ü"), "a%3Ab%20c%2F%C3%BC");
    }

    #[test]
    fn an_unreachable_api_is_named() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        drop(listener);
        let options = ApiOptions { url: url.clone(), user: "admin".into(), password: "hunter2".into() };
        let error = ApiClient::sign_in(&options).expect_err("nobody listens").to_string();
        assert!(error.contains(&url) && error.contains("--api"), "{error}");
        assert!(!format!("{options:?}").contains("hunter2"));
    }
}
