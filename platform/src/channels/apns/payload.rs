//! What an app of Apple's gets.

use crate::channels::MESSAGE_BYTES_MAX;
use crate::channels::fit::{self, Words};
use pulsewire_core::notice::NoticeKind;
use pulsewire_core::push::Notification;
use pulsewire_core::severity::Severity;
use serde_json::{Value, json};

/// The message as JSON, at most [`MESSAGE_BYTES_MAX`] bytes.
pub(super) fn json(notification: &Notification) -> Vec<u8> {
    fit::fit(notification, MESSAGE_BYTES_MAX, document)
}

fn document(notification: &Notification, words: &Words) -> Value {
    // Time-sensitive messages break through a Focus; nothing else should. That all is well wakes nobody.
    let is_loud = notification.kind != NoticeKind::Resolved && notification.severity > Severity::Info;
    let level = match notification.severity {
        _ if !is_loud => "passive",
        Severity::Critical => "time-sensitive",
        _ => "active",
    };
    let mut aps = json!({
        "alert": { "title": words.title, "body": words.body },
        "badge": notification.open.count,
        "interruption-level": level,
        "thread-id": notification.tag,
    });
    if is_loud {
        aps["sound"] = "default".into();
    }
    json!({
        "aps": aps,
        "v": 1,
        "id": notification.message.to_string(),
        "kind": notification.kind.name(),
        "severity": notification.severity.name(),
        "url": words.url,
        "tag": notification.tag,
        "open": fit::open(notification),
        "time": fit::time(notification),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::fit::tests::notification;

    #[test]
    fn a_critical_alert_is_time_sensitive_and_fits() {
        let built = json(&notification("Cold room too warm", &"ü".repeat(4000)));
        assert!(built.len() <= MESSAGE_BYTES_MAX);
        let value: Value = serde_json::from_slice(&built).expect("JSON");
        assert_eq!(value["aps"]["interruption-level"], "time-sensitive");
        assert_eq!(value["aps"]["alert"]["title"], "Cold room too warm");
        let over = Notification { kind: NoticeKind::Resolved, ..notification("Resolved: Cold room too warm", "") };
        let value_over: Value = serde_json::from_slice(&json(&over)).expect("JSON");
        assert_eq!(
            (&value_over["aps"]["interruption-level"], &value_over["aps"]["sound"]),
            (&json!("passive"), &Value::Null)
        );
        assert_eq!(value["open"], json!({ "count": 2, "worst": "critical" }));
    }
}
