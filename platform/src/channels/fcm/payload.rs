//! What FCM is asked to deliver: `projects.messages.send`.

use crate::channels::MESSAGE_BYTES_MAX;
use crate::channels::fit::{self, Words};
use pulsewire_core::notice::NoticeKind;
use pulsewire_core::push::Notification;
use pulsewire_core::severity::Severity;
use serde_json::{Value, json};

/// FCM keeps a message for at most 28 days.
const TTL_S_MAX: i64 = 28 * 86_400;

/// The request. Without the token it has at most [`MESSAGE_BYTES_MAX`] bytes.
pub(super) fn json(notification: &Notification, token: &str, now_us: i64) -> Vec<u8> {
    let body = fit::fit(notification, MESSAGE_BYTES_MAX, |notification, words| document(notification, words, now_us));
    let mut document: Value = serde_json::from_slice(&body).unwrap_or_default();
    document["message"]["token"] = token.into();
    document.to_string().into_bytes()
}

fn document(notification: &Notification, words: &Words, now_us: i64) -> Value {
    let ttl_s = (notification.expires_us.saturating_sub(now_us) / 1_000_000).clamp(0, TTL_S_MAX);
    // Only a high priority wakes a sleeping phone. That all is well does not.
    let is_quiet = notification.severity == Severity::Info || notification.kind == NoticeKind::Resolved;
    let priority = if is_quiet { "NORMAL" } else { "HIGH" };
    json!({ "message": {
        "notification": { "title": words.title, "body": words.body },
        // Every value of `data` is a string, by its contract.
        "data": {
            "v": "1",
            "id": notification.message.to_string(),
            "delivery": notification.delivery.to_string(),
            "kind": notification.kind.name(),
            "severity": notification.severity.name(),
            "url": words.url,
            "tag": notification.tag,
            "open_count": notification.open.count.to_string(),
            "open_worst": notification.open.worst.map_or("", |s| s.name()),
            "time": fit::time(notification),
        },
        "android": {
            "collapse_key": notification.tag,
            "priority": priority,
            "ttl": format!("{ttl_s}s"),
            "notification": { "tag": notification.tag },
        },
    } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::fit::tests::notification;

    #[test]
    fn data_is_of_strings_and_everything_but_the_token_fits() {
        let token = "t".repeat(4096);
        let built = json(&notification("Cold", &"\u{1}".repeat(4000)), &token, 1_800_000_000_000_000);
        assert!(built.len() <= MESSAGE_BYTES_MAX + token.len() + 16);
        let value: Value = serde_json::from_slice(&built).expect("JSON");
        let message = &value["message"];
        assert!(message["data"].as_object().expect("an object").values().all(Value::is_string));
        assert_eq!(message["token"], token);
        assert_eq!(message["android"]["ttl"], "3600s");
        assert_eq!(message["android"]["notification"]["tag"], message["android"]["collapse_key"]);
    }
}
