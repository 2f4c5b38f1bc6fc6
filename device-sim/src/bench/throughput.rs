//! How many messages a second reach the providers when many are queued at once, and how many a bare HTTP/2 client brings there:
//! the same requests, over the same TLS and as many streams, without a store, an order or a second thought.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value as Json, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::children::Program;
use super::push::Running;
use crate::SimError;
use crate::api::ApiClient;
use crate::error::blocking;

/// People, their endpoints (a third of each kind), and what each is told: below the cap of messages per person and minute.
const USERS: u64 = 24;
const ENDPOINTS: u64 = 18;
const ANNOUNCEMENTS: u64 = 10;
const MESSAGES: u64 = USERS * ENDPOINTS * ANNOUNCEMENTS;
/// Requests of the server that the bare client repeats.
const REPEATED: u64 = 300;
/// Streams of the server: `push.per_origin_max`, for browsers on one connection, for apps of both kinds on another.
const STREAMS: [usize; 2] = [64, 128];
/// The announcements are made within this time, and begin together.
const LEAD: jiff::SignedDuration = jiff::SignedDuration::from_secs(3);
/// Nothing new for this long ends the measurement.
const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(50);

/// What was measured.
pub(super) struct Throughput {
    pub messages: u64,
    pub push_per_s: f64,
    pub ceiling_per_s: f64,
}

/// A request that is sent again and again.
struct Repeated {
    /// 0: to a browser, 1: to an app.
    connection: usize,
    path: String,
    headers: Vec<(String, String)>,
    body: Bytes,
}

/// Measures both against the same emulator.
pub(super) async fn measure(running: &Running, emulator: &Program) -> Result<Throughput, SimError> {
    let (setting, page) = (running.clone(), ApiClient::open(&running.emulator));
    let before = blocking(move || announce(&setting)).await?;
    let push_per_s = rate(&page, before, MESSAGES).await?;
    let asked = page.clone();
    let repeated = blocking(move || recorded(&asked)).await?;
    let asked = page.clone();
    let before = blocking(move || cleared(&asked)).await?;
    let ca = PathBuf::from(emulator.text("config")).with_file_name("ca.pem");
    repeat(Arc::new(repeated), &ca, &emulator.text("providers")).await?;
    let ceiling_per_s = rate(&page, before, MESSAGES).await?;
    Ok(Throughput { messages: MESSAGES, push_per_s, ceiling_per_s })
}

fn number(answer: &Json, name: &str) -> u64 {
    answer[name].as_u64().unwrap_or_default()
}

/// Forgets what arrived; answers how much it was.
fn cleared(page: &ApiClient) -> Result<u64, SimError> {
    page.delete("/api/messages")?;
    Ok(number(&page.get("/api/count")?, "received"))
}

/// Makes people and endpoints, and queues what they are told.
fn announce(running: &Running) -> Result<u64, SimError> {
    let (api, page) = (ApiClient::sign_in(&running.api)?, ApiClient::open(&running.emulator));
    let run = crate::fleet::unix_us();
    for user in 0..USERS {
        let name = format!("bench-{run}-{user}");
        let person = json!({ "name": name, "password": format!("bench {run}"), "role": "viewer" });
        api.post("/api/v1/users", &person)?;
        for endpoint in 0..ENDPOINTS {
            let mut address = match endpoint % 3 {
                0 => {
                    let made = page.post("/api/subscriptions", &json!({}))?;
                    json!({ "kind": "webpush", "url": made["endpoint"], "keys": made["keys"] })
                }
                kind => {
                    let kind = if kind == 1 { "apns" } else { "fcm" };
                    json!({ "kind": kind, "token": page.post("/api/apps", &json!({ "kind": kind }))?["token"] })
                }
            };
            address["user"] = name.as_str().into();
            api.post("/api/v1/push/endpoints", &address)?;
        }
    }
    let before = cleared(&page)?;
    let begin = (jiff::Timestamp::now() + LEAD).to_string();
    for number in 0..ANNOUNCEMENTS {
        // Critical: the lane of everything but of what may wait.
        let words = json!({ "title": format!("Bench {number}"), "body": "x".repeat(200), "severity": "critical",
            "to": ["role:viewer"], "not_before": begin });
        api.post("/api/v1/push/announcements", &words)?;
    }
    Ok(before)
}

/// Waits until all have arrived; answers how many a second did.
async fn rate(page: &ApiClient, before: u64, wanted: u64) -> Result<f64, SimError> {
    let (mut seen, mut last) = (0, Instant::now());
    loop {
        let asked = page.clone();
        let count = blocking(move || asked.get("/api/count")).await?;
        let arrived = number(&count, "received").saturating_sub(before);
        if arrived > seen {
            (seen, last) = (arrived, Instant::now());
        }
        if arrived >= wanted {
            let took_us = number(&count, "last_us").saturating_sub(number(&count, "first_us")).max(1);
            return Ok((arrived - 1) as f64 * 1e6 / took_us as f64);
        }
        if last.elapsed() > PATIENCE {
            return Err(SimError::Task(format!("of {wanted} messages only {arrived} arrived")));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// The newest requests as they came.
fn recorded(page: &ApiClient) -> Result<Vec<Repeated>, SimError> {
    let answer = page.get(&format!("/api/messages?limit={REPEATED}"))?;
    let mut repeated = Vec::new();
    for message in answer["items"].as_array().into_iter().flatten() {
        let text = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
        let headers = message["headers"].as_array().into_iter().flatten().filter_map(|pair| {
            let (name, value) = (pair[0].as_str()?, pair[1].as_str()?);
            (!["host", "content-length"].contains(&name)).then(|| (name.to_owned(), value.to_owned()))
        });
        let body = STANDARD.decode(text("raw")).map_err(|error| SimError::Task(error.to_string()))?;
        if !message["status"].as_u64().is_some_and(|status| (200..300).contains(&status)) {
            return Err(SimError::Task(format!("a message was answered {}", message["status"])));
        }
        let connection = usize::from(text("provider") != "webpush");
        repeated.push(Repeated { connection, path: text("path"), headers: headers.collect(), body: body.into() });
    }
    for connection in 0..STREAMS.len() {
        if !repeated.iter().any(|one| one.connection == connection) {
            return Err(SimError::Task("the emulator shows no requests of some kind".into()));
        }
    }
    Ok(repeated)
}

type Bare = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

fn bare(ca: &Path) -> Result<Bare, SimError> {
    let wrong = |error: String| SimError::Task(format!("the bare client cannot be made: {error}"));
    let pem = std::fs::read(ca).map_err(|source| SimError::file("reading", ca, source))?;
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| wrong(format!("{error:?}")))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http2().build();
    Ok(Client::builder(TokioExecutor::new()).http2_only(true).build(connector))
}

/// Sends as many requests as the server did, in the same shares over as many streams.
async fn repeat(repeated: Arc<Vec<Repeated>>, ca: &Path, providers: &str) -> Result<(), SimError> {
    let mut streams = JoinSet::new();
    for (connection, count) in STREAMS.into_iter().enumerate() {
        let client = bare(ca)?;
        let left =
            Arc::new(AtomicUsize::new(if connection == 0 { MESSAGES / 3 } else { MESSAGES - MESSAGES / 3 } as usize));
        for stream in 0..count {
            let (client, repeated, left) = (client.clone(), repeated.clone(), left.clone());
            let origin = format!("https://{providers}");
            streams.spawn(async move {
                let mut own = repeated.iter().filter(|one| one.connection == connection).cycle().skip(stream);
                let down = |left: usize| left.checked_sub(1);
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, down).is_ok() {
                    let Some(one) = own.next() else { return Err("nothing to send".to_owned()) };
                    send(&client, &origin, one).await?;
                }
                Ok(())
            });
        }
    }
    while let Some(ended) = streams.join_next().await {
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(why)) => return Err(SimError::Task(format!("the bare client: {why}"))),
            Err(error) => return Err(SimError::Task(error.to_string())),
        }
    }
    Ok(())
}

async fn send(client: &Bare, origin: &str, one: &Repeated) -> Result<(), String> {
    let mut request = Request::builder().method(Method::POST).uri(format!("{origin}{}", one.path));
    for (name, value) in &one.headers {
        request = request.header(name, value);
    }
    let request = request.body(Full::new(one.body.clone())).map_err(|error| error.to_string())?;
    let response = client.request(request).await.map_err(|error| error.to_string())?;
    let status = response.status();
    response.into_body().collect().await.map_err(|error| error.to_string())?;
    if status.is_success() { Ok(()) } else { Err(format!("answered {status}")) }
}
