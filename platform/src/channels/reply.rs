//! What all providers' answers have in common.

use super::client::{NoReply, Reply};
use http::HeaderMap;
use http::header::RETRY_AFTER;
use pulsewire_core::push::Verdict;
use serde_json::Value;
use std::time::UNIX_EPOCH;

/// What a classifier sees of an answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer<'a> {
    pub status: u16,
    /// The body, if it came whole.
    pub body: Option<&'a [u8]>,
    /// Time to wait, from Retry-After.
    pub retry_after_us: Option<i64>,
}

impl<'a> Answer<'a> {
    pub(super) fn of(reply: &'a Reply, now_us: i64) -> Self {
        Self {
            status: reply.status,
            body: reply.body.as_deref(),
            retry_after_us: retry_after_us(&reply.headers, now_us),
        }
    }

    /// The body as JSON.
    pub(super) fn json(&self) -> Option<Value> {
        serde_json::from_slice(self.body?).ok()
    }

    /// The status in words, with what push services are known to say beside it. Nothing else of the body: it could repeat
    /// the address or a token.
    pub(super) fn words(&self, provider: &str) -> String {
        let mut words = format!("{provider} answered {}", self.status);
        let Some(body) = self.json() else { return words };
        for name in ["reason", "error"] {
            if let Some(said) = body.get(name).and_then(Value::as_str).and_then(code) {
                words.push_str(&format!(": {said}"));
            }
        }
        if let Some(number) = body.get("errno").and_then(Value::as_u64) {
            words.push_str(&format!(" (errno {number})"));
        }
        words
    }

    pub(super) fn retry(&self, default_us: Option<i64>, reason: String) -> Verdict {
        let after_us = self.retry_after_us.or(default_us);
        Verdict::Retry { after_us, reason, status: Some(self.status), unclear: false }
    }

    pub(super) fn down(&self, reason: String) -> Verdict {
        Verdict::ProviderDown { after_us: self.retry_after_us, reason, status: Some(self.status) }
    }

    pub(super) fn drop_message(&self, reason: String) -> Verdict {
        Verdict::DropMessage { reason, status: Some(self.status) }
    }

    pub(super) fn misconfigured(&self, reason: String) -> Verdict {
        Verdict::Misconfigured { reason, status: Some(self.status) }
    }
}

/// A code or name of an error, which is of letters; tokens and addresses are not, or longer.
pub(super) fn code(text: &str) -> Option<&str> {
    let plain = |b: u8| b.is_ascii_alphabetic() || matches!(b, b' ' | b'_' | b'-');
    Some(text).filter(|text| (1..=48).contains(&text.len()) && text.bytes().all(plain))
}

/// Without an answer.
pub(super) fn unanswered(provider: &str, error: &NoReply) -> Verdict {
    let reason = format!("{provider}: {error}");
    match error {
        // A private address where there was a public one is a resolver's bad moment as often as an attack.
        NoReply::Private | NoReply::Unreachable(_) => Verdict::ProviderDown { after_us: None, reason, status: None },
        NoReply::Refused(_) => Verdict::Retry { after_us: None, reason, status: None, unclear: false },
        NoReply::Interrupted(_) | NoReply::TimedOut(_) => {
            Verdict::Retry { after_us: None, reason, status: None, unclear: true }
        }
    }
}

/// Retry-After, in seconds or as a date in any of its three forms (RFC 9110 §10.2.3 and §5.6.7); a date in the past is no
/// wait. Dates as mails have them, with a zone of digits, are taken, too.
pub(super) fn retry_after_us(headers: &HeaderMap, now_us: i64) -> Option<i64> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(i64::from(seconds) * 1_000_000);
    }
    let date_us = match httpdate::parse_http_date(text) {
        Ok(date) => i64::try_from(date.duration_since(UNIX_EPOCH).ok()?.as_micros()).ok()?,
        Err(_) => jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?.as_microsecond(),
    };
    Some(date_us.saturating_sub(now_us).max(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_words_of_a_body_are_repeated() {
        let words = |body: &str| Answer { status: 400, body: Some(body.as_bytes()), retry_after_us: None }.words("it");
        assert_eq!(
            words(r#"{"errno":109,"error":"Bad Request","message":"https://x/tok"}"#),
            "it answered 400: Bad Request (errno 109)"
        );
        assert_eq!(words(r#"{"reason":"BadJwtToken"}"#), "it answered 400: BadJwtToken");
        for secret in [
            "no such subscription: https://push.example/wp/gAAAAAB",
            r#"{"reason":"https://x/y"}"#,
            r#"{"error":"a1b2c3d4"}"#,
        ] {
            assert_eq!(words(secret), "it answered 400");
        }
    }

    #[test]
    fn what_was_refused_unread_is_not_unclear() {
        let unclear = |error: &NoReply| matches!(unanswered("it", error), Verdict::Retry { unclear: true, .. });
        assert!(!unclear(&NoReply::Refused("refused".into())) && unclear(&NoReply::Interrupted("ended".into())));
    }

    #[test]
    fn an_address_that_is_private_for_a_moment_costs_no_message() {
        assert_eq!(unanswered("it", &NoReply::Private).name(), "provider_down");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let after = |text: &str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().expect("a header"))]);
            retry_after_us(&headers, 784_111_777_000_000)
        };
        assert_eq!(after("120"), Some(120_000_000));
        assert_eq!(after("Sun, 06 Nov 1994 08:50:37 GMT"), Some(60_000_000));
        assert_eq!(after("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0));
        assert_eq!(after("Sunday, 06-Nov-94 08:50:37 GMT"), Some(60_000_000));
        assert_eq!(after("Sun Nov  6 08:50:37 1994"), Some(60_000_000));
        assert_eq!(after("Sun, 06 Nov 1994 09:50:37 +0100"), Some(60_000_000));
        assert_eq!(after("Wednesday, 16-Nov-94 08:49:37 GMT"), Some(864_000_000_000));
        for nonsense in ["soon", "-1", "", "Sun Nov 31 08:50:37 1994", "Sunday, 06-Nov-94", "99999999999999999999"] {
            assert_eq!(after(nonsense), None, "{nonsense}");
        }
    }
}
