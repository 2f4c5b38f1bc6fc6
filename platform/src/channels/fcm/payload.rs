//! What FCM is asked to deliver: `projects.messages.send`. A registration token is an Android app's, an iPhone app's or a
//! browser's, and nothing tells which; so the request says for all three how the message is to look.

use crate::channels::MESSAGE_BYTES_MAX;
use crate::channels::apns::{aps, priority};
use crate::channels::fit::{self, Words};
use crate::channels::webpush::urgency;
use pulsewire_core::push::Notification;
use serde_json::{Value, json};

/// FCM keeps a message for at most 28 days.
const TTL_S_MAX: i64 = 28 * 86_400;

/// The request. Without the registration token it has at most [`MESSAGE_BYTES_MAX`] bytes. `public_url`: where people reach
/// this server, for the link of a browser's message.
pub(super) fn json(notification: &Notification, token: &str, public_url: Option<&str>, now_us: i64) -> Vec<u8> {
    let document = |notification: &Notification, words: &Words| json!({ "message": message(notification, words, public_url, now_us) });
    let body = fit::fit(notification, MESSAGE_BYTES_MAX, document);
    let mut document: Value = serde_json::from_slice(&body).unwrap_or_default();
    document["message"]["token"] = token.into();
    document.to_string().into_bytes()
}

fn message(notification: &Notification, words: &Words, public_url: Option<&str>, now_us: i64) -> Value {
    let ttl_s = (notification.expires_us.saturating_sub(now_us) / 1_000_000).clamp(0, TTL_S_MAX);
    let mut shown = json!({ "title": words.title, "body": words.body });
    if let Some(image) = &words.image {
        shown["image"] = image.as_str().into();
    }
    json!({
        "notification": shown,
        "data": data(notification, words),
        "android": android(notification, ttl_s),
        "apns": {
            "headers": {
                "apns-collapse-id": notification.tag,
                "apns-expiration": (notification.expires_us / 1_000_000).to_string(),
                "apns-priority": priority(notification),
            },
            // The words and the picture come from `notification`.
            "payload": { "aps": aps(notification, words) },
        },
        "webpush": webpush(notification, words, public_url, ttl_s),
    })
}

/// The facts. Every value of `data` is a string, by its contract.
fn data(notification: &Notification, words: &Words) -> Value {
    let mut data = json!({
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
        "lang": fit::language(notification),
        "ring": notification.rings().to_string(),
        "stay": notification.stays().to_string(),
        "actions": fit::actions(notification).join(","),
    });
    if let Some(token) = &notification.token {
        data["token"] = token.as_str().into();
    }
    if let Some(image) = &words.image {
        data["image"] = image.as_str().into();
    }
    data
}

fn android(notification: &Notification, ttl_s: i64) -> Value {
    // Since Android 8 the channel decides what is heard; before it, the sound.
    let channel = if notification.rings() { notification.severity.name() } else { "quiet" };
    let mut shown = json!({ "tag": notification.tag, "channel_id": format!("pulsewire_{channel}") });
    if notification.rings() {
        shown["sound"] = "default".into();
    }
    if notification.open.count > 0 {
        // 0 would count up by one with each message.
        shown["notification_count"] = notification.open.count.into();
    }
    json!({
        "collapse_key": notification.tag,
        // Only a high priority wakes a sleeping phone.
        "priority": if notification.is_urgent() { "HIGH" } else { "NORMAL" },
        "ttl": format!("{ttl_s}s"),
        "notification": shown,
    })
}

fn webpush(notification: &Notification, words: &Words, public_url: Option<&str>, ttl_s: i64) -> Value {
    let language = notification.look.language;
    let action = |action: &&str| json!({ "action": action, "title": fit::action_title(action, language) });
    let actions: Vec<_> = fit::actions(notification).iter().map(action).collect();
    let mut webpush = json!({
        "headers": { "TTL": ttl_s.to_string(), "Topic": notification.tag, "Urgency": urgency(notification) },
        "notification": {
            "tag": notification.tag,
            "renotify": notification.rings(),
            "silent": !notification.rings(),
            "requireInteraction": notification.stays(),
            "lang": fit::language(notification),
        },
    });
    if !actions.is_empty() {
        webpush["notification"]["actions"] = actions.into();
    }
    // FCM takes https only.
    if let Some(origin) = public_url.filter(|url| url.starts_with("https://")) {
        webpush["fcm_options"] = json!({ "link": format!("{origin}{}", words.url) });
    }
    webpush
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::fit::tests::{complete, ended, notification, pretty};
    use pulsewire_core::push::{Look, Sound};

    const NOW: i64 = 1_800_000_000_000_000;
    const HERE: Option<&str> = Some("https://pulsewire.example.org");

    #[test]
    fn android_iphone_and_browser_get_what_they_need_to_show_and_to_act() {
        insta::assert_snapshot!("fcm_firing", pretty(&json(&complete(), "registration", HERE, NOW)));
        insta::assert_snapshot!("fcm_resolved", pretty(&json(&ended(), "registration", None, NOW)));
    }

    #[test]
    fn who_wants_to_hear_nothing_still_gets_what_is_urgent_at_once() {
        let look = Look { sound: Sound::Never, ..Look::default() };
        let value: Value =
            serde_json::from_slice(&json(&Notification { look, ..complete() }, "t", HERE, NOW)).expect("JSON");
        let message = &value["message"];
        assert_eq!(message["android"]["priority"], "HIGH");
        assert_eq!(message["android"]["notification"]["channel_id"], "pulsewire_quiet");
        assert_eq!(message["apns"]["headers"]["apns-priority"], "10");
        assert_eq!(message["webpush"]["headers"]["Urgency"], "high");
        assert_eq!(message["webpush"]["notification"]["silent"], true);
    }

    #[test]
    fn data_is_of_strings_and_everything_but_the_token_fits() {
        let token = "t".repeat(4096);
        let long = Notification { body: "\u{1}".repeat(4000), title: "ü".repeat(400), ..complete() };
        for notification in [notification("Cold", &"\u{1}".repeat(4000)), long] {
            let built = json(&notification, &token, HERE, NOW);
            assert!(built.len() <= MESSAGE_BYTES_MAX + token.len() + 16, "{}", built.len());
            let value: Value = serde_json::from_slice(&built).expect("JSON");
            let message = &value["message"];
            assert!(message["data"].as_object().expect("an object").values().all(Value::is_string));
            assert_eq!(message["token"], token);
            assert_eq!(message["android"]["ttl"], "3600s");
            assert_eq!(message["android"]["notification"]["tag"], message["android"]["collapse_key"]);
            assert_eq!(message["data"]["token"].as_str(), notification.token.as_deref());
            // Room is left for words that fit a phone's screen.
            assert!(message["notification"]["title"].as_str().expect("a title").len() > 3);
        }
    }

    #[test]
    fn a_screen_full_of_words_fits_with_everything_else() {
        let body = "x".repeat(400);
        let notification = Notification { body: body.clone(), ..complete() };
        let value: Value = serde_json::from_slice(&json(&notification, "t", HERE, NOW)).expect("JSON");
        assert_eq!(value["message"]["notification"]["body"], body);
    }
}
