//! Web Push: RFC 8030 (protocol), 8291 (encryption), 8292 (VAPID).

mod payload;
mod seal;
mod vapid;
mod verdict;

pub use vapid::VapidKey;

use super::client::PushClient;
use super::reply::{Answer, unanswered};
use crate::ports::{AddressProblem, PushAddress, PushChannel};
use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, LOCATION};
use http::{Method, Request};
use http_body_util::Full;
use p256::PublicKey;
use pulsewire_core::push::{AddressError, ChannelKind, Notification, Verdict, clip, host_of, webpush_url};
use seal::{Auth, seal};

/// Largest text that can be encrypted: services take bodies of 4,096 bytes, of which RFC 8188's header takes 86 and its
/// record 17.
pub const PAYLOAD_BYTES_MAX: usize = 4096 - 86 - 17;

/// See the module.
pub struct WebPushChannel {
    client: PushClient,
    vapid: VapidKey,
    allow_private: bool,
}

impl WebPushChannel {
    /// `client` should reach public addresses only, unless `allow_private`.
    pub fn new(client: PushClient, vapid: VapidKey, allow_private: bool) -> Self {
        Self { client, vapid, allow_private }
    }

    fn request(
        &self,
        address: &PushAddress,
        notification: &Notification,
        authorization: &str,
        now_us: i64,
    ) -> Result<Request<Full<Bytes>>, String> {
        let PushAddress::WebPush { url, p256dh, auth } = address else { return Err("this is no browser".into()) };
        let (key, auth) = keys(p256dh, auth).map_err(|problem| problem.detail)?;
        let body = sealed(payload::json(notification), &key, &auth)?;
        let ttl_s = (notification.expires_us.saturating_sub(now_us) / 1_000_000).clamp(0, 2_592_000);
        Request::builder()
            .method(Method::POST)
            .uri(url)
            .header("ttl", ttl_s)
            .header("topic", &notification.tag)
            .header("urgency", urgency(notification))
            .header(CONTENT_ENCODING, "aes128gcm")
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(AUTHORIZATION, authorization)
            .body(Full::new(body.into()))
            .map_err(|error| format!("the endpoint cannot be addressed: {error}"))
    }
}

/// What is urgent wakes a sleeping phone; the rest comes when the device is awake: RFC 8030 §5.3.
pub(super) fn urgency(notification: &Notification) -> &'static str {
    if notification.is_urgent() { "high" } else { "normal" }
}

/// Encrypts for a browser.
fn sealed(text: Vec<u8>, key: &PublicKey, auth: &Auth) -> Result<Vec<u8>, String> {
    if text.len() > PAYLOAD_BYTES_MAX {
        return Err(format!("the message has {} bytes; {PAYLOAD_BYTES_MAX} fit", text.len()));
    }
    seal(&text, key, auth)
}

/// Base64url as browsers give it; the other alphabet and padding are taken, too, since scripts produce them.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    URL_SAFE_NO_PAD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).ok()
}

fn keys(p256dh: &str, auth: &str) -> Result<(PublicKey, Auth), AddressProblem> {
    let problem = |field, detail: &str| AddressProblem { field, detail: detail.into(), private: false };
    let point = bytes(p256dh).filter(|point| point.len() == 65);
    // Also checks that it is on the curve: anything else would give secrets away (RFC 8291 §7).
    let key = point.and_then(|point| PublicKey::from_sec1_bytes(&point).ok());
    let key = key.ok_or_else(|| problem("keys.p256dh", "p256dh is not an uncompressed point of P-256 in base64url"))?;
    let secret = bytes(auth).and_then(|auth| Auth::try_from(auth).ok());
    Ok((key, secret.ok_or_else(|| problem("keys.auth", "auth is not 16 bytes in base64url"))?))
}

#[async_trait]
impl PushChannel for WebPushChannel {
    fn kind(&self) -> ChannelKind {
        ChannelKind::WebPush
    }

    fn check(&self, address: PushAddress) -> Result<PushAddress, AddressProblem> {
        let PushAddress::WebPush { url, p256dh, auth } = address else {
            return Err(AddressProblem { field: "kind", detail: "this is no browser".into(), private: false });
        };
        webpush_url(&url, self.allow_private).map_err(|error| {
            let private = error == AddressError::Private;
            AddressProblem { field: "url", detail: error.to_string(), private }
        })?;
        if url.parse::<http::Uri>().is_err() {
            return Err(AddressProblem { field: "url", detail: "the URL is not valid".into(), private: false });
        }
        keys(&p256dh, &auth)?;
        let plain = |text: &str| URL_SAFE_NO_PAD.encode(bytes(text).unwrap_or_default());
        Ok(PushAddress::WebPush { url, p256dh: plain(&p256dh), auth: plain(&auth) })
    }

    fn provider(&self, address: &PushAddress) -> String {
        // An address that was stored under other rules still has a lane; sending says what is wrong with it.
        webpush_url(address.place(), true).map_or_else(|_| "webpush".into(), |origin| host_of(&origin).to_owned())
    }

    fn public_key(&self) -> Option<String> {
        Some(self.vapid.public_key())
    }

    async fn send(&self, address: &PushAddress, notification: &Notification, now_us: i64) -> Verdict {
        let origin = match webpush_url(address.place(), self.allow_private) {
            Ok(origin) => origin,
            Err(error) => return Verdict::DropMessage { reason: error.to_string(), status: None },
        };
        let authorization = match self.vapid.authorization(&origin, now_us) {
            Ok(authorization) => authorization,
            // Want of random bytes passes.
            Err(reason) => return Verdict::Retry { after_us: None, reason, status: None, unclear: false },
        };
        let request = match self.request(address, notification, &authorization, now_us) {
            Ok(request) => request,
            Err(reason) => return Verdict::DropMessage { reason, status: None },
        };
        match self.client.send(request).await {
            Ok(reply) => {
                let location = reply.headers.get(LOCATION).and_then(|l| l.to_str().ok()).unwrap_or_default();
                // Its end only: the whole is an address by which the message could be withdrawn.
                let id = location.rsplit('/').next().filter(|id| !id.is_empty()).map(|id| clip(id, 64));
                verdict::classify(&Answer::of(&reply, now_us), id)
            }
            Err(error) => unanswered("the push service", &error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use p256::SecretKey;
    use p256::elliptic_curve::sec1::ToEncodedPoint;
    use web_push_native::decrypt;

    fn browser() -> (SecretKey, Auth, String, String) {
        let secret = SecretKey::from_slice(&[7; 32]).expect("a scalar");
        let point = secret.public_key().to_encoded_point(false);
        let (p256dh, auth) = (URL_SAFE_NO_PAD.encode(point.as_bytes()), URL_SAFE_NO_PAD.encode([9; 16]));
        (secret, [9; 16], p256dh, auth)
    }

    #[test]
    fn the_largest_text_makes_a_body_of_4096_bytes_and_one_more_byte_is_refused() {
        let (secret, auth, p256dh, auth_text) = browser();
        let (key, _) = keys(&p256dh, &auth_text).expect("valid keys");
        for length in [0, 1, 2047, 3992, 3993] {
            let text = vec![b'x'; length];
            let body = sealed(text.clone(), &key, &auth).expect("fits");
            assert_eq!(body.len(), length + 103);
            assert_eq!(decrypt(body, &secret, &auth.into()).expect("decrypts"), text);
        }
        assert!(sealed(vec![b'x'; 3994], &key, &auth).expect_err("too large").contains("3993"));
    }

    #[test]
    fn keys_must_be_a_point_of_the_curve_and_sixteen_bytes() {
        let (_, _, p256dh, auth) = browser();
        assert!(keys(&p256dh, &auth).is_ok());
        assert!(keys(&format!("{p256dh}="), &format!("{auth}==")).is_ok());
        let off_curve = URL_SAFE_NO_PAD.encode([[4].as_slice(), &[1; 64]].concat());
        for wrong in
            [String::new(), "no base64!".into(), off_curve, URL_SAFE_NO_PAD.encode([0; 65]), p256dh[..80].into()]
        {
            assert_eq!(keys(&wrong, &auth).err().map(|p| p.field), Some("keys.p256dh"), "{wrong}");
        }
        for wrong in ["", "AAAA", "no base64!"] {
            assert_eq!(keys(&p256dh, wrong).err().map(|p| p.field), Some("keys.auth"), "{wrong}");
        }
    }
}
