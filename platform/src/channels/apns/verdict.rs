//! What Apple's answer means: developer.apple.com, "Handling notification responses from APNs".

use crate::channels::reply::{Answer, code};
use pulsewire_core::push::{Verdict, clip};

/// Reason and time of an error.
fn error(answer: &Answer<'_>) -> (String, Option<i64>) {
    let Some(body) = answer.json() else { return (String::new(), None) };
    let reason = body["reason"].as_str().and_then(code).unwrap_or_default().to_owned();
    (reason, body["timestamp"].as_i64().and_then(|ms| ms.checked_mul(1000)))
}

/// True if the provider token was refused for its age.
pub(super) fn token_is_old(answer: &Answer<'_>) -> bool {
    answer.status == 403 && error(answer).0 == "ExpiredProviderToken"
}

/// `id`: the `apns-id` of the answer.
pub(super) fn classify(answer: &Answer<'_>, id: Option<&str>) -> Verdict {
    if answer.status == 200 {
        return Verdict::Delivered { provider_id: id.map(|id| clip(id, 64)), status: 200 };
    }
    let (reason, since_us) = error(answer);
    let words = if reason.is_empty() {
        format!("APNs answered {} without a readable reason", answer.status)
    } else {
        format!("APNs answered {}: {reason}", answer.status)
    };
    match (answer.status, reason.as_str()) {
        (400, "BadDeviceToken" | "DeviceTokenNotForTopic") | (410, "Unregistered" | "ExpiredToken") => {
            // The first are also what the tokens of another environment or app get.
            Verdict::DropEndpoint { reason: words, since_us, status: answer.status, certain: answer.status == 410 }
        }
        // Without its reason it may be anybody's answer, and only an explicit word removes an endpoint.
        (410, _) | (_, "") => answer.retry(None, words),
        (400, "IdleTimeout") => answer.retry(None, words),
        (400, "BadTopic" | "MissingTopic" | "TopicDisallowed" | "BadCertificate" | "BadCertificateEnvironment") => {
            answer.misconfigured(words)
        }
        // A new token is made at once, if the last is old enough.
        (403, "ExpiredProviderToken") => answer.retry(None, words),
        (403 | 404, _) => answer.misconfigured(words),
        (429, "TooManyProviderTokenUpdates") => answer.down(words),
        (408 | 429, _) => answer.retry(Some(60_000_000), words),
        (400..=499, _) => answer.drop_message(words),
        (503, "ServiceUnavailable") => answer.down(words),
        _ => answer.retry(None, words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(status: u16, body: &str) -> Verdict {
        classify(&Answer { status, body: Some(body.as_bytes()), retry_after_us: None }, Some("id"))
    }

    #[test]
    fn every_documented_reason_has_its_reaction() {
        for (status, reason, name) in [
            (200, "", "delivered"),
            (400, "BadCollapseId", "drop_message"),
            (400, "BadDeviceToken", "drop_endpoint"),
            (400, "BadTopic", "misconfigured"),
            (400, "DeviceTokenNotForTopic", "drop_endpoint"),
            (400, "IdleTimeout", "retry"),
            (400, "PayloadEmpty", "drop_message"),
            (400, "TopicDisallowed", "misconfigured"),
            (403, "ExpiredProviderToken", "retry"),
            (403, "InvalidProviderToken", "misconfigured"),
            (404, "BadPath", "misconfigured"),
            (405, "MethodNotAllowed", "drop_message"),
            (410, "Unregistered", "drop_endpoint"),
            (410, "ExpiredToken", "drop_endpoint"),
            (413, "PayloadTooLarge", "drop_message"),
            (429, "TooManyProviderTokenUpdates", "provider_down"),
            (429, "TooManyRequests", "retry"),
            (500, "InternalServerError", "retry"),
            (503, "ServiceUnavailable", "provider_down"),
            (503, "Shutdown", "retry"),
        ] {
            let verdict = verdict(status, &format!(r#"{{"reason":"{reason}"}}"#));
            assert_eq!((verdict.name(), verdict.status()), (name, Some(status)), "{status} {reason}");
        }
    }

    #[test]
    fn nonsense_removes_nothing() {
        for body in ["", "<html>", "{", "[]", "null", r#"{"reason":7}"#, r#"{"timestamp":1}"#] {
            for status in [302, 400, 403, 404, 410, 418, 500, 503] {
                assert_eq!(verdict(status, body).name(), "retry", "{status} {body}");
            }
        }
    }

    #[test]
    fn the_time_of_a_lost_token_is_read() {
        let verdict = verdict(410, r#"{"reason":"Unregistered","timestamp":1800000000123}"#);
        assert!(matches!(verdict, Verdict::DropEndpoint { since_us: Some(1_800_000_000_123_000), .. }), "{verdict:?}");
    }
}
