//! What people are told of an alert, and the ids by which a repeat is known as one.

use crate::alert::Alert;
use crate::ids::{DeliveryId, EndpointId, MessageId, NotificationId, UserName};
use crate::notify::phrases;
use crate::push::Language;
use crate::severity::Severity;
use crate::ulid::Ulid;
use sha2::{Digest, Sha256};

/// What a message is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NoticeKind {
    /// An alert began.
    Firing,
    /// It ended.
    Resolved,
    /// Someone takes care of it: takes the place of its beginning, without a sound.
    Acknowledged,
    /// Several messages that were held back, as one.
    Digest,
    /// Words of an admin to many.
    Announcement,
    /// This server has a trouble that its admins should know of.
    Operator,
    /// Someone wants to know whether messages arrive.
    Test,
}

impl NoticeKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Firing,
        Self::Resolved,
        Self::Acknowledged,
        Self::Digest,
        Self::Announcement,
        Self::Operator,
        Self::Test,
    ];

    /// The name used in JSON and in the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
            Self::Acknowledged => "acknowledged",
            Self::Digest => "digest",
            Self::Announcement => "announcement",
            Self::Operator => "operator",
            Self::Test => "test",
        }
    }

    /// The kind with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.name() == name)
    }

    /// False for what only takes the place of a message before it: the end of an alert, or that someone takes care of it.
    pub fn is_news(self) -> bool {
        !matches!(self, Self::Resolved | Self::Acknowledged)
    }
}

/// What a notice says, in another language than English.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Translation {
    /// Which.
    pub language: Language,
    /// First line.
    pub title: String,
    /// The rest.
    pub body: String,
}

/// What people are told. Who gets it, and where, is decided when it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What it is about.
    pub kind: NoticeKind,
    /// How bad.
    pub severity: Severity,
    /// First line, in English.
    pub title: String,
    /// The rest, in English.
    pub body: String,
    /// Both in other languages.
    pub translations: Vec<Translation>,
    /// When the outbox may act, µs since the Unix epoch.
    pub due_us: i64,
    /// When it is not worth telling any more.
    pub expires_us: i64,
    /// When it happened, by the device's clock.
    pub event_us: i64,
}

/// How long people are given, and how long a message is worth telling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoticePolicy {
    /// Time between an alert and its push, in which someone may see or acknowledge it.
    pub grace_us: i64,
    /// Lifetime of a message, by severity: info, warning, critical.
    pub ttl_us: [i64; 3],
}

impl NoticePolicy {
    /// The notice of an alert that began to fire or ended, in one language. `unit` and the rest are in the alert. A resolve is due at
    /// once: it replaces an alarm on the lock screen, or is not sent at all.
    pub fn notice(&self, language: Language, alert: &Alert, now_us: i64) -> Notice {
        let ttl_us = self.ttl_us[alert.severity as usize];
        let (kind, title, body, due_us, event_us) = match alert.resolved {
            None => {
                let mut body = format!("{}: {}", alert.device_name, phrases::fired(language, alert));
                if !alert.text.is_empty() {
                    body.push_str(". ");
                    body.push_str(&alert.text);
                }
                (
                    NoticeKind::Firing,
                    alert.rule_name.clone(),
                    body,
                    now_us.saturating_add(self.grace_us),
                    alert.fired_us,
                )
            }
            Some((resolved_us, reason)) => {
                let lasted_us = resolved_us.saturating_sub(alert.fired_us);
                let why = phrases::resolved_body(language, reason, lasted_us);
                let body = format!("{}: {why}", alert.device_name);
                (NoticeKind::Resolved, phrases::resolved_title(language, &alert.rule_name), body, now_us, resolved_us)
            }
        };
        let expires_us = now_us.saturating_add(ttl_us);
        let translations = Vec::new();
        Notice { kind, severity: alert.severity, title, body, translations, due_us, expires_us, event_us }
    }
}

impl Notice {
    /// Title and body in a language; in English, if there are none.
    pub fn words(&self, language: Language) -> (&str, &str) {
        let translated = self.translations.iter().find(|words| words.language == language);
        translated.map_or((&self.title, &self.body), |words| (&words.title, &words.body))
    }
}

fn hash(label: &str, parts: &[&[u8]]) -> [u8; 16] {
    let mut hasher = Sha256::new();
    hasher.update(label.as_bytes());
    for part in parts {
        // With its length, so that no two lists of parts read the same.
        hasher.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hasher.update(part);
    }
    let digest = hasher.finalize();
    std::array::from_fn(|i| digest[i])
}

/// The id of the message that tells a user of a decision.
pub fn told_message_id(told: NotificationId, user: &UserName) -> MessageId {
    let parts: [&[u8]; 2] = [&told.0.to_bytes(), user.as_str().as_bytes()];
    MessageId(Ulid::from_bytes(hash("pulsewire told message", &parts)))
}

/// The id of a message that is about no decision: of an announcement, of a digest, of the server's own trouble. `about` says of
/// what, and never the same of two.
pub fn own_message_id(about: &[&[u8]], user: &UserName) -> MessageId {
    let mut parts = about.to_vec();
    parts.push(user.as_str().as_bytes());
    MessageId(Ulid::from_bytes(hash("pulsewire own message", &parts)))
}

/// The id of the message that someone takes care of what this one told.
pub fn acknowledged_id(alarm: MessageId) -> MessageId {
    MessageId(Ulid::from_bytes(hash("pulsewire acknowledged", &[&alarm.0.to_bytes()])))
}

/// The id of the message that stands for these deliveries; their order counts.
pub fn digest_id(deliveries: &[[u8; 16]]) -> MessageId {
    let parts: Vec<&[u8]> = deliveries.iter().map(|id| &id[..]).collect();
    MessageId(Ulid::from_bytes(hash("pulsewire digest", &parts)))
}

/// The id of a message on its way to an endpoint; providers see it, so that a repeat replaces instead of ringing twice.
pub fn delivery_id(message: MessageId, endpoint: EndpointId) -> DeliveryId {
    DeliveryId(Ulid::from_bytes(hash("pulsewire delivery", &[&message.0.to_bytes(), &endpoint.0.to_bytes()])))
}

/// What makes a later message replace an earlier one on a screen: the same for all messages to one user about one group of
/// alerts. 32 characters that fit a Web Push Topic (RFC 8030 §5.4), `apns-collapse-id` and an FCM tag.
pub fn group_collapse_key(group_id: [u8; 16], user: &UserName) -> String {
    let digest = hash("pulsewire group collapse", &[&group_id, user.as_str().as_bytes()]);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_the_same_for_a_repeat_and_differ_for_everything_else() {
        let (a, b) = (NotificationId(Ulid::from_parts(1, 1)), NotificationId(Ulid::from_parts(1, 2)));
        let user = |name| UserName::parse(name).expect("valid");
        assert_eq!(told_message_id(a, &user("kim")), told_message_id(a, &user("kim")));
        let all =
            [told_message_id(a, &user("kim")), told_message_id(b, &user("kim")), told_message_id(a, &user("lee"))];
        for (i, one) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|other| other != one));
        }
        let key = group_collapse_key([7; 16], &user("kim"));
        assert!(key.len() == 32 && key != group_collapse_key([7; 16], &user("lee")));
        assert_ne!(key, group_collapse_key([8; 16], &user("kim")));
    }
}
