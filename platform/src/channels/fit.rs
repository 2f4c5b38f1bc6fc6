//! Making payloads that fit: titles and bodies are people's words and may be long.

use pulsewire_core::push::{Language, Notification, clip};
use serde_json::{Value, json};

/// Longest title and URL, in bytes, before anything else is cut.
const TITLE_BYTES_MAX: usize = 200;
const URL_BYTES_MAX: usize = 256;

/// The words of a message, cut as far as needed.
pub(super) struct Words {
    pub title: String,
    pub body: String,
    pub url: String,
    /// Its picture, if there is room for it.
    pub image: Option<String>,
}

/// Builds a document and cuts its words until it has at most `bytes_max` bytes. Escapes in JSON can make a byte into six, so
/// the size is only known when it is built. A picture that leaves too little room for the words is left out.
pub(super) fn fit(
    notification: &Notification,
    bytes_max: usize,
    document: impl Fn(&Notification, &Words) -> Value,
) -> Vec<u8> {
    let url = if notification.url.len() <= URL_BYTES_MAX { notification.url.clone() } else { "/".into() };
    let (mut title_max, mut body_max) = (TITLE_BYTES_MAX, bytes_max);
    let mut image = notification.image.clone();
    loop {
        let words = Words {
            title: clip(&notification.title, title_max),
            body: clip(&notification.body, body_max),
            url: url.clone(),
            image: image.clone(),
        };
        let built = document(notification, &words).to_string();
        if built.len() <= bytes_max || (title_max == 0 && body_max == 0) {
            return built.into_bytes();
        }
        if image.take().is_some() {
            continue;
        }
        // Never less than the excess divided by the worst escape, so few rounds are needed and little is cut in vain.
        let excess = (built.len() - bytes_max).div_ceil(6);
        if body_max > 0 {
            body_max = words.body.len().saturating_sub(excess.max(1));
        } else {
            title_max = words.title.len().saturating_sub(excess.max(1));
        }
    }
}

/// What the device can do for the person without signing in, by the names of `POST /api/v1/push/actions`.
pub(super) fn actions(notification: &Notification) -> &'static [&'static str] {
    if notification.has_actions() { &["acknowledge", "silence"] } else { &[] }
}

/// The label of such an action.
pub(super) fn action_title(action: &str, language: Language) -> &'static str {
    match (action, language) {
        ("acknowledge", Language::En) => "Acknowledge",
        ("acknowledge", Language::De) => "Bestätigen",
        (_, Language::En) => "Silence 1 h",
        (_, Language::De) => "1 h stumm",
    }
}

/// The language's tag, BCP 47.
pub(super) fn language(notification: &Notification) -> &'static str {
    match notification.look.language {
        Language::En => "en",
        Language::De => "de",
    }
}

/// What every device gets to know of a message beside its words, version 1: docs/push.md.
pub(super) fn facts(notification: &Notification, words: &Words) -> Value {
    let mut facts = json!({
        "v": 1,
        "id": notification.message.to_string(),
        "kind": notification.kind.name(),
        "severity": notification.severity.name(),
        "url": words.url,
        "tag": notification.tag,
        "open": open(notification),
        "time": time(notification),
        "lang": language(notification),
        "ring": notification.rings(),
        "stay": notification.stays(),
        "actions": actions(notification),
    });
    if let Some(token) = &notification.token {
        facts["token"] = token.as_str().into();
    }
    if let Some(image) = &words.image {
        facts["image"] = image.as_str().into();
    }
    facts
}

/// All alerts that fire now.
pub(super) fn open(notification: &Notification) -> Value {
    json!({ "count": notification.open.count, "worst": notification.open.worst.map(|s| s.name()) })
}

/// When it happened, RFC 3339.
pub(super) fn time(notification: &Notification) -> String {
    jiff::Timestamp::from_microsecond(notification.event_us).map(|t| t.to_string()).unwrap_or_default()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;
    use pulsewire_core::ids::{DeliveryId, MessageId};
    use pulsewire_core::notice::NoticeKind;
    use pulsewire_core::push::{Look, OpenAlerts};
    use pulsewire_core::severity::Severity;
    use pulsewire_core::ulid::Ulid;

    /// A notification with these words.
    pub(in crate::channels) fn notification(title: &str, body: &str) -> Notification {
        Notification {
            message: MessageId(Ulid::from_parts(1_800_000_000_000_000, 7)),
            delivery: DeliveryId(Ulid::from_bytes([0xab; 16])),
            tag: "0123456789abcdef0123456789abcdef".into(),
            kind: NoticeKind::Firing,
            severity: Severity::Critical,
            title: title.into(),
            body: body.into(),
            url: "/alerts/01KAJ4QQ7Y0000000000000000".into(),
            image: None,
            look: Look::default(),
            token: None,
            open: OpenAlerts { count: 2, worst: Some(Severity::Critical) },
            event_us: 1_800_000_000_123_456,
            expires_us: 1_800_003_600_000_000,
        }
    }

    /// An alert that can be acted upon, with a picture.
    pub(in crate::channels) fn complete() -> Notification {
        Notification {
            tag: "AbCdEfGhIjKlMnOpQrStUv".into(),
            token: Some("t".repeat(75)),
            image: Some("https://example.org/room.png".into()),
            ..notification("Cold room too warm", "cold-1: temperature is -8 °C")
        }
    }

    /// Its end, in German.
    pub(in crate::channels) fn ended() -> Notification {
        let look = Look { language: Language::De, ..Look::default() };
        let open = OpenAlerts::default();
        Notification { kind: NoticeKind::Resolved, image: None, look, open, ..complete() }
    }

    /// A golden text of a document, for people to read.
    pub(in crate::channels) fn pretty(document: &[u8]) -> String {
        let value: Value = serde_json::from_slice(document).expect("JSON");
        serde_json::to_string_pretty(&value).expect("JSON")
    }

    #[test]
    fn words_go_before_pictures() {
        let image = Some(format!("https://example.org/{}", "i".repeat(700)));
        let document = |n: &Notification, w: &Words| json!({ "body": w.body, "facts": facts(n, w) });
        let built = |body: usize| {
            let notification = Notification { image: image.clone(), ..notification("", &"x".repeat(body)) };
            let value: Value = serde_json::from_slice(&fit(&notification, 2048, document)).expect("JSON");
            (value["body"].as_str().map(str::len), value["facts"]["image"].is_string())
        };
        assert_eq!(built(400), (Some(400), true));
        assert_eq!(built(1400), (Some(1400), false));
    }

    proptest! {
        #[test]
        fn every_payload_fits_whatever_the_words(
            title in prop_oneof!["\\PC{0,400}", "[\u{0}-\u{1f}\"\\\\]{0,400}"],
            body in prop_oneof!["\\PC{0,4000}", "[\u{0}-\u{1f}\"\\\\]{0,4000}", "[😀é\n]{0,2000}"],
        ) {
            let built = fit(&notification(&title, &body), 2048, |n, w| {
                json!({ "t": w.title, "b": w.body, "facts": facts(n, w) })
            });
            prop_assert!(built.len() <= 2048);
            prop_assert!(serde_json::from_slice::<Value>(&built).is_ok());
            if body.len() < 200 && title.len() < 100 && body.is_ascii() && !body.contains(|c: char| c.is_control()) {
                let value: Value = serde_json::from_slice(&built).expect("JSON");
                prop_assert_eq!(value["b"].as_str(), Some(body.as_str()));
            }
        }
    }
}
