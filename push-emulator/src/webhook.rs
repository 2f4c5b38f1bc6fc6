//! A receiver of webhooks: Standard Webhooks 1.0.

use crate::answer::{Answer, header};
use crate::checks::Checks;
use crate::jwt::now_s;
use crate::serve::Request;
use crate::state::{Received, State, What};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde_json::{Value, json};

/// How far the time of an attempt may be from here.
const TOLERANCE_S: i64 = 300;
/// What the specification asks senders to stay below.
const BODY_BYTES_MAX: usize = 20_000;

/// Takes a message.
pub fn handle(state: &State, request: &Request, message: &mut Received) -> Answer {
    let mut checks = Checks::default();
    let answer = judge(state, request, message, &mut checks);
    message.checks = checks.0;
    answer
}

fn refuse(status: u16, text: &str) -> Answer {
    Answer::json(status, &json!({ "error": text }))
}

/// True if one of the signatures in the header is right.
fn is_signed(secret: &[u8], id: &str, time: &str, body: &[u8], signatures: &str) -> bool {
    let signed = [id.as_bytes(), b".", time.as_bytes(), b".", body].concat();
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let mut versions = signatures.split(' ').filter_map(|signature| signature.strip_prefix("v1,"));
    versions.any(|text| STANDARD.decode(text).is_ok_and(|tag| hmac::verify(&key, &signed, &tag).is_ok()))
}

fn judge(state: &State, request: &Request, message: &mut Received, checks: &mut Checks) -> Answer {
    let path = request.head.uri.path().strip_prefix("/hook/").unwrap_or_default();
    let text = |name: &str| header(&request.head.headers, name).to_owned();
    message.payload = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
    message.id = text("webhook-id");
    let data = |name: &str| message.payload["data"][name].as_str().unwrap_or_default().to_owned();
    (message.kind, message.collapse_key) = (data("kind"), data("tag"));
    let found = state.lock().find(path, |target| match &target.what {
        What::Hook { secret, .. } => Some((target.label.clone(), target.id.clone(), target.gone_us, secret.clone())),
        _ => None,
    });
    let Some((label, id, gone_us, secret)) = found else { return refuse(404, "there is no such webhook") };
    (message.target, message.target_id) = (label, id);
    if gone_us.is_some() {
        return refuse(410, "the webhook is gone");
    }
    let id_right = checks.note("webhook-id", !message.id.is_empty() && !message.id.contains('.'), message.id.as_str());
    let time = text("webhook-timestamp");
    let age_s = time.parse::<i64>().map(|then| now_s() - then);
    let in_time = age_s.as_ref().is_ok_and(|age| age.abs() <= TOLERANCE_S);
    let time_right =
        checks.note("webhook-timestamp", in_time, age_s.map_or(time.clone(), |age| format!("{age} s ago")));
    let signed = is_signed(&secret, &message.id, &time, &request.body, &text("webhook-signature"));
    let signed = checks.note("webhook-signature", signed, "HMAC-SHA256 of id.timestamp.body with the secret");
    let kind = text("content-type");
    let kind_right = checks.note("Content-Type", kind.starts_with("application/json"), kind);
    let whole = ["type", "timestamp"].iter().all(|name| message.payload[*name].is_string());
    let shape = checks.note("Body", whole && message.payload["data"].is_object(), "type, timestamp and data");
    let size = request.body.len();
    let size_right = checks.note("Size", size <= BODY_BYTES_MAX, format!("{size} of {BODY_BYTES_MAX} bytes"));
    if !(id_right && time_right && signed) {
        return refuse(401, "the signature is not right");
    }
    if !size_right {
        return refuse(413, "the body is too large");
    }
    if kind_right && shape { Answer::status(204) } else { refuse(400, "the body is not a webhook's") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_specifications_example_is_right_and_a_changed_one_is_not() {
        let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("base64");
        let (id, time, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", br#"{"test": 2432232314}"#);
        let right = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert!(is_signed(&secret, id, time, body, right));
        assert!(is_signed(&secret, id, time, body, &format!("v1a,AAAA v1,AAAA {right}")));
        assert!(!is_signed(&secret, id, "1614265331", body, right));
        assert!(!is_signed(&secret, id, time, b"{}", right));
        assert!(!is_signed(&secret, id, time, body, &right.replace("v1,", "v2,")));
    }
}
