//! What a channel is given to deliver.

use crate::ids::{DeliveryId, MessageId};
use crate::notice::NoticeKind;
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
}

impl ChannelKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::WebPush, Self::Apns, Self::Fcm];

    /// The name used in JSON and in the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::WebPush => "webpush",
            Self::Apns => "apns",
            Self::Fcm => "fcm",
        }
    }

    /// The kind with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.name() == name)
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

/// One message on its way to one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// What fires now.
    pub open: OpenAlerts,
    /// When it happened, µs since the Unix epoch.
    pub event_us: i64,
    /// When it is not worth telling any more.
    pub expires_us: i64,
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
