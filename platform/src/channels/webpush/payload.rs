//! What a service worker gets.

use crate::channels::MESSAGE_BYTES_MAX;
use crate::channels::fit::{self, Words};
use pulsewire_core::push::Notification;
use serde_json::{Value, json};

/// The message as JSON, at most [`MESSAGE_BYTES_MAX`] bytes: what is too long is cut.
pub(super) fn json(notification: &Notification) -> Vec<u8> {
    fit::fit(notification, MESSAGE_BYTES_MAX, document)
}

fn document(notification: &Notification, words: &Words) -> Value {
    json!({
        "v": 1,
        "id": notification.message.to_string(),
        "kind": notification.kind.name(),
        "severity": notification.severity.name(),
        "title": words.title,
        "body": words.body,
        "url": words.url,
        "tag": notification.tag,
        "open": fit::open(notification),
        "time": fit::time(notification),
    })
}
