//! The page's port: the page itself, what it shows as JSON, and what tests ask for.

use crate::actions;
use crate::answer::{Answer, Body, header};
use crate::faults::Fault;
use crate::jwt;
use crate::page;
use crate::state::{AppKind, State};
use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::sync::Arc;

/// Longest label.
const LABEL_CHARS_MAX: usize = 80;
/// Where targets are deleted.
const TARGETS: [&str; 4] = ["/api/subscriptions/", "/api/apps/", "/api/mailboxes/", "/api/webhooks/"];
/// Most messages per answer.
const LIMIT_MAX: usize = 5000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewSubscription {
    #[serde(default)]
    label: String,
    /// The sender's key in base64url: a browser's `applicationServerKey`. With it only that sender may send.
    public_key: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewInstall {
    kind: AppKind,
    #[serde(default)]
    label: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewLabelled {
    #[serde(default)]
    label: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Act {
    /// Of the message whose button was pressed.
    seq: u64,
    action: String,
}

fn problem(status: u16, detail: impl Into<String>) -> Answer {
    Answer::json(status, &json!({ "error": detail.into() }))
}

fn read<T: DeserializeOwned>(head: &Parts, body: Option<&Bytes>) -> Result<T, Answer> {
    // A page elsewhere cannot send this type without being asked first.
    if !header(&head.headers, "content-type").starts_with("application/json") {
        return Err(problem(415, "the body must be application/json"));
    }
    let body = body.ok_or_else(|| problem(413, "the body is too large"))?;
    serde_json::from_slice(body).map_err(|error| problem(400, error.to_string()))
}

fn label(given: &str, default: &str) -> String {
    let label: String = given.chars().filter(|c| !c.is_control()).take(LABEL_CHARS_MAX).collect();
    if label.trim().is_empty() { default.into() } else { label }
}

/// A page on this machine that resolves another name to it must not reach in.
fn is_own_host(state: &State, head: &Parts) -> bool {
    if !state.page.ip().is_loopback() {
        return true;
    }
    let host = header(&head.headers, "host");
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    ["localhost", "127.0.0.1", "[::1]"].contains(&name)
}

/// Answers a request to the page's port. `body` is None if it was too large.
pub async fn handle(state: &Arc<State>, head: &Parts, body: Option<Bytes>) -> Response<Body> {
    if !is_own_host(state, head) {
        return problem(403, "this page is for its own machine").response();
    }
    if head.uri.path() == "/api/stream" && head.method == Method::GET {
        return page::stream(state);
    }
    let answer = if head.uri.path() == "/api/actions" && head.method == Method::POST {
        match read::<Act>(head, body.as_ref()) {
            Ok(act) => actions::act(state, act.seq, &act.action).await,
            Err(refused) => refused,
        }
    } else {
        route(state, head, body.as_ref()).unwrap_or_else(|refused| refused)
    };
    page::guard(answer.response())
}

fn route(state: &State, head: &Parts, body: Option<&Bytes>) -> Result<Answer, Answer> {
    let path = head.uri.path();
    let get = head.method == Method::GET;
    if let Some(asset) = page::asset(path).filter(|_| get) {
        return Ok(asset);
    }
    match (head.method.as_str(), path) {
        ("GET", "/api/messages") => Ok(messages(state, head.uri.query().unwrap_or_default())),
        ("DELETE", "/api/messages") => {
            state.lock().messages.clear();
            state.touch();
            Ok(Answer::status(204))
        }
        ("GET", "/api/count") => Ok(Answer::json(200, &state.count())),
        ("GET", "/api/state") => Ok(Answer::json(200, &state.targets())),
        ("POST", "/api/subscriptions") => {
            let new: NewSubscription = read(head, body)?;
            let key = match new.public_key {
                Some(text) => Some(jwt::decode(&text).ok_or_else(|| problem(400, "public_key is not base64url"))?),
                None => None,
            };
            let made = state.subscribe(&label(&new.label, "Browser"), key).ok_or_else(|| problem(429, "too many"))?;
            Ok(Answer::json(
                201,
                &json!({
                    "id": made.id, "label": made.label, "endpoint": made.endpoint,
                    "keys": { "p256dh": made.p256dh, "auth": made.auth }, "private": made.private,
                }),
            ))
        }
        ("POST", "/api/apps") => {
            let new: NewInstall = read(head, body)?;
            let made = state.install(new.kind, &label(&new.label, "Phone")).ok_or_else(|| problem(429, "too many"))?;
            Ok(Answer::json(201, &json!(made)))
        }
        ("POST", "/api/mailboxes") => {
            let new: NewLabelled = read(head, body)?;
            let made = state.mailbox(&label(&new.label, "Mailbox")).ok_or_else(|| problem(429, "too many"))?;
            Ok(Answer::json(201, &json!(made)))
        }
        ("POST", "/api/webhooks") => {
            let new: NewLabelled = read(head, body)?;
            let made = state.hook(&label(&new.label, "Webhook")).ok_or_else(|| problem(429, "too many"))?;
            Ok(Answer::json(201, &json!(made)))
        }
        ("DELETE", path) if TARGETS.iter().any(|targets| path.starts_with(targets)) => {
            let id = path.rsplit('/').next().unwrap_or_default();
            if state.remove(id) { Ok(Answer::status(204)) } else { Err(problem(404, "there is no such target")) }
        }
        ("POST", "/api/faults") => {
            let fault: Fault = read(head, body)?;
            let planned = state.lock().faults.plan(fault);
            planned.map_err(|(status, detail)| problem(status, detail))?;
            state.touch();
            Ok(Answer::status(204))
        }
        ("DELETE", "/api/faults") => {
            state.lock().faults.clear();
            state.touch();
            Ok(Answer::status(204))
        }
        _ => Err(problem(404, format!("there is no {} {path}", head.method))),
    }
}

/// `after=SEQ`: only what came later; `limit=N`: the newest N.
fn messages(state: &State, query: &str) -> Answer {
    let number = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.parse::<u64>().ok());
    let after = number("after=").unwrap_or(0);
    let limit = number("limit=").and_then(|n| usize::try_from(n).ok()).unwrap_or(LIMIT_MAX).min(LIMIT_MAX);
    let inner = state.lock();
    let mut items: Vec<Value> =
        inner.messages.iter().rev().take_while(|m| m.seq > after).take(limit).map(|m| json!(m)).collect();
    drop(inner);
    items.reverse();
    Answer::json(200, &json!({ "items": items }))
}
