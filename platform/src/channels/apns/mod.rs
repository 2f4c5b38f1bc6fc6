//! Apple's push service: HTTP/2, a provider token signed with the team's key.

mod payload;
mod token;
mod verdict;

pub(super) use payload::aps;
pub use token::ApnsKey;

use super::client::PushClient;
use super::reply::{Answer, unanswered};
use crate::ports::{AddressProblem, PushAddress, PushChannel};
use async_trait::async_trait;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request};
use http_body_util::Full;
use pulsewire_core::push::{ChannelKind, Notification, Verdict, apns_token};

/// Longest bundle id.
const TOPIC_BYTES_MAX: usize = 155;

/// See the module.
pub struct ApnsChannel {
    client: PushClient,
    key: ApnsKey,
    url: String,
    topic: String,
}

/// The delivery's id in the form that Apple wants and echoes: a UUID.
fn apns_id(notification: &Notification) -> String {
    let hex = hex::encode(notification.delivery.0.to_bytes());
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// 10: at once; 5: when it suits the phone's battery, for what is not urgent.
pub(super) fn priority(notification: &Notification) -> &'static str {
    if notification.is_urgent() { "10" } else { "5" }
}

impl ApnsChannel {
    /// `url`: the service's origin; `topic`: the app's bundle id.
    pub fn new(client: PushClient, key: ApnsKey, url: String, topic: String) -> Self {
        Self { client, key, url, topic }
    }

    fn request(
        &self,
        address: &PushAddress,
        notification: &Notification,
        bearer: &str,
    ) -> Result<Request<Full<Bytes>>, String> {
        let PushAddress::Apns { token, topic } = address else { return Err("this is no app of Apple's".into()) };
        Request::builder()
            .method(Method::POST)
            .uri(format!("{}/3/device/{token}", self.url))
            .header(AUTHORIZATION, format!("bearer {bearer}"))
            .header(CONTENT_TYPE, "application/json")
            .header("apns-id", apns_id(notification))
            .header("apns-topic", topic.as_deref().unwrap_or(&self.topic))
            // Also for what only takes the place of an earlier message. Of type `background` it could carry no text, badge or
            // sound, would come a few times an hour at most, never to an app that was closed by hand, and the app itself
            // would have to look for what to replace. What only takes a place has no sound and is passive instead.
            .header("apns-push-type", "alert")
            .header("apns-priority", priority(notification))
            .header("apns-expiration", notification.expires_us / 1_000_000)
            .header("apns-collapse-id", &notification.tag)
            .body(Full::new(payload::json(notification).into()))
            .map_err(|error| format!("the endpoint cannot be addressed: {error}"))
    }
}

#[async_trait]
impl PushChannel for ApnsChannel {
    fn kind(&self) -> ChannelKind {
        ChannelKind::Apns
    }

    fn check(&self, address: PushAddress) -> Result<PushAddress, AddressProblem> {
        let problem = |field, detail: String| AddressProblem { field, detail, private: false };
        let PushAddress::Apns { token, topic } = address else {
            return Err(problem("kind", "this is no app of Apple's".into()));
        };
        let plain = |t: &str| t.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'));
        if topic.as_ref().is_some_and(|t| t.is_empty() || t.len() > TOPIC_BYTES_MAX || !plain(t)) {
            return Err(problem("topic", "topic must be a bundle id: letters, digits, points and hyphens".into()));
        }
        let token = apns_token(&token).map_err(|error| problem("token", error.to_string()))?;
        Ok(PushAddress::Apns { token, topic })
    }

    fn provider(&self, _: &PushAddress) -> String {
        ChannelKind::Apns.name().into()
    }

    fn public_key(&self) -> Option<String> {
        None
    }

    async fn send(&self, address: &PushAddress, notification: &Notification, now_us: i64) -> Verdict {
        let bearer = match self.key.bearer(now_us) {
            Ok(bearer) => bearer,
            // Want of random bytes passes.
            Err(reason) => return Verdict::Retry { after_us: None, reason, status: None, unclear: false },
        };
        let request = match self.request(address, notification, &bearer) {
            Ok(request) => request,
            Err(reason) => return Verdict::DropMessage { reason, status: None },
        };
        match self.client.send(request).await {
            Ok(reply) => {
                let id = reply.headers.get("apns-id").and_then(|id| id.to_str().ok());
                let answer = Answer::of(&reply, now_us);
                if verdict::token_is_old(&answer) {
                    self.key.refuse(now_us);
                }
                verdict::classify(&answer, id)
            }
            Err(error) => unanswered("APNs", &error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::fit::tests::notification;

    #[test]
    fn a_repeat_carries_the_same_uuid() {
        assert_eq!(apns_id(&notification("a", "b")), "abababab-abab-abab-abab-abababababab");
    }
}
