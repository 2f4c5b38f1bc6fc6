//! FCM: `POST /token` and `POST /v1/projects/PROJECT/messages:send`.

use crate::answer::{Answer, header};
use crate::checks::Checks;
use crate::identity::{FCM_EMAIL, FCM_PROJECT};
use crate::jwt;
use crate::serve::Request;
use crate::state::{AppKind, Received, State, TOKEN_LIFE_S, What};
use serde_json::{Value, json};

const PAYLOAD_BYTES_MAX: usize = 4096;
const GRANT: &str = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer";
const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";

/// Exchanges an assertion for an access token: RFC 7523.
pub fn token(state: &State, request: &Request) -> Answer {
    state.lock().token_requests += 1;
    let refuse =
        |error: &str, detail: String| Answer::json(400, &json!({ "error": error, "error_description": detail }));
    let form = std::str::from_utf8(&request.body).unwrap_or_default();
    let field =
        |name: &str| form.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default();
    if field("grant_type") != GRANT {
        return refuse("unsupported_grant_type", "grant_type must be that of RFC 7523".into());
    }
    let assertion = match jwt::rs256(field("assertion"), &state.identity.fcm_public) {
        Ok(assertion) => assertion,
        Err(problem) => return refuse("invalid_grant", problem),
    };
    let claim = |name: &str| assertion.claims[name].as_i64().unwrap_or(0);
    let (now, issued, ends) = (jwt::now_s(), claim("iat"), claim("exp"));
    if assertion.text("iss") != FCM_EMAIL || assertion.text("aud") != state.identity.token_uri() {
        return refuse("invalid_grant", "iss or aud is another's".into());
    }
    if issued > now + 60 || ends <= now || ends - issued > 3600 {
        return refuse("invalid_grant", "iat and exp must be now and at most an hour later".into());
    }
    if !assertion.text("scope").split(' ').any(|scope| scope == SCOPE) {
        return refuse("invalid_scope", "the scope is not FCM's".into());
    }
    match state.grant() {
        Some(token) => {
            Answer::json(200, &json!({ "access_token": token, "expires_in": TOKEN_LIFE_S, "token_type": "Bearer" }))
        }
        None => Answer::json(500, &json!({ "error": "server_error" })),
    }
}

fn refuse(status: u16, name: &str, code: Option<&str>, text: &str) -> Answer {
    let details: Vec<_> = code
        .map(|code| json!({ "@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code }))
        .into_iter()
        .collect();
    let error = json!({ "code": status, "message": text, "status": name, "details": details });
    Answer::json(status, &json!({ "error": error }))
}

/// What is said of an app that was deleted.
pub fn gone() -> Answer {
    refuse(404, "NOT_FOUND", Some("UNREGISTERED"), "Requested entity was not found.")
}

fn bad_request(field: &str, text: &str) -> Answer {
    let details = json!([
        { "@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": "INVALID_ARGUMENT" },
        { "@type": "type.googleapis.com/google.rpc.BadRequest",
          "fieldViolations": [{ "field": field, "description": text }] },
    ]);
    let error = json!({ "code": 400, "message": text, "status": "INVALID_ARGUMENT", "details": details });
    Answer::json(400, &json!({ "error": error }))
}

/// Takes a message.
pub fn handle(state: &State, request: &Request, message: &mut Received) -> Answer {
    let mut checks = Checks::default();
    let answer = judge(state, request, message, &mut checks);
    message.checks = checks.0;
    answer
}

/// The first field that is not as the public schema wants it.
fn wrong_field(message: &Value) -> Option<(&'static str, &'static str)> {
    let data = message.get("data");
    if data.is_some_and(|data| data.as_object().is_none_or(|data| !data.values().all(Value::is_string))) {
        return Some(("message.data", "data must be a map of strings"));
    }
    let android = &message["android"];
    let ttl = android["ttl"].as_str();
    let seconds = |ttl: &str| {
        ttl.strip_suffix('s').is_some_and(|s| s.parse::<f64>().is_ok_and(|s| (0.0..=2_419_200.0).contains(&s)))
    };
    if !android["ttl"].is_null() && !ttl.is_some_and(seconds) {
        return Some(("message.android.ttl", "ttl must be seconds like 3.5s, at most four weeks"));
    }
    let priority = &android["priority"];
    if !priority.is_null() && priority != "HIGH" && priority != "NORMAL" {
        return Some(("message.android.priority", "priority must be HIGH or NORMAL"));
    }
    let known = ["token", "notification", "data", "android", "webpush", "apns", "fcm_options", "name"];
    let foreign = message.as_object().is_none_or(|fields| fields.keys().any(|field| !known.contains(&field.as_str())));
    foreign.then_some(("message", "there is an unknown field"))
}

fn judge(state: &State, request: &Request, message: &mut Received, checks: &mut Checks) -> Answer {
    let bearer = header(&request.head.headers, "authorization").strip_prefix("Bearer ").unwrap_or_default();
    let document: Value = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
    message.payload = document["message"].clone();
    let device = message.payload["token"].as_str().unwrap_or_default().to_owned();
    if let Some(token) = message.payload.get_mut("token") {
        *token = "…".into();
    }
    let data = |name: &str| message.payload["data"][name].as_str().unwrap_or_default().to_owned();
    let id = if data("delivery").is_empty() { data("id") } else { data("delivery") };
    (message.id, message.kind) = (id, data("kind"));
    message.collapse_key = message.payload["android"]["collapse_key"].as_str().unwrap_or_default().to_owned();
    let (granted, known) = {
        let inner = state.lock();
        let granted = inner.tokens.iter().any(|(token, ends_s)| token == bearer && *ends_s > jwt::now_s());
        let known = inner.find(&device, |target| match &target.what {
            What::App(app) if app.kind == AppKind::Fcm => {
                Some((target.label.clone(), target.id.clone(), target.gone_us.is_some()))
            }
            _ => None,
        });
        (granted, known)
    };
    if !checks.note("Access token", granted, "granted by the token door and not over") {
        return refuse(401, "UNAUTHENTICATED", None, "the access token is missing, wrong or over");
    }
    let project = request.head.uri.path().trim_start_matches("/v1/projects/").split('/').next().unwrap_or_default();
    if !checks.note("Project", project == FCM_PROJECT, project) {
        return refuse(403, "PERMISSION_DENIED", Some("SENDER_ID_MISMATCH"), "another project's");
    }
    let size = request.body.len().saturating_sub(device.len());
    if !checks.note("Size", size <= PAYLOAD_BYTES_MAX, format!("{size} of {PAYLOAD_BYTES_MAX} bytes")) {
        return bad_request("message", "the message is too large");
    }
    let wrong = wrong_field(&message.payload);
    if !checks.note("Schema", wrong.is_none(), wrong.map_or("as published", |(_, text)| text)) {
        let (field, text) = wrong.unwrap_or_default();
        return bad_request(field, text);
    }
    match known {
        None => {
            checks.note("Registration token", false, "no app has it");
            bad_request("message.token", "The registration token is not a valid FCM registration token")
        }
        Some((label, id, gone)) => {
            (message.target, message.target_id) = (label, id);
            if gone {
                return self::gone();
            }
            let name = format!("projects/{FCM_PROJECT}/messages/0:{}", message.received_us);
            Answer::json(200, &json!({ "name": name }))
        }
    }
}
