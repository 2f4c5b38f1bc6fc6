//! What all providers' answers have in common.

use super::client::{NoReply, Reply};
use http::HeaderMap;
use http::header::RETRY_AFTER;
use pulsewire_core::push::{Verdict, clip};
use serde_json::Value;

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

    /// The status in words, with what the provider said if it is short and readable.
    pub(super) fn words(&self, provider: &str) -> String {
        let said = self.body.and_then(|body| std::str::from_utf8(body).ok()).map(str::trim).unwrap_or_default();
        let readable = !said.is_empty() && !said.chars().any(char::is_control) && !said.starts_with('<');
        let said = if readable { format!(": {}", clip(said, 160)) } else { String::new() };
        format!("{provider} answered {}{said}", self.status)
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

/// Without an answer.
pub(super) fn unanswered(provider: &str, error: &NoReply) -> Verdict {
    let reason = format!("{provider}: {error}");
    match error {
        NoReply::Private => Verdict::DropMessage { reason, status: None },
        NoReply::Unreachable(_) => Verdict::ProviderDown { after_us: None, reason, status: None },
        NoReply::Interrupted(_) | NoReply::TimedOut(_) => {
            Verdict::Retry { after_us: None, reason, status: None, unclear: true }
        }
    }
}

/// Retry-After, in seconds or as a date (RFC 9110 §10.2.3); a date in the past is no wait.
pub(super) fn retry_after_us(headers: &HeaderMap, now_us: i64) -> Option<i64> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(i64::from(seconds) * 1_000_000);
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(date.as_microsecond().saturating_sub(now_us).max(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let after = |text: &str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().expect("a header"))]);
            retry_after_us(&headers, 784_111_777_000_000)
        };
        assert_eq!(after("120"), Some(120_000_000));
        assert_eq!(after("Sun, 06 Nov 1994 08:50:37 GMT"), Some(60_000_000));
        assert_eq!(after("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0));
        for nonsense in ["soon", "-1", "", "99999999999999999999"] {
            assert_eq!(after(nonsense), None, "{nonsense}");
        }
    }
}
