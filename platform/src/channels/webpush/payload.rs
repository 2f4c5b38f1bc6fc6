//! What a service worker gets.

use crate::channels::MESSAGE_BYTES_MAX;
use crate::channels::fit::{self, Words};
use pulsewire_core::push::Notification;
use serde_json::Value;

/// The message as JSON, at most [`MESSAGE_BYTES_MAX`] bytes: what is too long is cut.
pub(super) fn json(notification: &Notification) -> Vec<u8> {
    fit::fit(notification, MESSAGE_BYTES_MAX, document)
}

fn document(notification: &Notification, words: &Words) -> Value {
    let mut document = fit::facts(notification, words);
    document["title"] = words.title.as_str().into();
    document["body"] = words.body.as_str().into();
    document
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::fit::tests::{complete, ended, pretty};

    #[test]
    fn a_service_worker_gets_what_it_needs_to_show_and_to_act() {
        insta::assert_snapshot!("webpush_firing", pretty(&json(&complete())));
        insta::assert_snapshot!("webpush_resolved", pretty(&json(&ended())));
    }

    #[test]
    fn everything_fits_with_the_longest_words() {
        let long = Notification { body: "\u{1}".repeat(4000), title: "ü".repeat(400), ..complete() };
        let built = json(&long);
        assert!(built.len() <= MESSAGE_BYTES_MAX);
        let value: Value = serde_json::from_slice(&built).expect("JSON");
        assert_eq!(value["token"].as_str().map(str::len), Some(75));
    }
}
