//! What a push service's answer means. RFC 8030 §5, and what the large services document beside it.

use crate::channels::reply::Answer;
use pulsewire_core::push::Verdict;

/// `id`: what the service calls the message.
pub(super) fn classify(answer: &Answer<'_>, id: Option<String>) -> Verdict {
    let words = || answer.words("the push service");
    match answer.status {
        200..=299 => Verdict::Delivered { provider_id: id, status: answer.status },
        404 | 410 => Verdict::DropEndpoint { reason: words(), since_us: None, status: answer.status, certain: true },
        // Key, clock or subject; another subscription at the same service would fail like this one.
        401 | 403 => answer.misconfigured(words()),
        // One subscription's bound at some services, the sender's at others; the message waits either way.
        408 | 425 | 429 => answer.retry(None, words()),
        400..=499 => answer.drop_message(words()),
        500 => answer.retry(None, words()),
        502..=599 => answer.down(words()),
        // Redirects are not followed: they could lead anywhere.
        _ => answer.retry(None, format!("{}, which is no answer to a message", words())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_reaction() {
        for (status, name) in [
            (200, "delivered"),
            (201, "delivered"),
            (202, "delivered"),
            (301, "retry"),
            (307, "retry"),
            (400, "drop_message"),
            (401, "misconfigured"),
            (403, "misconfigured"),
            (404, "drop_endpoint"),
            (410, "drop_endpoint"),
            (413, "drop_message"),
            (429, "retry"),
            (500, "retry"),
            (502, "provider_down"),
            (503, "provider_down"),
        ] {
            let answer = Answer { status, body: Some(b"<html>"), retry_after_us: Some(5) };
            let verdict = classify(&answer, None);
            assert_eq!(verdict.name(), name, "{status}");
            assert_eq!(verdict.status(), Some(status));
            assert!(!verdict.reason().contains('<'), "{}", verdict.reason());
            match verdict {
                Verdict::Retry { after_us, .. } | Verdict::ProviderDown { after_us, .. } => {
                    assert_eq!(after_us, Some(5))
                }
                _ => {}
            }
        }
    }
}
