//! APNs: `POST /3/device/TOKEN`.

use crate::answer::{Answer, header};
use crate::checks::Checks;
use crate::identity::{APNS_KEY_ID, APNS_TEAM_ID};
use crate::jwt;
use crate::serve::Request;
use crate::state::{AppKind, Received, State, What};
use serde_json::{Value, json};
use std::sync::PoisonError;

const PAYLOAD_BYTES_MAX: usize = 4096;
/// A provider token is good for an hour, and not to be renewed more often than every 20 minutes.
const TOKEN_LIFE_S: i64 = 3600;
const RENEWAL_S: i64 = 20 * 60;

/// Takes a message.
pub fn handle(state: &State, request: &Request, message: &mut Received) -> Answer {
    let mut checks = Checks::default();
    let answer = match judge(state, request, message, &mut checks) {
        Ok(()) => Answer::status(200),
        Err((status, reason, since_ms)) => {
            let mut body = json!({ "reason": reason });
            if let Some(since_ms) = since_ms {
                body["timestamp"] = since_ms.into();
            }
            Answer::json(status, &body)
        }
    };
    message.checks = checks.0;
    let id = header(&request.head.headers, "apns-id");
    if id.is_empty() { answer } else { answer.with("apns-id", id) }
}

/// What is said of an app that was deleted.
pub fn gone() -> Answer {
    Answer::json(410, &json!({ "reason": "Unregistered", "timestamp": jwt::now_us() / 1000 }))
}

type Refusal = (u16, &'static str, Option<i64>);

fn refuse(status: u16, reason: &'static str) -> Result<(), Refusal> {
    Err((status, reason, None))
}

fn token(state: &State, request: &Request, checks: &mut Checks) -> Result<(), Refusal> {
    let bearer = header(&request.head.headers, "authorization").strip_prefix("bearer ").unwrap_or_default();
    if bearer.is_empty() {
        checks.note("Provider token", false, "Authorization must be `bearer TOKEN`");
        return refuse(403, "MissingProviderToken");
    }
    let token = jwt::es256(bearer, &state.identity.apns_public);
    let Some(token) = checks.take("Provider token", token, "ES256, made with the team's key") else {
        return refuse(403, "InvalidProviderToken");
    };
    let key_id = token.header["kid"].as_str().unwrap_or_default();
    let ids = checks.note("kid and iss", key_id == APNS_KEY_ID && token.text("iss") == APNS_TEAM_ID, key_id);
    if !ids {
        return refuse(403, "InvalidProviderToken");
    }
    let issued_s = token.claims["iat"].as_i64().unwrap_or(0);
    let age_s = jwt::now_s() - issued_s;
    if !checks.note("iat", (-60..TOKEN_LIFE_S).contains(&age_s), format!("{age_s} s ago")) {
        return refuse(403, "ExpiredProviderToken");
    }
    let mut seen = request.connection.issued_s.lock().unwrap_or_else(PoisonError::into_inner);
    let before = seen.unwrap_or(issued_s);
    let calm = before == issued_s || (issued_s - before).abs() >= RENEWAL_S;
    if !checks.note("Renewal", calm, "at least 20 minutes apart on one connection") {
        return refuse(429, "TooManyProviderTokenUpdates");
    }
    *seen = Some(issued_s);
    Ok(())
}

fn judge(state: &State, request: &Request, message: &mut Received, checks: &mut Checks) -> Result<(), Refusal> {
    let headers = &request.head.headers;
    let text = |name: &str| header(headers, name);
    let device = request.head.uri.path().strip_prefix("/3/device/").unwrap_or_default();
    message.id = text("apns-id").to_owned();
    message.collapse_key = text("apns-collapse-id").to_owned();
    message.payload = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
    message.kind = message.payload["kind"].as_str().unwrap_or_default().to_owned();
    let known = {
        let inner = state.lock();
        inner.find(device, |target| match &target.what {
            What::App(app) if app.kind == AppKind::Apns => {
                let topic = app.topic.clone().unwrap_or_default();
                Some((target.label.clone(), target.id.clone(), target.gone_us, topic))
            }
            _ => None,
        })
    };
    token(state, request, checks)?;
    let Some((label, id, gone_us, topic)) = known else {
        checks.note("Device token", false, "no app has it");
        return refuse(400, "BadDeviceToken");
    };
    (message.target, message.target_id) = (label, id);
    if !checks.note("apns-topic", text("apns-topic") == topic, text("apns-topic")) {
        return refuse(400, if text("apns-topic").is_empty() { "MissingTopic" } else { "DeviceTokenNotForTopic" });
    }
    if !checks.note("apns-push-type", text("apns-push-type") == "alert", text("apns-push-type")) {
        return refuse(400, "InvalidPushType");
    }
    if !checks.note("apns-priority", ["1", "5", "10", ""].contains(&text("apns-priority")), text("apns-priority")) {
        return refuse(400, "BadPriority");
    }
    let expiration = text("apns-expiration");
    if !checks.note("apns-expiration", expiration.is_empty() || expiration.parse::<u64>().is_ok(), expiration) {
        return refuse(400, "BadExpirationDate");
    }
    let uuid = |t: &str| {
        t.len() == 36
            && t.bytes()
                .enumerate()
                .all(|(i, b)| if [8, 13, 18, 23].contains(&i) { b == b'-' } else { b.is_ascii_hexdigit() })
    };
    if !checks.note("apns-id", uuid(text("apns-id")), text("apns-id")) {
        return refuse(400, "BadMessageId");
    }
    if !checks.note("apns-collapse-id", text("apns-collapse-id").len() <= 64, text("apns-collapse-id")) {
        return refuse(400, "BadCollapseId");
    }
    let size = request.body.len();
    if !checks.note("Size", size <= PAYLOAD_BYTES_MAX, format!("{size} of {PAYLOAD_BYTES_MAX} bytes")) {
        return refuse(413, "PayloadTooLarge");
    }
    if !checks.note("aps", message.payload["aps"]["alert"].is_object(), "an alert") {
        return refuse(400, "PayloadEmpty");
    }
    match gone_us {
        Some(gone_us) => Err((410, "Unregistered", Some(gone_us / 1000))),
        None => Ok(()),
    }
}
