//! Services of users' own: signed requests as the Standard Webhooks specification 1.0 has them, so that receivers can check
//! them with the libraries that exist for it.

mod payload;
mod secret;
mod verdict;

use super::client::PushClient;
use super::reply::{Answer, unanswered};
use crate::ports::{AddressProblem, PushAddress, PushChannel};
use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{Method, Request};
use http_body_util::Full;
use pulsewire_core::push::{AddressError, ChannelKind, Notification, Verdict, host_of, webpush_url};
use secret::Secret;

/// See the module.
pub struct WebhookChannel {
    client: PushClient,
    public_url: Option<String>,
    allow_private: bool,
}

impl WebhookChannel {
    /// `client` should reach public addresses only, unless `allow_private`; `public_url`: where people reach this server.
    pub fn new(client: PushClient, public_url: Option<String>, allow_private: bool) -> Self {
        Self { client, public_url, allow_private }
    }

    fn request(
        &self,
        address: &PushAddress,
        notification: &Notification,
        now_us: i64,
    ) -> Result<Request<Full<Bytes>>, String> {
        let PushAddress::Webhook { url, secret } = address else { return Err("this is no webhook".into()) };
        webpush_url(url, self.allow_private).map_err(|error| error.to_string())?;
        let secret = Secret::parse(secret).ok_or("the endpoint's secret is not valid")?;
        let body = payload::json(notification, self.public_url.as_deref());
        // The time of the attempt, not of the event: receivers refuse what is old.
        let (id, time_s) = (notification.delivery.to_string(), now_us.div_euclid(1_000_000));
        let signature = secret.sign(&id, time_s, &body);
        Request::builder()
            .method(Method::POST)
            .uri(url)
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("pulsewire/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", id)
            .header("webhook-timestamp", time_s)
            .header("webhook-signature", signature)
            .body(Full::new(body.into()))
            .map_err(|_| "the endpoint cannot be addressed".into())
    }
}

#[async_trait]
impl PushChannel for WebhookChannel {
    fn kind(&self) -> ChannelKind {
        ChannelKind::Webhook
    }

    fn check(&self, address: PushAddress) -> Result<PushAddress, AddressProblem> {
        let problem = |field, detail: &str| AddressProblem { field, detail: detail.into(), private: false };
        let PushAddress::Webhook { url, secret } = address else {
            return Err(problem("kind", "this is no webhook"));
        };
        webpush_url(&url, self.allow_private).map_err(|error| {
            let private = error == AddressError::Private;
            AddressProblem { field: "url", detail: error.to_string(), private }
        })?;
        if url.parse::<http::Uri>().is_err() {
            return Err(problem("url", "the URL is not valid"));
        }
        let secret = Secret::parse(&secret);
        let secret = secret.ok_or_else(|| problem("secret", "secret must be `whsec_` and 24 to 64 bytes in base64"))?;
        Ok(PushAddress::Webhook { url, secret: secret.text() })
    }

    fn provider(&self, address: &PushAddress) -> String {
        // An address that was stored under other rules still has a lane; sending says what is wrong with it.
        webpush_url(address.place(), true).map_or_else(|_| "webhook".into(), |origin| host_of(&origin).to_owned())
    }

    fn public_key(&self) -> Option<String> {
        None
    }

    async fn send(&self, address: &PushAddress, notification: &Notification, now_us: i64) -> Verdict {
        let request = match self.request(address, notification, now_us) {
            Ok(request) => request,
            Err(reason) => return Verdict::DropMessage { reason, status: None },
        };
        match self.client.send(request).await {
            Ok(reply) => verdict::classify(&Answer::of(&reply, now_us)),
            Err(error) => unanswered(verdict::RECEIVER, &error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::fit::tests::complete;
    use crate::channels::{ClientOptions, Reach};
    use std::time::Duration;

    fn channel(allow_private: bool) -> WebhookChannel {
        let timeout = Duration::from_secs(1);
        let options = ClientOptions { extra_root_file: None, connect_timeout: timeout, request_timeout: timeout };
        let client = PushClient::new(&options, Reach::Public).expect("a client");
        WebhookChannel::new(client, Some("https://pulsewire.example.org".into()), allow_private)
    }

    fn webhook(url: &str, secret: &str) -> PushAddress {
        PushAddress::Webhook { url: url.into(), secret: secret.into() }
    }

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn an_address_is_public_https_with_a_secret_of_the_specification() {
        let field = |address, allow| channel(allow).check(address).map(drop).map_err(|p| (p.field, p.private));
        assert_eq!(field(webhook("https://hooks.example.org/a?b=c", SECRET), false), Ok(()));
        assert_eq!(field(webhook("https://127.0.0.1:8443/a", SECRET), true), Ok(()));
        for (url, private) in [
            ("https://127.0.0.1:8443/a", true),
            ("https://metadata.internal/", true),
            ("http://hooks.example.org/", false),
            ("https://user@hooks.example.org/", false),
            ("https://hooks.example.org/\r\nx: y", false),
        ] {
            assert_eq!(field(webhook(url, SECRET), false), Err(("url", private)), "{url}");
        }
        for secret in ["", "whsec_", "whsec_c2hvcnQ=", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!!!"] {
            assert_eq!(field(webhook("https://x.org/", secret), false), Err(("secret", false)), "{secret}");
        }
    }

    #[test]
    fn messages_to_one_host_share_a_lane() {
        let provider = |url| channel(false).provider(&webhook(url, SECRET));
        assert_eq!(provider("https://Hooks.example.org/a"), "hooks.example.org");
        assert_eq!(provider("https://hooks.example.org:8443/b"), "hooks.example.org");
    }

    #[test]
    fn a_repeat_has_the_same_id_and_its_own_time() {
        let send = |now_s: i64| {
            let request = channel(false).request(&webhook("https://x.org/", SECRET), &complete(), now_s * 1_000_000);
            let (head, _) = request.expect("a request").into_parts();
            let header = |name: &str| head.headers[name].to_str().expect("text").to_owned();
            (header("webhook-id"), header("webhook-timestamp"), header("webhook-signature"))
        };
        let (first, second) = (send(1_800_000_000), send(1_800_000_100));
        assert_eq!(first.0, second.0);
        assert_eq!((first.1.as_str(), second.1.as_str()), ("1800000000", "1800000100"));
        assert_ne!(first.2, second.2);
    }
}
