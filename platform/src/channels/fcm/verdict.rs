//! What FCM's answer means: firebase.google.com, "FCM error codes".

use crate::channels::reply::{Answer, code};
use pulsewire_core::push::{Verdict, clip};
use serde_json::Value;

/// Where a quota says nothing of when it is filled again.
const QUOTA_WAIT_US: i64 = 60_000_000;

/// What an error says.
#[derive(Debug, Default)]
struct Refusal {
    /// `FcmError.errorCode`.
    code: String,
    /// `error.status`.
    status: String,
    /// `error.message` calls the registration token wrong.
    names_token: bool,
    /// Fields that are wrong by `BadRequest`.
    fields: Vec<String>,
}

impl Refusal {
    fn is_of_token(&self) -> bool {
        match self.fields.as_slice() {
            [] => self.names_token,
            fields => fields.iter().all(|field| field == "message.token"),
        }
    }
}

fn refusal(body: &Value) -> Option<Refusal> {
    let error = body.get("error")?.as_object()?;
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let word = |value: Option<&Value>| value.and_then(Value::as_str).and_then(code).unwrap_or_default().to_owned();
    // The message itself could repeat the token.
    let names_token = text(error.get("message")).to_ascii_lowercase().contains("registration token");
    let mut refusal = Refusal { status: word(error.get("status")), names_token, ..Refusal::default() };
    for detail in error.get("details").and_then(Value::as_array).into_iter().flatten() {
        let kind = detail["@type"].as_str().unwrap_or_default();
        if kind.ends_with("FcmError") {
            refusal.code = word(detail.get("errorCode"));
        } else if kind.ends_with("BadRequest") {
            let violations = detail["fieldViolations"].as_array().into_iter().flatten();
            refusal.fields.extend(violations.map(|violation| text(violation.get("field"))));
        }
    }
    Some(refusal)
}

/// True if the access token was refused.
pub(super) fn refuses_token(answer: &Answer<'_>) -> bool {
    answer.status == 401
        && answer.json().as_ref().and_then(refusal).is_none_or(|refusal| refusal.code != "THIRD_PARTY_AUTH_ERROR")
}

pub(super) fn classify(answer: &Answer<'_>) -> Verdict {
    let json = answer.json();
    if answer.status == 200 {
        let name = json.as_ref().and_then(|json| json["name"].as_str());
        return match name {
            Some(name) => {
                let id = name.rsplit('/').next().map(|id| clip(id, 64));
                Verdict::Delivered { provider_id: id, status: 200 }
            }
            None => {
                let reason = "FCM answered 200 with something that is not a message's name".into();
                Verdict::Retry { after_us: answer.retry_after_us, reason, status: Some(200), unclear: true }
            }
        };
    }
    let Some(refusal) = json.as_ref().and_then(refusal) else {
        let reason = format!("FCM answered {} without a readable reason", answer.status);
        return if matches!(answer.status, 502..=504) { answer.down(reason) } else { answer.retry(None, reason) };
    };
    let code = if refusal.code.is_empty() { &refusal.status } else { &refusal.code };
    let mut words = format!("FCM answered {} {code}", answer.status);
    let plain =
        |field: &&String| field.len() <= 48 && field.bytes().all(|b| b.is_ascii_alphabetic() || b"._".contains(&b));
    for field in refusal.fields.iter().filter(plain).take(3) {
        words.push_str(&format!(", {field}"));
    }
    match (answer.status, refusal.code.as_str()) {
        (404, "UNREGISTERED") => Verdict::DropEndpoint { reason: words, since_us: None, status: 404, certain: true },
        // Of our own making unless it is the token, and nothing else, that is called wrong.
        (400, "INVALID_ARGUMENT") if refusal.is_of_token() => {
            Verdict::DropEndpoint { reason: words, since_us: None, status: 400, certain: false }
        }
        (401, "THIRD_PARTY_AUTH_ERROR") | (403 | 404, _) => answer.misconfigured(words),
        // The access token was refused; the next attempt has a new one.
        (401, _) => answer.retry(None, words),
        (429, _) => answer.retry(Some(QUOTA_WAIT_US), words),
        (400..=499, _) => answer.drop_message(words),
        (502..=504, _) => answer.down(words),
        _ => answer.retry(None, words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn verdict(status: u16, code: &str, fields: &[&str]) -> Verdict {
        let mut details = Vec::new();
        if !code.is_empty() {
            let kind = "type.googleapis.com/google.firebase.fcm.v1.FcmError";
            details.push(json!({ "@type": kind, "errorCode": code }));
        }
        if !fields.is_empty() {
            let violations: Vec<_> = fields.iter().map(|field| json!({ "field": field })).collect();
            details
                .push(json!({ "@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": violations }));
        }
        let body =
            json!({ "error": { "code": status, "message": "m", "status": "S", "details": details } }).to_string();
        classify(&Answer { status, body: Some(body.as_bytes()), retry_after_us: None })
    }

    #[test]
    fn every_documented_code_has_its_reaction() {
        for (status, code, fields, name) in [
            (404, "UNREGISTERED", &[][..], "drop_endpoint"),
            (404, "", &[], "misconfigured"),
            (400, "INVALID_ARGUMENT", &[], "drop_message"),
            (400, "INVALID_ARGUMENT", &["message.token"], "drop_endpoint"),
            (400, "INVALID_ARGUMENT", &["message.data"], "drop_message"),
            (400, "", &["message.android.ttl"], "drop_message"),
            (401, "THIRD_PARTY_AUTH_ERROR", &[], "misconfigured"),
            (401, "", &[], "retry"),
            (403, "SENDER_ID_MISMATCH", &[], "misconfigured"),
            (403, "", &[], "misconfigured"),
            (429, "QUOTA_EXCEEDED", &[], "retry"),
            (500, "INTERNAL", &[], "retry"),
            (503, "UNAVAILABLE", &[], "provider_down"),
        ] {
            let verdict = verdict(status, code, fields);
            assert_eq!((verdict.name(), verdict.status()), (name, Some(status)), "{status} {code} {fields:?}");
        }
        let body = r#"{"error":{"message":"The registration token is not a valid FCM registration token","details":[
            {"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"INVALID_ARGUMENT"}]}}"#;
        let token = classify(&Answer { status: 400, body: Some(body.as_bytes()), retry_after_us: None });
        assert_eq!(token.name(), "drop_endpoint");
        assert!(matches!(verdict(429, "QUOTA_EXCEEDED", &[]), Verdict::Retry { after_us: Some(QUOTA_WAIT_US), .. }));
    }

    #[test]
    fn a_name_is_a_delivery_and_nonsense_is_neither_that_nor_an_end() {
        let classify =
            |status, body: &str| classify(&Answer { status, body: Some(body.as_bytes()), retry_after_us: None });
        let delivered = classify(200, r#"{"name":"projects/p/messages/0:123"}"#);
        assert_eq!(delivered, Verdict::Delivered { provider_id: Some("0:123".into()), status: 200 });
        for body in ["", "<html>", "{", "[]", r#"{"error":[]}"#, r#"{"name":7}"#] {
            for status in [200, 400, 404, 418, 500] {
                assert_eq!(classify(status, body).name(), "retry", "{status} {body}");
            }
        }
    }
}
