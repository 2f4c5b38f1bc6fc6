//! What a receiver's answer means. Standard Webhooks 1.0, "Deliverability and reliability": 410 ends it, 429 and 5xx slow it
//! down, all else but 2xx is a failure.

use crate::channels::reply::Answer;
use pulsewire_core::push::Verdict;

/// What reasons call it: its address is a secret.
pub(super) const RECEIVER: &str = "the webhook";

pub(super) fn classify(answer: &Answer<'_>) -> Verdict {
    // Nothing of the body: it is anybody's, and could repeat the address or the message's token.
    let words = format!("{RECEIVER} answered {}", answer.status);
    match answer.status {
        200..=299 => Verdict::Delivered { provider_id: None, status: answer.status },
        410 => Verdict::DropEndpoint { reason: words, since_us: None, status: 410, certain: true },
        // It was understood, and will never be taken.
        400 | 413 | 415 | 422 => answer.drop_message(words),
        // Also 404, 401 and the like: a receiver that is being set up or deployed answers so for a while. Redirects are not
        // followed: they could lead anywhere.
        _ => answer.retry(None, words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_reaction() {
        for (status, name) in [
            (200, "delivered"),
            (204, "delivered"),
            (301, "retry"),
            (307, "retry"),
            (400, "drop_message"),
            (401, "retry"),
            (403, "retry"),
            (404, "retry"),
            (408, "retry"),
            (410, "drop_endpoint"),
            (413, "drop_message"),
            (415, "drop_message"),
            (422, "drop_message"),
            (425, "retry"),
            (429, "retry"),
            (500, "retry"),
            (502, "retry"),
            (503, "retry"),
        ] {
            let body = br#"{"error":"secret word","reason":"https://x.org/hook"}"#;
            let verdict = classify(&Answer { status, body: Some(body), retry_after_us: Some(5) });
            assert_eq!((verdict.name(), verdict.status()), (name, Some(status)), "{status}");
            assert!(!verdict.reason().contains("secret") && !verdict.reason().contains("x.org"), "{status}");
            if let Verdict::Retry { after_us, .. } = verdict {
                assert_eq!(after_us, Some(5));
            }
        }
    }
}
