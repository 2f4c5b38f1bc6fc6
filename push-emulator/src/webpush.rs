//! The Web Push service: RFC 8030, with what the large services ask for beyond it.

use crate::answer::{Answer, header};
use crate::checks::Checks;
use crate::jwt;
use crate::sealed;
use crate::serve::Request;
use crate::state::{Received, State, What};
use serde_json::{Value, json};

/// Largest body that services take.
const BODY_BYTES_MAX: usize = 4096;
/// Longest lifetime of a VAPID token: RFC 8292 §2.
const TOKEN_LIFE_S: i64 = 24 * 3600;

fn refuse(status: u16, errno: u16, message: &str) -> Answer {
    Answer::json(status, &json!({ "code": status, "errno": errno, "message": message }))
}

/// Checks the VAPID token; answers the sender's key.
fn vapid(state: &State, request: &Request, checks: &mut Checks) -> Option<Vec<u8>> {
    let authorization = header(&request.head.headers, "authorization");
    let parts = authorization.strip_prefix("vapid ").map(|rest| {
        let part = |name: &str| rest.split(',').find_map(|part| part.trim().strip_prefix(name)).unwrap_or_default();
        (part("t="), part("k="))
    });
    let Some((token, key)) = parts.filter(|(token, key)| !token.is_empty() && !key.is_empty()) else {
        checks.note("VAPID header", false, "Authorization must be `vapid t=TOKEN, k=KEY`");
        return None;
    };
    let key = jwt::decode(key).filter(|key| key.len() == 65).unwrap_or_default();
    let token = checks.take("VAPID signature", jwt::es256(token, &key), "ES256, made with the key k")?;
    // Whoever connects by the other name of this machine has the other origin.
    let port = state.identity.listen.port();
    let own = [state.identity.origin(), format!("https://localhost:{port}"), format!("https://127.0.0.1:{port}")];
    let aud = token.text("aud");
    let aud_right = checks.note("VAPID aud", own.iter().any(|origin| origin == aud), aud);
    let left_s = token.claims["exp"].as_i64().unwrap_or(0) - jwt::now_s();
    let exp_right = checks.note("VAPID exp", (1..=TOKEN_LIFE_S).contains(&left_s), format!("{left_s} s from now"));
    let sub = token.text("sub");
    let reachable = (sub.starts_with("mailto:") && sub.contains('@')) || sub.starts_with("https://");
    let sub_right = checks.note("VAPID sub", reachable && !sub.ends_with("@localhost"), sub);
    (aud_right && exp_right && sub_right).then_some(key)
}

/// Takes a message.
pub fn handle(state: &State, request: &Request, message: &mut Received) -> Answer {
    let mut checks = Checks::default();
    let answer = judge(state, request, message, &mut checks);
    message.checks = checks.0;
    answer
}

fn judge(state: &State, request: &Request, message: &mut Received, checks: &mut Checks) -> Answer {
    let wanted = request.head.uri.path().strip_prefix("/push/").unwrap_or_default();
    let (gone, opened, only_key) = {
        let inner = state.lock();
        let found = inner.find(wanted, |target| match &target.what {
            What::Browser { secret, point, auth, public_key, .. } => {
                let of_target = (target.label.clone(), target.id.clone(), target.gone_us.is_some());
                Some((of_target, secret.clone(), point.clone(), *auth, public_key.clone()))
            }
            _ => None,
        });
        drop(inner);
        let Some(((label, id, gone), secret, point, auth, only_key)) = found else {
            return refuse(404, 102, "there is no such subscription");
        };
        (message.target, message.target_id) = (label, id);
        (gone, sealed::open(&request.body, &secret, &point, &auth), only_key)
    };
    let headers = &request.head.headers;
    message.collapse_key = header(headers, "topic").to_owned();
    let opened = checks.take("Decryption (RFC 8291)", opened, "opened with the subscription's key");
    if let Some(text) = opened {
        message.payload = serde_json::from_slice(&text)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&text).into_owned()));
        let text = |name: &str| message.payload[name].as_str().unwrap_or_default().to_owned();
        (message.id, message.kind) = (text("id"), text("kind"));
    }
    let key = vapid(state, request, checks);
    let ttl = header(headers, "ttl");
    let ttl_right = checks.note("TTL", ttl.parse::<u32>().is_ok(), ttl);
    let topic = header(headers, "topic");
    let alphabet = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let topic_right = checks.note("Topic", topic.len() <= 32 && topic.bytes().all(alphabet), topic);
    let urgency = header(headers, "urgency");
    let urgency_right = checks.note("Urgency", ["", "very-low", "low", "normal", "high"].contains(&urgency), urgency);
    let encoding = header(headers, "content-encoding");
    let encoding_right = checks.note("Content-Encoding", encoding == "aes128gcm", encoding);
    let size = request.body.len();
    let size_right = checks.note("Size", size <= BODY_BYTES_MAX, format!("{size} of {BODY_BYTES_MAX} bytes"));
    if gone {
        return refuse(410, 106, "the subscription is gone");
    }
    if !size_right {
        return refuse(413, 104, "the body is too large");
    }
    let Some(key) = key else { return refuse(403, 109, "the VAPID token is not acceptable") };
    if only_key.is_some_and(|only| only != key) {
        checks.note("Sender", false, "another key than the one that the browser subscribed with");
        return refuse(403, 109, "another sender than the subscription's");
    }
    if !ttl_right {
        return refuse(400, 111, "TTL is missing or wrong");
    }
    if !(topic_right && urgency_right && encoding_right) {
        return refuse(400, 113, "a header is wrong");
    }
    let location = format!("{}/message/{:032x}", state.identity.origin(), message.received_us);
    Answer::status(201).with("location", location).with("ttl", ttl)
}
