//! What a channel is given to deliver.

use crate::ids::{DeliveryId, MessageId};
use crate::notice::NoticeKind;
use crate::push::preferences::{Language, Sound, Stay};
use crate::severity::Severity;

/// How a message travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ChannelKind {
    /// A browser's push service: RFC 8030, 8291, 8292.
    WebPush,
    /// Apple's service for apps.
    Apns,
    /// Google's service for apps.
    Fcm,
    /// A mailbox.
    Email,
    /// A service of the user's own: a signed request.
    Webhook,
}

impl ChannelKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::WebPush, Self::Apns, Self::Fcm, Self::Email, Self::Webhook];

    /// The name used in JSON and in the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::WebPush => "webpush",
            Self::Apns => "apns",
            Self::Fcm => "fcm",
            Self::Email => "email",
            Self::Webhook => "webhook",
        }
    }

    /// The kind with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.name() == name)
    }
}

/// What goes first: a lower one never waits for a higher one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Priority {
    /// A critical alert.
    Critical,
    /// Every other message to one person.
    Normal,
    /// One of many.
    Bulk,
}

impl Priority {
    /// That of an alert.
    pub fn of(severity: Severity) -> Self {
        if severity == Severity::Critical { Self::Critical } else { Self::Normal }
    }
}

/// All alerts that fire while the message is sent: a phone that was away may get only the last of several messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpenAlerts {
    /// How many.
    pub count: u32,
    /// The worst of them.
    pub worst: Option<Severity>,
}

/// How a message is shown and heard: what its person wishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Look {
    /// The language of what is not written by people.
    pub language: Language,
    /// Whether it may be heard.
    pub sound: Sound,
    /// Whether it stays until someone touches it.
    pub stay: Stay,
}

/// One message on its way to one endpoint. It has no `Debug`: its token is a secret for as long as it is good.
#[derive(Clone, PartialEq, Eq)]
pub struct Notification {
    /// The message.
    pub message: MessageId,
    /// Its delivery to this endpoint; the same at each attempt.
    pub delivery: DeliveryId,
    /// Of messages with the same one a device shows the newest only: `resolved` takes the place of `firing`. 22 characters
    /// of base64url.
    pub tag: String,
    /// What it is about.
    pub kind: NoticeKind,
    /// How bad.
    pub severity: Severity,
    /// First line.
    pub title: String,
    /// The rest.
    pub body: String,
    /// Path on this server.
    pub url: String,
    /// An https address of a picture, for channels that show one.
    pub image: Option<String>,
    /// How it is shown.
    pub look: Look,
    /// What a device gives back to act for the person without signing in; None if there is nothing to do. 75 characters of
    /// base64url.
    pub token: Option<String>,
    /// What fires now.
    pub open: OpenAlerts,
    /// When it happened, µs since the Unix epoch.
    pub event_us: i64,
    /// When it is not worth telling any more.
    pub expires_us: i64,
}

impl Notification {
    /// Whether it should be heard. What ends, or takes the place of what was told, is not, nor is an information, unless the
    /// person wants all of it heard.
    pub fn rings(&self) -> bool {
        let news = self.kind.is_news();
        match self.look.sound {
            Sound::Never => false,
            Sound::Always => news,
            Sound::Auto => news && self.severity > Severity::Info,
        }
    }

    /// Whether it should wake a sleeping device: news of more than an information. What may be heard has no part in it.
    pub fn is_urgent(&self) -> bool {
        self.kind.is_news() && self.severity > Severity::Info
    }

    /// Whether it stays on the screen until someone touches it.
    pub fn stays(&self) -> bool {
        let news = self.kind.is_news();
        match self.look.stay {
            Stay::Never => false,
            Stay::Always => news,
            Stay::Critical => news && self.severity == Severity::Critical,
        }
    }

    /// Whether the person can acknowledge or silence what it is about.
    pub fn has_actions(&self) -> bool {
        self.kind == NoticeKind::Firing && self.token.is_some()
    }
}

/// At most `bytes_max` bytes of a text, cut between characters, with `…` where something is missing. Less than three bytes
/// hold no `…` and give nothing of a text that is too long.
pub fn clip(text: &str, bytes_max: usize) -> String {
    const MARK: char = '…';
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let Some(room) = bytes_max.checked_sub(MARK.len_utf8()) else { return String::new() };
    let mut end = room;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut clipped = text[..end].to_owned();
    clipped.push(MARK);
    clipped
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_clipped_text_fits_and_begins_like_the_whole(text in "\\PC*", bytes_max in 0usize..64) {
            let clipped = clip(&text, bytes_max);
            prop_assert!(clipped.len() <= bytes_max);
            prop_assert!(text.starts_with(clipped.trim_end_matches('…')) || text == clipped);
        }
    }
}
