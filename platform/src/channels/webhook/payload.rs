//! What a receiver gets: Standard Webhooks 1.0, "Payload structure".

use crate::channels::fit::{self, Words};
use pulsewire_core::notice::NoticeKind;
use pulsewire_core::push::Notification;
use serde_json::{Value, json};

/// The specification asks for less than 20 kB.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// The body. `public_url`: where people reach this server.
pub(super) fn json(notification: &Notification, public_url: Option<&str>) -> Vec<u8> {
    fit::fit(notification, BODY_BYTES_MAX, |notification, words| document(notification, words, public_url))
}

/// Full-stop delimited, so that receivers can choose by the beginning.
fn kind(kind: NoticeKind) -> String {
    match kind {
        NoticeKind::Firing | NoticeKind::Resolved | NoticeKind::Acknowledged => format!("alert.{}", kind.name()),
        NoticeKind::Digest | NoticeKind::Announcement | NoticeKind::Operator | NoticeKind::Test => kind.name().into(),
    }
}

fn document(notification: &Notification, words: &Words, public_url: Option<&str>) -> Value {
    let mut data = fit::facts(notification, words);
    data["title"] = words.title.as_str().into();
    data["body"] = words.body.as_str().into();
    if let Some(origin) = public_url {
        data["link"] = format!("{origin}{}", words.url).into();
    }
    json!({ "type": kind(notification.kind), "timestamp": fit::time(notification), "data": data })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::fit::tests::{complete, ended, pretty};

    #[test]
    fn a_receiver_gets_type_time_and_data() {
        insta::assert_snapshot!("webhook_firing", pretty(&json(&complete(), Some("https://pulsewire.example.org"))));
        insta::assert_snapshot!("webhook_resolved", pretty(&json(&ended(), None)));
    }
}
