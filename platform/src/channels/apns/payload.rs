//! What an app of Apple's gets.

use crate::channels::MESSAGE_BYTES_MAX;
use crate::channels::fit::{self, Words};
use pulsewire_core::push::Notification;
use pulsewire_core::severity::Severity;
use serde_json::{Value, json};

/// The category under which an app declares the buttons of an alert.
pub(in crate::channels) const CATEGORY: &str = "PULSEWIRE_ALERT";

/// The message as JSON, at most [`MESSAGE_BYTES_MAX`] bytes.
pub(super) fn json(notification: &Notification) -> Vec<u8> {
    fit::fit(notification, MESSAGE_BYTES_MAX, document)
}

fn document(notification: &Notification, words: &Words) -> Value {
    let mut document = fit::facts(notification, words);
    let mut aps = aps(notification, words);
    aps["alert"] = json!({ "title": words.title, "body": words.body });
    document["aps"] = aps;
    document
}

/// How the system shows it: all but the words. developer.apple.com, "Generating a remote notification".
pub(in crate::channels) fn aps(notification: &Notification, words: &Words) -> Value {
    // Time-sensitive messages break through a Focus; nothing else should. What is neither urgent nor heard lights no screen.
    let level = match notification.is_urgent() {
        true if notification.severity == Severity::Critical => "time-sensitive",
        false if !notification.rings() => "passive",
        _ => "active",
    };
    let mut aps = json!({
        "badge": notification.open.count,
        "interruption-level": level,
        "thread-id": notification.tag,
    });
    if notification.rings() {
        aps["sound"] = "default".into();
    }
    if notification.has_actions() {
        aps["category"] = CATEGORY.into();
    }
    if words.image.is_some() {
        // Lets the app's extension fetch the picture.
        aps["mutable-content"] = 1.into();
    }
    aps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::fit::tests::{complete, ended, notification, pretty};
    use pulsewire_core::notice::NoticeKind;
    use pulsewire_core::push::{Look, Sound};

    #[test]
    fn an_app_gets_what_it_needs_to_show_and_to_act() {
        insta::assert_snapshot!("apns_firing", pretty(&json(&complete())));
        insta::assert_snapshot!("apns_resolved", pretty(&json(&ended())));
    }

    #[test]
    fn a_critical_alert_is_time_sensitive_and_fits() {
        let built = json(&notification("Cold room too warm", &"ü".repeat(4000)));
        assert!(built.len() <= MESSAGE_BYTES_MAX);
        let value: Value = serde_json::from_slice(&built).expect("JSON");
        assert_eq!(value["aps"]["interruption-level"], "time-sensitive");
        assert_eq!(value["aps"]["alert"]["title"], "Cold room too warm");
        assert_eq!(value["open"], json!({ "count": 2, "worst": "critical" }));
    }

    #[test]
    fn what_may_be_heard_decides_on_the_sound_and_what_is_urgent_on_the_level() {
        let (never, always) = (Sound::Never, Sound::Always);
        for (kind, severity, sound, level, heard) in [
            (NoticeKind::Firing, Severity::Critical, never, "time-sensitive", Value::Null),
            (NoticeKind::Firing, Severity::Warning, never, "active", Value::Null),
            (NoticeKind::Firing, Severity::Info, never, "passive", Value::Null),
            (NoticeKind::Firing, Severity::Info, always, "active", json!("default")),
            (NoticeKind::Resolved, Severity::Critical, always, "passive", Value::Null),
        ] {
            let look = Look { sound, ..Look::default() };
            let value: Value =
                serde_json::from_slice(&json(&Notification { kind, severity, look, ..complete() })).expect("JSON");
            let found = (&value["aps"]["interruption-level"], &value["aps"]["sound"]);
            assert_eq!(found, (&json!(level), &heard), "{kind:?} {severity:?} {sound:?}");
        }
    }
}
